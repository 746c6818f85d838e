//! `top`: the rows of a window that rank first, against a plain model.

use proptest::prelude::*;
use std::{collections::BTreeMap, fmt, sync::Arc};
use weir::{definition::File, plan::Plan};
use weir_tests::{
    replay::{Run, host},
    seed::check_property,
    table::{Cell, Contents},
};

/// How many inputs are tried.
const CASES: u32 = 100;

/// How many rows are kept.
const N: usize = 3;

/// Windows of each kind that tell their results once, and such that tell what changes; and the best of what others add up.
const PIPELINE: &str = r#"
name = "p"
event_time = { column = "at", out_of_orderness = "1 min" }
[source]
stream = "S"
subject = "s"
columns = { id = "int", g = "text", at = "int", x = "double", name = "text" }

[[step]]
name = "tumbling"
window = { tumbling = "10 s", group_by = ["g"], top = { n = 3, by = "x", columns = ["id", "x"] } }
[[step]]
name = "tumbling-changing"
from = "source"
window = { tumbling = "10 s", group_by = ["g"], top = { n = 3, by = "name", order = "least", columns = ["id", "name"] }, emit = "update" }
[[step]]
name = "hopping"
from = "source"
window = { hopping = { size = "20 s", every = "5 s" }, group_by = ["g"], top = { n = 3, by = "name", columns = ["id", "name"] } }
[[step]]
name = "hopping-changing"
from = "source"
window = { hopping = { size = "20 s", every = "5 s" }, group_by = ["g"], top = { n = 3, by = "x", order = "least", columns = ["id", "x"] }, emit = { early = "7 s" } }
[[step]]
name = "cumulating"
from = "source"
window = { cumulating = { size = "20 s", every = "5 s" }, group_by = ["g"], top = { n = 3, by = "x", columns = ["id", "x"] } }
[[step]]
name = "sessions"
from = "source"
window = { session = { gap = "4 s" }, group_by = ["g"], top = { n = 3, by = "x", columns = ["id", "x"] } }
[[step]]
name = "sessions-changing"
from = "source"
window = { session = { gap = "4 s" }, group_by = ["g"], top = { n = 3, by = "x", columns = ["id", "x"] }, emit = "update" }
[[step]]
name = "busy"
from = "source"
window = { tumbling = "10 s", group_by = ["g", "name"], columns = { rows = { count = "*" } } }
[[step]]
name = "busiest"
window = { tumbling = "10 s", time = "window_start", group_by = ["g"], top = { n = 3, by = "rows", columns = ["rows", "name"] } }

[[sink]]
from = "tumbling"
table = "tumbling"
[[sink]]
from = "tumbling-changing"
table = "tumbling_changing"
primary_key = ["g", "window_start", "rank"]
[[sink]]
from = "hopping"
table = "hopping"
[[sink]]
from = "hopping-changing"
table = "hopping_changing"
primary_key = ["g", "window_start", "rank"]
[[sink]]
from = "cumulating"
table = "cumulating"
[[sink]]
from = "sessions"
table = "sessions"
[[sink]]
from = "sessions-changing"
table = "sessions_changing"
primary_key = ["g", "window_start", "rank"]
[[sink]]
from = "busiest"
table = "busiest"
"#;

/// Everything comes late, and is taken in after the windows were told.
const LATE: &str = r#"
name = "p"
event_time = { column = "at" }
[source]
stream = "S"
subject = "s"
columns = { id = "int", g = "text", at = "int", x = "double", name = "text" }

[[step]]
name = "tumbling"
window = { tumbling = "10 s", group_by = ["g"], top = { n = 3, by = "x", columns = ["id", "x"] }, lateness = "2 min" }
[[step]]
name = "cumulating"
from = "source"
window = { cumulating = { size = "20 s", every = "5 s" }, group_by = ["g"], top = { n = 3, by = "x", columns = ["id", "x"] }, lateness = "2 min" }
[[step]]
name = "sessions"
from = "source"
window = { session = { gap = "4 s" }, group_by = ["g"], top = { n = 3, by = "x", columns = ["id", "x"] }, lateness = "2 min" }

[[sink]]
from = "tumbling"
table = "tumbling"
primary_key = ["g", "window_start", "rank"]
[[sink]]
from = "cumulating"
table = "cumulating"
primary_key = ["g", "window_start", "window_end", "rank"]
[[sink]]
from = "sessions"
table = "sessions"
primary_key = ["g", "window_start", "rank"]
"#;

/// Both zeros are of one rank.
const DOUBLES: [f64; 8] = [0.0, -0.0, 1.5, 2.5, -1.5, 1e308, -1e308, 5e-324];
/// Texts that begin with others, or hold what ends a text in a key.
const NAMES: [&str; 7] = ["", "a", "aa", "a\u{0}", "\u{0}", "b", "保单"];

/// An event, whose number is its id.
#[derive(Clone, Debug)]
struct Event {
    id: i64,
    group: u8,
    at_ms: i64,
    x: Option<f64>,
    name: Option<&'static str>,
}

struct Case {
    events: Vec<Event>,
    batches: Vec<usize>,
    stops: Vec<usize>,
}

impl Case {
    fn payloads(&self) -> String {
        let line = |event: &Event| {
            let x = event.x.map_or("null".to_owned(), |x| format!("{x:?}"));
            let name = serde_json::to_string(&event.name).expect("a text can be written");
            let Event { id, group, at_ms, .. } = event;
            format!("{{\"id\": {id}, \"g\": \"{group}\", \"at\": {at_ms}, \"x\": {x}, \"name\": {name}}}\n")
        };
        let last = "{\"id\": 99, \"g\": \"last\", \"at\": 10000000}\n";
        self.events.iter().map(line).collect::<String>() + last
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batches, stops, .. } = self;
        write!(f, "batches of {batches:?}, stopped at {stops:?}\n{}", self.payloads())
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let event = (0..2u8, 0..110i64, 0..DOUBLES.len() + 1, 0..NAMES.len() + 1);
    let events = prop::collection::vec(event, 0..60).prop_map(|events| {
        let events = events.into_iter().enumerate();
        let event = |(id, (group, at, x, name))| Event {
            id: id as i64,
            group,
            at_ms: at * 500,
            x: DOUBLES.get::<usize>(x).copied(),
            name: NAMES.get::<usize>(name).copied(),
        };
        events.map(event).collect()
    });
    let batches = prop::collection::vec(prop::sample::select(vec![1, 2, 3, 8, 4096]), 1..4);
    let stops = prop::collection::vec(0..60usize, 0..4);
    (events, batches, stops).prop_map(|(events, batches, mut stops)| {
        stops.sort_unstable();
        Case { events, batches, stops }
    })
}

#[test]
fn windows_keep_the_rows_that_rank_first() {
    let plan = |text| Arc::new(Plan::build(&File::from_text("p.toml", text), host()).expect("the pipeline is fine"));
    let (in_time, late) = (plan(PIPELINE), plan(LATE));
    check_property(CASES, &cases(), |case| check(&in_time, &late, case));
}

/// The rows of a window, by group, start and end.
type Windows<'e> = BTreeMap<(u8, i64, i64), Vec<&'e Event>>;

/// What rows are ranked by, and the greatest of which comes first.
type By = fn(&Event) -> Option<Cell>;

fn check(in_time: &Arc<Plan>, late: &Arc<Plan>, case: &Case) {
    let events = &case.events;
    let by_x: By = |event| event.x.map(|x| Cell::Double(x + 0.0));
    let by_name: By = |event| event.name.map(|name| Cell::Text(name.to_owned()));
    let sessions = sessions(events, 4_000);
    let expected = [
        ("tumbling", ranked(&cut(events, 10_000, 10_000), by_x, false)),
        ("tumbling_changing", ranked(&cut(events, 10_000, 10_000), by_name, true)),
        ("hopping", ranked(&cut(events, 20_000, 5_000), by_name, false)),
        ("hopping_changing", ranked(&cut(events, 20_000, 5_000), by_x, true)),
        ("cumulating", ranked(&cumulate(events, 20_000, 5_000), by_x, false)),
        ("sessions", ranked(&sessions, by_x, false)),
        ("sessions_changing", ranked(&sessions, by_x, false)),
        ("busiest", busiest(events)),
    ];
    compare(&run(in_time, case), expected.into_iter());
    let expected = [
        ("tumbling", ranked(&cut(events, 10_000, 10_000), by_x, false)),
        ("cumulating", ranked(&cumulate(events, 20_000, 5_000), by_x, false)),
        ("sessions", ranked(&sessions, by_x, false)),
    ];
    compare(&run(late, case), expected.into_iter());
}

/// Runs the case. Tables to which rows are appended hold them in the order in which one run without stops has them.
fn run(plan: &Arc<Plan>, case: &Case) -> Contents {
    let input = case.payloads();
    let run = |batches, stops| {
        let run = Run {
            plan,
            lookup_rows: b"",
            input: input.as_bytes(),
            batches,
            stops,
        };
        run.contents()
    };
    let found = run(&case.batches, &case.stops);
    let straight = run(&[4096], &[]);
    for (name, table) in &straight.tables {
        assert_eq!(
            found.tables[name].rows, table.rows,
            "table {name}: found, and without stops"
        );
    }
    found
}

fn compare<'n>(found: &Contents, expected: impl Iterator<Item = (&'n str, Vec<Vec<Cell>>)>) {
    for (name, mut expected) in expected {
        let rows = found.tables[name].rows.iter();
        let mut rows: Vec<Vec<Cell>> = rows
            .filter(|row| row[0] != Cell::Text("last".to_owned()))
            .cloned()
            .collect();
        rows.sort();
        expected.sort();
        assert_eq!(rows, expected, "table {name}: found, and expected");
    }
}

fn cut(events: &[Event], size_ms: i64, every_ms: i64) -> Windows<'_> {
    let mut windows = Windows::new();
    for event in events {
        let last_ms = event.at_ms.div_euclid(every_ms) * every_ms;
        for back in 0..size_ms / every_ms {
            let start_ms = last_ms - back * every_ms;
            let key = (event.group, start_ms, start_ms + size_ms);
            windows.entry(key).or_default().push(event);
        }
    }
    windows
}

fn cumulate(events: &[Event], size_ms: i64, every_ms: i64) -> Windows<'_> {
    let mut windows = Windows::new();
    for event in events {
        let start_ms = event.at_ms.div_euclid(size_ms) * size_ms;
        for step in 1..=size_ms / every_ms {
            let end_ms = start_ms + step * every_ms;
            if end_ms > event.at_ms {
                windows.entry((event.group, start_ms, end_ms)).or_default().push(event);
            }
        }
    }
    windows
}

fn sessions(events: &[Event], gap_ms: i64) -> Windows<'_> {
    let mut windows = Windows::new();
    for group in 0..2 {
        let mut events: Vec<&Event> = events.iter().filter(|event| event.group == group).collect();
        events.sort_by_key(|event| event.at_ms);
        for events in events.chunk_by(|a, b| b.at_ms - a.at_ms < gap_ms) {
            let (first, last) = (events[0], events[events.len() - 1]);
            windows.insert((group, first.at_ms, last.at_ms + gap_ms), events.to_vec());
        }
    }
    windows
}

/// The first rows of each window, as they stand in a table: group, bounds, rank, id, what they are ranked by.
fn ranked(windows: &Windows<'_>, by: By, least: bool) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for (&(group, start_ms, end_ms), events) in windows {
        let mut events: Vec<(Cell, &&Event)> = events.iter().filter_map(|event| Some((by(event)?, event))).collect();
        // As they came, and then stably by what ranks them.
        events.sort_by_key(|(_, event)| event.id);
        match least {
            true => events.sort_by(|(a, _), (b, _)| a.cmp(b)),
            false => events.sort_by(|(a, _), (b, _)| b.cmp(a)),
        }
        for (at, (value, event)) in events.into_iter().take(N).enumerate() {
            let window = window(group, start_ms, end_ms, at);
            rows.push(window.into_iter().chain([Cell::Int(event.id), value]).collect());
        }
    }
    rows
}

/// The names that most events of ten seconds have. Results of one window come in the order of groups, nulls first.
fn busiest(events: &[Event]) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for ((group, start_ms, end_ms), events) in cut(events, 10_000, 10_000) {
        let mut counts: BTreeMap<Option<&str>, i64> = BTreeMap::new();
        for event in events {
            *counts.entry(event.name).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| -count);
        for (at, (name, count)) in counts.into_iter().take(N).enumerate() {
            let name = name.map_or(Cell::Null, |name| Cell::Text(name.to_owned()));
            let window = window(group, start_ms, end_ms, at);
            rows.push(window.into_iter().chain([Cell::Int(count), name]).collect());
        }
    }
    rows
}

fn window(group: u8, start_ms: i64, end_ms: i64, at: usize) -> [Cell; 4] {
    let rank = Cell::Int(at as i64 + 1);
    [
        Cell::Text(group.to_string()),
        Cell::Int(start_ms),
        Cell::Int(end_ms),
        rank,
    ]
}
