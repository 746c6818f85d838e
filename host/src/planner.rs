//! From names to a graph: what each step reads and offers, with every check that needs no data.

pub mod aggregate;
mod approximate;
mod build;
mod circle;
pub mod columns;
pub mod deduplicate;
mod describe;
mod guest;
pub mod interval_join;
pub mod keyed;
mod kinds;
pub mod lag;
pub mod last_value;
mod lookup;
pub mod on_crossing;
pub mod over_window;
mod payloads;
mod physical;
mod readers;
mod rule;
pub mod schema;
mod sinks;
mod source;
mod stage;
mod steps;
pub mod temporal_join;
mod time;
mod time_column;
mod top;
mod trust;
pub mod union;
pub mod unnest;
pub mod window;
mod window_keys;

pub use circle::check_circles;

use crate::plan::{
    Change, EventTimePlan, FailureBound, Function, GuestHost, KeepPlan, Now, OutputPort, PayloadFormat, Reading,
    TickPlan, TimeColumn, TombstonePlan, Trial, Versions,
};
use crate::{
    definition::{
        ColumnPlace, Compression, Definition, File, Keys, Name, PublishFrom, SourceColumn, Stage, StageLimits,
    },
    error::{Error, Result, note_defect},
    limits::{KEY_COLUMNS_MAX, PATH_NAMES_MAX, TABLE_COLUMNS_MAX},
    model::{
        column::{ColumnType, Field, Schema},
        deployment::Deployment,
        form::Form,
        guest::{AggregateModule, Module, ParameterValue},
        ids::{IdVec, InputId, NodeId, SinkId, TableId},
        path::ValuePath,
    },
    trust::Policy,
};
use aggregate::Aggregate;
use deduplicate::Deduplicate;
use interval_join::IntervalJoin;
use kinds::{BoundOperator, Provenance, Reads, StepAt, StepKeys};
use last_value::LastValue;
use lookup::{BoundLookup, Lookup};
use on_crossing::OnCrossing;
use physical::Layout;
use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, iter, ops::Range, sync::Arc, time::Duration};
use temporal_join::TemporalJoin;
use union::Union;
use window_keys::Window;

/// Every kind of step, by its key in the file.
const KINDS: &[Kind] = &[
    Kind::of::<Stage>("stage"),
    Kind::of::<LastValue>("last_value"),
    Kind::of::<Aggregate>("aggregate"),
    Kind::of::<Lookup>("lookup"),
    Kind::of::<Window>("window"),
    Kind::of::<IntervalJoin>("interval_join"),
    Kind::of::<OnCrossing>("on_crossing"),
    Kind::of::<Union>("union"),
    Kind::of::<Deduplicate>("deduplicate"),
    Kind::of::<TemporalJoin>("temporal_join"),
    Kind::of::<lag::Lag>("lag"),
    Kind::of::<columns::Columns>("columns"),
    Kind::of::<keyed::Keyed>("keyed"),
    Kind::of::<rule::Rule>("rule"),
    Kind::of::<unnest::Unnest>("unnest"),
];

/// A kind of step.
struct Kind {
    key: &'static str,
    read: fn(&Keys<'_>, &File) -> Result<Box<dyn StepKeys>>,
    /// The shape of what stands under the key.
    schema: fn(&mut SchemaGenerator) -> schemars::Schema,
}

impl Kind {
    const fn of<K: StepKeys + DeserializeOwned + JsonSchema + 'static>(key: &'static str) -> Self {
        let read = |keys: &Keys<'_>, file: &File| Ok(Box::new(keys.read::<K>(file)?) as Box<dyn StepKeys>);
        let schema = SchemaGenerator::subschema_for::<K>;
        Self { key, read, schema }
    }
}

/// A step with names instead of indices.
struct Bound {
    now: Now,
    tombstones: Option<TombstonePlan>,
    /// The first nodes are these.
    inputs: IdVec<InputId, BoundInput>,
    event_time: EventTimePlan,
    commit_at_most_every: Duration,
    ticks: Option<TickPlan>,
    nodes: IdVec<NodeId, BoundNode>,
    tables: IdVec<TableId, BoundTable>,
    sinks: IdVec<SinkId, BoundSink>,
    dead_letters: Option<String>,
    keep: KeepPlan,
    publish_from: BTreeMap<String, PublishFrom>,
    trust: Policy,
}

struct BoundInput {
    subject: String,
    format: PayloadFormat,
    compression: Option<Compression>,
    /// Where it is not "now" that says when an event happened.
    event_column: Option<TimeColumn>,
    columns: Vec<(Field, SourceColumn)>,
}

struct BoundNode {
    name: String,
    input: OutputPort,
    kind: BoundKind,
    outputs: Vec<BoundOutput>,
}

struct BoundOutput {
    name: String,
    schema: Schema,
    /// For each column the one that it is an unchanged copy of, back to where it came into being.
    origins: Vec<Origin>,
    change: BoundChange,
}

/// The place at which a column came into being: step, output, index.
type Origin = (NodeId, usize, usize);

#[derive(Clone)]
enum BoundChange {
    Append,
    Keyed(Option<Vec<String>>),
}

/// What a step does.
enum BoundKind {
    Source,
    Stage(Box<BoundStage>),
    Lookup(BoundLookup),
    Operator(Box<dyn BoundOperator>),
}

impl BoundNode {
    /// All ports that it reads.
    fn inputs(&self) -> impl Iterator<Item = OutputPort> {
        let others = self.kind.operator().map(BoundOperator::other_inputs);
        iter::once(self.input).chain(others.unwrap_or_default().iter().copied())
    }
}

impl BoundKind {
    fn operator(&self) -> Option<&dyn BoundOperator> {
        match self {
            Self::Operator(operator) => Some(operator.as_ref()),
            Self::Source | Self::Stage(_) | Self::Lookup(_) => None,
        }
    }

    /// Whether what it makes of a row is the same whatever came before: see [`NodeKind::is_by_row`](crate::plan::NodeKind::is_by_row).
    fn is_by_row(&self) -> bool {
        matches!(self, Self::Stage(_)) || self.operator().is_some_and(BoundOperator::is_by_row)
    }

    /// Whether the step follows the watermark.
    fn follows_time(&self) -> bool {
        self.operator().is_some_and(BoundOperator::follows_time)
    }

    /// Whether rows of an output may come because time went on.
    fn is_timer_driven_output(&self, output: usize) -> bool {
        self.operator()
            .is_some_and(|operator| operator.is_timer_driven_output(output))
    }
}

struct BoundStage {
    live: BoundGuest,
    fallback: Option<BoundGuest>,
    shadow: Option<BoundGuest>,
    limits: StageLimits,
    failures: FailureBound,
    trial: Trial,
}

impl BoundStage {
    fn guests(&self) -> impl Iterator<Item = &BoundGuest> {
        [Some(&self.live), self.fallback.as_ref(), self.shadow.as_ref()]
            .into_iter()
            .flatten()
    }
}

struct BoundGuest {
    module: Arc<Module>,
    deployment: Deployment,
    parameters: Vec<(String, ParameterValue)>,
}

struct BoundAggregate {
    name: String,
    function: Function,
    column: Option<String>,
    column_type: ColumnType,
    coalesce: Option<f64>,
    q: Option<f64>,
    scale: Option<u8>,
    guest: Option<BoundAggregateGuest>,
}

impl BoundAggregate {
    /// The columns of the input that it reads.
    fn columns(&self) -> impl Iterator<Item = &String> {
        let of_guest = self.guest.iter().flat_map(|guest| &guest.module.description.inputs);
        self.column.iter().chain(of_guest.map(|field| &field.name))
    }
}

struct BoundAggregateGuest {
    module: Arc<AggregateModule>,
    parameters: Vec<(String, ParameterValue)>,
    limits: StageLimits,
    retracts: bool,
}

struct BoundTable {
    name: String,
    columns: Vec<(Field, SourceColumn)>,
    key_len: usize,
    update: Option<OutputPort>,
}

struct BoundSink {
    input: OutputPort,
    columns: Vec<String>,
    /// How the values of each are written.
    forms: Vec<Form>,
    target: BoundTarget,
}

enum BoundTarget {
    Table {
        name: String,
        primary_key: Vec<String>,
        rows_by: Option<Vec<String>>,
    },
    Append {
        name: String,
    },
    Subject {
        name: String,
    },
}

/// Prefix of the tables that Weir keeps for itself.
const RESERVED: &str = "weir_";

fn bind(file: &File, definition: &Definition<'_>, host: &dyn GuestHost, versions: &Versions) -> Result<Bound> {
    let kinds = kinds::read_kinds(file, definition)?;
    let mut binder = Binder {
        file,
        definition,
        versions,
        inputs: IdVec::new(),
        rows_of: BTreeMap::new(),
        nodes: IdVec::new(),
        tables: IdVec::new(),
    };
    binder.check_name(&definition.name, "a pipeline's name")?;
    let (now, tombstones) = binder.source()?;
    binder.event_columns()?;
    binder.tables()?;
    for (step, kind) in definition.steps.iter().zip(kinds) {
        binder.step(step.get_ref(), step.span(), kind, host)?;
    }
    binder.updates()?;
    let sinks = binder.sinks()?;
    let event_time = binder.event_time()?;
    let commit_at_most_every = binder.commit_at_most_every()?;
    let ticks = binder.ticks()?;
    let dead_letters = binder.dead_letters()?;
    let keep = binder.keep()?;
    let publish_from = binder.publish_from()?;
    let trust = binder.trust()?;
    binder.check_read(&sinks)?;
    Ok(Bound {
        now,
        tombstones,
        inputs: binder.inputs,
        event_time,
        commit_at_most_every,
        ticks,
        nodes: binder.nodes,
        tables: binder.tables,
        sinks,
        dead_letters,
        keep,
        publish_from,
        trust,
    })
}

struct Binder<'a> {
    file: &'a File,
    definition: &'a Definition<'a>,
    versions: &'a Versions,
    inputs: IdVec<InputId, BoundInput>,
    /// For inputs whose events are changes of rows the nodes that hold these rows: what reads the input reads them.
    rows_of: BTreeMap<NodeId, NodeId>,
    nodes: IdVec<NodeId, BoundNode>,
    tables: IdVec<TableId, BoundTable>,
}

/// The name of the pipeline, before anything else is looked at.
fn name_of(file: &File) -> Result<String> {
    let name = file.parse()?.name;
    check_name_in(file, name.get_ref(), name.span(), "a pipeline's name")?;
    Ok(name.into_inner())
}

/// Names become parts of consumers, files and messages, so they are kept plain.
fn check_name_in(file: &File, text: &str, span: Range<usize>, what: &str) -> Result<()> {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if text.is_empty() || text.len() > 64 || !plain {
        let accepted = "1 to 64 of the letters a-z and A-Z, digits, - and _";
        return Err(file.error(Some(span), &format!("{what} is \"{text}\"; accepted are {accepted}")));
    }
    Ok(())
}

impl Binder<'_> {
    fn error(&self, span: Range<usize>, message: impl AsRef<str>) -> Error {
        self.file.error(Some(span), message.as_ref())
    }

    fn at(&self, name: &Name, message: impl AsRef<str>) -> Error {
        self.error(name.span(), message)
    }

    fn check_name(&self, name: &Name, what: &str) -> Result<()> {
        self.check_name_at(name.get_ref(), name.span(), what)
    }

    fn check_name_at(&self, text: &str, span: Range<usize>, what: &str) -> Result<()> {
        check_name_in(self.file, text, span, what)
    }

    fn check_table_name(&self, name: &str, span: Range<usize>) -> Result<()> {
        let mut chars = name.chars();
        let plain = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.len() <= 64;
        let reserved =
            name.to_ascii_lowercase().starts_with(RESERVED) || name.to_ascii_lowercase().starts_with("sqlite_");
        if !plain || reserved {
            let accepted = "a letter or _ and then up to 63 letters, digits and _; weir_… and sqlite_… are reserved";
            return Err(self.error(span, format!("a table's name is \"{name}\"; accepted are {accepted}")));
        }
        Ok(())
    }

    // ---- columns and tables -------------------------------------------------------------------------------------------

    /// What SQLite takes as a table: so many columns, of which so many are its key; names of columns that differ in case
    /// alone are one, and none holds a control character.
    fn check_table_columns<'n>(
        &self,
        table: &str,
        names: impl Iterator<Item = &'n str>,
        key_len: usize,
        span: Range<usize>,
    ) -> Result<()> {
        let mut seen: Vec<&str> = Vec::new();
        for name in names {
            if name.contains(char::is_control) {
                let message =
                    format!("table \"{table}\" has a column {name:?}; SQLite takes no control characters in names");
                return Err(self.error(span, message));
            }
            if let Some(other) = seen.iter().find(|other| other.eq_ignore_ascii_case(name)) {
                let message =
                    format!("table \"{table}\" has columns \"{other}\" and \"{name}\", which SQLite takes for one");
                return Err(self.error(span, message));
            }
            seen.push(name);
        }
        for (count, most, what) in [
            (seen.len(), TABLE_COLUMNS_MAX, "columns"),
            (key_len, KEY_COLUMNS_MAX, "columns in its primary key"),
        ] {
            if count > most {
                let message = format!("table \"{table}\" has {count} {what}; SQLite takes {most}");
                return Err(self.error(span, message));
            }
        }
        Ok(())
    }

    fn check_column_name(&self, name: &Name) -> Result<()> {
        let text = name.get_ref();
        if text.is_empty() || text.contains(char::is_control) {
            let accepted = "one or more characters, none of them a control character";
            return Err(self.at(name, format!("a column's name is {text:?}; accepted are {accepted}")));
        }
        Ok(())
    }

    /// What every column has to be. Where payloads say themselves how values are written, or what every value is written as,
    /// `says_itself`, a column of theirs needs no format for that.
    fn check_columns(&self, columns: &[(Name, SourceColumn)], says_itself: bool) -> Result<()> {
        let mut paths: Vec<(bool, ValuePath, &str)> = Vec::new();
        for (name, column) in columns {
            self.check_column_name(name)?;
            let is_in_payload = matches!(column.place, ColumnPlace::Payload(_));
            if column.format.is_some() || !is_in_payload || !says_itself {
                reading(column).map_err(|reason| self.at(name, format!("column \"{}\": {reason}", name.get_ref())))?;
            }
            let (of_envelope, path) = match &column.place {
                ColumnPlace::Payload(path) => (false, path),
                ColumnPlace::Envelope(path) => (true, path),
                _ => continue,
            };
            let path = path
                .clone()
                .unwrap_or_else(|| ValuePath::of_names([name.get_ref().as_str()]));
            if path.0.len() > PATH_NAMES_MAX {
                let (name_text, found) = (name.get_ref(), path.0.len());
                return Err(self.at(
                    name,
                    format!("column \"{name_text}\" has a path of {found} names; accepted are up to {PATH_NAMES_MAX}"),
                ));
            }
            for (_, other, other_name) in paths.iter().filter(|(other, ..)| *other == of_envelope) {
                let text = name.get_ref();
                if other.is_on_way_to(&path) || path.is_on_way_to(other) {
                    return Err(self.at(
                        name,
                        format!("column \"{text}\" is read from {path}, which column \"{other_name}\" reads too; each value is one column"),
                    ));
                }
                if path.contradicts(other) {
                    return Err(self.at(
                        name,
                        format!("column \"{text}\" is read from {path}, and column \"{other_name}\" from {other}; a value has fields or elements"),
                    ));
                }
            }
            paths.push((of_envelope, path, name.get_ref()));
        }
        Ok(())
    }

    fn tables(&mut self) -> Result<()> {
        for (name, table) in &self.definition.tables {
            self.check_table_name(name, table.span())?;
            let table_span = table.span();
            let table = table.get_ref();
            self.check_columns(&table.columns.0, false)?;
            let of_message = |column: &SourceColumn| !matches!(column.place, ColumnPlace::Payload(_));
            if let Some((name, _)) = table.columns.0.iter().find(|(_, column)| of_message(column)) {
                let text = name.get_ref();
                return Err(self.at(
                    name,
                    format!("column \"{text}\" has a key `from`, which goes with columns of a source: rows of a table are no messages"),
                ));
            }
            let names = table.columns.0.iter().map(|(name, _)| name.get_ref().as_str());
            self.check_table_columns(name, names, table.primary_key.len(), table_span.clone())?;
            if self.tables.iter().any(|other| other.name.eq_ignore_ascii_case(name)) {
                let message =
                    format!("table \"{name}\" is there already; SQLite takes names that differ in case for one");
                return Err(self.error(table_span, message));
            }
            self.distinct(&table.primary_key, "primary_key")?;
            if table.primary_key.is_empty() {
                return Err(self.error(
                    table_span,
                    format!("table \"{name}\" has no primary_key; name at least one column"),
                ));
            }
            let schema: Schema = table
                .columns
                .0
                .iter()
                .map(|(name, column)| field(name, column, true))
                .collect();
            let mut columns = Vec::new();
            for key in &table.primary_key {
                let index = self.column(&schema, key, &format!("table \"{name}\""))?;
                if let Some((name, column)) = table.columns.0.get(index) {
                    columns.push((field(name, column, false), column.clone()));
                }
            }
            for (name, column) in &table.columns.0 {
                if !table.primary_key.iter().any(|key| key.get_ref() == name.get_ref()) {
                    columns.push((field(name, column, true), column.clone()));
                }
            }
            let key_len = table.primary_key.len();
            self.tables.push(BoundTable {
                name: name.clone(),
                columns,
                key_len,
                update: None,
            });
        }
        Ok(())
    }
}

/// For each step and output whether rows of it may come because time went on. Rows that are late come with their events.
fn timer_driven(nodes: &IdVec<NodeId, BoundNode>) -> IdVec<NodeId, Vec<bool>> {
    let mut timer_driven: IdVec<NodeId, Vec<bool>> = IdVec::new();
    for node in nodes {
        // An input reads itself, and its rows are those of events.
        let is_input = matches!(node.kind, BoundKind::Source);
        let input_is = !is_input && node.inputs().any(|port| flag_of(&timer_driven, port));
        let outputs = 0..node.outputs.len();
        let outputs = outputs.map(|output| input_is || node.kind.is_timer_driven_output(output));
        timer_driven.push(outputs.collect());
    }
    timer_driven
}

/// The same, of one of them.
fn is_timer_driven(nodes: &IdVec<NodeId, BoundNode>, port: OutputPort) -> bool {
    flag_of(&timer_driven(nodes), port)
}

/// What is known of a port, which is there.
fn flag_of(flags: &IdVec<NodeId, Vec<bool>>, port: OutputPort) -> bool {
    let flag = flags.get(port.node).and_then(|outputs| outputs.get(port.output));
    flag.copied().unwrap_or_else(|| {
        note_defect(format_args!("{port:?} is read and is not there"));
        false
    })
}

impl BoundTarget {
    fn table(&self) -> Option<&String> {
        match self {
            Self::Table { name, .. } | Self::Append { name } => Some(name),
            Self::Subject { .. } => None,
        }
    }
}

impl BoundChange {
    fn physical(&self, schema: &[Field]) -> Change {
        match self {
            Self::Append => Change::Append,
            Self::Keyed(key) => Change::Keyed(key.as_ref().and_then(|key| {
                key.iter()
                    .map(|name| schema.iter().position(|field| field.name == *name))
                    .collect()
            })),
        }
    }
}

fn field(name: &Name, column: &SourceColumn, nullable: bool) -> Field {
    Field {
        name: name.get_ref().clone(),
        column_type: column.column_type,
        nullable,
    }
}

/// How the values of a column are read.
fn reading(column: &SourceColumn) -> Result<Option<Reading>, String> {
    let (column_type, format) = (column.column_type, column.format.as_ref());
    let (from, accepted) = match (&column.place, column_type) {
        (ColumnPlace::Sequence, ColumnType::Int) | (ColumnPlace::StoreTime, ColumnType::Timestamp)
            if format.is_none() =>
        {
            return Ok(None);
        }
        (ColumnPlace::Sequence, _) => ("the sequence", "int"),
        (ColumnPlace::StoreTime, _) => ("the store time", "timestamp"),
        (ColumnPlace::Subject { .. } | ColumnPlace::Header(_), ColumnType::List(_)) => {
            return Err("a list is read from payloads alone; accepted is any other type".to_owned());
        }
        _ => return Reading::of(column_type, format),
    };
    Err(format!(
        "{from} of a message is not read as {column_type} or in a format; accepted is type {accepted} and no format"
    ))
}

/// Names without their places.
fn texts(names: &[Name]) -> Vec<String> {
    names.iter().map(|name| name.get_ref().clone()).collect()
}

fn list(schema: &Schema) -> String {
    let names: Vec<String> = schema
        .iter()
        .map(|field| format!("{} ({})", field.name, field.column_type))
        .collect();
    names.join(", ")
}
