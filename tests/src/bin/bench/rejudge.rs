//! Swaps of a threshold behind an aggregate under load: the groups that there are by then are judged anew.

use crate::{
    Result,
    report::{Figure, Report, Target},
    say,
};
use std::{
    fmt::Write as _,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use weir::{
    definition::File,
    engine::{Engine, Successor},
    format::Decoder,
    limits::BATCH_EVENTS_MAX,
    model::{delivery::DecodedBatch, deployment::Deployment},
    plan::{Plan, StageVersion, StepVersions, Versions},
    runtime::pipeline::{self, Swaps},
    source::Source,
    storage::Messages,
};
use weir_tests::{
    guest,
    replay::{hold, host},
    swaps::Acknowledged,
};

const GROUPS: u64 = 1_000_000;
const FILL: u64 = 4 * GROUPS;
const EVENTS_PER_S: u64 = 200_000;
const BATCH: u64 = 1024;
const SWAPS: u64 = 40;
const STEP: &str = "threshold";

/// The lower of two thresholds, between which versions alternate. Groups have half as many events at the start: first few of them
/// lie between the two, then a quarter of all, and few again.
const LEAST: u16 = 8;

/// What reads the rule.
struct Reader {
    what: &'static str,
    text: &'static str,
}

const READERS: [Reader; 2] = [
    Reader {
        what: "in front of a table",
        text: r#"
        [[sink]]
        table = "reached"
        primary_key = ["k"]
        "#,
    },
    Reader {
        what: "in front of an aggregate",
        text: r#"
        [[step]]
        name = "by-n"
        aggregate = { group_by = ["n"], columns = { groups = { count = "*" } } }
        [[sink]]
        table = "by_n"
        primary_key = ["n"]
        "#,
    },
];

fn plan(reader: &Reader) -> Result<Arc<Plan>> {
    let text = format!(
        r#"
        name = "groups"
        source = {{ stream = "S", subject = "s", columns = {{ k = "int" }} }}
        [[step]]
        name = "count"
        aggregate = {{ group_by = ["k"], columns = {{ n = {{ count = "*" }} }} }}
        [[step]]
        name = "{STEP}"
        stage = {{ module = "{}", parameters = {{ threshold = {LEAST} }} }}
        {}
        "#,
        guest("thresholds").display(),
        reader.text
    );
    Ok(Arc::new(Plan::build(&File::from_text("groups.toml", text), host())?))
}

/// Events of any group: as many as there are at once at first, and then so many a second.
struct Paced {
    decoder: Decoder,
    next: u64,
    payload: String,
    paced: Option<(Instant, u64)>,
    passed: Arc<AtomicU64>,
    /// How late the latest batch was that the pipeline wanted since versions are swapped, in µs.
    late_us: Arc<AtomicU64>,
    /// How many events each group has.
    amounts: Arc<Vec<AtomicU16>>,
    end: Arc<AtomicBool>,
}

impl Source for Paced {
    fn next_batch(&mut self) -> weir::error::Result<Option<DecodedBatch>> {
        if self.end.load(Ordering::Relaxed) {
            return Ok(None);
        }
        if self.next > FILL {
            let (begun, first) = *self.paced.get_or_insert_with(|| (Instant::now(), self.next));
            let due = Duration::from_micros((self.next - first) * 1_000_000 / EVENTS_PER_S);
            let elapsed = begun.elapsed();
            thread::sleep(due.saturating_sub(elapsed));
            if self.next > FILL + EVENTS_PER_S {
                let late_us = elapsed.saturating_sub(due).as_micros() as u64;
                self.late_us.fetch_max(late_us, Ordering::Relaxed);
            }
        }
        for n in self.next..self.next + BATCH {
            self.payload.clear();
            let group = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % GROUPS;
            if let Some(amount) = self.amounts.get(group as usize) {
                amount.fetch_add(1, Ordering::Relaxed);
            }
            let _ = write!(self.payload, "{{\"k\": {group}}}");
            self.decoder.push(n, Some(0), self.payload.as_bytes());
        }
        self.next += BATCH;
        self.passed.store(self.next, Ordering::Relaxed);
        Ok(Some(self.decoder.take()))
    }

    fn replace_decoder(&mut self, decoder: Decoder) {
        self.decoder = decoder;
    }
}

/// What the kernel says of the memory of this process under this name, in MiB.
fn memory_mib(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Begins anew to note the most memory that this process has, and gives what it has now, in MiB.
fn begin_memory() -> f64 {
    // Without the right to it, the figure is that since the start.
    let _ = fs::write("/proc/self/clear_refs", "5");
    memory_mib("VmRSS:")
}

fn version(base: &Plan, number: u64, fallback: StageVersion) -> Result<(Arc<Plan>, StageVersion)> {
    let stage = base.stage(STEP)?;
    let least = toml::Value::Integer(i64::from(LEAST) + (number % 2) as i64);
    let live = StageVersion {
        module: stage.module.clone(),
        deployment: Deployment {
            version: number,
            digest: Some(stage.module.digest.clone()),
            parameters: [("threshold".to_owned(), least)].into_iter().collect(),
            ..Default::default()
        },
    };
    let of_step = StepVersions {
        live: Some(live.clone()),
        fallback: Some(fallback),
        shadow: None,
    };
    let versions: Versions = [(STEP.to_owned(), of_step)].into_iter().collect();
    Ok((Arc::new(base.again(host(), &versions)?), live))
}

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    READERS
        .iter()
        .try_for_each(|reader| measure_in_front_of(reader, report))
}

fn measure_in_front_of(reader: &Reader, report: &mut Report) -> Result<()> {
    let what = reader.what;
    say(format_args!(
        "swap: {SWAPS} thresholds over {GROUPS} groups {what}, while {EVENTS_PER_S} events a second come in"
    ));
    let base = plan(reader)?;
    let folder = tempfile::tempdir()?;
    let mut storage = hold(&folder.path().join("groups.db"))?.open(base.clone(), Messages::Drop)?;
    storage.claim("groups")?;
    let seed = storage.stored().seed;
    let mut engine = Engine::new(base.clone(), host(), seed)?;
    storage.load(&mut engine)?;
    engine.begin(0, &[])?;
    let (passed, end) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let late_us = Arc::new(AtomicU64::new(0));
    let amounts: Arc<Vec<AtomicU16>> = Arc::new((0..GROUPS).map(|_| AtomicU16::new(0)).collect());
    let source = Paced {
        decoder: Decoder::of(&base, BATCH as usize)?,
        next: 1,
        payload: String::new(),
        paced: None,
        passed: passed.clone(),
        late_us: late_us.clone(),
        amounts: amounts.clone(),
        end: end.clone(),
    };
    let (rehearsed, successors) = crossbeam_channel::bounded(1);
    let (rehearsals, prepared) = crossbeam_channel::bounded(1);
    let (retired, gone) = crossbeam_channel::unbounded();
    let swaps = Swaps {
        successors,
        rehearsals: prepared,
        rehearsed,
        retired,
        ..Swaps::none()
    };
    let told = Acknowledged::default();
    let heard = told.clone();
    let swapping = thread::spawn(move || -> Result<(Vec<Duration>, Vec<usize>, Vec<f64>)> {
        while passed.load(Ordering::Relaxed) < FILL + EVENTS_PER_S {
            thread::sleep(Duration::from_millis(20));
        }
        let stage = base.stage(STEP)?;
        let mut live = StageVersion {
            module: stage.module.clone(),
            deployment: stage.deployment.clone(),
        };
        let (mut running, mut until, mut differ, mut more_mib) = (base.clone(), Vec::new(), Vec::new(), Vec::new());
        for number in 1..=SWAPS {
            let (begun, memory) = (Instant::now(), begin_memory());
            let (plan, next) = version(&base, number, live)?;
            let successor = Box::new(Successor::prepare(&running, plan.clone(), host(), BATCH_EVENTS_MAX)?);
            let rehearsal = successor.rehearse(&running, host())?;
            let rehearsal = rehearsal.map_err(|_| "there is nothing to rehearse")?;
            rehearsals.send(Box::new(rehearsal)).map_err(|_| "the pipeline ended")?;
            while heard.pauses().len() < number as usize {
                thread::sleep(Duration::from_millis(1));
            }
            until.push(begun.elapsed());
            more_mib.push(memory_mib("VmHWM:") - memory);
            let is_between = |amount: &&AtomicU16| amount.load(Ordering::Relaxed) == LEAST;
            differ.push(amounts.iter().filter(is_between).count());
            gone.try_iter().for_each(drop);
            (running, live) = (plan, next);
        }
        end.store(true, Ordering::Relaxed);
        Ok((until, differ, more_mib))
    });
    pipeline::run(source, engine, storage, told.clone(), swaps)?;
    let (mut until, mut differ, mut more_mib) = swapping.join().map_err(|_| "the thread of the swaps panicked")??;
    until.sort();
    differ.sort_unstable();
    more_mib.sort_by(f64::total_cmp);
    let more_mib = |index: usize| more_mib.get(index).copied().unwrap_or(0.0);
    let differing = |index: usize| differ.get(index).map_or(0.0, |rows| *rows as f64);
    let at = |all: &[Duration], share: usize| {
        let index = (all.len() * share / 100).min(all.len().saturating_sub(1));
        all.get(index).map_or(0.0, |time| time.as_nanos() as f64 / 1e3)
    };
    let pauses = told.pauses();
    report.add(Figure {
        part: "swap",
        what: format!("pause of the events, p99 of {SWAPS} thresholds over {GROUPS} groups {what}"),
        value: at(&pauses, 99),
        unit: "µs",
        baseline: BATCH as f64 * 1e6 / EVENTS_PER_S as f64,
        baseline_what: "the time between two batches of 1024 events",
        targets: vec![Target::Most(10_000.0)],
        also: vec![
            ("p50", at(&pauses, 50), "µs"),
            ("most", at(&pauses, 100), "µs"),
            ("in force after, p50", at(&until, 50) / 1e3, "ms"),
            ("in force after, most", at(&until, 100) / 1e3, "ms"),
            ("rows that differ, p50", differing(differ.len() / 2), ""),
            ("rows that differ, most", differing(differ.len().saturating_sub(1)), ""),
            ("latest batch", late_us.load(Ordering::Relaxed) as f64 / 1e3, "ms late"),
            ("memory on top, p50", more_mib(SWAPS as usize / 2), "MiB"),
            ("memory on top, most", more_mib(SWAPS as usize - 1), "MiB"),
        ],
    });
    Ok(())
}
