//! What each reader needs of each edge: columns that nobody reads are not held.

use super::{joining, passing};
use crate::{
    plan::OutputPort,
    planner::{Resolved, ResolvedAggregate, ResolvedChange, ResolvedKind, ResolvedTarget},
};
use std::collections::BTreeSet;

/// For each step and output the names of the columns that somebody reads.
pub(super) type Needed = Vec<Vec<BTreeSet<String>>>;
/// Walks from the sinks back to the inputs.
pub(super) fn needed(resolved: &Resolved) -> Needed {
    let mut needed: Needed = resolved
        .nodes
        .iter()
        .map(|node| vec![BTreeSet::new(); node.outputs.len()])
        .collect();
    let need = |needed: &mut Needed, port: OutputPort, names: &mut dyn Iterator<Item = &String>| {
        if let Some(set) = needed
            .get_mut(port.node)
            .and_then(|outputs| outputs.get_mut(port.output))
        {
            set.extend(names.cloned());
        }
    };
    for sink in &resolved.sinks {
        need(&mut needed, sink.input, &mut sink.columns.iter());
        if let ResolvedTarget::Table {
            rows_by: Some(rows_by), ..
        } = &sink.target
        {
            need(&mut needed, sink.input, &mut rows_by.iter());
        }
    }
    for table in &resolved.tables {
        if let Some(update) = table.update {
            need(
                &mut needed,
                update,
                &mut table.columns.iter().map(|(field, _)| &field.name),
            );
        }
    }
    if let crate::plan::Now::Column(column) = &resolved.now {
        for node in 0..resolved.inputs.len() {
            need(&mut needed, OutputPort { node, output: 0 }, &mut [column].into_iter());
        }
    }
    for (node, input) in resolved.inputs.iter().enumerate() {
        let column = input.event_column.and_then(|column| input.columns.get(column.index));
        let name = column.map(|(field, _)| &field.name);
        need(&mut needed, OutputPort { node, output: 0 }, &mut name.into_iter());
    }
    for (at, node) in resolved.nodes.iter().enumerate().rev() {
        let wanted = needed.get(at).cloned().unwrap_or_default();
        match &node.kind {
            ResolvedKind::Source => {}
            ResolvedKind::Stage(stage) => {
                for description in stage.guests().map(|guest| &guest.module.description) {
                    need(
                        &mut needed,
                        node.input,
                        &mut description.inputs.iter().map(|field| &field.name),
                    );
                    for (resolved, wanted) in node.outputs.iter().zip(&wanted) {
                        let output = description.outputs.iter().find(|output| output.name == resolved.name);
                        let passed = output.into_iter().flat_map(|output| &output.passed);
                        let passed = passed.filter(|(_, to)| wanted.contains(to)).map(|(from, _)| from);
                        need(&mut needed, node.input, &mut passed.into_iter());
                    }
                }
            }
            ResolvedKind::LastValue {
                key, columns, deleted, ..
            } => {
                let wanted = wanted.first().cloned().unwrap_or_default();
                need(&mut needed, node.input, &mut key.iter().chain(deleted));
                need(
                    &mut needed,
                    node.input,
                    &mut columns.iter().filter(|column| wanted.contains(*column)),
                );
                // The key is always part of what comes out: it says which row is meant.
                need(&mut needed, OutputPort { node: at, output: 0 }, &mut key.iter());
            }
            ResolvedKind::Aggregate { group, aggregates, .. } => {
                let wanted = wanted.first().cloned().unwrap_or_default();
                need(&mut needed, node.input, &mut group.iter());
                let read = aggregates.iter().filter(|aggregate| wanted.contains(&aggregate.name));
                need(&mut needed, node.input, &mut read.flat_map(ResolvedAggregate::columns));
                need(&mut needed, OutputPort { node: at, output: 0 }, &mut group.iter());
            }
            ResolvedKind::Window(window) => {
                let mut wanted = wanted.into_iter();
                let (of_out, of_late) = (wanted.next().unwrap_or_default(), wanted.next().unwrap_or_default());
                need(&mut needed, node.input, &mut window.group.iter());
                need(&mut needed, node.input, &mut window.time.iter().map(|(name, _)| name));
                let read = window
                    .aggregates
                    .iter()
                    .filter(|aggregate| of_out.contains(&aggregate.name));
                need(&mut needed, node.input, &mut read.flat_map(ResolvedAggregate::columns));
                if let Some(top) = &window.top {
                    let read = top.columns.iter().filter(|column| of_out.contains(*column));
                    need(&mut needed, node.input, &mut read.chain([&top.by]));
                }
                let late = node
                    .outputs
                    .get(1)
                    .map(|output| output.origins.len())
                    .unwrap_or_default();
                let own = if window.retracts { late.checked_sub(1) } else { None };
                let schema = node
                    .outputs
                    .get(1)
                    .into_iter()
                    .flat_map(|output| &output.schema)
                    .enumerate();
                let passed = schema.filter(|(at, field)| Some(*at) != own && of_late.contains(&field.name));
                need(&mut needed, node.input, &mut passed.map(|(_, field)| &field.name));
                // They say which row is meant.
                let out = OutputPort { node: at, output: 0 };
                need(&mut needed, out, &mut window.group.iter());
                let count = if window.top.is_some() { 3 } else { 2 };
                let bounds = node
                    .outputs
                    .first()
                    .map(|output| output.schema.iter().skip(window.group.len()).take(count));
                need(
                    &mut needed,
                    out,
                    &mut bounds.into_iter().flatten().map(|field| &field.name),
                );
            }
            ResolvedKind::OverWindow(over_window) => {
                let mut wanted = wanted.into_iter();
                let (of_out, of_late) = (wanted.next().unwrap_or_default(), wanted.next().unwrap_or_default());
                need(&mut needed, node.input, &mut over_window.group.iter());
                need(
                    &mut needed,
                    node.input,
                    &mut over_window.time.iter().map(|(name, _)| name),
                );
                let is_computed = |name: &&String| over_window.aggregates.iter().any(|a| a.name == **name);
                need(
                    &mut needed,
                    node.input,
                    &mut of_out.iter().filter(|name| !is_computed(name)),
                );
                need(&mut needed, node.input, &mut of_late.iter());
                let read = over_window
                    .aggregates
                    .iter()
                    .filter(|aggregate| of_out.contains(&aggregate.name));
                need(&mut needed, node.input, &mut read.flat_map(ResolvedAggregate::columns));
            }
            ResolvedKind::Lookup { on, added, .. } => {
                let wanted = wanted.first().cloned().unwrap_or_default();
                need(&mut needed, node.input, &mut on.iter());
                need(
                    &mut needed,
                    node.input,
                    &mut wanted.iter().filter(|column| !added.contains(*column)),
                );
            }
            ResolvedKind::IntervalJoin(join) => {
                for (port, names) in joining::reads(node, join, &wanted) {
                    need(&mut needed, port, &mut names.iter());
                }
            }
            ResolvedKind::OnCrossing(_)
            | ResolvedKind::Deduplicate(_)
            | ResolvedKind::TemporalJoin(_)
            | ResolvedKind::Union { .. } => {
                for (port, names) in passing::reads(node, &wanted) {
                    need(&mut needed, port, &mut names.iter());
                }
            }
        }
        // A stage over a changelog keeps the key columns that it passes on, for those who tell rows apart by them.
        if let Some(outputs) = needed.get(at).cloned() {
            for (output, _) in node
                .outputs
                .iter()
                .zip(outputs)
                .enumerate()
                .map(|(number, (o, n))| ((number, o), n))
            {
                let (number, output) = output;
                if let ResolvedChange::Keyed(Some(key)) = &output.change {
                    need(
                        &mut needed,
                        OutputPort {
                            node: at,
                            output: number,
                        },
                        &mut key.iter(),
                    );
                }
            }
        }
    }
    needed
}
