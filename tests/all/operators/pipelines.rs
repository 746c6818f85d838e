//! Random pipelines without guests: up to three operators over one source, and sinks of every kind.
//!
//! A pipeline is read off a list of bytes, of which each decides one thing. So proptest, which knows lists of bytes, can
//! make a failing pipeline smaller.

use super::model::{self, Aggregate, Changes, Row, pick};
use serde_json::Value as Json;
use std::fmt::Write;
use weir::model::column::ColumnType::{self, Boolean, Double, Int, Text};
use weir_tests::table::Cell;

/// The columns of the source.
pub(crate) const COLUMNS: [(&str, ColumnType); 6] = [
    ("g", Int),
    ("k", Text),
    ("x", Int),
    ("y", Double),
    ("b", Boolean),
    ("t", Text),
];

/// A pipeline.
#[derive(Debug)]
pub(crate) struct Pipeline {
    nodes: Vec<Node>,
    sinks: Vec<Sink>,
}

/// The source, which is the first, or a step.
#[derive(Debug)]
struct Node {
    from: usize,
    operator: Operator,
    columns: Vec<(String, ColumnType)>,
    /// The columns that tell rows apart; none for events.
    key: Option<Vec<usize>>,
}

#[derive(Debug)]
enum Operator {
    Source,
    LastValue {
        key: Vec<usize>,
        columns: Vec<usize>,
    },
    Aggregate {
        group: Vec<usize>,
        aggregates: Vec<Aggregate>,
    },
}

/// Where the rows of a node go.
#[derive(Debug)]
struct Sink {
    from: usize,
    target: Target,
    columns: Vec<usize>,
}

#[derive(Debug)]
enum Target {
    Table(Vec<usize>),
    Append,
    Subject,
}

/// What a sink has to hold.
#[derive(Debug)]
pub(crate) enum Held {
    /// The rows of a table, in any order.
    Rows(Vec<Row>),
    /// The rows of a table without a key, in this order.
    Appended(Vec<Row>),
    /// Messages, in this order.
    Messages(Vec<String>),
}

/// Decisions, one after the other; those beyond the last byte are 0.
pub(crate) struct Choices<'a>(std::slice::Iter<'a, u8>);

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.iter())
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0.next().map_or(0, |&byte| usize::from(byte) % count)
    }

    /// Some of `0 .. count`, at least `least` of them.
    pub(crate) fn some_of(&mut self, count: usize, least: usize) -> Vec<usize> {
        let mut chosen = Vec::new();
        for _ in 0..least.max(self.below(count + 1)) {
            let at = self.below(count);
            if !chosen.contains(&at) {
                chosen.push(at);
            }
        }
        chosen
    }
}

impl Pipeline {
    /// The pipeline that `bytes` stand for.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut choices = Choices::new(bytes);
        let mut nodes = vec![Node {
            from: 0,
            operator: Operator::Source,
            columns: source_columns(),
            key: None,
        }];
        for _ in 0..choices.below(4) {
            let from = choices.below(nodes.len());
            let node = match nodes[from].key.is_none() && choices.below(2) == 0 {
                true => last_value(&mut choices, from, &nodes[from].columns),
                false => aggregate(&mut choices, from, &nodes[from].columns, nodes.len()),
            };
            nodes.push(node);
        }
        let sinks = (0..=choices.below(3)).map(|_| sink(&mut choices, &nodes)).collect();
        Self { nodes, sinks }
    }

    /// The pipeline file.
    pub(crate) fn toml(&self) -> String {
        let mut text = "name = \"p\"\n[source]\nstream = \"S\"\nsubject = \"s\"\n[source.columns]\n".to_owned();
        for (name, column_type) in COLUMNS {
            writeln!(text, "{name} = \"{column_type}\"").unwrap();
        }
        let name = |from: usize| {
            if from == 0 {
                "source".to_owned()
            } else {
                format!("s{from}")
            }
        };
        for (at, node) in self.nodes.iter().enumerate().skip(1) {
            let names = names(&self.nodes[node.from].columns);
            writeln!(
                text,
                "[[step]]\nname = \"s{at}\"\nunread = true\nfrom = \"{}\"",
                name(node.from)
            )
            .unwrap();
            match &node.operator {
                Operator::LastValue { key, columns } => {
                    let (key, columns) = (pick_names(&names, key), pick_names(&names, columns));
                    writeln!(text, "last_value = {{ key = {key:?}, columns = {columns:?} }}").unwrap();
                }
                Operator::Aggregate { group, aggregates } => {
                    let of_results = node.columns.iter().skip(group.len());
                    let group = pick_names(&names, group);
                    writeln!(text, "[step.aggregate]\ngroup_by = {group:?}\n[step.aggregate.columns]").unwrap();
                    for (aggregate, (result, _)) in aggregates.iter().zip(of_results) {
                        let column = aggregate.column.map_or("*", |column| &*names[column]);
                        let coalesce = aggregate
                            .coalesce
                            .as_ref()
                            .map(|instead| format!(", coalesce = {instead:?}"));
                        let coalesce = coalesce.unwrap_or_default();
                        writeln!(text, "{result} = {{ {} = \"{column}\"{coalesce} }}", aggregate.function).unwrap();
                    }
                }
                Operator::Source => {}
            }
        }
        for (at, sink) in self.sinks.iter().enumerate() {
            let names = names(&self.nodes[sink.from].columns);
            writeln!(text, "[[sink]]\nfrom = \"{}\"", name(sink.from)).unwrap();
            writeln!(text, "columns = {:?}", pick_names(&names, &sink.columns)).unwrap();
            match &sink.target {
                Target::Subject => writeln!(text, "subject = \"t{at}\"").unwrap(),
                Target::Append => writeln!(text, "table = \"t{at}\"").unwrap(),
                Target::Table(primary_key) => {
                    writeln!(
                        text,
                        "table = \"t{at}\"\nprimary_key = {:?}",
                        pick_names(&names, primary_key)
                    )
                    .unwrap();
                }
            }
        }
        text
    }

    /// What the sinks `t0`, `t1`, … hold after `events`.
    pub(crate) fn held(&self, events: &[Row]) -> Vec<Held> {
        let mut changes: Vec<Changes> = vec![model::source(events)];
        for node in &self.nodes[1..] {
            let input = &changes[node.from];
            changes.push(match &node.operator {
                Operator::LastValue { key, columns } => model::last_value(input, key, columns),
                Operator::Aggregate { group, aggregates } => model::aggregate(input, group, aggregates),
                Operator::Source => panic!("there is one source"),
            });
        }
        let held = |sink: &Sink| {
            let (input, node) = (&changes[sink.from], &self.nodes[sink.from]);
            let picked = |rows: Vec<Row>| rows.iter().map(|row| pick(row, &sink.columns)).collect();
            match (&sink.target, &node.key) {
                (Target::Table(primary_key), Some(rows_by)) => {
                    Held::Rows(picked(model::table(input, primary_key, rows_by)))
                }
                (Target::Table(primary_key), None) => Held::Rows(picked(model::upserts(input, primary_key))),
                (Target::Append, _) => Held::Appended(picked(model::appends(input))),
                (Target::Subject, _) => {
                    let columns: Vec<_> = sink
                        .columns
                        .iter()
                        .map(|&column| node.columns[column].clone())
                        .collect();
                    let rows: Vec<Row> = picked(model::appends(input));
                    Held::Messages(rows.iter().map(|row| object(&columns, row, |_| true)).collect())
                }
            }
        };
        self.sinks.iter().map(held).collect()
    }
}

/// A row as a JSON object, with the members for which `is_kept` holds.
pub(crate) fn object(columns: &[(String, ColumnType)], row: &Row, is_kept: impl Fn(&Cell) -> bool) -> String {
    let members = columns
        .iter()
        .zip(row)
        .filter(|(_, cell)| is_kept(cell))
        .map(|((name, column_type), cell)| {
            let value = match (column_type, cell) {
                (Boolean, Cell::Int(value)) => Json::Bool(*value == 1),
                _ => cell.to_json(),
            };
            format!("{}:{value}", Json::from(name.as_str()))
        });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// The columns of the source, with owned names.
pub(crate) fn source_columns() -> Vec<(String, ColumnType)> {
    COLUMNS
        .iter()
        .map(|(name, column_type)| ((*name).to_owned(), *column_type))
        .collect()
}

fn last_value(choices: &mut Choices<'_>, from: usize, input: &[(String, ColumnType)]) -> Node {
    let key = choices.some_of(input.len(), 1);
    let mut columns = choices.some_of(input.len(), 2);
    columns.retain(|column| !key.contains(column));
    let schema = key
        .iter()
        .chain(&columns)
        .map(|&column| input[column].clone())
        .collect();
    let output_key = Some((0..key.len()).collect());
    Node {
        from,
        operator: Operator::LastValue { key, columns },
        columns: schema,
        key: output_key,
    }
}

fn aggregate(choices: &mut Choices<'_>, from: usize, input: &[(String, ColumnType)], number: usize) -> Node {
    let mut group = choices.some_of(input.len(), 0);
    group.truncate(3);
    let mut schema: Vec<_> = group.iter().map(|&column| input[column].clone()).collect();
    let mut aggregates = Vec::new();
    for at in 0..=choices.below(4) {
        let column = choices.below(input.len());
        let column_type = input[column].1;
        let is_number = matches!(column_type, Int | Double);
        let functions = ["count", "count_distinct", "min", "max", "sum", "avg"];
        let function = functions[choices.below(if is_number { 6 } else { 4 })];
        let coalesce = match (function, choices.below(3), column_type) {
            ("sum" | "avg", 1, Int) => Some(Cell::Int(7)),
            ("sum" | "avg", 1, _) => Some(Cell::Double(0.5)),
            _ => None,
        };
        let every_row = function == "count" && choices.below(2) == 0;
        let result = match function {
            "count" | "count_distinct" => Int,
            "avg" => Double,
            _ => column_type,
        };
        schema.push((format!("a{number}_{at}"), result));
        aggregates.push(Aggregate {
            function,
            column: (!every_row).then_some(column),
            coalesce,
        });
    }
    let output_key = Some((0..group.len()).collect());
    Node {
        from,
        operator: Operator::Aggregate { group, aggregates },
        columns: schema,
        key: output_key,
    }
}

fn sink(choices: &mut Choices<'_>, nodes: &[Node]) -> Sink {
    // The last step most of the time.
    let from = (nodes.len() - 1).saturating_sub(choices.below(nodes.len() + 2));
    let from = if choices.below(3) > 0 { nodes.len() - 1 } else { from };
    let node = &nodes[from];
    let all: Vec<usize> = (0..node.columns.len()).collect();
    let target = match (&node.key, choices.below(4)) {
        (None, 0) => Target::Append,
        (None, 1) => Target::Subject,
        (Some(key), 0) if !key.is_empty() => Target::Table(key.clone()),
        _ => Target::Table(choices.some_of(node.columns.len(), 1)),
    };
    let columns = match (&target, &node.key) {
        // Which change of a row was the last depends on the columns that somebody reads: here on all.
        (Target::Table(primary_key), Some(rows_by)) if !rows_by.iter().all(|column| primary_key.contains(column)) => {
            all
        }
        (target, _) => {
            let others = choices.some_of(all.len(), 1);
            let mut columns = if let Target::Table(primary_key) = target {
                primary_key.clone()
            } else {
                Vec::new()
            };
            for column in others {
                if !columns.contains(&column) {
                    columns.push(column);
                }
            }
            columns
        }
    };
    Sink { from, target, columns }
}

fn names(columns: &[(String, ColumnType)]) -> Vec<String> {
    columns.iter().map(|(name, _)| name.clone()).collect()
}

fn pick_names(names: &[String], columns: &[usize]) -> Vec<String> {
    columns.iter().map(|&column| names[column].clone()).collect()
}
