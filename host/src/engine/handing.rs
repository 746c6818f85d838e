//! Handing current rows to a thread, off the data path.
//!
//! Between batches the engine hands over current rows, a bucket at a time, and with each batch what it changed of the changelog.
//! Both arrive in that order, so that the last word on a key is how it stands.

use super::{
    Edges, Engine, Step,
    cast::{Cast, Version, Work, version_of},
    of,
    rules::Rules,
};
use crate::{
    error::{Context, Result},
    limits::{REHEARSED_AHEAD_MAX, REHEARSED_WAITING_MAX, STATE_BUCKETS},
    model::{batch::Batch, ids::NodeId},
    plan::NodeKind,
};
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// The engine's side of it.
#[derive(Debug)]
pub(super) struct Handing {
    rules: Arc<Vec<Rules>>,
    /// Closed where the thread has ended.
    work: Sender<Work>,
    /// How much was handed over, and how much of it is judged.
    handed: u64,
    judged: Arc<AtomicU64>,
    has_ended: Arc<AtomicBool>,
    /// The next bucket to hand over.
    bucket: usize,
    is_given_up: bool,
    leaves: Leaves,
}

/// The thread's side.
#[derive(Debug)]
pub(super) struct Heard {
    todo: Receiver<Work>,
    judged: Arc<AtomicU64>,
    nobody_wants: Arc<AtomicBool>,
    _ends: Ends,
}

/// Ends the thread and what its guests are at, where nobody wants to know any more.
#[derive(Debug)]
pub(super) struct Leaves(Vec<Arc<AtomicBool>>);

impl Leaves {
    fn leave(&self) {
        self.0.iter().for_each(|over| over.store(true, Ordering::Relaxed));
    }
}

impl Drop for Leaves {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Says that the thread has ended, however it did.
#[derive(Debug)]
struct Ends(Arc<AtomicBool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What decides at a rule.
pub(super) type Deciding = BTreeMap<NodeId, Version>;

impl Handing {
    /// Starts a thread that hears what is handed to `cast`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(name: &str, cast: Cast, hear: impl FnOnce(Cast, Heard) + Send + 'static) -> Result<Self> {
        let (work, todo) = unbounded();
        let (judged, nobody_wants) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let has_ended = Arc::new(AtomicBool::new(false));
        let heard = Heard {
            todo,
            judged: judged.clone(),
            nobody_wants: nobody_wants.clone(),
            _ends: Ends(has_ended.clone()),
        };
        let leaves = Leaves(iter::once(nobody_wants).chain(cast.over()).collect());
        let rules = cast.rules.clone();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || hear(cast, heard))
            .environment(|| format!("cannot start thread {name}"))?;
        Ok(Self {
            rules,
            work,
            handed: 0,
            judged,
            has_ended,
            bucket: 0,
            is_given_up: false,
            leaves,
        })
    }

    /// The rules that are asked.
    pub(super) fn rules(&self) -> &[Rules] {
        &self.rules
    }

    /// What is handed over and not judged yet.
    pub(super) fn waiting(&self) -> u64 {
        self.handed.saturating_sub(self.judged.load(Ordering::Acquire))
    }

    /// Whether all current rows were handed over.
    pub(super) fn is_whole(&self) -> bool {
        self.bucket >= STATE_BUCKETS
    }

    /// Whether nothing more comes of it: the thread has ended, or was given up.
    pub(super) fn has_ended(&self) -> bool {
        self.is_given_up || self.has_ended.load(Ordering::Acquire)
    }

    /// Lets the thread end at once, with all that waits for it. Nothing more is handed over.
    fn give_up(&mut self) {
        self.is_given_up = true;
        self.leaves.leave();
    }

    /// Hands over no more. The thread ends once all is judged, or when the answer is dropped.
    pub(super) fn close(self) -> Leaves {
        self.leaves
    }

    /// Begins anew: from here on `deciding` decides, and all current rows come once more.
    pub(super) fn begin_anew(&mut self, deciding: Deciding) {
        self.bucket = 0;
        self.send(Work::Anew(deciding));
    }

    fn send(&mut self, work: Work) {
        if self.is_given_up {
            return;
        }
        self.handed += 1;
        // Where it has ended, nobody waits for it.
        let _ = self.work.send(work);
    }

    fn send_rows(&mut self, rules: usize, rows: Batch) {
        if !rows.is_empty() {
            self.send(Work::Rows { rules, rows });
        }
    }

    /// Hands over what a batch changed, also of rows that can change no more: no swap judges those anew.
    fn send_changes(&mut self, edges: &Edges, past: &BTreeMap<NodeId, Batch>) {
        let rules = self.rules.clone();
        for (number, rules) in rules.iter().enumerate() {
            self.send_rows(number, of(edges, rules.changelog).clone());
            if let Some(past) = past.get(&rules.changelog.node) {
                self.send_rows(number, past.clone());
            }
        }
    }

    /// Says how far the events have come.
    pub(super) fn send_through(&mut self, sequence: u64) {
        self.send(Work::Through(sequence));
    }
}

impl Engine {
    /// Hands over some current rows, where there are more and the thread keeps up. Says whether it did.
    pub(super) fn hand_over_some(&mut self, handing: &mut Handing) -> Result<bool> {
        if handing.is_whole() || handing.has_ended() || handing.waiting() > REHEARSED_AHEAD_MAX {
            return Ok(false);
        }
        let rules = handing.rules.clone();
        for (number, rules) in rules.iter().enumerate() {
            let rows = self.current_rows(rules.changelog, handing.bucket)?;
            handing.send_rows(number, rows);
        }
        handing.bucket += 1;
        if handing.is_whole() {
            handing.send(Work::All);
        }
        Ok(true)
    }

    /// Hands over to all that hear what a batch changed.
    pub(super) fn hand_over_changes(&mut self, edges: &Edges) {
        if self.rehearsal.is_none() && self.comparisons.is_empty() {
            return;
        }
        self.look_after_comparisons();
        if let Some(rehearsal) = &mut self.rehearsal
            && !rehearsal.handing.is_given_up
            && rehearsal.handing.waiting() > REHEARSED_WAITING_MAX
        {
            tracing::warn!(
                pipeline = self.plan.name,
                "pipeline {}: current rows cannot be judged beside the events, which come too fast for this machine; they are judged \
                 while the events wait",
                self.plan.name
            );
            rehearsal.handing.give_up();
        }
        let rehearsal = self.rehearsal.iter_mut().map(|rehearsal| &mut rehearsal.handing);
        let comparisons = self.comparisons.values_mut().filter(|comparison| !comparison.is_behind);
        let comparisons = comparisons.map(|comparison| &mut comparison.handing);
        rehearsal
            .chain(comparisons)
            .for_each(|handing| handing.send_changes(edges, &self.past));
    }

    /// What decides at the rules.
    pub(super) fn deciding_of(&self, rules: &[Rules]) -> Deciding {
        let asked: BTreeSet<NodeId> = rules.iter().flat_map(|rules| rules.asked.iter().copied()).collect();
        let deciding = asked.into_iter().filter_map(|at| {
            let (NodeKind::Stage(plan), Step::Stage(stage)) = (&self.plan.nodes.get(at)?.kind, self.steps.get(at)?)
            else {
                return None;
            };
            Some((at, version_of(stage.deciding(plan))))
        });
        deciding.collect()
    }
}

impl Heard {
    /// Calls `each` with what comes, until there is no more, or it says that it has enough. Says whether somebody still wants
    /// to know.
    pub(super) fn each(&self, mut each: impl FnMut(Work) -> Result<bool>) -> Result<bool> {
        while let Ok(work) = self.todo.recv() {
            let goes_on = each(work);
            if self.is_left() {
                return Ok(false);
            }
            if !goes_on? {
                break;
            }
            self.judged.fetch_add(1, Ordering::Release);
        }
        Ok(true)
    }

    /// Whether nobody wants to know any more.
    pub(super) fn is_left(&self) -> bool {
        self.nobody_wants.load(Ordering::Relaxed)
    }
}
