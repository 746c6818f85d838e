//! Events that happened out of order, and where the watermark stands among them.

use proptest::prelude::*;

/// By how much an event may be older than one before it, in the pipelines of these tests.
pub(crate) const OUT_OF_ORDERNESS_MS: i64 = 7;

/// Times that go on as a whole, and back and forth one by one: some of them too late.
pub(crate) fn times(most: usize) -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(-12i64..16, 0..most).prop_map(|jumps| {
        let at = |(at, jump): (usize, i64)| 3 * at as i64 - 20 + jump;
        jumps.into_iter().enumerate().map(at).collect()
    })
}

/// What event time is when an event comes, and once it was there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// When the event happened.
    pub(crate) time_ms: i64,
    pub(crate) before_ms: i64,
    pub(crate) after_ms: i64,
}

impl Mark {
    pub(crate) fn is_late(self) -> bool {
        self.time_ms < self.before_ms
    }

    /// When a row of the event touches its key.
    pub(crate) fn touch_ms(self) -> i64 {
        self.time_ms.max(self.before_ms)
    }
}

pub(crate) fn marks(times: &[i64]) -> Vec<Mark> {
    let watermark = |events: usize| {
        let latest = times[..events].iter().max();
        latest.map_or(i64::MIN, |latest| latest - OUT_OF_ORDERNESS_MS)
    };
    let mark = |(at, &time_ms): (usize, &i64)| Mark {
        time_ms,
        before_ms: watermark(at),
        after_ms: watermark(at + 1),
    };
    times.iter().enumerate().map(mark).collect()
}
