//! A pipeline on a simulated stream: one seed decides over every duplicate, loss, redelivery, restart and crash, and over
//! when the process does which of its steps. Nothing waits, and no other process takes part.
//!
//! The steps are those of `weir run`: the cursor that drops what comes twice, the decoder, the engine, turns, commits and
//! acks, with a database on disk. Only who calls them when is decided here, and what lies between stream and cursor.
//! `WEIR_CASES=100` simulates a hundred times as many.

mod server;

use server::{Message, Server};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use weir::{
    definition::File,
    engine::Engine,
    format::Decoder,
    model::{delivery::Receipt, turn::Turn},
    plan::Plan,
    runtime::pipeline::Committer,
    source::{Acknowledge, Cursor, Seen},
    storage::Messages,
};
use weir_tests::{
    generator::{
        Flow, From, Knobs, Pipeline, Slot,
        choices::Choices,
        kinds::{ANY, KINDS},
    },
    replay::{hold, host},
    seed::{Random, of_run},
    table::{Contents, contents, query},
};

/// How many simulations run.
const SIMULATIONS: u64 = 1000;

/// Events of one.
const EVENTS: usize = 40;

/// Keyed state, groups, windows with late rows and alerts in each; besides, two steps of any kind.
const KNOBS: Knobs<'static> = {
    const ALWAYS: (usize, usize) = (1, 1);
    const fn slot(kinds: &'static [&'static str], happens: (usize, usize), from: From) -> Slot {
        Slot { kinds, happens, from }
    }
    Knobs {
        timed: true,
        every_sink: true,
        slots: &[
            slot(&["last_value"], ALWAYS, From::Source),
            slot(&["aggregate"], ALWAYS, From::Last),
            slot(&["tumbling"], ALWAYS, From::Source),
            slot(&["on_crossing"], ALWAYS, From::Source),
            slot(&[ANY], (2, 3), From::Any),
            slot(&[ANY], (2, 3), From::Any),
        ],
    }
};

/// Events in some disorder, and payloads that are none.
const FLOW: Flow = Flow {
    broken: 15,
    ..Flow::RANDOM
};

/// Steps of one in which something may go wrong.
const FAULTY_STEPS: u32 = 200;

/// What happened, over all simulations.
#[derive(Debug, Default)]
struct Happened {
    crashes: AtomicU64,
    crashes_before_ack: AtomicU64,
    lost: AtomicU64,
    again: AtomicU64,
    swapped: AtomicU64,
    restarts: AtomicU64,
    twice: AtomicU64,
    gaps: AtomicU64,
    commits: AtomicU64,
    /// How many steps there were of each kind.
    kinds: Mutex<BTreeMap<&'static str, usize>>,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The process: what a crash takes with it.
struct Process {
    cursor: Cursor,
    decoder: Decoder,
    engine: Engine,
    committer: Committer<Acks>,
    turns: u64,
    /// Taken, and not committed yet.
    turn: Option<Turn>,
}

/// Acknowledges to the simulated server, unless the process dies first or the ack is lost.
struct Acks {
    server: Arc<Mutex<Server>>,
    outcome: Arc<Mutex<Fate>>,
    database: PathBuf,
}

/// What becomes of the next ack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    IsLost,
    /// The process dies between the commit and the ack.
    Dies,
}

impl Acknowledge for Acks {
    fn committed(&mut self, position: u64, receipt: &Receipt) {
        // A server may forget what was acknowledged: by then it is in the file.
        let stored = query(&self.database, "SELECT CAST(position AS TEXT) FROM weir_pipeline");
        assert!(
            stored[0].parse::<u64>().is_ok_and(|stored| stored >= position),
            "sequence {position} is acknowledged, and {} is committed",
            stored[0]
        );
        if position > 0 && *locked(&self.outcome) == Fate::Arrives {
            assert_eq!(receipt.ack_subject.as_deref(), Some(&*position.to_string()));
            locked(&self.server).acknowledge(position);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panicked")
}

/// A world of one stream and one process.
struct World<'w> {
    plan: &'w Arc<Plan>,
    database: &'w Path,
    server: Arc<Mutex<Server>>,
    outcome: Arc<Mutex<Fate>>,
    /// What waits to be published.
    unpublished: Vec<Message>,
    happened: &'w Happened,
}

impl World<'_> {
    /// Starts the process: from the database, as after a crash.
    fn start(&self) -> Process {
        let file = hold(self.database).expect("nobody else holds the database");
        let mut storage = file
            .open(self.plan.clone(), Messages::Outbox)
            .expect("it can be opened");
        storage.claim("simulation").expect("it is the simulation's");
        let stored = storage.stored().clone();
        let mut engine = Engine::new(self.plan.clone(), host(), stored.seed).expect("the plan can run");
        storage.load(&mut engine).expect("the state can be read");
        engine.begin(stored.position, &[]).expect("nothing took over");
        let delivered = locked(&self.server).consume_from(stored.position);
        let metrics = engine.metrics().clone();
        Process {
            cursor: Cursor::new(stored.position, delivered),
            decoder: Decoder::of(self.plan, 16).expect("the plan can be decoded for"),
            engine,
            committer: Committer {
                storage,
                acknowledge: Acks {
                    server: self.server.clone(),
                    outcome: self.outcome.clone(),
                    database: self.database.to_owned(),
                },
                metrics,
            },
            turns: stored.turn,
            turn: None,
        }
    }

    /// The reader takes a delivery off the wire, and does what `weir run` does with it.
    fn receive(&self, process: &mut Process) {
        let Some(delivery) = locked(&self.server).wire.pop_front() else {
            return;
        };
        let message = delivery.message;
        match process.cursor.see(message.sequence, delivery.consumer_sequence) {
            Seen::New => process
                .decoder
                .push(message.sequence, Some(message.stored_ms), &message.payload),
            Seen::Twice => count(&self.happened.twice),
            Seen::Gap => {
                count(&self.happened.gaps);
                let delivered = locked(&self.server).consume_from(process.cursor.last());
                process.cursor.resume(delivered);
            }
        }
        if process.decoder.is_full() {
            process.decode();
        }
    }

    /// Something goes wrong between stream and reader.
    fn disturb(&self, random: &mut Random) {
        let mut server = locked(&self.server);
        let on_wire = server.wire.len();
        match random.below(4) {
            0 if on_wire > 0 => {
                let lost = random.below(on_wire);
                server.wire.remove(lost);
                count(&self.happened.lost);
            }
            1 if on_wire > 1 => {
                let at = random.below(on_wire - 1);
                server.wire.swap(at, at + 1);
                count(&self.happened.swapped);
            }
            2 => {
                server.send_again();
                count(&self.happened.again);
            }
            3 => {
                server.restart(random.once_in(2));
                count(&self.happened.restarts);
            }
            _ => {}
        }
    }

    /// Whether every message is committed.
    fn is_done(&self, process: &Process) -> bool {
        self.unpublished.is_empty() && process.committer.storage.stored().position == locked(&self.server).last()
    }
}

impl Process {
    fn decode(&mut self) {
        if self.decoder.is_empty() {
            return;
        }
        let mut batch = self.decoder.take();
        batch.receipt = Receipt {
            ack_subject: Some(batch.last_sequence.to_string()),
            content_hash: 0,
        };
        self.engine.process(batch).expect("no invariant breaks");
    }

    fn take_turn(&mut self) {
        if self.turn.is_none() && self.engine.has_turn() {
            self.turns += 1;
            self.turn = Some(self.engine.take_turn(self.turns).expect("no invariant breaks"));
        }
    }

    fn commit(&mut self, world: &World<'_>) {
        if let Some(turn) = self.turn.take() {
            self.committer.commit(turn).expect("the disk has room");
            count(&world.happened.commits);
        }
    }
}

/// Runs one world to its end. Faults stop at some time, so that there is one.
fn simulate(plan: &Arc<Plan>, database: &Path, messages: Vec<Message>, random: &mut Random, happened: &Happened) {
    let mut world = World {
        plan,
        database,
        server: Arc::default(),
        outcome: Arc::new(Mutex::new(Fate::Arrives)),
        unpublished: messages,
        happened,
    };
    world.unpublished.reverse();
    let mut process = world.start();
    let mut step = 0;
    while !world.is_done(&process) {
        step += 1;
        assert!(step < 100_000, "it goes on for ever");
        let faulty = step < FAULTY_STEPS;
        match random.below(20) {
            0..4 => {
                if let Some(message) = world.unpublished.pop() {
                    locked(&world.server).publish(message);
                }
            }
            4..8 => locked(&world.server).send(),
            8..13 => world.receive(&mut process),
            13..15 => process.decode(),
            15 => process.take_turn(),
            16 => process.commit(&world),
            17 if faulty => world.disturb(random),
            18 if faulty && random.once_in(3) => {
                // It dies wherever it is, and is started again.
                count(&happened.crashes);
                drop(process);
                process = world.start();
            }
            19 if faulty && random.once_in(3) => {
                // The same between a commit and its ack; or only the ack is lost.
                process.take_turn();
                let outcome = if random.once_in(2) { Fate::Dies } else { Fate::IsLost };
                *locked(&world.outcome) = outcome;
                process.commit(&world);
                *locked(&world.outcome) = Fate::Arrives;
                if outcome == Fate::Dies {
                    count(&happened.crashes_before_ack);
                    drop(process);
                    process = world.start();
                }
            }
            // A wire that lost its last message is silent, and the reader looks what became of it.
            _ if !faulty && locked(&world.server).wire.is_empty() => {
                process.decode();
                process.take_turn();
                process.commit(&world);
                let delivered = locked(&world.server).consume_from(process.cursor.last());
                process.cursor.resume(delivered);
            }
            _ => {}
        }
    }
    let floor = locked(&world.server).floor();
    assert!(floor.is_none_or(|floor| floor <= locked(&world.server).last()));
}

/// What the events give when nothing happens.
fn undisturbed(plan: &Arc<Plan>, database: &Path, messages: &[Message]) {
    let happened = Happened::default();
    let world = World {
        plan,
        database,
        server: Arc::default(),
        outcome: Arc::new(Mutex::new(Fate::IsLost)),
        unpublished: Vec::new(),
        happened: &happened,
    };
    let mut process = world.start();
    for message in messages {
        process
            .decoder
            .push(message.sequence, Some(message.stored_ms), &message.payload);
    }
    process.decode();
    process.take_turn();
    process.commit(&world);
}

/// Everything that a pipeline left, with its messages in order.
fn left(database: &Path) -> (Contents, Vec<String>) {
    let messages = query(database, "SELECT payload FROM weir_outbox ORDER BY id");
    let names = query(database, "SELECT DISTINCT message_id FROM weir_outbox");
    assert_eq!(names.len(), messages.len(), "each message has a name of its own");
    (contents(database), messages)
}

/// A folder in memory, where there is one: a simulation opens its database many times.
fn folder() -> tempfile::TempDir {
    let builder = tempfile::Builder::new()
        .prefix("weir-simulation-")
        .tempdir_in("/dev/shm");
    builder.unwrap_or_else(|_| weir_tests::scratch())
}

fn one(seed: u64, happened: &Happened) {
    let mut random = Random::new(seed);
    let mut choices = Choices::of_seed(random.number());
    let pipeline = Pipeline::draw(&mut choices, &KNOBS);
    for kind in pipeline.kinds() {
        *locked(&happened.kinds).entry(kind).or_default() += 1;
    }
    let plan = Plan::build(&File::from_text("simulated.toml", pipeline.toml()), host());
    let plan = Arc::new(plan.unwrap_or_else(|error| panic!("{error}\n{}", pipeline.toml())));
    let events = pipeline.events(EVENTS, &FLOW, &mut choices);
    let mut sequence = 0;
    let messages: Vec<Message> = events
        .iter()
        .map(|event| {
            // Messages of other subjects are between them.
            sequence += 1 + random.below(3) as u64;
            Message {
                sequence,
                stored_ms: 7 * sequence as i64,
                payload: pipeline.payload(event, false).into_bytes(),
            }
        })
        .collect();
    let sequences: Vec<u64> = messages.iter().map(|message| message.sequence).collect();
    let folder = folder();
    let (disturbed, straight) = (folder.path().join("a.db"), folder.path().join("b.db"));
    undisturbed(&plan, &straight, &messages);
    simulate(&plan, &disturbed, messages, &mut random, happened);
    assert_eq!(left(&disturbed), left(&straight), "with faults, and without");
    let expected = pipeline.expected(&events);
    expected.check(&plan, &disturbed, |number| sequences[number - 1]);
}

#[test]
fn faults_and_crashes_leave_no_trace() {
    let cases: u64 = std::env::var("WEIR_CASES").map_or(1, |cases| cases.parse().expect("WEIR_CASES is a number"));
    let (simulations, happened, begun) = (SIMULATIONS * cases, Happened::default(), Instant::now());
    let (next, threads) = (
        AtomicU64::new(0),
        std::thread::available_parallelism().map_or(1, usize::from),
    );
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= simulations {
                        break;
                    }
                    let seed = of_run().wrapping_mul(1 << 32).wrapping_add(number);
                    let simulated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one(seed, &happened)));
                    assert!(
                        simulated.is_ok(),
                        "simulation {number} with WEIR_SEED={} went wrong: what differs is above",
                        of_run()
                    );
                }
            });
        }
    });
    println!(
        "{simulations} simulations of {EVENTS} events in {:.1} s: {happened:?}",
        begun.elapsed().as_secs_f64()
    );
    for (what, times) in [
        ("crashes", &happened.crashes),
        ("crashes before an ack", &happened.crashes_before_ack),
        ("lost deliveries", &happened.lost),
        ("deliveries that came again", &happened.twice),
        ("gaps", &happened.gaps),
        ("restarts", &happened.restarts),
    ] {
        assert!(
            times.load(Ordering::Relaxed) > simulations / 4,
            "hardly any {what}: {happened:?}"
        );
    }
    let kinds = locked(&happened.kinds);
    for kind in KINDS.iter().filter(|kind| kind.has_model) {
        assert!(kinds.contains_key(kind.name), "no step is {}: {kinds:?}", kind.name);
    }
}
