//! The publisher: messages from the outbox to JetStream, each under the name that its event gave it.
//!
//! A message stays in the outbox until the server has it. What is published twice (the process died in between) carries
//! the same name, and the server drops the second copy within its duplicate window. A publisher that starts with old
//! messages in the outbox may be later than that: it first looks at the last message of the subject, and removes those
//! up to it.

use super::{BackOff, Nats};
use crate::{
    database::{Outbox, OutgoingMessage},
    error::{Context, Error, Result},
    fail_point,
    source::Stop,
};
use async_nats::{
    HeaderMap, HeaderName, HeaderValue,
    header::NATS_MESSAGE_ID,
    jetstream::{
        self, ErrorCode,
        context::{PublishError, PublishErrorKind},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as _,
    str::FromStr,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Messages that are published before the first answer is waited for.
const MESSAGES_AT_ONCE: usize = 256;

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
    /// Messages that are still in the outbox.
    pub waiting: u64,
    /// Why they wait.
    pub reason: Option<String>,
}

impl Publisher {
    /// Starts to publish the messages of `outbox`. Where that cannot be read or written any more, `stop` is set: nobody
    /// would know of the messages that wait from then on.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(nats: &Nats, outbox: Outbox, stop: Stop) -> Result<Self> {
        let (wake, woken) = sync_channel(1);
        let worker = Worker {
            nats: nats.clone(),
            outbox,
            too_large: BTreeSet::new(),
            bytes_max: BTreeMap::new(),
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
    outbox: Outbox,
    /// Dead letters that are too large for the server or the stream, by their places in the outbox: these go without their
    /// payloads, so that whatever stands behind them is not held up.
    too_large: BTreeSet<i64>,
    /// How many bytes a message of a subject may have in its stream, as far as that is known.
    bytes_max: BTreeMap<String, usize>,
    report: PublisherReport,
}

impl Worker {
    fn run(mut self, woken: &Receiver<()>) -> Result<PublisherReport> {
        self.forget_published()?;
        let mut pauses = BackOff::new();
        let mut ending: Option<Instant> = None;
        loop {
            let failed = self.publish_all()?;
            if failed.is_none() {
                pauses = BackOff::new();
            } else if failed != self.report.reason
                && let Some(reason) = &failed
            {
                eprintln!("weir: messages wait in the outbox: {reason}");
            }
            self.report.reason = failed;
            if let Some(deadline) = ending {
                let final_failure = self.report.reason.is_some();
                if !final_failure || Instant::now() >= deadline || self.no_stream() {
                    break;
                }
            }
            let wait = if self.report.reason.is_some() {
                pauses.next()
            } else {
                Duration::from_secs(60)
            };
            match woken.recv_timeout(wait) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    if ending.is_some() {
                        std::thread::sleep(wait.min(Duration::from_millis(200)));
                    }
                    ending.get_or_insert(Instant::now() + DRAIN_MAX);
                }
            }
        }
        self.report.waiting = self.outbox.waiting()?;
        Ok(self.report)
    }

    /// Whether waiting is of no use, because nobody takes the subject.
    fn no_stream(&self) -> bool {
        self.report
            .reason
            .as_deref()
            .is_some_and(|reason| reason.starts_with(NO_STREAM))
    }

    /// Publishes until the outbox is empty, or nobody takes what is left in it: then it says why. Messages keep the order of
    /// their subject, and those of one subject do not wait for another.
    fn publish_all(&mut self) -> Result<Option<String>> {
        let (mut waiting, mut reason) = (BTreeSet::new(), None);
        loop {
            let messages = self.outbox.oldest(MESSAGES_AT_ONCE, &waiting)?;
            if messages.is_empty() {
                return Ok(reason);
            }
            fail_point::pass("before-publish");
            self.measure(&messages);
            let (taken, failed) = self
                .nats
                .runtime
                .block_on(publish(&self.nats, &messages, &self.too_large));
            self.report.published += taken.len() as u64;
            fail_point::pass("after-publish");
            self.outbox.remove(&taken)?;
            fail_point::pass("after-remove");
            for id in &taken {
                self.too_large.remove(id);
            }
            let Some(Failed {
                message,
                why,
                of_server,
            }) = failed
            else {
                continue;
            };
            if why.is_none() && self.too_large.insert(message.id) {
                continue;
            }
            let why = why.unwrap_or_else(|| {
                format!(
                    "the stream of subject {} does not take a dead letter even without its payload; let its messages be larger",
                    message.subject
                )
            });
            waiting.insert(message.subject.clone());
            reason.get_or_insert(why);
            if of_server {
                return Ok(reason);
            }
        }
    }

    /// Finds out which dead letters are too large for their stream. It has to be known before anything behind them is sent:
    /// what a stream holds of a subject must be what stands first in the outbox, see [`Worker::forget_published`].
    fn measure(&mut self, messages: &[OutgoingMessage]) {
        for message in messages.iter().filter(|message| message.is_letter()) {
            if !self.bytes_max.contains_key(&message.subject) {
                // Where no stream takes the subject, publishing says so.
                let Some(most) = self.nats.runtime.block_on(bytes_max(&self.nats, &message.subject)) else {
                    continue;
                };
                self.bytes_max.insert(message.subject.clone(), most);
            }
            if self
                .bytes_max
                .get(&message.subject)
                .is_some_and(|most| bytes(message) > *most)
            {
                self.too_large.insert(message.id);
            }
        }
    }

    /// Removes what an earlier process published and did not live to remove.
    fn forget_published(&self) -> Result<()> {
        let waiting = self.outbox.oldest(usize::MAX >> 1, &BTreeSet::new())?;
        let subjects: BTreeSet<&str> = waiting.iter().map(|message| message.subject.as_str()).collect();
        for subject in subjects {
            let Some(last) = self.nats.runtime.block_on(last_message_id(&self.nats, subject)) else {
                continue;
            };
            let mine: Vec<&OutgoingMessage> = waiting.iter().filter(|message| message.subject == subject).collect();
            if let Some(at) = mine.iter().position(|message| message.message_id == last) {
                fail_point::pass("forget-published");
                let ids: Vec<i64> = mine.iter().take(at + 1).map(|message| message.id).collect();
                self.outbox.remove(&ids)?;
            }
        }
        Ok(())
    }
}

const NO_STREAM: &str = "no stream takes";

/// The first message that the server did not take.
struct Failed<'m> {
    message: &'m OutgoingMessage,
    /// Why; nothing for a dead letter that is larger than may be.
    why: Option<String>,
    /// Whether the server does not answer at all, so that messages to other subjects fare no better.
    of_server: bool,
}

/// Publishes messages in order, without their payloads those that are known to be `too_large`. Gives those that the server
/// has, up to one that it does not take.
async fn publish<'m>(
    nats: &Nats,
    messages: &'m [OutgoingMessage],
    too_large: &BTreeSet<i64>,
) -> (Vec<i64>, Option<Failed<'m>>) {
    let mut sent = Vec::with_capacity(messages.len());
    for message in messages {
        let payload = match too_large.contains(&message.id) {
            true => Vec::new(),
            false => message.payload.clone(),
        };
        let headers = headers(message, payload.len());
        fail_point::pass("between-publishes");
        let ack = nats
            .jetstream
            .publish_with_headers(message.subject.clone(), headers, payload.into())
            .await;
        let failed = ack.is_err();
        sent.push((message, ack));
        if failed {
            break;
        }
    }
    let mut taken = Vec::new();
    for (message, ack) in sent {
        let outcome = match ack {
            Ok(ack) => ack.await.map(|_| ()),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => taken.push(message.id),
            Err(error) if message.is_letter() && is_too_large(&error) => {
                let failed = Failed {
                    message,
                    why: None,
                    of_server: false,
                };
                return (taken, Some(failed));
            }
            Err(error) => {
                let subject = &message.subject;
                let reason = match error.kind() {
                    PublishErrorKind::StreamNotFound => format!(
                        "{NO_STREAM} subject {subject}; make one with\n  nats stream add {} --subjects '{subject}' --storage file --defaults",
                        if message.is_letter() { "DEAD-LETTERS" } else { "ALERTS" }
                    ),
                    _ => format!("{subject} at {}: {error}", nats.server),
                };
                let failed = Failed {
                    message,
                    why: Some(reason),
                    of_server: matches!(error.kind(), PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe),
                };
                return (taken, Some(failed));
            }
        }
    }
    (taken, None)
}

/// The headers of a message whose payload is sent in so many bytes.
fn headers(message: &OutgoingMessage, bytes: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, message.message_id.as_str());
    for (name, value) in &message.headers {
        // They were made safe when they were written; what a header cannot hold all the same is left out.
        if let (Ok(name), Ok(value)) = (HeaderName::from_str(name), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    if bytes < message.payload.len() {
        headers.insert("Weir-Payload-Bytes", message.payload.len().to_string());
    }
    headers
}

/// Whether the server, or the stream, takes no message of that size.
fn is_too_large(error: &PublishError) -> bool {
    let of_stream = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<jetstream::Error>()
            .is_some_and(|cause| cause.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM)
    };
    error.kind() == PublishErrorKind::MaxPayloadExceeded || error.source().is_some_and(of_stream)
}

/// How many bytes a message has for its stream, with its headers.
fn bytes(message: &OutgoingMessage) -> usize {
    let headers = message.headers.iter().map(|(name, value)| name.len() + value.len() + 4);
    // The first line, the message id, and the line that ends them.
    headers.sum::<usize>() + 12 + 15 + message.message_id.len() + message.payload.len()
}

/// How many bytes the stream of a subject takes in one message.
async fn bytes_max(nats: &Nats, subject: &str) -> Option<usize> {
    let stream = nats.jetstream.stream_by_subject(subject).await.ok()?;
    let stream = nats.jetstream.get_stream(stream).await.ok()?;
    let most = stream.cached_info().config.max_message_size;
    Some(
        usize::try_from(most)
            .ok()
            .filter(|most| *most > 0)
            .unwrap_or(usize::MAX),
    )
}

/// The name of the last message that a stream holds of `subject`.
async fn last_message_id(nats: &Nats, subject: &str) -> Option<String> {
    let stream = nats.jetstream.stream_by_subject(subject).await.ok()?;
    let stream = nats.jetstream.get_stream(stream).await.ok()?;
    let last = stream.get_last_raw_message_by_subject(subject).await.ok()?;
    last.headers.get(NATS_MESSAGE_ID).map(ToString::to_string)
}
