//! What an aggregate is asked, and what it answers.

use crate::model::column::Column;

/// Rows, and the groups that they belong to.
#[derive(Clone, Copy, Debug)]
pub struct Accumulate<'a> {
    /// The states of groups, before the first row; empty for a group that has no row yet.
    pub states: &'a [&'a [u8]],
    /// For each row the number of its group's state.
    pub groups: &'a [u32],
    /// For each row 1 where it is taken back and else 0; absent when none is. None may be where the description says so.
    pub retracts: Option<&'a [u8]>,
    /// The columns of the description, in order.
    pub columns: &'a [&'a Column],
}

/// What rows came to.
#[derive(Debug, PartialEq)]
pub struct Accumulated {
    /// How many rows were taken in, from the first on.
    pub applied: u32,
    /// The states of all groups after them.
    pub states: Vec<Box<[u8]>>,
    /// The result of its group after each row that was taken in.
    pub results: Column,
    /// What is wrong with the row that comes next, if there is one left. It has left no trace.
    pub refused: Option<RejectedInput>,
}

/// What pairs of states were merged to.
#[derive(Debug, PartialEq, Eq)]
pub struct Merged {
    /// The merged states of the pairs before the first that could not be merged.
    pub states: Vec<Box<[u8]>>,
    /// What is wrong with the pair that comes next, if there is one left.
    pub refused: Option<RejectedInput>,
}

/// The results of states.
#[derive(Debug, PartialEq)]
pub struct Results {
    /// Those of the states before the first that has none.
    pub column: Column,
    /// What is wrong with the state that comes next, if there is one left.
    pub refused: Option<RejectedInput>,
}

/// Why a row was not taken in, a pair not merged, or a state has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedInput {
    /// A sentence for a person.
    pub reason: String,
    /// Whether it made the guest trap, run too long, or answer wrongly; else the guest rejected it.
    pub failed: bool,
    /// Whether it made the guest run too long.
    pub timed_out: bool,
}
