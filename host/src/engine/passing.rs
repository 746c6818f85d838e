//! The rows of a swap on their way: what is others from there on passes the steps behind as the rows of one event, and sinks
//! collect what comes of it.

use super::{
    Cut, Edges, Engine, Outcomes, Part, Place, differences::DifferencesByKey, of, ready::MovedOutput, rules::Refused,
    set,
};
use crate::{
    error::{Error, OrDefect, Result},
    fail_point,
    model::{
        batch::Batch,
        delivery::Deliveries,
        ids::{IdVec, NodeId, SinkId},
        moved::MovedRows,
    },
    plan::{Node, OutputPort, Plan},
    sink::Sink,
    text::printable,
};
use std::{collections::BTreeMap, mem, sync::Arc};

/// The rows that a swap makes others, by step and output.
pub(super) type AllMoved = BTreeMap<(NodeId, usize), MovedOutput>;

/// The rows of a swap, behind all steps.
#[derive(Debug)]
pub(super) struct Passed {
    edges: Edges,
    outcomes: Outcomes,
    differing: BTreeMap<(NodeId, usize), Differing>,
    /// What was of use up to then.
    pub(super) left: Left,
}

/// What is of no use any more, and takes a while to drop.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) differences: BTreeMap<NodeId, DifferencesByKey>,
    moved: Vec<MovedOutput>,
}

/// The rows that a swap makes others in an output.
#[derive(Debug)]
pub(super) struct Differing {
    pub(super) moved: Arc<MovedRows>,
    /// How many rows of the edge they are, in front of all others: none, where all that read them take them as they are.
    pub(super) in_front: usize,
}

/// The rows of a swap, while they pass.
#[derive(Debug)]
pub(super) struct AtSwap {
    /// What steps give on top of what they make of the rows that they read, and in front of it.
    differs: Edges,
    /// What steps that go by rows make of these.
    judged: Edges,
}

impl Engine {
    /// Passes on rows that are others by now, each output's in their order.
    pub(super) fn pass_on_moved(&mut self, moved: AllMoved, deliveries: &Deliveries) -> Result<Passed, Refused> {
        let plan = self.plan.clone();
        let mut differs: Edges = plan.nodes.map(|_, node| vec![Batch::default(); node.outputs.len()]);
        let (mut differing, mut left) = (BTreeMap::new(), Left::default());
        for ((at, number), mut moved) in moved {
            let port = OutputPort {
                node: at,
                output: number,
            };
            let output = plan.output(port);
            let output = output.or_defect(|| format!("step {at} has no output {number}"))?;
            let mut in_front = 0;
            if is_read_row_by_row(&plan, &self.sinks, port) {
                let rows = moved.changelog(output);
                in_front = rows.len();
                let place = differs.get_mut(at).and_then(|outputs| outputs.get_mut(number));
                *place.or_defect(|| format!("step {at} has no place for its rows"))? = rows;
            }
            let rows = Arc::new(mem::take(&mut moved.rows));
            differing.insert((at, number), Differing { moved: rows, in_front });
            left.moved.push(moved);
        }
        let (edges, outcomes) = self.pass_on(differs, deliveries)?;
        Ok(Passed {
            edges,
            outcomes,
            differing,
            left,
        })
    }

    /// Lets sinks have what passed.
    pub(super) fn collect_passed(&mut self, passed: &mut Passed) {
        let Passed {
            edges,
            outcomes,
            differing,
            left: _,
        } = passed;
        self.measure(edges);
        for (&(at, number), Differing { moved, in_front }) in &*differing {
            let needs_update_before = self.needs_update_before(at, number);
            if let (0, Some(step)) = (*in_front, self.metrics.steps().get(at)) {
                let outputs = (0..=number).map(|output| match output == number {
                    true => moved.changes(needs_update_before) as u64,
                    false => 0,
                });
                step.count(0, outputs);
            }
        }
        let behind = self.last_sequence;
        self.note_judged(differing, behind);
        self.collect(edges, Place::Swap { behind, differing }, outcomes);
    }

    /// Whether what reads an output wants to know of the row that an update replaces.
    pub(super) fn needs_update_before(&self, node: NodeId, output: usize) -> bool {
        let output = self.plan.output(OutputPort { node, output });
        output.is_some_and(|output| output.readers.needs_update_before)
    }

    /// Runs `rows` of steps through those behind, as rows of the only delivery.
    fn pass_on(&mut self, rows: Edges, deliveries: &Deliveries) -> Result<(Edges, Outcomes), Refused> {
        let part = Part {
            deliveries,
            range: 0..1,
            events: self.plan.inputs.map(|_, _| Batch::default()),
        };
        let mut outcomes = Outcomes::new(1);
        let rejects = |step: &str, reason: &str| {
            let reason = printable(reason);
            Refused::Row(format!("step \"{step}\" rejects a row that would come of it: {reason}"))
        };
        self.forget_failures();
        fail_point::pass("before-rejudged");
        let at_swap = AtSwap {
            judged: rows.map(|_, _| Vec::new()),
            differs: rows,
        };
        let passed = self.pass(&part, Some(at_swap), &mut outcomes);
        self.forget_failures();
        let edges = passed.map_err(|cut| match cut {
            Cut::Undo(rejected) => rejects(&rejected.step, &rejected.reason),
            Cut::Stop(_, stopped) => rejects(&stopped.step, &stopped.reason),
            Cut::TooMuch(_) => Refused::Defect(Error::defect("the rows of a swap are those of one event")),
            Cut::Defect(defect) => Refused::Defect(defect),
        })?;
        let of_rows = outcomes.dead_rows.iter().map(|row| &row.rejected);
        if let Some(rejected) = outcomes.rejected.iter().chain(of_rows).next() {
            return Err(rejects(&rejected.step, &rejected.reason));
        }
        Ok((edges, outcomes))
    }
}

impl Engine {
    /// What a step that goes by rows makes of these: a rule, or one that gives other columns.
    pub(super) fn by_row(
        &mut self,
        at: NodeId,
        node: &Node,
        input: &Batch,
        deliveries: &Deliveries,
        outcomes: &mut Outcomes,
    ) -> Result<Vec<Batch>, Cut> {
        match node.kind.projection() {
            Some(projection) => Ok(vec![projection.of(&outcomes.living(input))]),
            None => self.stage(at, node, input, deliveries, outcomes),
        }
    }

    /// Runs `node`, the step `at`, which goes by rows, while the rows of a swap pass.
    pub(super) fn by_row_at_swap(
        &mut self,
        at: NodeId,
        node: &Node,
        swap: &mut AtSwap,
        edges: &Edges,
        deliveries: &Deliveries,
        outcomes: &mut Outcomes,
    ) -> Result<Vec<Batch>, Cut> {
        // What it makes of rows of the swap that come from such a step is among the rows of the swap already.
        let before = self.plan.nodes.get(node.input.node);
        let input = match before.is_some_and(|before| before.kind.is_by_row()) {
            true => of(&swap.judged, node.input),
            false => of(edges, node.input),
        };
        let output = self.by_row(at, node, input, deliveries, outcomes)?;
        let both = swap.with_differing(at, output.clone())?;
        set(&mut swap.judged, at, output)?;
        Ok(both)
    }
}

impl AtSwap {
    /// What the step `at` gives: the rows of the swap at its own outputs, and behind them its `output`.
    pub(super) fn with_differing(&self, at: NodeId, output: Vec<Batch>) -> Result<Vec<Batch>> {
        let differs = self.differs.get(at);
        let differs = differs.or_defect(|| format!("step {at} has no place at a swap"))?;
        let both = differs.iter().zip(output);
        let both = both.map(|(differs, output)| Batch::merge(vec![differs.clone(), output]));
        Ok(both.collect())
    }
}

/// Whether anything reads an output that does not take the rows of a swap as they are. Tables do, and rules behind a rule, whose
/// own rows are among those of the swap.
pub(super) fn is_read_row_by_row(plan: &Plan, sinks: &IdVec<SinkId, Sink>, port: OutputPort) -> bool {
    let is_by_row = |node: &Node| node.kind.is_by_row();
    let of_rule = plan.nodes.get(port.node).is_some_and(is_by_row);
    let steps = plan.nodes.iter().filter(|node| !(of_rule && is_by_row(node)));
    let lookup_tables = plan.tables.iter().filter_map(|table| table.update.as_ref());
    let sinks = sinks.iter().zip(&plan.sinks).filter(|(sink, _)| !sink.takes_moved());
    let mut read = steps
        .flat_map(Node::inputs)
        .chain(lookup_tables.map(|(input, _)| *input))
        .chain(sinks.map(|(_, plan)| plan.input));
    read.any(|input| input == port)
}
