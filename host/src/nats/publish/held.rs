//! What a stream holds of the messages that wait: an earlier process may have published some of them and died before they
//! left the outbox, or the server may have stored some and not come to say so.
//!
//! A message is known to be stored by its own name alone. That one behind it is there is no proof: the stream may have
//! refused this one.

use crate::{nats::Nats, storage::StoredAt};
use async_nats::{
    header::NATS_MESSAGE_ID,
    jetstream::{
        context::GetStreamByNameErrorKind,
        stream::{LastRawMessageErrorKind, Stream},
    },
};
use std::collections::HashMap;

/// Messages of a subject that are looked at, and names that are looked for. What is under way at once is far less, so that
/// more come in question only where a copy of a database, or others who publish to the subject, have been busy since. Beyond
/// it, messages are published again.
pub(super) const LOOK_MESSAGES_MAX: usize = 10_000;

/// Bytes of them: their payloads come along.
const LOOK_BYTES_MAX: usize = 64 << 20;

/// Finds which messages of `waiting`, names with places in the outbox, the stream of a subject holds. It begins behind the
/// message that was `last` known to be stored, and where nothing is known of that, some way before the end of the stream.
pub(super) async fn held(
    nats: &Nats,
    subject: &str,
    last: Option<StoredAt>,
    waiting: &HashMap<String, i64>,
) -> Result<Vec<i64>, String> {
    let name = match nats.jetstream.stream_by_subject(subject).await {
        Ok(name) => name,
        // Publishing will say so.
        Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("which stream takes subject {subject} is not known: {error}")),
    };
    let failed = |cause: &dyn std::fmt::Display| format!("stream {name} cannot be read: {cause}");
    let stream = nats.jetstream.get_stream(&name).await.map_err(|error| failed(&error))?;
    let mut next = first_sequence(&stream, last);
    let (mut found, mut bytes) = (Vec::new(), 0);
    for _ in 0..LOOK_MESSAGES_MAX {
        let message = match stream.get_first_raw_message_by_subject(subject, next).await {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => break,
            Err(error) => return Err(failed(&error)),
        };
        if let Some(id) = message
            .headers
            .get(NATS_MESSAGE_ID)
            .and_then(|id| waiting.get(id.as_str()))
        {
            found.push(*id);
        }
        bytes += message.payload.len();
        next = message.sequence + 1;
        if found.len() == waiting.len() || bytes > LOOK_BYTES_MAX {
            break;
        }
    }
    Ok(found)
}

fn first_sequence(stream: &Stream, last: Option<StoredAt>) -> u64 {
    let info = stream.cached_info();
    let state = &info.state;
    match last {
        // A stream that ends before it was made anew.
        Some(last) if last.stream == info.config.name && last.sequence <= state.last_sequence => last.sequence + 1,
        _ => state
            .first_sequence
            .max((state.last_sequence + 1).saturating_sub(LOOK_MESSAGES_MAX as u64)),
    }
}
