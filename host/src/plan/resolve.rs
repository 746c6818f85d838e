//! From names to a graph: what each step reads and offers, with every check that needs no data.

use super::{Change, Function, Now};
use crate::{
    column::{ColumnType, Field, Schema},
    definition::{AggregateColumn, Definition, File, Name, Now as DefinedNow, SourceColumn, Step, TextFormat},
    error::{Error, Result},
    limits::GUEST_MEMORY_MIB_MAX,
    stage::{Module, ParameterType, ParameterValue, StageHost},
};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// An output of a step, as something to read from.
pub(super) use super::Edge;

/// A step with names instead of indices.
pub(super) struct Resolved {
    pub(super) now: Now,
    pub(super) nodes: Vec<ResolvedNode>,
    pub(super) tables: Vec<ResolvedTable>,
    pub(super) sinks: Vec<ResolvedSink>,
}

pub(super) struct ResolvedNode {
    pub(super) name: String,
    pub(super) input: Edge,
    pub(super) kind: ResolvedKind,
    pub(super) outputs: Vec<ResolvedOutput>,
}

pub(super) struct ResolvedOutput {
    pub(super) name: String,
    pub(super) schema: Schema,
    /// For each column the one that it is an unchanged copy of, back to where it came into being.
    pub(super) origins: Vec<Origin>,
    pub(super) change: ResolvedChange,
}

/// The place at which a column came into being: step, output, index.
pub(super) type Origin = (usize, usize, usize);

#[derive(Clone)]
pub(super) enum ResolvedChange {
    Append,
    Keyed(Option<Vec<String>>),
}

pub(super) enum ResolvedKind {
    Source,
    Stage { module: Arc<Module>, parameters: Vec<(String, ParameterValue)> },
    LastValue { key: Vec<String>, columns: Vec<String> },
    Aggregate { group: Vec<String>, aggregates: Vec<ResolvedAggregate> },
    Lookup { table: usize, on: Vec<String>, added: Vec<String> },
}

pub(super) struct ResolvedAggregate {
    pub(super) name: String,
    pub(super) function: Function,
    pub(super) column: Option<String>,
    pub(super) column_type: ColumnType,
    pub(super) coalesce: Option<f64>,
}

pub(super) struct ResolvedTable {
    pub(super) name: String,
    pub(super) columns: Vec<(Field, SourceColumn)>,
    pub(super) key_len: usize,
    pub(super) update: Option<Edge>,
}

pub(super) struct ResolvedSink {
    pub(super) input: Edge,
    pub(super) columns: Vec<String>,
    pub(super) target: ResolvedTarget,
}

pub(super) enum ResolvedTarget {
    Table { name: String, primary_key: Vec<String>, rows_by: Option<Vec<String>> },
    Append { name: String },
    Subject { name: String },
}

/// Prefix of the tables that Weir keeps for itself.
const RESERVED: &str = "weir_";

pub(super) fn resolve(file: &File, definition: &Definition, host: &StageHost) -> Result<Resolved> {
    let mut resolver = Resolver { file, definition, nodes: Vec::new(), tables: Vec::new() };
    resolver.check_name(&definition.name, "a pipeline's name")?;
    let now = resolver.source()?;
    resolver.tables()?;
    for step in &definition.steps {
        resolver.step(step.get_ref(), step.span(), host)?;
    }
    resolver.updates()?;
    let sinks = resolver.sinks()?;
    Ok(Resolved { now, nodes: resolver.nodes, tables: resolver.tables, sinks })
}

struct Resolver<'a> {
    file: &'a File,
    definition: &'a Definition,
    nodes: Vec<ResolvedNode>,
    tables: Vec<ResolvedTable>,
}

impl Resolver<'_> {
    fn error(&self, span: Range<usize>, message: impl AsRef<str>) -> Error {
        self.file.error(Some(span), message.as_ref())
    }

    fn at(&self, name: &Name, message: impl AsRef<str>) -> Error {
        self.error(name.span(), message)
    }

    /// Names become parts of consumers, files and messages, so they are kept plain.
    fn check_name(&self, name: &Name, what: &str) -> Result<()> {
        let text = name.get_ref();
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if text.is_empty() || text.len() > 64 || !plain {
            let accepted = "1 to 64 of the letters a-z and A-Z, digits, - and _";
            return Err(self.at(name, format!("{what} is \"{text}\"; accepted are {accepted}")));
        }
        Ok(())
    }

    fn check_table_name(&self, name: &str, span: Range<usize>) -> Result<()> {
        let mut chars = name.chars();
        let plain = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.len() <= 64;
        let reserved = name.to_ascii_lowercase().starts_with(RESERVED) || name.to_ascii_lowercase().starts_with("sqlite_");
        if !plain || reserved {
            let accepted = "a letter or _ and then up to 63 letters, digits and _; weir_… and sqlite_… are reserved";
            return Err(self.error(span, format!("a table's name is \"{name}\"; accepted are {accepted}")));
        }
        Ok(())
    }

    // ---- source and tables --------------------------------------------------------------------------------------------

    fn source(&mut self) -> Result<Now> {
        let source = &self.definition.source;
        if source.columns.0.is_empty() {
            return Err(self.at(&source.subject, "the source has no columns; declare them under [source.columns]"));
        }
        self.check_columns(&source.columns.0)?;
        let schema: Schema = source.columns.0.iter().map(|(name, column)| field(name, column, true)).collect();
        let now = match &self.definition.now {
            DefinedNow::StoreTime => Now::StoreTime,
            DefinedNow::Fixed(instant) => match instant.get_ref().parse::<jiff::Timestamp>() {
                Ok(instant) => Now::Fixed(instant.as_millisecond()),
                Err(_) => {
                    let text = instant.get_ref();
                    let accepted = "an instant in RFC 3339 such as 2026-03-15T12:00:00+08:00";
                    return Err(self.at(instant, format!("key `now.fixed` is \"{text}\"; accepted is {accepted}")));
                }
            },
            DefinedNow::Column(name) => {
                let index = self.column(&schema, name, "source")?;
                let found = schema.get(index).map_or(ColumnType::Int, |field| field.column_type);
                if found != ColumnType::Int {
                    let name_text = name.get_ref();
                    return Err(self.at(
                        name,
                        format!("key `now.column`: column \"{name_text}\" is {found}; accepted is an int of milliseconds"),
                    ));
                }
                Now::Column(index)
            }
        };
        let origins = (0..schema.len()).map(|column| (0, 0, column)).collect();
        self.nodes.push(ResolvedNode {
            name: "source".to_owned(),
            input: Edge { node: 0, output: 0 },
            kind: ResolvedKind::Source,
            outputs: vec![ResolvedOutput { name: "out".to_owned(), schema, origins, change: ResolvedChange::Append }],
        });
        Ok(now)
    }

    fn check_columns(&self, columns: &[(Name, SourceColumn)]) -> Result<()> {
        let mut paths: Vec<(Vec<&str>, &str)> = Vec::new();
        for (name, column) in columns {
            if column.format == Some(TextFormat::Number) && column.column_type != ColumnType::Text {
                return Err(self.at(
                    name,
                    format!(
                        "column \"{}\" has format = \"number\" and is {}; only text columns have a format",
                        name.get_ref(),
                        column.column_type
                    ),
                ));
            }
            let path = path(name, column);
            let path: Vec<&str> = path.iter().map(|&part| part).collect();
            for (other, other_name) in &paths {
                if other.starts_with(&path) || path.starts_with(other) {
                    return Err(self.at(
                        name,
                        format!(
                            "column \"{}\" is read from {}, which column \"{other_name}\" reads too; each value is one column",
                            name.get_ref(),
                            path.join(".")
                        ),
                    ));
                }
            }
            paths.push((path, name.get_ref()));
        }
        Ok(())
    }

    fn tables(&mut self) -> Result<()> {
        for (name, table) in &self.definition.tables {
            self.check_table_name(name, table.span())?;
            let table_span = table.span();
            let table = table.get_ref();
            self.check_columns(&table.columns.0)?;
            if table.primary_key.is_empty() {
                return Err(self.error(table_span, format!("table \"{name}\" has no primary_key; name at least one column")));
            }
            let schema: Schema = table.columns.0.iter().map(|(name, column)| field(name, column, true)).collect();
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
            self.tables.push(ResolvedTable { name: name.clone(), columns, key_len, update: None });
        }
        Ok(())
    }

    // ---- steps --------------------------------------------------------------------------------------------------------

    fn step(&mut self, step: &Step, span: Range<usize>, host: &StageHost) -> Result<()> {
        self.check_name(&step.name, "a step's name")?;
        let name = step.name.get_ref().clone();
        if self.nodes.iter().any(|node| node.name == name) {
            return Err(self.at(&step.name, format!("there is a step \"{name}\" already; names of steps are unique")));
        }
        let input = self.edge(step.from.as_ref(), self.nodes.len() - 1, step.name.span())?;
        let kinds = [
            ("stage", step.stage.is_some()),
            ("last_value", step.last_value.is_some()),
            ("aggregate", step.aggregate.is_some()),
            ("lookup", step.lookup.is_some()),
        ];
        let given: Vec<&str> = kinds.iter().filter(|(_, given)| *given).map(|(kind, _)| *kind).collect();
        if given.len() != 1 {
            let found = if given.is_empty() { "none".to_owned() } else { given.join(" and ") };
            let accepted = "exactly one of stage, last_value, aggregate, lookup";
            return Err(self.error(span, format!("step \"{name}\" has {found}; a step has {accepted}")));
        }
        let node = if let Some(stage) = &step.stage {
            self.stage(&name, input, stage.get_ref(), stage.span(), host)?
        } else if let Some(last_value) = &step.last_value {
            self.last_value(&name, input, last_value.get_ref())?
        } else if let Some(aggregate) = &step.aggregate {
            self.aggregate(&name, input, aggregate.get_ref())?
        } else if let Some(lookup) = &step.lookup {
            self.lookup(&name, input, lookup.get_ref(), lookup.span())?
        } else {
            return Ok(());
        };
        self.nodes.push(node);
        Ok(())
    }

    /// The output that `from` names: `step`, or `step.output`.
    fn edge(&self, from: Option<&Name>, default: usize, span: Range<usize>) -> Result<Edge> {
        let (node, output, span) = match from {
            None => (default, None, span),
            Some(from) => {
                let text = from.get_ref();
                let (step, output) = match text.split_once('.') {
                    Some((step, output)) => (step, Some(output)),
                    None => (text.as_str(), None),
                };
                let Some(node) = self.nodes.iter().position(|node| node.name == step) else {
                    let known: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
                    return Err(self.at(
                        from,
                        format!("key `from`: there is no step \"{step}\" before this; there are {}", known.join(", ")),
                    ));
                };
                (node, output, from.span())
            }
        };
        let Some(found) = self.nodes.get(node) else { return Ok(Edge { node, output: 0 }) };
        let known = || found.outputs.iter().map(|o| format!("{}.{}", found.name, o.name)).collect::<Vec<_>>().join(", ");
        let output = match output {
            Some(output) => match found.outputs.iter().position(|known| known.name == output) {
                Some(output) => output,
                None => {
                    let step = &found.name;
                    return Err(self.error(
                        span,
                        format!("key `from`: step \"{step}\" has no output \"{output}\"; there are {}", known()),
                    ));
                }
            },
            None if found.outputs.len() > 1 => {
                let step = &found.name;
                return Err(self.error(
                    span,
                    format!("step \"{step}\" has several outputs; say `from` with one of {}", known()),
                ));
            }
            None => 0,
        };
        Ok(Edge { node, output })
    }

    fn output(&self, edge: Edge) -> Result<&ResolvedOutput> {
        let output = self.nodes.get(edge.node).and_then(|node| node.outputs.get(edge.output));
        output.ok_or_else(|| Error::definition("a step reads from a step that is not there"))
    }

    fn edge_name(&self, edge: Edge) -> String {
        match self.nodes.get(edge.node) {
            Some(node) if node.outputs.len() > 1 => {
                let output = node.outputs.get(edge.output).map_or("", |output| output.name.as_str());
                format!("step \"{}.{output}\"", node.name)
            }
            Some(node) if edge.node > 0 => format!("step \"{}\"", node.name),
            _ => "the source".to_owned(),
        }
    }

    /// The index of a column by name; the error lists those that there are.
    fn column(&self, schema: &Schema, name: &Name, whose: &str) -> Result<usize> {
        match schema.iter().position(|field| field.name == *name.get_ref()) {
            Some(index) => Ok(index),
            None => Err(self.at(
                name,
                format!("there is no column \"{}\" in {whose}; there are {}", name.get_ref(), list(schema)),
            )),
        }
    }

    fn distinct(&self, names: &[Name], key: &str) -> Result<()> {
        for (at, name) in names.iter().enumerate() {
            if names.iter().take(at).any(|earlier| earlier.get_ref() == name.get_ref()) {
                return Err(self.at(name, format!("key `{key}` names column \"{}\" twice", name.get_ref())));
            }
        }
        Ok(())
    }

    fn stage(
        &self,
        name: &str,
        input: Edge,
        stage: &crate::definition::Stage,
        span: Range<usize>,
        host: &StageHost,
    ) -> Result<ResolvedNode> {
        let whose = self.edge_name(input);
        let input_output = self.output(input)?;
        let schema = &input_output.schema;
        self.check_limits(&stage.limits)?;
        let folder = self.file.path.parent().unwrap_or(std::path::Path::new(""));
        let at_module = |message: String| self.error(stage.module.span(), format!("step \"{name}\": {message}"));
        let module = host
            .load(&folder.join(stage.module.get_ref()))
            .map_err(|cause| at_module(format!("key `module`: {cause}")))?;
        let description = &module.description;

        for wanted in &description.inputs {
            let Some(found) = schema.iter().find(|field| field.name == wanted.name) else {
                return Err(at_module(format!(
                    "the rule {} reads column \"{}\" ({}), which {whose} does not have; there are {}",
                    description.name,
                    wanted.name,
                    wanted.column_type,
                    list(schema)
                )));
            };
            if found.column_type != wanted.column_type {
                return Err(at_module(format!(
                    "the rule {} reads column \"{}\" as {}, but it is {} in {whose}",
                    description.name, wanted.name, wanted.column_type, found.column_type
                )));
            }
            if found.nullable && !wanted.nullable {
                return Err(at_module(format!(
                    "the rule {} reads column \"{}\" as {} without nulls, but it may be null in {whose}; \
                     let the rule take an Option",
                    description.name, wanted.name, wanted.column_type
                )));
            }
        }
        let changelog = !matches!(input_output.change, ResolvedChange::Append);
        if changelog && description.reads_time {
            return Err(at_module(format!(
                "the rule {} reads the time, but {whose} sends a changelog: what it said of a row could not be taken \
                 back at another time",
                description.name
            )));
        }

        let mut outputs = Vec::new();
        for (number, output) in description.outputs.iter().enumerate() {
            let mut fields = Vec::new();
            let mut origins = Vec::new();
            for (from, to) in &output.passed {
                let Some(index) = schema.iter().position(|field| field.name == *from) else {
                    return Err(at_module(format!(
                        "the rule {} passes column \"{from}\" on, which {whose} does not have; there are {}",
                        description.name,
                        list(schema)
                    )));
                };
                if let (Some(field), Some(origin)) = (schema.get(index), input_output.origins.get(index)) {
                    fields.push(Field { name: to.clone(), ..field.clone() });
                    origins.push(*origin);
                }
            }
            for computed in &output.computed {
                origins.push((self.nodes.len(), number, fields.len()));
                fields.push(computed.clone());
            }
            let change = match &input_output.change {
                ResolvedChange::Append => ResolvedChange::Append,
                ResolvedChange::Keyed(key) => ResolvedChange::Keyed(key.as_ref().and_then(|key| {
                    let renamed = |column: &String| {
                        output.passed.iter().find(|(from, _)| from == column).map(|(_, to)| to.clone())
                    };
                    key.iter().map(renamed).collect()
                })),
            };
            outputs.push(ResolvedOutput { name: output.name.clone(), schema: fields, origins, change });
        }

        let parameters = self.parameters(name, &module, &stage.parameters, span.clone())?;
        module
            .try_configure(host, &parameters)
            .map_err(|cause| self.error(span, format!("step \"{name}\": {cause}")))?;
        Ok(ResolvedNode { name: name.to_owned(), input, kind: ResolvedKind::Stage { module, parameters }, outputs })
    }

    fn check_limits(&self, limits: &crate::definition::StageLimits) -> Result<()> {
        let bounds = [
            ("memory_mib", &limits.memory_mib, GUEST_MEMORY_MIB_MAX),
            ("output_mib", &limits.output_mib, GUEST_MEMORY_MIB_MAX),
            ("deadline_ms", &limits.deadline_ms, 60_000),
        ];
        for (key, given, most) in bounds {
            if let Some(given) = given
                && !(1..=most).contains(given.get_ref())
            {
                let value = given.get_ref();
                return Err(self.error(given.span(), format!("key `{key}` is {value}; accepted are 1 to {most}")));
            }
        }
        Ok(())
    }

    /// Every parameter of the rule, with the value that the file or the rule gives it.
    fn parameters(
        &self,
        step: &str,
        module: &Module,
        given: &BTreeMap<String, serde_spanned::Spanned<toml::Value>>,
        span: Range<usize>,
    ) -> Result<Vec<(String, ParameterValue)>> {
        let specs = &module.description.parameters;
        for (name, value) in given {
            if !specs.iter().any(|spec| spec.name == *name) {
                let known: Vec<String> =
                    specs.iter().map(|spec| format!("{} ({})", spec.name, spec.parameter_type)).collect();
                let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
                let rule = &module.description.name;
                return Err(self.error(
                    value.span(),
                    format!("step \"{step}\": the rule {rule} has no parameter \"{name}\"; {known}"),
                ));
            }
        }
        let mut parameters = Vec::new();
        for spec in specs {
            let value = match (given.get(&spec.name), &spec.default) {
                (Some(value), _) => parameter(value.get_ref(), spec.parameter_type).ok_or_else(|| {
                    self.error(
                        value.span(),
                        format!(
                            "step \"{step}\": parameter \"{}\" is {}; accepted is {}",
                            spec.name,
                            value.get_ref(),
                            spec.parameter_type.described()
                        ),
                    )
                })?,
                (None, Some(default)) => default.clone(),
                (None, None) => {
                    return Err(self.error(
                        span,
                        format!(
                            "step \"{step}\": parameter \"{}\" is missing; accepted is {} ({})",
                            spec.name,
                            spec.parameter_type.described(),
                            spec.doc
                        ),
                    ));
                }
            };
            parameters.push((spec.name.clone(), value));
        }
        Ok(parameters)
    }

    fn append_only(&self, input: Edge, step: &str, operator: &str, at: &Name) -> Result<()> {
        match self.output(input)?.change {
            ResolvedChange::Append => Ok(()),
            ResolvedChange::Keyed(_) => Err(self.at(
                at,
                format!(
                    "step \"{step}\": {operator} reads rows that stand for themselves, but {} sends a changelog",
                    self.edge_name(input)
                ),
            )),
        }
    }

    fn last_value(&self, name: &str, input: Edge, last_value: &crate::definition::LastValue) -> Result<ResolvedNode> {
        let whose = self.edge_name(input);
        let Some(first) = last_value.key.first() else {
            return Err(Error::definition(format!(
                "{}: step \"{name}\": key `last_value.key` is empty; name at least one column",
                self.file.path.display()
            )));
        };
        self.append_only(input, name, "last_value", first)?;
        self.distinct(&last_value.key, "key")?;
        let source = self.output(input)?;
        let mut indices = Vec::new();
        for key in &last_value.key {
            indices.push(self.column(&source.schema, key, &whose)?);
        }
        let key_len = indices.len();
        match &last_value.columns {
            Some(columns) => {
                self.distinct(columns, "columns")?;
                for column in columns {
                    let index = self.column(&source.schema, column, &whose)?;
                    if indices.contains(&index) {
                        let column_name = column.get_ref();
                        return Err(self.at(column, format!("column \"{column_name}\" is in `key` already")));
                    }
                    indices.push(index);
                }
            }
            None => {
                let rest: Vec<usize> = (0..source.schema.len()).filter(|index| !indices.contains(index)).collect();
                indices.extend(rest);
            }
        }
        let schema: Schema = indices.iter().filter_map(|&index| source.schema.get(index).cloned()).collect();
        let names: Vec<String> = schema.iter().map(|field| field.name.clone()).collect();
        let (key, columns) = names.split_at(key_len.min(names.len()));
        let kind = ResolvedKind::LastValue { key: key.to_vec(), columns: columns.to_vec() };
        let output = self.keyed_output(schema, key.to_vec());
        Ok(ResolvedNode { name: name.to_owned(), input, kind, outputs: vec![output] })
    }

    /// The only output of an operator that sends a changelog by `key`; its columns come into being here.
    fn keyed_output(&self, schema: Schema, key: Vec<String>) -> ResolvedOutput {
        let origins = (0..schema.len()).map(|column| (self.nodes.len(), 0, column)).collect();
        ResolvedOutput { name: "out".to_owned(), schema, origins, change: ResolvedChange::Keyed(Some(key)) }
    }

    fn aggregate(&self, name: &str, input: Edge, aggregate: &crate::definition::Aggregate) -> Result<ResolvedNode> {
        let whose = self.edge_name(input);
        let source = self.output(input)?;
        self.distinct(&aggregate.group_by, "group_by")?;
        let mut schema = Schema::new();
        for group in &aggregate.group_by {
            let index = self.column(&source.schema, group, &whose)?;
            schema.extend(source.schema.get(index).cloned());
        }
        let mut aggregates = Vec::new();
        for (column, spec) in &aggregate.columns.0 {
            if schema.iter().any(|field| field.name == *column.get_ref()) {
                return Err(self.at(column, format!("column \"{}\" is there already", column.get_ref())));
            }
            let (resolved, field) = self.aggregate_column(column, spec, &source.schema, &whose)?;
            schema.push(field);
            aggregates.push(resolved);
        }
        let group: Vec<String> = aggregate.group_by.iter().map(|name| name.get_ref().clone()).collect();
        let output = self.keyed_output(schema, group.clone());
        let kind = ResolvedKind::Aggregate { group, aggregates };
        Ok(ResolvedNode { name: name.to_owned(), input, kind, outputs: vec![output] })
    }

    fn aggregate_column(
        &self,
        name: &Name,
        spec: &AggregateColumn,
        schema: &Schema,
        whose: &str,
    ) -> Result<(ResolvedAggregate, Field)> {
        let given: Vec<(Function, &Name)> = [
            (Function::Sum, &spec.sum),
            (Function::Count, &spec.count),
            (Function::CountDistinct, &spec.count_distinct),
            (Function::Min, &spec.min),
            (Function::Max, &spec.max),
            (Function::Avg, &spec.avg),
        ]
        .into_iter()
        .filter_map(|(function, column)| Some((function, column.as_ref()?)))
        .collect();
        let &[(function, of)] = given.as_slice() else {
            let accepted = "exactly one of sum, count, count_distinct, min, max, avg";
            return Err(self.at(name, format!("column \"{}\" has {accepted}, with a column", name.get_ref())));
        };
        let result = |column_type, nullable| Field { name: name.get_ref().clone(), column_type, nullable };
        if let Some(coalesce) = &spec.coalesce {
            if !matches!(function, Function::Sum | Function::Avg) {
                let function = function.name();
                return Err(self.error(coalesce.span(), format!("key `coalesce` goes with sum and avg, not with {function}")));
            }
            if !coalesce.get_ref().is_finite() {
                return Err(self.error(coalesce.span(), "key `coalesce` is not finite; accepted is a finite number"));
            }
        }
        let coalesce = spec.coalesce.as_ref().map(|value| *value.get_ref());
        if function == Function::Count && of.get_ref() == "*" {
            let resolved = ResolvedAggregate {
                name: name.get_ref().clone(),
                function,
                column: None,
                column_type: ColumnType::Int,
                coalesce,
            };
            return Ok((resolved, result(ColumnType::Int, false)));
        }
        let index = self.column(schema, of, whose)?;
        let Some(column) = schema.get(index) else { return Err(self.at(of, "no such column")) };
        let number = matches!(column.column_type, ColumnType::Int | ColumnType::Double);
        if matches!(function, Function::Sum | Function::Avg) && !number {
            let (function, found) = (function.name(), column.column_type);
            return Err(self.at(
                of,
                format!("{function} of column \"{}\", which is {found}; accepted is a column of int or double", of.get_ref()),
            ));
        }
        if coalesce.is_some_and(|value| value.fract() != 0.0) && column.column_type == ColumnType::Int {
            return Err(self.at(of, "key `coalesce` of an int column takes a whole number"));
        }
        let nullable = column.nullable && coalesce.is_none();
        let field = match function {
            Function::Count | Function::CountDistinct => result(ColumnType::Int, false),
            Function::Avg => result(ColumnType::Double, nullable),
            // An int sum beyond 64 bits has no value until it comes back.
            Function::Sum => result(column.column_type, nullable || column.column_type == ColumnType::Int),
            Function::Min | Function::Max => result(column.column_type, column.nullable),
        };
        let resolved = ResolvedAggregate {
            name: name.get_ref().clone(),
            function,
            column: Some(of.get_ref().clone()),
            column_type: column.column_type,
            coalesce,
        };
        Ok((resolved, field))
    }

    fn lookup(
        &self,
        name: &str,
        input: Edge,
        lookup: &crate::definition::Lookup,
        span: Range<usize>,
    ) -> Result<ResolvedNode> {
        self.append_only(input, name, "lookup", &lookup.table)?;
        let whose = self.edge_name(input);
        let source = self.output(input)?;
        let Some(table) = self.tables.iter().position(|table| table.name == *lookup.table.get_ref()) else {
            let known: Vec<&str> = self.tables.iter().map(|table| table.name.as_str()).collect();
            let known = if known.is_empty() { "none is declared".to_owned() } else { format!("there are {}", known.join(", ")) };
            let table = lookup.table.get_ref();
            return Err(self.at(&lookup.table, format!("key `table`: there is no table \"{table}\"; {known}")));
        };
        let Some(found) = self.tables.get(table) else { return Err(self.error(span, "no such table")) };
        let key: Vec<&Field> = found.columns.iter().take(found.key_len).map(|(field, _)| field).collect();
        for (column, event) in &lookup.on {
            if !key.iter().any(|field| field.name == *column) {
                let names: Vec<&str> = key.iter().map(|field| field.name.as_str()).collect();
                return Err(self.at(
                    event,
                    format!("key `on`: \"{column}\" is not in the primary key of {}, which is {}", found.name, names.join(", ")),
                ));
            }
        }
        let mut on = Vec::new();
        for field in &key {
            let Some(event) = lookup.on.get(&field.name) else {
                return Err(self.error(
                    span,
                    format!("key `on` does not say what \"{}\" of {}'s primary key equals", field.name, found.name),
                ));
            };
            let index = self.column(&source.schema, event, &whose)?;
            let type_found = source.schema.get(index).map_or(field.column_type, |field| field.column_type);
            if type_found != field.column_type {
                return Err(self.at(
                    event,
                    format!(
                        "key `on`: \"{}\" of {} is {}, but \"{}\" is {type_found} in {whose}",
                        field.name,
                        found.name,
                        field.column_type,
                        event.get_ref()
                    ),
                ));
            }
            on.push(event.get_ref().clone());
        }
        let table_schema: Schema = found.columns.iter().map(|(field, _)| field.clone()).collect();
        let added: Vec<String> = match &lookup.columns {
            Some(columns) => {
                self.distinct(columns, "columns")?;
                for column in columns {
                    self.column(&table_schema, column, &format!("table \"{}\"", found.name))?;
                }
                columns.iter().map(|column| column.get_ref().clone()).collect()
            }
            None => table_schema.iter().skip(found.key_len).map(|field| field.name.clone()).collect(),
        };
        // An inner join: the columns that were compared are not null in what comes out.
        let mut schema: Schema = source.schema.clone();
        for field in &mut schema {
            field.nullable &= !on.contains(&field.name);
        }
        let mut origins = source.origins.clone();
        for column in &added {
            if schema.iter().any(|field| field.name == *column) {
                return Err(self.at(
                    &lookup.table,
                    format!("step \"{name}\" adds column \"{column}\", which {whose} has already; leave it out of `columns`"),
                ));
            }
            origins.push((self.nodes.len(), 0, schema.len()));
            schema.extend(table_schema.iter().find(|field| field.name == *column).cloned());
        }
        let output = ResolvedOutput { name: "out".to_owned(), schema, origins, change: ResolvedChange::Append };
        let kind = ResolvedKind::Lookup { table, on, added };
        Ok(ResolvedNode { name: name.to_owned(), input, kind, outputs: vec![output] })
    }

    // ---- what goes out ------------------------------------------------------------------------------------------------

    /// Tables that the pipeline updates: the row that is set must be the one that was looked up, or events of one batch
    /// could not be told to be independent of each other.
    fn updates(&mut self) -> Result<()> {
        for (number, (name, defined)) in self.definition.tables.iter().enumerate() {
            let Some(from) = &defined.get_ref().update_from else { continue };
            let edge = self.edge(Some(from), 0, from.span())?;
            let output = self.output(edge)?;
            let Some(table) = self.tables.get(number) else { continue };
            if !matches!(output.change, ResolvedChange::Append) {
                let whose = self.edge_name(edge);
                return Err(self.at(from, format!("key `update_from`: {whose} sends a changelog; a table is set by single rows")));
            }
            for (field, _) in &table.columns {
                let Some(found) = output.schema.iter().find(|found| found.name == field.name) else {
                    return Err(self.at(
                        from,
                        format!(
                            "key `update_from`: {} has no column \"{}\", which table \"{name}\" has; there are {}",
                            self.edge_name(edge),
                            field.name,
                            list(&output.schema)
                        ),
                    ));
                };
                if found.column_type != field.column_type {
                    return Err(self.at(
                        from,
                        format!(
                            "key `update_from`: column \"{}\" is {} in table \"{name}\", but {} in {}",
                            field.name,
                            field.column_type,
                            found.column_type,
                            self.edge_name(edge)
                        ),
                    ));
                }
            }
            let lookups: Vec<usize> = self
                .nodes
                .iter()
                .enumerate()
                .filter(|(_, node)| matches!(&node.kind, ResolvedKind::Lookup { table, .. } if *table == number))
                .map(|(at, _)| at)
                .collect();
            let &[lookup] = lookups.as_slice() else {
                return Err(self.at(
                    from,
                    format!("key `update_from`: table \"{name}\" is looked up by {} steps; accepted is one", lookups.len()),
                ));
            };
            self.check_round(from, name, edge, lookup)?;
            if let Some(table) = self.tables.get_mut(number) {
                table.update = Some(edge);
            }
        }
        Ok(())
    }

    /// Whether `edge` comes from the step `lookup` by stages alone, with the looked-up key unchanged.
    fn check_round(&self, from: &Name, table_name: &str, edge: Edge, lookup: usize) -> Result<()> {
        let mut at = edge.node;
        while at != lookup {
            let Some(node) = self.nodes.get(at) else { break };
            if at == 0 || !matches!(node.kind, ResolvedKind::Stage { .. }) {
                let lookup = self.nodes.get(lookup).map_or("", |node| node.name.as_str());
                return Err(self.at(
                    from,
                    format!(
                        "key `update_from`: \"{}\" does not come from the lookup \"{lookup}\" through stages alone",
                        from.get_ref()
                    ),
                ));
            }
            at = node.input.node;
        }
        let (Some(node), output) = (self.nodes.get(lookup), self.output(edge)?) else { return Ok(()) };
        let ResolvedKind::Lookup { table, on, .. } = &node.kind else { return Ok(()) };
        let input = self.output(node.input)?;
        let Some(table) = self.tables.get(*table) else { return Ok(()) };
        for ((key, _), event) in table.columns.iter().zip(on) {
            let origin = input.schema.iter().position(|field| field.name == *event).and_then(|at| input.origins.get(at));
            let found = output.schema.iter().position(|field| field.name == key.name).and_then(|at| output.origins.get(at));
            if origin != found {
                return Err(self.at(
                    from,
                    format!(
                        "key `update_from`: column \"{}\" of {} is not the \"{event}\" by which table \"{table_name}\" was \
                         looked up; pass it on unchanged",
                        key.name,
                        self.edge_name(edge)
                    ),
                ));
            }
        }
        Ok(())
    }

    fn sinks(&self) -> Result<Vec<ResolvedSink>> {
        let mut sinks: Vec<ResolvedSink> = Vec::new();
        if self.definition.sinks.is_empty() {
            return Err(self.file.error(None, "there is no [[sink]]; name at least one"));
        }
        for sink in &self.definition.sinks {
            let span = sink.span();
            let sink = sink.get_ref();
            let input = self.edge(sink.from.as_ref(), self.nodes.len() - 1, span.clone())?;
            let output = self.output(input)?;
            let whose = self.edge_name(input);
            let mut columns = Vec::new();
            match &sink.columns {
                Some(names) => {
                    self.distinct(names, "columns")?;
                    for name in names {
                        self.column(&output.schema, name, &whose)?;
                        columns.push(name.get_ref().clone());
                    }
                }
                None => columns.extend(output.schema.iter().map(|field| field.name.clone())),
            }
            let target = match (&sink.table, &sink.subject, &sink.primary_key) {
                (Some(table), None, primary_key) => {
                    self.check_table_name(table.get_ref(), table.span())?;
                    let name = table.get_ref().clone();
                    let taken = sinks.iter().any(|other| other.target.table() == Some(&name))
                        || self.tables.iter().any(|table| table.name == name);
                    if taken {
                        return Err(self.at(table, format!("table \"{name}\" is written by another part of this pipeline")));
                    }
                    match primary_key {
                        None => ResolvedTarget::Append { name },
                        Some(primary_key) => self.keyed_sink(name, primary_key, &columns, output, &whose, table)?,
                    }
                }
                (None, Some(subject), None) => {
                    self.check_subject(subject)?;
                    ResolvedTarget::Subject { name: subject.get_ref().clone() }
                }
                (None, Some(subject), Some(_)) => {
                    return Err(self.at(subject, "a sink with a `subject` has no `primary_key`: every row is a message"));
                }
                _ => {
                    return Err(self.error(span, "a sink has either `table` or `subject`"));
                }
            };
            let keyed = matches!(target, ResolvedTarget::Table { .. });
            if !keyed && !matches!(output.change, ResolvedChange::Append) {
                return Err(self.error(
                    span,
                    format!("{whose} sends a changelog, whose rows are changed later; give the sink a `table` with a `primary_key`"),
                ));
            }
            sinks.push(ResolvedSink { input, columns, target });
        }
        Ok(sinks)
    }

    fn check_subject(&self, subject: &Name) -> Result<()> {
        let text = subject.get_ref();
        let plain = !text.is_empty()
            && text.len() <= 256
            && text.split('.').all(|part| !part.is_empty() && part != "*" && part != ">")
            && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        match plain {
            true => Ok(()),
            false => Err(self.at(
                subject,
                format!("key `subject` is \"{text}\"; accepted are names joined by dots, without wildcards and spaces"),
            )),
        }
    }

    fn keyed_sink(
        &self,
        name: String,
        primary_key: &[Name],
        columns: &[String],
        output: &ResolvedOutput,
        whose: &str,
        at: &Name,
    ) -> Result<ResolvedTarget> {
        self.distinct(primary_key, "primary_key")?;
        if primary_key.is_empty() {
            return Err(self.at(at, "key `primary_key` is empty; name at least one column, or leave it out to append rows"));
        }
        for key in primary_key {
            if !columns.contains(key.get_ref()) {
                return Err(self.at(
                    key,
                    format!("key `primary_key`: \"{}\" is not among the sink's columns, which are {}", key.get_ref(), columns.join(", ")),
                ));
            }
        }
        let primary_key: Vec<String> = primary_key.iter().map(|key| key.get_ref().clone()).collect();
        let rows_by = match &output.change {
            ResolvedChange::Append => None,
            ResolvedChange::Keyed(Some(key)) if key.iter().all(|column| primary_key.contains(column)) => None,
            ResolvedChange::Keyed(Some(key)) => Some(key.clone()),
            ResolvedChange::Keyed(None) => {
                return Err(self.at(
                    at,
                    format!("{whose} does not pass on the key of the changelog that it reads, so that rows cannot be told apart"),
                ));
            }
        };
        Ok(ResolvedTarget::Table { name, primary_key, rows_by })
    }
}

impl ResolvedTarget {
    fn table(&self) -> Option<&String> {
        match self {
            Self::Table { name, .. } | Self::Append { name } => Some(name),
            Self::Subject { .. } => None,
        }
    }
}

impl ResolvedChange {
    pub(super) fn wire(&self, schema: &Schema) -> Change {
        match self {
            Self::Append => Change::Append,
            Self::Keyed(key) => Change::Keyed(key.as_ref().and_then(|key| {
                key.iter().map(|name| schema.iter().position(|field| field.name == *name)).collect()
            })),
        }
    }
}

fn field(name: &Name, column: &SourceColumn, nullable: bool) -> Field {
    Field { name: name.get_ref().clone(), column_type: column.column_type, nullable }
}

/// The path of a column in the payload.
pub(super) fn path<'a>(name: &'a Name, column: &'a SourceColumn) -> Vec<&'a str> {
    match &column.path {
        Some(path) => path.iter().map(String::as_str).collect(),
        None => vec![name.get_ref().as_str()],
    }
}

fn list(schema: &Schema) -> String {
    let names: Vec<String> = schema.iter().map(|field| format!("{} ({})", field.name, field.column_type)).collect();
    names.join(", ")
}

/// The value of a parameter as the rule wants it; an integer is also a double.
fn parameter(value: &toml::Value, wanted: ParameterType) -> Option<ParameterValue> {
    let double = |value: &toml::Value| match value {
        toml::Value::Float(value) => Some(*value).filter(|value| value.is_finite()),
        toml::Value::Integer(value) => Some(*value as f64),
        _ => None,
    };
    Some(match wanted {
        ParameterType::Int => ParameterValue::Int(value.as_integer()?),
        ParameterType::Double => ParameterValue::Double(double(value)?),
        ParameterType::Boolean => ParameterValue::Boolean(value.as_bool()?),
        ParameterType::Text => ParameterValue::Text(value.as_str()?.to_owned()),
        ParameterType::IntList => {
            ParameterValue::IntList(value.as_array()?.iter().map(toml::Value::as_integer).collect::<Option<_>>()?)
        }
        ParameterType::DoubleList => ParameterValue::DoubleList(value.as_array()?.iter().map(double).collect::<Option<_>>()?),
        ParameterType::TextList => ParameterValue::TextList(
            value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect::<Option<_>>()?,
        ),
    })
}
