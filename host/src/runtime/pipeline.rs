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
    engine::{Compared, Engine, Prepared, Retired, Stopped, Successor},
    error::{Error, Result, take_defect},
    fail_point,
    limits::{
        BATCHES_QUEUED_MAX, REHEARSAL_LOOK, TURN_BEHIND_MAX, TURN_BYTES_MAX, TURN_ENTRIES_BEHIND, TURN_ENTRIES_MAX,
    },
    metrics::Metrics,
    model::{delivery::DecodedBatch, deployment::Committed, turn::Turn},
    source::{Acknowledge, Source, Wake},
    storage::Storage,
};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, never, select};
use recognition::Recognition;
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Says how many dead letters a storage holds. What cannot be read is not known.
fn count_letters(storage: &dyn Storage, metrics: &Metrics) {
    if storage.keeps() {
        metrics.pipeline.dead_letters_held.set(storage.dead_letters_held().ok());
    }
}

/// Where plans come from that take over while a pipeline runs, and where what they replace goes to.
#[derive(Debug)]
pub struct Swaps {
    /// Plans that are ready. Each takes over with the next batch that the source gives.
    pub successors: Receiver<Box<Successor>>,
    /// Plans for which current rows are judged anew first, beside the data path. Each then goes into `rehearsed`.
    pub rehearsals: Receiver<Box<Prepared>>,
    /// Where [`Swaps::successors`] come from.
    pub rehearsed: Sender<Box<Successor>>,
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
            rehearsals: never(),
            rehearsed: bounded(0).0,
            retired: bounded(0).0,
            wake: Wake::default(),
            patience: Duration::ZERO,
        }
    }
}

/// Runs until the source ends, and commits what it gave. Plans of `swaps` take over on the way.
///
/// # Errors
/// What stopped the source or the commit. The database holds what the last commit left.
pub fn run(
    source: impl Source,
    engine: Engine,
    storage: Box<dyn Storage>,
    acknowledge: impl Acknowledge + 'static,
    swaps: Swaps,
) -> Result<Box<dyn Storage>> {
    let recognition = Recognition::new(engine.plan());
    drive(source, engine, storage, acknowledge, swaps, recognition)
}

/// As [`run`], over events that ran before: what was said of them is not said again.
///
/// # Errors
/// As [`run`].
pub fn run_again(
    source: impl Source,
    engine: Engine,
    storage: Box<dyn Storage>,
    acknowledge: impl Acknowledge + 'static,
) -> Result<Box<dyn Storage>> {
    let recognition = Recognition::done();
    drive(source, engine, storage, acknowledge, Swaps::none(), recognition)
}

fn drive(
    mut source: impl Source,
    mut engine: Engine,
    storage: Box<dyn Storage>,
    acknowledge: impl Acknowledge + 'static,
    swaps: Swaps,
    mut recognition: Recognition,
) -> Result<Box<dyn Storage>> {
    let number = storage.stored().turn;
    if !storage.keeps() {
        engine.leave_unlogged();
    }
    count_letters(&*storage, engine.metrics());
    let Swaps {
        successors,
        rehearsals,
        rehearsed,
        retired,
        wake,
        mut patience,
    } = swaps;
    let stage = Stage {
        rehearsals,
        rehearsed,
        wake: wake.clone(),
        waiting: None,
    };
    let (metrics, woken) = (engine.metrics().clone(), wake.clone());
    let (batches, decoded) = bounded::<EngineMessage>(BATCHES_QUEUED_MAX);
    let (turns, closed) = bounded::<Turn>(1);
    // Holds a token while the committer has nothing to do.
    let (idle, committer_idle) = bounded::<()>(1);

    let committer = Committer {
        storage,
        acknowledge,
        metrics: metrics.clone(),
    };
    let committer = spawn("weir-commit", move || commit_turns(committer, &closed, &idle))?;
    let engine = spawn("weir-engine", move || {
        let left = collect_turns(engine, number, &decoded, &committer_idle, &turns, &retired, stage);
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
                let payloads = &batch.deliveries.payloads;
                metrics.pipeline.received_bytes.add(payloads.data.len() as u64);
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
    let mut storage = committed??;
    if let Some((stopped, mut turn)) = engine?? {
        turn.receipt = source.receipt_at(turn.position)?;
        let counts = turn.counts;
        storage.commit(turn)?;
        metrics.count(counts);
        return Err(stopped.error());
    }
    outcome.map(|()| storage)
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
    mut number: u64,
    decoded: &Receiver<EngineMessage>,
    committer_idle: &Receiver<()>,
    turns: &Sender<Turn>,
    retired: &Sender<Retired>,
    mut stage: Stage,
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
            number += 1;
            let turn = Turn {
                pauses: std::mem::take(&mut pauses),
                ..engine.take_turn(number)?
            };
            if turns.send(turn).is_err() {
                return Ok(None); // The committer failed, and says why.
            }
            (idle, collecting) = (false, Instant::now());
            taken = Some(collecting);
            continue;
        }
        let forgets = !full && engine.has_due();
        let rehearses = stage.look(&mut engine)?;
        let compares = match engine.compare_some()? {
            Compared::GoesOn => Duration::ZERO,
            Compared::Waits => REHEARSAL_LOOK,
            Compared::Through => Duration::MAX,
        };
        let rehearsals = match stage.is_busy() || engine.holds_moved() {
            true => &never(),
            false => &stage.rehearsals,
        };
        select! {
            recv(rehearsals) -> prepared => match prepared {
                Ok(prepared) => stage.begin(&mut engine, *prepared)?,
                Err(_) => stage.rehearsals = never(),
            },
            recv(source) -> batch => match batch {
                Ok(EngineMessage { batch, successor }) => {
                    behind = batch.behind;
                    if let Some(successor) = successor {
                        let begun = Instant::now();
                        let replaced = engine.swap(*successor)?;
                        pauses.push(begun.elapsed());
                        // Where nobody takes it, it is dropped here.
                        let _ = retired.try_send(replaced);
                    }
                    engine.process(batch)?;
                    if let Some(stopped) = engine.stopped().cloned() {
                        let pauses = std::mem::take(&mut pauses);
                        let turn = engine.take_turn(number + 1)?;
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
            default(if forgets { Duration::ZERO } else if waits { wait } else { TURN_BEHIND_MAX }.min(rehearses).min(compares)) => {}
        }
        if forgets {
            engine.forget_due();
        }
    }
    Ok(None)
}

/// Where a plan waits whose rehearsal runs.
struct Stage {
    rehearsals: Receiver<Box<Prepared>>,
    rehearsed: Sender<Box<Successor>>,
    wake: Wake,
    waiting: Option<Box<Successor>>,
}

impl Stage {
    fn is_busy(&self) -> bool {
        self.waiting.is_some()
    }

    fn begin(&mut self, engine: &mut Engine, prepared: Prepared) -> Result<()> {
        self.waiting = Some(engine.begin_rehearsal(prepared)?);
        Ok(())
    }

    /// Lets a rehearsal go on, and its plan once it is through. Gives how long it can be left alone.
    fn look(&mut self, engine: &mut Engine) -> Result<Duration> {
        if self.waiting.is_none() {
            return Ok(Duration::MAX);
        }
        let goes_on = engine.rehearse_some()?;
        if !engine.is_rehearsed() {
            return Ok(if goes_on { Duration::ZERO } else { REHEARSAL_LOOK });
        }
        if let Some(successor) = self.waiting.take() {
            fail_point::pass("rehearsed");
            match self.rehearsed.try_send(successor) {
                Ok(()) => self.wake.set(),
                Err(TrySendError::Full(successor)) => {
                    self.waiting = Some(successor);
                    return Ok(REHEARSAL_LOOK);
                }
                // The pipeline is about to end.
                Err(TrySendError::Disconnected(_)) => {}
            }
        }
        Ok(Duration::MAX)
    }
}

/// Commits turns in order, and tells the source of each.
fn commit_turns(
    mut committer: Committer<impl Acknowledge>,
    closed: &Receiver<Turn>,
    idle: &Sender<()>,
) -> Result<Box<dyn Storage>> {
    let _ = idle.try_send(());
    while let Ok(turn) = closed.recv() {
        committer.commit(turn)?;
        let _ = idle.try_send(());
    }
    Ok(committer.storage)
}

/// The last step of the data path: turns are committed, and the source is told of each.
#[derive(Debug)]
pub struct Committer<A> {
    /// Where turns go.
    pub storage: Box<dyn Storage>,
    /// Who is told.
    pub acknowledge: A,
    /// Where they are counted.
    pub metrics: Arc<Metrics>,
}

impl<A: Acknowledge> Committer<A> {
    /// Commits a turn.
    ///
    /// # Errors
    /// When it cannot be committed: then nothing of it is, and the source is not told.
    pub fn commit(&mut self, turn: Turn) -> Result<()> {
        let (position, receipt) = (turn.position, turn.receipt.clone());
        let committing = self.metrics.count_turn(&turn);
        let has_letters = !turn.dead_letters.is_empty();
        let versions = Committed {
            changes: turn.changes.clone(),
            pauses: turn.pauses.clone(),
        };
        let begun = Instant::now();
        fail_point::pass("before-commit");
        self.storage.commit(turn)?;
        fail_point::pass("after-commit");
        if !versions.changes.is_empty() {
            fail_point::pass("after-swap");
        }
        // After the commit: a crash between the two brings the deliveries once more, and the position drops them.
        self.acknowledge.committed(position, &receipt);
        fail_point::pass("after-ack");
        self.metrics.committed(&committing, begun.elapsed());
        if has_letters {
            count_letters(&*self.storage, &self.metrics);
        }
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
