//! From names to indices: which columns are held at run time, and what each reader needs of each edge.

mod joining;
mod needed;
mod passing;

use super::{Resolved, ResolvedAggregate, ResolvedGuest, ResolvedKind, ResolvedNode, ResolvedTarget};
use crate::plan::{
    AggregateGuest, AggregatePlan, AggregateSpec, Change, EventTimePlan, FailureBound, Input, LastValuePlan,
    LookupPlan, Node, NodeKind, Output, OutputPort, OverWindowPlan, Plan, Readers, SinkPlan, SourceColumn, StageColumn,
    StageOutput, StagePlan, TablePlan, Target, TimeColumn, TimeScale, TopPlan, Trial, WindowPlan,
};
use crate::{
    definition::{self, Definition, File, StageLimits},
    limits::{FAILURES_MOST, FAILURES_OF, TRIAL_FAILURES, TRIAL_ROWS},
    model::column::{Field, Schema},
    wasm::OutputSpec,
};
use needed::needed;
use serde_spanned::Spanned;
use std::{collections::BTreeSet, sync::Arc};

pub(super) fn wire(file: &File, definition: &Definition, resolved: Resolved) -> Plan {
    let mut needed = needed(&resolved);
    // A column with a format is looked at by decode itself.
    for (input, needed) in resolved.inputs.iter().zip(&mut needed) {
        let formatted = input.columns.iter().filter(|(_, column)| column.format.is_some());
        if let Some(needed) = needed.first_mut() {
            needed.extend(formatted.map(|(field, _)| field.name.clone()));
        }
    }
    let schemas: Vec<Vec<Schema>> = resolved
        .nodes
        .iter()
        .zip(&needed)
        .map(|(node, needed)| {
            node.outputs
                .iter()
                .zip(needed)
                .map(|(output, needed)| {
                    output
                        .schema
                        .iter()
                        .filter(|f| needed.contains(&f.name))
                        .cloned()
                        .collect()
                })
                .collect()
        })
        .collect();
    let wiring = Wiring {
        timer_driven: super::timer_driven(&resolved.nodes),
        resolved: &resolved,
        schemas: &schemas,
        definition,
    };

    let inputs = resolved.inputs.iter().zip(resolved.nodes.iter().zip(&needed));
    let inputs = inputs.map(|(input, (node, needed))| {
        let read = |field: &Field| needed.first().is_some_and(|needed| needed.contains(&field.name));
        let columns = input.columns.iter();
        Input {
            name: node.name.clone(),
            subject: input.subject.clone(),
            columns: columns
                .map(|(field, column)| source_column(field, column, read(field)))
                .collect(),
            event_column: input.event_column,
        }
    });
    let inputs: Vec<Input> = inputs.collect();
    let event_time = EventTimePlan {
        followed: resolved.nodes.iter().any(|node| node.kind.follows_time()),
        ..resolved.event_time
    };
    let tables: Vec<TablePlan> = resolved.tables.iter().map(|table| wiring.table(table)).collect();
    let sinks: Vec<SinkPlan> = resolved.sinks.iter().map(|sink| wiring.sink(sink)).collect();
    let nodes: Vec<Node> = resolved
        .nodes
        .iter()
        .enumerate()
        .map(|(at, node)| wiring.node(at, node, &sinks))
        .collect();
    // Without a column for it, the time of an event is "now"; and all inputs move the one watermark.
    let has_now = inputs.iter().any(|input| input.event_column.is_none());
    let follows_now = |kind: &ResolvedKind| kind.follows_time() && has_now;
    let time_reader = nodes
        .iter()
        .zip(&resolved.nodes)
        .find_map(|(node, resolved)| match &node.kind {
            NodeKind::Stage(stage) if stage.module.description.reads_time => Some(node.name.clone()),
            _ => follows_now(&resolved.kind).then(|| node.name.clone()),
        });
    Plan {
        name: definition.name.get_ref().clone(),
        file: file.clone(),
        stream: definition.source.get_ref().stream.get_ref().clone(),
        latest_only: definition.source.get_ref().latest_only,
        tombstones: resolved.tombstones.clone(),
        inputs,
        now: resolved.now.clone(),
        event_time,
        commit_at_most_every: resolved.commit_at_most_every,
        ticks: resolved.ticks.clone(),
        time_reader,
        tables,
        nodes,
        sinks,
        dead_letters: resolved.dead_letters.clone(),
        keep: resolved.keep,
        publish_from: resolved.publish_from.clone(),
        trust: resolved.trust.clone(),
    }
}

/// A column of a payload; `materialised` where somebody reads it.
fn source_column(field: &Field, column: &definition::SourceColumn, materialised: bool) -> SourceColumn {
    SourceColumn {
        field: field.clone(),
        path: column.path.clone().unwrap_or_else(|| vec![field.name.clone()]),
        format: column.format,
        materialised,
    }
}

struct Wiring<'a> {
    timer_driven: Vec<Vec<bool>>,
    resolved: &'a Resolved,
    schemas: &'a [Vec<Schema>],
    definition: &'a Definition,
}

impl Wiring<'_> {
    /// The nodes that are no inputs, which read themselves.
    fn steps(&self) -> impl Iterator<Item = &ResolvedNode> {
        self.resolved.nodes.iter().skip(self.resolved.inputs.len())
    }

    fn schema(&self, port: OutputPort) -> &[Field] {
        self.schemas
            .get(port.node)
            .and_then(|outputs| outputs.get(port.output))
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The index of a column of `edge` at run time. Names were resolved and marked as needed before.
    fn index(&self, port: OutputPort, name: &str) -> usize {
        let found = self.schema(port).iter().position(|field| field.name == name);
        debug_assert!(
            found.is_some(),
            "column {name} of {port:?} is read and not marked as needed"
        );
        found.unwrap_or(usize::MAX)
    }

    /// The column that holds the times of rows.
    fn time_column(&self, port: OutputPort, time: Option<&(String, TimeScale)>) -> Option<TimeColumn> {
        let (name, scale) = time?;
        let (index, scale) = (self.index(port, name), *scale);
        Some(TimeColumn { index, scale })
    }

    fn indices<'n>(&self, port: OutputPort, names: impl IntoIterator<Item = &'n String>) -> Vec<usize> {
        names.into_iter().map(|name| self.index(port, name)).collect()
    }

    fn table(&self, table: &super::ResolvedTable) -> TablePlan {
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

    fn sink(&self, sink: &super::ResolvedSink) -> SinkPlan {
        let schema = self.schema(sink.input);
        let columns: Vec<(Field, usize)> = sink
            .columns
            .iter()
            .map(|name| self.index(sink.input, name))
            .filter_map(|index| Some((schema.get(index)?.clone(), index)))
            .collect();
        let of_sink = |names: &[String]| {
            names
                .iter()
                .filter_map(|name| sink.columns.iter().position(|c| c == name))
                .collect()
        };
        let target = match &sink.target {
            ResolvedTarget::Table {
                name,
                primary_key,
                rows_by,
            } => Target::Table {
                name: name.clone(),
                primary_key: of_sink(primary_key),
                rows_by: rows_by.as_ref().map(|key| self.indices(sink.input, key)),
            },
            ResolvedTarget::Append { name } => Target::Append { name: name.clone() },
            ResolvedTarget::Subject { name } => Target::Subject { name: name.clone() },
        };
        SinkPlan {
            input: sink.input,
            columns,
            target,
        }
    }

    fn node(&self, at: usize, node: &ResolvedNode, sinks: &[SinkPlan]) -> Node {
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
                let change = output.change.wire(&schema);
                let readers = self.readers(port, &schema, &change, sinks);
                Output {
                    name: output.name.clone(),
                    schema,
                    offered: output.schema.clone(),
                    change,
                    timer_driven: self.timer_driven.get(at).and_then(|outputs| outputs.get(number)) == Some(&true),
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

    fn readers(&self, port: OutputPort, schema: &[Field], change: &Change, sinks: &[SinkPlan]) -> Readers {
        let Change::Keyed(Some(key)) = change else {
            return Readers::OF_EVERY_CHANGE;
        };
        let read_by_step = self.steps().any(|node| node.inputs().any(|input| input == port));
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
                        .map(|(_, index)| *index)
                        .collect();
                    primary == key.iter().copied().collect::<BTreeSet<usize>>()
                }
                _ => false,
            });
        debug_assert!(
            key.iter().all(|&column| column < schema.len()),
            "the key is part of the schema"
        );
        let compactable = !read_by_step && own_key;
        let read_by_table = self.resolved.tables.iter().any(|table| table.update == Some(port));
        Readers {
            needs_update_before: !compactable,
            compactable,
            spreads: compactable && !read_by_table,
        }
    }

    fn kind(&self, at: usize, node: &ResolvedNode) -> NodeKind {
        let input = node.input;
        match &node.kind {
            ResolvedKind::Source => NodeKind::Source,
            ResolvedKind::IntervalJoin(join) => self.interval_join(at, input, join),
            ResolvedKind::OnCrossing(on_crossing) => self.on_crossing(at, input, on_crossing),
            ResolvedKind::Deduplicate(deduplicate) => self.deduplicate(at, node, deduplicate),
            ResolvedKind::TemporalJoin(lookup) => self.temporal_join(at, input, lookup),
            ResolvedKind::Union { .. } => self.union(at, node),
            ResolvedKind::Stage(stage) => {
                let beside =
                    |guest: &Option<ResolvedGuest>| guest.as_ref().map(|guest| Box::new(self.guest(at, node, guest)));
                NodeKind::Stage(Box::new(StagePlan {
                    fallback: beside(&stage.fallback),
                    shadow: beside(&stage.shadow),
                    ..self.guest(at, node, &stage.live)
                }))
            }
            ResolvedKind::LastValue {
                key,
                columns,
                ttl_us,
                deleted,
            } => {
                let held = columns.iter().filter(|c| {
                    self.schema(OutputPort { node: at, output: 0 })
                        .iter()
                        .any(|f| f.name == **c)
                });
                NodeKind::LastValue(LastValuePlan {
                    key: self.indices(input, key),
                    columns: self.indices(input, held),
                    ttl_us: *ttl_us,
                    deleted: self.indices(input, deleted).first().copied(),
                })
            }
            ResolvedKind::Aggregate {
                group,
                aggregates,
                ttl_us,
            } => NodeKind::Aggregate(AggregatePlan {
                group: self.indices(input, group),
                aggregates: self.aggregates(at, input, aggregates, true),
                ttl_us: *ttl_us,
            }),
            ResolvedKind::Window(window) => {
                let late = self.schema(OutputPort { node: at, output: 1 });
                let late =
                    late.len() - usize::from(window.retracts && late.last().is_some_and(|f| f.name == "retracts"));
                let late_names = self
                    .schema(OutputPort { node: at, output: 1 })
                    .iter()
                    .take(late)
                    .map(|field| &field.name);
                NodeKind::Window(WindowPlan {
                    group: self.indices(input, &window.group),
                    aggregates: self.aggregates(at, input, &window.aggregates, window.retracts),
                    top: window.top.as_ref().map(|top| {
                        let held = self.schema(OutputPort { node: at, output: 0 });
                        let is_held = |column: &&String| held.iter().any(|field| field.name == **column);
                        TopPlan {
                            n: top.n,
                            by: self.index(input, &top.by),
                            least: top.least,
                            columns: self.indices(input, top.columns.iter().filter(is_held)),
                        }
                    }),
                    kind: window.kind.clone(),
                    bounds: window.bounds,
                    time: self.time_column(input, window.time.as_ref()),
                    emit: window.emit,
                    lateness_us: window.lateness_us,
                    late: self.indices(input, late_names),
                })
            }
            ResolvedKind::OverWindow(over_window) => {
                let held = self
                    .schema(OutputPort { node: at, output: 0 })
                    .iter()
                    .map(|field| &field.name);
                let is_computed = |name: &&String| over_window.aggregates.iter().any(|a| a.name == **name);
                let late = self
                    .schema(OutputPort { node: at, output: 1 })
                    .iter()
                    .map(|field| &field.name);
                NodeKind::OverWindow(OverWindowPlan {
                    group: self.indices(input, &over_window.group),
                    passed: self.indices(input, held.filter(|name| !is_computed(name))),
                    aggregates: self.aggregates(at, input, &over_window.aggregates, true),
                    span: over_window.span,
                    ttl_us: over_window.ttl_us,
                    time: self.time_column(input, over_window.time.as_ref()),
                    late: self.indices(input, late),
                })
            }
            ResolvedKind::Lookup { table, on, added } => {
                let held = self.schema(OutputPort { node: at, output: 0 });
                let table_plan = self.resolved.tables.get(*table);
                let column_of = |name: &str| {
                    table_plan.and_then(|table| table.columns.iter().position(|(field, _)| field.name == name))
                };
                NodeKind::Lookup(LookupPlan {
                    table: *table,
                    on: self.indices(input, on),
                    passed: held
                        .iter()
                        .filter(|f| !added.contains(&f.name))
                        .map(|f| self.index(input, &f.name))
                        .collect(),
                    added: held
                        .iter()
                        .filter(|f| added.contains(&f.name))
                        .filter_map(|f| column_of(&f.name))
                        .collect(),
                    waves: table_plan
                        .and_then(|table| table.update)
                        .map(|update| self.path(at, update.node)),
                })
            }
        }
    }

    /// Those of the aggregates of step `at` that somebody reads.
    fn aggregates(
        &self,
        at: usize,
        input: OutputPort,
        aggregates: &[ResolvedAggregate],
        retracts: bool,
    ) -> Vec<AggregateSpec> {
        let held = self.schema(OutputPort { node: at, output: 0 });
        aggregates
            .iter()
            .filter(|aggregate| held.iter().any(|field| field.name == aggregate.name))
            .map(|aggregate| AggregateSpec {
                name: aggregate.name.clone(),
                function: aggregate.function,
                column: aggregate.column.as_ref().map(|column| self.index(input, column)),
                column_type: aggregate.column_type,
                coalesce: aggregate.coalesce,
                q: aggregate.q,
                retracts,
                guest: aggregate.guest.as_ref().map(|guest| {
                    Arc::new(AggregateGuest {
                        module: guest.module.clone(),
                        parameters: guest.parameters.clone(),
                        limits: guest.limits.clone(),
                        inputs: self.indices(input, guest.module.description.inputs.iter().map(|field| &field.name)),
                        retracts: guest.retracts,
                    })
                }),
            })
            .collect()
    }

    fn stage(&self, at: usize) -> Option<&definition::Stage> {
        let step = self.definition.steps.get(at.checked_sub(self.resolved.inputs.len())?)?;
        step.get_ref().stage.as_ref().map(Spanned::get_ref)
    }

    fn limits(&self, at: usize) -> StageLimits {
        self.stage(at).map(|stage| stage.limits.clone()).unwrap_or_default()
    }

    fn failures(&self, at: usize) -> FailureBound {
        match self
            .stage(at)
            .and_then(|stage| stage.failures.as_ref())
            .map(Spanned::get_ref)
        {
            // A block has a row at least; what is written was checked.
            Some(given) => FailureBound {
                most: given.most,
                of: given.of.max(1),
            },
            None => FailureBound {
                most: FAILURES_MOST,
                of: FAILURES_OF,
            },
        }
    }

    fn trial(&self, at: usize) -> Trial {
        let given = self.stage(at).map(|stage| stage.trial).unwrap_or_default();
        Trial {
            rows: given.rows.unwrap_or(TRIAL_ROWS),
            failures: given.failures.unwrap_or(TRIAL_FAILURES),
        }
    }

    /// The steps after `start` up to and with `end`, which comes from it.
    fn path(&self, start: usize, end: usize) -> Vec<usize> {
        let mut path = Vec::new();
        let mut at = end;
        while at != start {
            path.push(at);
            match self.resolved.nodes.get(at) {
                Some(node) if node.input.node < at => at = node.input.node,
                _ => break,
            }
        }
        path.reverse();
        path
    }

    fn guest(&self, at: usize, node: &ResolvedNode, guest: &ResolvedGuest) -> StagePlan {
        let description = &guest.module.description;
        StagePlan {
            module: guest.module.clone(),
            deployment: guest.deployment.clone(),
            parameters: guest.parameters.clone(),
            limits: self.limits(at),
            failures: self.failures(at),
            trial: self.trial(at),
            inputs: self.indices(node.input, description.inputs.iter().map(|field| &field.name)),
            outputs: self.stage_outputs(at, node, &description.outputs),
            undoes: self.undoes(at),
            fallback: None,
            shadow: None,
        }
    }

    /// The outputs of the step, as a guest with these outputs fills them.
    fn stage_outputs(&self, at: usize, node: &ResolvedNode, given: &[OutputSpec]) -> Vec<StageOutput> {
        let outputs = node.outputs.iter().enumerate();
        outputs
            .map(|(number, resolved)| {
                let held = self.schema(OutputPort {
                    node: at,
                    output: number,
                });
                let index = given.iter().position(|output| output.name == resolved.name);
                let Some(output) = index.and_then(|index| given.get(index)) else {
                    return StageOutput {
                        index: None,
                        names: Vec::new(),
                        columns: Vec::new(),
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
                StageOutput { index, names, columns }
            })
            .collect()
    }

    /// Whether an operator's state or a table may have taken in an event before this step sees it.
    fn undoes(&self, at: usize) -> bool {
        self.resolved
            .nodes
            .iter()
            .enumerate()
            .take(at)
            .any(|(earlier, node)| match &node.kind {
                ResolvedKind::LastValue { .. }
                | ResolvedKind::Aggregate { .. }
                | ResolvedKind::Window(_)
                | ResolvedKind::OverWindow(_)
                | ResolvedKind::IntervalJoin(_)
                | ResolvedKind::OnCrossing(_)
                | ResolvedKind::Deduplicate(_)
                | ResolvedKind::TemporalJoin(_) => true,
                ResolvedKind::Lookup { table, .. } => {
                    let update = self.resolved.tables.get(*table).and_then(|table| table.update);
                    update.is_some_and(|update| !self.path(earlier, update.node).contains(&at))
                }
                ResolvedKind::Source | ResolvedKind::Stage(_) | ResolvedKind::Union { .. } => false,
            })
    }
}
