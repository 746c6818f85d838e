//! Accumulators: what `aggregate` and windows keep of the rows of a group.
//!
//! A [`Group`] is one entry of a state. Where values have to be told apart (a count of different ones; an extreme that may
//! be taken away again), each value is an entry of its own in [`Values`], so that a turn writes what changed and not
//! all of a group.

mod values;

pub(super) use values::{Order, Values, push_value_key};

use super::top::{Arrival, Ranking, Top};
use crate::{
    error::note_defect,
    model::{
        column::{Column, ColumnType, Unscaled, Value},
        keys::Keys,
        row::{cells, push_cell, push_length, take_bytes, take_length},
    },
    plan::{AggregateSpec, Function, ms_in_us},
    state::{
        StateValue,
        exact_sum::ExactSum,
        sketch::{Distinct, Quantiles},
        wide_sum::WideSum,
    },
};
use std::cmp::Ordering;

/// The accumulators of a group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    /// How many rows it has.
    pub(super) rows: u64,
    accumulators: Box<[Accumulator]>,
    /// In place of accumulators, where a window ranks rows: `rows` counts those that were among the first.
    top: Option<Top>,
}

/// In front of the rows that rank first, where accumulators have their tags.
const TOP: u8 = 8;

/// In front of a sum of decimals.
const DECIMAL: u8 = 9;

/// What is kept of one aggregate in one group.
#[derive(Clone, Debug, PartialEq)]
enum Accumulator {
    /// `count`, `count_distinct`: the result. `min`, `max` of rows that may go again: nothing, the values are the state.
    Count(u64),
    /// `sum`, `avg` of integers: the sum, and of how many values.
    Int(i128, u64),
    /// `sum`, `avg` of doubles: the sum, and of how many values.
    Double(ExactSum, u64),
    /// `sum`, `avg` of decimals: the sum, and of how many values.
    Decimal(WideSum, u64),
    /// `min`, `max` of rows that stay, `first`, `last`: the value, as a row of one cell, and the time of its row.
    Held(Option<(i64, Box<[u8]>)>),
    /// A guest: its state, and its result after the last row, as a row of one cell. Both are empty before the first row.
    Guest(Box<[u8]>, Box<[u8]>),
    /// `approx_count_distinct`.
    Distinct(Box<Distinct>),
    /// `quantile`.
    Quantiles(Quantiles),
}

/// A value on its way into a group, or out of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change<'v> {
    /// The number of the aggregate.
    pub(super) number: usize,
    /// Not null.
    pub(super) value: Value<'v>,
    /// The time of its row. Only `first` and `last` look at it.
    pub(super) time_us: i64,
    /// Whether it goes rather than comes.
    pub(super) retracts: bool,
}

impl Group {
    pub(super) fn new(aggregates: &[AggregateSpec]) -> Self {
        let accumulators = aggregates.iter().map(|spec| match (spec.function, spec.column_type) {
            (Function::Sum | Function::Avg, ColumnType::Int) => Accumulator::Int(0, 0),
            (Function::Sum | Function::Avg, ColumnType::Decimal(_)) => Accumulator::Decimal(WideSum::default(), 0),
            (Function::Sum | Function::Avg, _) => Accumulator::Double(ExactSum::default(), 0),
            (Function::First | Function::Last, _) => Accumulator::Held(None),
            (Function::Guest, _) => Accumulator::Guest(Box::default(), Box::default()),
            (Function::Min | Function::Max, _) if !spec.tells_values_apart() => Accumulator::Held(None),
            (Function::ApproxCountDistinct, _) => Accumulator::Distinct(Box::default()),
            (Function::Quantile, _) => Accumulator::Quantiles(Quantiles::default()),
            _ => Accumulator::Count(0),
        });
        Self {
            rows: 0,
            accumulators: accumulators.collect(),
            top: None,
        }
    }

    /// Counts a row that comes or goes.
    pub(super) fn count_row(&mut self, retracts: bool) {
        count(&mut self.rows, retracts);
    }

    /// What the guest that is aggregate `number` keeps of the group.
    pub(super) fn guest_state(&self, number: usize) -> Option<&[u8]> {
        match self.accumulators.get(number) {
            Some(Accumulator::Guest(state, _)) => Some(state),
            _ => None,
        }
    }

    /// The result that the guest that is aggregate `number` gave last, as a row of one cell.
    pub(super) fn guest_result(&self, number: usize) -> Option<&[u8]> {
        match self.accumulators.get(number) {
            Some(Accumulator::Guest(_, result)) => Some(result),
            _ => None,
        }
    }

    /// Takes over what the guest that is aggregate `number` makes of the group; the state where it is known already.
    pub(super) fn set_guest(&mut self, number: usize, state: Option<Box<[u8]>>, result: &[u8]) {
        let Some(Accumulator::Guest(held, emitted)) = self.accumulators.get_mut(number) else {
            return;
        };
        if let Some(state) = state {
            *held = state;
        }
        match emitted.len() == result.len() {
            true => emitted.copy_from_slice(result),
            false => *emitted = result.into(),
        }
    }

    /// Forgets what the guest that is aggregate `number` made of rows that are all gone.
    pub(super) fn forget_guest(&mut self, number: usize) {
        if let Some(Accumulator::Guest(held, emitted)) = self.accumulators.get_mut(number) {
            (*held, *emitted) = Default::default();
        }
    }

    /// Takes a row in if it ranks among the first. Says whether it does: otherwise nothing changes.
    pub(super) fn rank(&mut self, ranking: &Ranking<'_>, row: usize, arrival: Arrival) -> bool {
        let ranks = Top::offer(&mut self.top, ranking, row, arrival);
        if ranks {
            self.count_row(false);
        }
        ranks
    }

    /// The rows that rank first, where those are kept.
    pub(super) fn top(&self) -> Option<&Top> {
        self.top.as_ref()
    }

    /// Adds a value, or takes it away. What guests make of a row comes by [`Group::set_guest`]. The key of a value that has to be told apart is the next one of `ahead`, or made
    /// of `key`, the group's own.
    #[inline]
    pub(super) fn apply(
        &mut self,
        aggregates: &[AggregateSpec],
        change: Change<'_>,
        key: &[u8],
        values: &mut Values,
        ahead: Option<&mut Keys>,
    ) {
        let (Some(accumulator), Some(spec)) = (self.accumulators.get_mut(change.number), aggregates.get(change.number))
        else {
            return;
        };
        let retracts = change.retracts;
        match (accumulator, change.value) {
            (Accumulator::Int(sum, values), Value::Int(value)) => {
                if retracts && *values == 0 {
                    return;
                }
                let value = i128::from(value);
                // 2^64 additions of 64 bits fit into 128.
                *sum = if retracts {
                    sum.wrapping_sub(value)
                } else {
                    sum.wrapping_add(value)
                };
                count(values, retracts);
            }
            (Accumulator::Double(sum, values), Value::Double(value)) => {
                if retracts && *values == 0 {
                    return;
                }
                if retracts {
                    sum.subtract(value)
                } else {
                    sum.add(value)
                };
                count(values, retracts);
            }
            (Accumulator::Decimal(sum, values), Value::Decimal(value)) => {
                if retracts && *values == 0 {
                    return;
                }
                if retracts {
                    sum.subtract(value.get())
                } else {
                    sum.add(value.get())
                };
                count(values, retracts);
            }
            (Accumulator::Guest(..), _) => {}
            (Accumulator::Held(held), value) => hold(spec.function, held, change.time_us, value),
            (Accumulator::Distinct(distinct), value) => {
                if retracts {
                    note_defect("a row is taken back from an aggregate that only takes rows that stay");
                }
                distinct.add(value);
            }
            (Accumulator::Quantiles(quantiles), Value::Int(value)) => quantiles.apply(value as f64, retracts),
            (Accumulator::Quantiles(quantiles), Value::Double(value)) => quantiles.apply(value, retracts),
            (Accumulator::Count(rows), _) if !spec.tells_values_apart() => count(rows, retracts),
            (Accumulator::Count(distinct), value) => {
                let crossed = match ahead {
                    Some(ahead) => values.count_next(spec, retracts, ahead),
                    None => values.count(spec, retracts, key, change.number, value),
                };
                if crossed {
                    count(distinct, retracts);
                }
            }
            _ => note_defect("an accumulator was given a value of another type than its own"),
        }
    }

    /// Appends the results, in the order of the aggregates.
    pub(super) fn push_results(&self, aggregates: &[AggregateSpec], key: &[u8], values: &Values, row: &mut Vec<u8>) {
        let mut text = Vec::new();
        for (number, (spec, accumulator)) in aggregates.iter().zip(&self.accumulators).enumerate() {
            let value = match (accumulator, spec.function) {
                (Accumulator::Count(_), Function::Min | Function::Max) => {
                    values.extreme(key, number, spec.function == Function::Max, &mut text)
                }
                (Accumulator::Count(count), _) => Value::Int(i64::try_from(*count).unwrap_or(i64::MAX)),
                (
                    Accumulator::Int(_, 0)
                    | Accumulator::Double(_, 0)
                    | Accumulator::Decimal(_, 0)
                    | Accumulator::Held(None),
                    _,
                ) => Value::Null,
                (Accumulator::Decimal(sum, count), function) => {
                    let unscaled = match function {
                        Function::Avg => sum.mean(*count, spec.more_places()),
                        _ => sum.value(),
                    };
                    let widest = |unscaled: &i128| spec.result_decimal().is_some_and(|of| of.holds(*unscaled));
                    let unscaled = unscaled.filter(widest);
                    unscaled.map_or(Value::Null, |unscaled| Value::Decimal(Unscaled::new(unscaled)))
                }
                (Accumulator::Int(sum, count), Function::Avg) => Value::Double(mean(*sum, *count)),
                (Accumulator::Int(sum, _), _) => i64::try_from(*sum).map_or(Value::Null, Value::Int),
                (Accumulator::Double(sum, count), Function::Avg) => Value::Double(sum.mean(*count)),
                (Accumulator::Double(sum, _), _) => match sum.value() {
                    sum if sum.is_finite() => Value::Double(sum),
                    _ => Value::Null,
                },
                (Accumulator::Held(Some((_, cell))) | Accumulator::Guest(_, cell), _) => {
                    cells(cell).next().unwrap_or(Value::Null)
                }
                (Accumulator::Distinct(distinct), _) => Value::Int(distinct.estimate()),
                (Accumulator::Quantiles(quantiles), _) => {
                    let quantile = spec.q.and_then(|q| quantiles.quantile(q));
                    quantile.map_or(Value::Null, Value::Double)
                }
            };
            push_cell(row, value);
        }
    }

    /// Takes in all rows of another group, which goes: its values have to be moved by [`Values::move_group`], and what
    /// guests make of both comes by [`Group::set_guest`].
    pub(super) fn merge(&mut self, aggregates: &[AggregateSpec], other: Self) {
        self.rows += other.rows;
        match (&mut self.top, other.top) {
            (Some(top), Some(more)) => top.merge(&more),
            (top @ None, more) => *top = more,
            (Some(_), None) => {}
        }
        for ((spec, into), from) in aggregates.iter().zip(&mut self.accumulators).zip(other.accumulators) {
            match (into, from) {
                // What is told apart is counted when the values move.
                (Accumulator::Count(into), Accumulator::Count(from)) if !spec.tells_values_apart() => *into += from,
                (Accumulator::Int(sum, count), Accumulator::Int(more, values)) => {
                    *sum = sum.wrapping_add(more);
                    *count += values;
                }
                (Accumulator::Double(sum, count), Accumulator::Double(more, values)) => {
                    sum.merge(&more);
                    *count += values;
                }
                (Accumulator::Decimal(sum, count), Accumulator::Decimal(more, values)) => {
                    sum.merge(more);
                    *count += values;
                }
                (Accumulator::Held(held), Accumulator::Held(Some((time_us, cell)))) => {
                    let value = cells(&cell).next().unwrap_or(Value::Null);
                    hold(spec.function, held, time_us, value);
                }
                (Accumulator::Distinct(distinct), Accumulator::Distinct(more)) => distinct.merge(*more),
                (Accumulator::Quantiles(quantiles), Accumulator::Quantiles(more)) => quantiles.merge(more),
                _ => {}
            }
        }
    }

    /// Counts a value that came to this group when another was merged into it.
    fn count_moved(&mut self, number: usize) {
        if let Some(Accumulator::Count(distinct)) = self.accumulators.get_mut(number) {
            *distinct += 1;
        }
    }

    /// Makes microseconds of the times of an older Weir, which are milliseconds.
    pub(super) fn times_in_us(&mut self) {
        for accumulator in &mut self.accumulators {
            if let Accumulator::Held(Some((time, _))) = accumulator {
                *time = ms_in_us(*time);
            }
        }
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
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
                Accumulator::Decimal(sum, count) => {
                    bytes.push(DECIMAL);
                    sum.encode(bytes);
                    push_length(bytes, *count as usize);
                }
                Accumulator::Held(None) => bytes.push(3),
                Accumulator::Held(Some((time_us, cell))) => {
                    bytes.push(4);
                    bytes.extend_from_slice(&time_us.to_le_bytes());
                    push_length(bytes, cell.len());
                    bytes.extend_from_slice(cell);
                }
                Accumulator::Guest(state, cell) => {
                    bytes.push(5);
                    for part in [state, cell] {
                        push_length(bytes, part.len());
                        bytes.extend_from_slice(part);
                    }
                }
                Accumulator::Distinct(distinct) => {
                    bytes.push(6);
                    distinct.encode(bytes);
                }
                Accumulator::Quantiles(quantiles) => {
                    bytes.push(7);
                    quantiles.encode(bytes);
                }
            }
        }
        if let Some(top) = &self.top {
            bytes.push(TOP);
            top.encode(bytes);
        }
    }

    /// Reads what [`Group::encode`] wrote; nothing when the bytes are none of it.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let rows = take_length(bytes)? as u64;
        let (mut accumulators, mut top) = (Vec::new(), None);
        while let Some((&tag, rest)) = bytes.split_first() {
            *bytes = rest;
            if tag == TOP {
                top = Some(Top::take(bytes)?);
                continue;
            }
            accumulators.push(match tag {
                0 => Accumulator::Count(take_length(bytes)? as u64),
                1 => {
                    let sum = i128::from_le_bytes(take_bytes(bytes, 16)?.try_into().ok()?);
                    Accumulator::Int(sum, take_length(bytes)? as u64)
                }
                2 => Accumulator::Double(ExactSum::take(bytes)?, take_length(bytes)? as u64),
                3 => Accumulator::Held(None),
                4 => {
                    let time_us = i64::from_le_bytes(take_bytes(bytes, 8)?.try_into().ok()?);
                    let length = take_length(bytes)?;
                    Accumulator::Held(Some((time_us, take_bytes(bytes, length)?.into())))
                }
                5 => {
                    let length = take_length(bytes)?;
                    let state = take_bytes(bytes, length)?.into();
                    let length = take_length(bytes)?;
                    Accumulator::Guest(state, take_bytes(bytes, length)?.into())
                }
                6 => Accumulator::Distinct(Box::new(Distinct::take(bytes)?)),
                7 => Accumulator::Quantiles(Quantiles::take(bytes)?),
                DECIMAL => Accumulator::Decimal(WideSum::take(bytes)?, take_length(bytes)? as u64),
                _ => return None,
            });
        }
        let accumulators = accumulators.into();
        Some(Self {
            rows,
            accumulators,
            top,
        })
    }
}

impl StateValue for Group {
    fn encode(&self, bytes: &mut Vec<u8>) {
        Self::encode(self, bytes);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes)
    }
}

/// A group that was forgotten and began anew may be told to take away what it never had.
fn count(counter: &mut u64, retracts: bool) {
    *counter = if retracts {
        counter.saturating_sub(1)
    } else {
        *counter + 1
    };
}

/// Lets a value that came take the place of the one that is held, if it is to.
fn hold(function: Function, held: &mut Option<(i64, Box<[u8]>)>, time_us: i64, value: Value<'_>) {
    if let Some((held_time_us, cell)) = held {
        let before = cells(cell).next().unwrap_or(Value::Null);
        let takes_over = match function {
            Function::Min => compare(value, before) == Ordering::Less,
            Function::Max => compare(value, before) == Ordering::Greater,
            // Of rows of one time the one that came first is the first, and the one that came last the last.
            Function::First => time_us < *held_time_us,
            _ => time_us >= *held_time_us,
        };
        if !takes_over {
            return;
        }
    }
    let value = match (function, value) {
        (Function::Min | Function::Max, Value::Double(value)) => Value::Double(value + 0.0),
        (_, value) => value,
    };
    let mut cell = Vec::new();
    push_cell(&mut cell, value);
    *held = Some((time_us, cell.into()));
}

/// A whole number divided by a count that is not 0: the exact quotient, rounded once.
fn mean(sum: i128, count: u64) -> f64 {
    const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
    let magnitude = sum.unsigned_abs();
    if magnitude <= u128::from(EXACT) && count <= EXACT {
        // The processor rounds a quotient of two doubles once; zero has no sign.
        return sum as f64 / count as f64 + 0.0;
    }
    let count = u128::from(count.max(1));
    let (whole, rest) = (magnitude / count, magnitude % count);
    // 64 bits behind the point, of which the last one says whether anything is left below: a mean of 64-bit numbers has at
    // most as many in front of it.
    let (part, left) = ((rest << 64) / count, (rest << 64) % count);
    let wide = whole << 64 | part | u128::from(left != 0);
    let mean = wide as f64 * 2f64.powi(-64);
    if sum < 0 { -mean } else { mean }
}

/// The order of two values of one type. There is one zero.
fn compare(a: Value<'_>, b: Value<'_>) -> Ordering {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(&b),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (Value::Boolean(a), Value::Boolean(b)) => a.cmp(&b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Decimal(a), Value::Decimal(b)) => a.get().cmp(&b.get()),
        _ => Ordering::Equal,
    }
}

/// What a row gives to an aggregate.
#[inline]
pub(super) fn input_value<'v>(spec: &AggregateSpec, column: Option<&'v Column>, row: usize) -> Value<'v> {
    let Some(column) = column else {
        return Value::Boolean(true); // count = "*": every row counts
    };
    match (column.get(row), spec.coalesce, spec.column_type) {
        (Value::Null, Some(instead), ColumnType::Int) => Value::Int(instead as i64),
        // That it is one of the column was checked.
        (Value::Null, Some(instead), ColumnType::Decimal(decimal)) => {
            let unscaled = decimal.parse(instead.to_string().as_bytes());
            unscaled.map_or(Value::Null, |unscaled| Value::Decimal(Unscaled::new(unscaled)))
        }
        (Value::Null, Some(instead), _) => Value::Double(instead),
        (value, ..) => value,
    }
}
