//! Values of payloads that are more than text: what a schema says they are is known, and the column says what becomes of them.

use super::{
    columns::{ColumnBuilders, Decoded, RejectedPayload},
    reading::{Cell, Raw, read},
};
use crate::{
    model::{
        column::ColumnType,
        column_type::{DATES, TIMESTAMPS_US},
        decimal::DecimalType,
    },
    plan::{Reading, SourceColumn, TimeScale},
    text::printable,
};
use std::borrow::Cow;

/// A value of a payload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'p> {
    Null,
    Boolean(bool),
    Int(i64),
    /// A number that may be beyond those of 64 bits with a sign.
    Wide(i128),
    Float(f32),
    Double(f64),
    /// Valid UTF-8.
    Text(&'p str),
    /// What stands where a text does, and is not valid UTF-8.
    NoText(&'p [u8]),
    Bytes(&'p [u8]),
    /// A number without its point, and how many digits stand behind it; nothing where it has more than 38 digits.
    Decimal(Option<i128>, u8),
    /// Microseconds since 1970-01-01T00:00:00Z; nothing beyond 64 bits.
    Timestamp(Option<i64>),
    /// Days since 1970-01-01.
    Date(i64),
    Uuid([u8; 16]),
}

impl<'p> Scalar<'p> {
    /// What stands where a text does.
    #[inline]
    pub(super) fn text(bytes: &'p [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(_) => Self::NoText(bytes),
        }
    }
}

/// What a value is in a column; nothing where it is none of its values.
#[inline]
pub(super) fn cell<'p>(column: &SourceColumn, scalar: Scalar<'p>) -> Option<Cell<'p>> {
    cell_of(column.field.column_type, column.reading.as_ref(), scalar)
}

/// What a value is in a column, or in a list, of this type, which is read so.
pub(super) fn cell_of<'p>(column_type: ColumnType, reading: Option<&Reading>, scalar: Scalar<'p>) -> Option<Cell<'p>> {
    Some(match (column_type, scalar) {
        (_, Scalar::Null) => Cell::Null,
        (ColumnType::Int, Scalar::Int(value)) => Cell::Int(value),
        (ColumnType::Int, Scalar::Wide(value)) => Cell::Int(value.try_into().ok()?),
        (ColumnType::Double, Scalar::Double(value)) => {
            Cell::Double(Some(value).filter(|value| value.is_finite())? + 0.0)
        }
        (ColumnType::Double, Scalar::Float(value)) => {
            Cell::Double(Some(value).filter(|value| value.is_finite())? as f64 + 0.0)
        }
        (ColumnType::Double, Scalar::Int(value)) => Cell::Double(value as f64),
        (ColumnType::Double, Scalar::Wide(value)) => Cell::Double(value as f64),
        (ColumnType::Boolean, Scalar::Boolean(value)) => Cell::Boolean(value),
        (ColumnType::Text, Scalar::Text(text)) => Cell::Bytes(Cow::Borrowed(text.as_bytes())),
        (ColumnType::Text, Scalar::Uuid(bytes)) => Cell::Bytes(Cow::Owned(uuid(bytes).into_bytes())),
        (ColumnType::Bytes, Scalar::Bytes(bytes)) => Cell::Bytes(Cow::Borrowed(bytes)),
        (ColumnType::Decimal(of), Scalar::Int(value)) => Cell::Decimal(of.rescaled(value.into(), 0)?),
        (ColumnType::Decimal(of), Scalar::Wide(value)) => Cell::Decimal(of.rescaled(value, 0)?),
        (ColumnType::Decimal(of), Scalar::Decimal(unscaled, scale)) => Cell::Decimal(of.rescaled(unscaled?, scale)?),
        (ColumnType::Timestamp, Scalar::Timestamp(us)) => Cell::Int(us.filter(|us| TIMESTAMPS_US.contains(us))?),
        (ColumnType::Date, Scalar::Date(days)) => Cell::Int(Some(days).filter(|days| DATES.contains(days))?),
        (ColumnType::Timestamp | ColumnType::Date, Scalar::Int(value)) => since(reading?, value)?,
        (_, Scalar::Text(text)) => read(reading?, Raw::Text(text.as_bytes()))?,
        _ => return None,
    })
}

/// A UUID as RFC 9562 writes it.
pub(super) fn uuid(bytes: [u8; 16]) -> String {
    let digits = data_encoding::HEXLOWER.encode(&bytes);
    let mut text = String::with_capacity(36);
    for (at, digit) in digits.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

/// A number that counts from 1970 on.
fn since(reading: &Reading, value: i64) -> Option<Cell<'static>> {
    match reading {
        Reading::Since(unit) => {
            // What is finer is cut to the microsecond before, as in JSON.
            let (unit, truncates) = (*unit, true);
            let us = TimeScale { unit, truncates }.in_us(value);
            Some(Cell::Int(us.filter(|us| TIMESTAMPS_US.contains(us))?))
        }
        Reading::Days => Some(Cell::Int(Some(value).filter(|days| DATES.contains(days))?)),
        _ => None,
    }
}

/// What a value of a column may be, for the reason of a dead letter.
pub(super) fn accepted(column: &SourceColumn) -> String {
    accepted_of(column.field.column_type, column.reading.as_ref())
}

fn accepted_of(column_type: ColumnType, reading: Option<&Reading>) -> String {
    match (column_type, reading) {
        (ColumnType::Int, _) => "an integer from -2^63 to 2^63-1, or null".to_owned(),
        (ColumnType::Double, _) => "a number whose nearest double is finite, or null".to_owned(),
        (ColumnType::Boolean, _) => "true, false, or null".to_owned(),
        (ColumnType::Text, _) => "a text in UTF-8, or null".to_owned(),
        (ColumnType::Decimal(of), _) => decimals(of),
        (ColumnType::Json, _) => "a value that JSON can hold, or null".to_owned(),
        (ColumnType::List(of), reading) => {
            let element = accepted_of(of.column_type(), reading.and_then(Reading::of_elements));
            format!("a list in which each value is {element}; or null")
        }
        (ColumnType::Timestamp, None) => "a timestamp of the years 0 to 9999, or null".to_owned(),
        (ColumnType::Date, None) => "a date of the years 0 to 9999, or null".to_owned(),
        (_, Some(reading)) => reading.to_string(),
        (ColumnType::Bytes, None) => "bytes, or null".to_owned(),
    }
}

fn decimals(of: DecimalType) -> String {
    let in_quotes = false;
    Reading::Decimal { of, in_quotes }.to_string()
}

/// A value that is none of a column's.
#[cold]
pub(super) fn wrong(column: &SourceColumn, found: &str, at: usize) -> RejectedPayload {
    RejectedPayload {
        column: Some(column.field.name.clone()),
        reason: format!("found {found} at byte {at}; accepted is {}", accepted(column)),
    }
}

/// A payload that is none of its format.
#[cold]
pub(super) fn malformed(reason: String) -> RejectedPayload {
    RejectedPayload { column: None, reason }
}

/// What was found, short enough for a reason.
#[cold]
pub(super) fn excerpt(found: &[u8]) -> String {
    const CHARS_MAX: usize = 40;
    let text = String::from_utf8_lossy(found);
    let start: String = text.chars().take(CHARS_MAX).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    format!("`{}{more}`", printable(&start))
}

/// A value that JSON cannot hold, for a reason.
#[cold]
pub(super) fn unfit(scalar: Scalar<'_>) -> String {
    match scalar {
        Scalar::NoText(bytes) => format!("a text that is not valid UTF-8, {}", excerpt(bytes)),
        Scalar::Double(value) => format!("`{value}`"),
        Scalar::Float(value) => format!("`{value}`"),
        Scalar::Decimal(..) => "a decimal of more than 38 digits".to_owned(),
        Scalar::Timestamp(_) => "a timestamp beyond the years 0 to 9999".to_owned(),
        Scalar::Date(days) => format!("`{days}` days since 1970-01-01"),
        _ => "a value that JSON cannot hold".to_owned(),
    }
}

/// Ends a row whose values were pushed, or takes back what was pushed of it.
#[inline]
pub(super) fn end_row(
    sink: &mut ColumnBuilders,
    pushed: Result<Decoded, RejectedPayload>,
) -> Result<Decoded, RejectedPayload> {
    match pushed {
        Ok(Decoded::Empty) => Ok(Decoded::Empty),
        Ok(Decoded::Row) if sink.close_row() => Ok(Decoded::Row),
        Ok(Decoded::Row) => {
            sink.drop_row();
            Err(full())
        }
        Err(rejected) => {
            sink.roll_back();
            Err(rejected)
        }
    }
}

/// There is no room for the texts of a row.
#[cold]
pub(super) fn full() -> RejectedPayload {
    malformed("found more text than a batch holds; accepted is at most 2^32-1 bytes of text in a batch".to_owned())
}
