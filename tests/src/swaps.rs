//! A stream without end, and versions of a rule that are swapped in while it runs.

use crate::stored::{read_lineage, read_versions};
use crate::{
    guest,
    replay::{hold, host},
    table::{contents, query},
};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use weir::{
    definition::File,
    engine::{Engine, Successor},
    error::Result,
    format::Decoder,
    model::{
        delivery::{DecodedBatch, Receipt},
        deployment::{Committed, Deployment, StoredVersion},
    },
    plan::{Plan, StageVersion, StepVersions, Versions},
    runtime::pipeline::{self, Swaps},
    source::{Acknowledge, Source, Wake},
    storage::Messages,
};

/// The step that is swapped.
pub const STEP: &str = "versions";

/// The pipeline's name.
pub const PIPELINE: &str = "swapped";

/// Events whose number this divides are rejected by every version.
pub const MALFORMED: u64 = 97;

/// The pipeline: a log of what which version saw, and what an operator makes of it.
///
/// # Panics
/// When the guest was not built.
pub fn pipeline_text(trial: &str) -> String {
    format!(
        r#"
name = "{PIPELINE}"
source = {{ stream = "EVENTS", subject = "events", columns = {{ n = "int", k = "text" }} }}

[[step]]
name = "{STEP}"
stage = {{ module = "{}", parameters = {{ malformed = {MALFORMED} }}, limits = {{ deadline_ms = 50 }}, trial = {trial} }}

[[step]]
name = "by-key"
from = "{STEP}"
[step.aggregate]
group_by = ["k"]
[step.aggregate.columns]
events = {{ count = "*" }}
total = {{ sum = "n" }}

[[sink]]
from = "{STEP}"
table = "seen"

[[sink]]
from = "by-key"
table = "by_key"
primary_key = ["k"]
"#,
        guest("versions").display()
    )
}

/// The same pipeline, with a second step of the same rule over the same events, named `second`.
///
/// # Panics
/// When the guest was not built.
pub fn text_with_second(trial: &str) -> String {
    let second = format!(
        r#"
[[step]]
name = "second"
from = "source"
stage = {{ module = "{}", parameters = {{ malformed = {MALFORMED} }} }}

[[sink]]
from = "second"
table = "seen_by_second"
"#,
        guest("versions").display()
    );
    pipeline_text(trial) + &second
}

/// The digest of a component.
///
/// # Panics
/// When it cannot be loaded.
pub fn digest(component: &Path) -> String {
    digest_of(&std::fs::read(component).expect("a component can be read"))
}

/// The digest of a component's bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Which of the 13 keys the event `n` has: some come several times in a row, and others seldom.
pub fn key_of(n: u64) -> u64 {
    (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % 13
}

/// The payload with the number `n`.
pub fn payload(n: u64) -> String {
    format!(r#"{{"n": {n}, "k": "{}"}}"#, key_of(n))
}

/// The plan of [`pipeline_text`].
///
/// # Errors
/// When it is broken.
pub fn plan(trial: &str) -> Result<Arc<Plan>> {
    let file = File::from_text("swapped.toml", pipeline_text(trial));
    Plan::build(&file, host()).map(Arc::new)
}

/// The same pipeline, with a lookup in front of the rule whose table the rule itself updates: the events of a batch reach
/// it in rounds.
///
/// # Errors
/// When it is broken.
pub fn plan_in_rounds(trial: &str) -> Result<Arc<Plan>> {
    let text = text_in_rounds(trial, "[]");
    Plan::build(&File::from_text("swapped.toml", text), host()).map(Arc::new)
}

/// The pipeline file of that; the lookup adds these columns of the table, whose rows are a key and a label.
///
/// # Panics
/// When the guest was not built.
pub fn text_in_rounds(trial: &str, columns: &str) -> String {
    let table = format!(
        r#"
[table.keys]
primary_key = ["k"]
update_from = "{STEP}"
columns = {{ k = "text", label = "int" }}

[[step]]
name = "known"
lookup = {{ table = "keys", on = {{ k = "k" }}, columns = {columns} }}

[[step]]"#
    );
    pipeline_text(trial).replacen("\n[[step]]", &table, 1)
}

/// The same pipeline, with a rule behind its aggregate that rejects events: what they did in front of it is undone.
///
/// # Errors
/// When it is broken.
pub fn plan_undone(trial: &str) -> Result<Arc<Plan>> {
    let behind = format!(
        r#"
[[step]]
name = "last"
from = "{STEP}"
last_value = {{ key = ["k"] }}

[[step]]
name = "behind"
stage = {{ module = "{}", parameters = {{ malformed = 89 }} }}

[[sink]]
from = "behind"
table = "behind"
primary_key = ["k"]
"#,
        guest("versions").display()
    );
    let text = pipeline_text(trial) + &behind;
    Plan::build(&File::from_text("swapped.toml", text), host()).map(Arc::new)
}

/// Rows of the lookup table of [`plan_in_rounds`]: all keys that there are.
pub fn known_keys() -> String {
    (0..13).map(|k| format!("{{\"k\": \"{k}\", \"label\": 0}}\n")).collect()
}

/// A version of the rule; `fails` is a list of parameters in TOML.
///
/// # Panics
/// When that is no TOML.
pub fn version(plan: &Plan, version: u64, fails: &str) -> StageVersion {
    let stage = plan.stage(STEP).expect("the pipeline has it");
    let mut parameters: BTreeMap<String, toml::Value> = toml::from_str(fails).expect("parameters");
    parameters.insert("label".to_owned(), toml::Value::Integer(version as i64));
    parameters.insert("malformed".to_owned(), toml::Value::Integer(MALFORMED as i64));
    StageVersion {
        module: stage.module.clone(),
        deployment: Deployment {
            version,
            digest: Some(stage.module.digest.clone()),
            parameters,
            ..Default::default()
        },
    }
}

/// A plan with `live`, and what it falls back on.
///
/// # Errors
/// When it does not fit.
pub fn with(base: &Plan, live: StageVersion, fallback: Option<StageVersion>) -> Result<Arc<Plan>> {
    let step = StepVersions {
        live: Some(live),
        fallback,
        shadow: None,
    };
    let versions: Versions = [(STEP.to_owned(), step)].into_iter().collect();
    base.again(host(), &versions).map(Arc::new)
}

/// Events from a number on, until it is told to end.
#[derive(Debug)]
pub struct Endless {
    decoder: Decoder,
    next: u64,
    batch: u64,
    /// The last number, at the earliest once `end` is set.
    last: u64,
    end: Arc<AtomicBool>,
}

impl Endless {
    /// Events after `position`, in batches of `batch`, to `last` and on until `end` is set.
    ///
    /// # Errors
    /// When the columns are broken.
    pub fn new(plan: &Plan, position: u64, batch: u64, last: u64, end: &Arc<AtomicBool>) -> Result<Self> {
        Ok(Self {
            decoder: Decoder::of(plan, batch as usize)?,
            next: position + 1,
            batch,
            last,
            end: end.clone(),
        })
    }
}

impl Source for Endless {
    fn next_batch(&mut self) -> Result<Option<DecodedBatch>> {
        if self.next > self.last && self.end.load(Ordering::Relaxed) {
            return Ok(None);
        }
        for n in self.next..self.next + self.batch {
            self.decoder.push(n, Some(0), payload(n).as_bytes());
        }
        self.next += self.batch;
        Ok(Some(self.decoder.take()))
    }

    fn replace_decoder(&mut self, decoder: Decoder) {
        self.decoder = decoder;
    }
}

/// Keeps what it is told of commits.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged(pub Arc<Mutex<Vec<Committed>>>);

impl Acknowledged {
    /// How long each swap held up the data path, in order of length.
    ///
    /// # Panics
    /// When a thread did before.
    pub fn pauses(&self) -> Vec<Duration> {
        let told = self.0.lock().expect("nobody panicked");
        let mut pauses: Vec<Duration> = told.iter().flat_map(|committed| committed.pauses.clone()).collect();
        pauses.sort();
        pauses
    }
}

impl Acknowledge for Acknowledged {
    fn committed(&mut self, _: u64, _: &Receipt) {}

    fn versions_committed(&mut self, committed: Committed) {
        self.0.lock().expect("nobody panicked").push(committed);
    }
}

/// Runs `plan` into a database, which may hold the beginning, in batches of `batch` events, to the event `last` at
/// least, and until `swap` returns, which is given the sender of successors.
///
/// # Errors
/// What ended the pipeline.
///
/// # Panics
/// When a thread cannot be started.
pub fn run(
    plan: &Arc<Plan>,
    database: &Path,
    batch: u64,
    last: u64,
    acknowledged: &Acknowledged,
    swap: impl FnOnce(&dyn Fn(Successor)) + Send,
) -> Result<()> {
    start(plan, database, batch, last, acknowledged, None, Some(swap))
}

/// Swaps nothing in.
type Nothing = fn(&dyn Fn(Successor));

/// As [`run`], to the batch with the event `last`, and with one swap at most, before the first event.
///
/// # Errors
/// What ended the pipeline.
pub fn run_from(
    plan: &Arc<Plan>,
    database: &Path,
    batch: u64,
    last: u64,
    acknowledged: &Acknowledged,
    successor: Option<Successor>,
) -> Result<()> {
    start(plan, database, batch, last, acknowledged, successor, None::<Nothing>)
}

fn start(
    plan: &Arc<Plan>,
    database: &Path,
    batch: u64,
    last: u64,
    acknowledged: &Acknowledged,
    first: Option<Successor>,
    swap: Option<impl FnOnce(&dyn Fn(Successor)) + Send>,
) -> Result<()> {
    let known = read_versions(database, &plan.name)?;
    let mut storage = hold(database)?.open(plan.clone(), Messages::Drop)?;
    storage.claim("numbers")?;
    let stored = storage.stored().clone();
    let mut engine = Engine::new(plan.clone(), host(), stored.seed)?;
    storage.load(&mut engine)?;
    engine.begin(stored.position, &known)?;
    if let Some(first) = first {
        drop(engine.swap(first));
    }
    let end = Arc::new(AtomicBool::new(swap.is_none()));
    let source = Endless::new(plan, stored.position, batch, last, &end)?;
    let (successors, ready) = crossbeam_channel::bounded(0);
    let (retired, gone) = crossbeam_channel::unbounded();
    let swaps = Swaps {
        patience: Duration::ZERO,
        successors: ready,
        retired,
        wake: Wake::default(),
        ..Swaps::none()
    };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(swap) = swap {
                swap(&|successor| {
                    let _ = successors.send(Box::new(successor));
                    gone.try_iter().for_each(drop);
                });
            }
            end.store(true, Ordering::Relaxed);
        });
        pipeline::run(source, engine, storage, acknowledged.clone(), swaps).map(drop)
    })
}

/// The version that decided over each sequence of `1..=last`, as the database says; none where that one fails.
///
/// # Panics
/// When it says nothing of some.
pub fn deciding(versions: &[StoredVersion], last: u64) -> Vec<Option<u64>> {
    let mut of_step: Vec<&StoredVersion> = versions.iter().filter(|version| version.step == STEP).collect();
    of_step.sort_by_key(|version| version.first_sequence);
    let mut decided = Vec::with_capacity(last as usize);
    for sequence in 1..=last {
        let at = of_step.partition_point(|version| version.first_sequence <= sequence);
        let in_force = of_step[at.checked_sub(1).expect("a version decides over every event")];
        let by = match in_force.trial.by_fallback.contains(&sequence) {
            true => in_force.fallback.as_ref().expect("a version on trial falls back"),
            false => &in_force.deployment,
        };
        decided.push((!fails(by, sequence)).then_some(by.version));
    }
    decided
}

/// Whether a version fails on an event.
fn fails(deployment: &Deployment, n: u64) -> bool {
    let parameter = |name: &str| deployment.parameters.get(name);
    let how = parameter("fails").and_then(toml::Value::as_str).unwrap_or_default();
    let every = parameter("every").and_then(toml::Value::as_integer).unwrap_or(1);
    n.is_multiple_of(MALFORMED) || !how.is_empty() && n.is_multiple_of(every as u64)
}

/// Holds a database to the plain model: each event by the version that decided over its sequence.
///
/// # Panics
/// Where it holds something else.
#[track_caller]
pub fn check(database: &Path) -> (Vec<StoredVersion>, u64) {
    check_labels(database, |version| version)
}

/// As [`check`], where a version writes the label that `label` gives for it.
///
/// # Panics
/// Where it holds something else.
#[track_caller]
pub fn check_labels(database: &Path, label: impl Fn(u64) -> u64) -> (Vec<StoredVersion>, u64) {
    let versions = read_versions(database, PIPELINE).expect("the versions can be read");
    let found = contents(database);
    let last = found.position;
    let decided = deciding(&versions, last);

    let mut seen = Vec::new();
    let mut by_key: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut dead = 0;
    for (n, version) in (1..=last).zip(decided) {
        let Some(version) = version else {
            dead += 1;
            continue;
        };
        let key = key_of(n).to_string();
        seen.push(format!("{n}|{key}|{}", label(version)));
        let totals = by_key.entry(key).or_default();
        *totals = (totals.0 + 1, totals.1 + n);
    }
    let rows = query(database, "SELECT n || '|' || k || '|' || label FROM seen ORDER BY n");
    assert_eq!(rows.len(), seen.len(), "rows");
    let wrong = rows.iter().zip(&seen).find(|(found, expected)| found != expected);
    assert_eq!(wrong, None, "{versions:?}");
    let rows = query(
        database,
        "SELECT k || '|' || events || '|' || total FROM by_key ORDER BY k",
    );
    let expected = by_key
        .iter()
        .map(|(key, (events, total))| format!("{key}|{events}|{total}"));
    assert_eq!(rows, expected.collect::<Vec<_>>());

    let trace = read_lineage(database, "by_key", &[("k".to_owned(), Some("3".to_owned()))]).expect("a trace");
    let seen = query(database, "SELECT CAST(n AS TEXT) FROM seen WHERE k = '3' ORDER BY n");
    let known = seen.iter().map(|n| n.parse().expect("a number"));
    assert!(
        trace
            .sequences
            .iter()
            .copied()
            .eq(known.filter(|&n: &u64| n >= trace.first_sequence)),
        "the trace names each event once"
    );

    let counts = found.counts;
    assert_eq!((counts.events, counts.dead_letters), (last, dead), "counts");
    assert_eq!(counts.applied, last - dead);
    (versions, last)
}
