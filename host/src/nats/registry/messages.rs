//! What a bucket holds, message by message.
//!
//! Not by a consumer, which is how the client library reads a history or an object: JetStream sends what a consumer gives to any
//! subject that its maker names, and asks no permission for that. So who only looks must not need to make one.

use async_nats::jetstream::{
    message::StreamMessage,
    stream::{DirectGetErrorKind, RawMessageErrorKind, Stream},
};

/// The first message of a subject that has this sequence or a later one.
///
/// # Errors
/// When the server does not answer.
pub(super) async fn next_message(
    stream: &Stream,
    subject: &str,
    sequence: u64,
) -> Result<Option<StreamMessage>, String> {
    // Whoever made the bucket may have made it so that its leader alone answers.
    if !stream.cached_info().config.allow_direct {
        return match stream.get_first_raw_message_by_subject(subject, sequence).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(error.to_string()),
        };
    }
    match stream.direct_get_next_for_subject(subject, Some(sequence)).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether a message of a key-value bucket sets its key, and does not remove it.
pub(super) fn is_put(message: &StreamMessage) -> bool {
    ["KV-Operation", "Nats-Marker-Reason"]
        .into_iter()
        .all(|header| message.headers.get(header).is_none())
}
