//! By which events a row of a table was made.

use std::collections::BTreeMap;

/// What is known of a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowLineage {
    /// The pipeline that writes the table.
    pub pipeline: String,
    /// The stream that the pipeline reads, as the database knows it.
    pub source: String,
    /// The columns of the key, and the row as it is now, if there is one.
    pub row: TracedRow,
    /// The sequences of the events that changed it, in the order in which they did, as far as the trace reaches. They ascend,
    /// but for those of dead letters that were retried.
    pub sequences: Vec<u64>,
    /// The swaps that changed it, which judged the current rows of a changelog anew, in order.
    pub swaps: Vec<SwapOfRow>,
    /// Those events that were retried, each with the sequence behind which it took effect.
    pub retried: BTreeMap<u64, u64>,
    /// Where the trace begins; 0 when it reaches back to the first event.
    pub first_sequence: u64,
    /// The last sequence that is committed.
    pub position: u64,
    /// The steps that rows of the table come through, where the database knows.
    pub steps: Option<Vec<String>>,
}

/// A swap that changed a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwapOfRow {
    /// The sequence of the event that it is behind.
    pub behind: u64,
    /// The last event that had changed what was judged anew (the group, say, of whose total the row is), as far as the trace
    /// reaches; nothing for a row that stands on several of those, as behind an aggregate.
    pub last_event: Option<u64>,
}

/// A row, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracedRow {
    /// The names of the key's columns.
    pub key: Vec<String>,
    /// The columns with their values; none when the row is not there.
    pub columns: Option<Vec<(String, String)>>,
}
