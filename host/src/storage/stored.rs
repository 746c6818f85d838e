//! Where a pipeline stands.

use crate::model::{
    delivery::Scanned,
    turn::{Counts, Turn},
};

/// What the last commit of a pipeline left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredPipeline {
    /// The source that it was filled from; absent before the first start.
    pub source: Option<String>,
    /// The last stream sequence whose effects are committed; 0 for none.
    pub position: u64,
    /// The number of the last turn.
    pub turn: u64,
    /// For a file: the hash of all bytes up to and with the line `position`.
    pub content_hash: u64,
    /// Seeds the hashes of keys; 0 before the first start.
    pub seed: u64,
    /// What became of all deliveries so far.
    pub counts: Counts,
    /// Dead letters, and rows among them, that somebody dropped: the others are all kept.
    pub dropped: u64,
    /// How far its stream was looked at; 0 before anything was, and for a file.
    pub scanned: Scanned,
}

impl StoredPipeline {
    /// Where it stands after a turn.
    pub(super) fn after(&self, turn: &Turn) -> Self {
        let mut stored = self.clone();
        stored.turn = turn.number;
        // Dead letters that are retried have no position: theirs are below it.
        stored.position = turn.position.max(stored.position);
        if turn.position > 0 {
            stored.content_hash = turn.receipt.content_hash;
        }
        if turn.scanned.through > 0 {
            stored.scanned = turn.scanned;
        }
        stored.counts = stored.counts.without_letters(turn.retried.len() as u64);
        stored.counts += turn.counts;
        stored
    }
}

/// What becomes of messages to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// They are written to the outbox, in the transaction of their turn.
    Outbox,
    /// They are counted and dropped: a replay tells nobody.
    Drop,
}
