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
//! did fails every test. So does one whose current rows are not what its changelog comes to.

use super::{Inputs, Operator, Outputs, build, clock::Clock, guests::Guests};
use crate::{
    definition::File,
    limits::STATE_BUCKETS,
    model::{
        batch::{Batch, RowKind},
        column::{Column, ColumnType, Schema, Value},
        delivery::{Deliveries, DeliveryTimes, Kept, Message},
        deployment::Whose,
        ids::NodeId,
    },
    operator::Stateful,
    plan::{Change, Node, OutputPort, Plan, double::Closures},
    state::take_entry,
};
use std::{collections::BTreeMap, sync::Arc};

const SEED: u64 = 7;

/// An operator, with the step that it runs.
pub(super) struct Tested {
    host: Closures,
    plan: Plan,
    at: NodeId,
    operator: Box<dyn Operator>,
    clock: Clock,
    /// What its changelog comes to, by key; of a step that gives none nothing.
    stands: BTreeMap<String, String>,
}

impl Tested {
    /// The operator of the last step of `pipeline`, whose name and source are here: it reads one subject, with `columns`.
    pub(super) fn new(columns: &str, pipeline: &str) -> Self {
        Self::with_guests(Closures::default(), columns, pipeline)
    }

    /// The same of a step among whose functions are guests of that host.
    pub(super) fn with_guests(host: Closures, columns: &str, pipeline: &str) -> Self {
        let plan = plan(&host, &one_subject(columns), pipeline);
        Self::of(host, plan)
    }

    /// The same with a source of its own: that of a step which reads several inputs.
    pub(super) fn with_source(source: &str, pipeline: &str) -> Self {
        let host = Closures::default();
        let plan = plan(&host, source, pipeline);
        Self::of(host, plan)
    }

    fn of(host: Closures, plan: Plan) -> Self {
        let (at, node) = plan.nodes.iter_enumerated().next_back().unwrap();
        Self {
            operator: operator(&host, node),
            clock: Clock::new(plan.event_time, plan.inputs.len(), SEED),
            host,
            plan,
            at,
            stands: BTreeMap::new(),
        }
    }

    fn node(&self) -> &Node {
        self.plan.nodes.get(self.at).unwrap()
    }

    /// Takes in the rows of a table.
    #[track_caller]
    pub(super) fn check(&mut self, input: &str, output: &str) {
        self.check_all(&[input], output);
    }

    /// The same of a step that reads several ports: a table for each. Two tables have no event in common.
    #[track_caller]
    pub(super) fn check_all(&mut self, inputs: &[&str], output: &str) {
        let (deliveries, numbers, batches) = self.read(inputs);
        self.operator.savepoint();
        self.clock.savepoint();
        let first = self.process(&deliveries, &batches);
        self.operator.rollback();
        self.clock.rollback();
        let outputs = self.process(&deliveries, &batches);
        self.operator.release();
        self.clock.release();
        let (first, found) = (self.show(&first, &numbers), self.show(&outputs, &numbers));
        assert_eq!(first, found, "after a rollback the same rows give others");
        let expected: Vec<String> = output.lines().map(words).filter(|line| !line.is_empty()).collect();
        assert_eq!(found, expected);
        self.check_current_rows(outputs.rows.first().unwrap());
    }

    /// Takes in the rows of a table once, whatever comes of them. Gives that.
    #[track_caller]
    pub(super) fn take_in(&mut self, input: &str) -> Vec<String> {
        let (deliveries, numbers, batches) = self.read(&[input]);
        let outputs = self.process(&deliveries, &batches);
        self.check_current_rows(outputs.rows.first().unwrap());
        self.show(&outputs, &numbers)
    }

    /// Follows the changelog, and compares what it comes to with what the operator says.
    fn check_current_rows(&mut self, rows: &Batch) {
        let output = self.node().output(0).unwrap();
        let Change::Keyed(Some(key)) = &output.change else {
            let nothing = (0..STATE_BUCKETS).all(|bucket| self.operator.current_rows(bucket).is_none());
            assert!(nothing, "rows that stand for themselves are no current rows");
            return;
        };
        let key = key.clone();
        let all: Vec<usize> = (0..output.schema.len()).collect();
        for row in 0..rows.len() {
            let (key, now) = (cells(rows, &key, row), cells(rows, &all, row));
            match rows.kind(row) {
                RowKind::Insert => assert_eq!(self.stands.insert(key, now), None, "it is inserted once"),
                RowKind::UpdateAfter => assert!(self.stands.insert(key, now).is_some(), "what is updated stands"),
                RowKind::UpdateBefore => assert_eq!(self.stands.get(&key), Some(&now), "what is updated stands"),
                RowKind::Delete => assert_eq!(self.stands.remove(&key), Some(now), "what is deleted stands"),
            }
        }
        if self.node().kind.is_by_row() || self.node().kind.unfolds() {
            // What its changelog comes to, the step before it says.
            return;
        }
        let current = current(self.operator.as_ref(), &key);
        if self.operator.rows_outlive_state() {
            // What it has forgotten stays as it is, and is not followed any more.
            assert!(
                current.iter().all(|(key, row)| self.stands.get(key) == Some(row)),
                "{current:?}"
            );
            self.stands = current;
        } else {
            assert_eq!(current, self.stands);
        }
    }

    /// Takes in the rows of a table, and rolls back: their events are rejected further on.
    pub(super) fn undo(&mut self, input: &str) {
        let (deliveries, _, batches) = self.read(&[input]);
        self.operator.savepoint();
        self.clock.savepoint();
        self.process(&deliveries, &batches);
        self.operator.rollback();
        self.clock.rollback();
    }

    fn process(&mut self, deliveries: &Deliveries, batches: &[Batch]) -> Outputs {
        let all = 0..deliveries.len() as u32;
        // Where there is one input, all events are of it, also where a step stands between.
        let events = match self.plan.inputs.len() {
            1 => vec![Batch {
                deliveries: all.clone().collect(),
                ..Batch::default()
            }],
            _ => batches.to_vec(),
        };
        let progress = self.clock.pass(deliveries, all, &events.into(), |_| true);
        let progress = self.node().follows_time().then_some(&progress);
        self.operator.process(Inputs { batches, progress }).unwrap()
    }

    /// Goes on as another process would, from what the database holds.
    pub(super) fn restart(&mut self) {
        let mut fresh = operator(&self.host, self.node());
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
        self.plan = plan(&self.host, &one_subject(columns), pipeline);
        self.operator.replan(self.plan.nodes.get(self.at).unwrap()).unwrap();
    }

    /// Goes on as another process would whose pipeline names other guests, which compute all results anew.
    ///
    /// # Errors
    /// Why there is no result.
    pub(super) fn renew(&mut self, columns: &str, pipeline: &str) -> Result<(), String> {
        self.plan = plan(&self.host, &one_subject(columns), pipeline);
        self.restart();
        for bucket in 0..STATE_BUCKETS {
            self.operator.results_anew(bucket).map_err(|none| none.reason)?;
        }
        if let Change::Keyed(Some(key)) = &self.node().output(0).unwrap().change {
            let current = current(self.operator.as_ref(), key);
            assert!(current.keys().eq(self.stands.keys()), "keys are as they were");
            self.stands = current;
        }
        Ok(())
    }

    /// What its changelog comes to, by key.
    pub(super) fn stands(&self) -> &BTreeMap<String, String> {
        &self.stands
    }

    /// Every entry of its states.
    pub(super) fn held(&mut self) -> BTreeMap<(&'static str, Vec<u8>), Vec<u8>> {
        let mut held = BTreeMap::new();
        for (name, state) in self.operator.states() {
            for bucket in 0..STATE_BUCKETS {
                let entries = state.log_bucket(bucket);
                let mut rest = entries.as_slice();
                while !rest.is_empty() {
                    let (key, value) = take_entry(&mut rest).unwrap();
                    held.insert((name, key.to_vec()), value.unwrap_or_default().to_vec());
                }
            }
        }
        held
    }

    /// How many entries there are in all states.
    pub(super) fn entries(&mut self) -> usize {
        self.operator.states().iter().map(|(_, state)| state.live()).sum()
    }

    /// The events of some tables, the number of each, and the rows of each table as the operator reads them.
    fn read(&self, tables: &[&str]) -> (Deliveries, Vec<u64>, Vec<Batch>) {
        let tables: Vec<Table<'_>> = tables.iter().map(|table| Table::read(table)).collect();
        let times: BTreeMap<u64, i64> = tables.iter().flat_map(Table::times).collect();
        let mut deliveries = Deliveries::default();
        for (&number, &ms) in &times {
            let times = DeliveryTimes {
                now_ms: ms,
                event_us: ms * 1000,
                store_ms: Some(ms),
            };
            deliveries.push(
                &Message {
                    sequence: number,
                    ..Message::default()
                },
                times,
                Kept::default(),
            );
        }
        let numbers: Vec<u64> = times.into_keys().collect();
        let ports: Vec<OutputPort> = self.node().inputs().collect();
        assert_eq!(ports.len(), tables.len(), "a table for each port that the step reads");
        let batches = ports.into_iter().zip(&tables);
        let batches = batches.map(|(port, table)| {
            let rows = table.rows(&self.plan.output(port).unwrap().schema, &numbers);
            match self.plan.is_changelog(port) {
                true => rows,
                false => Batch { kinds: None, ..rows },
            }
        });
        let batches = batches.collect();
        (deliveries, numbers, batches)
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

/// What the changelog of an operator comes to, by key, as it says itself.
fn current(operator: &dyn Operator, key: &[usize]) -> BTreeMap<String, String> {
    let buckets = (0..STATE_BUCKETS).map(|bucket| operator.current_rows(bucket).expect("it gives a changelog"));
    let rows = buckets.flat_map(|rows| {
        let all: Vec<usize> = (0..rows.columns.len()).collect();
        let row = |row: usize| (cells(&rows, key, row), cells(&rows, &all, row));
        (0..rows.len()).map(row).collect::<Vec<_>>()
    });
    rows.collect()
}

fn cells(rows: &Batch, columns: &[usize], row: usize) -> String {
    let cells = columns.iter().map(|&column| shown(rows.columns[column].get(row)));
    cells.collect::<Vec<_>>().join(" ")
}

/// The operator of a step, without state.
fn operator(host: &Closures, node: &Node) -> Box<dyn Operator> {
    let guests = match node.kind.operator() {
        Some(plan) => Guests::prepare(plan, host, &Whose::default()).unwrap(),
        None => Guests::default(),
    };
    build(node, guests, SEED).unwrap()
}

fn one_subject(columns: &str) -> String {
    format!("source = {{ stream = \"S\", subject = \"s\", columns = {{ {columns} }} }}")
}

fn plan(host: &Closures, source: &str, pipeline: &str) -> Plan {
    let text = format!("name = \"tested\"\n{source}\n{pipeline}");
    Plan::build(&File::from_text("tested.toml", text), host).unwrap_or_else(|error| panic!("{error}"))
}

/// A table of text, in words.
struct Table<'t> {
    head: Vec<&'t str>,
    lines: Vec<Vec<&'t str>>,
}

impl<'t> Table<'t> {
    fn read(text: &'t str) -> Self {
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut lines = lines.filter(|line| !line.is_empty());
        let head = lines.next().expect("a table has a head");
        let lines = lines.collect();
        Self { head, lines }
    }

    fn place(&self, word: &str) -> Option<usize> {
        self.head.iter().position(|named| *named == word)
    }

    /// The number of each event, and when it happened: where the table does not say it, its number.
    fn times(&self) -> impl Iterator<Item = (u64, i64)> {
        self.lines.iter().map(|line| {
            let number = number_of(line);
            let ms = self.place("ms").map(|at| line[at].parse().unwrap());
            (number, ms.unwrap_or(number as i64))
        })
    }

    fn rows(&self, schema: &Schema, numbers: &[u64]) -> Batch {
        let columns = schema.iter().map(|field| {
            let at = self.place(&field.name);
            let at = at.unwrap_or_else(|| panic!("the step reads column {}", field.name));
            let mut column = Column::with_capacity(field.column_type, self.lines.len());
            let cells = self.lines.iter().map(|line| cell(field.column_type, line[at]));
            cells.for_each(|cell| column.push(cell));
            Arc::new(column)
        });
        let delivery = |line: &Vec<&str>| numbers.binary_search(&number_of(line)).unwrap() as u32;
        let kinds = self.lines.iter().map(|line| match line[1] {
            "+" => RowKind::Insert,
            "-" => RowKind::Delete,
            "U-" => RowKind::UpdateBefore,
            "U+" => RowKind::UpdateAfter,
            other => panic!("a row is +, -, U- or U+, and not {other}"),
        });
        Batch {
            columns: columns.collect(),
            deliveries: self.lines.iter().map(delivery).collect(),
            kinds: Some(kinds.collect()),
            lineage: None,
        }
    }
}

fn number_of(line: &[&str]) -> u64 {
    line[0].parse().expect("a line begins with the number of its event")
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
        (_, text) => Value::Text(text.as_bytes()),
    }
}

fn shown(value: Value<'_>) -> String {
    match value {
        Value::Null => ".".to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Double(value) => format!("{value:?}"),
        Value::Boolean(value) => value.to_string(),
        Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Decimal(unscaled) => unscaled.get().to_string(),
    }
}
