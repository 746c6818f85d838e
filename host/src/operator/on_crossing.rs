//! `on_crossing`: a row when a key is raised, and one when it is cleared; nothing in between.
//!
//! A key is raised when a current row of it has `raise` true, and stays so while a current row of it has `raise` or `hold`
//! true. What lies between the two thresholds, which are the rule's, is the hysteresis: there a key stays what it is.
//!
//! - Emits: to `out` the row that raised a key, to `cleared` the one that cleared it, each right with its event, and once
//!   per crossing.
//! - Order: arrival. Where rows stand for themselves, each is the current row of its key, and each counts. Over a
//!   changelog what an event leaves counts: an update is one change, and rows that an event moves about within a key make
//!   no crossing on the way. Keys are emitted in the order in which the event touched them.
//! - The row that raised a key is the last one of its event that did. The row that cleared it is the last one of the key
//!   that its event touched: the row after an update; for a row that is gone, the row as it was.
//! - Late rows: there are none, since an event's own time does not matter.
//! - With a `ttl`, a raised key for which no row came for so long of event time is forgotten (see
//!   `expiry.rs`). Nothing is emitted for it: no row cleared the key, it fell silent. The next row that raises it raises it anew.
//! - Nulls: in `raise` and `hold` a null is false; a null in the key is one key like any other.
//! - Restart: the state holds an entry per key that is raised (over a changelog, that has a row which raises or holds it),
//!   so nothing changes.

use super::{
    Applied, Build, Inputs, Operator, Outputs, ProcessError, StateMap, Stateful,
    clock::WatermarkProgress,
    expiry::{Expiry, ExpiryCursor, TOUCHED},
    guests::Guests,
};
use crate::{
    error::Result,
    model::{
        batch::Batch,
        column::{Column, Value},
        row::{push_key, push_length, take_bytes, take_length},
    },
    plan::Node,
    planner::on_crossing::OnCrossingPlan,
    state::{KeyedState, StateValue},
};
use hashbrown::HashMap;

/// The operator.
#[derive(Debug)]
pub struct OnCrossing {
    plan: OnCrossingPlan,
    levels: KeyedState<Level>,
    expiry: Option<Expiry>,
}

/// Where a key stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Level {
    /// Its current rows that raise it.
    raising: u64,
    /// Its current rows that raise or hold it.
    holding: u64,
    raised: bool,
}

impl StateValue for Level {
    fn encode(&self, bytes: &mut Vec<u8>) {
        push_length(bytes, self.raising as usize);
        push_length(bytes, self.holding as usize);
        bytes.push(u8::from(self.raised));
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let (raising, holding) = (take_length(bytes)? as u64, take_length(bytes)? as u64);
        let raised = take_bytes(bytes, 1)? == [1];
        bytes.is_empty().then_some(Self {
            raising,
            holding,
            raised,
        })
    }
}

impl Level {
    /// Counts a row that comes to the key, or goes from it.
    fn count(&mut self, says: Says, retracts: bool) {
        for (rows, counts) in [(&mut self.raising, says.raises), (&mut self.holding, says.holds)] {
            if counts {
                *rows = if retracts { rows.saturating_sub(1) } else { *rows + 1 };
            }
        }
    }

    /// What became of the key, now that all rows of an event are counted.
    fn settle(&mut self) -> Option<Crossing> {
        let raised = self.raising > 0 || self.raised && self.holding > 0;
        match (std::mem::replace(&mut self.raised, raised), raised) {
            (false, true) => Some(Crossing::Raised),
            (true, false) => Some(Crossing::Cleared),
            _ => None,
        }
    }

    fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crossing {
    Raised,
    Cleared,
}

/// What a row says of its key. One that raises holds too.
#[derive(Clone, Copy, Debug)]
struct Says {
    raises: bool,
    holds: bool,
}

/// A key that the rows of an event touched.
#[derive(Debug)]
struct Touched {
    key: Vec<u8>,
    /// Those of the rows that came, raise it, and did not go again.
    raising: Vec<u32>,
    last_row: u32,
}

/// The numbers of the rows that crossed.
#[derive(Debug, Default)]
struct Crossed {
    raised: Vec<u32>,
    cleared: Vec<u32>,
}

impl Crossed {
    fn push(&mut self, crossing: Crossing, row: u32) {
        match crossing {
            Crossing::Raised => self.raised.push(row),
            Crossing::Cleared => self.cleared.push(row),
        }
    }
}

impl OnCrossing {
    /// Takes in rows, and gives those that raised a key, and those that cleared one. A `ttl` needs the progress of the watermark.
    fn update(&mut self, input: &Batch, progress: Option<&WatermarkProgress<'_>>) -> Vec<Batch> {
        let (mut crossed, mut expiry_cursor) = (Crossed::default(), ExpiryCursor::of(progress));
        match self.plan.retracts {
            true => self.update_changes(input, &mut expiry_cursor, &mut crossed),
            false => self.update_rows(input, &mut expiry_cursor, &mut crossed),
        }
        while let Some((_, watermark_us)) = expiry_cursor.next_move() {
            self.expire(watermark_us);
        }
        let rows = [&crossed.raised, &crossed.cleared].into_iter();
        let outputs = rows.zip(&self.plan.passed);
        outputs.map(|(rows, columns)| input.rows_of(rows, columns)).collect()
    }

    /// Rows that stand for themselves: each is the current row of its key.
    fn update_rows(&mut self, input: &Batch, expiry_cursor: &mut ExpiryCursor<'_>, crossed: &mut Crossed) {
        let (keys, flags) = (input.pick(&self.plan.key), Flags::of(&self.plan, input));
        let mut key = Vec::new();
        for (row, &delivery) in input.deliveries.iter().enumerate() {
            while let Some((_, watermark_us)) = expiry_cursor.next_before(delivery) {
                self.expire(watermark_us);
            }
            key.clear();
            push_key(&mut key, &keys, row);
            let mut is_raised = false;
            self.levels.modify(&key, |current| {
                let before = *current;
                let mut level = Level {
                    raised: before.is_some_and(|before| before.raised),
                    ..Level::default()
                };
                level.count(flags.says(row), false);
                if let Some(crossing) = level.settle() {
                    crossed.push(crossing, row as u32);
                }
                is_raised = level.raised;
                *current = is_raised.then_some(level);
                *current != before
            });
            self.touch(&key, is_raised, expiry_cursor.touch_us(delivery));
        }
    }

    /// A changelog: what counts is what an event leaves.
    fn update_changes(&mut self, input: &Batch, expiry_cursor: &mut ExpiryCursor<'_>, crossed: &mut Crossed) {
        let (keys, flags) = (input.pick(&self.plan.key), Flags::of(&self.plan, input));
        let mut touched: Vec<Touched> = Vec::new();
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut key = Vec::new();
        for (row, &delivery) in input.deliveries.iter().enumerate() {
            while let Some((_, watermark_us)) = expiry_cursor.next_before(delivery) {
                self.expire(watermark_us);
            }
            key.clear();
            push_key(&mut key, &keys, row);
            let at = *places.entry_ref(&key).or_insert_with(|| {
                touched.push(Touched {
                    key: key.clone(),
                    raising: Vec::new(),
                    last_row: 0,
                });
                touched.len() - 1
            });
            let (says, retracts) = (flags.says(row), input.kind(row).retracts());
            self.levels.modify(&key, |current| {
                let mut level = current.unwrap_or_default();
                level.count(says, retracts);
                let before = current.replace(level);
                *current != before
            });
            if let Some(touched) = touched.get_mut(at) {
                touched.last_row = row as u32;
                match (says.raises, retracts) {
                    (true, false) => touched.raising.push(row as u32),
                    // It may be one that came with this very event.
                    (true, true) => {
                        let came = touched
                            .raising
                            .iter()
                            .rposition(|&came| input.same_row(came, row as u32));
                        came.map(|at| touched.raising.remove(at));
                    }
                    (false, _) => {}
                }
            }
            if input.deliveries.get(row + 1) != Some(&delivery) {
                for touched in touched.drain(..) {
                    let is_there = self.settle(&touched, crossed);
                    self.touch(&touched.key, is_there, expiry_cursor.touch_us(delivery));
                }
                places.clear();
            }
        }
    }

    /// Called once all rows of an event are counted: emits the key if it crossed. Says whether anything is kept of it.
    fn settle(&mut self, touched: &Touched, crossed: &mut Crossed) -> bool {
        let mut is_there = false;
        self.levels.modify(&touched.key, |current| {
            let Some(level) = current else { return false };
            let crossing = level.settle();
            if let Some(crossing) = crossing {
                let row = match crossing {
                    Crossing::Raised => touched.raising.last().copied(),
                    Crossing::Cleared => None,
                };
                crossed.push(crossing, row.unwrap_or(touched.last_row));
            }
            is_there = !level.is_nothing();
            if !is_there {
                *current = None;
            }
            crossing.is_some() || !is_there
        });
        is_there
    }

    /// A row of a key came, of which something is kept now or not.
    fn touch(&mut self, key: &[u8], is_there: bool, time_us: i64) {
        match &mut self.expiry {
            Some(expiry) if is_there => expiry.touch(key, time_us),
            Some(expiry) => expiry.forget(key),
            None => {}
        }
    }

    /// The watermark moved: forgets keys that fell silent.
    fn expire(&mut self, watermark_us: i64) {
        while let Some(keys) = self.expiry.as_mut().and_then(|expiry| expiry.take_due(watermark_us)) {
            for key in keys {
                self.levels.modify(&key, |current| current.take().is_some());
            }
        }
    }
}

impl Build for OnCrossing {
    type Plan = OnCrossingPlan;

    fn build(_: &Node, plan: &OnCrossingPlan, _: Guests, seed: u64) -> Result<Self> {
        Ok(Self {
            plan: plan.clone(),
            levels: KeyedState::new(seed),
            expiry: plan.ttl_us.map(|ttl_us| Expiry::new(ttl_us, seed)),
        })
    }
}

impl Operator for OnCrossing {
    fn process(&mut self, inputs: Inputs<'_>) -> Result<Outputs, ProcessError> {
        let rows = self.update(inputs.one()?, inputs.progress);
        let applied = vec![Applied::All];
        Ok(Outputs::new(rows, applied))
    }

    fn replan(&mut self, node: &Node) -> Result<()> {
        self.plan = node.operator_plan::<OnCrossingPlan>()?.clone();
        Ok(())
    }
}

/// The columns that say where a row stands.
struct Flags<'a> {
    raise: Option<&'a Column>,
    hold: Option<&'a Column>,
    /// Whether a row raises its key by being there.
    by_being: bool,
}

impl<'a> Flags<'a> {
    fn of(plan: &OnCrossingPlan, input: &'a Batch) -> Self {
        let column = |index: usize| input.columns.get(index).map(|column| &**column);
        Self {
            raise: plan.raise.and_then(column),
            hold: plan.hold.and_then(column),
            by_being: plan.raise.is_none(),
        }
    }

    fn says(&self, row: usize) -> Says {
        let is_true = |column: Option<&Column>| column.is_some_and(|column| column.get(row) == Value::Boolean(true));
        let raises = self.by_being || is_true(self.raise);
        Says {
            raises,
            holds: raises || is_true(self.hold),
        }
    }
}

impl Stateful for OnCrossing {
    fn rollback(&mut self) {
        self.levels.rollback(|_, _| {});
        self.expiry.iter_mut().for_each(Expiry::rollback);
    }

    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        let mut states: Vec<(&'static str, &mut dyn StateMap)> = vec![("levels", &mut self.levels)];
        states.extend(self.expiry.as_mut().map(|expiry| (TOUCHED, expiry.state())));
        states
    }

    fn restored(&mut self) {
        self.expiry.iter_mut().for_each(Expiry::restored);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{batch::RowKind, column::ColumnType},
        operator::testing::Tested,
    };
    use std::sync::Arc;

    /// Operators emit each row once per event, so a row seldom goes with the event that it came with.
    #[test]
    fn a_row_that_went_with_its_own_event_did_not_raise_the_key() {
        let mut id = Column::with_capacity(ColumnType::Int, 4);
        [1, 2, 2, 1].into_iter().for_each(|value| id.push(Value::Int(value)));
        let mut raise = Column::with_capacity(ColumnType::Boolean, 4);
        [true; 4]
            .into_iter()
            .for_each(|value| raise.push(Value::Boolean(value)));
        let input = Batch {
            columns: vec![Arc::new(id), Arc::new(raise)],
            deliveries: vec![0, 0, 0, 1],
            kinds: Some(vec![RowKind::Insert, RowKind::Insert, RowKind::Delete, RowKind::Delete]),
            lineage: None,
        };
        let plan = OnCrossingPlan {
            key: Vec::new(),
            raise: Some(1),
            hold: None,
            retracts: true,
            ttl_us: None,
            passed: [vec![0], vec![0]],
        };
        let outputs = OnCrossing {
            plan,
            levels: KeyedState::new(1),
            expiry: None,
        }
        .update(&input, None);
        let ids = |output: &Batch| {
            (0..output.len())
                .map(|row| format!("{:?}", output.columns[0].get(row)))
                .collect::<Vec<_>>()
        };
        assert_eq!(outputs.iter().map(ids).collect::<Vec<_>>(), [["Int(1)"], ["Int(1)"]]);
        assert_eq!(
            outputs.iter().map(|output| output.deliveries[0]).collect::<Vec<_>>(),
            [0, 1]
        );
    }

    #[test]
    fn between_the_thresholds_a_key_stays_what_it_is() {
        let step = "step = [{ name = \"alerts\", on_crossing = { key = [\"id\"], raise = \"hot\", hold = \"warm\" } }]
                    sink = [{ table = \"raised\", from = \"alerts\" }, { table = \"cleared\", from = \"alerts.cleared\" }]";
        let mut alerts = Tested::new("id = \"int\", hot = \"boolean\", warm = \"boolean\"", step);
        alerts.check(
            "#  kind  id  hot    warm
             1  +     1   .      true
             2  +     1   true   true
             3  +     1   true   true
             4  +     1   false  true
             5  +     1   false  .
             6  +     1   true   .",
            "out      2  +  1  true   true
             out      6  +  1  true   .
             cleared  5  +  1  false  .",
        );
        alerts.restart();
        alerts.check(
            "#  kind  id  hot    warm
             7  +     1   false  false",
            "cleared  7  +  1  false  false",
        );
    }
}
