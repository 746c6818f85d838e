//! Streams by their names, and what a database knows of one.

use crate::{
    error::{Error, Result},
    model::subject::listed,
    nats::Nats,
};
use async_nats::jetstream::{
    consumer::{AckPolicy, DeliverPolicy, pull},
    stream::{LastRawMessageErrorKind, Stream},
};
use std::{fmt, time::Duration};

/// A consumer that only says where an instant is; the server removes it after this if we do not live to do it.
const PROBE_INACTIVE_MAX: Duration = Duration::from_secs(10);

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

/// An instant for people.
pub(in crate::nats) fn stored_at(nanoseconds: i128) -> String {
    jiff::Timestamp::from_nanosecond(nanoseconds).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}

/// The sequence of the first message that was stored then or later; the next one to come where there is none.
pub(in crate::nats) async fn first_at(nats: &Nats, stream: &Stream, nanoseconds: i128) -> Result<u64> {
    let state = &stream.cached_info().state;
    if state.messages == 0 || nanoseconds > state.last_timestamp.unix_timestamp_nanos() {
        return Ok(state.last_sequence + 1);
    }
    if nanoseconds <= state.first_timestamp.unix_timestamp_nanos() {
        return Ok(state.first_sequence);
    }
    let name = &stream.cached_info().config.name;
    let failed = |cause: &dyn fmt::Display| {
        Error::environment(format!(
            "cannot find {} in stream {name} at {}: {cause}",
            stored_at(nanoseconds),
            nats.server
        ))
    };
    // The server knows where a consumer would begin that begins at an instant.
    let start_time = async_nats::datetime::from_nanos(nanoseconds).map_err(|cause| failed(&cause))?;
    let probe = stream
        .create_consumer(pull::Config {
            name: Some(format!("weir-place-{:016x}", fastrand::u64(..))),
            deliver_policy: DeliverPolicy::ByStartTime { start_time },
            ack_policy: AckPolicy::None,
            inactive_threshold: PROBE_INACTIVE_MAX,
            memory_storage: true,
            num_replicas: 1,
            ..Default::default()
        })
        .await
        .map_err(|cause| failed(&cause))?;
    let info = probe.cached_info();
    let _ = stream.delete_consumer(&info.name).await;
    Ok(info.delivered.stream_sequence + 1)
}
