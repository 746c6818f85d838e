//! Operators and sinks against a plain model: random pipelines, random events, random batches and stops.

mod deduplicate;
mod exact;
mod lookup;
pub(crate) mod model;
mod on_crossing;
mod overdue;
pub(crate) mod pipelines;
mod sums;
mod temporal_join;
mod timed;
mod ttl;
mod union;

use model::{Row, key_cell};
use pipelines::{COLUMNS, Held, Pipeline, object, source_columns};
use proptest::prelude::*;
use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc};
use weir::{definition::File, model::column::ColumnType, plan::Plan};
use weir_tests::{
    replay::{Run, host, state_sizes},
    scratch,
    seed::check_property,
    table::{Cell, Contents, Counts, contents, query},
};

/// How many pipelines are tried.
const CASES: u32 = 1500;

/// How many are tried with many events.
const LONG_CASES: u32 = 60;

/// Values that are found at edges, and few enough that keys and values come again.
pub(crate) const INTS: [i64; 8] = [0, 1, 2, 3, -1, i64::MAX, i64::MIN, i64::MAX - 1];
pub(crate) const DOUBLES: [f64; 17] = [
    0.0,
    0.1,
    0.2,
    0.3,
    1.0,
    -1.0,
    1e16,
    -1e16,
    5e-324,
    -5e-324,
    1e308,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    85.0,
    // Half of the last place of 1, and 1 with its last place: sums of these and the least ones fall on both sides of ties.
    f64::EPSILON / 2.0,
    1.0 + f64::EPSILON,
];
pub(crate) const TEXTS: [&str; 9] = ["", "a", "b", "a\0", "\0", "\0a", "a\0b", "保单", "a\u{10ffff}"];

/// How a run is cut: sizes of batches, and after how many lines it is stopped.
type Cuts = (Vec<usize>, Vec<usize>);

fn cuts() -> impl Strategy<Value = Cuts> {
    let batches = prop::collection::vec(prop::sample::select(vec![1, 2, 3, 7, 4096]), 1..4);
    let stops = prop::collection::vec(0usize..40, 0..3).prop_map(|mut stops| {
        stops.sort_unstable();
        stops
    });
    (batches, stops)
}

/// Runs lines through a pipeline that has no lookup table.
fn run(pipeline: &str, lines: &str, cuts: &Cuts) -> Contents {
    run_counting_late(pipeline, lines, cuts).0
}

/// As [`run`]; gives also how many rows came too late.
fn run_counting_late(pipeline: &str, lines: &str, cuts: &Cuts) -> (Contents, u64) {
    let (contents, late, _) = run_counting_states(pipeline, lines, cuts);
    (contents, late)
}

/// As [`run_counting_late`], with the entries of each state at the end.
fn run_counting_states(
    pipeline: &str,
    lines: &str,
    (batches, stops): &Cuts,
) -> (Contents, u64, BTreeMap<String, usize>) {
    let plan = Plan::build(&File::from_text("p.toml", pipeline), host()).expect("the pipeline is fine");
    let plan = Arc::new(plan);
    let folder = scratch();
    let database = folder.path().join("p.db");
    let run = Run {
        plan: &plan,
        lookup_rows: b"",
        input: lines.as_bytes(),
        batches,
        stops,
    };
    run.into_database(&database);
    let late = query(&database, "SELECT CAST(late_rows AS TEXT) FROM weir_pipeline");
    let late = late.concat().parse().expect("there is one pipeline");
    let states = state_sizes(&plan, &database).into_iter().collect();
    (contents(&database), late, states)
}

/// A pipeline with its input, and how it is run.
struct Case {
    pipeline: Pipeline,
    events: Vec<Row>,
    /// Whether a null is left out of a payload rather than written.
    leaves_out_nulls: bool,
    batches: Vec<usize>,
    stops: Vec<usize>,
}

#[test]
fn tables_are_what_the_plain_model_says() {
    check_property(CASES, &cases(0..40, &[1, 2, 3, 5, 8, 4096]), check);
}

/// Operators look some hundreds of rows of a batch ahead.
#[test]
fn tables_of_many_events_are_too() {
    check_property(LONG_CASES, &cases(300..700, &[100, 300, 4096]), check);
}

fn cases(events: Range<usize>, batches: &[usize]) -> impl Strategy<Value = Case> {
    let stops = prop::collection::vec(0..events.end, 0..4);
    let pipeline = prop::collection::vec(any::<u8>(), 0..60);
    let events = prop::collection::vec(any::<[u8; COLUMNS.len()]>(), events);
    let batches = prop::collection::vec(prop::sample::select(batches.to_vec()), 1..4);
    (pipeline, events, any::<bool>(), batches, stops).prop_map(
        |(pipeline, events, leaves_out_nulls, batches, mut stops)| {
            stops.sort_unstable();
            Case {
                pipeline: Pipeline::from_bytes(&pipeline),
                events: events.iter().map(event).collect(),
                leaves_out_nulls,
                batches,
                stops,
            }
        },
    )
}

fn check(case: &Case) {
    let file = File::from_text("p.toml", case.pipeline.toml());
    let plan = Arc::new(Plan::build(&file, host()).expect("the pipeline is fine"));
    let input = case.payloads();
    let run = Run {
        plan: &plan,
        lookup_rows: b"",
        input: input.as_bytes(),
        batches: &case.batches,
        stops: &case.stops,
    };
    let folder = scratch();
    let database = folder.path().join("p.db");
    run.into_database(&database);
    let contents = contents(&database);

    let count = case.events.len() as u64;
    assert_eq!(
        contents.counts,
        Counts {
            events: count,
            applied: count,
            ..Counts::default()
        }
    );
    assert_eq!(contents.dead_letters, []);
    for (at, held) in case.pipeline.held(&case.events).into_iter().enumerate() {
        let name = format!("t{at}");
        let (mut expected, is_keyed) = match held {
            Held::Rows(rows) => (rows, true),
            Held::Appended(rows) => (rows, false),
            Held::Messages(messages) => {
                let outbox = format!("SELECT payload FROM weir_outbox WHERE subject = '{name}' ORDER BY id");
                assert_eq!(
                    query(&database, &outbox),
                    messages,
                    "subject {name}: found, and expected"
                );
                continue;
            }
        };
        let mut found = contents.tables[&name].rows.clone();
        // SQLite keeps one zero.
        expected.iter_mut().flatten().for_each(|cell| *cell = key_cell(cell));
        if is_keyed {
            expected.sort();
            found.sort();
        }
        assert_eq!(found, expected, "table {name}: found, and expected");
    }
}

/// The event that some bytes stand for; 0 is null.
fn event(bytes: &[u8; COLUMNS.len()]) -> Row {
    fn one_of<T: Copy>(all: &[T], byte: u8) -> Option<T> {
        (byte >= 16).then(|| all[usize::from(byte) % all.len()])
    }
    let cell = |((_, column_type), &byte): (&(&str, ColumnType), &u8)| match column_type {
        ColumnType::Int => one_of(&INTS, byte).map(Cell::Int),
        ColumnType::Double => one_of(&DOUBLES, byte).map(|value| Cell::Double(value + 0.0)),
        ColumnType::Boolean => one_of(&[0, 1], byte).map(Cell::Int),
        ColumnType::Text => one_of(&TEXTS, byte).map(|text| Cell::Text(text.to_owned())),
    };
    COLUMNS
        .iter()
        .zip(bytes)
        .map(|column| cell(column).unwrap_or(Cell::Null))
        .collect()
}

impl Case {
    fn payloads(&self) -> String {
        self.events.iter().map(|event| self.payload(event) + "\n").collect()
    }

    fn payload(&self, event: &Row) -> String {
        object(&source_columns(), event, |cell| {
            *cell != Cell::Null || !self.leaves_out_nulls
        })
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batches, stops, .. } = self;
        write!(
            f,
            "batches of {batches:?}, stopped at {stops:?}\n{}{}",
            self.pipeline.toml(),
            self.payloads()
        )
    }
}
