//! Joins of two edges: what they read of each, and where it lies.

use super::{NodeKind, OutputPort, Wiring};
use crate::{
    plan::{IntervalJoinPlan, JoinSidePlan},
    planner::{ResolvedIntervalJoin, ResolvedNode},
};
use std::collections::BTreeSet;

/// The columns that the step reads of each edge, where `wanted` are those that are read of its outputs.
pub(super) fn reads(
    node: &ResolvedNode,
    join: &ResolvedIntervalJoin,
    wanted: &[BTreeSet<String>],
) -> Vec<(OutputPort, BTreeSet<String>)> {
    let of = |output: usize| wanted.get(output).into_iter().flatten();
    let is_added = |name: &&String| join.added.contains(name);
    let own = of(0).filter(|name| !is_added(name)).chain(of(1));
    let with = of(0).filter(is_added).chain(of(2));
    let (own_key, with_key): (Vec<&String>, Vec<&String>) = join.on.iter().map(|(own, with)| (own, with)).unzip();
    vec![
        (node.input, own.chain(own_key).cloned().collect()),
        (join.with, with.chain(with_key).cloned().collect()),
    ]
}

impl Wiring<'_> {
    pub(super) fn interval_join(&self, at: usize, input: OutputPort, join: &ResolvedIntervalJoin) -> NodeKind {
        let names = |output: usize| {
            let held = self.schema(OutputPort { node: at, output });
            held.iter().map(|field| &field.name)
        };
        let is_added = |name: &&String| join.added.contains(name);
        NodeKind::IntervalJoin(IntervalJoinPlan {
            with_port: join.with,
            own: JoinSidePlan {
                key: self.indices(input, join.on.iter().map(|(own, _)| own)),
                held: self.indices(input, names(0).filter(|name| !is_added(name))),
                late: self.indices(input, names(1)),
            },
            with: JoinSidePlan {
                key: self.indices(join.with, join.on.iter().map(|(_, with)| with)),
                held: self.indices(join.with, names(0).filter(is_added)),
                late: self.indices(join.with, names(2)),
            },
            earliest_us: join.earliest_us,
            latest_us: join.latest_us,
        })
    }
}
