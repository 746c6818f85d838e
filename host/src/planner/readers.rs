//! Who reads what: the step that a sink stands under, and steps that nobody reads.

use super::{Binder, BoundKind, BoundNode, BoundSink, OutputPort};
use crate::{
    definition::Name,
    error::Result,
    model::ids::{Id, IdVec, NodeId, SinkId},
};
use std::ops::Range;

impl Binder<'_> {
    /// What a sink reads: the output that `from` names, or that of the step right above it in the file; above the first step,
    /// the only input.
    pub(super) fn edge_or_above(&self, from: Option<&Name>, span: Range<usize>) -> Result<OutputPort> {
        self.edge_or_at(from, self.node_above(&span), span)
    }

    /// The step right above a place in the file; above the first step, the last input.
    fn node_above(&self, span: &Range<usize>) -> NodeId {
        let steps = self.definition.steps.iter();
        let above = steps.filter(|step| step.span().start < span.start).count();
        NodeId::of((self.first_step() + above).saturating_sub(1))
    }

    /// Checks that what a step gives is read by another step, a sink, or a table with `update_from`: who wrote the step
    /// meant somebody to, unless the step says `unread = true`.
    ///
    /// Of an operator that is its first output. The others (`late`, `cleared`) are asked for where they are wanted: late rows
    /// are counted without a reader, and most alerts are not interested in their end. Inputs need no reader: their events
    /// move the watermark, and one may be there for ticks alone.
    pub(super) fn check_read(&self, sinks: &IdVec<SinkId, BoundSink>) -> Result<()> {
        let first = self.first_step();
        let mut read: Vec<OutputPort> = self.nodes.iter().skip(first).flat_map(BoundNode::inputs).collect();
        read.extend(sinks.iter().map(|sink| sink.input));
        read.extend(self.tables.iter().filter_map(|table| table.update));
        let nodes = self.nodes.iter_enumerated().skip(first);
        for ((at, node), step) in nodes.zip(&self.definition.steps) {
            let outputs = match node.kind {
                BoundKind::Stage(_) => node.outputs.len(),
                _ => 1,
            };
            let unread = (0..outputs).find(|&output| !read.contains(&OutputPort { node: at, output }));
            let Some(unread) = unread.filter(|_| !step.get_ref().unread) else {
                continue;
            };
            let what = node.outputs.get(unread).map_or("out", |output| output.name.as_str());
            let from = match outputs {
                1 => node.name.clone(),
                _ => format!("{}.{what}", node.name),
            };
            let message = format!(
                "nobody reads output \"{what}\" of step \"{}\"; say from = \"{from}\" in a step or sink{}, or unread = true in this \
                 step if nobody is to read it",
                node.name,
                self.sink_above(&step.span())
            );
            return Err(self.at(&step.get_ref().name, message));
        }
        Ok(())
    }

    /// A remark on the nearest sink above a step that says no `from`: it may have been meant to read that step.
    fn sink_above(&self, step: &Range<usize>) -> String {
        let sinks = self.definition.sinks.iter();
        let above = sinks.filter(|sink| sink.get_ref().from.is_none() && sink.span().start < step.start);
        let Some(sink) = above.max_by_key(|sink| sink.span().start) else {
            return String::new();
        };
        let read = self.node_above(&sink.span());
        let whose = self.port_name(OutputPort { node: read, output: 0 });
        let line = self.file.line(sink.span().start);
        format!(" (the sink in line {line} has none and reads {whose}, right above it)")
    }
}
