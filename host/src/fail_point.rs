//! Places at which a test lets the process die, as a power cut would.
//!
//! They are there under the feature `fail-points` alone, which the tests of this workspace turn on; without it a point is
//! nothing. The variable `WEIR_FAIL_POINTS` says where to die: `in-commit=4` is at the fourth commit, when its rows are
//! written and nothing is committed.

#[cfg(not(feature = "fail-points"))]
pub(crate) use disabled::{number, pass};
#[cfg(feature = "fail-points")]
pub(crate) use enabled::{number, pass};

#[cfg(feature = "fail-points")]
pub use enabled::{GUEST_POINTS, POINTS, SWAP_POINTS};

#[cfg(not(feature = "fail-points"))]
mod disabled {
    #[inline(always)]
    pub(crate) fn pass(_: &str) {}

    #[inline(always)]
    pub(crate) fn number(_: &str, usual: u64) -> u64 {
        usual
    }
}

#[cfg(feature = "fail-points")]
mod enabled {
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };

    /// What the variable says: points with the passes that are left, and bounds. `NAME=NUMBER`, separated by commas.
    static CONFIGURED: LazyLock<Vec<(String, AtomicU64)>> = LazyLock::new(|| {
        let text = std::env::var("WEIR_FAIL_POINTS").unwrap_or_default();
        let each = text.split(',').filter_map(|entry| entry.split_once('='));
        each.filter_map(|(name, number)| Some((name.to_owned(), AtomicU64::new(number.parse().ok()?))))
            .collect()
    });

    /// The points, in the order in which a process comes by them.
    pub const POINTS: [&str; 22] = [
        // A database is opened, and its state read.
        "opening",
        "opened",
        "claimed",
        "restoring",
        "restored",
        // The publisher finds what an earlier process published.
        "forget-published",
        // A turn is committed. All but the first and the last two stand within its transaction.
        "before-commit",
        "before-compaction",
        "in-compaction",
        "after-compaction",
        "in-commit",
        "before-truncation",
        "after-truncation",
        "after-commit",
        "after-ack",
        // Beside commits.
        "before-checkpoint",
        "after-checkpoint",
        // The outbox is emptied.
        "before-publish",
        "between-publishes",
        "after-publish",
        "in-remove",
        "after-remove",
    ];

    /// Points that a process comes by where another version of a rule takes over, or is to.
    pub const SWAP_POINTS: [&str; 13] = [
        // A changed pipeline file takes over at a rule over a changelog, at the start.
        "before-file-swap",
        "after-file-swap",
        // Current rows are judged beside the data path: it has begun, some of them were handed over, the thread judged some,
        // and all is judged.
        "rehearsing",
        "in-hand-over",
        "in-rehearsal",
        "rehearsed",
        // The engine passes on the rows that differ: the rule is in its place, and the rows have passed.
        "before-rejudged",
        "after-rejudged",
        // A version on trial has failed on a row of a changelog, and the others are to be judged back.
        "judging-back",
        // A turn is committed in which something happened to versions: any, one that is refused, one that is taken back.
        "in-swap",
        "in-refusal",
        "in-take-back",
        "after-swap",
    ];

    /// Points within work for a guest, as a defect of the engine would show: where it describes itself, is told its
    /// parameters, and traps. A rule that traps where a test wants it to decides over the last.
    pub const GUEST_POINTS: [&str; 3] = ["in-describe", "in-configure", "in-trap"];

    /// Dies here if this is the pass that is wanted.
    pub(crate) fn pass(point: &'static str) {
        let mut listed = POINTS.iter().chain(&SWAP_POINTS).chain(&GUEST_POINTS);
        let is_listed = listed.any(|listed| *listed == point);
        debug_assert!(is_listed, "{point} is listed");
        if let Some(left) = configured(point)
            && left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            die();
        }
    }

    /// A bound in place of the usual one, where a test says so.
    pub(crate) fn number(bound: &'static str, usual: u64) -> u64 {
        configured(bound).map_or(usual, |number| number.load(Ordering::Relaxed))
    }

    fn configured(name: &str) -> Option<&'static AtomicU64> {
        let found = CONFIGURED.iter().find(|(known, _)| known == name);
        found.map(|(_, number)| number)
    }

    /// Nothing is flushed, dropped or said.
    fn die() {
        let _ = kill_process(getpid(), Signal::KILL);
        // The signal may find another thread of the process first. This one does nothing more.
        loop {
            std::thread::park();
        }
    }
}
