//! What befalls a stream, a consumer, an outgoing message and a database, as a seed chooses it.

use weir::fail_point::POINTS;
use weir_tests::seed::Random;

/// Hazards of which one comes with more messages than a consumer is asked for at once.
const HAZARDS_PER_FLOOD: usize = 40;

/// What befalls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hazard {
    /// Nothing: events come in.
    Events,
    /// Messages are removed which were not read.
    Removed(When, How),
    /// Somebody pauses the consumers.
    Paused,
    /// Somebody edits the consumers.
    Edited(Edit),
    /// The stream of the outgoing messages takes none for a while.
    Refused(Refusal),
    /// A reader begins a transaction that stays until the next one comes.
    Reader,
}

/// What the process does when messages are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Down,
    Stopped,
    Reading,
}

/// How they are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// More come than the stream keeps.
    Limit,
    /// All of them.
    Purge,
    /// The oldest ones.
    PurgeBelow,
    /// Some, each by itself.
    Deletions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    Filter,
    HeadersOnly,
    MaxDeliver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Full,
    TooSmall,
}

/// All of them, each about as often as any other.
const HAZARDS: [Hazard; 20] = [
    Hazard::Events,
    Hazard::Removed(When::Down, How::Limit),
    Hazard::Removed(When::Down, How::Purge),
    Hazard::Removed(When::Down, How::PurgeBelow),
    Hazard::Removed(When::Down, How::Deletions),
    Hazard::Removed(When::Stopped, How::Limit),
    Hazard::Removed(When::Stopped, How::Purge),
    Hazard::Removed(When::Stopped, How::PurgeBelow),
    Hazard::Removed(When::Stopped, How::Deletions),
    Hazard::Removed(When::Reading, How::Limit),
    Hazard::Removed(When::Reading, How::Purge),
    Hazard::Removed(When::Reading, How::PurgeBelow),
    Hazard::Removed(When::Reading, How::Deletions),
    Hazard::Paused,
    Hazard::Edited(Edit::Filter),
    Hazard::Edited(Edit::HeadersOnly),
    Hazard::Edited(Edit::MaxDeliver),
    Hazard::Refused(Refusal::Full),
    Hazard::Refused(Refusal::TooSmall),
    Hazard::Reader,
];

/// A hazard, and how the process that meets it is killed.
#[derive(Clone, Debug)]
pub(super) struct Strike {
    pub(super) hazard: Hazard,
    pub(super) kill: Kill,
    /// Which of the two databases the process has.
    pub(super) side: usize,
    /// A process over the other one runs meanwhile.
    pub(super) is_accompanied: bool,
    /// More messages come than a consumer is asked for at once.
    pub(super) is_flood: bool,
}

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kill {
    /// So long after the hazard.
    Moment { pause_us: usize },
    /// At this pass of a fail point, or when it is done.
    Point { point: &'static str, pass: usize },
    /// When it is done.
    Rest,
}

/// The next strike; `number` are behind it.
pub(super) fn next(random: &mut Random, number: usize) -> Strike {
    let kill = match random.below(5) {
        0 => Kill::Rest,
        1 | 2 => {
            let most = [2_000, 20_000, 200_000][random.below(3)];
            let pause_us = random.below(most);
            Kill::Moment { pause_us }
        }
        _ => Kill::Point {
            point: random.pick(&POINTS),
            pass: 1 + random.below(3),
        },
    };
    Strike {
        // In another order each time round, so that each follows any other.
        hazard: HAZARDS[(number + random.below(3) * 7) % HAZARDS.len()],
        kill,
        side: random.below(2),
        is_accompanied: random.once_in(2),
        is_flood: random.once_in(HAZARDS_PER_FLOOD),
    }
}
