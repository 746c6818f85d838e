//! Lookups whose table the steps behind them update: the rows of a batch go in waves, in each of which a key occurs once.

use super::{Cut, Edges, Engine, Outcomes, Step, of, set};
use crate::{
    error::{Error, OrDefect, Result},
    model::{batch::Batch, delivery::Deliveries, ids::NodeId},
    operator::lookup,
    plan::{Node, NodeKind},
};
use std::{slice, time::Instant};

impl Engine {
    /// A lookup, with the steps on `path` up to the one that updates its table, in waves in each of which a key occurs
    /// once. Gives the rows of all of them, in order of arrival.
    pub(super) fn lookup(
        &mut self,
        at: NodeId,
        node: &Node,
        input: &Batch,
        path: &[NodeId],
        deliveries: &Deliveries,
        outcomes: &mut Outcomes,
    ) -> Result<Edges, Cut> {
        let plan = self.plan.clone();
        let (NodeKind::Lookup(lookup), output) = (&node.kind, node.output(0)?) else {
            return Err(Error::defect(format!("step \"{}\" is run as a lookup and is none", node.name)).into());
        };
        let no_table = || format!("step \"{}\" looks up a table that is not there", node.name);
        let waves = lookup::waves(lookup, self.tables.get(lookup.table).or_defect(no_table)?, input);
        let mut collected = plan.nodes.map(|_, node| vec![Vec::new(); node.outputs.len()]);
        let mut keep = |step: NodeId, rows: &[Batch]| -> Result<()> {
            let outputs = collected.get_mut(step);
            let outputs = outputs.or_defect(|| format!("there is no step {step}"))?;
            let outputs = outputs.iter_mut().zip(rows);
            outputs.for_each(|(output, rows)| output.push(rows.clone()));
            Ok(())
        };
        for rows in waves {
            let mut edges: Edges = plan.nodes.map(|_, _| Vec::new());
            let table = self.tables.get(lookup.table).or_defect(no_table)?;
            let joined = lookup::join(lookup, table, &output.schema, &input.gather(&rows));
            keep(at, slice::from_ref(&joined))?;
            set(&mut edges, at, vec![joined])?;
            for &step in path {
                let node = plan.nodes.get(step).or_defect(|| format!("there is no step {step}"))?;
                let begun = Instant::now();
                let rows = self.by_row(step, node, of(&edges, node.input), deliveries, outcomes)?;
                self.was_busy(step, begun);
                keep(step, &rows)?;
                set(&mut edges, step, rows)?;
            }
            let table = self.tables.get_mut(lookup.table).or_defect(no_table)?;
            if let Some((port, columns)) = table.plan().update.clone() {
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
