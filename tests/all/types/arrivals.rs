//! Operators that go by arrival, with keys and values of each type: against plain models, which forget what a `ttl` forgets.

use super::{
    events::{Case, Event, Mark, Tables, check_each_type, results, sorted},
    kinds::{Kind, Plain, cell},
};
use std::collections::{BTreeMap, BTreeSet};
use weir_tests::{guest, table::Cell};

const CASES: u32 = 2;

const TTL_MS: i64 = 15;

const WITHIN_MS: i64 = 10;

const SOURCE: &str = r#"
name = "p"
event_time = { column = "at", out_of_orderness = "7 ms" }
[source]
stream = "S"
subject = "s"
columns = { n = "int", at = "int", g = "int", k = COLUMN, v = COLUMN, up = "boolean", held = "boolean" }
"#;

/// When the keys were touched that have a `ttl`.
#[derive(Default)]
struct Touches(BTreeMap<Option<Plain>, i64>);

impl Touches {
    /// An event touches its key, of which something is kept or not; gives the keys that are forgotten behind it.
    fn touch(&mut self, event: &Event, is_kept: bool, mark: Mark) -> Vec<Option<Plain>> {
        match is_kept {
            true => {
                let touch_ms = self.0.entry(event.key.clone()).or_insert(i64::MIN);
                *touch_ms = event.at_ms.max(mark.before_ms).max(*touch_ms);
            }
            false => _ = self.0.remove(&event.key),
        }
        let due = self.0.extract_if(.., |_, touch_ms| *touch_ms + TTL_MS <= mark.after_ms);
        due.map(|(key, _)| key).collect()
    }
}

#[test]
fn keys_of_each_type_pass_once_follow_each_other_and_cross() {
    const STEPS: &str = r#"
[[step]]
name = "first"
deduplicate = { key = ["k"] }
[[step]]
name = "fresh"
from = "source"
deduplicate = { key = ["g", "k"], within = "10 ms" }
[[step]]
name = "before"
from = "source"
lag = { key = ["k"], columns = { one = "v", whose = "k" } }
[[step]]
name = "third"
lag = { key = ["k"], n = 3, columns = { three = "v" }, ttl = "15 ms" }
[[step]]
name = "alerts"
from = "source"
on_crossing = { key = ["k"], raise = "up", hold = "held" }
[[step]]
name = "fading"
from = "source"
on_crossing = { key = ["k"], raise = "up", hold = "held", ttl = "15 ms" }

[[sink]]
from = "first"
table = "first"
columns = ["n", "k", "v"]
[[sink]]
from = "fresh"
table = "fresh"
columns = ["n", "k", "v"]
[[sink]]
from = "fresh.late"
table = "late"
columns = ["n", "k", "v"]
[[sink]]
from = "third"
table = "lags"
columns = ["n", "k", "v", "one", "whose", "three"]
[[sink]]
from = "alerts"
table = "raised"
columns = ["n", "k", "v"]
[[sink]]
from = "alerts.cleared"
table = "cleared"
columns = ["n", "k", "v"]
[[sink]]
from = "fading"
table = "raised_again"
columns = ["n", "k", "v"]
"#;
    check_each_type(CASES, &format!("{SOURCE}{STEPS}"), |_, case| {
        let [mut first, mut fresh, mut late, mut lags] = [const { Vec::new() }; 4];
        let [mut raised, mut cleared, mut raised_again] = [const { Vec::new() }; 3];
        let mut passed: Vec<&Event> = Vec::new();
        let mut before: BTreeMap<&Option<Plain>, Vec<&Event>> = BTreeMap::new();
        let mut remembered: BTreeMap<Option<Plain>, Vec<&Event>> = BTreeMap::new();
        let (mut up, mut up_for_a_while) = (BTreeSet::new(), BTreeSet::new());
        let (mut touches, mut raises_touched) = (Touches::default(), Touches::default());
        for (event, mark) in case.marked(1) {
            let earlier = before.entry(&event.key).or_default();
            if earlier.is_empty() {
                first.push(event.row());
            }
            let is_twin = |other: &&Event| {
                (other.group, &other.key) == (event.group, &event.key) && (other.at_ms - event.at_ms).abs() < WITHIN_MS
            };
            if event.at_ms < mark.before_ms {
                late.push(event.row());
            } else if !passed.iter().any(is_twin) {
                passed.push(event);
                fresh.push(event.row());
            }
            let held = remembered.entry(event.key.clone()).or_default();
            let third = held.len().checked_sub(3).map(|at| held[at]);
            let one = earlier.last();
            let lagged = [
                one.map_or(Cell::Null, |one| one.value_cell()),
                one.map_or(Cell::Null, |one| one.key_cell()),
                third.map_or(Cell::Null, Event::value_cell),
            ];
            lags.push([event.row(), lagged.to_vec()].concat());
            earlier.push(event);
            held.push(event);
            let (raises, holds) = (event.raises == Some(true), event.holds == Some(true));
            if raises && up.insert(&event.key) {
                raised.push(event.row());
            } else if !raises && !holds && up.remove(&event.key) {
                cleared.push(event.row());
            }
            if raises && up_for_a_while.insert(event.key.clone()) {
                raised_again.push(event.row());
            } else if !raises && !holds {
                up_for_a_while.remove(&event.key);
            }
            for key in touches.touch(event, true, mark) {
                remembered.remove(&key);
            }
            // Only what is raised is kept.
            let is_kept = up_for_a_while.contains(&event.key);
            for key in raises_touched.touch(event, is_kept, mark) {
                up_for_a_while.remove(&key);
            }
        }
        vec![
            ("first", first),
            ("fresh", fresh),
            ("late", late),
            ("lags", lags),
            ("raised", raised),
            ("cleared", cleared),
            ("raised_again", raised_again),
        ]
    });
}

#[test]
fn a_rule_passes_on_values_of_each_type() {
    let stage = format!(
        "[[step]]\nname = \"rule\"\nstage = {{ module = '{}', parameters = {{ threshold = 5 }} }}\n",
        guest("thresholds").display()
    );
    let sink = "[[sink]]\ntable = \"passed\"\ncolumns = [\"n\", \"k\"]\n";
    check_each_type(CASES, &format!("{SOURCE}{stage}{sink}"), |_, case| {
        let passed = case.events.iter().filter(|event| event.n >= 5);
        vec![(
            "passed",
            passed.map(|event| vec![event.number(), event.key_cell()]).collect(),
        )]
    });
}

#[test]
fn rows_with_values_of_each_type_are_renamed_put_together_kept_and_counted() {
    const STEPS: &str = r#"
[[step]]
name = "swapped"
columns = { n = "n", fixed = FIXED, k = "v", nothing = NOTHING, v = "k" }
[[step]]
name = "plain"
from = "source"
columns = { k = "k", v = "v", nothing = NOTHING, fixed = FIXED, n = "n" }
[[step]]
name = "both"
union = ["swapped", "plain"]
[[step]]
name = "latest"
from = "source"
last_value = { key = ["k"], columns = ["v", "n"], ttl = "15 ms" }
[[step]]
name = "by-value"
aggregate = { group_by = ["v"], columns = { keys = { count = "*" }, numbers = { sum = "n" } } }
[[step]]
name = "last-three"
from = "source"
[step.window]
over = { rows = 3, ttl = "15 ms" }
group_by = ["k"]
[step.window.columns]
FUNCTIONS
[[step]]
name = "groups"
from = "source"
[step.aggregate]
group_by = ["k"]
ttl = "15 ms"
[step.aggregate.columns]
FUNCTIONS
about = { approx_count_distinct = "v" }

[[sink]]
from = "both"
table = "both_ways"
[[sink]]
from = "latest"
table = "latest"
primary_key = ["k"]
[[sink]]
from = "by-value"
table = "by_value"
primary_key = ["v"]
[[sink]]
from = "last-three"
table = "last_three"
[[sink]]
from = "groups"
table = "groups"
primary_key = ["k"]
"#;
    check_each_type(CASES, &format!("{SOURCE}{STEPS}"), kept_and_counted);
}

fn kept_and_counted(kind: &Kind, case: &Case) -> Tables {
    let (mut both_ways, mut last_three) = (Vec::new(), Vec::new());
    let mut latest: BTreeMap<Option<Plain>, (Option<Plain>, i64)> = BTreeMap::new();
    let mut remembered: BTreeMap<Option<Plain>, Vec<&Event>> = BTreeMap::new();
    let mut touches = Touches::default();
    for (event, mark) in case.marked(1) {
        let (number, key, value) = (event.number(), event.key_cell(), event.value_cell());
        for [key, value] in [[&value, &key], [&key, &value]] {
            both_ways.push(vec![
                number.clone(),
                kind.constant.1.cell(),
                key.clone(),
                Cell::Null,
                value.clone(),
            ]);
        }
        let row = latest.entry(event.key.clone()).or_default();
        row.0 = event.value.clone().or(row.0.take());
        row.1 = event.n;
        let held = remembered.entry(event.key.clone()).or_default();
        held.push(event);
        let of_three = held.iter().rev().take(3).map(|event| event.value.as_ref());
        let came_in = [
            number,
            Cell::Int(event.at_ms),
            Cell::Int(event.group),
            key,
            value,
            event.raises.map_or(Cell::Null, |raises| Cell::Int(raises.into())),
            event.holds.map_or(Cell::Null, |holds| Cell::Int(holds.into())),
        ];
        last_three.push([came_in.to_vec(), results(kind, of_three)].concat());
        for key in touches.touch(event, true, mark) {
            remembered.remove(&key);
            latest.remove(&key);
        }
    }
    let mut by_value: BTreeMap<&Option<Plain>, (i64, i64)> = BTreeMap::new();
    for (value, n) in latest.values() {
        let group = by_value.entry(value).or_default();
        *group = (group.0 + 1, group.1 + n);
    }
    let groups = remembered.iter().map(|(key, events)| {
        let mut row = results(kind, events.iter().map(|event| event.value.as_ref()));
        // Of so few it is exact.
        row.push(row[2].clone());
        [vec![cell(key.as_ref())], row].concat()
    });
    let latest = latest
        .iter()
        .map(|(key, (value, n))| vec![cell(key.as_ref()), cell(value.as_ref()), Cell::Int(*n)]);
    let by_value = by_value
        .iter()
        .map(|(value, (keys, numbers))| vec![cell(value.as_ref()), Cell::Int(*keys), Cell::Int(*numbers)]);
    vec![
        ("both_ways", both_ways),
        ("latest", sorted(latest)),
        ("by_value", sorted(by_value)),
        ("last_three", last_three),
        ("groups", sorted(groups)),
    ]
}
