//! Folding the state log: each turn writes some buckets whole, so that old rows of the log can go.
//!
//! The share is set by what turns appended: a byte of log pays for a byte of snapshot. A bucket that is larger than what
//! there is to pay with is paid for by the turns to come, and turns that append little save up for [`FOLD_BYTES_MIN`]. So
//! the log never grows beyond about the size of the state, writing costs at most twice what it would without compaction, and
//! a pipeline with a large state where little comes writes little.

use crate::{
    limits::{FOLD_BYTES_MIN, STATE_BUCKETS},
    model::turn::Snapshot,
    operator::StateMap,
};

/// Which bucket of which state was written last, and when.
#[derive(Debug, Default)]
pub(super) struct LogCompaction {
    /// For each state and bucket: the turn of its last snapshot, and whether that held anything.
    buckets: Vec<(u64, bool)>,
    next: usize,
    /// What the log pays for; below zero, what it has to pay back.
    credit_bytes: i64,
}

impl LogCompaction {
    /// The snapshots to write in turn `number`, which appends `log_bytes`, and the turn up to which the log is obsolete.
    pub(super) fn advance(
        &mut self,
        number: u64,
        log_bytes: usize,
        states: &[(String, &mut dyn StateMap)],
    ) -> (Vec<Snapshot>, u64) {
        // After a restart it is not known which buckets have an older snapshot, so empty ones are written as well.
        self.buckets.resize(states.len() * STATE_BUCKETS, (0, true));
        self.credit_bytes = self.credit_bytes.saturating_add(log_bytes as i64);
        let mut snapshots = Vec::new();
        let is_time = self.credit_bytes >= FOLD_BYTES_MIN;
        for _ in 0..self.buckets.len() {
            if !is_time || self.credit_bytes <= 0 {
                break;
            }
            let at = self.next;
            self.next = (at + 1) % self.buckets.len();
            let (Some((name, state)), Some(bucket)) = (states.get(at / STATE_BUCKETS), self.buckets.get_mut(at)) else {
                break;
            };
            let entries = state.log_bucket(at % STATE_BUCKETS);
            self.credit_bytes -= entries.len() as i64;
            if !entries.is_empty() || bucket.1 {
                *bucket = (number, !entries.is_empty());
                snapshots.push(Snapshot {
                    state: name.clone(),
                    bucket: at % STATE_BUCKETS,
                    entries,
                });
            } else {
                bucket.0 = number;
            }
        }
        if is_time {
            // All of the state is written, and there is something left.
            self.credit_bytes = self.credit_bytes.min(0);
        }
        // A row of the log is obsolete once every bucket was written at or after it.
        let obsolete = self.buckets.iter().map(|(number, _)| *number).min().unwrap_or(number);
        (snapshots, obsolete)
    }
}
