//! Windows of every kind over values of each type, against a plain model: it cuts all rows anew, and goes through them in order.

use super::{
    events::{Case, Event, Mark, Tables, check_each_type, results, sorted},
    kinds::{Kind, Plain, cell},
};
use std::collections::{BTreeMap, BTreeSet};
use weir_tests::table::Cell;

const CASES: u32 = 2;

const SOURCE: &str = r#"
name = "p"
event_time = { column = "at", out_of_orderness = "7 ms" }
[source]
stream = "S"
subject = "s"
columns = { n = "int", at = { type = "timestamp", format = "ms" }, k = COLUMN, v = COLUMN }
"#;

/// A step and its sinks: windows as `cut` says, and the key of their table, if it has one.
fn step(name: &str, cut: &str, key: &str) -> String {
    let key = if key.is_empty() {
        String::new()
    } else {
        format!("primary_key = {key}")
    };
    format!(
        r#"
[[step]]
name = "{name}"
from = "source"
[step.window]
{cut}
group_by = ["k"]
[step.window.columns]
FUNCTIONS
entry = {{ first = "v" }}
exit = {{ last = "v" }}
about = {{ approx_count_distinct = "v" }}
[[sink]]
from = "{name}"
table = "{name}"
{key}
[[sink]]
from = "{name}.late"
table = "{name}_late"
columns = ["n", "k", "v"]
"#
    )
}

/// Where a window ends, its group, and where it begins: the order in which results are emitted.
pub(super) type Bounds = (i64, Option<Plain>, i64);

/// The rows of each window, and those that came too late for any.
pub(super) type Cut<'e> = (BTreeMap<Bounds, Vec<&'e Event>>, Vec<&'e Event>);

/// Cuts windows that do not depend on rows: `cover` gives the bounds of those that cover a time.
pub(super) fn cut(case: &Case, cover: impl Fn(i64) -> Vec<(i64, i64)>) -> Cut<'_> {
    let (mut windows, mut late) = (BTreeMap::<Bounds, Vec<&Event>>::new(), Vec::new());
    for (event, mark) in case.marked(1) {
        let mut open = cover(event.at_ms);
        open.retain(|(_, end_ms)| *end_ms > mark.before_ms);
        if open.is_empty() {
            late.push(event);
        }
        for (start_ms, end_ms) in open {
            let bounds = (end_ms, event.key.clone(), start_ms);
            windows.entry(bounds).or_default().push(event);
        }
    }
    (windows, late)
}

pub(super) fn tumbling(size_ms: i64) -> impl Fn(i64) -> Vec<(i64, i64)> {
    hopping(size_ms, size_ms)
}

pub(super) fn hopping(size_ms: i64, every_ms: i64) -> impl Fn(i64) -> Vec<(i64, i64)> {
    move |at_ms| {
        let last_ms = at_ms.div_euclid(every_ms) * every_ms;
        let starts = (0..size_ms / every_ms).map(|back| last_ms - back * every_ms);
        starts.map(|start_ms| (start_ms, start_ms + size_ms)).collect()
    }
}

pub(super) fn cumulating(size_ms: i64, every_ms: i64) -> impl Fn(i64) -> Vec<(i64, i64)> {
    move |at_ms| {
        let start_ms = at_ms.div_euclid(size_ms) * size_ms;
        let ends = (1..=size_ms / every_ms).map(|steps| start_ms + steps * every_ms);
        ends.filter(|end_ms| *end_ms > at_ms)
            .map(|end_ms| (start_ms, end_ms))
            .collect()
    }
}

/// Cuts sessions: a row joins all of its group that it overlaps and that are not over.
pub(super) fn sessions(case: &Case, gap_ms: i64) -> Cut<'_> {
    let (mut windows, mut late) = (BTreeMap::<Bounds, Vec<&Event>>::new(), Vec::new());
    for (event, mark) in case.marked(1) {
        let (mut start_ms, mut end_ms) = (event.at_ms, event.at_ms + gap_ms);
        let overlaps = windows.extract_if(.., |(end, key, start), _| {
            *key == event.key && *end > mark.before_ms && *start < event.at_ms + gap_ms && event.at_ms < *end
        });
        let mut rows = vec![event];
        for ((end, _, start), more) in overlaps {
            (start_ms, end_ms) = (start_ms.min(start), end_ms.max(end));
            rows.extend(more);
        }
        if end_ms <= mark.before_ms {
            late.push(event);
        } else {
            rows.sort_by_key(|row| row.n);
            windows.insert((end_ms, event.key.clone(), start_ms), rows);
        }
    }
    (windows, late)
}

/// The watermark in the end.
pub(super) fn last_mark_ms(case: &Case) -> i64 {
    case.marked(1)
        .last()
        .map_or(i64::MIN, |(_, mark): (_, Mark)| mark.after_ms)
}

/// What windows give that are over, or all of them.
fn rows(kind: &Kind, case: &Case, windows: &BTreeMap<Bounds, Vec<&Event>>, all: bool) -> Vec<Vec<Cell>> {
    let told = windows
        .iter()
        .filter(|((end_ms, ..), _)| all || *end_ms <= last_mark_ms(case));
    let row = |((end_ms, key, start_ms), events): (&Bounds, &Vec<&Event>)| {
        let mut row = vec![cell(key.as_ref()), Cell::Int(*start_ms), Cell::Int(*end_ms)];
        row.extend(results(kind, events.iter().map(|event| event.value.as_ref())));
        // By time, and then as they came.
        let mut in_order = events.clone();
        in_order.sort_by_key(|event| event.at_ms);
        let valued = || in_order.iter().filter_map(|event| event.value.as_ref());
        let distinct = valued().collect::<BTreeSet<_>>().len();
        row.extend([
            cell(valued().next()),
            cell(valued().next_back()),
            Cell::Int(distinct as i64),
        ]);
        row
    };
    told.map(row).collect()
}

fn late(events: &[&Event]) -> Vec<Vec<Cell>> {
    events.iter().map(|event| event.row()).collect()
}

#[test]
fn windows_of_a_clock_hold_keys_and_values_of_each_type() {
    let steps = [
        step("tumbling", "tumbling = \"10 ms\"", ""),
        step(
            "hopping",
            "hopping = { size = \"20 ms\", every = \"5 ms\" }\nemit = \"update\"",
            "[\"k\", \"window_start\"]",
        ),
        step(
            "cumulating",
            "cumulating = { size = \"20 ms\", every = \"10 ms\" }\nemit = { early = \"7 ms\" }",
            "[\"k\", \"window_start\", \"window_end\"]",
        ),
    ];
    check_each_type(CASES, &format!("{SOURCE}{}", steps.concat()), |kind, case| {
        let (tumbling, tumbling_late) = cut(case, tumbling(10));
        let (hopping, hopping_late) = cut(case, hopping(20, 5));
        let (cumulating, cumulating_late) = cut(case, cumulating(20, 10));
        let hopping = rows(kind, case, &hopping, true);
        vec![
            ("tumbling", rows(kind, case, &tumbling, false)),
            ("tumbling_late", late(&tumbling_late)),
            ("hopping", sorted(hopping)),
            ("hopping_late", late(&hopping_late)),
            ("cumulating", sorted(early(kind, case, &cumulating))),
            ("cumulating_late", late(&cumulating_late)),
        ]
    });
}

/// What windows gave so far that tell what changed whenever the watermark passes a multiple of seven milliseconds.
fn early(kind: &Kind, case: &Case, windows: &BTreeMap<Bounds, Vec<&Event>>) -> Vec<Vec<Cell>> {
    // The last event at which that was so.
    let passed = |mark: &Mark| {
        mark.after_ms > mark.before_ms
            && (mark.before_ms == i64::MIN || mark.after_ms.div_euclid(7) > mark.before_ms.div_euclid(7))
    };
    let told = case.marked(1).filter(|(_, mark)| passed(mark)).last();
    let told = told.map_or(-1, |(event, _)| event.n);
    let over_ms = last_mark_ms(case);
    let mut seen = windows.clone();
    for ((end_ms, ..), events) in &mut seen {
        if *end_ms > over_ms {
            events.retain(|event| event.n <= told);
        }
    }
    seen.retain(|_, events| !events.is_empty());
    rows(kind, case, &seen, true)
}

/// A late row may pull the start of a session that goes on back to that of one that is over: they are one row of a table by
/// start, and two of a table by end.
fn of_starts(rows: Vec<Vec<Cell>>) -> impl Iterator<Item = Vec<Cell>> {
    let by_start = rows.into_iter().map(|row| ([row[0].clone(), row[1].clone()], row));
    by_start.collect::<BTreeMap<_, _>>().into_values()
}

#[test]
fn sessions_hold_keys_and_values_of_each_type() {
    let steps = [
        step("sessions", "session = { gap = \"4 ms\" }", ""),
        step(
            "changing",
            "session = { gap = \"6 ms\" }\nemit = \"update\"",
            "[\"k\", \"window_start\"]",
        ),
    ];
    const BY_END: &str = r#"
[[sink]]
from = "changing"
table = "by_end"
primary_key = ["k", "window_start", "window_end"]
"#;
    check_each_type(CASES, &format!("{SOURCE}{}{BY_END}", steps.concat()), |kind, case| {
        let (closed, closed_late) = sessions(case, 4);
        let (changing, changing_late) = sessions(case, 6);
        vec![
            ("sessions", rows(kind, case, &closed, false)),
            ("sessions_late", late(&closed_late)),
            ("changing", sorted(of_starts(rows(kind, case, &changing, true)))),
            ("changing_late", late(&changing_late)),
            ("by_end", sorted(rows(kind, case, &changing, true))),
        ]
    });
}

#[test]
fn rows_see_those_before_them_with_values_of_each_type() {
    const STEPS: &str = r#"
[[step]]
name = "over"
from = "source"
[step.window]
over = { time = "10 ms" }
group_by = ["k"]
[step.window.columns]
FUNCTIONS
[[step]]
name = "fixed"
from = "over"
columns = { n = "n", k = "k", v = "v", rows = "rows" }
[[sink]]
from = "over"
table = "over"
[[sink]]
from = "over.late"
table = "late"
columns = ["n", "k", "v"]
[[sink]]
from = "fixed"
table = "fixed"
"#;
    check_each_type(CASES, &format!("{SOURCE}{STEPS}"), over_time);
}

fn over_time(kind: &Kind, case: &Case) -> Tables {
    let (mut in_time, mut late) = (Vec::new(), Vec::new());
    for (event, mark) in case.marked(1) {
        match event.at_ms < mark.before_ms {
            true => late.push(event.row()),
            false => in_time.push(event),
        }
    }
    in_time.sort_by_key(|event| event.at_ms);
    let (mut over, mut fixed) = (Vec::new(), Vec::new());
    for (at, event) in in_time.iter().enumerate() {
        if event.at_ms > last_mark_ms(case) {
            break;
        }
        let seen = in_time[..=at].iter();
        let seen = seen.filter(|other| other.key == event.key && other.at_ms > event.at_ms - 10);
        let results = results(kind, seen.map(|other| other.value.as_ref()));
        fixed.push([event.row(), vec![results[0].clone()]].concat());
        let at = Plain::Timestamp(event.at_ms * 1000).cell();
        let [number, key, value] = [event.number(), event.key_cell(), event.value_cell()];
        over.push([vec![number, at, key, value], results].concat());
    }
    vec![("over", over), ("fixed", fixed), ("late", late)]
}
