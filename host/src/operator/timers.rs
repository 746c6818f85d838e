//! Timers: which keys are due when event time gets somewhere.
//!
//! They are made of the state and kept beside it. A key that went meanwhile, or has a later time, may still be in here:
//! whoever is told of it looks. A key that is added again for the same time is in once: after each rollback all keys that
//! were touched are added, and of those most are in.

use hashbrown::HashSet;
use std::collections::BTreeMap;

/// Keys by the time at which they are due.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<i64, HashSet<Box<[u8]>>>,
}

impl Timers {
    /// Adds a key that is due at `time_ms`.
    pub(super) fn add(&mut self, time_ms: i64, key: &[u8]) {
        let keys = self.due.entry(time_ms).or_default();
        if !keys.contains(key) {
            keys.insert(key.into());
        }
    }

    /// Whether anything may be due at this watermark.
    #[inline]
    pub(super) fn is_due(&self, watermark_ms: i64) -> bool {
        self.due
            .first_key_value()
            .is_some_and(|(&time_ms, _)| time_ms <= watermark_ms)
    }

    /// Takes the keys that are due first, if they are by now: their time, and each of them once, in order.
    pub(super) fn take_due(&mut self, watermark_ms: i64) -> Option<(i64, Vec<Box<[u8]>>)> {
        if !self.is_due(watermark_ms) {
            return None;
        }
        let (time_ms, keys) = self.due.pop_first()?;
        let mut keys: Vec<Box<[u8]>> = keys.into_iter().collect();
        keys.sort_unstable();
        Some((time_ms, keys))
    }
}
