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
    /// What was taken since the savepoint, with its time.
    taken: Option<Vec<(i64, Box<[u8]>)>>,
}

#[derive(Debug, Default)]
struct Due {
    keys: Vec<Box<[u8]>>,
    /// How many of them were added that may have been in.
    again: usize,
    /// Whether they are in order, the last one first, and each of them once.
    sorted: bool,
}

impl Timers {
    /// Adds a key that is due at `time_us`.
    pub(super) fn add(&mut self, time_us: i64, key: &[u8]) {
        self.due.entry(time_us).or_default().push(key);
    }

    /// Adds a key that may be in already for that time: after each rollback all keys that were touched are added, and of
    /// those most are in.
    pub(super) fn add_again(&mut self, time_us: i64, key: &[u8]) {
        let due = self.due.entry(time_us).or_default();
        due.push(key);
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
        self.take_some_due(watermark_us, usize::MAX)
    }

    /// The same, and no more of them than `at_most`.
    pub(super) fn take_some_due(&mut self, watermark_us: i64, at_most: usize) -> Option<(i64, Vec<Box<[u8]>>)> {
        let mut first = self.due.first_entry()?;
        let time_us = *first.key();
        if time_us > watermark_us || at_most == 0 {
            return None;
        }
        let due = first.get_mut();
        due.sort();
        let mut keys = due.keys.split_off(due.keys.len().saturating_sub(at_most));
        if due.keys.is_empty() {
            first.remove();
        }
        keys.reverse();
        if let Some(taken) = &mut self.taken {
            taken.extend(keys.iter().map(|key| (time_us, key.clone())));
        }
        Some((time_us, keys))
    }

    /// Starts to keep what is taken, for an operator whose state does not always change when a key is due: a rollback of the
    /// state does not touch such a key.
    pub(super) fn savepoint(&mut self) {
        self.taken = Some(Vec::new());
    }

    /// What was taken since the savepoint stays taken.
    pub(super) fn release(&mut self) {
        self.taken = None;
    }

    /// Adds what was taken since the savepoint once more. What was added since then stays: it is due for nothing.
    pub(super) fn rollback(&mut self) {
        for (time_us, key) in self.taken.take().unwrap_or_default() {
            self.add_again(time_us, &key);
        }
    }
}

impl Due {
    fn push(&mut self, key: &[u8]) {
        self.keys.push(key.into());
        self.sorted = false;
    }

    /// Brings the keys in order, the last one first, each of them once.
    fn sort(&mut self) {
        if !std::mem::replace(&mut self.sorted, true) {
            self.keys.sort_unstable_by(|a, b| b.cmp(a));
            self.keys.dedup();
        }
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

    #[test]
    fn keys_that_are_due_at_once_are_taken_in_pieces_in_order() {
        let mut timers = Timers::default();
        for key in [3, 1, 4, 1, 5, 9, 2, 6] {
            timers.add(7, &[key]);
        }
        timers.add(8, &[0]);
        let mut take = |watermark_us, at_most| {
            let taken = timers.take_some_due(watermark_us, at_most);
            taken.map(|(time_us, keys)| (time_us, keys.concat()))
        };
        assert_eq!(take(6, 3), None);
        assert_eq!(take(8, 0), None);
        assert_eq!(take(8, 3), Some((7, vec![1, 2, 3])));
        assert_eq!(take(8, 3), Some((7, vec![4, 5, 6])));
        assert_eq!(take(8, 3), Some((7, vec![9])));
        assert_eq!(take(8, 3), Some((8, vec![0])));
        assert_eq!(take(8, 3), None);
    }
}
