//! One message as it comes: whether it is new, what it is, and which input takes it.

use super::{JetStreamSource, consumer::Settings};
use crate::{
    error::Result,
    model::{delivery::Message as Delivered, headers::Headers, ids::InputId, subject::matches},
    nats::tick::is_tick,
    source::Seen,
    text::printable,
};
use async_nats::{
    HeaderMap,
    jetstream::{Message, stream::RawMessageErrorKind},
};

/// The header that a server puts in the place of a payload.
const SIZE_HEADER: &str = "Nats-Msg-Size";

impl JetStreamSource {
    /// Decodes one message at once: its payload would keep a whole read buffer in memory.
    pub(super) async fn take(&mut self, message: &Message) -> Result<()> {
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
            let headers = match &message.headers {
                Some(headers) if self.decoder.reads_headers() => headers_of(headers).to_string(),
                _ => String::new(),
            };
            let message = Delivered {
                subject: Some(&message.subject),
                sequence: info.stream_sequence,
                written_sequence: None,
                store_ms: Some(stored_ms),
                headers: &headers,
                payload: &message.payload,
            };
            self.decoder.push_to(input, &message);
        }
        self.ack_subject.clone_from(&message.reply);
        Ok(())
    }

    /// Takes in that the key which is a subject was deleted.
    fn take_tombstone(&mut self, input: InputId, subject: &str, sequence: u64, stored_ms: i64) {
        match &self.options.tombstones {
            Some(tombstones) => {
                let payload = tombstones.payload(subject);
                let message = Delivered {
                    subject: Some(subject),
                    sequence,
                    store_ms: Some(stored_ms),
                    payload: payload.as_bytes(),
                    ..Delivered::default()
                };
                self.decoder.push_to(input, &message);
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
    fn input_of(&mut self, subject: &str) -> Option<InputId> {
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
                    tracing::warn!(
                        stream = self.options.stream,
                        sequence,
                        "message {sequence} of stream {} has a header {SIZE_HEADER} and no payload, and the stream cannot be \
                         asked whether it has one: {cause}; such messages are taken for empty ones",
                        self.options.stream
                    );
                }
                false
            }
        }
    }
}

fn headers_of(map: &HeaderMap) -> Headers {
    let mut headers = Headers::default();
    for (name, values) in map.iter() {
        for value in values {
            headers.add(name.as_ref(), value.as_str());
        }
    }
    headers
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
