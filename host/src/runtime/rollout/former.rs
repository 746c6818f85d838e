//! A replay goes on with a database whose rules over changelogs were others: those take the last word on what they let
//! through, and what the plan has by now takes over from them.

use super::modules::load_stored;
use crate::{
    engine::{Engine, Successor, Unswappable},
    error::{Error, Result},
    limits::BATCH_EVENTS_MAX,
    model::deployment::StoredVersion,
    plan::{Node, NodeKind, Plan, StagePlan, StageVersion, StepVersions, Versions},
    storage::Inspect,
    wasm::StageHost,
};
use std::sync::Arc;

/// A plan with the rules over changelogs that decided last, and what takes their places.
#[derive(Debug)]
pub struct Former {
    /// What runs first.
    pub plan: Arc<Plan>,
    base: Plan,
    versions: Versions,
    successors: Vec<(String, StageVersion)>,
}

impl Former {
    /// Whether there is one: rules over changelogs of `plan` are others than those that decided last.
    pub fn are_others(plan: &Plan, known: &[StoredVersion]) -> bool {
        plan.nodes.iter().any(|node| replaced(plan, node, known).is_some())
    }

    /// Of `base`, which has the `versions` besides what its file says; `known` are those that decided over rows of the database.
    ///
    /// # Errors
    /// When a module of the database is damaged, or does not fit the pipeline any more.
    pub fn of(
        base: Plan,
        mut versions: Versions,
        host: &StageHost,
        database: &dyn Inspect,
        known: &[StoredVersion],
    ) -> Result<Self> {
        let mut successors = Vec::new();
        for node in &base.nodes {
            let Some((stage, last)) = replaced(&base, node, known) else {
                continue;
            };
            let live = StageVersion {
                module: stage.module.clone(),
                deployment: stage.deployment.clone(),
            };
            successors.push((node.name.clone(), live));
            let decided = load_stored(host, database, &node.name, &last.deployment, &last.digest)?;
            versions.entry(node.name.clone()).or_default().live = Some(decided);
        }
        let plan = Arc::new(base.again(host, &versions)?);
        Ok(Self {
            plan,
            base,
            versions,
            successors,
        })
    }

    /// Lets what the plan has by now take over, before the first event. Gives the plan that runs from there on.
    ///
    /// # Errors
    /// When it does not fit, or a current row cannot be judged by it. The engine is as it was then.
    pub fn follow(self, engine: &mut Engine, host: &StageHost) -> Result<Arc<Plan>> {
        let Self {
            plan: mut running,
            base,
            mut versions,
            successors,
        } = self;
        for (step, live) in successors {
            let of_step = StepVersions {
                live: Some(live),
                ..StepVersions::default()
            };
            versions.insert(step.clone(), of_step);
            let plan = Arc::new(base.again(host, &versions)?);
            let successor = Successor::prepare(&running, plan.clone(), host, BATCH_EVENTS_MAX)
                .map_err(|cause| does_not_follow(&step, &base.name, &cause.to_string()).like(&cause))?;
            if let Some(why) = engine.swap(successor)?.refused() {
                return Err(does_not_follow(&step, &base.name, why));
            }
            running = plan;
        }
        Ok(running)
    }
}

/// The stage over a changelog that `node` is, with what decided there last, where that was another rule.
fn replaced<'p>(
    plan: &'p Plan,
    node: &'p Node,
    known: &'p [StoredVersion],
) -> Option<(&'p StagePlan, &'p StoredVersion)> {
    let NodeKind::Stage(stage) = &node.kind else {
        return None;
    };
    let last = known.iter().rfind(|version| version.step == node.name)?;
    let is_other = plan.is_changelog(node.input) && !stage.is(&last.digest, &last.deployment.parameters);
    is_other.then_some((stage, last))
}

/// Why what a pipeline file names by now for a rule over a changelog does not take over.
pub(super) fn does_not_follow(step: &str, pipeline: &str, why: &str) -> Error {
    Error::definition(format!(
        "step \"{step}\" of pipeline {pipeline}: the rule that the pipeline file names by now cannot take over from the one that \
         judged the rows so far: {why}; {}",
        Unswappable::CurrentRow.instead()
    ))
}
