//! `top` with values of each type that has an order, and with columns and groups of all types; what has no order is refused.

use super::{
    events::{Case, Event, check_each_type, sorted},
    kinds::{Kind, cell, kinds},
    windows::{Bounds, cumulating, cut, hopping, last_mark_ms, sessions, tumbling},
};
use std::{cmp::Ordering, collections::BTreeMap};
use weir::{definition::File, plan::Plan};
use weir_tests::{replay::host, table::Cell};

const CASES: u32 = 2;

/// How many rows are kept.
const N: usize = 2;

const PIPELINE: &str = r#"
name = "p"
event_time = { column = "at", out_of_orderness = "7 ms" }
[source]
stream = "S"
subject = "s"
columns = { n = "int", at = "int", k = COLUMN, v = COLUMN }

[[step]]
name = "greatest"
window = { tumbling = "10 ms", group_by = ["k"], top = { n = 2, by = "RANK", columns = ["n", "v"] } }
[[step]]
name = "least"
from = "source"
window = { hopping = { size = "20 ms", every = "5 ms" }, group_by = ["k"], top = { n = 2, by = "RANK", order = "least", columns = ["n", "v"] }, emit = "update" }
[[step]]
name = "cumulating"
from = "source"
window = { cumulating = { size = "20 ms", every = "10 ms" }, group_by = ["k"], top = { n = 2, by = "RANK", columns = ["v", "n"] } }
[[step]]
name = "sessions"
from = "source"
window = { session = { gap = "6 ms" }, group_by = ["k"], top = { n = 2, by = "RANK", order = "least", columns = ["v", "n"] } }

[[sink]]
from = "greatest"
table = "greatest"
[[sink]]
from = "greatest.late"
table = "late"
columns = ["n", "k", "v"]
[[sink]]
from = "least"
table = "least"
primary_key = ["k", "window_start", "rank"]
[[sink]]
from = "cumulating"
table = "cumulating"
[[sink]]
from = "sessions"
table = "sessions"
"#;

/// Which of two rows ranks first.
fn rank(kind: &Kind, a: &Event, b: &Event) -> Ordering {
    match kind.has_order {
        true => a.value.cmp(&b.value),
        false => a.n.cmp(&b.n),
    }
}

/// The first rows of each window, by rank: of all windows, or of those that are over.
fn ranked(kind: &Kind, case: &Case, windows: &BTreeMap<Bounds, Vec<&Event>>, least: bool, all: bool) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for ((end_ms, key, start_ms), events) in windows {
        if !all && *end_ms > last_mark_ms(case) {
            continue;
        }
        // A null has no rank.
        let with_rank = events.iter().filter(|event| !kind.has_order || event.value.is_some());
        let mut events: Vec<&Event> = with_rank.copied().collect();
        // Of equals the one that came first.
        events.sort_by(|a, b| match least {
            true => rank(kind, a, b),
            false => rank(kind, b, a),
        });
        for (at, event) in events.into_iter().take(N).enumerate() {
            let bounds = [*start_ms, *end_ms, at as i64 + 1].map(Cell::Int);
            rows.push(
                [
                    vec![cell(key.as_ref())],
                    bounds.to_vec(),
                    vec![event.number(), event.value_cell()],
                ]
                .concat(),
            );
        }
    }
    rows
}

#[test]
fn rows_are_ranked_by_values_of_each_type() {
    let value_first = |rows: Vec<Vec<Cell>>| -> Vec<Vec<Cell>> {
        let swap = |mut row: Vec<Cell>| {
            row.swap(4, 5);
            row
        };
        rows.into_iter().map(swap).collect()
    };
    check_each_type(CASES, PIPELINE, |kind, case| {
        let (windows, late) = cut(case, tumbling(10));
        let greatest = ranked(kind, case, &windows, false, false);
        let (windows, _) = cut(case, hopping(20, 5));
        let least = ranked(kind, case, &windows, true, true);
        let (windows, _) = cut(case, cumulating(20, 10));
        let cumulating = ranked(kind, case, &windows, false, false);
        let (windows, _) = sessions(case, 6);
        let sessions = ranked(kind, case, &windows, true, false);
        vec![
            ("greatest", greatest),
            ("late", late.iter().map(|event| event.row()).collect()),
            ("least", sorted(least)),
            ("cumulating", value_first(cumulating)),
            ("sessions", value_first(sessions)),
        ]
    });
}

/// What a pipeline file is refused for.
#[track_caller]
fn refusal(kind: &Kind, step: &str) -> String {
    let text = format!(
        "name = \"p\"\nevent_time = {{ column = \"at\" }}\n\
         source = {{ stream = \"S\", subject = \"s\", columns = {{ at = \"int\", i = \"int\", v = {} }} }}\n\
         [[step]]\nname = \"x\"\n{step}\n[[sink]]\ntable = \"t\"\nprimary_key = [\"i\"]\n",
        kind.column
    );
    let plan = Plan::build(&File::from_text("p.toml", text), host());
    plan.expect_err("the file is refused").to_string()
}

#[test]
fn what_has_no_order_is_not_ranked_and_has_no_extremes() {
    let without: Vec<Kind> = kinds().into_iter().filter(|kind| !kind.has_order).collect();
    assert_eq!(without.len(), 10, "JSON, and a list of each scalar");
    for kind in &without {
        let name = &kind.name;
        for function in ["min", "max"] {
            let functions = format!("{{ x = {{ {function} = \"v\" }} }}");
            for step in [
                format!("aggregate = {{ group_by = [\"i\"], columns = {functions} }}"),
                format!("window = {{ tumbling = \"1 s\", group_by = [\"i\"], columns = {functions} }}"),
                format!("window = {{ session = {{ gap = \"1 s\" }}, group_by = [\"i\"], columns = {functions} }}"),
                format!("window = {{ over = {{ rows = 2 }}, group_by = [\"i\"], columns = {functions} }}"),
            ] {
                let refusal = refusal(kind, &step);
                let expected = format!(
                    "{function} of column \"v\", which is {name}; accepted is a column of any type but json and lists, which have no order"
                );
                assert!(refusal.contains(&expected), "{step}: {refusal}");
            }
        }
        let step =
            "window = { tumbling = \"1 s\", group_by = [\"i\"], top = { n = 1, by = \"v\", columns = [\"v\"] } }";
        let refusal = refusal(kind, step);
        let expected = format!(
            "key `by` is column \"v\", which is {name}; accepted is a column of any type but json and lists, which have no order"
        );
        assert!(refusal.contains(&expected), "{refusal}");
    }
}

#[test]
fn functions_and_keys_refuse_what_is_not_of_their_types() {
    for kind in kinds() {
        let name = &kind.name;
        let mut steps = Vec::new();
        if !kind.is_number() {
            for function in ["sum", "avg"] {
                let step =
                    format!("aggregate = {{ group_by = [\"i\"], columns = {{ x = {{ {function} = \"v\" }} }} }}");
                let expected = format!(
                    "{function} of column \"v\", which is {name}; accepted is a column of int, double or decimal"
                );
                steps.push((step, expected));
            }
        }
        if !["int", "double"].contains(&name.as_str()) {
            let step = "aggregate = { group_by = [\"i\"], columns = { x = { quantile = \"v\", q = 0.5 } } }";
            let expected = format!("quantile of column \"v\", which is {name}; accepted is a column of int or double");
            steps.push((step.to_owned(), expected));
        }
        if name != "boolean" {
            let step = "on_crossing = { key = [\"i\"], raise = \"v\" }";
            steps.push((
                step.to_owned(),
                format!("column \"v\" is {name}; accepted is a boolean"),
            ));
            let step = "last_value = { key = [\"i\"], deleted = \"v\" }";
            let expected = "key `deleted` is \"v\"; accepted is a boolean column that is not in `key`";
            steps.push((step.to_owned(), expected.to_owned()));
        }
        if !["int", "timestamp"].contains(&name.as_str()) {
            let step = "window = { tumbling = \"1 s\", time = \"v\", group_by = [\"i\"], columns = {} }";
            steps.push((
                step.to_owned(),
                format!("key `time`: column \"v\" is {name}; accepted is an int or a timestamp"),
            ));
        }
        for (step, expected) in steps {
            let refusal = refusal(&kind, &step);
            assert!(refusal.contains(&expected), "{step}: {refusal}");
        }
    }
}
