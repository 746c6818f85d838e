//! `aggregate`: sums, counts, extremes and means by group, over a changelog.
//!
//! - Emits: an insert for a group's first row, update-before and update-after when its result changed, a delete when its
//!   last row is gone. The rows of one event (an update moves a row from one group to another, say) count together.
//! - Order: whatever the order of additions and retractions, equal contents give equal results: sums are exact, and
//!   rounded once.
//! - Nulls: `sum`, `avg`, `min`, `max`, `count` of a column and `count_distinct` skip them, unless `coalesce` gives them
//!   a value; a group without any value has a null (and counts of 0). A null in the group is one group like any other.
//! - A row that a guest among the aggregates refuses is told to the caller, and nothing is taken in.
//! - A sum beyond the numbers of its type (64 bits, the largest double) is null until it comes back.
//! - With a `ttl`, a group for which no row came or went for so long of event time is forgotten: a delete, which bears the
//!   event that moved the watermark (see `expiry.rs`). Rows that go from a group that is forgotten are ignored,
//!   and the next row that comes to it is its first. Nobody remembers which rows a group had in its former life: when one
//!   of them goes after the group began anew, it is taken away from what there is, as far as there is something.
//! - Restart: the state holds one entry per group, and one per group and value where values have to be told apart
//!   (`count_distinct`, `min`, `max`), so nothing changes.

use super::{
    Applied, Build, ChangelogBuilder, Inputs, Operator, Outputs, ProcessError, StateMap, Stateful,
    accumulators::{Change, Group, Order, Values, input_value, push_value_key},
    clock::WatermarkProgress,
    expiry::{Expiry, ExpiryCursor, Forgets, TOUCHED},
    guests::{Asked, Guests, NoResult, RejectedByGuest},
};
use crate::{
    error::Result,
    model::{
        batch::{Batch, RowKind},
        column::{Column, Schema, Value},
        keys::Keys,
        row::{cells, push_key, row_of_key},
    },
    plan::{AggregateSpec, Node, Readers},
    planner::aggregate::AggregatePlan,
    state::KeyedState,
};
use hashbrown::HashMap;
use std::ops::Range;

/// The operator.
#[derive(Debug)]
pub struct Aggregate {
    plan: AggregatePlan,
    schema: Schema,
    readers: Readers,
    /// Whether changes of one batch may be emitted as one. Where groups are forgotten, it matters after which event one has no
    /// rows.
    compactable: bool,
    groups: KeyedState<Group>,
    values: Values,
    expiry: Option<Expiry>,
    guests: Guests,
}

/// A group that changed and whose change was not emitted yet. It is held here meanwhile, and not looked up for each row.
#[derive(Debug)]
struct Touched {
    key: Vec<u8>,
    /// Its result before the change; absent when it was not there.
    before: Option<Vec<u8>>,
    /// As it is now; absent when it has no rows.
    group: Option<Group>,
    /// The deliveries that touched it, ascending.
    lineage: Vec<u32>,
    /// Where it is to be forgotten some time: when it was touched.
    touch_us: i64,
}

impl Aggregate {
    /// Takes in a changelog and gives what changed. A `ttl` needs the progress of the watermark.
    ///
    /// # Errors
    /// The first row that a guest refuses. Nothing has changed then.
    fn update(&mut self, input: &Batch, progress: Option<&WatermarkProgress<'_>>) -> Result<Batch, RejectedByGuest> {
        let mut expiry_cursor = ExpiryCursor::of(progress);
        if let Some(expiry) = &mut self.expiry {
            expiry.begin(expiry_cursor.watermark_us());
        }
        let mut out = ChangelogBuilder::new(&self.schema, 64);
        if self.compactable {
            out = out.with_lineage();
        }
        let plan = self.plan.clone();
        let changes = Changes::new(&plan, input);
        let asked = ask(&self.guests, &self.groups, &changes);
        let mut answers = self.guests.answer(asked, input)?;
        let mut touched: Vec<Touched> = Vec::new();
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        let (mut steps, mut group_keys, mut ahead) = (Vec::new(), Vec::new(), Keys::default());

        while let Some(rows) = ahead.next_rows(input.len(), |ahead, row| {
            let step = changes.step(row, &mut group_keys);
            changes.each_value(&step, |number, spec, value, _| {
                if spec.tells_values_apart() {
                    ahead.push(|key| push_value_key(key, step.key(&group_keys), number, value));
                }
            });
            let rows = if step.stays { 2 } else { 1 };
            steps.push(step);
            rows
        }) {
            self.values.look_ahead(&mut ahead);
            for (at, step) in steps.iter().enumerate() {
                let cause = input.delivery(step.row);
                while let Some((mover, watermark_us)) = expiry_cursor.next_before(cause) {
                    self.expire((mover, expiry_cursor.sequence(mover)), watermark_us, &mut out);
                }
                let key = step.key(&group_keys);
                if !places.contains_key(key) {
                    self.forget_if_overdue(key, &expiry_cursor, cause, &mut out);
                }
                let group = self.touch(key, &mut touched, &mut places);
                let Some(Touched {
                    group,
                    lineage,
                    touch_us,
                    ..
                }) = group
                else {
                    break;
                };
                if lineage.last() != Some(&cause) {
                    lineage.push(cause);
                }
                *touch_us = expiry_cursor.touch_us(cause).max(*touch_us);
                let counted = group.get_or_insert_with(|| Group::new(&plan.aggregates));
                if !step.stays {
                    counted.count_row(step.retracts);
                }
                let key = step.key(&group_keys);
                changes.each_value(step, |number, _, value, retracts| {
                    let change = Change {
                        number,
                        value,
                        time_us: 0,
                        retracts,
                    };
                    counted.apply(&plan.aggregates, change, key, &mut self.values, Some(&mut ahead));
                });
                answers.give(counted);
                if counted.rows == 0 {
                    *group = None;
                    if self.expiry.is_some() {
                        self.values.remove_group(key, &plan.aggregates);
                    }
                }

                let next_row = steps.get(at + 1).map_or(rows.end, |step| step.row);
                let delivery = input.delivery(step.row);
                let last_of_event = input.deliveries.get(next_row) != Some(&delivery);
                if next_row == input.len() || last_of_event && !self.compactable {
                    self.emit(&mut touched, delivery, &mut out);
                    places.clear();
                }
            }
            steps.clear();
            group_keys.clear();
        }
        while let Some((mover, watermark_us)) = expiry_cursor.next_move() {
            self.expire((mover, expiry_cursor.sequence(mover)), watermark_us, &mut out);
        }
        Ok(out.finish())
    }

    /// A group that is due and still there is gone for the row of `delivery`. (Guests were asked of it as it is.)
    fn forget_if_overdue(
        &mut self,
        key: &[u8],
        expiry_cursor: &ExpiryCursor<'_>,
        delivery: u32,
        out: &mut ChangelogBuilder,
    ) {
        let Some(expiry) = &mut self.expiry else { return };
        if self.guests.is_empty() && expiry.is_overdue(key, expiry_cursor.watermark_us()) {
            expiry.forget(key);
            self.forget(key, delivery, out);
        }
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
                let before = group.as_ref().map(|group| self.results(key, group));
                places.insert(key.to_vec(), touched.len());
                touched.push(Touched {
                    key: key.to_vec(),
                    before,
                    group,
                    lineage: Vec::new(),
                    touch_us: i64::MIN,
                });
                touched.len() - 1
            }
        };
        touched.get_mut(at)
    }

    /// Puts the touched groups back into the state, and emits how they changed.
    fn emit(&mut self, touched: &mut Vec<Touched>, delivery: u32, out: &mut ChangelogBuilder) {
        for Touched {
            key,
            before,
            group,
            lineage,
            touch_us,
        } in touched.drain(..)
        {
            match (&mut self.expiry, &group) {
                (Some(expiry), Some(_)) => expiry.touch(&key, touch_us),
                (Some(expiry), None) => expiry.forget(&key),
                (None, _) => {}
            }
            let after = group.as_ref().map(|group| self.results(&key, group));
            self.groups.modify(&key, |current| {
                *current = group;
                true
            });
            if before == after {
                continue;
            }
            let mut push = |kind, result: &[u8]| {
                // A group's key reads back as its cells, which then stand before the results.
                out.push(kind, delivery, cells(&row_of_key(&key)).chain(cells(result)));
                out.with_lineage_of(&lineage);
            };
            match (&before, &after) {
                (None, Some(after)) => push(RowKind::Insert, after),
                (Some(before), None) => push(RowKind::Delete, before),
                (Some(before), Some(after)) => {
                    if self.readers.needs_update_before {
                        push(RowKind::UpdateBefore, before);
                    }
                    push(RowKind::UpdateAfter, after);
                }
                (None, None) => {}
            }
        }
    }

    /// The results of a group as a row.
    fn results(&self, key: &[u8], group: &Group) -> Vec<u8> {
        let mut row = Vec::new();
        group.push_results(&self.plan.aggregates, key, &self.values, &mut row);
        row
    }
}

impl Build for Aggregate {
    type Plan = AggregatePlan;

    fn build(node: &Node, plan: &AggregatePlan, guests: Guests, seed: u64) -> Result<Self> {
        let output = node.output(0)?;
        let order = match plan.ttl_us {
            None => Order::Extremes(plan.group.len()),
            // Groups go, with all of their values.
            Some(_) => Order::All,
        };
        // Guests are asked about the groups as they stand before a batch.
        let spreads = output.readers.spreads && guests.is_empty();
        Ok(Self {
            plan: plan.clone(),
            schema: output.schema.clone(),
            readers: output.readers,
            compactable: output.readers.compactable && plan.ttl_us.is_none(),
            groups: KeyedState::new(seed),
            values: Values::new(order, seed),
            expiry: plan.ttl_us.map(|ttl_us| Expiry::new(ttl_us, seed).spread(spreads)),
            guests,
        })
    }
}

impl Operator for Aggregate {
    fn process(&mut self, inputs: Inputs<'_>) -> Result<Outputs, ProcessError> {
        let rows = vec![self.update(inputs.one()?, inputs.progress)?];
        let applied = vec![Applied::All];
        Ok(Outputs::new(rows, applied))
    }

    fn replan(&mut self, node: &Node) -> Result<()> {
        let (plan, output) = (node.operator_plan::<AggregatePlan>()?, node.output(0)?);
        self.guests.replace(&plan.aggregates);
        self.compactable = output.readers.compactable && plan.ttl_us.is_none();
        (self.plan, self.schema, self.readers) = (plan.clone(), output.schema.clone(), output.readers);
        Ok(())
    }

    fn forgets(&mut self) -> Option<&mut dyn Forgets> {
        Some(self)
    }

    fn current_rows(&self, bucket: usize) -> Option<Batch> {
        let mut out = ChangelogBuilder::new(&self.schema, 0);
        for (key, group) in self.groups.bucket(bucket) {
            let results = self.results(key, group);
            out.push_current(cells(&row_of_key(key)).chain(cells(&results)));
        }
        Some(out.finish_inserts())
    }

    fn results_anew(&mut self, bucket: usize) -> Result<(), NoResult> {
        for renewed in self.guests.results_anew(self.groups.bucket(bucket))? {
            self.groups.modify(&renewed.key, |group| {
                group.iter_mut().for_each(|group| renewed.put_into(group));
                true
            });
        }
        Ok(())
    }
}

/// What the guests are to be asked: an answer will be wanted for each step.
fn ask<'s>(guests: &Guests, groups: &'s KeyedState<Group>, changes: &Changes<'_>) -> Asked<'s> {
    let mut asked = guests.ask();
    let (mut row, mut key, input) = (0, Vec::new(), changes.input);
    while row < input.len() && !guests.is_empty() {
        key.clear();
        let step = changes.step(row, &mut key);
        let group = asked.group(&key, || groups.get(&key));
        match step.stays {
            true => asked.stays(group, row, |guest| guests.differ(guest, input, row, row + 1)),
            false => asked.row(group, row, step.retracts),
        }
        row += if step.stays { 2 } else { 1 };
    }
    asked
}

/// A changelog as the groups see it.
struct Changes<'a> {
    input: &'a Batch,
    group: Vec<&'a Column>,
    /// Each aggregate with its column; none for `count = "*"`.
    aggregates: Vec<(&'a AggregateSpec, Option<&'a Column>)>,
    /// Whether an update takes a row away and adds another, also within a group: the first may not be there any more.
    each_alone: bool,
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
            each_alone: plan.ttl_us.is_some(),
        }
    }

    /// What `row` is. The key of its group is appended to `keys`.
    fn step(&self, row: usize, keys: &mut Vec<u8>) -> Step {
        let start = keys.len();
        push_key(keys, &self.group, row);
        let end = keys.len();
        let kind = self.input.kind(row);
        let is_update = kind == RowKind::UpdateBefore && self.input.kind(row + 1) == RowKind::UpdateAfter;
        let stays = is_update && !self.each_alone && {
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

impl Forgets for Aggregate {
    fn expiry(&mut self) -> Option<&mut Expiry> {
        self.expiry.as_mut()
    }

    fn changelog(&self) -> ChangelogBuilder {
        ChangelogBuilder::new(&self.schema, 1024)
    }

    fn forget(&mut self, key: &[u8], delivery: u32, out: &mut ChangelogBuilder) {
        let mut gone = None;
        self.groups.modify(key, |current| {
            gone = current.take();
            gone.is_some()
        });
        if let Some(group) = gone {
            let results = self.results(key, &group);
            out.push(
                RowKind::Delete,
                delivery,
                cells(&row_of_key(key)).chain(cells(&results)),
            );
            out.with_lineage_of(&[delivery]);
        }
        self.values.remove_group(key, &self.plan.aggregates);
    }
}

impl Stateful for Aggregate {
    fn rollback(&mut self) {
        self.groups.rollback(|_, _| {});
        self.values.rollback(&self.plan.aggregates);
        self.expiry.iter_mut().for_each(Expiry::rollback);
    }

    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        let mut states: Vec<(&'static str, &mut dyn StateMap)> =
            vec![("groups", &mut self.groups), ("values", self.values.state())];
        states.extend(self.expiry.as_mut().map(|expiry| (TOUCHED, expiry.state())));
        states
    }

    fn restored(&mut self) {
        self.values.restored(&self.plan.aggregates);
        self.expiry.iter_mut().for_each(Expiry::restored);
    }
}

#[cfg(test)]
mod tests {
    use crate::operator::testing::Tested;

    #[test]
    fn rows_of_one_event_count_together_and_a_group_without_rows_goes() {
        let pipeline = "
            step = [
                { name = \"last\", last_value = { key = [\"id\"] } },
                { name = \"by-shop\", aggregate = { group_by = [\"shop\"], columns = { orders = { count = \"*\" }, total = { sum = \"amount\" } } } },
            ]
            sink = [{ table = \"latest\", primary_key = [\"orders\"] }]";
        let mut by_shop = Tested::new("id = \"int\", shop = \"text\", amount = \"double\"", pipeline);
        by_shop.check(
            "#  kind  id  shop  amount
             1  +     1   a     1.5
             2  +     2   a     .
             3  U-    1   a     1.5
             3  U+    1   b     2.5",
            "1  +     a   1   1.5
             2  U-    a   1   1.5
             2  U+    a   2   1.5
             3  U-    a   2   1.5
             3  U+    a   1   .
             3  +     b   1   2.5",
        );
        by_shop.restart();
        by_shop.check(
            "#  kind  id  shop  amount
             4  -     1   b     2.5",
            "4  -     b   1   2.5",
        );
        assert_eq!(by_shop.entries(), 1);
    }
}
