//! The watermark: how far event time has come.
//!
//! It follows the events one by one: after each, it is the latest event time so far less the out-of-orderness that the
//! pipeline allows. Nothing else moves it, so that a replay meets it at the same place of the stream. An event that was
//! rejected has no effect, and does not move it either.
//!
//! - A row is late when its time is before the watermark as it was when the row's event came.
//! - A window ends as soon as the watermark is at its end or after it, right after the event that moved it there.
//! - An event whose time is more than `ahead_max` after its store time moves it only as far as that.
//! - A tick counts as an event of the time at which it was stored.
//! - Restart: the latest event time is state, so nothing changes.

use super::{StateMap, Stateful};
use crate::{
    delivery::Deliveries,
    plan::EventTimePlan,
    state::{KeyedState, StateValue},
};
use std::ops::Range;

/// Before the first event.
const NEVER_MS: i64 = i64::MIN;

/// Follows the events of a pipeline.
#[derive(Debug)]
pub struct Clock {
    plan: EventTimePlan,
    /// One entry.
    latest: KeyedState<EventTime>,
}

/// An event time, in milliseconds since 1970-01-01T00:00:00Z.
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
    /// A clock that has seen no event.
    pub fn new(plan: EventTimePlan, seed: u64) -> Self {
        Self {
            plan,
            latest: KeyedState::new(seed),
        }
    }

    /// Goes over the deliveries of `range` that are `alive`, and gives how the watermark moves among them.
    pub fn pass<'a>(
        &mut self,
        deliveries: &'a Deliveries,
        range: Range<u32>,
        alive: impl Fn(u32) -> bool,
    ) -> Passage<'a> {
        let before_ms = self.latest.get(&[]).map_or(NEVER_MS, |latest| latest.0);
        let (mut latest_ms, mut moves) = (before_ms, Vec::new());
        for delivery in range {
            let mut time_ms = deliveries.event_time_ms(delivery);
            if let (Some(ahead_ms), Some(stored_ms)) = (self.plan.ahead_max_ms, deliveries.store_time_ms(delivery)) {
                time_ms = time_ms.min(stored_ms.saturating_add(ahead_ms));
            }
            if time_ms > latest_ms && alive(delivery) {
                latest_ms = time_ms;
                moves.push((delivery, self.watermark_ms(time_ms)));
            }
        }
        if latest_ms > before_ms {
            self.latest.modify(&[], |latest| {
                *latest = Some(EventTime(latest_ms));
                true
            });
        }
        Passage {
            deliveries,
            before_ms: self.watermark_ms(before_ms),
            moves,
        }
    }

    fn watermark_ms(&self, latest_ms: i64) -> i64 {
        latest_ms.saturating_sub(self.plan.out_of_orderness_ms)
    }
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

    /// The sequence of a delivery.
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
