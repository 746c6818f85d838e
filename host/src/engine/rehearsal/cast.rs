//! The thread of a rehearsal: rules with guests of their own, and what they find.

use crate::{
    engine::{
        differences::{DifferingRow, differing_rows},
        rules::{Moved, NewlyRejected, Rules, Verdict, all_columns, judge_rows, key_columns, moved_rows},
        trial::numbered,
        verdicts::{Known, Verdicts, ask_current},
    },
    error::{OrDefect, Result, take_defect},
    fail_point,
    model::{
        column::{Batch, RowKind},
        deployment::Deployment,
        guest::GuestFailure,
        ids::NodeId,
        row::push_key,
    },
    plan::{GuestHost, NodeKind, Plan, RunningStage, StagePlan},
};
use crossbeam_channel::{Receiver, Sender};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    iter,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Rows on their way: the changes of one changelog.
#[derive(Debug)]
pub(super) struct Work {
    /// Which of the rules.
    pub(super) rules: usize,
    pub(super) rows: Batch,
}

/// What differs at the swap.
#[derive(Debug, Default)]
pub(in crate::engine) struct Rehearsed {
    /// For each output the rows that are others, by the keys of their current rows.
    pub(in crate::engine) moved: BTreeMap<(NodeId, usize), BTreeMap<Vec<u8>, Moved>>,
    /// What the new rules reject and the former did not.
    pub(super) rejected: BTreeMap<NodeId, BTreeMap<Vec<u8>, String>>,
    /// The first row that a new rule failed on: it was asked of no others.
    pub(super) failure: Option<(NodeId, Vec<u8>, String)>,
    /// What versions on trial reject and their fallbacks do not.
    pub(super) failed: BTreeMap<NodeId, BTreeMap<Vec<u8>, String>>,
    /// The stages on trial that were compared with their fallbacks.
    pub(in crate::engine) compared: BTreeSet<NodeId>,
    /// Where the versions that will be on trial differ from their fallbacks.
    pub(in crate::engine) differences: BTreeMap<NodeId, BTreeMap<Vec<u8>, DifferingRow>>,
}

/// The rules of a rehearsal, with their guests.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) was: Arc<Plan>,
    pub(super) plan: Arc<Plan>,
    pub(super) rules: Arc<Vec<Rules>>,
    pub(super) guests: Guests,
    /// What decides at each rule now, and what will.
    pub(super) before: BTreeMap<NodeId, Version>,
    pub(super) after: BTreeMap<NodeId, Version>,
    /// The stages that will be on trial.
    pub(super) on_trial: BTreeSet<NodeId>,
}

/// Which version of a step decides: by its deployment and the digest of its module.
pub(super) type Version = (Deployment, String);

/// One guest for each version of each step, whichever plan it is of.
#[derive(Debug, Default)]
pub(super) struct Guests {
    pub(super) all: Vec<(NodeId, Version, Box<dyn RunningStage>)>,
}

impl Guests {
    /// Adds the guests of a stage that are not there yet.
    pub(super) fn add(
        &mut self,
        at: NodeId,
        step: &str,
        plan: &StagePlan,
        host: &dyn GuestHost,
    ) -> Result<(), GuestFailure> {
        for plan in iter::once(plan).chain(plan.fallback.as_deref()) {
            let version = version_of(plan);
            if self.find(at, &version).is_none() {
                let mut guest = plan.guest(host, plan.deployment.whose(step));
                guest.configure()?;
                guest.warm_up()?;
                self.all.push((at, version, guest));
            }
        }
        Ok(())
    }

    fn find(&mut self, at: NodeId, version: &Version) -> Option<&mut Box<dyn RunningStage>> {
        let mut all = self.all.iter_mut();
        all.find_map(|(of, known, guest)| ((*of, &*known) == (at, version)).then_some(guest))
    }

    /// Asks the guest of `plan`.
    fn ask(&mut self, at: NodeId, plan: &StagePlan, rows: &Batch, known: Option<Known<'_>>) -> Result<Verdicts> {
        let guest = self.find(at, &version_of(plan));
        let guest = guest.or_defect(|| format!("step {at} has no such guest in the rehearsal"))?;
        Ok(ask_current(&mut **guest, plan, rows, known))
    }

    /// Asks the one that decides at a stage.
    fn ask_deciding(
        &mut self,
        at: NodeId,
        plan: &StagePlan,
        deciding: &BTreeMap<NodeId, Version>,
        rows: &Batch,
        known: Option<Known<'_>>,
    ) -> Result<Verdicts> {
        let decides = |plan: &&StagePlan| deciding.get(&at).is_some_and(|deciding| *deciding == version_of(plan));
        let mut either = iter::once(plan).chain(plan.fallback.as_deref());
        let plan = either.find(decides);
        let plan = plan.or_defect(|| format!("nothing decides at step {at} in the rehearsal"))?;
        self.ask(at, plan, rows, known)
    }
}

pub(super) fn version_of(plan: &StagePlan) -> Version {
    (plan.deployment.clone(), plan.module.digest.clone())
}

impl Cast {
    /// Judges rows of a changelog, and notes what differs.
    fn take(&mut self, work: &Work, rehearsed: &mut Rehearsed) -> Result<()> {
        let all = self.rules.clone();
        let rules = all
            .get(work.rules)
            .or_defect(|| "rows are rehearsed for no rule".to_owned())?;
        let key = key_columns(&self.was, rules.changelog)?;
        // The last word on each key.
        let columns = work.rows.pick(&key);
        let mut last: HashMap<Vec<u8>, u32> = HashMap::new();
        for row in 0..work.rows.len() as u32 {
            if work.rows.kind(row as usize) != RowKind::UpdateBefore {
                let mut bytes = Vec::new();
                push_key(&mut bytes, &columns, row as usize);
                last.insert(bytes, row);
            }
        }
        let gone = |row: u32| work.rows.kind(row as usize).retracts();
        for key in last.iter().filter(|(_, row)| gone(**row)).map(|(key, _)| key) {
            rehearsed.forget(rules, key);
        }
        let mut current: Vec<(u32, &Vec<u8>)> = last.iter().map(|(key, &row)| (row, key)).collect();
        current.retain(|(row, _)| !gone(*row));
        current.sort_unstable();
        let numbers: Vec<u32> = current.iter().map(|(row, _)| *row).collect();
        let keys: Vec<&Vec<u8>> = current.into_iter().map(|(_, key)| key).collect();
        let rows = Batch {
            kinds: None,
            ..numbered(&work.rows.gather(&numbers))
        };
        if rows.is_empty() {
            return Ok(());
        }
        let Self {
            was,
            plan,
            guests,
            before,
            after,
            ..
        } = self;
        let before = judge_rows(was, rules, &rows, None, |at, plan, rows, known| {
            guests.ask_deciding(at, plan, before, rows, known)
        })?;
        let after = judge_rows(plan, rules, &rows, Some(&before), |at, plan, rows, known| {
            guests.ask_deciding(at, plan, after, rows, known)
        })?;
        for key in &keys {
            rehearsed.forget(rules, key);
        }
        let key_of = |row: u32| keys.get(row as usize).map(|key| (*key).clone()).unwrap_or_default();
        if let Some(at) = after.failed_at {
            let rejected = after.rejected.get(&at).and_then(BTreeMap::last_key_value);
            let rejected = rejected.or_defect(|| format!("step {at} failed on no row"))?;
            rehearsed.failure = Some((at, key_of(*rejected.0), rejected.1.clone()));
            return Ok(());
        }
        moved_rows(
            &self.was,
            &self.plan,
            rules,
            &before,
            &after,
            |port, row, before, after| {
                let moved = Moved {
                    of: key_of(row),
                    before,
                    after,
                };
                rehearsed.moved.entry(port).or_default().insert(moved.of.clone(), moved);
            },
        )?;
        after.each_new_rejection(&before, |at, row, reason| {
            let of_step = rehearsed.rejected.entry(at).or_default();
            of_step.insert(key_of(row), reason.to_owned());
        });
        self.compare_with_fallbacks(rules, &rows, &after, &key_of, rehearsed)
    }

    fn compare_with_fallbacks(
        &mut self,
        rules: &Rules,
        rows: &Batch,
        after: &Verdict,
        key_of: &impl Fn(u32) -> Vec<u8>,
        rehearsed: &mut Rehearsed,
    ) -> Result<()> {
        for &at in rules.asked.iter().filter(|at| self.on_trial.contains(at)) {
            rehearsed.compared.insert(at);
            let node = self.plan.nodes.get(at).or_defect(|| format!("there is no step {at}"))?;
            let NodeKind::Stage(plan) = &node.kind else { continue };
            let Some(fallback) = &plan.fallback else { continue };
            let input = match node.input == rules.changelog {
                true => rows,
                false => after.input_of(&node.name, node.input)?,
            };
            let by_fallback = self.guests.ask(at, fallback, input, None)?;
            let taken: BTreeSet<u32> = by_fallback
                .rejected
                .iter()
                .map(|rejected| input.delivery(rejected.row as usize))
                .collect();
            let rejected = after.rejected.get(&at).into_iter().flatten();
            for (&row, reason) in rejected.filter(|(row, _)| !taken.contains(row)) {
                let of_step = rehearsed.failed.entry(at).or_default();
                of_step.insert(key_of(row), reason.clone());
            }
            let on_trial = after.outputs.get(&at);
            let on_trial = on_trial.or_defect(|| format!("step {at} was not asked"))?;
            let mut differs = differing_rows(on_trial, &by_fallback.outputs);
            let columns = all_columns(input);
            for (place, row) in input.deliveries.iter().enumerate() {
                if let Some(outputs) = differs.remove(row) {
                    let mut read = Vec::new();
                    push_key(&mut read, &columns, place);
                    let of_step = rehearsed.differences.entry(at).or_default();
                    of_step.insert(key_of(*row), DifferingRow { read, outputs });
                }
            }
        }
        Ok(())
    }

    /// Judges what comes, until there is no more.
    pub(super) fn run(
        mut self,
        todo: &Receiver<Work>,
        judged: &AtomicU64,
        nobody_wants: &AtomicBool,
        done: &Sender<Rehearsed>,
    ) {
        let mut rehearsed = Rehearsed::default();
        while let Ok(work) = todo.recv() {
            let taken = self.take(&work, &mut rehearsed).and_then(|()| take_defect());
            if nobody_wants.load(Ordering::Relaxed) {
                return;
            }
            if let Err(defect) = taken {
                tracing::error!("a rehearsal ends: {defect}");
                return;
            }
            if rehearsed.failure.is_some() {
                break;
            }
            fail_point::pass("in-rehearsal");
            judged.fetch_add(1, Ordering::Release);
        }
        let _ = done.send(rehearsed);
    }
}

impl Rehearsed {
    /// Forgets what is known of a key.
    fn forget(&mut self, rules: &Rules, key: &[u8]) {
        for at in &rules.asked {
            self.rejected.get_mut(at).map(|rejected| rejected.remove(key));
            self.failed.get_mut(at).map(|failed| failed.remove(key));
            self.differences.get_mut(at).map(|differences| differences.remove(key));
        }
        for ((at, _), moved) in &mut self.moved {
            if rules.asked.contains(at) {
                moved.remove(key);
            }
        }
    }

    /// The rows that the new rules do not take; of those that only a fallback takes, where its version `is_on_trial`.
    pub(in crate::engine) fn newly_rejected(&self, is_on_trial: impl Fn(NodeId) -> bool) -> NewlyRejected {
        let mut all = NewlyRejected::default();
        if let Some((at, key, reason)) = &self.failure {
            all.push(*at, key.clone(), reason.clone());
            return all;
        }
        for (&at, rejected) in &self.rejected {
            let each = rejected.iter();
            each.for_each(|(key, reason)| all.push(at, key.clone(), reason.clone()));
        }
        for (&at, failed) in self.failed.iter().filter(|(at, _)| is_on_trial(**at)) {
            let known = self.rejected.get(&at);
            let others = failed
                .iter()
                .filter(|(key, _)| known.is_none_or(|known| !known.contains_key(*key)));
            others.for_each(|(key, reason)| all.push(at, key.clone(), reason.clone()));
        }
        all
    }
}
