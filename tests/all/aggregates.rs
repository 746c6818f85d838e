//! Aggregates that are guests, in `aggregate` and in windows: tables are those of a plain model that takes one event after
//! the other and calls the same aggregate natively, whatever the batches and stops.

mod model;

use expect_test::expect;
use model::{Claim, Model, WINDOWS};
use proptest::prelude::*;
use std::{fmt, fmt::Write, fs, path::Path, sync::Arc};
use weir::{
    definition::File,
    engine::Successor,
    plan::{Plan, StepVersions, Versions},
    storage::Messages,
};
use weir_tests::{
    guest,
    replay::{Run, host, replay_with},
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

/// A step `severity` over `from` by this weight.
fn weighted(module: &Path, from: &str, weight: i64) -> String {
    format!(
        r#"
name = "claims"
source = {{ stream = "CLAIMS", subject = "claims", columns = {{ claim = "int", policy = "int", kind = "text", paid_cents = "int" }} }}
[[step]]
name = "last-claim"
last_value = {{ key = ["claim"] }}
[[step]]
name = "severity"
from = "{from}"
[step.aggregate]
group_by = ["policy"]
[step.aggregate.columns.severity]
module = '{}'
parameters = {{ weight = {weight} }}
[[sink]]
table = "severity"
primary_key = ["policy"]
[[sink]]
from = "last-claim"
table = "claims"
primary_key = ["claim"]
"#,
        module.display()
    )
}

/// What rows counted for when they came is part of the states of this aggregate, which are gone on with as they are.
#[test]
fn a_parameter_changes_over_single_rows_and_over_a_changelog() {
    let first = "{\"claim\": 1, \"policy\": 1, \"kind\": \"fire\", \"paid_cents\": 100}\n";
    let second = "{\"claim\": 2, \"policy\": 1, \"kind\": \"fire\", \"paid_cents\": 100}\n";
    for from in ["source", "last-claim"] {
        let folder = scratch();
        let (input, database) = (folder.path().join("claims.jsonl"), folder.path().join("claims.db"));
        let replay = |weight, lines: &str| {
            fs::write(&input, lines).expect("the input can be written");
            let plan = Arc::new(plan(&weighted(&guest("claims-severity"), from, weight)));
            replay_with(&plan, &input, &database, 1, Messages::Drop).expect("the run ends well");
            contents(&database).tables["severity"].rows[0][1].clone()
        };
        assert_eq!(replay(3, first), Cell::Double(3.0), "over {from}");
        let both = [first, second].concat();
        assert_eq!(
            replay(5, &both),
            Cell::Double(4.0),
            "3 and 5 euros for two claims, over {from}"
        );
        assert_eq!(
            replay(3, &both),
            Cell::Double(4.0),
            "they counted as they did, over {from}"
        );
    }
}

#[test]
fn an_aggregate_is_not_swapped() {
    let folder = scratch();
    let module = folder.path().join("severity.wasm");
    let bytes = fs::read(guest("claims-severity")).expect("the guest can be read");
    fs::write(&module, &bytes).expect("the module can be written");
    let running = plan(&weighted(&module, "source", 3));
    let error = running.stage("severity").expect_err("it is no stage");
    expect![[r#"step "severity" of pipeline claims is no stage: its guests are aggregates (severity), and a state that one module made is not handed to another while the pipeline runs; name the module and its parameters in the pipeline file, and start the pipeline again"#]].assert_eq(&error.to_string());
    let versions = Versions::from([("severity".to_owned(), StepVersions::default())]);
    let again = running.again(host(), &versions).expect_err("it is no stage");
    assert_eq!(again.to_string(), error.to_string());
    let again = || {
        running
            .again(host(), &Versions::new())
            .expect("it is the same pipeline")
    };
    Successor::check(&running, &again()).expect("nothing is otherwise");

    // A section of the binary that means nothing makes another module of it.
    fs::write(&module, [&bytes[..], &[0, 2, 1, b'x']].concat()).expect("the module can be written");
    let again = again();
    let mut error = Successor::check(&running, &again)
        .expect_err("the module is another")
        .to_string();
    for plan in [&running, &again] {
        let guest = plan.nodes.iter().find_map(|node| node.kind.guests().next());
        error = error.replace(guest.expect("there is one").1.module.short_digest(), "DIGEST");
    }
    expect![[r#"column "severity" of step "severity" is computed by module DIGEST, and its file holds DIGEST by now: an aggregate is not swapped while it runs; stop the pipeline and start it again"#]].assert_eq(&error);
}
