//! The rules of the scenarios as guests and as native code: the same answers to the same columns, in every field.

use std::path::Path;
use weir::{
    column::{Column, ColumnType, Field, TextValues, Value, Values},
    definition::StageLimits,
    stage::{Answer, Instance, OutputRows, ParameterValue, RejectedRow},
};
use weir_guest::{Stage, abi};
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
                times_ms,
                columns: columns.iter().map(native_column).collect(),
            };
            let expected = answer(native.process(&batch));
            assert_eq!(judged.answer, expected, "{name} with {parameters:?}, {rows} rows");
        }
    });
}

// ---- random columns ---------------------------------------------------------------------------------------------------

fn column(random: &mut Random, field: &Field, rows: usize) -> Column {
    let mut column = Column::with_capacity(field.column_type, rows);
    let with_nulls = field.nullable && !random.once_in(4);
    for _ in 0..rows {
        if with_nulls && random.once_in(5) {
            column.push_null();
            continue;
        }
        match field.column_type {
            ColumnType::Int => column.push(Value::Int(instant(random))),
            ColumnType::Double => column.push(Value::Double(random.number() as i64 as f64 / 1e9)),
            ColumnType::Boolean => column.push(Value::Boolean(random.once_in(2))),
            ColumnType::Text => column.push(Value::Text(random.pick(&TEXTS).as_bytes())),
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
    };
    Answer {
        outputs: given.outputs.into_iter().map(output).collect(),
        rejected: given.rejected.into_iter().map(rejected).collect(),
    }
}
