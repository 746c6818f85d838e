//! What ran straight must run broken: batches of any size, stopped anywhere and gone on with, leave the same bytes.

use std::sync::Arc;
use weir::command::sample::{Orders, PageVisits, PolicyChanges, Times, customers};
use weir_tests::{
    golden::cases,
    pipeline,
    replay::{Run, plan},
    scratch,
    seed::{Random, with_seed},
    table::{Contents, contents, query},
};

/// Sizes of batches: every event alone, one that divides nothing, the largest.
const BATCHES: [usize; 3] = [1, 7, 4096];

/// How often a broken run is stopped.
const STOPS: usize = 4;

/// Events of a sample: many turns, so that the state log is folded while it grows.
const SAMPLE_EVENTS: u64 = 12_000;

/// Keys of a sample: so many that most of the state lies still while some of it changes.
const SAMPLE_KEYS: u32 = 1_500;

/// The share of sample events that are malformed.
const MALFORMED: f64 = 0.02;

#[test]
fn golden_cases_run_broken() {
    with_seed(|random| {
        for case in cases() {
            let contents = check(
                random,
                &case.name,
                &case.pipeline,
                &case.lookup_bytes(),
                &case.input_bytes(),
            );
            case.check(&contents);
        }
    });
}

#[test]
fn samples_of_orders_run_broken() {
    with_seed(|random| {
        let mut orders = Orders::new(random.number(), SAMPLE_KEYS, times()).malformed(MALFORMED);
        check_sample(random, "hourly-orders", b"", |payload| orders.next_into(payload));
    });
}

#[test]
fn samples_of_policy_changes_run_broken() {
    with_seed(|random| {
        let mut lookup_rows = Vec::new();
        let mut row = Vec::new();
        for customer in customers(SAMPLE_KEYS) {
            customer.write_into(&mut row);
            lookup_rows.extend([&row[..], b"\n"].concat());
        }
        let mut changes = PolicyChanges::new(random.number(), SAMPLE_KEYS, times()).malformed(MALFORMED);
        check_sample(random, "premium-drop", &lookup_rows, |payload| {
            changes.next_into(payload)
        });
    });
}

#[test]
fn samples_of_page_visits_run_broken() {
    with_seed(|random| {
        let mut visits = PageVisits::new(random.number(), SAMPLE_KEYS, times()).malformed(MALFORMED);
        check_sample(random, "last-page", b"", |payload| visits.next_into(payload));
    });
}

/// The day of the golden cases.
fn times() -> Times {
    Times {
        start_ms: 1_773_504_000_000,
        span_ms: 86_400_000,
        events: SAMPLE_EVENTS,
    }
}

#[track_caller]
fn check_sample(random: &mut Random, scenario: &str, lookup_rows: &[u8], mut next: impl FnMut(&mut Vec<u8>)) {
    let (mut input, mut payload) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLE_EVENTS {
        next(&mut payload);
        input.extend([&payload[..], b"\n"].concat());
    }
    let contents = check(random, scenario, &pipeline(scenario), lookup_rows, &input);
    assert_eq!(contents.counts.events, SAMPLE_EVENTS);
    assert!(
        contents.counts.applied > SAMPLE_EVENTS / 2 && contents.counts.dead_letters > 0,
        "{:?}",
        contents.counts
    );
}

/// Checks that the run leaves the same, however it is cut, and gives what it leaves.
#[track_caller]
fn check(random: &mut Random, name: &str, pipeline: &std::path::Path, lookup_rows: &[u8], input: &[u8]) -> Contents {
    let plan = Arc::new(plan(pipeline).expect("the pipeline is fine"));
    let line_count = input.iter().filter(|&&byte| byte == b'\n').count();
    let straight = Run {
        plan: &plan,
        lookup_rows,
        input,
        batches: &[4096],
        stops: &[],
    };
    let (expected, expected_messages) = leavings(&straight);
    let check = |batches: &[usize], stops: &[usize]| {
        let (found, messages) = leavings(&Run {
            batches,
            stops,
            ..straight.clone()
        });
        let how = format!("{name} in batches of {batches:?}, stopped at {stops:?}");
        assert!(found == expected, "{how}: {}", difference(&found, &expected));
        assert!(messages == expected_messages, "{how}: other messages");
    };
    for batch in BATCHES {
        check(&[batch], &[]);
        check(&[batch], &random.cuts(STOPS, line_count));
    }
    check(&BATCHES, &random.cuts(STOPS, line_count));
    expected
}

/// What a run leaves: the tables and the rest, and the messages that wait to be sent. (Their names are the database's own.)
fn leavings(run: &Run<'_>) -> (Contents, Vec<String>) {
    let folder = scratch();
    let database = folder.path().join("p.db");
    run.into_database(&database);
    let messages = "SELECT subject || ' ' || payload FROM weir_outbox ORDER BY id";
    (contents(&database), query(&database, messages))
}

/// The first thing in which two runs differ.
fn difference(found: &Contents, expected: &Contents) -> String {
    if (found.counts, found.position) != (expected.counts, expected.position) {
        let of = |contents: &Contents| format!("{:?} up to {}", contents.counts, contents.position);
        return format!("{}\n  instead of {}", of(found), of(expected));
    }
    let letters = found
        .dead_letters
        .iter()
        .zip(&expected.dead_letters)
        .find(|(found, expected)| found != expected);
    let rows = expected.tables.iter().find_map(|(name, expected)| {
        let found = found.tables.get(name)?;
        let differ = found
            .rows
            .iter()
            .zip(&expected.rows)
            .find(|(found, expected)| found != expected)?;
        Some(format!("table {name} has {:?}\n  instead of {:?}", differ.0, differ.1))
    });
    rows.unwrap_or_else(|| format!("dead letters {letters:?}, or numbers of rows"))
}
