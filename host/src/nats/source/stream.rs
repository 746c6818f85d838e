//! What a stream holds, as its server tells it.

use super::super::Nats;
use super::lookup::{first_at, get_stream};
use crate::{
    error::{Error, ErrorKind, Result},
    model::subject::covers,
    source::Stored,
};
use async_nats::jetstream;
use serde::{Deserialize, Serialize};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// By how much a server may be early when it removes what is too old.
const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// A stream at one moment.
#[derive(Clone, Debug)]
pub(super) struct Holds {
    /// When it was made: another stream of this name has another time.
    pub(super) created: String,
    pub(super) stored: Stored,
    /// Whether every message of it is of the source's subjects.
    pub(super) is_dense: bool,
    /// How many messages of a subject it keeps; none where it keeps all.
    pub(super) of_subject_max: Option<u64>,
    /// Whether a publisher may have all messages of a subject replaced by one.
    pub(super) rolls_up: bool,
    /// When it lets go of messages of other subjects.
    pub(super) others: Others,
    /// It removes a message for each that comes.
    is_full: bool,
    /// How long it keeps a message; none without an end.
    age_max: Option<Duration>,
    is_empty: bool,
    last_stored: jiff::Timestamp,
    /// The server's time, and ours when it came.
    now: (jiff::Timestamp, Instant),
}

/// When a stream lets go of messages that the source does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// It holds none.
    None,
    /// At its limits, as those of the source.
    Stay,
    /// When a few of their subject have followed, or when their publisher says so.
    GoSoon,
    /// When they were read, as those of the source do.
    GoWhenRead,
}

/// What is asked of a stream again and again: the sequences that are gone are told only where they changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Deleted {
    first: u64,
    count: u64,
    sequences: Option<Arc<[u64]>>,
}

#[derive(Serialize)]
struct Request {
    deleted_details: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Failed { error: jetstream::Error },
    Info(Box<Info>),
}

#[derive(Deserialize)]
struct Info {
    created: String,
    config: Config,
    state: State,
    ts: Option<String>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    subjects: Option<Vec<String>>,
    #[serde(default)]
    max_msgs: i64,
    #[serde(default)]
    max_bytes: i64,
    /// In nanoseconds.
    #[serde(default)]
    max_age: u64,
    #[serde(default)]
    discard: String,
    #[serde(default)]
    max_msgs_per_subject: i64,
    #[serde(default)]
    allow_rollup_hdrs: bool,
    #[serde(default)]
    allow_msg_ttl: bool,
    #[serde(default)]
    retention: String,
    #[serde(default)]
    mirror: Option<Mirror>,
}

#[derive(Deserialize)]
struct Mirror {
    #[serde(default)]
    filter_subject: String,
    #[serde(default)]
    subject_transforms: Vec<serde::de::IgnoredAny>,
}

impl Config {
    /// Whether the stream has sequences without a message because it never took that: those of another stream that its
    /// filter leaves out.
    fn leaves_out(&self) -> bool {
        let is_filtered = |mirror: &Mirror| !mirror.filter_subject.is_empty() || !mirror.subject_transforms.is_empty();
        self.mirror.as_ref().is_some_and(is_filtered)
    }

    /// Whether the stream makes room for the next message by removing one.
    fn is_full(&self, state: &State) -> bool {
        let reaches = |count: u64, max: i64| u64::try_from(max).is_ok_and(|max| max > 0 && count >= max);
        // Once it has made room, it is more than half full: without what it removed the last message did not fit in.
        self.discard != "new"
            && (reaches(state.messages, self.max_msgs) || reaches(state.bytes.saturating_mul(2), self.max_bytes))
    }

    fn others(&self) -> Others {
        if !matches!(self.retention.as_str(), "" | "limits") {
            Others::GoWhenRead
        } else if self.max_msgs_per_subject > 0 || self.allow_rollup_hdrs || self.allow_msg_ttl {
            Others::GoSoon
        } else {
            Others::Stay
        }
    }
}

#[derive(Deserialize)]
struct State {
    messages: u64,
    #[serde(default)]
    bytes: u64,
    first_seq: u64,
    last_seq: u64,
    last_ts: String,
    #[serde(default)]
    num_deleted: u64,
    #[serde(default)]
    deleted: Option<Vec<u64>>,
}

impl Deleted {
    /// Whether none is behind `through`, where the server says that there are so many from the sequence `first` on.
    pub(super) fn end_before(&self, through: u64, first: u64, count: u64) -> bool {
        let is_known = (self.first, self.count) == (first, count);
        let known = self.sequences.as_deref().filter(|_| is_known);
        count == 0 || known.is_some_and(|known| known.last().is_none_or(|&last| last <= through))
    }
}

impl Holds {
    /// Asks the server.
    pub(super) async fn ask(nats: &Nats, name: &str, subjects: &[String], known: &mut Deleted) -> Result<Self> {
        let mut info = ask(nats, name, subjects, false).await?;
        if info.state.num_deleted == 0 || info.config.leaves_out() {
            known.sequences = Some(Arc::default());
        } else if known.sequences.is_none()
            || (info.state.first_seq, info.state.num_deleted) != (known.first, known.count)
        {
            info = ask(nats, name, subjects, true).await?;
            known.sequences = Some(info.state.deleted.take().unwrap_or_default().into());
        }
        // While the first one stays more can be deleted, and none comes back.
        (known.first, known.count) = (info.state.first_seq, info.state.num_deleted);
        // Servers before 2.10 do not tell the time.
        let now = info.ts.as_ref().and_then(|now| now.parse().ok());
        let others = info.config.others();
        let is_full = info.config.is_full(&info.state);
        let age_max = Some(Duration::from_nanos(info.config.max_age)).filter(|age| !age.is_zero());
        let of_stream = info.config.subjects.unwrap_or_default();
        let is_dense = !of_stream.is_empty()
            && of_stream
                .iter()
                .all(|whole| subjects.iter().any(|subject| covers(subject, whole)));
        Ok(Self {
            created: info.created,
            stored: Stored {
                first: info.state.first_seq,
                last: info.state.last_seq,
                deleted: known.sequences.clone().unwrap_or_default(),
            },
            is_dense,
            others: if is_dense { Others::None } else { others },
            of_subject_max: u64::try_from(info.config.max_msgs_per_subject)
                .ok()
                .filter(|&max| max > 0),
            rolls_up: info.config.allow_rollup_hdrs,
            is_full,
            age_max,
            is_empty: info.state.messages == 0,
            last_stored: info.state.last_ts.parse().unwrap_or(jiff::Timestamp::MAX),
            now: (now.unwrap_or_else(jiff::Timestamp::now), Instant::now()),
        })
    }

    /// Asks until the server answers. What waiting does not mend is an error.
    pub(super) async fn ask_until_answered(
        nats: &Nats,
        name: &str,
        subjects: &[String],
        known: &mut Deleted,
    ) -> Result<Self> {
        let mut pauses = crate::nats::BackOff::new();
        loop {
            match Self::ask(nats, name, subjects, known).await {
                Err(error) if matches!(error.kind(), ErrorKind::Environment | ErrorKind::Unavailable) => {
                    tokio::time::sleep(pauses.next()).await;
                }
                answered => return answered,
            }
        }
    }

    /// Whether the stream's own limits may have removed what it stored since an instant of ours.
    pub(super) fn rolled_over_since(&self, then: Option<Instant>) -> bool {
        let is_older = |age| then.is_none_or(|then| age <= self.since(then) + CLOCK_SLACK);
        self.is_full || self.age_max.is_some_and(is_older)
    }

    /// How long before the server was asked an instant of ours was.
    pub(super) fn since(&self, then: Instant) -> Duration {
        self.now.1.saturating_duration_since(then)
    }

    /// The last sequence that was stored before an instant of ours; 0 where that cannot be told.
    pub(super) async fn last_before(&self, nats: &Nats, name: &str, subjects: &[String], then: Instant) -> Result<u64> {
        let ago = self.since(then).min(Duration::from_secs(1 << 30));
        let Ok(then) = self.now.0.checked_sub(ago) else {
            return Ok(0);
        };
        if self.last_stored < then {
            return Ok(self.stored.last);
        }
        if self.is_empty {
            return Ok(0);
        }
        let stream = get_stream(nats, name, subjects).await?;
        // Of messages that are gone nobody knows when they were stored, unless one behind them was before.
        let mut last = first_at(nats, &stream, then.as_nanosecond()).await?.saturating_sub(1);
        let deleted = self.stored.deleted.partition_point(|&deleted| deleted <= last);
        for &deleted in self.stored.deleted.iter().take(deleted).rev() {
            if deleted != last {
                break;
            }
            last -= 1;
        }
        Ok(if last >= self.stored.first { last } else { 0 })
    }
}

async fn ask(nats: &Nats, name: &str, subjects: &[String], deleted_details: bool) -> Result<Info> {
    let request = Request { deleted_details };
    let answer = nats.jetstream.request(format!("STREAM.INFO.{name}"), &request).await;
    match answer {
        Ok(Answer::Info(info)) => Ok(*info),
        Ok(Answer::Failed { error }) if error.code() == 404 => {
            // What it says names what would mend it.
            get_stream(nats, name, subjects).await?;
            Err(Error::environment(format!(
                "stream {name} at {} comes and goes",
                nats.server
            )))
        }
        Ok(Answer::Failed { error }) => Err(Error::environment(format!(
            "cannot read stream {name} at {}: {error}",
            nats.server
        ))),
        Err(cause) => Err(Error::environment(format!(
            "stream {name} at {} does not answer: {cause}",
            nats.server
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::Deleted;

    #[test]
    fn what_the_server_told_before_says_whether_something_is_gone_behind_a_place() {
        let known = Deleted {
            first: 3,
            count: 2,
            sequences: Some([7, 12].into()),
        };
        assert!(known.end_before(12, 3, 2));
        assert!(!known.end_before(11, 3, 2), "12 is behind");
        assert!(!known.end_before(12, 3, 3), "another one is gone");
        assert!(!known.end_before(12, 4, 2), "it may be other ones");
        assert!(known.end_before(0, 13, 0), "none is missing within the stream");
        assert!(!Deleted::default().end_before(9, 0, 1));
    }
}
