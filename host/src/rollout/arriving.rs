//! Modules on their way: fetched, and compiled beside the rollout. One that takes its minute holds up its own step and no
//! other.

use super::{Heard, Worker};
use crate::{
    deployment::Deployment,
    error::{Error, Result},
    say,
    stage::Compilation,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long to wait before what the server or the machine did not give is asked for again.
const RETRY: Duration = Duration::from_secs(2);

/// Where a module is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In place of what a step runs.
    Step,
    /// Beside it.
    Beside,
}

/// A module that is being compiled, or is by now. Dropped before, that is given up.
pub(super) struct Arriving {
    digest: String,
    bytes: Arc<[u8]>,
    compilation: Compilation,
}

/// What waits for something that the machine or the server does not give.
#[derive(Debug)]
pub(super) struct Waiting {
    reason: String,
    retry_at: Instant,
}

impl Worker {
    /// The bytes of a module that was fetched, or fetches them.
    pub(super) fn module_bytes(&self, digest: &str) -> Result<Arc<[u8]>> {
        match self.arriving.values().find(|arriving| arriving.digest == digest) {
            Some(arriving) => Ok(arriving.bytes.clone()),
            None => Ok(self.registry()?.module(digest)?.into()),
        }
    }

    /// Gives up compiling what is not wanted any more, as where something else was deployed meanwhile, and waits for it no more.
    pub(super) fn give_up_overtaken(&mut self) {
        self.waiting.retain(|(place, step), _| match place {
            Place::Step => self.wanted.contains_key(step),
            Place::Beside => self.wanted_shadows.contains_key(step),
        });
        if self.arriving.is_empty() {
            return;
        }
        let wanted: BTreeMap<_, _> = self.wanted_modules().collect();
        self.arriving
            .retain(|place, arriving| wanted.get(place) == Some(&arriving.digest));
    }

    /// Begins to compile the modules of all that is wanted. What goes wrong shows again, and is told, when it is prepared.
    pub(super) fn begin_arriving(&mut self) {
        let missing: Vec<_> = self
            .wanted_modules()
            .filter(|(place, digest)| {
                let is_arriving = self.arriving.contains_key(place);
                !is_arriving && self.is_due(place) && self.host.loaded_module(digest).is_none()
            })
            .collect();
        for (place, digest) in missing {
            if let Ok(arriving) = self.arrive(digest) {
                self.arriving.insert(place, arriving);
            }
        }
    }

    /// Says what is waited for, once, and tries it again a while later. What else is wanted goes on meanwhile.
    pub(super) fn wait_for(&mut self, place: Place, step: &str, wanted: Option<&Deployment>, error: &Error) {
        let reason = error.to_string();
        let at = (place, step.to_owned());
        // What could not be compiled for a reason that is not its own is not kept: that is what is tried again.
        self.arriving.remove(&at);
        let before = self.waiting.get(&at);
        if before.is_none_or(|before| before.reason != reason) {
            let pipeline = &self.running.name;
            match (place, wanted) {
                (Place::Step, Some(Deployment { version, .. })) => say!(
                    Warning,
                    "weir: version {version} of step {step} of pipeline {pipeline} waits: {reason}"
                ),
                _ => say!(
                    Warning,
                    "weir: the candidate for step {step} of pipeline {pipeline} waits: {reason}"
                ),
            }
        }
        let retry_at = Instant::now() + RETRY;
        self.waiting.insert(at, Waiting { reason, retry_at });
    }

    /// How long nothing of what waits is tried again.
    pub(super) fn until_retry(&self) -> Option<Duration> {
        let now = Instant::now();
        // What is due is tried as soon as nothing is in flight, which is heard of.
        let waiting = self.waiting.values().filter(|waiting| waiting.retry_at > now);
        waiting.map(|waiting| waiting.retry_at - now).min()
    }

    /// Takes a candidate that can be prepared without waiting for a compiler.
    pub(super) fn next_candidate(&mut self) -> Option<(String, Option<Deployment>)> {
        let mut steps = self.wanted_shadows.keys();
        let step = steps.find(|step| self.is_there(Place::Beside, step))?.clone();
        self.wanted_shadows.remove_entry(&step)
    }

    /// The same of a deployment.
    pub(super) fn next_deployment(&mut self) -> Option<(String, Deployment)> {
        let mut steps = self.wanted.keys();
        let step = steps.find(|step| self.is_there(Place::Step, step))?.clone();
        self.wanted.remove_entry(&step)
    }

    /// What is wanted, and by which modules.
    fn wanted_modules(&self) -> impl Iterator<Item = ((Place, String), String)> {
        let steps = self.wanted.iter();
        let steps = steps.map(|(step, wanted)| (Place::Step, step, Some(wanted)));
        let beside = self.wanted_shadows.iter();
        // One that is not signed as it has to be is refused when it is prepared, and not fetched before.
        let is_trusted = |step: &str, candidate: &&Deployment| self.check_trusted_candidate(step, candidate).is_ok();
        let beside = beside.map(move |(step, wanted)| {
            let wanted = wanted.as_ref().filter(|candidate| is_trusted(step, candidate));
            (Place::Beside, step, wanted)
        });
        let all = steps.chain(beside);
        all.filter_map(|(place, step, wanted)| Some(((place, step.clone()), wanted?.digest.clone()?)))
    }

    fn arrive(&self, digest: String) -> Result<Arriving> {
        let bytes = self.module_bytes(&digest)?;
        let compilation = self.host.begin_deployed(&digest, &bytes)?;
        if let Some(heard) = self.heard.clone() {
            compilation.then(move || _ = heard.send(Heard::Compiled));
        }
        Ok(Arriving {
            digest,
            bytes,
            compilation,
        })
    }

    /// Whether it can be prepared now.
    fn is_there(&self, place: Place, step: &str) -> bool {
        let at = (place, step.to_owned());
        let arriving = self.arriving.get(&at);
        self.is_due(&at) && arriving.is_none_or(|arriving| arriving.compilation.is_done())
    }

    /// Whether it does not wait to be tried again.
    fn is_due(&self, at: &(Place, String)) -> bool {
        let waiting = self.waiting.get(at);
        waiting.is_none_or(|waiting| waiting.retry_at <= Instant::now())
    }
}
