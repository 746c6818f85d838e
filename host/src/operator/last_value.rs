//! `last_value`: per key and column, the last value that was not null, in order of arrival.
//!
//! - Emits: an insert for a key's first event, update-before and update-after when a column changed, nothing otherwise.
//! - Order: arrival (stream sequence), never an event's own time: there is no late event.
//! - With a `ttl`, a key for which no row came for so long of event time is forgotten: a delete, which bears the event that
//!   moved the watermark (see `expiry.rs`). The next row of the key is its first.
//! - With a column `deleted`, a row in which it is true deletes the row of its key: a delete, or nothing where there is none.
//!   The next row of the key is its first.
//! - Nulls: a null leaves the column as it was; a key may be null, and null is one key like any other. Of changes of whole rows, as
//!   Debezium tells them, a null is a value.
//! - Restart: the state holds every key's row, so nothing changes.

use super::{
    Applied, Build, ChangelogBuilder, Inputs, Operator, Outputs, ProcessError, StateMap, Stateful,
    clock::WatermarkProgress,
    expiry::{Expiry, ExpiryCursor, Forgets, TOUCHED},
    guests::Guests,
};
use crate::{
    error::Result,
    model::{
        batch::{Batch, RowKind},
        column::{Column, Schema, Value},
        keys::Keys,
        row::{cells, push_cell, push_key, row_of_key},
    },
    plan::{Node, Readers},
    planner::last_value::LastValuePlan,
    state::KeyedState,
};

/// The operator.
#[derive(Debug)]
pub struct LastValue {
    plan: LastValuePlan,
    schema: Schema,
    readers: Readers,
    rows: KeyedState<Box<[u8]>>,
    expiry: Option<Expiry>,
}

impl LastValue {
    /// Takes in events and gives what changed. A `ttl` needs the progress of the watermark.
    fn update(&mut self, input: &Batch, progress: Option<&WatermarkProgress<'_>>) -> Batch {
        let mut expiry_cursor = ExpiryCursor::of(progress);
        if let Some(expiry) = &mut self.expiry {
            expiry.begin(expiry_cursor.watermark_us());
        }
        let mut out = ChangelogBuilder::new(
            &self.schema,
            input.len() * if self.readers.needs_update_before { 2 } else { 1 },
        );
        let (keys, columns) = (input.pick(&self.plan.key), input.pick(&self.plan.columns));
        let deleted = self.plan.deleted.and_then(|deleted| input.columns.get(deleted));
        let (is_whole, mut ahead, mut merged) = (self.plan.is_whole, Keys::default(), Vec::new());

        while let Some(rows) = self
            .rows
            .next_rows(&mut ahead, input.len(), |key, row| push_key(key, &keys, row))
        {
            for (row, delivery) in input.rows_in(rows) {
                while let Some((mover, watermark_us)) = expiry_cursor.next_before(delivery) {
                    self.expire((mover, expiry_cursor.sequence(mover)), watermark_us, &mut out);
                }
                let (needs_update_before, expiry) = (self.readers.needs_update_before, &mut self.expiry);
                self.rows.modify_next(&mut ahead, |key, current| {
                    let mut was_due = false;
                    if let Some(expiry) = expiry {
                        if expiry.is_overdue(key, expiry_cursor.watermark_us())
                            && let Some(row) = current.take()
                        {
                            was_due = true;
                            out.push(RowKind::Delete, delivery, cells(&row_of_key(key)).chain(cells(&row)));
                        }
                        expiry.touch(key, expiry_cursor.touch_us(delivery));
                    }
                    merged.clear();
                    if deleted.is_some_and(|deleted| deleted.get(row) == Value::Boolean(true)) {
                        let Some(before) = current.take() else { return was_due };
                        let cells = key_cells(&keys, row).chain(cells(&before));
                        out.push(RowKind::Delete, delivery, cells);
                        return true;
                    }
                    let Some(before) = current else {
                        columns
                            .iter()
                            .for_each(|column| push_cell(&mut merged, column.get(row)));
                        out.push(RowKind::Insert, delivery, key_cells(&keys, row).chain(cells(&merged)));
                        *current = Some(merged.as_slice().into());
                        return true;
                    };
                    for (column, old) in columns.iter().zip(cells(before)) {
                        let new = column.get(row);
                        push_cell(&mut merged, if new.is_null() && !is_whole { old } else { new });
                    }
                    if merged == **before {
                        return false;
                    }
                    if needs_update_before {
                        out.push(
                            RowKind::UpdateBefore,
                            delivery,
                            key_cells(&keys, row).chain(cells(before)),
                        );
                    }
                    out.push(
                        RowKind::UpdateAfter,
                        delivery,
                        key_cells(&keys, row).chain(cells(&merged)),
                    );
                    if before.len() == merged.len() {
                        before.copy_from_slice(&merged);
                    } else {
                        *before = merged.as_slice().into();
                    }
                    true
                });
            }
        }
        while let Some((mover, watermark_us)) = expiry_cursor.next_move() {
            self.expire((mover, expiry_cursor.sequence(mover)), watermark_us, &mut out);
        }
        out.finish()
    }
}

impl Build for LastValue {
    type Plan = LastValuePlan;

    fn build(node: &Node, plan: &LastValuePlan, _: Guests, seed: u64) -> Result<Self> {
        let output = node.output(0)?;
        let expiry = plan.ttl_us.map(|ttl_us| Expiry::new(ttl_us, seed));
        Ok(Self {
            plan: plan.clone(),
            schema: output.schema.clone(),
            readers: output.readers,
            rows: KeyedState::new(seed),
            expiry: expiry.map(|expiry| expiry.spread(output.readers.spreads)),
        })
    }
}

impl Operator for LastValue {
    fn process(&mut self, inputs: Inputs<'_>) -> Result<Outputs, ProcessError> {
        let rows = vec![self.update(inputs.one()?, inputs.progress)];
        let applied = vec![Applied::All];
        Ok(Outputs::new(rows, applied))
    }

    fn replan(&mut self, node: &Node) -> Result<()> {
        let (plan, output) = (node.operator_plan::<LastValuePlan>()?, node.output(0)?);
        (self.plan, self.schema, self.readers) = (plan.clone(), output.schema.clone(), output.readers);
        Ok(())
    }

    fn forgets(&mut self) -> Option<&mut dyn Forgets> {
        Some(self)
    }

    fn current_rows(&self, bucket: usize) -> Option<Batch> {
        let mut out = ChangelogBuilder::new(&self.schema, 0);
        for (key, row) in self.rows.bucket(bucket) {
            out.push_current(cells(&row_of_key(key)).chain(cells(row)));
        }
        Some(out.finish_inserts())
    }
}

fn key_cells<'b>(keys: &'b [&Column], row: usize) -> impl Iterator<Item = Value<'b>> {
    keys.iter().map(move |column| column.get(row))
}

impl Forgets for LastValue {
    fn expiry(&mut self) -> Option<&mut Expiry> {
        self.expiry.as_mut()
    }

    fn changelog(&self) -> ChangelogBuilder {
        ChangelogBuilder::new(&self.schema, 1024)
    }

    fn forget(&mut self, key: &[u8], delivery: u32, out: &mut ChangelogBuilder) {
        self.rows.modify(key, |current| {
            let Some(row) = current.take() else { return false };
            out.push(RowKind::Delete, delivery, cells(&row_of_key(key)).chain(cells(&row)));
            true
        });
    }
}

impl Stateful for LastValue {
    fn rollback(&mut self) {
        self.rows.rollback(|_, _| {});
        self.expiry.iter_mut().for_each(Expiry::rollback);
    }

    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        let mut states: Vec<(&'static str, &mut dyn StateMap)> = vec![("rows", &mut self.rows)];
        states.extend(self.expiry.as_mut().map(|expiry| (TOUCHED, expiry.state())));
        states
    }

    fn restored(&mut self) {
        self.expiry.iter_mut().for_each(Expiry::restored);
    }
}

#[cfg(test)]
mod tests {
    use crate::operator::testing::Tested;

    #[test]
    fn of_changes_of_rows_a_null_is_a_value_and_what_comes_again_changes_nothing() {
        let source = "source = { stream = \"S\", subject = \"s\", format = { debezium = { key = [\"id\"] } },
                      columns = { name = \"text\", id = \"int\" } }";
        let mut rows = Tested::with_source(source, "sink = [{ table = \"rows\", primary_key = [\"name\"] }]");
        rows.check(
            "#  kind  id  name  deleted
             1  +     7   ann   false
             2  +     7   .     false
             3  +     7   .     false
             4  +     8   .     true",
            "1  +   7  ann
             2  U-  7  ann
             2  U+  7  .",
        );
        rows.restart();
        rows.check(
            "#  kind  id  name  deleted
             5  +     7   .     true
             6  +     7   .     true
             7  +     7   bob   false",
            "5  -  7  .
             7  +  7  bob",
        );
    }

    const VISITS: &str = "user = \"text\", page = \"text\", gone = \"boolean\"";

    #[test]
    fn a_null_leaves_the_column_as_it_was() {
        let step = "step = [{ name = \"last\", last_value = { key = [\"user\"], columns = [\"page\"] } }]
                    sink = [{ table = \"latest\", primary_key = [\"page\"] }]";
        let mut last = Tested::new(VISITS, step);
        last.check(
            "#  kind  user  page
             1  +     ann   home
             2  +     ann   .
             3  +     ann   cart
             4  +     .     home",
            "1  +     ann   home
             3  U-    ann   home
             3  U+    ann   cart
             4  +     .     home",
        );
        last.restart();
        last.check(
            "#  kind  user  page
             5  +     ann   cart
             6  +     ann   help",
            "6  U-    ann   cart
             6  U+    ann   help",
        );
    }

    #[test]
    fn a_row_that_deletes_lets_the_next_one_be_the_first() {
        let step = "step = [{ name = \"last\", last_value = { key = [\"user\"], deleted = \"gone\" } }]
                    sink = [{ table = \"latest\", primary_key = [\"page\"] }]";
        let mut last = Tested::new(VISITS, step);
        last.check(
            "#  kind  user  page  gone
             1  +     ann   home  true
             2  +     ann   home  .
             3  +     ann   .     true
             4  +     ann   .     false",
            "2  +     ann   home
             3  -     ann   home
             4  +     ann   .",
        );
    }
}
