//! `weir dev`: a rule is written while its pipeline runs.

mod watch;
mod whole;
mod written;

use super::{
    connection::{NatsArguments, RegistryArguments},
    demo::server::{Ending, Server},
    deploy::{Saying, Target},
    load_plan, show, signals,
    signing::{Signing, SigningArguments},
    stage_host,
    test::{Cases, How},
};
use crate::{
    command::terminal::{answer, say},
    definition::{File, PublishFrom},
    error::{Context, Error, Result},
    files::{input::Lines, private_file},
    format::Decoder,
    model::{
        headers::Headers,
        subject::{listed, matches},
    },
    nats::{Beginning, Gap, Nats, NatsOptions, Registry, StreamRange},
    plan::{NodeKind, Plan, StagePlan, Target as SinkTarget},
    runtime::{
        live::{Live, LiveOptions, Ready},
        status::HostStatus,
    },
    source::{Event, EventLines, Stop},
    storage::{Location, Messages},
    wasm::StageHost,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use watch::Watch;
use whole::{Whole, differ_in_parameters_alone};
use written::Written;

/// Runs the pipeline of a rule while the rule is written: on every save the rule is built, its cases are run, and the new
/// version is swapped in.
///
/// The stream is made if it is missing, and filled with the events of the folder's cases, or of --input. A save of the
/// crate's sources, of the pipeline file, of the project's weir.toml or of a case is taken up: the rule is built (`weir build`), the cases are run
/// (`weir test`), the new component or the new parameters are put in the place of those that run (`weir deploy`), and it
/// is shown what the tables would be if this version had been there for the whole stream. What cannot be built, or does
/// not fit, or fails a case, does not come into force; the version before it runs on. Ctrl-C ends it.
///
/// Without --nats it has a nats-server of its own, which ends with it, whatever NATS_URL says. At a server that is named it fills no stream that is
/// there already, unless --input says with what, and it refuses to begin where somebody else runs the pipeline.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
  0  ended by Ctrl-C; with --once: built, passed, and run
  1  with --once: cargo, the compiler or a case failed
  2  the folder, the pipeline or a module has to be changed first

Example:
  weir new large-orders && cd large-orders
  weir dev
  weir dev --input last-week.jsonl --keep-going
  weir dev shop --pipeline alerts")]
pub(super) struct Dev {
    /// The folder of a project; or with a rule's Cargo.toml and pipeline.toml.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Which pipeline of the project; needed where there are several.
    #[arg(long = "pipeline", value_name = "NAME")]
    named: Option<String>,
    /// Events for the stream, one payload a line, in place of those of the cases.
    #[arg(long, value_name = "FILE.jsonl")]
    input: Option<PathBuf>,
    /// The database of the pipeline, which is kept; else it is one that is removed at the end.
    #[arg(long, value_name = "FILE")]
    database: Option<Location>,
    /// Swap a version in although a case fails.
    #[arg(long)]
    keep_going: bool,
    /// Build, test, run the pipeline over what the stream holds, show its tables, and end.
    #[arg(long)]
    once: bool,
    /// The profile of cargo to build in.
    #[arg(long, value_name = "NAME", default_value = super::build::PROFILE)]
    profile: String,
    #[command(flatten)]
    nats: NatsArguments,
}

/// How often we look whether something has come about.
const LOOK: Duration = Duration::from_millis(5);

/// How long the pipeline may take to say that it runs.
const START_MAX: Duration = Duration::from_secs(30);

/// Messages that are published in one go.
const MESSAGES_AT_ONCE: usize = 5_000;

/// The stream for what the pipeline publishes, at a server of our own.
const OUTGOING: &str = "WEIR-DEV-OUT";

impl Dev {
    pub(super) fn run(self) -> Result<ExitCode> {
        let written = Written::find(&self.folder, self.named.as_slice())?;
        if self.input.is_none() {
            Cases::find(&written.pipeline)?;
        }
        let whole = fs::canonicalize(&self.folder).environment(|| format!("cannot find {}", self.folder.display()))?;
        let mut watch = match self.once {
            true => None,
            false => Some(Watch::start(&whole, written.watched()?)?),
        };
        let host = stage_host()?;
        let home = private_file::temporary_folder("weir-dev-")?;
        let server = match NatsArguments::names_server() {
            true => None,
            false => Some(Server::start(&home.path().join("nats"))?),
        };
        let stop = Stop::default();
        // The server and what is kept for a time go with us either way.
        let (ending, folder) = (server.as_ref().map(Server::ending), home.path().to_owned());
        let compiling = host.clone();
        signals::obey(
            &stop,
            "draining",
            move || compiling.interrupt(),
            move || {
                ending.iter().for_each(Ending::end);
                let _ = fs::remove_dir_all(&folder);
            },
        )?;
        let nats = Nats::connect(&match &server {
            Some(server) => NatsOptions {
                url: server.url().to_owned(),
                ..Default::default()
            },
            None => self.nats.options()?,
        })?;
        let mut session = Session {
            registry: Registry::open(&nats, 1)?,
            nats,
            host,
            home: home.path().to_owned(),
            own_server: server.is_some(),
            stop,
            written,
            running: None,
            in_force: None,
            filled: Vec::new(),
            signing: Signing::for_now(),
            starts: 0,
            dev: self,
        };
        let outcome = session.go(watch.as_mut());
        session.nats.hurry();
        let ended = session.end_pipeline();
        session.nats.close();
        drop(server);
        let passed = outcome?;
        ended?;
        Ok(ExitCode::from(u8::from(!passed)))
    }
}

/// A pipeline that runs, and what ends it.
struct Running {
    live: Live,
    stop: Stop,
    /// What its file says.
    base: Arc<Plan>,
    /// The same as TOML.
    definition: toml::Table,
}

/// A rule that is being written.
struct Session {
    dev: Dev,
    nats: Nats,
    registry: Registry,
    host: StageHost,
    home: PathBuf,
    own_server: bool,
    stop: Stop,
    written: Written,
    running: Option<Running>,
    /// The version that decides, over the whole stream.
    in_force: Option<Whole>,
    /// Streams that were filled.
    filled: Vec<String>,
    /// What is signed with that is deployed here, where the pipeline file asks for signatures: no other host trusts it.
    signing: Signing,
    starts: u32,
}

impl Session {
    /// From the first build on until it is time to end; whether the last look found everything well.
    fn go(&mut self, watch: Option<&mut Watch>) -> Result<bool> {
        if let Some(name) = name_in(&File::read(&self.written.pipeline)?) {
            self.check_alone(&name)?;
        }
        let first = self.take_up(None, true);
        let Some(watch) = watch else { return first };
        self.say_if_wrong(first)?;
        loop {
            answer!("\nwatching {}; Ctrl-C ends", self.dev.folder.display())?;
            let has_ended = || self.running.as_ref().is_some_and(|running| running.live.is_finished());
            let Some(saved) = watch.wait(|| self.stop.is_set() || has_ended())? else {
                return Ok(true);
            };
            let files: Vec<String> = saved.files.iter().map(|file| file.display().to_string()).collect();
            answer!("\nsaved {}", files.join(", "))?;
            let outcome = self.take_up(Some(saved.at), saved.is_of_source);
            self.say_if_wrong(outcome)?;
        }
    }

    /// What is wrong with a save is said, and the next one may be better.
    fn say_if_wrong(&self, outcome: Result<bool>) -> Result<()> {
        let Err(error) = outcome else { return Ok(()) };
        // Ctrl-C ends cargo too, which is no news.
        if self.stop.is_set() {
            return Ok(());
        }
        say!(Error, "weir: {error}");
        match self.running {
            Some(_) => answer!("not in force: the version before it runs on"),
            None => answer!("nothing runs yet"),
        }
    }

    /// Brings what is in the folder into force; whether its cases pass.
    fn take_up(&mut self, saved: Option<Instant>, builds: bool) -> Result<bool> {
        let begun = Instant::now();
        let since = saved.unwrap_or(begun);
        if builds {
            self.written.forget_components();
        }
        self.written.build(&self.dev.profile, &self.stop)?;
        let built = begun.elapsed();
        let mut plan = load_plan(&self.written.pipeline, &self.host, None)?;
        let definition = plan.file.as_table()?;
        if !plan.trust.is_open() {
            plan.trust.keys.get_or_insert_default().push(self.signing.signer());
        }
        let plan = Arc::new(plan);
        let begun = Instant::now();
        let cases = match self.written.cases().is_dir() {
            true => Some(Cases::find(&self.written.pipeline)?),
            false => None,
        };
        let failed = cases
            .as_ref()
            .map_or(Ok(0), |cases| cases.run(&self.host, How::default()))?;
        let tested = begun.elapsed();
        if self.stop.is_set() {
            return Ok(failed == 0);
        }
        self.fill(&plan, cases.as_ref())?;

        let begun = Instant::now();
        let is_new = match (&self.in_force, &self.running) {
            (Some(in_force), Some(running)) => running.definition != definition || !same_rules(&in_force.plan, &plan),
            _ => true,
        };
        let swaps = failed == 0 || self.dev.keep_going;
        if is_new && swaps {
            self.bring_into_force(&plan, &definition, cases.as_ref())?;
            answer!(
                "in force {} after the {} (build {}, cases {}, swap {})",
                show::seconds(since.elapsed()),
                if saved.is_some() { "save" } else { "start" },
                show::seconds(built),
                show::seconds(tested),
                show::seconds(begun.elapsed())
            )?;
        } else if is_new {
            let stays = if self.running.is_some() {
                "the version before it runs on"
            } else {
                "nothing runs yet"
            };
            answer!("not in force, because a case fails: {stays}; --keep-going swaps it in all the same")?;
        } else {
            answer!("the same component and parameters: nothing to swap")?;
        }
        if is_new && !self.stop.is_set() {
            self.compare(plan, cases.as_ref(), swaps)?;
        }
        Ok(failed == 0)
    }

    /// Makes the stream, and fills it.
    fn fill(&mut self, plan: &Plan, cases: Option<&Cases>) -> Result<()> {
        if self.filled.contains(&plan.stream) {
            return Ok(());
        }
        let is_there = self.nats.has_stream(&plan.stream)?;
        if !is_there {
            self.nats.make_stream(&plan.stream, &plan.subjects())?;
        }
        if self.own_server && self.filled.is_empty() {
            let subjects = plan.sinks.iter().filter_map(|sink| match &sink.target {
                SinkTarget::Subject { name, .. } => Some(name.as_str()),
                _ => None,
            });
            // Those that an input takes belong to the stream already.
            let is_taken = |subject: &str| plan.inputs.iter().any(|input| matches(&input.subject, subject));
            let subjects: Vec<&str> = subjects.filter(|subject| !is_taken(subject)).collect();
            if !subjects.is_empty() {
                self.nats.make_stream(OUTGOING, &subjects)?;
            }
        }
        let inputs = match (&self.dev.input, cases) {
            (Some(input), _) => vec![input.clone()],
            (None, Some(cases)) if !is_there => cases.inputs(),
            _ => Vec::new(),
        };
        let mut published = 0;
        for input in &inputs {
            published += self.publish(plan, input)?;
        }
        self.filled.push(plan.stream.clone());
        let filled = match inputs.is_empty() {
            true => "as it is".to_owned(),
            false => format!("with {} published", show::count(published, "event")),
        };
        answer!(
            "stream {} at {}, {}, {filled}",
            plan.stream,
            self.nats.server(),
            listed(&plan.subjects())
        )?;
        Ok(())
    }

    /// Publishes the events of a file; those whose subject is not clear are told.
    fn publish(&self, plan: &Plan, path: &Path) -> Result<u64> {
        let mut lines = Lines::open_text(path)?;
        let decoder = Decoder::of(plan, 1)?;
        let mut events = EventLines::new(decoder.subjects(), decoder.reads_envelopes());
        let mut messages = Vec::new();
        let mut line = Vec::new();
        let mut published = 0;
        while lines.next_into(&mut line)? {
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            messages.push(match (events.read(line), plan.inputs.as_slice().first()) {
                (Event::Of(line), _) => {
                    let headers = Headers::parse(line.headers).unwrap_or_default();
                    (line.subject.to_owned(), headers, line.payload.to_owned())
                }
                (Event::Payload, Some(input))
                    if decoder.reads_subjects() && input.subject.contains(['*', '>']) =>
                {
                    let file = path.display();
                    say!(
                        Warning,
                        "weir: {file}:{} is not published: columns are read from the subject, which the line does not say; \
                         accepted is {{\"subject\": \"…\", \"payload\": …}}",
                        lines.number()
                    );
                    continue;
                }
                (Event::Payload, Some(input)) => (input.subject.clone(), Headers::default(), line.to_owned()),
                (Event::Empty | Event::Payload, _) => continue,
                (Event::Refused(reason), _) => {
                    let file = path.display();
                    say!(Warning, "weir: {file}:{} is not published: {reason}", lines.number());
                    continue;
                }
            });
            published += 1;
            if messages.len() == MESSAGES_AT_ONCE {
                self.nats.publish_with_headers(std::mem::take(&mut messages))?;
            }
        }
        self.nats.publish_with_headers(messages)?;
        Ok(published)
    }

    /// Swaps rules in where only they differ from what runs; else the pipeline begins anew.
    fn bring_into_force(&mut self, plan: &Arc<Plan>, definition: &toml::Table, cases: Option<&Cases>) -> Result<()> {
        let swappable = match (&self.running, &self.in_force) {
            (Some(running), Some(in_force)) => {
                differ_in_parameters_alone(&running.definition, definition) && same_aggregates(&in_force.plan, plan)
            }
            _ => false,
        };
        if !swappable {
            self.end_pipeline()?;
            return self.start(plan, definition, cases);
        }
        let before = self.in_force.as_ref().map(|whole| whole.plan.clone());
        for (step, stage) in stages(plan) {
            let is_same = before.as_ref().and_then(|before| before.stage(step).ok());
            if is_same.is_none_or(|before| !same_rule(before, stage)) {
                self.deploy(plan, step, stage)?;
            }
        }
        if let Some(running) = &mut self.running {
            running.definition = definition.clone();
        }
        Ok(())
    }

    fn deploy(&self, plan: &Arc<Plan>, step: &str, stage: &StagePlan) -> Result<()> {
        let base = self.running.as_ref().map_or(plan, |running| &running.base);
        let signing = (!plan.trust.is_open()).then(|| self.signing.clone());
        let target = Target::of(&self.host, base.clone(), step.to_owned(), self.registry.clone()).signing(signing);
        let saying = Saying {
            again: true,
            note: Some("weir dev".to_owned()),
            wait: START_MAX.as_secs(),
            wait_trial: None,
            signing: SigningArguments::default(),
            registry: RegistryArguments::default(),
        };
        let parameters = &stage.deployment.parameters;
        let deployed = target.deploy_module(&saying, &stage.module, |_| Ok(parameters.clone()))?;
        match target.wait(&deployed, &saying)? {
            code if code == ExitCode::SUCCESS => Ok(()),
            _ => Err(Error::definition(format!(
                "version {} of step {step} was not taken, for the reason above",
                deployed.version
            ))),
        }
    }

    /// Whether nobody else runs the pipeline: what is written here would be deployed there.
    fn check_alone(&self, pipeline: &str) -> Result<()> {
        let others: Vec<HostStatus> = self.registry.hosts(Some(pipeline))?;
        let Some(other) = others.first() else {
            return Ok(());
        };
        Err(Error::definition(format!(
            "pipeline {pipeline} runs already, at {} by {}, into {}: what is written here would be deployed there; \
             name another pipeline in the file, or another server",
            self.nats.server(),
            other.process,
            other.database
        )))
    }

    /// Starts the pipeline over the stream, and waits until it has seen all of it.
    fn start(&mut self, plan: &Arc<Plan>, definition: &toml::Table, cases: Option<&Cases>) -> Result<()> {
        self.check_alone(&plan.name)?;
        self.starts += 1;
        let location = match &self.dev.database {
            Some(location) => location.clone(),
            None => Location::in_folder(&self.home, &format!("{}-{}", plan.name, self.starts)),
        };
        let is_new = !location.exists();
        let backend = location.hold()?;
        if let (true, Some(cases)) = (is_new, cases) {
            cases.load_start(plan, &mut *backend.open(plan.clone(), Messages::Outbox)?)?;
        }
        let options = LiveOptions {
            until_caught_up: false,
            gap: Gap::Refuse,
            // Whoever writes a rule tries it as often as they like.
            again: true,
            // At a server of our own nobody else listens; at another one nobody is told of what was before.
            beginning: Beginning {
                asked: None,
                otherwise: Some(match self.own_server {
                    true => PublishFrom::Sequence(1),
                    false => PublishFrom::Now,
                }),
            },
            registry: Some(self.registry.clone()),
            registry_replicas: 1,
        };
        let last = StreamRange::find(&self.nats, &plan.stream, &plan.subjects(), None, None)?.last;
        let stop = Stop::default();
        let live = Ready::open(&self.nats, &self.host, plan.clone(), &backend, options, &stop)?.start()?;
        self.running = Some(Running {
            live,
            stop,
            base: plan.clone(),
            definition: definition.clone(),
        });
        let begun = Instant::now();
        while !self
            .registry
            .hosts::<HostStatus>(Some(&plan.name))?
            .iter()
            .any(|host| host.database == location.to_string())
        {
            self.check_running()?;
            if self.stop.is_set() {
                return Ok(());
            }
            if begun.elapsed() > START_MAX {
                return Err(Error::environment(format!(
                    "the pipeline does not say at {} that it runs",
                    self.nats.server()
                )));
            }
            thread::sleep(LOOK);
        }
        // What was deployed at this server before would take the place of what is written now.
        for (step, stage) in stages(plan) {
            if self.registry.deployment(&plan.name, step)?.is_some() {
                self.deploy(plan, step, stage)?;
            }
        }
        while !self.stop.is_set() {
            let position = self.check_running()?;
            if position >= last {
                break;
            }
            thread::sleep(LOOK);
        }
        answer!("pipeline {} runs, into {location}", plan.name)?;
        Ok(())
    }

    /// How far the pipeline is. One that has ended by itself has failed.
    fn check_running(&mut self) -> Result<u64> {
        match &self.running {
            Some(running) if !running.live.is_finished() => Ok(running.live.metrics.pipeline.position.get()),
            _ => {
                self.end_pipeline()?;
                Err(Error::environment("the pipeline has ended"))
            }
        }
    }

    fn end_pipeline(&mut self) -> Result<()> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        running.stop.set();
        running.live.finish().map(drop)
    }

    /// Shows what the tables would be with `plan` over the whole stream, against those of the version in force.
    fn compare(&mut self, plan: Arc<Plan>, cases: Option<&Cases>, in_force: bool) -> Result<()> {
        let after = Whole::new(plan.clone(), cases)?;
        let before = match self.in_force.take() {
            Some(before) => before,
            None => Whole::new(plan, cases)?,
        };
        let is_first = Arc::ptr_eq(&before.plan, &after.plan);
        if !is_first {
            before.catch_up(&self.nats, &self.host, &self.stop)?;
        }
        let events = after.catch_up(&self.nats, &self.host, &self.stop)?;
        match is_first {
            true => answer!("\nthe tables after {}:", show::count(events, "event"))?,
            false => answer!(
                "\nwhat this version makes of all {}, in place of the one before:",
                show::count(events, "event")
            )?,
        }
        let shown = after.show_changes_since(&before);
        self.in_force = match (in_force, is_first) {
            (true, _) => Some(after),
            (false, false) => Some(before),
            (false, true) => None,
        };
        shown
    }
}

/// The name of the pipeline, where the file tells it.
fn name_in(file: &File) -> Option<String> {
    let table = file.as_table().ok()?;
    Some(table.get("name")?.as_str()?.to_owned())
}

fn stages(plan: &Plan) -> impl Iterator<Item = (&str, &StagePlan)> {
    plan.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Stage(stage) => Some((node.name.as_str(), &**stage)),
        _ => None,
    })
}

fn same_rule(a: &StagePlan, b: &StagePlan) -> bool {
    a.module.digest == b.module.digest && a.deployment.parameters == b.deployment.parameters
}

fn same_rules(a: &Plan, b: &Plan) -> bool {
    stages(b).all(|(step, b)| a.stage(step).is_ok_and(|a| same_rule(a, b))) && same_aggregates(a, b)
}

/// Whether the guests that are aggregates are the same. They are not swapped.
fn same_aggregates(a: &Plan, b: &Plan) -> bool {
    let guests = |plan: &Plan| -> Vec<(String, String)> {
        let guests = plan.nodes.iter().flat_map(|node| node.kind.guests());
        guests
            .map(|(_, guest)| (guest.module.digest.clone(), format!("{:?}", guest.parameters)))
            .collect()
    };
    guests(a) == guests(b)
}
