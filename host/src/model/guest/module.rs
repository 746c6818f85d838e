//! Components that were found to be guests.

use super::{AggregateDescription, Description, KeyedDescription};
use std::{any::Any, fmt, path::PathBuf, sync::Arc};

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
    /// What the host that loaded it runs.
    pub code: CodeHandle,
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
    /// What the host that loaded it runs.
    pub code: CodeHandle,
}

/// A keyed function's component, compiled.
pub struct KeyedModule {
    /// SHA-256 of the component's bytes, in hexadecimal: the module version.
    pub digest: String,
    /// Where it was loaded from; its digest when it came from a database or a registry.
    pub path: PathBuf,
    /// The component itself.
    pub bytes: Arc<[u8]>,
    /// What it says of itself.
    pub description: KeyedDescription,
    /// What the host that loaded it runs.
    pub code: CodeHandle,
}

/// The code of a component as the host that loaded it keeps it. It lives as long as a module holds it, and nobody but that
/// host looks inside.
#[derive(Clone)]
pub struct CodeHandle(Arc<dyn Any + Send + Sync>);

impl CodeHandle {
    /// A handle to `code`.
    pub fn new<T: Send + Sync + 'static>(code: Arc<T>) -> Self {
        Self(code)
    }

    /// The code, where it is of that type: the host that asks is the one that loaded it.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.clone().downcast().ok()
    }
}

impl fmt::Debug for CodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeHandle").finish_non_exhaustive()
    }
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

impl fmt::Debug for KeyedModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedModule")
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

impl KeyedModule {
    /// The first twelve digits of the digest, as lists and messages show it.
    pub fn short_digest(&self) -> &str {
        short(&self.digest)
    }
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
