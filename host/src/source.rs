//! Sources: where deliveries come from, decoded as they come.

mod cursor;
pub mod file;
mod lag;
mod lines;
mod scan;

pub use cursor::{Cursor, Seen};
pub use lag::{Lag, Waiting};
pub use lines::{Event, EventLines};
pub use scan::{Gone, Scan, Stored};

use crate::{
    error::Result,
    format::Decoder,
    model::{
        delivery::{DecodedBatch, Receipt},
        deployment::Committed,
    },
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Deliveries in the order of their stream.
///
/// [`Source::next_batch`] is called from one thread, again and again until it gives nothing; [`Acknowledge`] is told of
/// commits from another.
pub trait Source: Send {
    /// The next batch; nothing at the end of the source, or once [`Stop`] was set.
    ///
    /// Sequences ascend strictly over all batches, and begin after the position that the source was opened at.
    ///
    /// # Errors
    /// When no more deliveries can be had and waiting will not help. Batches that were given before stay good.
    fn next_batch(&mut self) -> Result<Option<DecodedBatch>>;

    /// What it wants back when the pipeline ends at `position`, which lies within a batch that it gave.
    ///
    /// # Errors
    /// When it cannot be found out.
    fn receipt_at(&mut self, _position: u64) -> Result<Receipt> {
        Ok(Receipt::default())
    }

    /// Decodes by `decoder` from the next batch on.
    fn replace_decoder(&mut self, decoder: Decoder);
}

/// Hears of each commit.
pub trait Acknowledge: Send {
    /// Everything up to `position` is committed.
    fn committed(&mut self, position: u64, receipt: &Receipt);

    /// The commit changed versions of rules.
    fn versions_committed(&mut self, _: Committed) {}
}

/// Acknowledges nothing: for sources that keep no account.
#[derive(Clone, Copy, Debug)]
pub struct NoAcknowledge;

impl Acknowledge for NoAcknowledge {
    fn committed(&mut self, _: u64, _: &Receipt) {}
}

/// Asks a source to give what it has at once, if only an empty batch: somebody has something to send along with it.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<AtomicBool>);

impl Wake {
    /// Asks.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked since the last call.
    pub fn take(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

/// Asks a source to end. What it gave before is committed still.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
