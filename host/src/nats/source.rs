//! The JetStream source: a durable pull consumer, whose place is the database's position and not its own.
//!
//! - The consumer starts at the position. One that is anywhere else (a database restored from a backup, a process that
//!   died with deliveries in hand), or that somebody changed, is made anew there.
//! - A delivery at or below the last one that was seen is dropped, always: it came twice.
//! - A delivery that is missing (the client dropped it under load) shows as a gap in the consumer's own count; the
//!   consumer is made anew after the last delivery that was seen.
//! - Messages that may have been removed from the stream before they were read end it, see [`crate::source::Scan`]. A
//!   batch with jumps over sequences is held until the server has said what became of those; what comes meanwhile is
//!   decoded already.
//! - The server may go away and come back: the source waits, says so once, and goes on. It stops only where going on
//!   would lose something: the stream was made anew, or messages were removed.
//!
//! A replay reads in the same way, with a consumer that nobody else knows and that goes with it, up to a message that was
//! stored when it began.

mod acknowledge;
mod consumer;
mod gap;
mod lookup;
mod message;
mod options;
mod server;
mod stream;
mod watch;

use super::{Nats, subjects, tick::Ticker};
use crate::{
    error::{Error, Result},
    format::Decoder,
    model::delivery::{DecodedBatch, Receipt, Scanned},
    source::{Cursor, Lag, Scan, Source, Stop, Wake},
};
use async_nats::{
    Subject,
    jetstream::{Message, consumer::pull},
};
pub use options::{Consumer, Gap, JetStreamSourceOptions, Until};

pub(super) use lookup::{first_at, get_stream, identity_of, last_sequence, stored_at};

use acknowledge::{JetStreamAcknowledge, Removal};
use consumer::{Pull, Settings, pull_from};
use futures_util::{FutureExt, StreamExt};
use gap::{Gaps, Held};
use lookup::made_at;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use watch::Watch;

/// How long a batch that is not full waits for more, so that a fast stream does not come in crumbs.
const LINGER: Duration = Duration::from_millis(1);

/// How often a source that hears nothing looks whether it is to stop, or to let a swap through.
const IDLE_LOOK: Duration = Duration::from_millis(20);

/// A source that has not looked for so long, because its process was stopped or what comes after it was slow, may have
/// had no pull at the server meanwhile: a pull expires every half minute, and the next one is sent when it looks. A busy
/// machine makes it wait for a tenth of a second every now and then.
const STALL: Duration = Duration::from_millis(500);

/// How often it is stored how far the stream was looked at, while nothing else is.
const SCAN_STORED_EVERY: Duration = Duration::from_secs(5);

/// How often the server is asked whether nothing waits, until that is so: at first, and at most.
const QUESTION_PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(2));

/// How long the first message that nothing waits behind is held back until it is known that the source keeps up, and how
/// often that is looked for.
const SETTLE_MAX: Duration = Duration::from_secs(1);
const SETTLE_LOOK: Duration = Duration::from_millis(1);

/// A JetStream stream.
pub struct JetStreamSource {
    nats: Nats,
    options: JetStreamSourceOptions,
    created: String,
    decoder: Decoder,
    messages: pull::Stream,
    cursor: Cursor,
    scan: Scan,
    gaps: Gaps,
    /// A batch that waits for what the server says of the sequences that it jumps over.
    held: Option<Held>,
    /// What ends the source once everything before it was given.
    failed: Option<Error>,
    /// How far it was looked at as it was given last, and when.
    given: (u64, Instant),
    settings: Settings,
    watch: Watch,
    /// What is found in answer to this question says whether the source keeps up.
    question: u64,
    /// No message that nothing waits behind has come over the pull yet.
    is_unsettled: bool,
    next_question: (Instant, Duration),
    /// When the server may be asked again for its word that nothing is missing.
    next_proof: Instant,
    /// When it last looked for messages.
    looked: Instant,
    /// How often the client had connected when the pull was made.
    connects: u64,
    /// The subject of the last message.
    subject: String,
    /// Where an ack for the last message goes.
    ack_subject: Option<Subject>,
    /// How many messages waited behind the last one.
    pending: u64,
    /// It was said that a message without a payload cannot be looked up.
    said_unseen: bool,
    /// How many messages the consumer has given, and how many of them have come, where some have not; and since when.
    missing: Option<(u64, u64, std::time::Instant)>,
    /// The last sequence that is to be given; absent without an end.
    target: Option<u64>,
    /// What nothing waits up to once that is given.
    caught_up_through: u64,
    /// Nothing waits, so what is not there of what was to be given was removed.
    is_drained: bool,
    ticker: Option<Ticker>,
    lag: Arc<Lag>,
    stop: Stop,
    wake: Wake,
    /// After the pull, so that it is dropped last.
    _removal: Option<Removal>,
}

impl std::fmt::Debug for JetStreamSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JetStreamSource")
            .field("options", &self.options)
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}

/// What came in.
enum Arrival {
    Message(Box<Message>),
    Nothing,
    /// The pull failed, for this reason.
    Broken(String),
}

/// What waiting for a message came to.
enum Waited {
    /// There is one.
    Message,
    /// There is something to give without one.
    Batch(Box<DecodedBatch>),
    /// The source has ended.
    End,
}

impl JetStreamSource {
    /// The name under which a database knows its source: a stream that was made anew is another one, and another subject
    /// would have other messages before the position.
    ///
    /// # Errors
    /// When there is no such stream, or the server does not answer.
    pub fn identity(nats: &Nats, stream: &str, subjects: &[String]) -> Result<String> {
        let found = nats.runtime.block_on(get_stream(nats, stream, subjects))?;
        Ok(identity_of(&found, subjects))
    }

    /// How many messages the stream holds.
    ///
    /// # Errors
    /// When there is no such stream, or the server does not answer.
    pub fn stored(nats: &Nats, stream: &str, subjects: &[String]) -> Result<u64> {
        let found = nats.runtime.block_on(get_stream(nats, stream, subjects))?;
        Ok(found.cached_info().state.messages)
    }

    /// Checks that the stream can hold what is read, and that nothing that is published comes back under such a subject.
    ///
    /// # Errors
    /// With the subject that does not fit; also when there is no such stream, or the server does not answer.
    pub fn check_subjects(nats: &Nats, stream: &str, reads: &[String], published: &[String]) -> Result<()> {
        nats.runtime.block_on(async {
            let found = get_stream(nats, stream, reads).await?;
            let config = &found.cached_info().config;
            subjects::check_not_stored(config, reads, published)?;
            if subjects::check_can_match(config, reads, |_| false).is_ok() {
                return Ok(());
            }
            // From when the stream had other subjects, there may be messages all the same.
            let mut stored = Vec::new();
            for subject in reads {
                if last_sequence(nats, &found, std::slice::from_ref(subject)).await? > 0 {
                    stored.push(subject.as_str());
                }
            }
            subjects::check_can_match(config, reads, |read| stored.contains(&read))
        })
    }

    /// Opens the stream at the position.
    ///
    /// # Errors
    /// When there is no such stream, messages after the position are gone, or the server does not answer.
    pub fn open(nats: &Nats, options: JetStreamSourceOptions, decoder: Decoder, stop: Stop) -> Result<Self> {
        let runtime = nats.runtime.clone();
        // It waits for the server when it is dropped, so it is made and dropped out here.
        let removal = match &options.consumer {
            Consumer::Ephemeral(name) => Some(Removal {
                nats: nats.clone(),
                stream: options.stream.clone(),
                consumer: name.clone(),
            }),
            Consumer::Durable(_) => None,
        };
        let lag = Arc::<Lag>::default();
        let source = runtime.block_on(async {
            let stream = get_stream(nats, &options.stream, &options.subjects).await?;
            let (gaps, scan) = Gaps::begin(nats, &options).await?;
            let caught_up_through = match options.until {
                Until::CaughtUp => gaps.begun_at(),
                Until::Stopped | Until::Sequence(_) => 0,
            };
            let target = match options.until {
                Until::Stopped => None,
                Until::CaughtUp => Some(last_sequence(nats, &stream, &options.subjects).await?),
                Until::Sequence(last) => Some(last),
            };
            let connects = connects(nats);
            let Pull {
                messages,
                delivered,
                settings,
            } = pull_from(nats, &stream, &options, options.position, &lag).await?;
            let watch = Watch::start(nats, stream.clone(), options.consumer.name(), lag.clone());
            Ok(Self {
                nats: nats.clone(),
                created: made_at(&stream),
                decoder,
                messages,
                cursor: Cursor::new(options.position, delivered),
                scan,
                gaps,
                held: None,
                failed: None,
                given: (options.scanned.through, Instant::now()),
                settings,
                watch,
                question: u64::MAX,
                is_unsettled: true,
                next_question: (Instant::now(), QUESTION_PAUSES.0),
                next_proof: Instant::now(),
                looked: Instant::now(),
                connects,
                subject: String::new(),
                ack_subject: None,
                pending: 0,
                said_unseen: false,
                missing: None,
                target,
                caught_up_through,
                is_drained: false,
                ticker: options.ticks.clone().map(|plan| Ticker::new(plan, options.position)),
                lag,
                stop,
                wake: Wake::default(),
                options,
                _removal: None,
            })
        })?;
        Ok(Self {
            _removal: removal,
            ..source
        })
    }

    /// How many messages of the stream wait.
    pub fn lag(&self) -> Arc<Lag> {
        self.lag.clone()
    }

    /// Makes it give what it has at once.
    pub fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// Sends the acks for what this source gave.
    pub fn acknowledge(&self) -> JetStreamAcknowledge {
        JetStreamAcknowledge {
            nats: self.nats.clone(),
        }
    }

    fn reached_target(&self) -> bool {
        self.target
            .is_some_and(|target| self.is_drained || self.cursor.last() >= target)
    }

    async fn collect(&mut self) -> Result<Option<DecodedBatch>> {
        let batch = self.next().await?;
        let is_all = self.held.is_none() && self.failed.is_none() && self.decoder.is_empty();
        if self.is_unsettled
            && is_all
            && self.pending == 0
            && batch.as_ref().is_some_and(|batch| batch.last_sequence > 0)
        {
            self.failed = self.settle().await.err();
        }
        Ok(batch)
    }

    /// The last message that waits has come over a new pull. Before it is handed on, and seen, it is made sure that the
    /// source keeps up from here on.
    async fn settle(&mut self) -> Result<()> {
        self.is_unsettled = false;
        self.question = self.watch.ask();
        let deadline = Instant::now() + SETTLE_MAX;
        while Instant::now() < deadline && !self.stop.is_set() {
            match self.watch.take() {
                Some(found) if found.question >= self.question => return self.hear(found).await,
                _ => sleep(SETTLE_LOOK).await,
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<DecodedBatch>> {
        if self.held.is_none() {
            if self.decoder.is_empty() {
                if let Some(error) = self.failed.take() {
                    return Err(error);
                }
                match self.wait().await? {
                    Waited::Message => {}
                    Waited::Batch(batch) => return Ok(Some(*batch)),
                    Waited::End => return Ok(None),
                }
            }
            self.fill().await;
            if self.pending == 0 {
                self.ask_for_proof(Instant::now());
            }
            let batch = self.take_batch();
            match self.scan.take_jump().filter(|_| !self.options.latest_only) {
                None => return Ok(Some(batch)),
                Some(after) => self.held = Some(self.gaps.hold(&self.nats, &self.options, batch, after)),
            }
        }
        self.release().await
    }

    /// Waits for the first message of a batch.
    async fn wait(&mut self) -> Result<Waited> {
        while self.decoder.is_empty() {
            let is_over = self.stop.is_set() || self.reached_target();
            if self.reached_target() {
                // None of the messages that were there when it was looked for the last one is of the subjects and behind it.
                self.scan.looked_through(self.caught_up_through);
            }
            let (given, when) = self.given;
            if self.scan.through() > given && (is_over || when.elapsed() >= SCAN_STORED_EVERY) {
                return Ok(Waited::Batch(Box::new(DecodedBatch {
                    scanned: self.scanned(),
                    ..Default::default()
                })));
            }
            if is_over {
                return Ok(Waited::End);
            }
            if self.wake.take() {
                return Ok(Waited::Batch(Box::default()));
            }
            if let Some(found) = self.watch.take() {
                self.hear(found).await?;
                continue;
            }
            let arrival = self.arrival(IDLE_LOOK).await;
            let now = Instant::now();
            if now.duration_since(self.looked) > STALL {
                self.falls_behind();
            }
            self.looked = now;
            match arrival {
                Arrival::Message(message) => self.take(&message).await?,
                Arrival::Broken(reason) => {
                    if self.cursor.last() <= self.options.position {
                        self.nats.check_may_pull(&self.options.stream)?;
                    }
                    if self.nats.is_connected() && connects(&self.nats) == self.connects {
                        self.scan.idle(now.into_std());
                    }
                    self.reconnect(&reason).await?;
                }
                // What the server sent into a connection that was lost it takes for delivered: when nothing follows that
                // would show the gap, it would come again only after a long time.
                Arrival::Nothing if connects(&self.nats) != self.connects => {
                    self.reconnect("the connection was lost").await?;
                }
                Arrival::Nothing => self.idle(now).await,
            }
        }
        Ok(Waited::Message)
    }

    /// Takes in what comes until the batch is full, or nothing comes for a moment.
    async fn fill(&mut self) {
        let deadline = Instant::now() + LINGER;
        while self.failed.is_none() && !self.decoder.is_full() && !self.reached_target() {
            let next = match self.messages.next().now_or_never() {
                Some(next) => next,
                None => match timeout_at(deadline, self.messages.next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                },
            };
            self.take_next(next).await;
        }
    }

    async fn take_next(&mut self, next: Option<Result<Message, pull::MessagesError>>) {
        let taken = match next {
            Some(Ok(message)) => self.take(&message).await,
            Some(Err(error)) => self.reconnect(&error.to_string()).await,
            None => self.reconnect("the pull ended").await,
        };
        // What was taken in before is given first: it may be nowhere else any more.
        self.failed = taken.err();
    }

    fn take_batch(&mut self) -> DecodedBatch {
        self.lag.came(self.cursor.in_consumer(), self.pending);
        let mut batch = self.decoder.take();
        batch.behind = self.pending > 0;
        batch.scanned = self.scanned();
        batch.receipt = Receipt {
            ack_subject: self.ack_subject.as_ref().map(ToString::to_string),
            content_hash: 0,
        };
        batch
    }

    /// How far the stream was looked at by what is given now.
    fn scanned(&mut self) -> Scanned {
        self.given = (self.scan.through(), Instant::now());
        Scanned {
            through: self.scan.through(),
            accepted: self.gaps.accepted(),
        }
    }

    /// Waits until the server has said what became of the sequences that the held batch jumps over.
    async fn release(&mut self) -> Result<Option<DecodedBatch>> {
        let Some(mut held) = self.held.take() else {
            return Ok(Some(DecodedBatch::default()));
        };
        loop {
            if self.stop.is_set() {
                // It is read again.
                return Ok(None);
            }
            let takes_more = self.failed.is_none() && !self.decoder.is_full() && !self.reached_target();
            tokio::select! {
                biased;
                holds = held.look() => return self.judge(held, holds?).await,
                next = self.messages.next(), if takes_more => self.take_next(next).await,
                () = sleep(IDLE_LOOK) => {}
            }
        }
    }

    async fn arrival(&mut self, wait: Duration) -> Arrival {
        match timeout(wait, self.messages.next()).await {
            Err(_) => Arrival::Nothing,
            Ok(Some(Ok(message))) => Arrival::Message(Box::new(message)),
            Ok(Some(Err(error))) => Arrival::Broken(error.to_string()),
            Ok(None) => Arrival::Broken("the pull ended".to_owned()),
        }
    }
}

impl Source for JetStreamSource {
    fn next_batch(&mut self) -> Result<Option<DecodedBatch>> {
        let runtime = self.nats.runtime.clone();
        // Without the budget of cooperative tasks, which would cut batches short: this thread does nothing else.
        let batch = runtime.block_on(tokio::task::unconstrained(self.collect()))?;
        if let Some(batch) = &batch {
            self.lag
                .handed_on((batch.deliveries.len() + batch.empties.len()) as u64);
        }
        Ok(batch)
    }

    fn replace_decoder(&mut self, decoder: Decoder) {
        self.decoder = decoder;
    }
}

/// How often the client has connected.
fn connects(nats: &Nats) -> u64 {
    nats.client.statistics().connects.load(Ordering::Relaxed)
}
