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
    /// What would become of the current rows, where the step reads a changelog.
    pub current: Option<CurrentRows>,
}

/// Which current rows of a changelog would become others if a candidate took over, at one sequence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CurrentRows {
    /// Why they are not compared.
    pub refused: Option<String>,
    /// The sequence at which it holds.
    pub sequence: u64,
    /// Whether all current rows are among it; they come one after the other.
    pub is_whole: bool,
    /// Current rows.
    pub rows: u64,
    /// Those of them of which something comes under the candidate alone.
    pub added: u64,
    /// Those of which something comes under the live version alone.
    pub missing: u64,
    /// Those of which something else comes.
    pub changed: u64,
    /// Those that cannot be judged under the candidate, and can under the live version.
    pub rejected: u64,
    /// Why the candidate would not come into force.
    pub stays_out: Option<String>,
    /// Some of those that would become others.
    pub examples: Vec<CurrentExample>,
}

/// A current row of which something else would come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CurrentExample {
    /// What tells it apart, by column.
    pub key: Vec<(String, String)>,
    /// What comes of it.
    pub live: String,
    /// What would come of it.
    pub candidate: String,
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
