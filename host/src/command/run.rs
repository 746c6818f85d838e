//! `weir run`: pipelines over a live stream.

mod guarded;

use super::{
    connection::{NatsArguments, RegistryArguments},
    error_as_json, make_plan, parse_now,
    project::{self, make_database_of},
    show, signals,
    signing::TrustArguments,
    stage_host,
};
use crate::{
    command::terminal::{self, Bars, say},
    definition::{File, PublishFrom},
    error::{Error, Result},
    limits::{FILES_OF_PIPELINE, FILES_OF_PROCESS},
    model::{subject::listed, turn::Counts},
    nats::{Beginning, Gap, Nats, PublisherReport, Registry},
    plan::{Plan, Versions},
    planner::check_circles,
    runtime::{
        live::{Live, LiveOptions, Ready},
        status::CountsStatus,
    },
    source::Stop,
    storage::{Backend, Location},
    trust::Policy,
    wasm::StageHost,
};
use guarded::Guarded;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

/// Runs pipelines over their JetStream streams, into SQLite.
///
/// Each has a database of its own, NAME.db in this folder, unless --database names one for all. Those of a project are in
/// its folder `data`: `weir run FOLDER` runs all of its pipelines in this process. Ctrl-C ends it: the first drains
/// and commits what is under way, the second ends at once (and loses nothing either: what was not committed is read again).
/// Results do not depend on when and how often it is stopped.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir run guests/hourly-orders/pipeline.toml guests/last-page/pipeline.toml \\\n      \
                  --nats nats://127.0.0.1:4222\n  \
                  weir run guests/premium-drop/pipeline.toml --database alerts.db --until-caught-up\n  \
                  weir run shop --pipeline alerts --pipeline totals\n  \
                  weir run guests/premium-drop/pipeline.toml --database anew.db --publish-from now\n  \
                  weir run guests/premium-drop/pipeline.toml --require-signatures \\\n      \
                  --trust-key ann=UD5ZK7ECTOZL64WRZ7XKJU7WVAWKVRQ3F6EUGBKRXTZU5TM44O25FEQT"
)]
pub(super) struct Run {
    /// The pipeline files; or folders with pipeline.toml, or of projects.
    #[arg(default_value = ".", value_name = "PIPELINE")]
    pipelines: Vec<PathBuf>,
    /// Which pipelines of the project; all, when not given.
    #[arg(long = "pipeline", value_name = "NAME")]
    named: Vec<String>,
    /// The SQLite file, made when it is missing.
    #[arg(long, value_name = "FILE")]
    database: Option<Location>,
    /// "Now" for every event, in RFC 3339, in place of the time at which each message was stored.
    #[arg(long, value_name = "TIME", value_parser = parse_now)]
    now: Option<jiff::Timestamp>,
    /// End with exit code 0 when everything that is stored in the stream at the start is committed.
    #[arg(long)]
    until_caught_up: bool,
    /// Start all of the pipelines, or none. Else one that cannot start is said, and the others run; the exit code at the end
    /// is that of the first that did not.
    #[arg(long)]
    all_or_none: bool,
    /// Go on although messages were removed from the stream before they were processed.
    #[arg(long)]
    accept_gap: bool,
    /// Put what a pipeline file names on trial once more, although the database took it back; and run once more what the host
    /// died of.
    #[arg(long)]
    again: bool,
    /// For a database that is new: the event from which on messages are published, for all subjects of the pipelines. What
    /// events before it cause is computed and counted, and nobody is told of it. Needed where the stream has a past, unless
    /// the pipeline file says it. [possible values: now, a sequence, an instant in RFC 3339]
    #[arg(long, value_name = "now|SEQ|TIME")]
    publish_from: Option<PublishFrom>,
    /// How long the first Ctrl-C lets pipelines commit and publish what is under way. What is not done by then is left, and
    /// said; nothing is lost.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30 s")]
    drain_max: Duration,
    #[command(flatten)]
    trust: TrustArguments,
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(flatten)]
    nats: NatsArguments,
}

impl Run {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut files = Vec::new();
        for path in &self.pipelines {
            files.extend(project::files(path, &self.named)?);
        }
        check_files(files.len())?;
        let trust = self.trust.policy()?;
        let host = stage_host()?;
        terminal::begin_log();
        let mut not_started = NotStarted::new(files.len(), self.all_or_none);
        let stop = Stop::default();
        let compiling = host.clone();
        let signals = signals::stop_later(&stop, move || compiling.interrupt())?;
        let mut guarded = Guarded::new(&host, self.again);
        let mut opened: Vec<Opened> = Vec::new();
        for path in &files {
            let is_taken = |name: &str| opened.iter().any(|other| other.plan.name == name);
            match self.open(path, &mut guarded, &trust, is_taken) {
                Ok(pipeline) => opened.push(pipeline),
                Err(error) => not_started.add(&path.display().to_string(), error)?,
            }
        }
        check_circles(opened.iter().map(|pipeline| pipeline.plan.as_ref()))?;
        let nats = Nats::connect(&self.nats.options()?)?;
        signals.drain();
        nats.wait_for_jetstream(&stop)?;
        let gap = if self.accept_gap { Gap::Accept } else { Gap::Refuse };
        let registry_replicas = self
            .registry
            .replicas(&nats, opened.iter().map(|pipeline| pipeline.plan.stream.as_str()));
        let registry = match Registry::open(&nats, registry_replicas) {
            Ok(registry) => {
                registry.say_fewer();
                Some(registry)
            }
            Err(error) => {
                say!(
                    Warning,
                    "weir: deployments are not looked for until the registry can be opened, which is tried again and again: {error}"
                );
                None
            }
        };
        let options = LiveOptions {
            until_caught_up: self.until_caught_up,
            gap,
            again: self.again,
            beginning: Beginning {
                asked: self.publish_from,
                otherwise: None,
            },
            registry,
            registry_replicas,
        };

        let begun = Instant::now();
        let mut lives = Vec::new();
        // With --all-or-none the last of them is opened before the first begins.
        let mut ready = Vec::new();
        for Opened { plan, host, database } in opened {
            if stop.is_set() {
                break;
            }
            let name = plan.name.clone();
            let prepared = Ready::open(&nats, &host, plan, &database, options.clone(), &stop);
            let prepared = prepared.and_then(|prepared| match self.all_or_none {
                true => {
                    ready.push(prepared);
                    Ok(None)
                }
                false => prepared.start().map(Some),
            });
            match prepared {
                Ok(live) => lives.extend(live.map(say_started)),
                Err(error) => {
                    let named = match files.len() {
                        1 => error,
                        _ => error.context(format!("pipeline {name}")),
                    };
                    if let Err(error) = not_started.add(&name, named) {
                        stop.set();
                        ready.clear();
                        not_started.last = Some(error);
                        break;
                    }
                }
            }
        }
        guarded.are_open();
        for prepared in ready {
            if stop.is_set() {
                break;
            }
            match prepared.start() {
                Ok(live) => lives.push(say_started(live)),
                Err(error) => {
                    stop.set();
                    not_started.last = Some(error);
                }
            }
        }
        let mut outcome = Ok(());
        watch(&lives, &nats, self.until_caught_up, &stop, self.drain_max)?;
        for live in lives {
            let (plan, metrics, database) = (live.plan.clone(), live.metrics.clone(), live.database.clone());
            match live.finish() {
                Ok(report) if terminal::is_json() => terminal::stdout().json(&json!({
                    "pipeline": plan.name,
                    "database": database.location().to_string(),
                    "position": metrics.pipeline.position.get(),
                    "counts": CountsStatus::from(metrics.counts()),
                    "published": report.published,
                    "dead": report.dead,
                    "waiting": report.waiting,
                    "reason": report.reason,
                    "tables": show::tables_as_json(&database.location(), &plan.name)?,
                    "seconds": begun.elapsed().as_secs_f64(),
                }))?,
                Ok(report) => {
                    let note = messages_note(&report, database.inspect().message_counts(&plan.name)?.unpublished);
                    let messages = note.as_deref().map(|note| (report.published, note));
                    let tables = show::tables(&database.location(), &plan.name)?;
                    let summary = show::summary(&plan.name, metrics.counts(), messages, begun.elapsed());
                    say!(Info, "{summary}\n{tables}");
                }
                Err(error) => {
                    say_failed(&plan.name, files.len(), &error)?;
                    match outcome {
                        Ok(()) => outcome = Err(error),
                        // The command ends with the first of them.
                        Err(_) => say!(Error, "weir: {error}"),
                    }
                }
            }
        }
        outcome.and(not_started.outcome()).map(|()| ExitCode::SUCCESS)
    }

    /// Takes hold of the database of a pipeline, and then loads what its file names: should the host die of that, the
    /// database remembers it.
    fn open(
        &self,
        path: &Path,
        guarded: &mut Guarded,
        trust: &Policy,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<Opened> {
        let file = File::read(path)?;
        let name = Plan::name_of(&file)?;
        if is_taken(&name) {
            return Err(Error::definition(format!(
                "{}: two of the pipeline files are named {name}; names are unique",
                path.display()
            )));
        }
        let location = match &self.database {
            Some(location) => location.clone(),
            None => make_database_of(&file, &name)?,
        };
        let (database, host) = guarded.hold(&location, &name)?;
        let plan = make_plan(&file, &host, self.now, &Versions::new())?;
        let plan = Arc::new(Plan {
            trust: plan.trust.and(trust),
            ..plan
        });
        Ok(Opened { plan, host, database })
    }
}

/// A pipeline whose database is held.
struct Opened {
    plan: Arc<Plan>,
    /// Watches its guests.
    host: StageHost,
    database: Arc<dyn Backend>,
}

/// Says what a pipeline reads and writes that has started.
fn say_started(live: Live) -> Live {
    say!(
        Info,
        "{}: stream {}, {}, consumer {}, into {}, from sequence {}",
        live.plan.name,
        live.plan.stream,
        listed(&live.plan.subjects()),
        live.consumer,
        live.database.location(),
        live.metrics.pipeline.position.get() + 1
    );
    for (subject, first) in &live.first {
        say!(
            Info,
            "{}: messages to {subject} are published from sequence {first} on; those before are computed and counted",
            live.plan.name
        );
    }
    live
}

/// Says for scripts which of several pipelines did not start, or ended with an error. People read that elsewhere.
fn say_failed(pipeline: &str, pipelines: usize, error: &Error) -> Result<()> {
    match terminal::is_json() && pipelines > 1 {
        true => {
            let error = error_as_json(error.kind().name(), &error.to_string(), error.exit_code());
            terminal::stdout().json(&json!({ "pipeline": pipeline, "error": error }))
        }
        false => Ok(()),
    }
}

/// Pipelines that did not start.
struct NotStarted {
    /// How many there are in all.
    pipelines: usize,
    all_or_none: bool,
    errors: Vec<Error>,
    /// The one because of which none runs.
    last: Option<Error>,
}

impl NotStarted {
    fn new(pipelines: usize, all_or_none: bool) -> Self {
        Self {
            pipelines,
            all_or_none,
            errors: Vec::new(),
            last: None,
        }
    }

    /// Takes note of another, by its name, or its file where that cannot be read; an error where nothing is to run without it, or nothing is left that could.
    fn add(&mut self, pipeline: &str, error: Error) -> Result<()> {
        say_failed(pipeline, self.pipelines, &error)?;
        if self.all_or_none || self.pipelines == 1 {
            return Err(error);
        }
        say!(Error, "weir: a pipeline does not start: {error}");
        self.errors.push(error);
        match self.errors.len() == self.pipelines {
            true => self.outcome(),
            false => Ok(()),
        }
    }

    /// What a command ends with that ran the others: the first of them, whose exit code is that of the command.
    fn outcome(&mut self) -> Result<()> {
        if let Some(error) = self.last.take() {
            return Err(error);
        }
        let count = self.errors.len();
        match self.errors.drain(..).next() {
            Some(first) => Err(first.context(format!("{count} of {} pipelines did not start", self.pipelines))),
            None => Ok(()),
        }
    }
}

/// What became of the messages, where there were some. So many were not published over the life of the database, since they
/// lie before the first that is.
fn messages_note(report: &PublisherReport, unpublished: u64) -> Option<String> {
    let mut note = "published".to_owned();
    if unpublished > 0 {
        note += &format!("; {unpublished} in this database lie before the first that is, and are not");
    }
    if report.dead > 0 {
        note += &format!("; {} too large, and dead letters of step publish", report.dead);
    }
    if report.waiting > 0 {
        note += &format!("; {} wait in the outbox", report.waiting);
        note.extend(report.reason.iter().map(|reason| format!(": {reason}")));
    }
    (report.published + report.dead + report.waiting + unpublished > 0).then_some(note)
}

/// Whether as many files may be open as pipelines need. One that is missing later would show as a database that cannot be
/// opened, or as a server that cannot be reached.
fn check_files(pipelines: usize) -> Result<()> {
    let needed = FILES_OF_PROCESS + pipelines * FILES_OF_PIPELINE;
    let open = |_| std::fs::File::open("/dev/null");
    let opened: std::io::Result<Vec<std::fs::File>> = (0..needed).map(open).collect();
    opened.map(drop).map_err(|cause| {
        Error::environment(format!(
            "cannot open {needed} files at once, as many as a run of this size may need: {cause}; raise the bound, with \
             `ulimit -n 1024` say"
        ))
    })
}

/// A duration such as `30 s` or `1 min 30 s`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok();
    parsed
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "accepted is a duration such as \"30 s\", \"500 ms\" or \"1 min 30 s\"".to_owned())
}

/// What was left by pipelines that did not drain in time.
fn left(lives: &[Live], drain_max: Duration) -> Error {
    let unfinished = lives.iter().filter(|live| !live.is_finished());
    let each = unfinished.map(|live| {
        format!(
            "pipeline {} is committed up to sequence {}, and {} wait behind that",
            live.plan.name,
            live.metrics.pipeline.position.get(),
            show::count(live.lag().messages, "message")
        )
    });
    Error::environment(format!(
        "not drained within {}: {}. What is not committed is read again at the next start, and what is in an outbox is \
         published then; --drain-max waits for longer",
        show::seconds(drain_max),
        each.collect::<Vec<_>>().join("; ")
    ))
}

/// Shows how far each pipeline is, until all have ended. One that fails ends the others.
fn watch(lives: &[Live], nats: &Nats, until_caught_up: bool, stop: &Stop, drain_max: Duration) -> Result<()> {
    let bars = Bars::begin();
    let mut lines = Vec::new();
    for _ in lives {
        lines.push((bars.add("{spinner} {wide_msg}", 0)?, Counts::default(), Instant::now()));
    }
    let (refresh, each) = if bars.are_drawn() {
        (Duration::from_millis(250), 1)
    } else {
        (Duration::from_millis(50), 200)
    };
    let mut round = 0u64;
    let mut draining: Option<Instant> = None;
    while !lives.iter().all(Live::is_finished) {
        std::thread::park_timeout(refresh);
        round += 1;
        if stop.is_set() {
            nats.hurry();
            if draining.get_or_insert_with(Instant::now).elapsed() > drain_max {
                return Err(left(lives, drain_max));
            }
        }
        if round.is_multiple_of(each) {
            for (live, (bar, before, since)) in lives.iter().zip(&mut lines) {
                let counts = live.metrics.counts();
                let rate = show::rate(counts.events.saturating_sub(before.events), since.elapsed());
                let line = status(live, counts, rate);
                match bars.are_drawn() {
                    true => {
                        bar.set_message(line);
                        bar.tick();
                    }
                    false => say!(Info, "{line}"),
                }
                (*before, *since) = (counts, Instant::now());
            }
        }
        // One that caught up leaves the others alone. Without that, one that ended has failed, and ends the others.
        if !until_caught_up && lives.iter().any(Live::is_finished) {
            stop.set();
        }
    }
    Ok(())
}

/// How far a pipeline is. What matters most comes first: a terminal of 80 columns shows that much.
fn status(live: &Live, counts: Counts, rate: u64) -> String {
    let metrics = &live.metrics.pipeline;
    format!(
        "{:<16} {:>9} events/s  lag {:>9}  dead letters {:>5}  turn {:>7} in {:>4} ms",
        live.plan.name,
        show::thousands(rate),
        show::waiting(live.lag()),
        show::thousands(counts.dead_letters),
        show::thousands(metrics.last_commit_events.get()),
        metrics.last_commit_duration.get().as_millis(),
    )
}
