//! Live pipelines: stream, engine, database and publisher put together, each pipeline on threads of its own.

use crate::{
    engine::Engine,
    error::{Context, Error, Result},
    format::Decoder,
    limits::{BATCH_EVENTS_MAX, SMALL_PAGES_MESSAGES_MAX},
    metrics::Metrics,
    model::{delivery::Receipt, deployment::Committed},
    nats::{
        Beginning, Consumer, Gap, JetStreamSource, JetStreamSourceOptions, Nats, Publisher, PublisherReport, Registry,
        Until, first_published, patiently,
    },
    plan::Plan,
    runtime::{
        pipeline::{self, Swaps},
        rollout::{self, Deployments, Prepared, Rollout, RolloutEvent, Subject},
    },
    source::{Acknowledge, Lag, Stop, Waiting},
    storage::{Backend, Messages, Storage},
    wasm::StageHost,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        mpsc::{Sender, SyncSender},
    },
    thread::JoinHandle,
    time::Duration,
};

/// How long a pipeline that stopped because a module failed too often waits at its next start for another one, that may
/// have been deployed meanwhile.
const STOPPED_PATIENCE: Duration = Duration::from_secs(5);

/// How to run.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// End when everything that is stored now is committed.
    pub until_caught_up: bool,
    /// What to do about messages that were removed before they were processed.
    pub gap: Gap,
    /// Let what the pipeline file names be tried although this database took it back.
    pub again: bool,
    /// From which event on messages are published, where the database is new.
    pub beginning: Beginning,
    /// Where deployments come from; where it cannot be opened, what the pipeline file and the database say runs until it can.
    pub registry: Option<Registry>,
    /// How many replicas the buckets of the registry are to have where they are missing.
    pub registry_replicas: usize,
}

/// A pipeline that could be opened, and has not begun.
pub struct Ready {
    nats: Nats,
    backend: Arc<dyn Backend>,
    stop: Stop,
    plan: Arc<Plan>,
    storage: Box<dyn Storage>,
    engine: Engine,
    rollout: Prepared,
    source: JetStreamSource,
    consumer: String,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready")
            .field("plan", &self.plan.name)
            .finish_non_exhaustive()
    }
}

/// A pipeline that runs.
#[derive(Debug)]
pub struct Live {
    /// Its plan.
    pub plan: Arc<Plan>,
    /// Its database.
    pub database: Arc<dyn Backend>,
    /// How far it is.
    pub metrics: Arc<Metrics>,
    /// The consumer's name.
    pub consumer: String,
    /// For subjects the event from which on messages are published, where it is still to come.
    pub first: BTreeMap<String, u64>,
    lag: Arc<Lag>,
    thread: JoinHandle<Result<PublisherReport>>,
}

impl Ready {
    /// Opens everything: the database has its tables then, and the stream its consumer. No event is taken in, and no
    /// message is published.
    ///
    /// # Errors
    /// When the stream is missing, does not belong to the database, or anything of it cannot be opened. Nothing runs
    /// then.
    pub fn open(
        nats: &Nats,
        host: &StageHost,
        plan: Arc<Plan>,
        backend: &Arc<dyn Backend>,
        options: LiveOptions,
        stop: &Stop,
    ) -> Result<Self> {
        let host = &host.for_pipeline(plan.guest_counts())?;
        let recovered = backend.recover()?;
        let held = backend.inspect();
        let mut known = held.versions(&plan.name)?;
        let base = plan;
        let rollout::Start {
            plan,
            successors,
            taken_back,
        } = rollout::begin_of_database(&base, host, &*held, &known, options.again)?;
        let plan = Arc::new(plan);
        if backend.is_empty()? {
            let subjects = plan.subjects();
            let stored = patiently(stop, || JetStreamSource::stored(nats, &plan.stream, &subjects))?;
            if stored <= SMALL_PAGES_MESSAGES_MAX {
                backend.make_small()?;
            }
        }
        let mut storage = backend.open(plan.clone(), Messages::Outbox)?;
        drop(recovered);
        let (reads, published) = (
            plan.subjects(),
            plan.published_subjects().into_iter().map(str::to_owned),
        );
        let published: Vec<String> = published.collect();
        let identity = patiently(stop, || {
            JetStreamSource::check_subjects(nats, &plan.stream, &reads, &published)?;
            JetStreamSource::identity(nats, &plan.stream, &reads)
        })?;
        if plan.publishes() && !storage.is_settled() {
            let beginning = options.beginning;
            let first = patiently(stop, || first_published(nats, &plan, beginning, &backend.location()))?;
            storage.settle(&first)?;
        }
        storage.claim(&identity)?;
        let stored = storage.stored().clone();
        let mut engine = Engine::new(plan.clone(), host, stored.seed)?;
        storage.load(&mut engine)?;
        for (step, reason) in taken_back {
            if let Some(last) = known.iter_mut().rfind(|known| known.step == step) {
                last.trial.taken_back = Some(reason);
                last.trial.ended = Some(stored.position + 1);
                engine.take_back(last.trial.clone());
            }
        }
        engine.begin(stored.position, &known)?;
        let metrics = engine.metrics().clone();
        metrics.pipeline.position.set(stored.position);
        let deployments = Deployments {
            nats: nats.clone(),
            registry: options.registry,
            replicas: options.registry_replicas,
        };
        let subject = Subject {
            host: format!("{:08x}", stored.seed as u32),
            database: backend.location().to_string(),
            backend: backend.clone(),
            metrics: metrics.clone(),
            lag: Arc::default(),
        };
        let mut rollout = Prepared::new(deployments, host, base, plan, &known, subject);
        rollout.follow_file(&mut engine, successors)?;
        let plan = rollout.hear_out(&mut engine)?;
        rollout::check_refused(&engine, &plan.name)?;

        // Another database of this pipeline has a consumer of its own. (A copy of the file shares it with the original;
        // both stay right, and disturb each other.)
        let consumer = format!("weir-{}-{:08x}", plan.name, stored.seed as u32);
        let source_options = JetStreamSourceOptions {
            stream: plan.stream.clone(),
            subjects: plan.subjects(),
            consumer: Consumer::Durable(consumer.clone()),
            position: stored.position,
            scanned: stored.scanned,
            latest_only: plan.latest_only,
            tombstones: plan.tombstones.clone(),
            gap: options.gap,
            until: match options.until_caught_up {
                true => Until::CaughtUp,
                false => Until::Stopped,
            },
            has_ticks: plan.ticks.is_some(),
            ticks: plan.ticks.clone().filter(|_| !options.until_caught_up),
        };
        let source = patiently(stop, || {
            let decoder = Decoder::of(&plan, BATCH_EVENTS_MAX)?;
            JetStreamSource::open(nats, source_options.clone(), decoder, stop.clone())
        })?;
        Ok(Self {
            nats: nats.clone(),
            backend: backend.clone(),
            stop: stop.clone(),
            plan,
            storage,
            engine,
            rollout,
            source,
            consumer,
            metrics,
        })
    }

    /// Starts its threads.
    ///
    /// # Errors
    /// When they cannot be started, or the outbox cannot be opened.
    pub fn start(self) -> Result<Live> {
        let Self {
            nats,
            backend,
            stop,
            plan,
            storage,
            engine,
            rollout,
            source,
            consumer,
            metrics,
        } = self;
        let position = storage.stored().position;
        let publisher = match plan.publishes() {
            true => Some(Publisher::start(
                &nats,
                backend.outbox(&plan.name)?,
                plan.clone(),
                stop.clone(),
            )?),
            false => None,
        };
        let subjects = plan.published_subjects().into_iter();
        let first = subjects.map(|subject| (subject.to_owned(), storage.first_published(subject)));
        let first = first.filter(|(_, first)| *first > position + 1).collect();
        let lag = source.lag();
        let (sender, events) = Rollout::channel();
        let acknowledge = AfterCommit {
            pipeline: plan.name.clone(),
            source: Box::new(source.acknowledge()),
            publisher: publisher.as_ref().map(Publisher::waker),
            versions: sender.clone(),
        };
        let (rollout, swaps) = rollout.start(lag.clone(), source.wake(), (sender, events))?;
        let patience = match storage.is_stopped()? {
            true => STOPPED_PATIENCE,
            false => Duration::ZERO,
        };
        let swaps = Swaps { patience, ..swaps };

        let name = plan.name.clone();
        let thread = std::thread::Builder::new()
            .name(format!("weir-{name}"))
            .spawn(move || {
                let outcome = pipeline::run(source, engine, storage, acknowledge, swaps);
                rollout.finish();
                let report = publisher.map_or(Ok(PublisherReport::default()), Publisher::finish);
                // The acks of the last turn are on their way; a server that is gone does not need them.
                let _ = nats.flush();
                outcome.map_err(|error| error.context(format!("pipeline {name}")))?;
                report
            })
            .environment(|| "cannot start a thread".to_owned())?;
        Ok(Live {
            plan,
            database: backend,
            metrics,
            consumer,
            first,
            lag,
            thread,
        })
    }
}

impl Live {
    /// How many messages of the stream are not committed.
    pub fn lag(&self) -> Waiting {
        self.lag.waiting(self.metrics.events())
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// What ended it, other than its source or [`Stop`].
    pub fn finish(self) -> Result<PublisherReport> {
        self.thread
            .join()
            .map_err(|_| Error::environment("a pipeline panicked; this is a defect of weir"))?
    }
}

/// What happens after a commit: the source is told, and the publisher woken.
struct AfterCommit {
    pipeline: String,
    source: Box<dyn Acknowledge>,
    publisher: Option<SyncSender<()>>,
    versions: Sender<RolloutEvent>,
}

impl Acknowledge for AfterCommit {
    fn committed(&mut self, position: u64, receipt: &Receipt) {
        tracing::debug!(
            pipeline = self.pipeline,
            position,
            "{}: committed up to sequence {position}",
            self.pipeline
        );
        self.source.committed(position, receipt);
        if let Some(publisher) = &self.publisher {
            // One wake-up that waits is enough.
            let _ = publisher.try_send(());
        }
    }

    fn versions_committed(&mut self, committed: Committed) {
        let _ = self.versions.send(RolloutEvent::Committed(committed));
    }
}
