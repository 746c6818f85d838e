//! What ends a command, and with which exit code.
//!
//! A *delivery* that cannot be processed is no error: it becomes a [dead letter](crate::model::delivery::DeadLetter) and the
//! pipeline goes on. An [`Error`] stops the pipeline. The turn that was open is rolled back, so the database holds what
//! the last commit left in it, and starting again goes on from there.

use std::{cell::RefCell, error::Error as StdError, fmt, panic::Location, result, sync::Arc};

/// Shorthand for results that carry an [`Error`].
pub type Result<T, E = Error> = result::Result<T, E>;

/// Why a command or a pipeline stopped. Its text is written for a person: who, where, what, and what next.
///
/// The text ends with what the causes say. [`source`](StdError::source) gives the cause itself, for programs that tell an
/// [`std::io::Error`] of one kind from another; print the error, or walk the causes, and not both.
///
/// # Examples
///
/// ```
/// use std::{error::Error as _, io};
/// use weir::error::Error;
///
/// let cause = io::Error::from(io::ErrorKind::NotFound);
/// let error = Error::environment(format!("cannot read orders.jsonl: {cause}")).caused_by(cause);
///
/// assert_eq!(error.to_string(), "cannot read orders.jsonl: entity not found");
/// let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
/// assert_eq!(cause.map(io::Error::kind), Some(io::ErrorKind::NotFound));
/// ```
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Arc<dyn StdError + Send + Sync>>,
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
    /// Weir itself is wrong: something holds no longer that its own code makes sure of. The pipeline stops before the commit,
    /// so the database holds what it held.
    Defect,
}

impl ErrorKind {
    /// Its name, for scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Definition => "definition",
            Self::Environment => "environment",
            Self::Unavailable => "unavailable",
            Self::Mismatch => "mismatch",
            Self::Defect => "defect",
        }
    }
}

impl Error {
    fn new(kind: ErrorKind, message: String) -> Self {
        let source = None;
        Self { kind, message, source }
    }

    /// An error in what was asked for: a pipeline file, a module, an argument.
    pub fn definition(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Definition, message.into())
    }

    /// An error of the world around: files, the database, the server.
    pub fn environment(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Environment, message.into())
    }

    /// An error of the world around that may pass.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message.into())
    }

    /// The database does not belong to what is to be run over it.
    pub fn mismatch(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Mismatch, message.into())
    }

    /// A fault of Weir: `what` cannot be, and is. The text names the place in the source, and asks for a report.
    #[cold]
    #[track_caller]
    pub fn defect(what: impl fmt::Display) -> Self {
        let place = Location::caller();
        let message = format!(
            "{what} ({}:{}): this is a fault of Weir {}, and nothing is committed that may be wrong; please report it with \
             this line and the pipeline file",
            place.file(),
            place.line(),
            env!("CARGO_PKG_VERSION")
        );
        Self::new(ErrorKind::Defect, message)
    }

    /// The same, with its cause for [`source`](StdError::source). The text stays as it is.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(cause.into()));
        self
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
            ErrorKind::Environment | ErrorKind::Unavailable | ErrorKind::Mismatch | ErrorKind::Defect => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Adds who and where to an error from a library, which stays the cause.
pub(crate) trait Context<T> {
    /// Makes an [`ErrorKind::Environment`] error of it: `context: cause`.
    fn environment(self, context: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display + Into<Box<dyn StdError + Send + Sync>>> Context<T> for result::Result<T, E> {
    fn environment(self, context: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::environment(format!("{}: {cause}", context())).caused_by(cause))
    }
}

/// What is always there, by the plan that was checked or by the line above.
pub(crate) trait OrDefect<T> {
    /// # Errors
    /// [`ErrorKind::Defect`], where it is not there: `what` is not.
    fn or_defect(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> OrDefect<T> for Option<T> {
    #[inline]
    #[track_caller]
    fn or_defect(self, what: impl FnOnce() -> String) -> Result<T> {
        match self {
            Some(there) => Ok(there),
            None => Err(Error::defect(what())),
        }
    }
}

thread_local! {
    /// The first defect that was noted on this thread and not yet taken.
    static NOTED: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// Notes a defect where an error cannot be given back: in what runs for each cell. Whoever drives this thread asks
/// [`take_defect`] before anything of the batch goes on.
#[cold]
#[track_caller]
pub(crate) fn note_defect(what: impl fmt::Display) {
    let defect = Error::defect(what);
    NOTED.with_borrow_mut(|noted| {
        noted.get_or_insert(defect);
    });
}

/// Ends the work on a batch if a defect was noted on this thread since the last call.
///
/// # Errors
/// [`ErrorKind::Defect`], the first that was noted.
pub(crate) fn take_defect() -> Result<()> {
    NOTED.take().map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defect_names_its_place_and_asks_for_a_report() {
        let defect = None::<u32>.or_defect(|| "sink 7 is not there".to_owned()).unwrap_err();
        assert_eq!(defect.kind(), ErrorKind::Defect);
        let text = defect.to_string();
        assert!(
            text.starts_with(&format!("sink 7 is not there ({}:", file!())),
            "{text}"
        );
        assert!(
            text.contains("a fault of Weir") && text.contains("please report it"),
            "{text}"
        );
    }

    #[test]
    fn the_first_defect_that_is_noted_is_taken_once() {
        assert!(take_defect().is_ok());
        note_defect("first");
        note_defect("second");
        let taken = take_defect().unwrap_err();
        assert!(taken.to_string().starts_with("first ("), "{taken}");
        assert!(take_defect().is_ok());
    }
}
