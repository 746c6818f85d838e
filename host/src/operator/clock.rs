//! The watermark: how far event time has come.
//!
//! It follows the events one by one: after each, it is the latest event time so far less the out-of-orderness that the
//! pipeline allows. Nothing else moves it, so that a replay meets it at the same place of the stream. An event that was
//! rejected has no effect, and does not move it either.
//!
//! - A row is late when its time is before the watermark as it was when the row's event came.
//! - A window ends as soon as the watermark is at its end or after it, right after the event that moved it there.
//! - An event whose time is more than `ahead_max` after its store time moves it only as far as that.
//! - Of several inputs the one that is furthest behind counts, so that the rows of none are late for being of it. One
//!   that had no event for `idle_after` is not waited for, until it has one again: by the store times of the events, never
//!   by a clock. The watermark never goes back.
//! - A tick counts as an event of all inputs, of the time at which it was stored.
//! - Restart: the latest event times are state, so nothing changes.

use super::{StateMap, Stateful};
use crate::{
    column::Batch,
    delivery::Deliveries,
    plan::EventTimePlan,
    state::{KeyedState, StateValue},
};
use std::ops::Range;

/// Before the first event.
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
}

/// How far an input has come, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Latest {
    /// The latest event time.
    event_ms: i64,
    /// When the last event was stored; before there was one, when the first event of any input was.
    stored_ms: i64,
}

const NEVER: Latest = Latest {
    event_ms: NEVER_MS,
    stored_ms: NEVER_MS,
};

impl StateValue for Latest {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.event_ms.to_le_bytes());
        bytes.extend_from_slice(&self.stored_ms.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (event_ms, stored_ms) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            event_ms: i64::from_le_bytes(*event_ms),
            stored_ms: i64::from_le_bytes(stored_ms.try_into().ok()?),
        })
    }
}

/// An event time as the value of a state, in milliseconds since 1970-01-01T00:00:00Z.
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
        }
    }

    /// Where the watermark stands; nothing before the first event.
    pub fn watermark_ms(&self) -> Option<i64> {
        Some(self.get(WATERMARK).event_ms).filter(|&event_ms| event_ms != NEVER_MS)
    }

    /// Goes over the deliveries of `range` that are `alive`, and gives how the watermark moves among them. `events` are
    /// those of each input; what is of none of them is a tick.
    pub fn pass<'a>(
        &mut self,
        deliveries: &'a Deliveries,
        range: Range<u32>,
        events: &[Batch],
        alive: impl Fn(u32) -> bool,
    ) -> Passage<'a> {
        let before: Vec<Latest> = (0..self.inputs).map(|input| self.get(key_of(input))).collect();
        let before_ms = self.get(WATERMARK).event_ms;
        let (mut inputs, mut watermark_ms, mut moves) = (before.clone(), before_ms, Vec::new());
        let mut events: Vec<&[u32]> = events.iter().map(|events| events.deliveries.as_slice()).collect();
        for delivery in range {
            let mut input = None;
            for (number, events) in events.iter_mut().enumerate() {
                // A delivery may be several events of its input.
                while let Some((&first, rest)) = events.split_first()
                    && first <= delivery
                {
                    if first == delivery {
                        input = Some(number);
                    }
                    *events = rest;
                }
            }
            if !alive(delivery) {
                continue;
            }
            self.follow(deliveries, delivery, input, &mut inputs);
            let reached_ms = self.reached_ms(&inputs, deliveries.store_time_ms(delivery));
            if reached_ms > watermark_ms {
                watermark_ms = reached_ms;
                moves.push((delivery, watermark_ms));
            }
        }
        for (number, (before, after)) in before.iter().zip(&inputs).enumerate() {
            self.set(key_of(number), *before, *after);
        }
        let watermark = |event_ms| Latest { event_ms, ..NEVER };
        self.set(WATERMARK, watermark(before_ms), watermark(watermark_ms));
        Passage {
            deliveries,
            before_ms,
            moves,
        }
    }

    /// An event of one input, or a tick, which is of all.
    fn follow(&self, deliveries: &Deliveries, delivery: u32, input: Option<usize>, inputs: &mut [Latest]) {
        let mut event_ms = deliveries.event_time_ms(delivery);
        let stored_ms = deliveries.store_time_ms(delivery);
        if let (Some(ahead_ms), Some(stored_ms)) = (self.plan.ahead_max_ms, stored_ms) {
            event_ms = event_ms.min(stored_ms.saturating_add(ahead_ms));
        }
        for (number, latest) in inputs.iter_mut().enumerate() {
            let is_of_it = input.is_none_or(|input| input == number);
            if is_of_it {
                latest.event_ms = latest.event_ms.max(event_ms);
            }
            // Only where it is asked for: it changes with each event.
            if self.plan.idle_after_ms.is_some()
                && let Some(stored_ms) = stored_ms
                && (is_of_it || latest.stored_ms == NEVER_MS)
            {
                // A dead letter that is retried was stored long before: its input is not idle for that.
                latest.stored_ms = latest.stored_ms.max(stored_ms);
            }
        }
    }

    /// Where the inputs have come to that are not idle when something is stored at `stored_ms`.
    fn reached_ms(&self, inputs: &[Latest], stored_ms: Option<i64>) -> i64 {
        let is_idle = |latest: &&Latest| match (self.plan.idle_after_ms, stored_ms) {
            (Some(idle_ms), Some(stored_ms)) => stored_ms.saturating_sub(latest.stored_ms) > idle_ms,
            _ => false,
        };
        let busy = inputs.iter().filter(|latest| !is_idle(latest));
        let latest_ms = busy.map(|latest| latest.event_ms).min().unwrap_or(NEVER_MS);
        latest_ms.saturating_sub(self.plan.out_of_orderness_ms)
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

fn key_of(input: usize) -> [u8; 2] {
    (input as u16).to_be_bytes()
}

impl Stateful for Clock {
    fn checkpoint(&mut self) {
        self.latest.checkpoint();
    }

    fn keep(&mut self) {
        self.latest.keep();
    }

    fn rollback(&mut self) {
        self.latest.rollback(|_, _| {});
    }

    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        vec![("latest", &mut self.latest)]
    }
}

/// The event times of some deliveries, and how the watermark moves among them.
#[derive(Debug)]
pub struct Passage<'a> {
    deliveries: &'a Deliveries,
    before_ms: i64,
    /// The deliveries that moved it, ascending, and where to.
    moves: Vec<(u32, i64)>,
}

impl Passage<'_> {
    /// When a delivery happened.
    #[inline]
    pub fn time_ms(&self, delivery: u32) -> i64 {
        self.deliveries.event_time_ms(delivery)
    }

    /// The stream sequence of a delivery.
    pub fn sequence(&self, delivery: u32) -> u64 {
        self.deliveries.sequence(delivery)
    }

    /// The watermark before the first of the deliveries.
    pub fn before_ms(&self) -> i64 {
        self.before_ms
    }

    /// The moves, from the first on.
    pub fn walk(&self) -> Walk<'_> {
        Walk {
            moves: self.moves.as_slice(),
        }
    }
}

/// The moves of a watermark that are still to come.
#[derive(Debug)]
pub struct Walk<'a> {
    moves: &'a [(u32, i64)],
}

impl Walk<'_> {
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
