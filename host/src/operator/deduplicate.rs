//! `deduplicate`: the first row of a key passes, and its twins are left out.
//!
//! - Emits: the first row of a key, at once, in order of arrival. `within` a time, a row at `t` is a twin of one at `t0` that
//!   passed where they are less than that apart, whichever came first; a row that passed none of the others stands in the
//!   way of is the first of its own.
//! - Late rows: without `within` there are none, since an event's own time does not matter, and keys are never forgotten.
//!   With it, a row that passed is forgotten once the watermark is `within` past it: what comes then and is not late is so
//!   far from it, or farther, that it is no twin. A row before the watermark may be the twin of one that is forgotten, so it
//!   goes to the output `late`, whatever it is, and is counted. Hence what passes is what would pass if nothing was ever
//!   forgotten.
//! - Nulls: a null in the key is one key like any other.
//! - Restart: the state holds an entry per row that passed and is not forgotten, so nothing changes.

use super::{
    Applied, Build, Inputs, Operator, Outputs, ProcessError, StateMap, Stateful,
    clock::{EventTime, WatermarkProgress},
    guests::Guests,
    held_times::HeldTimes,
    timers::Timers,
};
use crate::{
    error::{OrDefect, Result},
    model::{
        batch::Batch,
        column::{Column, Value},
        keys::Keys,
        row::{push_key, push_key_cell},
    },
    plan::Node,
    planner::deduplicate::DeduplicatePlan,
    state::{KeyedState, StateValue},
};

/// The operator.
#[derive(Debug)]
pub struct Deduplicate {
    plan: DeduplicatePlan,
    memory: Memory,
}

/// The rows that passed.
#[derive(Debug)]
enum Memory {
    ForEver(KeyedState<Seen>),
    Within(Recent),
}

/// A key that was there once.
#[derive(Clone, Debug)]
struct Seen;

impl StateValue for Seen {
    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(Self)
    }
}

/// The times of rows that passed, and are not forgotten.
///
/// Those of one key are at least `within` apart. So if time is cut into pieces of that length, there is one in a piece at
/// most, and what is less than `within` away is in the same piece or in one beside it: an entry is found by key and piece.
#[derive(Debug)]
struct Recent {
    within_us: i64,
    passed: KeyedState<EventTime>,
    timers: Timers,
}

impl Build for Deduplicate {
    type Plan = DeduplicatePlan;

    fn build(_: &Node, plan: &DeduplicatePlan, _: Guests, seed: u64) -> Result<Self> {
        let memory = match plan.within_us {
            None => Memory::ForEver(KeyedState::new(seed)),
            Some(within_us) => Memory::Within(Recent {
                within_us,
                passed: KeyedState::new(seed),
                timers: Timers::default(),
            }),
        };
        let plan = plan.clone();
        Ok(Self { plan, memory })
    }
}

impl Operator for Deduplicate {
    fn process(&mut self, inputs: Inputs<'_>) -> Result<Outputs, ProcessError> {
        let input = inputs.one()?;
        let keys = input.pick(&self.plan.key);
        let (mut passed, mut late) = (Vec::new(), Vec::new());
        match &mut self.memory {
            Memory::ForEver(seen) => pass_first(seen, input, &keys, &mut passed),
            Memory::Within(recent) => recent.pass(input, &keys, inputs.followed()?, &mut passed, &mut late),
        }
        let rows = [&passed, &late].into_iter().zip(&self.plan.passed);
        let rows: Vec<Batch> = rows.map(|(rows, columns)| input.rows_of(rows, columns)).collect();
        let passed = rows.first().map(|passed| passed.deliveries.clone());
        let passed = passed.or_defect(|| "a step that drops twins has no output".to_owned())?;
        let applied = vec![Applied::Only(passed)];
        Ok(Outputs::new(rows, applied))
    }

    fn replan(&mut self, node: &Node) -> Result<()> {
        self.plan = node.operator_plan::<DeduplicatePlan>()?.clone();
        Ok(())
    }
}

/// The rows whose keys were not there before go to `passed`.
fn pass_first(seen: &mut KeyedState<Seen>, input: &Batch, keys: &[&Column], passed: &mut Vec<u32>) {
    let mut ahead = Keys::default();
    while let Some(rows) = seen.next_rows(&mut ahead, input.len(), |key, row| push_key(key, keys, row)) {
        for row in rows {
            seen.modify_next(&mut ahead, |_, current| {
                let is_first = current.is_none();
                if is_first {
                    *current = Some(Seen);
                    passed.push(row as u32);
                }
                is_first
            });
        }
    }
}

impl Recent {
    /// Rows that are no twins go to `passed`, and those that came too late to tell to `late`.
    fn pass(
        &mut self,
        input: &Batch,
        keys: &[&Column],
        progress: &WatermarkProgress<'_>,
        passed: &mut Vec<u32>,
        late: &mut Vec<u32>,
    ) {
        let (mut cursor, mut watermark_us) = (progress.cursor(), progress.before_us());
        let (mut ahead, mut key) = (Keys::default(), Vec::new());
        let push = |recent: &Self, ahead: &mut Keys, row: usize| {
            let delivery = input.delivery(row);
            for piece in recent.pieces(progress.time_us(delivery)) {
                ahead.push(|key| push_entry_key(key, keys, row, piece));
            }
            1
        };
        while let Some(rows) = self
            .passed
            .next_rows_of(&mut ahead, input.len(), |ahead, row| push(self, ahead, row))
        {
            for (row, delivery) in input.rows_in(rows) {
                while let Some((_, moved_us)) = cursor.next_before(delivery) {
                    self.forget(moved_us);
                    watermark_us = moved_us;
                }
                let time_us = progress.time_us(delivery);
                if time_us < watermark_us {
                    late.push(row as u32);
                    continue;
                }
                let pieces = self.pieces(time_us);
                let is_twin = pieces.iter().any(|&piece| {
                    key.clear();
                    push_entry_key(&mut key, keys, row, piece);
                    let passed = self.passed.get(&key);
                    passed.is_some_and(|passed| passed.0.abs_diff(time_us) < self.within_us.unsigned_abs())
                });
                if !is_twin {
                    let [_, own, _] = pieces;
                    key.clear();
                    push_entry_key(&mut key, keys, row, own);
                    self.passed.modify(&key, |current| {
                        *current = Some(EventTime(time_us));
                        true
                    });
                    self.timers.add(time_us.saturating_add(self.within_us), &key);
                    passed.push(row as u32);
                }
            }
        }
        while let Some((_, moved_us)) = cursor.next_move() {
            self.forget(moved_us);
        }
    }

    /// The piece of time that an instant is in, between those beside it.
    fn pieces(&self, time_us: i64) -> [i64; 3] {
        let own = time_us.div_euclid(self.within_us.max(1));
        [own.saturating_sub(1), own, own.saturating_add(1)]
    }

    /// The watermark moved: forgets the rows that it is `within` past.
    fn forget(&mut self, watermark_us: i64) {
        while let Some((_, keys)) = self.timers.take_due(watermark_us) {
            for key in keys {
                self.passed.modify(&key, |current| {
                    // After a rollback another row may have passed in its place.
                    let goes = |time: &EventTime| time.0.saturating_add(self.within_us) <= watermark_us;
                    current.take_if(|time| goes(time)).is_some()
                });
            }
        }
    }

    /// Makes sure that a row is forgotten when it is time.
    fn expect(&mut self, key: &[u8]) {
        if let Some(time) = self.passed.get(key) {
            self.timers.add_again(time.0.saturating_add(self.within_us), key);
        }
    }
}

fn push_entry_key(key: &mut Vec<u8>, keys: &[&Column], row: usize, piece: i64) {
    push_key(key, keys, row);
    push_key_cell(key, Value::Int(piece));
}

impl Stateful for Deduplicate {
    fn rollback(&mut self) {
        match &mut self.memory {
            Memory::ForEver(seen) => seen.rollback(|_, _| {}),
            Memory::Within(recent) => {
                let mut back: Vec<Box<[u8]>> = Vec::new();
                recent.passed.rollback(|key, live| {
                    if live {
                        back.push(key.into());
                    }
                });
                back.iter().for_each(|key| recent.expect(key));
            }
        }
    }

    fn held_times(&self, _: &str) -> Option<HeldTimes> {
        // Pieces of time are numbered, whatever they are measured in.
        matches!(self.memory, Memory::Within(_)).then(HeldTimes::first_in_values)
    }

    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        let state: &mut dyn StateMap = match &mut self.memory {
            Memory::ForEver(seen) => seen,
            Memory::Within(recent) => &mut recent.passed,
        };
        vec![("passed", state)]
    }

    fn restored(&mut self) {
        if let Memory::Within(recent) = &mut self.memory {
            let keys: Vec<Box<[u8]>> = recent.passed.iter().map(|(key, _)| key.into()).collect();
            keys.iter().for_each(|key| recent.expect(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::operator::testing::Tested;

    const ORDERS: &str = "id = \"text\", amount = \"int\"";

    #[test]
    fn the_first_row_of_a_key_passes() {
        let step = "step = [{ name = \"first\", deduplicate = { key = [\"id\"] } }]\nsink = [{ table = \"orders\" }]";
        let mut first = Tested::new(ORDERS, step);
        first.check(
            "#  kind  id  amount
             1  +     a   10
             2  +     a   11
             3  +     .   12
             4  +     .   13",
            "1  +     a   10
             3  +     .   12",
        );
        first.restart();
        first.check(
            "#  kind  id  amount
             5  +     a   14
             6  +     b   15",
            "6  +     b   15",
        );
        first.replan("amount = \"int\", id = \"text\"", step);
        first.check(
            "#  kind  id  amount
             7  +     b   16
             8  +     c   17",
            "8  +     17  c",
        );
    }

    #[test]
    fn within_a_time_a_row_is_forgotten_and_what_comes_before_that_is_late() {
        let step = "step = [{ name = \"first\", deduplicate = { key = [\"id\"], within = \"1 s\" } }]
                    sink = [{ table = \"orders\", from = \"first\" }, { table = \"late\", from = \"first.late\" }]";
        let mut first = Tested::new(ORDERS, step);
        first.check(
            "#  kind  id  amount  ms
             1  +     a   10      1000
             2  +     a   11      1999
             3  +     a   12      2999
             4  +     b   13      2998",
            "out  1  +  a  10
             out  3  +  a  12
             late 4  +  b  13",
        );
        assert_eq!(first.entries(), 1, "the row of event 1 is forgotten");
    }
}
