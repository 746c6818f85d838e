//! What SQLite said, with what to do about it.

use crate::error::{Error, Result};
use rusqlite::ErrorCode;

/// Adds who and where to an error of SQLite, and what comes next.
pub(super) trait Sqlite<T> {
    /// Makes an error of the environment of it: `context: cause; advice`.
    fn sqlite(self, context: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Sqlite<T> for rusqlite::Result<T> {
    fn sqlite(self, context: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| {
            let advice = cause.sqlite_error_code().and_then(advice);
            let advice = advice.map_or_else(String::new, |advice| format!("; {advice}"));
            Error::environment(format!("{}: {cause}{advice}", context())).caused_by(cause)
        })
    }
}

/// What comes of writing: SQLite may fail, and what is to be written may be what cannot be.
pub(super) type Written<T = ()> = std::result::Result<T, Failure>;

/// Why a transaction is rolled back.
#[derive(Debug)]
pub(super) enum Failure {
    Sqlite(rusqlite::Error),
    Defect(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(cause: rusqlite::Error) -> Self {
        Self::Sqlite(cause)
    }
}

impl From<Error> for Failure {
    fn from(defect: Error) -> Self {
        Self::Defect(defect)
    }
}

impl<T> Sqlite<T> for Written<T> {
    fn sqlite(self, context: impl FnOnce() -> String) -> Result<T> {
        self.or_else(|failure| match failure {
            Failure::Sqlite(cause) => Err(cause).sqlite(context),
            Failure::Defect(defect) => Err(defect.context(context())),
        })
    }
}

/// What somebody can do who has to act.
fn advice(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::DiskFull | ErrorCode::SystemIoFailure => Some(
            "see that the disk has room and can be written to, and that no bound on the size of files is in the way (`ulimit \
             -f`), and start again: what was committed stays, and the rest is read again",
        ),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Some(
            "the file is damaged, or no database: put back a copy of it, or name another --database and fill it from the \
             stream",
        ),
        ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            Some("see that it is a file that this user may write to, and its folder too")
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            Some("another program has a transaction open on it; end that one, and start again")
        }
        _ => None,
    }
}
