//! Looks at the consumer every few seconds, beside the data path: how many messages wait, whether somebody paused or
//! changed it, and how far it is.

use super::consumer::Settings;
use crate::{nats::Nats, source::Lag};
use async_nats::{
    connection,
    jetstream::{
        consumer,
        context::ConsumerInfoErrorKind,
        stream::{self, Stream},
    },
};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::Notify, task::JoinHandle, time};

/// How often it looks. With [`LOOK_MAX`], lag that is shown as known is at most five seconds old.
const EVERY: Duration = Duration::from_millis(2500);

/// How long the server may take to answer all that it is asked at one look.
const LOOK_MAX: Duration = Duration::from_millis(2400);

/// How long it may take to let a paused consumer go on.
const RESUME_MAX: Duration = Duration::from_millis(1200);

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// What was asked for last when the question was sent, see [`Watch::ask`].
    pub(super) question: u64,
    /// When it was sent.
    pub(super) asked: Instant,
    /// Nothing where the server did not answer.
    pub(super) consumer: Option<State>,
}

/// A consumer at one moment.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// Messages that it has not delivered.
    pub(super) pending: u64,
    /// Its count of deliveries.
    pub(super) delivered: u64,
    /// Where nothing is pending, a sequence up to which there is none of its subjects.
    pub(super) looked_at: u64,
    /// The stream's first sequence, and how many are missing behind it, after the consumer was looked at.
    pub(super) first: u64,
    pub(super) deleted: u64,
    pub(super) was_paused: bool,
    pub(super) settings: Settings,
}

/// Looks at a consumer until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    question: AtomicU64,
    /// Answers to questions before this one are of a consumer that is no more.
    since: AtomicU64,
    wake: Notify,
    has_found: AtomicBool,
    found: Mutex<Option<Found>>,
}

impl Watch {
    /// Begins to look at the consumer `name`; says how many messages wait by way of `lag`. To be called on the runtime.
    pub(super) fn start(nats: &Nats, stream: Stream, name: &str, lag: Arc<Lag>) -> Self {
        let shared = Arc::new(Shared::default());
        let watcher = Watcher {
            nats: nats.clone(),
            stream,
            name: name.to_owned(),
            lag,
            shared: shared.clone(),
            said_paused: false,
        };
        Self {
            shared,
            task: nats.runtime.spawn(watcher.run()),
        }
    }

    /// Has it look at once; gives the number of the question.
    pub(super) fn ask(&self) -> u64 {
        let question = self.shared.question.fetch_add(1, Ordering::AcqRel) + 1;
        self.shared.wake.notify_one();
        question
    }

    /// The consumer was made anew: what was found of the one before is forgotten.
    pub(super) fn renew(&self) {
        let question = self.ask();
        self.shared.since.store(question, Ordering::Release);
        self.take();
    }

    /// What was found since the last call.
    pub(super) fn take(&self) -> Option<Found> {
        if !self.shared.has_found.swap(false, Ordering::AcqRel) {
            return None;
        }
        let found = self.shared.found.lock().unwrap_or_else(PoisonError::into_inner).take();
        found.filter(|found| found.question >= self.shared.since.load(Ordering::Acquire))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the server says of a consumer.
enum Answer {
    /// And the stream before that, and after.
    Consumer(Box<consumer::Info>, Box<[stream::State; 2]>),
    /// Somebody deleted it, and its reader hears of that.
    NoConsumer,
    Nothing,
}

struct Watcher {
    nats: Nats,
    stream: Stream,
    name: String,
    lag: Arc<Lag>,
    shared: Arc<Shared>,
    said_paused: bool,
}

impl Watcher {
    async fn run(mut self) {
        loop {
            let question = self.shared.question.load(Ordering::Acquire);
            let asked = Instant::now();
            let info = time::timeout(LOOK_MAX, self.look()).await.unwrap_or(Answer::Nothing);
            if question >= self.shared.since.load(Ordering::Acquire) {
                match info {
                    Answer::Consumer(info, stream) => {
                        self.lag.tell(info.delivered.consumer_sequence, info.num_pending);
                        self.resume(&info).await;
                        self.tell(question, asked, Some(State::of(&info, &stream)));
                    }
                    Answer::NoConsumer => {}
                    Answer::Nothing => {
                        self.lag.silent();
                        self.tell(question, asked, None);
                    }
                }
            }
            let _ = time::timeout(EVERY, self.shared.wake.notified()).await;
        }
    }

    async fn look(&self) -> Answer {
        // Without a connection a request would wait for it.
        if self.nats.client.connection_state() != connection::State::Connected {
            return Answer::Nothing;
        }
        // A consumer that nothing of its subjects wakes does not look at what is stored meanwhile. What the stream held
        // before is not pending after, unless it was removed between, which the stream says then.
        let Some(before) = self.state().await else {
            return Answer::Nothing;
        };
        let info = match self.stream.consumer_info(&self.name).await {
            Ok(info) => Box::new(info),
            Err(cause) if cause.kind() == ConsumerInfoErrorKind::NotFound => return Answer::NoConsumer,
            Err(_) => return Answer::Nothing,
        };
        match self.state().await {
            Some(after) => Answer::Consumer(info, Box::new([before, after])),
            None => Answer::Nothing,
        }
    }

    /// What the stream holds; nothing where the server does not say.
    async fn state(&self) -> Option<stream::State> {
        self.stream.get_info().await.ok().map(|info| info.state)
    }

    fn tell(&self, question: u64, asked: Instant, consumer: Option<State>) {
        let found = Some(Found {
            question,
            asked,
            consumer,
        });
        *self.shared.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
        self.shared.has_found.store(true, Ordering::Release);
    }

    /// The consumer is Weir's own: who pauses it holds up a pipeline whose lag grows, and that is undone.
    async fn resume(&mut self, info: &consumer::Info) {
        if !info.paused {
            self.lag.paused(None);
            self.said_paused = false;
            return;
        }
        let left = info.pause_remaining.unwrap_or_default();
        let until = jiff::Timestamp::now().checked_add(left).ok();
        let shown = until.map_or_else(|| "?".to_owned(), |until| format!("{until:.0}"));
        let (name, stream) = (&self.name, &info.stream_name);
        let resumed = time::timeout(RESUME_MAX, self.stream.resume_consumer(name)).await;
        let cause = match resumed {
            Ok(Ok(answer)) if !answer.paused => {
                tracing::warn!(
                    stream,
                    consumer = name,
                    "consumer {name} of stream {stream} was paused by somebody until {shown}; it goes on"
                );
                self.lag.paused(None);
                return;
            }
            Ok(Ok(_)) => "the server says that it stays paused".to_owned(),
            Ok(Err(cause)) => cause.to_string(),
            Err(_) => "the server does not answer".to_owned(),
        };
        self.lag.paused(until);
        if !std::mem::replace(&mut self.said_paused, true) {
            tracing::warn!(
                stream,
                consumer = name,
                "consumer {name} of stream {stream} is paused until {shown}, and cannot be resumed: {cause}; \
                 `nats consumer resume {stream} {name}` does that"
            );
        }
    }
}

impl State {
    fn of(info: &consumer::Info, [before, after]: &[stream::State; 2]) -> Self {
        Self {
            pending: info.num_pending,
            delivered: info.delivered.consumer_sequence,
            looked_at: info.delivered.stream_sequence.max(before.last_sequence),
            first: after.first_sequence,
            deleted: after.deleted_count.unwrap_or_default(),
            was_paused: info.paused,
            settings: Settings::of(&info.config),
        }
    }
}
