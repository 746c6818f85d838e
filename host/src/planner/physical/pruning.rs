//! Column pruning: columns that nobody reads are not held.

use crate::{
    error::note_defect,
    model::ids::{IdVec, NodeId},
    plan::OutputPort,
    planner::{Bound, BoundChange, BoundKind, BoundTarget},
};
use std::collections::BTreeSet;

/// For each step and output the names of the columns that somebody reads.
pub(super) type ReadColumns = IdVec<NodeId, Vec<BTreeSet<String>>>;

/// Walks from the sinks back to the inputs.
pub(super) fn read_columns(bound: &Bound) -> ReadColumns {
    let mut held: ReadColumns = bound.nodes.map(|_, node| vec![BTreeSet::new(); node.outputs.len()]);
    let need = |held: &mut ReadColumns, port: OutputPort, names: &mut dyn Iterator<Item = &String>| match held
        .get_mut(port.node)
        .and_then(|outputs| outputs.get_mut(port.output))
    {
        Some(set) => set.extend(names.cloned()),
        None => note_defect(format_args!("{port:?} is read and is not there")),
    };
    for sink in &bound.sinks {
        need(&mut held, sink.input, &mut sink.columns.iter());
        if let BoundTarget::Table {
            rows_by: Some(rows_by), ..
        } = &sink.target
        {
            need(&mut held, sink.input, &mut rows_by.iter());
        }
    }
    for table in &bound.tables {
        if let Some(update) = table.update {
            need(
                &mut held,
                update,
                &mut table.columns.iter().map(|(field, _)| &field.name),
            );
        }
    }
    if let crate::plan::Now::Column(column) = &bound.now {
        for input in bound.inputs.ids() {
            need(
                &mut held,
                OutputPort {
                    node: input.node(),
                    output: 0,
                },
                &mut [column].into_iter(),
            );
        }
    }
    for (id, input) in bound.inputs.iter_enumerated() {
        let column = input.event_column.and_then(|column| input.columns.get(column.index));
        let name = column.map(|(field, _)| &field.name);
        need(
            &mut held,
            OutputPort {
                node: id.node(),
                output: 0,
            },
            &mut name.into_iter(),
        );
    }
    for (at, node) in bound.nodes.iter_enumerated().rev() {
        let wanted = held.get(at).cloned().unwrap_or_default();
        match &node.kind {
            BoundKind::Source => {}
            BoundKind::Stage(stage) => {
                for description in stage.guests().map(|guest| &guest.module.description) {
                    need(
                        &mut held,
                        node.input,
                        &mut description.inputs.iter().map(|field| &field.name),
                    );
                    for (bound, wanted) in node.outputs.iter().zip(&wanted) {
                        let output = description.outputs.iter().find(|output| output.name == bound.name);
                        let passed = output.into_iter().flat_map(|output| &output.passed);
                        let passed = passed.filter(|(_, to)| wanted.contains(to)).map(|(from, _)| from);
                        need(&mut held, node.input, &mut passed.into_iter());
                    }
                }
            }
            BoundKind::Lookup(lookup) => {
                for (port, names) in lookup.reads(node, &wanted) {
                    need(&mut held, port, &mut names.iter());
                }
            }
            BoundKind::Operator(operator) => {
                for (port, names) in operator.reads(node, &wanted) {
                    need(&mut held, port, &mut names.iter());
                }
                let own = operator.always_held(node);
                need(&mut held, OutputPort { node: at, output: 0 }, &mut own.iter());
            }
        }
        // A stage over a changelog keeps the key columns that it passes on, for those who tell rows apart by them.
        for (output, of) in node.outputs.iter().enumerate() {
            if let BoundChange::Keyed(Some(key)) = &of.change {
                need(&mut held, OutputPort { node: at, output }, &mut key.iter());
            }
        }
    }
    held
}
