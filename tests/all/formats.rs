//! Payloads of other formats: those that other programs wrote, and what is wrong with bytes of strangers.

mod broken;
mod broken_lists;
mod compressed;

use serde::Deserialize;
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};
use weir::{
    definition::File,
    format::Decoder,
    model::{column::ColumnType, ids::InputId},
    plan::Plan,
};
use weir_tests::{replay::host, workspace};

/// A payload, and what it means.
#[derive(Deserialize)]
struct Case {
    payload: String,
    /// The columns as people read them; none where the payload is a dead letter.
    row: BTreeMap<String, Option<String>>,
}

/// What became of a payload.
#[derive(Debug, PartialEq)]
enum Outcome {
    Row(BTreeMap<String, Option<String>>),
    Empty,
    Dead(String),
}

fn plan(pipeline: &Path) -> Arc<Plan> {
    let file = File::read(pipeline).expect("the pipeline file can be read");
    Arc::new(Plan::build(&file, host()).unwrap_or_else(|error| panic!("{error}")))
}

/// Decodes payloads in one batch.
fn decode(plan: &Plan, payloads: &[Vec<u8>]) -> Vec<Outcome> {
    let mut decoder = Decoder::of(plan, 4096).expect("the columns are fine");
    for (sequence, payload) in (1..).zip(payloads) {
        decoder.push(sequence, Some(0), payload);
    }
    let batch = decoder.take();
    let mut outcomes: Vec<Outcome> = payloads.iter().map(|_| Outcome::Empty).collect();
    let place = |delivery: u32| batch.deliveries.sequence(delivery) as usize - 1;
    for rejected in &batch.rejected {
        outcomes[place(rejected.delivery)] = Outcome::Dead(rejected.reason.clone());
    }
    let input = plan.inputs.get(InputId::FIRST).expect("there is an input");
    let events = batch.of_input(InputId::FIRST);
    let held = input.columns.iter().filter(|column| column.materialised);
    let held: Vec<_> = held.zip(&events.columns).collect();
    assert_eq!(held.len(), events.columns.len());
    for (row, &delivery) in events.deliveries.iter().enumerate() {
        let cells = held.iter().map(|(column, values)| {
            let text = column.field.column_type.text(values.get(row));
            (column.field.name.clone(), text.map(std::borrow::Cow::into_owned))
        });
        outcomes[place(delivery)] = Outcome::Row(cells.collect());
    }
    let empty = outcomes.iter().filter(|outcome| **outcome == Outcome::Empty).count();
    assert_eq!(batch.empties.len(), empty);
    outcomes
}

#[test]
fn what_other_programs_wrote_comes_in_as_they_meant_it() {
    let folder = workspace().join("tests/fixtures/formats");
    for (name, rows, dead) in [
        ("avro", 3, 4),
        ("avro-framed", 2, 1),
        ("avro-lists", 4, 6),
        ("csv", 10, 0),
        ("protobuf", 5, 5),
        ("protobuf-framed", 1, 2),
        ("protobuf-lists", 14, 5),
    ] {
        let plan = plan(&folder.join(name).join("pipeline.toml"));
        let lines = fs::read_to_string(folder.join(name).join("payloads.jsonl")).expect("there are payloads");
        let cases = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line is a case"));
        let cases: Vec<Case> = cases.collect();
        let decoded = |case: &Case| {
            data_encoding::BASE64
                .decode(case.payload.as_bytes())
                .expect("it is base64")
        };
        let payloads: Vec<Vec<u8>> = cases.iter().map(decoded).collect();
        let outcomes = decode(&plan, &payloads);
        for (at, (case, outcome)) in cases.iter().zip(&outcomes).enumerate() {
            let what = format!("{name}, payload {}", at + 1);
            match outcome {
                Outcome::Row(row) => same(&what, &plan, row, &case.row),
                Outcome::Dead(reason) => assert!(case.row.is_empty(), "{what}: {reason}"),
                Outcome::Empty => panic!("{what} is empty"),
            }
        }
        let count = |is: fn(&&Outcome) -> bool| outcomes.iter().filter(is).count();
        let found = (
            count(|outcome| matches!(outcome, Outcome::Row(_))),
            count(|outcome| matches!(outcome, Outcome::Dead(_))),
        );
        assert_eq!(found, (rows, dead), "{name}: {outcomes:?}");
        cut(&plan, name, &payloads);
    }
}

/// Every beginning of a payload is a row, nothing, or a dead letter, as is every payload with a byte that is another.
fn cut(plan: &Plan, name: &str, payloads: &[Vec<u8>]) {
    for payload in payloads {
        let beginnings: Vec<Vec<u8>> = (0..payload.len()).map(|end| payload[..end].to_vec()).collect();
        for outcome in beginnings.chunks(4096).flat_map(|payloads| decode(plan, payloads)) {
            // A record or a value has an end; a message may end behind each of its fields.
            assert!(
                !name.starts_with("avro") || matches!(outcome, Outcome::Dead(_) | Outcome::Empty),
                "{name}: {outcome:?}"
            );
        }
        let changed = (0..payload.len()).flat_map(|at| {
            [0x00, 0x01, 0x7f, 0x80, 0xff].map(|byte| {
                let mut changed = payload.clone();
                changed[at] = byte;
                changed
            })
        });
        let changed: Vec<Vec<u8>> = changed.collect();
        for payloads in changed.chunks(4096) {
            decode(plan, payloads);
        }
    }
}

#[track_caller]
fn same(
    what: &str,
    plan: &Plan,
    found: &BTreeMap<String, Option<String>>,
    expected: &BTreeMap<String, Option<String>>,
) {
    assert!(!expected.is_empty(), "{what} is a row: {found:?}");
    let input = plan.inputs.get(InputId::FIRST).expect("there is an input");
    for column in &input.columns {
        let name = &column.field.name;
        let (found, expected) = (&found[name], &expected[name]);
        let is_same = match (column.field.column_type, found, expected) {
            (ColumnType::Double, Some(found), Some(expected)) => {
                found.parse::<f64>().expect("a double") == expected.parse::<f64>().expect("a double")
            }
            _ => found == expected,
        };
        assert!(
            is_same,
            "{what}, column {name}\n  expected {expected:?}\n  found    {found:?}"
        );
    }
}
