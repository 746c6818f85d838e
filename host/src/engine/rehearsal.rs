//! A rehearsal: the current rows are judged anew beside the data path, so that the swap only has to pass on what differs.
//!
//! The rules have guests of their own here, as they judge now and as they will. Between batches the engine hands over current
//! rows, a bucket at a time, and with each batch what it changed of the changelog. Both arrive in that order, so that the last
//! word on a key is how it stands: at the swap, all that was handed over has been judged.

use super::{
    Edges, Engine, Outcomes, Step,
    differences::{DifferingRow, differing_rows},
    of,
    rejudge::{
        Moved, NewlyRejected, Refused, Rules, Verdict, all_columns, judge_rows, key_columns, moved_rows, path_of,
    },
    swap::Successor,
    trial::numbered,
    verdicts::{Known, Verdicts, ask_current},
};
use crate::{
    error::{Error, OrDefect, Result, take_defect},
    limits::{REHEARSED_AHEAD_MAX, REHEARSED_BEHIND_MAX, STATE_BUCKETS},
    model::{
        column::{Batch, RowKind},
        delivery::Deliveries,
        deployment::Deployment,
        guest::GuestFailure,
        ids::NodeId,
        row::push_key,
    },
    plan::{GuestHost, NodeKind, Plan, RunningStage, StagePlan},
};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    iter,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// What the engine holds of a rehearsal.
#[derive(Debug)]
pub(super) struct Rehearsal {
    /// The plan that runs, and the one that is to take over.
    was: Arc<Plan>,
    plan: Arc<Plan>,
    rules: Arc<Vec<Rules>>,
    /// What decided at each rule when it began.
    deciding: Vec<Deciding>,
    /// Closed where the rehearsal has ended.
    work: Sender<Work>,
    rehearsed: Receiver<Rehearsed>,
    /// How much was handed over, and how much of it is judged.
    handed: u64,
    judged: Arc<AtomicU64>,
    /// Whether the thread has ended.
    has_ended: Arc<AtomicBool>,
    /// The next bucket to hand over.
    bucket: usize,
    leaves: Leaves,
}

/// Ends the thread and what its guests are at, where nobody wants to know any more.
#[derive(Debug)]
struct Leaves(Vec<Arc<AtomicBool>>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.iter().for_each(|over| over.store(true, Ordering::Relaxed));
    }
}

/// Says that the thread has ended, however it did.
struct Ends(Arc<AtomicBool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

type Deciding = (NodeId, Version);

/// A successor with a rehearsal that is ready to begin.
#[derive(Debug)]
pub struct Prepared {
    successor: Box<Successor>,
    cast: Cast,
}

/// Rows on their way: the changes of one changelog.
#[derive(Debug)]
struct Work {
    /// Which of the rules.
    rules: usize,
    rows: Batch,
}

/// What differs at the swap.
#[derive(Debug, Default)]
pub(super) struct Rehearsed {
    /// For each output the rows that are others, by the keys of their current rows.
    pub(super) moved: BTreeMap<(NodeId, usize), BTreeMap<Vec<u8>, Moved>>,
    /// What the new rules reject and the former did not.
    rejected: BTreeMap<NodeId, BTreeMap<Vec<u8>, String>>,
    /// The first row that a new rule failed on: it was asked of no others.
    failure: Option<(NodeId, Vec<u8>, String)>,
    /// What versions on trial reject and their fallbacks do not.
    failed: BTreeMap<NodeId, BTreeMap<Vec<u8>, String>>,
    /// The stages on trial that were compared with their fallbacks.
    pub(super) compared: BTreeSet<NodeId>,
    /// Where the versions that will be on trial differ from their fallbacks.
    pub(super) differences: BTreeMap<NodeId, BTreeMap<Vec<u8>, DifferingRow>>,
}

/// The rules of a rehearsal, with their guests.
#[derive(Debug)]
struct Cast {
    was: Arc<Plan>,
    plan: Arc<Plan>,
    rules: Arc<Vec<Rules>>,
    guests: Guests,
    /// What decides at each rule now, and what will.
    before: BTreeMap<NodeId, Version>,
    after: BTreeMap<NodeId, Version>,
    /// The stages that will be on trial.
    on_trial: BTreeSet<NodeId>,
}

/// Which version of a step decides: by its deployment and the digest of its module.
type Version = (Deployment, String);

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

fn version_of(plan: &StagePlan) -> Version {
    (plan.deployment.clone(), plan.module.digest.clone())
}

impl Successor {
    /// Gets a rehearsal ready, where current rows have to be judged anew; else gives the successor back. What cannot be
    /// rehearsed is judged at the swap itself.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect), where it is a plan of another pipeline file.
    pub fn rehearse(self: Box<Self>, running: &Arc<Plan>, host: &dyn GuestHost) -> Result<Result<Prepared, Box<Self>>> {
        let plan = self.plan().clone();
        let rules = Rules::behind(running, &self.changed());
        // Rows are handed over as they are now.
        let same_columns = rules.iter().all(|rules| {
            let names = |plan: &Plan| {
                let schema = plan.schema(rules.changelog).iter();
                let names = schema.map(|field| (field.name.clone(), field.column_type));
                names.collect::<Vec<_>>()
            };
            names(running) == names(&plan)
        });
        if rules.is_empty() || !same_columns {
            return Ok(Err(self));
        }
        let mut guests = Guests::default();
        let asked: BTreeSet<NodeId> = rules.iter().flat_map(|rules| rules.asked.iter().copied()).collect();
        for (plan, at) in [running, &plan]
            .into_iter()
            .flat_map(|plan| asked.iter().map(move |at| (plan, *at)))
        {
            let node = plan.nodes.get(at).or_defect(|| format!("there is no step {at}"))?;
            let NodeKind::Stage(stage) = &node.kind else {
                return Err(Error::defect(format!(
                    "step \"{}\" is asked and is no stage",
                    node.name
                )));
            };
            if let Err(failure) = guests.add(at, &node.name, stage, host) {
                tracing::warn!(
                    step = node.name,
                    "step {} is swapped without a rehearsal, so events wait while current rows are judged: {failure}",
                    node.name
                );
                return Ok(Err(self));
            }
        }
        let cast = Cast {
            was: running.clone(),
            plan,
            rules: Arc::new(rules),
            guests,
            before: BTreeMap::new(),
            after: BTreeMap::new(),
            on_trial: BTreeSet::new(),
        };
        Ok(Ok(Prepared { successor: self, cast }))
    }
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

    fn run(mut self, todo: &Receiver<Work>, judged: &AtomicU64, nobody_wants: &AtomicBool, done: &Sender<Rehearsed>) {
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

impl Engine {
    /// Begins a rehearsal. Gives the successor, for when [`Engine::is_rehearsed`].
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn begin_rehearsal(&mut self, prepared: Prepared) -> Result<Box<Successor>> {
        let Prepared { successor, mut cast } = prepared;
        self.begin_to_keep_differences()?;
        let changed = successor.changed();
        let deciding = self.deciding_of(&cast.rules);
        cast.before = deciding.iter().cloned().collect();
        cast.after = cast.before.clone();
        for &at in &changed {
            if let Some(NodeKind::Stage(stage)) = cast.plan.nodes.get(at).map(|node| &node.kind) {
                cast.after.insert(at, version_of(stage));
            }
        }
        let on_trial = cast.plan.nodes.iter_enumerated().filter_map(|(at, node)| {
            let NodeKind::Stage(stage) = &node.kind else {
                return None;
            };
            let running = match self.steps.get(at) {
                Some(Step::Stage(running)) => running.is_on_trial(),
                _ => false,
            };
            let begins = stage.fallback.is_some() && stage.trial.rows > 0;
            let is_on_trial = match changed.contains(&at) {
                true => begins,
                false => running,
            };
            is_on_trial.then_some(at)
        });
        cast.on_trial = on_trial.collect();
        let (work, todo) = unbounded();
        let (done, rehearsed) = bounded(1);
        let (judged, nobody_wants) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let ends = Ends(Arc::new(AtomicBool::new(false)));
        let over = cast.guests.all.iter().map(|(.., guest)| guest.over());
        let leaves = Leaves(iter::once(nobody_wants.clone()).chain(over).collect());
        self.rehearsal = Some(Rehearsal {
            was: cast.was.clone(),
            plan: cast.plan.clone(),
            rules: cast.rules.clone(),
            deciding,
            work,
            rehearsed,
            handed: 0,
            judged: judged.clone(),
            has_ended: ends.0.clone(),
            bucket: 0,
            leaves,
        });
        let thread = thread::Builder::new().name("weir-rehearsal".to_owned());
        thread
            .spawn(move || {
                let _ends = ends;
                cast.run(&todo, &judged, &nobody_wants, &done);
            })
            .map_err(|cause| Error::environment(format!("cannot start thread weir-rehearsal: {cause}")))?;
        Ok(successor)
    }

    /// What decides at the rules.
    fn deciding_of(&self, rules: &[Rules]) -> Vec<Deciding> {
        let asked: BTreeSet<NodeId> = rules.iter().flat_map(|rules| rules.asked.iter().copied()).collect();
        let deciding = asked.into_iter().filter_map(|at| {
            let (NodeKind::Stage(plan), Step::Stage(stage)) = (&self.plan.nodes.get(at)?.kind, self.steps.get(at)?)
            else {
                return None;
            };
            let decides = stage.deciding(plan);
            Some((at, version_of(decides)))
        });
        deciding.collect()
    }

    /// Hands over some current rows, where there are more and the rehearsal keeps up. Says whether it did.
    ///
    /// # Errors
    /// As [`Engine::process`].
    pub fn rehearse_some(&mut self) -> Result<bool> {
        let Some(rehearsal) = &self.rehearsal else {
            return Ok(false);
        };
        if rehearsal.bucket >= STATE_BUCKETS {
            return Ok(false);
        }
        if rehearsal.waiting() > REHEARSED_AHEAD_MAX {
            return Ok(false);
        }
        let (rules, bucket) = (rehearsal.rules.clone(), rehearsal.bucket);
        for (number, rules) in rules.iter().enumerate() {
            let rows = self.current_rows(rules.changelog, bucket)?;
            self.hand_over(number, rows);
        }
        if let Some(rehearsal) = &mut self.rehearsal {
            rehearsal.bucket += 1;
        }
        Ok(true)
    }

    /// Hands over what a batch changed.
    pub(super) fn rehearse_changes(&mut self, edges: &Edges) {
        let Some(rehearsal) = &self.rehearsal else { return };
        let rules = rehearsal.rules.clone();
        for (number, rules) in rules.iter().enumerate() {
            self.hand_over(number, of(edges, rules.changelog).clone());
        }
    }

    fn hand_over(&mut self, rules: usize, rows: Batch) {
        if let Some(rehearsal) = self.rehearsal.as_mut().filter(|_| !rows.is_empty()) {
            rehearsal.handed += 1;
            // Where it has ended, the rows are judged at the swap.
            let _ = rehearsal.work.send(Work { rules, rows });
        }
    }

    /// Whether all current rows are judged, or will be in a moment.
    pub fn is_rehearsed(&self) -> bool {
        let Some(rehearsal) = &self.rehearsal else {
            return true;
        };
        if rehearsal.has_ended.load(Ordering::Acquire) {
            return true;
        }
        let waiting = rehearsal.waiting();
        // One that does not keep up with the events is not waited for.
        rehearsal.bucket >= STATE_BUCKETS && (waiting <= 1 || waiting > REHEARSED_BEHIND_MAX)
    }

    /// Passes on what a rehearsal found, under the plan that runs by now, as rows of the only delivery. All states have a
    /// savepoint.
    ///
    /// # Errors
    /// Why the plan cannot take over.
    pub(super) fn pass_on_rehearsed(
        &mut self,
        rehearsed: Rehearsed,
        deliveries: &Deliveries,
    ) -> Result<(Edges, Outcomes), Refused> {
        let is_on_trial = |at| matches!(self.steps.get(at), Some(Step::Stage(stage)) if stage.is_on_trial());
        let rejected = rehearsed.newly_rejected(is_on_trial);
        if !rejected.is_empty() {
            return Err(rejected.refused(&self.plan));
        }
        let Rehearsed {
            moved,
            mut differences,
            compared,
            ..
        } = rehearsed;
        let plan = self.plan.clone();
        let mut knows_all = true;
        for (at, step) in self.steps.iter_mut_enumerated() {
            let Step::Stage(stage) = step else { continue };
            if stage.is_on_trial() && path_of(&plan, at).is_some() {
                match compared.contains(&at) {
                    true => {
                        let of_step = differences.remove(&at).unwrap_or_default();
                        stage.set_differences(of_step.into_values());
                    }
                    false => knows_all = false,
                }
            }
        }
        if !knows_all {
            self.keep_differences()?;
        }
        let moved = moved
            .into_iter()
            .map(|(port, rows)| (port, rows.into_values().collect()));
        self.pass_on_moved(moved.collect(), deliveries)
    }

    /// What the rehearsal for `plan` found, once all is judged. Nothing where there was none, or it does not hold any more.
    pub(super) fn end_rehearsal(&mut self, plan: &Arc<Plan>) -> Option<Rehearsed> {
        let rehearsal = self.rehearsal.take()?;
        let deciding = self.deciding_of(&rehearsal.rules);
        let holds = Arc::ptr_eq(&rehearsal.plan, plan)
            && Arc::ptr_eq(&rehearsal.was, &self.plan)
            && rehearsal.deciding == deciding;
        let is_whole = rehearsal.bucket >= STATE_BUCKETS;
        let Rehearsal {
            work,
            rehearsed,
            leaves,
            ..
        } = rehearsal;
        drop(work);
        let found = match is_whole || !rehearsed.is_empty() {
            true if holds => rehearsed.recv().ok(),
            _ => None,
        };
        drop(leaves);
        // One that failed on a row was not asked of all.
        found.filter(|found| is_whole || found.failure.is_some())
    }
}

impl Rehearsal {
    fn waiting(&self) -> u64 {
        self.handed.saturating_sub(self.judged.load(Ordering::Acquire))
    }
}
