//! Components that were found to be guests.

use super::{
    aggregate::AggregateDescription,
    bindings::{StageComponent, aggregate::AggregateComponent},
    description::Description,
    guest::Code,
};
use std::{fmt, path::PathBuf, sync::Arc};

/// A stage's component, compiled.
pub struct Module {
    /// SHA-256 of the component's bytes, in hexadecimal: the module version.
    pub digest: String,
    /// Where it was loaded from; its digest when it came from a database or a registry.
    pub path: PathBuf,
    /// The component itself.
    pub bytes: Arc<[u8]>,
    /// What it says of itself.
    pub description: Description,
    pub(super) code: Arc<Code<StageComponent>>,
}

/// An aggregate's component, compiled.
pub struct AggregateModule {
    /// SHA-256 of the component's bytes, in hexadecimal: the module version.
    pub digest: String,
    /// Where it was loaded from; its digest when it came from a database or a registry.
    pub path: PathBuf,
    /// The component itself.
    pub bytes: Arc<[u8]>,
    /// What it says of itself.
    pub description: AggregateDescription,
    pub(super) code: Arc<Code<AggregateComponent>>,
}

/// A component of either kind.
#[derive(Clone, Debug)]
pub enum AnyModule {
    /// It is a stage.
    Stage(Arc<Module>),
    /// It is an aggregate.
    Aggregate(Arc<AggregateModule>),
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("digest", &self.digest)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AggregateModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregateModule")
            .field("digest", &self.digest)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Module {
    /// The first twelve digits of the digest, as lists and messages show it.
    pub fn short_digest(&self) -> &str {
        short(&self.digest)
    }
}

impl AggregateModule {
    /// The first twelve digits of the digest, as lists and messages show it.
    pub fn short_digest(&self) -> &str {
        short(&self.digest)
    }
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
