//! The source: its stream, its inputs, and what "now" is.

use super::{
    Binder, BoundChange, BoundInput, BoundKind, BoundNode, BoundOutput, OutputPort, field,
    last_value::BoundLastValue,
    payloads::{deleted_name, says_itself},
};
use crate::{
    definition::{
        ColumnMap, ColumnPlace, Compression, Name, Now as DefinedNow, PayloadFormat, SourceColumn, Spanned, TimeUnit,
        Tombstones,
    },
    error::{OrDefect, Result},
    limits::INPUTS_MAX,
    model::{
        column::{ColumnType, Field, Schema},
        ids::InputId,
        subject::{is_filter, overlap},
    },
    plan::{Now, PayloadFormat as PayloadPlan, TombstonePlan},
};
use std::ops::Range;

/// What the only input is called where it has no name.
pub(super) const ONLY_INPUT: &str = "source";

/// What follows the name of an input in that of the step that holds its rows. No step of a file can be called so.
const ROWS: &str = "rows";

/// An input, in whichever form it is written.
struct Written<'d> {
    name: &'d str,
    place: Range<usize>,
    subject: &'d Name,
    columns: &'d ColumnMap<SourceColumn>,
    format: Option<&'d Spanned<PayloadFormat>>,
    compression: Option<Compression>,
}

impl<'d> Binder<'d> {
    /// Takes the inputs in, and finds out what "now" is.
    pub(super) fn source(&mut self) -> Result<(Now, Option<TombstonePlan>)> {
        self.check_stream(&self.definition.source.get_ref().stream)?;
        let mut inputs = self.written()?;
        for (at, input) in inputs.iter().enumerate() {
            self.check_input(input)?;
            if let Some(other) = inputs
                .iter()
                .take(at)
                .find(|other| overlap(other.subject.get_ref(), input.subject.get_ref()))
            {
                let (mine, others) = (input.subject.get_ref(), other.subject.get_ref());
                return Err(self.at(
                    input.subject,
                    format!(
                        "key `subject`: \"{mine}\" takes messages that \"{others}\" of input \"{}\" takes as well; each message \
                         belongs to one input",
                        other.name
                    ),
                ));
            }
        }
        // What is stored by the number of an input stays its own whatever it is called: a database belongs to the subjects.
        inputs.sort_by_key(|input| input.subject.get_ref());
        for input in &inputs {
            let format = self.payload_format(input.format, &input.columns.0)?;
            self.take_in(input, format);
        }
        for input in self.inputs.ids() {
            self.hold_rows(input)?;
        }
        Ok((self.now()?, self.tombstones()?))
    }

    /// The inputs of either form.
    fn written(&self) -> Result<Vec<Written<'d>>> {
        let definition = self.definition;
        let (source, place) = (definition.source.get_ref(), definition.source.span());
        let inputs = match (&source.subject, &source.columns, &source.inputs) {
            (Some(subject), Some(columns), None) => {
                return Ok(vec![Written {
                    name: ONLY_INPUT,
                    place,
                    subject,
                    columns,
                    format: source.format.as_ref(),
                    compression: source.compression,
                }]);
            }
            (None, None, Some(inputs)) => inputs,
            (None, None, None) => {
                let accepted =
                    "the keys `subject` and `columns`, or a table [source.input.NAME] with both for each input";
                return Err(self.error(place, format!("the source has no input; accepted are {accepted}")));
            }
            (Some(_), None, None) => return Err(self.error(place, "missing key `columns`")),
            (None, Some(_), None) => return Err(self.error(place, "missing key `subject`")),
            (subject, columns, Some(_)) => {
                let first_column = columns.as_ref().and_then(|columns| columns.0.first());
                let (key, place) = match (subject, first_column) {
                    (Some(subject), _) => ("subject", subject.span()),
                    (None, Some((column, _))) => ("columns", column.span()),
                    (None, None) => ("columns", place),
                };
                return Err(self.error(
                    place,
                    format!(
                        "key `{key}` of the source stands beside [source.input.…]; where there are inputs by name, each \
                         has a subject and columns of its own"
                    ),
                ));
            }
        };
        if inputs.get_ref().is_empty() {
            return Err(self.error(
                inputs.span(),
                "key `input` is empty; name at least one input, [source.input.NAME]",
            ));
        }
        if inputs.get_ref().len() > INPUTS_MAX {
            let found = inputs.get_ref().len();
            return Err(self.error(
                inputs.span(),
                format!("the source has {found} inputs; accepted are up to {INPUTS_MAX}"),
            ));
        }
        let written = inputs.get_ref().iter().map(|(name, input)| Written {
            name,
            place: input.span(),
            subject: &input.get_ref().subject,
            columns: &input.get_ref().columns,
            format: input.get_ref().format.as_ref().or(source.format.as_ref()),
            compression: input.get_ref().compression.or(source.compression),
        });
        Ok(written.collect())
    }

    fn check_input(&self, input: &Written<'_>) -> Result<()> {
        let is_only = input.name == ONLY_INPUT && self.definition.source.get_ref().inputs.is_none();
        self.check_name_at(input.name, input.place.clone(), "an input's name")?;
        self.check_source_subject(input.subject)?;
        if input.columns.0.is_empty() {
            let (whose, table) = match is_only {
                true => ("the source".to_owned(), "source".to_owned()),
                false => (
                    format!("input \"{}\"", input.name),
                    format!("source.input.{}", input.name),
                ),
            };
            return Err(self.at(
                input.subject,
                format!("key `columns` of {whose} is empty; declare columns under [{table}.columns]"),
            ));
        }
        self.check_columns(&input.columns.0, says_itself(input.format))?;
        self.check_places(input)
    }

    /// Whether messages of the input have what columns are read from beside the payload.
    fn check_places(&self, input: &Written<'_>) -> Result<()> {
        let subject = input.subject.get_ref();
        let names = subject.split('.').count();
        for (name, column) in &input.columns.0 {
            let accepted = match &column.place {
                ColumnPlace::Subject { token: Some(token) } => {
                    let is_there = *token > 0 && (*token <= names || subject.ends_with('>'));
                    (!is_there)
                        .then(|| format!("token = {token}; accepted is the number of a name in \"{subject}\", from 1"))
                }
                ColumnPlace::Header(header) => {
                    let is_name =
                        !header.is_empty() && header.bytes().all(|byte| (33..=126).contains(&byte) && byte != b':');
                    (!is_name).then(|| {
                        format!("name = {header:?}; accepted is the name of a header: letters, digits and signs but no colon")
                    })
                }
                _ => None,
            };
            if let Some(accepted) = accepted {
                return Err(self.at(name, format!("column \"{}\" has {accepted}", name.get_ref())));
            }
        }
        Ok(())
    }

    fn take_in(&mut self, input: &Written<'_>, format: PayloadPlan) {
        let node = self.inputs.next_id().node();
        let columns = input.columns.0.iter();
        let mut columns: Vec<_> = columns
            .map(|(name, column)| (field(name, column, true), column.clone()))
            .collect();
        columns.extend(format.debezium().map(|_| deleted_column(&input.columns.0)));
        let schema: Schema = columns.iter().map(|(field, _)| field.clone()).collect();
        let origins = (0..schema.len()).map(|column| (node, 0, column)).collect();
        self.inputs.push(BoundInput {
            subject: input.subject.get_ref().clone(),
            format,
            compression: input.compression,
            event_column: None,
            columns,
        });
        self.nodes.push(BoundNode {
            name: input.name.to_owned(),
            input: OutputPort { node, output: 0 },
            kind: BoundKind::Source,
            outputs: vec![BoundOutput {
                name: "out".to_owned(),
                schema,
                origins,
                change: BoundChange::Append,
            }],
        });
    }

    /// Where the events of an input are changes of rows, puts a step behind it that holds these rows, and tells of them what
    /// changes: a change may come twice, or without what was before.
    fn hold_rows(&mut self, input: InputId) -> Result<()> {
        let port = OutputPort {
            node: input.node(),
            output: 0,
        };
        let bound = self.inputs.get(input);
        let bound = bound.or_defect(|| format!("input {input} is not bound"))?;
        let Some(format) = bound.format.debezium() else {
            return Ok(());
        };
        let is_key = |index: &usize| format.key.contains(index);
        let others = (0..format.deleted).filter(|index| !is_key(index));
        let schema: Schema = format
            .key
            .iter()
            .copied()
            .chain(others)
            .filter_map(|index| {
                let (field, _) = bound.columns.get(index)?;
                Some(Field {
                    nullable: field.nullable && !is_key(&index),
                    ..field.clone()
                })
            })
            .collect();
        let names: Vec<String> = schema.iter().map(|field| field.name.clone()).collect();
        let (key, columns) = names.split_at(format.key.len().min(names.len()));
        let deleted = bound.columns.get(format.deleted).map(|(field, _)| field.name.clone());
        let deleted = deleted.or_defect(|| format!("input {input} does not tell which rows are gone"))?;
        let name = self.nodes.get(port.node).map(|node| format!("{}.{ROWS}", node.name));
        let rows = BoundLastValue::of_rows(key.to_vec(), columns.to_vec(), deleted);
        let output = self.keyed_output(schema, key.to_vec());
        self.rows_of.insert(port.node, self.nodes.next_id());
        self.nodes.push(BoundNode {
            name: name.or_defect(|| format!("input {input} is no node"))?,
            input: port,
            kind: BoundKind::Operator(Box::new(rows)),
            outputs: vec![output],
        });
        Ok(())
    }

    /// How tombstones become events.
    fn tombstones(&self) -> Result<Option<TombstonePlan>> {
        let source = self.definition.source.get_ref();
        let Some(tombstones) = &source.tombstones else {
            return Ok(None);
        };
        let place = tombstones.span();
        let [input] = self.inputs.as_slice() else {
            return Err(self.error(place, "key `tombstones` goes with a source of one input"));
        };
        if !input.format.is_json() {
            let message = format!(
                "key `tombstones` goes with payloads in JSON, as which a tombstone is read; those of the source are {}",
                input.format.name()
            );
            return Err(self.error(place, message));
        }
        if !source.latest_only {
            let message =
                "key `tombstones` goes with `latest_only = true`: elsewhere a deleted key still has its messages";
            return Err(self.error(place, message));
        }
        let path = |name: &Name, accepted: ColumnType| {
            let text = name.get_ref();
            let column = input.columns.iter().find(|(field, _)| field.name == *text);
            match column.filter(|(field, _)| field.column_type == accepted) {
                Some((_, column)) => match &column.place {
                    ColumnPlace::Payload(None) => Ok(vec![text.clone()]),
                    ColumnPlace::Payload(Some(path)) if path.names().is_some() => Ok(path.names().unwrap_or_default()),
                    _ => Err(self.at(
                        name,
                        format!("key `tombstones`: \"{text}\" is not a member of an object in the payload; accepted is a column that is"),
                    )),
                },
                None => Err(self.at(
                    name,
                    format!("key `tombstones`: \"{text}\" is no {accepted} column of the source; accepted is one"),
                )),
            }
        };
        let Tombstones { column, key } = tombstones.get_ref();
        let names = input.subject.split('.').count();
        let key = key.0.iter().map(|(name, number)| {
            let at = *number.get_ref();
            if at == 0 || (at > names && !input.subject.ends_with('>')) {
                let (text, subject) = (name.get_ref(), &input.subject);
                return Err(self.error(
                    number.span(),
                    format!(
                        "key `tombstones.key.{text}` is {at}; accepted is the number of a name in \"{subject}\", from 1"
                    ),
                ));
            }
            Ok((path(name, ColumnType::Text)?, at - 1))
        });
        Ok(Some(TombstonePlan {
            key: key.collect::<Result<_>>()?,
            column: path(column, ColumnType::Boolean)?,
        }))
    }

    fn now(&self) -> Result<Now> {
        match &self.definition.now {
            DefinedNow::StoreTime => Ok(Now::StoreTime),
            DefinedNow::Fixed(instant) => match instant.get_ref().parse::<jiff::Timestamp>() {
                Ok(instant) => Ok(Now::Fixed(instant.as_millisecond())),
                Err(_) => {
                    let text = instant.get_ref();
                    let accepted = "an instant in RFC 3339 such as 2026-03-15T12:00:00+08:00";
                    Err(self.at(
                        instant,
                        format!("key `now.fixed` is \"{text}\"; accepted is {accepted}"),
                    ))
                }
            },
            DefinedNow::Column(name) => {
                let all: Vec<InputId> = self.inputs.ids().collect();
                self.check_input_times(name, "now.column", (TimeUnit::Milliseconds, false), &all)?;
                Ok(Now::Column(name.get_ref().clone()))
            }
        }
    }

    /// Whether these inputs have a column of this name that can hold times in `unit`; `key` is what names it. Times of events may
    /// be timestamps.
    pub(super) fn check_input_times(
        &self,
        name: &Name,
        key: &str,
        (unit, may_be_timestamp): (TimeUnit, bool),
        inputs: &[InputId],
    ) -> Result<()> {
        let or_timestamp = if may_be_timestamp { " or a timestamp" } else { "" };
        let (text, accepted) = (name.get_ref(), format!("an int of {}{or_timestamp}", unit.plural()));
        let mut flaws = Vec::new();
        for input in inputs {
            let port = OutputPort {
                node: input.node(),
                output: 0,
            };
            let schema = &self.output(port)?.schema;
            let found = schema.iter().find(|field| field.name == *text);
            let whose = self.port_name(port);
            match found.map(|field| field.column_type) {
                Some(_) if self.is_of_row(*input, text) => {
                    let message = format!(
                        "key `{key}`: column \"{text}\" of {whose} is of the row, which an event that deletes it does not have; \
                         accepted is {accepted} from the envelope, such as {{ type = \"timestamp\", format = \"ms\", from = \
                         \"envelope\", path = \"source.ts_ms\" }}"
                    );
                    return Err(self.at(name, message));
                }
                Some(ColumnType::Int) => {}
                Some(ColumnType::Timestamp) if may_be_timestamp => {}
                Some(other) if inputs.len() == 1 => {
                    let message = format!("key `{key}`: column \"{text}\" is {other}; accepted is {accepted}");
                    return Err(self.at(name, message));
                }
                None if inputs.len() == 1 => return self.column(schema, name, &whose).map(|_| ()),
                Some(other) => flaws.push(format!("in {whose} it is {other}")),
                None => flaws.push(format!("{whose} has no such column")),
            }
        }
        match flaws.is_empty() {
            true => Ok(()),
            false => {
                let flaws = flaws.join(", ");
                let message = format!("key `{key}`: \"{text}\" has to be {accepted} in every input; {flaws}");
                Err(self.at(name, message))
            }
        }
    }

    /// Whether events of this input are changes of rows, and this column is one of these.
    fn is_of_row(&self, input: InputId, name: &str) -> bool {
        let bound = self.inputs.get(input).filter(|bound| bound.format.debezium().is_some());
        let mut columns = bound.into_iter().flat_map(|bound| &bound.columns);
        columns.any(|(field, column)| field.name == name && matches!(column.place, ColumnPlace::Payload(_)))
    }

    /// What a JetStream server takes for the name of a stream.
    fn check_stream(&self, stream: &Name) -> Result<()> {
        let text = stream.get_ref();
        let refused = |c: char| matches!(c, '.' | '*' | '>' | '/' | '\\') || c.is_whitespace() || c.is_control();
        if text.is_empty() || text.len() > 255 || text.contains(refused) {
            let accepted = "1 to 255 bytes without dots, wildcards, slashes and spaces";
            return Err(self.at(stream, format!("key `stream` is \"{text}\"; accepted are {accepted}")));
        }
        Ok(())
    }

    /// What a consumer may filter by: a wildcard stands for a whole part, `>` for all that follow.
    fn check_source_subject(&self, subject: &Name) -> Result<()> {
        let text = subject.get_ref();
        if text.len() > 256 || !is_filter(text) {
            let accepted = "names joined by dots; * stands for one of them, > at the end for all that follow";
            return Err(self.at(subject, format!("key `subject` is \"{text}\"; accepted are {accepted}")));
        }
        Ok(())
    }
}

/// The column that is true where the row of a change is gone.
fn deleted_column(columns: &[(Name, SourceColumn)]) -> (Field, SourceColumn) {
    let field = Field {
        name: deleted_name(columns),
        column_type: ColumnType::Boolean,
        nullable: false,
    };
    let column = SourceColumn {
        column_type: ColumnType::Boolean,
        place: ColumnPlace::Envelope(None),
        format: None,
        required: false,
    };
    (field, column)
}
