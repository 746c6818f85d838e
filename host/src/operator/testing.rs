//! Operators run by text: rows in, rows out, as tables.
//!
//! A pipeline says what the step is, so that a test writes what a user would; its operator is then run by itself. A line of
//! a table is a row: the number of its event, its kind (`+` insert, `-` delete, `U-` and `U+` the halves of an update), and its
//! cells, `.` for null. Where the head says `ms`, the third word is when the event happened.
//!
//! ```text
//! #  kind  ms    user page
//! 1  +     1000  ann  home
//! ```
//!
//! What comes out is written the same way, without the head; where a step has several outputs, the name of its output
//! stands in front of a row. Each table is taken in twice, with a rollback between: an operator that does not undo what it
//! did fails every test.

use super::{Inputs, Operator, Outputs, build, clock::Clock, guests::Guests};
use crate::{
    definition::File,
    limits::STATE_BUCKETS,
    model::{
        column::{Batch, Column, ColumnType, RowKind, Schema, Value},
        delivery::{Deliveries, DeliveryTimes},
    },
    operator::Stateful,
    plan::{Node, Plan, double::Closures},
    state::take_entry,
};
use std::{ops::Range, sync::Arc};

const SEED: u64 = 7;

/// An operator, with the step that it runs.
pub(super) struct Tested {
    plan: Plan,
    at: usize,
    operator: Box<dyn Operator>,
    clock: Clock,
}

impl Tested {
    /// The operator of the last step of `pipeline`, whose name and source are here: it reads one subject, with `columns`.
    pub(super) fn new(columns: &str, pipeline: &str) -> Self {
        let plan = plan(columns, pipeline);
        let at = plan.nodes.len() - 1;
        Self {
            operator: build(&plan.nodes[at], Guests::default(), SEED).unwrap(),
            clock: Clock::new(plan.event_time, 1, SEED),
            plan,
            at,
        }
    }

    fn node(&self) -> &Node {
        &self.plan.nodes[self.at]
    }

    /// Takes in the rows of a table.
    #[track_caller]
    pub(super) fn check(&mut self, input: &str, output: &str) {
        let (deliveries, numbers, batch) = self.read(input);
        let events = Batch {
            deliveries: (0..deliveries.len() as u32).collect(),
            ..Batch::default()
        };
        let range = 0..deliveries.len() as u32;
        self.operator.savepoint();
        self.clock.savepoint();
        let first = self.process(&deliveries, range.clone(), &events, &batch);
        self.operator.rollback();
        self.clock.rollback();
        let outputs = self.process(&deliveries, range, &events, &batch);
        let (first, found) = (self.show(&first, &numbers), self.show(&outputs, &numbers));
        assert_eq!(first, found, "after a rollback the same rows give others");
        let expected: Vec<String> = output.lines().map(words).filter(|line| !line.is_empty()).collect();
        assert_eq!(found, expected);
    }

    fn process(&mut self, deliveries: &Deliveries, range: Range<u32>, events: &Batch, batch: &Batch) -> Outputs {
        let progress = self
            .clock
            .pass(deliveries, range, std::slice::from_ref(events), |_| true);
        let progress = self.plan.nodes[self.at].follows_time().then_some(&progress);
        let batches = std::slice::from_ref(batch);
        self.operator.process(Inputs { batches, progress }).unwrap()
    }

    /// Goes on as another process would, from what the database holds.
    pub(super) fn restart(&mut self) {
        let mut fresh = build(self.node(), Guests::default(), SEED).unwrap();
        for (name, state) in self.operator.states() {
            let mut states = fresh.states();
            let (_, restored) = states.iter_mut().find(|(other, _)| *other == name).unwrap();
            for bucket in 0..STATE_BUCKETS {
                let entries = state.log_bucket(bucket);
                let mut rest = entries.as_slice();
                while !rest.is_empty() {
                    let (key, value) = take_entry(&mut rest).unwrap();
                    assert!(restored.restore_entry(key, value), "the state {name} reads back");
                }
            }
        }
        fresh.restored();
        self.operator = fresh;
    }

    /// Another plan of the same step takes over.
    pub(super) fn replan(&mut self, columns: &str, pipeline: &str) {
        self.plan = plan(columns, pipeline);
        self.operator.replan(&self.plan.nodes[self.at]).unwrap();
    }

    /// How many entries there are in all states.
    pub(super) fn entries(&mut self) -> usize {
        self.operator.states().iter().map(|(_, state)| state.live()).sum()
    }

    /// The events of a table, the number of each, and its rows as the operator reads them.
    fn read(&self, table: &str) -> (Deliveries, Vec<u64>, Batch) {
        let mut lines = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|line| !line.is_empty());
        let head = lines.next().expect("a table has a head");
        let place = |word: &str| head.iter().position(|named| *named == word);
        let input = self.node().input;
        let schema: &Schema = &self.plan.output(input).unwrap().schema;
        let mut columns: Vec<Column> = schema
            .iter()
            .map(|field| Column::with_capacity(field.column_type, 8))
            .collect();
        let (mut deliveries, mut numbers, mut batch) = (Deliveries::default(), Vec::<u64>::new(), Batch::default());
        let mut kinds = Vec::new();
        for line in lines {
            let number: u64 = line[0].parse().expect("a line begins with the number of its event");
            if numbers.last() != Some(&number) {
                let ms = place("ms").map_or(number as i64, |at| line[at].parse().unwrap());
                let times = DeliveryTimes {
                    now_ms: ms,
                    event_us: ms * 1000,
                    store_ms: Some(ms),
                };
                deliveries.push(None, number, times, b"{}");
                numbers.push(number);
            }
            batch.deliveries.push(numbers.len() as u32 - 1);
            kinds.push(match line[1] {
                "+" => RowKind::Insert,
                "-" => RowKind::Delete,
                "U-" => RowKind::UpdateBefore,
                "U+" => RowKind::UpdateAfter,
                other => panic!("a row is +, -, U- or U+, and not {other}"),
            });
            for (field, column) in schema.iter().zip(&mut columns) {
                let at = place(&field.name).unwrap_or_else(|| panic!("the step reads column {}", field.name));
                column.push(cell(field.column_type, line[at]));
            }
        }
        batch.columns = columns.into_iter().map(Arc::new).collect();
        batch.kinds = self.plan.is_changelog(input).then_some(kinds);
        (deliveries, numbers, batch)
    }

    fn show(&self, outputs: &Outputs, numbers: &[u64]) -> Vec<String> {
        let node = self.node();
        assert_eq!(outputs.rows.len(), node.outputs.len());
        let outputs = node.outputs.iter().zip(&outputs.rows);
        let lines = outputs.flat_map(|(output, rows)| {
            let name = match node.outputs.len() {
                1 => String::new(),
                _ => format!("{} ", output.name),
            };
            (0..rows.len()).map(move |row| {
                let kind = match rows.kind(row) {
                    RowKind::Insert => "+",
                    RowKind::Delete => "-",
                    RowKind::UpdateBefore => "U-",
                    RowKind::UpdateAfter => "U+",
                };
                let cells: Vec<String> = rows.columns.iter().map(|column| shown(column.get(row))).collect();
                let number = numbers[rows.deliveries[row] as usize];
                format!("{name}{number} {kind} {}", cells.join(" "))
            })
        });
        lines.collect()
    }
}

fn plan(columns: &str, pipeline: &str) -> Plan {
    let text = format!(
        "name = \"tested\"\nsource = {{ stream = \"S\", subject = \"s\", columns = {{ {columns} }} }}\n{pipeline}"
    );
    Plan::build(&File::from_text("tested.toml", text), &Closures::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cell(column_type: ColumnType, text: &str) -> Value<'_> {
    match (column_type, text) {
        (_, ".") => Value::Null,
        (ColumnType::Int, text) => Value::Int(text.parse().unwrap()),
        (ColumnType::Double, text) => Value::Double(text.parse().unwrap()),
        (ColumnType::Boolean, text) => Value::Boolean(text.parse().unwrap()),
        (ColumnType::Text, text) => Value::Text(text.as_bytes()),
    }
}

fn shown(value: Value<'_>) -> String {
    match value {
        Value::Null => ".".to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Double(value) => format!("{value:?}"),
        Value::Boolean(value) => value.to_string(),
        Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
    }
}
