//! What a candidate is found to do otherwise.

use crate::model::deployment::Deployment;
use serde::{Deserialize, Serialize};

/// What a candidate would have done otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShadowReport {
    /// What it is.
    pub candidate: Deployment,
    /// The version that it is held against.
    pub live: u64,
    /// Why it does not run.
    pub refused: Option<String>,
    /// The first sequence that it saw; 0 for none yet.
    pub first_sequence: u64,
    /// The last sequence that it saw.
    pub last_sequence: u64,
    /// Rows that it saw.
    pub rows: u64,
    /// Rows that it did not see, because it was too slow.
    pub shed: u64,
    /// Rows that made it trap, run too long, or answer wrongly.
    pub failed_rows: u64,
    /// Rows that it lets through and the live version does not.
    pub added: u64,
    /// Rows that the live version lets through and it does not.
    pub missing: u64,
    /// Rows that both let through, otherwise.
    pub changed: u64,
    /// Rows that it rejects and the live version does not.
    pub rejected: u64,
    /// Some of them.
    pub examples: Vec<ShadowExample>,
}

/// A row that a candidate decides otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShadowExample {
    /// Its sequence.
    pub sequence: u64,
    /// What the stage reads of it, by column.
    pub input: Vec<(String, String)>,
    /// What the live version makes of it.
    pub live: Vec<String>,
    /// What the candidate makes of it.
    pub candidate: Vec<String>,
}
