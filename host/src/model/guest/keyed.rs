//! What a keyed function is asked, and what it answers.

use super::{OutputRows, RejectedInput};
use crate::model::column::Column;

/// In the place of a time for which a key waits: it waits for none.
pub const NO_TIMER: i64 = i64::MAX;

/// Rows, and the keys that they belong to.
#[derive(Clone, Copy, Debug)]
pub struct RowsOfKeys<'a> {
    /// The states of keys, before the first row; empty for a key that has none yet.
    pub states: &'a [&'a [u8]],
    /// For each key the time for which it waits, in microseconds; nothing where the function sets no timers.
    pub timers: &'a [i64],
    /// For each row the number of its key.
    pub keys: &'a [u32],
    /// "Now" of each row; nothing where the function does not read it.
    pub times_ms: &'a [i64],
    /// The event time of each row; nothing where the function does not read it.
    pub event_times_us: &'a [i64],
    /// The columns of the description, in order.
    pub columns: &'a [&'a Column],
}

/// What rows came to.
#[derive(Debug, PartialEq)]
pub struct KeyedProcessed {
    /// How many rows were taken in, from the first on.
    pub applied: u32,
    /// The states of all keys after them.
    pub states: Vec<Box<[u8]>>,
    /// For each row that was taken in the time for which its key waits right after it; nothing where the function sets no
    /// timers.
    pub timers: Vec<i64>,
    /// What came out, for each output of the description.
    pub outputs: Vec<OutputRows>,
    /// What is wrong with the row that comes next, if there is one left. It has left no trace.
    pub refused: Option<RejectedInput>,
}

/// Keys whose time has come.
#[derive(Clone, Copy, Debug)]
pub struct DueKeys<'a> {
    /// Their states.
    pub states: &'a [&'a [u8]],
    /// For each the time for which it waited, in microseconds.
    pub timers: &'a [i64],
}

/// What became of keys whose time had come.
#[derive(Debug, PartialEq)]
pub struct KeyedFired {
    /// The states of those before the first that was refused.
    pub states: Vec<Box<[u8]>>,
    /// For each of these the time for which it waits from now on: later than the one that has come.
    pub timers: Vec<i64>,
    /// What came out, for each output of the description, with the numbers of the keys.
    pub outputs: Vec<OutputRows>,
    /// What is wrong with the key that comes next, if there is one left.
    pub refused: Option<RejectedInput>,
}
