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
    Cut, Edges, Engine, Outcomes, Part, Place, Step, of,
    rules::{NewlyRejected, Refused, Rules, Verdict, judge_rows, key_columns, moved_rows, path_of, push_change},
    set,
};
use crate::{
    error::{Error, OrDefect, Result},
    fail_point,
    limits::STATE_BUCKETS,
    model::{
        column::Batch,
        delivery::Deliveries,
        ids::{IdVec, NodeId, SinkId},
        moved::MovedRows,
        row::push_key,
    },
    operator::ChangelogBuilder,
    plan::{Node, NodeKind, Output, OutputPort, Plan},
    sink::Sink,
    text::printable,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

/// The rows that a swap makes others, by step and output.
pub(super) type AllMoved = BTreeMap<(NodeId, usize), Arc<MovedRows>>;

/// The current rows as the former rules judged them.
#[derive(Debug, Default)]
pub(super) struct Before {
    rules: Vec<Rules>,
    /// For each of them and each bucket.
    verdicts: Vec<Vec<Verdict>>,
}

/// The rows of a swap, behind all steps.
#[derive(Debug)]
pub(super) struct Passed {
    edges: Edges,
    outcomes: Outcomes,
    differing: BTreeMap<(NodeId, usize), Differing>,
}

/// The rows that a swap makes others in an output.
#[derive(Debug)]
pub(super) struct Differing {
    pub(super) moved: Arc<MovedRows>,
    /// How many rows of the edge they are, in front of all others: none, where all that read them take them as they are.
    pub(super) in_front: usize,
}

/// The rows of a swap, while they pass.
#[derive(Debug)]
pub(super) struct AtSwap {
    /// What steps give on top of what they make of the rows that they read, and in front of it.
    differs: Edges,
    /// What stages make of these.
    judged: Edges,
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

    /// The current rows of an operator in one bucket.
    pub(super) fn current_rows(&mut self, changelog: OutputPort, bucket: usize) -> Result<Batch> {
        let operator = self.steps.get_mut(changelog.node).and_then(Step::operator);
        let rows = operator.and_then(|operator| operator.current_rows(bucket));
        rows.or_defect(|| format!("step {} does not say what its changelog comes to", changelog.node))
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
        let mut moved: BTreeMap<(NodeId, usize), MovedRows> = BTreeMap::new();
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
        let moved = moved.into_iter().map(|(port, rows)| (port, Arc::new(rows)));
        self.pass_on_moved(moved.collect(), deliveries)
    }

    /// Passes on rows that are others by now, each output's in their order.
    pub(super) fn pass_on_moved(&mut self, moved: AllMoved, deliveries: &Deliveries) -> Result<Passed, Refused> {
        let plan = self.plan.clone();
        let mut differs: Edges = plan.nodes.map(|_, node| vec![Batch::default(); node.outputs.len()]);
        let mut differing = BTreeMap::new();
        for ((at, number), moved) in moved {
            let port = OutputPort {
                node: at,
                output: number,
            };
            let output = plan.output(port);
            let output = output.or_defect(|| format!("step {at} has no output {number}"))?;
            let mut in_front = 0;
            if is_read_row_by_row(&plan, &self.sinks, port) {
                let rows = changelog_of(output, &moved);
                in_front = rows.len();
                let place = differs.get_mut(at).and_then(|outputs| outputs.get_mut(number));
                *place.or_defect(|| format!("step {at} has no place for its rows"))? = rows;
            }
            differing.insert((at, number), Differing { moved, in_front });
        }
        let (edges, outcomes) = self.pass_on(differs, deliveries)?;
        Ok(Passed {
            edges,
            outcomes,
            differing,
        })
    }

    /// Lets sinks have what passed.
    pub(super) fn collect_passed(&mut self, passed: &mut Passed) {
        let Passed {
            edges,
            outcomes,
            differing,
        } = passed;
        self.measure(edges);
        for (&(at, number), Differing { moved, in_front }) in &*differing {
            let needs_update_before = self.needs_update_before(at, number);
            if let (0, Some(step)) = (*in_front, self.metrics.steps().get(at)) {
                let outputs = (0..=number).map(|output| match output == number {
                    true => moved.changes(needs_update_before) as u64,
                    false => 0,
                });
                step.count(0, outputs);
            }
        }
        let behind = self.last_sequence;
        self.note_judged(differing, behind);
        self.collect(edges, Place::Swap { behind, differing }, outcomes);
    }

    /// Whether what reads an output wants to know of the row that an update replaces.
    pub(super) fn needs_update_before(&self, node: NodeId, output: usize) -> bool {
        let output = self.plan.output(OutputPort { node, output });
        output.is_some_and(|output| output.readers.needs_update_before)
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

    /// Runs `rows` of steps through those behind, as rows of the only delivery.
    fn pass_on(&mut self, rows: Edges, deliveries: &Deliveries) -> Result<(Edges, Outcomes), Refused> {
        let part = Part {
            deliveries,
            range: 0..1,
            events: self.plan.inputs.map(|_, _| Batch::default()),
        };
        let mut outcomes = Outcomes::new(1);
        let rejects = |step: &str, reason: &str| {
            let reason = printable(reason);
            Refused::Row(format!("step \"{step}\" rejects a row that would come of it: {reason}"))
        };
        self.forget_failures();
        fail_point::pass("before-rejudged");
        let at_swap = AtSwap {
            judged: rows.map(|_, _| Vec::new()),
            differs: rows,
        };
        let passed = self.pass(&part, Some(at_swap), &mut outcomes);
        self.forget_failures();
        let edges = passed.map_err(|cut| match cut {
            Cut::Undo(rejected) => rejects(&rejected.step, &rejected.reason),
            Cut::Stop(_, stopped) => rejects(&stopped.step, &stopped.reason),
            Cut::Defect(defect) => Refused::Defect(defect),
        })?;
        let of_rows = outcomes.dead_rows.iter().map(|row| &row.rejected);
        if let Some(rejected) = outcomes.rejected.iter().chain(of_rows).next() {
            return Err(rejects(&rejected.step, &rejected.reason));
        }
        Ok((edges, outcomes))
    }
}

impl Engine {
    /// Runs the stage `node`, the step `at`, while the rows of a swap pass.
    pub(super) fn stage_at_swap(
        &mut self,
        at: NodeId,
        node: &Node,
        swap: &mut AtSwap,
        edges: &Edges,
        deliveries: &Deliveries,
        outcomes: &mut Outcomes,
    ) -> Result<Vec<Batch>, Cut> {
        // What it makes of rows of the swap that come from a stage is among the rows of the swap already.
        let before = self.plan.nodes.get(node.input.node).map(|before| &before.kind);
        let input = match before {
            Some(NodeKind::Stage(_)) => of(&swap.judged, node.input),
            _ => of(edges, node.input),
        };
        let output = self.stage(at, node, input, deliveries, outcomes)?;
        let both = swap.with_differing(at, output.clone())?;
        set(&mut swap.judged, at, output)?;
        Ok(both)
    }
}

impl AtSwap {
    /// What the step `at` gives: the rows of the swap at its own outputs, and behind them its `output`.
    pub(super) fn with_differing(&self, at: NodeId, output: Vec<Batch>) -> Result<Vec<Batch>> {
        let differs = self.differs.get(at);
        let differs = differs.or_defect(|| format!("step {at} has no place at a swap"))?;
        let both = differs.iter().zip(output);
        let both = both.map(|(differs, output)| Batch::merge(vec![differs.clone(), output]));
        Ok(both.collect())
    }
}

impl Before {
    /// Whether no rule over a changelog changes.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// Whether anything but rules, and tables that take the rows of a swap as they are, reads an output.
fn is_read_row_by_row(plan: &Plan, sinks: &IdVec<SinkId, Sink>, port: OutputPort) -> bool {
    let steps = plan
        .nodes
        .iter()
        .filter(|node| !matches!(node.kind, NodeKind::Stage(_)));
    let lookup_tables = plan.tables.iter().filter_map(|table| table.update.as_ref());
    let sinks = sinks.iter().zip(&plan.sinks).filter(|(sink, _)| !sink.takes_moved());
    let mut read = steps
        .flat_map(Node::inputs)
        .chain(lookup_tables.map(|(input, _)| *input))
        .chain(sinks.map(|(_, plan)| plan.input));
    read.any(|input| input == port)
}

fn changelog_of(output: &Output, rows: &MovedRows) -> Batch {
    let needs_update_before = output.readers.needs_update_before;
    let mut out = ChangelogBuilder::new(&output.schema, rows.changes(needs_update_before));
    for (_, moved) in rows {
        push_change(&mut out, needs_update_before, 0, moved);
    }
    out.finish()
}

#[cfg(test)]
mod tests;
