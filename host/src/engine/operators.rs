//! Operators within the engine: what they are given, and what becomes of what they give.

use super::{Cut, Edges, Engine, Outcomes, Part, Step, follow, is_timer_driven, of};
use crate::{
    error::{Error, OrDefect},
    model::{batch::Batch, delivery::RejectedDelivery, ids::NodeId},
    operator::{Inputs, ProcessError, UnfitRow, clock::WatermarkProgress},
    plan::{Node, OperatorPlan},
};

impl Engine {
    /// Runs the operator of `node`, the step `at`, over the rows of its inputs whose events are no dead letters. Every
    /// call of an operator goes through here.
    pub(super) fn operator<'a>(
        &mut self,
        at: NodeId,
        node: &Node,
        edges: &Edges,
        progress: &mut Option<WatermarkProgress<'a>>,
        part: &Part<'a>,
        outcomes: &mut Outcomes,
    ) -> Result<Vec<Batch>, Cut> {
        let mut batches: Vec<Batch> = node.inputs().map(|port| outcomes.living(of(edges, port))).collect();
        let progress = match node.follows_time() {
            true => follow(progress, &mut self.clock, part, outcomes),
            false => None,
        };
        let outputs = loop {
            let operator = self.steps.get_mut(at).and_then(Step::operator);
            let operator = operator.or_defect(|| format!("no operator runs step \"{}\"", node.name))?;
            let inputs = Inputs {
                batches: &batches,
                progress,
            };
            match operator.process(inputs) {
                Ok(outputs) => break outputs,
                Err(ProcessError::Defect(defect)) => return Err(defect.into()),
                Err(ProcessError::Rejected(refusal)) => {
                    let first = batches.first_mut();
                    let input = first.or_defect(|| format!("step \"{}\" refuses a row and reads none", node.name))?;
                    *input = self.without_refused(node, input, refusal, part, outcomes)?;
                }
                Err(ProcessError::Unfit(unfit)) => {
                    let first = batches.first_mut();
                    let input = first.or_defect(|| format!("step \"{}\" rejects a row and reads none", node.name))?;
                    *input = self.without_unfit(node, input, unfit, outcomes)?;
                }
                Err(ProcessError::TooMuch(delivery)) => return Err(Cut::TooMuch(delivery)),
            }
        };
        self.note_dead_timers(node, &outputs.dead, outcomes)?;
        if (outputs.rows.len(), outputs.applied.len()) != (node.outputs.len(), batches.len()) {
            return Err(Error::defect(format!(
                "step \"{}\" has {} inputs and {} outputs, and its operator {} and {}",
                node.name,
                batches.len(),
                node.outputs.len(),
                outputs.applied.len(),
                outputs.rows.len()
            ))
            .into());
        }
        // What comes because time went on is not the doing of the event that moved it.
        for ((port, rows), applied) in node.inputs().zip(&batches).zip(&outputs.applied) {
            if !is_timer_driven(&self.plan, port) {
                outcomes.apply_of(rows, applied);
            }
        }
        Ok(outputs.rows)
    }

    /// The rows of `input` without those that the operator `node` can make nothing of. Where they are no event's doing, they are kept as
    /// dead letters of their own; else their events become dead letters.
    ///
    /// # Errors
    /// Where such an event has to be undone.
    fn without_unfit(
        &self,
        node: &Node,
        input: &Batch,
        unfit: Vec<UnfitRow>,
        outcomes: &mut Outcomes,
    ) -> Result<Batch, Cut> {
        let mut rejected = unfit.into_iter().map(|UnfitRow { row, reason }| {
            let rejected = RejectedDelivery {
                delivery: input.delivery(row as usize),
                step: node.name.clone(),
                module: None,
                reason,
            };
            (rejected, row)
        });
        if is_timer_driven(&self.plan, node.input) {
            let rejected: Vec<_> = rejected.collect();
            let is_unfit = |row: &u32| rejected.binary_search_by_key(row, |(_, row)| *row).is_ok();
            let others: Vec<u32> = (0..input.len() as u32).filter(|row| !is_unfit(row)).collect();
            outcomes.reject_rows(rejected, self.plan.schema(node.input), input);
            return Ok(input.gather(&others));
        }
        if node.kind.operator().is_some_and(OperatorPlan::undoes) {
            // Rows ascend, and so do the deliveries that they came from: this is the earliest.
            if let Some((first, _)) = rejected.next() {
                return Err(Cut::Undo(first));
            }
        }
        rejected.for_each(|(rejected, _)| outcomes.reject(rejected));
        Ok(outcomes.living(input))
    }
}
