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
mod options;
mod stream;
mod watch;

use super::{
    BackOff, Nats, subjects,
    tick::{Ticker, is_tick},
};
use crate::{
    decode::Decoder,
    delivery::{DecodedBatch, Receipt, Scanned},
    error::{Error, ErrorKind, Result},
    say,
    source::{Cursor, Lag, Nudge, Scan, Seen, Source, Stop},
    subject::matches,
    text::printable,
};
use async_nats::{
    Subject,
    jetstream::{
        Message,
        consumer::{Info as ConsumerInfo, pull},
        stream::RawMessageErrorKind,
    },
};
pub use options::{Consumer, Gap, JetStreamSourceOptions, Until};

pub(super) use lookup::{get_stream, identity_of, last_sequence};

use acknowledge::{JetStreamAcknowledge, Removal};
use consumer::{Pull, Settings, pull_from};
use futures_util::{FutureExt, StreamExt};
use gap::{Gaps, Held};
use lookup::{made_anew, made_at};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use stream::{Holds, Others};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use watch::{Found, Watch};

/// How long a batch that is not full waits for more, so that a fast stream does not come in crumbs.
const LINGER: Duration = Duration::from_millis(1);

/// How often a source that hears nothing looks whether it is to stop, or to let a swap through.
const IDLE_LOOK: Duration = Duration::from_millis(20);

/// A source that has not looked for so long, because its process was stopped or what comes after it was slow, may have
/// had no pull at the server meanwhile.
const STALL: Duration = Duration::from_millis(100);

/// How often it is stored how far the stream was looked at, while nothing else is.
const SCAN_STORED_EVERY: Duration = Duration::from_secs(5);

/// How often the server is asked whether nothing waits, until that is so: at first, and at most.
const QUESTION_PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(2));

/// How often the server is asked for its word that nothing is missing, where messages came and more may.
const PROOF_PAUSE: Duration = Duration::from_millis(250);

/// How long the first message that nothing waits behind is held back until it is known that the source keeps up, and how
/// often that is looked for.
const SETTLE_MAX: Duration = Duration::from_secs(1);
const SETTLE_LOOK: Duration = Duration::from_millis(1);

/// How long a message may be on its way from the server.
const MISSING_MAX: Duration = Duration::from_secs(2);

/// The header that a server puts in the place of a payload.
const SIZE_HEADER: &str = "Nats-Msg-Size";

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
    nudge: Nudge,
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

    /// How many messages of the stream wait.
    pub fn lag(&self) -> Arc<Lag> {
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
        self.target
            .is_some_and(|target| self.is_drained || self.cursor.last() >= target)
    }

    // ---- a batch ------------------------------------------------------------------------------------------------------

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
            if self.nudge.take() {
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

    // ---- a message ----------------------------------------------------------------------------------------------------

    /// Decodes one message at once: its payload would keep a whole read buffer in memory.
    async fn take(&mut self, message: &Message) -> Result<()> {
        // Without a reply subject it is no delivery of a consumer, but a status of the server.
        let Ok(info) = message.info() else { return Ok(()) };
        let Some(input) = self.input_of(&message.subject) else {
            let reason = format!("a message of subject {} came", message.subject);
            return self.reconnect(&reason).await;
        };
        if message.payload.is_empty() && self.lacks_payload(message).await {
            return self.reconnect("messages come without their payloads").await;
        }
        match self.cursor.see(info.stream_sequence, info.consumer_sequence) {
            Seen::New => {}
            Seen::Twice => return Ok(()),
            Seen::Gap => return self.reconnect("messages were lost on the way").await,
        }
        // The last message that was wanted may be of another subject, or removed: this one is behind it.
        if self.target.is_some_and(|target| self.cursor.last() > target) {
            return Ok(());
        }
        self.scan.see(info.stream_sequence);
        self.pending = info.pending;
        if let Some(ticker) = &mut self.ticker {
            ticker.heard(info.stream_sequence);
        }
        let stored_ms = info.published.unix_timestamp_nanos().div_euclid(1_000_000) as i64;
        if self.options.has_ticks && is_tick(message) {
            self.decoder.push_tick(info.stream_sequence, stored_ms);
        } else if self.options.latest_only && is_tombstone(message) {
            self.take_tombstone(input, &message.subject, info.stream_sequence, stored_ms);
        } else {
            let sequence = info.stream_sequence;
            let (subject, payload) = (&message.subject, &message.payload);
            self.decoder.push_to(input, subject, sequence, Some(stored_ms), payload);
        }
        self.ack_subject.clone_from(&message.reply);
        Ok(())
    }

    /// Takes in that the key which is a subject was deleted.
    fn take_tombstone(&mut self, input: usize, subject: &str, sequence: u64, stored_ms: i64) {
        match &self.options.tombstones {
            Some(tombstones) => {
                let payload = tombstones.payload(subject);
                self.decoder
                    .push_to(input, subject, sequence, Some(stored_ms), payload.as_bytes());
            }
            None => self.decoder.reject(
                sequence,
                &[],
                format!(
                    "subject {} was deleted; say what becomes of that with key `tombstones` in [source]",
                    printable(subject)
                ),
            ),
        }
    }

    /// The input of a message; nothing where none wants it, so that the consumer is not the one that was made.
    fn input_of(&mut self, subject: &str) -> Option<usize> {
        let input = self.decoder.input_of(subject)?;
        if self.subject == subject {
            return Some(input);
        }
        if !self.options.subjects.iter().any(|wanted| matches(wanted, subject)) {
            return None;
        }
        self.subject.clear();
        self.subject.push_str(subject);
        Some(input)
    }

    /// Whether somebody has the consumer give headers alone. Anybody may publish a message that looks as if.
    async fn lacks_payload(&mut self, message: &Message) -> bool {
        let headers = message.headers.as_ref();
        if headers.is_none_or(|headers| headers.get(SIZE_HEADER).is_none()) {
            return false;
        }
        let (stream, name) = (&self.options.stream, self.options.consumer.name());
        let Ok(stream) = self.nats.jetstream.get_stream_no_info(stream).await else {
            return true;
        };
        let info = stream.consumer_info(name).await;
        if !info.is_ok_and(|info| Settings::of(&info.config) == self.settings) {
            return true;
        }
        // It may have been so when this message was sent. Only the stream knows what was published.
        let Ok(info) = message.info() else { return false };
        let sequence = info.stream_sequence;
        match stream.get_raw_message(sequence).await {
            Ok(stored) => !stored.payload.is_empty(),
            Err(cause) if cause.kind() == RawMessageErrorKind::NoMessageFound => true,
            Err(cause) => {
                if !std::mem::replace(&mut self.said_unseen, true) {
                    say!(
                        Warning,
                        "weir: message {sequence} of stream {} has a header {SIZE_HEADER} and no payload, and the stream cannot be \
                         asked whether it has one: {cause}; such messages are taken for blank ones",
                        self.options.stream
                    );
                }
                false
            }
        }
    }

    // ---- what goes on at the server ------------------------------------------------------------------------------------

    /// Nothing came for a moment.
    async fn idle(&mut self, now: Instant) {
        self.scan.idle(now.into_std());
        if !self.nats.is_connected() {
            self.falls_behind();
            return;
        }
        let (when, pause) = self.next_question;
        if !self.scan.keeps_up() && now >= when {
            self.question = self.watch.ask();
            // The answer says when to ask again; one that is lost is not waited for.
            self.next_question = (now + QUESTION_PAUSES.1, (pause * 2).min(QUESTION_PAUSES.1));
        }
        self.ask_for_proof(now);
        if let Some(ticker) = &mut self.ticker {
            ticker.tick_when_silent(&self.nats).await;
        }
    }

    /// What came is proven soon to be all that there was: of what is removed later nobody can tell whose it was.
    fn ask_for_proof(&mut self, now: Instant) {
        if self.gaps.others == Others::Stay && self.scan.came_since_proven() && now >= self.next_proof {
            self.watch.ask();
            self.next_proof = now + PROOF_PAUSE;
        }
    }

    /// Messages may not come as they are stored: the server is asked anew whether none waits.
    fn falls_behind(&mut self) {
        self.scan.falls_behind();
        self.question = u64::MAX;
        self.next_question = (Instant::now(), QUESTION_PAUSES.0);
    }

    /// Takes note of what the server says of the consumer.
    async fn hear(&mut self, found: Found) -> Result<()> {
        let Some(consumer) = found.consumer else {
            self.falls_behind();
            return Ok(());
        };
        if consumer.settings != self.settings {
            return self.reconnect("somebody changed the consumer").await;
        }
        if found.question >= self.question {
            self.next_question.0 = Instant::now() + self.next_question.1;
        }
        if consumer.was_paused {
            self.scan.was_held_up();
            self.falls_behind();
        }
        if consumer.delivered > self.cursor.in_consumer() {
            // They are on their way, unless nothing came for so long.
            let (given, came) = (consumer.delivered, self.cursor.in_consumer());
            match self.missing {
                Some((known, since, asked)) if (known, since) == (given, came) => {
                    if found.asked.duration_since(asked) >= MISSING_MAX {
                        return self.reconnect("messages were given to somebody else").await;
                    }
                }
                _ => self.missing = Some((given, came, found.asked)),
            }
            return Ok(());
        }
        self.missing = None;
        let is_at_end = consumer.pending == 0 && consumer.delivered == self.cursor.in_consumer();
        if !is_at_end {
            return Ok(());
        }
        let is_proven = self.gaps.go_all_the_time() || self.gaps.are_none(&self.scan, consumer.first, consumer.deleted);
        if self.options.latest_only || (self.scan.keeps_up() && is_proven) {
            self.scan.caught_up(consumer.looked_at, found.asked);
        } else if self.scan.keeps_up() || found.question >= self.question {
            let Some(holds) = self.look().await? else { return Ok(()) };
            // A request of the reader was there all the time, and nothing came.
            let is_silent = self.scan.keeps_up() && !self.scan.came_since_proven();
            let then = match is_silent {
                true => Some(std::time::Instant::now()),
                false => self.scan.read_until(),
            };
            let gap = self
                .gaps
                .find(&self.nats, &self.options, &holds, &self.scan, then)
                .await?;
            if let Some(gap) = gap {
                self.gaps.accept_or_refuse(&self.options, &holds, gap)?;
                self.scan.looked_through(holds.stored.first.saturating_sub(1));
            }
            self.scan.caught_up(consumer.looked_at, found.asked);
        } else {
            return Ok(());
        }
        self.is_drained = self.target.is_some();
        Ok(())
    }

    /// Asks what the stream holds; nothing where the source was asked to end meanwhile.
    async fn look(&mut self) -> Result<Option<Holds>> {
        let asked = self.gaps.ask(&self.nats, &self.options);
        let Some(holds) = unless_stopped(&self.stop, asked).await else {
            return Ok(None);
        };
        holds.map(Some)
    }

    /// Makes the consumer anew after the last delivery that was seen, once the server lets us.
    async fn reconnect(&mut self, reason: &str) -> Result<()> {
        self.falls_behind();
        let mut pauses = BackOff::new();
        let mut said = false;
        loop {
            let connects = connects(&self.nats);
            let stop = self.stop.clone();
            let Some(attempt) = unless_stopped(&stop, self.pull_anew()).await else {
                return Ok(());
            };
            match attempt {
                Ok((pull, kept_up_until)) => {
                    self.messages = pull.messages;
                    self.cursor.resume(pull.delivered);
                    self.settings = pull.settings;
                    self.connects = connects;
                    self.scan.begin_pull(kept_up_until);
                    self.missing = None;
                    self.is_unsettled = true;
                    self.watch.renew();
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
                    if unless_stopped(&stop, sleep(pauses.next())).await.is_none() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A new pull behind what was seen; and up to when all that was stored was read, over the one before.
    async fn pull_anew(&mut self) -> Result<(Pull, Option<std::time::Instant>)> {
        let stream = get_stream(&self.nats, &self.options.stream, &self.options.subjects).await?;
        if made_at(&stream) != self.created {
            return Err(made_anew(&self.options.stream));
        }
        let position = self.cursor.last();
        // What the server sent into a connection that was lost it has counted. Where that is not what came, only its own
        // word says up to when everything was read.
        let info = stream.consumer_info(self.options.consumer.name()).await;
        let is_all_here =
            |info: &ConsumerInfo| !info.paused && info.delivered.consumer_sequence == self.cursor.in_consumer();
        let then = match info.as_ref().is_ok_and(is_all_here) {
            true => self.scan.kept_up_until(),
            false => self.scan.proven(),
        };
        let holds = Holds::ask(
            &self.nats,
            &self.options.stream,
            &self.options.subjects,
            &mut self.gaps.deleted,
        )
        .await?;
        gap::check_end(&self.options, &holds, position)?;
        self.gaps.others = holds.others;
        if !self.options.latest_only {
            let gap = self
                .gaps
                .find(&self.nats, &self.options, &holds, &self.scan, then)
                .await?;
            if let Some(gap) = gap {
                self.gaps.accept_or_refuse(&self.options, &holds, gap)?;
            }
            self.scan.looked_through(holds.stored.first.saturating_sub(1));
        }
        let pull = pull_from(&self.nats, &stream, &self.options, position, &self.lag).await?;
        Ok((pull, then))
    }
}

/// Whether a message says that its subject, which is a key, was deleted: by a client of a bucket of keys, or by the
/// server, which marks what it removed.
fn is_tombstone(message: &Message) -> bool {
    let Some(headers) = message.headers.as_ref().filter(|_| message.payload.is_empty()) else {
        return false;
    };
    let operation = headers.get("KV-Operation").map(async_nats::HeaderValue::as_str);
    matches!(operation, Some("DEL" | "PURGE")) || headers.get("Nats-Marker-Reason").is_some()
}

/// What comes of something, unless the source is asked to end first.
async fn unless_stopped<T>(stop: &Stop, what: impl Future<Output = T>) -> Option<T> {
    let mut what = std::pin::pin!(what);
    loop {
        tokio::select! {
            biased;
            outcome = &mut what => return Some(outcome),
            () = sleep(IDLE_LOOK) => if stop.is_set() { return None },
        }
    }
}

impl Source for JetStreamSource {
    fn next_batch(&mut self) -> Result<Option<DecodedBatch>> {
        let runtime = self.nats.runtime.clone();
        // Without the budget of cooperative tasks, which would cut batches short: this thread does nothing else.
        let batch = runtime.block_on(tokio::task::unconstrained(self.collect()))?;
        if let Some(batch) = &batch {
            self.lag.handed_on((batch.deliveries.len() + batch.blanks.len()) as u64);
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
