//! Events that make an aggregate misbehave, among events that do not, in every place of a pipeline that one can stand in.

use super::aggregates::{MISDEEDS, deadline_ms};
use std::{collections::BTreeMap, fmt::Write, sync::Arc};
use weir::{
    definition::File,
    plan::{Now, Plan},
};
use weir_tests::{
    guest,
    replay::{GOLDEN_NOW_MS, Run, host},
    table::{Cell, Contents, Counts, DeadLetter},
};

const EVENTS: usize = 200;

/// How many groups the events have.
const KEYS: usize = 7;

/// Where the poisoned events are: one alone; or two of one group, and the last of all.
const PLACES: [&[usize]; 2] = [&[101], &[40, 47, EVENTS - 1]];

/// Sizes of batches, and where a run is stopped.
const RUNS: [(usize, &[usize]); 3] = [(1, &[]), (7, &[EVENTS / 2]), (4096, &[])];

/// A pipeline around `AGGREGATE`, whose step is called `hostile`.
const SOURCE: &str = r#"
name = "hostile"
event_time = { column = "at", out_of_orderness = "50 ms" }
source = { stream = "TEST", subject = "test", columns = { id = "int", claim = "int", what = "text", at = "int" } }
"#;

/// Its reader wants the last state of each key.
const AGGREGATE: &str = r#"
[[step]]
name = "hostile"
aggregate = { group_by = ["id"], columns = { n = { count = "*" }, texts = AGGREGATE } }
[[sink]]
table = "texts"
primary_key = ["id"]
"#;

/// Rows are taken back, and its reader wants every change.
const OVER_CHANGELOG: &str = r#"
[[step]]
name = "latest"
last_value = { key = ["claim"], columns = ["id", "what"] }
[[step]]
name = "hostile"
aggregate = { group_by = ["id"], columns = { texts = AGGREGATE } }
[[step]]
name = "by-text"
aggregate = { group_by = ["texts"], columns = { ids = { count = "*" } } }
[[sink]]
from = "latest"
table = "latest"
primary_key = ["claim"]
[[sink]]
table = "by_text"
primary_key = ["texts"]
"#;

const HOPPING: &str = r#"
[[step]]
name = "hostile"
[step.window]
hopping = { size = "300 ms", every = "100 ms" }
group_by = ["id"]
columns = { texts = AGGREGATE }
[[sink]]
table = "windows"
[[sink]]
from = "hostile.late"
table = "late"
"#;

const SESSIONS: &str = r#"
[[step]]
name = "hostile"
[step.window]
session = { gap = "90 ms" }
group_by = ["id"]
emit = "update"
lateness = "100 ms"
columns = { texts = AGGREGATE }
[[sink]]
table = "sessions"
primary_key = ["id", "window_start"]
"#;

/// What it is given is no event's doing.
const OVER_WINDOWS: &str = r#"
[[step]]
name = "windows"
[step.window]
tumbling = "100 ms"
group_by = ["id"]
columns = { what = { last = "what" } }
[[step]]
name = "hostile"
aggregate = { group_by = ["id"], columns = { n = { count = "*" }, texts = AGGREGATE } }
[[sink]]
from = "windows"
table = "windows"
[[sink]]
from = "hostile"
table = "texts"
primary_key = ["id"]
"#;

#[test]
fn a_poisoned_event_costs_itself_in_any_step_window_and_batch() {
    for pipeline in [AGGREGATE, OVER_CHANGELOG, HOPPING, SESSIONS] {
        for (what, words) in MISDEEDS {
            for places in PLACES {
                let poison = places.iter().map(|&at| (at, (what, words)));
                check(pipeline, deadline_ms(what), &poison.collect());
            }
        }
    }
}

#[test]
fn every_misdeed_in_one_stream_costs_as_many_events() {
    for pipeline in [AGGREGATE, OVER_CHANGELOG, HOPPING, SESSIONS] {
        let poison = MISDEEDS
            .iter()
            .enumerate()
            .map(|(at, misdeed)| (9 * at + at % 3, *misdeed));
        check(pipeline, 100, &poison.collect());
    }
}

/// Checks that the events in `poison`, by number, are dead letters, and that all else is as if they had never come.
#[track_caller]
fn check(pipeline: &str, deadline_ms: u64, poison: &BTreeMap<usize, (&str, &str)>) {
    let plan = plan(pipeline, deadline_ms);
    let lines: Vec<String> = (0..EVENTS)
        .map(|at| event(at, poison.get(&at).map(|(what, _)| *what)))
        .collect();
    let without: Vec<&str> = (0..EVENTS)
        .map(|at| if poison.contains_key(&at) { "\n" } else { &lines[at] })
        .collect();
    let mut expected = run(&plan, &without.concat(), 4096, &[]);
    assert_eq!(expected.dead_letters, [], "the events without poison");
    let empty = expected.counts.empty;
    expected.counts = Counts {
        dead_letters: empty,
        empty: 0,
        ..expected.counts
    };
    let letter = |(&at, _): (&usize, _)| DeadLetter {
        sequence: at as u64 + 1,
        subject: None,
        time_ms: GOLDEN_NOW_MS,
        step: "hostile".to_owned(),
        module: Some(digest(&plan)),
        reason: String::new(),
        payload: lines[at].trim_end().as_bytes().to_vec(),
    };
    expected.dead_letters = poison.iter().map(letter).collect();

    for (batch, stops) in RUNS {
        let mut found = run(&plan, &lines.concat(), batch, stops);
        let title = || format!("{poison:?} in batches of {batch}, stopped at {stops:?}, through{pipeline}");
        for letter in &mut found.dead_letters {
            let reason = std::mem::take(&mut letter.reason);
            if let Some((_, words)) = poison.get(&(letter.sequence as usize - 1)) {
                assert!(reason.contains(words), "{words:?} is not in {reason:?}; {}", title());
            }
        }
        assert_eq!(found, expected, "{}", title());
    }
}

/// A row of a window that is refused is kept by itself, and the next of its group goes on from the one before it.
#[test]
fn a_poisoned_row_that_no_event_made_costs_itself() {
    for (what, words) in [("trap", "the rule trapped"), ("reject", "is asked not to be kept")] {
        let plan = plan(OVER_WINDOWS, deadline_ms(what));
        let places = [40, 47, 101, 102, 103];
        let lines: Vec<String> = (0..EVENTS)
            .map(|at| event(at, places.contains(&at).then_some(what)))
            .collect();
        let expected = run(&plan, &lines.concat(), 1, &[]);
        assert_eq!(expected.counts.dead_letters, 0, "events are not to blame");
        assert!(expected.dead_letters.len() >= 2, "{:?}", expected.dead_letters);
        for letter in &expected.dead_letters {
            let payload = String::from_utf8_lossy(&letter.payload);
            let is_row = payload.contains(&format!("\"what\":\"{what}\"")) && payload.contains("\"id\":");
            assert!(is_row && letter.reason.contains(words), "{letter:?}");
        }
        // Every row of a window is in the group, or a dead row.
        let told = expected.tables["windows"].rows.len();
        let counted = expected.tables["texts"].rows.iter().map(|row| match row[1] {
            Cell::Int(rows) => rows as usize,
            _ => panic!("a count is a number"),
        });
        assert_eq!(counted.sum::<usize>() + expected.dead_letters.len(), told);
        for row in &expected.tables["texts"].rows {
            assert!(!matches!(&row[2], Cell::Text(text) if text.contains(what)), "{row:?}");
        }
        for (batch, stops) in [(7, &[][..]), (4096, &[]), (4096, &[50, 103]), (3, &[102])] {
            let found = run(&plan, &lines.concat(), batch, stops);
            assert_eq!(found, expected, "{what} in batches of {batch}, stopped at {stops:?}");
        }
    }
}

fn run(plan: &Arc<Plan>, input: &str, batch: usize, stops: &[usize]) -> Contents {
    Run {
        plan,
        lookup_rows: b"",
        input: input.as_bytes(),
        batches: &[batch],
        stops,
    }
    .contents()
}

fn plan(pipeline: &str, deadline_ms: u64) -> Arc<Plan> {
    let limits = format!("{{ memory_mib = 8, output_mib = 1, deadline_ms = {deadline_ms} }}");
    let module = guest("hostile-aggregate");
    let aggregate = format!("{{ module = '{}', limits = {limits} }}", module.display());
    let text = format!("{SOURCE}{}", pipeline.replace("= AGGREGATE", &format!("= {aggregate}")));
    let mut plan = Plan::build(&File::from_text("hostile.toml", text), host()).expect("the pipeline is fine");
    plan.now = Now::Fixed(GOLDEN_NOW_MS);
    Arc::new(plan)
}

/// The digest of the module that the plan's only guest runs.
fn digest(plan: &Plan) -> String {
    let guest = plan.nodes.iter().find_map(|node| node.kind.guests().next());
    guest.expect("there is a guest").1.module.digest.clone()
}

/// The event number `at`, as a line. Some come out of order, and some too late.
fn event(at: usize, what: Option<&str>) -> String {
    let (id, claim) = (at % KEYS, at % 11);
    let what = match what {
        Some(what) => format!("\"{what}\""),
        None => format!("\"保单 {}\"", at % 13),
    };
    let time = at * 10 + at * 37 % 60 - if at % 23 == 22 { 200 } else { 0 };
    let mut line = String::new();
    writeln!(line, r#"{{"id":{id},"claim":{claim},"what":{what},"at":{time}}}"#).expect("a text takes all");
    line
}
