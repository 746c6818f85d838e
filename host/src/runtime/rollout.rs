//! Rolling out: what the registry wants for a running pipeline, made ready off the data path and swapped in.
//!
//! One thread per pipeline. It hears what is wanted (from [`Registry::watch`]) and what commits made lasting, prepares one
//! successor at a time, of those whose modules are compiled, and says in the registry what is in force. A deployment that
//! does not fit, or that was taken back once, stays out; the pipeline goes on as it was.

mod arriving;
mod begin;
mod candidates;
mod committed;
mod former;
mod harm;
mod heartbeat;
mod modules;
mod trusted;
mod versions;

pub use former::Former;
pub(crate) use harm::check_refused;
pub(crate) use heartbeat::machine;
pub use versions::{Overridden, Start, begin_of_database, plan_of_database};

use crate::{
    engine::{self, Retired, Shadow, ShadowReport, Successor},
    error::{Context, Error, ErrorKind, Result},
    limits::BATCH_EVENTS_MAX,
    metrics::Metrics,
    model::{
        deployment::{Committed, Deployment, StoredVersion},
        guest::Module,
    },
    nats::{HEARTBEAT, Hosts, Nats, Opening, Registry, Wanted},
    plan::{Plan, StageVersion, StepVersions, Versions},
    runtime::{
        pipeline::Swaps,
        status::{FailedVersion, StepStatus},
    },
    source::{Lag, Wake},
    storage::{Backend, Outbox},
    trust::Role,
    wasm::StageHost,
};
use arriving::{Arriving, Waiting};
use crossbeam_channel as crossbeam;
use harm::{not_again, refusal};
use modules::of_file_version;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use versions::{steps_of, taken_back, versions_of, why};

/// A version that no registry gives: one that an older weir took from an entry that was made up.
const IMPOSSIBLE: u64 = 1 << 53;

/// What the thread hears.
#[derive(Debug)]
pub enum RolloutEvent {
    /// The registry wants something.
    Wanted(Wanted),
    /// The registry is open, or is not yet.
    Opening(Opening),
    /// A commit changed versions.
    Committed(Committed),
    /// It is known what came of a module that was compiled.
    Compiled,
    /// The pipeline has ended.
    End,
}

impl From<Wanted> for RolloutEvent {
    fn from(wanted: Wanted) -> Self {
        Self::Wanted(wanted)
    }
}

impl From<Opening> for RolloutEvent {
    fn from(opening: Opening) -> Self {
        Self::Opening(opening)
    }
}

/// A pipeline that can be swapped.
#[derive(Debug)]
pub struct Rollout {
    sender: Sender<RolloutEvent>,
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Where deployments come from.
#[derive(Clone, Debug)]
pub struct Deployments {
    /// The server.
    pub nats: Nats,
    /// The registry; where it could not be opened, that is tried again.
    pub registry: Option<Registry>,
    /// How many replicas its buckets are to have.
    pub replicas: usize,
}

/// A rollout that did not begin yet.
pub struct Prepared {
    worker: Worker,
}

/// What is needed to speak of a running pipeline.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The host's name.
    pub host: String,
    /// The database, as the host was told of it.
    pub database: String,
    /// The same, held.
    pub backend: Arc<dyn Backend>,
    /// How far the pipeline is.
    pub metrics: Arc<Metrics>,
    /// How many messages wait.
    pub lag: Arc<Lag>,
}

impl Rollout {
    /// A channel for what is heard, so that commits can be told of before the thread starts.
    pub fn channel() -> (Sender<RolloutEvent>, Receiver<RolloutEvent>) {
        channel()
    }

    /// Ends it, after the pipeline.
    pub fn finish(self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.sender.send(RolloutEvent::End);
        let _ = self.thread.join();
    }
}

impl Prepared {
    /// Gets ready to roll out what is wanted for the pipeline that runs `running`, whose file says `base`.
    pub fn new(
        deployments: Deployments,
        host: &StageHost,
        base: Arc<Plan>,
        running: Arc<Plan>,
        known: &[StoredVersion],
        subject: Subject,
    ) -> Self {
        let Deployments {
            nats,
            registry,
            replicas,
        } = deployments;
        // Replaced when it begins.
        let ((successors, _), (_, gone)) = (crossbeam::bounded(0), crossbeam::unbounded());
        let (rehearsals, _) = crossbeam::bounded(0);
        let worker = Worker {
            hosts: registry.as_ref().map(|registry| registry.of_hosts().clone()),
            registry,
            waits_for_registry: None,
            nats,
            replicas,
            host: host.clone(),
            versions: versions_of(&running),
            steps: steps_of(&running, known),
            known: known.to_vec(),
            base,
            running,
            subject,
            successors,
            rehearsals,
            gone,
            wake: Wake::default(),
            wanted: BTreeMap::new(),
            wanted_shadows: BTreeMap::new(),
            shadows: BTreeMap::new(),
            refused_shadows: BTreeMap::new(),
            arriving: BTreeMap::new(),
            sender: None,
            in_flight: None,
            waiting: BTreeMap::new(),
            reported: None,
            outbox: None,
            counted: (0, Instant::now()),
            events_per_s: 0,
            heard_signed: BTreeMap::new(),
        };
        Self { worker }
    }

    /// Begins. Gives the pipeline what it needs to be swapped.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        self,
        lag: Arc<Lag>,
        wake: Wake,
        (sender, events): (Sender<RolloutEvent>, Receiver<RolloutEvent>),
    ) -> Result<(Rollout, Swaps)> {
        let Self { mut worker } = self;
        let (successors, ready) = crossbeam::bounded(1);
        let (rehearsals, prepared) = crossbeam::bounded(1);
        worker.rehearsals = rehearsals;
        let rehearsed = successors.clone();
        let (retired, gone) = crossbeam::unbounded();
        worker.subject.lag = lag;
        worker.sender = Some(sender.clone());
        (worker.successors, worker.gone, worker.wake) = (successors, gone, wake.clone());
        let ended = Arc::new(AtomicBool::new(false));
        match &worker.registry {
            Some(registry) => registry.watch(&worker.running.name, sender.clone()),
            None => Registry::open_later(&worker.nats, worker.replicas, ended.clone(), sender.clone()),
        }
        let own = sender.clone();
        let thread = std::thread::Builder::new()
            .name("weir-rollout".to_owned())
            .spawn(move || worker.run(&events, &own))
            .environment(|| "cannot start a thread".to_owned())?;
        let swaps = Swaps {
            successors: ready,
            rehearsals: prepared,
            rehearsed,
            retired,
            wake,
            patience: Duration::ZERO,
        };
        Ok((Rollout { sender, ended, thread }, swaps))
    }
}

struct Worker {
    nats: Nats,
    replicas: usize,
    registry: Option<Registry>,
    /// Where it is told what the pipeline does; may be there before the registry is open.
    hosts: Option<Hosts>,
    /// Why the registry is not open.
    waits_for_registry: Option<String>,
    host: StageHost,
    /// What the pipeline file says.
    base: Arc<Plan>,
    /// What runs, or is on its way to.
    running: Arc<Plan>,
    versions: Versions,
    steps: Vec<StepStatus>,
    /// What decided over rows of the database, as far as it is committed.
    known: Vec<StoredVersion>,
    subject: Subject,
    successors: crossbeam::Sender<Box<Successor>>,
    rehearsals: crossbeam::Sender<Box<engine::Prepared>>,
    gone: crossbeam::Receiver<Retired>,
    wake: Wake,
    /// What is wanted and not yet on its way, by step.
    wanted: BTreeMap<String, Deployment>,
    /// The candidates that are wanted beside steps, or that are to end, and are not yet on their way.
    wanted_shadows: BTreeMap<String, Option<Deployment>>,
    /// The candidates that run, by step.
    shadows: BTreeMap<String, Shadow>,
    /// Those that do not fit, by step, and why.
    refused_shadows: BTreeMap<String, ShadowReport>,
    /// The modules of what is wanted.
    arriving: BTreeMap<(Role, String), Arriving>,
    /// Where it is told that one of them is there, once the thread runs.
    sender: Option<Sender<RolloutEvent>>,
    /// What was sent and is not yet committed.
    in_flight: Option<InFlight>,
    /// What cannot be had yet, of what is wanted: each is tried again on its own.
    waiting: BTreeMap<(Role, String), Waiting>,
    reported: Option<Instant>,
    /// Opened when it is first looked at.
    outbox: Option<Box<dyn Outbox>>,
    /// How many deliveries were committed at an instant, from which on the speed is measured.
    counted: (u64, Instant),
    events_per_s: u64,
    /// The latest signed deployment of each step that was let through: its time and its number.
    heard_signed: BTreeMap<String, (i64, u64)>,
}

/// A version or a candidate on its way.
struct InFlight {
    step: String,
    /// Absent for a candidate: the version of the step stays.
    version: Option<u64>,
    plan: Arc<Plan>,
    /// What the step ran before.
    before: StepVersions,
}

impl Worker {
    fn run(mut self, events: &Receiver<RolloutEvent>, sender: &Sender<RolloutEvent>) {
        loop {
            self.gone.try_iter().for_each(drop);
            self.look_at_guests();
            self.roll_out();
            if self.reported.is_none_or(|reported| reported.elapsed() >= HEARTBEAT) {
                self.report();
            }
            match events.recv_timeout(self.wait()) {
                Ok(RolloutEvent::Wanted(wanted)) => self.want(wanted),
                Ok(RolloutEvent::Opening(opening)) => self.opening(opening, sender),
                Ok(RolloutEvent::Committed(committed)) => self.committed(committed),
                Ok(RolloutEvent::Compiled) => {}
                Ok(RolloutEvent::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        if let Some(hosts) = &self.hosts {
            hosts.remove(&self.running.name, &self.subject.host);
        }
    }

    fn opening(&mut self, opening: Opening, sender: &Sender<RolloutEvent>) {
        match opening {
            Opening::Opened(registry) => {
                tracing::info!(
                    pipeline = self.running.name,
                    "pipeline {}: the registry is open, deployments are looked for",
                    self.running.name
                );
                registry.watch(&self.running.name, sender.clone());
                self.hosts = Some(registry.of_hosts().clone());
                self.registry = Some(*registry);
                self.waits_for_registry = None;
            }
            Opening::Waits(reason, hosts) => {
                self.hosts = self.hosts.take().or(hosts.map(|hosts| *hosts));
                self.waits_for_registry = Some(reason);
            }
        }
        self.report();
    }

    /// Says where the registry has the word in place of the pipeline file.
    fn say_overridden(&self) {
        for (step, of_step) in &self.versions {
            let (Some(live), Ok(of_file)) = (&of_step.live, self.base.stage(step)) else {
                continue;
            };
            if let Some(overridden) = Overridden::of(&live.deployment, of_file) {
                tracing::info!(
                    pipeline = self.running.name,
                    step,
                    "step {step} of pipeline {} does not run what its file says: {overridden}; `weir undeploy` gives the \
                     word back to the file",
                    self.running.name
                );
            }
        }
    }

    fn wait(&self) -> Duration {
        if self.in_flight.is_none() && self.has_next() {
            return Duration::ZERO;
        }
        let since_reported = self.reported.map_or(HEARTBEAT, |reported| reported.elapsed());
        let until_told = HEARTBEAT.saturating_sub(since_reported);
        self.until_retry().map_or(until_told, |until| until.min(until_told))
    }

    fn want(&mut self, wanted: Wanted) {
        match wanted {
            Wanted::Live(step, deployment) => {
                let Some(status) = self.steps.iter().find(|status| status.step == step) else {
                    tracing::warn!(
                        pipeline = self.running.name,
                        step,
                        version = deployment.version,
                        "pipeline {} has no stage \"{step}\", for which version {} is deployed",
                        self.running.name,
                        deployment.version
                    );
                    return;
                };
                let failed = status
                    .failed
                    .as_ref()
                    .is_some_and(|failed| failed.version == deployment.version);
                let in_force = status.deployment.version;
                let is_in_force = in_force == deployment.version && status.deployment.at_ms == deployment.at_ms;
                if failed || is_in_force {
                    return;
                }
                if let Err(error) = self.check_trusted(&step, &deployment) {
                    return self.refuse(&step, deployment.version, &error);
                }
                if in_force == deployment.version {
                    let error = Error::mismatch(format!(
                        "another version {in_force} is in force, which was deployed earlier: the registry has forgotten it, and \
                         gave its number away again; deploy again"
                    ));
                    self.forget_signed(&step, &deployment);
                    return self.refuse(&step, deployment.version, &error);
                }
                if in_force > deployment.version && in_force < IMPOSSIBLE {
                    let error = Error::mismatch(format!(
                        "version {in_force} is in force, and numbers only grow: the registry has forgotten some; deploy \
                         again"
                    ));
                    self.forget_signed(&step, &deployment);
                    return self.refuse(&step, deployment.version, &error);
                }
                self.waiting.remove(&(Role::Live, step.clone()));
                self.wanted.insert(step, deployment);
            }
            Wanted::Shadow(step, candidate) => {
                self.waiting.remove(&(Role::Candidate, step.clone()));
                self.wanted_shadows.insert(step, candidate);
            }
        }
    }

    /// Sends the next that is wanted on its way, of what can be prepared, when none is.
    fn roll_out(&mut self) {
        self.give_up_overtaken();
        if self.in_flight.is_some() {
            return;
        }
        self.begin_arriving();
        if let Some((step, candidate)) = self.take_candidate() {
            self.roll_out_shadow(step, candidate);
        } else if let Some((step, deployment)) = self.take_deployment() {
            self.roll_out_deployment(step, deployment);
        }
    }

    fn roll_out_deployment(&mut self, step: String, deployment: Deployment) {
        let before = self.of_step(&step);
        match self.prepare(&step, &deployment) {
            Ok((successor, plan)) => {
                let in_flight = InFlight {
                    step: step.clone(),
                    version: Some(deployment.version),
                    plan,
                    before,
                };
                match Box::new(successor).rehearse(&self.running, &self.host) {
                    Ok(Ok(prepared)) => self.send_to_rehearsal(prepared, in_flight),
                    Ok(Err(successor)) => self.send(successor, in_flight),
                    Err(error) => {
                        self.versions.insert(step.clone(), in_flight.before);
                        self.refuse(&step, deployment.version, &error);
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::Environment => {
                self.wanted.entry(step.clone()).or_insert(deployment);
                self.wait_for(Role::Live, &step, &error);
            }
            Err(error) => {
                self.forget_signed(&step, &deployment);
                self.refuse(&step, deployment.version, &error);
            }
        }
    }

    /// Sends a plan on its way.
    fn send(&mut self, successor: Box<Successor>, in_flight: InFlight) {
        if self.successors.send(successor).is_ok() {
            self.in_flight = Some(in_flight);
            self.wake.set();
        }
    }

    /// Sends a plan on its way, through a rehearsal.
    fn send_to_rehearsal(&mut self, prepared: engine::Prepared, in_flight: InFlight) {
        if self.rehearsals.send(Box::new(prepared)).is_ok() {
            self.in_flight = Some(in_flight);
        }
    }

    /// What a step runs.
    fn of_step(&self, step: &str) -> StepVersions {
        self.versions.get(step).cloned().unwrap_or_default()
    }

    fn registry(&self) -> Result<&Registry> {
        let registry = self.registry.as_ref();
        registry.ok_or_else(|| Error::environment("the registry is not open"))
    }

    fn version_of(&self, step: &str, deployment: &Deployment) -> Result<StageVersion> {
        match &deployment.digest {
            None => of_file_version(&self.base, step, deployment),
            Some(digest) => Ok(StageVersion {
                module: self.load(step, deployment, digest)?,
                deployment: deployment.clone(),
            }),
        }
    }

    fn load(&self, step: &str, deployment: &Deployment, digest: &str) -> Result<Arc<Module>> {
        // Other parameters, or another step: the module is there.
        if let Some(loaded) = self.host.loaded_module(digest) {
            return Ok(loaded);
        }
        let binary = self.module_binary(digest)?;
        self.host.at(deployment.whose(step)).load_deployed(&binary)
    }

    fn prepare(&mut self, step: &str, deployment: &Deployment) -> Result<(Successor, Arc<Plan>)> {
        self.check_signature(step, deployment)?;
        let live = self.version_of(step, deployment)?;
        if let Some(taken_back) = taken_back(&self.known, step, &live).filter(|_| !deployment.again) {
            return Err(Error::definition(format!(
                "{}; deploy another, or the same with --again",
                why(taken_back)
            )));
        }
        if let Some(reason) = refusal(&self.host, step, &live) {
            return Err(not_again(&reason));
        }
        self.prepare_version(step, live)
    }

    /// Gets `live` ready to take over at a step.
    fn prepare_version(&mut self, step: &str, live: StageVersion) -> Result<(Successor, Arc<Plan>)> {
        let mut versions = self.versions.clone();
        let of_step = versions.entry(step.to_owned()).or_default();
        // Of a version that is still on trial it is not known whether it is good.
        let good = of_step.fallback.take().or(of_step.live.take());
        // What the host died of is nothing to fall back on.
        let good = good.filter(|good| refusal(&self.host, step, good).is_none());
        of_step.fallback = good;
        of_step.live = Some(live);
        let plan = Arc::new(self.base.again(&self.host, &versions)?);
        let mut successor = Successor::prepare(&self.running, plan.clone(), &self.host, BATCH_EVENTS_MAX)?;
        successor.comparisons = self.comparisons(&plan, &versions)?;
        self.versions = versions;
        Ok((successor, plan))
    }

    fn refuse(&mut self, step: &str, version: u64, error: &Error) {
        tracing::warn!(
            pipeline = self.running.name,
            step,
            version,
            "version {version} of step {step} of pipeline {} is refused: {error}",
            self.running.name
        );
        let reason = error.to_string();
        self.announce("refused", step, version, 0, Some(&reason));
        if let Some(status) = self.steps.iter_mut().find(|status| status.step == step) {
            status.failed = Some(FailedVersion {
                version,
                reason,
                ..Default::default()
            });
        }
        self.report();
    }
}
