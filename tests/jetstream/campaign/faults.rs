//! The faults of a campaign, as a seed chooses them.

use std::collections::BTreeMap;
use weir::fail_point::{POINTS, SWAP_POINTS};
use weir_tests::seed::Random;

/// Faults of which one is a kill of the server.
const FAULTS_PER_SERVER_KILL: usize = 12;

/// What is done to the processes.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// `weir run` is killed so long after its start, or after both pipelines run.
    Signal { after_start: bool, pause_us: usize },
    /// `weir run` dies at this pass of a fail point.
    Point { point: &'static str, pass: usize },
    /// The server is killed while both pipelines run, and with it, perhaps, `weir run`.
    Server { pause_us: usize, weir_too: bool },
}

impl Fault {
    /// The point that something is to die at.
    pub(super) fn point(&self) -> Option<&'static str> {
        match self {
            Self::Point { point, .. } => Some(point),
            _ => None,
        }
    }
}

/// All points.
pub(super) fn points() -> Vec<&'static str> {
    POINTS.into_iter().chain(SWAP_POINTS).collect()
}

/// So many faults: each point about as often as any other.
pub(super) fn chosen(random: &mut Random, count: usize) -> Vec<Fault> {
    let mut tried: BTreeMap<&str, usize> = BTreeMap::new();
    let mut faults = Vec::with_capacity(count);
    while faults.len() < count {
        if random.once_in(FAULTS_PER_SERVER_KILL) {
            let (pause_us, weir_too) = (random.below(100_000), random.once_in(2));
            faults.push(Fault::Server { pause_us, weir_too });
            continue;
        }
        if random.once_in(3) {
            let after_start = !random.once_in(4);
            let most = [2_000, 20_000, 200_000][random.below(3)];
            let pause_us = random.below(most);
            faults.push(Fault::Signal { after_start, pause_us });
            continue;
        }
        let point = match random.once_in(3) {
            true => random.pick(&points()),
            false => {
                let tries = |point: &&str| tried.get(*point).copied().unwrap_or_default();
                points().into_iter().min_by_key(tries).unwrap_or_default()
            }
        };
        *tried.entry(point).or_default() += 1;
        faults.extend(at(point, random));
    }
    faults
}

/// A death at a point, after another one where it needs that.
pub(super) fn at(point: &'static str, random: &mut Random) -> Vec<Fault> {
    let passes = match point {
        "opening" | "opened" | "claimed" | "restored" => 2,
        "forget-published" => 1,
        "in-hand-over" => 256,
        "in-rehearsal" => 8,
        point if SWAP_POINTS.contains(&point) => 1,
        "restoring" | "in-compaction" => 50,
        "between-publishes" => 20,
        "before-checkpoint" | "after-checkpoint" => 3,
        "before-truncation" | "after-truncation" => 1,
        _ => 10,
    };
    // What was published and not removed is what the next start finds.
    let before = (point == "forget-published").then_some("after-publish");
    let points = before.into_iter().chain([point]);
    let fault = |point| Fault::Point {
        point,
        pass: 1 + random.below(passes),
    };
    points.map(fault).collect()
}

/// Whether a process comes by a point only when it starts.
pub(super) fn is_of_start(point: &str) -> bool {
    [
        "opening",
        "opened",
        "claimed",
        "restoring",
        "restored",
        "before-file-swap",
        "after-file-swap",
        "forget-published",
    ]
    .contains(&point)
}
