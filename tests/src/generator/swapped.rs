//! A pipeline whose rules over changelogs are swapped while events pass, held to what it has to leave: in batches of several
//! sizes, with rehearsals and without, and with stops.
//!
//! A swap stands between two events. To the model it is an event that the source gives nothing for.

use super::{
    Event, Flow, Knobs, Pipeline,
    choices::Choices,
    events::Progress,
    expected::Expected,
    kinds::threshold::{Rule, Swap, Version},
    rules::Rules,
};
use crate::{
    replay::hold,
    scratch_in_memory,
    seed::Random,
    stored::{read_lineage, read_versions},
    table::{Cell, Contents, contents, query},
};
use proptest::prelude::*;
use std::{collections::BTreeSet, fmt, ops::Range, path::Path, sync::Arc, thread};
use weir::{
    definition::File,
    engine::{Engine, Successor},
    format::Decoder,
    model::deployment::{Deployment, StoredVersion},
    plan::{Plan, StageVersion, StepVersions, Versions},
    storage::{Messages, RowLineage, Storage, SwapOfRow},
};

/// Bytes that an event is drawn from: more than it has columns, since some take two.
type EventBytes = [u8; 24];

/// The same of a swap.
type SwapBytes = [u8; 20];

/// How many events there are in a batch, in one run after the other.
const BATCHES: [usize; 4] = [1, 7, 256, 4096];

/// The most rows of a table whose lineage is looked at: each time the database is opened.
const TRACED_MAX: usize = 2;

/// A pipeline with its input, its swaps, and how it is run.
pub struct Case {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Its input.
    pub events: Vec<Event>,
    /// The swaps, each behind so many events.
    pub swaps: Vec<(usize, Swap)>,
    /// How each is rehearsed, if it is.
    rehearsals: Vec<Option<Rehearsal>>,
    /// The places among events and swaps in front of which a run is stopped and started again.
    stops: BTreeSet<usize>,
    /// Decides when turns end.
    seed: u64,
}

/// How a swap is rehearsed.
#[derive(Clone, Copy, Debug)]
struct Rehearsal {
    /// How many events it begins ahead.
    ahead: usize,
    /// How many buckets are handed over before the next batch.
    buckets: usize,
    /// Whether the swap waits for it.
    waits: bool,
}

/// What happened in a case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Versions that took over.
    pub swapped: usize,
    /// Versions that did not.
    pub refused: usize,
    /// Versions on trial that were taken back.
    pub taken_back: usize,
    /// Rows that only a swap can have changed, or events did as well.
    pub traced: usize,
}

/// Everything that a run left.
#[derive(Debug, PartialEq)]
struct Left {
    contents: Contents,
    messages: Vec<String>,
    lineages: Vec<(String, Vec<Cell>, RowLineage)>,
}

/// Cases with so many events.
pub fn cases(knobs: Knobs<'static>, flow: Flow, events: Range<usize>) -> impl Strategy<Value = Case> {
    let pipeline = prop::collection::vec(any::<u8>(), 0..100);
    let events = prop::collection::vec(any::<EventBytes>(), events);
    let swaps = prop::collection::vec(any::<SwapBytes>(), 0..8);
    let stops = prop::collection::vec(any::<u8>(), 0..3);
    let all = (pipeline, events, swaps, stops, any::<u64>());
    all.prop_map(move |(pipeline, events, swaps, stops, seed)| {
        let mut choices = Choices::of_bytes(&pipeline);
        let pipeline = Pipeline::draw_swapped(&mut choices, &knobs);
        let mut progress = Progress::default();
        let event = |bytes: &EventBytes| pipeline.event(&flow, &mut progress, &mut Choices::of_bytes(bytes));
        let events: Vec<Event> = events.iter().map(event).collect();
        Case::new(pipeline, events, &swaps, &stops, seed)
    })
}

impl Pipeline {
    /// A pipeline that [`Pipeline::draw`] draws, mostly with sinks for all that there is besides.
    fn draw_swapped(choices: &mut Choices<'_>, knobs: &Knobs<'_>) -> Self {
        let mut pipeline = Self::draw(choices, knobs);
        pipeline.draw_every_sink(choices);
        pipeline
    }
}

impl Case {
    fn new(pipeline: Pipeline, events: Vec<Event>, swaps: &[SwapBytes], stops: &[u8], seed: u64) -> Self {
        let rules = pipeline.rules();
        let swaps = if rules.is_empty() { &[] } else { swaps };
        let (mut drawn, mut known) = (Vec::new(), Vec::new());
        let first: Vec<(usize, Rule)> = pipeline.first_rules().collect();
        known.extend(first);
        for bytes in swaps {
            let mut choices = Choices::of_bytes(bytes);
            let behind = choices.below(events.len() + 1);
            let step = choices.one_of(&rules);
            let of_step: Vec<Rule> = known
                .iter()
                .filter(|(of, _)| *of == step)
                .map(|(_, rule)| *rule)
                .collect();
            let rehearsal: Option<Rehearsal> = (choices.below(2) == 1).then(|| Rehearsal {
                ahead: choices.one_of(&[0, 1, 3, 10, 30]),
                buckets: choices.one_of(&[1000, 0, 100]),
                waits: choices.below(4) < 3,
            });
            let stops = [choices.below(4) == 3, choices.below(4) == 3];
            // Back to one that was there before, now and then.
            let rule = match choices.below(4) {
                3 => choices.one_of(&of_step),
                _ => Rule::draw(&mut choices),
            };
            known.push((step, rule));
            drawn.push((behind, step, rule, rehearsal, stops));
        }
        // A rehearsal ends at the first row that a rule traps at, also where that is another one by the time of the swap.
        if known.iter().any(|(_, rule)| rule.traps && rule.fails_at.is_some()) {
            let rehearsals = drawn.iter_mut().filter_map(|(.., rehearsal, _)| rehearsal.as_mut());
            rehearsals.for_each(|rehearsal| rehearsal.ahead = 0);
        }
        drawn.sort_by_key(|(behind, ..)| *behind);
        let mut case = Self {
            pipeline,
            swaps: Vec::new(),
            rehearsals: Vec::new(),
            stops: BTreeSet::new(),
            seed,
            events,
        };
        for (number, (behind, step, rule, rehearsal, [before, after])) in drawn.into_iter().enumerate() {
            let version = Version {
                number: number as u64 + 1,
                rule,
            };
            case.swaps.push((behind, Swap { step, version }));
            case.rehearsals.push(rehearsal);
            let place = behind + number;
            case.stops.extend(before.then_some(place));
            case.stops.extend(after.then_some(place + 1));
        }
        let places = case.events.len() + case.swaps.len() + 1;
        case.stops.extend(stops.iter().map(|&stop| usize::from(stop) % places));
        case
    }

    /// Runs it, and holds what each run leaves to the model. Gives what happened.
    ///
    /// # Panics
    /// When something differs.
    #[track_caller]
    pub fn check(&self) -> Happened {
        let expected = self.pipeline.expected_with(&self.events, &self.swaps);
        let host = self.pipeline.host();
        let file = File::from_text("p.toml", self.pipeline.toml());
        let mut all: Vec<Left> = Vec::new();
        for batch in BATCHES {
            let folder = scratch_in_memory();
            let database = folder.path().join("p.db");
            let base = Plan::build(&file, &host).unwrap_or_else(|error| panic!("the pipeline is fine: {error}"));
            let mut run = Run::new(self, &expected, &host, base, &database, batch);
            run.run();
            let plan = run.running.clone();
            drop(run);
            all.push(self.left(&expected, &host, &plan, &database, batch));
        }
        for (left, batch) in all.iter().zip(BATCHES) {
            assert_eq!(*left, all[0], "in batches of {batch}, and of {}", BATCHES[0]);
        }
        let swapped = expected.swaps.iter().flatten().count();
        Happened {
            swapped,
            refused: expected.swaps.len() - swapped,
            taken_back: expected.taken_back,
            traced: expected
                .traces
                .iter()
                .flat_map(|trace| trace.rows.values().flatten())
                .filter(|(_, swaps)| !swaps.is_empty())
                .count(),
        }
    }

    /// Reads what a run left, and holds it to the model.
    fn left(&self, expected: &Expected, host: &Rules, plan: &Arc<Plan>, database: &Path, batch: usize) -> Left {
        let versions = read_versions(database, &plan.name).expect("the versions can be read");
        for (step, of_step) in &expected.versions {
            let found = versions.iter().filter(|version| version.step == *step);
            let found = found.map(|version| (version.first_sequence, version.deployment.version));
            let expected = of_step.iter().map(|(first, version)| (*first as u64, version.number));
            assert_eq!(
                found.collect::<Vec<_>>(),
                expected.collect::<Vec<_>>(),
                "versions of {step}, in batches of {batch}: found, and expected"
            );
        }
        expected.check_of(host, plan, database, |number| number as u64);
        let messages = query(
            database,
            "SELECT subject || ' ' || payload FROM weir_outbox ORDER BY subject, id",
        );
        let names = query(database, "SELECT DISTINCT message_id FROM weir_outbox");
        assert_eq!(names.len(), messages.len(), "each message has a name of its own");
        let mut lineages = Vec::new();
        for trace in &expected.traces {
            for (row, causes) in trace.rows.iter().take(TRACED_MAX) {
                let text = |cell: &Cell| match cell {
                    Cell::Null => None,
                    Cell::Text(text) => Some(text.clone()),
                    Cell::Blob(bytes) => Some(data_encoding::BASE64.encode(bytes)),
                    other => Some(format!("{other:?}")),
                };
                let key: Vec<_> = trace.key.iter().cloned().zip(row.iter().map(text)).collect();
                let mut lineage = read_lineage(database, &trace.table, &key).expect("the lineage can be read");
                if !trace.knows_events {
                    lineage.sequences.clear();
                    lineage.swaps.iter_mut().for_each(|swap| swap.last_event = None);
                }
                let is_behind = |swap: &SwapOfRow| swap.last_event.is_none_or(|last| last <= swap.behind);
                assert!(lineage.swaps.iter().all(is_behind), "{lineage:?}");
                let found: Vec<u64> = lineage.swaps.iter().map(|swap| swap.behind).collect();
                if let Some((events, swaps)) = causes {
                    let events = events.iter().copied().filter(|_| trace.knows_events);
                    assert_eq!(
                        (&lineage.sequences, found),
                        (&events.collect(), swaps.iter().copied().collect()),
                        "lineage of {row:?} in table {}, in batches of {batch}: found, and expected",
                        trace.table
                    );
                }
                lineages.push((trace.table.clone(), row.clone(), lineage));
            }
        }
        Left {
            contents: contents(database),
            messages,
            lineages,
        }
    }

    fn payloads(&self) -> impl Iterator<Item = String> {
        self.events.iter().map(|event| self.pipeline.payload(event, false))
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "stopped at {:?}, seed {}", self.stops, self.seed)?;
        for ((behind, swap), rehearsal) in self.swaps.iter().zip(&self.rehearsals) {
            let step = self.pipeline.name_of(swap.step);
            writeln!(
                f,
                "behind event {behind}: {step} becomes {:?}, {rehearsal:?}",
                swap.version
            )?;
        }
        writeln!(f, "{}", self.pipeline.toml())?;
        self.payloads().try_for_each(|payload| writeln!(f, "{payload}"))
    }
}

/// One run of a case.
struct Run<'c> {
    case: &'c Case,
    expected: &'c Expected,
    host: &'c Rules,
    base: Plan,
    database: &'c Path,
    batch: usize,
    random: Random,
    versions: Versions,
    running: Arc<Plan>,
    engine: Engine,
    storage: Option<Box<dyn Storage>>,
    decoder: Decoder,
    /// How many events wait in the decoder.
    waiting: usize,
    rehearsing: Option<(Rehearsal, Box<Successor>, Arc<Plan>, StepVersions)>,
}

impl<'c> Run<'c> {
    fn new(
        case: &'c Case,
        expected: &'c Expected,
        host: &'c Rules,
        base: Plan,
        database: &'c Path,
        batch: usize,
    ) -> Self {
        let versions = Versions::new();
        let (running, engine, storage, decoder) = start(&base, host, database, &versions, &[]);
        Self {
            case,
            expected,
            host,
            base,
            database,
            batch,
            random: Random::new(case.seed),
            versions,
            running,
            engine,
            storage: Some(storage),
            decoder,
            waiting: 0,
            rehearsing: None,
        }
    }

    fn run(&mut self) {
        let case = self.case;
        let payloads: Vec<String> = case.payloads().collect();
        let mut swaps = case.swaps.iter().enumerate().peekable();
        let (mut event, places) = (0, payloads.len() + case.swaps.len());
        for place in 0..=places {
            if case.stops.contains(&place) {
                self.restart();
            }
            self.begin_rehearsal(place);
            if let Some((number, (_, swap))) = swaps.next_if(|(_, (behind, _))| *behind == event) {
                self.swap(number, *swap);
            } else if let Some(payload) = payloads.get(event) {
                event += 1;
                self.decoder.push(event as u64, Some(0), payload.as_bytes());
                self.waiting += 1;
                if self.waiting >= self.batch {
                    self.flush();
                }
            }
        }
        // Also what the versions of the database make of it.
        self.restart();
    }

    /// Lets the events pass that wait.
    fn flush(&mut self) {
        if self.waiting > 0 {
            self.waiting = 0;
            self.engine.process(self.decoder.take()).expect("no invariant breaks");
            self.rehearse();
        }
        if self.random.once_in(2) {
            self.commit();
        }
    }

    fn commit(&mut self) {
        if self.engine.has_turn() {
            let storage = self.storage.as_mut().expect("it is open");
            let number = storage.stored().turn + 1;
            let turn = self.engine.take_turn(number).expect("no invariant breaks");
            storage.commit(turn).expect("the disk has room");
        }
    }

    fn rehearse(&mut self) {
        if let Some((rehearsal, ..)) = &self.rehearsing {
            for _ in 0..rehearsal.buckets {
                self.engine.rehearse_some().expect("no invariant breaks");
            }
        }
    }

    /// As another process would go on.
    fn restart(&mut self) {
        self.flush();
        self.commit();
        self.rehearsing = None;
        let known = read_versions(self.database, &self.running.name).expect("the versions can be read");
        self.versions.clear();
        for stored in &known {
            let is_on_trial = stored.trial.left > 0 && stored.trial.taken_back.is_none();
            let fallback = stored.fallback.clone().filter(|_| is_on_trial);
            let of_step = StepVersions {
                live: Some(self.deployed(&stored.step, stored.deployment.clone())),
                fallback: fallback.map(|fallback| self.deployed(&stored.step, fallback)),
                shadow: None,
            };
            // The last of each step.
            self.versions.insert(stored.step.clone(), of_step);
        }
        // One process at a time holds the database.
        self.storage = None;
        let (running, engine, storage, decoder) = start(&self.base, self.host, self.database, &self.versions, &known);
        (self.running, self.engine, self.storage, self.decoder) = (running, engine, Some(storage), decoder);
    }

    fn deployed(&self, step: &str, deployment: Deployment) -> StageVersion {
        StageVersion {
            module: self.base.stage(step).expect("it is a rule").module.clone(),
            deployment,
        }
    }

    fn version(&self, step: &str, version: Version) -> StageVersion {
        let of_file = self.base.stage(step).expect("it is a rule");
        let deployment = match version.number {
            0 => of_file.deployment.clone(),
            number => Deployment {
                version: number,
                digest: Some(of_file.module.digest.clone()),
                parameters: version.rule.parameters(),
                ..Deployment::default()
            },
        };
        self.deployed(step, deployment)
    }

    fn prepare(&self, number: usize, swap: Swap) -> (Box<Successor>, Arc<Plan>, StepVersions) {
        let step = self.case.pipeline.name_of(swap.step);
        // Where it is refused, it does not matter what it would fall back on.
        let good = self.expected.swaps[number].map(|good| self.version(step, good));
        let of_file = || self.deployed(step, self.base.stage(step).expect("it is a rule").deployment.clone());
        let live = self.versions.get(step).and_then(|of_step| of_step.live.clone());
        let of_step = StepVersions {
            live: Some(self.version(step, swap.version)),
            fallback: Some(good.or(live).unwrap_or_else(of_file)),
            shadow: None,
        };
        let mut versions = self.versions.clone();
        versions.insert(step.to_owned(), of_step.clone());
        let plan = self.base.again(self.host, &versions).expect("the version fits");
        let plan = Arc::new(plan);
        let successor = Successor::prepare(&self.running, plan.clone(), self.host, self.batch);
        (Box::new(successor.expect("it can take over")), plan, of_step)
    }

    /// Begins a rehearsal of the next swap, where it is time for it.
    fn begin_rehearsal(&mut self, place: usize) {
        let case = self.case;
        let mut next = case
            .swaps
            .iter()
            .enumerate()
            .map(|(number, (behind, swap))| (behind + number, number, swap));
        let Some((at, number, swap)) = next.find(|(at, ..)| *at >= place) else {
            return;
        };
        let Some(rehearsal) = case.rehearsals[number].filter(|_| self.rehearsing.is_none()) else {
            return;
        };
        // No other swap and no stop lies between.
        if at - place > rehearsal.ahead || case.stops.iter().any(|stop| (place + 1..=at).contains(stop)) {
            return;
        }
        self.flush();
        let (successor, plan, of_step) = self.prepare(number, *swap);
        let prepared = successor
            .rehearse(&self.running, self.host)
            .expect("the plans are of one file");
        let successor = match prepared {
            Ok(prepared) => self.engine.begin_rehearsal(prepared).expect("a thread can be started"),
            Err(successor) => successor,
        };
        self.rehearsing = Some((rehearsal, successor, plan, of_step));
        self.rehearse();
    }

    fn swap(&mut self, number: usize, swap: Swap) {
        self.flush();
        let (mut successor, plan, of_step) = match self.rehearsing.take() {
            Some((rehearsal, successor, plan, of_step)) => {
                while rehearsal.waits
                    && (self.engine.rehearse_some().expect("no invariant breaks") || !self.engine.is_rehearsed())
                {
                    thread::yield_now();
                }
                (successor, plan, of_step)
            }
            None => self.prepare(number, swap),
        };
        let decoder = successor.decoder.take();
        let retired = self.engine.swap(*successor).expect("no invariant breaks");
        let good = self.expected.swaps[number];
        assert_eq!(
            retired.refused().is_some(),
            good.is_none(),
            "{:?} is refused in batches of {}: found ({:?}), and expected",
            swap.version,
            self.batch,
            retired.refused()
        );
        if retired.refused().is_none() {
            let step = self.case.pipeline.name_of(swap.step).to_owned();
            self.versions.insert(step, of_step);
            (self.running, self.decoder) = (plan, decoder.expect("nobody took it before"));
        }
        if self.random.once_in(2) {
            self.commit();
        }
    }
}

/// An engine with its storage, from the database.
fn start(
    base: &Plan,
    host: &Rules,
    database: &Path,
    versions: &Versions,
    known: &[StoredVersion],
) -> (Arc<Plan>, Engine, Box<dyn Storage>, Decoder) {
    let plan = Arc::new(base.again(host, versions).expect("the versions fit"));
    let file = hold(database).expect("nobody else holds the database");
    let mut storage = file.open(plan.clone(), Messages::Outbox).expect("it can be opened");
    storage.claim("events").expect("it is that of the case");
    let stored = storage.stored().clone();
    let mut engine = Engine::new(plan.clone(), host, stored.seed).expect("the plan can run");
    storage.load(&mut engine).expect("the state can be read");
    engine.begin(stored.position, known).expect("the engine begins");
    let decoder = Decoder::of(&plan, 16).expect("the plan can be decoded for");
    (plan, engine, storage, decoder)
}
