//! What goes out: sinks, and the tables that the pipeline updates.

use super::{
    Binder, BoundChange, BoundKind, BoundOutput, BoundSink, BoundTarget, OutputPort, list, time::DURATION_US_MAX,
};
use crate::{
    definition::{Name, PublishFrom, Sink},
    error::{Error, OrDefect, Result},
    limits::{DEAD_LETTER_BYTES_KEPT, DEAD_LETTERS_KEPT},
    model::{
        form::{ColumnForm, Form, Place},
        ids::{Id, IdVec, NodeId, SinkId},
        subject,
    },
    plan::{KeepPlan, MS_US},
};
use std::collections::BTreeMap;

impl Binder<'_> {
    /// Tables that the pipeline updates: the row that is set must be the one that was looked up, or events of one batch
    /// could not be told to be independent of each other.
    pub(super) fn updates(&mut self) -> Result<()> {
        for (id, (name, defined)) in self.tables.ids().zip(&self.definition.tables) {
            let Some(from) = &defined.get_ref().update_from else {
                continue;
            };
            let port = self.port(from)?;
            let output = self.output(port)?;
            let table = self
                .tables
                .get(id)
                .or_defect(|| format!("table \"{name}\" is not bound"))?;
            if !matches!(output.change, BoundChange::Append) {
                let whose = self.port_name(port);
                return Err(self.at(
                    from,
                    format!("key `update_from`: {whose} sends a changelog; a table is set by single rows"),
                ));
            }
            for (field, _) in &table.columns {
                let Some(found) = output.schema.iter().find(|found| found.name == field.name) else {
                    return Err(self.at(
                        from,
                        format!(
                            "key `update_from`: {} has no column \"{}\", which table \"{name}\" has; there are {}",
                            self.port_name(port),
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
                            self.port_name(port)
                        ),
                    ));
                }
            }
            let lookups: Vec<NodeId> = self
                .nodes
                .iter_enumerated()
                .filter(|(_, node)| matches!(&node.kind, BoundKind::Lookup(lookup) if lookup.table == id))
                .map(|(at, _)| at)
                .collect();
            let &[lookup] = lookups.as_slice() else {
                return Err(self.at(
                    from,
                    format!(
                        "key `update_from`: table \"{name}\" is looked up by {} steps; accepted is one",
                        lookups.len()
                    ),
                ));
            };
            self.check_round(from, name, port, lookup)?;
            let table = self.tables.get_mut(id);
            table.or_defect(|| format!("table \"{name}\" is not bound"))?.update = Some(port);
        }
        Ok(())
    }

    /// Whether `edge` comes from the step `lookup` by stages and steps `columns` alone, with the looked-up key unchanged.
    fn check_round(&self, from: &Name, table_name: &str, port: OutputPort, lookup: NodeId) -> Result<()> {
        let mut at = port.node;
        while at != lookup {
            let node = self.nodes.get(at).or_defect(|| format!("there is no step {at}"))?;
            if !node.kind.is_by_row() {
                let lookup = self.nodes.get(lookup).map_or("", |node| node.name.as_str());
                return Err(self.at(
                    from,
                    format!(
                        "key `update_from`: \"{}\" does not come from the lookup \"{lookup}\" through stages and steps `columns` alone",
                        from.get_ref()
                    ),
                ));
            }
            at = node.input.node;
        }
        let node = self.nodes.get(lookup);
        let node = node.or_defect(|| format!("there is no step {lookup}"))?;
        let BoundKind::Lookup(lookup) = &node.kind else {
            return Err(Error::defect(format_args!("step \"{}\" is no lookup", node.name)));
        };
        let (input, output) = (self.output(node.input)?, self.output(port)?);
        let table = self.tables.get(lookup.table);
        let table = table.or_defect(|| format!("table \"{table_name}\" is not bound"))?;
        for ((key, _), event) in table.columns.iter().zip(&lookup.on) {
            let origin = input
                .schema
                .iter()
                .position(|field| field.name == *event)
                .and_then(|at| input.origins.get(at));
            let found = output
                .schema
                .iter()
                .position(|field| field.name == key.name)
                .and_then(|at| output.origins.get(at));
            if origin != found {
                return Err(self.at(
                    from,
                    format!(
                        "key `update_from`: column \"{}\" of {} is not the \"{event}\" by which table \"{table_name}\" was \
                         looked up; pass it on unchanged",
                        key.name,
                        self.port_name(port)
                    ),
                ));
            }
        }
        Ok(())
    }

    pub(super) fn sinks(&self) -> Result<IdVec<SinkId, BoundSink>> {
        let mut sinks: IdVec<SinkId, BoundSink> = IdVec::new();
        if self.definition.sinks.is_empty() {
            return Err(self.file.error(Some(0..0), "there is no [[sink]]; name at least one"));
        }
        for sink in &self.definition.sinks {
            let span = sink.span();
            let sink = sink.get_ref();
            let input = self.edge_or_above(sink.from.as_ref(), span.clone())?;
            let output = self.output(input)?;
            let whose = self.port_name(input);
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
            if columns.is_empty() {
                return Err(self.error(
                    span,
                    format!("a sink has no columns; there are {}", list(&output.schema)),
                ));
            }
            let target = match (&sink.table, &sink.subject, &sink.primary_key) {
                (Some(table), None, primary_key) => {
                    self.check_table_name(table.get_ref(), table.span())?;
                    let name = table.get_ref().clone();
                    // SQLite takes names that differ in case for one.
                    let same = |other: &str| other.eq_ignore_ascii_case(&name);
                    let is_same = |other: &BoundSink| other.target.table().is_some_and(|other| same(other));
                    if let Some(before) = sinks.position(is_same) {
                        let message = format!(
                            "table \"{name}\" is that of the sink in line {} already; give each a table of its own, and put rows \
                             of several steps together with a step of kind `union`",
                            self.line_of_sink(before)?
                        );
                        return Err(self.at(table, message));
                    }
                    if let Some((_, other)) = self.definition.tables.iter().find(|(other, _)| same(other)) {
                        let message = format!(
                            "table \"{name}\" is the lookup table in line {}; name another, or keep that one up to date with its \
                             `update_from`",
                            self.file.line(other.span().start)
                        );
                        return Err(self.at(table, message));
                    }
                    let key_len = primary_key.as_ref().map_or(0, Vec::len);
                    self.check_table_columns(&name, columns.iter().map(String::as_str), key_len, table.span())?;
                    match primary_key {
                        None => BoundTarget::Append { name },
                        Some(primary_key) => self.keyed_sink(name, primary_key, &columns, output, &whose, table)?,
                    }
                }
                (None, Some(subject), None) => {
                    self.check_subject(subject)?;
                    self.check_not_read(subject, "each message that this sink publishes")?;
                    self.check_published_once(&sinks, (input, &columns), subject)?;
                    BoundTarget::Subject {
                        name: subject.get_ref().clone(),
                    }
                }
                (None, Some(subject), Some(_)) => {
                    return Err(self.at(
                        subject,
                        "a sink with a `subject` has no `primary_key`: every row is a message",
                    ));
                }
                _ => {
                    return Err(self.error(span, "a sink has either `table` or `subject`"));
                }
            };
            let keyed = matches!(target, BoundTarget::Table { .. });
            if !keyed && !matches!(output.change, BoundChange::Append) {
                return Err(self.error(
                    span,
                    format!("{whose} sends a changelog, whose rows are changed later; give the sink a `table` with a `primary_key`"),
                ));
            }
            let forms = self.forms(sink, &columns, output, &target)?;
            sinks.push(BoundSink {
                input,
                columns,
                forms,
                target,
            });
        }
        Ok(sinks)
    }

    /// How the values of a sink's columns are written.
    fn forms(&self, sink: &Sink, columns: &[String], output: &BoundOutput, target: &BoundTarget) -> Result<Vec<Form>> {
        let (place, what) = match target {
            BoundTarget::Subject { .. } => (Place::Subject, "a message"),
            _ => (Place::Table, "a table"),
        };
        let named = sink.forms.as_ref().map_or(&[][..], |forms| &forms.0);
        if let Some((name, _)) = named.iter().find(|(name, _)| !columns.contains(name.get_ref())) {
            return Err(self.at(
                name,
                format!(
                    "key `as`: the sink has no column \"{}\"; there are {}",
                    name.get_ref(),
                    columns.join(", ")
                ),
            ));
        }
        let form = |column: &String| {
            let field = output.schema.iter().find(|field| field.name == *column);
            let field = field.or_defect(|| format!("a sink has a column \"{column}\" that its input does not have"))?;
            let column_type = field.column_type;
            let Some((_, named)) = named.iter().find(|(name, _)| name.get_ref() == column) else {
                return Ok(ColumnForm::usual(column_type, place).form);
            };
            let accepted = Form::all(column_type, place);
            let refuse =
                |why: String| Err(self.at(named, format!("key `as`: column \"{column}\" is {column_type}, {why}")));
            let Some(form) = Form::named(named.get_ref()).filter(|form| accepted.contains(form)) else {
                return refuse(match accepted {
                    [_] => format!("which {what} has in one form alone, so leave `{column}` out of `as`"),
                    _ => {
                        let names: Vec<String> = accepted.iter().map(|form| format!("\"{form}\"")).collect();
                        format!(
                            "which {what} has as {}; found \"{}\"",
                            names.join(", "),
                            named.get_ref()
                        )
                    }
                });
            };
            match target {
                BoundTarget::Table { name, primary_key, .. } if form.cuts() && primary_key.contains(column) => {
                    refuse(format!(
                        "and part of the primary key of table \"{name}\": as \"{form}\" it would be cut, and rows of different keys \
                     would be one; accepted are \"{}\" and \"{}\"",
                        Form::Text,
                        Form::EpochMicros
                    ))
                }
                _ => Ok(form),
            }
        };
        columns.iter().map(form).collect()
    }

    /// Several steps may publish to one subject, and a step may publish to several; the same rows twice to one are an oversight.
    fn check_published_once(
        &self,
        before: &IdVec<SinkId, BoundSink>,
        rows: (OutputPort, &[String]),
        subject: &Name,
    ) -> Result<()> {
        let (input, columns) = rows;
        let twin = before.position(|other| {
            let same_columns =
                other.columns.len() == columns.len() && other.columns.iter().all(|column| columns.contains(column));
            let same_subject = matches!(&other.target, BoundTarget::Subject { name } if name == subject.get_ref());
            other.input == input && same_columns && same_subject
        });
        match twin {
            None => Ok(()),
            Some(twin) => Err(self.at(
                subject,
                format!(
                    "the sink in line {} publishes the same rows of {} to \"{}\" already; leave one out, or give it another `from` \
                     or `subject`",
                    self.line_of_sink(twin)?,
                    self.port_name(input),
                    subject.get_ref()
                ),
            )),
        }
    }

    /// Where a sink stands, for a message about another one.
    fn line_of_sink(&self, sink: SinkId) -> Result<usize> {
        let defined = self.definition.sinks.get(sink.number());
        let defined = defined.or_defect(|| format!("sink {sink} is not defined"))?;
        Ok(self.file.line(defined.span().start))
    }

    /// Where dead letters are published. The source must not take them in: a payload that cannot be processed would come
    /// back for ever.
    pub(super) fn dead_letters(&self) -> Result<Option<String>> {
        let letters = self.definition.dead_letters.as_ref();
        let Some(subject) = letters.and_then(|letters| letters.subject.as_ref()) else {
            return Ok(None);
        };
        self.check_subject(subject)?;
        self.check_not_read(subject, "each dead letter that is published")?;
        Ok(Some(subject.get_ref().clone()))
    }

    /// Whether the source leaves alone what is published to `subject`: one event that came back would come back for ever.
    fn check_not_read(&self, subject: &Name, what: &str) -> Result<()> {
        let text = subject.get_ref();
        match self.inputs.iter().find(|input| subject::overlap(&input.subject, text)) {
            None => Ok(()),
            Some(input) => Err(self.at(
                subject,
                format!(
                    "key `subject`: the source takes in \"{}\", so {what} to \"{text}\" would come back as an event; name a \
                     subject that it does not read",
                    input.subject
                ),
            )),
        }
    }

    /// How many dead letters are kept.
    pub(super) fn keep(&self) -> Result<KeepPlan> {
        let mut plan = KeepPlan {
            rows: DEAD_LETTERS_KEPT,
            bytes: DEAD_LETTER_BYTES_KEPT,
            age_ms: None,
        };
        let letters = self.definition.dead_letters.as_ref();
        let Some(keep) = letters.and_then(|letters| letters.keep.as_ref()) else {
            return Ok(plan);
        };
        for (given, bound, key) in [
            (&keep.rows, &mut plan.rows, "rows"),
            (&keep.bytes, &mut plan.bytes, "bytes"),
        ] {
            let Some(given) = given else { continue };
            if *given.get_ref() == 0 {
                return Err(self.error(
                    given.span(),
                    format!("key `{key}` is 0; the least is 1: the newest dead letter is kept"),
                ));
            }
            *bound = *given.get_ref();
        }
        let age = keep.age.as_ref();
        plan.age_ms = age
            .map(|age| self.duration(age, "age", MS_US..=DURATION_US_MAX))
            .transpose()?
            .map(|age_us| age_us / MS_US);
        Ok(plan)
    }

    /// From which event on messages to a subject are published, in a database that is new.
    pub(super) fn publish_from(&self) -> Result<BTreeMap<String, PublishFrom>> {
        let mut places: BTreeMap<String, PublishFrom> = BTreeMap::new();
        let of_sinks = self.definition.sinks.iter().map(|sink| {
            let sink = sink.get_ref();
            (sink.subject.as_ref(), sink.publish_from.as_ref())
        });
        let of_letters = self.definition.dead_letters.iter();
        let of_letters = of_letters.map(|letters| (letters.subject.as_ref(), letters.publish_from.as_ref()));
        for (subject, place) in of_sinks.chain(of_letters) {
            let Some(place) = place else { continue };
            let at = |message: String| Err(self.error(place.span(), message));
            let Some(subject) = subject else {
                return at("key `publish_from` goes with a `subject`: nothing else is published".to_owned());
            };
            let before = places.insert(subject.get_ref().clone(), *place.get_ref());
            if before.is_some_and(|before| before != *place.get_ref()) {
                return at(format!(
                    "key `publish_from`: another sink says otherwise of subject \"{}\"",
                    subject.get_ref()
                ));
            }
        }
        Ok(places)
    }

    fn check_subject(&self, subject: &Name) -> Result<()> {
        let text = subject.get_ref();
        let plain = text.len() <= 256 && subject::is_subject(text);
        match plain {
            true => Ok(()),
            false => Err(self.at(
                subject,
                format!("key `subject` is \"{text}\"; accepted are names joined by dots, without spaces and without the wildcards * and >"),
            )),
        }
    }

    fn keyed_sink(
        &self,
        name: String,
        primary_key: &[Name],
        columns: &[String],
        output: &BoundOutput,
        whose: &str,
        at: &Name,
    ) -> Result<BoundTarget> {
        self.distinct(primary_key, "primary_key")?;
        if primary_key.is_empty() {
            return Err(self.at(
                at,
                "key `primary_key` is empty; name at least one column, or leave it out to append rows",
            ));
        }
        for key in primary_key {
            if !columns.contains(key.get_ref()) {
                return Err(self.at(
                    key,
                    format!(
                        "key `primary_key`: \"{}\" is not among the sink's columns, which are {}",
                        key.get_ref(),
                        columns.join(", ")
                    ),
                ));
            }
        }
        let primary_key: Vec<String> = primary_key.iter().map(|key| key.get_ref().clone()).collect();
        let rows_by = match &output.change {
            BoundChange::Append => None,
            BoundChange::Keyed(Some(key)) if key.iter().all(|column| primary_key.contains(column)) => None,
            BoundChange::Keyed(Some(key)) => Some(key.clone()),
            BoundChange::Keyed(None) => {
                return Err(self.at(
                    at,
                    format!("{whose} does not pass on the key of the changelog that it reads, so that rows cannot be told apart"),
                ));
            }
        };
        Ok(BoundTarget::Table {
            name,
            primary_key,
            rows_by,
        })
    }
}
