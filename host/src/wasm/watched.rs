//! Who watches the guests of a host, for the case that it dies of one: see [`crate::wasm::watch`].

use super::{description::ParameterValue, host::StageHost};
use crate::{
    model::deployment::Whose,
    wasm::watch::{GuestWatch, PipelineWatch},
};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3Default;

/// What a host knows of that.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    watch: Arc<PipelineWatch>,
    whose: Whose,
}

impl StageHost {
    /// The same host, for a pipeline whose guests are watched.
    #[must_use]
    pub fn with_watch(&self, watch: Arc<PipelineWatch>) -> Self {
        let whose = Whose::default();
        let mut host = self.clone();
        host.watched = Some(Watched { watch, whose });
        host
    }

    /// The same host, for what it does for this guest.
    #[must_use]
    pub fn at(&self, whose: Whose) -> Self {
        let mut host = self.clone();
        if let Some(watched) = &mut host.watched {
            watched.whose = whose;
        }
        host
    }

    /// The watch over the guests of its pipeline, where there is one.
    pub fn watch(&self) -> Option<&Arc<PipelineWatch>> {
        self.watched.as_ref().map(|watched| &watched.watch)
    }

    /// Why a guest is not run any more; without parameters, why its module is not.
    pub fn refusal(&self, digest: &str, parameters: Option<&[(String, ParameterValue)]>) -> Option<String> {
        let Watched { watch, whose } = self.watched.as_ref()?;
        let parameters = parameters.map(hash_of);
        watch
            .refusal(whose, digest, parameters.as_deref())
            .map(ToString::to_string)
    }

    /// A watch over a guest; without parameters, over its module while that is loaded.
    pub(super) fn guest_watch(&self, digest: &str, parameters: Option<&[(String, ParameterValue)]>) -> GuestWatch {
        let Some(Watched { watch, whose }) = &self.watched else {
            return GuestWatch::default();
        };
        let parameters = parameters.map(hash_of);
        watch.over(whose, digest, parameters.as_deref())
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
