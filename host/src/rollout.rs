//! Rolling out: what the registry wants for a running pipeline, made ready off the data path and swapped in.
//!
//! One thread per pipeline. It hears what is wanted (from [`Registry::watch`]) and what commits made lasting, prepares one
//! successor at a time, and says in the registry what is in force. A deployment that does not fit, or that was taken back
//! once, stays out; the pipeline goes on as it was.

mod versions;

pub use versions::plan_of_database;

use crate::{
    database::{DatabaseFile, Outbox},
    deployment::{Committed, Deployment, InForce, StoredVersion, VersionChange},
    engine::{Retired, Shadow, Successor},
    error::{Context, Error, ErrorKind, Result},
    limits::BATCH_EVENTS_MAX,
    nats::{HEARTBEAT, Registry, Wanted},
    pipeline::{Progress, Swaps},
    plan::{Plan, StageVersion, Versions},
    say,
    source::{Lag, Nudge},
    stage::StageHost,
    status::{FailedVersion, HostStatus, ShadowReport, StepStatus},
    text::printable,
};
use crossbeam_channel as crossbeam;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use versions::{of_file_version, steps_of, taken_back, versions_of, why};

/// The shortest time over which a speed is measured.
const RATE_SPAN_MIN: Duration = Duration::from_millis(500);

/// How long to wait before what the server did not give is asked for again.
const RETRY: Duration = Duration::from_secs(2);

/// What the thread hears.
#[derive(Debug)]
pub enum Heard {
    /// The registry wants something.
    Wanted(Wanted),
    /// A commit changed versions.
    Committed(Committed),
    /// The pipeline has ended.
    End,
}

impl From<Wanted> for Heard {
    fn from(wanted: Wanted) -> Self {
        Self::Wanted(wanted)
    }
}

/// What became of a deployment, as it is announced.
#[derive(Debug, Serialize)]
struct Event<'a> {
    what: &'a str,
    pipeline: &'a str,
    step: &'a str,
    version: u64,
    host: &'a str,
    sequence: u64,
    reason: Option<&'a str>,
}

/// A pipeline that can be swapped.
#[derive(Debug)]
pub struct Rollout {
    heard: Sender<Heard>,
    thread: JoinHandle<()>,
}

/// What is needed to speak of a running pipeline.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The host's name.
    pub host: String,
    /// The database, as the host was told of it.
    pub database: String,
    /// The same, held.
    pub file: DatabaseFile,
    /// How far the pipeline is.
    pub progress: Arc<Progress>,
    /// How many messages wait.
    pub lag: Arc<Lag>,
}

impl Rollout {
    /// A channel for what is heard, so that commits can be told of before the thread starts.
    pub fn channel() -> (Sender<Heard>, Receiver<Heard>) {
        channel()
    }

    /// Starts to roll out what `registry` wants for the pipeline that runs `running`, whose file says `base`. Gives what
    /// the pipeline needs for it.
    ///
    /// # Errors
    /// When no thread can be started.
    #[expect(clippy::too_many_arguments, reason = "it is all that a pipeline consists of")]
    pub fn start(
        registry: Registry,
        host: &StageHost,
        base: Arc<Plan>,
        running: Arc<Plan>,
        known: &[StoredVersion],
        subject: Subject,
        nudge: Nudge,
        (heard, hears): (Sender<Heard>, Receiver<Heard>),
    ) -> Result<(Self, Swaps)> {
        let (successors, ready) = crossbeam::bounded(1);
        let (retired, gone) = crossbeam::unbounded();
        registry.watch(&running.name, heard.clone());
        let worker = Worker {
            registry,
            host: host.clone(),
            versions: versions_of(&running),
            steps: steps_of(&running, known),
            known: known.to_vec(),
            base,
            running,
            subject,
            successors,
            gone,
            nudge: nudge.clone(),
            wanted: BTreeMap::new(),
            wanted_shadows: BTreeMap::new(),
            shadows: BTreeMap::new(),
            refused_shadows: BTreeMap::new(),
            in_flight: None,
            waits: None,
            retry_at: None,
            told: None,
            outbox: None,
            counted: (0, Instant::now()),
            events_per_s: 0,
        };
        let thread = std::thread::Builder::new()
            .name("weir-rollout".to_owned())
            .spawn(move || worker.run(&hears))
            .environment(|| "cannot start a thread".to_owned())?;
        let swaps = Swaps {
            successors: ready,
            retired,
            nudge,
            patience: Duration::ZERO,
        };
        Ok((Self { heard, thread }, swaps))
    }

    /// Ends it, after the pipeline.
    pub fn finish(self) {
        let _ = self.heard.send(Heard::End);
        let _ = self.thread.join();
    }
}

struct Worker {
    registry: Registry,
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
    gone: crossbeam::Receiver<Retired>,
    nudge: Nudge,
    /// What is wanted and not yet on its way, by step.
    wanted: BTreeMap<String, Deployment>,
    /// The candidates that are wanted beside steps, or that are to end, and are not yet on their way.
    wanted_shadows: BTreeMap<String, Option<Deployment>>,
    /// The candidates that run, by step.
    shadows: BTreeMap<String, Shadow>,
    /// Those that do not fit, by step, and why.
    refused_shadows: BTreeMap<String, ShadowReport>,
    /// What was sent and is not yet committed.
    in_flight: Option<InFlight>,
    /// What it was last said that a deployment waits for.
    waits: Option<String>,
    retry_at: Option<Instant>,
    told: Option<Instant>,
    /// Opened when it is first looked at.
    outbox: Option<Outbox>,
    /// How many deliveries were committed at an instant, from which on the speed is measured.
    counted: (u64, Instant),
    events_per_s: u64,
}

/// A version or a candidate on its way.
struct InFlight {
    step: String,
    /// Absent for a candidate: the version of the step stays.
    version: Option<u64>,
    plan: Arc<Plan>,
}

impl Worker {
    fn run(mut self, hears: &Receiver<Heard>) {
        loop {
            self.gone.try_iter().for_each(drop);
            self.roll_out();
            if self.told.is_none_or(|told| told.elapsed() >= HEARTBEAT) {
                self.tell();
            }
            match hears.recv_timeout(self.wait()) {
                Ok(Heard::Wanted(wanted)) => self.want(wanted),
                Ok(Heard::Committed(committed)) => self.committed(committed),
                Ok(Heard::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        self.registry.remove_host(&self.running.name, &self.subject.host);
    }

    fn wait(&self) -> Duration {
        let since_told = self.told.map_or(HEARTBEAT, |told| told.elapsed());
        let until_told = HEARTBEAT.saturating_sub(since_told);
        let until_retry = self.retry_at.map(|at| at.saturating_duration_since(Instant::now()));
        until_retry.map_or(until_told, |until| until.min(until_told))
    }

    fn want(&mut self, wanted: Wanted) {
        match wanted {
            Wanted::Live(step, deployment) => {
                let Some(status) = self.steps.iter().find(|status| status.step == step) else {
                    say!(
                        Warning,
                        "weir: pipeline {} has no stage \"{step}\", for which version {} is deployed",
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
                if failed || in_force == deployment.version {
                    return;
                }
                if in_force > deployment.version {
                    let error = Error::mismatch(format!(
                        "version {in_force} is in force, and numbers only grow: the registry has forgotten some; deploy \
                         again"
                    ));
                    return self.refuse(&step, deployment.version, &error);
                }
                self.wanted.insert(step, deployment);
                self.retry_at = None;
            }
            Wanted::Shadow(step, candidate) => {
                self.wanted_shadows.insert(step, candidate);
                self.retry_at = None;
            }
        }
    }

    /// Sends the next deployment that is wanted on its way, when none is.
    fn roll_out(&mut self) {
        if self.in_flight.is_some() || self.retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.retry_at = None;
        if let Some((step, candidate)) = self.wanted_shadows.pop_first() {
            return self.roll_out_shadow(step, candidate);
        }
        let Some((step, deployment)) = self.wanted.pop_first() else {
            return;
        };
        match self.prepare(&step, &deployment) {
            Ok((successor, plan)) => {
                let version = Some(deployment.version);
                self.send(successor, InFlight { step, version, plan });
            }
            Err(error) if error.kind() == ErrorKind::Environment => {
                let waits = format!(
                    "version {} of step {step} of pipeline {} waits: {error}",
                    deployment.version, self.running.name
                );
                self.say_waits(waits);
                self.wanted.entry(step).or_insert(deployment);
            }
            Err(error) => self.refuse(&step, deployment.version, &error),
        }
    }

    fn send(&mut self, successor: Successor, in_flight: InFlight) {
        if self.successors.send(Box::new(successor)).is_ok() {
            self.in_flight = Some(in_flight);
            self.nudge.set();
        }
    }

    /// Says what is waited for. It is tried again and again, and said once.
    fn say_waits(&mut self, waits: String) {
        if self.waits.as_ref() != Some(&waits) {
            say!(Warning, "weir: {waits}");
            self.waits = Some(waits);
        }
        self.retry_at = Some(Instant::now() + RETRY);
    }

    fn roll_out_shadow(&mut self, step: String, candidate: Option<Deployment>) {
        match self.prepare_shadow(&step, candidate.as_ref()) {
            Ok(None) => {}
            Ok(Some((successor, plan))) => {
                let version = None;
                self.send(successor, InFlight { step, version, plan });
            }
            Err(error) if error.kind() == ErrorKind::Environment => {
                let name = &self.running.name;
                self.say_waits(format!(
                    "the candidate for step {step} of pipeline {name} waits: {error}"
                ));
                self.wanted_shadows.entry(step).or_insert(candidate);
            }
            Err(error) => {
                say!(
                    Warning,
                    "weir: the candidate for step {step} of pipeline {} is refused: {error}",
                    self.running.name
                );
                let report = ShadowReport {
                    candidate: candidate.unwrap_or_default(),
                    refused: Some(error.to_string()),
                    ..Default::default()
                };
                self.refused_shadows.insert(step, report);
                self.tell();
            }
        }
    }

    /// The plan with a candidate beside a step, or without; nothing where that changes nothing.
    fn prepare_shadow(&mut self, step: &str, candidate: Option<&Deployment>) -> Result<Option<(Successor, Arc<Plan>)>> {
        self.refused_shadows.remove(step);
        let running = self.shadows.get(step).map(|shadow| shadow.report().candidate);
        if running.as_ref() == candidate {
            return Ok(None);
        }
        let shadow = match candidate {
            None => None,
            Some(deployment) => Some(self.version_of(step, deployment)?),
        };
        let mut versions = self.versions.clone();
        versions.entry(step.to_owned()).or_default().shadow = shadow;
        let plan = Arc::new(self.base.again(&self.host, &versions)?);
        let mut successor = Successor::prepare(&self.running, plan.clone(), &self.host, BATCH_EVENTS_MAX)?;
        let feed = match candidate {
            None => {
                self.shadows.remove(step);
                None
            }
            Some(_) => {
                let (shadow, feed) = Shadow::start(&plan, step, &self.host)?;
                self.shadows.insert(step.to_owned(), shadow);
                Some(feed)
            }
        };
        successor.shadows.push((step.to_owned(), feed));
        self.versions = versions;
        Ok(Some((successor, plan)))
    }

    fn version_of(&self, step: &str, deployment: &Deployment) -> Result<StageVersion> {
        match &deployment.digest {
            None => of_file_version(&self.base, step, deployment),
            Some(digest) => Ok(StageVersion {
                module: self.host.load_deployed(digest, &self.registry.module(digest)?)?,
                deployment: deployment.clone(),
            }),
        }
    }

    fn prepare(&mut self, step: &str, deployment: &Deployment) -> Result<(Successor, Arc<Plan>)> {
        let live = self.version_of(step, deployment)?;
        if let Some(taken_back) = taken_back(&self.known, step, &live).filter(|_| !deployment.again) {
            return Err(Error::definition(format!(
                "{}; deploy another, or the same with --again",
                why(taken_back)
            )));
        }
        let mut versions = self.versions.clone();
        let of_step = versions.entry(step.to_owned()).or_default();
        // Of a version that is still on trial it is not known whether it is good.
        let good = of_step.fallback.take().or(of_step.live.take());
        of_step.fallback = good;
        of_step.live = Some(live);
        let plan = Arc::new(self.base.again(&self.host, &versions)?);
        let successor = Successor::prepare(&self.running, plan.clone(), &self.host, BATCH_EVENTS_MAX)?;
        self.versions = versions;
        Ok((successor, plan))
    }

    fn refuse(&mut self, step: &str, version: u64, error: &Error) {
        say!(
            Warning,
            "weir: version {version} of step {step} of pipeline {} is refused: {error}",
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
        self.tell();
    }

    fn committed(&mut self, committed: Committed) {
        let pause_us = committed.pauses.last().map(|pause| pause.as_micros() as u64);
        for change in committed.changes {
            self.remember(&change);
            match change {
                VersionChange::InForce(in_force) => self.in_force(&in_force, pause_us),
                VersionChange::Trial(trial) => {
                    let step = trial.step.clone();
                    let Some(status) = self.steps.iter_mut().find(|status| status.step == step) else {
                        continue;
                    };
                    status.trial_left = trial.left;
                    status.spoiled = trial.spoiled.len() as u64;
                    let version = status.deployment.version;
                    if let Some(reason) = trial.taken_back {
                        let sequence = trial.spoiled.last().map_or(0, |last| last + 1);
                        say!(
                            Warning,
                            "weir: version {version} of step {step} of pipeline {} is taken back from sequence {sequence} on: {}",
                            self.running.name,
                            printable(&reason)
                        );
                        status.failed = Some(FailedVersion {
                            version,
                            taken_back: true,
                            sequence,
                            reason: reason.clone(),
                            digest: status.digest.clone(),
                            parameters: status.deployment.parameters.clone(),
                        });
                        self.announce("taken-back", &step, version, sequence, Some(&reason));
                    } else if trial.left == 0
                        && let Some(of_step) = self.versions.get_mut(&step)
                        && of_step
                            .live
                            .as_ref()
                            .is_some_and(|live| live.deployment.version == version)
                    {
                        // It passed. (Where the next one is on its way already, what that falls back on stays.)
                        of_step.fallback = None;
                    }
                }
            }
        }
        if !committed.pauses.is_empty() {
            self.arrived();
        }
        self.tell();
    }

    /// Keeps what the database knows by now.
    fn remember(&mut self, change: &VersionChange) {
        match change {
            VersionChange::InForce(in_force) => {
                let same = |known: &StoredVersion| {
                    known.step == in_force.step && known.first_sequence == in_force.first_sequence
                };
                self.known.retain(|known| !same(known));
                self.known.push(StoredVersion::of(in_force));
            }
            VersionChange::Trial(trial) => {
                if let Some(last) = self.known.iter_mut().rfind(|known| known.step == trial.step) {
                    last.trial = trial.clone();
                }
            }
        }
    }

    /// What was in flight runs.
    fn arrived(&mut self) {
        if let Some(in_flight) = self.in_flight.take() {
            self.running = in_flight.plan;
        }
    }

    fn in_force(&mut self, in_force: &InForce, pause_us: Option<u64>) {
        let (step, version) = (&in_force.step, in_force.deployment.version);
        let in_flight = self.in_flight.as_ref().filter(|in_flight| in_flight.step == *step);
        let on_its_way = in_flight.and_then(|in_flight| in_flight.version);
        let overtaken = on_its_way.is_some_and(|on_its_way| on_its_way != version);
        if on_its_way == Some(version) {
            self.arrived();
        }
        // What is in force after a version was taken back is what it fell back on. Where the next version is on its way
        // already, that stays the one that will run.
        if !overtaken
            && let Some(of_step) = self.versions.get_mut(step)
            && of_step
                .live
                .as_ref()
                .is_some_and(|live| live.deployment != in_force.deployment)
            && of_step
                .fallback
                .as_ref()
                .is_some_and(|good| good.deployment == in_force.deployment)
        {
            of_step.live = of_step.fallback.take();
        }
        let guest = self.versions.get(step).and_then(|of_step| of_step.live.as_ref());
        let rule = guest.map(|guest| {
            let description = &guest.module.description;
            format!("{} {}", description.name, description.version)
        });
        if let Some(status) = self.steps.iter_mut().find(|status| status.step == *step) {
            *status = StepStatus {
                step: step.clone(),
                deployment: in_force.deployment.clone(),
                digest: in_force.module.0.clone(),
                rule: rule.unwrap_or_default(),
                first_sequence: in_force.first_sequence,
                trial_left: in_force.trial_left,
                spoiled: 0,
                pause_us,
                failed: status.failed.take(),
                shadow: None,
            };
        }
        let known = self.known.iter().filter(|known| known.step == *step).count();
        if version == 0 && known > 1 && self.taken_back_at(in_force).is_none() {
            let on_trial = match in_force.trial_left {
                0 => String::new(),
                left => format!(", on trial for {left} rows"),
            };
            say!(
                Info,
                "weir: step {step} of pipeline {} runs what its file says by now, module {}, from sequence {}{on_trial}",
                self.running.name,
                in_force.module.0.get(..12).unwrap_or_default(),
                in_force.first_sequence
            );
        }
        if version > 0 {
            say!(
                Info,
                "weir: version {version} of step {step} of pipeline {} is in force from sequence {}",
                self.running.name,
                in_force.first_sequence
            );
        }
        self.announce("in-force", step, version, in_force.first_sequence, None);
    }

    /// The version that was taken back where this one is in force from.
    fn taken_back_at(&self, in_force: &InForce) -> Option<&StoredVersion> {
        let before = self
            .known
            .iter()
            .filter(|known| known.step == in_force.step)
            .rev()
            .nth(1);
        before.filter(|before| before.trial.taken_back.is_some())
    }

    fn announce(&self, what: &str, step: &str, version: u64, sequence: u64, reason: Option<&str>) {
        let event = Event {
            what,
            pipeline: &self.running.name,
            step,
            version,
            host: &self.subject.host,
            sequence,
            reason,
        };
        self.registry.announce(&self.running.name, step, &event);
    }

    fn with_shadow(&self, step: &StepStatus) -> StepStatus {
        let running = self.shadows.get(&step.step).map(Shadow::report);
        StepStatus {
            shadow: running.or_else(|| self.refused_shadows.get(&step.step).cloned()),
            ..step.clone()
        }
    }

    /// How many messages wait in the outbox.
    fn waiting(&mut self) -> Option<u64> {
        if !self.running.publishes() {
            return None;
        }
        if self.outbox.is_none() {
            self.outbox = Outbox::open(&self.subject.file, &self.running.name).ok();
        }
        self.outbox.as_ref()?.waiting().ok()
    }

    /// How many deliveries were committed in a second since the last call.
    fn events_per_s(&mut self) -> u64 {
        let events = self.subject.progress.events.load(Ordering::Relaxed);
        let (before, since) = std::mem::replace(&mut self.counted, (events, Instant::now()));
        let seconds = since.elapsed().as_secs_f64().max(1e-3);
        (events.saturating_sub(before) as f64 / seconds) as u64
    }

    fn tell(&mut self) {
        let outbox = self.waiting();
        // Two changes soon after each other say nothing about the speed.
        if self.counted.1.elapsed() >= RATE_SPAN_MIN {
            self.events_per_s = self.events_per_s();
        }
        let progress = &self.subject.progress;
        let last_turn = progress.last_turn();
        let waiting = self.subject.lag.waiting(progress.events.load(Ordering::Relaxed));
        let shown = |time: Option<jiff::Timestamp>| time.map(|time| format!("{time:.0}"));
        let status = HostStatus {
            pipeline: self.running.name.clone(),
            host: self.subject.host.clone(),
            process: format!("{} {}", machine(), std::process::id()),
            database: self.subject.database.clone(),
            position: progress.position.load(Ordering::Relaxed),
            lag: waiting.messages,
            lag_unknown_since: shown(waiting.unknown_since),
            paused_until: shown(waiting.paused_until),
            counts: progress.counts().into(),
            failed_rows: progress.failed_rows.load(Ordering::Relaxed),
            events_per_s: self.events_per_s,
            watermark_ms: last_turn.watermark_ms,
            late_rows: last_turn.late_rows,
            outbox,
            said_ms: jiff::Timestamp::now().as_millisecond(),
            commit_age_ms: last_turn
                .committed
                .map(|committed| committed.elapsed().as_millis() as u64),
            steps: self.steps.iter().map(|step| self.with_shadow(step)).collect(),
        };
        self.registry.put_host(&self.running.name, &self.subject.host, &status);
        self.told = Some(Instant::now());
    }
}

/// The name of this machine.
pub(crate) fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
    name.map_or_else(|_| "?".to_owned(), |name| name.trim().to_owned())
}
