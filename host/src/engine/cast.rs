//! Rules with guests of their own, off the data path: current rows are judged as they are judged now and as they would be, and
//! what differs is kept by key. A rehearsal does so for a swap that is to come, and a shadow for one that may come.

use super::{
    differences::{DifferencesByKey, differing_rows},
    passing::AllMoved,
    ready::MovedOutput,
    rules::{NewlyRejected, Rules, Verdict, all_columns, judge_rows, key_columns, moved_rows},
    verdicts::numbered,
    verdicts::{Known, Verdicts, ask_current},
};
use crate::{
    error::{OrDefect, Result},
    model::{
        batch::{Batch, RowKind},
        deployment::Deployment,
        guest::GuestFailure,
        ids::NodeId,
        row::push_key,
    },
    plan::{GuestHost, NodeKind, OutputPort, Plan, RunningStage, StagePlan},
};
use hashbrown::{HashMap, HashSet};
use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    sync::{Arc, atomic::AtomicBool},
};
use xxhash_rust::xxh3::xxh3_128;

/// What a cast is told.
#[derive(Debug)]
pub(super) enum Work {
    /// Rows on their way: the changes of one changelog, or current rows of it.
    Rows {
        /// Which of the rules.
        rules: usize,
        rows: Batch,
    },
    /// All current rows have come.
    All,
    /// So far the events have come.
    Through(u64),
    /// All current rows come once more, and this decides at the rules by now.
    Anew(BTreeMap<NodeId, Version>),
}

/// What differs.
#[derive(Debug, Default)]
pub(super) struct Rehearsed {
    /// The current rows that there are, where somebody wants to know how many.
    pub(super) current: Option<CurrentKeys>,
    /// By changelog the current rows of which anything is known here: of most there is nothing to forget.
    pub(super) known: BTreeMap<(NodeId, usize), CurrentKeys>,
    /// For each output the rows that are others, by the keys of their current rows.
    pub(super) moved: AllMoved,
    /// What the new rules reject and the former did not.
    pub(super) rejected: BTreeMap<NodeId, BTreeMap<Vec<u8>, String>>,
    /// The first row that a new rule failed on: it was asked of no others.
    pub(super) failure: Option<(NodeId, Vec<u8>, String)>,
    /// What versions on trial reject and their fallbacks do not.
    pub(super) failed: BTreeMap<NodeId, BTreeMap<Vec<u8>, String>>,
    /// The stages on trial that were compared with their fallbacks.
    pub(super) compared: BTreeSet<NodeId>,
    /// Where the versions that will be on trial differ from their fallbacks.
    pub(super) differences: BTreeMap<NodeId, DifferencesByKey>,
}

/// The keys of current rows, as hashes: a million of them are to take no more room than their columns.
#[derive(Debug, Default)]
pub(super) struct CurrentKeys(HashSet<u128>);

impl CurrentKeys {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn add(&mut self, key: &[u8]) {
        self.0.insert(xxh3_128(key));
    }

    /// Says whether it was there.
    fn remove(&mut self, key: &[u8]) -> bool {
        self.0.remove(&xxh3_128(key))
    }
}

/// Rules with their guests.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) was: Arc<Plan>,
    pub(super) plan: Arc<Plan>,
    pub(super) rules: Arc<Vec<Rules>>,
    guests: Guests,
    /// What is another version under `plan`.
    changes: BTreeMap<NodeId, Version>,
    /// What decides at each rule now, and what would.
    before: BTreeMap<NodeId, Version>,
    after: BTreeMap<NodeId, Version>,
    /// The stages that will be on trial.
    pub(super) on_trial: BTreeSet<NodeId>,
    /// The outputs whose changelogs are to be ready at the swap.
    pub(super) read_row_by_row: BTreeSet<(NodeId, usize)>,
}

/// Why there is no cast.
#[derive(Debug)]
pub(super) enum NoCast {
    /// No rule over a changelog changes.
    NothingChanges,
    /// The new version reads other columns.
    OtherColumns,
    /// A guest of this step cannot be made.
    Guest(String, GuestFailure),
}

/// Which version of a step decides: by its deployment and the digest of its module.
pub(super) type Version = (Deployment, String);

/// One guest for each version of each step, whichever plan it is of.
#[derive(Debug, Default)]
struct Guests {
    all: Vec<(NodeId, Version, Box<dyn RunningStage>)>,
}

impl Guests {
    /// Adds the guests of a stage that are not there yet.
    fn add(&mut self, at: NodeId, step: &str, plan: &StagePlan, host: &dyn GuestHost) -> Result<(), GuestFailure> {
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
    /// A cast for the stages at `changed`, which `plan` lets judge otherwise than `running` does.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect), where `plan` is one of another pipeline file.
    pub(super) fn of(
        running: &Arc<Plan>,
        plan: &Arc<Plan>,
        changed: &BTreeSet<NodeId>,
        host: &dyn GuestHost,
    ) -> Result<Result<Self, NoCast>> {
        let rules = Rules::behind(running, changed);
        if rules.is_empty() {
            return Ok(Err(NoCast::NothingChanges));
        }
        // Rows are handed over as they are now.
        let same_columns = rules.iter().all(|rules| {
            let names = |plan: &Plan| {
                let schema = plan.schema(rules.changelog).iter();
                let names = schema.map(|field| (field.name.clone(), field.column_type));
                names.collect::<Vec<_>>()
            };
            names(running) == names(plan)
        });
        if !same_columns {
            return Ok(Err(NoCast::OtherColumns));
        }
        let mut guests = Guests::default();
        let mut changes = BTreeMap::new();
        let asked: BTreeSet<NodeId> = rules.iter().flat_map(|rules| rules.asked.iter().copied()).collect();
        for (plan, at) in [running, plan]
            .into_iter()
            .flat_map(|plan| asked.iter().map(move |at| (plan, *at)))
        {
            let node = plan.nodes.get(at).or_defect(|| format!("there is no step {at}"))?;
            // One that gives other columns has no guest.
            let NodeKind::Stage(stage) = &node.kind else { continue };
            if let Err(failure) = guests.add(at, &node.name, stage, host) {
                return Ok(Err(NoCast::Guest(node.name.clone(), failure)));
            }
            if changed.contains(&at) {
                changes.insert(at, version_of(stage));
            }
        }
        Ok(Ok(Self {
            was: running.clone(),
            plan: plan.clone(),
            rules: Arc::new(rules),
            guests,
            changes,
            before: BTreeMap::new(),
            after: BTreeMap::new(),
            on_trial: BTreeSet::new(),
            read_row_by_row: BTreeSet::new(),
        }))
    }

    /// Says what decides at each rule now.
    pub(super) fn decide(&mut self, deciding: BTreeMap<NodeId, Version>) {
        self.after = deciding.clone();
        let changes = self.changes.iter();
        self.after.extend(changes.map(|(at, version)| (*at, version.clone())));
        self.before = deciding;
    }

    /// Tells all guests that nobody wants to know any more, once it is set.
    pub(super) fn over(&self) -> impl Iterator<Item = Arc<AtomicBool>> {
        self.guests.all.iter().map(|(.., guest)| guest.over())
    }

    /// Judges rows of a changelog, and notes what differs.
    pub(super) fn take(&mut self, rules: usize, all_rows: &Batch, rehearsed: &mut Rehearsed) -> Result<()> {
        let all = self.rules.clone();
        let rules = all
            .get(rules)
            .or_defect(|| "rows are rehearsed for no rule".to_owned())?;
        let key = key_columns(&self.was, rules.changelog)?;
        // The last word on each key.
        let columns = all_rows.pick(&key);
        let mut last: HashMap<Vec<u8>, u32> = HashMap::new();
        for row in 0..all_rows.len() as u32 {
            if all_rows.kind(row as usize) != RowKind::UpdateBefore {
                let mut bytes = Vec::new();
                push_key(&mut bytes, &columns, row as usize);
                last.insert(bytes, row);
            }
        }
        let gone = |row: u32| all_rows.kind(row as usize).retracts();
        if let Some(current) = &mut rehearsed.current {
            for (key, &row) in &last {
                match gone(row) {
                    true => drop(current.remove(key)),
                    false => current.add(key),
                }
            }
        }
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
            ..numbered(&all_rows.gather(&numbers))
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
        } = &mut *self;
        let before = judge_rows(was, rules, &rows, None, |at, plan, rows, known| {
            guests.ask_deciding(at, plan, before, rows, known)
        })?;
        let after = judge_rows(plan, rules, &rows, Some(&before), |at, plan, rows, known| {
            guests.ask_deciding(at, plan, after, rows, known)
        })?;
        for key in &keys {
            rehearsed.forget(rules, key);
        }
        let key_of = |row: u32| keys.get(row as usize).map_or(&[][..], |key| key.as_slice());
        if let Some(at) = after.failed_at {
            let rejected = after.rejected.get(&at).and_then(BTreeMap::last_key_value);
            let rejected = rejected.or_defect(|| format!("step {at} failed on no row"))?;
            rehearsed.failure = Some((at, key_of(*rejected.0).to_vec(), rejected.1.clone()));
            return Ok(());
        }
        moved_rows(&self.was, &self.plan, rules, &before, &after, |port, row, moved| {
            rehearsed.know(rules, key_of(row));
            let of_port = rehearsed.moved.entry(port);
            let of_port = of_port.or_insert_with(|| MovedOutput::new(self.read_row_by_row.contains(&port)));
            of_port.insert(key_of(row), moved);
        })?;
        after.each_new_rejection(&before, |at, row, reason| {
            rehearsed.know(rules, key_of(row));
            let of_step = rehearsed.rejected.entry(at).or_default();
            of_step.insert(key_of(row).to_vec(), reason.to_owned());
        });
        self.compare_with_fallbacks(rules, &rows, &after, &key_of, rehearsed)
    }

    fn compare_with_fallbacks<'k>(
        &mut self,
        rules: &Rules,
        rows: &Batch,
        after: &Verdict,
        key_of: &impl Fn(u32) -> &'k [u8],
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
                rehearsed.know(rules, key_of(row));
                let of_step = rehearsed.failed.entry(at).or_default();
                of_step.insert(key_of(row).to_vec(), reason.clone());
            }
            let on_trial = after.outputs.get(&at);
            let on_trial = on_trial.or_defect(|| format!("step {at} was not asked"))?;
            let mut differs = differing_rows(on_trial, &by_fallback.outputs);
            let columns = all_columns(input);
            for (place, row) in input.deliveries.iter().enumerate() {
                if let Some(outputs) = differs.remove(row) {
                    let mut read = Vec::new();
                    push_key(&mut read, &columns, place);
                    rehearsed.know(rules, key_of(*row));
                    let of_step = rehearsed.differences.entry(at).or_default();
                    of_step.insert(key_of(*row), read.into(), outputs);
                }
            }
        }
        Ok(())
    }
}

impl Rehearsed {
    /// Makes the changelogs ready that are read row by row, as far as they are not.
    pub(super) fn renew(&mut self, plan: &Plan) {
        for (&(node, output), moved) in &mut self.moved {
            if let Some(output) = plan.output(OutputPort { node, output }) {
                moved.renew(output);
            }
        }
    }

    fn know(&mut self, rules: &Rules, key: &[u8]) {
        let of_changelog = self.known.entry((rules.changelog.node, rules.changelog.output));
        of_changelog.or_default().add(key);
    }

    /// Forgets what is known of a key.
    fn forget(&mut self, rules: &Rules, key: &[u8]) {
        let known = self.known.get_mut(&(rules.changelog.node, rules.changelog.output));
        if !known.is_some_and(|known| known.remove(key)) {
            return;
        }
        for at in &rules.asked {
            self.rejected.get_mut(at).map(|rejected| rejected.remove(key));
            self.failed.get_mut(at).map(|failed| failed.remove(key));
            if let Some(differences) = self.differences.get_mut(at) {
                differences.forget(key);
            }
        }
        for ((at, _), moved) in &mut self.moved {
            if rules.asked.contains(at) {
                moved.remove(key);
            }
        }
    }

    /// The rows that the new rules do not take; of those that only a fallback takes, where its version `is_on_trial`.
    pub(super) fn newly_rejected(&self, is_on_trial: impl Fn(NodeId) -> bool) -> NewlyRejected {
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
