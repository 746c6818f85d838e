//! Streams by their names, and what a database knows of one.

use crate::{
    error::{Error, Result},
    model::subject::listed,
    nats::Nats,
};
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};

/// The stream and its subjects, in whichever order they are named.
pub(in crate::nats) fn identity_of(stream: &Stream, subjects: &[String]) -> String {
    let mut subjects = subjects.to_vec();
    subjects.sort();
    format!("{}, {}", made_at(stream), listed(&subjects))
}

pub(super) fn made_at(stream: &Stream) -> String {
    let info = stream.cached_info();
    format!("stream {} made at {}", info.config.name, info.created)
}

/// A stream that was deleted and made anew under its reader has other messages under the same sequences.
pub(super) fn made_anew(name: &str) -> Error {
    Error::mismatch(format!(
        "stream {name} was deleted and made anew while it was read; name another --database for the new one"
    ))
}

pub(in crate::nats) async fn get_stream(nats: &Nats, name: &str, subjects: &[String]) -> Result<Stream> {
    match nats.jetstream.get_stream(name).await {
        Ok(stream) => Ok(stream),
        Err(error) => Err(nats.stream_failed(name, subjects, &error).await),
    }
}

/// The last sequence of the subjects that is stored now; 0 when there is none.
pub(in crate::nats) async fn last_sequence(nats: &Nats, stream: &Stream, subjects: &[String]) -> Result<u64> {
    let mut last = 0;
    for subject in subjects {
        last = last.max(match stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => message.sequence,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => 0,
            Err(error) => {
                let why = nats.denied_read().map_or_else(String::new, |subject| {
                    format!("; it takes the permission to publish to {subject}")
                });
                return Err(Error::environment(format!(
                    "cannot read the last message of {subject} in stream {} at {}: {error}{why}",
                    stream.cached_info().config.name,
                    nats.server
                )));
            }
        });
    }
    Ok(last)
}
