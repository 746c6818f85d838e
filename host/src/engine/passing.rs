//! Steps that pass rows on, within the engine.

use super::{
    Engine, Outcomes, Step,
    fingerprint::{forgets, span},
    is_timer_driven,
};
use crate::{
    model::column::Batch,
    operator::{clock::WatermarkProgress, union::union},
    plan::{Node, NodeKind, OutputPort, Plan},
};

impl Engine {
    /// Runs the step number `at` over the rows of its `inputs` whose events are no dead letters.
    pub(super) fn pass_on(
        &mut self,
        at: usize,
        node: &Node,
        inputs: &[Batch],
        progress: Option<&WatermarkProgress<'_>>,
        outcomes: &mut Outcomes,
    ) -> Vec<Batch> {
        let Some(first) = inputs.first() else {
            return Vec::new();
        };
        let of_events = !is_timer_driven(&self.plan, node.input);
        match (&node.kind, self.steps.get_mut(at)) {
            (NodeKind::OnCrossing(_), Some(Step::OnCrossing(operator))) => {
                if of_events {
                    outcomes.apply(first);
                }
                operator.update(first, progress)
            }
            (NodeKind::Deduplicate(_), Some(Step::Deduplicate(operator))) => {
                let outputs = operator.update(first, progress);
                if let Some(passed) = outputs.first().filter(|_| of_events) {
                    outcomes.apply(passed);
                }
                outputs
            }
            (NodeKind::TemporalJoin(plan), Some(Step::TemporalJoin(operator))) => {
                let (Some(versions), Some(progress)) = (inputs.get(1), progress) else {
                    return Vec::new();
                };
                let given = operator.update(first, versions, progress);
                if of_events {
                    outcomes.apply_each(&given.rows);
                }
                if !is_timer_driven(&self.plan, plan.versions) {
                    outcomes.apply_each(&given.versions);
                }
                given.outputs
            }
            (NodeKind::Union(plan), _) => {
                // Behind this, rows of events cannot be told from those that came because time went on.
                if is_timer_driven(&self.plan, OutputPort { node: at, output: 0 }) {
                    let of_events = node
                        .inputs()
                        .zip(inputs)
                        .filter(|(port, _)| !is_timer_driven(&self.plan, *port));
                    of_events.for_each(|(_, rows)| outcomes.apply(rows));
                }
                vec![union(plan, inputs.iter())]
            }
            _ => Vec::new(),
        }
    }
}

/// What the state of such a step was built for. The columns of its key are not always among those that it passes on.
pub(super) fn fingerprint(plan: &Plan, node: &Node) -> String {
    let columns = |indices: &[usize]| columns_of(plan, node.input, indices);
    match &node.kind {
        NodeKind::OnCrossing(on_crossing) => {
            let of = if on_crossing.retracts { " of a changelog" } else { "" };
            let [raise, hold] = [&on_crossing.raise, &on_crossing.hold].map(|column| columns(column.as_slice()));
            let key = columns(&on_crossing.key);
            let forgets = forgets(on_crossing.ttl_us);
            format!("crossings{of}{forgets} by {key}, raised by {raise}, held by {hold}")
        }
        NodeKind::Deduplicate(deduplicate) => {
            let within = deduplicate
                .within_us
                .map(|within_us| format!(" within {}", span(within_us)));
            format!(
                "the first rows by {}{}",
                columns(&deduplicate.key),
                within.unwrap_or_default()
            )
        }
        NodeKind::TemporalJoin(lookup) => {
            let version_key = columns_of(plan, lookup.versions, &lookup.version_key);
            format!("rows by {} with versions by {version_key}", columns(&lookup.on))
        }
        _ => String::new(),
    }
}

/// Columns of an edge, by their names and types.
fn columns_of(plan: &Plan, port: OutputPort, indices: &[usize]) -> String {
    let node = plan.nodes.get(port.node);
    let output = node.and_then(|node| node.outputs.get(port.output));
    let fields = indices.iter().filter_map(|&index| output?.schema.get(index));
    let fields: Vec<String> = fields
        .map(|field| format!("{} {}", field.name, field.column_type))
        .collect();
    fields.join(", ")
}
