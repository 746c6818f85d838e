//! Steps that unfold rows, over changelogs. They keep nothing: what their changelog comes to follows from what that of their input comes
//! to, and so do the rows that are past.

use super::{
    Engine, Step,
    rules::{Rules, path_of},
    verdicts::numbered,
};
use crate::{
    error::{OrDefect, Result},
    limits::STATE_BUCKETS,
    model::{batch::Batch, ids::NodeId},
    plan::{OutputPort, Plan},
};
use std::collections::{BTreeMap, BTreeSet};

/// Current rows of steps that unfold them, by step and bucket, as they were before a swap.
pub(super) type HeldRows = BTreeMap<(NodeId, usize), Batch>;

impl Engine {
    /// The current rows of an operator in one bucket; of a step that unfolds rows those that it makes of the rows that its input holds
    /// in that bucket.
    pub(super) fn current_rows(&mut self, changelog: OutputPort, bucket: usize) -> Result<Batch> {
        let at = changelog.node;
        if let Some(rows) = self.held_rows.get(&(at, bucket)) {
            return Ok(rows.clone());
        }
        let operator = self.steps.get_mut(at).and_then(Step::operator);
        if let Some(rows) = operator.and_then(|operator| operator.current_rows(bucket)) {
            return Ok(rows);
        }
        let plan = self.plan.clone();
        let input = unfolded_input(&plan, at);
        let input = input.or_defect(|| format!("step {at} does not say what its changelog comes to"))?;
        let rows = self.current_rows(changelog_of(&plan, input), bucket)?;
        let rows = self.through_rules(&plan, input, &rows)?;
        Ok(numbered(&self.unfold(at, &rows)?))
    }

    /// What the rules between a changelog and a port make of rows of it, whose deliveries are their numbers.
    pub(super) fn through_rules(&mut self, plan: &Plan, port: OutputPort, rows: &Batch) -> Result<Batch> {
        let Some(asked) = path_of(plan, port.node) else {
            return Ok(rows.clone());
        };
        let rules = Rules {
            changelog: changelog_of(plan, port),
            asked,
            affected: BTreeSet::new(),
        };
        let verdict = self.judge_current(&rules, rows, None)?;
        let name = plan
            .nodes
            .get(port.node)
            .map(|node| node.name.as_str())
            .unwrap_or_default();
        verdict.input_of(name, port).cloned()
    }

    /// What the step `at` makes of each of these rows.
    fn unfold(&mut self, at: NodeId, rows: &Batch) -> Result<Batch> {
        let operator = self.steps.get_mut(at).and_then(Step::operator);
        let unfolded = operator.map(|operator| operator.unfold(rows)).transpose()?.flatten();
        unfolded.or_defect(|| format!("step {at} does not unfold rows"))
    }

    /// The rows that are past of what the step `at` unfolds, where it does.
    pub(super) fn past_unfolded(&mut self, at: NodeId) -> Result<Batch> {
        let plan = self.plan.clone();
        let Some(input) = unfolded_input(&plan, at).filter(|_| !self.past.is_empty()) else {
            return Ok(Batch::default());
        };
        let Some(past) = self.past.get(&changelog_of(&plan, input).node).cloned() else {
            return Ok(Batch::default());
        };
        let rows = self.past_through_rules(&plan, input, &past)?;
        self.unfold(at, &rows)
    }

    /// What the rules between a changelog and a port made of rows that are past, each with its delivery.
    pub(super) fn past_through_rules(&mut self, plan: &Plan, port: OutputPort, past: &Batch) -> Result<Batch> {
        let rows = self.through_rules(plan, port, &numbered(past))?;
        let deliveries = rows.deliveries.iter().map(|&row| past.delivery(row as usize));
        Ok(Batch {
            deliveries: deliveries.collect(),
            ..rows
        })
    }

    /// Before a swap that changes the stages at `changed`: holds the current rows of each step that unfolds what one of them makes, where
    /// a rule behind it changes too, or is on trial. At the swap that one judges the rows as they were; what the former makes others
    /// passes it then, as ever.
    pub(super) fn hold_unfolded(&mut self, changed: &BTreeSet<NodeId>) -> Result<()> {
        let plan = self.plan.clone();
        let mut held = BTreeSet::new();
        for (at, step) in self.steps.iter_enumerated() {
            let Step::Stage(stage) = step else { continue };
            let Some(path) = path_of(&plan, at) else { continue };
            let asks = stage.is_on_trial() || path.iter().any(|step| changed.contains(step));
            let Some(first) = path.first().and_then(|&first| plan.nodes.get(first)).filter(|_| asks) else {
                continue;
            };
            let mut before = first.input.node;
            let mut changes = false;
            while let Some(input) = unfolded_input(&plan, before) {
                changes |=
                    path_of(&plan, input.node).is_some_and(|path| path.iter().any(|step| changed.contains(step)));
                before = changelog_of(&plan, input).node;
            }
            if changes {
                held.insert((first.input.node, first.input.output));
            }
        }
        for (node, output) in held {
            for bucket in 0..STATE_BUCKETS {
                let rows = self.current_rows(OutputPort { node, output }, bucket)?;
                self.held_rows.insert((node, bucket), rows);
            }
        }
        Ok(())
    }
}

/// What the step `at` unfolds, where that is a changelog.
fn unfolded_input(plan: &Plan, at: NodeId) -> Option<OutputPort> {
    let node = plan.nodes.get(at)?;
    Some(node.input).filter(|&input| node.kind.unfolds() && plan.is_changelog(input))
}

/// The changelog of an operator that a port is, or that rules made it of.
fn changelog_of(plan: &Plan, port: OutputPort) -> OutputPort {
    let first = path_of(plan, port.node).and_then(|path| plan.nodes.get(*path.first()?));
    first.map_or(port, |first| first.input)
}

/// The operator that holds the rows which a step unfolds; the step itself where it does not unfold a changelog.
pub(super) fn holder_of(plan: &Plan, mut at: NodeId) -> NodeId {
    while let Some(input) = unfolded_input(plan, at) {
        at = changelog_of(plan, input).node;
    }
    at
}
