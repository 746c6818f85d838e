//! Joins whose keys and added columns are of each type, against plain models, which keep every row and look through all of them.

use super::events::{Case, Event, Tables, check_each_type, check_each_type_with_rows, sorted};
use super::kinds::{Plain, cell};
use std::collections::BTreeMap;
use weir_tests::table::Cell;

const CASES: u32 = 2;

/// How much later than a row of the left input one of the right may be that it is joined with.
const CLOSE_MS: std::ops::RangeInclusive<i64> = -5..=8;

/// How long a version is valid, where that is said.
const VALID_MS: i64 = 9;

#[test]
fn rows_meet_rows_close_in_time_and_versions_by_keys_of_each_type() {
    const PIPELINE: &str = r#"
name = "p"
event_time = { column = "at", unit = "ms", out_of_orderness = "7 ms" }
[source]
stream = "S"
[source.input.left]
subject = "a"
columns = { n = "int", at = { type = "timestamp", format = "ms" }, k = COLUMN, v = COLUMN }
[source.input.right]
subject = "b"
columns = { m = "int", at = { type = "timestamp", format = "ms" }, j = COLUMN, w = COLUMN }

[[step]]
name = "close"
from = "left"
interval_join = { with = "right", on = { k = "j" }, earliest = "-5 ms", latest = "8 ms", columns = ["m", "w"] }
[[step]]
name = "versions"
from = "left"
temporal_join = { versions_from = "right", on = { j = "k" }, columns = ["m", "w"] }
[[step]]
name = "short"
from = "left"
temporal_join = { versions_from = "right", on = { j = "k" }, columns = ["m", "w"], ttl = "9 ms" }

[[sink]]
from = "close"
table = "close"
columns = ["n", "k", "v", "m", "w"]
[[sink]]
from = "close.late"
table = "late"
columns = ["n", "k", "v"]
[[sink]]
from = "close.late_with"
table = "late_with"
columns = ["m", "j", "w"]
[[sink]]
from = "versions"
table = "versions"
columns = ["n", "k", "v", "m", "w"]
[[sink]]
from = "versions.late"
table = "late_of_versions"
columns = ["n", "k", "v"]
[[sink]]
from = "short"
table = "short_versions"
columns = ["n", "k", "v", "m", "w"]
[[sink]]
from = "short.late_versions"
table = "late_versions"
columns = ["m", "j", "w"]
"#;
    check_each_type(CASES, PIPELINE, |_, case| {
        let [close, late, late_with] = close(case);
        let [versions, _] = versions(case, None);
        let [short_versions, late_versions] = self::versions(case, Some(VALID_MS));
        vec![
            ("close", close),
            ("late_of_versions", late.clone()),
            ("late", late),
            ("late_with", late_with),
            ("versions", versions),
            ("short_versions", short_versions),
            ("late_versions", late_versions),
        ]
    });
}

/// A row of the left input with one of the right.
fn pair(left: &Event, right: &Event) -> Vec<Cell> {
    [left.row(), vec![right.number(), right.value_cell()]].concat()
}

/// The pairs, and the rows of each input that came late.
fn close(case: &Case) -> [Vec<Vec<Cell>>; 3] {
    let [mut pairs, mut late, mut late_with] = [const { Vec::new() }; 3];
    let mut in_time: Vec<&Event> = Vec::new();
    for (event, mark) in case.marked(2) {
        if event.at_ms < mark.before_ms {
            match event.is_right {
                true => late_with.push(event.row()),
                false => late.push(event.row()),
            }
            continue;
        }
        let sides = |other: &'_ &Event| -> bool { other.is_right != event.is_right };
        let of_key = in_time
            .iter()
            .filter(|other| event.key.is_some() && other.key == event.key);
        let mut partners: Vec<&&Event> = of_key.filter(|other| sides(other)).collect();
        partners.sort_by_key(|other| (other.at_ms, other.n));
        for partner in partners {
            let (left, right) = if event.is_right {
                (*partner, event)
            } else {
                (event, *partner)
            };
            if CLOSE_MS.contains(&(right.at_ms - left.at_ms)) {
                pairs.push(pair(left, right));
            }
        }
        in_time.push(event);
    }
    [pairs, late, late_with]
}

/// The rows with their versions, and the versions that came too late for any row.
fn versions(case: &Case, valid_ms: Option<i64>) -> [Vec<Vec<Cell>>; 2] {
    let end_ms = |version: &Event| valid_ms.map_or(i64::MAX, |valid_ms| version.at_ms + valid_ms);
    let (mut joined, mut late_versions) = (Vec::new(), Vec::new());
    let (mut waiting, mut versions) = (Vec::<&Event>::new(), Vec::<&Event>::new());
    for (event, mark) in case.marked(2) {
        let is_late = event.at_ms < mark.before_ms;
        if !event.is_right {
            if !is_late {
                waiting.push(event);
            }
        } else if event.key.is_some() {
            let is_newer =
                |other: &&Event| other.key == event.key && other.at_ms > event.at_ms && other.at_ms <= mark.before_ms;
            if is_late && (versions.iter().any(is_newer) || end_ms(event) <= mark.before_ms) {
                late_versions.push(event.row());
            } else {
                versions.push(event);
            }
        }
        waiting.sort_by_key(|row| (row.at_ms, row.n));
        for row in waiting.extract_if(.., |row| row.at_ms < mark.after_ms) {
            let before = versions
                .iter()
                .filter(|version| version.key == row.key && version.at_ms <= row.at_ms);
            if let Some(version) = before.max_by_key(|version| (version.at_ms, version.n))
                && row.at_ms < end_ms(version)
            {
                joined.push(pair(row, version));
            }
        }
    }
    [joined, late_versions]
}

#[test]
fn events_look_up_and_set_rows_by_keys_of_each_type() {
    const PIPELINE: &str = r#"
name = "p"
[source]
stream = "S"
subject = "s"
columns = { n = "int", k = COLUMN, v = COLUMN }

[table.known]
primary_key = ["id"]
columns = { id = COLUMN, last = COLUMN, by = "int" }
update_from = "set"

[[step]]
name = "joined"
lookup = { table = "known", on = { id = "k" } }
[[step]]
name = "set"
columns = { id = "k", last = "v", by = "n" }

[[sink]]
from = "joined"
table = "joined"
"#;
    check_each_type_with_rows(
        CASES,
        PIPELINE,
        |case| {
            let rows = loaded(case).into_iter().enumerate();
            let row = |(way, (id, (last, by))): (usize, (Plain, (Option<Plain>, i64)))| {
                let last = last.map_or("null".to_owned(), |last| last.json(way + 1));
                format!("{{\"id\": {}, \"last\": {last}, \"by\": {by}}}\n", id.json(way))
            };
            rows.map(row).collect()
        },
        |_, case| looked_up(case),
    );
}

/// The rows that are in the table before the first event: of every other value, some of them with a null.
fn loaded(case: &Case) -> BTreeMap<Plain, (Option<Plain>, i64)> {
    let ids = case.palette.iter().enumerate().step_by(2);
    let row = |(at, id): (usize, &Plain)| {
        let last = (at % 4 == 0).then(|| case.palette[(at + 1) % case.palette.len()].clone());
        (id.clone(), (last, -(at as i64)))
    };
    ids.map(row).collect()
}

fn looked_up(case: &Case) -> Tables {
    let (mut known, mut joined) = (loaded(case), Vec::new());
    for event in &case.events {
        let Some(row) = event.key.as_ref().and_then(|key| known.get_mut(key)) else {
            continue;
        };
        joined.push([event.row(), vec![cell(row.0.as_ref()), Cell::Int(row.1)]].concat());
        *row = (event.value.clone(), event.n);
    }
    let known = known
        .iter()
        .map(|(id, (last, by))| vec![id.cell(), cell(last.as_ref()), Cell::Int(*by)]);
    vec![("joined", joined), ("known", sorted(known))]
}
