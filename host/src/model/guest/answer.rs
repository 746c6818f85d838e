//! What guests answer to rows, and how their calls fail.

use crate::{error::Error, model::column::Column};
use std::fmt;

/// A checked answer to a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// One entry per output of the description.
    pub outputs: Vec<OutputRows>,
    /// Rows that the rule could not judge, ascending.
    pub rejected: Vec<RejectedRow>,
}

/// What goes to one output.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputRows {
    /// The numbers of the rows, ascending.
    pub rows: Vec<u32>,
    /// The computed columns, one value per entry of `rows`.
    pub computed: Vec<Column>,
}

/// A row that becomes a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRow {
    /// The number of the row.
    pub row: u32,
    /// A sentence for a person.
    pub reason: String,
    /// Whether it is not the rule that rejects it: it made the guest trap, run too long, or answer wrongly.
    pub failed: bool,
}

impl Answer {
    /// Adds the answer to the rows from `offset` on, which come after all rows of this one.
    pub fn append(&mut self, more: Self, offset: u32) {
        if self.outputs.is_empty() {
            self.outputs = more
                .outputs
                .iter()
                .map(|output| OutputRows {
                    rows: Vec::new(),
                    computed: output
                        .computed
                        .iter()
                        .map(|c| Column::of_layout(c.layout(), 0))
                        .collect(),
                })
                .collect();
        }
        for (output, more) in self.outputs.iter_mut().zip(more.outputs) {
            output.rows.extend(more.rows.iter().map(|row| row + offset));
            for (column, more) in output.computed.iter_mut().zip(&more.computed) {
                column.extend(more);
            }
        }
        self.rejected.extend(more.rejected.into_iter().map(|r| RejectedRow {
            row: r.row + offset,
            ..r
        }));
    }
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Judged {
    /// The answer; rows that made the guest fail are among the rejected.
    pub answer: Answer,
    /// How many rows made the guest trap, run too long, or answer wrongly.
    pub failed_rows: u64,
    /// How many rows were judged, from the first on: all, unless failures were to be few.
    pub judged_rows: u32,
    /// Whether one of the rows that failed did so by running too long.
    pub timed_out: bool,
}

/// How long to go on judging a batch in which rows make the guest fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// To the end.
    Endless,
    /// Up to the first of them.
    OneFailure,
}

/// Why a call of a guest gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestFailure {
    /// A sentence for a person.
    pub reason: String,
    /// Whether it was the deadline.
    pub timed_out: bool,
    /// Whether it was the bound on memory.
    pub out_of_memory: bool,
    /// Whether it was this process that had no memory, no file or no place for it, and no fault of the guest.
    pub of_process: bool,
    /// Whether the answer broke the contract.
    pub of_contract: bool,
    /// Whether the instance had been called before, so that what earlier calls left in it may be to blame.
    pub used: bool,
}

impl GuestFailure {
    /// A failure for which the guest is to blame, and none of those that are told apart.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            timed_out: false,
            out_of_memory: false,
            of_process: false,
            of_contract: false,
            used: false,
        }
    }

    /// What of an answer broke the contract.
    pub fn of_contract(reason: impl Into<String>) -> Self {
        Self {
            of_contract: true,
            ..Self::new(reason)
        }
    }

    /// What this process could not give it.
    pub fn of_process(reason: impl Into<String>) -> Self {
        Self {
            of_process: true,
            ..Self::new(reason)
        }
    }

    /// The error that ends what was to be done with the guest: that of whoever named it, unless this process is to blame.
    pub fn error(&self, message: impl Into<String>) -> Error {
        match self.of_process {
            true => Error::environment(message),
            false => Error::definition(message),
        }
    }
}

impl fmt::Display for GuestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
