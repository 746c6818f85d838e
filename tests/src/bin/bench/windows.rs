//! Windows over event time: how fast, how much memory an open one takes, and that it is given back.

use crate::{
    Result,
    replay::{best_of, used},
    report::{Figure, Report, Target},
    say,
};
use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Instant,
};
use weir::{
    definition,
    engine::Engine,
    format::Decoder,
    limits::BATCH_EVENTS_MAX,
    plan::Plan,
    wasm::{Compiler, StageHost},
};
use weir_tests::usage::{self, Usage};

/// Keys of the events.
const KEYS: u64 = 100_000;

/// Event time between two events: a minute has 60 000 of them.
const STEP_MS: i64 = 1;

/// By how much an event comes too early or too late.
const DISORDER_MS: i64 = 500;

const SEED: u64 = 20_260_315;
const START_MS: i64 = 1_773_504_000_000;

/// Keys of a window that is held open, to be weighed.
const HELD_KEYS: u64 = 1_000_000;

/// A step that is measured.
struct Case {
    what: &'static str,
    step: &'static str,
    /// The component of an aggregate that computes beside the count, by its package's name.
    guest: Option<&'static str>,
    /// Events per second that are promised.
    least: Option<f64>,
}

const CASES: [Case; 5] = [
    Case {
        what: "tumbling, 1 min, count by key",
        step: "tumbling = \"1 min\"",
        guest: None,
        least: Some(500_000.0),
    },
    Case {
        what: "tumbling, 1 min, count and claims-severity by key",
        step: "tumbling = \"1 min\"",
        guest: Some("claims-severity"),
        least: None,
    },
    Case {
        what: "hopping, 10 min every 1 min, count by key",
        step: "hopping = { size = \"10 min\", every = \"1 min\" }",
        guest: None,
        least: Some(200_000.0),
    },
    Case {
        what: "sessions, gap 30 s, count by key",
        step: "session = { gap = \"30 s\" }",
        guest: None,
        least: None,
    },
    Case {
        what: "sliding, 1 min, count by key",
        step: "sliding = { time = \"1 min\" }",
        guest: None,
        least: None,
    },
];

/// Measures each kind of window from a file into nothing.
pub(crate) fn measure(report: &mut Report, weir: &Path, folder: &Path, events: u64, runs: u32) -> Result<()> {
    say(format_args!("windows: writing {events} events"));
    let input = write_events(folder, events)?;
    // The same events through the same path, without a window: what decode and the rest cost.
    let nothing = pipeline(folder, "no-window", "", None)?;
    let usage = best_of(runs, || replay(weir, &nothing, &input, folder))?;
    let baseline = events as f64 / usage.wall.as_secs_f64();
    for case in &CASES {
        let pipeline = pipeline(folder, "window", case.step, case.guest)?;
        let best = best_of(runs, || replay(weir, &pipeline, &input, folder))?;
        report.add(Figure {
            part: "windows",
            what: case.what.to_owned(),
            value: events as f64 / best.wall.as_secs_f64(),
            unit: "events/s",
            baseline,
            baseline_what: "the same file without a window",
            targets: case.least.map(Target::Least).into_iter().collect(),
            also: used(best, events),
        });
    }
    join(report, weir, folder, events, runs)?;
    weigh(report, folder)
}

/// Measures a join of orders and payments of one stream: half of the events are the one, and half the other.
fn join(report: &mut Report, weir: &Path, folder: &Path, events: u64, runs: u32) -> Result<()> {
    let input = write_orders(folder, events)?;
    let mut best = Vec::new();
    for (name, step) in [("no-join", JOIN_SOURCE_ALONE), ("join", JOIN_STEP)] {
        let path = folder.join(name).with_extension("toml");
        fs::write(&path, format!("{JOIN_SOURCE}{step}"))?;
        let usage = best_of(runs, || replay(weir, &path, &input, folder))?;
        best.push((events as f64 / usage.wall.as_secs_f64(), usage));
    }
    if let [(baseline, _), (value, usage)] = best.as_slice() {
        report.add(Figure {
            part: "windows",
            what: "interval join, 1 min, orders and payments by order".to_owned(),
            value: *value,
            unit: "events/s",
            baseline: *baseline,
            baseline_what: "the orders of the same file without a join",
            targets: Vec::new(),
            also: used(*usage, events),
        });
    }
    Ok(())
}

/// Runs events through a window in this process, and looks at its memory on the way.
pub(crate) fn soak(report: &mut Report, folder: &Path, events: u64) -> Result<()> {
    let file = pipeline(folder, "soak", "tumbling = \"1 min\"", None)?;
    let mut run = InProcess::open(&file)?;
    let (mut early, mut most_entries) = (0, 0);
    let mut events_left = Events::new();
    let begun = Instant::now();
    for million in 1..=events.div_ceil(1_000_000).max(2) {
        for _ in 0..1_000_000 {
            run.push(|payload| events_left.next_into(payload));
        }
        let (rss, entries) = (rss_bytes()?, run.entries());
        most_entries = most_entries.max(entries);
        if million == 1 {
            early = rss;
        }
        say(format_args!(
            "soak: {million} million events, {} MB, {entries} entries of state, {} windows told",
            rss / 1_000_000,
            run.told
        ));
    }
    report.add(Figure {
        part: "soak",
        what: format!("memory after {events} events, tumbling 1 min by {KEYS} keys"),
        value: rss_bytes()? as f64 / 1e6,
        unit: "MB",
        baseline: early as f64 / 1e6,
        baseline_what: "after the first million",
        targets: vec![Target::MostTimesBaseline(1.25)],
        also: vec![
            ("entries of state at most", most_entries as f64, ""),
            ("rows told", run.told as f64, ""),
            ("in", begun.elapsed().as_secs_f64(), "s"),
        ],
    });
    Ok(())
}

/// What a key of an open window takes.
fn weigh(report: &mut Report, folder: &Path) -> Result<()> {
    let file = pipeline(folder, "weigh", "tumbling = \"1 d\"", None)?;
    let mut run = InProcess::open(&file)?;
    let payload = |key: u64, payload: &mut Vec<u8>| write_event(payload, key, START_MS, 1);
    // What is there at the first turn anyway is not counted.
    run.push(|bytes| payload(HELD_KEYS, bytes));
    run.turn();
    let before = rss_bytes()?;
    for key in 0..HELD_KEYS {
        run.push(|bytes| payload(key, bytes));
    }
    run.turn();
    let grown = rss_bytes()?.saturating_sub(before);
    let key_bytes = 8 + 1 + 2 * 9; // A user of seven letters, the start and the end.
    report.add(Figure {
        part: "windows",
        what: format!("state of an open window, {HELD_KEYS} keys"),
        value: grown as f64 / HELD_KEYS as f64,
        unit: "bytes/key",
        baseline: f64::from(key_bytes + 8),
        baseline_what: "bytes of the key and a count",
        targets: Vec::new(),
        also: vec![("entries", run.entries() as f64, "")],
    });
    Ok(())
}

/// Orders and payments.
const JOIN_SOURCE: &str = r#"
name = "join"
event_time = { column = "at", out_of_orderness = "1 s" }

[source]
stream = "BENCH"

[source.input.orders]
subject = "bench.orders"
columns = { order_id = "text", amount = "int", at = "int" }

[source.input.payments]
subject = "bench.payments"
columns = { order_id = "text", paid = "int", at = "int" }
"#;

const JOIN_SOURCE_ALONE: &str = r#"
[[sink]]
from = "orders"
table = "rows"
"#;

const JOIN_STEP: &str = r#"
[[step]]
name = "paid"
from = "orders"
interval_join = { with = "payments", on = { order_id = "order_id" }, earliest = "0 s", latest = "1 min", columns = ["paid"] }

[[sink]]
table = "rows"
"#;

/// A pipeline in this process, whose turns nobody keeps.
struct InProcess {
    decoder: Decoder,
    engine: Engine,
    sequence: u64,
    turns: u64,
    payload: Vec<u8>,
    told: u64,
}

impl InProcess {
    fn open(file: &Path) -> Result<Self> {
        let host = StageHost::new(None, Compiler::InProcess)?;
        let plan = Arc::new(Plan::build(&definition::File::read(file)?, &host)?);
        let decoder = Decoder::of(&plan, BATCH_EVENTS_MAX)?;
        let mut engine = Engine::new(plan, &host, SEED)?;
        engine.leave_unlogged();
        Ok(Self {
            decoder,
            engine,
            sequence: 0,
            turns: 0,
            payload: Vec::new(),
            told: 0,
        })
    }

    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.payload);
        self.sequence += 1;
        self.decoder.push(self.sequence, None, &self.payload);
        if self.decoder.is_full() {
            self.engine.process(self.decoder.take()).expect("no invariant breaks");
            if self.sequence.is_multiple_of(16 * BATCH_EVENTS_MAX as u64) {
                self.turn();
            }
        }
    }

    fn turn(&mut self) {
        self.engine.process(self.decoder.take()).expect("no invariant breaks");
        self.turns += 1;
        let turn = self.engine.take_turn(self.turns).expect("no invariant breaks");
        let appended = turn.sinks.iter().flatten().map(|rows| match rows {
            weir::model::turn::SinkRows::Appends(rows) => rows.len() as u64,
            weir::model::turn::SinkRows::Upserts(_) => 0,
        });
        self.told += appended.sum::<u64>();
    }

    fn entries(&mut self) -> usize {
        self.engine.state_sizes().iter().map(|(_, entries)| entries).sum()
    }
}

/// Events of many keys, in disorder.
struct Events {
    random: fastrand::Rng,
    at_ms: i64,
}

impl Events {
    fn new() -> Self {
        Self {
            random: fastrand::Rng::with_seed(SEED),
            at_ms: START_MS,
        }
    }

    fn next_into(&mut self, payload: &mut Vec<u8>) {
        self.at_ms += STEP_MS;
        let at_ms = self.at_ms + self.random.i64(-DISORDER_MS..=DISORDER_MS);
        write_event(payload, self.random.u64(0..KEYS), at_ms, self.random.u64(1..1000));
    }
}

fn write_event(payload: &mut Vec<u8>, key: u64, at_ms: i64, amount: u64) {
    payload.clear();
    // Writing into memory does not fail.
    let _ = write!(payload, r#"{{"user":"u{key:06}","at":{at_ms},"amount":{amount}}}"#);
}

fn write_events(folder: &Path, events: u64) -> Result<PathBuf> {
    let path = folder.join("windows.jsonl");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    let (mut generate, mut payload) = (Events::new(), Vec::new());
    for _ in 0..events {
        generate.next_into(&mut payload);
        payload.push(b'\n');
        file.write_all(&payload)?;
    }
    file.flush()?;
    Ok(path)
}

/// Orders, each of which is paid some seconds later, in disorder.
fn write_orders(folder: &Path, events: u64) -> Result<PathBuf> {
    let path = folder.join("orders.jsonl");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    let mut random = fastrand::Rng::with_seed(SEED);
    // With a thousand of them open at any time, an order is paid after seconds.
    let mut unpaid: Vec<u64> = Vec::new();
    for n in 0..events {
        let at_ms = START_MS + n as i64 * STEP_MS + random.i64(-DISORDER_MS..=DISORDER_MS);
        let pays = n % 2 == 1 && unpaid.len() > 1_000;
        if pays {
            let order = unpaid.swap_remove(random.usize(0..unpaid.len()));
            writeln!(
                file,
                r#"{{"subject":"bench.payments","payload":{{"order_id":"o{order:07}","paid":{n},"at":{at_ms}}}}}"#
            )?;
        } else {
            unpaid.push(n);
            writeln!(
                file,
                r#"{{"subject":"bench.orders","payload":{{"order_id":"o{n:07}","amount":{n},"at":{at_ms}}}}}"#
            )?;
        }
    }
    file.flush()?;
    Ok(path)
}

/// A pipeline file with one window, or none, whose rows are appended to a table.
fn pipeline(folder: &Path, name: &str, window: &str, guest: Option<&str>) -> Result<PathBuf> {
    let path = folder.join(name).with_extension("toml");
    let guest = guest.map(|guest| format!(", g = {{ module = '{}' }}", weir_tests::guest(guest).display()));
    let guest = guest.unwrap_or_default();
    let step = match window {
        "" => String::new(),
        window => format!(
            "[[step]]\nname = \"windows\"\n[step.window]\n{window}\ngroup_by = [\"user\"]\ncolumns = {{ n = {{ count = \"*\" }}{guest} }}\n"
        ),
    };
    let text = format!(
        "name = \"{name}\"\n\
         event_time = {{ column = \"at\", out_of_orderness = \"1 s\" }}\n\
         source = {{ stream = \"BENCH\", subject = \"bench\", columns = {{ user = \"text\", at = \"int\", paid_cents = {{ type = \"int\", path = \"amount\" }}, kind = \"text\" }} }}\n\
         {step}[[sink]]\ntable = \"rows\"\n"
    );
    fs::write(&path, text)?;
    Ok(path)
}

fn replay(weir: &Path, pipeline: &Path, input: &Path, folder: &Path) -> Result<Usage> {
    let mut command = Command::new(weir);
    command
        .arg("replay")
        .arg(pipeline)
        .arg("--input")
        .arg(input)
        .arg("--discard");
    Ok(usage::run(&mut command, folder)?)
}

/// The memory that this process holds now.
fn rss_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or("the system does not say how much memory is held")?
        .parse()?;
    Ok(kib * 1024)
}
