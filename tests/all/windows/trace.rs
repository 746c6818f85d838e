//! Which events changed a row of a window is the same whatever the batches, also where changes of one batch are told as one.

use proptest::prelude::*;
use std::{fmt::Write, path::Path, sync::Arc};
use weir::{definition::File, plan::Plan};
use weir_tests::stored::read_lineage;
use weir_tests::{
    replay::{Run, host},
    scratch,
    seed::check_property,
    table::{Cell, contents},
};

/// How many streams are tried.
const CASES: u32 = 150;

/// Windows whose results may change, with what is out of order.
const WINDOWS: [&str; 6] = [
    r#"tumbling = "10 ms", emit = "update""#,
    r#"tumbling = "10 ms", emit = "update", lateness = "15 ms""#,
    r#"hopping = { size = "20 ms", every = "10 ms" }, emit = { early = "5 ms" }, lateness = "15 ms""#,
    r#"tumbling = "10 ms", lateness = "30 ms""#,
    r#"session = { gap = "5 ms" }, emit = "update", lateness = "15 ms""#,
    r#"session = { gap = "5 ms" }, lateness = "15 ms""#,
];

/// The row of each key of the table, and the events that changed it.
type Traces = Vec<(Vec<Cell>, Vec<u64>)>;

/// Every row of an event changes the window that it is in.
fn pipeline(window: &str) -> String {
    format!(
        r#"
        name = "p"
        event_time = {{ column = "at", out_of_orderness = "2 ms" }}
        [source]
        stream = "S"
        subject = "s"
        columns = {{ id = "int", at = "int" }}
        [[step]]
        name = "windows"
        window = {{ {window}, group_by = ["id"], columns = {{ n = {{ count = "*" }} }} }}
        [[sink]]
        table = "t"
        primary_key = ["id", "window_start"]
        "#
    )
}

#[test]
fn an_event_is_named_that_changed_a_window() {
    let events = [(1, 0), (2, 5), (1, 6), (1, 30), (2, 31)];
    for batch in [1, 2, 4096] {
        let traces = traces(WINDOWS[0], &events, batch);
        let sequences: Vec<&[u64]> = traces.iter().map(|(_, sequences)| &**sequences).collect();
        assert_eq!(sequences, [&[1, 3][..], &[4], &[2], &[5]], "batches of {batch}");
    }
}

#[test]
fn traces_do_not_depend_on_batches() {
    let event = (0..3_i64, 0..8_usize, 0..8_usize);
    let events = prop::collection::vec(event, 1..60);
    let values = (
        prop::sample::select(&WINDOWS[..]),
        events,
        prop::sample::select(vec![2_usize, 7, 4096]),
    );
    check_property(CASES, &values, |(window, events, batch)| {
        let mut latest = 0;
        let at = |&(id, later, earlier): &(i64, usize, usize)| {
            latest += [0, 0, 1, 1, 2, 3, 5, 20][later];
            (id, latest - [0, 0, 0, 1, 2, 4, 9, 15][earlier])
        };
        let events: Vec<(i64, i64)> = events.iter().map(at).collect();
        assert_eq!(
            traces(window, &events, *batch),
            traces(window, &events, 1),
            "in batches, and one by one"
        );
    });
}

fn traces(window: &str, events: &[(i64, i64)], batch: usize) -> Traces {
    let plan = Plan::build(&File::from_text("p.toml", pipeline(window)), host());
    let plan = Arc::new(plan.unwrap_or_else(|error| panic!("{window}: {error}")));
    let mut input = String::new();
    for (id, at) in events {
        writeln!(input, r#"{{"id":{id},"at":{at}}}"#).unwrap();
    }
    let folder = scratch();
    let database = folder.path().join("p.db");
    let run = Run {
        plan: &plan,
        lookup_rows: b"",
        input: input.as_bytes(),
        batches: &[batch],
        stops: &[],
    };
    run.into_database(&database);
    let rows = contents(&database).tables["t"].rows.clone();
    rows.into_iter()
        .map(|row| {
            let sequences = sequences(&database, &row);
            (row, sequences)
        })
        .collect()
}

fn sequences(database: &Path, row: &[Cell]) -> Vec<u64> {
    let [Cell::Int(id), Cell::Int(start), ..] = row else {
        panic!("{row:?} is no result");
    };
    let key = [("id", id), ("window_start", start)].map(|(name, value)| (name.to_owned(), Some(value.to_string())));
    read_lineage(database, "t", &key)
        .expect("the trace can be read")
        .sequences
}
