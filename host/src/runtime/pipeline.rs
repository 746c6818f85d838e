//! The data path: three threads with bounded queues between them.
//!
//! ```text
//! source ──► decode ──► engine (stages, operators, sinks) ──► commit ──► acknowledge
//! └── this thread ──┘   └─────── a thread ───────────┘   └──── a thread ────┘
//! ```
//!
//! A queue that is full stops those before it, so a slow disk slows the source and memory stays flat. Turns size
//! themselves: while one is committed the next collects, and an idle committer takes whatever there is, unless the source
//! is behind, or there was a commit just now (`commit.at_most_every`): then a turn collects for a moment, because large turns
//! are far cheaper. The order of the three last steps is the promise: rows, state and position commit together, and only
//! then the source is told. Whatever dies in between, the position says what to skip.
//!
//! Another plan may take over while all this runs. It comes with a batch, the first that was decoded for it, so that
//! decoder and engine change over at the same delivery.

mod recognition;

use crate::{
    engine::{Engine, Retired, Stopped, Successor},
    error::{Error, Result, take_defect},
    fail_point,
    limits::{BATCHES_QUEUED_MAX, TURN_BEHIND_MAX, TURN_BYTES_MAX, TURN_ENTRIES_BEHIND, TURN_ENTRIES_MAX},
    model::{
        delivery::DecodedBatch,
        deployment::Committed,
        turn::{Counts, Turn},
    },
    source::{Acknowledge, Source, Wake},
    storage::sqlite::Database,
};
use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use recognition::Recognition;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Where turns go.
#[derive(Debug)]
pub enum Store {
    /// Into a database.
    Database(Box<Database>),
    /// Nowhere: to measure what the rest costs.
    Discard,
}

/// Where plans come from that take over while a pipeline runs, and where what they replace goes to.
#[derive(Debug)]
pub struct Swaps {
    /// Plans that are ready. Each takes over with the next batch that the source gives.
    pub successors: Receiver<Box<Successor>>,
    /// What is to be dropped off the data path.
    pub retired: Sender<Retired>,
    /// Makes the source give a batch at once, so that a plan does not wait for the next event.
    pub wake: Wake,
    /// How long the first event waits for a plan: where a guest failed too often, a mended one may be on its way.
    pub patience: Duration,
}

impl Swaps {
    /// No swaps: what was started runs to the end.
    pub fn none() -> Self {
        Self {
            successors: never(),
            retired: bounded(0).0,
            wake: Wake::default(),
            patience: Duration::ZERO,
        }
    }
}

/// How far a running pipeline is; kept up to date by [`run`], read by whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Deliveries that are committed, since the start.
    pub events: AtomicU64,
    /// Those of them that were applied.
    pub applied: AtomicU64,
    /// Those of them that were filtered.
    pub filtered: AtomicU64,
    /// Those of them that became dead letters.
    pub dead_letters: AtomicU64,
    /// Those of them that were empty.
    pub empty: AtomicU64,
    /// Rows that came too late for a step.
    pub late_rows: AtomicU64,
    /// Events that were too far ahead to move the watermark.
    pub ahead_events: AtomicU64,
    /// Rows that came because time went on, and that a rule could not take.
    pub dead_rows: AtomicU64,
    /// The last committed stream sequence.
    pub position: AtomicU64,
    /// How many deliveries the last turn covered.
    pub turn_events: AtomicU64,
    /// How long its commit took, in microseconds.
    pub commit_us: AtomicU64,
    /// Messages that were handed to the outbox, or dropped in a replay.
    pub messages: AtomicU64,
    /// Rows that made a guest trap, run too long, or answer wrongly.
    pub failed_rows: AtomicU64,
    /// What changes with each turn, and is no count.
    pub last_turn: Mutex<LastTurn>,
}

/// What the last turn said.
#[derive(Clone, Debug, Default)]
pub struct LastTurn {
    /// When it was committed.
    pub committed: Option<Instant>,
    /// Where the watermark stood, where some step follows it.
    pub watermark_ms: Option<i64>,
    /// Rows that came too late since the start, by step.
    pub late_rows: BTreeMap<String, u64>,
}

impl Progress {
    /// The counts since the start.
    pub fn counts(&self) -> Counts {
        Counts {
            events: self.events.load(Ordering::Relaxed),
            applied: self.applied.load(Ordering::Relaxed),
            filtered: self.filtered.load(Ordering::Relaxed),
            dead_letters: self.dead_letters.load(Ordering::Relaxed),
            empty: self.empty.load(Ordering::Relaxed),
            late_rows: self.late_rows.load(Ordering::Relaxed),
            ahead_events: self.ahead_events.load(Ordering::Relaxed),
            dead_rows: self.dead_rows.load(Ordering::Relaxed),
        }
    }

    /// What the last turn said.
    pub fn last_turn(&self) -> LastTurn {
        self.last_turn.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, late_rows: BTreeMap<String, u64>, watermark_ms: Option<i64>) {
        let mut last = self.last_turn.lock().unwrap_or_else(PoisonError::into_inner);
        last.committed = Some(Instant::now());
        last.watermark_ms = watermark_ms;
        for (step, rows) in late_rows {
            *last.late_rows.entry(step).or_default() += rows;
        }
    }

    fn add(&self, counts: Counts) {
        self.events.fetch_add(counts.events, Ordering::Relaxed);
        self.applied.fetch_add(counts.applied, Ordering::Relaxed);
        self.filtered.fetch_add(counts.filtered, Ordering::Relaxed);
        self.dead_letters.fetch_add(counts.dead_letters, Ordering::Relaxed);
        self.empty.fetch_add(counts.empty, Ordering::Relaxed);
        self.late_rows.fetch_add(counts.late_rows, Ordering::Relaxed);
        self.ahead_events.fetch_add(counts.ahead_events, Ordering::Relaxed);
        self.dead_rows.fetch_add(counts.dead_rows, Ordering::Relaxed);
        self.turn_events.store(counts.events, Ordering::Relaxed);
    }
}

/// Runs until the source ends, and commits what it gave. Plans of `swaps` take over on the way.
///
/// # Errors
/// What stopped the source or the commit. The database holds what the last commit left.
pub fn run(
    source: impl Source,
    engine: Engine,
    store: Store,
    acknowledge: impl Acknowledge + 'static,
    progress: Arc<Progress>,
    swaps: Swaps,
) -> Result<Store> {
    let recognition = Recognition::new(engine.plan());
    drive(source, engine, store, acknowledge, progress, swaps, recognition)
}

/// As [`run`], over events that ran before: what was said of them is not said again.
///
/// # Errors
/// As [`run`].
pub fn run_again(
    source: impl Source,
    engine: Engine,
    store: Store,
    acknowledge: impl Acknowledge + 'static,
    progress: Arc<Progress>,
) -> Result<Store> {
    let recognition = Recognition::done();
    drive(source, engine, store, acknowledge, progress, Swaps::none(), recognition)
}

fn drive(
    mut source: impl Source,
    mut engine: Engine,
    store: Store,
    acknowledge: impl Acknowledge + 'static,
    progress: Arc<Progress>,
    swaps: Swaps,
    mut recognition: Recognition,
) -> Result<Store> {
    let epoch = match &store {
        Store::Database(database) => database.stored().epoch,
        Store::Discard => {
            engine.leave_unlogged();
            0
        }
    };
    let Swaps {
        successors,
        retired,
        wake,
        mut patience,
    } = swaps;
    let (shown, woken) = (progress.clone(), wake.clone());
    let (batches, decoded) = bounded::<EngineMessage>(BATCHES_QUEUED_MAX);
    let (turns, closed) = bounded::<Turn>(1);
    // Holds a token while the committer has nothing to do.
    let (idle, committer_idle) = bounded::<()>(1);

    let committer = Committer {
        store,
        acknowledge,
        progress,
    };
    let committer = spawn("weir-commit", move || commit_turns(committer, &closed, &idle))?;
    let engine = spawn("weir-engine", move || {
        let left = collect_turns(engine, epoch, &decoded, &committer_idle, &turns, &retired);
        // The source may wait for an event that does not come.
        woken.set();
        left
    })?;

    let mut outcome = Ok(());
    loop {
        let successor = successors.recv_timeout(std::mem::take(&mut patience));
        let successor = successor.ok().map(|mut successor| {
            if let Some(decoder) = successor.decoder.take() {
                source.replace_decoder(decoder);
            }
            wake.set();
            successor
        });
        match source.next_batch() {
            Ok(Some(batch)) => {
                if let Err(defect) = take_defect() {
                    outcome = Err(defect);
                    break;
                }
                recognition.look(&batch);
                let batch = EngineMessage { batch, successor };
                if batches.send(batch).is_err() {
                    break; // The engine ended first; the committer says why.
                }
            }
            Ok(None) => {
                recognition.end();
                break;
            }
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    drop(batches);
    let engine = join(engine);
    let committed = join(committer);
    // A commit that failed is the cause of all that stopped after it.
    let mut store = committed??;
    if let Some((stopped, mut turn)) = engine?? {
        turn.receipt = source.receipt_at(turn.position)?;
        let counts = turn.counts;
        if let Store::Database(database) = &mut store {
            database.commit(turn)?;
        }
        shown.add(counts);
        return Err(stopped.error());
    }
    outcome.map(|()| store)
}

/// A batch on its way to the engine.
struct EngineMessage {
    batch: DecodedBatch,
    /// The plan that it was decoded for, where that is another one than for the batch before.
    successor: Option<Box<Successor>>,
}

/// Takes batches in, and hands turns to the committer whenever it is idle. Where a guest failed too often, gives the last
/// turn: it ends within a batch, and only the source knows what goes with that place.
///
/// # Errors
/// A defect of Weir: the turn that was open is dropped.
fn collect_turns(
    mut engine: Engine,
    mut epoch: u64,
    decoded: &Receiver<EngineMessage>,
    committer_idle: &Receiver<()>,
    turns: &Sender<Turn>,
    retired: &Sender<Retired>,
) -> Result<Option<(Stopped, Turn)>> {
    let closed = never();
    let mut open = true;
    let mut idle = false;
    // Whether more waits behind the last batch, and since when the open turn collects.
    let (mut behind, mut collecting) = (false, Instant::now());
    let mut taken: Option<Instant> = None;
    let mut pauses = Vec::new();
    while open || engine.has_turn() || engine.has_due() {
        // A turn at its bounds waits for the committer, and the queue before it fills up.
        let full = engine.turn_entries() >= TURN_ENTRIES_MAX || engine.turn_bytes() >= TURN_BYTES_MAX;
        let source = if open && !full { decoded } else { &closed };
        // How long a turn that may collect still does. After a silence there is nothing to wait for: more comes later.
        let every = engine.commit_at_most_every();
        let rests = taken.map_or(Duration::ZERO, |taken| every.saturating_sub(taken.elapsed()));
        let fills = match behind && engine.turn_entries() < TURN_ENTRIES_BEHIND {
            true => TURN_BEHIND_MAX.saturating_sub(collecting.elapsed()),
            false => Duration::ZERO,
        };
        let wait = rests.max(fills);
        let waits = open && !full && !engine.has_changes() && pauses.is_empty() && !wait.is_zero();
        if idle && (engine.has_turn() || !pauses.is_empty()) && !waits {
            epoch += 1;
            let turn = Turn {
                pauses: std::mem::take(&mut pauses),
                ..engine.take_turn(epoch)?
            };
            if turns.send(turn).is_err() {
                return Ok(None); // The committer failed, and says why.
            }
            (idle, collecting) = (false, Instant::now());
            taken = Some(collecting);
            continue;
        }
        let forgets = !full && engine.has_due();
        select! {
            recv(source) -> batch => match batch {
                Ok(EngineMessage { batch, successor }) => {
                    behind = batch.behind;
                    if let Some(successor) = successor {
                        let begun = Instant::now();
                        let replaced = engine.swap(*successor);
                        pauses.push(begun.elapsed());
                        // Where nobody takes it, it is dropped here.
                        let _ = retired.try_send(replaced);
                    }
                    engine.process(batch)?;
                    if let Some(stopped) = engine.stopped().cloned() {
                        let pauses = std::mem::take(&mut pauses);
                        let turn = engine.take_turn(epoch + 1)?;
                        return Ok(Some((stopped, Turn { pauses, ..turn })));
                    }
                }
                Err(_) => open = false,
            },
            recv(committer_idle) -> token => match token {
                Ok(()) => idle = true,
                Err(_) => return Ok(None), // As above.
            },
            // A source that said it was behind may have nothing more after all, and a turn that rests may be all there is.
            default(if forgets { Duration::ZERO } else if waits { wait } else { TURN_BEHIND_MAX }) => {}
        }
        if forgets {
            engine.forget_due();
        }
    }
    Ok(None)
}

/// Commits turns in order, and tells the source of each.
fn commit_turns(
    mut committer: Committer<impl Acknowledge>,
    closed: &Receiver<Turn>,
    idle: &Sender<()>,
) -> Result<Store> {
    let _ = idle.try_send(());
    while let Ok(turn) = closed.recv() {
        committer.commit(turn)?;
        let _ = idle.try_send(());
    }
    Ok(committer.store)
}

/// The last step of the data path: turns are committed, and the source is told of each.
#[derive(Debug)]
pub struct Committer<A> {
    /// Where turns go.
    pub store: Store,
    /// Who is told.
    pub acknowledge: A,
    /// How far it is.
    pub progress: Arc<Progress>,
}

impl<A: Acknowledge> Committer<A> {
    /// Commits a turn.
    ///
    /// # Errors
    /// When it cannot be committed: then nothing of it is, and the source is not told.
    pub fn commit(&mut self, turn: Turn) -> Result<()> {
        let (position, receipt, counts) = (turn.position, turn.receipt.clone(), turn.counts);
        let messages = turn.messages.len() as u64;
        let failed_rows = turn.failed_rows;
        let (late_rows, watermark_ms) = (turn.late_rows.clone(), turn.watermark_ms);
        let versions = Committed {
            changes: turn.changes.clone(),
            pauses: turn.pauses.clone(),
        };
        let begun = Instant::now();
        fail_point::pass("before-commit");
        match &mut self.store {
            Store::Database(database) => database.commit(turn)?,
            Store::Discard => drop(turn),
        }
        fail_point::pass("after-commit");
        if !versions.changes.is_empty() {
            fail_point::pass("after-swap");
        }
        // After the commit: a crash between the two brings the deliveries once more, and the position drops them.
        self.acknowledge.committed(position, &receipt);
        fail_point::pass("after-ack");
        let progress = &self.progress;
        progress.add(counts);
        progress.note(late_rows, watermark_ms);
        progress.messages.fetch_add(messages, Ordering::Relaxed);
        progress.failed_rows.fetch_add(failed_rows, Ordering::Relaxed);
        progress.position.fetch_max(position, Ordering::Relaxed);
        progress
            .commit_us
            .store(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
        if !versions.changes.is_empty() || !versions.pauses.is_empty() {
            self.acknowledge.versions_committed(versions);
        }
        Ok(())
    }
}

fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<thread::JoinHandle<T>> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|cause| Error::environment(format!("cannot start thread {name}: {cause}")))
}

fn join<T>(thread: thread::JoinHandle<T>) -> Result<T> {
    let name = thread.thread().name().unwrap_or("?").to_owned();
    thread
        .join()
        .map_err(|_| Error::environment(format!("thread {name} panicked; this is a defect of weir")))
}
