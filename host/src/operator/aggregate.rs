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
    state::{KeyedState, Keys, StateValue},
};
use hashbrown::HashMap;
use std::{
    collections::BTreeSet,
    num::NonZeroU64,
    ops::{Bound, Range},
};

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
    values: KeyedState<NonZeroU64>,
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

/// Most steps that are looked ahead at once, where they have no values to look up.
const STEPS_AHEAD: usize = 1024;

/// A group that changed and whose change was not told yet. It is held here meanwhile, and not looked up for each row.
#[derive(Debug)]
struct Touched {
    key: Vec<u8>,
    /// Its result before the change; absent when it was not there.
    before: Option<Vec<u8>>,
    /// As it is now; absent when it has no rows.
    group: Option<Group>,
    /// The deliveries that touched it, ascending.
    causes: Vec<u32>,
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

    /// Goes on with the same state as an operator of another plan, whose columns may lie elsewhere.
    pub fn replace(&mut self, plan: AggregatePlan, schema: Schema, before_needed: bool, collapsible: bool) {
        (self.plan, self.schema) = (plan, schema);
        (self.before_needed, self.collapsible) = (before_needed, collapsible);
    }

    /// Takes in a changelog and gives what changed.
    pub fn update(&mut self, input: &Batch) -> Batch {
        let mut out = ChangelogBuilder::new(&self.schema, 64);
        if self.collapsible {
            out = out.with_causes();
        }
        let plan = self.plan.clone();
        let changes = Changes::new(&plan, input);
        let mut touched: Vec<Touched> = Vec::new();
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        let (mut steps, mut group_keys, mut ahead) = (Vec::new(), Vec::new(), Keys::default());

        let mut row = 0;
        while row < input.len() {
            steps.clear();
            group_keys.clear();
            ahead.clear();
            while row < input.len() && steps.len() < STEPS_AHEAD && !ahead.is_full() {
                let step = changes.step(row, &mut group_keys);
                changes.each_value(&step, |number, spec, value, _| {
                    if spec.function.tells_values_apart() {
                        ahead.push(|key| push_value_key(key, step.key(&group_keys), number, value));
                    }
                });
                row += if step.stays { 2 } else { 1 };
                steps.push(step);
            }
            self.values.look_ahead(&mut ahead);

            for (at, step) in steps.iter().enumerate() {
                let group = self.touch(step.key(&group_keys), &mut touched, &mut places);
                let Some(Touched { group, causes, .. }) = group else {
                    break;
                };
                let cause = input.deliveries.get(step.row).copied().unwrap_or_default();
                if causes.last() != Some(&cause) {
                    causes.push(cause);
                }
                let counted = group.get_or_insert_with(|| Group::new(&plan.aggregates));
                if !step.stays {
                    count(&mut counted.rows, step.retracts);
                }
                changes.each_value(step, |number, spec, value, retract| {
                    if let Some(accumulator) = counted.accumulators.get_mut(number) {
                        accumulator.apply(spec, value, retract, &mut self.values, &mut self.ordered, &mut ahead);
                    }
                });
                if counted.rows == 0 {
                    *group = None;
                }

                let next_row = steps.get(at + 1).map_or(row, |step| step.row);
                let delivery = input.deliveries.get(step.row).copied().unwrap_or_default();
                let last_of_event = input.deliveries.get(next_row) != Some(&delivery);
                if next_row == input.len() || last_of_event && !self.collapsible {
                    self.tell(&mut touched, delivery, &mut out);
                    places.clear();
                }
            }
        }
        out.finish()
    }

    /// The group of `key`, taken out of the state if it was not yet.
    fn touch<'t>(
        &self,
        key: &[u8],
        touched: &'t mut Vec<Touched>,
        places: &mut HashMap<Vec<u8>, usize>,
    ) -> Option<&'t mut Touched> {
        let at = match places.get(key) {
            Some(&at) => at,
            None => {
                let group = self.groups.get(key).cloned();
                let before = group.as_ref().map(|group| self.result(key, group));
                places.insert(key.to_vec(), touched.len());
                touched.push(Touched {
                    key: key.to_vec(),
                    before,
                    group,
                    causes: Vec::new(),
                });
                touched.len() - 1
            }
        };
        touched.get_mut(at)
    }

    /// Puts the touched groups back into the state, and tells what became of them.
    fn tell(&mut self, touched: &mut Vec<Touched>, delivery: u32, out: &mut ChangelogBuilder) {
        let mut text = [const { Vec::new() }; 1];
        for Touched {
            key,
            before,
            group,
            causes,
        } in touched.drain(..)
        {
            let after = group.as_ref().map(|group| self.result(&key, group));
            self.groups.modify(&key, |current| {
                *current = group;
                true
            });
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
                out.caused_by(&causes);
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

    /// The results of a group as a row.
    fn result(&self, key: &[u8], group: &Group) -> Vec<u8> {
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
        row
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

impl Accumulator {
    /// Adds a value that is not null, or takes it away. `ahead` holds the keys of values that have to be told apart.
    fn apply(
        &mut self,
        spec: &AggregateSpec,
        value: Value<'_>,
        retract: bool,
        values: &mut KeyedState<NonZeroU64>,
        ordered: &mut BTreeSet<Box<[u8]>>,
        ahead: &mut Keys,
    ) {
        match (self, value) {
            (Self::Int(sum, values), Value::Int(value)) => {
                let value = i128::from(value);
                // 2^64 additions of 64 bits fit into 128.
                *sum = if retract {
                    sum.wrapping_sub(value)
                } else {
                    sum.wrapping_add(value)
                };
                count(values, retract);
            }
            (Self::Double(sum, values), Value::Double(value)) => {
                if retract {
                    sum.subtract(value)
                } else {
                    sum.add(value)
                };
                count(values, retract);
            }
            (Self::Count(rows), _) if !spec.function.tells_values_apart() => count(rows, retract),
            (Self::Count(distinct), _) => values.modify_next(ahead, |key, rows| {
                let before = rows.map_or(0, NonZeroU64::get);
                let after = if retract { before.saturating_sub(1) } else { before + 1 };
                *rows = NonZeroU64::new(after);
                if (before == 0) != (after == 0) {
                    count(distinct, retract);
                    match (spec.function, retract) {
                        (Function::CountDistinct, _) => false,
                        (_, true) => ordered.remove(key),
                        (_, false) => ordered.insert(key.into()),
                    };
                }
                true
            }),
            _ => debug_assert!(false, "the plan gives each accumulator values of its own type"),
        }
    }
}

/// A changelog as the groups see it.
struct Changes<'a> {
    input: &'a Batch,
    group: Vec<&'a Column>,
    /// Each aggregate with its column; none for `count = "*"`.
    aggregates: Vec<(&'a AggregateSpec, Option<&'a Column>)>,
}

/// A row that comes to a group or goes from it; or one that takes the place of the one before, within its group.
struct Step {
    row: usize,
    retracts: bool,
    stays: bool,
    /// Where the group's key is.
    key: Range<usize>,
}

impl Step {
    fn key<'k>(&self, group_keys: &'k [u8]) -> &'k [u8] {
        group_keys.get(self.key.clone()).unwrap_or_default()
    }
}

impl<'a> Changes<'a> {
    fn new(plan: &'a AggregatePlan, input: &'a Batch) -> Self {
        let column = |index: usize| input.columns.get(index).map(|column| &**column);
        let aggregates = plan.aggregates.iter().map(|spec| (spec, spec.column.and_then(column)));
        Self {
            input,
            group: input.pick(&plan.group),
            aggregates: aggregates.collect(),
        }
    }

    /// What `row` is. The key of its group is appended to `keys`.
    fn step(&self, row: usize, keys: &mut Vec<u8>) -> Step {
        let start = keys.len();
        push_key(keys, &self.group, row);
        let end = keys.len();
        let kind = self.input.kind(row);
        let stays = kind == RowKind::UpdateBefore && self.input.kind(row + 1) == RowKind::UpdateAfter && {
            push_key(keys, &self.group, row + 1);
            keys.get(start..end) == keys.get(end..)
        };
        keys.truncate(end);
        Step {
            row,
            retracts: kind.retracts(),
            stays,
            key: start..end,
        }
    }

    /// Calls `each` with the number of an aggregate, what it is, a value, and whether that goes rather than comes, for
    /// all values of a step but nulls and those that are the same before and after.
    #[inline]
    fn each_value(&self, step: &Step, mut each: impl FnMut(usize, &'a AggregateSpec, Value<'a>, bool)) {
        for (number, &(spec, column)) in self.aggregates.iter().enumerate() {
            let mut value = input_value(spec, column, step.row);
            let mut retracts = step.retracts;
            if step.stays {
                let after = input_value(spec, column, step.row + 1);
                if after == value {
                    continue;
                }
                if !value.is_null() {
                    each(number, spec, value, true);
                }
                (value, retracts) = (after, false);
            }
            if !value.is_null() {
                each(number, spec, value, retracts);
            }
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

/// What a row gives to an aggregate.
#[inline]
fn input_value<'v>(spec: &AggregateSpec, column: Option<&'v Column>, row: usize) -> Value<'v> {
    let Some(column) = column else {
        return Value::Boolean(true); // count = "*": every row counts
    };
    match (column.get(row), spec.coalesce, spec.column_type) {
        (Value::Null, Some(instead), ColumnType::Int) => Value::Int(instead as i64),
        (Value::Null, Some(instead), _) => Value::Double(instead),
        (value, ..) => value,
    }
}

/// Appends the key of an entry of `values`: group, aggregate, value.
fn push_value_key(key: &mut Vec<u8>, group: &[u8], number: usize, value: Value<'_>) {
    key.extend_from_slice(group);
    key.extend_from_slice(&(number as u16).to_be_bytes());
    push_key_cell(key, value);
}

fn value_prefix(group: &[u8], number: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(group.len() + 2);
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
