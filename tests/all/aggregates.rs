//! Aggregates that are guests, in `aggregate` and in windows: tables are those of a plain model that takes one event after
//! the other and calls the same aggregate natively, whatever the batches and stops.

mod model;

use model::{Claim, Model, WINDOWS};
use proptest::prelude::*;
use std::{fmt, fmt::Write, sync::Arc};
use weir::{definition::File, plan::Plan};
use weir_tests::{
    guest,
    replay::{Run, host},
    scratch,
    seed::check_property,
    table::{Cell, contents},
};

/// How many streams are tried.
const CASES: u32 = 150;

/// How many are tried with many events.
const LONG_CASES: u32 = 12;

/// Every place that such an aggregate can stand in: over rows that are added alone, over a changelog, read by tables that
/// want the last state and by steps that want every change, in each kind of window.
fn pipeline() -> String {
    let severity = format!("severity = {{ module = '{}' }}", guest("claims-severity").display());
    let weighty = format!(
        "weighty = {{ module = '{}', parameters = {{ grave = [\"a\", \"\"], weight = 7 }} }}",
        guest("claims-severity").display()
    );
    let mut text = r#"
name = "claims"
event_time = { column = "at", out_of_orderness = "20 ms" }
[source]
stream = "CLAIMS"
subject = "claims"
columns = { claim = "int", policy = "int", kind = "text", paid_cents = "int", at = "int", unread = "int" }
[[step]]
name = "last-claim"
last_value = { key = ["claim"] }
"#
    .to_owned();
    let mut step = |name: &str, from: &str, operator: &str, keys: &str, columns: &str| {
        write!(
            text,
            "[[step]]\nname = \"{name}\"\nfrom = \"{from}\"\n[step.{operator}]\n{keys}\n[step.{operator}.columns]\n{columns}\n"
        )
        .unwrap();
    };
    let rows = "rows = { count = \"*\" }";
    let all = format!("{rows}\n{severity}\n{weighty}\n");
    let by_policy = "group_by = [\"policy\"]";
    step("added", "source", "aggregate", by_policy, &all);
    step("corrected", "last-claim", "aggregate", by_policy, &all);
    // Its reader wants every change.
    step(
        "by-severity",
        "corrected",
        "aggregate",
        "group_by = [\"severity\"]",
        "policies = { count = \"*\" }",
    );
    for (name, keys) in [
        ("tumbling", "tumbling = \"40 ms\""),
        (
            "hopping",
            "hopping = { size = \"60 ms\", every = \"20 ms\" }\nlateness = \"30 ms\"",
        ),
        (
            "updates",
            "cumulating = { size = \"80 ms\", every = \"20 ms\" }\nemit = \"update\"",
        ),
        ("sessions", "session = { gap = \"15 ms\" }"),
        (
            "growing",
            "session = { gap = \"25 ms\" }\nlateness = \"40 ms\"\nemit = \"update\"",
        ),
    ] {
        step(name, "source", "window", &format!("{by_policy}\n{keys}"), &all);
    }
    let keys = format!("{by_policy}\ntime = \"at\"\ntumbling = \"40 ms\"\nlateness = \"1 s\"\nemit = \"update\"");
    step("corrected-windows", "last-claim", "window", &keys, &all);
    for (table, from, key) in [
        ("added", "added", "policy"),
        ("corrected", "corrected", "policy"),
        ("by_severity", "by-severity", "severity"),
    ] {
        writeln!(
            text,
            "[[sink]]\nfrom = \"{from}\"\ntable = \"{table}\"\nprimary_key = [\"{key}\"]"
        )
        .unwrap();
    }
    for table in ["tumbling", "sessions"] {
        writeln!(text, "[[sink]]\nfrom = \"{table}\"\ntable = \"{table}\"").unwrap();
    }
    for (table, from, end) in [
        ("hopping", "hopping", ""),
        ("updates", "updates", ", \"window_end\""),
        ("growing", "growing", ""),
        ("corrected_windows", "corrected-windows", ""),
    ] {
        let key = format!("primary_key = [\"policy\", \"window_start\"{end}]");
        writeln!(text, "[[sink]]\nfrom = \"{from}\"\ntable = \"{table}\"\n{key}").unwrap();
    }
    text
}

/// Claims, and how they are run.
struct Case {
    claims: Vec<Claim>,
    batches: Vec<usize>,
    stops: Vec<usize>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batches, stops, .. } = self;
        write!(f, "batches of {batches:?}, stopped at {stops:?}\n{}", self.lines())
    }
}

impl Case {
    fn lines(&self) -> String {
        self.claims.iter().map(|claim| claim.line() + "\n").collect()
    }
}

fn cases(claims: std::ops::Range<usize>, batches: &[usize]) -> impl Strategy<Value = Case> {
    let stops = prop::collection::vec(0..claims.end, 0..4);
    let claims = prop::collection::vec(any::<[u8; 6]>(), claims);
    let batches = prop::collection::vec(prop::sample::select(batches.to_vec()), 1..4);
    (claims, batches, stops).prop_map(|(claims, batches, mut stops)| {
        stops.sort_unstable();
        let claims = claims.iter().enumerate().map(|(at, bytes)| Claim::of(at as i64, bytes));
        Case {
            claims: claims.collect(),
            batches,
            stops,
        }
    })
}

#[test]
fn tables_are_what_the_native_aggregate_says() {
    let plan = Arc::new(plan(&pipeline()));
    check_property(CASES, &cases(0..60, &[1, 2, 3, 5, 8, 4096]), |case| check(&plan, case));
}

#[test]
fn tables_of_many_claims_are_too() {
    let plan = Arc::new(plan(&pipeline()));
    check_property(LONG_CASES, &cases(400..900, &[1, 100, 300, 4096]), |case| {
        check(&plan, case)
    });
}

fn plan(text: &str) -> Plan {
    Plan::build(&File::from_text("claims.toml", text), host()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[track_caller]
fn check(plan: &Arc<Plan>, case: &Case) {
    let input = case.lines();
    let folder = scratch();
    let database = folder.path().join("claims.db");
    let run = Run {
        plan,
        lookup_rows: b"",
        input: input.as_bytes(),
        batches: &case.batches,
        stops: &case.stops,
    };
    run.into_database(&database);
    let found = contents(&database);

    let model = Model::of(&case.claims);
    let rejected: Vec<(u64, String)> = found
        .dead_letters
        .iter()
        .map(|letter| (letter.sequence, letter.reason.clone()))
        .collect();
    assert_eq!(rejected, model.rejected, "dead letters");
    let mut tables = vec![
        ("added", model.added()),
        ("corrected", model.corrected()),
        ("by_severity", model.by_severity()),
        ("corrected_windows", model.corrected_windows()),
    ];
    let windows = WINDOWS.iter().enumerate();
    tables.extend(windows.map(|(number, (table, _))| (*table, model.windows(number))));
    for (table, mut expected) in tables {
        let mut rows: Vec<Vec<Cell>> = found.tables[table].rows.clone();
        rows.sort();
        expected.sort();
        assert_eq!(rows, expected, "table {table}: found, and expected");
    }
}
