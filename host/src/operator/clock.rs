//! The watermark: how far event time has come.
//!
//! It follows the events one by one: after each, it is the latest event time so far less the out-of-orderness that the
//! pipeline allows. Nothing else moves it, so that a replay meets it at the same place of the stream. An event that was
//! rejected has no effect, and does not move it either.
//!
//! - A row is late when its time is before the watermark as it was when the row's event came.
//! - A window ends as soon as the watermark is at its end or after it, right after the event that moved it there.
//! - An event whose time is more than `ahead_max` after its store time moves nothing, and is counted.
//! - Of several inputs the one that is furthest behind counts, so that the rows of none are late for being of it. One
//!   that had no event for `idle_after` is not waited for, until it has one again: by the store times of the events, never
//!   by a clock. The watermark never goes back.
//! - A tick counts as an event of all inputs, of the time at which it was stored.
//! - Restart: the latest event times are state, so nothing changes.

use super::{StateMap, Stateful, held_times::HeldTimes};
use crate::{
    model::{
        batch::Batch,
        delivery::Deliveries,
        ids::{Id, IdVec, InputId},
    },
    plan::{EventTimePlan, MS_US, ms_in_us},
    state::{KeyedState, StateValue},
};
use std::ops::Range;

/// Before the first event.
const NEVER_US: i64 = i64::MIN;
const NEVER_MS: i64 = i64::MIN;

/// The key of the watermark; an input's is its number.
const WATERMARK: [u8; 2] = [0xff; 2];

/// Follows the events of a pipeline.
#[derive(Debug)]
pub struct Clock {
    plan: EventTimePlan,
    inputs: usize,
    /// By input; and the watermark.
    latest: KeyedState<Latest>,
    /// How many events were too far ahead since they were asked for, and up to the savepoint.
    ahead: u64,
    ahead_before: u64,
}

/// How far an input has come.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Latest {
    /// The latest event time, in microseconds since 1970-01-01T00:00:00Z.
    event_us: i64,
    /// When the last event was stored, in milliseconds; before there was one, when the first event of any input was.
    stored_ms: i64,
}

const NEVER: Latest = Latest {
    event_us: NEVER_US,
    stored_ms: NEVER_MS,
};

impl StateValue for Latest {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.event_us.to_le_bytes());
        bytes.extend_from_slice(&self.stored_ms.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (event_us, stored_ms) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            event_us: i64::from_le_bytes(*event_us),
            stored_ms: i64::from_le_bytes(stored_ms.try_into().ok()?),
        })
    }
}

/// An event time as the value of a state, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventTime(pub(super) i64);

impl StateValue for EventTime {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.0.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self(i64::from_le_bytes(bytes.try_into().ok()?)))
    }
}

impl Clock {
    /// A clock that has seen no event of so many inputs.
    pub fn new(plan: EventTimePlan, inputs: usize, seed: u64) -> Self {
        Self {
            plan,
            inputs,
            latest: KeyedState::new(seed),
            ahead: 0,
            ahead_before: 0,
        }
    }

    /// Where the watermark stands; [`i64::MIN`] before the first event.
    pub fn watermark_us(&self) -> i64 {
        self.get(WATERMARK).event_us
    }

    /// The same in milliseconds; nothing before the first event.
    pub fn watermark_ms(&self) -> Option<i64> {
        let watermark_us = Some(self.watermark_us()).filter(|&event_us| event_us != NEVER_US);
        watermark_us.map(|watermark_us| watermark_us.div_euclid(MS_US))
    }

    /// How many events were too far ahead to move anything, since the last call.
    pub fn take_ahead(&mut self) -> u64 {
        std::mem::take(&mut self.ahead)
    }

    /// The progress where nothing moves.
    pub fn still<'a>(&self, deliveries: &'a Deliveries) -> WatermarkProgress<'a> {
        WatermarkProgress {
            deliveries,
            before_us: self.watermark_us(),
            moves: Vec::new(),
        }
    }

    /// Goes over the deliveries of `range` that are `alive`, and gives how the watermark moves among them. `events` are
    /// those of each input; what is of none of them is a tick.
    pub fn pass<'a>(
        &mut self,
        deliveries: &'a Deliveries,
        range: Range<u32>,
        events: &IdVec<InputId, Batch>,
        alive: impl Fn(u32) -> bool,
    ) -> WatermarkProgress<'a> {
        let inputs = (0..self.inputs).map(InputId::of);
        let before: IdVec<InputId, Latest> = inputs.map(|input| self.get(key_of(input))).collect();
        let before_us = self.get(WATERMARK).event_us;
        let (mut inputs, mut watermark_us, mut moves) = (before.clone(), before_us, Vec::new());
        let mut events = events.map(|_, events| events.deliveries.as_slice());
        for delivery in range {
            let mut input = None;
            for (id, events) in events.iter_mut_enumerated() {
                // A delivery may be several events of its input.
                while let Some((&first, rest)) = events.split_first()
                    && first <= delivery
                {
                    if first == delivery {
                        input = Some(id);
                    }
                    *events = rest;
                }
            }
            if !alive(delivery) {
                continue;
            }
            self.follow(deliveries, delivery, input, &mut inputs);
            let reached_us = self.reached_us(&inputs, deliveries.store_time_ms(delivery));
            if reached_us > watermark_us {
                watermark_us = reached_us;
                moves.push((delivery, watermark_us));
            }
        }
        for ((input, before), after) in before.iter_enumerated().zip(&inputs) {
            self.set(key_of(input), *before, *after);
        }
        let watermark = |event_us| Latest { event_us, ..NEVER };
        self.set(WATERMARK, watermark(before_us), watermark(watermark_us));
        WatermarkProgress {
            deliveries,
            before_us,
            moves,
        }
    }

    /// An event of one input, or a tick, which is of all.
    fn follow(
        &mut self,
        deliveries: &Deliveries,
        delivery: u32,
        input: Option<InputId>,
        inputs: &mut IdVec<InputId, Latest>,
    ) {
        let event_us = deliveries.event_time_us(delivery);
        let stored_ms = deliveries.store_time_ms(delivery);
        let is_believed = match (self.plan.ahead_max_us, stored_ms) {
            (Some(ahead_us), Some(stored_ms)) => event_us <= ms_in_us(stored_ms).saturating_add(ahead_us),
            _ => true,
        };
        self.ahead += u64::from(!is_believed);
        for (id, latest) in inputs.iter_mut_enumerated() {
            let is_of_it = input.is_none_or(|input| input == id);
            if is_of_it && is_believed {
                latest.event_us = latest.event_us.max(event_us);
            }
            // Only where it is asked for: it changes with each event.
            if self.plan.idle_after_us.is_some()
                && let Some(stored_ms) = stored_ms
                && (is_of_it || latest.stored_ms == NEVER_MS)
            {
                // A dead letter that is retried was stored long before: its input is not idle for that.
                latest.stored_ms = latest.stored_ms.max(stored_ms);
            }
        }
    }

    /// Where the inputs have come to that are not idle when something is stored at `stored_ms`.
    fn reached_us(&self, inputs: &IdVec<InputId, Latest>, stored_ms: Option<i64>) -> i64 {
        let is_idle = |latest: &&Latest| match (self.plan.idle_after_us, stored_ms) {
            (Some(idle_us), Some(stored_ms)) => ms_in_us(stored_ms.saturating_sub(latest.stored_ms)) > idle_us,
            _ => false,
        };
        let busy = inputs.iter().filter(|latest| !is_idle(latest));
        let latest_us = busy.map(|latest| latest.event_us).min().unwrap_or(NEVER_US);
        latest_us.saturating_sub(self.plan.out_of_orderness_us)
    }

    fn get(&self, key: [u8; 2]) -> Latest {
        self.latest.get(&key).copied().unwrap_or(NEVER)
    }

    fn set(&mut self, key: [u8; 2], before: Latest, after: Latest) {
        if after != before {
            self.latest.modify(&key, |latest| {
                *latest = Some(after);
                true
            });
        }
    }
}

fn key_of(input: InputId) -> [u8; 2] {
    (input.number() as u16).to_be_bytes()
}

impl Stateful for Clock {
    fn savepoint(&mut self) {
        self.ahead_before = self.ahead;
        self.latest.savepoint();
    }

    fn release(&mut self) {
        self.latest.release();
    }

    fn rollback(&mut self) {
        self.ahead = self.ahead_before;
        self.latest.rollback(|_, _| {});
    }

    fn held_times(&self, _: &str) -> Option<HeldTimes> {
        Some(HeldTimes::first_in_values())
    }

    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        vec![("latest", &mut self.latest)]
    }
}

/// The event times of some deliveries, and how the watermark moves among them.
#[derive(Debug)]
pub struct WatermarkProgress<'a> {
    deliveries: &'a Deliveries,
    before_us: i64,
    /// The deliveries that moved it, ascending, and where to.
    moves: Vec<(u32, i64)>,
}

impl WatermarkProgress<'_> {
    /// When a delivery happened.
    #[inline]
    pub fn time_us(&self, delivery: u32) -> i64 {
        self.deliveries.event_time_us(delivery)
    }

    /// "Now" of a delivery.
    pub fn now_ms(&self, delivery: u32) -> i64 {
        self.deliveries.time_ms(delivery)
    }

    /// The stream sequence of a delivery.
    pub fn sequence(&self, delivery: u32) -> u64 {
        self.deliveries.sequence(delivery)
    }

    /// The watermark before the first of the deliveries.
    pub fn before_us(&self) -> i64 {
        self.before_us
    }

    /// The watermark behind the last of the deliveries.
    pub fn after_us(&self) -> i64 {
        self.moves
            .last()
            .map_or(self.before_us, |&(_, watermark_us)| watermark_us)
    }

    /// The first delivery that moved the watermark.
    pub fn first(&self) -> Option<u32> {
        self.moves.first().map(|&(mover, _)| mover)
    }

    /// The delivery that moved the watermark to `time_us` or beyond, and where it stood before all of them where that is so far.
    pub fn reached(&self, time_us: i64) -> Reached {
        if time_us <= self.before_us {
            return Reached::Before;
        }
        let at = self.moves.partition_point(|&(_, watermark_us)| watermark_us < time_us);
        self.moves
            .get(at)
            .map_or(Reached::Later, |&(mover, _)| Reached::By(mover))
    }

    /// The moves, from the first on.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor {
            moves: self.moves.as_slice(),
        }
    }
}

/// When the watermark passes a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Before the first of the deliveries.
    Before,
    /// By this delivery.
    By(u32),
    /// Behind all of them.
    Later,
}

/// The moves of a watermark that are still to come.
#[derive(Debug)]
pub struct Cursor<'a> {
    moves: &'a [(u32, i64)],
}

impl Cursor<'_> {
    /// The next move, if it comes before `delivery`: the delivery that made it, and the watermark from there on.
    #[inline]
    pub fn next_before(&mut self, delivery: u32) -> Option<(u32, i64)> {
        let (&first, rest) = self.moves.split_first()?;
        if first.0 >= delivery {
            return None;
        }
        self.moves = rest;
        Some(first)
    }

    /// The next move.
    pub fn next_move(&mut self) -> Option<(u32, i64)> {
        let (&first, rest) = self.moves.split_first()?;
        self.moves = rest;
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::delivery::{DeliveryTimes, Kept, Message},
        plan::SECOND_US,
    };

    /// Where the watermark goes with events at these seconds, all of them stored at second 0 and in order.
    fn moves(clock: &mut Clock, seconds: &[i64]) -> Vec<(u32, i64)> {
        let mut deliveries = Deliveries::default();
        for (number, second) in seconds.iter().enumerate() {
            let times = DeliveryTimes {
                now_ms: 0,
                event_us: second * SECOND_US,
                store_ms: Some(0),
            };
            deliveries.push(
                &Message {
                    sequence: number as u64 + 1,
                    ..Message::default()
                },
                times,
                Kept::default(),
            );
        }
        let events = Batch {
            columns: Vec::new(),
            deliveries: (0..seconds.len() as u32).collect(),
            kinds: None,
            lineage: None,
        };
        let progress = clock.pass(&deliveries, 0..seconds.len() as u32, &vec![events].into(), |_| true);
        let mut cursor = progress.cursor();
        std::iter::from_fn(|| cursor.next_move())
            .map(|(delivery, watermark_us)| (delivery, watermark_us / SECOND_US))
            .collect()
    }

    #[test]
    fn an_event_that_is_too_far_ahead_moves_nothing() {
        let plan = EventTimePlan {
            ahead_max_us: Some(60 * SECOND_US),
            ..EventTimePlan::default()
        };
        let mut clock = Clock::new(plan, 1, 7);
        assert_eq!(
            moves(&mut clock, &[1, 86_400, 2, 60, 61, 59]),
            [(0, 1), (2, 2), (3, 60)]
        );
        assert_eq!(clock.take_ahead(), 2);
        // What is undone was not counted.
        clock.savepoint();
        assert_eq!(moves(&mut clock, &[90]), []);
        clock.rollback();
        assert_eq!(clock.take_ahead(), 0);
    }
}
