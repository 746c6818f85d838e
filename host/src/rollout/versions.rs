//! Versions of rules as a plan has them and as a database knows them.

use crate::{
    database::read_module,
    deployment::{Deployment, StoredVersion},
    error::Result,
    plan::{NodeKind, Plan, StagePlan, StageVersion, StepVersions, Versions},
    stage::StageHost,
    status::{FailedVersion, StepStatus},
};
use std::path::Path;

/// The versions with which a pipeline starts: those that its database knows to be in force, else what its file says.
///
/// # Errors
/// When a module of the database is damaged or does not fit the pipeline any more.
pub fn plan_of_database(base: &Plan, host: &StageHost, database: &Path, known: &[StoredVersion]) -> Result<Plan> {
    let mut versions = Versions::new();
    for node in &base.nodes {
        let NodeKind::Stage(stage) = &node.kind else { continue };
        let last = known.iter().rfind(|version| version.step == node.name);
        let Some(last) = last.filter(|last| last.deployment.version > 0) else {
            continue;
        };
        let load = |deployment: &Deployment| load_stored(stage, host, database, deployment);
        let fallback = last.fallback.as_ref().filter(|_| last.trial.left > 0);
        let step = StepVersions {
            live: Some(load(&last.deployment)?),
            fallback: fallback.map(load).transpose()?,
            shadow: None,
        };
        versions.insert(node.name.clone(), step);
    }
    base.again(host, &versions).map_err(|error| {
        error.context(format!(
            "database {} knows of deployed modules that the pipeline file does not go with any more",
            database.display()
        ))
    })
}

fn load_stored(
    of_file: &StagePlan,
    host: &StageHost,
    database: &Path,
    deployment: &Deployment,
) -> Result<StageVersion> {
    let module = match &deployment.digest {
        None => of_file.module.clone(),
        Some(digest) => host.load_deployed(digest, &read_module(database, digest)?)?,
    };
    let deployment = deployment.clone();
    Ok(StageVersion { module, deployment })
}

/// The guests of a plan, as versions for the next one.
pub(super) fn versions_of(plan: &Plan) -> Versions {
    let version = |stage: &StagePlan| StageVersion {
        module: stage.module.clone(),
        deployment: stage.deployment.clone(),
    };
    let stages = plan.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Stage(stage) => Some((
            node.name.clone(),
            StepVersions {
                live: Some(version(stage)),
                fallback: stage.fallback.as_deref().map(version),
                shadow: stage.shadow.as_deref().map(version),
            },
        )),
        _ => None,
    });
    stages.collect()
}

pub(super) fn steps_of(plan: &Plan, known: &[StoredVersion]) -> Vec<StepStatus> {
    let stages = plan.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Stage(stage) => Some((node.name.as_str(), stage)),
        _ => None,
    });
    let steps = stages.map(|(name, stage)| {
        let of_step = || known.iter().filter(|version| version.step == name);
        let last = of_step().next_back();
        let taken_back = of_step().rfind(|version| version.trial.taken_back.is_some());
        StepStatus {
            first_sequence: last.map_or(0, |last| last.first_sequence),
            trial_left: last.map_or(0, |last| last.trial.left),
            spoiled: last.map_or(0, |last| last.trial.spoiled.len() as u64),
            failed: taken_back.map(|version| FailedVersion {
                version: version.deployment.version,
                taken_back: true,
                sequence: version.trial.spoiled.last().map_or(0, |last| last + 1),
                reason: version.trial.taken_back.clone().unwrap_or_default(),
            }),
            ..step_status(name, stage)
        }
    });
    steps.collect()
}

fn step_status(step: &str, stage: &StagePlan) -> StepStatus {
    let description = &stage.module.description;
    StepStatus {
        step: step.to_owned(),
        deployment: stage.deployment.clone(),
        digest: stage.module.digest.clone(),
        rule: format!("{} {}", description.name, description.version),
        ..Default::default()
    }
}
