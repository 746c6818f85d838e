//! Times finer than a millisecond: in every step that compares times, and in the state that an older Weir left.

use super::{replay, rows};
use std::{fs, sync::Arc};
use weir::{definition::File, plan::Plan};
use weir_tests::{
    replay::{host, replay as replay_file},
    scratch,
    seed::Random,
    table::contents,
    workspace,
};

/// One input in microseconds, in order up to a second.
const SOURCE: &str = r#"
name = "micros"
event_time = { column = "at", unit = "us", out_of_orderness = "1 s" }
[source]
stream = "SHOP"
subject = "shop"
columns = { k = "text", at = "int", n = "int" }
"#;

fn lines(events: &[(&str, i64, i64)]) -> Vec<String> {
    let line = |(k, at, n): &(&str, i64, i64)| format!(r#"{{"k": "{k}", "at": {at}, "n": {n}}}"#);
    events.iter().map(line).collect()
}

/// What a step over [`SOURCE`] leaves in a table.
#[track_caller]
fn check(step: &str, events: &[(&str, i64, i64)], expected: &[&str]) {
    let pipeline = format!("{SOURCE}\n[[step]]\nname = \"step\"\n{step}\n[[sink]]\nfrom = \"step\"\ntable = \"out\"\n");
    for seed in 0..8 {
        let outcome = replay(&pipeline, &lines(events), &mut Random::new(seed));
        assert_eq!(rows(&outcome, "out"), expected, "{step}, seed {seed}");
    }
}

#[test]
fn twins_are_told_apart_by_microseconds() {
    check(
        r#"deduplicate = { key = ["k"], within = "1 ms" }"#,
        &[
            ("a", 999_999, 1),
            ("a", 1_000_000, 2),
            ("a", 1_000_998, 3),
            ("a", 1_000_999, 4),
        ],
        &[r#""a" 999999 1"#, r#""a" 1000999 4"#],
    );
    check(
        r#"deduplicate = { key = ["k"], within = "250 us" }"#,
        &[("a", 1_000, 1), ("a", 1_249, 2), ("a", 1_250, 3)],
        &[r#""a" 1000 1"#, r#""a" 1250 3"#],
    );
}

#[test]
fn rows_slide_in_the_order_of_their_microseconds() {
    check(
        r#"window = { sliding = { time = "300 us" }, columns = { sum = { sum = "n" } } }"#,
        &[
            ("a", 5_000_400, 1),
            ("a", 5_000_100, 2),
            ("a", 5_000_399, 4),
            ("z", 9_000_000, 8),
            ("z", 19_000_000, 8),
        ],
        &[
            r#""a" 5000100 2 2"#,
            r#""a" 5000399 4 6"#,
            r#""a" 5000400 1 5"#,
            r#""z" 9000000 8 8"#,
        ],
    );
}

#[test]
fn the_first_and_the_last_of_a_window_go_by_microseconds() {
    check(
        r#"window = { tumbling = "1 s", columns = { first = { first = "n" }, last = { last = "n" } } }"#,
        &[("b", 3_000_900, 4), ("b", 3_000_100, 3), ("z", 9_000_000, 9)],
        &["3000 4000 3 4"],
    );
}

#[test]
fn a_row_is_late_by_a_microsecond() {
    let pipeline = format!(
        "{SOURCE}\n[[step]]\nname = \"step\"\nunread = true\ndeduplicate = {{ key = [\"n\"], within = \"1 s\" }}\n\
         [[sink]]\nfrom = \"step.late\"\ntable = \"late\"\n"
    );
    let events = lines(&[("a", 3_000_500, 1), ("a", 2_000_500, 2), ("a", 2_000_499, 3)]);
    let outcome = replay(&pipeline, &events, &mut Random::new(1));
    assert_eq!(
        (rows(&outcome, "late"), outcome.late_rows),
        (vec![r#""a" 2000499 3"#.to_owned()], 1)
    );
}

#[test]
fn windows_of_microseconds_tell_their_bounds_in_them() {
    check(
        r#"window = { tumbling = "250 us", bounds_unit = "us", columns = { rows = { count = "*" } } }"#,
        &[("a", 1_000, 1), ("a", 1_249, 2), ("a", 1_250, 3), ("z", 9_000_000, 8)],
        &["1000 1250 2", "1250 1500 1"],
    );
    check(
        r#"window = { session = { gap = "100 us" }, bounds_unit = "us", columns = { rows = { count = "*" } } }"#,
        &[("a", 1_000, 1), ("a", 1_099, 2), ("a", 1_250, 3), ("z", 9_000_000, 8)],
        &["1000 1199 2", "1250 1350 1"],
    );
    // Sessions of whole microseconds, told in milliseconds.
    check(
        r#"window = { session = { gap = "1 ms" }, columns = { rows = { count = "*" } } }"#,
        &[("a", 1_500, 1), ("a", 2_499, 2), ("a", 3_499, 3), ("z", 9_000_000, 8)],
        &["1 3 2", "3 4 1"],
    );
}

#[test]
fn nanoseconds_are_whole_microseconds_or_dead_letters() {
    let step = "[[sink]]\ntable = \"out\"\n";
    let in_ns = SOURCE.replace(r#"unit = "us""#, r#"unit = "ns""#);
    let events = lines(&[
        ("a", 1_700_000_000_000_001_000, 1),
        ("a", 1_700_000_000_000_001_001, 2),
        ("a", -1, 3),
    ]);
    let outcome = replay(&format!("{in_ns}{step}"), &events, &mut Random::new(1));
    assert_eq!(rows(&outcome, "out"), [r#""a" 1700000000000001000 1"#]);
    let reasons: Vec<&str> = outcome
        .contents
        .dead_letters
        .iter()
        .map(|letter| letter.reason.as_str())
        .collect();
    let reason = |found: &str| {
        format!(
            "column \"at\": found {found}, and it is the event time; accepted are whole microseconds; truncate = true beside \
             `unit` cuts what is finer"
        )
    };
    assert_eq!(reasons, [reason("1700000000000001001"), reason("-1")]);

    let cut = in_ns.replace(r#"unit = "ns""#, r#"unit = "ns", truncate = true"#);
    let outcome = replay(&format!("{cut}{step}"), &events, &mut Random::new(1));
    assert_eq!(outcome.contents.counts.applied, 3);
}

/// `time` of a window counts what its column counts, through every step that passes the column on.
#[test]
fn the_time_of_a_window_has_the_unit_of_its_column() {
    const SECONDS: &str = r#"
        name = "seconds"
        event_time = { column = "at", unit = "s" }
        [source]
        stream = "SHOP"
        subject = "shop"
        columns = { k = "text", at = "int", other = "int" }
        [[step]]
        name = "latest"
        last_value = { key = ["k"] }
        [[step]]
        name = "newest"
        aggregate = { group_by = ["k"], columns = { at = { max = "at" }, other = { max = "other" } } }
        [[step]]
        name = "hours"
    "#;
    let events: Vec<String> = [1_700_000_100, 1_700_000_300, 1_700_010_000]
        .iter()
        .map(|at| format!(r#"{{"k": "k{at}", "at": {at}, "other": {at}000}}"#))
        .collect();
    for window in [
        r#"window = { tumbling = "1 h", time = "at", columns = { rows = { count = "*" } } }"#,
        r#"window = { tumbling = "1 h", time = "at", time_unit = "s", columns = { rows = { count = "*" } } }"#,
        r#"window = { tumbling = "1 h", time = "other", time_unit = "ms", columns = { rows = { count = "*" } } }"#,
    ] {
        let pipeline = format!("{SECONDS}{window}\n[[sink]]\nfrom = \"hours\"\ntable = \"hours\"\n");
        let outcome = replay(&pipeline, &events, &mut Random::new(2));
        assert_eq!(rows(&outcome, "hours"), ["1699999200000 1700002800000 2"], "{window}");
    }
    for (window, refusal) in [
        (
            r#"window = { tumbling = "1 h", time = "other", columns = { rows = { count = "*" } } }"#,
            "key `time`: the times of events count seconds, and nothing says what column \"other\" of step \"newest\" counts; \
             say it with key `time_unit`, such as time_unit = \"ms\"",
        ),
        (
            r#"window = { tumbling = "1 h", time = "at", time_unit = "us", columns = { rows = { count = "*" } } }"#,
            "key `time_unit`: column \"at\" of step \"newest\" counts seconds; accepted is \"s\", or no such key",
        ),
        (
            r#"window = { tumbling = "1500 us", time = "at", columns = { rows = { count = "*" } } }"#,
            "key `tumbling` is \"1500 us\", and windows emit their bounds in whole milliseconds; say bounds_unit = \"us\" beside it",
        ),
    ] {
        let pipeline = format!("{SECONDS}{window}\n[[sink]]\nfrom = \"hours\"\ntable = \"hours\"\n");
        let error = Plan::build(&File::from_text("p.toml", &*pipeline), host()).expect_err("it is refused");
        assert!(error.to_string().contains(refusal), "{error}");
    }
}

/// A database that an older Weir left goes on with the same results, and is brought up to date once: one that kept
/// milliseconds, and one that did not know types beside the first four.
#[test]
fn the_state_of_an_older_weir_is_converted() {
    for layout in ["layout-5", "layout-7"] {
        check_fixture(layout);
    }
}

fn check_fixture(layout: &str) {
    let fixture = workspace().join("tests/fixtures").join(layout);
    let file = File::read(&fixture.join("pipeline.toml")).expect("the pipeline can be read");
    let plan = Arc::new(Plan::build(&file, host()).expect("the pipeline is fine"));
    let events = fixture.join("events.jsonl");
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    replay_file(&plan, &events, &path("new.db"), 4096).expect("a whole run");
    let expected = contents(&path("new.db"));
    for batch in [1, 4096] {
        let database = path(&format!("older-{batch}.db"));
        fs::copy(fixture.join("half.db"), &database).expect("the fixture can be copied");
        assert_eq!(contents_position(&database), 200, "{layout}");
        replay_file(&plan, &events, &database, batch).expect("it goes on");
        assert_eq!(contents(&database), expected, "{layout} in batches of {batch}");
        // What was converted is read as it is now.
        replay_file(&plan, &events, &database, batch).expect("and again");
        assert_eq!(contents(&database), expected);
    }
}

fn contents_position(database: &std::path::Path) -> i64 {
    let found = weir_tests::table::query(database, "SELECT CAST(position AS TEXT) FROM weir_pipeline");
    found[0].parse().expect("a number")
}
