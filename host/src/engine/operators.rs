//! Operators within the engine: what they are given, and what becomes of what they give.

use super::{Cut, Edges, Engine, Outcomes, Part, Step, follow, is_timer_driven, of};
use crate::{
    error::{Error, OrDefect},
    model::{batch::Batch, ids::NodeId},
    operator::{Inputs, ProcessError, clock::WatermarkProgress},
    plan::Node,
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
}
