//! Aggregates that are guests, within the engine: what becomes of a row that one of them refuses.

use super::{Engine, MustUndo, Outcomes, Part, is_timer_driven};
use crate::{
    model::{column::Batch, delivery::Rejected},
    operator::guests::Refusal,
    plan::{AggregateGuest, Node},
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
        refusal: Refusal,
        part: &Part<'_>,
        outcomes: &mut Outcomes,
    ) -> Result<Batch, MustUndo> {
        let delivery = input.deliveries.get(refusal.row as usize).copied();
        let rejected = Rejected {
            delivery: delivery.unwrap_or(part.range.start),
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
            return Err(MustUndo(rejected));
        }
        let read = self.plan.nodes.get(node.input.node);
        let output = read.and_then(|read| read.outputs.get(node.input.output));
        let schema = output.map(|output| output.schema.as_slice()).unwrap_or_default();
        outcomes.reject_rows(vec![(rejected, refusal.row)], schema, input);
        let others = (0..input.len() as u32).filter(|&row| row != refusal.row);
        Ok(input.gather(&others.collect::<Vec<_>>()))
    }
}

/// What the states of a guest depend on: their layout, and where rows are taken back what they counted for when they
/// came, which is for the module and its parameters to say. `names_module` is false for what was remembered once.
pub(super) fn fingerprint(guest: &AggregateGuest, names_module: bool) -> String {
    let description = &guest.module.description;
    let mut states = format!("{} with states {}", description.name, description.state);
    if !guest.retracts {
        return states;
    }
    if names_module {
        states += &format!(" of module {}", guest.module.digest);
    }
    if guest.parameters.is_empty() {
        return states;
    }
    let parameters = guest.parameters.iter().map(|(name, value)| format!("{name} = {value}"));
    format!("{states} under {}", parameters.collect::<Vec<_>>().join(", "))
}
