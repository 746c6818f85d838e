//! Steps that follow event time, against plain models: random events in disorder, random batches and stops.

mod join;
mod micros;
mod sliding;

use std::{collections::BTreeMap, sync::Arc};
use weir::{definition::File, plan::Plan};
use weir_tests::{
    replay::{Run, host, state_sizes},
    scratch,
    seed::Random,
    table::{Cell, Contents, contents, query},
};

/// What was replayed, and how many rows of it were late.
struct Outcome {
    contents: Contents,
    late_rows: usize,
    /// Entries of each state at the end.
    states: BTreeMap<String, usize>,
}

/// Replays lines in random batches, with random stops.
fn replay(pipeline: &str, lines: &[String], random: &mut Random) -> Outcome {
    let file = File::from_text("time.toml", pipeline);
    let plan = Arc::new(Plan::build(&file, host()).unwrap_or_else(|error| panic!("{error}\n{pipeline}")));
    let folder = scratch();
    let database = folder.path().join("time.db");
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let stops = random.below(4);
    let run = Run {
        plan: &plan,
        lookup_rows: b"",
        input: input.as_bytes(),
        batches: &[[1, 2, 3, 7, 4096][random.below(5)], [1, 5, 4096][random.below(3)]],
        stops: &random.cuts(stops, lines.len()),
    };
    run.into_database(&database);
    let late = query(&database, "SELECT CAST(late_rows AS TEXT) FROM weir_pipeline");
    Outcome {
        contents: contents(&database),
        late_rows: late[0].parse().expect("a count"),
        states: state_sizes(&plan, &database).into_iter().collect(),
    }
}

/// The rows of a table as JSON texts, in order.
fn rows(outcome: &Outcome, table: &str) -> Vec<String> {
    let rows = &outcome.contents.tables[table].rows;
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row.iter().map(show).collect();
            cells.join(" ")
        })
        .collect()
}

fn show(cell: &Cell) -> String {
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Int(value) => value.to_string(),
        Cell::Double(value) => format!("{value:?}"),
        Cell::Text(text) => format!("{text:?}"),
        Cell::Blob(bytes) => format!("{bytes:x?}"),
    }
}

/// A number as JSON and as a table shows it.
fn or_null<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}
