//! The timer of a key.

use crate::EventTime;

/// The timer of a key: the point of event time for which it waits, if it waits for one. A key has one timer.
///
/// A keyed function takes it as `timers: &mut Timers`. When the watermark of the pipeline has passed the time, the host
/// calls `on_timer`: no row with an earlier event time is expected any more.
///
/// ```
/// use std::time::Duration;
/// use weir_guest::{EventTime, Timers};
///
/// let at = EventTime::from_ms(0);
/// let mut timers = Timers::default();
/// assert_eq!(timers.get(), None);
/// timers.set(at);
/// timers.set(at + Duration::from_secs(60)); // in place of the one before
/// assert_eq!(timers.get(), Some(EventTime::from_ms(60_000)));
/// timers.clear();
/// assert_eq!(timers.get(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    at_us: i64,
}

/// By the contract.
const WAITS_FOR_NONE: i64 = i64::MAX;

/// No timer.
impl Default for Timers {
    fn default() -> Timers {
        Timers::from_us(WAITS_FOR_NONE)
    }
}

impl Timers {
    /// Waits for this time, in place of the one before.
    ///
    /// A time that the watermark has passed already comes as soon as it can. In `on_timer` the time has to be later than
    /// the one that has come.
    pub fn set(&mut self, at: impl Into<EventTime>) {
        self.at_us = at.into().us();
    }

    /// Waits for no time any more.
    pub fn clear(&mut self) {
        self.at_us = WAITS_FOR_NONE;
    }

    /// The time for which the key waits.
    pub fn get(&self) -> Option<EventTime> {
        (self.at_us != WAITS_FOR_NONE).then_some(EventTime::from_us(self.at_us))
    }

    /// As the contract has it.
    #[inline(always)]
    pub(crate) fn from_us(at_us: i64) -> Timers {
        Timers { at_us }
    }

    #[inline(always)]
    pub(crate) fn us(self) -> i64 {
        self.at_us
    }
}
