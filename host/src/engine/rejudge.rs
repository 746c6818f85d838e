//! Judging current rows anew, where another version of a rule over a changelog takes over.
//!
//! At the place of the swap, the rows that the changelog comes to ([`Operator::current_rows`](crate::operator::Operator)) are
//! judged by the rules behind it, as they were and as they are from there on. What differs goes on as a changelog: a row that
//! the former rules alone let through is deleted, one that the new ones alone let through is inserted, and one that both do is
//! updated where its columns are others. It passes the steps behind as the rows of one event, behind the last one and before
//! the next, in the order of the rows that were judged. So what is behind is as if the new rules had judged those rows always.
//!
//! Where that cannot be (the new rule fails on such a row, or a rule further on rejects what comes of it), the plan does not
//! take over, and nothing has changed.

use super::{
    Engine, Step,
    passing::{AllMoved, Passed},
    rules::{NewlyRejected, Refused, Rules, Verdict, judge_rows, key_columns, moved_rows, path_of},
};
use crate::{
    error::{Error, Result},
    limits::STATE_BUCKETS,
    model::{batch::Batch, delivery::Deliveries, ids::NodeId, row::push_key},
    plan::{NodeKind, Plan},
    text::printable,
};
use std::{collections::BTreeSet, mem};

/// The current rows as the former rules judged them.
#[derive(Debug, Default)]
pub(super) struct Before {
    rules: Vec<Rules>,
    /// For each of them and each bucket.
    verdicts: Vec<Vec<Verdict>>,
}

impl Engine {
    /// What the rules that run make of the current rows, where the stages at `changed` are to judge otherwise.
    pub(super) fn judged_before(&mut self, changed: &BTreeSet<NodeId>) -> Result<Before> {
        let rules = Rules::behind(&self.plan.clone(), changed);
        let verdicts = rules.iter().map(|rules| {
            let buckets = (0..STATE_BUCKETS).map(|bucket| {
                let rows = self.current_rows(rules.changelog, bucket)?;
                self.judge_current(rules, &rows, None)
            });
            buckets.collect()
        });
        let verdicts = verdicts.collect::<Result<_>>()?;
        Ok(Before { rules, verdicts })
    }

    /// Asks the rules of some current rows, each the guest that decides; after others were asked `before`, up to a failure.
    pub(super) fn judge_current(&mut self, rules: &Rules, rows: &Batch, before: Option<&Verdict>) -> Result<Verdict> {
        let plan = self.plan.clone();
        judge_rows(&plan, rules, rows, before, |at, stage_plan, rows, known| {
            match self.steps.get_mut(at) {
                Some(Step::Stage(stage)) => Ok(stage.ask_deciding(stage_plan, rows, known)),
                _ => Err(Error::defect(format!("step {at} judges a changelog and is no stage"))),
            }
        })
    }

    /// Judges the current rows anew, under the plan that runs by now, and passes on what is otherwise than `before`, under
    /// the plan `was`, as rows of the only delivery. All states have a savepoint.
    ///
    /// # Errors
    /// Why the plan cannot take over.
    pub(super) fn judge_anew(
        &mut self,
        before: Before,
        was: &Plan,
        deliveries: &Deliveries,
    ) -> Result<Passed, Refused> {
        let plan = self.plan.clone();
        let mut rejected = NewlyRejected::default();
        let mut moved = AllMoved::new();
        for (rules, before) in before.rules.iter().zip(before.verdicts) {
            let key = key_columns(&plan, rules.changelog)?;
            for (bucket, before) in before.into_iter().enumerate() {
                let rows = self.current_rows(rules.changelog, bucket)?;
                let after = self.judge_current(rules, &rows, Some(&before))?;
                let key = rows.pick(&key);
                let key_of = |row: u32| {
                    let mut bytes = Vec::new();
                    push_key(&mut bytes, &key, row as usize);
                    bytes
                };
                after.each_new_rejection(&before, |at, row, reason| {
                    rejected.push(at, key_of(row), reason.to_owned())
                });
                // One that fails on the others too, each time for as long as it may, would hold events up for hours.
                if after.failed_at.is_some() {
                    return Err(rejected.refused(&plan));
                }
                moved_rows(was, &plan, rules, &before, &after, |port, row, is| {
                    moved.entry(port).or_default().insert(&key_of(row), is);
                })?;
            }
        }
        if !rejected.is_empty() {
            return Err(rejected.refused(&plan));
        }
        // Of what the new rules made of the rows; what comes while these pass changes them as ever.
        self.keep_differences()?;
        self.pass_on_moved(moved, deliveries)
    }

    /// Asks both versions of each trial over a changelog of its current rows, where that was not done yet.
    ///
    /// # Errors
    /// Where a version on trial does not take a row that it took before.
    pub(super) fn begin_to_keep_differences(&mut self) -> Result<()> {
        if mem::replace(&mut self.keeps_differences, true) {
            return Ok(());
        }
        self.keep_differences().map_err(|refused| match refused {
            Refused::Defect(defect) => defect,
            Refused::Row(reason) => Error::environment(format!(
                "{reason}. It took that row before: start again, and where it stays like this, say which version is to run \
                 with weir deploy or weir rollback"
            )),
        })
    }

    pub(super) fn keep_differences(&mut self) -> Result<(), Refused> {
        let plan = self.plan.clone();
        for (at, node) in plan.nodes.iter_enumerated() {
            let (NodeKind::Stage(stage_plan), Some(Step::Stage(stage))) = (&node.kind, self.steps.get_mut(at)) else {
                continue;
            };
            let Some(path) = path_of(&plan, at).filter(|_| stage.is_on_trial()) else {
                continue;
            };
            stage.begin_differences();
            let first = path.first().and_then(|&first| plan.nodes.get(first)).unwrap_or(node);
            let rules = Rules {
                changelog: first.input,
                asked: path.into_iter().filter(|&before| before != at).collect(),
                affected: BTreeSet::new(),
            };
            for bucket in 0..STATE_BUCKETS {
                let rows = self.current_rows(rules.changelog, bucket)?;
                let verdict = self.judge_current(&rules, &rows, None)?;
                let input = match node.input == rules.changelog {
                    true => &rows,
                    false => verdict.input_of(&node.name, node.input)?,
                };
                if let Some(Step::Stage(stage)) = self.steps.get_mut(at) {
                    let step = &node.name;
                    stage.add_current(stage_plan, input).map_err(|reason| {
                        let reason = printable(&reason);
                        Refused::Row(format!(
                            "step \"{step}\" rejects a row that its input holds by now: {reason}"
                        ))
                    })?;
                }
            }
        }
        self.keeps_differences = true;
        self.keep_past();
        Ok(())
    }
}

impl Before {
    /// Whether no rule over a changelog changes.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

#[cfg(test)]
mod tests;
