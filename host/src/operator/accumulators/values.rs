//! Values that are told apart: how many rows of a group hold each.

use super::Group;
use crate::{
    model::{
        column::Value,
        keys::Keys,
        row::{push_key_cell, take_key_cell},
    },
    operator::StateMap,
    plan::{AggregateSpec, Function},
    state::KeyedState,
};
use std::{collections::BTreeSet, num::NonZeroU64, ops::Bound};

/// How many rows of a group hold a value: by group, number of the aggregate, value.
#[derive(Debug)]
pub(in crate::operator) struct Values {
    counts: KeyedState<NonZeroU64>,
    /// Those keys of `counts` that are looked for in order.
    ordered: BTreeSet<Box<[u8]>>,
    order: Order,
}

/// Which values are held in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::operator) enum Order {
    /// Those of `min` and `max`, whose groups have so many columns.
    Extremes(usize),
    /// All: groups go as a whole, and their values with them.
    All,
}

impl Values {
    pub(in crate::operator) fn new(order: Order, seed: u64) -> Self {
        Self {
            counts: KeyedState::new(seed),
            ordered: BTreeSet::new(),
            order,
        }
    }

    /// Makes ready for counting all values of `keys`, see [`push_value_key`].
    pub(in crate::operator) fn look_ahead(&self, keys: &mut Keys) {
        self.counts.look_ahead(keys);
    }

    /// Counts a row that comes to the next key of `ahead`, or goes from it. Says whether it is the first, or was the last.
    pub(super) fn count_next(&mut self, spec: &AggregateSpec, retracts: bool, ahead: &mut Keys) -> bool {
        let Self { counts, ordered, order } = self;
        let is_ordered = order.holds(spec);
        let mut crossed = false;
        counts.modify_next(ahead, |key, rows| {
            crossed = step(rows, retracts);
            if crossed && is_ordered {
                match retracts {
                    true => ordered.remove(key),
                    false => ordered.insert(key.into()),
                };
            }
            true
        });
        crossed
    }

    /// As [`Values::count_next`], for one value.
    pub(super) fn count(
        &mut self,
        spec: &AggregateSpec,
        retracts: bool,
        group: &[u8],
        number: usize,
        value: Value<'_>,
    ) -> bool {
        let mut key = Vec::with_capacity(group.len() + 16);
        push_value_key(&mut key, group, number, value);
        let mut crossed = false;
        self.counts.modify(&key, |rows| {
            crossed = step(rows, retracts);
            true
        });
        if crossed && self.order.holds(spec) {
            match retracts {
                true => self.ordered.remove(key.as_slice()),
                false => self.ordered.insert(key.into()),
            };
        }
        crossed
    }

    pub(super) fn extreme<'t>(&self, group: &[u8], number: usize, greatest: bool, text: &'t mut Vec<u8>) -> Value<'t> {
        let start = value_prefix(group, number);
        let end = value_prefix(group, number + 1);
        let mut range = self
            .ordered
            .range::<[u8], _>((Bound::Included(start.as_slice()), Bound::Excluded(end.as_slice())));
        let found = if greatest { range.next_back() } else { range.next() };
        let mut value = found.and_then(|entry| entry.get(start.len()..)).unwrap_or_default();
        take_key_cell(&mut value, text).unwrap_or(Value::Null)
    }

    /// The keys of a group's values. Only where all are held in order.
    fn of_group(&self, group: &[u8], aggregates: &[AggregateSpec]) -> Vec<Box<[u8]>> {
        let numbers = aggregates.iter().enumerate();
        let apart = numbers.filter(|(_, spec)| spec.tells_values_apart());
        apart
            .flat_map(|(number, _)| {
                let (start, end) = (value_prefix(group, number), value_prefix(group, number + 1));
                let bounds = (Bound::Included(start.as_slice()), Bound::Excluded(end.as_slice()));
                self.ordered.range::<[u8], _>(bounds).cloned().collect::<Vec<_>>()
            })
            .collect()
    }

    /// Forgets the values of a group.
    pub(in crate::operator) fn remove_group(&mut self, group: &[u8], aggregates: &[AggregateSpec]) {
        for key in self.of_group(group, aggregates) {
            self.counts.modify(&key, |rows| rows.take().is_some());
            self.ordered.remove(&key);
        }
    }

    /// Gives the values of the group `from` to the group `into`, which is `merged`.
    pub(in crate::operator) fn move_group(
        &mut self,
        from: &[u8],
        into: &[u8],
        aggregates: &[AggregateSpec],
        merged: &mut Group,
    ) {
        for key in self.of_group(from, aggregates) {
            let mut moved = None;
            self.counts.modify(&key, |rows| {
                moved = rows.take();
                moved.is_some()
            });
            self.ordered.remove(&key);
            let (Some(moved), Some(tail)) = (moved, key.get(from.len()..)) else {
                continue;
            };
            let number = tail
                .first_chunk::<2>()
                .map(|bytes| usize::from(u16::from_be_bytes(*bytes)));
            let new_key = [into, tail].concat();
            let mut is_new = false;
            self.counts.modify(&new_key, |rows| {
                is_new = rows.is_none();
                let before = rows.map_or(0, NonZeroU64::get);
                *rows = NonZeroU64::new(before + moved.get());
                true
            });
            if is_new {
                self.ordered.insert(new_key.into());
                merged.count_moved(number.unwrap_or(usize::MAX));
            }
        }
    }

    pub(in crate::operator) fn savepoint(&mut self) {
        self.counts.savepoint();
    }

    pub(in crate::operator) fn release(&mut self) {
        self.counts.release();
    }

    pub(in crate::operator) fn rollback(&mut self, aggregates: &[AggregateSpec]) {
        let Self { counts, ordered, order } = self;
        counts.rollback(|key, live| {
            if !order.holds_key(aggregates, key) {
                return;
            }
            match live {
                true => ordered.insert(key.into()),
                false => ordered.remove(key),
            };
        });
    }

    pub(in crate::operator) fn restored(&mut self, aggregates: &[AggregateSpec]) {
        let Self { counts, ordered, order } = self;
        let keys = counts.iter().map(|(key, _)| key);
        ordered.extend(keys.filter(|key| order.holds_key(aggregates, key)).map(Box::from));
    }

    pub(in crate::operator) fn state(&mut self) -> &mut dyn StateMap {
        &mut self.counts
    }
}

impl Order {
    /// Whether the values of this aggregate are held in order.
    fn holds(self, spec: &AggregateSpec) -> bool {
        self == Self::All || matches!(spec.function, Function::Min | Function::Max)
    }

    /// The same, of the key of a value.
    fn holds_key(self, aggregates: &[AggregateSpec], key: &[u8]) -> bool {
        let Self::Extremes(group_len) = self else { return true };
        if !aggregates.iter().any(|spec| self.holds(spec)) {
            return false;
        }
        let (mut rest, mut text) = (key, Vec::new());
        for _ in 0..group_len {
            if take_key_cell(&mut rest, &mut text).is_none() {
                return false;
            }
        }
        let number = rest
            .first_chunk::<2>()
            .map(|bytes| usize::from(u16::from_be_bytes(*bytes)));
        let spec = number.and_then(|number| aggregates.get(number));
        spec.is_some_and(|spec| self.holds(spec))
    }
}

/// Counts one row more or less. Says whether it is the first, or was the last.
fn step(rows: &mut Option<NonZeroU64>, retracts: bool) -> bool {
    let before = rows.map_or(0, NonZeroU64::get);
    let after = if retracts { before.saturating_sub(1) } else { before + 1 };
    *rows = NonZeroU64::new(after);
    (before == 0) != (after == 0)
}
/// Appends the key of an entry of [`Values`]: group, aggregate, value.
pub(in crate::operator) fn push_value_key(key: &mut Vec<u8>, group: &[u8], number: usize, value: Value<'_>) {
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
