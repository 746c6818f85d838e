//! `lag`: adds to each row what columns held a number of rows before, among the rows of its key.
//!
//! - Emits: every row at once, with the earlier values; null where the key has no such row yet.
//! - Order: arrival (stream sequence), never an event's own time: there is no late event.
//! - With a `ttl`, a key for which no row came for so long of event time is forgotten (see `expiry.rs`). Nothing is emitted
//!   for it; the next row of the key is its first.
//! - Nulls: a null is a value like any other, also in the key.
//! - Restart: the state holds the last rows of every key, so nothing changes.

use super::{
    Applied, Build, ChangelogBuilder, Inputs, Operator, Outputs, ProcessError, StateMap, Stateful,
    expiry::{Expiry, ExpiryCursor, TOUCHED},
    guests::Guests,
};
use crate::{
    error::Result,
    model::{
        column::{Schema, Value},
        keys::Keys,
        row::{cells, push_cell, push_key},
    },
    plan::Node,
    planner::lag::LagPlan,
    state::KeyedState,
};

/// The operator.
#[derive(Debug)]
pub struct Lag {
    plan: LagPlan,
    schema: Schema,
    /// By key: the cells of the last rows, the oldest first.
    rows: KeyedState<Box<[u8]>>,
    expiry: Option<Expiry>,
}

impl Build for Lag {
    type Plan = LagPlan;

    fn build(node: &Node, plan: &LagPlan, _: Guests, seed: u64) -> Result<Self> {
        Ok(Self {
            plan: plan.clone(),
            schema: node.output(0)?.schema.clone(),
            rows: KeyedState::new(seed),
            expiry: plan.ttl_us.map(|ttl_us| Expiry::new(ttl_us, seed)),
        })
    }
}

impl Operator for Lag {
    fn process(&mut self, inputs: Inputs<'_>) -> Result<Outputs, ProcessError> {
        let input = inputs.one()?;
        let mut expiry_cursor = ExpiryCursor::of(inputs.progress);
        let mut out = ChangelogBuilder::new(&self.schema, input.len());
        let [keys, passed, lagged] =
            [&self.plan.key, &self.plan.passed, &self.plan.lagged].map(|columns| input.pick(columns));
        let full = self.plan.rows as usize * lagged.len();
        let (mut ahead, mut kept) = (Keys::default(), Vec::new());
        while let Some(rows) = self
            .rows
            .next_rows(&mut ahead, input.len(), |key, row| push_key(key, &keys, row))
        {
            for (row, delivery) in input.rows_in(rows) {
                while let Some((_, watermark_us)) = expiry_cursor.next_before(delivery) {
                    self.expire(watermark_us);
                }
                let expiry = &mut self.expiry;
                self.rows.modify_next(&mut ahead, |key, current| {
                    if let Some(expiry) = expiry {
                        expiry.touch(key, expiry_cursor.touch_us(delivery));
                    }
                    let held = current.as_deref().unwrap_or_default();
                    let is_full = cells(held).count() >= full;
                    let gone = if is_full { lagged.len() } else { 0 };
                    kept.clear();
                    cells(held).skip(gone).for_each(|cell| push_cell(&mut kept, cell));
                    lagged.iter().for_each(|column| push_cell(&mut kept, column.get(row)));
                    let earlier = (0..lagged.len()).map(|at| match is_full {
                        true => cells(held).nth(at).unwrap_or(Value::Null),
                        false => Value::Null,
                    });
                    out.push_insert(delivery, passed.iter().map(|column| column.get(row)).chain(earlier));
                    let changes = held != kept.as_slice() || current.is_none();
                    if changes {
                        *current = Some(kept.as_slice().into());
                    }
                    changes
                });
            }
        }
        while let Some((_, watermark_us)) = expiry_cursor.next_move() {
            self.expire(watermark_us);
        }
        let rows = vec![out.finish_inserts()];
        let applied = vec![Applied::All];
        Ok(Outputs::new(rows, applied))
    }

    fn replan(&mut self, node: &Node) -> Result<()> {
        self.plan = node.operator_plan::<LagPlan>()?.clone();
        self.schema = node.output(0)?.schema.clone();
        Ok(())
    }
}

impl Lag {
    /// The watermark moved: forgets keys that fell silent.
    fn expire(&mut self, watermark_us: i64) {
        while let Some(keys) = self.expiry.as_mut().and_then(|expiry| expiry.take_due(watermark_us)) {
            for key in keys {
                self.rows.modify(&key, |current| current.take().is_some());
            }
        }
    }
}

impl Stateful for Lag {
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

    const VISITS: &str = "user = \"text\", page = \"text\", ms_spent = \"int\"";
    const BEFORE: &str = "step = [{ name = \"before\", lag = { key = [\"user\"], columns = { from = \"page\" } } }]
                          sink = [{ table = \"moves\" }]";

    #[test]
    fn a_row_has_the_value_of_the_one_before_it() {
        let mut before = Tested::new(VISITS, BEFORE);
        before.check(
            "#  kind  user  page  ms_spent
             1  +     ann   home  10
             2  +     bob   cart  20
             3  +     ann   .     30
             4  +     ann   cart  40
             5  +     .     home  50
             6  +     .     cart  60",
            "1  +     ann   home  10  .
             2  +     bob   cart  20  .
             3  +     ann   .     30  home
             4  +     ann   cart  40  .
             5  +     .     home  50  .
             6  +     .     cart  60  home",
        );
        before.restart();
        before.replan("ms_spent = \"int\", page = \"text\", user = \"text\"", BEFORE);
        before.check(
            "#  kind  user  page  ms_spent
             7  +     bob   help  70",
            "7  +     70  help  bob  cart",
        );
    }

    #[test]
    fn two_columns_of_two_rows_before() {
        let step = "step = [{ name = \"before\", lag = { key = [\"user\"], columns = { from = \"page\", ms = \"ms_spent\" }, n = 2 } }]
                    sink = [{ table = \"moves\", columns = [\"page\", \"from\", \"ms\"] }]";
        let mut before = Tested::new(VISITS, step);
        before.check(
            "#  kind  user  page  ms_spent
             1  +     ann   a     1
             2  +     ann   b     2
             3  +     ann   c     3
             4  +     ann   d     4",
            "1  +     a     .     .
             2  +     b     .     .
             3  +     c     a     1
             4  +     d     b     2",
        );
    }

    #[test]
    fn what_nobody_reads_is_not_held() {
        let step = "step = [{ name = \"before\", lag = { key = [\"user\"], columns = { from = \"page\", ms = \"ms_spent\" } } }]
                    sink = [{ table = \"moves\", columns = [\"page\"] }]";
        let mut before = Tested::new(VISITS, step);
        before.check(
            "#  kind  user  page
             1  +     ann   a
             2  +     ann   b",
            "1  +     a
             2  +     b",
        );
    }

    #[test]
    fn a_key_that_falls_silent_begins_again() {
        let step =
            "step = [{ name = \"before\", lag = { key = [\"user\"], columns = { from = \"page\" }, ttl = \"1 s\" } }]
                    sink = [{ table = \"moves\", columns = [\"user\", \"page\", \"from\"] }]";
        let mut before = Tested::new(VISITS, step);
        before.check(
            "#  kind  user  page  ms
             1  +     ann   a     1000
             2  +     ann   b     1999
             3  +     bob   a     2998
             4  +     ann   c     2999
             5  +     ann   d     3000",
            "1  +     ann   a     .
             2  +     ann   b     a
             3  +     bob   a     .
             4  +     ann   c     b
             5  +     ann   d     c",
        );
        before.restart();
        before.check(
            "#  kind  user  page  ms
             6  +     bob   b     4000
             7  +     ann   e     4001",
            "6  +     bob   b     a
             7  +     ann   e     .",
        );
        assert_eq!(before.entries(), 4, "a row and a touch for each of two keys");
    }
}
