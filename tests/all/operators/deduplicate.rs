//! Twins against a plain model, which forgets nothing.

use super::{
    Cuts, cuts, run_counting_late,
    timed::{Mark, marks, times},
};
use proptest::prelude::*;
use serde_json::json;
use weir_tests::{
    seed::check_property,
    table::{Cell, Counts},
};

const CASES: u32 = 600;

const WITHIN_MS: i64 = 10;

/// Where a window begins, its group, and how many events it has.
type Window = (i64, Option<u8>, usize);

/// When, and of which key.
type Event = (i64, Option<u8>, Option<u8>);

fn events(most: usize) -> impl Strategy<Value = Vec<Event>> {
    let key = || prop::option::weighted(0.8, 0u8..2);
    let keys = prop::collection::vec((key(), key()), most);
    (times(most), keys).prop_map(|(times, keys)| times.into_iter().zip(keys).map(|(t, (k, j))| (t, k, j)).collect())
}

fn lines(events: &[Event]) -> String {
    let line = |(n, (t, k, j)): (usize, &Event)| {
        let k = k.map(|k| "ab\0"[..=usize::from(k)].to_owned());
        json!({ "t": t, "k": k, "j": j, "n": n }).to_string() + "\n"
    };
    events.iter().enumerate().map(line).collect()
}

fn marks_of(events: &[Event]) -> Vec<Mark> {
    marks(&events.iter().map(|event| event.0).collect::<Vec<_>>())
}

fn numbers(numbers: impl IntoIterator<Item = usize>) -> Vec<Vec<Cell>> {
    numbers.into_iter().map(|n| vec![Cell::Int(n as i64)]).collect()
}

const SOURCE: &str = r#"
name = "p"
source = { stream = "S", subject = "s", columns = { t = "int", k = "text", j = "int", n = "int" } }
event_time = { column = "t", out_of_orderness = "7 ms" }
"#;

#[test]
fn the_first_row_of_a_key_passes_for_a_while() {
    const STEPS: &str = r#"
        [[step]]
        name = "first"
        deduplicate = { key = ["j", "k"], within = "10 ms" }
        [[sink]]
        from = "first"
        table = "passed"
        columns = ["n"]
    "#;
    const LATE: &str = "[[sink]]\nfrom = \"first.late\"\ntable = \"late\"\ncolumns = [\"n\"]\n";
    check_property(
        CASES,
        &(events(60), any::<bool>(), cuts()),
        |(events, reads_late, cuts)| {
            let pipeline = format!("{SOURCE}{STEPS}{}", if *reads_late { LATE } else { "" });
            let (contents, late_rows) = run_counting_late(&pipeline, &lines(events), cuts);

            let (mut passed, mut late): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
            for (n, (event, mark)) in events.iter().zip(marks_of(events)).enumerate() {
                let (t, k, j) = *event;
                let is_twin = |&other: &usize| {
                    let (other_t, other_k, other_j) = events[other];
                    (other_k, other_j) == (k, j) && (t - other_t).abs() < WITHIN_MS
                };
                if mark.is_late() {
                    late.push(n);
                } else if !passed.iter().any(is_twin) {
                    passed.push(n);
                }
            }
            let count = events.len() as u64;
            let applied = passed.len() as u64 + if *reads_late { late.len() as u64 } else { 0 };
            let counts = Counts {
                events: count,
                applied,
                filtered: count - applied,
                late_rows: late.len() as u64,
                ..Counts::default()
            };
            assert_eq!(contents.counts, counts);
            assert_eq!(late_rows, late.len() as u64, "rows that are counted as late");
            assert_eq!(
                contents.tables["passed"].rows,
                numbers(passed),
                "passed: found, and expected"
            );
            if *reads_late {
                assert_eq!(contents.tables["late"].rows, numbers(late), "late: found, and expected");
            }
        },
    );
}

#[test]
fn the_first_row_of_a_key_passes_for_ever() {
    const STEPS: &str = r#"
        [[step]]
        name = "first"
        deduplicate = { key = ["k", "j"] }
        [[sink]]
        table = "passed"
        columns = ["n"]
    "#;
    check_property(CASES, &(events(60), cuts()), |(events, cuts): &(Vec<Event>, Cuts)| {
        let (contents, late_rows) = run_counting_late(&format!("{SOURCE}{STEPS}"), &lines(events), cuts);
        let key = |n: usize| (events[n].1, events[n].2);
        let is_first = |&n: &usize| (0..n).all(|other| key(other) != key(n));
        let passed: Vec<usize> = (0..events.len()).filter(is_first).collect();
        assert_eq!((contents.counts.applied, late_rows), (passed.len() as u64, 0));
        assert_eq!(
            contents.tables["passed"].rows,
            numbers(passed),
            "passed: found, and expected"
        );
    });
}

/// Rows that come because time went on have the time of the event that moved it, and are never late.
#[test]
fn rows_that_come_because_time_went_on_have_twins_too() {
    const STEPS: &str = r#"
        [[step]]
        name = "windows"
        window = { tumbling = "5 ms", group_by = ["j"], columns = { rows = { count = "*" } } }
        [[step]]
        name = "first"
        deduplicate = { key = ["rows", "j"], within = "10 ms" }
        [[sink]]
        table = "passed"
        columns = ["window_start", "j"]
    "#;
    check_property(CASES, &(events(60), cuts()), |(events, cuts): &(Vec<Event>, Cuts)| {
        let (contents, _) = run_counting_late(&format!("{SOURCE}{STEPS}"), &lines(events), cuts);

        let marks = marks_of(events);
        let start = |t: i64| t.div_euclid(5) * 5;
        let mut open: Vec<Window> = Vec::new();
        let mut passed: Vec<(i64, Window)> = Vec::new();
        for (n, &(t, _, j)) in events.iter().enumerate() {
            if start(t) + 5 > marks[n].before_ms {
                match open.iter_mut().find(|window| (window.0, window.1) == (start(t), j)) {
                    Some(window) => window.2 += 1,
                    None => open.push((start(t), j, 1)),
                }
            }
            let watermark_ms = marks[n].after_ms;
            let mut closed: Vec<_> = open
                .iter()
                .copied()
                .filter(|window| window.0 + 5 <= watermark_ms)
                .collect();
            open.retain(|window| window.0 + 5 > watermark_ms);
            closed.sort_unstable();
            for window in closed {
                let is_twin = |(other_t, other): &(i64, Window)| {
                    (other.1, other.2) == (window.1, window.2) && (t - other_t).abs() < WITHIN_MS
                };
                if !passed.iter().any(is_twin) {
                    passed.push((t, window));
                }
            }
        }
        let row =
            |(_, (start, j, _)): &(i64, Window)| vec![Cell::Int(*start), j.map_or(Cell::Null, |j| Cell::Int(j.into()))];
        let expected: Vec<Vec<Cell>> = passed.iter().map(row).collect();
        assert_eq!(contents.tables["passed"].rows, expected, "passed: found, and expected");
    });
}
