//! What a storage asks of an engine that goes on with what it holds. The storage knows no engine, only this.

use crate::{
    error::Result,
    model::{
        column::Value,
        deployment::StoredVersion,
        ids::{SinkId, TableId},
        turn::{FailureCount, Snapshot},
    },
};
use std::collections::BTreeMap;

/// What takes back its state from a storage: an engine without any yet.
///
/// A storage calls, in this order: [`take_over`](Self::take_over) for states, [`restores_ms`](Self::restores_ms),
/// [`failures`](Self::failures), [`entries`](Self::entries) for all snapshots and then the log, [`restored`](Self::restored),
/// [`table_row`](Self::table_row), [`tables_restored`](Self::tables_restored), and `take_over` for readers.
pub trait Restore {
    /// Checks that it may go on with what the storage remembers, and gives what to remember from here on: names with
    /// fingerprints. Without `remembered` there was no event yet, and nothing to check.
    ///
    /// # Errors
    /// Why it may not go on, and the way out. It is of no use then, and the storage writes nothing.
    fn take_over(&mut self, part: Part, remembered: Option<&Remembered<'_>>) -> Result<Vec<(String, String)>>;

    /// Announces that the entries of a state hold times in milliseconds, as an older Weir wrote them. Gives whether they
    /// hold any times: [`buckets`](Self::buckets) has them in microseconds after the restore.
    fn restores_ms(&mut self, state: &str) -> bool;

    /// Goes on counting how often the module of a step failed.
    fn failures(&mut self, step: &str, count: FailureCount);

    /// Takes the entries of a snapshot, or of a row of the log, see [`crate::state::push_entry`].
    ///
    /// # Errors
    /// When there is no such state, or the bytes are none of it. It is of no use then.
    fn entries(&mut self, state: &str, entries: &[u8]) -> Result<()>;

    /// All snapshots and the log were given.
    fn restored(&mut self);

    /// Takes a row of a lookup table, with a value for each of its columns.
    fn table_row(&mut self, table: TableId, row: &[Value<'_>]);

    /// All lookup tables were given.
    fn tables_restored(&mut self);

    /// Every bucket of a state that holds anything.
    fn buckets(&mut self, state: &str) -> Vec<Snapshot>;

    /// For each table that the plan writes, the steps that its rows come through.
    fn steps_of_tables(&self) -> Vec<(String, Vec<String>)>;
}

/// What a restored engine says about what the tables have to hold.
pub trait Contents: Restore {
    /// How many entries its states have.
    fn state_entries(&mut self) -> usize;

    /// Calls `each` with the rows of a sink as they have to be, in no order; each has a cell for each
    /// column. Gives whether the state tells them.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect), where it has no such sink.
    fn table_rows(&self, sink: SinkId, each: &mut dyn FnMut(Vec<u8>)) -> Result<bool>;
}

/// What is checked and remembered together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The states of operators.
    States,
    /// The steps and tables that read a changelog.
    Readers,
}

/// What a storage remembers of the engine that filled it.
pub struct Remembered<'s> {
    /// What each state, and each reader of a changelog, was made for.
    pub fingerprints: BTreeMap<String, String>,
    /// Reads which versions of rules decided so far: asked for only where a fingerprint is missing.
    pub versions: &'s dyn Fn() -> Result<Vec<StoredVersion>>,
}

impl std::fmt::Debug for Remembered<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remembered")
            .field("fingerprints", &self.fingerprints)
            .finish_non_exhaustive()
    }
}
