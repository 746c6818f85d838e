//! Plans: pipeline files, checked and wired.
//!
//! [`Plan::build`] turns a [`Definition`](crate::definition::Definition) into a graph of steps whose columns, types and
//! keys are known to fit, before anything runs. What is wrong is reported with file, line, key, and what would be
//! accepted. Columns that no step and no sink reads are known afterwards, so that decode only checks them.
//!
//! A plan is data. It names guests by their modules, and whoever runs it brings a [`GuestHost`] that makes them run.

mod aggregates;
pub mod avro;
mod guest_counts;
mod guests;
mod keyed;
mod operator;
mod payload;
mod projection;
pub mod protobuf;
mod reading;
mod times;
mod tombstone;

use crate::{
    definition::{Compression, File, PublishFrom, StageLimits},
    error::{Error, Result},
    model::{
        column::{ColumnType, Field, Schema},
        deployment::{Deployment, Whose},
        form::{ColumnForm, Form},
        guest::{Module, ParameterValue},
        ids::{IdVec, InputId, NodeId, SinkId, TableId},
        path::ValuePath,
    },
    trust::Policy,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    sync::Arc,
    time::Duration,
};

pub use aggregates::{AggregateGuest, AggregateSpec, Function};
pub use guest_counts::GuestCounts;
#[cfg(test)]
pub(crate) use guests::double;
pub use guests::{GuestHost, RunningAggregate, RunningKeyed, RunningStage, Setting};
pub use keyed::KeyedGuest;
pub(crate) use operator::typed;
pub use operator::{At, OperatorPlan, StateForm};
pub use payload::{CsvFormat, DebeziumFormat, PayloadFormat};
pub use projection::{Projected, Projection};
pub use reading::{Reading, instant};
pub use times::{DAY_US, MS_US, SECOND_US, TimeColumn, TimeScale, ms_in_us};
pub use tombstone::TombstonePlan;

/// A pipeline that can run.
#[derive(Debug)]
pub struct Plan {
    /// The pipeline's name.
    pub name: String,
    /// The file that it was read from.
    pub file: File,
    /// The JetStream stream.
    pub stream: String,
    /// Whether the latest message of each subject is all that counts: none is missing that the stream replaced.
    pub latest_only: bool,
    /// What becomes of messages that say that a key was deleted.
    pub tombstones: Option<TombstonePlan>,
    /// What is read of the stream: at least one, in the order of their subjects, which do not overlap.
    pub inputs: IdVec<InputId, Input>,
    /// What "now" is.
    pub now: Now,
    /// How far the times of events are trusted.
    pub event_time: EventTimePlan,
    /// How long there is at least between two commits.
    pub commit_at_most_every: Duration,
    /// What is published into the stream while it is silent.
    pub ticks: Option<TickPlan>,
    /// The first step that reads "now", if any.
    pub time_reader: Option<String>,
    /// Lookup tables.
    pub tables: IdVec<TableId, TablePlan>,
    /// The inputs, each under its own number (see [`InputId::node`]), then what holds the rows of those whose events are changes of
    /// rows, and then the steps.
    pub nodes: IdVec<NodeId, Node>,
    /// Where rows go.
    pub sinks: IdVec<SinkId, SinkPlan>,
    /// The subject that dead letters are published to, if any.
    pub dead_letters: Option<String>,
    /// How many dead letters the database keeps.
    pub keep: KeepPlan,
    /// For subjects the event from which on messages are published, in a database that is new, where the file says it.
    pub publish_from: BTreeMap<String, PublishFrom>,
    /// Who may deploy; also what the host says of that, where the plan runs.
    pub trust: Policy,
}

impl Plan {
    /// How many of its steps and aggregates are guests.
    pub fn guest_counts(&self) -> GuestCounts {
        let stages = || self.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Stage(_)));
        let kinds = || self.nodes.iter().map(|node| &node.kind);
        GuestCounts {
            stages: stages().count(),
            over_changelogs: stages().filter(|node| self.is_changelog(node.input)).count(),
            aggregates: kinds().map(|kind| kind.guests().count()).sum(),
            keyed: kinds().filter(|kind| kind.keyed().is_some()).count(),
        }
    }

    /// The subjects of the inputs.
    pub fn subjects(&self) -> Vec<String> {
        self.inputs.iter().map(|input| input.subject.clone()).collect()
    }

    /// The subjects that are published to: of rows, and of dead letters.
    pub fn published_subjects(&self) -> BTreeSet<&str> {
        let of_sinks = self.sinks.iter().filter_map(|sink| match &sink.target {
            Target::Subject { name } => Some(name.as_str()),
            Target::Table { .. } | Target::Append { .. } => None,
        });
        of_sinks.chain(self.dead_letters.as_deref()).collect()
    }

    /// Whether anything is published: rows, or dead letters.
    pub fn publishes(&self) -> bool {
        !self.published_subjects().is_empty()
    }

    /// Whether rows of an edge are changed later.
    pub fn is_changelog(&self, port: OutputPort) -> bool {
        self.output(port)
            .is_some_and(|output| matches!(output.change, Change::Keyed(_)))
    }

    /// The stage of that name.
    ///
    /// # Errors
    /// When there is none: the message lists those that there are.
    pub fn stage(&self, step: &str) -> Result<&StagePlan> {
        let mut stages = Vec::new();
        for node in &self.nodes {
            match &node.kind {
                NodeKind::Stage(stage) if node.name == step => return Ok(stage),
                NodeKind::Stage(_) => stages.push(node.name.as_str()),
                kind if node.name == step && kind.guests().next().is_some() => return Err(no_swap(&self.name, node)),
                _ => {}
            }
        }
        Err(no_stage(&self.name, step, &stages))
    }
}

/// A step that is none of the `stages` of a pipeline.
pub(crate) fn no_stage(pipeline: &str, step: &str, stages: &[&str]) -> Error {
    let known = match stages {
        [] => "none".to_owned(),
        _ => stages.join(", "),
    };
    Error::definition(format!("pipeline {pipeline} has no stage \"{step}\"; it has {known}"))
}

/// A step whose guests are aggregates, in the place of a stage.
fn no_swap(pipeline: &str, node: &Node) -> Error {
    let columns: Vec<&str> = node.kind.guests().map(|(spec, _)| spec.name.as_str()).collect();
    Error::definition(format!(
        "step \"{}\" of pipeline {pipeline} is no stage: its guests are aggregates ({}), and a state that one module made is \
         not handed to another while the pipeline runs; name the module and its parameters in the pipeline file, and start \
         the pipeline again",
        node.name,
        columns.join(", ")
    ))
}

/// What steps run in place of, or beside, what the pipeline file says, by the name of the step.
pub type Versions = BTreeMap<String, StepVersions>;

/// The guests of one step.
#[derive(Clone, Debug, Default)]
pub struct StepVersions {
    /// What decides; what the pipeline file says, when absent.
    pub live: Option<StageVersion>,
    /// What decides where `live` fails, while that is on trial.
    pub fallback: Option<StageVersion>,
    /// What sees the same rows, and decides nothing.
    pub shadow: Option<StageVersion>,
}

/// A module with parameters, in the place of a stage.
#[derive(Clone, Debug)]
pub struct StageVersion {
    /// The component.
    pub module: Arc<Module>,
    /// Which version it is, with its parameters.
    pub deployment: Deployment,
}

/// What "now" is for each event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Now {
    /// The time at which JetStream stored the message.
    StoreTime,
    /// The same; for a message that has none, as in a file, this instant in milliseconds since 1970-01-01T00:00:00Z.
    StoreTimeOr(i64),
    /// One instant, in milliseconds since 1970-01-01T00:00:00Z.
    Fixed(i64),
    /// The column of this name, which every input has; where it is null, the store time.
    Column(String),
}

/// Messages of the stream whose payloads have the same columns.
#[derive(Clone, Debug)]
pub struct Input {
    /// The name that steps read it by; `source` where the pipeline file gives it none.
    pub name: String,
    /// The subject within the stream, which may hold wildcards.
    pub subject: String,
    /// How its payloads are written.
    pub format: PayloadFormat,
    /// How its payloads are compressed, if they are.
    pub compression: Option<Compression>,
    /// The columns of a payload.
    pub columns: Vec<SourceColumn>,
    /// The column that says when an event happened; "now" where there is none.
    pub event_column: Option<TimeColumn>,
}

/// What the times of events say of those that are still to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventTimePlan {
    /// By how much an event may be older than one that came before it.
    pub out_of_orderness_us: i64,
    /// By how much an event may be ahead of its store time and still move the watermark.
    pub ahead_max_us: Option<i64>,
    /// How long, by store time, an input may be silent before the others do not wait for it any more.
    pub idle_after_us: Option<i64>,
    /// Whether some step follows the watermark.
    pub followed: bool,
}

/// Messages that say how late it is, in a stream that is silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TickPlan {
    /// A subject that one of the inputs takes in.
    pub subject: String,
    /// How long the stream is silent before one is published, and between two.
    pub every_ms: u64,
}

/// A column of a payload or a table.
#[derive(Clone, Debug)]
pub struct SourceColumn {
    /// Name and type; nullable, except for the key of a table.
    pub field: Field,
    /// Where its values are.
    pub place: Place,
    /// How its values are read, where its type does not say it all.
    pub reading: Option<Reading>,
    /// Whether it is a text that has to be a number.
    pub is_number: bool,
    /// Whether an event without it is a dead letter.
    pub required: bool,
    /// Whether some step or sink reads it. The others are checked only.
    pub materialised: bool,
}

/// Where the values of a column are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the payload; where that is the change of a row, in the row.
    Payload(ValuePath),
    /// Beside the row in a change.
    Envelope(ValuePath),
    /// What a change is: whether the row is gone.
    Deleted,
    /// The subject of the message: one of its names by number, from 1, or all of it.
    Subject {
        /// Which name.
        token: Option<usize>,
    },
    /// A header of the message.
    Header(String),
    /// The sequence of the message.
    Sequence,
    /// When the message was stored.
    StoreTime,
}

impl Place {
    /// The path in the payload, where it is there.
    pub fn path(&self) -> Option<&ValuePath> {
        match self {
            Self::Payload(path) => Some(path),
            _ => None,
        }
    }
}

/// A lookup table.
#[derive(Clone, Debug)]
pub struct TablePlan {
    /// The name, in the pipeline file and in the database.
    pub name: String,
    /// The columns, those of the key first.
    pub columns: Vec<SourceColumn>,
    /// How many of the columns are the primary key.
    pub key_len: usize,
    /// The edge whose rows are set in the table, and for each of the table's columns the column of that edge.
    pub update: Option<(OutputPort, Vec<usize>)>,
}

/// An output of a step, as something to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutputPort {
    /// The step.
    pub node: NodeId,
    /// The index of the output in [`Node::outputs`].
    pub output: usize,
}

/// A step.
#[derive(Debug)]
pub struct Node {
    /// The step's name.
    pub name: String,
    /// Where its rows come from, or the first of several such places, see [`Node::inputs`]. An input reads itself.
    pub input: OutputPort,
    /// What it does.
    pub kind: NodeKind,
    /// What it gives.
    pub outputs: Vec<Output>,
}

impl Node {
    /// All ports that it reads.
    pub fn inputs(&self) -> impl Iterator<Item = OutputPort> {
        let others = self.kind.operator().map(OperatorPlan::other_inputs);
        iter::once(self.input).chain(others.unwrap_or_default().iter().copied())
    }

    /// Whether it follows the watermark.
    pub fn follows_time(&self) -> bool {
        self.kind.operator().is_some_and(OperatorPlan::follows_time)
    }

    /// The outputs whose rows came too late.
    pub fn late_outputs(&self) -> &'static [usize] {
        self.kind.operator().map(OperatorPlan::late_outputs).unwrap_or_default()
    }
}

/// What a step does. Columns are indices into the schema of the input.
#[derive(Debug)]
pub enum NodeKind {
    /// An input: its events as decoded.
    Source,
    /// A guest.
    Stage(Box<StagePlan>),
    /// A join with a table, which steps behind it may set; see [`crate::operator::lookup`].
    Lookup(LookupPlan),
    /// Any other step; see [`crate::operator`].
    Operator(Box<dyn OperatorPlan>),
}

impl NodeKind {
    /// The plan of its operator, if it has one.
    pub fn operator(&self) -> Option<&dyn OperatorPlan> {
        match self {
            Self::Operator(plan) => Some(plan.as_ref()),
            Self::Source | Self::Stage(_) | Self::Lookup(_) => None,
        }
    }

    /// What it makes of each row, where it is a step that gives other columns and does nothing else.
    pub fn projection(&self) -> Option<&Projection> {
        self.operator().and_then(OperatorPlan::projection)
    }

    /// Whether what it makes of a row is the same whatever came before: it is a rule, or gives other columns. Such steps do not
    /// say what a changelog comes to; what comes to it, they are asked of again.
    pub fn is_by_row(&self) -> bool {
        matches!(self, Self::Stage(_)) || self.projection().is_some()
    }

    /// Whether it makes rows of each row alone, and is no rule: see [`OperatorPlan::unfolds`].
    pub fn unfolds(&self) -> bool {
        self.operator().is_some_and(OperatorPlan::unfolds)
    }

    /// Whether the step keeps something of the rows that it has seen, or sets a table.
    pub fn keeps_state(&self) -> bool {
        match self {
            Self::Source | Self::Stage(_) => false,
            Self::Lookup(lookup) => lookup.waves.is_some(),
            Self::Operator(plan) => plan.keeps_state(),
        }
    }

    /// What it computes of groups of rows, if it does.
    pub fn aggregates(&self) -> &[AggregateSpec] {
        self.operator().map(OperatorPlan::aggregates).unwrap_or_default()
    }

    /// The keyed function that it calls, if it does.
    pub fn keyed(&self) -> Option<&KeyedGuest> {
        self.operator().and_then(OperatorPlan::keyed)
    }

    /// Those of its aggregates that are guests.
    pub fn guests(&self) -> impl Iterator<Item = (&AggregateSpec, &AggregateGuest)> {
        self.aggregates()
            .iter()
            .filter_map(|spec| Some((spec, spec.guest.as_deref()?)))
    }
}

/// One output of a step.
#[derive(Debug)]
pub struct Output {
    /// The output's name; `out` where there is only one.
    pub name: String,
    /// The columns that are held at run time.
    pub schema: Schema,
    /// All columns that the step offers, also those that nobody reads.
    pub offered: Schema,
    /// Whether rows are changed later.
    pub change: Change,
    /// Whether rows may come because time went on. They bear the delivery that moved the watermark, and are not its doing.
    pub timer_driven: bool,
    /// What its readers want.
    pub readers: Readers,
}

/// What the readers of a changelog want to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readers {
    /// Whether someone needs rows as they were before an update.
    pub needs_update_before: bool,
    /// Whether every reader only wants the last state of each key, so that changes within a batch may be collapsed.
    pub compactable: bool,
    /// Whether the rows of keys that go because time went on may go later, in any order: nothing but tables of the same keys
    /// reads them.
    pub spreads: bool,
}

impl Readers {
    /// Readers that want every change, as it comes.
    pub const OF_EVERY_CHANGE: Self = Self {
        needs_update_before: true,
        compactable: false,
        spreads: false,
    };
}

/// Whether the rows of an edge are changed later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Each row stands for itself.
    Append,
    /// Rows are inserted, updated and deleted by these columns (indices into `schema`); absent where a stage dropped one.
    Keyed(Option<Vec<usize>>),
}

/// A stage.
#[derive(Debug)]
pub struct StagePlan {
    /// The component.
    pub module: Arc<Module>,
    /// Which version it is.
    pub deployment: Deployment,
    /// Every parameter that the rule has, in the order of its description.
    pub parameters: Vec<(String, ParameterValue)>,
    /// Bounds.
    pub limits: StageLimits,
    /// For each column that the rule reads, the column of the input.
    pub inputs: Vec<usize>,
    /// The types of those columns.
    pub input_types: Vec<ColumnType>,
    /// For each output the columns that go on.
    pub outputs: Vec<StageOutput>,
    /// Whether an event that it rejects may already have changed an operator's state, which has to be undone then.
    pub undoes: bool,
    /// On how many rows it may fail.
    pub failures: FailureBound,
    /// For how many rows it is on trial when it is swapped in.
    pub trial: Trial,
    /// The guest that decides where this one fails. Its outputs are those of this one, by name.
    pub fallback: Option<Box<StagePlan>>,
    /// A guest that sees the same rows, and decides nothing. Its outputs are those of this one, by name.
    pub shadow: Option<Box<StagePlan>>,
}

impl StagePlan {
    /// The guest, which `whose` is. It is not set up yet.
    pub fn guest(&self, host: &dyn GuestHost, whose: Whose) -> Box<dyn RunningStage> {
        let setting = Setting {
            parameters: &self.parameters,
            inputs: &self.input_types,
            limits: &self.limits,
            whose,
        };
        host.stage(&self.module, setting)
    }
}

/// On how many rows a guest may fail before the pipeline stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureBound {
    /// How many; where that is all of them, it never stops.
    pub most: u64,
    /// Of a block of how many rows; at least one.
    pub of: u64,
}

/// How long a version is on trial after it was swapped in, and what it may do meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Rows; 0 for none.
    pub rows: u64,
    /// How many of them may fail that the version before takes.
    pub failures: u64,
}

/// What one output of a stage hands on.
#[derive(Debug)]
pub struct StageOutput {
    /// Which output of the rule it is; absent where a rule beside another one does not have it.
    pub index: Option<usize>,
    /// The names of the columns that go on.
    pub names: Vec<String>,
    /// For each column of the output where it comes from.
    pub columns: Vec<StageColumn>,
    /// Whether more than one row can come of one row.
    pub many: bool,
}

/// Where a column of a stage's output comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageColumn {
    /// The column of the input, unchanged.
    Passed(usize),
    /// The computed column of the answer.
    Computed(usize),
}

/// `lookup`: the output is columns of the input, then columns of the table.
#[derive(Clone, Debug)]
pub struct LookupPlan {
    /// The table.
    pub table: TableId,
    /// For each column of the table's key the column of the input.
    pub on: Vec<usize>,
    /// The columns of the input that go on.
    pub passed: Vec<usize>,
    /// The table's columns that are added.
    pub added: Vec<usize>,
    /// Where the pipeline updates the table: the steps from here to the one that does it. They run in waves, in each
    /// of which a key occurs once.
    pub waves: Option<Vec<NodeId>>,
}

/// How many dead letters a database keeps: the newest, up to all of these bounds; and those that wait to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepPlan {
    /// How many.
    pub rows: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// How much older than the last event, by store time.
    pub age_ms: Option<i64>,
}

/// A sink.
#[derive(Debug)]
pub struct SinkPlan {
    /// Where rows come from.
    pub input: OutputPort,
    /// Its columns.
    pub columns: Vec<SinkColumn>,
    /// Where they go.
    pub target: Target,
}

impl SinkPlan {
    /// The table that it writes, if it does.
    pub fn table(&self) -> Option<&str> {
        match &self.target {
            Target::Table { name, .. } | Target::Append { name } => Some(name),
            Target::Subject { .. } => None,
        }
    }

    /// The names and types of its columns.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.columns.iter().map(|column| &column.field)
    }
}

/// A column of a sink.
#[derive(Clone, Debug)]
pub struct SinkColumn {
    /// Name and type.
    pub field: Field,
    /// The column of the input.
    pub place: usize,
    /// How its values are written.
    pub form: Form,
}

impl SinkColumn {
    /// Its type, and how its values are written.
    pub fn column_form(&self) -> ColumnForm {
        ColumnForm {
            column_type: self.field.column_type,
            form: self.form,
        }
    }
}

/// Where rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A table by primary key: the indices of the key among the sink's columns.
    Table {
        /// The table's name.
        name: String,
        /// The key, as indices of the sink's columns.
        primary_key: Vec<usize>,
        /// Where the key of the rows is not the table's: the columns of the input that tell them apart. Of the rows of
        /// one primary key the latest shows.
        rows_by: Option<Vec<usize>>,
    },
    /// A table to which rows are appended.
    Append {
        /// The table's name.
        name: String,
    },
    /// A subject to which each row is published as a JSON object.
    Subject {
        /// The subject.
        name: String,
    },
}
