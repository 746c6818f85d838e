//! Modules on their way: fetched, and compiled beside the rollout. One that takes its minute holds up its own step and no
//! other.

use super::{Heard, Worker};
use crate::{deployment::Deployment, error::Result, stage::Compilation, trust::Role};
use std::{collections::BTreeMap, sync::Arc};

/// A module that is being compiled, or is by now. Dropped before, that is given up.
pub(super) struct Arriving {
    digest: String,
    bytes: Arc<[u8]>,
    compilation: Compilation,
}

impl Worker {
    /// The bytes of a module that was fetched, or fetches them.
    pub(super) fn module_bytes(&self, digest: &str) -> Result<Arc<[u8]>> {
        match self.arriving.values().find(|arriving| arriving.digest == digest) {
            Some(arriving) => Ok(arriving.bytes.clone()),
            None => Ok(self.registry()?.module(digest)?.into()),
        }
    }

    /// Gives up compiling what is not wanted any more, as where something else was deployed meanwhile.
    pub(super) fn give_up_overtaken(&mut self) {
        if self.arriving.is_empty() {
            return;
        }
        let wanted: BTreeMap<_, _> = self.wanted_modules().collect();
        self.arriving
            .retain(|wanting, arriving| wanted.get(wanting) == Some(&arriving.digest));
    }

    /// Begins to compile the modules of all that is wanted. What goes wrong shows again, and is told, when it is prepared.
    pub(super) fn begin_arriving(&mut self) {
        let missing: Vec<_> = self
            .wanted_modules()
            .filter(|(wanting, _)| !self.arriving.contains_key(wanting))
            .collect();
        for (wanting, digest) in missing {
            if let Ok(arriving) = self.arrive(digest) {
                self.arriving.insert(wanting, arriving);
            }
        }
    }

    /// Lets go of a module that could not be compiled for a reason that is not its own, so that it is tried again.
    pub(super) fn try_again(&mut self, role: Role, step: &str) {
        self.arriving.remove(&(role, step.to_owned()));
    }

    /// Takes a candidate that can be prepared without waiting for a compiler.
    pub(super) fn next_candidate(&mut self) -> Option<(String, Option<Deployment>)> {
        let mut steps = self.wanted_shadows.keys();
        let step = steps.find(|step| self.is_there(Role::Candidate, step))?.clone();
        self.wanted_shadows.remove_entry(&step)
    }

    /// The same of a deployment.
    pub(super) fn next_deployment(&mut self) -> Option<(String, Deployment)> {
        let mut steps = self.wanted.keys();
        let step = steps.find(|step| self.is_there(Role::Live, step))?.clone();
        self.wanted.remove_entry(&step)
    }

    /// What is wanted: for which role in which step, and by which module.
    fn wanted_modules(&self) -> impl Iterator<Item = ((Role, String), String)> {
        let steps = self.wanted.iter();
        let steps = steps.map(|(step, wanted)| (Role::Live, step, Some(wanted)));
        let beside = self.wanted_shadows.iter();
        // One that is not signed as it has to be is refused when it is prepared, and not fetched before.
        let is_trusted = |step: &str, candidate: &&Deployment| self.check_trusted_candidate(step, candidate).is_ok();
        let beside = beside.map(move |(step, wanted)| {
            let wanted = wanted.as_ref().filter(|candidate| is_trusted(step, candidate));
            (Role::Candidate, step, wanted)
        });
        let all = steps.chain(beside);
        all.filter_map(|(role, step, wanted)| Some(((role, step.clone()), wanted?.digest.clone()?)))
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

    fn is_there(&self, role: Role, step: &str) -> bool {
        let arriving = self.arriving.get(&(role, step.to_owned()));
        arriving.is_none_or(|arriving| arriving.compilation.is_done())
    }
}
