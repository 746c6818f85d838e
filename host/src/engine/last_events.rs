//! By which event each current row of a changelog was changed last, where rules read it.
//!
//! A swap makes rows of a table out of current rows, and no event has a part in that. So that one can be told what such a row
//! stands on, the trace of the database has the last event of each current row, and, for each row of a table that reads a
//! rule and that a swap changed, the current row that it comes of.

use super::{
    Edges, Engine, Outcomes, of,
    passing::Differing,
    rules::{key_columns, path_of},
};
use crate::{
    error::Result,
    model::{
        delivery::Deliveries,
        ids::NodeId,
        moved::MovedInTable,
        row::{hash_of_key, push_key},
        turn::ChangelogTrace,
    },
    plan::{NodeKind, OutputPort, Plan, Target},
    sink::places,
};
use std::{collections::BTreeMap, mem};

/// What collects for the turn.
#[derive(Debug, Default)]
pub(super) struct LastEvents {
    /// Whether nobody keeps it.
    is_off: bool,
    changelogs: Vec<Changelog>,
}

/// A changelog of an operator that a rule reads.
#[derive(Debug)]
struct Changelog {
    port: OutputPort,
    trace: ChangelogTrace,
}

impl LastEvents {
    pub(super) fn of(plan: &Plan) -> Self {
        let mut changelogs: BTreeMap<(NodeId, usize), Changelog> = BTreeMap::new();
        let stages = plan.nodes.iter_enumerated();
        let stages = stages.filter(|(_, node)| matches!(node.kind, NodeKind::Stage(_)));
        for path in stages.filter_map(|(at, _)| path_of(plan, at)) {
            let first = path.first().and_then(|&first| plan.nodes.get(first));
            let Some(port) = first.map(|first| first.input) else {
                continue;
            };
            if let Some(operator) = plan.nodes.get(port.node) {
                changelogs.entry((port.node, port.output)).or_insert_with(|| Changelog {
                    port,
                    trace: ChangelogTrace::of(&operator.name),
                });
            }
        }
        Self {
            is_off: false,
            changelogs: changelogs.into_values().collect(),
        }
    }

    /// Goes on under another plan of the same pipeline.
    pub(super) fn follow(&mut self, plan: &Plan) {
        if self.is_off {
            return;
        }
        let mut before = mem::replace(self, Self::of(plan)).changelogs;
        for Changelog { trace, .. } in &mut self.changelogs {
            if let Some(before) = before.iter_mut().find(|before| before.trace.step == trace.step) {
                mem::swap(&mut before.trace, trace);
            }
        }
    }

    /// How many bytes wait for the turn.
    pub(super) fn bytes(&self) -> usize {
        self.changelogs.iter().map(|changelog| changelog.trace.bytes()).sum()
    }

    /// For turns that nobody keeps: no more is collected.
    pub(super) fn leave_out(&mut self) {
        *self = Self {
            is_off: true,
            ..Self::default()
        };
    }

    /// Hands over what there is for the turn.
    pub(super) fn take(&mut self) -> Vec<ChangelogTrace> {
        let traces = self.changelogs.iter_mut().map(|changelog| {
            let next = ChangelogTrace::of(&changelog.trace.step);
            mem::replace(&mut changelog.trace, next)
        });
        traces.filter(|trace| !trace.is_empty()).collect()
    }
}

impl Engine {
    /// Notes by which events a pass changed current rows.
    pub(super) fn note_last_events(
        &mut self,
        edges: &Edges,
        deliveries: &Deliveries,
        outcomes: &Outcomes,
    ) -> Result<()> {
        for Changelog { port, trace } in &mut self.last_events.changelogs {
            let rows = outcomes.living(of(edges, *port));
            if rows.is_empty() {
                continue;
            }
            let key = key_columns(&self.plan, *port)?;
            let (key, mut bytes) = (rows.pick(&key), Vec::new());
            for row in 0..rows.len() {
                bytes.clear();
                push_key(&mut bytes, &key, row);
                let last = rows.lineage(row).iter().max();
                let last = last.map_or(0, |&delivery| deliveries.sequence(delivery));
                trace.last.push((hash_of_key(&bytes), last));
            }
        }
        Ok(())
    }

    /// Notes which rows of tables a swap behind this sequence made of which current rows.
    pub(super) fn note_judged(&mut self, differing: &BTreeMap<(NodeId, usize), Differing>, behind: u64) {
        if self.last_events.is_off {
            return;
        }
        let plan = self.plan.clone();
        for (&(node, output), Differing { moved, .. }) in differing {
            let port = OutputPort { node, output };
            let needs_update_before = self.needs_update_before(node, output);
            let Some(trace) = self.trace_of(&plan, port) else {
                continue;
            };
            for sink in plan.sinks.iter().filter(|sink| sink.input == port) {
                let Target::Table { name, primary_key, .. } = &sink.target else {
                    continue;
                };
                let (columns, key) = places(sink, primary_key);
                let in_table = MovedInTable {
                    moved: moved.clone(),
                    columns,
                    key,
                    needs_update_before,
                    behind,
                };
                trace.judged.push((name.clone(), in_table));
            }
        }
    }

    /// What collects of the changelog that the rule before `port` reads, past others.
    fn trace_of(&mut self, plan: &Plan, mut port: OutputPort) -> Option<&mut ChangelogTrace> {
        while let Some(node) = plan.nodes.get(port.node)
            && node.kind.is_by_row()
        {
            port = node.input;
        }
        let mut changelogs = self.last_events.changelogs.iter_mut();
        changelogs
            .find(|changelog| changelog.port == port)
            .map(|changelog| &mut changelog.trace)
    }
}
