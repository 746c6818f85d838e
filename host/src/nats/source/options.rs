//! What a source reads, and where it begins and ends.

use crate::{
    model::delivery::Scanned,
    plan::{TickPlan, TombstonePlan},
};

/// What to do about messages that were removed from the stream before they were processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Stop with an error.
    Refuse,
    /// Say so, and go on after it.
    Accept,
}

/// What to read.
#[derive(Clone, Debug)]
pub struct JetStreamSourceOptions {
    /// The stream.
    pub stream: String,
    /// The subjects within it, which do not overlap.
    pub subjects: Vec<String>,
    /// The consumer to read with.
    pub consumer: Consumer,
    /// The last sequence that the database holds.
    pub position: u64,
    /// How far the stream was looked at, as the database knows; nothing where it is a new one.
    pub scanned: Scanned,
    /// Whether the latest message of each subject is all that counts, so that none is missed that was replaced.
    pub latest_only: bool,
    /// How messages that say that a key was deleted become events, where the latest message of each is all that counts.
    pub tombstones: Option<TombstonePlan>,
    /// What to do about removed messages.
    pub gap: Gap,
    /// Where to end.
    pub until: Until,
    /// Whether messages may be ticks.
    pub has_ticks: bool,
    /// What to publish while the stream is silent.
    pub ticks: Option<TickPlan>,
}

/// The consumer to read with, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consumer {
    /// One that stays, and is told of each commit.
    Durable(String),
    /// One that is there for this source alone, and goes with it.
    Ephemeral(String),
}

impl Consumer {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Durable(name) | Self::Ephemeral(name) => name,
        }
    }
}

/// Where a source ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When it is asked to.
    Stopped,
    /// When everything that is stored now was given.
    CaughtUp,
    /// After this sequence, which is stored now, or its place.
    Sequence(u64),
}
