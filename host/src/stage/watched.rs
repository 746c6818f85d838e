//! Who watches the guests of a host, for the case that it dies of one: see [`crate::watch`].

use super::{description::ParameterValue, host::StageHost};
use crate::watch::{Watch, Watcher, Whose};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3Default;

/// What a host knows of that.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    watcher: Arc<Watcher>,
    whose: Whose,
}

impl StageHost {
    /// The same host, for a pipeline whose guests are watched.
    #[must_use]
    pub fn watched(&self, watcher: Arc<Watcher>) -> Self {
        let whose = Whose::default();
        let mut host = self.clone();
        host.watched = Some(Watched { watcher, whose });
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

    /// Who watches, if somebody does.
    pub fn watcher(&self) -> Option<&Arc<Watcher>> {
        self.watched.as_ref().map(|watched| &watched.watcher)
    }

    /// Why a guest is not run any more; without parameters, why its module is not.
    pub fn refusal(&self, digest: &str, parameters: Option<&[(String, ParameterValue)]>) -> Option<String> {
        let Watched { watcher, whose } = self.watched.as_ref()?;
        let parameters = parameters.map(hash_of);
        watcher
            .refusal(whose, digest, parameters.as_deref())
            .map(ToString::to_string)
    }

    /// A watch over a guest; without parameters, over its module while that is loaded.
    pub(super) fn watch(&self, digest: &str, parameters: Option<&[(String, ParameterValue)]>) -> Watch {
        let Some(Watched { watcher, whose }) = &self.watched else {
            return Watch::default();
        };
        let parameters = parameters.map(hash_of);
        watcher.watch(whose, digest, parameters.as_deref())
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
