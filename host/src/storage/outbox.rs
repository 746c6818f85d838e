//! Messages that are committed and not yet known to be published.

use crate::{error::Result, plan::Plan};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

/// The step of dead letters that are messages: rows that the server will never take.
pub const PUBLISH: &str = "publish";

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// Its place in the outbox.
    pub id: i64,
    /// The subject.
    pub subject: String,
    /// The name by which the server drops a second copy.
    pub message_id: String,
    /// What is published: the row as a JSON object, or the payload of a dead letter.
    pub payload: Vec<u8>,
    /// Names and values beside the message id; none but with a dead letter.
    pub headers: Vec<(String, String)>,
}

impl OutgoingMessage {
    /// Whether it is a dead letter.
    pub fn is_letter(&self) -> bool {
        !self.headers.is_empty()
    }
}

/// Where a stream holds a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAt {
    /// The stream.
    pub stream: String,
    /// The sequence of the message in it.
    pub sequence: u64,
}

/// What is known of the messages of a pipeline beside those that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Messages that were not published, since they lie before the event from which on messages are.
    pub unpublished: u64,
    /// Rows that the server will never take, which are dead letters of step [`PUBLISH`].
    pub dead: u64,
    /// Messages that somebody dropped.
    pub dropped: u64,
}

/// A message that waits to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingMessage {
    /// The pipeline.
    pub pipeline: String,
    /// The subject that it is for.
    pub subject: String,
    /// The name by which a server drops a second copy.
    pub message_id: String,
    /// The stream sequence of the event that caused it.
    pub sequence: u64,
    /// Whether it is a dead letter, and no row.
    pub is_letter: bool,
    /// What is published.
    pub payload: Vec<u8>,
}

/// Which messages are meant: those that all of it fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// Of this pipeline.
    pub pipeline: Option<String>,
    /// For this subject.
    pub subject: Option<String>,
    /// Caused by events from this sequence on.
    pub from: Option<u64>,
    /// Caused by events up to this sequence.
    pub to: Option<u64>,
}

impl MessageFilter {
    /// Whether every message fits.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

/// The outbox of one pipeline, from which a publisher takes messages. It writes beside the commits of the same pipeline.
///
/// # Errors
/// All fail when the outbox cannot be read or written.
pub trait Outbox: fmt::Debug + Send {
    /// The oldest messages, up to `count` of them and to the one with which their payloads have `bytes`, but for those to
    /// the subjects `without`.
    ///
    /// # Errors
    /// As above.
    fn oldest(&self, count: usize, bytes: usize, without: &BTreeSet<String>) -> Result<Vec<OutgoingMessage>>;

    /// The subjects that messages wait for.
    ///
    /// # Errors
    /// As above.
    fn subjects(&self) -> Result<Vec<String>>;

    /// The names of the oldest messages to `subject`, up to `count` of them, with their places in the outbox.
    ///
    /// # Errors
    /// As above.
    fn names(&self, subject: &str, count: usize) -> Result<HashMap<String, i64>>;

    /// Where the last message to `subject` is that is known to be stored: whatever left the outbox stands there or before.
    ///
    /// # Errors
    /// As above.
    fn last_stored(&self, subject: &str) -> Result<Option<StoredAt>>;

    /// How many messages wait.
    ///
    /// # Errors
    /// As above.
    fn waiting(&self) -> Result<u64>;

    /// Removes messages that the server has, each by its place. `stored` says for subjects where the last message is that
    /// is known to be stored.
    ///
    /// # Errors
    /// As above, and when another process wrote to it. The messages are published again then, and dropped by the server.
    fn remove(&self, ids: &[i64], stored: &BTreeMap<String, StoredAt>) -> Result<()>;

    /// Makes a dead letter of step [`PUBLISH`] of a row that the server will never take, for this reason. Where the pipeline
    /// publishes dead letters, so is this one.
    ///
    /// # Errors
    /// As above. The row is in the outbox then, as it was.
    fn bury(&self, plan: &Plan, message: &OutgoingMessage, reason: &str) -> Result<()>;
}
