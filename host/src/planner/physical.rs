//! From names to indices: which columns are held at run time, and what each reader needs of each edge.

mod pruning;

use super::{
    Bound, BoundAggregate, BoundGuest, BoundKind, BoundNode, BoundOperator, BoundStage, BoundTable, BoundTarget,
    reading,
};
use crate::{
    definition::{self, ColumnFormat, ColumnPlace, Definition, File},
    error::note_defect,
    model::{
        column::{ColumnType, Field, Schema},
        guest::{InputColumn, OutputSpec},
        ids::{Id, IdVec, InputId, NodeId, SinkId, TableId},
        path::ValuePath,
    },
    plan::{
        AggregateGuest, AggregateSpec, Change, EventTimePlan, Input, Node, NodeKind, Output, OutputPort, Place, Plan,
        Readers, SinkColumn, SinkPlan, SourceColumn, StageColumn, StageOutput, StagePlan, TablePlan, Target,
        TimeColumn, TimeScale,
    },
};
use pruning::read_columns;
use std::{collections::BTreeSet, sync::Arc};

pub(super) fn physical_plan(file: &File, definition: &Definition<'_>, bound: Bound) -> Plan {
    let mut held = read_columns(&bound);
    // Decode looks at these itself.
    for (input, held) in bound.inputs.iter().zip(&mut held) {
        let looked_at =
            |column: &definition::SourceColumn| column.required || column.format == Some(ColumnFormat::Number);
        let looked_at = input.columns.iter().filter(|(_, column)| looked_at(column));
        if let Some(held) = held.first_mut() {
            held.extend(looked_at.map(|(field, _)| field.name.clone()));
        }
    }
    let schemas: IdVec<NodeId, Vec<Schema>> = bound
        .nodes
        .iter()
        .zip(&held)
        .map(|(node, held)| {
            node.outputs
                .iter()
                .zip(held)
                .map(|(output, held)| {
                    output
                        .schema
                        .iter()
                        .filter(|f| held.contains(&f.name))
                        .cloned()
                        .collect()
                })
                .collect()
        })
        .collect();
    let physical = Physical {
        timer_driven: super::timer_driven(&bound.nodes),
        bound: &bound,
        schemas: &schemas,
    };

    let inputs = bound.inputs.iter().zip(bound.nodes.iter().zip(&held));
    let inputs = inputs.map(|(input, (node, held))| {
        let read = |field: &Field| held.first().is_some_and(|held| held.contains(&field.name));
        let columns = input.columns.iter();
        Input {
            name: node.name.clone(),
            subject: input.subject.clone(),
            format: input.format.clone(),
            compression: input.compression,
            columns: columns
                .enumerate()
                .map(|(index, (field, column))| {
                    let column = source_column(field, column, read(field));
                    match input.format.debezium() {
                        Some(debezium) if debezium.deleted == index => SourceColumn {
                            place: Place::Deleted,
                            ..column
                        },
                        _ => column,
                    }
                })
                .collect(),
            event_column: input.event_column,
        }
    });
    let inputs: IdVec<InputId, Input> = inputs.collect();
    let event_time = EventTimePlan {
        followed: bound.nodes.iter().any(|node| node.kind.follows_time()),
        ..bound.event_time
    };
    let tables = bound.tables.map(|_, table| physical.table(table));
    let sinks = bound.sinks.map(|_, sink| physical.sink(sink));
    let nodes = bound.nodes.map(|id, node| physical.node(id, node, &sinks));
    // Without a column for it, the time of an event is "now"; and all inputs move the one watermark.
    let has_now = inputs.iter().any(|input| input.event_column.is_none());
    let follows_now = |kind: &BoundKind| kind.follows_time() && has_now;
    let time_reader = nodes
        .iter()
        .zip(&bound.nodes)
        .find_map(|(node, bound)| match &node.kind {
            NodeKind::Stage(stage) if stage.module.description.reads_time => Some(node.name.clone()),
            _ => follows_now(&bound.kind).then(|| node.name.clone()),
        });
    Plan {
        name: definition.name.get_ref().clone(),
        file: file.clone(),
        stream: definition.source.get_ref().stream.get_ref().clone(),
        latest_only: definition.source.get_ref().latest_only,
        tombstones: bound.tombstones.clone(),
        inputs,
        now: bound.now.clone(),
        event_time,
        commit_at_most_every: bound.commit_at_most_every,
        ticks: bound.ticks.clone(),
        time_reader,
        tables,
        nodes,
        sinks,
        dead_letters: bound.dead_letters.clone(),
        keep: bound.keep,
        publish_from: bound.publish_from.clone(),
        trust: bound.trust.clone(),
    }
}

/// A column of a payload; `materialised` where somebody reads it.
pub(super) fn source_column(field: &Field, column: &definition::SourceColumn, materialised: bool) -> SourceColumn {
    SourceColumn {
        field: field.clone(),
        place: match &column.place {
            ColumnPlace::Payload(path) => {
                let path = path.clone();
                Place::Payload(path.unwrap_or_else(|| ValuePath::of_names([field.name.as_str()])))
            }
            ColumnPlace::Envelope(path) => {
                let path = path.clone();
                Place::Envelope(path.unwrap_or_else(|| ValuePath::of_names([field.name.as_str()])))
            }
            ColumnPlace::Subject { token } => Place::Subject { token: *token },
            ColumnPlace::Header(name) => Place::Header(name.clone()),
            ColumnPlace::Sequence => Place::Sequence,
            ColumnPlace::StoreTime => Place::StoreTime,
        },
        // It was checked that there is one.
        reading: reading(column).unwrap_or_default(),
        is_number: column.format == Some(ColumnFormat::Number),
        required: column.required,
        materialised,
    }
}

struct Physical<'a> {
    timer_driven: IdVec<NodeId, Vec<bool>>,
    bound: &'a Bound,
    schemas: &'a IdVec<NodeId, Vec<Schema>>,
}

impl Physical<'_> {
    fn schema(&self, port: OutputPort) -> &[Field] {
        let outputs = self.schemas.get(port.node);
        let schema = outputs.and_then(|outputs| outputs.get(port.output));
        schema.map(Vec::as_slice).unwrap_or_else(|| {
            note_defect(format_args!("{port:?} is read and is not there"));
            &[]
        })
    }

    /// The index of a column of `edge` at run time. Names were bound and held before.
    fn index(&self, port: OutputPort, name: &str) -> usize {
        let found = self.schema(port).iter().position(|field| field.name == name);
        found.unwrap_or_else(|| {
            note_defect(format!("column {name} of {port:?} is read and not held"));
            usize::MAX
        })
    }

    fn indices<'n>(&self, port: OutputPort, names: impl IntoIterator<Item = &'n String>) -> Vec<usize> {
        names.into_iter().map(|name| self.index(port, name)).collect()
    }

    /// The types of the columns of a port that a guest reads.
    fn types(&self, port: OutputPort, read: &[InputColumn]) -> Vec<ColumnType> {
        let schema = self.schema(port);
        let of_column = |input: &InputColumn| schema.iter().find(|field| field.name == input.name);
        let types = read.iter().filter_map(of_column).map(|field| field.column_type);
        types.collect()
    }

    fn table(&self, table: &BoundTable) -> TablePlan {
        let columns: Vec<SourceColumn> = table
            .columns
            .iter()
            .map(|(field, column)| source_column(field, column, true))
            .collect();
        let update = table.update.map(|port| {
            (
                port,
                self.indices(port, columns.iter().map(|column| &column.field.name)),
            )
        });
        TablePlan {
            name: table.name.clone(),
            columns,
            key_len: table.key_len,
            update,
        }
    }

    fn sink(&self, sink: &super::BoundSink) -> SinkPlan {
        let schema = self.schema(sink.input);
        let columns = sink.columns.iter().zip(&sink.forms).filter_map(|(name, form)| {
            let place = self.index(sink.input, name);
            Some(SinkColumn {
                field: schema.get(place)?.clone(),
                place,
                form: *form,
            })
        });
        let columns = columns.collect();
        let of_sink = |names: &[String]| {
            let place = |name: &String| {
                let place = sink.columns.iter().position(|column| column == name);
                place.unwrap_or_else(|| {
                    note_defect(format_args!(
                        "the key of a sink has column {name}, and the sink does not"
                    ));
                    usize::MAX
                })
            };
            names.iter().map(place).collect()
        };
        let target = match &sink.target {
            BoundTarget::Table {
                name,
                primary_key,
                rows_by,
            } => Target::Table {
                name: name.clone(),
                primary_key: of_sink(primary_key),
                rows_by: rows_by.as_ref().map(|key| self.indices(sink.input, key)),
            },
            BoundTarget::Append { name } => Target::Append { name: name.clone() },
            BoundTarget::Subject { name } => Target::Subject { name: name.clone() },
        };
        SinkPlan {
            input: sink.input,
            columns,
            target,
        }
    }

    fn node(&self, at: NodeId, node: &BoundNode, sinks: &IdVec<SinkId, SinkPlan>) -> Node {
        let outputs = node
            .outputs
            .iter()
            .enumerate()
            .map(|(number, output)| {
                let port = OutputPort {
                    node: at,
                    output: number,
                };
                let schema = self.schema(port).to_vec();
                let change = output.change.physical(&schema);
                let readers = self.readers(port, sinks);
                Output {
                    name: output.name.clone(),
                    schema,
                    offered: output.schema.clone(),
                    change,
                    timer_driven: super::flag_of(&self.timer_driven, port),
                    readers,
                }
            })
            .collect();
        Node {
            name: node.name.clone(),
            input: node.input,
            kind: self.kind(at, node),
            outputs,
        }
    }

    /// What the readers of a port want, also those behind steps that only give its columns other names.
    fn readers(&self, port: OutputPort, sinks: &IdVec<SinkId, SinkPlan>) -> Readers {
        let output = self
            .bound
            .nodes
            .get(port.node)
            .and_then(|node| node.outputs.get(port.output));
        let change = output.map(|output| output.change.physical(self.schema(port)));
        let Some(Change::Keyed(Some(key))) = change else {
            return Readers::OF_EVERY_CHANGE;
        };
        let mut read_by_step = false;
        let mut step_is_compactable = true;
        for (at, node) in self.bound.nodes.iter_enumerated().skip(self.bound.inputs.len()) {
            if node.inputs().any(|input| input == port) {
                read_by_step = true;
                let only_renames = node.kind.operator().is_some_and(BoundOperator::is_by_row);
                let behind = OutputPort { node: at, output: 0 };
                step_is_compactable &= only_renames && self.readers(behind, sinks).compactable;
            }
        }
        let own_key = sinks
            .iter()
            .filter(|sink| sink.input == port)
            .all(|sink| match &sink.target {
                Target::Table {
                    primary_key,
                    rows_by: None,
                    ..
                } => {
                    let primary: BTreeSet<usize> = primary_key
                        .iter()
                        .filter_map(|&column| sink.columns.get(column))
                        .map(|column| column.place)
                        .collect();
                    primary == key.iter().copied().collect::<BTreeSet<usize>>()
                }
                _ => false,
            });
        debug_assert!(
            key.iter().all(|&column| column < self.schema(port).len()),
            "the key is part of the schema"
        );
        let compactable = step_is_compactable && own_key;
        let read_by_table = self.bound.tables.iter().any(|table| table.update == Some(port));
        Readers {
            needs_update_before: !compactable,
            compactable,
            spreads: compactable && !read_by_step && !read_by_table,
        }
    }

    fn kind(&self, at: NodeId, node: &BoundNode) -> NodeKind {
        let layout = Layout {
            physical: self,
            at,
            node,
        };
        match &node.kind {
            BoundKind::Source => NodeKind::Source,
            BoundKind::Stage(stage) => {
                let beside = |guest: &Option<BoundGuest>| {
                    guest.as_ref().map(|guest| Box::new(self.guest(at, node, stage, guest)))
                };
                NodeKind::Stage(Box::new(StagePlan {
                    fallback: beside(&stage.fallback),
                    shadow: beside(&stage.shadow),
                    ..self.guest(at, node, stage, &stage.live)
                }))
            }
            BoundKind::Lookup(lookup) => NodeKind::Lookup(lookup.plan(&layout)),
            BoundKind::Operator(operator) => NodeKind::Operator(operator.plan(&layout)),
        }
    }

    fn table_of(&self, id: TableId) -> Option<&BoundTable> {
        let table = self.bound.tables.get(id);
        if table.is_none() {
            note_defect(format_args!("lookup table {id} is looked up and is not there"));
        }
        table
    }

    /// The steps after `start` up to and with `end`, which comes from it.
    fn path(&self, start: NodeId, end: NodeId) -> Vec<NodeId> {
        let mut path = Vec::new();
        let mut at = end;
        while at != start {
            path.push(at);
            match self.bound.nodes.get(at) {
                Some(node) if node.input.node < at => at = node.input.node,
                _ => {
                    note_defect(format_args!("step {end} does not come from step {start}"));
                    break;
                }
            }
        }
        path.reverse();
        path
    }

    fn guest(&self, at: NodeId, node: &BoundNode, stage: &BoundStage, guest: &BoundGuest) -> StagePlan {
        let description = &guest.module.description;
        StagePlan {
            module: guest.module.clone(),
            deployment: guest.deployment.clone(),
            parameters: guest.parameters.clone(),
            limits: stage.limits.clone(),
            failures: stage.failures,
            trial: stage.trial,
            inputs: self.indices(node.input, description.inputs.iter().map(|field| &field.name)),
            input_types: self.types(node.input, &description.inputs),
            outputs: self.stage_outputs(at, node, &description.outputs),
            undoes: self.undoes(at),
            fallback: None,
            shadow: None,
        }
    }

    /// The outputs of the step, as a guest with these outputs fills them.
    fn stage_outputs(&self, at: NodeId, node: &BoundNode, given: &[OutputSpec]) -> Vec<StageOutput> {
        let outputs = node.outputs.iter().enumerate();
        outputs
            .map(|(number, bound)| {
                let held = self.schema(OutputPort {
                    node: at,
                    output: number,
                });
                let index = given.iter().position(|output| output.name == bound.name);
                let Some(output) = index.and_then(|index| given.get(index)) else {
                    return StageOutput {
                        index: None,
                        names: Vec::new(),
                        columns: Vec::new(),
                        many: false,
                    };
                };
                let place = |field: &Field| match output.passed.iter().find(|(_, to)| *to == field.name) {
                    Some((from, _)) => Some(StageColumn::Passed(self.index(node.input, from))),
                    None => output
                        .computed
                        .iter()
                        .position(|c| c.name == field.name)
                        .map(StageColumn::Computed),
                };
                let (names, columns) = held
                    .iter()
                    .filter_map(|field| Some((field.name.clone(), place(field)?)))
                    .unzip();
                StageOutput {
                    index,
                    names,
                    columns,
                    many: output.many,
                }
            })
            .collect()
    }

    /// Whether an operator's state or a table may have taken in an event before this step sees it.
    fn undoes(&self, at: NodeId) -> bool {
        self.bound
            .nodes
            .iter_enumerated()
            .take(at.number())
            .any(|(earlier, node)| match &node.kind {
                BoundKind::Source | BoundKind::Stage(_) => false,
                BoundKind::Lookup(lookup) => {
                    let update = self.table_of(lookup.table).and_then(|table| table.update);
                    update.is_some_and(|update| !self.path(earlier, update.node).contains(&at))
                }
                BoundKind::Operator(operator) => operator.keeps_state(),
            })
    }
}

/// Where the columns of a step lie, and of what it reads.
pub(super) struct Layout<'a> {
    physical: &'a Physical<'a>,
    at: NodeId,
    /// The step.
    pub(super) node: &'a BoundNode,
}

impl<'a> Layout<'a> {
    /// The names of the columns of an output that are held.
    pub(super) fn held(&self, output: usize) -> impl Iterator<Item = &'a String> + use<'a> {
        let port = OutputPort { node: self.at, output };
        self.physical.schema(port).iter().map(|field| &field.name)
    }

    /// Whether a column of an output is held.
    pub(super) fn is_held(&self, output: usize, name: &str) -> bool {
        self.held(output).any(|held| held == name)
    }

    /// Where a column of a port lies.
    pub(super) fn index(&self, port: OutputPort, name: &str) -> usize {
        self.physical.index(port, name)
    }

    /// Where columns of a port lie.
    pub(super) fn indices<'n>(&self, port: OutputPort, names: impl IntoIterator<Item = &'n String>) -> Vec<usize> {
        self.physical.indices(port, names)
    }

    /// The types of the columns of the step's own input that a guest reads.
    pub(super) fn types(&self, read: &[InputColumn]) -> Vec<ColumnType> {
        self.physical.types(self.node.input, read)
    }

    /// Where columns of the step's own input lie.
    pub(super) fn own<'n>(&self, names: impl IntoIterator<Item = &'n String>) -> Vec<usize> {
        self.indices(self.node.input, names)
    }

    /// For each column of an output the column of the step's own input that has its name.
    pub(super) fn passed(&self, output: usize) -> Vec<usize> {
        self.passed_of(output, self.node.input)
    }

    /// For each column of an output the column of `port` that has its name.
    pub(super) fn passed_of(&self, output: usize, port: OutputPort) -> Vec<usize> {
        self.indices(port, self.held(output))
    }

    /// The column of the step's own input that holds the times of rows.
    pub(super) fn time_column(&self, time: Option<&(String, TimeScale)>) -> Option<TimeColumn> {
        let (name, scale) = time?;
        let (index, scale) = (self.index(self.node.input, name), *scale);
        Some(TimeColumn { index, scale })
    }

    /// Those of the aggregates that somebody reads.
    pub(super) fn aggregates(&self, aggregates: &[BoundAggregate], retracts: bool) -> Vec<AggregateSpec> {
        let read = aggregates.iter().filter(|aggregate| self.is_held(0, &aggregate.name));
        read.map(|aggregate| AggregateSpec {
            name: aggregate.name.clone(),
            function: aggregate.function,
            column: aggregate
                .column
                .as_ref()
                .map(|column| self.index(self.node.input, column)),
            column_type: aggregate.column_type,
            coalesce: aggregate.coalesce,
            q: aggregate.q,
            scale: aggregate.scale,
            retracts,
            guest: aggregate.guest.as_ref().map(|guest| {
                Arc::new(AggregateGuest {
                    module: guest.module.clone(),
                    parameters: guest.parameters.clone(),
                    limits: guest.limits.clone(),
                    inputs: self.own(guest.module.description.inputs.iter().map(|field| &field.name)),
                    input_types: self.physical.types(self.node.input, &guest.module.description.inputs),
                    retracts: guest.retracts,
                })
            }),
        })
        .collect()
    }

    /// Whether an operator's state or a table may have taken in an event before the step sees it.
    pub(super) fn undoes(&self) -> bool {
        self.physical.undoes(self.at)
    }

    /// A lookup table.
    pub(super) fn table(&self, table: TableId) -> Option<&'a BoundTable> {
        self.physical.table_of(table)
    }

    /// The steps after this one up to and with `end`, which comes from it.
    pub(super) fn path_to(&self, end: NodeId) -> Vec<NodeId> {
        self.physical.path(self.at, end)
    }
}
