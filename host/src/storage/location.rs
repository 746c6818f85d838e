//! Where a storage is: what `--database` says. The one place that knows which implementation opens it.

use super::{Backend, Inspect, Snapshot, sqlite};
use crate::error::Result;
use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where a storage is. Nothing is opened before it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A SQLite file.
    File(PathBuf),
}

impl Location {
    /// Where a pipeline keeps its tables unless somebody says otherwise: `NAME.db` in this folder.
    pub fn of_pipeline(name: &str) -> Self {
        Self::in_folder(Path::new(""), name)
    }

    /// `NAME.db` in `folder`.
    pub fn in_folder(folder: &Path, name: &str) -> Self {
        Self::File(folder.join(format!("{name}.db")))
    }

    /// Whether there is anything.
    pub fn exists(&self) -> bool {
        match self {
            Self::File(path) => path.exists(),
        }
    }

    /// Takes hold of it, for this process alone. What is missing is made.
    ///
    /// # Errors
    /// When another process holds it, or it cannot be written to.
    pub fn hold(&self) -> Result<Arc<dyn Backend>> {
        match self {
            Self::File(path) => Ok(Arc::new(sqlite::DatabaseFile::hold(path)?)),
        }
    }

    /// What reads it, whoever holds it. Nothing is opened yet.
    pub fn inspect(&self) -> Box<dyn Inspect> {
        match self {
            Self::File(path) => Box::new(sqlite::Inspector::new(path)),
        }
    }

    /// Opens it as it is now, whoever holds it.
    ///
    /// # Errors
    /// When it is not there, is not Weir's, or cannot be read.
    pub fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        match self {
            Self::File(path) => Ok(Box::new(sqlite::Audit::open(path)?)),
        }
    }
}

impl From<OsString> for Location {
    fn from(text: OsString) -> Self {
        Self::File(text.into())
    }
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Removes what this process made and wrote nothing to: it ends now, and nothing came of it.
pub fn leave() {
    sqlite::leave();
}
