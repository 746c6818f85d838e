//! Steps that pass rows on: what they read, and where it lies.

use super::{NodeKind, OutputPort, Wiring};
use crate::{
    model::column::Field,
    plan::{DeduplicatePlan, OnCrossingPlan, TemporalJoinPlan, UnionPlan},
    planner::{ResolvedDeduplicate, ResolvedKind, ResolvedNode, ResolvedOnCrossing, ResolvedTemporalJoin},
};
use std::collections::BTreeSet;

/// The columns that the step reads of each edge, where `wanted` are those that are read of its outputs.
pub(super) fn reads(node: &ResolvedNode, wanted: &[BTreeSet<String>]) -> Vec<(OutputPort, BTreeSet<String>)> {
    let passed = wanted.iter().flatten().cloned();
    match &node.kind {
        ResolvedKind::OnCrossing(on_crossing) => {
            let own = on_crossing
                .key
                .iter()
                .chain(&on_crossing.raise)
                .chain(&on_crossing.hold);
            vec![(node.input, passed.chain(own.cloned()).collect())]
        }
        ResolvedKind::Deduplicate(deduplicate) => {
            vec![(node.input, passed.chain(deduplicate.key.iter().cloned()).collect())]
        }
        ResolvedKind::TemporalJoin(lookup) => {
            let of = |output: usize| wanted.get(output).into_iter().flatten();
            let (added, rest): (Vec<&String>, Vec<&String>) = of(0).partition(|name| lookup.added.contains(name));
            let rows = rest.into_iter().chain(of(1)).chain(&lookup.on);
            let versions = added.into_iter().chain(of(2)).chain(&lookup.version_key);
            vec![
                (node.input, rows.cloned().collect()),
                (lookup.versions, versions.cloned().collect()),
            ]
        }
        ResolvedKind::Union { .. } => {
            let passed: BTreeSet<String> = passed.collect();
            node.inputs().map(|port| (port, passed.clone())).collect()
        }
        _ => Vec::new(),
    }
}

impl Wiring<'_> {
    pub(super) fn on_crossing(&self, at: usize, input: OutputPort, on_crossing: &ResolvedOnCrossing) -> NodeKind {
        let flag = |name: &Option<String>| name.as_ref().map(|name| self.index(input, name));
        NodeKind::OnCrossing(OnCrossingPlan {
            key: self.indices(input, &on_crossing.key),
            raise: flag(&on_crossing.raise),
            hold: flag(&on_crossing.hold),
            retracts: on_crossing.retracts,
            ttl_us: on_crossing.ttl_us,
            passed: [self.passed(at, 0, input), self.passed(at, 1, input)],
        })
    }

    pub(super) fn deduplicate(&self, at: usize, node: &ResolvedNode, deduplicate: &ResolvedDeduplicate) -> NodeKind {
        let outputs = 0..node.outputs.len();
        NodeKind::Deduplicate(DeduplicatePlan {
            key: self.indices(node.input, &deduplicate.key),
            within_us: deduplicate.within_us,
            passed: outputs.map(|output| self.passed(at, output, node.input)).collect(),
        })
    }

    pub(super) fn temporal_join(&self, at: usize, input: OutputPort, lookup: &ResolvedTemporalJoin) -> NodeKind {
        let held = self.schema(OutputPort { node: at, output: 0 });
        let (added, passed): (Vec<&Field>, Vec<&Field>) =
            held.iter().partition(|field| lookup.added.contains(&field.name));
        let names = |fields: Vec<&Field>| -> Vec<String> { fields.iter().map(|field| field.name.clone()).collect() };
        NodeKind::TemporalJoin(Box::new(TemporalJoinPlan {
            versions: lookup.versions,
            on: self.indices(input, &lookup.on),
            version_key: self.indices(lookup.versions, &lookup.version_key),
            passed: self.indices(input, &names(passed)),
            added: self.indices(lookup.versions, &names(added)),
            late: self.passed(at, 1, input),
            late_versions: self.passed(at, 2, lookup.versions),
            ttl_us: lookup.ttl_us,
        }))
    }

    pub(super) fn union(&self, at: usize, node: &ResolvedNode) -> NodeKind {
        NodeKind::Union(UnionPlan {
            others: node.inputs().skip(1).collect(),
            columns: node.inputs().map(|port| self.passed(at, 0, port)).collect(),
        })
    }

    /// For each column of an output of step `at` the column of `edge` that has its name.
    fn passed(&self, at: usize, output: usize, port: OutputPort) -> Vec<usize> {
        let held: &[Field] = self.schema(OutputPort { node: at, output });
        self.indices(port, held.iter().map(|field| &field.name))
    }
}
