//! Pipeline files: the TOML as written, with where each thing stands.
//!
//! This module knows the shape of the file and nothing of what it means; [`crate::plan`] checks the meaning and reports
//! with the places kept here. The reference for people is `docs/PIPELINES.md`.

mod column_source;
mod columns;
mod file;
mod keys;
mod payload_format;
mod project;
mod schema;
mod spanned;
mod trust;
mod type_name;

pub use column_source::ColumnSource;
pub use columns::ColumnMap;
pub use file::File;
pub use keys::Keys;
pub use payload_format::{AvroFormat, Compression, CsvFormat, DebeziumFormat, Framing, PayloadFormat, ProtobufFormat};
pub use project::{Named, PROJECT_FILE, ProjectFile};
pub use spanned::Spanned;
pub use trust::{NamedKey, Trust, TrustedKey};
pub use type_name::NamedType;

use crate::{
    model::{column::ColumnType, path::ValuePath},
    text::printable,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

/// Text with its place in the file.
pub type Name = Spanned<String>;

/// A pipeline file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition<'t> {
    /// The pipeline's name: its database, its consumer and its state are called by it.
    pub name: Name,
    /// What "now" is.
    #[serde(default)]
    pub now: Now,
    /// When events happened, and how far out of order they come.
    pub event_time: Option<Spanned<EventTime>>,
    /// When turns are committed.
    pub commit: Option<Commit>,
    /// Where events come from; in the file it may be the name of a source that the project shares.
    #[schemars(with = "schema::SourceOrName")]
    pub source: Spanned<Source>,
    /// Lookup tables by name, those that the project shares among them.
    #[serde(default, rename = "table")]
    pub tables: BTreeMap<String, Spanned<Table>>,
    /// The names of lookup tables that the project shares.
    #[serde(default, rename = "tables")]
    pub shared_tables: Vec<Name>,
    /// The steps, in order.
    #[serde(default, rename = "step")]
    pub steps: Vec<Spanned<Step<'t>>>,
    /// Where rows go.
    #[serde(rename = "sink")]
    pub sinks: Vec<Spanned<Sink>>,
    /// What becomes of deliveries that could not be processed.
    pub dead_letters: Option<DeadLetters>,
    /// Who may deploy.
    pub trust: Option<Trust>,
}

/// A `weir.toml`: what the pipelines of a project share, each of which names what it uses.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Sources by name.
    #[serde(default, rename = "source")]
    pub sources: BTreeMap<String, Spanned<Source>>,
    /// Lookup tables by name.
    #[serde(default, rename = "table")]
    pub tables: BTreeMap<String, Spanned<Table>>,
}

/// When turns are committed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// How long there is at least between two commits.
    pub at_most_every: Option<Name>,
}

/// What becomes of deliveries that could not be processed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetters {
    /// A subject to publish to, which is none of the source's.
    pub subject: Option<Name>,
    /// How many of them the database keeps.
    pub keep: Option<Keep>,
    /// In a database that is new: the event from which on they are published.
    pub publish_from: Option<Spanned<PublishFrom>>,
}

/// How many dead letters a database keeps, the newest of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// How many.
    pub rows: Option<Spanned<u64>>,
    /// Bytes of their payloads.
    pub bytes: Option<Spanned<u64>>,
    /// How much older than the last event, by store time: a duration.
    pub age: Option<Name>,
}

/// The event from which on messages are published, where a database begins over a stream that has a past. What events before
/// it cause is computed, and not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PublishFromText")]
pub enum PublishFrom {
    /// The next one to come when the database begins.
    Now,
    /// That of this sequence.
    Sequence(u64),
    /// The first that was stored then or later.
    StoredAt(jiff::Timestamp),
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum PublishFromText {
    Number(u64),
    Text(String),
}

impl TryFrom<PublishFromText> for PublishFrom {
    type Error = String;

    fn try_from(text: PublishFromText) -> Result<Self, String> {
        match text {
            PublishFromText::Number(number) => number.to_string().parse(),
            PublishFromText::Text(text) => text.parse(),
        }
    }
}

impl FromStr for PublishFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sequence = || text.parse().ok().filter(|&sequence| sequence > 0).map(Self::Sequence);
        let time = || text.parse().ok().map(Self::StoredAt);
        let found = (text == "now").then_some(Self::Now).or_else(sequence).or_else(time);
        found.ok_or_else(|| {
            format!(
                "\"{}\" is no place to publish from; accepted are now, a stream sequence from 1 on, and an instant in RFC 3339, \
                 such as 2026-03-15T12:00:00+08:00",
                printable(text)
            )
        })
    }
}

/// What "now" is for each event.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Now {
    /// The time at which JetStream stored the message.
    #[default]
    StoreTime,
    /// One instant, in RFC 3339.
    Fixed(Name),
    /// An integer column of every input, in milliseconds since 1970-01-01T00:00:00Z.
    Column(Name),
}

/// When events happened. Durations are texts such as `"5 min"` and `"1 h 30 min"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventTime {
    /// An integer column of every input that names none itself; "now", when absent.
    pub column: Option<Name>,
    /// What that column counts, since 1970-01-01T00:00:00Z.
    #[serde(default)]
    pub unit: TimeUnit,
    /// Whether times finer than a microsecond are cut to the one before, rather than rejected.
    #[serde(default)]
    pub truncate: bool,
    /// By how much an event may be older than one that came before it.
    pub out_of_orderness: Option<Name>,
    /// By how much an event may be ahead of its store time before it is not believed any more.
    pub ahead_max: Option<Name>,
    /// How long, by store time, an input may be silent before the others do not wait for it any more.
    pub idle_after: Option<Name>,
    /// Messages that the host publishes into the stream while it is silent.
    pub ticks: Option<Spanned<Ticks>>,
}

/// Messages that say how late it is, in a stream that is silent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ticks {
    /// How long the stream is silent before one is published, and between two.
    pub every: Name,
    /// Where to; the subject of the only input, when absent.
    pub subject: Option<Name>,
}

/// What a column of times counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TimeUnit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[default]
    #[serde(rename = "ms")]
    Milliseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
}

impl TimeUnit {
    /// Its name in a pipeline file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
            Self::Nanoseconds => "ns",
        }
    }

    /// What several of them are called.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }
}

/// What the bounds of windows count, since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum BoundsUnit {
    /// Milliseconds.
    #[default]
    #[serde(rename = "ms")]
    Milliseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
}

/// The stream that events come from: its only input is written beside it, or there are inputs by name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["subject", "columns"] }, { "required": ["input"] }]))]
pub struct Source {
    /// The JetStream stream.
    pub stream: Name,
    /// The subject of the only input.
    pub subject: Option<Name>,
    /// The columns of the only input.
    pub columns: Option<ColumnMap<SourceColumn>>,
    /// How payloads are written, of every input that says nothing else; JSON, when absent.
    pub format: Option<Spanned<PayloadFormat>>,
    /// How payloads are compressed, of every input that says nothing else; not at all, when absent.
    pub compression: Option<Compression>,
    /// Whether the latest message of each subject is all that counts.
    #[serde(default)]
    pub latest_only: bool,
    /// What becomes of messages that say that a key was deleted.
    pub tombstones: Option<Spanned<Tombstones>>,
    /// When its events happened. A key that stands under the pipeline's own `event_time` goes before; what is left is
    /// put there when the file is read.
    pub event_time: Option<Spanned<EventTime>>,
    /// Inputs by name.
    #[serde(rename = "input")]
    pub inputs: Option<Spanned<BTreeMap<String, Spanned<Input>>>>,
}

/// How a message without a payload, by which the key that is its subject is deleted, becomes an event.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tombstones {
    /// The boolean column that is true then.
    pub column: Name,
    /// The text columns that hold the key, each with the number of the name in the subject that it is, from 1.
    pub key: ColumnMap<Spanned<usize>>,
}

/// One input: messages of a stream whose payloads have the same columns.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The subject within the stream; may hold the wildcards of NATS.
    pub subject: Name,
    /// The columns of a payload.
    pub columns: ColumnMap<SourceColumn>,
    /// How its payloads are written; as those of the source, when absent.
    pub format: Option<Spanned<PayloadFormat>>,
    /// How its payloads are compressed; as those of the source, when absent.
    pub compression: Option<Compression>,
    /// When its events happened, where that is not what the pipeline says.
    pub event_time: Option<InputEventTime>,
}

/// When the events of an input happened.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputEventTime {
    /// An integer column of the input.
    pub column: Name,
    /// What that column counts, since 1970-01-01T00:00:00Z; as for the pipeline, when absent.
    pub unit: Option<TimeUnit>,
    /// Whether times finer than a microsecond are cut to the one before; as for the pipeline, when absent.
    pub truncate: Option<bool>,
}

/// A column of a payload or a table: `"text"`, or `{ type = "text", … }`.
#[derive(Clone, Debug)]
pub struct SourceColumn {
    /// The type.
    pub column_type: ColumnType,
    /// Where its values are.
    pub place: ColumnPlace,
    /// How its values are written.
    pub format: Option<ColumnFormat>,
    /// Whether it may not be null.
    pub required: bool,
}

/// Where the values of a column are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnPlace {
    /// In the payload: at this path, or under the column's name.
    Payload(Option<ValuePath>),
    /// Beside the row in a change, as Debezium tells it: at this path, or under the column's name.
    Envelope(Option<ValuePath>),
    /// The subject of the message: one of its names by number, from 1, or all of it.
    Subject {
        /// Which name.
        token: Option<usize>,
    },
    /// A header of the message.
    Header(String),
    /// The sequence of the message in its stream; in a file what the line says, else its number.
    Sequence,
    /// When the message was stored.
    StoreTime,
}

/// How the values of a column are written, where its type leaves that open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnFormat {
    /// A text that is a finite number in decimal: spaces around it, sign, point and exponent are optional. It stays a text.
    Number,
    /// A number in quotes.
    String,
    /// A timestamp as RFC 3339 has it: with an offset.
    Rfc3339,
    /// A timestamp as a number of these since 1970-01-01T00:00:00Z.
    Since(TimeUnit),
    /// A date as a number of days since 1970-01-01.
    Days,
    /// A timestamp or a date in a pattern of strftime; and the time zone of what has no offset.
    Strftime {
        /// The pattern.
        pattern: String,
        /// A zone of the time zone database.
        zone: Option<String>,
    },
    /// Bytes in base64, as RFC 4648 has it.
    Base64,
    /// Bytes in hexadecimal.
    Hex,
}

impl fmt::Display for ColumnFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strftime { pattern, zone } => match zone {
                None => f.write_str(pattern),
                Some(zone) => write!(f, "{pattern} in {zone}"),
            },
            named => {
                let name = columns::FORMATS.iter().find(|(_, format)| format == named);
                f.write_str(name.map_or("", |(name, _)| name))
            }
        }
    }
}

/// A lookup table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The columns by which rows are found; none of them may be null.
    pub primary_key: Vec<Name>,
    /// The columns.
    pub columns: ColumnMap<SourceColumn>,
    /// The step, or `step.output`, whose rows are set in the table.
    pub update_from: Option<Name>,
}

/// One step: a stage, or an operator.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Step<'t> {
    /// The step's name, unique in the pipeline.
    pub name: Name,
    /// The step, or `step.output`, that rows come from; the step before, when absent.
    pub from: Option<Name>,
    /// Whether it may be that nobody reads what it gives.
    #[serde(default)]
    pub unread: bool,
    /// All other keys, of which one says its kind. The planner knows the kinds, and reads what stands under their keys.
    #[serde(skip)]
    pub kinds: Vec<(Name, Keys<'t>)>,
}

/// A guest with its parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The component's file, relative to the pipeline file.
    pub module: Spanned<PathBuf>,
    /// Parameters by name; those left out have the rule's defaults.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub parameters: BTreeMap<String, Spanned<toml::Value>>,
    /// Bounds other than the defaults.
    #[serde(default)]
    pub limits: StageLimits,
    /// On how many rows the module may fail, other than the default.
    pub failures: Option<Spanned<Failures>>,
    /// A trial other than the default, for versions that are deployed.
    #[serde(default)]
    pub trial: Trial,
}

/// On how many rows a module may fail before the pipeline stops; see [`crate::limits`] for the defaults.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Failures {
    /// How many.
    pub most: u64,
    /// Of how many rows, counted in blocks of so many.
    pub of: u64,
}

/// The trial of a version that was swapped in; see [`crate::limits`] for the defaults.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// For how many rows; 0 for none.
    pub rows: Option<u64>,
    /// How many of them may fail that the version before takes.
    pub failures: Option<u64>,
}

/// Bounds on a guest; see [`crate::limits`] for the defaults.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageLimits {
    /// Memory of an instance, in MiB.
    pub memory_mib: Option<Spanned<u64>>,
    /// Bytes of one answer, in MiB.
    pub output_mib: Option<Spanned<u64>>,
    /// Time of one call, in milliseconds.
    pub deadline_ms: Option<Spanned<u64>>,
    /// Rows of one output that may come of one row.
    pub rows_per_row: Option<Spanned<u64>>,
}

/// Where rows go: a table, or a subject.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sink {
    /// The step, or `step.output`, that rows come from; the step right above in the file, when absent.
    pub from: Option<Name>,
    /// A table of the database.
    pub table: Option<Name>,
    /// The key of the table; without one rows are appended.
    pub primary_key: Option<Vec<Name>>,
    /// A subject that messages are published to.
    pub subject: Option<Name>,
    /// For a subject, in a database that is new: the event from which on messages are published.
    pub publish_from: Option<Spanned<PublishFrom>>,
    /// The columns, in order; all, when absent.
    pub columns: Option<Vec<Name>>,
    /// How the values of columns are written, by the name of the column.
    #[serde(rename = "as")]
    pub forms: Option<ColumnMap<Name>>,
}
