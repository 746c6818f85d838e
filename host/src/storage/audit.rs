//! What a storage holds, and whether it holds together.

use super::{LetterCounts, MessageCounts};
use crate::error::Result;
use std::collections::BTreeMap;

/// A database file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSize {
    /// The layout of Weir's own tables.
    pub layout: i64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of the write-ahead log beside it; 0 where there is none.
    pub log_bytes: u64,
}

/// What a pipeline keeps to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Each state, by its name: the step, and which of its states.
    pub states: BTreeMap<String, StateSize>,
    /// Rows of the state log.
    pub log_rows: u64,
    /// Their bytes.
    pub log_bytes: u64,
    /// Buckets that are written whole.
    pub snapshot_rows: u64,
    /// Their bytes.
    pub snapshot_bytes: u64,
    /// Bytes of the trace.
    pub trace_bytes: u64,
    /// Messages that wait to be published.
    pub outbox: u64,
    /// What is known of the messages that do not.
    pub messages: MessageCounts,
    /// Dead letters.
    pub dead_letters: LetterCounts,
    /// The steps whose module failed too often, so that the pipeline stopped: on how many of how many rows.
    pub stopped: Vec<(String, u64, u64)>,
    /// What does not fit: entries that cannot be read, or stand in another bucket than their key's.
    pub faults: Vec<String>,
}

/// The size of one state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Keys that have a value.
    pub entries: u64,
    /// Bytes of these keys and values, as they are encoded.
    pub bytes: u64,
}

/// Faults of one check that are told; further ones are counted.
const FAULTS_TOLD: usize = 10;

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub what: String,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds; with what was counted.
    Holds(String),
    /// It does not, for these reasons.
    Broken(Vec<String>),
    /// The database alone cannot tell, for this reason.
    Unknown(String),
}

impl Check {
    /// A check that holds where there are no faults.
    pub(super) fn new(what: impl Into<String>, faults: Vec<String>, counted: impl FnOnce() -> String) -> Self {
        Self {
            what: what.into(),
            verdict: match faults.is_empty() {
                true => Verdict::Holds(counted()),
                false => Verdict::Broken(told(faults)),
            },
        }
    }

    /// A check that could not be made because the database cannot be read is one that failed.
    pub(super) fn made(what: &str, made: Result<Self>) -> Self {
        made.unwrap_or_else(|error| Self {
            what: what.to_owned(),
            verdict: Verdict::Broken(vec![error.to_string()]),
        })
    }
}

fn told(mut faults: Vec<String>) -> Vec<String> {
    let more = faults.len().saturating_sub(FAULTS_TOLD);
    faults.truncate(FAULTS_TOLD);
    if more > 0 {
        faults.push(format!("and {more} more"));
    }
    faults
}
