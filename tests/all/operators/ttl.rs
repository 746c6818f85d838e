//! Keys that are forgotten, against plain models that look at all of them after every event.

use super::{
    Cuts, cuts,
    model::{self, Change, Changes, Row},
    on_crossing::{Columns, crossings},
    run,
    timed::{Mark, marks, times},
};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use weir_tests::{
    seed::check_property,
    table::{Cell, Contents, Counts},
};

const CASES: u32 = 400;

const TTL_MS: i64 = 15;

/// Of which row, of which group, with which value, and whether it raises and whether it holds.
type Event = (Option<u8>, Option<u8>, Option<i8>, Option<bool>, Option<bool>);

/// When events happened, and what they say.
type Events = (Vec<i64>, Vec<Event>);

fn events() -> impl Strategy<Value = Events> {
    let some = |below: u8| prop::option::weighted(0.85, 0..below);
    let flag = || prop::option::weighted(0.85, any::<bool>());
    let event = (some(3), some(2), prop::option::weighted(0.8, -2i8..3), flag(), flag());
    (times(60), prop::collection::vec(event, 60))
}

fn rows((times, events): &Events) -> Vec<Row> {
    let int = |value: Option<i64>| value.map_or(Cell::Null, Cell::Int);
    let row = |&(id, g, x, raise, hold): &Event| {
        let [raise, hold] = [raise, hold].map(|flag| flag.map(i64::from));
        [id.map(i64::from), g.map(i64::from), x.map(i64::from), raise, hold]
            .map(int)
            .to_vec()
    };
    times.iter().zip(events).map(|(_, event)| row(event)).collect()
}

fn run_events(steps: &str, events: &Events, cuts: &Cuts) -> Contents {
    const SOURCE: &str = r#"
        name = "p"
        event_time = { column = "t", out_of_orderness = "7 ms" }
        [source]
        stream = "S"
        subject = "s"
        columns = { t = "int", id = "int", g = "int", x = "int", raise = "boolean", hold = "boolean" }
    "#;
    let line = |(t, (id, g, x, raise, hold)): (&i64, &Event)| {
        json!({ "t": t, "id": id, "g": g, "x": x, "raise": raise, "hold": hold }).to_string() + "\n"
    };
    let lines: String = events.0.iter().zip(&events.1).map(line).collect();
    let contents = run(&format!("{SOURCE}{steps}"), &lines, cuts);
    let count = events.0.len() as u64;
    let counts = Counts {
        events: count,
        applied: count,
        ..Counts::default()
    };
    assert_eq!(contents.counts, counts);
    contents
}

#[track_caller]
fn check_table(contents: &Contents, table: &str, mut expected: Vec<Row>) {
    expected.sort();
    assert_eq!(
        contents.tables[table].rows, expected,
        "table {table}: found, and expected"
    );
}

/// Checks the rows that came and went, in order.
#[track_caller]
fn check_comings(contents: &Contents, changes: &Changes, key: usize) {
    let columns = Columns {
        key: (0..key).collect(),
        raise: None,
        hold: None,
    };
    let [came, went] = crossings(changes, &columns, None);
    assert_eq!(
        contents.tables["came"].rows, came,
        "rows that came: found, and expected"
    );
    assert_eq!(
        contents.tables["went"].rows, went,
        "rows that went: found, and expected"
    );
}

/// Keys with when they were touched.
#[derive(Default)]
pub(crate) struct Touches(BTreeMap<Row, i64>);

impl Touches {
    /// A key was touched, of which something is kept or not.
    pub(crate) fn touch(&mut self, key: &Row, is_kept: bool, mark: Mark) {
        match is_kept {
            true => {
                let touch_ms = self.0.entry(key.clone()).or_insert(i64::MIN);
                *touch_ms = mark.touch_ms().max(*touch_ms);
            }
            false => _ = self.0.remove(key),
        }
    }

    /// The keys that go after an event, in order.
    pub(crate) fn take_due(&mut self, ttl_ms: i64, mark: Mark) -> Vec<Row> {
        let is_due = |touch_ms: i64| touch_ms + ttl_ms <= mark.after_ms;
        let due = self.0.iter().filter(|(_, touch_ms)| is_due(**touch_ms));
        let mut due: Vec<(i64, Row)> = due.map(|(key, touch_ms)| (*touch_ms, key.clone())).collect();
        due.sort();
        self.0.retain(|_, touch_ms| !is_due(*touch_ms));
        due.into_iter().map(|(_, key)| key).collect()
    }
}

// ---- last_value ---------------------------------------------------------------------------------------------------------

/// Per key and column the last value that was not null, of rows by the first `key` columns.
fn last_value(rows: &[Row], marks: &[Mark], key: usize) -> Changes {
    let mut kept: Vec<Row> = Vec::new();
    let mut touches = Touches::default();
    let event = |(row, &mark): (&Row, &Mark)| {
        let of_key = row[..key].to_vec();
        touches.touch(&of_key, true, mark);
        let mut changes = Vec::new();
        match kept.iter_mut().find(|known| known.starts_with(&of_key)) {
            None => {
                kept.push(row.clone());
                changes.push(Change::Insert(row.clone()));
            }
            Some(known) => {
                let before = known.clone();
                let newer = known.iter_mut().zip(row).filter(|(_, cell)| **cell != Cell::Null);
                newer.for_each(|(known, cell)| known.clone_from(cell));
                if *known != before {
                    changes.push(Change::Update(before, known.clone()));
                }
            }
        }
        for gone in touches.take_due(TTL_MS, mark) {
            let at = kept.iter().position(|known| known.starts_with(&gone));
            changes.push(Change::Delete(kept.remove(at.expect("it is kept"))));
        }
        changes
    };
    rows.iter().zip(marks).map(event).collect()
}

/// The table is also read by groups, from which rows go when their keys are forgotten.
#[test]
fn a_last_value_is_deleted_when_its_key_is_forgotten() {
    const STEPS: &str = r#"
        [[step]]
        name = "latest"
        last_value = { key = ["id", "g"], columns = ["x", "raise", "hold"], ttl = "15 ms" }
        [[step]]
        name = "groups"
        aggregate = { group_by = ["g"], columns = { rows = { count = "*" }, total = { sum = "x" }, most = { max = "x" } } }
        [[step]]
        name = "comings"
        from = "latest"
        on_crossing = {}
        [[sink]]
        from = "latest"
        table = "latest"
        primary_key = ["id", "g"]
        [[sink]]
        from = "groups"
        table = "groups"
        primary_key = ["g"]
        [[sink]]
        table = "came"
        [[sink]]
        from = "comings.cleared"
        table = "went"
    "#;
    check_property(CASES, &(events(), cuts()), |(events, cuts)| {
        let contents = run_events(STEPS, events, cuts);
        let changes = last_value(&rows(events), &marks(&events.0), 2);
        check_table(&contents, "latest", model::table(&changes, &[0, 1], &[0, 1]));
        check_comings(&contents, &changes, 2);
        let of = |function, column| model::Aggregate {
            function,
            column,
            coalesce: None,
            decimal: None,
        };
        let groups = model::aggregate(
            &changes,
            &[1],
            &[of("count", None), of("sum", Some(2)), of("max", Some(2))],
        );
        check_table(&contents, "groups", model::table(&groups, &[0], &[0]));
    });
}

/// Nobody wants to know what changed in between.
#[test]
fn a_last_value_of_which_only_the_table_is_read_is_deleted_too() {
    const STEPS: &str = r#"
        [[step]]
        name = "latest"
        last_value = { key = ["id"], ttl = "15 ms", columns = ["x"] }
        [[sink]]
        table = "latest"
        primary_key = ["id"]
    "#;
    check_property(CASES, &(events(), cuts()), |(events, cuts)| {
        let contents = run_events(STEPS, events, cuts);
        let rows: Vec<Row> = rows(events).iter().map(|row| model::pick(row, &[0, 2])).collect();
        let changes = last_value(&rows, &marks(&events.0), 1);
        check_table(&contents, "latest", model::table(&changes, &[0], &[0]));
    });
}

// ---- aggregate ----------------------------------------------------------------------------------------------------------

/// A group of rows by their column 1, with its values of column 2.
#[derive(Clone, Debug, Default)]
struct Group {
    rows: u64,
    /// How many values the sum is of.
    count: u64,
    sum: i64,
    /// How many rows have each value.
    values: BTreeMap<i64, u64>,
}

impl Group {
    /// A row comes or goes. What is not there does not go.
    fn count(&mut self, row: &Row, comes: bool) {
        let step = |count: &mut u64| *count = if comes { *count + 1 } else { count.saturating_sub(1) };
        step(&mut self.rows);
        let Cell::Int(x) = row[2] else { return };
        if comes || self.count > 0 {
            self.sum += if comes { x } else { -x };
            step(&mut self.count);
        }
        step(self.values.entry(x).or_default());
        self.values.retain(|_, rows| *rows > 0);
    }

    fn result(&self, key: &Row) -> Row {
        let most = self.values.last_key_value().map_or(Cell::Null, |(x, _)| Cell::Int(*x));
        let sum = if self.count == 0 {
            Cell::Null
        } else {
            Cell::Int(self.sum)
        };
        let count = |count: u64| Cell::Int(count as i64);
        [
            key[0].clone(),
            count(self.rows),
            sum,
            count(self.values.len() as u64),
            most,
        ]
        .to_vec()
    }
}

/// Groups by column 1 over a changelog.
fn groups(input: &Changes, marks: &[Mark]) -> Changes {
    let mut groups: BTreeMap<Row, Group> = BTreeMap::new();
    let mut touches = Touches::default();
    let mut told = Vec::new();
    for (changes, &mark) in input.iter().zip(marks) {
        let before = groups.clone();
        let mut touched: Vec<Row> = Vec::new();
        let moves = changes.iter().flat_map(|change| match change {
            Change::Insert(new) => vec![(true, new)],
            Change::Update(old, new) => vec![(false, old), (true, new)],
            Change::Delete(old) => vec![(false, old)],
        });
        for (comes, row) in moves {
            let key = vec![row[1].clone()];
            if comes || groups.contains_key(&key) {
                groups.entry(key.clone()).or_default().count(row, comes);
            }
            groups.retain(|_, group| group.rows > 0);
            if !touched.contains(&key) {
                touched.push(key);
            }
        }
        let result = |groups: &BTreeMap<Row, Group>, key: &Row| groups.get(key).map(|group| group.result(key));
        let mut changes: Vec<Change> = Vec::new();
        for key in touched {
            touches.touch(&key, groups.contains_key(&key), mark);
            match (result(&before, &key), result(&groups, &key)) {
                (None, Some(after)) => changes.push(Change::Insert(after)),
                (Some(before), None) => changes.push(Change::Delete(before)),
                (Some(before), Some(after)) if before != after => changes.push(Change::Update(before, after)),
                _ => {}
            }
        }
        for key in touches.take_due(TTL_MS, mark) {
            let gone = groups.remove(&key).expect("it is there");
            changes.push(Change::Delete(gone.result(&key)));
        }
        told.push(changes);
    }
    told
}

const GROUPS: &str = r#"
    [[step]]
    name = "groups"
    [step.aggregate]
    group_by = ["g"]
    ttl = "15 ms"
    [step.aggregate.columns]
    rows = { count = "*" }
    total = { sum = "x" }
    values = { count_distinct = "x" }
    most = { max = "x" }
    [[sink]]
    table = "groups"
    primary_key = ["g"]
"#;

/// With these, each change is wanted.
const COMINGS: &str = r#"
    [[step]]
    name = "comings"
    from = "groups"
    on_crossing = {}
    [[sink]]
    from = "comings"
    table = "came"
    [[sink]]
    from = "comings.cleared"
    table = "went"
"#;

#[test]
fn a_group_is_deleted_when_it_is_forgotten() {
    let latest = "[[step]]\nname = \"latest\"\nlast_value = { key = [\"id\"], columns = [\"g\", \"x\"] }\n";
    check_property(
        2 * CASES,
        &(events(), any::<bool>(), any::<bool>(), cuts()),
        |(events, of_changelog, each_change, cuts)| {
            let latest = if *of_changelog { latest } else { "" };
            // A sink that says nothing reads the last step.
            let groups_first = GROUPS.replace("[[sink]]", "[[sink]]\nfrom = \"groups\"");
            let comings = if *each_change { COMINGS } else { "" };
            let (step, sink) = groups_first.split_once("[[sink]]").expect("there is a sink");
            let (step_after, sinks_after) = comings.split_once("[[sink]]").unwrap_or_default();
            let sinks_after = if *each_change {
                format!("[[sink]]{sinks_after}")
            } else {
                String::new()
            };
            let steps = format!("{latest}{step}{step_after}[[sink]]{sink}{sinks_after}");
            let contents = run_events(&steps, events, cuts);

            let rows = rows(events);
            let changes = match of_changelog {
                true => model::last_value(&model::source(&rows), &[0], &[1, 2]),
                false => model::source(&rows),
            };
            let groups = groups(&changes, &marks(&events.0));
            check_table(&contents, "groups", model::table(&groups, &[0], &[0]));
            if *each_change {
                check_comings(&contents, &groups, 1);
            }
        },
    );
}

// ---- on_crossing --------------------------------------------------------------------------------------------------------

#[test]
fn a_key_that_falls_silent_is_raised_anew() {
    const STEPS: &str = r#"
        LATEST
        [[step]]
        name = "alerts"
        on_crossing = { key = ["id"], raise = "raise", hold = "hold", ttl = "15 ms" }
        [[sink]]
        table = "raised"
        columns = ["id", "g", "x", "raise", "hold"]
        [[sink]]
        from = "alerts.cleared"
        table = "cleared"
        columns = ["id", "g", "x", "raise", "hold"]
    "#;
    let latest =
        "[[step]]\nname = \"latest\"\nlast_value = { key = [\"id\"], columns = [\"g\", \"x\", \"raise\", \"hold\"] }";
    check_property(
        2 * CASES,
        &(events(), any::<bool>(), cuts()),
        |(events, of_changelog, cuts)| {
            let steps = STEPS.replace("LATEST", if *of_changelog { latest } else { "" });
            let contents = run_events(&steps, events, cuts);
            let columns = Columns {
                key: vec![0],
                raise: Some(3),
                hold: Some(4),
            };
            let rows = rows(events);
            let changes = match of_changelog {
                true => model::last_value(&model::source(&rows), &[0], &[1, 2, 3, 4]),
                false => super::on_crossing::replacing(&rows, &[0]),
            };
            let marks = marks(&events.0);
            let [raised, cleared] = crossings(&changes, &columns, Some((TTL_MS, *of_changelog, &marks)));
            assert_eq!(contents.tables["raised"].rows, raised, "raised: found, and expected");
            assert_eq!(contents.tables["cleared"].rows, cleared, "cleared: found, and expected");
        },
    );
}
