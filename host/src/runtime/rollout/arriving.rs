//! Modules on their way: fetched, and compiled beside the rollout. One that takes its minute holds up its own step and no
//! other.

use super::{RolloutEvent, Worker};
use crate::{
    error::{Error, ErrorKind, Result},
    model::deployment::Deployment,
    runtime::status::WaitingVersion,
    say,
    trust::Role,
    wasm::{Binary, Compilation},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long to wait before what the server or the machine did not give is asked for again.
const RETRY: Duration = Duration::from_secs(2);

/// A module that is being compiled, or is by now. Dropped before, that is given up.
pub(super) struct Arriving {
    binary: Binary,
    compilation: Compilation,
}

/// What waits for something that the machine or the server does not give.
#[derive(Debug)]
pub(super) struct Waiting {
    reason: String,
    retry_at: Instant,
}

impl Worker {
    /// A module that was fetched, or fetches it.
    ///
    /// # Errors
    /// When it cannot be had; and when it could not be compiled for a reason that is not its own, since whoever loads it would
    /// compile it, and wait for that.
    pub(super) fn module_binary(&self, digest: &str) -> Result<Binary> {
        let mut arriving = self.arriving.values();
        let Some(arriving) = arriving.find(|arriving| arriving.binary.digest() == digest) else {
            return Binary::stored(digest, self.registry()?.module(digest)?);
        };
        match arriving.compilation.failure() {
            Some(error) => Err(error.context(format!("module {digest}"))),
            None => Ok(arriving.binary.clone()),
        }
    }

    /// Gives up compiling what is not wanted any more, as where something else was deployed meanwhile, and waits for it no more.
    pub(super) fn give_up_overtaken(&mut self) {
        self.waiting.retain(|(role, step), _| match role {
            Role::Live => self.wanted.contains_key(step),
            Role::Candidate => self.wanted_shadows.contains_key(step),
        });
        if self.arriving.is_empty() {
            return;
        }
        let wanted: BTreeMap<_, _> = self.wanted_modules().collect();
        self.arriving.retain(|wanting, arriving| {
            wanted
                .get(wanting)
                .is_some_and(|digest| arriving.binary.digest() == digest)
        });
    }

    /// Begins to compile the modules of all that is wanted. What cannot be had waits; what else goes wrong shows again, and is
    /// told, when it is prepared.
    pub(super) fn begin_arriving(&mut self) {
        let missing: Vec<_> = self
            .wanted_modules()
            .filter(|(wanting, digest)| {
                let is_arriving = self.arriving.contains_key(wanting);
                !is_arriving && self.is_due(wanting) && self.host.loaded_module(digest).is_none()
            })
            .collect();
        for ((role, step), digest) in missing {
            match self.arrive(&digest) {
                Ok(arriving) => _ = self.arriving.insert((role, step), arriving),
                Err(error) if error.kind() == ErrorKind::Environment => self.wait_for(role, &step, &error),
                Err(_) => {}
            }
        }
    }

    /// Says what is waited for, once, and tries it again a while later. What else is wanted goes on meanwhile.
    pub(super) fn wait_for(&mut self, role: Role, step: &str, error: &Error) {
        let reason = error.to_string();
        let wanting = (role, step.to_owned());
        // What could not be compiled for a reason that is not its own is not kept: that is what is tried again.
        self.arriving.remove(&wanting);
        let before = self.waiting.get(&wanting);
        if before.is_none_or(|before| before.reason != reason) {
            // So that it is told at once: somebody looks on.
            self.reported = None;
            let pipeline = &self.running.name;
            match (role, self.wanted.get(step)) {
                (Role::Live, Some(Deployment { version, .. })) => say!(
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
        self.waiting.insert(wanting, Waiting { reason, retry_at });
    }

    /// The deployment of a step that waits.
    pub(super) fn waits(&self, step: &str) -> Option<WaitingVersion> {
        let waiting = self.waiting.get(&(Role::Live, step.to_owned()))?;
        Some(WaitingVersion {
            version: self.wanted.get(step)?.version,
            reason: waiting.reason.clone(),
        })
    }

    /// How long until more of what waits is due; what is due already is tried as soon as nothing is in flight.
    pub(super) fn until_retry(&self) -> Option<Duration> {
        let now = Instant::now();
        let waiting = self.waiting.values().filter(|waiting| waiting.retry_at > now);
        waiting.map(|waiting| waiting.retry_at - now).min()
    }

    /// Takes a candidate that can be prepared without waiting for a compiler.
    pub(super) fn take_candidate(&mut self) -> Option<(String, Option<Deployment>)> {
        let step = self.next(Role::Candidate)?;
        self.wanted_shadows.remove_entry(&step)
    }

    /// The same of a deployment.
    pub(super) fn take_deployment(&mut self) -> Option<(String, Deployment)> {
        let step = self.next(Role::Live)?;
        self.wanted.remove_entry(&step)
    }

    /// Whether there is such a candidate, or such a deployment.
    pub(super) fn has_next(&self) -> bool {
        [Role::Candidate, Role::Live]
            .into_iter()
            .any(|role| self.next(role).is_some())
    }

    /// The step for which something can be prepared. What was never tried comes first, so that what fails again and again
    /// does not keep it out.
    fn next(&self, role: Role) -> Option<String> {
        let steps: Vec<&String> = match role {
            Role::Live => self.wanted.keys().collect(),
            Role::Candidate => self.wanted_shadows.keys().collect(),
        };
        let wanting = |step: &String| (role, step.clone());
        let there = steps.into_iter().map(wanting).filter(|wanting| self.is_there(wanting));
        let next = there.min_by_key(|wanting| self.waiting.get(wanting).map(|waiting| waiting.retry_at));
        next.map(|(_, step)| step)
    }

    /// What is wanted: for which role in which step, and by which module.
    fn wanted_modules(&self) -> impl Iterator<Item = ((Role, String), String)> {
        // One that is not signed as it has to be, or whose time is over by now, is refused when it is prepared, and not fetched
        // before.
        let steps = self.wanted.iter().map(|(step, wanted)| {
            let is_signed = self.check_signature(step, wanted).is_ok();
            (Role::Live, step, Some(wanted).filter(|_| is_signed))
        });
        let beside = self.wanted_shadows.iter();
        let is_trusted = |step: &str, candidate: &&Deployment| self.check_trusted_candidate(step, candidate).is_ok();
        let beside = beside.map(move |(step, wanted)| {
            let wanted = wanted.as_ref().filter(|candidate| is_trusted(step, candidate));
            (Role::Candidate, step, wanted)
        });
        let all = steps.chain(beside);
        all.filter_map(|(role, step, wanted)| Some(((role, step.clone()), wanted?.digest.clone()?)))
    }

    fn arrive(&self, digest: &str) -> Result<Arriving> {
        let binary = self.module_binary(digest)?;
        let compilation = self.host.begin_deployed(&binary)?;
        if let Some(sender) = self.sender.clone() {
            compilation.then(move || _ = sender.send(RolloutEvent::Compiled));
        }
        Ok(Arriving { binary, compilation })
    }

    /// Whether it can be prepared now.
    fn is_there(&self, wanting: &(Role, String)) -> bool {
        let arriving = self.arriving.get(wanting);
        self.is_due(wanting) && arriving.is_none_or(|arriving| arriving.compilation.is_done())
    }

    /// Whether it does not wait to be tried again.
    fn is_due(&self, wanting: &(Role, String)) -> bool {
        let waiting = self.waiting.get(wanting);
        waiting.is_none_or(|waiting| waiting.retry_at <= Instant::now())
    }
}
