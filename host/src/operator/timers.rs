//! Timers: which keys are due when event time gets somewhere.
//!
//! They are made of the state and kept beside it. A key that went meanwhile, or has a later time, may still be in here:
//! whoever is told of it looks.

use std::collections::BTreeMap;

/// How many keys may be in twice before they are looked for.
const AGAIN_MIN: usize = 1024;

/// Keys by the time at which they are due.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<i64, Due>,
}

#[derive(Debug, Default)]
struct Due {
    keys: Vec<Box<[u8]>>,
    /// How many of them were added that may have been in.
    again: usize,
}

impl Timers {
    /// Adds a key that is due at `time_us`.
    pub(super) fn add(&mut self, time_us: i64, key: &[u8]) {
        self.due.entry(time_us).or_default().keys.push(key.into());
    }

    /// Adds a key that may be in already for that time: after each rollback all keys that were touched are added, and of
    /// those most are in.
    pub(super) fn add_again(&mut self, time_us: i64, key: &[u8]) {
        let due = self.due.entry(time_us).or_default();
        due.keys.push(key.into());
        due.again += 1;
        if due.again > AGAIN_MIN.max(due.keys.len() / 2) {
            due.sort();
        }
    }

    /// Whether anything may be due at this watermark.
    #[inline]
    pub(super) fn is_due(&self, watermark_us: i64) -> bool {
        self.due
            .first_key_value()
            .is_some_and(|(&time_us, _)| time_us <= watermark_us)
    }

    /// Takes the keys that are due first, if they are by now: their time, and each of them once, in order.
    pub(super) fn take_due(&mut self, watermark_us: i64) -> Option<(i64, Vec<Box<[u8]>>)> {
        if !self.is_due(watermark_us) {
            return None;
        }
        let (time_us, mut due) = self.due.pop_first()?;
        due.sort();
        Some((time_us, due.keys))
    }
}

impl Due {
    /// Brings the keys in order, each of them once.
    fn sort(&mut self) {
        self.keys.sort_unstable();
        self.keys.dedup();
        self.again = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_added_again_and_again_are_held_few_times() {
        let mut timers = Timers::default();
        for key in 0..100u8 {
            timers.add(7, &[key]);
        }
        for _ in 0..1_000 {
            for key in 0..100u8 {
                timers.add_again(7, &[key]);
            }
            let held: usize = timers.due.values().map(|due| due.keys.len()).sum();
            assert!(held <= 100 + AGAIN_MIN + 1, "{held}");
        }
        let (time_us, keys) = timers.take_due(7).expect("they are due");
        assert_eq!((time_us, keys.len()), (7, 100));
        assert!(keys.is_sorted() && timers.take_due(i64::MAX).is_none());
    }
}
