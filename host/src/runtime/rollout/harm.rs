//! What runs in the place of a version that the host died of too often: see [`crate::wasm::watch`].

use super::{
    Worker,
    modules::{digest_of, load_stored, of_file_version},
};
use crate::{
    engine::Engine,
    error::{Error, Result},
    model::deployment::{Deployment, StoredVersion},
    plan::{Plan, StageVersion, StepVersions},
    storage::Inspect,
    wasm::StageHost,
};
/// What to do where nothing runs.
const WAYS_OUT: &str = "deploy another version, name another module or other parameters in the pipeline file, or say --again to \
                        run it once more";

/// Why a version is not run any more.
pub(super) fn refusal(host: &StageHost, step: &str, version: &StageVersion) -> Option<String> {
    let parameters = version.all_parameters();
    host.at(version.deployment.whose(step))
        .refusal(&version.module.digest, parameters.as_deref())
}

/// Why the module of a version that is kept in the database is not even loaded.
pub(super) fn refusal_of_module(host: &StageHost, step: &str, deployment: &Deployment, digest: &str) -> Option<String> {
    host.at(deployment.whose(step)).refusal(digest, None)
}

/// A step whose version is not run any more.
pub(super) struct RefusedStep<'s> {
    pub(super) base: &'s Plan,
    pub(super) host: &'s StageHost,
    pub(super) database: &'s dyn Inspect,
    pub(super) step: &'s str,
    /// What decided over its rows, in order.
    pub(super) known: Vec<&'s StoredVersion>,
    /// What is refused, where it could be loaded; else it is the last of those that decided.
    pub(super) version: Option<&'s StageVersion>,
}

impl RefusedStep<'_> {
    /// Whether it is what decided last.
    pub(super) fn is_last(&self) -> bool {
        self.known.last().is_some_and(|last| self.is(last))
    }

    fn is(&self, known: &StoredVersion) -> bool {
        match (self.version, self.known.last()) {
            (Some(version), _) => version.is(&known.digest, &known.deployment.parameters),
            (None, Some(last)) => last.digest == known.digest,
            (None, None) => false,
        }
    }

    /// The version before it, if that may take its place.
    ///
    /// It may not where rows would have to be taken back by the one that let them in, and where it has to go as well: two
    /// versions that the host died of at one event do not die of what they are, and a third one would do no better.
    ///
    /// # Errors
    /// When the database is damaged.
    pub(super) fn before(&self) -> Result<Option<StageVersion>> {
        let Some(before) = self.candidate()? else {
            return Ok(None);
        };
        let node = self.base.nodes.iter().find(|node| node.name == self.step);
        let is_changelog = node.is_some_and(|node| self.base.is_changelog(node.input));
        // Where what is refused did not decide last, the one that did goes on.
        if is_changelog && self.is_last() || refusal(self.host, self.step, &before).is_some() {
            return Ok(None);
        }
        let live = StepVersions {
            live: Some(before.clone()),
            ..Default::default()
        };
        let versions = [(self.step.to_owned(), live)].into_iter().collect();
        Ok(self.base.again(self.host, &versions).is_ok().then_some(before))
    }

    fn candidate(&self) -> Result<Option<StageVersion>> {
        let load =
            |deployment: &Deployment, digest: &str| match refusal_of_module(self.host, self.step, deployment, digest) {
                Some(_) => Ok(None),
                None => load_stored(self.host, self.database, self.step, deployment, digest).map(Some),
            };
        let last = self.known.last().filter(|last| self.is(last));
        if let Some(fallback) = last
            .filter(|last| last.trial.left > 0)
            .and_then(|last| last.fallback.as_ref())
            && let Some(digest) = digest_of(fallback, self.known.iter().copied())
        {
            return load(fallback, digest);
        }
        if last.is_some_and(|last| self.came_for_another(last)) {
            return Ok(None);
        }
        let mut others = self.known.iter().rev().filter(|known| !self.is(known));
        if let Some(before) = others.find(|known| known.trial.taken_back.is_none()) {
            return load(&before.deployment, &before.digest);
        }
        // Nothing else decided here. Without what was deployed the pipeline file would have.
        let of_file = of_file_version(self.base, self.step, &Deployment::default())?;
        let is_it = match self.version {
            Some(version) => of_file.is(&version.module.digest, &version.deployment.parameters),
            None => last.is_some_and(|last| of_file.module.digest == last.digest),
        };
        Ok((!is_it).then_some(of_file))
    }

    /// Whether it took the place of another one that the host died of, and came no further.
    fn came_for_another(&self, last: &StoredVersion) -> bool {
        let before = self.known.iter().rev().nth(1);
        let died = before.is_some_and(|before| before.trial.taken_back.is_some() && before.trial.ended.is_some());
        let harm = self.host.watch().and_then(|watch| {
            let whose = last.deployment.whose(self.step);
            watch.harms_of(&whose, &last.digest).map(|harm| harm.position).max()
        });
        died && harm.is_some_and(|position| position < last.first_sequence)
    }
}

impl Worker {
    /// Looks which guests ran for long enough without harm; those are not to be blamed any more for what happened before.
    pub(super) fn look_at_guests(&self) {
        let Some(watch) = self.host.watch() else { return };
        for harm in watch.look(self.subject.metrics.last_commit()) {
            if let Err(error) = self.subject.backend.forget_harms(&self.running.name, Some(&harm)) {
                tracing::warn!(pipeline = self.running.name, "pipeline {}: {error}", self.running.name);
            }
        }
    }
}

/// Why a deployment is refused that the host died of.
pub(super) fn not_again(reason: &str) -> Error {
    Error::definition(format!("{reason}; deploy another, or the same with --again"))
}

/// Ends a start where nothing took the place of a version that the host died of too often.
pub(crate) fn check_refused(engine: &Engine, pipeline: &str) -> Result<()> {
    match engine.refused() {
        None => Ok(()),
        Some((step, reason)) => Err(stopped(pipeline, step, reason)),
    }
}

pub(super) fn stopped(pipeline: &str, step: &str, reason: &str) -> Error {
    Error::definition(format!(
        "step \"{step}\" of pipeline {pipeline}: {reason}. It is not run again, and no version before it can take its place; \
         {WAYS_OUT}"
    ))
}
