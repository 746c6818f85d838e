//! `interval_join`: rows of two edges whose keys are equal and whose times are close.
//!
//! - Emits, for each pair, the columns of both, as soon as the later of the two rows has come: so a pair is the doing of
//!   that row's event. The partners of one row come in the order of their times, and of arrival where those are equal.
//! - A pair is one where the time of the row of `with` is between `t + earliest` and `t + latest`, both included, for a
//!   row at `t`. Of one event's rows those of the step's own edge come before those of `with`.
//! - Late rows: one whose time is before the watermark may have missed partners that are gone. It goes to the output
//!   `late`, or `late_with` where it is of `with`, is counted, and joins nothing.
//! - Nulls: a null in the key joins nothing.
//! - Restart: the state holds an entry for each row that may still find a partner. It goes when the watermark is past all
//!   times that a partner could have.

use super::{
    Applied, Build, ChangelogBuilder, Inputs, Operator, Outputs, ProcessError, StateMap, Stateful,
    clock::WatermarkProgress, guests::Guests, held_times::HeldTimes, late_rows, timers::Timers,
};
use crate::{
    error::Result,
    model::{
        batch::Batch,
        column::{Column, Schema, Value},
        row::{cells, push_cell, push_key, push_key_cell, take_key_cell},
    },
    plan::Node,
    planner::interval_join::{IntervalJoinPlan, JoinSidePlan},
    state::KeyedState,
};
use hashbrown::HashMap;

/// The operator.
#[derive(Debug)]
pub struct IntervalJoin {
    plan: IntervalJoinPlan,
    schema: Schema,
    own: Side,
    with: Side,
}

/// When a row is: its time, the sequence of its event, and which row of that it is.
type Place = (i64, i64, i64);

/// The rows of one edge that may still find partners.
#[derive(Debug)]
struct Side {
    /// By key and place: what is held of a row.
    rows: KeyedState<Box<[u8]>>,
    /// The places of the rows of each key, in order.
    places: HashMap<Box<[u8]>, Vec<Place>>,
    /// When rows find no partner any more.
    ends: Timers,
    /// How long after its time a row may find a partner.
    kept_us: i64,
    /// How many columns the key has.
    key_len: usize,
}

impl IntervalJoin {
    /// Takes in rows of both edges, while the watermark moves. Gives the pairs, and the rows of each that were late.
    fn update(&mut self, own: &Batch, with: &Batch, progress: &WatermarkProgress<'_>) -> Vec<Batch> {
        let mut out = ChangelogBuilder::new(&self.schema, own.len().max(with.len()));
        let (mut cursor, mut watermark_us) = (progress.cursor(), progress.before_us());
        let (mut late_own, mut late_with) = (Vec::new(), Vec::new());
        let plan = self.plan.clone();
        let (mut own_rows, mut with_rows) = (Rows::new(own, &plan.own), Rows::new(with, &plan.with));
        while let Some(delivery) = [own_rows.next_delivery(), with_rows.next_delivery()]
            .into_iter()
            .flatten()
            .min()
        {
            while let Some((_, moved_us)) = cursor.next_before(delivery) {
                watermark_us = moved_us;
                self.forget(watermark_us);
            }
            let (time_us, sequence) = (progress.time_us(delivery), progress.sequence(delivery) as i64);
            let is_late = time_us < watermark_us;
            for ordinal in 0.. {
                let Some(row) = own_rows.next_of(delivery) else { break };
                if is_late {
                    late_own.push(row as u32);
                } else if own_rows.read_key(row) {
                    let partners = time_us.saturating_add(plan.earliest_us)..=time_us.saturating_add(plan.latest_us);
                    own_rows.read_held(row);
                    self.with.each(&own_rows.key, partners, |partner| {
                        out.push_insert(delivery, cells(&own_rows.held).chain(cells(partner)));
                    });
                    self.own
                        .add(&own_rows.key, (time_us, sequence, ordinal), &own_rows.held);
                }
            }
            for ordinal in 0.. {
                let Some(row) = with_rows.next_of(delivery) else { break };
                if is_late {
                    late_with.push(row as u32);
                } else if with_rows.read_key(row) {
                    let partners = time_us.saturating_sub(plan.latest_us)..=time_us.saturating_sub(plan.earliest_us);
                    with_rows.read_held(row);
                    self.own.each(&with_rows.key, partners, |partner| {
                        out.push_insert(delivery, cells(partner).chain(cells(&with_rows.held)));
                    });
                    self.with
                        .add(&with_rows.key, (time_us, sequence, ordinal), &with_rows.held);
                }
            }
        }
        while let Some((_, moved_us)) = cursor.next_move() {
            self.forget(moved_us);
        }
        vec![
            out.finish_inserts(),
            late_rows(own, &late_own, &plan.own.late),
            late_rows(with, &late_with, &plan.with.late),
        ]
    }

    fn forget(&mut self, watermark_us: i64) {
        self.own.forget(watermark_us);
        self.with.forget(watermark_us);
    }
}

impl Build for IntervalJoin {
    type Plan = IntervalJoinPlan;

    fn build(node: &Node, plan: &IntervalJoinPlan, _: Guests, seed: u64) -> Result<Self> {
        let side = |kept_us: i64, side: &JoinSidePlan| Side {
            rows: KeyedState::new(seed),
            places: HashMap::new(),
            ends: Timers::default(),
            kept_us: kept_us.max(0),
            key_len: side.key.len(),
        };
        Ok(Self {
            plan: plan.clone(),
            schema: node.output(0)?.schema.clone(),
            own: side(plan.latest_us, &plan.own),
            with: side(plan.earliest_us.saturating_neg(), &plan.with),
        })
    }
}

impl Operator for IntervalJoin {
    fn process(&mut self, inputs: Inputs<'_>) -> Result<Outputs, ProcessError> {
        let (own, with) = inputs.two()?;
        let rows = self.update(own, with, inputs.followed()?);
        let applied = vec![Applied::but(rows.get(1)), Applied::but(rows.get(2))];
        Ok(Outputs::new(rows, applied))
    }

    fn replan(&mut self, node: &Node) -> Result<()> {
        self.plan = node.operator_plan::<IntervalJoinPlan>()?.clone();
        self.schema = node.output(0)?.schema.clone();
        Ok(())
    }
}

impl Side {
    /// Calls `each` with what is held of the rows of `key` at these times, in their order.
    fn each(&self, key: &[u8], times_us: std::ops::RangeInclusive<i64>, mut each: impl FnMut(&[u8])) {
        let Some(places) = self.places.get(key) else { return };
        let start = places.partition_point(|place| place.0 < *times_us.start());
        let within = places.iter().skip(start).take_while(|place| place.0 <= *times_us.end());
        let mut row_key = Vec::new();
        for &place in within {
            row_key.clear();
            push_row_key(&mut row_key, key, place);
            if let Some(row) = self.rows.get(&row_key) {
                each(row);
            }
        }
    }

    fn add(&mut self, key: &[u8], place: Place, held: &[u8]) {
        let mut row_key = Vec::with_capacity(key.len() + 27);
        push_row_key(&mut row_key, key, place);
        self.rows.modify(&row_key, |current| {
            *current = Some(held.into());
            true
        });
        self.expect(&row_key);
    }

    /// Lets rows go that the watermark has left behind.
    fn forget(&mut self, watermark_us: i64) {
        // At the end of its time a row may find a partner still.
        while let Some((_, row_keys)) = self.ends.take_due(watermark_us.saturating_sub(1)) {
            for row_key in row_keys {
                self.rows.modify(&row_key, |row| row.take().is_some());
                self.leave(&row_key);
            }
        }
    }

    /// Expects a row of the state: it may be found, and goes when it is time.
    fn expect(&mut self, row_key: &[u8]) {
        let Some((key, place)) = self.split(row_key) else {
            return;
        };
        let places = match self.places.get_mut(key) {
            Some(places) => places,
            None => self.places.entry(key.into()).or_default(),
        };
        if let Err(at) = places.binary_search(&place) {
            places.insert(at, place);
        }
        self.ends.add_again(place.0.saturating_add(self.kept_us), row_key);
    }

    /// Forgets where a row was.
    fn leave(&mut self, row_key: &[u8]) {
        let Some((key, place)) = self.split(row_key) else {
            return;
        };
        let Some(places) = self.places.get_mut(key) else { return };
        if let Ok(at) = places.binary_search(&place) {
            places.remove(at);
        }
        if places.is_empty() {
            self.places.remove(key);
        }
    }

    /// The key and the place of a row.
    fn split<'k>(&self, row_key: &'k [u8]) -> Option<(&'k [u8], Place)> {
        let (mut rest, mut text) = (row_key, Vec::new());
        for _ in 0..self.key_len {
            take_key_cell(&mut rest, &mut text)?;
        }
        let key = row_key.get(..row_key.len() - rest.len())?;
        let mut part = || match take_key_cell(&mut rest, &mut text) {
            Some(Value::Int(part)) => Some(part),
            _ => None,
        };
        Some((key, (part()?, part()?, part()?)))
    }

    fn rollback(&mut self) {
        let mut touched: Vec<(Box<[u8]>, bool)> = Vec::new();
        self.rows.rollback(|row_key, live| touched.push((row_key.into(), live)));
        for (row_key, live) in touched {
            match live {
                true => self.expect(&row_key),
                false => self.leave(&row_key),
            }
        }
    }

    fn restored(&mut self) {
        let row_keys: Vec<Box<[u8]>> = self.rows.iter().map(|(row_key, _)| row_key.into()).collect();
        row_keys.iter().for_each(|row_key| self.expect(row_key));
    }
}

impl Stateful for IntervalJoin {
    fn rollback(&mut self) {
        self.own.rollback();
        self.with.rollback();
    }

    fn held_times(&self, _: &str) -> Option<HeldTimes> {
        let key = self.plan.own.key.len();
        Some(HeldTimes::in_keys(key..key + 1))
    }

    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        vec![("own", &mut self.own.rows), ("with", &mut self.with.rows)]
    }

    fn restored(&mut self) {
        self.own.restored();
        self.with.restored();
    }
}

/// The rows of one edge, one delivery after the other.
struct Rows<'a> {
    input: &'a Batch,
    key_columns: Vec<&'a Column>,
    held_columns: Vec<&'a Column>,
    next: usize,
    key: Vec<u8>,
    held: Vec<u8>,
}

impl<'a> Rows<'a> {
    fn new(input: &'a Batch, plan: &JoinSidePlan) -> Self {
        Self {
            input,
            key_columns: input.pick(&plan.key),
            held_columns: input.pick(&plan.held),
            next: 0,
            key: Vec::new(),
            held: Vec::new(),
        }
    }

    fn next_delivery(&self) -> Option<u32> {
        self.input.deliveries.get(self.next).copied()
    }

    /// The next row, if it is of `delivery`.
    fn next_of(&mut self, delivery: u32) -> Option<usize> {
        (self.next_delivery()? == delivery).then(|| {
            self.next += 1;
            self.next - 1
        })
    }

    /// Reads the key of a row. False when there is a null in it.
    fn read_key(&mut self, row: usize) -> bool {
        self.key.clear();
        push_key(&mut self.key, &self.key_columns, row);
        !self.key_columns.iter().any(|column| column.is_null(row))
    }

    fn read_held(&mut self, row: usize) {
        self.held.clear();
        for column in &self.held_columns {
            push_cell(&mut self.held, column.get(row));
        }
    }
}

fn push_row_key(row_key: &mut Vec<u8>, key: &[u8], place: Place) {
    row_key.extend_from_slice(key);
    for part in [place.0, place.1, place.2] {
        push_key_cell(row_key, Value::Int(part));
    }
}

#[cfg(test)]
mod tests {
    use crate::operator::testing::Tested;

    #[test]
    fn rows_whose_times_are_close_are_pairs_and_late_ones_are_not() {
        let source = "
            [source]
            stream = \"S\"
            [source.input.orders]
            subject = \"orders\"
            columns = { id = \"int\" }
            [source.input.payments]
            subject = \"payments\"
            columns = { of = \"int\", paid = \"int\" }";
        let pipeline = "
            [[step]]
            name = \"paid\"
            from = \"orders\"
            interval_join = { with = \"payments\", on = { id = \"of\" }, earliest = \"0 s\", latest = \"1 s\" }
            [[sink]]
            table = \"paid\"
            [[sink]]
            table = \"late\"
            from = \"paid.late\"";
        let mut paid = Tested::with_source(source, pipeline);
        paid.check_all(
            &[
                "#  kind  ms    id
                 1  +     1000  1
                 3  +     1500  2
                 6  +     1400  3",
                "#  kind  ms    of  paid
                 2  +     2000  1   10
                 4  +     2001  1   20
                 5  +     2500  2   30",
            ],
            "out   2  +  1  10
             out   5  +  2  30
             late  6  +  3",
        );
        paid.restart();
        paid.check_all(
            &[
                "#  kind  ms    id
                 7  +     2500  4",
                "#  kind  ms    of  paid
                 8  +     2500  2   40
                 9  +     2600  4   50",
            ],
            "out   8  +  2  40
             out   9  +  4  50",
        );
    }
}
