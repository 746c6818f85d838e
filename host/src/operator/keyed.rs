//! `keyed`: a function of the user's own takes rows in with what it remembers of their key, and can wait for a time.
//!
//! - Emits: what the function gives for a row, at once; and what it gives when the watermark passes the time for which a key
//!   waits, right behind the event that moved it there: in the order of the times, then of the keys.
//! - A key waits for one time at most. One that is set for a time that the watermark has passed comes right behind the event
//!   that set it.
//! - Order: arrival. Rows that are late are rows like others: the function decides.
//! - A row that the function refuses is told to the caller, and nothing is taken in. A time of which it can make nothing passes
//!   without an effect, and is a dead letter of its own.
//! - Rows of other keys, and where a batch ends, make no difference: the function is asked of the rows of many keys at once, up
//!   to the next time that comes for each, and again where a row sets a time that comes before the next row of its key.
//! - Restart: the state holds what is remembered of each key and the time for which it waits, so nothing changes. A key of which
//!   nothing is remembered and that waits for nothing is forgotten.

mod lanes;
mod rows;

use super::{
    Applied, Build, DeadTimers, Inputs, Operator, Outputs, ProcessError, StateMap, Stateful,
    clock::WatermarkProgress,
    guests::{Guests, RejectedByGuest},
    timers::Timers,
};
use crate::{
    error::Result,
    limits::{BATCH_EVENTS_MAX, TIMERS_AT_ONCE_MAX},
    model::{
        batch::Batch,
        column::{Column, ColumnType, Field, Value},
        guest::{DueKeys, NO_TIMER, OutputRows, RejectedInput, RowsOfKeys},
        keys::Keys,
        row::{cells, push_key, row_of_key},
    },
    plan::{Node, RunningKeyed},
    planner::keyed::KeyedPlan,
    state::{KeyedState, StateValue},
};
use lanes::{DeadTimer, Lane, Lanes, RowOfLane};
use rows::Collected;
use std::sync::Arc;

/// What is remembered of a key.
#[derive(Clone, Debug)]
struct Remembered {
    /// The time for which it waits; [`NO_TIMER`] where it waits for none.
    timer_us: i64,
    /// The time at which somebody looks whether it is due, if any: never later than `timer_us`. Not kept.
    looked_us: i64,
    state: Box<[u8]>,
}

impl Remembered {
    fn nothing() -> Self {
        Self {
            timer_us: NO_TIMER,
            looked_us: NO_TIMER,
            state: Box::default(),
        }
    }

    fn is_nothing(&self) -> bool {
        self.timer_us == NO_TIMER && self.state.is_empty()
    }
}

impl StateValue for Remembered {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.timer_us.to_le_bytes());
        bytes.extend_from_slice(&self.state);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (timer, state) = bytes.split_first_chunk()?;
        let timer_us = i64::from_le_bytes(*timer);
        Some(Self {
            timer_us,
            looked_us: timer_us,
            state: state.into(),
        })
    }

    fn touch(&self) -> u8 {
        self.state.first().copied().unwrap_or(0)
    }
}

/// The operator.
#[derive(Debug)]
pub struct Keyed {
    plan: KeyedPlan,
    /// The columns of each output, as it is held.
    types: Vec<Vec<ColumnType>>,
    function: Box<dyn RunningKeyed>,
    keys: KeyedState<Remembered>,
    timers: Timers,
}

impl Build for Keyed {
    type Plan = KeyedPlan;

    fn build(node: &Node, plan: &KeyedPlan, mut guests: Guests, seed: u64) -> Result<Self> {
        Ok(Self {
            plan: plan.clone(),
            types: types_of(node),
            function: guests.take_keyed()?,
            keys: KeyedState::new(seed),
            timers: Timers::default(),
        })
    }
}

fn types_of(node: &Node) -> Vec<Vec<ColumnType>> {
    let types = |schema: &[Field]| schema.iter().map(|field| field.column_type).collect();
    node.outputs.iter().map(|output| types(&output.schema)).collect()
}

impl Operator for Keyed {
    fn process(&mut self, inputs: Inputs<'_>) -> Result<Outputs, ProcessError> {
        let (input, progress) = (inputs.one()?, inputs.followed()?);
        let mut lanes = Lanes::new(input, progress);
        self.open_lanes(&mut lanes, progress);
        match self.run(&mut lanes) {
            Ok(collected) => {
                let rows = collected.finish(&self.plan, &self.types, &lanes);
                let dead = self.dead(lanes.take_dead());
                self.close(lanes);
                let applied = vec![Applied::All];
                Ok(Outputs { rows, applied, dead })
            }
            Err(refusal) => {
                // Nothing has happened but that somebody looked.
                lanes
                    .looked()
                    .for_each(|(time_us, key)| self.timers.add_again(time_us, key));
                Err(refusal.into())
            }
        }
    }

    fn replan(&mut self, node: &Node) -> Result<()> {
        self.plan = node.operator_plan::<KeyedPlan>()?.clone();
        self.types = types_of(node);
        Ok(())
    }
}

impl Keyed {
    /// Finds what is remembered of the keys of all rows, and of those whose time comes.
    fn open_lanes(&mut self, lanes: &mut Lanes<'_>, progress: &WatermarkProgress<'_>) {
        let input = lanes.input;
        let columns = input.pick(&self.plan.key);
        let mut ahead = Keys::default();
        while let Some(rows) = self
            .keys
            .next_rows(&mut ahead, input.len(), |key, row| push_key(key, &columns, row))
        {
            for row in rows {
                if let Some((key, held)) = self.keys.get_next(&mut ahead) {
                    lanes.add_row(row as u32, key, || held.cloned());
                }
            }
        }
        while let Some((time_us, keys)) = self.timers.take_due(progress.after_us()) {
            for key in keys {
                lanes.look(time_us, &key, || self.keys.get(&key).cloned());
            }
        }
    }

    /// Has the function take in all rows and times, and gives what came out.
    fn run(&mut self, lanes: &mut Lanes<'_>) -> Result<Collected, RejectedByGuest> {
        let mut collected = Collected::new(self.plan.outputs.len());
        let mut open: Vec<usize> = (0..lanes.len()).collect();
        loop {
            let of_lane = |lanes: &Lanes<'_>, lane: usize| Some((lane, lanes.due(lane)?));
            let mut due: Vec<(usize, u32)> = open.iter().filter_map(|&lane| of_lane(lanes, lane)).collect();
            while !due.is_empty() {
                for due in due.chunks(BATCH_EVENTS_MAX) {
                    self.fire(lanes, due, &mut collected);
                }
                due = due.iter().filter_map(|&(lane, _)| of_lane(lanes, lane)).collect();
            }
            open.retain(|&lane| lanes.has_rows(lane));
            if open.is_empty() {
                return Ok(collected);
            }
            self.take_rows(lanes, &open, &mut collected)?;
        }
    }

    /// The times of lanes come, each behind a delivery.
    fn fire(&mut self, lanes: &mut Lanes<'_>, due: &[(usize, u32)], collected: &mut Collected) {
        let mut due = due;
        while !due.is_empty() {
            let fired = {
                let states: Vec<&[u8]> = due.iter().map(|&(lane, _)| lanes.state(lane)).collect();
                let timers: Vec<i64> = due.iter().map(|&(lane, _)| lanes.timer(lane)).collect();
                self.function.on_timers(DueKeys {
                    states: &states,
                    timers: &timers,
                })
            };
            let done = fired.states.len().min(due.len());
            collected.add_fired(fired.outputs, due, lanes);
            for ((&(lane, delivery), state), timer_us) in due.iter().zip(fired.states).zip(fired.timers) {
                if !lanes.fired(lane, delivery, state, timer_us) {
                    let reason = format!(
                        "its timer came {TIMERS_AT_ONCE_MAX} times behind one event, which moved event time from one to the \
                         next; it is set no more"
                    );
                    lanes.bury(lane, delivery, self.refusal(0, reason, true));
                }
            }
            due = due.get(done..).unwrap_or_default();
            if let Some(RejectedInput { reason, failed, .. }) = fired.refused
                && let Some((&(lane, delivery), rest)) = due.split_first()
            {
                lanes.bury(lane, delivery, self.refusal(0, reason, failed));
                due = rest;
            }
        }
    }

    /// The rows of lanes come, up to the next time that comes for each.
    ///
    /// # Errors
    /// A row that the function refuses.
    fn take_rows(
        &mut self,
        lanes: &mut Lanes<'_>,
        open: &[usize],
        collected: &mut Collected,
    ) -> Result<(), RejectedByGuest> {
        let rows = lanes.next_rows(open);
        let given = self.ask(lanes, &rows)?;
        let cut = lanes.cut(&rows, &given.timers);
        collected.add_rows(given.outputs, &rows, lanes, |lane| !cut.contains_key(&lane));
        lanes.taken(&rows, &given.timers, given.states, |lane| !cut.contains_key(&lane));
        if cut.is_empty() {
            return Ok(());
        }
        // A row has set a time that comes before the next row of its key, which was taken in too early: up to there once more.
        lanes.slow_down(&cut);
        let again = rows.into_iter();
        let again = again.filter(|(row, lane)| cut.get(lane).is_some_and(|last| row <= last));
        let again: Vec<RowOfLane> = again.collect();
        let given = self.ask(lanes, &again)?;
        collected.add_rows(given.outputs, &again, lanes, |_| true);
        lanes.taken(&again, &given.timers, given.states, |_| true);
        Ok(())
    }

    /// Asks the function of rows.
    ///
    /// # Errors
    /// A row that it refuses.
    fn ask(&mut self, lanes: &Lanes<'_>, rows: &[RowOfLane]) -> Result<GivenOfRows, RejectedByGuest> {
        let (input, description) = (lanes.input, &self.plan.guest.module.description);
        let mut numbers: Vec<Option<u32>> = vec![None; lanes.len()];
        let (mut asked, mut keys) = (Vec::new(), Vec::with_capacity(rows.len()));
        for &(_, lane) in rows {
            let Some(number) = numbers.get_mut(lane) else { continue };
            keys.push(*number.get_or_insert_with(|| {
                asked.push(lane);
                asked.len() as u32 - 1
            }));
        }
        let states: Vec<&[u8]> = asked.iter().map(|&lane| lanes.state(lane)).collect();
        let timers: Vec<i64> = match description.timers {
            true => asked.iter().map(|&lane| lanes.timer(lane)).collect(),
            false => Vec::new(),
        };
        let numbers: Vec<u32> = rows.iter().map(|&(row, _)| row).collect();
        let deliveries = || numbers.iter().map(|&row| input.delivery(row as usize));
        let times_ms = match description.reads_time {
            true => deliveries().map(|delivery| lanes.progress.now_ms(delivery)).collect(),
            false => Vec::new(),
        };
        let event_times_us = match description.reads_event_time {
            true => deliveries().map(|delivery| lanes.progress.time_us(delivery)).collect(),
            false => Vec::new(),
        };
        let columns = input.pick(&self.plan.inputs);
        let parts: Vec<Column> = match numbers.len() == input.len() {
            true => Vec::new(),
            false => columns.iter().map(|column| column.gather(&numbers)).collect(),
        };
        let columns = match numbers.len() == input.len() {
            true => columns,
            false => parts.iter().collect(),
        };
        let given = self.function.process(RowsOfKeys {
            states: &states,
            timers: &timers,
            keys: &keys,
            times_ms: &times_ms,
            event_times_us: &event_times_us,
            columns: &columns,
        });
        if let Some(RejectedInput { reason, failed, .. }) = given.refused {
            let row = numbers.get(given.applied as usize).copied().unwrap_or_default();
            return Err(self.refusal(row, reason, failed));
        }
        Ok(GivenOfRows {
            states: asked.into_iter().zip(given.states).collect(),
            timers: given.timers,
            outputs: given.outputs,
        })
    }

    fn refusal(&self, row: u32, reason: String, failed: bool) -> RejectedByGuest {
        RejectedByGuest {
            row,
            module: self.plan.guest.module.digest.clone(),
            reason,
            failed,
        }
    }

    /// Writes down what is remembered of each key from now on.
    fn close(&mut self, lanes: Lanes<'_>) {
        for Lane {
            key,
            mut remembered,
            is_changed,
            ..
        } in lanes.into_lanes()
        {
            if remembered.timer_us < remembered.looked_us {
                remembered.looked_us = remembered.timer_us;
                self.timers.add(remembered.timer_us, &key);
            }
            self.keys.modify(&key, |held| {
                let is_there = held.is_some();
                *held = Some(remembered).filter(|remembered| !remembered.is_nothing());
                // When somebody looks is not written down.
                is_changed && (is_there || held.is_some())
            });
        }
    }

    /// The times of which the function could make nothing, as rows.
    fn dead(&self, dead: Vec<DeadTimer>) -> DeadTimers {
        if dead.is_empty() {
            return DeadTimers::default();
        }
        let mut schema = self.plan.key_fields.clone();
        schema.push(Field {
            name: TIMER.to_owned(),
            column_type: ColumnType::Timestamp,
            nullable: false,
        });
        let mut columns: Vec<Column> = schema
            .iter()
            .map(|field| Column::with_capacity(field.column_type, dead.len()))
            .collect();
        let (mut deliveries, mut why) = (Vec::new(), Vec::new());
        for timer in dead {
            let key = row_of_key(&timer.key);
            let values = cells(&key).chain([Value::Int(timer.time_us)]);
            columns
                .iter_mut()
                .zip(values)
                .for_each(|(column, value)| column.push(value));
            deliveries.push(timer.delivery);
            why.push(timer.why);
        }
        let rows = Batch {
            columns: columns.into_iter().map(Arc::new).collect(),
            deliveries,
            kinds: None,
            lineage: None,
        };
        DeadTimers { schema, rows, why }
    }
}

/// What the time is called in the dead letter of one.
const TIMER: &str = "timer";

/// What the function gave for rows.
struct GivenOfRows {
    /// The lanes of the rows, each with its state.
    states: Vec<(usize, Box<[u8]>)>,
    timers: Vec<i64>,
    outputs: Vec<OutputRows>,
}

impl Stateful for Keyed {
    fn rollback(&mut self) {
        let mut restored = Vec::new();
        self.keys.rollback(|key, is_there| {
            if is_there {
                restored.push(Box::from(key));
            }
        });
        for key in restored {
            self.look_again(&key);
        }
    }

    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        vec![("keys", &mut self.keys)]
    }

    fn restored(&mut self) {
        for (key, remembered) in self.keys.iter() {
            if remembered.timer_us != NO_TIMER {
                self.timers.add(remembered.timer_us, key);
            }
        }
    }
}

impl Keyed {
    /// Makes sure that somebody looks when the time comes for which a key waits that is what it was before.
    fn look_again(&mut self, key: &[u8]) {
        let timers = &mut self.timers;
        self.keys.modify(key, |held| {
            if let Some(held) = held {
                held.looked_us = held.timer_us;
                if held.timer_us != NO_TIMER {
                    timers.add_again(held.timer_us, key);
                }
            }
            false
        });
    }
}

#[cfg(test)]
mod tests;
