//! Lookups whose table the steps behind them update: the rows of a batch go in waves, in each of which a key occurs once.

use super::{Edges, Engine, MustUndo, Outcomes, Step, of};
use crate::{
    model::{column::Batch, delivery::Deliveries},
    operator::lookup,
    plan::{Node, NodeKind},
};

impl Engine {
    /// A lookup, with the steps on `path` up to the one that updates its table, in waves in each of which a key occurs
    /// once. Gives the rows of all of them, in order of arrival.
    pub(super) fn lookup(
        &mut self,
        at: usize,
        node: &Node,
        input: &Batch,
        path: &[usize],
        deliveries: &Deliveries,
        outcomes: &mut Outcomes,
    ) -> Result<Edges, MustUndo> {
        let plan = self.plan.clone();
        let (NodeKind::Lookup(lookup), Some(output)) = (&node.kind, node.outputs.first()) else {
            return Ok(Vec::new());
        };
        let waves = match self.tables.get(lookup.table) {
            Some(table) => lookup::waves(lookup, table, input),
            None => Vec::new(),
        };
        let mut collected: Vec<Vec<Vec<Batch>>> = plan
            .nodes
            .iter()
            .map(|node| vec![Vec::new(); node.outputs.len()])
            .collect();
        let mut keep = |step: usize, rows: Vec<Batch>| {
            if let Some(outputs) = collected.get_mut(step) {
                outputs
                    .iter_mut()
                    .zip(rows)
                    .for_each(|(output, rows)| output.push(rows));
            }
        };
        for rows in waves {
            let mut edges: Edges = vec![Vec::new(); plan.nodes.len()];
            let mut set = |edges: &mut Edges, step: usize, rows: Vec<Batch>| {
                keep(step, rows.clone());
                if let Some(port) = edges.get_mut(step) {
                    *port = rows;
                }
            };
            if let Some(table) = self.tables.get(lookup.table) {
                let joined = lookup::join(lookup, table, &output.schema, &input.gather(&rows));
                set(&mut edges, at, vec![joined]);
            }
            for &step in path {
                let Some(node) = plan.nodes.get(step) else { continue };
                let rows = self.stage(step, node, of(&edges, node.input), deliveries, outcomes)?;
                set(&mut edges, step, rows);
            }
            if let Some(table) = self.tables.get_mut(lookup.table)
                && let Some((port, columns)) = table.plan().update.clone()
            {
                let update = outcomes.living(of(&edges, port));
                outcomes.apply(&update);
                table.set(&update, &columns);
            }
        }
        Ok(collected
            .into_iter()
            .map(|outputs| outputs.into_iter().map(Batch::merge).collect())
            .collect())
    }

    /// Whether a stage that runs in the waves of a lookup is on trial. Waves judge rows out of their order, and where a
    /// version is taken back has to be a place in the stream: so its events come one at a time.
    pub(super) fn is_trial_in_waves(&self) -> bool {
        let waves = self.plan.nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Lookup(lookup) => lookup.waves.as_ref(),
            _ => None,
        });
        waves
            .flatten()
            .any(|&at| matches!(self.steps.get(at), Some(Step::Stage(stage)) if stage.is_on_trial()))
    }
}
