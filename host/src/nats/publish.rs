//! The publisher: messages from the outbox to JetStream, each under the name that its event gave it.
//!
//! A message stays in the outbox until the server has it, and nothing of its subject is stored before it. What is published
//! twice (the process died in between) carries the same name, and the server drops the second copy within its duplicate
//! window. A publisher that starts with old messages in the outbox may be later than that: it first looks which of them the
//! stream holds, see `held.rs`.

mod held;
mod round;

use super::{BackOff, Nats};
use crate::{
    error::{Context, Error, Result},
    fail_point,
    plan::Plan,
    source::Stop,
    storage::{Outbox, OutgoingMessage, StoredAt},
};
use async_nats::{
    connection::State,
    jetstream::context::{GetStreamByNameErrorKind, PublishError},
};
use held::{LOOK_MESSAGES_MAX, held};
use round::{Answer, Refusal, publish};
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as _,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Messages that are published before the first answer is waited for.
const MESSAGES_AT_ONCE: usize = 256;

/// Bytes of payload that are read out of the outbox for that: dead letters may be as large as messages are.
const BYTES_AT_ONCE: usize = 8 << 20;

/// How long the server may take to answer all messages of a round: one subject whose answers do not come holds up the others
/// so long, and not again before its pause is over.
const ANSWERS_MAX: Duration = Duration::from_secs(5);

/// The same for a subject that did not answer before. What is stored later than that is found when it is looked up.
const ANSWERS_AGAIN_MAX: Duration = Duration::from_millis(500);

/// How long the last messages may take when the pipeline ends.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Publishes what commits leave in an outbox, on a thread of its own.
#[derive(Debug)]
pub struct Publisher {
    wake: SyncSender<()>,
    thread: JoinHandle<Result<PublisherReport>>,
}

/// What became of the messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublisherReport {
    /// Messages that the server has.
    pub published: u64,
    /// Rows that it will never take, which are dead letters now.
    pub dead: u64,
    /// Messages that are still in the outbox.
    pub waiting: u64,
    /// Why they wait.
    pub reason: Option<String>,
}

impl Publisher {
    /// Starts to publish the messages of `outbox`, which is that of `plan`. Where it cannot be read or written any more,
    /// `stop` is set: nobody would know of the messages that wait from then on.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(nats: &Nats, outbox: Box<dyn Outbox>, plan: Arc<Plan>, stop: Stop) -> Result<Self> {
        let (wake, woken) = sync_channel(1);
        let worker = Worker {
            nats: nats.clone(),
            outbox,
            plan,
            subjects: BTreeMap::new(),
            bare: BTreeSet::new(),
            report: PublisherReport::default(),
        };
        let thread = std::thread::Builder::new()
            .name("weir-publish".to_owned())
            .spawn(move || worker.run(&woken).inspect_err(|_| stop.set()))
            .environment(|| "cannot start a thread".to_owned())?;
        Ok(Self { wake, thread })
    }

    /// Something that tells the publisher of commits.
    pub fn waker(&self) -> SyncSender<()> {
        self.wake.clone()
    }

    /// Publishes what is left, for a few seconds at most, and ends.
    ///
    /// # Errors
    /// When the outbox cannot be read or written.
    pub fn finish(self) -> Result<PublisherReport> {
        drop(self.wake);
        self.thread
            .join()
            .map_err(|_| Error::environment("the publisher panicked; this is a defect of weir"))?
    }
}

struct Worker {
    nats: Nats,
    outbox: Box<dyn Outbox>,
    plan: Arc<Plan>,
    subjects: BTreeMap<String, Subject>,
    /// Dead letters that are too large for the server or the stream, by their places in the outbox: these go without their
    /// payloads, so that whatever stands behind them is not held up.
    bare: BTreeSet<i64>,
    report: PublisherReport,
}

/// How it stands with the messages to a subject.
struct Subject {
    /// Messages that are sent before the first answer is waited for: fewer where others publish into the stream as well.
    window: usize,
    /// Whether the stream may hold some of those that wait.
    is_unsure: bool,
    /// Why the next one was not taken, and when it is tried again.
    blocked: Option<Blocked>,
    pauses: BackOff,
}

struct Blocked {
    reason: String,
    refusal: Refusal,
    until: Instant,
}

impl Subject {
    /// Nothing is known of what an earlier process published.
    fn new() -> Self {
        Self {
            window: MESSAGES_AT_ONCE,
            is_unsure: true,
            blocked: None,
            pauses: BackOff::new(),
        }
    }
}

impl Worker {
    fn run(mut self, woken: &Receiver<()>) -> Result<PublisherReport> {
        // Only what waits now may be there already.
        let old: BTreeSet<String> = self.outbox.subjects()?.into_iter().collect();
        let new = self.plan.published_subjects().into_iter();
        for subject in new.filter(|subject| !old.contains(*subject)) {
            let known = Subject {
                is_unsure: false,
                ..Subject::new()
            };
            self.subjects.insert(subject.to_owned(), known);
        }
        let mut away = BackOff::new();
        let mut ending: Option<Instant> = None;
        loop {
            self.publish_all(ending)?;
            let is_away = is_away(&self.nats);
            let blocked = self.subjects.values().filter_map(|subject| subject.blocked.as_ref());
            let (next, mut mends) = blocked.fold((None, false), |(next, mends), blocked| {
                let next = next.map_or(blocked.until, |next: Instant| next.min(blocked.until));
                (Some(next), mends || blocked.refusal != Refusal::NoStream)
            });
            mends &= !is_away;
            if let Some(deadline) = ending
                && (!mends || Instant::now() >= deadline)
            {
                break;
            }
            let wait = match (is_away, next) {
                (true, _) => away.next(),
                (false, Some(next)) => next.saturating_duration_since(Instant::now()),
                (false, None) => Duration::from_secs(60),
            };
            if !is_away {
                away = BackOff::new();
            }
            match woken.recv_timeout(wait) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    if ending.is_some() {
                        std::thread::sleep(wait.min(Duration::from_millis(200)));
                    }
                    ending.get_or_insert(Instant::now() + DRAIN_MAX);
                    // Each gets another chance.
                    for blocked in self
                        .subjects
                        .values_mut()
                        .filter_map(|subject| subject.blocked.as_mut())
                    {
                        blocked.until = Instant::now();
                    }
                }
            }
        }
        self.report.waiting = self.outbox.waiting()?;
        if self.report.waiting > 0 {
            let mut blocked = self.subjects.values().filter_map(|subject| subject.blocked.as_ref());
            self.report.reason = match is_away(&self.nats) {
                true => Some(format!("{} cannot be reached", self.nats.server)),
                false => blocked.next().map(|blocked| blocked.reason.clone()),
            };
        }
        Ok(self.report)
    }

    /// Publishes until the outbox is empty, or nobody takes what is left in it. Messages keep the order of their subject, and
    /// those of one subject do not wait for another.
    fn publish_all(&mut self, deadline: Option<Instant>) -> Result<()> {
        loop {
            if is_away(&self.nats) || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(());
            }
            let now = Instant::now();
            let waits = |subject: &Subject| subject.blocked.as_ref().is_some_and(|blocked| blocked.until > now);
            let waiting = self.subjects.iter().filter(|(_, subject)| waits(subject));
            let waiting: BTreeSet<String> = waiting.map(|(name, _)| name.clone()).collect();
            let messages = self.outbox.oldest(MESSAGES_AT_ONCE, BYTES_AT_ONCE, &waiting)?;
            if messages.is_empty() {
                return Ok(());
            }
            fail_point::pass("before-publish");
            let mut of_subjects: BTreeMap<String, Vec<OutgoingMessage>> = BTreeMap::new();
            for message in messages {
                of_subjects.entry(message.subject.clone()).or_default().push(message);
            }
            let mut done = Done::default();
            let outcome = self.publish_some(of_subjects, &mut done, deadline);
            self.report.published += done.taken.len() as u64;
            fail_point::pass("after-publish");
            self.outbox.remove(&done.taken, &done.stored)?;
            fail_point::pass("after-remove");
            outcome?;
        }
    }

    /// Publishes messages, by subject, as far as they are taken.
    fn publish_some(
        &mut self,
        mut left: BTreeMap<String, Vec<OutgoingMessage>>,
        done: &mut Done,
        deadline: Option<Instant>,
    ) -> Result<()> {
        loop {
            for (name, messages) in &mut left {
                self.look(name, messages)?;
            }
            left.retain(|_, messages| !messages.is_empty());
            if left.is_empty() {
                return Ok(());
            }
            let runs: Vec<(&[OutgoingMessage], _)> = left
                .iter()
                .map(|(name, messages)| {
                    let window = self.subjects.get(name).map_or(1, |subject| subject.window);
                    let run = messages.get(..window).unwrap_or(messages);
                    (run, self.answers_until(name, deadline))
                })
                .collect();
            let answers = self.nats.runtime.block_on(publish(&self.nats, &runs, &self.bare));
            for ((name, messages), answers) in left.iter_mut().zip(answers) {
                self.judge(name, messages, answers, done)?;
            }
            if is_away(&self.nats) {
                return Ok(());
            }
        }
    }

    /// When the answers to messages to a subject have to be there.
    fn answers_until(&self, name: &str, deadline: Option<Instant>) -> tokio::time::Instant {
        let blocked = self.subjects.get(name).and_then(|subject| subject.blocked.as_ref());
        let is_silent = blocked.is_some_and(|blocked| matches!(blocked.refusal, Refusal::NoAnswer | Refusal::NoStream));
        let patience = match is_silent {
            true => ANSWERS_AGAIN_MAX,
            false => ANSWERS_MAX,
        };
        let until = Instant::now() + patience;
        deadline.map_or(until, |deadline| deadline.min(until)).into()
    }

    /// Why nobody answered the messages to a subject.
    fn why_silent(&self, name: &str, error: &PublishError) -> (Refusal, String) {
        let asked = self.nats.wait(self.nats.jetstream.stream_by_subject(name));
        let server = &self.nats.server;
        match asked {
            Some(Err(cause)) if cause.kind() == GetStreamByNameErrorKind::NotFound => {
                (Refusal::NoStream, format!("no stream takes subject {name}"))
            }
            Some(Ok(_)) if self.nats.is_denied_something() => (
                Refusal::NoAnswer,
                format!("{name} at {server}: {error}; it takes the permission to publish to {name}"),
            ),
            Some(Ok(stream)) => (
                Refusal::NoAnswer,
                format!("{name} at {server}: {error}; stream {stream} takes it, and did not answer"),
            ),
            _ => (Refusal::NoAnswer, format!("{name} at {server}: {error}")),
        }
    }

    /// Takes in what the server said to the first of the messages to a subject. Leaves those that are to be sent next.
    fn judge(
        &mut self,
        name: &str,
        messages: &mut Vec<OutgoingMessage>,
        answers: Vec<Answer>,
        done: &mut Done,
    ) -> Result<()> {
        let asked = answers.len();
        let subject = self.subjects.entry(name.to_owned()).or_insert_with(Subject::new);
        let (mut failed, mut taken) = (None, BTreeSet::new());
        for (message, answer) in messages.iter().zip(answers) {
            match answer {
                Ok(ack) => {
                    taken.insert(message.id);
                    // What stands before one that failed is known to be stored; what stands behind it may have been there.
                    if failed.is_none() {
                        done.stored_at(name, ack.stream, ack.sequence);
                    }
                }
                Err(error) if failed.is_none() => failed = Some((message.clone(), error)),
                Err(_) => {}
            }
        }
        done.taken.extend(&taken);
        messages.retain(|message| !taken.contains(&message.id));
        self.bare.retain(|id| !taken.contains(id));
        if !taken.is_empty() {
            (subject.blocked, subject.pauses) = (None, BackOff::new());
        }
        let Some((message, error)) = failed else {
            if asked == subject.window {
                subject.window = (2 * subject.window).min(MESSAGES_AT_ONCE);
            }
            return Ok(());
        };
        let size = message.payload.len();
        let mut refusal = Refusal::of(&error);
        let mut unanswered = None;
        if refusal == Refusal::NoAnswer && !is_away(&self.nats) {
            // Somebody else may hear the subject while no stream takes it: the server does not say so by itself then.
            let (found, reason) = self.why_silent(name, &error);
            (refusal, unanswered) = (found, Some(reason));
        }
        let subject = self.subjects.entry(name.to_owned()).or_insert_with(Subject::new);
        if unanswered.is_some() {
            subject.is_unsure = true;
        }
        let reason = match refusal {
            Refusal::Order if !taken.is_empty() => {
                subject.window = (subject.window / 2).max(1);
                return Ok(());
            }
            Refusal::TooLargeForServer | Refusal::TooLargeForStream
                if message.is_letter() && self.bare.insert(message.id) =>
            {
                return Ok(());
            }
            Refusal::TooLargeForServer if !message.is_letter() => {
                let reason = format!(
                    "the message to {name} is larger than {} takes (max_payload): {}",
                    self.nats.server,
                    error.source().map_or_else(|| error.to_string(), ToString::to_string)
                );
                self.outbox.bury(&self.plan, &message, &reason)?;
                tracing::warn!(subject = name, "a row is a dead letter of step publish: {reason}");
                self.report.dead += 1;
                messages.retain(|other| other.id != message.id);
                return Ok(());
            }
            Refusal::TooLargeForServer | Refusal::TooLargeForStream if message.is_letter() => format!(
                "the stream of subject {name} does not take a dead letter even without its payload; let its messages be larger"
            ),
            Refusal::TooLargeForStream => format!(
                "the stream of subject {name} takes no message of {size} bytes (max_msg_size); let its messages be larger, or \
                 drop this one with `weir outbox drop`"
            ),
            Refusal::NoStream => format!(
                "no stream takes subject {name}; make one with\n  nats stream add {} --subjects '{name}' --storage file --defaults",
                if message.is_letter() { "DEAD-LETTERS" } else { "ALERTS" }
            ),
            Refusal::NoAnswer => {
                subject.is_unsure = true;
                unanswered.unwrap_or_else(|| format!("{name} at {}: {error}", self.nats.server))
            }
            _ => format!("{name} at {}: {error}", self.nats.server),
        };
        messages.clear();
        self.block(name, reason, refusal);
        Ok(())
    }

    /// Lets the messages to a subject wait, and says why if that is news.
    fn block(&mut self, name: &str, reason: String, refusal: Refusal) {
        let is_away = is_away(&self.nats);
        let Some(subject) = self.subjects.get_mut(name) else {
            return;
        };
        subject.window = 1;
        let known = subject.blocked.as_ref().is_some_and(|blocked| blocked.reason == reason);
        if !known && !is_away {
            tracing::warn!("messages wait in the outbox: {reason}");
        }
        subject.blocked = Some(Blocked {
            reason,
            refusal,
            until: Instant::now() + subject.pauses.next(),
        });
    }

    /// Removes what the stream of a subject holds already, where that may be something.
    fn look(&mut self, name: &str, messages: &mut Vec<OutgoingMessage>) -> Result<()> {
        let subject = self.subjects.entry(name.to_owned()).or_insert_with(Subject::new);
        if !std::mem::take(&mut subject.is_unsure) {
            return Ok(());
        }
        let waiting = self.outbox.names(name, LOOK_MESSAGES_MAX)?;
        let last = self.outbox.last_stored(name)?;
        match self.nats.runtime.block_on(held(&self.nats, name, last, &waiting)) {
            Ok(found) => {
                fail_point::pass("forget-published");
                self.outbox.remove(&found, &BTreeMap::new())?;
                messages.retain(|message| !found.contains(&message.id));
            }
            Err(_) if is_away(&self.nats) => subject.is_unsure = true,
            Err(reason) => tracing::warn!(
                subject = name,
                "what was published to {name} before cannot be looked up, and may be published twice: {reason}"
            ),
        }
        Ok(())
    }
}

/// Whether there is no connection. That is said by the connection itself.
fn is_away(nats: &Nats) -> bool {
    nats.client.connection_state() != State::Connected
}

/// What a round came to.
#[derive(Default)]
struct Done {
    /// Messages that the server has, by their places in the outbox.
    taken: Vec<i64>,
    /// For subjects where the last message is that is known to be stored.
    stored: BTreeMap<String, StoredAt>,
}

impl Done {
    fn stored_at(&mut self, subject: &str, stream: String, sequence: u64) {
        let known = self.stored.get(subject);
        // The answer to a second copy says where the first one is.
        if known.is_none_or(|known| known.stream != stream || known.sequence < sequence) {
            self.stored.insert(subject.to_owned(), StoredAt { stream, sequence });
        }
    }
}
