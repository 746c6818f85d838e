//! Messages: published, read and deleted.

use super::{ALERTS, Client, INSURANCE};
use crate::{events::Event, wait_until};
use async_nats::{HeaderMap, header::NATS_MESSAGE_ID, jetstream::context::PublishAckFuture};
use futures_util::TryStreamExt;

/// Messages that are published before the first answer is waited for.
const MESSAGES_AT_ONCE: usize = 1_000;

/// A message as the stream holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) payload: String,
}

/// A message with its headers.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    headers: HeaderMap,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    /// What a header holds; nothing where it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.as_str())
    }
}

impl Client {
    /// Publishes a message under this name.
    #[track_caller]
    pub(crate) fn publish_as(&self, id: &str, subject: &'static str, payload: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id);
        let payload = payload.to_owned().into();
        let stored = self.runtime.block_on(async {
            let sent = self.jetstream.publish_with_headers(subject, headers, payload).await;
            sent.expect("it can be sent").await
        });
        stored.expect("it is stored");
    }

    /// How many messages a stream holds of a subject.
    #[track_caller]
    pub(crate) fn count_of(&self, stream: &str, subject: &str) -> usize {
        let stream = self.stream(stream);
        self.runtime.block_on(async {
            let subjects = stream.info_with_subjects(subject).await;
            let counts: Vec<(String, usize)> = subjects.expect("it can be read").try_collect().await.expect("counts");
            counts.iter().map(|(_, count)| count).sum()
        })
    }

    /// Publishes events in order; gives the sequence of the last one.
    #[track_caller]
    pub(crate) fn publish(&self, events: &[Event]) -> u64 {
        self.runtime.block_on(async {
            let mut last = 0;
            for part in events.chunks(MESSAGES_AT_ONCE) {
                let mut acks: Vec<PublishAckFuture> = Vec::with_capacity(part.len());
                for (subject, payload) in part {
                    let sent = self.jetstream.publish(*subject, payload.clone().into()).await;
                    acks.push(sent.expect("an event can be sent"));
                }
                for ack in acks {
                    last = ack.await.expect("an event is stored").sequence;
                }
            }
            last
        })
    }

    /// Waits until the server has forgotten every message id that it knows now.
    #[track_caller]
    pub(crate) fn wait_for_end_of_duplicate_window(&self) {
        wait_until("the end of the duplicate window", || {
            let publish = async {
                let mut headers = HeaderMap::new();
                headers.insert(NATS_MESSAGE_ID, "probe");
                let sent = self
                    .jetstream
                    .publish_with_headers("alerts.probe", headers, "".into())
                    .await;
                let stored = sent
                    .expect("the probe can be sent")
                    .await
                    .expect("the probe is answered");
                // The second that is no duplicate.
                !stored.duplicate && stored.sequence > self.first_probe().await
            };
            self.runtime.block_on(publish)
        });
    }

    /// The sequence of the first probe.
    async fn first_probe(&self) -> u64 {
        let stream = self
            .jetstream
            .get_stream(ALERTS)
            .await
            .expect("there is a stream of alerts");
        let first = stream.get_first_raw_message_by_subject("alerts.probe", 1).await;
        first.expect("the first probe is stored").sequence
    }

    /// Everything that a stream holds of a subject, in order.
    #[track_caller]
    pub(crate) fn messages(&self, stream: &str, subject: &str) -> Vec<Stored> {
        let stream = self.stream(stream);
        let last = stream.cached_info().state.last_sequence;
        let mut messages = Vec::new();
        for sequence in 1..=last {
            // One that was deleted is no message.
            let Ok(message) = self.runtime.block_on(stream.get_raw_message(sequence)) else {
                continue;
            };
            if *message.subject == *subject {
                messages.push(Stored {
                    id: message
                        .headers
                        .get(NATS_MESSAGE_ID)
                        .map(ToString::to_string)
                        .unwrap_or_default(),
                    payload: String::from_utf8(message.payload.into()).expect("alerts are UTF-8"),
                });
            }
        }
        messages
    }

    /// Everything that a stream holds of a subject, in order, with headers.
    #[track_caller]
    pub(crate) fn messages_with_headers(&self, stream: &str, subject: &str) -> Vec<Message> {
        let stream = self.stream(stream);
        let all = (1..=stream.cached_info().state.last_sequence).map(|sequence| {
            let message = self.runtime.block_on(stream.get_raw_message(sequence));
            message.expect("nothing was deleted")
        });
        all.filter(|message| *message.subject == *subject)
            .map(|message| Message {
                headers: message.headers,
                payload: message.payload.into(),
            })
            .collect()
    }

    /// Publishes a message with a header.
    #[track_caller]
    pub(crate) fn publish_with_header(&self, subject: &'static str, header: (&str, &str), payload: impl Into<Vec<u8>>) {
        let mut headers = HeaderMap::new();
        headers.insert(header.0, header.1);
        self.runtime.block_on(async {
            let sent = self
                .jetstream
                .publish_with_headers(subject, headers, payload.into().into())
                .await;
            sent.expect("it can be sent").await.expect("the message is stored");
        });
    }

    /// Publishes events, and has everything removed while they are still being stored; gives the stream's last sequence.
    #[track_caller]
    pub(crate) fn publish_and_purge(&self, stream: &str, events: &[Event]) -> u64 {
        let mut stream = self.stream(stream);
        self.runtime.block_on(async {
            let mut acks = Vec::with_capacity(events.len());
            for (subject, payload) in events {
                let sent = self.jetstream.publish(*subject, payload.clone().into()).await;
                acks.push(sent.expect("an event can be sent"));
            }
            stream.purge().await.expect("the stream can be purged");
            for ack in acks {
                ack.await.expect("an event is stored");
            }
            stream.info().await.expect("the stream is there").state.last_sequence
        })
    }

    /// Removes one message of a stream.
    #[track_caller]
    pub(crate) fn delete_message(&self, stream: &str, sequence: u64) {
        let stream = self.stream(stream);
        let deleted = self.runtime.block_on(stream.delete_message(sequence));
        assert!(
            deleted.expect("a message can be deleted"),
            "message {sequence} is deleted"
        );
    }

    /// Removes one message of a stream, if there is such a one.
    pub(crate) fn delete_if_there(&self, stream: &str, sequence: u64) {
        let stream = self.stream(stream);
        let _ = self.runtime.block_on(stream.delete_message(sequence));
    }

    /// Deletes the last messages of a subject, so that `keep` are left.
    #[track_caller]
    pub(crate) fn keep_first(&self, stream: &str, subject: &str, keep: usize) {
        let stream = self.stream(stream);
        let mut of_subject = Vec::new();
        for sequence in 1..=stream.cached_info().state.last_sequence {
            if let Ok(message) = self.runtime.block_on(stream.get_raw_message(sequence))
                && *message.subject == *subject
            {
                of_subject.push(sequence);
            }
        }
        for sequence in of_subject.split_off(keep) {
            let deleted = self.runtime.block_on(stream.delete_message(sequence));
            assert!(
                deleted.expect("a message can be deleted"),
                "message {sequence} is deleted"
            );
        }
    }

    /// When a message of the stream was stored, in nanoseconds since 1970-01-01T00:00:00Z.
    #[track_caller]
    pub(crate) fn stored_at(&self, sequence: u64) -> i128 {
        self.stored_at_of(INSURANCE, sequence)
    }

    /// The same for another stream.
    #[track_caller]
    pub(crate) fn stored_at_of(&self, stream: &str, sequence: u64) -> i128 {
        let stream = self.stream(stream);
        let message = self.runtime.block_on(stream.get_raw_message(sequence));
        message.expect("the message is there").time.unix_timestamp_nanos()
    }
}
