//! The types of columns, as a plain model has them: values, how a payload writes one, how a table shows it, and how two compare.

use super::written;
use jiff::{SignedDuration, civil};
use num_bigint::BigInt;
use proptest::{collection::vec, prelude::*, sample::select};
use std::{cmp::Ordering, fmt};
use weir_tests::table::Cell;

/// A value. Two are equal where they are one as keys.
#[derive(Clone)]
pub(super) enum Plain {
    Int(i64),
    Double(f64),
    Boolean(bool),
    Text(String),
    /// Without its point, and how many digits stand behind it.
    Decimal(i128, usize),
    /// Microseconds since 1970.
    Timestamp(i64),
    /// Days since 1970.
    Date(i64),
    Bytes(Vec<u8>),
    /// As it was written.
    Json(String),
    List(Vec<Option<Plain>>),
}

/// A type of columns.
pub(super) struct Kind {
    /// As a pipeline file calls it.
    pub(super) name: String,
    /// How a column of a payload is declared.
    pub(super) column: String,
    /// A constant in a pipeline file, and what it is.
    pub(super) constant: (String, Plain),
    /// Whether one value comes before another.
    pub(super) has_order: bool,
    /// Whether it is a list.
    is_list: bool,
    scalar: fn() -> BoxedStrategy<Plain>,
}

impl Kind {
    /// Any of its values, the edges often.
    pub(super) fn values(&self) -> BoxedStrategy<Plain> {
        let scalar = (self.scalar)();
        match self.is_list {
            false => scalar,
            true => vec(prop::option::weighted(0.8, scalar), 0..4)
                .prop_map(Plain::List)
                .boxed(),
        }
    }

    /// Of decimals, how many digits stand behind the point.
    pub(super) fn places(&self) -> Option<usize> {
        match self.constant.1 {
            Plain::Decimal(_, places) => Some(places),
            _ => None,
        }
    }

    /// Whether its values can be added.
    pub(super) fn is_number(&self) -> bool {
        matches!(self.constant.1, Plain::Int(_) | Plain::Double(_) | Plain::Decimal(..))
    }
}

type Row = (
    &'static str,
    &'static str,
    (&'static str, Plain),
    fn() -> BoxedStrategy<Plain>,
);

/// The scalars: name, format, constant, values.
fn scalars() -> Vec<Row> {
    vec![
        ("int", "", ("-9223372036854775808", Plain::Int(i64::MIN)), ints),
        ("double", "", ("-1e300", Plain::Double(-1e300)), doubles),
        ("boolean", "", ("true", Plain::Boolean(true)), || {
            any::<bool>().prop_map(Plain::Boolean).boxed()
        }),
        ("text", "", (r#""a\u0000保'""#, Plain::Text("a\0保'".to_owned())), texts),
        ("decimal(12, 2)", "", ("'-0.10'", Plain::Decimal(-10, 2)), || {
            decimals(12, 2)
        }),
        (
            "decimal(38, 5)",
            "string",
            (
                "'12345678901234567890.5'",
                Plain::Decimal(1_234_567_890_123_456_789_050_000, 5),
            ),
            || decimals(38, 5),
        ),
        (
            "timestamp",
            "rfc3339",
            ("'0000-01-01T00:00:00Z'", Plain::Timestamp(YEARS_US.0)),
            || {
                let edges = select(vec![YEARS_US.0, YEARS_US.1, -1, 0, 1, 1_773_532_800_000_000]);
                prop_oneof![edges, YEARS_US.0..=YEARS_US.1]
                    .prop_map(Plain::Timestamp)
                    .boxed()
            },
        ),
        ("date", "", ("9999-12-31", Plain::Date(DAYS.1)), || {
            let edges = select(vec![DAYS.0, DAYS.1, -1, 0, 20_527]);
            prop_oneof![edges, DAYS.0..=DAYS.1].prop_map(Plain::Date).boxed()
        }),
        ("bytes", "hex", ("'AP8='", Plain::Bytes(vec![0, 0xff])), || {
            let edges: [&[u8]; 7] = [b"", b"\0", b"\0\0", b"\0\xff", b"\xff", b"a", b"a\0"];
            let edges = select(edges.map(<[u8]>::to_vec).to_vec());
            prop_oneof![edges, vec(any::<u8>(), 0..5)]
                .prop_map(Plain::Bytes)
                .boxed()
        }),
    ]
}

/// The first and the last timestamp.
const YEARS_US: (i64, i64) = (-62_167_219_200_000_000, 253_402_300_799_999_999);
/// The first and the last date.
const DAYS: (i64, i64) = (-719_528, 2_932_896);

/// All types: the scalars, JSON, and a list of each scalar.
pub(super) fn kinds() -> Vec<Kind> {
    let declared = |name: &str, format: &str| match format {
        "" => format!("\"{name}\""),
        _ => format!("{{ type = \"{name}\", format = \"{format}\" }}"),
    };
    let mut kinds = Vec::new();
    for (name, format, (toml, constant), scalar) in scalars() {
        kinds.push(Kind {
            name: name.to_owned(),
            column: declared(name, format),
            constant: (toml.to_owned(), constant.clone()),
            has_order: true,
            is_list: false,
            scalar,
        });
        // In a list bytes are written in base64, so that both ways come.
        let format = if name == "bytes" { "base64" } else { format };
        kinds.push(Kind {
            name: format!("list({name})"),
            column: declared(&format!("list({name})"), format),
            constant: (format!("[{toml}]"), Plain::List(vec![Some(constant)])),
            has_order: false,
            is_list: true,
            scalar,
        });
    }
    kinds.push(Kind {
        name: "json".to_owned(),
        column: declared("json", ""),
        constant: (
            "'{ \"a\": [1.0] }'".to_owned(),
            Plain::Json("{ \"a\": [1.0] }".to_owned()),
        ),
        has_order: false,
        is_list: false,
        scalar: || {
            select(JSON.to_vec())
                .prop_map(|json| Plain::Json(json.to_owned()))
                .boxed()
        },
    });
    kinds
}

/// Some differ by a space alone, by the order of members, or by how a number or a letter is written.
const JSON: [&str; 16] = [
    r#"{"a": 1, "b": [null]}"#,
    r#"{"a":1,"b":[null]}"#,
    r#"{"b": [null], "a": 1}"#,
    "{}",
    "{ }",
    "[]",
    r#"[ 1 , {"x y": "}"} ]"#,
    "1.10",
    "1.1",
    "-0",
    "1e400",
    "true",
    r#""""#,
    r#""\u0000""#,
    r#""ä""#,
    r#""\u00e4""#,
];

fn ints() -> BoxedStrategy<Plain> {
    let edges = select(vec![i64::MIN, i64::MAX, i64::MIN + 1, 0, -1, 1]);
    prop_oneof![edges, any::<i64>(), -9..9i64].prop_map(Plain::Int).boxed()
}

fn doubles() -> BoxedStrategy<Plain> {
    let edges = vec![
        0.0,
        -0.0,
        0.1,
        -1.5,
        1e16,
        5e-324,
        -5e-324,
        f64::MAX,
        f64::MIN,
        1e300,
        -1e-300,
    ];
    let all = prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL;
    prop_oneof![select(edges), all].prop_map(Plain::Double).boxed()
}

fn texts() -> BoxedStrategy<Plain> {
    const EDGES: [&str; 15] = [
        "",
        "\0",
        "\0\0",
        "a",
        "a\0",
        "a\0b",
        "aa",
        "12",
        "9",
        "null",
        "\"'\\/`",
        "\u{1}\n\u{7f}",
        "保单",
        "😀",
        "\u{ffff}",
    ];
    let edges = select(EDGES.to_vec()).prop_map(str::to_owned);
    let all = vec(any::<char>(), 0..5).prop_map(|chars| chars.into_iter().collect());
    prop_oneof![edges, all].prop_map(Plain::Text).boxed()
}

fn decimals(precision: u32, places: usize) -> BoxedStrategy<Plain> {
    let most = 10i128.pow(precision) - 1;
    let edges = select(vec![most, -most, most - 1, 0, 1, -1]);
    let all = prop_oneof![edges, -most..=most, -2_000..2_000i128];
    all.prop_map(move |unscaled| Plain::Decimal(unscaled, places)).boxed()
}

impl Plain {
    /// As a payload holds it, in one of several ways.
    pub(super) fn json(&self, way: usize) -> String {
        match self {
            Self::Int(value) => value.to_string(),
            Self::Boolean(value) => value.to_string(),
            Self::Json(json) => json.clone(),
            Self::Double(value) => match way % 3 {
                0 => format!("{value:?}"),
                1 => format!("{value:E}").replace('E', "E+").replace("+-", "-"),
                _ => value.to_string(),
            },
            Self::Decimal(unscaled, places) => {
                let number = match way % 4 {
                    0 => written(*unscaled, *places),
                    1 => format!("{unscaled}e-{places}"),
                    2 => format!("{}00", written(*unscaled, *places)),
                    _ if *unscaled == 0 => "-0.0".to_owned(),
                    _ => format!("{unscaled}0E-{}", places + 1),
                };
                // The wide ones are written in quotes.
                if *places == 5 { quoted(&number, way / 4) } else { number }
            }
            Self::Text(text) => quoted(text, way),
            Self::Timestamp(us) => quoted(&instant(*us, way), way / 4),
            Self::Date(_) => quoted(&self.text(), way),
            Self::Bytes(bytes) => match way % 2 {
                0 => quoted(&data_encoding::HEXLOWER.encode(bytes), way / 2),
                _ => quoted(&data_encoding::HEXUPPER.encode(bytes), way / 2),
            },
            Self::List(elements) => {
                let space = ["", " ", "\t"][way % 3];
                let elements = elements.iter().enumerate().map(|(at, element)| match element {
                    None => format!("{space}null"),
                    Some(Self::Bytes(bytes)) => quoted(&data_encoding::BASE64.encode(bytes), way + at) + space,
                    Some(element) => format!("{space}{}{space}", element.json(way + at)),
                });
                format!("[{}]", elements.collect::<Vec<_>>().join(","))
            }
        }
    }

    /// As text, in the one way in which a table has it.
    fn text(&self) -> String {
        match self {
            Self::Int(value) => value.to_string(),
            Self::Double(value) => serde_json::to_string(&(value + 0.0)).expect("it is finite"),
            Self::Boolean(value) => value.to_string(),
            Self::Text(text) | Self::Json(text) => text.clone(),
            Self::Decimal(unscaled, places) => written(*unscaled, *places),
            Self::Timestamp(us) => {
                let time = civil_time(*us).expect("it is in the calendar");
                time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
            }
            Self::Date(days) => {
                let time = civil_time(days * 86_400_000_000).expect("it is in the calendar");
                time.strftime("%Y-%m-%d").to_string()
            }
            Self::Bytes(bytes) => data_encoding::BASE64.encode(bytes),
            Self::List(elements) => {
                let element = |element: &Option<Self>| match element {
                    None => "null".to_owned(),
                    Some(Self::Int(_) | Self::Double(_) | Self::Boolean(_) | Self::Decimal(..)) => {
                        element.as_ref().map(Self::text).unwrap_or_default()
                    }
                    Some(element) => quoted(&element.text(), 0),
                };
                format!("[{}]", elements.iter().map(element).collect::<Vec<_>>().join(","))
            }
        }
    }

    /// As a table shows it.
    pub(super) fn cell(&self) -> Cell {
        match self {
            Self::Int(value) => Cell::Int(*value),
            Self::Double(value) => Cell::Double(value + 0.0),
            Self::Boolean(value) => Cell::Int(i64::from(*value)),
            Self::Decimal(_, 2) => Cell::Double(self.text().parse().expect("it is a number")),
            Self::Bytes(bytes) => Cell::Blob(bytes.clone()),
            _ => Cell::Text(self.text()),
        }
    }
}

/// What a table shows of a value that may be null.
pub(super) fn cell(value: Option<&Plain>) -> Cell {
    value.map_or(Cell::Null, Plain::cell)
}

/// A text in quotes: as it is where JSON lets it, all of it escaped, or its first character.
fn quoted(text: &str, way: usize) -> String {
    let as_it_is = serde_json::to_string(text).expect("a text can be written");
    let escaped = |text: &str| -> String { text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect() };
    match (way % 3, text.chars().next()) {
        (1, _) => format!("\"{}\"", escaped(text).to_uppercase().replace("\\U", "\\u")),
        (2, Some(first)) => {
            let rest = serde_json::to_string(&text[first.len_utf8()..]).expect("a text can be written");
            format!("\"{}{}", escaped(&text[..first.len_utf8()]), &rest[1..])
        }
        _ => as_it_is,
    }
}

/// The date and time of a clock, where it has one of the years that there are.
fn civil_time(us: i64) -> Option<civil::DateTime> {
    let time = civil::date(1970, 1, 1).at(0, 0, 0, 0);
    let time = time.checked_add(SignedDuration::from_micros(us)).ok()?;
    (0..=9999).contains(&time.year()).then_some(time)
}

/// A point in time with an offset, and with digits that are cut off.
fn instant(us: i64, way: usize) -> String {
    let (minutes, offset) = [(0, "Z"), (480, "+08:00"), (-300, "-05:00"), (330, "+05:30")][way % 4];
    let local = civil_time(us + minutes * 60_000_000).map(|time| (time, offset));
    let (time, offset) = local.unwrap_or_else(|| (civil_time(us).expect("it is in the calendar"), "-00:00"));
    let digits = if way.is_multiple_of(2) { "" } else { "999" };
    format!("{}{digits}{offset}", time.strftime("%Y-%m-%dT%H:%M:%S.%6f"))
}

impl Ord for Plain {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b))
            | (Self::Timestamp(a), Self::Timestamp(b))
            | (Self::Date(a), Self::Date(b)) => a.cmp(b),
            // There is one zero.
            (Self::Double(a), Self::Double(b)) => (a + 0.0).total_cmp(&(b + 0.0)),
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::Decimal(a, _), Self::Decimal(b, _)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            _ => self.text().as_bytes().cmp(other.text().as_bytes()),
        }
    }
}

impl PartialOrd for Plain {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Plain {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Plain {}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json(0))
    }
}

/// The sum of numbers of one type, as a table shows it: nothing of none, and nothing beyond the range of the type.
pub(super) fn sum(values: &[&Plain]) -> Cell {
    match values.first() {
        None => Cell::Null,
        Some(Plain::Double(_)) => {
            // Each is a whole number of units, and the standard library rounds their sum.
            let units: BigInt = values.iter().map(|value| units_of_double(value)).sum();
            let sum: f64 = format!("{}e-1074", units * BigInt::from(5).pow(1074))
                .parse()
                .expect("it is a number");
            if sum.is_finite() {
                Cell::Double(sum + 0.0)
            } else {
                Cell::Null
            }
        }
        Some(Plain::Decimal(_, places)) => decimal(&unscaled_sum(values), *places),
        _ => i64::try_from(unscaled_sum(values)).map_or(Cell::Null, Cell::Int),
    }
}

/// The mean of decimals to as many places as they have, halves away from zero.
pub(super) fn mean(values: &[&Plain], places: usize) -> Cell {
    if values.is_empty() {
        return Cell::Null;
    }
    let (count, sum) = (BigInt::from(values.len()), unscaled_sum(values));
    let half = if sum < BigInt::ZERO { -&count } else { count.clone() };
    decimal(&((sum * 2 + half) / (count * 2)), places)
}

fn unscaled_sum(values: &[&Plain]) -> BigInt {
    let unscaled = |value: &&Plain| match value {
        Plain::Int(value) => BigInt::from(*value),
        Plain::Decimal(unscaled, _) => BigInt::from(*unscaled),
        other => panic!("{other:?} is no exact number"),
    };
    values.iter().map(unscaled).sum()
}

fn decimal(unscaled: &BigInt, places: usize) -> Cell {
    let unscaled = i128::try_from(unscaled)
        .ok()
        .filter(|unscaled| unscaled.abs() < 10i128.pow(38));
    unscaled.map_or(Cell::Null, |unscaled| Cell::Text(written(unscaled, places)))
}

/// A double in units of 2^-1074, of which every one is a whole number: n of them are n · 5^1074 · 10^-1074.
fn units_of_double(value: &Plain) -> BigInt {
    let Plain::Double(value) = value else {
        panic!("{value:?} is no double")
    };
    let (exponent, fraction) = (value.abs().to_bits() >> 52, value.to_bits() & ((1 << 52) - 1));
    let magnitude = match exponent {
        0 => BigInt::from(fraction),
        _ => BigInt::from(fraction | 1 << 52) << (exponent - 1),
    };
    if value.is_sign_negative() {
        -magnitude
    } else {
        magnitude
    }
}
