//! Swapping: another plan of the same pipeline takes over between two batches, and all state stays.
//!
//! Everything that takes time (compiling, instantiating, checking) is done beforehand, off the data path, in
//! [`Successor::prepare`]. What is left for [`Engine::swap`] is to put guests and the places of columns in, and to judge the
//! current rows of changelogs anew.

use super::{
    ComparisonReady, Engine, OnRefusal, ShadowFeed, Stage, Step, Unswappable, passing::Passed, rejudge::Before,
    rules::Refused, takeover,
};
use crate::{
    error::{Error, Result, take_defect},
    fail_point,
    format::Decoder,
    model::{
        delivery::{Deliveries, DeliveryTimes, Kept, Message},
        deployment::{InForce, RefusedVersion, VersionChange},
        ids::NodeId,
    },
    operator::clock::Clock,
    plan::{GuestHost, NodeKind, OutputPort, Plan, SinkPlan, StagePlan, Target, ms_in_us},
};
use std::{collections::BTreeSet, mem, sync::Arc};

/// A plan that is ready to take over from the one that runs.
#[derive(Debug)]
pub struct Successor {
    plan: Arc<Plan>,
    /// Those that run something else than before.
    stages: Vec<(NodeId, Stage)>,
    /// For the source, which takes it out.
    pub decoder: Option<Decoder>,
    /// Candidates that see from now on what a step sees, by the name of the step; nothing where one is to end.
    pub shadows: Vec<(String, Option<ShadowFeed>)>,
    /// What all candidates are compared with over current rows, from then on.
    pub comparisons: Vec<ComparisonReady>,
}

/// What a swap left over: to be dropped off the data path, since giving back the memory of a guest, or of a million rows, takes
/// a while.
#[derive(Debug)]
pub struct Retired {
    _plan: Arc<Plan>,
    _stages: Vec<Stage>,
    _shadows: Vec<ShadowFeed>,
    _passed: Option<Passed>,
    refused: Option<String>,
}

impl Retired {
    /// Why it is the successor itself that did not take over: a row that current rows would become cannot be judged.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }
}

impl Successor {
    /// Gets `plan` ready to take over from `running`. Batches of up to `batch_events` will be decoded for it.
    ///
    /// # Errors
    /// When state, tables or messages would not be the same under the new plan, or a guest fails. Nothing has changed
    /// then.
    pub fn prepare(running: &Plan, plan: Arc<Plan>, host: &dyn GuestHost, batch_events: usize) -> Result<Self> {
        Self::check(running, &plan)?;
        let mut stages = Vec::new();
        for ((at, before), node) in running.nodes.iter_enumerated().zip(&plan.nodes) {
            let (NodeKind::Stage(old), NodeKind::Stage(new)) = (&before.kind, &node.kind) else {
                continue;
            };
            if same_guest(old, new) {
                continue;
            }
            let stage = Stage::prepare(&node.name, new, host, OnRefusal::Fail)
                .map_err(|failure| failure.error(format!("step \"{}\": {failure}", node.name)))?;
            stages.push((at, stage));
        }
        let decoder = Decoder::of(&plan, batch_events)?;
        Ok(Self {
            plan,
            stages,
            decoder: Some(decoder),
            shadows: Vec::new(),
            comparisons: Vec::new(),
        })
    }
}

impl Successor {
    /// The plan that is to take over.
    pub(super) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The stages that run something else then.
    pub(super) fn changed(&self) -> BTreeSet<NodeId> {
        self.stages.iter().map(|(at, _)| *at).collect()
    }

    /// Whether `plan` could take over from `running`: both are plans of one pipeline file.
    ///
    /// # Errors
    /// What would not be the same.
    pub fn check(running: &Plan, plan: &Plan) -> Result<()> {
        check_same(running, plan)?;
        takeover::check(running, plan)?;
        take_defect()
    }
}

fn same_guest(old: &StagePlan, new: &StagePlan) -> bool {
    old.deployment == new.deployment && old.module.digest == new.module.digest
}

impl Engine {
    /// Lets `successor` take over. The versions that are new decide from the next delivery on, and the turn records it. Where a
    /// rule reads a changelog, the current rows are judged anew first (see `engine/rejudge.rs`); where that cannot be,
    /// nothing has changed, the turn says so, and so does [`Retired::refused`].
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect), where it is a plan of another pipeline file.
    pub fn swap(&mut self, successor: Successor) -> Result<Retired> {
        self.check()?;
        let Successor {
            plan,
            stages,
            shadows,
            comparisons,
            ..
        } = successor;
        self.begin_to_keep_differences()?;
        let changed: BTreeSet<NodeId> = stages.iter().map(|(at, _)| *at).collect();
        let rehearsed = self.end_rehearsal(&plan);
        self.hold_unfolded(&changed)?;
        let before = match rehearsed {
            None => self.judged_before(&changed)?,
            Some(_) => Before::default(),
        };
        let deliveries = self.place_of_swap(&plan, &changed);
        self.each_state(|state| state.savepoint());
        self.each_stage(Stage::savepoint);

        let changed: Vec<NodeId> = changed.into_iter().collect();
        let replaced = self.put_in(stages)?;
        let was = self.follow_plan(plan)?;
        let judged = match (rehearsed, before.is_empty()) {
            (Some(rehearsed), _) => self.pass_on_rehearsed(rehearsed, &deliveries).map(Some),
            (None, false) => self.judge_anew(before, &was, &deliveries).map(Some),
            (None, true) => {
                // Columns may lie elsewhere.
                self.keeps_differences = false;
                Ok(None)
            }
        };
        self.held_rows.clear();
        let (refused, passed) = match judged {
            Ok(mut passed) => {
                self.each_state(|state| state.release());
                if let Some(passed) = &mut passed {
                    self.collect_passed(passed);
                    fail_point::pass("after-rejudged");
                }
                (None, passed)
            }
            Err(Refused::Defect(defect)) => {
                self.defect = Some(defect.clone());
                return Err(defect);
            }
            Err(Refused::Row(reason)) => {
                self.each_state(|state| state.rollback());
                self.each_stage(Stage::rollback);
                (Some(reason), None)
            }
        };
        if let Some(reason) = refused {
            if !reads_same_columns(&self.plan, &was) {
                return Err(Error::defect(
                    "a plan was refused whose columns the source reads already",
                ));
            }
            let refused = self.follow_plan(was)?;
            let stages = self.put_in(replaced)?;
            self.keeps_differences = false;
            self.changes.extend(refused_versions(&refused, &changed, &reason));
            self.check()?;
            return Ok(Retired {
                _passed: None,
                _plan: refused,
                _stages: stages.into_iter().map(|(_, stage)| stage).collect(),
                _shadows: shadows.into_iter().filter_map(|(_, shadow)| shadow).collect(),
                refused: Some(reason),
            });
        }
        let retired = self.retire(replaced, &was)?;
        let retired_shadows = self.set_shadows(shadows);
        self.begin_comparisons(comparisons)?;
        self.check()?;
        Ok(Retired {
            _passed: passed,
            _plan: was,
            _stages: retired,
            _shadows: retired_shadows,
            refused: None,
        })
    }

    /// Puts stages in the places of others, which it gives. A candidate beside one stays.
    fn put_in(&mut self, stages: Vec<(NodeId, Stage)>) -> Result<Vec<(NodeId, Stage)>> {
        let stages = stages.into_iter().map(|(at, stage)| {
            let Some(Step::Stage(running)) = self.steps.get_mut(at) else {
                return Err(Error::defect(format!("step {at} is swapped as a stage and is none")));
            };
            let shadow = running.set_shadow(None);
            let replaced = mem::replace(&mut **running, stage);
            running.set_shadow(shadow);
            Ok((at, replaced))
        });
        stages.collect()
    }

    /// Lets all that keeps something follow another plan of the same pipeline. Gives the one before.
    fn follow_plan(&mut self, plan: Arc<Plan>) -> Result<Arc<Plan>> {
        for (step, node) in self.steps.iter_mut().zip(&plan.nodes) {
            if let Some(operator) = step.operator() {
                operator.replan(node)?;
            }
        }
        for (table, plan) in self.tables.iter_mut().zip(&plan.tables) {
            table.replace(plan.clone());
        }
        for (sink, plan) in self.sinks.iter_mut().zip(&plan.sinks) {
            sink.replace(plan);
        }
        self.last_events.follow(&plan);
        Ok(mem::replace(&mut self.plan, plan))
    }

    /// Records that what took the place of these stages is in force. What happened to those before is told first.
    fn retire(&mut self, replaced: Vec<(NodeId, Stage)>, was: &Plan) -> Result<Vec<Stage>> {
        let plan = self.plan.clone();
        let mut retired = Vec::with_capacity(replaced.len());
        for (at, mut before) in replaced {
            let (Some((node, NodeKind::Stage(new))), Some(NodeKind::Stage(old)), Some(Step::Stage(running))) = (
                plan.nodes.get(at).map(|node| (node, &node.kind)),
                was.nodes.get(at).map(|node| &node.kind),
                self.steps.get_mut(at),
            ) else {
                return Err(Error::defect(format!("step {at} is swapped as a stage and is none")));
            };
            let (changes, failed_rows) = before.take_changes(old);
            self.changes.extend(changes);
            self.failed_rows += failed_rows;
            let decided = before.deciding(old);
            if decided.deployment != new.deployment || decided.module.digest != new.module.digest {
                let first_sequence = self.last_sequence + 1;
                let change = in_force(&node.name, new, first_sequence, running.trial_left());
                self.changes.push(change);
            }
            running.measured().for_each(|module| self.metrics.add_module(module));
            retired.push(before);
        }
        Ok(retired)
    }

    fn set_shadows(&mut self, shadows: Vec<(String, Option<ShadowFeed>)>) -> Vec<ShadowFeed> {
        let mut retired = Vec::new();
        for (name, shadow) in shadows {
            let at = self.plan.nodes.position(|node| node.name == name);
            if let Some(Step::Stage(stage)) = at.and_then(|at| self.steps.get_mut(at)) {
                let measured = shadow.as_ref().and_then(ShadowFeed::measured);
                measured.into_iter().for_each(|module| self.metrics.add_module(module));
                retired.extend(stage.set_shadow(shadow));
            }
        }
        retired
    }

    /// The rows of a swap as those of one delivery: behind the last one, where the watermark stands.
    pub(super) fn place_of_swap(&self, plan: &Plan, changed: &BTreeSet<NodeId>) -> Deliveries {
        let deployed = changed.iter().filter_map(|&at| match &plan.nodes.get(at)?.kind {
            NodeKind::Stage(stage) => Some(stage.deployment.at_ms),
            _ => None,
        });
        let last = self.last_times.unwrap_or_else(|| {
            let now_ms = deployed.max().unwrap_or(0);
            DeliveryTimes {
                now_ms,
                event_us: ms_in_us(now_ms),
                store_ms: Some(now_ms),
            }
        });
        let watermark_us = self.clock.as_ref().map(Clock::watermark_us);
        let times = DeliveryTimes {
            event_us: watermark_us.unwrap_or(last.event_us),
            ..last
        };
        let mut deliveries = Deliveries::default();
        let message = Message {
            sequence: self.last_sequence,
            ..Message::default()
        };
        deliveries.push(&message, times, Kept::default());
        deliveries
    }
}

/// Whether the source reads the same columns for two plans. What rules over a changelog read is held by the state of the operator
/// before them, so that another version of one makes no difference.
fn reads_same_columns(a: &Plan, b: &Plan) -> bool {
    let read = |plan: &Plan| -> Vec<Vec<bool>> {
        let of_inputs = plan.inputs.iter();
        of_inputs
            .map(|input| input.columns.iter().map(|column| column.materialised).collect())
            .collect()
    };
    read(a) == read(b)
}

/// What a turn says of versions that did not take over.
fn refused_versions(plan: &Plan, changed: &[NodeId], reason: &str) -> Vec<VersionChange> {
    let refused = changed.iter().filter_map(|&at| {
        let node = plan.nodes.get(at)?;
        let NodeKind::Stage(stage) = &node.kind else {
            return None;
        };
        Some(VersionChange::Refused(RefusedVersion {
            step: node.name.clone(),
            version: stage.deployment.version,
            reason: reason.to_owned(),
        }))
    });
    refused.collect()
}

/// Whether what the database holds means the same under both plans.
fn check_same(running: &Plan, plan: &Plan) -> Result<()> {
    for (before, after) in running.sinks.iter().zip(&plan.sinks) {
        let (before_columns, after_columns) = (sink_columns(before), sink_columns(after));
        if before_columns != after_columns || port_name(running, before.input) != port_name(plan, after.input) {
            let what = match &after.target {
                Target::Table { name, .. } | Target::Append { name } => format!("table \"{name}\""),
                Target::Subject { name } => format!("the messages on \"{name}\""),
            };
            let what = format!("{what} would have the columns {after_columns} instead of {before_columns}");
            return Err(Unswappable::Sink.definition(what));
        }
    }
    for (before, after) in running.nodes.iter().zip(&plan.nodes) {
        for ((_, runs), (spec, guest)) in before.kind.guests().zip(after.kind.guests()) {
            if runs.module.digest != guest.module.digest {
                return Err(Unswappable::RunningAggregate.definition(format_args!(
                    "column \"{}\" of step \"{}\" is computed by module {}, and its file holds {} by now",
                    spec.name,
                    after.name,
                    runs.module.short_digest(),
                    guest.module.short_digest()
                )));
            }
        }
        debug_assert_eq!(before.name, after.name, "both are plans of one pipeline file");
    }
    Ok(())
}

fn port_name(plan: &Plan, port: OutputPort) -> (String, String) {
    let (node, output) = (plan.nodes.get(port.node), plan.output(port));
    (
        node.map(|node| node.name.clone()).unwrap_or_default(),
        output.map(|output| output.name.clone()).unwrap_or_default(),
    )
}

/// The columns of a table as people read them; also whether keys may be null, which the table depends on.
fn sink_columns(sink: &SinkPlan) -> String {
    let key: &[usize] = match &sink.target {
        Target::Table { primary_key, .. } => primary_key,
        _ => &[],
    };
    let columns = sink.fields().enumerate().map(|(at, field)| {
        let nullable = if key.contains(&at) && field.nullable {
            " or null"
        } else {
            ""
        };
        format!("{} ({}{nullable})", field.name, field.column_type)
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// The record of the version that `stage` runs from `first_sequence` on.
pub(super) fn in_force(step: &str, stage: &StagePlan, first_sequence: u64, trial_left: u64) -> VersionChange {
    let component = |stage: &StagePlan| (stage.module.digest.clone(), stage.module.bytes.clone());
    let fallback = stage.fallback.as_deref().filter(|_| trial_left > 0);
    VersionChange::InForce(Box::new(InForce {
        step: step.to_owned(),
        deployment: stage.deployment.clone(),
        module: component(stage),
        first_sequence,
        trial_left,
        fallback: fallback.map(|fallback| (fallback.deployment.clone(), component(fallback))),
    }))
}
