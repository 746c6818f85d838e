//! What ends a command, and with which exit code.
//!
//! A *delivery* that cannot be processed is no error: it becomes a [dead letter](crate::model::delivery::DeadLetter) and the
//! pipeline goes on. An [`Error`] stops the pipeline. The turn that was open is rolled back, so the database holds what
//! the last commit left in it, and starting again goes on from there.

use std::{fmt, result};

/// Shorthand for results that carry an [`Error`].
pub type Result<T, E = Error> = result::Result<T, E>;

/// Why a command or a pipeline stopped. Its text is written for a person: who, where, what, and what next.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// Who has to act on an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A pipeline file, a module or an argument has to be changed first. Nothing was touched.
    Definition,
    /// The world around the process failed: a file, the database, the server.
    Environment,
    /// As [`ErrorKind::Environment`], and it may pass without anybody's doing: whoever can wait tries again.
    Unavailable,
    /// The database and what is to be done with it do not belong together.
    Mismatch,
}

impl ErrorKind {
    /// Its name, for scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Definition => "definition",
            Self::Environment => "environment",
            Self::Unavailable => "unavailable",
            Self::Mismatch => "mismatch",
        }
    }
}

impl Error {
    /// An error in what was asked for: a pipeline file, a module, an argument.
    pub fn definition(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Definition,
            message: message.into(),
        }
    }

    /// An error of the world around: files, the database, the server.
    pub fn environment(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Environment,
            message: message.into(),
        }
    }

    /// An error of the world around that may pass.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Unavailable,
            message: message.into(),
        }
    }

    /// The database does not belong to what is to be run over it.
    pub fn mismatch(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Mismatch,
            message: message.into(),
        }
    }

    /// Puts `context` and a colon before the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// The same in so many bytes at most.
    #[must_use]
    pub(crate) fn cut(mut self, bytes_max: usize) -> Self {
        self.message.truncate(self.message.floor_char_boundary(bytes_max));
        self
    }

    /// The same words, for whoever has to act on `cause`: what one said of a place in a file is not always the file's fault.
    #[must_use]
    pub(crate) fn like(mut self, cause: &Self) -> Self {
        self.kind = cause.kind;
        self
    }

    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The exit code of a command that ends with this error: 2 for [`ErrorKind::Definition`], 1 for all others.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Definition => 2,
            ErrorKind::Environment | ErrorKind::Unavailable | ErrorKind::Mismatch => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Adds who and where to an error from a library.
pub(crate) trait Context<T> {
    /// Makes an [`ErrorKind::Environment`] error of it: `context: cause`.
    fn environment(self, context: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for result::Result<T, E> {
    fn environment(self, context: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::environment(format!("{}: {cause}", context())))
    }
}
