//! `window = { over = … }`: for each row aggregates over the rows of its group that came before it, and itself.
//!
//! - Emits one row for each: the row, with the aggregates. With `rows = N` at once, over the last N rows in order of
//!   arrival. With `time = T` once the watermark is at the row's time, over the rows of the last T, in the order of their
//!   times, and of arrival where those are equal: a row at `t` sees those after `t - T`, up to itself.
//! - Late rows: with `time`, a row before the watermark has missed its turn. It goes to the output `late`, is counted, and
//!   no other row sees it. So does one whose time (the column of key `time`) is null.
//! - Nulls: as in `aggregate`. A null in the group is one group like any other.
//! - Restart: the state holds an entry for each row that may still be seen or is still to be emitted, and the accumulators of
//!   each group. With `time` they go when the watermark is T past them; with `rows` the last N of a group stay.
//! - With `rows` and a `ttl`, a group for which no row came for so long of event time is forgotten (see `expiry.rs`): its next
//!   row sees no others. Nothing is emitted for that.

use super::{
    Applied, Build, ChangelogBuilder, Inputs, Operator, Outputs, ProcessError, RowTimes, StateMap, Stateful,
    accumulators::{Change, Group, Order, Values, input_value},
    clock::WatermarkProgress,
    expiry::{Expiry, ExpiryCursor, TOUCHED},
    guests::Guests,
    held_times::HeldTimes,
    timers::Timers,
};
use crate::{
    error::Result,
    model::{
        batch::Batch,
        column::{Column, Schema, Value},
        row::{cells, push_cell, push_key, push_key_cell, push_length, take_key_cell, take_length},
    },
    plan::{AggregateSpec, Node},
    planner::over_window::{OverWindowPlan, OverWindowSpan},
    state::{KeyedState, StateValue},
};
use std::collections::BTreeMap;

/// The operator.
#[derive(Debug)]
pub struct OverWindow {
    plan: OverWindowPlan,
    schema: Schema,
    /// By group, then time, sequence and ordinal, or number: whether a row is still to be emitted; if so what is passed on;
    /// and what aggregates see of it.
    rows: KeyedState<Box<[u8]>>,
    /// By group: over the rows that the last one emitted saw and that were not taken away since.
    groups: KeyedState<Tail>,
    values: Values,
    /// Rows that are still to be emitted, in their order, by key.
    waiting: BTreeMap<Turn, Box<[u8]>>,
    /// When rows that were emitted are seen no more.
    ends: Timers,
    /// Only with `rows`.
    expiry: Option<Expiry>,
}

/// In front of a row that is still to be emitted, and of one that was.
const WAITS: Value<'static> = Value::Boolean(true);
const TOLD: Value<'static> = Value::Boolean(false);

/// When it is a row's turn: its time, the sequence of its event, and which row of that it is.
type Turn = (i64, i64, i64);

/// The end of a group, as far as it is seen.
#[derive(Clone, Debug)]
struct Tail {
    /// The number of the next row. Only with `rows`.
    next: u64,
    group: Group,
}

impl StateValue for Tail {
    fn encode(&self, bytes: &mut Vec<u8>) {
        push_length(bytes, self.next as usize);
        self.group.encode(bytes);
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let next = take_length(&mut bytes)? as u64;
        let group = Group::decode(bytes)?;
        Some(Self { next, group })
    }
}

impl OverWindow {
    // ---- the last rows ------------------------------------------------------------------------------------------------

    fn update_rows(
        &mut self,
        count: u64,
        input: &Batch,
        progress: Option<&WatermarkProgress<'_>>,
        out: &mut ChangelogBuilder,
    ) {
        let plan = self.plan.clone();
        let mut expiry_cursor = ExpiryCursor::of(progress.filter(|_| plan.ttl_us.is_some()));
        let (groups, passed) = (input.pick(&plan.group), input.pick(&plan.passed));
        let columns = columns(&plan, input);
        let (mut group, mut seen, mut results) = (Vec::new(), Vec::new(), Vec::new());
        for (row, &delivery) in input.deliveries.iter().enumerate() {
            while let Some((_, watermark_us)) = expiry_cursor.next_before(delivery) {
                self.expire(count, watermark_us);
            }
            group.clear();
            push_key(&mut group, &groups, row);
            if let Some(expiry) = &mut self.expiry {
                expiry.touch(&group, expiry_cursor.touch_us(delivery));
            }
            seen.clear();
            push_cell(&mut seen, TOLD);
            push_seen(&mut seen, &plan.aggregates, &columns, row);

            let number = self.groups.get(&group).map_or(0, |tail| tail.next);
            let key = |number: u64| row_key(&group, &[number as i64]);
            self.rows.modify(&key(number), |current| {
                *current = Some(seen.as_slice().into());
                true
            });
            self.count(&group, &seen, false, Some(number + 1));
            if let Some(gone) = number.checked_sub(count) {
                self.remove(&key(gone), &group);
            }
            results.clear();
            self.push_results(&group, &mut results);
            let cells = passed.iter().map(|column| column.get(row)).chain(cells(&results));
            out.push_insert(delivery, cells);
        }
        while let Some((_, watermark_us)) = expiry_cursor.next_move() {
            self.expire(count, watermark_us);
        }
    }

    /// The watermark moved: groups are forgotten, each with its last rows.
    fn expire(&mut self, count: u64, watermark_us: i64) {
        while let Some(groups) = self.expiry.as_mut().and_then(|expiry| expiry.take_due(watermark_us)) {
            for group in groups {
                let next = self.groups.get(&group).map_or(0, |tail| tail.next);
                for number in next.saturating_sub(count)..next {
                    self.remove(&row_key(&group, &[number as i64]), &group);
                }
            }
        }
    }

    // ---- the rows of the last while -----------------------------------------------------------------------------------

    fn update_times(
        &mut self,
        span_us: i64,
        input: &Batch,
        progress: &WatermarkProgress<'_>,
        out: &mut ChangelogBuilder,
    ) -> Vec<u32> {
        let plan = self.plan.clone();
        let (groups, passed) = (input.pick(&plan.group), input.pick(&plan.passed));
        let columns = columns(&plan, input);
        let times = RowTimes::of(plan.time, input);
        let (mut cursor, mut watermark_us) = (progress.cursor(), progress.before_us());
        let (mut group, mut waits, mut late) = (Vec::new(), Vec::new(), Vec::new());
        let mut last = (None, 0);
        for (row, &delivery) in input.deliveries.iter().enumerate() {
            if last.0 != Some(delivery) {
                while let Some((mover, moved_us)) = cursor.next_before(delivery) {
                    watermark_us = moved_us;
                    self.advance(span_us, watermark_us, mover, out);
                }
                last = (Some(delivery), 0);
            }
            let Some(time_us) = times.time_us(row, progress).filter(|&time_us| time_us >= watermark_us) else {
                late.push(row as u32);
                continue;
            };
            group.clear();
            push_key(&mut group, &groups, row);
            waits.clear();
            push_cell(&mut waits, WAITS);
            passed.iter().for_each(|column| push_cell(&mut waits, column.get(row)));
            push_seen(&mut waits, &plan.aggregates, &columns, row);
            let turn = (time_us, progress.sequence(delivery) as i64, last.1);
            last.1 += 1;
            let key = row_key(&group, &[turn.0, turn.1, turn.2]);
            self.rows.modify(&key, |current| {
                *current = Some(waits.as_slice().into());
                true
            });
            self.waiting.insert(turn, key.into());
            if time_us <= watermark_us {
                self.advance(span_us, watermark_us, delivery, out);
            }
        }
        while let Some((mover, moved_us)) = cursor.next_move() {
            self.advance(span_us, moved_us, mover, out);
        }
        late
    }

    /// Lets rows go and emits others, in the order of time, up to the watermark.
    fn advance(&mut self, span_us: i64, watermark_us: i64, delivery: u32, out: &mut ChangelogBuilder) {
        while let Some(entry) = self.waiting.first_entry() {
            let turn = *entry.key();
            if turn.0 > watermark_us {
                break;
            }
            let key = entry.remove();
            self.forget(turn.0);
            self.emit(span_us, turn, &key, delivery, out);
        }
        self.forget(watermark_us);
    }

    /// Lets rows go that nobody sees at `time_us` or later.
    fn forget(&mut self, time_us: i64) {
        while let Some((_, keys)) = self.ends.take_due(time_us) {
            for key in keys {
                let group_len = self.group_len(&key);
                if let Some(group) = key.get(..group_len) {
                    self.remove(&key, group);
                }
            }
        }
    }

    /// It is a row's turn.
    fn emit(&mut self, span_us: i64, turn: Turn, key: &[u8], delivery: u32, out: &mut ChangelogBuilder) {
        let passed = self.plan.passed.len();
        let mut waits: Box<[u8]> = Box::default();
        let mut seen = Vec::new();
        push_cell(&mut seen, TOLD);
        self.rows.modify(key, |current| {
            let Some(row) = current else { return false };
            cells(row).skip(1 + passed).for_each(|cell| push_cell(&mut seen, cell));
            waits = std::mem::replace(row, seen.as_slice().into());
            true
        });
        let group_len = self.group_len(key);
        let group = key.get(..group_len).unwrap_or_default();
        self.count(group, &seen, false, None);
        self.ends.add(turn.0.saturating_add(span_us), key);
        let mut results = Vec::new();
        self.push_results(group, &mut results);
        out.push_insert(delivery, cells(&waits).skip(1).take(passed).chain(cells(&results)));
    }

    // ---- groups -------------------------------------------------------------------------------------------------------

    /// Takes a row away that is seen no more.
    fn remove(&mut self, key: &[u8], group: &[u8]) {
        let mut seen = None;
        self.rows.modify(key, |current| {
            seen = current.take();
            seen.is_some()
        });
        if let Some(seen) = seen {
            self.count(group, &seen, true, None);
        }
    }

    /// Adds what aggregates see of a row that is emitted, or takes it away. A group without rows goes.
    fn count(&mut self, group: &[u8], seen: &[u8], retracts: bool, next: Option<u64>) {
        let Self {
            plan, groups, values, ..
        } = self;
        groups.modify(group, |current| {
            let tail = current.get_or_insert_with(|| Tail {
                next: 0,
                group: Group::new(&plan.aggregates),
            });
            tail.next = next.unwrap_or(tail.next);
            tail.group.count_row(retracts);
            for (number, value) in cells(seen).skip(1).enumerate() {
                if value.is_null() {
                    continue;
                }
                let change = Change {
                    number,
                    value,
                    time_us: 0,
                    retracts,
                };
                tail.group.apply(&plan.aggregates, change, group, values, None);
            }
            if tail.group.rows == 0 {
                *current = None;
            }
            true
        });
    }

    fn push_results(&self, group: &[u8], results: &mut Vec<u8>) {
        if let Some(tail) = self.groups.get(group) {
            let aggregates = &self.plan.aggregates;
            tail.group.push_results(aggregates, group, &self.values, results);
        }
    }

    /// How many bytes of a row's key are its group.
    fn group_len(&self, key: &[u8]) -> usize {
        let (mut rest, mut text) = (key, Vec::new());
        for _ in &self.plan.group {
            take_key_cell(&mut rest, &mut text);
        }
        key.len() - rest.len()
    }

    /// Expects a row again: to be emitted, or to be seen no more.
    fn expect(&mut self, key: &[u8]) {
        let OverWindowSpan::Time(span_us) = self.plan.span else {
            return;
        };
        let group_len = self.group_len(key);
        let (mut rest, mut text) = (key.get(group_len..).unwrap_or_default(), Vec::new());
        let mut part = || match take_key_cell(&mut rest, &mut text) {
            Some(Value::Int(value)) => value,
            _ => i64::MAX,
        };
        let turn = (part(), part(), part());
        let Some(row) = self.rows.get(key) else {
            self.waiting.remove(&turn);
            return;
        };
        if cells(row).next() == Some(WAITS) {
            self.waiting.insert(turn, key.into());
        } else {
            self.waiting.remove(&turn);
            self.ends.add_again(turn.0.saturating_add(span_us), key);
        }
    }
}

impl Build for OverWindow {
    type Plan = OverWindowPlan;

    fn build(node: &Node, plan: &OverWindowPlan, _: Guests, seed: u64) -> Result<Self> {
        Ok(Self {
            plan: plan.clone(),
            schema: node.output(0)?.schema.clone(),
            rows: KeyedState::new(seed),
            groups: KeyedState::new(seed),
            values: Values::new(Order::All, seed),
            waiting: BTreeMap::new(),
            ends: Timers::default(),
            expiry: plan.ttl_us.map(|ttl_us| Expiry::new(ttl_us, seed)),
        })
    }
}

impl Operator for OverWindow {
    fn process(&mut self, inputs: Inputs<'_>) -> Result<Outputs, ProcessError> {
        let input = inputs.one()?;
        let mut out = ChangelogBuilder::new(&self.schema, input.len());
        let late = match self.plan.span {
            OverWindowSpan::Rows(rows) => {
                self.update_rows(rows, input, inputs.progress, &mut out);
                None
            }
            OverWindowSpan::Time(span_us) => {
                let late = self.update_times(span_us, input, inputs.followed()?, &mut out);
                Some(super::late_rows(input, &late, &self.plan.late))
            }
        };
        let applied = vec![Applied::but(late.as_ref())];
        let rows = [out.finish_inserts()].into_iter().chain(late).collect();
        Ok(Outputs::new(rows, applied))
    }

    fn replan(&mut self, node: &Node) -> Result<()> {
        self.plan = node.operator_plan::<OverWindowPlan>()?.clone();
        self.schema = node.output(0)?.schema.clone();
        Ok(())
    }
}

impl Stateful for OverWindow {
    fn rollback(&mut self) {
        let mut touched: Vec<Box<[u8]>> = Vec::new();
        self.rows.rollback(|key, _| touched.push(key.into()));
        self.groups.rollback(|_, _| {});
        self.values.rollback(&self.plan.aggregates);
        touched.iter().for_each(|key| self.expect(key));
        self.expiry.iter_mut().for_each(Expiry::rollback);
    }

    fn held_times(&self, state: &str) -> Option<HeldTimes> {
        let group = self.plan.group.len();
        match (state, self.plan.span) {
            ("rows", OverWindowSpan::Time(_)) => Some(HeldTimes::in_keys(group..group + 1)),
            (TOUCHED, _) => Some(HeldTimes::first_in_values()),
            _ => None,
        }
    }

    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        let mut states: Vec<(&'static str, &mut dyn StateMap)> = vec![
            ("rows", &mut self.rows),
            ("groups", &mut self.groups),
            ("values", self.values.state()),
        ];
        states.extend(self.expiry.as_mut().map(|expiry| (TOUCHED, expiry.state())));
        states
    }

    fn restored(&mut self) {
        self.values.restored(&self.plan.aggregates);
        let keys: Vec<Box<[u8]>> = self.rows.iter().map(|(key, _)| key.into()).collect();
        keys.iter().for_each(|key| self.expect(key));
        self.expiry.iter_mut().for_each(Expiry::restored);
    }
}

/// Each aggregate's column; none for `count = "*"`.
fn columns<'a>(plan: &OverWindowPlan, input: &'a Batch) -> Vec<Option<&'a Column>> {
    let column = |index: usize| input.columns.get(index).map(|column| &**column);
    plan.aggregates
        .iter()
        .map(|spec| spec.column.and_then(column))
        .collect()
}

/// Appends what aggregates see of a row: a cell each.
fn push_seen(seen: &mut Vec<u8>, aggregates: &[AggregateSpec], columns: &[Option<&Column>], row: usize) {
    for (spec, column) in aggregates.iter().zip(columns) {
        push_cell(seen, input_value(spec, *column, row));
    }
}

fn row_key(group: &[u8], parts: &[i64]) -> Vec<u8> {
    let mut key = group.to_vec();
    parts.iter().for_each(|&part| push_key_cell(&mut key, Value::Int(part)));
    key
}

#[cfg(test)]
mod tests {
    use crate::operator::testing::Tested;

    const ORDERS: &str = "user = \"text\", amount = \"int\"";

    #[test]
    fn a_row_sees_the_last_rows_of_its_group() {
        let step = "step = [{ name = \"seen\", window = { over = { rows = 2 }, group_by = [\"user\"], columns = { total = { sum = \"amount\" } } } }]
                    sink = [{ table = \"seen\" }]";
        let mut seen = Tested::new(ORDERS, step);
        seen.check(
            "#  kind  user  amount
             1  +     ann   1
             2  +     ann   2
             3  +     bob   4
             4  +     ann   8",
            "1  +     ann   1  1
             2  +     ann   2  3
             3  +     bob   4  4
             4  +     ann   8  10",
        );
        seen.restart();
        seen.check(
            "#  kind  user  amount
             5  +     ann   .",
            "5  +     ann   .  8",
        );
    }
}
