//! Aggregates that are guests, within the engine: what becomes of a row that one of them refuses.

use super::{Cut, Engine, Outcomes, Part, is_timer_driven};
use crate::{
    error::{OrDefect, Result},
    model::{batch::Batch, delivery::RejectedDelivery},
    operator::{DeadTimers, guests::RejectedByGuest},
    plan::Node,
};

impl Engine {
    /// The rows of `input` without the one that a guest of the operator `node` refuses, which is kept as a dead letter of
    /// its own, where rows are no event's doing.
    ///
    /// # Errors
    /// Where they are: the event that the row comes from has to be undone.
    pub(super) fn without_refused(
        &mut self,
        node: &Node,
        input: &Batch,
        refusal: RejectedByGuest,
        part: &Part<'_>,
        outcomes: &mut Outcomes,
    ) -> Result<Batch, Cut> {
        let delivery = input.deliveries.get(refusal.row as usize).copied();
        let beyond = || {
            format!(
                "row {} of {} of step \"{}\" is refused",
                refusal.row,
                input.len(),
                node.name
            )
        };
        let rejected = RejectedDelivery {
            delivery: delivery.or_defect(beyond)?,
            step: node.name.clone(),
            module: Some(refusal.module),
            reason: refusal.reason,
        };
        let timer_driven = is_timer_driven(&self.plan, node.input);
        // An event that is not the first of its part is met once more.
        if refusal.failed && (timer_driven || rejected.delivery == part.range.start) {
            self.failed_rows += 1;
        }
        if !timer_driven {
            return Err(Cut::Undo(rejected));
        }
        let schema = self.plan.schema(node.input);
        outcomes.reject_rows(vec![(rejected, refusal.row)], schema, input);
        let others = (0..input.len() as u32).filter(|&row| row != refusal.row);
        Ok(input.gather(&others.collect::<Vec<_>>()))
    }
}

impl Engine {
    /// Keeps as dead letters the times of which the guest of the operator `node` could make nothing. No event is to blame.
    pub(super) fn note_dead_timers(&mut self, node: &Node, dead: &DeadTimers, outcomes: &mut Outcomes) -> Result<()> {
        let mut rejected = Vec::with_capacity(dead.why.len());
        for (row, why) in dead.why.iter().enumerate() {
            self.failed_rows += u64::from(why.failed);
            let rejection = RejectedDelivery {
                delivery: dead.rows.delivery(row),
                step: node.name.clone(),
                module: Some(why.module.clone()),
                reason: why.reason.clone(),
            };
            rejected.push((rejection, row as u32));
        }
        outcomes.reject_rows(rejected, &dead.schema, &dead.rows);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
