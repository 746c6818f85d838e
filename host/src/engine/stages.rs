//! A stage within the engine: columns to the guest, its answer to rows.

use super::{
    Cut, Engine, Outcomes, Result, Step,
    differences::Differences,
    failures::Failures,
    is_timer_driven,
    shadow::ShadowFeed,
    swap::in_force,
    trial::Trial,
    verdicts::{Events, Known, Verdicts, ask, ask_current, in_parts, numbered},
};
use crate::{
    error::Error,
    metrics::ModuleVersion,
    model::{
        batch::Batch,
        delivery::{Deliveries, RejectedDelivery},
        deployment::{TrialRecord, VersionChange},
        guest::{GuestFailure, Patience},
        ids::NodeId,
    },
    plan::{GuestHost, Node, NodeKind, RunningStage, StagePlan},
};
use std::{mem, sync::Arc};

/// What to do about a guest that is not run any more, since the host died of it too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnRefusal {
    /// Go on without an error for now: before the first batch another one takes its place, or nothing runs.
    Wait,
    /// Fail.
    Fail,
}

/// A stage as it runs.
#[derive(Debug)]
pub(super) struct Stage {
    guest: Box<dyn RunningStage>,
    trial: Option<Trial>,
    shadow: Option<ShadowFeed>,
    /// Rows that made the guest fail, since the last turn.
    failed_rows: u64,
    /// How many of its rows it may fail on.
    pub(super) failures: Failures,
}

impl Stage {
    /// The stage of `plan`, configured and warmed up. It is on trial where there is something to fall back on.
    pub(super) fn prepare(
        step: &str,
        plan: &StagePlan,
        host: &dyn GuestHost,
        on_refusal: OnRefusal,
    ) -> Result<Self, GuestFailure> {
        let guest = |plan: &StagePlan| -> Result<Box<dyn RunningStage>, GuestFailure> {
            let mut guest = plan.guest(host, plan.deployment.whose(step));
            if guest.refusal().is_some() && on_refusal == OnRefusal::Wait {
                return Ok(guest);
            }
            guest.configure()?;
            guest.warm_up()?;
            Ok(guest)
        };
        let trial = match &plan.fallback {
            Some(fallback) if plan.trial.rows > 0 => {
                let record = TrialRecord {
                    step: step.to_owned(),
                    left: plan.trial.rows,
                    ..Default::default()
                };
                Some(Trial {
                    fallback: guest(fallback)?,
                    logged: record.clone(),
                    record,
                    last_sequence: 0,
                    differences: None,
                    kept: None,
                })
            }
            _ => None,
        };
        Ok(Self {
            guest: guest(plan)?,
            trial,
            shadow: None,
            failed_rows: 0,
            failures: Failures::new(plan.failures),
        })
    }

    /// What the calls of its guests come to.
    pub(super) fn measured(&self) -> impl Iterator<Item = &Arc<ModuleVersion>> {
        let fallback = self.trial.as_ref().and_then(|trial| trial.fallback.measured());
        self.guest.measured().into_iter().chain(fallback)
    }

    /// Why its guest is not run any more.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.guest.refusal()
    }

    /// Lets a candidate see what this stage sees, or none any more; gives the one that did.
    pub(super) fn set_shadow(&mut self, shadow: Option<ShadowFeed>) -> Option<ShadowFeed> {
        mem::replace(&mut self.shadow, shadow)
    }

    /// Whether a trial runs.
    pub(super) fn is_on_trial(&self) -> bool {
        self.trial.as_ref().is_some_and(|trial| !trial.is_over())
    }

    /// Rows that it is still on trial for.
    pub(super) fn trial_left(&self) -> u64 {
        self.trial.as_ref().map_or(0, |trial| trial.record.left)
    }

    /// Goes on with a trial that an earlier process began.
    pub(super) fn resume_trial(&mut self, record: &TrialRecord) {
        match &mut self.trial {
            Some(trial) if record.left > 0 => {
                trial.record = record.clone();
                trial.logged = record.clone();
            }
            _ => self.trial = None,
        }
    }

    /// What decides now: the guest of `plan`, or what it falls back on.
    pub(super) fn deciding<'p>(&self, plan: &'p StagePlan) -> &'p StagePlan {
        match (&self.trial, &plan.fallback) {
            (Some(trial), Some(fallback)) if trial.record.taken_back.is_some() => fallback,
            _ => plan,
        }
    }

    pub(super) fn savepoint(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.kept = match trial.is_over() {
                true => None,
                false => Some((trial.record.left, trial.record.by_fallback.len())),
            };
            trial.differences.iter_mut().for_each(Differences::savepoint);
        }
    }

    pub(super) fn rollback(&mut self) {
        if let Some(trial) = &mut self.trial
            && let Some((left, by_fallback)) = trial.kept
        {
            trial.record.left = left;
            trial.record.by_fallback.truncate(by_fallback);
            trial.record.taken_back = None;
            trial.differences.iter_mut().for_each(Differences::rollback);
        }
    }

    /// Whether the trial ended since the last turn, one way or the other.
    pub(super) fn ended_trial(&self) -> bool {
        let ended = |trial: &Trial| trial.record != trial.logged && trial.is_over();
        self.trial.as_ref().is_some_and(ended)
    }

    /// What became of the trial since the last turn, and how many rows made the guest fail.
    pub(super) fn take_changes(&mut self, plan: &StagePlan) -> (Vec<VersionChange>, u64) {
        let mut changes = Vec::new();
        if let Some(trial) = &mut self.trial
            && trial.record != trial.logged
        {
            changes.push(VersionChange::Trial(trial.record.clone()));
            if trial.record.taken_back.is_some()
                && let Some(fallback) = &plan.fallback
            {
                let first_sequence = trial.last_sequence + 1;
                changes.push(in_force(&trial.record.step, fallback, first_sequence, 0));
            }
            trial.logged = trial.record.clone();
        }
        // One that passed is on its own from here on.
        if self
            .trial
            .as_ref()
            .is_some_and(|trial| trial.record.left == 0 && trial.record.taken_back.is_none())
        {
            self.trial = None;
        }
        (changes, mem::take(&mut self.failed_rows))
    }

    /// Judges all rows of `input`, which go by their numbers, some at a time: an operator may give more than a batch has events, and the memory of a
    /// guest is bounded.
    fn judge_all(
        &mut self,
        node: &Node,
        plan: &StagePlan,
        input: &Batch,
        past: &Batch,
        events: Events<'_>,
    ) -> Verdicts {
        in_parts(plan, input, |part| self.judge(node, plan, (part, past), events))
    }

    /// Where it is on trial over a changelog: what became of rows that are past stays, whatever becomes of the trial.
    fn leave_past(&mut self, past: &Batch) {
        if let Some(differences) = self.trial.as_mut().and_then(|trial| trial.differences.as_mut()) {
            differences.leave(past);
        }
    }

    /// Asks the guest that decides of current rows of a changelog: the delivery of each is its number. No trial counts them.
    pub(super) fn ask_deciding(&mut self, plan: &StagePlan, rows: &Batch, known: Option<Known<'_>>) -> Verdicts {
        let (guest, plan) = match (&mut self.trial, &plan.fallback) {
            (Some(trial), Some(fallback)) if trial.record.taken_back.is_some() => (&mut trial.fallback, &**fallback),
            _ => (&mut self.guest, plan),
        };
        ask_current(&mut **guest, plan, rows, known)
    }

    /// Where it is on trial over a changelog: begins anew to keep where the version differs from its fallback.
    pub(super) fn begin_differences(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.differences = Some(Differences::default());
        }
    }

    /// The same, where it is known already over which rows.
    pub(super) fn set_differences(&mut self, differences: Differences) {
        if let Some(trial) = &mut self.trial {
            trial.differences = Some(differences);
        }
    }

    /// Takes in some current rows of the changelog that it is on trial over.
    ///
    /// # Errors
    /// Why the version on trial does not take one of them that the fallback takes.
    pub(super) fn add_current(&mut self, plan: &StagePlan, rows: &Batch) -> Result<(), String> {
        let (Some(trial), Some(fallback)) = (&mut self.trial, &plan.fallback) else {
            return Ok(());
        };
        let mut outcome = Ok(());
        in_parts(plan, rows, |part| {
            if outcome.is_ok() {
                outcome = trial.add_current(&mut *self.guest, (plan, fallback), &numbered(part));
            }
            Verdicts::default()
        });
        outcome
    }

    fn judge(
        &mut self,
        node: &Node,
        plan: &StagePlan,
        (input, past): (&Batch, &Batch),
        events: Events<'_>,
    ) -> Verdicts {
        let verdicts = match (&mut self.trial, &plan.fallback) {
            (Some(trial), Some(fallback)) if !trial.is_over() => match trial.differences {
                Some(_) => {
                    trial.judge_changes(&mut *self.guest, (plan, fallback), &node.outputs, (input, past), events)
                }
                None => trial.judge(&mut *self.guest, plan, fallback, input, events),
            },
            (Some(trial), Some(fallback)) if trial.record.taken_back.is_some() => {
                ask(&mut *trial.fallback, fallback, input, events, Patience::Endless)
            }
            _ => ask(&mut *self.guest, plan, input, events, Patience::Endless),
        };
        self.failed_rows += verdicts.failed_rows;
        verdicts
    }
}

impl Engine {
    /// The first step whose guest is not run any more, since the host died of it too often, and why. Another one has to take its
    /// place before the first batch.
    pub fn refused(&self) -> Option<(&str, &str)> {
        let steps = self.steps.iter().zip(&self.plan.nodes);
        steps.into_iter().find_map(|(step, node)| match step {
            Step::Stage(stage) => Some((node.name.as_str(), stage.refusal()?)),
            _ => None,
        })
    }

    /// Runs the stage `node`, the step `at`, over the rows of `input` whose event is no dead letter.
    pub(super) fn stage(
        &mut self,
        at: NodeId,
        node: &Node,
        input: &Batch,
        deliveries: &Deliveries,
        outcomes: &mut Outcomes,
    ) -> Result<Vec<Batch>, Cut> {
        let past = self.past_of_trial(at)?;
        let (NodeKind::Stage(plan), Some(Step::Stage(stage))) = (&node.kind, self.steps.get_mut(at)) else {
            return Err(Error::defect(format!("step \"{}\" is run as a stage and is none", node.name)).into());
        };
        let input = outcomes.living(input);
        if input.is_empty() {
            stage.leave_past(&past);
            return Ok(vec![Batch::default(); plan.outputs.len()]);
        }
        let events = Events {
            causes: &input.deliveries,
            deliveries,
        };
        let rows = numbered(&input);
        let mut verdicts = stage.judge_all(node, plan, &rows, &past, events);
        stage.leave_past(&past);
        if let Some(step) = self.metrics.steps().get(at) {
            step.step.failed_rows.add(verdicts.failed_rows);
        }
        stage.failures.note(&input.deliveries, &verdicts);
        if let Some(judged) = &self.judged {
            judged.note(at, stage.deciding(plan), &input, deliveries);
        }
        if let Some(shadow) = &stage.shadow {
            let (plan, verdicts) = (self.plan.clone(), verdicts.clone());
            shadow.offer(plan, at, rows, events, verdicts);
        }
        let outputs = mem::take(&mut verdicts.outputs).into_iter();
        let outputs: Vec<Batch> = outputs.map(|output| events.settle(output)).collect();
        let module = &stage.deciding(plan).module;
        // A row that goes and that the rule does not want was not let through when it came: nothing of it has to be taken back.
        // (The version before may have taken it, which was taken back since.)
        let of_rows = verdicts.rejected.into_iter();
        let of_rows = of_rows.filter(|rejected| rejected.failed || !input.kind(rejected.row as usize).retracts());
        let mut rejected = of_rows.map(|rejected| {
            let row = rejected.row;
            let rejected = RejectedDelivery {
                delivery: input.delivery(row as usize),
                step: node.name.clone(),
                module: Some(module.digest.clone()),
                reason: rejected.reason,
            };
            (rejected, row)
        });
        if is_timer_driven(&self.plan, node.input) {
            // No event is to blame, and the rows would come again with the next one.
            outcomes.reject_rows(rejected.collect(), self.plan.schema(node.input), &input);
            return Ok(outputs);
        }
        if plan.undoes {
            // Rows ascend, and so do the deliveries that they came from: this is the earliest.
            if let Some((first, _)) = rejected.next() {
                return Err(Cut::Undo(first));
            }
        }
        rejected.for_each(|(rejected, _)| outcomes.reject(rejected));
        Ok(outputs)
    }
}
