//! Types that columns, parameters and states have besides those of every rule: what is read and given of each, and what is
//! said of a value that does not fit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use weir_guest::abi::*;
use weir_guest::{Stage, State};

/// The example of docs/RULES.md, which is this file to the letter.
#[path = "guide/types.rs"]
mod guide;

#[test]
fn the_guide_shows_what_is_tested() {
    let shown = include_str!("../../../docs/RULES.md");
    assert!(shown.contains(&format!("```rust\n{}```\n", include_str!("guide/types.rs"))));
}

/// Every type, read and given back.
mod same {
    use weir_guest::jiff::{Timestamp, civil::Date};
    use weir_guest::rust_decimal::Decimal;
    use weir_guest::serde_json::Value;
    use weir_guest::{Input, Json, Output, stage};

    #[derive(Input)]
    struct Row<'a> {
        bytes: &'a [u8],
        decimal: Decimal,
        timestamp: Timestamp,
        date: Date,
        json: Value,
        point: Json<Point<'a>>,
        ints: Vec<i64>,
        doubles: Vec<Option<f64>>,
        booleans: Vec<bool>,
        texts: Vec<Option<String>>,
        decimal_or_null: Option<Decimal>,
        date_or_null: Option<Date>,
        json_or_null: Option<Value>,
        ints_or_null: Option<Vec<i64>>,
    }

    #[derive(serde::Deserialize, serde::Serialize)]
    struct Point<'a> {
        x: i64,
        name: &'a str,
    }

    #[derive(Output)]
    struct Same<'a> {
        bytes: &'a [u8],
        #[decimal(12, 3)]
        #[column("the decimal")]
        decimal: Decimal,
        timestamp: Timestamp,
        date: Date,
        json: Value,
        point: Json<Point<'a>>,
        ints: Vec<i64>,
        doubles: Vec<Option<f64>>,
        booleans: Vec<bool>,
        texts: Vec<Option<String>>,
        #[decimal(38, 0)]
        decimal_or_null: Option<Decimal>,
        date_or_null: Option<Date>,
        json_or_null: Option<Value>,
        ints_or_null: Option<Vec<i64>>,
        owned: Vec<u8>,
    }

    #[stage]
    fn same<'a>(row: Row<'a>) -> Same<'a> {
        Same {
            bytes: row.bytes,
            decimal: row.decimal,
            timestamp: row.timestamp,
            date: row.date,
            json: row.json,
            point: row.point,
            ints: row.ints,
            doubles: row.doubles,
            booleans: row.booleans,
            texts: row.texts,
            decimal_or_null: row.decimal_or_null,
            date_or_null: row.date_or_null,
            json_or_null: row.json_or_null,
            ints_or_null: row.ints_or_null,
            owned: row.bytes.to_vec(),
        }
    }
}

/// A column without nulls.
fn all(values: ColumnValues) -> Column {
    Column { validity: None, values }
}

fn texts<T: AsRef<[u8]>>(values: &[T]) -> ColumnValues {
    let mut offsets = vec![0];
    let mut data = Vec::new();
    for value in values {
        data.extend_from_slice(value.as_ref());
        offsets.push(data.len() as u32);
    }
    ColumnValues::Text(TextValues { offsets, data })
}

fn decimals(scale: u8, values: &[i128]) -> ColumnValues {
    let halves = |value: &i128| [*value as i64, (value >> 64) as i64];
    ColumnValues::Decimal(DecimalValues {
        scale,
        unscaled: values.iter().flat_map(halves).collect(),
    })
}

/// One row of every column, as the host sends it.
fn row() -> Vec<Column> {
    vec![
        all(texts(&[[0, 0xff]])),
        all(decimals(2, &[-105])),
        all(ColumnValues::Int(vec![1_773_576_000_123_456])),
        all(ColumnValues::Int(vec![20_527])),
        all(texts(&[r#"{ "a": "ä", "b": [1, null, 2.5] }"#])),
        all(texts(&[r#"{"name":"here","x":-7}"#])),
        all(texts(&["[1,-9223372036854775808]"])),
        all(texts(&["[1.0,null,1e+300]"])),
        all(texts(&["[true,false]"])),
        all(texts(&[r#"["a\"\n",null,"寿险"]"#])),
        all(decimals(0, &[10_i128.pow(28) - 1])),
        all(ColumnValues::Int(vec![-719_528])),
        all(texts(&["\"text\""])),
        all(texts(&["[]"])),
    ]
}

fn process(columns: Vec<Column>) -> Answer {
    same::Rule::configure(vec![]).unwrap().process(&Batch {
        row_count: 1,
        times_us: vec![],
        columns,
    })
}

#[test]
fn a_rule_describes_columns_of_every_type() {
    let decimal = |precision, scale| ColumnType::Decimal(DecimalType { precision, scale });
    let types = [
        ColumnType::Bytes,
        ColumnType::AnyDecimal,
        ColumnType::Timestamp,
        ColumnType::Date,
        ColumnType::Json,
        ColumnType::Json,
        ColumnType::List(ElementType::Int),
        ColumnType::List(ElementType::Double),
        ColumnType::List(ElementType::Boolean),
        ColumnType::List(ElementType::Text),
        ColumnType::AnyDecimal,
        ColumnType::Date,
        ColumnType::Json,
        ColumnType::List(ElementType::Int),
    ];
    let description = same::Rule::describe();
    let inputs: Vec<_> = description.inputs.iter().map(|input| input.column_type).collect();
    assert_eq!(inputs, types);
    assert!(description.inputs[..10].iter().all(|input| !input.nullable));
    assert!(description.inputs[10..].iter().all(|input| input.nullable));

    let computed = &description.outputs[0].computed;
    let mut given = types.to_vec();
    (given[1], given[10]) = (decimal(12, 3), decimal(38, 0));
    given.push(ColumnType::Bytes);
    assert_eq!(
        computed.iter().map(|column| column.column_type).collect::<Vec<_>>(),
        given
    );
    assert_eq!(computed[1].name, "the decimal");
    assert!(computed[10..14].iter().all(|column| column.nullable));
}

#[test]
fn every_type_is_read_and_given_without_loss() {
    let answer = process(row());
    let mut expected = row();
    expected[1] = all(decimals(3, &[-1_050]));
    expected[4] = all(texts(&[r#"{"a":"ä","b":[1,null,2.5]}"#]));
    // Those of a struct in its own.
    expected[5] = all(texts(&[r#"{"x":-7,"name":"here"}"#]));
    expected.push(all(texts(&[[0, 0xff]])));
    assert_eq!(answer.outputs[0].computed, expected);
}

#[test]
fn nulls_are_read_and_given() {
    let mut columns = row();
    for column in &mut columns[10..] {
        column.validity = Some(vec![0]);
    }
    for column in &process(columns).outputs[0].computed[10..14] {
        assert_eq!(column.validity, Some(vec![0]));
    }
}

/// What is said of a row with another value in one of its columns.
#[track_caller]
fn refused(place: usize, values: ColumnValues, said: &str) {
    let mut columns = row();
    columns[place] = all(values);
    assert_eq!(panic_of(|| drop(process(columns))), said);
}

fn panic_of(call: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("it panics");
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(other) => (*other.downcast::<&str>().expect("a panic has a message")).to_owned(),
    }
}

#[test]
fn a_decimal_of_too_many_digits_is_refused_with_its_limit() {
    let most = 10_i128.pow(28) - 1;
    refused(
        10,
        decimals(0, &[most + 1]),
        "column `decimal_or_null` is 10000000000000000000000000000 with 0 digits behind the point; a rule reads decimals \
         of up to 28 digits",
    );
    refused(
        1,
        decimals(30, &[-10_i128.pow(37) - 1]),
        "column `decimal` is -10000000000000000000000000000000000001 with 30 digits behind the point; a rule reads \
         decimals of up to 28 digits",
    );
    // Zeros at its end are no digits.
    let mut columns = row();
    columns[1] = all(decimals(30, &[-5 * 10_i128.pow(29)]));
    columns[10] = all(decimals(10, &[most * 10_i128.pow(10)]));
    let answer = process(columns);
    assert_eq!(answer.outputs[0].computed[1], all(decimals(3, &[-500])));
    assert_eq!(answer.outputs[0].computed[10], all(decimals(0, &[most])));
}

#[test]
fn a_decimal_is_never_rounded() {
    refused(
        1,
        decimals(4, &[10_005]),
        "column `the decimal` would be 1.0005; accepted are up to 3 digits behind the point: `round_dp(3)` rounds",
    );
    refused(
        1,
        decimals(0, &[-1_000_000_000]),
        "column `the decimal` would be -1000000000; accepted are up to 9 digits before the point",
    );
    let mut columns = row();
    columns[1] = all(decimals(6, &[999_999_999_999_000]));
    let answer = process(columns);
    assert_eq!(answer.outputs[0].computed[1], all(decimals(3, &[999_999_999_999])));
}

#[test]
fn a_time_that_jiff_has_not_is_refused() {
    let last = 253_402_300_799_999_999;
    refused(
        2,
        ColumnValues::Int(vec![last]),
        "column `timestamp` is 253402300799999999 microseconds from 1970 on; a rule reads times up to \
         9999-12-30T22:00:00Z",
    );
    for (place, value) in [
        (2, -62_167_219_200_000_000),
        (2, 253_402_207_200_000_000),
        (3, -719_528),
        (3, 2_932_896),
    ] {
        let mut columns = row();
        columns[place] = all(ColumnValues::Int(vec![value]));
        let answer = process(columns);
        assert_eq!(
            answer.outputs[0].computed[place],
            all(ColumnValues::Int(vec![value])),
            "{value}"
        );
    }
}

#[test]
fn json_of_another_form_is_refused() {
    refused(
        5,
        texts(&[r#"{"x":1}"#]),
        "column `point`: missing field `name` at line 1 column 7",
    );
    refused(
        6,
        texts(&["[1,null]"]),
        "column `ints`: invalid type: null, expected i64 at line 1 column 7",
    );
    let mut columns = row();
    let deepest = format!("{}{}", "[".repeat(128), "]".repeat(128));
    columns[4] = all(texts(&[&deepest]));
    assert_eq!(process(columns).outputs[0].computed[4], all(texts(&[&deepest])));
}

// ---- what is given besides what is read -----------------------------------------------------------------------------

mod given {
    use weir_guest::jiff::{Timestamp, civil::Date};
    use weir_guest::serde_json::Value;
    use weir_guest::{Computed, DecimalColumn, Input, Json, Output, stage};

    #[derive(Input)]
    struct Case {
        case: i64,
    }

    struct Cents(i128);

    impl Computed for Cents {
        type Column = DecimalColumn<5, 2>;

        fn append_to(&self, column: &mut DecimalColumn<5, 2>) {
            column.push_unscaled(self.0);
        }
    }

    #[derive(Output)]
    struct Given<'a> {
        cents: Cents,
        at: Timestamp,
        day: Date,
        value: Value,
        json: Json<Option<i64>>,
        slice: &'a [f64],
    }

    #[stage]
    fn given(case: Case) -> Given<'static> {
        let mut given = Given {
            cents: Cents(-99_999),
            at: Timestamp::from_nanosecond(-1_999).unwrap(),
            day: Date::new(0, 1, 1).unwrap(),
            value: Value::Bool(true),
            json: Json(Some(1)),
            slice: &[0.5, -0.0],
        };
        match case.case {
            1 => given.cents = Cents(100_000),
            2 => given.at = Timestamp::MIN,
            3 => given.day = Date::new(-1, 12, 31).unwrap(),
            4 => given.value = Value::Null,
            5 => given.json = Json(None),
            6 => given.slice = &[1.0, f64::NAN],
            _ => (),
        }
        given
    }
}

#[test]
fn what_no_column_holds_is_not_given() {
    let process = |case| {
        given::Rule::configure(vec![]).unwrap().process(&Batch {
            row_count: 1,
            times_us: vec![],
            columns: vec![all(ColumnValues::Int(vec![case]))],
        })
    };
    let expected = [
        all(decimals(2, &[-99_999])),
        all(ColumnValues::Int(vec![-1])),
        all(ColumnValues::Int(vec![-719_528])),
        all(texts(&["true"])),
        all(texts(&["1"])),
        all(texts(&["[0.5,-0.0]"])),
    ];
    assert_eq!(process(0).outputs[0].computed, expected);
    for (case, said) in [
        (
            1,
            "column `cents` would be 100000 without its point; accepted are up to 3 digits before the point",
        ),
        (
            2,
            "column `at` would be -009999-01-02T01:59:59Z; accepted are the years 0 to 9999",
        ),
        (
            3,
            "column `day` would be -000001-12-31; accepted are the years 0 to 9999",
        ),
        (
            4,
            "column `value` would be JSON's null; accepted are other values, and `None` of an `Option`",
        ),
        (
            5,
            "column `json` would be JSON's null; accepted are other values, and `None` of an `Option`",
        ),
        (
            6,
            "column `slice` would have a number that is not finite, at place 1 of the list",
        ),
    ] {
        assert_eq!(panic_of(|| drop(process(case))), said);
    }
}

// ---- parameters -----------------------------------------------------------------------------------------------------

mod set {
    use weir_guest::Parameters;
    use weir_guest::jiff::{Timestamp, civil::Date};
    use weir_guest::rust_decimal::Decimal;

    #[derive(Debug, Parameters, PartialEq)]
    pub(super) struct Settings {
        #[default("12.50")]
        pub(super) decimal: Decimal,
        #[default("2026-03-15T00:00:00Z")]
        pub(super) timestamp: Timestamp,
        #[default("2026-03-15")]
        pub(super) date: Date,
        #[default(["1", "-0.5"])]
        pub(super) decimals: Vec<Decimal>,
        #[default([])]
        pub(super) timestamps: Vec<Timestamp>,
        #[default(["1970-01-02"])]
        pub(super) dates: Vec<Date>,
    }

    #[derive(Parameters)]
    pub(super) struct Misspelt {
        #[default("12,50")]
        #[expect(dead_code, reason = "it is never made")]
        decimal: Decimal,
    }
}

#[test]
fn parameters_of_every_type_are_described_and_taken() {
    use weir_guest::Parameters;
    use weir_guest::jiff::{Timestamp, civil::Date};
    use weir_guest::rust_decimal::Decimal;

    let specs = set::Settings::specs();
    let described: Vec<_> = specs
        .iter()
        .map(|spec| (spec.parameter_type, spec.default.clone().unwrap()))
        .collect();
    let midnight_us = 1_773_532_800_000_000;
    let text = str::to_owned;
    let expected = [
        (ParameterType::Decimal, ParameterValue::Decimal(text("12.50"))),
        (ParameterType::Timestamp, ParameterValue::Timestamp(midnight_us)),
        (ParameterType::Date, ParameterValue::Date(20_527)),
        (
            ParameterType::DecimalList,
            ParameterValue::DecimalList(vec![text("1"), text("-0.5")]),
        ),
        (ParameterType::TimestampList, ParameterValue::TimestampList(vec![])),
        (ParameterType::DateList, ParameterValue::DateList(vec![1])),
    ];
    assert_eq!(described, expected);

    let settings = set::Settings::defaults().unwrap();
    assert_eq!(
        settings,
        set::Settings {
            decimal: Decimal::new(1250, 2),
            timestamp: Timestamp::from_microsecond(midnight_us).unwrap(),
            date: Date::new(2026, 3, 15).unwrap(),
            decimals: vec![Decimal::ONE, Decimal::new(-5, 1)],
            timestamps: vec![],
            dates: vec![Date::new(1970, 1, 2).unwrap()],
        }
    );

    let with = |place: usize, value: ParameterValue| {
        let values = specs.iter().map(|spec| Parameter {
            name: spec.name.clone(),
            value: spec.default.clone().unwrap(),
        });
        let mut values: Vec<_> = values.collect();
        values[place].value = value;
        set::Settings::from_values(values).unwrap_err()
    };
    assert_eq!(
        with(0, ParameterValue::Text(text("12.50"))),
        "parameter `decimal`: expected a value of type decimal"
    );
    assert_eq!(
        with(0, ParameterValue::Decimal("9".repeat(29))),
        "parameter `decimal`: 99999999999999999999999999999 has 29 digits; accepted are up to 28"
    );
    assert_eq!(
        with(4, ParameterValue::TimestampList(vec![0, i64::MAX])),
        "parameter `timestamps`: accepted are times up to 9999-12-30T22:00:00Z"
    );
    let said = panic_of(|| drop(set::Misspelt::specs()));
    assert!(
        said.starts_with("the default of a parameter: \"12,50\" is no decimal"),
        "{said}"
    );
}

// ---- states ---------------------------------------------------------------------------------------------------------

#[test]
fn states_of_every_type_come_back_as_they_were() {
    use weir_guest::jiff::{Timestamp, civil::Date};
    use weir_guest::rust_decimal::Decimal;

    #[derive(Debug, Default, PartialEq, State)]
    struct Kept {
        decimal: Decimal,
        at: Option<Timestamp>,
        day: Option<Date>,
    }

    assert_eq!(
        Kept::layout(),
        "{decimal: decimal, at: option<timestamp>, day: option<date>}"
    );
    assert_eq!(Kept::BYTES_MAX, Some(13 + 13 + 5));
    let mut zero = Decimal::new(0, 28);
    zero.set_sign_negative(true);
    for decimal in [Decimal::MAX, Decimal::MIN, Decimal::new(150, 2), zero] {
        for at in [Timestamp::MIN, Timestamp::MAX, Timestamp::from_nanosecond(-1).unwrap()] {
            for day in [Date::MIN, Date::MAX] {
                let kept = Kept {
                    decimal,
                    at: Some(at),
                    day: Some(day),
                };
                let mut bytes = Vec::new();
                kept.encode(&mut bytes);
                assert_eq!(bytes.len(), kept.encoded_bytes());
                let back = Kept::decode(&mut &bytes[..]).unwrap();
                assert_eq!(back, kept);
                // 1.50 is equal to 1.5, and comes back as 1.50.
                assert_eq!(back.decimal.to_string(), decimal.to_string());
                for cut in 0..bytes.len() {
                    assert_eq!(Kept::decode(&mut &bytes[..cut]), None);
                }
            }
        }
    }
    assert_eq!(Decimal::decode(&mut &[0xff; 13][..]), None, "of too high a scale");
    assert_eq!(Date::decode(&mut &[0xff, 0xff, 0xff, 0x7f][..]), None);
}

// ---- aggregates -----------------------------------------------------------------------------------------------------

mod fees {
    use weir_guest::rust_decimal::Decimal;
    use weir_guest::{Input, State, aggregate};

    #[derive(Input)]
    struct Order {
        fee: Decimal,
    }

    #[derive(Default, State)]
    struct Fees {
        sum: Decimal,
    }

    #[aggregate]
    impl Fees {
        fn add(&mut self, order: Order) {
            self.sum += order.fee;
        }

        #[decimal(10, 2)]
        fn result(&self) -> Option<Decimal> {
            (!self.sum.is_zero()).then_some(self.sum)
        }
    }
}

#[test]
fn an_aggregate_may_come_to_a_decimal() {
    use weir_guest::Aggregate;
    use weir_guest::abi::aggregate::Batch;

    let result = fees::Rule::describe().result;
    let digits = DecimalType {
        precision: 10,
        scale: 2,
    };
    assert_eq!(
        (result.column_type, result.nullable),
        (ColumnType::Decimal(digits), true)
    );
    let batch = Batch {
        groups: vec![0, 0],
        states: States {
            offsets: vec![0, 0],
            data: vec![],
        },
        retracts: None,
        columns: vec![all(decimals(1, &[0, 25]))],
    };
    let given = fees::Rule::configure(vec![]).unwrap().accumulate(&batch).unwrap();
    assert_eq!(given.results.values, decimals(2, &[0, 250]));
    assert_eq!(given.results.validity, Some(vec![0, 1]));
}
