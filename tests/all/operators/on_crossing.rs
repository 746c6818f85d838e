//! Crossings against a plain model: all rows that there are, looked through again for every event.

use super::{
    Cuts, cuts,
    model::{self, Change, Changes, Row},
    run,
    timed::Mark,
    ttl::Touches,
};
use proptest::prelude::*;
use serde_json::json;
use std::slice;
use weir_tests::{
    seed::check_property,
    table::{Cell, Counts},
};

const CASES: u32 = 600;

/// What an event says: of which row, of which groups, whether it raises and whether it holds, and a number.
type Event = (u8, Option<u8>, Option<u8>, Option<bool>, Option<bool>, u8);

fn events(most: usize) -> impl Strategy<Value = Vec<Event>> {
    let some = |below: u8| prop::option::weighted(0.85, 0..below);
    let flag = || prop::option::weighted(0.85, any::<bool>());
    prop::collection::vec((0u8..5, some(2), some(2), flag(), flag(), 0u8..3), 0..most)
}

fn line(&(id, g, h, raise, hold, n): &Event) -> String {
    json!({ "id": id, "g": g, "h": h, "raise": raise, "hold": hold, "n": n }).to_string() + "\n"
}

fn row(&(id, g, h, raise, hold, n): &Event) -> Row {
    let int = |value: Option<u8>| value.map_or(Cell::Null, |value| Cell::Int(value.into()));
    let flag = |flag: Option<bool>| int(flag.map(u8::from));
    vec![int(Some(id)), int(g), int(h), flag(raise), flag(hold), int(Some(n))]
}

/// Where the operator finds its columns.
pub(crate) struct Columns {
    pub(crate) key: Vec<usize>,
    pub(crate) raise: Option<usize>,
    pub(crate) hold: Option<usize>,
}

impl Columns {
    fn key_of(&self, row: &Row) -> Row {
        model::pick(row, &self.key)
    }

    fn raises(&self, row: &Row) -> bool {
        self.raise.is_none_or(|column| row[column] == Cell::Int(1))
    }

    fn holds(&self, row: &Row) -> bool {
        self.raises(row) || self.hold.is_some_and(|column| row[column] == Cell::Int(1))
    }
}

/// After how long without a row a key is forgotten; whether also one that is held and was never raised is touched by a row;
/// and where event time is.
pub(crate) type Silence<'a> = Option<(i64, bool, &'a [Mark])>;

/// The rows that raised a key, and those that cleared one.
pub(crate) fn crossings(input: &Changes, columns: &Columns, silence: Silence<'_>) -> [Vec<Row>; 2] {
    let mut touches = Touches::default();
    let (mut rows, mut raised): (Vec<Row>, Vec<Row>) = (Vec::new(), Vec::new());
    let [mut out, mut cleared] = [Vec::new(), Vec::new()];
    for (at, changes) in input.iter().enumerate() {
        // Each row that went or came, in order.
        let mut moves: Vec<(bool, &Row)> = Vec::new();
        for change in changes {
            match change {
                Change::Insert(new) => moves.push((true, new)),
                Change::Update(old, new) => moves.extend([(false, old), (true, new)]),
                Change::Delete(old) => moves.push((false, old)),
            }
        }
        for &(comes, row) in &moves {
            match comes {
                true => rows.push(row.clone()),
                false => {
                    let at = rows.iter().position(|known| known == row);
                    rows.remove(at.expect("what goes was there"));
                }
            }
        }
        let mut keys: Vec<Row> = moves.iter().map(|(_, row)| columns.key_of(row)).collect();
        let mut seen = Vec::new();
        keys.retain(|key| {
            !seen.contains(key) && {
                seen.push(key.clone());
                true
            }
        });
        for key in keys {
            let touched = key.clone();
            let of_key: Vec<&Row> = rows.iter().filter(|row| columns.key_of(row) == key).collect();
            let was = raised.contains(&key);
            let is = of_key.iter().any(|row| columns.raises(row)) || was && of_key.iter().any(|row| columns.holds(row));
            let mut of_key = moves.iter().rev().filter(|(_, row)| columns.key_of(row) == key);
            match (was, is) {
                (false, true) => {
                    let raised_by = of_key.find(|(comes, row)| *comes && columns.raises(row) && rows.contains(row));
                    out.push(raised_by.expect("some row raised it").1.clone());
                    raised.push(key);
                }
                (true, false) => {
                    cleared.push(of_key.next().expect("some row cleared it").1.clone());
                    raised.retain(|known| *known != key);
                }
                _ => {}
            }
            if let Some((_, if_held, marks)) = silence {
                let is_held = rows
                    .iter()
                    .any(|row| columns.key_of(row) == touched && columns.holds(row));
                touches.touch(&touched, is || if_held && is_held, marks[at]);
            }
        }
        if let Some((ttl_ms, _, marks)) = silence {
            let gone = touches.take_due(ttl_ms, marks[at]);
            raised.retain(|key| !gone.contains(key));
        }
    }
    [out, cleared]
}

/// As the operator sees rows that stand for themselves: each takes the place of the last one of its key.
pub(crate) fn replacing(events: &[Row], key: &[usize]) -> Changes {
    let mut rows: Vec<Row> = Vec::new();
    let mut replace = |row: &Row| {
        let same = |known: &Row| model::pick(known, key) == model::pick(row, key);
        match rows.iter_mut().find(|known| same(known)) {
            Some(known) => Change::Update(std::mem::replace(known, row.clone()), row.clone()),
            None => {
                rows.push(row.clone());
                Change::Insert(row.clone())
            }
        }
    };
    events.iter().map(|row| vec![replace(row)]).collect()
}

const SOURCE: &str = r#"
name = "p"
source = { stream = "S", subject = "s", columns = { id = "int", g = "int", h = "int", raise = "boolean", hold = "boolean", n = "int" } }
"#;

const SINKS: &str = r#"
[[sink]]
from = "alerts"
table = "raised"

[[sink]]
from = "alerts.cleared"
table = "cleared"
"#;

#[track_caller]
fn check(steps: &str, input: &Changes, columns: &Columns, events: &[Event], cuts: &Cuts) {
    let pipeline = format!("{SOURCE}{steps}{SINKS}");
    let lines: String = events.iter().map(line).collect();
    let contents = run(&pipeline, &lines, cuts);
    let [raised, cleared] = crossings(input, columns, None);
    assert_eq!(contents.tables["raised"].rows, raised, "raised: found, and expected");
    assert_eq!(contents.tables["cleared"].rows, cleared, "cleared: found, and expected");
    let count = events.len() as u64;
    let counts = Counts {
        events: count,
        applied: count,
        ..Counts::default()
    };
    assert_eq!(contents.counts, counts);
}

#[test]
fn rows_that_stand_for_themselves_cross_as_the_model_says() {
    check_property(CASES, &(events(40), any::<bool>(), cuts()), |(events, holds, cuts)| {
        let hold = if *holds { ", hold = \"hold\"" } else { "" };
        let steps =
            format!("[[step]]\nname = \"alerts\"\non_crossing = {{ key = [\"g\", \"h\"], raise = \"raise\"{hold} }}\n");
        let rows: Vec<Row> = events.iter().map(row).collect();
        let columns = Columns {
            key: vec![1, 2],
            raise: Some(3),
            hold: holds.then_some(4),
        };
        check(&steps, &replacing(&rows, &[1, 2]), &columns, events, cuts);
    });
}

/// The rows of a changelog, told apart by `id`; a key has several of them.
#[test]
fn rows_of_a_changelog_cross_as_the_model_says() {
    const STEPS: &str = r#"
        [[step]]
        name = "rows"
        last_value = { key = ["id"], columns = ["g", "h", "raise", "hold", "n"] }
        [[step]]
        name = "alerts"
        on_crossing = { KEY raise = "raise", hold = "hold" }
    "#;
    let keys = [("", vec![0]), ("key = [],", vec![]), ("key = [\"g\"],", vec![1])];
    check_property(
        CASES,
        &(events(40), prop::sample::select(keys.to_vec()), cuts()),
        |(events, (words, key), cuts)| {
            let rows: Vec<Row> = events.iter().map(row).collect();
            let changes = model::last_value(&model::source(&rows), &[0], &[1, 2, 3, 4, 5]);
            let columns = Columns {
                key: key.clone(),
                raise: Some(3),
                hold: Some(4),
            };
            check(&STEPS.replace("KEY", words), &changes, &columns, events, cuts);
        },
    );
}

/// Groups come and go; an event that moves a row changes two of them.
#[test]
fn groups_that_come_and_go_cross_as_the_model_says() {
    const STEPS: &str = r#"
        [[step]]
        name = "rows"
        last_value = { key = ["id"], columns = ["g", "h", "raise", "hold"] }
        [[step]]
        name = "groups"
        [step.aggregate]
        group_by = ["g", "h"]
        columns = { raise = { max = "raise" }, hold = { max = "hold" }, rows = { count = "*" } }
        [[step]]
        name = "alerts"
        on_crossing = { ALERTS }
    "#;
    let alerts = [
        ("", vec![0, 1], None, None),
        ("key = [\"g\"]", vec![0], None, None),
        ("raise = \"raise\"", vec![0, 1], Some(2), None),
        ("raise = \"raise\", hold = \"hold\"", vec![0, 1], Some(2), Some(3)),
        (
            "key = [\"h\"], raise = \"raise\", hold = \"hold\"",
            vec![1],
            Some(2),
            Some(3),
        ),
        ("key = [\"h\", \"raise\"], raise = \"hold\"", vec![1, 2], Some(3), None),
    ];
    check_property(
        CASES,
        &(events(40), prop::sample::select(alerts.to_vec()), cuts()),
        |(events, (words, key, raise, hold), cuts)| {
            let rows: Vec<Row> = events.iter().map(row).collect();
            let latest = model::last_value(&model::source(&rows), &[0], &[1, 2, 3, 4]);
            let of = |function, column| model::Aggregate {
                function,
                column,
                coalesce: None,
                decimal: None,
            };
            let aggregates = [of("max", Some(3)), of("max", Some(4)), of("count", None)];
            let groups = model::aggregate(&latest, &[1, 2], &aggregates);
            let columns = Columns {
                key: key.clone(),
                raise: *raise,
                hold: *hold,
            };
            check(&STEPS.replace("ALERTS", words), &groups, &columns, events, cuts);
        },
    );
}

/// The first thing that anybody would try.
#[test]
fn an_alert_goes_out_once_per_crossing() {
    let pipeline = format!(
        "{SOURCE}[[step]]\nname = \"alerts\"\non_crossing = {{ key = [\"g\"], raise = \"raise\", hold = \"hold\" }}\n{SINKS}"
    );
    let steps = [
        (false, true, 1), // Between the thresholds, and never raised.
        (true, true, 2),
        (true, true, 3),
        (false, true, 4),
        (true, true, 5),
        (false, false, 6),
        (false, true, 7),
        (true, false, 8),
    ];
    let lines = steps
        .iter()
        .map(|&(raise, hold, n)| line(&(0, Some(0), None, Some(raise), Some(hold), n)));
    let contents = run(&pipeline, &lines.collect::<String>(), &(vec![3], vec![4]));
    let numbers = |table: &str| -> Vec<Cell> {
        let rows = contents.tables[table].rows.iter();
        rows.flat_map(|row| slice::from_ref(&row[5]).to_vec()).collect()
    };
    assert_eq!(numbers("raised"), [Cell::Int(2), Cell::Int(8)]);
    assert_eq!(numbers("cleared"), [Cell::Int(6)]);
}
