//! A rehearsal: the current rows are judged anew beside the data path, so that the swap only has to pass on what differs.
//!
//! The rules have guests of their own here, as they judge now and as they will. Between batches the engine hands over current
//! rows, a bucket at a time, and with each batch what it changed of the changelog. Both arrive in that order, so that the last
//! word on a key is how it stands: at the swap, all that was handed over has been judged.

mod cast;

use super::{
    Edges, Engine, Outcomes, Step, of,
    rules::{Refused, Rules, path_of},
    swap::Successor,
};
use crate::{
    error::{Error, OrDefect, Result},
    limits::{REHEARSED_AHEAD_MAX, REHEARSED_BEHIND_MAX, STATE_BUCKETS},
    model::{column::Batch, delivery::Deliveries, ids::NodeId},
    plan::{GuestHost, NodeKind, Plan},
};
use cast::{Cast, Guests, Rehearsed, Version, Work, version_of};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// What the engine holds of a rehearsal.
#[derive(Debug)]
pub(super) struct Rehearsal {
    /// The plan that runs, and the one that is to take over.
    was: Arc<Plan>,
    plan: Arc<Plan>,
    rules: Arc<Vec<Rules>>,
    /// What decided at each rule when it began.
    deciding: Vec<Deciding>,
    /// Closed where the rehearsal has ended.
    work: Sender<Work>,
    rehearsed: Receiver<Rehearsed>,
    /// How much was handed over, and how much of it is judged.
    handed: u64,
    judged: Arc<AtomicU64>,
    /// Whether the thread has ended.
    has_ended: Arc<AtomicBool>,
    /// The next bucket to hand over.
    bucket: usize,
    leaves: Leaves,
}

/// Ends the thread and what its guests are at, where nobody wants to know any more.
#[derive(Debug)]
struct Leaves(Vec<Arc<AtomicBool>>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.iter().for_each(|over| over.store(true, Ordering::Relaxed));
    }
}

/// Says that the thread has ended, however it did.
struct Ends(Arc<AtomicBool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

type Deciding = (NodeId, Version);

/// A successor with a rehearsal that is ready to begin.
#[derive(Debug)]
pub struct Prepared {
    successor: Box<Successor>,
    cast: Cast,
}

impl Successor {
    /// Gets a rehearsal ready, where current rows have to be judged anew; else gives the successor back. What cannot be
    /// rehearsed is judged at the swap itself.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect), where it is a plan of another pipeline file.
    pub fn rehearse(self: Box<Self>, running: &Arc<Plan>, host: &dyn GuestHost) -> Result<Result<Prepared, Box<Self>>> {
        let plan = self.plan().clone();
        let rules = Rules::behind(running, &self.changed());
        // Rows are handed over as they are now.
        let same_columns = rules.iter().all(|rules| {
            let names = |plan: &Plan| {
                let schema = plan.schema(rules.changelog).iter();
                let names = schema.map(|field| (field.name.clone(), field.column_type));
                names.collect::<Vec<_>>()
            };
            names(running) == names(&plan)
        });
        if rules.is_empty() || !same_columns {
            return Ok(Err(self));
        }
        let mut guests = Guests::default();
        let asked: BTreeSet<NodeId> = rules.iter().flat_map(|rules| rules.asked.iter().copied()).collect();
        for (plan, at) in [running, &plan]
            .into_iter()
            .flat_map(|plan| asked.iter().map(move |at| (plan, *at)))
        {
            let node = plan.nodes.get(at).or_defect(|| format!("there is no step {at}"))?;
            let NodeKind::Stage(stage) = &node.kind else {
                return Err(Error::defect(format!(
                    "step \"{}\" is asked and is no stage",
                    node.name
                )));
            };
            if let Err(failure) = guests.add(at, &node.name, stage, host) {
                tracing::warn!(
                    step = node.name,
                    "step {} is swapped without a rehearsal, so events wait while current rows are judged: {failure}",
                    node.name
                );
                return Ok(Err(self));
            }
        }
        let cast = Cast {
            was: running.clone(),
            plan,
            rules: Arc::new(rules),
            guests,
            before: BTreeMap::new(),
            after: BTreeMap::new(),
            on_trial: BTreeSet::new(),
        };
        Ok(Ok(Prepared { successor: self, cast }))
    }
}

impl Engine {
    /// Begins a rehearsal. Gives the successor, for when [`Engine::is_rehearsed`].
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn begin_rehearsal(&mut self, prepared: Prepared) -> Result<Box<Successor>> {
        let Prepared { successor, mut cast } = prepared;
        self.begin_to_keep_differences()?;
        let changed = successor.changed();
        let deciding = self.deciding_of(&cast.rules);
        cast.before = deciding.iter().cloned().collect();
        cast.after = cast.before.clone();
        for &at in &changed {
            if let Some(NodeKind::Stage(stage)) = cast.plan.nodes.get(at).map(|node| &node.kind) {
                cast.after.insert(at, version_of(stage));
            }
        }
        let on_trial = cast.plan.nodes.iter_enumerated().filter_map(|(at, node)| {
            let NodeKind::Stage(stage) = &node.kind else {
                return None;
            };
            let running = match self.steps.get(at) {
                Some(Step::Stage(running)) => running.is_on_trial(),
                _ => false,
            };
            let begins = stage.fallback.is_some() && stage.trial.rows > 0;
            let is_on_trial = match changed.contains(&at) {
                true => begins,
                false => running,
            };
            is_on_trial.then_some(at)
        });
        cast.on_trial = on_trial.collect();
        let (work, todo) = unbounded();
        let (done, rehearsed) = bounded(1);
        let (judged, nobody_wants) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let ends = Ends(Arc::new(AtomicBool::new(false)));
        let over = cast.guests.all.iter().map(|(.., guest)| guest.over());
        let leaves = Leaves(iter::once(nobody_wants.clone()).chain(over).collect());
        self.keep_past(&cast.rules, true);
        self.rehearsal = Some(Rehearsal {
            was: cast.was.clone(),
            plan: cast.plan.clone(),
            rules: cast.rules.clone(),
            deciding,
            work,
            rehearsed,
            handed: 0,
            judged: judged.clone(),
            has_ended: ends.0.clone(),
            bucket: 0,
            leaves,
        });
        let thread = thread::Builder::new().name("weir-rehearsal".to_owned());
        thread
            .spawn(move || {
                let _ends = ends;
                cast.run(&todo, &judged, &nobody_wants, &done);
            })
            .map_err(|cause| Error::environment(format!("cannot start thread weir-rehearsal: {cause}")))?;
        Ok(successor)
    }

    /// What decides at the rules.
    fn deciding_of(&self, rules: &[Rules]) -> Vec<Deciding> {
        let asked: BTreeSet<NodeId> = rules.iter().flat_map(|rules| rules.asked.iter().copied()).collect();
        let deciding = asked.into_iter().filter_map(|at| {
            let (NodeKind::Stage(plan), Step::Stage(stage)) = (&self.plan.nodes.get(at)?.kind, self.steps.get(at)?)
            else {
                return None;
            };
            let decides = stage.deciding(plan);
            Some((at, version_of(decides)))
        });
        deciding.collect()
    }

    /// Hands over some current rows, where there are more and the rehearsal keeps up. Says whether it did.
    ///
    /// # Errors
    /// As [`Engine::process`].
    pub fn rehearse_some(&mut self) -> Result<bool> {
        let Some(rehearsal) = &self.rehearsal else {
            return Ok(false);
        };
        if rehearsal.bucket >= STATE_BUCKETS {
            return Ok(false);
        }
        if rehearsal.waiting() > REHEARSED_AHEAD_MAX {
            return Ok(false);
        }
        let (rules, bucket) = (rehearsal.rules.clone(), rehearsal.bucket);
        for (number, rules) in rules.iter().enumerate() {
            let rows = self.current_rows(rules.changelog, bucket)?;
            self.hand_over(number, rows);
        }
        if let Some(rehearsal) = &mut self.rehearsal {
            rehearsal.bucket += 1;
        }
        Ok(true)
    }

    /// Lets the operators in front of these rules keep, or keep no longer, which rows are no current ones any more.
    fn keep_past(&mut self, rules: &[Rules], keeps: bool) {
        for rules in rules {
            if let Some(operator) = self.steps.get_mut(rules.changelog.node).and_then(Step::operator) {
                operator.keep_past(keeps);
            }
        }
    }

    /// Hands over what a batch changed, also of rows that can change no more: no swap judges those anew.
    pub(super) fn rehearse_changes(&mut self, edges: &Edges) {
        let Some(rehearsal) = &self.rehearsal else { return };
        let rules = rehearsal.rules.clone();
        for (number, rules) in rules.iter().enumerate() {
            self.hand_over(number, of(edges, rules.changelog).clone());
            let operator = self.steps.get_mut(rules.changelog.node).and_then(Step::operator);
            if let Some(operator) = operator {
                let past = operator.take_past();
                self.hand_over(number, past);
            }
        }
    }

    fn hand_over(&mut self, rules: usize, rows: Batch) {
        if let Some(rehearsal) = self.rehearsal.as_mut().filter(|_| !rows.is_empty()) {
            rehearsal.handed += 1;
            // Where it has ended, the rows are judged at the swap.
            let _ = rehearsal.work.send(Work { rules, rows });
        }
    }

    /// Whether all current rows are judged, or will be in a moment.
    pub fn is_rehearsed(&self) -> bool {
        let Some(rehearsal) = &self.rehearsal else {
            return true;
        };
        if rehearsal.has_ended.load(Ordering::Acquire) {
            return true;
        }
        let waiting = rehearsal.waiting();
        // One that does not keep up with the events is not waited for.
        rehearsal.bucket >= STATE_BUCKETS && (waiting <= 1 || waiting > REHEARSED_BEHIND_MAX)
    }

    /// Passes on what a rehearsal found, under the plan that runs by now, as rows of the only delivery. All states have a
    /// savepoint.
    ///
    /// # Errors
    /// Why the plan cannot take over.
    pub(super) fn pass_on_rehearsed(
        &mut self,
        rehearsed: Rehearsed,
        deliveries: &Deliveries,
    ) -> Result<(Edges, Outcomes), Refused> {
        let is_on_trial = |at| matches!(self.steps.get(at), Some(Step::Stage(stage)) if stage.is_on_trial());
        let rejected = rehearsed.newly_rejected(is_on_trial);
        if !rejected.is_empty() {
            return Err(rejected.refused(&self.plan));
        }
        let Rehearsed {
            moved,
            mut differences,
            compared,
            ..
        } = rehearsed;
        let plan = self.plan.clone();
        let mut knows_all = true;
        for (at, step) in self.steps.iter_mut_enumerated() {
            let Step::Stage(stage) = step else { continue };
            if stage.is_on_trial() && path_of(&plan, at).is_some() {
                match compared.contains(&at) {
                    true => {
                        let of_step = differences.remove(&at).unwrap_or_default();
                        stage.set_differences(of_step.into_values());
                    }
                    false => knows_all = false,
                }
            }
        }
        if !knows_all {
            self.keep_differences()?;
        }
        let moved = moved
            .into_iter()
            .map(|(port, rows)| (port, rows.into_values().collect()));
        self.pass_on_moved(moved.collect(), deliveries)
    }

    /// What the rehearsal for `plan` found, once all is judged. Nothing where there was none, or it does not hold any more.
    pub(super) fn end_rehearsal(&mut self, plan: &Arc<Plan>) -> Option<Rehearsed> {
        let rehearsal = self.rehearsal.take()?;
        self.keep_past(&rehearsal.rules, false);
        let deciding = self.deciding_of(&rehearsal.rules);
        let holds = Arc::ptr_eq(&rehearsal.plan, plan)
            && Arc::ptr_eq(&rehearsal.was, &self.plan)
            && rehearsal.deciding == deciding;
        let is_whole = rehearsal.bucket >= STATE_BUCKETS;
        let Rehearsal {
            work,
            rehearsed,
            leaves,
            ..
        } = rehearsal;
        drop(work);
        let found = match is_whole || !rehearsed.is_empty() {
            true if holds => rehearsed.recv().ok(),
            _ => None,
        };
        drop(leaves);
        // One that failed on a row was not asked of all.
        found.filter(|found| is_whole || found.failure.is_some())
    }
}

impl Rehearsal {
    fn waiting(&self) -> u64 {
        self.handed.saturating_sub(self.judged.load(Ordering::Acquire))
    }
}
