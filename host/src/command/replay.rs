//! `weir replay`: a file through a pipeline, without a server.

use super::{load_plan, parse_now, show, stage_host};
use crate::{
    database::{Database, DatabaseFile, Messages, read_versions},
    decode::Decoder,
    engine::Engine,
    error::{Context, Error, Result},
    limits::BATCH_EVENTS_MAX,
    pipeline::{self, Progress, Store, Swaps},
    plan::{Now, Plan},
    source::{
        NoAcknowledge, Stop,
        file::{FileSource, IDENTITY},
    },
};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Runs a file of events, one JSON object per line, through a pipeline: the same engine, without a server.
///
/// A database that holds the beginning of the file already is continued. Messages are counted and not sent.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir replay guests/hourly-orders/pipeline.toml --input orders.jsonl \\\n      \
                  --database orders.db --now 2026-03-15T12:00:00+08:00\n  sqlite3 orders.db 'SELECT * FROM hs_order ORDER BY 1'"
)]
pub(super) struct Replay {
    /// The pipeline file.
    pipeline: PathBuf,
    /// The events: one JSON object per line.
    #[arg(long, value_name = "FILE.jsonl")]
    input: PathBuf,
    /// The SQLite file to fill; made when it is missing.
    #[arg(long, value_name = "FILE", required_unless_present = "discard")]
    database: Option<PathBuf>,
    /// "Now" for every event, in RFC 3339; needed where a rule reads the time, since a file has no store times.
    #[arg(long, value_name = "TIME", value_parser = parse_now)]
    now: Option<jiff::Timestamp>,
    /// Events in one batch. Results do not depend on it.
    #[arg(long, value_name = "N", default_value_t = BATCH_EVENTS_MAX, value_parser = batch_size)]
    batch: usize,
    /// Write nothing: measure what all but the database costs.
    #[arg(long, conflicts_with = "database")]
    discard: bool,
}

fn batch_size(text: &str) -> Result<usize, String> {
    let accepted = format!("accepted is a number from 1 to {BATCH_EVENTS_MAX}");
    text.parse()
        .ok()
        .filter(|size| (1..=BATCH_EVENTS_MAX).contains(size))
        .ok_or(accepted)
}

impl Replay {
    pub(super) fn run(self) -> Result<ExitCode> {
        let host = stage_host()?;
        let plan = Arc::new(load_plan(&self.pipeline, &host, self.now)?);
        check_now(&plan)?;
        let size = std::fs::metadata(&self.input)
            .map_err(|cause| Error::definition(format!("cannot read {}: {cause}", self.input.display())))?
            .len();

        let (store, position, content_hash, seed) = match &self.database {
            Some(path) => {
                let mut database = Database::open(&DatabaseFile::hold(path)?, plan.clone(), Messages::Drop)?;
                database.claim(IDENTITY)?;
                let stored = database.stored().clone();
                (
                    Store::Database(Box::new(database)),
                    stored.position,
                    stored.content_hash,
                    stored.seed,
                )
            }
            None => (Store::Discard, 0, 0, 1),
        };
        let mut engine = Engine::new(plan.clone(), &host, seed)?;
        if let Store::Database(database) = &store {
            database.restore(&mut engine)?;
            engine.begin(position, &read_versions(database.path(), &plan.name)?);
        }
        let decoder = Decoder::new(&plan.columns, plan.now.clone(), self.batch)?;
        let source = FileSource::open(&self.input, decoder, position, content_hash, Stop::default())?;
        if position > 0 {
            eprintln!("continuing after line {position}, which the database holds already");
        }

        let progress = Arc::new(Progress::default());
        let bar = progress_bar(size, source.bytes_read(), progress.clone())?;
        let begun = Instant::now();
        let outcome = pipeline::run(source, engine, store, NoAcknowledge, progress.clone(), Swaps::none());
        let elapsed = begun.elapsed();
        bar.finish();
        drop(outcome?);

        let messages = progress.messages.load(Ordering::Relaxed);
        let messages = (messages > 0).then_some((messages, "not sent: a replay tells nobody"));
        eprintln!(
            "{}",
            show::summary(&format!("replayed {}", plan.name), progress.counts(), messages, elapsed)
        );
        if let Some(database) = &self.database {
            eprintln!("{}", show::tables(database, &plan.name)?);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A file has no store times, so "now" has to come from somewhere if a rule asks for it.
fn check_now(plan: &Plan) -> Result<()> {
    match (&plan.now, &plan.time_reader) {
        (Now::StoreTime, Some(step)) => Err(Error::definition(format!(
            "step \"{step}\" reads the time, and a file has no store times; say --now TIME, such as --now 2026-03-15T12:00:00+08:00"
        ))),
        _ => Ok(()),
    }
}

/// A bar that follows the bytes read; it is hidden where standard error is no terminal.
struct Bar {
    bar: ProgressBar,
    stop: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

fn progress_bar(size: u64, bytes_read: Arc<AtomicU64>, progress: Arc<Progress>) -> Result<Bar> {
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {bytes}/{total_bytes}  {msg}  {eta} left")
        .environment(|| "cannot draw a progress bar".to_owned())?;
    let bar = ProgressBar::new(size).with_style(style);
    let stop = Arc::new(AtomicU64::new(0));
    let (shown, stopped) = (bar.clone(), stop.clone());
    let begun = Instant::now();
    let thread = thread::Builder::new()
        .name("weir-progress".to_owned())
        .spawn(move || {
            while stopped.load(Ordering::Relaxed) == 0 {
                thread::park_timeout(Duration::from_millis(100));
                shown.set_position(bytes_read.load(Ordering::Relaxed));
                let counts = progress.counts();
                let rate = show::thousands(show::rate(counts.events, begun.elapsed()));
                shown.set_message(format!(
                    "{rate} events/s, {} dead letters",
                    show::thousands(counts.dead_letters)
                ));
            }
        })
        .environment(|| "cannot start a thread".to_owned())?;
    Ok(Bar { bar, stop, thread })
}

impl Bar {
    fn finish(self) {
        self.stop.store(1, Ordering::Relaxed);
        self.thread.thread().unpark();
        let _ = self.thread.join();
        self.bar.finish_and_clear();
    }
}
