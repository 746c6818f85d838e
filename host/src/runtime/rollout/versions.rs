//! Versions of rules as a plan has them and as a database knows them.

use super::{
    harm::{RefusedStep, refusal, refusal_of_module, stopped},
    modules::{digest_of, load_stored, of_file_version},
};
use crate::{
    error::{Error, Result},
    model::deployment::{Deployment, StoredVersion},
    plan::{NodeKind, Plan, StagePlan, StageVersion, StepVersions, Versions},
    runtime::status::{FailedVersion, StepStatus},
    storage::Inspect,
    wasm::StageHost,
};
use std::fmt;

/// The versions with which a pipeline starts: those that its database knows to be in force, where they were deployed; else
/// what its file says. Where that is something else than decided last, it is on trial, and falls back on what did.
///
/// # Errors
/// When a module of the database is damaged or does not fit the pipeline any more; when the file names what this database
/// took back, unless it may be tried `again`.
pub fn plan_of_database(
    base: &Plan,
    host: &StageHost,
    database: &dyn Inspect,
    known: &[StoredVersion],
    again: bool,
) -> Result<Plan> {
    begin_of_database(base, host, database, known, again).map(|beginning| beginning.plan)
}

/// What a pipeline starts with.
#[derive(Debug)]
pub struct Start {
    /// The versions that run.
    pub plan: Plan,
    /// What the pipeline file names by now for steps that read a changelog. The rows that their last versions let through are
    /// judged anew, so these take over in a swap, before the first event.
    pub successors: Vec<(String, StageVersion)>,
    /// Steps whose last version is not run any more, and why: the one before it is in its place.
    pub taken_back: Vec<(String, String)>,
}

/// As [`plan_of_database`], and with what it takes back because the host died of it.
///
/// # Errors
/// As [`plan_of_database`].
pub fn begin_of_database(
    base: &Plan,
    host: &StageHost,
    database: &dyn Inspect,
    known: &[StoredVersion],
    again: bool,
) -> Result<Start> {
    let mut died: Vec<(String, String)> = Vec::new();
    let mut versions = Versions::new();
    let mut successors = Vec::new();
    // Steps whose module or parameters are not those that decided last.
    let mut changed: Vec<&str> = Vec::new();
    for node in &base.nodes {
        let NodeKind::Stage(stage) = &node.kind else { continue };
        let of_step = || known.iter().filter(|version| version.step == node.name);
        let Some(last) = of_step().next_back() else { continue };
        let (live, refusal) = match is_deployed(last)
            .then(|| refusal_of_module(host, &node.name, &last.deployment, &last.digest))
            .flatten()
        {
            Some(reason) => (None, Some(reason)),
            None => {
                let live = live_of(base, &node.name, stage, last, host, database)?;
                let reason = refusal(host, &node.name, &live);
                (Some(live), reason)
            }
        };
        if let Some(reason) = refusal {
            let refused = RefusedStep {
                base,
                host,
                database,
                step: &node.name,
                known: of_step().collect(),
                version: live.as_ref(),
            };
            let is_last = refused.is_last();
            let live = match (refused.before()?, live) {
                (Some(before), _) => {
                    died.extend(is_last.then(|| (node.name.clone(), reason)));
                    before
                }
                // Whether something else was deployed meanwhile is seen before the first event.
                (None, Some(live)) => live,
                (None, None) => return Err(stopped(&base.name, &node.name, &reason)),
            };
            let step = StepVersions {
                live: Some(live),
                ..Default::default()
            };
            versions.insert(node.name.clone(), step);
            continue;
        }
        let Some(live) = live else { continue };
        // What the host died of is nothing to fall back on.
        let load = |deployment: &Deployment, digest: &str| -> Result<Option<StageVersion>> {
            if refusal_of_module(host, &node.name, deployment, digest).is_some() {
                return Ok(None);
            }
            let good = load_stored(host, database, &node.name, deployment, digest)?;
            Ok(Some(good).filter(|good| self::refusal(host, &node.name, good).is_none()))
        };
        let on_trial = last.fallback.as_ref().filter(|_| last.trial.left > 0);
        let on_trial = on_trial.map(|fallback| match digest_of(fallback, of_step()) {
            Some(digest) => load(fallback, digest),
            None => load(fallback, &stage.module.digest),
        });
        let fallback = if live.is(&last.digest, &last.deployment.parameters) {
            on_trial.transpose()?.flatten()
        } else {
            let taken_back = taken_back(known, &node.name, &live).filter(|_| !again);
            if let Some(taken_back) = taken_back {
                return Err(Error::definition(format!(
                    "step \"{}\" of pipeline {}: database {} took back what the pipeline file names: {}; name another \
                     module or other parameters, or say --again to put it on trial once more",
                    node.name,
                    base.name,
                    database.location(),
                    why(taken_back)
                )));
            }
            let decided = || load(&last.deployment, &last.digest);
            if base.is_changelog(node.input)
                && let Some(last) = decided()?
            {
                let step = StepVersions {
                    live: Some(last),
                    fallback: on_trial.transpose()?.flatten(),
                    shadow: None,
                };
                versions.insert(node.name.clone(), step);
                successors.push((node.name.clone(), live));
                continue;
            }
            changed.push(&node.name);
            match (base.is_changelog(node.input), on_trial) {
                (true, _) => None,
                (false, Some(good)) => good?,
                (false, None) => decided()?,
            }
        };
        let live = Some(live);
        let step = StepVersions {
            live,
            fallback,
            shadow: None,
        };
        versions.insert(node.name.clone(), step);
    }
    let plan = base.again(host, &versions).or_else(|error| {
        let mut alone = versions;
        let fallbacks = alone.iter_mut().filter(|(step, _)| changed.contains(&step.as_str()));
        fallbacks.for_each(|(_, step)| step.fallback = None);
        let plan = base.again(host, &alone).map_err(|_| error)?;
        tracing::warn!(
            pipeline = base.name,
            "pipeline {}: what decided before does not go with the pipeline file any more, so there is no trial of {}",
            base.name,
            changed.join(", ")
        );
        Ok(plan)
    });
    let plan = plan.map_err(|error: Error| {
        error.context(format!(
            "database {} knows of deployed modules that the pipeline file does not go with any more",
            database.location()
        ))
    })?;
    Ok(Start {
        plan,
        successors,
        taken_back: died,
    })
}

/// Whether a version was deployed, and is kept in the database.
fn is_deployed(version: &StoredVersion) -> bool {
    version.deployment.digest.is_some() && version.deployment.version > 0
}

/// What a step runs at a start where `last` decided last.
fn live_of(
    base: &Plan,
    step: &str,
    of_file: &StagePlan,
    last: &StoredVersion,
    host: &StageHost,
    database: &dyn Inspect,
) -> Result<StageVersion> {
    let deployment = &last.deployment;
    match &deployment.digest {
        Some(digest) if deployment.version > 0 => load_stored(host, database, step, deployment, digest),
        _ => of_file_version(base, step, deployment).map(|live| StageVersion {
            module: of_file.module.clone(),
            ..live
        }),
    }
}

/// The last time that a step ran what `version` is, where that was taken back.
pub(super) fn taken_back<'k>(
    known: &'k [StoredVersion],
    step: &str,
    version: &StageVersion,
) -> Option<&'k StoredVersion> {
    let same = |known: &&StoredVersion| known.step == step && version.is(&known.digest, &known.deployment.parameters);
    known.iter().rfind(same).filter(|last| last.trial.taken_back.is_some())
}

/// Where and why a version was taken back.
pub(super) fn why(taken_back: &StoredVersion) -> String {
    let parameters = taken_back.deployment.parameters.iter();
    let parameters: Vec<String> = parameters.map(|(name, value)| format!("{name} = {value}")).collect();
    format!(
        "module {}{} was taken back from sequence {} on: {}",
        taken_back.digest.get(..12).unwrap_or(&taken_back.digest),
        match parameters.is_empty() {
            true => String::new(),
            false => format!(" with {}", parameters.join(", ")),
        },
        taken_back.taken_back_from(),
        taken_back.trial.taken_back.as_deref().unwrap_or_default()
    )
}

/// What a deployment says in place of the pipeline file.
#[derive(Debug)]
pub struct Overridden {
    version: u64,
    by: String,
    /// What it is there, and what it is in the file.
    differs: Vec<(String, String, String)>,
}

impl Overridden {
    /// Where a deployment has the word, and something else to say.
    pub fn of(deployment: &Deployment, of_file: &StagePlan) -> Option<Self> {
        if deployment.version == 0 || deployment.of_file {
            return None;
        }
        let short = |digest: &str| digest.get(..12).unwrap_or(digest).to_owned();
        let mut differs = Vec::new();
        if let Some(digest) = deployment
            .digest
            .as_ref()
            .filter(|digest| **digest != of_file.module.digest)
        {
            differs.push(("module".to_owned(), short(digest), short(&of_file.module.digest)));
        }
        let in_file = |name: &str| {
            let said = of_file.deployment.parameters.get(name).map(ToString::to_string);
            let known = || of_file.parameters.iter().find(|(known, _)| known == name);
            said.or_else(|| known().map(|(_, value)| value.to_string()))
        };
        let names = deployment.parameters.keys().chain(of_file.deployment.parameters.keys());
        let names: std::collections::BTreeSet<&String> = names.collect();
        for name in names {
            let deployed = deployment.parameters.get(name).map(ToString::to_string);
            let of_file = in_file(name);
            if !is_same_value(deployed.as_deref(), of_file.as_deref()) {
                let or_default = |value: Option<String>| value.unwrap_or_else(|| "the default of the rule".to_owned());
                differs.push((name.clone(), or_default(deployed), or_default(of_file)));
            }
        }
        (!differs.is_empty()).then(|| Self {
            version: deployment.version,
            by: deployment.by.clone(),
            differs,
        })
    }
}

/// Whether two values are the same to a rule; a double may be written as an integer.
fn is_same_value(a: Option<&str>, b: Option<&str>) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok());
    a == b || number(a).is_some_and(|value| number(b) == Some(value))
}

impl fmt::Display for Overridden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deployed version {}", self.version)?;
        if !self.by.is_empty() {
            write!(f, " (by {})", self.by)?;
        }
        let differs = self.differs.iter();
        let differs = differs.map(|(name, deployed, of_file)| match name.as_str() {
            "module" => format!("module {deployed} in place of {of_file}"),
            _ => format!("{name} = {deployed} in place of {of_file}"),
        });
        write!(f, " has {}", differs.collect::<Vec<_>>().join(", "))
    }
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
            by_fallback: last.map_or(0, |last| last.trial.by_fallback.len() as u64),
            failed: taken_back.map(FailedVersion::of),
            ..step_status(name, stage)
        }
    });
    steps.collect()
}

impl FailedVersion {
    /// Of one that was taken back.
    pub(super) fn of(version: &StoredVersion) -> Self {
        Self {
            version: version.deployment.version,
            taken_back: true,
            sequence: version.taken_back_from(),
            reason: version.trial.taken_back.clone().unwrap_or_default(),
            digest: version.digest.clone(),
            parameters: version.deployment.parameters.clone(),
        }
    }
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
