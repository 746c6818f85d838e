//! Making streams and filling them, for the demo and for the developer of a rule; and looking at single messages.

use super::Nats;
use crate::error::{Context as _, Error, Result};
use async_nats::jetstream::{
    context::GetStreamErrorKind,
    stream::{Config, RawMessageErrorKind},
};

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
        self.runtime.block_on(async {
            for part in messages.chunks(MESSAGES_AT_ONCE) {
                let mut acks = Vec::with_capacity(part.len());
                for (subject, payload) in part {
                    acks.push(
                        self.jetstream
                            .publish(subject.as_ref().to_owned(), payload.clone().into())
                            .await,
                    );
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
