//! Windows against a plain model: random pipelines, random events out of order, random batches and stops.

mod clock_change;
mod cuts;
mod model;
mod pipelines;
mod stages;
mod state;
mod trace;

use crate::operators::{
    DOUBLES, INTS, TEXTS,
    model::{Row, key_cell},
    pipelines::{Held, object},
};
use pipelines::{COLUMNS, Pipeline};
use proptest::prelude::*;
use std::{fmt, ops::Range, sync::Arc};
use weir::{
    definition::File,
    model::column::ColumnType::{self, Boolean, Double, Int, Text},
    plan::Plan,
};
use weir_tests::{
    replay::{Run, host, state_sizes},
    scratch,
    seed::check_property,
    table::{Cell, Counts, contents, query},
};

/// How many pipelines are tried.
const CASES: u32 = 1500;

/// How many are tried with many events.
const LONG_CASES: u32 = 30;

/// By how many steps an event is later than the one before it, and how much older than the latest one it may be.
const FORWARD: [i64; 8] = [0, 0, 1, 1, 2, 3, 7, 25];
const BACK: [i64; 8] = [0, 0, 0, 0, 1, 2, 5, 30];

/// A pipeline with its input, and how it is run.
struct Case {
    pipeline: Pipeline,
    /// Nothing stands for a payload that is none.
    events: Vec<Option<Row>>,
    leaves_out_nulls: bool,
    batches: Vec<usize>,
    stops: Vec<usize>,
}

#[test]
fn tables_are_what_the_plain_model_says() {
    check_property(CASES, &cases(0..40, &[1, 2, 3, 5, 8, 4096]), check);
}

/// Windows of some hundreds of rows of a batch are looked up ahead.
#[test]
fn tables_of_many_events_are_too() {
    check_property(LONG_CASES, &cases(300..500, &[100, 300, 4096]), check);
}

/// What events are made of.
type EventBytes = [u8; COLUMNS.len() + 2];

fn cases(events: Range<usize>, batches: &[usize]) -> impl Strategy<Value = Case> {
    let stops = prop::collection::vec(0..events.end, 0..4);
    let pipeline = prop::collection::vec(any::<u8>(), 0..80);
    let events = prop::collection::vec(any::<EventBytes>(), events);
    let batches = prop::collection::vec(prop::sample::select(batches.to_vec()), 1..4);
    (pipeline, events, any::<bool>(), batches, stops).prop_map(
        |(pipeline, events, leaves_out_nulls, batches, mut stops)| {
            stops.sort_unstable();
            let pipeline = Pipeline::from_bytes(&pipeline);
            let mut latest = 0;
            Case {
                events: events
                    .iter()
                    .map(|bytes| event(&pipeline, bytes, &mut latest))
                    .collect(),
                pipeline,
                leaves_out_nulls,
                batches,
                stops,
            }
        },
    )
}

/// The event that some bytes stand for; 0 is null. `latest` is the latest time so far, in steps.
fn event(pipeline: &Pipeline, bytes: &EventBytes, latest: &mut i64) -> Option<Row> {
    fn one_of<T: Copy>(all: &[T], byte: u8) -> Option<T> {
        (byte >= 16).then(|| all[usize::from(byte) % all.len()])
    }
    let [forward, back, own, rest] = bytes.last_chunk().copied().unwrap();
    if forward == 255 {
        return None;
    }
    *latest += FORWARD[usize::from(forward) % FORWARD.len()];
    let steps = *latest - BACK[usize::from(back) % BACK.len()];
    let own = one_of(&[0, 0, 0, -1, 1, -3, 4, 12, -30], own);
    let times = pipeline.times(steps, own, rest);
    let cell = |((name, column_type), byte): (&(&str, ColumnType), u8)| match (*name, *column_type) {
        ("g", _) => one_of(&[1, 2, i64::MIN], byte).map(Cell::Int),
        ("k", _) => one_of(&["a", "a\0", ""], byte).map(|text| Cell::Text(text.to_owned())),
        (_, Int) => one_of(&INTS, byte).map(Cell::Int),
        (_, Double) => one_of(&DOUBLES, byte).map(Cell::Double),
        (_, Boolean) => one_of(&[0, 1], byte).map(Cell::Int),
        (_, Text) => one_of(&TEXTS, byte).map(|text| Cell::Text(text.to_owned())),
    };
    let values = COLUMNS[..COLUMNS.len() - times.len()].iter().zip(bytes.iter().copied());
    let values = values.map(|column| cell(column).unwrap_or(Cell::Null));
    Some(values.chain(times).collect())
}

fn check(case: &Case) {
    let file = File::from_text("p.toml", case.pipeline.toml());
    let plan = Plan::build(&file, host()).unwrap_or_else(|error| panic!("the pipeline is fine: {error}"));
    let plan = Arc::new(plan);
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

    // An event that a rule rejects on any branch has no effect.
    let living = |event: &Option<Row>| event.clone().filter(|event| !case.pipeline.is_rejected(event));
    let living: Vec<Option<Row>> = case.events.iter().map(living).collect();
    let expected = case.pipeline.expected(&living);
    let dead = (1..)
        .zip(living.iter().zip(&case.events))
        .filter(|(_, (event, _))| event.is_none());
    let dead: Vec<(u64, &str)> = dead
        .map(|(sequence, (_, event))| (sequence, if event.is_none() { "decode" } else { "judge" }))
        .collect();
    let letters = contents.dead_letters.iter();
    let found: Vec<(u64, &str)> = letters.map(|letter| (letter.sequence, &*letter.step)).collect();
    assert_eq!(found, dead, "dead letters: found, and expected");
    let (events, dead_letters) = (case.events.len() as u64, dead.len() as u64);
    for (at, held) in expected.sinks.into_iter().enumerate() {
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
    let counts = Counts {
        events,
        applied: expected.applied,
        filtered: events - dead_letters - expected.applied,
        dead_letters,
        late_rows: expected.late_rows,
        ..Counts::default()
    };
    assert_eq!(contents.counts, counts);
    let sizes = state_sizes(&plan, &database);
    for state in expected.states {
        // Slices have an entry per group, and not one per group and window; they go with the last window.
        let slices = sizes
            .iter()
            .find(|(name, _)| *name == state.0.replace("/windows", "/slices"));
        let held = match slices {
            Some((name, held)) if name.ends_with("/slices") => *held <= state.1 && (*held == 0) == (state.1 == 0),
            _ => sizes.contains(&state),
        };
        assert!(held, "expected {state:?}, found {sizes:?}");
    }
}

impl Case {
    fn payloads(&self) -> String {
        let columns = COLUMNS.map(|(name, column_type)| (name.to_owned(), column_type));
        let payload = |event: &Option<Row>| match event {
            Some(event) => object(&columns, event, |cell| *cell != Cell::Null || !self.leaves_out_nulls),
            None => "{}".to_owned(),
        };
        self.events.iter().map(|event| payload(event) + "\n").collect()
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
