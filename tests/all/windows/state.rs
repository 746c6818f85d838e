//! What windows hold goes when they are over.

use std::{fmt::Write, sync::Arc};
use weir::{definition::File, plan::Plan};
use weir_tests::{
    guest,
    replay::{Run, host, state_sizes},
    scratch,
    table::query,
};

/// Every kind, and every way to tell results.
const WINDOWS: [&str; 8] = [
    r#"tumbling = "10 ms""#,
    r#"tumbling = "10 ms", emit = "update", lateness = "7 ms""#,
    r#"hopping = { size = "30 ms", every = "10 ms" }, emit = { early = "3 ms" }"#,
    r#"hopping = { size = "30 ms", every = "10 ms" }, lateness = "20 ms""#,
    r#"cumulating = { size = "30 ms", every = "10 ms" }"#,
    r#"session = { gap = "5 ms" }"#,
    r#"session = { gap = "5 ms" }, emit = "update", lateness = "7 ms""#,
    r#"sliding = { time = "20 ms" }"#,
];

/// The rule leaves out an event that asks for it, which moves the watermark all the same.
fn pipeline(window: &str) -> String {
    let is_changelog = window.contains("emit") || window.contains("lateness");
    let key = match is_changelog {
        true => r#"primary_key = ["id", "window_start"]"#,
        false => "",
    };
    format!(
        r#"
        name = "p"
        event_time = {{ column = "at" }}
        [source]
        stream = "S"
        subject = "s"
        columns = {{ id = "int", what = "text", at = "int" }}
        [[step]]
        name = "rule"
        stage = {{ module = {module:?} }}
        [[step]]
        name = "windows"
        [step]
        window = {{ {window}, group_by = ["id"], columns = {{ n = {{ count = "*" }}, different = {{ count_distinct = "echo" }}, least = {{ min = "echo" }}, total = {{ sum = "weight" }} }} }}
        [[sink]]
        table = "t"
        {key}
        "#,
        module = guest("hostile"),
    )
    .replace("[step]\n", "")
}

/// `count` events of a few users, a millisecond apart and a little out of order.
fn events(count: usize) -> String {
    let mut text = String::new();
    for at in 0..count {
        let (id, what) = (at * 7 % 5, ["", "a", "b", "ab"][at * 11 % 4]);
        let at = at as i64 - (at as i64 * 13 % 3);
        writeln!(text, r#"{{"id":{id},"what":"{what}","at":{at}}}"#).unwrap();
    }
    text
}

#[test]
fn nothing_is_left_when_all_windows_are_over() {
    for window in WINDOWS {
        let plan = Plan::build(&File::from_text("p.toml", pipeline(window)), host());
        let plan = Arc::new(plan.unwrap_or_else(|error| panic!("{window}: {error}")));
        let input = events(200) + "{\"what\":\"drop\",\"at\":1000}\n";
        for (batch, stops) in [(1, &[][..]), (7, &[150]), (4096, &[])] {
            let folder = scratch();
            let database = folder.path().join("p.db");
            let run = Run {
                plan: &plan,
                lookup_rows: b"",
                input: input.as_bytes(),
                batches: &[batch],
                stops,
            };
            run.into_database(&database);
            let sizes = state_sizes(&plan, &database);
            assert!(sizes.len() >= 3, "{sizes:?}");
            for (name, entries) in sizes {
                // The latest time of the input, and the watermark.
                let expected = if name == "event time/latest" { 2 } else { 0 };
                assert_eq!(entries, expected, "{window}, batches of {batch}: {name}");
            }
        }
    }
}

/// Over many windows the state keeps its size, in memory and in the database.
#[test]
fn state_stays_flat_over_a_long_run() {
    const EVENTS: usize = 300_000;
    let folder = scratch();
    let pipeline = pipeline(WINDOWS[0]).replace("table = \"t\"", "table = \"t\"\nprimary_key = [\"id\"]");
    let plan = Arc::new(Plan::build(&File::from_text("p.toml", pipeline), host()).expect("the pipeline is fine"));
    let database = folder.path().join("p.db");
    let input = events(EVENTS);
    let mut bytes = Vec::new();
    for part in 1..=3 {
        let run = Run {
            plan: &plan,
            lookup_rows: b"",
            input: input.as_bytes(),
            batches: &[4096],
            stops: &[],
        };
        let lines = part * EVENTS / 3;
        let end = input.match_indices('\n').nth(lines - 1).expect("there are so many").0 + 1;
        let run = Run {
            input: &input.as_bytes()[..end],
            ..run
        };
        run.into_database(&database);
        let held: usize = state_sizes(&plan, &database)
            .into_iter()
            .map(|(_, entries)| entries)
            .sum();
        assert!((1..100).contains(&held), "{held} entries are held");
        let stored = "SELECT CAST((SELECT coalesce(sum(length(entries)), 0) FROM weir_state_log)
                      + (SELECT coalesce(sum(length(entries)), 0) FROM weir_state_snapshot) AS TEXT)";
        let stored = query(&database, stored);
        bytes.push(stored[0].parse::<usize>().expect("a number"));
    }
    // The windows that are open, and what the last turns changed.
    assert!(bytes.iter().all(|&bytes| bytes < 1 << 16), "{bytes:?} bytes are stored");
}
