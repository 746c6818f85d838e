//! JSON that is made of values of other formats: in one way only, so that equal values are equal texts.

use super::{
    cursor::{Rejected, broken},
    scalar::{Scalar, uuid},
};
use crate::{
    limits::RENDERED_BYTES_MAX,
    model::{
        column::{ColumnType, Unscaled, Value},
        column_type::{DATES, TIMESTAMPS_US},
        decimal::DecimalType,
    },
};
use std::io::Write;

/// Appends a value; false where JSON cannot hold it: a number that is none, or a time beyond the years 0 to 9999.
#[must_use]
pub(super) fn append(text: &mut Vec<u8>, scalar: Scalar<'_>) -> bool {
    let quoted = |text: &mut Vec<u8>, column_type: ColumnType, value| {
        let value = column_type.text(value).unwrap_or_default();
        append_text(text, &value);
    };
    // Nothing of what is written to memory can fail.
    let written = match scalar {
        Scalar::Null => text.write_all(b"null"),
        Scalar::Boolean(value) => write!(text, "{value}"),
        Scalar::Int(value) => write!(text, "{value}"),
        Scalar::Wide(value) => write!(text, "{value}"),
        // Negative zero is zero.
        Scalar::Double(value) if value.is_finite() => return serde_json::to_writer(text, &(value + 0.0)).is_ok(),
        // As short as it can be, so 0.1 and not what a double makes of it.
        Scalar::Float(value) if value.is_finite() => return serde_json::to_writer(text, &(value + 0.0)).is_ok(),
        Scalar::Uuid(bytes) => {
            append_text(text, &uuid(bytes));
            Ok(())
        }
        Scalar::Text(value) => {
            append_text(text, value);
            Ok(())
        }
        Scalar::Bytes(bytes) => {
            quoted(text, ColumnType::Bytes, Value::Text(bytes));
            Ok(())
        }
        Scalar::Decimal(Some(unscaled), scale) => {
            // Its digits may be more than its precision says.
            let Some(of) = DecimalType::new(DecimalType::PRECISION_MAX, scale).filter(|of| of.holds(unscaled)) else {
                return false;
            };
            quoted_less(text, ColumnType::Decimal(of), Value::Decimal(Unscaled::new(unscaled)));
            Ok(())
        }
        Scalar::Timestamp(Some(us)) if TIMESTAMPS_US.contains(&us) => {
            quoted(text, ColumnType::Timestamp, Value::Int(us));
            Ok(())
        }
        Scalar::Date(days) if DATES.contains(&days) => {
            quoted(text, ColumnType::Date, Value::Int(days));
            Ok(())
        }
        Scalar::NoText(_)
        | Scalar::Float(_)
        | Scalar::Double(_)
        | Scalar::Decimal(..)
        | Scalar::Timestamp(_)
        | Scalar::Date(_) => {
            return false;
        }
    };
    written.is_ok()
}

fn quoted_less(text: &mut Vec<u8>, column_type: ColumnType, value: Value<'_>) {
    let value = column_type.text(value).unwrap_or_default();
    text.extend_from_slice(value.as_bytes());
}

/// Appends a text in quotes.
pub(super) fn append_text(text: &mut Vec<u8>, value: &str) {
    // Writing to memory cannot fail, nor a text be none.
    let _ = serde_json::to_writer(text, value);
}

/// Appends the members of an object whose names stand in no order of their own: sorted, and of those of one name the last. Each
/// is a name and where in `text`, from `start` on, its value was written.
pub(super) fn sort_members(text: &mut Vec<u8>, start: usize, mut members: Vec<(String, usize, usize)>) {
    members.sort_by(|a, b| a.0.cmp(&b.0));
    let values = text.split_off(start);
    text.push(b'{');
    let mut is_first = true;
    for (at, (name, from, to)) in members.iter().enumerate() {
        if members.get(at + 1).is_some_and(|(next, ..)| next == name) {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            text.push(b',');
        }
        append_text(text, name);
        text.push(b':');
        let value = values.get(from.saturating_sub(start)..to.saturating_sub(start));
        text.extend_from_slice(value.unwrap_or_default());
    }
    text.push(b'}');
}

/// Checks that what was written is not too long.
pub(super) fn check_length(text: &[u8]) -> Result<(), Rejected> {
    match text.len() > RENDERED_BYTES_MAX {
        false => Ok(()),
        true => Err(broken(format!(
            "found a value that is more than {RENDERED_BYTES_MAX} bytes as JSON; accepted are values up to there"
        ))),
    }
}
