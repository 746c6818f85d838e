//! Operators: steps that the host owns, with keyed state and a changelog.
//!
//! An [`Operator`] takes batches and gives some. It never waits, never reads a clock, and never prints. What it gives does
//! not depend on where a batch ends, except that an operator whose only readers want the last state of each key may
//! leave out what came between (see [`Readers::compactable`](crate::plan::Readers::compactable)).
//!
//! A kind of step is two files: `planner/KIND.rs` checks and plans it, `operator/KIND.rs` runs it. Each is one line of a table:
//! by its key in the file in `planner.rs`, by its plan in `OPERATORS` below.

mod accumulators;
pub mod aggregate;
pub mod clock;
pub mod columns;
pub mod deduplicate;
mod expiry;
pub mod guests;
pub mod held_times;
pub mod interval_join;
pub mod keyed;
pub mod lag;
pub mod last_value;
pub mod lookup;
pub mod on_crossing;
pub mod over_window;
pub mod temporal_join;
#[cfg(test)]
mod testing;
mod timers;
mod top;
pub mod union;
pub mod unnest;
pub mod window;

use crate::{
    error::{Error, OrDefect, Result, note_defect},
    limits::STATE_LOG_CHUNK_BYTES,
    model::{
        batch::{Batch, Lineage, RowKind},
        column::{Column, Schema, Value},
        moved::Moved,
        row::cells,
    },
    plan::{Node, OperatorPlan, TimeColumn, TimeScale},
    state::{KeyedState, StateValue, push_entry},
};
use aggregate::Aggregate;
use clock::WatermarkProgress;
use deduplicate::Deduplicate;
use expiry::TOUCHED;
use guests::{Guests, NoResult, RejectedByGuest};
use held_times::HeldTimes;
use interval_join::IntervalJoin;
use last_value::LastValue;
use on_crossing::OnCrossing;
use over_window::OverWindow;
use std::{any::Any, fmt, ops::Range, sync::Arc};
use temporal_join::TemporalJoin;
use union::Union;
use window::Window;

pub use expiry::{Forgets, Forgotten};

/// Every operator, by the plan that it runs.
const OPERATORS: &[Entry] = &[
    Entry::of::<LastValue>(),
    Entry::of::<Aggregate>(),
    Entry::of::<Window>(),
    Entry::of::<IntervalJoin>(),
    Entry::of::<OverWindow>(),
    Entry::of::<OnCrossing>(),
    Entry::of::<Deduplicate>(),
    Entry::of::<TemporalJoin>(),
    Entry::of::<Union>(),
    Entry::of::<lag::Lag>(),
    Entry::of::<columns::Columns>(),
    Entry::of::<keyed::Keyed>(),
    Entry::of::<unnest::Unnest>(),
];

/// An operator in the table.
struct Entry {
    runs: fn(&dyn OperatorPlan) -> bool,
    build: fn(&Node, Guests, u64) -> Result<Box<dyn Operator>>,
}

impl Entry {
    const fn of<O: Build>() -> Self {
        Self {
            runs: |plan| (plan as &dyn Any).is::<O::Plan>(),
            build: |node, guests, seed| Ok(Box::new(O::build(node, node.operator_plan()?, guests, seed)?)),
        }
    }
}

/// The operator of a step, without state. `guests` are those of its plan; `seed` belongs to the database, see
/// [`KeyedState::new`].
///
/// # Errors
/// [`ErrorKind::Definition`](crate::error::ErrorKind::Definition), where what the plan says cannot be had;
/// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect), where the step has no operator.
pub fn build(node: &Node, guests: Guests, seed: u64) -> Result<Box<dyn Operator>> {
    let plan = node.kind.operator();
    let entry = plan.and_then(|plan| OPERATORS.iter().find(|entry| (entry.runs)(plan)));
    let entry = entry.or_defect(|| format!("no operator runs step \"{}\"", node.name))?;
    (entry.build)(node, guests, seed)
}

/// How an operator is made.
trait Build: Operator + Sized + 'static {
    /// What the planner says of steps of its kind.
    type Plan: OperatorPlan;

    /// An operator without state.
    fn build(node: &Node, plan: &Self::Plan, guests: Guests, seed: u64) -> Result<Self>;
}

/// A step that runs. It never waits, and never reads a clock.
pub trait Operator: Stateful + fmt::Debug + Send {
    /// Takes in rows of each input, while the watermark moves, and gives rows of each output.
    ///
    /// # Errors
    /// Where a guest refuses a row of the first input, or the operator itself does, or it would give too much at once. Nothing has
    /// changed then.
    fn process(&mut self, inputs: Inputs<'_>) -> Result<Outputs, ProcessError>;

    /// Another plan of the same step takes over, whose columns may lie elsewhere. The state stays.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect), where it is of another kind.
    fn replan(&mut self, node: &Node) -> Result<()>;

    /// Itself, where it forgets keys that are due and emits that they go.
    fn forgets(&mut self) -> Option<&mut dyn Forgets> {
        None
    }

    /// What its changelog comes to: the rows of the keys in one bucket that it may still change or take back, as inserts, each
    /// with its place in the batch as its delivery. Nothing where its first output is no changelog.
    fn current_rows(&self, _bucket: usize) -> Option<Batch> {
        None
    }

    /// Where it [unfolds](OperatorPlan::unfolds) rows: what it makes of each of these by itself, of the same kind and delivery. Of
    /// such a row that it would reject there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect).
    fn unfold(&mut self, _rows: &Batch) -> Result<Option<Batch>> {
        Ok(None)
    }

    /// From now on, or no longer, keeps the current rows that are none any more without a word: see [`Operator::take_past`].
    fn keep_past(&mut self, _keeps: bool) {}

    /// Those since the last call, as rows that go, each with the delivery behind which it is past. Nothing where no rows outlive
    /// their keys.
    fn take_past(&mut self) -> Batch {
        Batch::default()
    }

    /// Has the guests among its aggregates compute the results of the keys in one bucket anew, of the states that there are: other
    /// modules may have given those that it holds. [`Operator::current_rows`] has the new ones from then on.
    ///
    /// # Errors
    /// A state of which its guest has no result. The operator is of no use then.
    fn results_anew(&mut self, _bucket: usize) -> Result<(), NoResult> {
        Ok(())
    }

    /// Whether rows stay as they are once it has forgotten their keys, without a word: they are no current rows then.
    fn rows_outlive_state(&self) -> bool {
        false
    }
}

/// What an operator takes in at once.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The rows of each port that it reads, in the order of [`Node::inputs`].
    pub batches: &'a [Batch],
    /// How the watermark moves meanwhile, where the step follows it.
    pub progress: Option<&'a WatermarkProgress<'a>>,
}

impl<'a> Inputs<'a> {
    /// The rows of its only input.
    fn one(self) -> Result<&'a Batch> {
        match self.batches {
            [input] => Ok(input),
            others => Err(Error::defect(format!("a step of one input is given {}", others.len()))),
        }
    }

    /// The rows of both of its inputs.
    fn two(self) -> Result<(&'a Batch, &'a Batch)> {
        match self.batches {
            [first, second] => Ok((first, second)),
            others => Err(Error::defect(format!("a step of two inputs is given {}", others.len()))),
        }
    }

    /// How the watermark moves, for a step that always follows it.
    fn followed(self) -> Result<&'a WatermarkProgress<'a>> {
        self.progress
            .or_defect(|| "a step that follows the watermark is called without it".to_owned())
    }
}

/// What an operator made of what it took in.
#[derive(Debug, Default)]
pub struct Outputs {
    /// The rows of each output.
    pub rows: Vec<Batch>,
    /// For each input which deliveries had an effect. What comes because time went on is not the doing of the event that
    /// moved it.
    pub applied: Vec<Applied>,
    /// Times that came, of which a guest could make nothing.
    pub dead: DeadTimers,
}

impl Outputs {
    /// Of an operator that keeps nothing as a dead letter.
    fn new(rows: Vec<Batch>, applied: Vec<Applied>) -> Self {
        Self {
            rows,
            applied,
            dead: DeadTimers::default(),
        }
    }
}

/// Keys whose time came, and of which a guest could make nothing.
#[derive(Debug, Default)]
pub struct DeadTimers {
    /// Their columns: those of the key, and the time.
    pub schema: Schema,
    /// A row for each, with the event that moved the watermark there.
    pub rows: Batch,
    /// For each why.
    pub why: Vec<RejectedByGuest>,
}

/// Which deliveries of an input had an effect: those count as applied, and not as filtered.
#[derive(Debug)]
pub enum Applied {
    /// That of each row.
    All,
    /// None: what becomes of the rows says it.
    None,
    /// Those of all rows but these, which are some of them in their order.
    But(Vec<u32>),
    /// These.
    Only(Vec<u32>),
}

impl Applied {
    /// The deliveries of all rows but those of a late output.
    fn but(late: Option<&Batch>) -> Self {
        match late {
            Some(late) if !late.is_empty() => Self::But(late.deliveries.clone()),
            _ => Self::All,
        }
    }
}

/// Why an operator did not take rows in.
#[derive(Debug)]
pub enum ProcessError {
    /// A guest among its aggregates refuses a row.
    Rejected(RejectedByGuest),
    /// It can make nothing of some rows of the first input, which are in their order: at least one.
    Unfit(Vec<UnfitRow>),
    /// It would give too much at once: it can be asked of the rows in front of this delivery, and of those from there on.
    TooMuch(u32),
    /// A fault of Weir.
    Defect(Error),
}

/// A row that an operator rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfitRow {
    /// The row of the operator's input.
    pub row: u32,
    /// A sentence for a person.
    pub reason: String,
}

impl ProcessError {
    /// Of an operator that was asked for what it makes of rows that fit.
    fn into_defect(self) -> Error {
        match self {
            Self::Defect(defect) => defect,
            other => Error::defect(format!("rows that were taken in are not taken in any more: {other:?}")),
        }
    }
}

impl From<RejectedByGuest> for ProcessError {
    fn from(refusal: RejectedByGuest) -> Self {
        Self::Rejected(refusal)
    }
}

impl From<Error> for ProcessError {
    fn from(error: Error) -> Self {
        Self::Defect(error)
    }
}

/// The state of an operator, as the turn and the restart see it.
pub trait Stateful {
    /// The keyed states, each with its name within the operator.
    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)>;
    /// Starts to keep old values, until [`Stateful::release`] or [`Stateful::rollback`].
    fn savepoint(&mut self) {
        self.states().into_iter().for_each(|(_, state)| state.savepoint());
    }
    /// What happened since the savepoint stays.
    fn release(&mut self) {
        self.states().into_iter().for_each(|(_, state)| state.release());
    }
    /// Puts everything back to what it was at the savepoint. What is kept beside the states is built again from them.
    fn rollback(&mut self);
    /// Where the entries of the state of this name hold times, if they do. Those of keys that expire do.
    fn held_times(&self, state: &str) -> Option<HeldTimes> {
        (state == TOUCHED).then(HeldTimes::first_in_values)
    }
    /// Called once after all entries were restored.
    fn restored(&mut self) {}
}

/// A [`KeyedState`] without its type: bytes in, bytes out.
pub trait StateMap {
    /// See [`KeyedState::savepoint`].
    fn savepoint(&mut self);
    /// See [`KeyedState::release`].
    fn release(&mut self);
    /// How many keys have a value.
    fn live(&self) -> usize;
    /// Memory that its hash tables take.
    fn table_bytes(&self) -> usize;
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
    fn savepoint(&mut self) {
        KeyedState::savepoint(self);
    }

    fn release(&mut self) {
        KeyedState::release(self);
    }

    fn live(&self) -> usize {
        self.len()
    }

    fn table_bytes(&self) -> usize {
        KeyedState::table_bytes(self)
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
            None => Some(progress.time_us(self.input.delivery(row))),
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
pub struct ChangelogBuilder {
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

    /// Adds a row of what a changelog comes to, see [`Operator::current_rows`].
    fn push_current<'v>(&mut self, values: impl Iterator<Item = Value<'v>>) {
        self.push_insert(self.deliveries.len() as u32, values);
    }

    /// The rows, all of which were added as such that stand for themselves.
    pub(crate) fn finish_inserts(self) -> Batch {
        Batch {
            kinds: None,
            ..self.finish()
        }
    }

    /// Adds what takes a row from what it was to what it is, as rows of `delivery`.
    pub(crate) fn push_moved(&mut self, needs_update_before: bool, delivery: u32, moved: &Moved) {
        match moved.sides() {
            (None, None) => {}
            (None, Some(after)) => self.push(RowKind::Insert, delivery, cells(after)),
            (Some(before), None) => self.push(RowKind::Delete, delivery, cells(before)),
            (Some(before), Some(after)) => {
                if needs_update_before {
                    self.push(RowKind::UpdateBefore, delivery, cells(before));
                }
                self.push(RowKind::UpdateAfter, delivery, cells(after));
            }
        }
    }

    /// How many rows there are so far.
    pub(crate) fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Adds these rows of a changelog of the same columns.
    pub(crate) fn append(&mut self, more: &Batch, rows: Range<usize>) {
        if rows.is_empty() {
            return;
        }
        if more.columns.len() != self.columns.len() {
            note_defect("a changelog was put behind one of other columns");
        }
        for (column, more) in self.columns.iter_mut().zip(&more.columns) {
            column.extend_from(more, rows.clone());
        }
        self.deliveries.extend(rows.clone().map(|row| more.delivery(row)));
        self.kinds.extend(rows.map(|row| more.kind(row)));
    }

    pub(crate) fn finish(self) -> Batch {
        if !self.columns.iter().all(|column| column.len() == self.deliveries.len()) {
            note_defect("the columns of a changelog have different lengths");
        }
        let lineage = self.lineage.as_ref();
        if lineage.is_some_and(|lineage| lineage.ends.len() != self.deliveries.len()) {
            note_defect("the lineage of a changelog is not that of its rows");
        }
        Batch {
            columns: self.columns.into_iter().map(Arc::new).collect(),
            deliveries: self.deliveries,
            kinds: Some(self.kinds),
            lineage: self.lineage.map(Arc::new),
        }
    }
}
