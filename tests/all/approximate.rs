//! Functions that are nearly right: near the exact result, and the same to the last bit whatever the batches and stops are.

use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};
use weir::{definition::File, plan::Plan, state::sketch::QUANTILE_ERROR_MAX};
use weir_tests::{
    replay::{Run, host},
    seed::check_property,
    table::{Cell, Contents},
};

/// How many inputs are tried.
const CASES: u32 = 150;

/// Everything that takes the functions: groups for ever, of rows that stay and of rows that change; each kind of window.
const PIPELINE: &str = r#"
name = "p"
event_time = { column = "at", out_of_orderness = "1 min" }
[source]
stream = "S"
subject = "s"
columns = { id = "int", g = "text", at = "int", x = "double", n = "int" }

[[step]]
name = "groups"
aggregate = { group_by = ["g"], columns = { low = { quantile = "x", q = 0.07 }, high = { quantile = "n", q = 0.95 }, ids = { approx_count_distinct = "x" } } }
[[step]]
name = "latest"
from = "source"
last_value = { key = ["id"] }
[[step]]
name = "changing"
aggregate = { group_by = ["g"], columns = { low = { quantile = "x", q = 0.07 }, high = { quantile = "n", q = 0.95 } } }
[[step]]
name = "tumbling"
from = "source"
window = { tumbling = "10 s", group_by = ["g"], columns = { low = { quantile = "x", q = 0.07 }, high = { quantile = "n", q = 0.95 }, ids = { approx_count_distinct = "x" } } }
[[step]]
name = "hopping"
from = "source"
window = { hopping = { size = "20 s", every = "5 s" }, group_by = ["g"], columns = { low = { quantile = "x", q = 0.07 }, high = { quantile = "n", q = 0.95 }, ids = { approx_count_distinct = "x" } } }
[[step]]
name = "sessions"
from = "source"
window = { session = { gap = "4 s" }, group_by = ["g"], columns = { low = { quantile = "x", q = 0.07 }, high = { quantile = "n", q = 0.95 }, ids = { approx_count_distinct = "x" } } }
[[step]]
name = "sliding"
from = "source"
window = { sliding = { rows = 4 }, group_by = ["g"], columns = { low = { quantile = "x", q = 0.07 }, high = { quantile = "n", q = 0.95 } } }

[[sink]]
from = "groups"
table = "groups"
primary_key = ["g"]
[[sink]]
from = "changing"
table = "changing"
primary_key = ["g"]
[[sink]]
from = "tumbling"
table = "tumbling"
[[sink]]
from = "hopping"
table = "hopping"
[[sink]]
from = "sessions"
table = "sessions"
[[sink]]
from = "sliding"
table = "sliding"
columns = ["g", "low", "high"]
"#;

/// Doubles of every size; both zeros; some that are close to each other.
const DOUBLES: [f64; 15] = [
    0.0,
    -0.0,
    0.1,
    0.3,
    1.0,
    -1.0,
    1.001,
    1.01,
    1e16,
    -1e16,
    1e308,
    f64::MAX,
    f64::MIN,
    -85.3,
    99.99,
];
const INTS: [i64; 9] = [0, 1, 2, 255, 257, -1, 1_000_003, i64::MAX, i64::MIN];

/// An event; 0 is null in `x` and `n`.
#[derive(Clone, Debug)]
struct Event {
    id: u8,
    group: u8,
    at_ms: i64,
    x: Option<f64>,
    n: Option<i64>,
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
            let n = event.n.map_or("null".to_owned(), |n| n.to_string());
            let Event { id, group, at_ms, .. } = event;
            format!("{{\"id\": {id}, \"g\": \"{group}\", \"at\": {at_ms}, \"x\": {x}, \"n\": {n}}}\n")
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
    let event = (0..6u8, 0..2u8, 0..120i64, 0..DOUBLES.len() + 2, 0..INTS.len() + 2);
    let event = event.prop_map(|(id, group, at, x, n)| Event {
        id,
        group,
        at_ms: at * 500,
        x: DOUBLES.get(x).copied(),
        n: INTS.get(n).copied(),
    });
    let batches = prop::collection::vec(prop::sample::select(vec![1, 2, 3, 8, 4096]), 1..4);
    let stops = prop::collection::vec(0..60usize, 0..4);
    (prop::collection::vec(event, 0..60), batches, stops).prop_map(|(events, batches, mut stops)| {
        stops.sort_unstable();
        Case { events, batches, stops }
    })
}

#[test]
fn results_are_near_and_never_depend_on_batches_and_stops() {
    let plan = Plan::build(&File::from_text("p.toml", PIPELINE), host()).expect("the pipeline is fine");
    let plan = Arc::new(plan);
    check_property(CASES, &cases(), |case| check(&plan, case));
}

fn run(plan: &Arc<Plan>, input: &str, batches: &[usize], stops: &[usize]) -> Contents {
    let run = Run {
        plan,
        lookup_rows: b"",
        input: input.as_bytes(),
        batches,
        stops,
    };
    run.contents()
}

fn check(plan: &Arc<Plan>, case: &Case) {
    let input = case.payloads();
    let found = run(plan, &input, &case.batches, &case.stops);
    let straight = run(plan, &input, &[4096], &[]);
    for (name, table) in &straight.tables {
        assert_eq!(
            found.tables[name].rows, table.rows,
            "table {name}: found, and without stops"
        );
    }

    let rows = |name: &str| -> Vec<&Vec<Cell>> {
        let rows = found.tables[name].rows.iter();
        rows.filter(|row| row[0] != Cell::Text("last".to_owned())).collect()
    };
    let of_group = |group: u8| case.events.iter().filter(move |event| event.group == group);
    let mut latest: BTreeMap<u8, Event> = BTreeMap::new();
    for event in &case.events {
        let mut next = event.clone();
        if let Some(before) = latest.get(&event.id) {
            next.x = next.x.or(before.x);
            next.n = next.n.or(before.n);
        }
        latest.insert(event.id, next);
    }
    let groups: BTreeSet<u8> = case.events.iter().map(|event| event.group).collect();
    compare(
        "groups",
        1,
        &rows("groups"),
        groups.iter().map(|&group| (vec![], of_group(group).collect(), group)),
    );
    let groups: BTreeSet<u8> = latest.values().map(|event| event.group).collect();
    let of_latest = |group: u8| latest.values().filter(move |event| event.group == group).collect();
    compare(
        "changing",
        1,
        &rows("changing"),
        groups.iter().map(|&group| (vec![], of_latest(group), group)),
    );
    let cut = |size_ms: i64, every_ms: i64| {
        let mut windows: BTreeMap<(u8, i64), Vec<&Event>> = BTreeMap::new();
        for event in &case.events {
            let last_ms = event.at_ms.div_euclid(every_ms) * every_ms;
            for back in 0..size_ms / every_ms {
                let start_ms = last_ms - back * every_ms;
                windows.entry((event.group, start_ms)).or_default().push(event);
            }
        }
        let windows = windows.into_iter();
        windows.map(move |((group, start_ms), events)| (vec![start_ms, start_ms + size_ms], events, group))
    };
    compare("tumbling", 3, &rows("tumbling"), cut(10_000, 10_000));
    compare("hopping", 3, &rows("hopping"), cut(20_000, 5_000));
    let mut sessions: Vec<(Vec<i64>, Vec<&Event>, u8)> = Vec::new();
    for group in 0..2 {
        let mut events: Vec<&Event> = of_group(group).collect();
        events.sort_by_key(|event| event.at_ms);
        for events in events.chunk_by(|a, b| b.at_ms - a.at_ms < 4_000) {
            let (first, last) = (events[0], events[events.len() - 1]);
            sessions.push((vec![first.at_ms, last.at_ms + 4_000], events.to_vec(), group));
        }
    }
    compare("sessions", 3, &rows("sessions"), sessions.into_iter());
    // In the order of arrival; the order of the model's windows is that of their bounds, so one number more in front.
    let tail = |at: usize, event: &Event| {
        let mut events: Vec<&Event> = case.events[..=at].iter().filter(|e| e.group == event.group).collect();
        events.drain(..events.len().saturating_sub(4));
        events
    };
    let sliding: Vec<_> = case
        .events
        .iter()
        .enumerate()
        .map(|(at, event)| (vec![], tail(at, event), event.group))
        .collect();
    let found = rows("sliding");
    assert_eq!(found.len(), sliding.len(), "sliding");
    for (row, expected) in found.iter().zip(sliding) {
        compare("sliding", 1, &[row], [expected].into_iter());
    }
}

/// Compares rows with what they are of: the bounds of a window, its events, and their group. The first columns are the
/// group and the bounds.
fn compare<'e>(
    name: &str,
    keys: usize,
    rows: &[&Vec<Cell>],
    expected: impl Iterator<Item = (Vec<i64>, Vec<&'e Event>, u8)>,
) {
    let mut rows = rows.to_vec();
    rows.sort();
    let mut expected: Vec<(Vec<Cell>, Vec<&Event>)> = expected
        .map(|(bounds, events, group)| {
            let group = Cell::Text(group.to_string());
            let key = [group].into_iter().chain(bounds.into_iter().map(Cell::Int)).collect();
            (key, events)
        })
        .collect();
    expected.sort_by(|(a, _), (b, _)| a.cmp(b));
    let found_keys: Vec<&[Cell]> = rows.iter().map(|row| &row[..keys]).collect();
    let expected_keys: Vec<&[Cell]> = expected.iter().map(|(key, _)| key.as_slice()).collect();
    assert_eq!(found_keys, expected_keys, "{name}: keys found, and expected");
    for (row, (_, events)) in rows.iter().zip(&expected) {
        let place = || format!("{name}: {row:?}");
        let doubles = events.iter().filter_map(|event| event.x).collect();
        check_quantile(&row[keys], doubles, 7, &place());
        let ints = events.iter().filter_map(|event| event.n).map(|n| n as f64).collect();
        check_quantile(&row[keys + 1], ints, 95, &place());
        if let Some(ids) = row.get(keys + 2) {
            let values: BTreeSet<u64> = events
                .iter()
                .filter_map(|event| event.x)
                .map(|x| (x + 0.0).to_bits())
                .collect();
            assert_eq!(*ids, Cell::Int(values.len() as i64), "{}", place());
        }
    }
}

fn check_quantile(found: &Cell, mut values: Vec<f64>, percent: usize, place: &str) {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * percent).div_ceil(100);
    let exact = values.get(rank.saturating_sub(1)).copied();
    match (found, exact) {
        (Cell::Null, None) => {}
        (Cell::Double(found), Some(0.0)) => assert_eq!(*found, 0.0, "{place}"),
        (Cell::Double(found), Some(exact)) => {
            let error = (exact - found) / exact;
            assert!(
                (0.0..QUANTILE_ERROR_MAX).contains(&error),
                "{place}: {found} and not {exact}"
            );
        }
        _ => panic!("{place}: {found:?} and not {exact:?}"),
    }
}

#[test]
fn ten_thousand_values_are_counted_within_five_percent() {
    const VALUES: usize = 10_000;
    let pipeline = r#"
        name = "p"
        source = { stream = "S", subject = "s", columns = { user = "text" } }
        step = [{ name = "users", aggregate = { group_by = [], columns = { events = { count = "*" }, users = { approx_count_distinct = "user" } } } }]
        sink = [{ table = "users", primary_key = ["events"] }]
    "#;
    let plan = Plan::build(&File::from_text("p.toml", pipeline), host()).expect("the pipeline is fine");
    let plan = Arc::new(plan);
    // Each twice, and the second time in another order.
    let users = (0..VALUES).chain((0..VALUES).rev());
    let input: String = users.map(|user| format!("{{\"user\": \"user {user}\"}}\n")).collect();
    let straight = run(&plan, &input, &[4096], &[]);
    let Some([Cell::Int(events), Cell::Int(found)]) = straight.tables["users"].rows.last().map(Vec::as_slice) else {
        panic!("{:?}", straight.tables["users"].rows);
    };
    assert_eq!(*events, 2 * VALUES as i64);
    let error = (*found - VALUES as i64).abs() as f64 / VALUES as f64;
    assert!(error <= 0.05, "{found} of {VALUES}");
    let stops: Vec<usize> = (1..20)
        .map(|part| part * 37)
        .chain([5_000, 9_999, 10_001, 15_000])
        .collect();
    let stopped = run(&plan, &input, &[7, 1000, 4096], &stops);
    assert_eq!(stopped.tables["users"].rows, straight.tables["users"].rows);
}
