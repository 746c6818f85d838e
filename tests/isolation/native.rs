//! The rules of the scenarios as guests and as native code: the same answers to the same columns, in every field.

use std::path::Path;
use weir::{
    definition::StageLimits,
    model::{
        column::{Column, ColumnType, TextValues, Value, Values},
        guest::{Accumulate, Answer, InputColumn, InputType, OutputRows, ParameterValue, RejectedRow},
    },
    wasm::{AggregateInstance, Instance},
};
use weir_guest::{Aggregate, Stage, abi};
use weir_tests::{
    guest,
    replay::{GOLDEN_NOW_MS, host},
    seed::{Random, with_seed},
};

/// Rows of a batch: every size at which something begins or ends, and one over the most that the host gives.
const ROWS: [usize; 6] = [1, 2, 7, 64, 1000, 4097];

/// What texts are made of: numbers in every spelling, near misses, names that rules know, and characters of every length.
const TEXTS: [&str; 24] = [
    "",
    " ",
    "0",
    "-0",
    "1",
    "84.99999999999999",
    "85",
    "100",
    " 1e2 ",
    "+.5",
    "1.",
    "-1.5E3",
    "1e308",
    "1e309",
    "nan",
    "inf",
    "12,5",
    "\u{a0}1",
    "１",
    "save_success",
    "save_fail",
    "U00000001",
    "保单🦀",
    "\0",
];

#[test]
fn hourly_orders_is_the_same_rule_natively() {
    for zone in ["Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "UTC"] {
        check::<hourly_orders::Rule>("hourly-orders", &[("zone", ParameterValue::Text(zone.to_owned()))]);
    }
}

#[test]
fn saved_orders_is_the_same_rule_natively() {
    for events in [&[][..], &["save_success"], &["", "保单🦀"]] {
        let events = events.iter().copied().map(str::to_owned).collect();
        check::<saved_orders::Rule>("saved-orders", &[("events", ParameterValue::TextList(events))]);
    }
}

#[test]
fn premium_drop_is_the_same_rule_natively() {
    for ratio in [0.85, 1.0, 0.0, -1.0] {
        check::<premium_drop::Rule>("premium-drop", &[("ratio", ParameterValue::Double(ratio))]);
    }
}

#[test]
fn last_page_is_the_same_rule_natively() {
    check::<last_page::Rule>("last-page", &[]);
}

#[test]
fn claims_severity_is_the_same_aggregate_natively() {
    for (grave, weight) in [
        (&["injury", "fire"][..], 3),
        (&["保单🦀", "1", ""], -2),
        (&[], i64::MAX),
    ] {
        let grave = grave.iter().copied().map(str::to_owned).collect();
        let parameters = [
            ("grave".to_owned(), ParameterValue::TextList(grave)),
            ("weight".to_owned(), ParameterValue::Int(weight)),
        ];
        check_aggregate::<claims_severity::Rule>("claims-severity", &parameters);
    }
}

/// Checks that `Native` makes of random rows what the guest `name` does, batch after batch, each with the states that the
/// one before it left.
#[track_caller]
fn check_aggregate<Native: Aggregate>(name: &str, parameters: &[(String, ParameterValue)]) {
    let module = host().load_aggregate(&guest(name)).expect("the guest is fine");
    let description = module.description.clone();
    let mut guest = AggregateInstance::new(host(), module, parameters.to_vec(), &StageLimits::default());
    let native = Native::configure(parameters.iter().map(native_parameter).collect()).expect("the parameters are fine");
    with_seed(|random| {
        const GROUPS: usize = 5;
        let mut states = vec![Vec::new(); GROUPS];
        for rows in ROWS {
            // Small amounts, so that they are not all beyond what can be counted, and some that are.
            let columns: Vec<Column> = description
                .inputs
                .iter()
                .map(|field| match field.accepts {
                    InputType::Is(ColumnType::Int) => amounts(random, rows),
                    _ => column(random, field, rows),
                })
                .collect();
            let groups: Vec<u32> = (0..rows).map(|_| random.below(GROUPS) as u32).collect();
            let (mut row, mut rejected) = (0, 0);
            while row < rows {
                let part: Vec<u32> = (row as u32..rows as u32).collect();
                let columns: Vec<Column> = columns.iter().map(|column| column.gather(&part)).collect();
                let given = guest.accumulate(Accumulate {
                    states: &states.iter().map(Vec::as_slice).collect::<Vec<_>>(),
                    groups: &groups[row..],
                    retracts: None,
                    columns: &columns.iter().collect::<Vec<_>>(),
                });
                let batch = |end: usize| abi::aggregate::Batch {
                    groups: groups[row..end].to_vec(),
                    states: native_states(&states),
                    retracts: None,
                    columns: columns.iter().map(native_column).collect(),
                };
                let end = match native.accumulate(&batch(rows)) {
                    Ok(_) => rows,
                    Err(expected) => {
                        let refused = given.refused.as_ref().expect("the guest rejects it too");
                        assert_eq!((given.applied, &refused.reason), (expected.number, &expected.reason));
                        assert!(!refused.failed, "{}", refused.reason);
                        rejected += 1;
                        row + expected.number as usize
                    }
                };
                assert_eq!(given.applied as usize, end - row);
                if end > row {
                    let expected = native.accumulate(&batch(end)).expect("these are taken in");
                    let found: Vec<Vec<u8>> = given.states.iter().map(|state| state.to_vec()).collect();
                    let results = host_column(expected.results);
                    for at in 0..end - row {
                        assert_eq!(given.results.get(at), results.get(at), "result {at}");
                    }
                    let after = native_states(&found);
                    for group in 0..GROUPS {
                        // A group without a row is sent to the native aggregate alone, which may write it down.
                        if groups[row..end].contains(&(group as u32)) {
                            assert_eq!(state(&after, group), state(&expected.states, group));
                        }
                    }
                    states = found;
                }
                row = end + usize::from(given.refused.is_some());
            }
            assert!(rows < 1000 || rejected > 0, "some rows are rejected");
        }
        let merged = guest.merge(
            &states.iter().map(Vec::as_slice).collect::<Vec<_>>(),
            &states.iter().rev().map(Vec::as_slice).collect::<Vec<_>>(),
        );
        let reversed: Vec<Vec<u8>> = states.iter().rev().cloned().collect();
        match native.merge(&native_states(&states), &native_states(&reversed)) {
            Ok(expected) => {
                let found: Vec<Vec<u8>> = merged.states.iter().map(|state| state.to_vec()).collect();
                assert_eq!(native_states(&found), expected);
            }
            Err(expected) => assert_eq!(merged.refused.expect("no merge either").reason, expected.reason),
        }
        let results = guest.results(&states.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let expected = native.results(&native_states(&states)).expect("each has a result");
        assert_eq!(results.column, host_column(expected));
    });
}

fn amounts(random: &mut Random, rows: usize) -> Column {
    let mut column = Column::with_capacity(ColumnType::Int, rows);
    for _ in 0..rows {
        match random.below(100) {
            0 => column.push(Value::Int(-1)),
            1 => column.push(Value::Int(i64::MAX - random.below(9) as i64)),
            2..10 => column.push_null(),
            _ => column.push(Value::Int(random.below(1_000_000) as i64)),
        }
    }
    column
}

fn native_states(states: &[Vec<u8>]) -> abi::aggregate::States {
    let mut offsets = vec![0];
    for state in states {
        offsets.push(offsets[offsets.len() - 1] + state.len() as u32);
    }
    abi::aggregate::States {
        offsets,
        data: states.concat(),
    }
}

fn state(states: &abi::aggregate::States, at: usize) -> &[u8] {
    &states.data[states.offsets[at] as usize..states.offsets[at + 1] as usize]
}

/// Checks that `Native` answers to random columns as the guest `name` does.
#[track_caller]
fn check<Native: Stage>(name: &str, parameters: &[(&str, ParameterValue)]) {
    let module = host().load(Path::new(&guest(name))).expect("the guest is fine");
    let parameters: Vec<_> = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    let description = module.description.clone();
    let mut guest = Instance::new(host(), module, parameters.clone(), &StageLimits::default());
    let native = Native::configure(parameters.iter().map(native_parameter).collect()).expect("the parameters are fine");
    with_seed(|random| {
        for rows in ROWS {
            let columns: Vec<Column> = description
                .inputs
                .iter()
                .map(|field| column(random, field, rows))
                .collect();
            let times_ms: Vec<i64> = match description.reads_time {
                true => (0..rows).map(|_| instant(random)).collect(),
                false => Vec::new(),
            };
            let judged = guest.judge(rows as u32, &times_ms, &columns.iter().collect::<Vec<_>>());
            assert_eq!(
                judged.failed_rows, 0,
                "{name}, {rows} rows: {:?}",
                judged.answer.rejected
            );
            let batch = abi::Batch {
                row_count: rows as u32,
                times_us: times_ms.iter().map(|ms| ms.saturating_mul(1_000)).collect(),
                columns: columns.iter().map(native_column).collect(),
            };
            let expected = answer(native.process(&batch));
            assert_eq!(judged.answer, expected, "{name} with {parameters:?}, {rows} rows");
        }
    });
}

// ---- random columns ---------------------------------------------------------------------------------------------------

fn column(random: &mut Random, field: &InputColumn, rows: usize) -> Column {
    let mut column = Column::of_layout(field.accepts.layout(), rows);
    let with_nulls = field.nullable && !random.once_in(4);
    for _ in 0..rows {
        if with_nulls && random.once_in(5) {
            column.push_null();
            continue;
        }
        let InputType::Is(column_type) = field.accepts else {
            panic!("no rule here reads decimals")
        };
        match column_type {
            ColumnType::Int => column.push(Value::Int(instant(random))),
            ColumnType::Double => column.push(Value::Double(random.number() as i64 as f64 / 1e9)),
            ColumnType::Boolean => column.push(Value::Boolean(random.once_in(2))),
            ColumnType::Text => column.push(Value::Text(random.pick(&TEXTS).as_bytes())),
            other => panic!("no rule here reads {other}"),
        }
    }
    column
}

/// An instant around the one of the golden cases, mostly, and any at all now and then.
fn instant(random: &mut Random) -> i64 {
    const DAY_MS: usize = 86_400_000;
    let somewhere = random.number() as i64;
    match random.below(20) {
        0 => [i64::MIN, i64::MAX, 0, -1][random.below(4)],
        1 => somewhere,
        2 => somewhere / 100_000,
        3..6 => GOLDEN_NOW_MS + random.below(400 * DAY_MS) as i64,
        _ => GOLDEN_NOW_MS - DAY_MS as i64 + random.below(2 * DAY_MS) as i64,
    }
}

// ---- between the types of the host and those of the SDK ---------------------------------------------------------------

fn native_parameter((name, value): &(String, ParameterValue)) -> abi::Parameter {
    let value = match value.clone() {
        ParameterValue::Int(value) => abi::ParameterValue::Int(value),
        ParameterValue::Double(value) => abi::ParameterValue::Double(value),
        ParameterValue::Text(value) => abi::ParameterValue::Text(value),
        ParameterValue::TextList(values) => abi::ParameterValue::TextList(values),
        other => panic!("no rule here has a parameter like {other}"),
    };
    abi::Parameter {
        name: name.clone(),
        value,
    }
}

fn native_column(column: &Column) -> abi::Column {
    let values = match column.values.clone() {
        Values::Decimal(_) => panic!("no rule here reads decimals"),
        Values::Int(values) => abi::ColumnValues::Int(values),
        Values::Double(values) => abi::ColumnValues::Double(values),
        Values::Boolean(values) => abi::ColumnValues::Boolean(values),
        Values::Text(TextValues { offsets, data }) => abi::ColumnValues::Text(abi::TextValues { offsets, data }),
    };
    abi::Column {
        validity: column.validity.clone(),
        values,
    }
}

fn host_column(column: abi::Column) -> Column {
    let values = match column.values {
        abi::ColumnValues::Int(values) => Values::Int(values),
        abi::ColumnValues::Double(values) => Values::Double(values),
        abi::ColumnValues::Boolean(values) => Values::Boolean(values),
        abi::ColumnValues::Text(abi::TextValues { offsets, data }) => Values::Text(TextValues { offsets, data }),
        abi::ColumnValues::Decimal(_) => panic!("no rule here computes decimals"),
    };
    Column {
        validity: column.validity,
        values,
    }
}

fn answer(given: abi::Answer) -> Answer {
    let output = |output: abi::OutputRows| OutputRows {
        rows: output.rows,
        computed: output.computed.into_iter().map(host_column).collect(),
    };
    let rejected = |rejected: abi::RejectedRow| RejectedRow {
        row: rejected.row,
        reason: rejected.reason,
        failed: false,
    };
    Answer {
        outputs: given.outputs.into_iter().map(output).collect(),
        rejected: given.rejected.into_iter().map(rejected).collect(),
    }
}
