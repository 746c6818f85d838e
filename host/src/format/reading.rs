//! Values of payloads, as their columns have it read.

use crate::{
    definition::TimeUnit,
    model::{
        column::{ColumnType, ElementType, Unscaled, Value},
        column_type::{DATES, TIMESTAMPS_US, days_of, rfc3339},
        decimal::DecimalType,
    },
    plan::{Reading, SourceColumn, instant},
};
use jiff::{civil::Date, fmt::strtime::BrokenDownTime};
use serde::de::IgnoredAny;
use std::borrow::Cow;

/// Digits that may stand behind the point of a number that is a time, in any unit.
const TIME_PLACES: u8 = 17;

/// A value as a format has it, before it is known what it stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Raw<'p> {
    Null,
    /// A number as it was written.
    Number(&'p [u8]),
    /// A text, without quotes and escapes: valid UTF-8.
    Text(&'p [u8]),
    /// JSON as it was written, where that is wanted.
    Json(&'p [u8]),
    Boolean(bool),
    /// An object or an array.
    Other,
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'p> {
    Null,
    Int(i64),
    Double(f64),
    Boolean(bool),
    Decimal(i128),
    Bytes(Cow<'p, [u8]>),
}

/// What a value is; nothing where it is none.
pub(super) fn read<'p>(reading: &Reading, raw: Raw<'p>) -> Option<Cell<'p>> {
    let text = match raw {
        Raw::Null => return Some(Cell::Null),
        Raw::Number(number) => return read_number(reading, number),
        Raw::Text(text) => text,
        Raw::Json(json) => return Some(Cell::Bytes(json.into())),
        Raw::Boolean(_) | Raw::Other => return None,
    };
    let utf8 = || std::str::from_utf8(text).ok();
    Some(match reading {
        Reading::IntText => {
            let digits = text.strip_prefix(b"-").unwrap_or(text);
            let is_number = digits.first().is_some_and(u8::is_ascii_digit);
            Cell::Int(utf8().filter(|_| is_number)?.parse().ok()?)
        }
        Reading::DoubleText => {
            let value: f64 = std::str::from_utf8(as_number(text)?).ok()?.parse().ok()?;
            Cell::Double(Some(value).filter(|value| value.is_finite())? + 0.0)
        }
        Reading::Decimal { of, in_quotes: true } => Cell::Decimal(of.parse(as_number(text)?)?),
        Reading::Rfc3339 => Cell::Int(rfc3339(text)?),
        Reading::Pattern { pattern, zone } => {
            let parsed = BrokenDownTime::parse(pattern, text).ok()?;
            Cell::Int(instant(&parsed, zone.as_ref())?)
        }
        Reading::IsoDate => Cell::Int(days_of(iso_date(text)?)?),
        Reading::DatePattern(pattern) => {
            let parsed = BrokenDownTime::parse(pattern, text).ok()?;
            Cell::Int(days_of(parsed.to_date().ok()?)?)
        }
        Reading::Base64 => Cell::Bytes(data_encoding::BASE64.decode(text).ok()?.into()),
        Reading::Hex => Cell::Bytes(data_encoding::HEXLOWER_PERMISSIVE.decode(text).ok()?.into()),
        Reading::Json
        | Reading::Decimal { in_quotes: false, .. }
        | Reading::Since(_)
        | Reading::Days
        | Reading::List { .. } => return None,
    })
}

/// What a value is where every value is a text, as of a header: numbers and truths are written as in JSON, without quotes of their own.
/// The text is valid UTF-8. Nothing where it is no value of the column.
pub(super) fn read_text<'p>(column: &SourceColumn, text: &'p [u8]) -> Option<Cell<'p>> {
    match (&column.reading, column.field.column_type) {
        (Some(Reading::Decimal { of, .. }), _) => Some(Cell::Decimal(of.parse(as_number(text)?)?)),
        (Some(reading @ (Reading::Since(_) | Reading::Days)), _) => read_number(reading, as_number(text)?),
        (Some(Reading::Json), _) => {
            serde_json::from_slice::<IgnoredAny>(text).ok()?;
            Some(Cell::Bytes(text.into()))
        }
        (Some(reading), _) => read(reading, Raw::Text(text)),
        (None, ColumnType::Int) => read(&Reading::IntText, Raw::Text(text)),
        (None, ColumnType::Double) => read(&Reading::DoubleText, Raw::Text(text)),
        (None, ColumnType::Boolean) => match text {
            b"true" => Some(Cell::Boolean(true)),
            b"false" => Some(Cell::Boolean(false)),
            _ => None,
        },
        (None, _) => Some(Cell::Bytes(text.into())),
    }
}

/// What an element of a list is; nothing where it is none.
pub(super) fn read_element<'p>(of: ElementType, reading: Option<&Reading>, raw: Raw<'p>) -> Option<Cell<'p>> {
    let column_type = of.column_type();
    match (reading, raw) {
        (Some(reading), raw) => read(reading, raw),
        (None, Raw::Null) => Some(Cell::Null),
        (None, Raw::Boolean(value)) => Some(Cell::Boolean(value)).filter(|_| column_type == ColumnType::Boolean),
        (None, Raw::Text(text)) => Some(Cell::Bytes(text.into())).filter(|_| column_type == ColumnType::Text),
        (None, Raw::Number(number)) => match column_type {
            ColumnType::Int => read(&Reading::IntText, Raw::Text(number)),
            ColumnType::Double => read(&Reading::DoubleText, Raw::Text(number)),
            _ => None,
        },
        (None, Raw::Json(_) | Raw::Other) => None,
    }
}

/// Appends an element to the text of a list, in the one way in which its type is written.
pub(super) fn push_element(list: &mut String, of: ElementType, cell: &Cell<'_>) {
    let value = match cell {
        Cell::Null => Value::Null,
        Cell::Int(value) => Value::Int(*value),
        Cell::Double(value) => Value::Double(*value),
        Cell::Boolean(value) => Value::Boolean(*value),
        Cell::Decimal(value) => Value::Decimal(Unscaled::new(*value)),
        Cell::Bytes(bytes) => Value::Text(bytes),
    };
    of.column_type().push_json(list, value);
}

fn read_number<'p>(reading: &Reading, number: &[u8]) -> Option<Cell<'p>> {
    Some(match reading {
        Reading::Decimal { of, in_quotes: false } => Cell::Decimal(of.parse(number)?),
        Reading::Since(unit) => {
            let places = match unit {
                TimeUnit::Seconds => 6,
                TimeUnit::Milliseconds => 3,
                TimeUnit::Microseconds => 0,
                TimeUnit::Nanoseconds => -3,
            };
            // What is finer is cut to the microsecond before.
            let finest = DecimalType::new(DecimalType::PRECISION_MAX, TIME_PLACES)?.parse(number)?;
            let us = finest.div_euclid(10i128.pow(u32::from(TIME_PLACES).checked_add_signed(-places)?));
            let us = i64::try_from(us).ok();
            Cell::Int(us.filter(|us| TIMESTAMPS_US.contains(us))?)
        }
        Reading::Days => {
            let days = DecimalType::new(DecimalType::PRECISION_MAX, 0)?.parse(number)?;
            let days = i64::try_from(days).ok();
            Cell::Int(days.filter(|days| DATES.contains(days))?)
        }
        _ => return None,
    })
}

/// A date that is written with four, two and two digits.
fn iso_date(text: &[u8]) -> Option<Date> {
    let number = |text: &[u8]| {
        let is_number = text.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(text)
            .ok()
            .filter(|_| is_number)?
            .parse::<i16>()
            .ok()
    };
    let (year, rest) = text.split_at_checked(4)?;
    let (month, day) = match rest {
        [b'-', m1, m2, b'-', d1, d2] => (number(&[*m1, *m2])?, number(&[*d1, *d2])?),
        _ => return None,
    };
    Date::new(number(year)?, month.try_into().ok()?, day.try_into().ok()?).ok()
}

/// A text that is a number as JSON writes one, but that zeros may stand in front; what stands behind an `e` is not looked at.
fn as_number(text: &[u8]) -> Option<&[u8]> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let mut behind_point = digits.split(|byte| *byte == b'.').skip(1);
    let is_one = digits.first().is_some_and(u8::is_ascii_digit)
        && behind_point.all(|digits| digits.first().is_some_and(u8::is_ascii_digit))
        && text.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte));
    is_one.then_some(text)
}
