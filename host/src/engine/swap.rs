//! Swapping: another plan of the same pipeline takes over between two batches, and all state stays.
//!
//! Everything that takes time (compiling, instantiating, checking) is done beforehand, off the data path, in
//! [`Successor::prepare`]. What is left for [`Engine::swap`] is to put guests and the places of columns in.

use super::{Engine, OnRefusal, ShadowFeed, Stage, Step, takeover};
use crate::{
    error::{Error, Result, take_defect},
    format::Decoder,
    model::{
        deployment::{InForce, VersionChange},
        ids::NodeId,
    },
    plan::{GuestHost, NodeKind, OutputPort, Plan, SinkPlan, StagePlan, Target},
};
use std::{mem, sync::Arc};

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
}

/// What a swap left over: to be dropped off the data path, since giving back a guest's memory takes a while.
#[derive(Debug)]
pub struct Retired {
    _plan: Arc<Plan>,
    _stages: Vec<Stage>,
    _shadows: Vec<ShadowFeed>,
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
        })
    }
}

impl Successor {
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
    /// Lets `successor` take over. The versions that are new decide from the next delivery on, and the turn records it.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect), where it is a plan of another pipeline file.
    pub fn swap(&mut self, successor: Successor) -> Result<Retired> {
        let Successor {
            plan, stages, shadows, ..
        } = successor;
        let (mut retired, mut retired_shadows) = (Vec::new(), Vec::new());
        for (at, stage) in stages {
            let (node, before) = (plan.nodes.get(at), self.plan.nodes.get(at));
            let (Some((node, NodeKind::Stage(new))), Some(NodeKind::Stage(old)), Some(Step::Stage(running))) = (
                node.map(|node| (node, &node.kind)),
                before.map(|before| &before.kind),
                self.steps.get_mut(at),
            ) else {
                return Err(Error::defect(format!("step {at} is swapped as a stage and is none")));
            };
            // What happened to the version that goes is told first.
            let (changes, failed_rows) = running.take_changes(old);
            self.changes.extend(changes);
            self.failed_rows += failed_rows;
            let decided = running.deciding(old);
            if decided.deployment != new.deployment || decided.module.digest != new.module.digest {
                let first_sequence = self.last_sequence + 1;
                let change = in_force(&node.name, new, first_sequence, stage.trial_left());
                self.changes.push(change);
            }
            stage.measured().for_each(|module| self.metrics.add_module(module));
            let shadow = running.set_shadow(None);
            retired.push(mem::replace(&mut **running, stage));
            retired_shadows.extend(running.set_shadow(shadow));
        }
        for (name, shadow) in shadows {
            let at = plan.nodes.position(|node| node.name == name);
            if let Some(Step::Stage(stage)) = at.and_then(|at| self.steps.get_mut(at)) {
                let measured = shadow.as_ref().and_then(ShadowFeed::measured);
                measured.into_iter().for_each(|module| self.metrics.add_module(module));
                retired_shadows.extend(stage.set_shadow(shadow));
            }
        }
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
        let plan = mem::replace(&mut self.plan, plan);
        Ok(Retired {
            _plan: plan,
            _stages: retired,
            _shadows: retired_shadows,
        })
    }
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
            return Err(Error::definition(format!(
                "{what} would have the columns {after_columns} instead of {before_columns}; a swap leaves tables as they \
                 are: name the columns of the sink in the pipeline file, or run into a new database"
            )));
        }
    }
    for (before, after) in running.nodes.iter().zip(&plan.nodes) {
        for ((_, runs), (spec, guest)) in before.kind.guests().zip(after.kind.guests()) {
            if runs.module.digest != guest.module.digest {
                return Err(Error::definition(format!(
                    "column \"{}\" of step \"{}\" is computed by module {}, and its file holds {} by now; an aggregate is \
                     not swapped while it runs: stop the pipeline and start it again",
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
    let columns = sink.columns.iter().enumerate().map(|(at, (field, _))| {
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
