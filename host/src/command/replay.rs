//! `weir replay`: a file, or a range of the stream, through a pipeline, into a database that nothing else goes on with.

use super::{
    connection::NatsArguments,
    make_plan, parse_now,
    project::OnePipeline,
    show, signals, stage_host,
    what_if::{Changes, WhatIf},
};
use crate::{
    command::terminal::{self, Bars, answer, say},
    definition::File,
    engine::Engine,
    error::{Context, Error, Result},
    files::input::Lines,
    format::Decoder,
    limits::BATCH_EVENTS_MAX,
    metrics::Metrics,
    model::subject::listed,
    nats::{Consumer, Gap, JetStreamSource, JetStreamSourceOptions, Nats, Place, StreamRange, Until},
    plan::{Now, Plan},
    runtime::{
        pipeline::{self, Swaps},
        rollout::Former,
        status::CountsStatus,
    },
    source::{
        Event, EventLines, NoAcknowledge, Source, Stop,
        file::{FileSource, IDENTITY, LastLine},
    },
    storage::{Discard, Inspect, Location, Messages, Storage, StoredPipeline},
    wasm::StageHost,
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Runs events of the past through a pipeline: a file of them, one JSON object per line, or what the stream still holds.
///
/// It is the same engine, and tells nobody: messages are counted and not sent, and a stream is read beside whatever else
/// reads it. A database that holds the beginning of the same replay already is continued; one of `weir run` is refused.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("events").args(["input", "from_stream"]).required(true),
    after_help = "Example:\n  weir replay guests/hourly-orders/pipeline.toml --input orders.jsonl \\\n      \
                  --database orders.db --now 2026-03-15T12:00:00+08:00\n  \
                  sqlite3 orders.db 'SELECT * FROM hs_order ORDER BY 1'\n  \
                  weir replay guests/premium-drop/pipeline.toml --from-stream --from 2026-03-08T00:00:00+08:00 \\\n      \
                  --param premium-drop.ratio=0.9 --database what-if.db"
)]
pub(super) struct Replay {
    #[command(flatten)]
    pipeline: OnePipeline,
    /// The events: one JSON object per line, either a payload or {"subject": "…", "payload": …}; `-` for standard input.
    #[arg(long, value_name = "FILE.jsonl")]
    input: Option<PathBuf>,
    /// Go on with what is written to the file, until Ctrl-C.
    #[arg(long, requires = "input")]
    follow: bool,
    /// The events: those that the pipeline's stream holds now.
    #[arg(long)]
    from_stream: bool,
    /// The first of them: a stream sequence, or an instant in RFC 3339 (store time).
    #[arg(long, value_name = "SEQ|TIME", value_parser = parse_place, conflicts_with = "input")]
    from: Option<Place>,
    /// The last of them: likewise.
    #[arg(long, value_name = "SEQ|TIME", value_parser = parse_place, conflicts_with = "input")]
    to: Option<Place>,
    /// The SQLite file to fill; made when it is missing.
    #[arg(long, value_name = "FILE", required_unless_present = "discard")]
    database: Option<Location>,
    /// "Now" for every event, in RFC 3339; needed where a rule reads the time and a file has no store times.
    #[arg(long, value_name = "TIME", value_parser = parse_now)]
    now: Option<jiff::Timestamp>,
    /// Events in one batch. Results do not depend on it.
    #[arg(long, value_name = "N", default_value_t = BATCH_EVENTS_MAX, value_parser = batch_size)]
    batch: usize,
    /// Write nothing: measure what all but the database costs.
    #[arg(long, conflicts_with = "database")]
    discard: bool,
    #[command(flatten)]
    what_if: WhatIf,
    #[command(flatten)]
    nats: NatsArguments,
}

fn batch_size(text: &str) -> Result<usize, String> {
    let accepted = format!("accepted is a number from 1 to {BATCH_EVENTS_MAX}");
    text.parse()
        .ok()
        .filter(|size| (1..=BATCH_EVENTS_MAX).contains(size))
        .ok_or(accepted)
}

/// Whether the bytes of an input can be had once: what is over then is over.
fn is_pipe(input: &Path) -> bool {
    input == Path::new("-") || input.metadata().is_ok_and(|input| !input.is_file())
}

/// An instant in RFC 3339. What lies beyond those that there are stands for the last of them (or the first): no message was
/// stored then.
fn parse_instant(text: &str) -> Option<jiff::Timestamp> {
    if let Ok(instant) = text.parse() {
        return Some(instant);
    }
    let pieces = jiff::fmt::temporal::Pieces::parse(text).ok()?;
    pieces.time().and(pieces.offset())?;
    Some(match pieces.date().year() > 0 {
        true => jiff::Timestamp::MAX,
        false => jiff::Timestamp::MIN,
    })
}

fn parse_place(text: &str) -> Result<Place, String> {
    let sequence = text.parse().ok().filter(|&sequence| sequence > 0).map(Place::Sequence);
    let place = sequence.or_else(|| parse_instant(text).map(Place::StoredAt));
    place.ok_or_else(|| {
        "accepted is a stream sequence, from 1 on, or an instant in RFC 3339, such as 2026-03-15T12:00:00+08:00"
            .to_owned()
    })
}

impl Replay {
    pub(super) fn run(self) -> Result<ExitCode> {
        let host = stage_host()?;
        let file = File::read(&self.pipeline.file()?)?;
        let changes = self.what_if.changes(&file, &host)?;
        let plan = Arc::new(make_plan(&file, &host, self.now, &changes.versions)?);
        let replaying = Replaying {
            host,
            plan,
            changes,
            database: self.database,
            batch: self.batch,
        };
        match &self.input {
            Some(input) => {
                let last_line = match (self.follow, is_pipe(input)) {
                    (true, _) => LastLine::Follow,
                    (false, true) => LastLine::Take,
                    (false, false) => LastLine::TakeWhole,
                };
                replaying.file(input, last_line)
            }
            None => {
                let nats = Nats::connect(&self.nats.options()?)?;
                replaying.stream(&nats, self.from, self.to)
            }
        }
    }
}

/// A replay whose pipeline is known to fit together.
struct Replaying {
    host: StageHost,
    plan: Arc<Plan>,
    changes: Changes,
    database: Option<Location>,
    batch: usize,
}

/// Where a replay goes on.
struct Opened {
    storage: Box<dyn Storage>,
    stored: StoredPipeline,
    /// What its rules over changelogs were, where those are others by now.
    former: Option<Former>,
}

impl Replaying {
    fn file(self, input: &Path, last_line: LastLine) -> Result<ExitCode> {
        check_now(&self.plan, input)?;
        if last_line == LastLine::Follow {
            terminal::begin_log();
        }
        let mut lines = Lines::open(input)?;
        let opened = self.store(IDENTITY, || lines.check_text())?;
        let stored = opened.stored.clone();
        let (engine, storage) = self.engine(opened)?;
        let (position, hash) = (stored.position, stored.content_hash);
        let stop = Stop::default();
        signals::stop(&stop)?;
        let source = FileSource::over(lines, self.decoder()?, position, hash, stop.clone())?.with_last_line(last_line);
        if position > 0 {
            say!(
                Info,
                "continuing after line {position}, which the database holds already"
            );
        }
        let (read, left) = (source.bytes_read(), source.left());
        let metrics = engine.metrics().clone();
        metrics.pipeline.position.set(position);
        let done = move || read.load(Ordering::Relaxed);
        let amounts = match (source.size(), last_line) {
            (Some(_), LastLine::Take | LastLine::TakeWhole) => Amounts::Of("{bytes}/{total_bytes}"),
            _ => Amounts::SoFar("{bytes}"),
        };
        let bar = Bar::start(amounts, source.size().unwrap_or(0), metrics.clone(), done)?;
        self.drive(source, engine, storage, bar)?;
        let left = left.load(Ordering::Relaxed);
        if left > 0 {
            say!(
                Warning,
                "weir: line {left} of {} is the last, has no end and is no whole JSON object: it may be half written, and is \
                 left for the next replay into this database; `echo >> FILE` ends it, --follow waits for it",
                input.display()
            );
        }
        if stop.is_set() && last_line != LastLine::Follow {
            return Err(Error::environment(format!(
                "stopped after line {}; the same command goes on from there",
                metrics.pipeline.position.get()
            )));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn stream(self, nats: &Nats, from: Option<Place>, to: Option<Place>) -> Result<ExitCode> {
        let plan = &self.plan;
        let range = StreamRange::find(nats, &plan.stream, &plan.subjects(), from, to)?;
        let opened = self.store(&range.identity, || range.check_whole())?;
        let stored = opened.stored.clone();
        if let Some(removed) = &range.removed {
            say!(Warning, "weir: {removed}");
        }
        if stored.position > range.to {
            return Err(Error::mismatch(format!(
                "the database holds the replay up to sequence {}, which is beyond --to, sequence {}; name another --database",
                stored.position, range.to
            )));
        }
        let (engine, storage) = self.engine(opened)?;
        let position = stored.position.max(range.first - 1);
        let options = JetStreamSourceOptions {
            stream: plan.stream.clone(),
            subjects: plan.subjects(),
            consumer: Consumer::Ephemeral(format!("weir-replay-{}-{:016x}", plan.name, fastrand::u64(..))),
            position,
            scanned: stored.scanned,
            latest_only: plan.latest_only,
            tombstones: plan.tombstones.clone(),
            gap: Gap::Refuse,
            until: Until::Sequence(range.last),
            has_ticks: plan.ticks.is_some(),
            ticks: None,
        };
        let stop = Stop::default();
        signals::stop(&stop)?;
        let source = JetStreamSource::open(nats, options, self.decoder()?, stop.clone())?;
        if stored.position > 0 {
            say!(
                Info,
                "continuing after sequence {position}, which the database holds already"
            );
        }
        let sequences = match range.last > position {
            true => format!("sequences {} to {}", position + 1, range.last),
            false => "nothing in that range".to_owned(),
        };
        say!(
            Info,
            "{}: replaying stream {}, {}, {sequences}{}",
            plan.name,
            plan.stream,
            listed(&plan.subjects()),
            self.changes.suffix()
        );
        let metrics = engine.metrics().clone();
        metrics.pipeline.position.set(position);
        let shown = metrics.clone();
        let done = move || shown.pipeline.position.get().saturating_sub(position);
        let length = range.last.saturating_sub(position);
        let amounts = Amounts::Of("{human_pos}/{human_len} sequences");
        let bar = Bar::start(amounts, length, metrics.clone(), done)?;
        self.drive(source, engine, storage, bar)?;
        if stop.is_set() {
            return Err(Error::environment(format!(
                "stopped after sequence {} of {}; the same command goes on from there",
                metrics.pipeline.position.get(),
                range.last
            )));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The database, claimed for a source, or nothing at all; and where it stands. One that holds nothing yet is taken only
    /// where the source can `begin`.
    fn store(&self, source: &str, mut begin: impl FnMut() -> Result<()>) -> Result<Opened> {
        let Some(location) = &self.database else {
            begin()?;
            let nothing = Discard::default();
            return Ok(Opened {
                stored: nothing.stored().clone(),
                storage: Box::new(nothing),
                former: None,
            });
        };
        let is_new = !location.exists();
        if is_new {
            begin()?;
        }
        let held = location.hold()?;
        let former = match is_new {
            true => None,
            false => self.former(&*held.inspect())?,
        };
        let plan = former.as_ref().map_or(&self.plan, |former| &former.plan);
        let mut storage = held.open(plan.clone(), Messages::Drop)?;
        if storage.stored().position == 0 {
            begin()?;
        }
        // What another rule made of the beginning would not go with what this one makes of the rest.
        storage.claim(&format!("{source}{}", self.changes.suffix()))?;
        Ok(Opened {
            stored: storage.stored().clone(),
            storage,
            former,
        })
    }

    /// The rules over changelogs that judged the current rows of the database, where those are others by now.
    fn former(&self, database: &dyn Inspect) -> Result<Option<Former>> {
        let known = database.versions(&self.plan.name)?;
        if !Former::are_others(&self.plan, &known) {
            return Ok(None);
        }
        let base = self.plan.again(&self.host, &self.changes.versions)?;
        Former::of(base, self.changes.versions.clone(), &self.host, database, &known).map(Some)
    }

    /// The engine as the database left it. Rules over changelogs that are others by now have judged its current rows anew.
    fn engine(&self, opened: Opened) -> Result<(Engine, Box<dyn Storage>)> {
        let Opened {
            mut storage,
            stored,
            former,
        } = opened;
        let plan = former.as_ref().map_or(&self.plan, |former| &former.plan);
        let mut engine = Engine::new(plan.clone(), &self.host, stored.seed)?;
        if let Some(location) = &self.database {
            storage.load(&mut engine)?;
            engine.begin(stored.position, &location.inspect().versions(&self.plan.name)?)?;
        }
        if let Some(former) = former {
            former.follow(&mut engine, &self.host)?;
        }
        Ok((engine, storage))
    }

    fn decoder(&self) -> Result<Decoder> {
        Decoder::of(&self.plan, self.batch)
    }

    /// Runs the source to its end, and sums up.
    fn drive(&self, source: impl Source, engine: Engine, storage: Box<dyn Storage>, bar: Bar) -> Result<()> {
        let metrics = engine.metrics().clone();
        let begun = Instant::now();
        let outcome = pipeline::run(source, engine, storage, NoAcknowledge, Swaps::none());
        let elapsed = begun.elapsed();
        bar.finish();
        drop(outcome?);

        let messages = metrics.pipeline.messages.get();
        if terminal::is_json() {
            return terminal::stdout().json(&json!({
                "pipeline": self.plan.name,
                "database": self.database.as_ref().map(Location::to_string),
                "position": metrics.pipeline.position.get(),
                "counts": CountsStatus::from(metrics.counts()),
                "messages": messages,
                "step_metrics": metrics.step_numbers(),
                "module_metrics": metrics.module_numbers(),
                "tables": self.database.as_ref().map(|location| show::tables_as_json(location, &self.plan.name)).transpose()?,
                "seconds": elapsed.as_secs_f64(),
            }));
        }
        let messages = (messages > 0).then_some((messages, "not sent: a replay tells nobody"));
        let title = format!("replayed {}", self.plan.name);
        answer!("{}", show::summary(&title, metrics.counts(), messages, elapsed))?;
        if let Some(database) = &self.database {
            answer!("{}", show::tables(database, &self.plan.name)?)?;
        }
        if terminal::is_said(terminal::Level::Debug) {
            answer!("{}", show::steps(&metrics.step_numbers(), Some(elapsed)))?;
            for line in show::modules(&metrics.module_numbers()) {
                answer!("{line}")?;
            }
        }
        Ok(())
    }
}

/// Where a rule asks for "now", it has to come from somewhere: a file has store times if its lines say them, which its first one
/// tells.
fn check_now(plan: &Plan, input: &Path) -> Result<()> {
    let (Now::StoreTime, Some(step)) = (&plan.now, &plan.time_reader) else {
        return Ok(());
    };
    let decoder = Decoder::of(plan, 1)?;
    let mut events = EventLines::new(decoder.subjects(), decoder.reads_envelopes());
    let (mut lines, mut line) = (Lines::open_text(input)?, Vec::new());
    lines.next_into(&mut line)?;
    match events.read(line.trim_ascii_end()) {
        Event::Of(line) if line.store_ms.is_some() => Ok(()),
        _ => Err(Error::definition(format!(
            "step \"{step}\" reads the time, and {} has no store times; say --now TIME, such as --now 2026-03-15T12:00:00+08:00, or let \
             each line say it: {{\"subject\": \"…\", \"store_time\": \"2026-03-15T12:00:00+08:00\", \"payload\": …}}",
            input.display()
        ))),
    }
}

/// What a bar shows beside its events, as a template.
enum Amounts {
    /// How much of how much.
    Of(&'static str),
    /// How much, where nobody knows of how much.
    SoFar(&'static str),
}

/// A bar that follows what is done; it is hidden where standard error is no terminal.
struct Bar {
    bars: Bars,
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Bar {
    /// Of `length` units, `done` of which are done.
    fn start(
        amounts: Amounts,
        length: u64,
        metrics: Arc<Metrics>,
        done: impl Fn() -> u64 + Send + 'static,
    ) -> Result<Self> {
        let bars = Bars::begin();
        let template = match amounts {
            Amounts::Of(amounts) => format!("{{bar:20}} {{percent:>3}} %  {{eta}} left  {amounts}  {{wide_msg}}"),
            Amounts::SoFar(amounts) => format!("{{spinner}} {amounts}  {{wide_msg}}"),
        };
        let shown = bars.add(&template, length)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let begun = Instant::now();
        let thread = thread::Builder::new()
            .name("weir-progress".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    thread::park_timeout(Duration::from_millis(100));
                    shown.set_position(done());
                    let counts = metrics.counts();
                    let rate = show::thousands(show::rate(counts.events, begun.elapsed()));
                    shown.set_message(format!(
                        "{rate} events/s, {} dead letters",
                        show::thousands(counts.dead_letters)
                    ));
                }
            })
            .environment(|| "cannot start a thread".to_owned())?;
        Ok(Self { bars, stop, thread })
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        let _ = self.thread.join();
        drop(self.bars);
    }
}

#[cfg(test)]
mod tests {
    use super::parse_instant;
    use jiff::Timestamp;

    #[test]
    fn every_instant_of_rfc_3339_is_one() {
        for text in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999999-12:00"] {
            assert_eq!(parse_instant(text), Some(Timestamp::MAX), "{text}");
        }
        assert_eq!(parse_instant("1970-01-01T00:00:01Z"), Some(Timestamp::constant(1, 0)));
        for text in ["9999-13-01T00:00:00Z", "9999-12-31", "9999-12-31T23:59:59", "noon", ""] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }
}
