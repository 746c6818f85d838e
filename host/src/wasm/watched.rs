//! Who watches the guests of a host, for the case that it dies of one: see [`crate::wasm::watch`].

use super::host::StageHost;
use crate::{
    model::{deployment::Whose, guest::ParameterValue},
    wasm::watch::{GuestWatch, PipelineWatch},
};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3Default;

impl StageHost {
    /// The same host, for a pipeline whose guests are watched.
    #[must_use]
    pub fn with_watch(&self, watch: Arc<PipelineWatch>) -> Self {
        let mut host = self.clone();
        host.watch = Some(watch);
        host
    }

    /// The same host, for what it does for this guest.
    #[must_use]
    pub fn at(&self, whose: Whose) -> Self {
        let mut host = self.clone();
        host.whose = whose;
        host
    }

    /// The watch over the guests of its pipeline, where there is one.
    pub fn watch(&self) -> Option<&Arc<PipelineWatch>> {
        self.watch.as_ref()
    }

    /// Why a guest is not run any more; without parameters, why its module is not.
    pub fn refusal(&self, digest: &str, parameters: Option<&[(String, ParameterValue)]>) -> Option<String> {
        let watch = self.watch.as_ref()?;
        let parameters = parameters.map(hash_of);
        watch
            .refusal(&self.whose, digest, parameters.as_deref())
            .map(ToString::to_string)
    }

    /// A watch over a guest; without parameters, over its module while that is loaded.
    pub(super) fn guest_watch(&self, digest: &str, parameters: Option<&[(String, ParameterValue)]>) -> GuestWatch {
        let Some(watch) = &self.watch else {
            return GuestWatch::default();
        };
        let parameters = parameters.map(hash_of);
        watch.over(&self.whose, digest, parameters.as_deref())
    }
}

/// Every parameter of a guest, in few bytes: those that a rule has of itself count as much as those that are set.
fn hash_of(parameters: &[(String, ParameterValue)]) -> String {
    let mut hash = Xxh3Default::new();
    for (name, value) in parameters {
        hash.update(format!("{name:?} = {value:?}\n").as_bytes());
    }
    format!("{:032x}", hash.digest128())
}
