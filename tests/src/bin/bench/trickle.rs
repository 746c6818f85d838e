//! `weir run` under a trickle of events: how many bytes it writes, and how long an event takes until its row is there.
//!
//! Four pipelines read one stream: the last row by key, totals by name, windows of a minute, and all rows as they came. The
//! baseline commits whenever the disk is idle.

use crate::{
    Result,
    jetstream::Server,
    report::{Figure, Report, Target},
    say,
};
use async_nats::jetstream::{self, stream::Config};
use rusqlite::{Connection, OpenFlags};
use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::runtime::Runtime;

/// Events a second.
const RATE: u64 = 300;

/// How long events come before anything is measured: the tables are filled by then.
const BEFORE: Duration = Duration::from_secs(5);

/// How long is measured.
const MEASURED: Duration = Duration::from_secs(30);

/// How often the database is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Each pipeline by its name, with its steps and sinks.
const PIPELINES: [(&str, &str); 4] = [
    (
        "latest",
        "[[step]]\nname = \"latest\"\nlast_value = { key = [\"key\"] }\n\
         [[sink]]\ntable = \"latest\"\nprimary_key = [\"key\"]\n",
    ),
    (
        "totals",
        "[[step]]\nname = \"totals\"\n[step.aggregate]\ngroup_by = [\"name\"]\n\
         columns = { events = { count = \"*\" }, total = { sum = \"amount\" } }\n\
         [[sink]]\ntable = \"totals\"\nprimary_key = [\"name\"]\n",
    ),
    (
        "minutes",
        "[[step]]\nname = \"minutes\"\n[step.window]\ntumbling = \"1 min\"\ngroup_by = [\"name\"]\n\
         columns = { events = { count = \"*\" }, total = { sum = \"amount\" } }\n\
         [[sink]]\ntable = \"minutes\"\nprimary_key = [\"name\", \"window_start\"]\n",
    ),
    ("rows", "[[sink]]\nfrom = \"source\"\ntable = \"rows\"\n"),
];

pub(crate) fn measure(report: &mut Report, weir: &Path, folder: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for keys in [100, 1_000, 10_000] {
        say(format_args!(
            "trickle: {RATE} events a second of {keys} keys through {} pipelines, twice {} s",
            PIPELINES.len(),
            (BEFORE + MEASURED).as_secs()
        ));
        let at_once = run(weir, folder, &runtime, keys, Some("0 s"))?;
        let usual = run(weir, folder, &runtime, keys, None)?;
        report.add(Figure {
            part: "trickle",
            what: format!("written at {RATE} events/s, {} pipelines, {keys} keys", PIPELINES.len()),
            value: usual.megabytes_per_second,
            unit: "MB/s",
            baseline: at_once.megabytes_per_second,
            baseline_what: "commit.at_most_every = \"0 s\"",
            targets: vec![Target::Most(1.0), Target::AlsoMost("latency, p99", 100.0)],
            also: vec![
                ("latency, p50", usual.latency(50), "ms"),
                ("latency, p99", usual.latency(99), "ms"),
                ("latency, most", usual.latency(100), "ms"),
                ("baseline's latency, p50", at_once.latency(50), "ms"),
                ("baseline's latency, p99", at_once.latency(99), "ms"),
                ("turns of a pipeline", usual.turns_per_second, "a second"),
            ],
        });
    }
    Ok(())
}

struct Measured {
    megabytes_per_second: f64,
    turns_per_second: f64,
    /// From the publication of an event until a reader sees its row, ascending.
    latencies: Vec<Duration>,
}

impl Measured {
    fn latency(&self, percent: usize) -> f64 {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies
            .get(at)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    }
}

fn run(weir: &Path, folder: &Path, runtime: &Runtime, keys: u64, at_most_every: Option<&str>) -> Result<Measured> {
    let home = tempfile::tempdir_in(folder)?;
    let server = Server::start(home.path(), runtime)?;
    let commit = at_most_every.map_or_else(String::new, |every| format!("commit.at_most_every = \"{every}\"\n"));
    let mut command = Command::new(weir);
    command.current_dir(home.path()).args(["run", "--nats", &server.url]);
    for (name, steps) in PIPELINES {
        let file = home.path().join(format!("{name}.toml"));
        let text = format!(
            "name = \"{name}\"\n{commit}[event_time]\ncolumn = \"at\"\nout_of_orderness = \"1 s\"\n\
             [source]\nstream = \"TRICKLE\"\nsubject = \"trickle\"\n\
             columns = {{ id = \"int\", key = \"text\", name = \"text\", amount = \"double\", at = \"int\" }}\n{steps}"
        );
        fs::write(&file, text)?;
        command.arg(&file);
    }
    let context = runtime.block_on(async {
        let context = jetstream::new(async_nats::connect(&server.url).await?);
        let config = Config {
            name: "TRICKLE".to_owned(),
            subjects: vec!["trickle".to_owned()],
            ..Config::default()
        };
        context.create_stream(config).await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(context)
    })?;
    let said = home.path().join("said.txt");
    command
        .stdin(Stdio::null())
        .stdout(File::create(&said)?)
        .stderr(File::options().append(true).open(&said)?);
    let running = Running(command.spawn()?);
    let measured = drive(runtime, &context, &running, &home.path().join("rows.db"), keys);
    measured.map_err(|cause| format!("{cause}\n{}", fs::read_to_string(&said).unwrap_or_default()).into())
}

fn drive(
    runtime: &Runtime,
    context: &jetstream::Context,
    running: &Running,
    database: &Path,
    keys: u64,
) -> Result<Measured> {
    let mut random = fastrand::Rng::with_seed(7);
    let begun = Instant::now();
    let mut published: Vec<Instant> = Vec::new();
    let mut latencies = Vec::new();
    let (mut seen, mut start, mut reader) = (0, None, None);
    loop {
        let elapsed = begun.elapsed();
        while (published.len() as u64) < elapsed.as_millis() as u64 * RATE / 1000 {
            let at_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
            let payload = format!(
                "{{\"id\":{},\"key\":\"k{}\",\"name\":\"n{}\",\"amount\":{},\"at\":{at_ms}}}",
                published.len(),
                random.u64(..keys),
                random.u8(..50),
                random.u32(..10_000) as f64 / 100.0
            );
            published.push(Instant::now());
            let sent = async { context.publish("trickle", payload.into()).await?.await };
            runtime.block_on(sent)?;
        }
        if reader.is_none() && database.exists() {
            reader = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).ok();
        }
        let now = reader.as_ref().and_then(|reader| position(reader).ok());
        if let Some((position, turn)) = now {
            let until = usize::try_from(position)?.min(published.len());
            let new = published.get(seen..until).unwrap_or_default();
            if let Some((from, bytes, turn_before)) = start {
                latencies.extend(new.iter().map(Instant::elapsed));
                let elapsed: Duration = Instant::elapsed(&from);
                if elapsed >= MEASURED {
                    let written: u64 = written(running.0.id())? - bytes;
                    latencies.sort_unstable();
                    return Ok(Measured {
                        megabytes_per_second: written as f64 / 1e6 / elapsed.as_secs_f64(),
                        turns_per_second: (turn - turn_before) as f64 / elapsed.as_secs_f64(),
                        latencies,
                    });
                }
            } else if elapsed >= BEFORE {
                start = Some((Instant::now(), written(running.0.id())?, turn));
            }
            seen = until.max(seen);
        } else if elapsed > BEFORE * 4 {
            return Err("weir does not begin".into());
        }
        std::thread::sleep(LOOK);
    }
}

fn position(reader: &Connection) -> rusqlite::Result<(i64, i64)> {
    reader
        .prepare_cached("SELECT position, epoch FROM weir_pipeline")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The bytes that a process handed to the disks so far.
fn written(process: u32) -> Result<u64> {
    let counters = fs::read_to_string(format!("/proc/{process}/io"))?;
    let line = counters.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.ok_or("the system does not count written bytes")?.parse()?)
}

/// A `weir run` that is ended when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
