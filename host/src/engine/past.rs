//! Rows that are past: a window that takes no rows in any more leaves what it gave as it was judged, without a word in its
//! changelog. Whoever keeps something of current rows has to hear of it: a rehearsal, a candidate, a trial.

use super::{Engine, Step, handing::Handing, rules::path_of, unfolded::holder_of};
use crate::{
    error::Result,
    model::{batch::Batch, ids::NodeId},
    operator::Operator,
};
use std::collections::BTreeSet;

impl Engine {
    /// Lets the operators in front of rules of which somebody keeps something say which rows are past, and the others not.
    pub(super) fn keep_past(&mut self) {
        let plan = self.plan.clone();
        let mut wanted = self.steps_before_rules();
        for (at, step) in self.steps.iter_enumerated() {
            if let Step::Stage(stage) = step
                && stage.is_on_trial()
                && let Some(first) = path_of(&plan, at).and_then(|path| plan.nodes.get(*path.first()?))
            {
                wanted.insert(first.input.node);
            }
        }
        // What unfolds rows asks whoever holds them.
        wanted = wanted.into_iter().map(|at| holder_of(&plan, at)).collect();
        for (at, step) in self.steps.iter_mut_enumerated() {
            if let Some(operator) = step.operator() {
                operator.keep_past(wanted.contains(&at));
            }
        }
    }

    /// The operators in front of rules of which a rehearsal or a candidate hears.
    fn steps_before_rules(&self) -> BTreeSet<NodeId> {
        let rehearsal = self.rehearsal.iter().map(|rehearsal| &rehearsal.handing);
        let comparisons = self.comparisons.values().map(|comparison| &comparison.handing);
        let rules = rehearsal.chain(comparisons).flat_map(Handing::rules);
        rules.map(|rules| rules.changelog.node).collect()
    }

    /// Notes which rows of the operator `at` are past since the step ran before.
    pub(super) fn note_past(&mut self, at: NodeId) -> Result<()> {
        let past = self.steps.get_mut(at).and_then(Step::operator);
        let mut past = past.map(Operator::take_past).unwrap_or_default();
        if past.is_empty() {
            past = self.past_unfolded(at)?;
        }
        match past.is_empty() {
            true => drop(self.past.remove(&at)),
            false => drop(self.past.insert(at, past)),
        }
        Ok(())
    }

    /// What the stage `at` reads of rows that are past, where it is on trial: each as a row that goes, with the delivery behind
    /// which it is past.
    pub(super) fn past_of_trial(&mut self, at: NodeId) -> Result<Batch> {
        let is_on_trial = matches!(self.steps.get(at), Some(Step::Stage(stage)) if stage.is_on_trial());
        if self.past.is_empty() || !is_on_trial {
            return Ok(Batch::default());
        }
        let plan = self.plan.clone();
        let path = path_of(&plan, at);
        let first = path.and_then(|path| Some(plan.nodes.get(*path.first()?)?.input.node));
        let (Some(past), Some(node)) = (
            first.and_then(|first| self.past.get(&first).cloned()),
            plan.nodes.get(at),
        ) else {
            return Ok(Batch::default());
        };
        self.past_through_rules(&plan, node.input, &past)
    }
}
