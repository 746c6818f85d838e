//! Modules on their way: fetched, and compiled beside the rollout. One that takes its minute holds up its own step and no
//! other.

use super::{Heard, Worker};
use crate::{deployment::Deployment, error::Result, stage::Compilation};
use std::{collections::BTreeMap, sync::Arc};

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
            .retain(|place, arriving| wanted.get(place) == Some(&arriving.digest));
    }

    /// Begins to compile the modules of all that is wanted. What goes wrong shows again, and is told, when it is prepared.
    pub(super) fn begin_arriving(&mut self) {
        let missing: Vec<_> = self
            .wanted_modules()
            .filter(|(place, _)| !self.arriving.contains_key(place))
            .collect();
        for (place, digest) in missing {
            if let Ok(arriving) = self.arrive(digest) {
                self.arriving.insert(place, arriving);
            }
        }
    }

    /// Lets go of a module that could not be compiled for a reason that is not its own, so that it is tried again.
    pub(super) fn try_again(&mut self, place: Place, step: &str) {
        self.arriving.remove(&(place, step.to_owned()));
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

    fn is_there(&self, place: Place, step: &str) -> bool {
        let arriving = self.arriving.get(&(place, step.to_owned()));
        arriving.is_none_or(|arriving| arriving.compilation.is_done())
    }
}
