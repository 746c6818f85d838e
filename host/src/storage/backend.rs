//! A storage that this process holds, in which several pipelines may be.

use super::{Inspect, LetterFilter, Location, MessageFilter, Messages, Outbox, Storage};
use crate::{
    error::Result,
    model::harm::{Harm, Note},
    plan::Plan,
};
use std::{fmt, path::PathBuf, sync::Arc};

/// A storage that this process alone writes to, for as long as anything of it lives. [`Location::hold`] takes it.
pub trait Backend: fmt::Debug + Send + Sync {
    /// Where it is.
    fn location(&self) -> Location;

    /// Whether there is nothing in it yet.
    ///
    /// # Errors
    /// When it cannot be looked at.
    fn is_empty(&self) -> Result<bool>;

    /// Lays an empty storage out for few messages, where that makes a difference; one that is not empty stays as it is.
    ///
    /// # Errors
    /// When it cannot be written.
    fn make_small(&self) -> Result<()>;

    /// Takes in what a crash left, and keeps it so: until the result is dropped, others can read.
    ///
    /// # Errors
    /// When it is no storage, or damaged.
    fn recover(&self) -> Result<Recovered>;

    /// Opens the part of one pipeline, and makes the tables that are missing.
    ///
    /// # Errors
    /// When it is no storage of Weir, of another version, or holds a table of the same name with other columns.
    fn open(&self, plan: Arc<Plan>, messages: Messages) -> Result<Box<dyn Storage>>;

    /// Opens the outbox of a pipeline.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn outbox(&self, pipeline: &str) -> Result<Box<dyn Outbox>>;

    /// What reads it.
    fn inspect(&self) -> Box<dyn Inspect> {
        self.location().inspect()
    }

    /// Drops the dead letters that `filter` lets through, all or none, and gives how many those were. What became of their
    /// events stays as it was counted; how many letters were dropped is counted beside it.
    ///
    /// # Errors
    /// When it is no storage of Weir, or cannot be written.
    fn drop_dead_letters(&self, filter: &LetterFilter) -> Result<u64>;

    /// Drops the messages that `filter` lets through, all or none, and gives how many those were. They are counted.
    ///
    /// # Errors
    /// When it is no storage of Weir, or cannot be written.
    fn drop_messages(&self, filter: &MessageFilter) -> Result<u64>;

    /// The file in which this host notes the guests that it is at work for.
    fn notes(&self) -> HostFile;

    /// Enters what was at work when the process before died; `left` are its notes. A death that is entered and still noted,
    /// since a process died in between, counts once. Gives what was entered.
    ///
    /// # Errors
    /// When it cannot be written, or is no storage.
    fn enter_harms(&self, left: Vec<Note>) -> Result<Vec<Harm>>;

    /// Forgets that the host died of a guest, or of any of a pipeline.
    ///
    /// # Errors
    /// When it cannot be written.
    fn forget_harms(&self, pipeline: &str, guest: Option<&Harm>) -> Result<()>;
}

/// A file of this host, beside a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFile {
    /// Where it is, or is made.
    pub path: PathBuf,
    /// The file whose owner and mode it gets.
    pub like: PathBuf,
}

/// A storage that was brought in order after a crash, see [`Backend::recover`].
#[derive(Debug)]
pub struct Recovered {
    _kept: Box<dyn Kept>,
}

trait Kept: fmt::Debug + Send {}

impl<T: fmt::Debug + Send> Kept for T {}

impl Recovered {
    /// It stays in order for as long as `kept` lives.
    pub(super) fn while_kept(kept: impl fmt::Debug + Send + 'static) -> Self {
        Self { _kept: Box::new(kept) }
    }
}
