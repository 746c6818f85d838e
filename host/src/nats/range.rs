//! Ranges of a stream, as a person names them: by sequence, or by when a message was stored.

use super::{
    Nats,
    source::{first_at, get_stream, identity_of, last_sequence, stored_at},
};
use crate::error::{Error, Result};
use async_nats::jetstream::stream::Stream;
use std::fmt;

/// Of how many removed messages the server is asked for the sequences.
const REMOVED_LISTED_MAX: u64 = 50_000;

/// A place in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A sequence.
    Sequence(u64),
    /// An instant, among those at which messages were stored.
    StoredAt(jiff::Timestamp),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequence(sequence) => write!(f, "sequence {sequence}"),
            Self::StoredAt(time) => write!(f, "{time}"),
        }
    }
}

/// The messages of some subjects from one place of its stream to another, both included.
#[derive(Clone, Debug)]
pub struct StreamRange {
    /// The name under which a database knows it. The end is no part of it: more may be asked for later.
    pub identity: String,
    /// The first sequence.
    pub first: u64,
    /// The last sequence, which is not beyond the last message of the subjects that is stored now. Below `first` where
    /// there is none.
    pub last: u64,
    /// The sequence that was asked for as the last; the greatest there is where none was.
    pub to: u64,
    /// Why the beginning is not all there.
    gone: Option<String>,
    /// What is missing in between, where a place was named: removed singly, or by a purge of a subject. Which subject a
    /// message had that is gone, the server does not know any more.
    pub removed: Option<String>,
}

impl StreamRange {
    /// Finds the range in the stream: all that is there, unless `from` or `to` say otherwise.
    ///
    /// # Errors
    /// When there is no such stream, `from` is beyond its end or behind `to`, or the server does not answer.
    pub fn find(
        nats: &Nats,
        stream: &str,
        subjects: &[String],
        from: Option<Place>,
        to: Option<Place>,
    ) -> Result<Self> {
        let runtime = nats.runtime.clone();
        runtime.block_on(async {
            let found = get_stream(nats, stream, subjects).await?;
            let state = &found.cached_info().state;
            let first = match from {
                None => 1,
                Some(Place::Sequence(sequence)) => sequence,
                Some(Place::StoredAt(time)) => first_at(nats, &found, time.as_nanosecond()).await?,
            };
            let to_sequence = match to {
                None => u64::MAX,
                Some(Place::Sequence(sequence)) => sequence,
                Some(Place::StoredAt(time)) => first_at(nats, &found, time.as_nanosecond() + 1).await? - 1,
            };
            if let (Some(from), Some(to)) = (from, to)
                && is_after(from, to, first, to_sequence)
            {
                return Err(Error::definition(format!(
                    "--from is {from}, which is after --to, {to}"
                )));
            }
            if first > state.last_sequence + 1 {
                return Err(Error::definition(format!(
                    "--from is sequence {first}, but stream {stream} ends at sequence {}",
                    state.last_sequence
                )));
            }
            let whole = match from {
                None => true,
                Some(Place::Sequence(sequence)) => sequence >= state.first_sequence,
                // A stream that was emptied has no first message, and what it had was stored up to its last time.
                Some(Place::StoredAt(time)) if state.messages == 0 => {
                    state.last_sequence == 0 || time.as_nanosecond() > state.last_timestamp.unix_timestamp_nanos()
                }
                Some(Place::StoredAt(time)) => {
                    state.first_sequence <= 1 || time.as_nanosecond() >= state.first_timestamp.unix_timestamp_nanos()
                }
            };
            let gone = (!whole).then(|| {
                if state.messages == 0 {
                    return format!(
                        "stream {stream} is empty: its messages up to sequence {} are gone, and --from asks for \
                         some of them; nothing is left to replay",
                        state.last_sequence
                    );
                }
                format!(
                    "stream {stream} begins at sequence {0}, stored at {1}: messages before it are gone, and --from \
                     asks for some of them. Say --from {0}, or leave it out, to replay what is there",
                    state.first_sequence,
                    stored_at(state.first_timestamp.unix_timestamp_nanos())
                )
            });
            let removed = match from.or(to) {
                Some(_) if gone.is_none() => removed(&found, first, to_sequence).await?,
                _ => None,
            };
            let begin = from.map_or("the first message".to_owned(), |from| from.to_string());
            Ok(Self {
                identity: format!("a replay of {}, from {begin} on", identity_of(&found, subjects)),
                first,
                last: to_sequence.min(last_sequence(nats, &found, subjects).await?),
                to: to_sequence,
                gone,
                removed,
            })
        })
    }

    /// Whether the beginning of the range is there.
    ///
    /// # Errors
    /// When messages that it asks for are gone.
    pub fn check_whole(&self) -> Result<()> {
        self.gone
            .as_ref()
            .map_or(Ok(()), |gone| Err(Error::definition(gone.clone())))
    }
}

/// What was removed from the middle of a stream, between two places of it.
async fn removed(stream: &Stream, first: u64, last: u64) -> Result<Option<String>> {
    let state = &stream.cached_info().state;
    let name = &stream.cached_info().config.name;
    let (first, last) = (first.max(state.first_sequence), last.min(state.last_sequence));
    let in_all = state.deleted_count.unwrap_or(0);
    if in_all == 0 || first > last {
        return Ok(None);
    }
    let count = if in_all > REMOVED_LISTED_MAX {
        format!("{in_all} messages of the whole stream were")
    } else {
        let fetched = stream.info_builder().with_deleted(true).fetch().await;
        let info = fetched.map_err(|cause| {
            Error::unavailable(format!("cannot look for removed messages in stream {name}: {cause}"))
        })?;
        let listed = info.info.state.deleted.unwrap_or_default();
        match listed
            .iter()
            .filter(|sequence| (first..=last).contains(sequence))
            .count()
        {
            0 => return Ok(None),
            1 => "1 message was".to_owned(),
            count => format!("{count} messages were"),
        }
    };
    Ok(Some(format!(
        "stream {name} is not whole from sequence {first} to {last}: {count} removed singly or by a purge of a subject, \
         and those of them that were on subjects of this pipeline are not replayed"
    )))
}

/// Whether a range ends before it begins, as it was written.
fn is_after(from: Place, to: Place, first: u64, last: u64) -> bool {
    match (from, to) {
        (Place::Sequence(from), Place::Sequence(to)) => from > to,
        (Place::StoredAt(from), Place::StoredAt(to)) => from > to,
        _ => first > last.saturating_add(1),
    }
}
