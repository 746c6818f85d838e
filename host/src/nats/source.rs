//! The JetStream source: a durable pull consumer, whose place is the database's position and not its own.
//!
//! - The consumer starts at the position. One that is anywhere else (a database restored from a backup, a process that
//!   died with deliveries in hand) is made anew there.
//! - A delivery at or below the last one that was seen is dropped, always: it came twice.
//! - A delivery that is missing (the client dropped it under load) shows as a gap in the consumer's own count; the
//!   consumer is made anew after the last delivery that was seen.
//! - The server may go away and come back: the source waits, says so once, and goes on. It stops only where going on
//!   would lose something: the stream was made anew, or purged past the position.
//!
//! A replay reads in the same way, with a consumer that nobody else knows and that goes with it, up to a message that was
//! stored when it began.

use super::{
    BackOff, Nats, subjects,
    tick::{Ticker, is_tick},
};
use crate::{
    decode::Decoder,
    delivery::{DecodedBatch, Receipt},
    error::{Error, ErrorKind, Result},
    plan::TickPlan,
    say,
    source::{Acknowledge, Cursor, Nudge, Seen, Source, Stop},
    subject::listed,
};
use async_nats::{
    Subject,
    jetstream::{
        self, Message,
        consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
        stream::{LastRawMessageErrorKind, Stream},
    },
};
use futures_util::{FutureExt, StreamExt};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, timeout, timeout_at};

/// Messages in one pull; the next one is sent when half of them have come.
const PULL_MESSAGES: usize = 5000;

/// A pull that nothing is heard of for twice this long is sent again.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long the server keeps a pull that it has no messages for.
const PULL_EXPIRES: Duration = Duration::from_secs(30);

/// After this the server delivers again what was not acknowledged. Longer than any commit takes.
const ACK_WAIT: Duration = Duration::from_secs(120);

/// A consumer that nobody used for this long is removed by the server. The position is the database's, so nothing is
/// lost with it.
const CONSUMER_INACTIVE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// The same for the consumer of a replay, where the replay did not live to remove it. Longer than any commit takes.
const REPLAY_INACTIVE_MAX: Duration = Duration::from_secs(300);

/// How long a batch that is not full waits for more, so that a fast stream does not come in crumbs.
const LINGER: Duration = Duration::from_millis(1);

/// How often a source that hears nothing looks whether it is to stop, or to let a swap through.
const IDLE_LOOK: Duration = Duration::from_millis(20);

const _: () = assert!(
    // Two pulls may be under way at once, and the client drops silently what it has no room for.
    super::connect::SUBSCRIPTION_MESSAGES_MAX >= 3 * PULL_MESSAGES,
    "the subscription has room for all messages under way"
);

/// What to do about messages that were removed from the stream before they were processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Stop with an error.
    Refuse,
    /// Go on after it.
    Accept,
}

/// What to read.
#[derive(Clone, Debug)]
pub struct JetStreamSourceOptions {
    /// The stream.
    pub stream: String,
    /// The subjects within it, which do not overlap.
    pub subjects: Vec<String>,
    /// The consumer to read with.
    pub consumer: Consumer,
    /// The last sequence that the database holds.
    pub position: u64,
    /// What to do about removed messages.
    pub gap: Gap,
    /// Where to end.
    pub until: Until,
    /// What to publish while the stream is silent.
    pub ticks: Option<TickPlan>,
}

/// The consumer to read with, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consumer {
    /// One that stays, and is told of each commit.
    Durable(String),
    /// One that is there for this source alone, and goes with it.
    Ephemeral(String),
}

impl Consumer {
    fn name(&self) -> &str {
        match self {
            Self::Durable(name) | Self::Ephemeral(name) => name,
        }
    }
}

/// Where a source ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When it is asked to.
    Stopped,
    /// When everything that is stored now was given.
    CaughtUp,
    /// After this sequence, which is stored now, or its place.
    Sequence(u64),
}

/// A JetStream stream.
pub struct JetStreamSource {
    nats: Nats,
    options: JetStreamSourceOptions,
    created: String,
    decoder: Decoder,
    messages: pull::Stream,
    cursor: Cursor,
    /// How often the client had connected when the pull was made.
    connects: u64,
    /// Where an ack for the last message goes.
    ack_subject: Option<Subject>,
    /// The last sequence that is to be given; absent without an end.
    target: Option<u64>,
    ticker: Option<Ticker>,
    lag: Arc<AtomicU64>,
    stop: Stop,
    nudge: Nudge,
    /// After the pull, so that it is dropped last.
    _removal: Option<Removal>,
}

/// Removes a consumer when it is dropped.
struct Removal {
    nats: Nats,
    stream: String,
    consumer: String,
}

impl Drop for Removal {
    fn drop(&mut self) {
        // A server that is gone forgets the consumer by itself, see `REPLAY_INACTIVE_MAX`.
        let jetstream = &self.nats.jetstream;
        let _ = self
            .nats
            .wait(jetstream.delete_consumer_from_stream(&self.consumer, &self.stream));
    }
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
        let source = runtime.block_on(async {
            let stream = get_stream(nats, &options.stream, &options.subjects).await?;
            check_position(&stream, &options)?;
            let target = match options.until {
                Until::Stopped => None,
                Until::CaughtUp => Some(last_sequence(nats, &stream, &options.subjects).await?),
                Until::Sequence(last) => Some(last),
            };
            let connects = connects(nats);
            let (messages, delivered) = pull_from(nats, &stream, &options, options.position).await?;
            Ok(Self {
                nats: nats.clone(),
                created: made_at(&stream),
                decoder,
                messages,
                cursor: Cursor::new(options.position, delivered),
                connects,
                ack_subject: None,
                target,
                ticker: options.ticks.clone().map(Ticker::new),
                lag: Arc::default(),
                stop,
                nudge: Nudge::default(),
                options,
                _removal: None,
            })
        })?;
        Ok(Self {
            _removal: removal,
            ..source
        })
    }

    /// How many messages of the stream wait behind the last one that was received.
    pub fn lag(&self) -> Arc<AtomicU64> {
        self.lag.clone()
    }

    /// Makes it give what it has at once.
    pub fn nudge(&self) -> Nudge {
        self.nudge.clone()
    }

    /// Sends the acks for what this source gave.
    pub fn acknowledge(&self) -> JetStreamAcknowledge {
        JetStreamAcknowledge {
            nats: self.nats.clone(),
        }
    }

    fn reached_target(&self) -> bool {
        self.target.is_some_and(|target| self.cursor.last() >= target)
    }

    async fn collect(&mut self) -> Result<Option<DecodedBatch>> {
        let mut look = Instant::now() + Duration::from_secs(1);
        while self.decoder.is_empty() {
            if self.stop.is_set() || self.reached_target() {
                return Ok(None);
            }
            if self.nudge.take() {
                return Ok(Some(DecodedBatch::default()));
            }
            match self.arrival(IDLE_LOOK).await {
                Arrival::Message(message) => self.take(&message).await?,
                Arrival::Broken(reason) => self.reconnect(&reason).await?,
                // What the server sent into a connection that was lost it takes for delivered: when nothing follows that
                // would show the gap, it would come again only after `ACK_WAIT`.
                Arrival::Nothing if connects(&self.nats) != self.connects => {
                    self.reconnect("the connection was lost").await?;
                }
                // Messages up to the target may have been removed meanwhile.
                Arrival::Nothing if self.target.is_some() && Instant::now() > look => {
                    if self.nothing_waits().await {
                        return Ok(None);
                    }
                    look = Instant::now() + Duration::from_secs(1);
                }
                Arrival::Nothing => {
                    if let Some(ticker) = &mut self.ticker {
                        ticker.tick_when_silent(&self.nats).await;
                    }
                }
            }
        }
        let deadline = Instant::now() + LINGER;
        while !self.decoder.is_full() && !self.reached_target() {
            let next = match self.messages.next().now_or_never() {
                Some(next) => next,
                None => match timeout_at(deadline, self.messages.next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                },
            };
            match next {
                Some(Ok(message)) => self.take(&message).await?,
                Some(Err(error)) => self.reconnect(&error.to_string()).await?,
                None => self.reconnect("the pull ended").await?,
            }
        }
        let mut batch = self.decoder.take();
        batch.behind = self.lag.load(Ordering::Relaxed) > 0;
        let ack_subject = self.ack_subject.as_ref().map(ToString::to_string);
        batch.receipt = Receipt {
            ack_subject,
            content_hash: 0,
        };
        Ok(Some(batch))
    }

    async fn arrival(&mut self, wait: Duration) -> Arrival {
        match timeout(wait, self.messages.next()).await {
            Err(_) => Arrival::Nothing,
            Ok(Some(Ok(message))) => Arrival::Message(Box::new(message)),
            Ok(Some(Err(error))) => Arrival::Broken(error.to_string()),
            Ok(None) => Arrival::Broken("the pull ended".to_owned()),
        }
    }

    /// Decodes one message at once: its payload would keep a whole read buffer in memory.
    async fn take(&mut self, message: &Message) -> Result<()> {
        // Without a reply subject it is no delivery of a consumer, but a status of the server.
        let Ok(info) = message.info() else { return Ok(()) };
        match self.cursor.see(info.stream_sequence, info.consumer_sequence) {
            Seen::New => {}
            Seen::Twice => return Ok(()),
            Seen::Gap => return self.reconnect("messages were lost on the way").await,
        }
        // The last message that was wanted may be of another subject, or removed: this one is behind it.
        if self.target.is_some_and(|target| self.cursor.last() > target) {
            return Ok(());
        }
        self.lag.store(info.pending, Ordering::Relaxed);
        if let Some(ticker) = &mut self.ticker {
            ticker.heard();
        }
        let stored_ms = info.published.unix_timestamp_nanos().div_euclid(1_000_000) as i64;
        match self.decoder.input_of(&message.subject) {
            Some(_) if is_tick(message) => self.decoder.push_tick(info.stream_sequence, stored_ms),
            Some(input) => self.decoder.push_to(
                input,
                &message.subject,
                info.stream_sequence,
                Some(stored_ms),
                &message.payload,
            ),
            // The consumer lets none through that no input wants.
            None => self.decoder.skip(info.stream_sequence),
        }
        self.ack_subject.clone_from(&message.reply);
        Ok(())
    }

    /// Makes the consumer anew after the last delivery that was seen, once the server lets us.
    async fn reconnect(&mut self, reason: &str) -> Result<()> {
        let mut pauses = BackOff::new();
        let mut said = false;
        loop {
            let connects = connects(&self.nats);
            let attempt = async {
                let stream = get_stream(&self.nats, &self.options.stream, &self.options.subjects).await?;
                if made_at(&stream) != self.created {
                    return Err(Error::mismatch(format!(
                        "stream {} was deleted and made anew while it was read; name another --database for the new one",
                        self.options.stream
                    )));
                }
                let options = JetStreamSourceOptions {
                    position: self.cursor.last(),
                    ..self.options.clone()
                };
                check_position(&stream, &options)?;
                pull_from(&self.nats, &stream, &options, self.cursor.last()).await
            };
            match attempt.await {
                Ok((messages, delivered)) => {
                    self.messages = messages;
                    self.cursor.resume(delivered);
                    self.connects = connects;
                    return Ok(());
                }
                Err(error) if matches!(error.kind(), ErrorKind::Environment | ErrorKind::Unavailable) => {
                    if !said {
                        say!(
                            Warning,
                            "weir: reading {} stopped ({reason}): {error}; trying again",
                            self.options.stream
                        );
                        said = true;
                    }
                    if self.stop.is_set() {
                        return Ok(());
                    }
                    tokio::time::sleep(pauses.next()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn nothing_waits(&self) -> bool {
        let Ok(stream) = self.nats.jetstream.get_stream(&self.options.stream).await else {
            return false;
        };
        let consumer = stream.consumer_info(self.options.consumer.name()).await;
        consumer.is_ok_and(|info| info.num_pending == 0 && info.delivered.stream_sequence <= self.cursor.last())
    }
}

impl Source for JetStreamSource {
    fn next_batch(&mut self) -> Result<Option<DecodedBatch>> {
        let runtime = self.nats.runtime.clone();
        // Without the budget of cooperative tasks, which would cut batches short: this thread does nothing else.
        runtime.block_on(tokio::task::unconstrained(self.collect()))
    }

    fn replace_decoder(&mut self, decoder: Decoder) {
        self.decoder = decoder;
    }
}

/// Sends one ack per commit, for everything up to it.
#[derive(Debug)]
pub struct JetStreamAcknowledge {
    nats: Nats,
}

impl Acknowledge for JetStreamAcknowledge {
    fn committed(&mut self, _: u64, receipt: &Receipt) {
        let Some(subject) = &receipt.ack_subject else { return };
        // An ack that is lost costs nothing: the next one covers it, and the position drops what comes twice.
        let _ = self.nats.wait(
            self.nats
                .client
                .publish(subject.clone(), jetstream::AckKind::Ack.into()),
        );
    }
}

/// The stream and its subjects, in whichever order they are named.
pub(super) fn identity_of(stream: &Stream, subjects: &[String]) -> String {
    let mut subjects = subjects.to_vec();
    subjects.sort();
    format!("{}, {}", made_at(stream), listed(&subjects))
}

fn made_at(stream: &Stream) -> String {
    let info = stream.cached_info();
    format!("stream {} made at {}", info.config.name, info.created)
}

pub(super) async fn get_stream(nats: &Nats, name: &str, subjects: &[String]) -> Result<Stream> {
    match nats.jetstream.get_stream(name).await {
        Ok(stream) => Ok(stream),
        Err(error) => Err(nats.stream_failed(name, subjects, &error).await),
    }
}

/// Whether everything after the position is still there.
fn check_position(stream: &Stream, options: &JetStreamSourceOptions) -> Result<()> {
    let state = &stream.cached_info().state;
    let (name, position) = (&options.stream, options.position);
    if state.last_sequence < position {
        return Err(Error::mismatch(format!(
            "the database holds everything of stream {name} up to sequence {position}, but the stream ends at {}: \
             it was restored from an older copy; name another --database, or restore the stream",
            state.last_sequence
        )));
    }
    if position > 0 && state.first_sequence > position + 1 && options.gap == Gap::Refuse {
        let way_out = match options.consumer {
            Consumer::Durable(_) => "Say --accept-gap to go on without it, or name another --database to start afresh",
            Consumer::Ephemeral(_) => "Replay what is there, into another --database",
        };
        return Err(Error::mismatch(format!(
            "stream {name} begins at sequence {}, but the database ends at {position}: what was between is gone. {way_out}",
            state.first_sequence
        )));
    }
    Ok(())
}

/// The last sequence of the subjects that is stored now; 0 when there is none.
pub(super) async fn last_sequence(nats: &Nats, stream: &Stream, subjects: &[String]) -> Result<u64> {
    let mut last = 0;
    for subject in subjects {
        last = last.max(match stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => message.sequence,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => 0,
            Err(error) => {
                return Err(Error::environment(format!(
                    "cannot read the last message of {subject} in stream {} at {}: {error}",
                    stream.cached_info().config.name,
                    nats.server
                )));
            }
        });
    }
    Ok(last)
}

/// How often the client has connected.
fn connects(nats: &Nats) -> u64 {
    nats.client.statistics().connects.load(Ordering::Relaxed)
}

/// A pull from the consumer, which stands right after `position`, and how many deliveries it has counted.
async fn pull_from(
    nats: &Nats,
    stream: &Stream,
    options: &JetStreamSourceOptions,
    position: u64,
) -> Result<(pull::Stream, u64)> {
    let name = options.consumer.name();
    let failed = |what: &str, cause: &dyn std::fmt::Display| {
        Error::environment(format!(
            "cannot {what} consumer {name} of stream {} at {}: {cause}",
            options.stream, nats.server
        ))
    };
    let deliver_policy = DeliverPolicy::ByStartSequence {
        start_sequence: position + 1,
    };
    let (filter_subject, filter_subjects) = match options.subjects.as_slice() {
        [only] => (only.clone(), Vec::new()),
        several => (String::new(), several.to_vec()),
    };
    let config = match &options.consumer {
        Consumer::Durable(name) => pull::Config {
            durable_name: Some(name.clone()),
            description: Some("weir: the position of its database, acknowledged after each commit".to_owned()),
            deliver_policy,
            ack_policy: AckPolicy::All,
            ack_wait: ACK_WAIT,
            filter_subject,
            filter_subjects,
            // Bounded by the turn, not by the server: a stalled commit stops the pulls.
            max_ack_pending: -1,
            inactive_threshold: CONSUMER_INACTIVE_MAX,
            ..Default::default()
        },
        Consumer::Ephemeral(name) => pull::Config {
            name: Some(name.clone()),
            description: Some("weir: a replay".to_owned()),
            deliver_policy,
            ack_policy: AckPolicy::None,
            filter_subject,
            filter_subjects,
            inactive_threshold: REPLAY_INACTIVE_MAX,
            // The server keeps no account of it on disk: what a restart forgets is made anew at the last delivery.
            memory_storage: true,
            num_replicas: 1,
            ..Default::default()
        },
    };
    // One that stands right there, with nothing under way, is used as it is; any other is made anew.
    let known: Option<PullConsumer> = stream.get_consumer(name).await.ok();
    let fits = known.filter(|consumer| {
        let info = consumer.cached_info();
        info.ack_floor.stream_sequence == position
            && info.delivered.stream_sequence == position
            && info.num_ack_pending == 0
            && info.config.filter_subject == config.filter_subject
            && info.config.filter_subjects == config.filter_subjects
    });
    let consumer = match fits {
        Some(consumer) => consumer,
        None => {
            let _ = stream.delete_consumer(name).await;
            stream.create_consumer(config).await.map_err(|cause| {
                let what = format!("consumer {name} of stream {}", options.stream);
                nats.consumer_failed(&what, &cause)
            })?
        }
    };
    let delivered = consumer.cached_info().delivered.consumer_sequence;
    let pulls = consumer
        .stream()
        .max_messages_per_batch(PULL_MESSAGES)
        .heartbeat(HEARTBEAT)
        .expires(PULL_EXPIRES);
    let messages = pulls.messages().await.map_err(|cause| failed("pull from", &cause))?;
    Ok((messages, delivered))
}
