//! Folding the state log: each turn writes some buckets whole, so that old rows of the log can go.
//!
//! The share is set by what the turn itself appended: a byte of log pays for a byte of snapshot. So the log never grows
//! beyond about the size of the state, writing costs at most twice what it would without folding, and an idle pipeline
//! with a large state writes little.

use crate::{limits::STATE_BUCKETS, operator::StateMap, turn::Snapshot};

/// Which bucket of which state was written last, and when.
#[derive(Debug, Default)]
pub(super) struct Fold {
    /// For each state and bucket: the epoch of its last snapshot, and whether that held anything.
    buckets: Vec<(u64, bool)>,
    next: usize,
    credit_bytes: usize,
}

impl Fold {
    /// The snapshots to write in turn `epoch`, which appends `log_bytes`, and the epoch up to which the log is obsolete.
    pub(super) fn advance(
        &mut self,
        epoch: u64,
        log_bytes: usize,
        states: &[(String, &mut dyn StateMap)],
    ) -> (Vec<Snapshot>, u64) {
        // After a restart it is not known which buckets have an older snapshot, so empty ones are written as well.
        self.buckets.resize(states.len() * STATE_BUCKETS, (0, true));
        self.credit_bytes += log_bytes;
        let mut snapshots = Vec::new();
        for _ in 0..self.buckets.len() {
            if self.credit_bytes == 0 {
                break;
            }
            let at = self.next;
            self.next = (at + 1) % self.buckets.len();
            let (Some((name, state)), Some(bucket)) = (states.get(at / STATE_BUCKETS), self.buckets.get_mut(at)) else {
                break;
            };
            let entries = state.log_bucket(at % STATE_BUCKETS);
            self.credit_bytes = self.credit_bytes.saturating_sub(entries.len());
            if !entries.is_empty() || bucket.1 {
                *bucket = (epoch, !entries.is_empty());
                snapshots.push(Snapshot {
                    state: name.clone(),
                    bucket: at % STATE_BUCKETS,
                    entries,
                });
            } else {
                bucket.0 = epoch;
            }
        }
        // A row of the log is obsolete once every bucket was written at or after it.
        let obsolete = self.buckets.iter().map(|(epoch, _)| *epoch).min().unwrap_or(epoch);
        (snapshots, obsolete)
    }
}
