//! Changelogs whose rows hold values of each type, and what reads them, against a plain model: the rows that there are in the end.

use super::{
    events::{Case, Event, Tables, check_each_type, results, sorted},
    kinds::{Kind, Plain, cell},
    windows::last_mark_ms,
};
use std::collections::BTreeMap;
use weir_tests::table::Cell;

const CASES: u32 = 2;

const PIPELINE: &str = r#"
name = "p"
event_time = { column = "at", out_of_orderness = "7 ms" }
[source]
stream = "S"
subject = "s"
columns = { n = "int", at = { type = "timestamp", format = "ms" }, g = "int", k = COLUMN, v = COLUMN, up = "boolean", held = "boolean" }

[[step]]
name = "latest"
last_value = { key = ["g"], columns = ["n", "at", "k", "v"], deleted = "up" }
[[step]]
name = "groups"
[step.aggregate]
group_by = ["k"]
[step.aggregate.columns]
FUNCTIONS
[[step]]
name = "renamed"
from = "latest"
columns = { fixed = FIXED, value = "v", key = "k", whose = "g" }
[[step]]
name = "values"
from = "latest"
on_crossing = { key = ["v"] }
[[step]]
name = "windows"
from = "latest"
[step.window]
tumbling = "10 ms"
time = "at"
group_by = ["k"]
emit = "update"
lateness = "1 h"
[step.window.columns]
FUNCTIONS
[[step]]
name = "told"
from = "latest"
[step.window]
hopping = { size = "20 ms", every = "10 ms" }
time = "at"
group_by = ["k"]
lateness = "1 h"
[step.window.columns]
FUNCTIONS

[[sink]]
from = "latest"
table = "latest"
primary_key = ["g"]
[[sink]]
from = "latest"
table = "by_value"
primary_key = ["v", "k"]
columns = ["v", "k", "n"]
[[sink]]
from = "groups"
table = "groups"
primary_key = ["k"]
[[sink]]
from = "renamed"
table = "renamed"
primary_key = ["whose"]
[[sink]]
from = "values"
table = "came"
columns = ["n", "v"]
[[sink]]
from = "values.cleared"
table = "went"
columns = ["n", "v"]
[[sink]]
from = "windows"
table = "windows"
primary_key = ["k", "window_start"]
[[sink]]
from = "told"
table = "told"
primary_key = ["k", "window_start"]
"#;

/// A row of the changelog.
#[derive(Clone, PartialEq)]
struct Latest {
    n: i64,
    at_ms: i64,
    key: Option<Plain>,
    value: Option<Plain>,
}

impl Latest {
    fn number_and_value(&self) -> Vec<Cell> {
        vec![Cell::Int(self.n), cell(self.value.as_ref())]
    }
}

/// What an event makes of the row of its key.
fn next(row: Option<&Latest>, event: &Event) -> Option<Latest> {
    let of_before = |of: fn(&Latest) -> &Option<Plain>| row.and_then(|row| of(row).clone());
    let is_deleted = event.raises == Some(true);
    (!is_deleted).then(|| Latest {
        n: event.n,
        at_ms: event.at_ms,
        key: event.key.clone().or_else(|| of_before(|row| &row.key)),
        value: event.value.clone().or_else(|| of_before(|row| &row.value)),
    })
}

#[test]
fn changelogs_hold_values_of_each_type_and_take_them_back() {
    check_each_type(CASES, PIPELINE, tables);
}

fn tables(kind: &Kind, case: &Case) -> Tables {
    let mut latest: BTreeMap<i64, Latest> = BTreeMap::new();
    let (mut came, mut went) = (Vec::new(), Vec::new());
    for event in &case.events {
        let before = latest.remove(&event.group);
        let after = next(before.as_ref(), event);
        let is_held = |value: &Option<Plain>| latest.values().any(|row| row.value == *value);
        let moves = before.as_ref().map(|row| &row.value) != after.as_ref().map(|row| &row.value);
        if let Some(row) = before.filter(|row| moves && !is_held(&row.value)) {
            went.push(row.number_and_value());
        }
        if let Some(row) = after.as_ref().filter(|row| moves && !is_held(&row.value)) {
            came.push(row.number_and_value());
        }
        latest.extend(after.map(|row| (event.group, row)));
    }
    let fixed = kind.constant.1.cell();
    let (mut by_value, mut groups) = (BTreeMap::new(), BTreeMap::<_, Vec<&Latest>>::new());
    let (mut windows, mut told) = (BTreeMap::<_, Vec<&Latest>>::new(), BTreeMap::<_, Vec<&Latest>>::new());
    let (mut of_latest, mut renamed) = (Vec::new(), Vec::new());
    for (group, row) in &latest {
        let [key, value] = [cell(row.key.as_ref()), cell(row.value.as_ref())];
        of_latest.push(vec![
            Cell::Int(*group),
            Cell::Int(row.n),
            Plain::Timestamp(row.at_ms * 1000).cell(),
            key.clone(),
            value.clone(),
        ]);
        renamed.push(vec![fixed.clone(), value, key, Cell::Int(*group)]);
        // The row that changed last.
        let shown = by_value.entry((&row.value, &row.key)).or_insert(row.n);
        *shown = row.n.max(*shown);
        groups.entry(&row.key).or_default().push(row);
        let start_ms = row.at_ms.div_euclid(10) * 10;
        windows
            .entry((&row.key, start_ms, start_ms + 10))
            .or_default()
            .push(row);
        for start_ms in [start_ms - 10, start_ms] {
            if start_ms + 20 <= last_mark_ms(case) {
                told.entry((&row.key, start_ms, start_ms + 20)).or_default().push(row);
            }
        }
    }
    let results = |rows: Vec<&Latest>| results(kind, rows.iter().map(|row| row.value.as_ref()));
    let groups = groups
        .into_iter()
        .map(|(key, rows)| [vec![cell(key.as_ref())], results(rows)].concat());
    let of_windows = |windows: BTreeMap<(&Option<Plain>, i64, i64), Vec<&Latest>>| {
        let rows = windows.into_iter().map(|((key, start_ms, end_ms), rows)| {
            let bounds = vec![cell(key.as_ref()), Cell::Int(start_ms), Cell::Int(end_ms)];
            [bounds, results(rows)].concat()
        });
        sorted(rows)
    };
    let by_value = by_value
        .into_iter()
        .map(|((value, key), n)| vec![cell(value.as_ref()), cell(key.as_ref()), Cell::Int(n)]);
    vec![
        ("latest", sorted(of_latest)),
        ("by_value", sorted(by_value)),
        ("groups", sorted(groups)),
        ("renamed", sorted(renamed)),
        ("came", came),
        ("went", went),
        ("windows", of_windows(windows)),
        ("told", of_windows(told)),
    ]
}
