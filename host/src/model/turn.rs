//! Turns: what one commit covers.

use crate::model::{
    delivery::{DeadLetter, Receipt, Scanned},
    deployment::VersionChange,
    ids::{IdVec, SinkId, TableId},
    moved::MovedInTable,
    rows::{KeyedRows, Message},
};
use std::{borrow::Cow, collections::BTreeMap, ops::AddAssign, time::Duration};

/// How many deliveries there were, and what became of them. `events` is the sum of those that count deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Deliveries.
    pub events: u64,
    /// Reached an operator's state, a table, or another sink.
    pub applied: u64,
    /// Left out by a rule, or not found by a lookup.
    pub filtered: u64,
    /// Could not be processed, and are kept with the reason.
    pub dead_letters: u64,
    /// Had an empty payload, or were ticks.
    pub empty: u64,
    /// Rows, not deliveries: they came too late for a step.
    pub late_rows: u64,
    /// Events, of those above: they were farther ahead of their store time than the pipeline believes, and moved no
    /// watermark.
    pub ahead_events: u64,
    /// Rows, not deliveries: a window gave them when it ended, and a rule could not take them. They are kept with the reason
    /// among the dead letters.
    pub dead_rows: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.events += more.events;
        self.applied += more.applied;
        self.filtered += more.filtered;
        self.dead_letters += more.dead_letters;
        self.empty += more.empty;
        self.late_rows += more.late_rows;
        self.ahead_events += more.ahead_events;
        self.dead_rows += more.dead_rows;
    }
}

impl Counts {
    /// These, after `events` dead letters were taken back to see what becomes of them now.
    #[must_use]
    pub fn without_letters(mut self, events: u64) -> Self {
        self.events = self.events.saturating_sub(events);
        self.dead_letters = self.dead_letters.saturating_sub(events);
        self
    }
}

/// The effects of all deliveries since the turn before: committed as one, or not at all.
#[derive(Debug, Default)]
pub struct Turn {
    /// The number of the turn, from 1, over the life of the database.
    pub number: u64,
    /// The last stream sequence that is covered.
    pub position: u64,
    /// What the source needs to acknowledge it.
    pub receipt: Receipt,
    /// How far the source has looked, where it says so.
    pub scanned: Scanned,
    /// When the last delivery was stored, or "now" of it where the source does not know; nothing where there was none.
    pub time_ms: Option<i64>,
    /// What became of the deliveries.
    pub counts: Counts,
    /// The late rows among them, by step.
    pub late_rows: BTreeMap<String, u64>,
    /// Where the watermark stands, where some step follows it.
    pub watermark_ms: Option<i64>,
    /// For each sink of the plan its rows; nothing for a subject.
    pub sinks: IdVec<SinkId, Option<SinkRows>>,
    /// For each lookup table of the plan the rows that the pipeline set.
    pub tables: IdVec<TableId, KeyedRows>,
    /// Messages to publish after the commit.
    pub messages: Vec<Message>,
    /// Deliveries that could not be processed.
    pub dead_letters: Vec<DeadLetter>,
    /// Dead letters of earlier turns whose events are those of this turn. It has no position then: theirs are below that of
    /// the database.
    pub retried: Vec<RetriedLetter>,
    /// What changed in the state of operators.
    pub log: Vec<LogRow>,
    /// Buckets that are written whole, so that older rows of the log can go.
    pub snapshots: Vec<Snapshot>,
    /// Rows of the log up to this turn are not needed any more.
    pub log_obsolete_through: u64,
    /// What happened to the versions of stages.
    pub changes: Vec<VersionChange>,
    /// What stands before each reader of a changelog from then on, where anything did, and which aggregates computed the results in
    /// the states, where others did so far: by the names under which it is remembered.
    pub made: Vec<(String, String)>,
    /// By which events the current rows of changelogs that rules read were changed last.
    pub traces: Vec<ChangelogTrace>,
    /// How long each swap held up the data path.
    pub pauses: Vec<Duration>,
    /// Rows that made a guest trap, run too long, or answer wrongly.
    pub failed_rows: u64,
    /// How often the guests of stages failed, where that changed.
    pub failures: Vec<StepFailures>,
}

/// What one sink hands to the turn.
#[derive(Debug)]
pub enum SinkRows {
    /// What becomes of rows by primary key: of what is said of one key twice, the later holds.
    Upserts(Vec<Upserts>),
    /// Rows to append.
    Appends(Vec<Vec<u8>>),
}

/// What becomes of rows by primary key.
#[derive(Debug)]
pub enum Upserts {
    /// Rows that were collected one by one.
    Collected(KeyedRows),
    /// Rows of a swap.
    Moved(MovedInTable),
}

impl SinkRows {
    /// How many rows there are, at most.
    pub fn len(&self) -> usize {
        match self {
            Self::Upserts(all) => all.iter().map(Upserts::len).sum(),
            Self::Appends(rows) => rows.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Upserts {
    /// How many rows there are, at most.
    pub fn len(&self) -> usize {
        match self {
            Self::Collected(rows) => rows.len(),
            Self::Moved(moved) => moved.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For each key the row that it has now.
    pub fn rows(&self) -> Cow<'_, KeyedRows> {
        match self {
            Self::Collected(rows) => Cow::Borrowed(rows),
            Self::Moved(moved) => Cow::Owned(moved.rows()),
        }
    }
}

/// How often the guest of a stage failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepFailures {
    /// The step.
    pub step: String,
    /// How often.
    pub count: FailureCount,
    /// Whether the next event is one too many, so that the pipeline stopped.
    pub is_stopped: bool,
}

/// How many rows of the open block a stage has judged, and on how many its guest failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailureCount {
    /// Rows that were judged.
    pub judged: u64,
    /// Those of them on which it failed.
    pub failed: u64,
    /// The event of the first of those.
    pub first_sequence: u64,
}

/// By which events the current rows of a changelog were changed last, and what became of them at a swap. Keys stand as
/// [`hash_of_key`](crate::model::row::hash_of_key) has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangelogTrace {
    /// The step that gives the changelog.
    pub step: String,
    /// The key of a current row, and the stream sequence of an event that changed it; in order of arrival, a key as often as
    /// it was changed.
    pub last: Vec<(u64, u64)>,
    /// The rows of tables that swaps made of current rows, or took away, each with the name of the table.
    pub judged: Vec<(String, MovedInTable)>,
}

impl ChangelogTrace {
    /// Nothing yet, of the changelog of this step.
    pub fn of(step: &str) -> Self {
        Self {
            step: step.to_owned(),
            ..Self::default()
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.last.is_empty() && self.judged.is_empty()
    }

    /// How many bytes it has, but for the rows of swaps, which were there before.
    pub fn bytes(&self) -> usize {
        self.last.len() * size_of::<(u64, u64)>()
    }
}

/// A dead letter that was retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetriedLetter {
    /// Its place among the dead letters of the database.
    pub id: i64,
    /// The stream sequence.
    pub sequence: u64,
    /// How often it was retried, this time included.
    pub retries: u64,
}

/// A row of the state log.
#[derive(Debug)]
pub struct LogRow {
    /// The state: `step/name`.
    pub state: String,
    /// Entries, see [`crate::state::push_entry`].
    pub entries: Vec<u8>,
}

/// One bucket of one state.
#[derive(Debug)]
pub struct Snapshot {
    /// The state: `step/name`.
    pub state: String,
    /// The bucket.
    pub bucket: usize,
    /// All of its entries.
    pub entries: Vec<u8>,
}
