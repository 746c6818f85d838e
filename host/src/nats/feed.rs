//! Making streams and filling them, for the demo and for the developer of a rule; and looking at single messages.

use super::Nats;
use crate::{
    error::{Context as _, Error, Result},
    model::headers::Headers,
    text::printable,
};
use async_nats::{
    HeaderMap, HeaderName, HeaderValue,
    jetstream::{
        context::GetStreamErrorKind,
        stream::{Config, RawMessageErrorKind},
    },
};
use std::str::FromStr;

/// Messages that are published before the first answer is waited for.
const MESSAGES_AT_ONCE: usize = 500;

impl Nats {
    /// Makes a file stream.
    ///
    /// # Errors
    /// When the server does not make it.
    pub fn make_stream(&self, name: &str, subjects: &[impl AsRef<str>]) -> Result<()> {
        let config = Config {
            name: name.to_owned(),
            subjects: subjects.iter().map(|subject| subject.as_ref().to_owned()).collect(),
            ..Default::default()
        };
        let made = self.runtime.block_on(self.jetstream.create_stream(config));
        made.map(|_| ())
            .environment(|| format!("cannot make stream {name} at {}", self.server))
    }

    /// Whether the server has a stream of that name.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn has_stream(&self, name: &str) -> Result<bool> {
        match self.runtime.block_on(self.jetstream.get_stream(name)) {
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(cause) if cause.code() == 404 => Ok(false),
                _ => Err(Error::environment(format!(
                    "cannot look for stream {name} at {}: {error}",
                    self.server
                ))),
            },
        }
    }

    /// How many replicas a stream has; one where that is not known.
    pub fn replicas_of(&self, stream: &str) -> usize {
        let found = self.runtime.block_on(self.jetstream.get_stream(stream));
        found.map_or(1, |stream| stream.cached_info().config.num_replicas.max(1))
    }

    /// The payload of a message, and when it was stored, in milliseconds since 1970-01-01T00:00:00Z; nothing when it is not
    /// there any more.
    ///
    /// # Errors
    /// When there is no such stream, or the server does not answer.
    pub fn message(&self, stream: &str, sequence: u64) -> Result<Option<(i64, Vec<u8>)>> {
        let failed = |cause: &dyn std::fmt::Display| {
            Error::environment(format!(
                "cannot read message {sequence} of stream {stream} at {}: {cause}",
                self.server
            ))
        };
        self.runtime.block_on(async {
            let stream = self
                .jetstream
                .get_stream(stream)
                .await
                .map_err(|cause| failed(&cause))?;
            match stream.get_raw_message(sequence).await {
                Ok(message) => {
                    let stored_ms = message.time.unix_timestamp_nanos().div_euclid(1_000_000) as i64;
                    Ok(Some((stored_ms, message.payload.to_vec())))
                }
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(failed(&error)),
            }
        })
    }

    /// Publishes messages, in order, and waits until the server has stored them all.
    ///
    /// # Errors
    /// When the server did not store one. Those before it, and some after it, are stored.
    pub fn publish_all(&self, messages: &[(impl AsRef<str>, Vec<u8>)]) -> Result<()> {
        let messages = messages.iter();
        let messages =
            messages.map(|(subject, payload)| (subject.as_ref().to_owned(), Headers::default(), payload.clone()));
        self.publish_with_headers(messages.collect())
    }

    /// The same with headers.
    ///
    /// # Errors
    /// As [`Nats::publish_all`]; and when the name or the value of a header is none.
    pub fn publish_with_headers(&self, messages: Vec<(String, Headers, Vec<u8>)>) -> Result<()> {
        let mut messages = messages.into_iter();
        self.runtime.block_on(async {
            while messages.len() > 0 {
                let mut acks = Vec::with_capacity(MESSAGES_AT_ONCE.min(messages.len()));
                for (subject, headers, payload) in messages.by_ref().take(MESSAGES_AT_ONCE) {
                    acks.push(match headers.iter().next() {
                        None => self.jetstream.publish(subject, payload.into()).await,
                        Some(_) => {
                            let map = map_of(&headers)?;
                            self.jetstream.publish_with_headers(subject, map, payload.into()).await
                        }
                    });
                }
                for ack in acks {
                    let stored = match ack {
                        Ok(ack) => ack.await.map(|_| ()),
                        Err(error) => Err(error),
                    };
                    stored.environment(|| format!("cannot publish at {}", self.server))?;
                }
            }
            Ok(())
        })
    }
}

/// Headers as the client library has them.
fn map_of(headers: &Headers) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter() {
        let unfit = |what: &str, found: &str| {
            Error::definition(format!(
                "the {what} of a header is \"{}\", which NATS does not take",
                printable(found)
            ))
        };
        let of_name = HeaderName::from_str(name).map_err(|_| unfit("name", name))?;
        map.append(
            of_name,
            HeaderValue::from_str(value).map_err(|_| unfit("value", value))?,
        );
    }
    Ok(map)
}
