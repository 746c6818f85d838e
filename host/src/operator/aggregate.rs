//! `aggregate`: sums, counts, extremes and means by group, over a changelog.
//!
//! - Emits: an insert for a group's first row, update-before and update-after when its result changed, a delete when its
//!   last row is gone. The rows of one event (an update moves a row from one group to another, say) count together.
//! - Order: whatever the order of additions and retractions, equal contents give equal results: sums are exact, and
//!   rounded once.
//! - Nulls: `sum`, `avg`, `min`, `max`, `count` of a column and `count_distinct` skip them, unless `coalesce` gives them
//!   a value; a group without any value has a null (and counts of 0). A null in the group is one group like any other.
//! - A sum beyond the numbers of its type (64 bits, the largest double) is null until it comes back.
//! - Restart: the state holds one entry per group, and one per group and value where values have to be told apart
//!   (`count_distinct`, `min`, `max`), so nothing changes.

use super::{ChangelogBuilder, StateMap, Stateful};
use crate::{
    column::{Batch, Column, ColumnType, RowKind, Schema, Value},
    exact_sum::ExactSum,
    plan::{AggregatePlan, AggregateSpec, Function},
    row::{cells, push_cell, push_key, push_key_cell, push_length, take_bytes, take_key_cell, take_length},
    state::{KeyedState, StateValue},
};
use hashbrown::HashMap;
use std::{collections::BTreeSet, ops::Bound};

/// The operator.
#[derive(Debug)]
pub struct Aggregate {
    plan: AggregatePlan,
    schema: Schema,
    before_needed: bool,
    /// Whether changes of one batch may be told as one.
    collapsible: bool,
    groups: KeyedState<Group>,
    /// How many rows of a group hold a value: group, number of the aggregate, value.
    values: KeyedState<u64>,
    /// The keys of `values` that belong to `min` and `max`, in order.
    ordered: BTreeSet<Box<[u8]>>,
}

/// The accumulators of a group.
#[derive(Clone, Debug, PartialEq)]
struct Group {
    rows: u64,
    accumulators: Vec<Accumulator>,
}

/// What is kept of one aggregate in one group.
#[derive(Clone, Debug, PartialEq)]
enum Accumulator {
    /// `count`, `count_distinct`: the result. `min`, `max`: nothing, the values are the state.
    Count(u64),
    /// `sum`, `avg` of integers: the sum, and of how many values.
    Int(i128, u64),
    /// `sum`, `avg` of doubles: the sum, and of how many values.
    Double(ExactSum, u64),
}

impl StateValue for Group {
    fn encode(&self, bytes: &mut Vec<u8>) {
        push_length(bytes, self.rows as usize);
        for accumulator in &self.accumulators {
            match accumulator {
                Accumulator::Count(count) => {
                    bytes.push(0);
                    push_length(bytes, *count as usize);
                }
                Accumulator::Int(sum, count) => {
                    bytes.push(1);
                    bytes.extend_from_slice(&sum.to_le_bytes());
                    push_length(bytes, *count as usize);
                }
                Accumulator::Double(sum, count) => {
                    bytes.push(2);
                    sum.encode(bytes);
                    push_length(bytes, *count as usize);
                }
            }
        }
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let rows = take_length(bytes)? as u64;
        let mut accumulators = Vec::new();
        while let Some((&tag, rest)) = bytes.split_first() {
            *bytes = rest;
            accumulators.push(match tag {
                0 => Accumulator::Count(take_length(bytes)? as u64),
                1 => {
                    let sum = i128::from_le_bytes(take_bytes(bytes, 16)?.try_into().ok()?);
                    Accumulator::Int(sum, take_length(bytes)? as u64)
                }
                2 => Accumulator::Double(ExactSum::take(bytes)?, take_length(bytes)? as u64),
                _ => return None,
            });
        }
        Some(Self { rows, accumulators })
    }
}

/// A group that changed and whose change was not told yet.
#[derive(Debug)]
struct Touched {
    key: Vec<u8>,
    /// Its result before the change; absent when it was not there.
    before: Option<Vec<u8>>,
}

impl Aggregate {
    /// An operator without state. `schema` is that of the output: the group, then the aggregates.
    pub fn new(plan: AggregatePlan, schema: Schema, before_needed: bool, collapsible: bool, seed: u64) -> Self {
        Self {
            plan,
            schema,
            before_needed,
            collapsible,
            groups: KeyedState::new(seed),
            values: KeyedState::new(seed),
            ordered: BTreeSet::new(),
        }
    }

    /// Takes in a changelog and gives what changed.
    pub fn update(&mut self, input: &Batch) -> Batch {
        let mut out = ChangelogBuilder::new(&self.schema, 64);
        let group_columns = input.pick(&self.plan.group);
        let columns: Vec<Option<&Column>> = self
            .plan
            .aggregates
            .iter()
            .map(|spec| {
                spec.column
                    .and_then(|index| input.columns.get(index))
                    .map(|column| &**column)
            })
            .collect();
        let mut touched: Vec<Touched> = Vec::new();
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut key = Vec::new();

        for (row, &delivery) in input.deliveries.iter().enumerate() {
            key.clear();
            push_key(&mut key, &group_columns, row);
            if !places.contains_key(&key) {
                places.insert(key.clone(), touched.len());
                touched.push(Touched {
                    key: key.clone(),
                    before: self.result(&key),
                });
            }
            self.apply(&key, input.kind(row).retracts(), &columns, row);

            let last_of_event = input.deliveries.get(row + 1) != Some(&delivery);
            let last_of_batch = row + 1 == input.len();
            if last_of_batch || last_of_event && !self.collapsible {
                self.tell(&mut touched, delivery, &mut out);
                places.clear();
            }
        }
        out.finish()
    }

    /// Adds one row to its group, or takes it away.
    fn apply(&mut self, key: &[u8], retract: bool, columns: &[Option<&Column>], row: usize) {
        let Self {
            plan,
            groups,
            values,
            ordered,
            ..
        } = self;
        groups.modify(key, |current| {
            let group = current.get_or_insert_with(|| Group::new(&plan.aggregates));
            count(&mut group.rows, retract);
            for (number, ((spec, accumulator), column)) in plan
                .aggregates
                .iter()
                .zip(&mut group.accumulators)
                .zip(columns)
                .enumerate()
            {
                let value = match column {
                    None => Value::Boolean(true), // count = "*": every row counts
                    Some(column) => coalesce(column.get(row), spec),
                };
                if value.is_null() {
                    continue;
                }
                match (accumulator, spec.function, value) {
                    (Accumulator::Int(sum, values), _, Value::Int(value)) => {
                        let value = i128::from(value);
                        // 2^64 additions of 64 bits fit into 128.
                        *sum = if retract {
                            sum.wrapping_sub(value)
                        } else {
                            sum.wrapping_add(value)
                        };
                        count(values, retract);
                    }
                    (Accumulator::Double(sum, values), _, Value::Double(value)) => {
                        if retract {
                            sum.subtract(value)
                        } else {
                            sum.add(value)
                        };
                        count(values, retract);
                    }
                    (Accumulator::Count(rows), Function::Count, _) => count(rows, retract),
                    (Accumulator::Count(distinct), function, value) => {
                        let entry = value_key(key, number, value);
                        values.modify(&entry, |rows| {
                            let before = rows.unwrap_or(0);
                            let after = if retract { before.saturating_sub(1) } else { before + 1 };
                            *rows = (after > 0).then_some(after);
                            if (before == 0) != (after == 0) {
                                count(distinct, retract);
                                if function != Function::CountDistinct {
                                    match retract {
                                        true => ordered.remove(entry.as_slice()),
                                        false => ordered.insert(entry.as_slice().into()),
                                    };
                                }
                            }
                            true
                        });
                    }
                    _ => debug_assert!(false, "the plan gives each accumulator values of its own type"),
                }
            }
            if group.rows == 0 {
                *current = None;
            }
            true
        });
    }

    /// Tells what became of the touched groups.
    fn tell(&self, touched: &mut Vec<Touched>, delivery: u32, out: &mut ChangelogBuilder) {
        let mut text = [const { Vec::new() }; 1];
        for Touched { key, before } in touched.drain(..) {
            let after = self.result(&key);
            if before == after {
                continue;
            }
            let mut push = |kind, result: &[u8]| {
                // A group's key reads back as its cells, which then stand before the results.
                let mut row = Vec::new();
                let mut rest = key.as_slice();
                let [text] = &mut text;
                while let Some(cell) = take_key_cell(&mut rest, text) {
                    push_cell(&mut row, cell);
                }
                out.push(kind, delivery, cells(&row).chain(cells(result)));
            };
            match (&before, &after) {
                (None, Some(after)) => push(RowKind::Insert, after),
                (Some(before), None) => push(RowKind::Delete, before),
                (Some(before), Some(after)) => {
                    if self.before_needed {
                        push(RowKind::UpdateBefore, before);
                    }
                    push(RowKind::UpdateAfter, after);
                }
                (None, None) => {}
            }
        }
    }

    /// The results of a group as a row; nothing when there is no such group.
    fn result(&self, key: &[u8]) -> Option<Vec<u8>> {
        let group = self.groups.get(key)?;
        let mut row = Vec::new();
        let mut text = Vec::new();
        for (number, (spec, accumulator)) in self.plan.aggregates.iter().zip(&group.accumulators).enumerate() {
            let value = match (accumulator, spec.function) {
                (Accumulator::Count(_), Function::Min | Function::Max) => {
                    self.extreme(key, number, spec.function == Function::Max, &mut text)
                }
                (Accumulator::Count(count), _) => Value::Int(i64::try_from(*count).unwrap_or(i64::MAX)),
                (Accumulator::Int(_, 0) | Accumulator::Double(_, 0), _) => Value::Null,
                (Accumulator::Int(sum, count), Function::Avg) => Value::Double(*sum as f64 / *count as f64),
                (Accumulator::Int(sum, _), _) => i64::try_from(*sum).map_or(Value::Null, Value::Int),
                (Accumulator::Double(sum, count), Function::Avg) => Value::Double(sum.mean(*count)),
                (Accumulator::Double(sum, _), _) => match sum.value() {
                    sum if sum.is_finite() => Value::Double(sum),
                    _ => Value::Null,
                },
            };
            push_cell(&mut row, value);
        }
        Some(row)
    }

    fn extreme<'t>(&self, key: &[u8], number: usize, greatest: bool, text: &'t mut Vec<u8>) -> Value<'t> {
        let start = value_prefix(key, number);
        let end = value_prefix(key, number + 1);
        let mut range = self
            .ordered
            .range::<[u8], _>((Bound::Included(start.as_slice()), Bound::Excluded(end.as_slice())));
        let found = if greatest { range.next_back() } else { range.next() };
        let mut value = found.and_then(|entry| entry.get(start.len()..)).unwrap_or_default();
        take_key_cell(&mut value, text).unwrap_or(Value::Null)
    }
}

impl Group {
    fn new(aggregates: &[AggregateSpec]) -> Self {
        let accumulators = aggregates.iter().map(|spec| match (spec.function, spec.column_type) {
            (Function::Sum | Function::Avg, ColumnType::Int) => Accumulator::Int(0, 0),
            (Function::Sum | Function::Avg, _) => Accumulator::Double(ExactSum::default(), 0),
            _ => Accumulator::Count(0),
        });
        Self {
            rows: 0,
            accumulators: accumulators.collect(),
        }
    }
}

fn count(counter: &mut u64, retract: bool) {
    debug_assert!(!retract || *counter > 0, "a row is retracted that was never added");
    *counter = if retract {
        counter.saturating_sub(1)
    } else {
        *counter + 1
    };
}

fn coalesce<'v>(value: Value<'v>, spec: &AggregateSpec) -> Value<'v> {
    match (value, spec.coalesce, spec.column_type) {
        (Value::Null, Some(instead), ColumnType::Int) => Value::Int(instead as i64),
        (Value::Null, Some(instead), _) => Value::Double(instead),
        _ => value,
    }
}

/// The key of an entry of `values`: group, aggregate, value.
fn value_key(group: &[u8], number: usize, value: Value<'_>) -> Vec<u8> {
    let mut key = value_prefix(group, number);
    push_key_cell(&mut key, value);
    key
}

fn value_prefix(group: &[u8], number: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(group.len() + 32);
    key.extend_from_slice(group);
    key.extend_from_slice(&(number as u16).to_be_bytes());
    key
}

impl Stateful for Aggregate {
    fn checkpoint(&mut self) {
        self.groups.checkpoint();
        self.values.checkpoint();
    }

    fn keep(&mut self) {
        self.groups.keep();
        self.values.keep();
    }

    fn rollback(&mut self) {
        self.groups.rollback(|_, _| {});
        let Self {
            plan, values, ordered, ..
        } = self;
        values.rollback(|key, live| {
            if !is_ordered(plan, key) {
                return;
            }
            match live {
                true => ordered.insert(key.into()),
                false => ordered.remove(key),
            };
        });
    }

    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        vec![("groups", &mut self.groups), ("values", &mut self.values)]
    }

    fn restored(&mut self) {
        let Self {
            plan, values, ordered, ..
        } = self;
        ordered.extend(
            values
                .iter()
                .map(|(key, _)| key)
                .filter(|key| is_ordered(plan, key))
                .map(Box::from),
        );
    }
}

/// Whether an entry of `values` belongs to `min` or `max`.
fn is_ordered(plan: &AggregatePlan, entry: &[u8]) -> bool {
    if !plan
        .aggregates
        .iter()
        .any(|spec| matches!(spec.function, Function::Min | Function::Max))
    {
        return false;
    }
    let (mut rest, mut text) = (entry, Vec::new());
    for _ in &plan.group {
        if take_key_cell(&mut rest, &mut text).is_none() {
            return false;
        }
    }
    let number = rest
        .first_chunk::<2>()
        .map(|bytes| usize::from(u16::from_be_bytes(*bytes)));
    let spec = number.and_then(|number| plan.aggregates.get(number));
    spec.is_some_and(|spec| matches!(spec.function, Function::Min | Function::Max))
}
