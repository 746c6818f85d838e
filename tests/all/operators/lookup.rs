//! Lookups against a plain model: a list of rows that every event searches, and sets where the pipeline updates it.

use super::{Cuts, cuts};
use proptest::prelude::*;
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};
use weir::{
    definition::File,
    model::{
        batch::Batch,
        column::{Column, Value},
    },
    operator::lookup::Table,
    plan::Plan,
};
use weir_tests::{
    oracle::is_decimal,
    pipeline,
    replay::{Run, host},
    seed::check_property,
    table::{Cell, Counts, contents, query},
};

const CASES: u32 = 200;

const IDS: [Option<i64>; 6] = [None, Some(0), Some(1), Some(-1), Some(i64::MIN), Some(i64::MAX)];
const TEXTS: [Option<&str>; 6] = [None, Some(""), Some("a"), Some("a\0"), Some("\0"), Some("保单")];

/// A key, and what stands under it.
type Entry = (Option<i64>, Option<&'static str>, Option<&'static str>);

fn entries(most: usize) -> impl Strategy<Value = Vec<Entry>> {
    let texts = || prop::sample::select(TEXTS.to_vec());
    prop::collection::vec((prop::sample::select(IDS.to_vec()), texts(), texts()), 0..most)
}

// ---- a table by two columns --------------------------------------------------------------------------------------------

/// The event's note is set in the table where `update` is true, and does not reach the table where it is false.
fn by_two_columns(update: bool) -> String {
    let update = if update { "update_from = \"join\"" } else { "" };
    format!(
        r#"
        name = "lookup"
        [source]
        stream = "S"
        subject = "s"
        columns = {{ id = "int", code = "text", note = "text" }}
        [table.dim]
        primary_key = ["code", "id"]
        columns = {{ id = "int", note = "text", code = "text", rate = "double" }}
        {update}
        [[step]]
        name = "join"
        lookup = {{ table = "dim", on = {{ id = "id", code = "code" }}, columns = ["rate"] }}
        [[sink]]
        table = "joined"
        columns = ["rate", "id", "code", "note"]
        "#
    )
}

#[test]
fn events_meet_the_row_of_their_key_and_set_it() {
    check_property(
        CASES,
        &(entries(8), entries(40), any::<bool>(), cuts()),
        |(rows, events, update, (batches, stops))| {
            let plan = Arc::new(Plan::build(&File::from_text("p.toml", by_two_columns(*update)), host()).unwrap());
            let line = |(id, code, note): &Entry, rate: f64| {
                json!({ "id": id, "code": code, "note": note, "rate": rate }).to_string() + "\n"
            };
            let rates = [0.5, -1e300, 5e-324, 85.0, 0.1, 1e16, -3.0, 7.0];
            // A key of the table has no nulls.
            let rows: Vec<(&Entry, f64)> = rows
                .iter()
                .zip(rates)
                .filter(|((id, code, _), _)| id.is_some() && code.is_some())
                .collect();
            let lookup_rows: String = rows.iter().map(|(row, rate)| line(row, *rate)).collect();
            let input: String = events.iter().map(|event| line(event, 0.0)).collect();
            let run = Run {
                plan: &plan,
                lookup_rows: lookup_rows.as_bytes(),
                input: input.as_bytes(),
                batches,
                stops,
            };
            let contents = run.contents();

            let mut table = BTreeMap::new();
            for ((id, code, note), rate) in rows {
                table.insert((*code, *id), (*note, rate));
            }
            let mut joined = Vec::new();
            for (id, code, note) in events {
                if let Some((noted, rate)) = table.get_mut(&(*code, *id)) {
                    joined.push(vec![Cell::Double(*rate), int(*id), text(*code), text(*note)]);
                    if *update {
                        *noted = *note;
                    }
                }
            }
            let mut expected: Vec<_> = table
                .into_iter()
                .map(|((code, id), (note, rate))| vec![text(code), int(id), text(note), Cell::Double(rate)])
                .collect();
            expected.sort();
            let applied = joined.len() as u64;
            let counts = Counts {
                events: events.len() as u64,
                applied,
                filtered: events.len() as u64 - applied,
                ..Counts::default()
            };
            assert_eq!(contents.tables["joined"].rows, joined);
            assert_eq!(contents.tables["dim"].columns, ["code", "id", "note", "rate"]);
            assert_eq!(contents.tables["dim"].rows, expected);
            assert_eq!(contents.counts, counts);
        },
    );
}

#[test]
fn a_row_reads_the_same_before_and_after_a_restart() {
    let plan = Plan::build(&File::from_text("p.toml", by_two_columns(false)), host()).unwrap();
    let values = [Value::Text(b"a"), Value::Int(1), Value::Null, Value::Double(-0.0)];
    let columns = values
        .iter()
        .zip(&plan.tables.as_slice()[0].columns)
        .map(|(value, column)| {
            let mut cells = Column::with_capacity(column.field.column_type, 1);
            cells.push(*value);
            Arc::new(cells)
        });
    let batch = Batch {
        columns: columns.collect(),
        deliveries: vec![0],
        kinds: None,
        lineage: None,
    };
    let mut before = Table::new(plan.tables.as_slice()[0].clone(), 1);
    before.set(&batch, &[0, 1, 2, 3]);
    let mut after = Table::new(plan.tables.as_slice()[0].clone(), 1);
    // As SQLite gives it back: it keeps one zero.
    after.restore([Value::Text(b"a"), Value::Int(1), Value::Null, Value::Double(0.0)].into_iter());
    let rows = |table: &mut Table| {
        table
            .rows()
            .iter()
            .map(|(key, row)| (key.to_vec(), row.to_vec()))
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(&mut before), rows(&mut after));
}

// ---- scenario 2: each event sees what the one before it wrote ----------------------------------------------------------

const PREMIUMS: [Option<&str>; 17] = [
    None,
    Some("100"),
    Some("85"),
    Some("85.0"),
    Some("84.99999999999999"),
    Some(" 80 "),
    Some("-100"),
    Some("+1.5E2"),
    Some(".5"),
    Some("7."),
    Some("0"),
    Some("-0.0"),
    Some("1e308"),
    Some("1e999"),
    Some(""),
    Some("12,5"),
    Some("NaN"),
];

#[derive(Clone, Debug)]
struct Trace {
    id: Option<i64>,
    event: Option<&'static str>,
    now_premium: Option<&'static str>,
    now_info: Option<&'static str>,
}

#[test]
fn a_premium_is_compared_with_the_one_before_it() {
    let ids = || prop::sample::select(IDS[..4].to_vec());
    let premiums = || prop::sample::select(PREMIUMS.to_vec());
    let events = prop::sample::select(vec![None, Some("save_success"), Some("save_fail")]);
    let infos = prop::sample::select(TEXTS.to_vec());
    let trace = (ids(), events, premiums(), infos).prop_map(|(id, event, now_premium, now_info)| Trace {
        id,
        event,
        now_premium,
        now_info,
    });
    let start = prop::collection::btree_map(ids(), premiums(), 0..4);
    let values = (start, prop::collection::vec(trace, 0..40), any::<bool>(), cuts());
    check_property(CASES, &values, |(start, traces, saved_only, cuts)| {
        check_premiums(start, traces, *saved_only, cuts)
    });
}

fn check_premiums(
    start: &BTreeMap<Option<i64>, Option<&str>>,
    traces: &[Trace],
    saved_only: bool,
    (batches, stops): &Cuts,
) {
    let path = pipeline("premium-drop");
    let mut toml = std::fs::read_to_string(&path).unwrap();
    if saved_only {
        assert!(toml.contains("events = []"), "the scenario keeps all events");
        toml = toml.replace("events = []", "events = [\"save_success\"]");
    }
    let plan = Arc::new(Plan::build(&File::from_text(path, toml), host()).unwrap());
    let is_wrong = |premium: Option<&str>| premium.is_some_and(|premium| !is_decimal(premium));
    let start: BTreeMap<_, _> = start
        .iter()
        .filter(|(id, premium)| id.is_some() && !is_wrong(**premium))
        .collect();
    let row = |(id, premium): (&&Option<i64>, &&Option<&str>)| {
        json!({ "id": id, "raw_premium": premium, "raw_info": "start" }).to_string() + "\n"
    };
    let lookup_rows: String = start.iter().map(row).collect();
    let line = |trace: &Trace| {
        let Trace {
            id,
            event,
            now_premium,
            now_info,
        } = trace;
        json!({ "id": id, "event": event, "now_premium": now_premium, "now_info": now_info }).to_string() + "\n"
    };
    let input: String = traces.iter().map(line).collect();
    let folder = weir_tests::scratch();
    let database = folder.path().join("premiums.db");
    Run {
        plan: &plan,
        lookup_rows: lookup_rows.as_bytes(),
        input: input.as_bytes(),
        batches,
        stops,
    }
    .into_database(&database);
    let contents = contents(&database);

    let mut raw: BTreeMap<i64, (Option<&str>, Option<&str>)> = start
        .into_iter()
        .filter_map(|(id, premium)| Some(((*id)?, (*premium, Some("start")))))
        .collect();
    let (mut alerts, mut messages, mut dead_letters) = (BTreeMap::new(), Vec::new(), Vec::new());
    let mut counts = Counts {
        events: traces.len() as u64,
        ..Counts::default()
    };
    let number = |premium: Option<&str>| premium.map(|premium| premium.trim_matches(' ').parse::<f64>().unwrap());
    for (sequence, trace) in (1u64..).zip(traces) {
        let Trace {
            id,
            event,
            now_premium,
            now_info,
        } = trace;
        if is_wrong(*now_premium) {
            dead_letters.push(sequence);
            counts.dead_letters += 1;
            continue;
        }
        let is_kept = !saved_only || *event == Some("save_success");
        let Some((id, (raw_premium, raw_info))) = id.filter(|_| is_kept).and_then(|id| Some((id, raw.get_mut(&id)?)))
        else {
            counts.filtered += 1;
            continue;
        };
        counts.applied += 1;
        if number(*now_premium)
            .zip(number(*raw_premium))
            .is_some_and(|(now, raw)| now < raw * 0.85)
        {
            let row = vec![
                Cell::Int(id),
                text(*raw_info),
                text(*now_info),
                text(*raw_premium),
                text(*now_premium),
            ];
            let values: Vec<String> = row.iter().map(|cell| cell.to_json().to_string()).collect();
            let [id_value, raw_info, now_info, raw_premium, now_premium] = &values[..] else {
                unreachable!()
            };
            messages.push(format!(
                "{{\"id\":{id_value},\"raw_info\":{raw_info},\"now_info\":{now_info},\
                 \"raw_premium\":{raw_premium},\"now_premium\":{now_premium}}}"
            ));
            alerts.insert(id, row);
        }
        (*raw_premium, *raw_info) = (*now_premium, *now_info);
    }
    let raw: Vec<_> = raw
        .into_iter()
        .map(|(id, (premium, info))| vec![Cell::Int(id), text(premium), text(info)])
        .collect();
    assert_eq!(contents.tables["raw_info"].rows, raw);
    assert_eq!(
        contents.tables["wechat_activity_user"].rows,
        alerts.into_values().collect::<Vec<_>>()
    );
    assert_eq!(
        contents
            .dead_letters
            .iter()
            .map(|letter| letter.sequence)
            .collect::<Vec<_>>(),
        dead_letters
    );
    assert_eq!(contents.counts, counts);
    assert_eq!(
        query(&database, "SELECT payload FROM weir_outbox ORDER BY id"),
        messages
    );
}

fn int(value: Option<i64>) -> Cell {
    value.map_or(Cell::Null, Cell::Int)
}

fn text(value: Option<&str>) -> Cell {
    value.map_or(Cell::Null, |text| Cell::Text(text.to_owned()))
}
