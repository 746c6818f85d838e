//! A stage within the engine: columns to the guest, its answer to rows.

use super::{Engine, Fates, MustUndo, Result, Step};
use crate::{
    column::{Batch, Column, RowKind},
    delivery::{Deliveries, Rejected},
    plan::{Node, NodeKind, StageColumn, StageOutput, StagePlan},
    stage::OutputRows,
};
use std::sync::Arc;

impl Engine {
    /// Runs the stage `node`, the step number `at`, over the rows of `input` whose event is no dead letter.
    pub(super) fn stage(
        &mut self,
        at: usize,
        node: &Node,
        input: &Batch,
        deliveries: &Deliveries,
        fates: &mut Fates,
    ) -> Result<Vec<Batch>, MustUndo> {
        let (NodeKind::Stage(plan), Some(Step::Stage(instance))) = (&node.kind, self.steps.get_mut(at)) else {
            return Ok(Vec::new());
        };
        let input = fates.living(input);
        if input.is_empty() {
            return Ok(vec![Batch::default(); plan.outputs.len()]);
        }
        let times_ms = times(plan, &input, deliveries);
        let columns: Vec<&Column> = input.pick(&plan.inputs);
        let answer = instance.judge(input.len() as u32, &times_ms, &columns).answer;

        let mut rejected = answer.rejected.into_iter().filter_map(|rejected| {
            Some(Rejected {
                delivery: *input.deliveries.get(rejected.row as usize)?,
                step: node.name.clone(),
                module: Some(plan.module.digest.clone()),
                reason: rejected.reason,
            })
        });
        if plan.undoes {
            // Rows ascend, and so do the deliveries that they came from: this is the earliest.
            if let Some(first) = rejected.next() {
                return Err(MustUndo(first));
            }
        }
        rejected.for_each(|rejected| fates.reject(rejected));
        let outputs = answer.outputs.into_iter().zip(&plan.outputs);
        Ok(outputs.map(|(rows, output)| rows_out(&input, rows, output)).collect())
    }
}

fn times(plan: &StagePlan, input: &Batch, deliveries: &Deliveries) -> Vec<i64> {
    match plan.module.description.reads_time {
        true => input
            .deliveries
            .iter()
            .map(|&delivery| deliveries.time_ms(delivery))
            .collect(),
        false => Vec::new(),
    }
}

fn rows_out(input: &Batch, answer: OutputRows, output: &StageOutput) -> Batch {
    let OutputRows { rows, computed } = answer;
    let computed: Vec<Arc<Column>> = computed.into_iter().map(Arc::new).collect();
    let all = rows.len() == input.len();
    let columns = output.columns.iter().filter_map(|column| match *column {
        StageColumn::Passed(index) => {
            let column = input.columns.get(index)?;
            Some(if all {
                column.clone()
            } else {
                Arc::new(column.gather(&rows))
            })
        }
        StageColumn::Computed(index) => computed.get(index).cloned(),
    });
    Batch {
        columns: columns.collect(),
        deliveries: rows
            .iter()
            .filter_map(|&row| input.deliveries.get(row as usize).copied())
            .collect(),
        kinds: input.kinds.as_ref().map(|kinds| kinds_out(kinds, &rows)),
    }
}

/// The kinds of the rows that a stage kept of a changelog. Where it kept only one half of an update, the row came or
/// went for those who read on.
fn kinds_out(kinds: &[RowKind], rows: &[u32]) -> Vec<RowKind> {
    let kept = |row: Option<u32>| row.is_some_and(|row| rows.binary_search(&row).is_ok());
    rows.iter()
        .filter_map(|&row| {
            Some(match *kinds.get(row as usize)? {
                RowKind::UpdateBefore if !kept(row.checked_add(1)) => RowKind::Delete,
                RowKind::UpdateAfter if !kept(row.checked_sub(1)) => RowKind::Insert,
                kind => kind,
            })
        })
        .collect()
}
