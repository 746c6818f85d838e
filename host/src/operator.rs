//! Operators: steps that the host owns, with keyed state and a changelog.
//!
//! An operator takes a [`Batch`] and gives one. It never waits, never reads a clock, and never prints. What it gives does
//! not depend on where a batch ends, except that an operator whose only readers want the last state of each key may
//! leave out what came between (see [`Readers::compactable`](crate::plan::Readers::compactable)).

mod accumulators;
pub mod aggregate;
pub mod clock;
pub mod deduplicate;
mod expiry;
pub mod guests;
pub mod held_times;
pub mod interval_join;
pub mod last_value;
pub mod lookup;
pub mod on_crossing;
pub mod over_window;
pub mod temporal_join;
mod timers;
mod top;
pub mod union;
pub mod window;

use crate::{
    error::note_defect,
    limits::STATE_LOG_CHUNK_BYTES,
    model::column::{Batch, Column, Lineage, RowKind, Schema, Value},
    plan::{TimeColumn, TimeScale},
    state::{KeyedState, StateValue, push_entry},
};
use clock::WatermarkProgress;
use held_times::HeldTimes;
use std::sync::Arc;

pub(crate) use expiry::{Forgets, Forgotten};

/// The state of an operator, as the turn and the restart see it.
pub trait Stateful {
    /// Starts to keep old values, until [`Stateful::release`] or [`Stateful::rollback`].
    fn savepoint(&mut self);
    /// What happened since the savepoint stays.
    fn release(&mut self);
    /// Puts everything back to what it was at the savepoint.
    fn rollback(&mut self);
    /// The keyed states, each with its name within the operator.
    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)>;
    /// Where the entries of the state of this name hold times, if they do.
    fn held_times(&self, state: &str) -> Option<HeldTimes>;
    /// Called once after all entries were restored.
    fn restored(&mut self) {}
}

/// A [`KeyedState`] without its type: bytes in, bytes out.
pub trait StateMap {
    /// How many keys have a value.
    fn live(&self) -> usize;
    /// How many entries changed since the last turn.
    fn changed(&self) -> usize;
    /// The changed entries, in chunks for the log.
    fn log_changes(&mut self) -> Vec<Vec<u8>>;
    /// Says that there is no log: what changes is not kept for one any more.
    fn leave_unlogged(&mut self);
    /// All entries of one bucket.
    fn log_bucket(&self, bucket: usize) -> Vec<u8>;
    /// Sets or removes one entry while state is read back. Says whether the value could be read.
    fn restore_entry(&mut self, key: &[u8], value: Option<&[u8]>) -> bool;
}

impl<V: StateValue> StateMap for KeyedState<V> {
    fn live(&self) -> usize {
        self.len()
    }

    fn changed(&self) -> usize {
        self.changed_len()
    }

    fn log_changes(&mut self) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        let (mut chunk, mut scratch) = (Vec::new(), Vec::new());
        self.take_changes(|key, value| {
            push_entry(&mut chunk, &mut scratch, key, value);
            if chunk.len() >= STATE_LOG_CHUNK_BYTES {
                chunks.push(std::mem::take(&mut chunk));
            }
        });
        if !chunk.is_empty() {
            chunks.push(chunk);
        }
        chunks
    }

    fn leave_unlogged(&mut self) {
        KeyedState::leave_unlogged(self);
    }

    fn log_bucket(&self, bucket: usize) -> Vec<u8> {
        let (mut bytes, mut scratch) = (Vec::new(), Vec::new());
        for (key, value) in self.bucket(bucket) {
            push_entry(&mut bytes, &mut scratch, key, Some(value));
        }
        bytes
    }

    fn restore_entry(&mut self, key: &[u8], value: Option<&[u8]>) -> bool {
        match value.map(V::decode) {
            None => self.restore(key, None),
            Some(Some(value)) => self.restore(key, Some(value)),
            Some(None) => return false,
        }
        true
    }
}

/// Where the rows of a batch have their times from.
#[derive(Clone, Copy)]
struct RowTimes<'a> {
    input: &'a Batch,
    /// The column that holds them; absent where they are those of their events.
    column: Option<(&'a Column, TimeScale)>,
}

impl<'a> RowTimes<'a> {
    fn of(time: Option<TimeColumn>, input: &'a Batch) -> Self {
        let column = time.and_then(|time| Some((&**input.columns.get(time.index)?, time.scale)));
        Self { input, column }
    }

    /// The time of a row, in microseconds. Nothing where its column holds none: null, or what the unit of the column does
    /// not make whole microseconds of.
    #[inline]
    fn time_us(&self, row: usize, progress: &WatermarkProgress<'_>) -> Option<i64> {
        match self.column {
            None => Some(progress.time_us(self.input.deliveries.get(row).copied().unwrap_or(u32::MAX))),
            Some((column, scale)) => match column.get(row) {
                Value::Int(value) => scale.in_us(value),
                _ => None,
            },
        }
    }
}

/// Rows that came too late, with some of their columns.
fn late_rows(input: &Batch, late: &[u32], columns: &[usize]) -> Batch {
    let rows = input.gather(late);
    Batch {
        columns: columns
            .iter()
            .filter_map(|&index| rows.columns.get(index).cloned())
            .collect(),
        deliveries: rows.deliveries,
        kinds: None,
        lineage: None,
    }
}

/// Builds a changelog row by row.
#[derive(Debug)]
pub(crate) struct ChangelogBuilder {
    columns: Vec<Column>,
    deliveries: Vec<u32>,
    kinds: Vec<RowKind>,
    lineage: Option<Lineage>,
}

impl ChangelogBuilder {
    pub(crate) fn new(schema: &Schema, rows: usize) -> Self {
        Self {
            columns: schema
                .iter()
                .map(|field| Column::with_capacity(field.column_type, rows))
                .collect(),
            deliveries: Vec::with_capacity(rows),
            kinds: Vec::with_capacity(rows),
            lineage: None,
        }
    }

    /// For rows that tell of several deliveries at once, which [`ChangelogBuilder::with_lineage_of`] names.
    pub(crate) fn with_lineage(mut self) -> Self {
        self.lineage = Some(Lineage::default());
        self
    }

    /// Names the deliveries that had part in the row that was added last.
    pub(crate) fn with_lineage_of(&mut self, deliveries: &[u32]) {
        if let Some(lineage) = &mut self.lineage {
            lineage.deliveries.extend_from_slice(deliveries);
            lineage.ends.push(lineage.deliveries.len() as u32);
        }
    }

    /// Adds a row; `values` has one value per column.
    #[inline]
    pub(crate) fn push<'v>(&mut self, kind: RowKind, delivery: u32, values: impl Iterator<Item = Value<'v>>) {
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(value);
        }
        self.deliveries.push(delivery);
        self.kinds.push(kind);
    }

    /// Adds a row that stands for itself.
    #[inline]
    pub(crate) fn push_insert<'v>(&mut self, delivery: u32, values: impl Iterator<Item = Value<'v>>) {
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(value);
        }
        self.deliveries.push(delivery);
    }

    /// The rows, all of which were added by [`ChangelogBuilder::push_insert`].
    pub(crate) fn finish_inserts(self) -> Batch {
        Batch {
            kinds: None,
            ..self.finish()
        }
    }

    pub(crate) fn finish(self) -> Batch {
        if !self.columns.iter().all(|column| column.len() == self.deliveries.len()) {
            note_defect("the columns of a changelog have different lengths");
        }
        Batch {
            columns: self.columns.into_iter().map(Arc::new).collect(),
            deliveries: self.deliveries,
            kinds: Some(self.kinds),
            lineage: self.lineage.map(Arc::new),
        }
    }
}
