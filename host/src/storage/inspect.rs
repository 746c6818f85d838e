//! What people and other processes read of a storage, without owning it.

use super::{
    Check, Contents, FileSize, Kept, LetterFilter, Location, MessageCounts, MessageFilter, RowLineage, StoredCell,
    StoredColumn, StoredDeadLetter, StoredPipeline, StoredTable, TableShape, WaitingMessage,
};
use crate::{
    error::Result,
    model::{column::Value, deployment::StoredVersion, harm::Harm},
    plan::Plan,
};
use std::{collections::BTreeMap, fmt};

/// Reads a storage, whoever holds it. Each call sees what is committed when it is made, and a pipeline that runs is not
/// disturbed; [`snapshot`](Self::snapshot) fixes one moment for many.
///
/// # Errors
/// All fail when there is no such storage, or it cannot be read, unless they say otherwise.
pub trait Inspect: fmt::Debug {
    /// Where it is.
    fn location(&self) -> Location;

    /// All that it holds, as it is now.
    ///
    /// # Errors
    /// As above.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>>;

    /// The pipelines in it, by name.
    ///
    /// # Errors
    /// As above.
    fn pipelines(&self) -> Result<Vec<(String, StoredPipeline)>>;

    /// The versions of rules that decided over rows of a pipeline, in the order of their first sequences; none where there
    /// is no such storage yet.
    ///
    /// # Errors
    /// When it is damaged.
    fn versions(&self, pipeline: &str) -> Result<Vec<StoredVersion>>;

    /// The component of that digest.
    ///
    /// # Errors
    /// As above, and when it holds none of that digest.
    fn module(&self, digest: &str) -> Result<Vec<u8>>;

    /// The guests of a pipeline that the host died of; none where there is no such storage yet.
    ///
    /// # Errors
    /// When it is damaged.
    fn harms(&self, pipeline: &str) -> Result<Vec<Harm>>;

    /// By which events the row of `table` with this key was made. The key has a text per column of the table's key, or
    /// nothing for null, each with the column's name.
    ///
    /// # Errors
    /// As above, and when there is no such table, or the key is not one of the table's.
    fn lineage(&self, table: &str, key: &[(String, Option<String>)]) -> Result<RowLineage>;

    /// Calls `each` with the dead letters that `filter` lets through, by pipeline, in order of their sequences.
    ///
    /// # Errors
    /// As above, and when `each` fails.
    fn dead_letters(&self, filter: &LetterFilter, each: &mut dyn FnMut(StoredDeadLetter) -> Result<()>) -> Result<()>;

    /// Calls `each` with the messages that wait and that `filter` lets through, in the order in which those of a subject are
    /// published.
    ///
    /// # Errors
    /// As above, and when `each` fails.
    fn messages(&self, filter: &MessageFilter, each: &mut dyn FnMut(WaitingMessage) -> Result<()>) -> Result<()>;

    /// What is known of the messages of a pipeline beside those that wait.
    ///
    /// # Errors
    /// As above.
    fn message_counts(&self, pipeline: &str) -> Result<MessageCounts>;

    /// How many rows each table of a pipeline has, by name.
    ///
    /// # Errors
    /// As above.
    fn table_sizes(&self, pipeline: &str) -> Result<Vec<(String, u64)>>;

    /// The rows of a table, each with all of its columns, in the order of the table.
    ///
    /// # Errors
    /// As above, and when there is no such table.
    fn rows(&self, table: &str) -> Result<Vec<Vec<serde_json::Value>>>;

    /// The names of a table's columns, and up to `rows_max` of its rows as text, in the order of the columns `order`.
    ///
    /// # Errors
    /// As above, and when there is no such table or column.
    fn first_rows(&self, table: &str, order: &str, rows_max: usize) -> Result<(Vec<String>, Vec<Vec<String>>)>;
}

/// A storage as it is at one moment, whoever writes to it meanwhile.
///
/// # Errors
/// All fail when it cannot be read.
pub trait Snapshot: fmt::Debug {
    /// Where it is.
    fn location(&self) -> Location;

    /// How large it is.
    ///
    /// # Errors
    /// As above.
    fn size(&self) -> Result<FileSize>;

    /// The pipelines in it, by name.
    ///
    /// # Errors
    /// As above.
    fn pipelines(&self) -> Result<Vec<(String, StoredPipeline)>>;

    /// What `pipeline` keeps. Every entry is read once: some million of them a second, and they are in memory meanwhile.
    ///
    /// # Errors
    /// As above.
    fn kept(&self, pipeline: &str, stored: &StoredPipeline) -> Result<Kept>;

    /// Whether what is stored is sound, as the backend sees it.
    fn check_file(&self) -> Check;

    /// Whether the tables are as they were made. Those of pipelines that have no file here are looked through for what was
    /// added.
    fn check_schema(&self) -> Check;

    /// Whether what is kept of `pipeline` holds together.
    fn check_pipeline(&self, pipeline: &str, stored: &StoredPipeline) -> Vec<Check>;

    /// Whether the state is that of `plan`, and the tables are what the state says: `state` takes it in, and has none yet.
    fn check_tables(&self, plan: &Plan, state: &mut dyn Contents) -> Vec<Check>;

    /// The tables of pipelines, by name.
    ///
    /// # Errors
    /// As above.
    fn tables(&self) -> Result<BTreeMap<String, TableShape>>;

    /// A table of a pipeline, with its columns and their types.
    ///
    /// # Errors
    /// As above, and when there is no such table.
    fn table(&self, name: &str) -> Result<StoredTable>;

    /// Calls `each` with the rows of a table, these columns of it, as values of their types: in order of the key, or as they were
    /// appended.
    ///
    /// # Errors
    /// As above, when a cell holds what is no value of its column, and when `each` fails.
    fn rows(
        &self,
        table: &StoredTable,
        columns: &[StoredColumn],
        each: &mut dyn FnMut(&[Value<'_>]) -> Result<()>,
    ) -> Result<()>;

    /// How many rows a table has.
    ///
    /// # Errors
    /// As above.
    fn table_size(&self, table: &str) -> Result<u64>;

    /// Calls `with` with the rows of a table, these columns of it, in the order of the first `sorted` of them.
    ///
    /// # Errors
    /// As above, and when `with` fails.
    fn scan(
        &self,
        table: &str,
        columns: &[String],
        sorted: usize,
        with: &mut dyn FnMut(&mut dyn RowStream) -> Result<()>,
    ) -> Result<()>;

    /// The same with all dead letters, in the order of the first three cells: pipeline, sequence, step, and reason.
    ///
    /// # Errors
    /// As above, and when `with` fails.
    fn scan_dead_letters(&self, with: &mut dyn FnMut(&mut dyn RowStream) -> Result<()>) -> Result<()>;
}

/// Rows, one after the other.
pub trait RowStream {
    /// The next row; nothing behind the last.
    ///
    /// # Errors
    /// When it cannot be read.
    fn next(&mut self) -> Result<Option<Vec<StoredCell>>>;
}
