//! One round of publishing: some messages of each subject are sent before the first answer is waited for.
//!
//! The server may refuse any message on its own (it is too large, the stream is full, …), and those behind it are sent by
//! then. So each but the first names the one before it as what the stream has to end with (`Nats-Expected-Last-Msg-Id`): the
//! server refuses all that stand behind a message that it refused, and the order of the subject stands. Where others publish
//! into the same stream in between, it refuses too much; what is refused so is sent again, fewer at a time.

use crate::{fail_point, nats::Nats, storage::OutgoingMessage};
use async_nats::{
    HeaderMap, HeaderName, HeaderValue,
    header::{NATS_EXPECTED_LAST_MESSAGE_ID, NATS_MESSAGE_ID},
    jetstream::{
        self, ErrorCode,
        context::{PublishAckFuture, PublishError, PublishErrorKind},
        publish::PublishAck,
    },
};
use std::{collections::BTreeSet, error::Error as _, str::FromStr};
use tokio::time::{Instant, timeout_at};

/// What the server says to a message.
pub(super) type Answer = Result<PublishAck, PublishError>;

/// Sends runs of messages, each run of one subject and in its order, and gives the answers in the same order; a run of
/// answers ends early where a message could not even be sent. All answers of a run have to be there by its deadline: a
/// subject whose answers do not come holds up the others so long, however many its messages are. Messages whose places are
/// in `bare` go without their payloads.
pub(super) async fn publish(
    nats: &Nats,
    runs: &[(&[OutgoingMessage], Instant)],
    bare: &BTreeSet<i64>,
) -> Vec<Vec<Answer>> {
    let mut sent = Vec::with_capacity(runs.len());
    for (run, deadline) in runs {
        sent.push((send(nats, run, bare).await, *deadline));
    }
    let mut answers = Vec::with_capacity(runs.len());
    for (acks, deadline) in sent {
        let mut of_run = Vec::with_capacity(acks.len());
        for ack in acks {
            of_run.push(answer(ack, deadline).await);
        }
        answers.push(of_run);
    }
    answers
}

async fn send(
    nats: &Nats,
    run: &[OutgoingMessage],
    bare: &BTreeSet<i64>,
) -> Vec<Result<PublishAckFuture, PublishError>> {
    let mut acks = Vec::with_capacity(run.len());
    let mut before: Option<&str> = None;
    for message in run {
        let payload = match bare.contains(&message.id) {
            true => Vec::new(),
            false => message.payload.clone(),
        };
        let mut headers = headers(message, payload.len());
        if let Some(before) = before {
            headers.insert(NATS_EXPECTED_LAST_MESSAGE_ID, before);
        }
        before = Some(&message.message_id);
        fail_point::pass("between-publishes");
        let ack = nats
            .jetstream
            .publish_with_headers(message.subject.clone(), headers, payload.into())
            .await;
        let failed = ack.is_err();
        acks.push(ack);
        if failed {
            break;
        }
    }
    acks
}

async fn answer(ack: Result<PublishAckFuture, PublishError>, deadline: Instant) -> Answer {
    let ack = ack?;
    timeout_at(deadline, ack.into_future())
        .await
        .unwrap_or_else(|_| Err(PublishError::new(PublishErrorKind::TimedOut)))
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

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The one before it is not the last of the stream.
    Order,
    /// The server takes no message of that size.
    TooLargeForServer,
    /// The stream takes no message of that size.
    TooLargeForStream,
    /// No stream takes the subject.
    NoStream,
    /// There was no answer: it may be stored.
    NoAnswer,
    /// Anything else that the server said.
    Other,
}

impl Refusal {
    pub(super) fn of(error: &PublishError) -> Self {
        let of_stream = |cause: &(dyn std::error::Error + 'static)| {
            cause
                .downcast_ref::<jetstream::Error>()
                .is_some_and(|cause| cause.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM)
        };
        match error.kind() {
            PublishErrorKind::WrongLastMessageId => Self::Order,
            PublishErrorKind::MaxPayloadExceeded => Self::TooLargeForServer,
            PublishErrorKind::StreamNotFound => Self::NoStream,
            PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Self::NoAnswer,
            _ if error.source().is_some_and(of_stream) => Self::TooLargeForStream,
            _ => Self::Other,
        }
    }
}
