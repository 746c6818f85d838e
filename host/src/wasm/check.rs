//! What comes from a guest, checked piece by piece.

use crate::{
    limits::REASON_BYTES_MAX,
    model::{
        column::{Column, ColumnType, ElementType, Layout, TextValues, Value, Values},
        column_type::{DATES, DECIMAL, TIMESTAMPS_US},
    },
    text::printable_up_to,
};
use serde::de::IgnoredAny;
use std::ops::RangeInclusive;

/// Bytes of a value that messages show.
const SHOWN_BYTES: usize = 100;

/// Checks that a column has this type and `rows` rows, and keeps the rules of the contract. Lists are written anew, so that equal
/// ones are the same text.
///
/// # Errors
/// Which of them it breaks.
pub(super) fn check_column(given: &mut Column, wanted: ColumnType, nullable: bool, rows: usize) -> Result<(), String> {
    let length = |found: usize, what: &str| match found == rows {
        true => Ok(()),
        false => Err(format!("{found} {what} for {rows} rows")),
    };
    if let Some(validity) = &given.validity {
        length(validity.len(), "validity bytes")?;
        if let Some(byte) = validity.iter().find(|&&byte| byte > 1) {
            return Err(format!("validity byte {byte}; accepted are 0 and 1"));
        }
        if !nullable && validity.contains(&0) {
            return Err("a null, though it is described as never null".to_owned());
        }
    }
    match &given.values {
        Values::Int(values) => length(values.len(), "values")?,
        Values::Double(values) => {
            length(values.len(), "values")?;
            if let Some((_, value)) = values
                .iter()
                .enumerate()
                .find(|&(row, value)| !value.is_finite() && !given.is_null(row))
            {
                return Err(format!("{value}; accepted are finite numbers"));
            }
        }
        Values::Boolean(values) => {
            length(values.len(), "values")?;
            if let Some(byte) = values.iter().find(|&&byte| byte > 1) {
                return Err(format!("boolean {byte}; accepted are 0 and 1"));
            }
        }
        Values::Text(texts) => {
            length(texts.offsets.len().wrapping_sub(1), "texts")?;
            match wanted {
                ColumnType::Bytes => check_offsets(&texts.offsets, &texts.data, "bytes")?,
                _ => check_texts(&texts.offsets, &texts.data)?,
            }
        }
        Values::Decimal(values) => length(values.len(), "values")?,
    }
    let found = match given.layout() {
        found if found == wanted.layout() => {
            check_values(given, wanted)?;
            return match wanted {
                ColumnType::List(elements) => write_lists(given, elements),
                _ => Ok(()),
            };
        }
        Layout::Int => "int",
        Layout::Double => "double",
        Layout::Boolean => "boolean",
        Layout::Text => "text",
        Layout::Decimal => DECIMAL,
    };
    Err(format!("{found} values, though it is described as {wanted}"))
}

/// Checks that the values of a column are such of its type.
fn check_values(given: &Column, of: ColumnType) -> Result<(), String> {
    match (&given.values, of) {
        (Values::Int(values), ColumnType::Timestamp) => check_range(given, values, &TIMESTAMPS_US, "timestamp"),
        (Values::Int(values), ColumnType::Date) => check_range(given, values, &DATES, "date"),
        (Values::Decimal(values), ColumnType::Decimal(decimal)) => {
            let mut rows = values.iter().enumerate();
            match rows.find(|&(row, value)| !decimal.holds(*value) && !given.is_null(row)) {
                Some((_, value)) => Err(format!("{value} without its point, which is no {of}")),
                None => Ok(()),
            }
        }
        (Values::Text(texts), ColumnType::Json) => check_each(given, texts, |json| {
            // Null is a null of the column.
            json.trim_ascii() != b"null" && serde_json::from_slice::<IgnoredAny>(json).is_ok()
        })
        .map_err(|text| format!("{text}, which is no JSON value other than null")),
        _ => Ok(()),
    }
}

/// Writes the lists of a column in the one form in which equal lists are equal texts.
///
/// # Errors
/// Which is none.
fn write_lists(given: &mut Column, of: ElementType) -> Result<(), String> {
    let rows = given.len();
    let is_null: Vec<bool> = (0..rows).map(|row| given.is_null(row)).collect();
    let Values::Text(texts) = &mut given.values else {
        return Ok(());
    };
    let (mut written, mut list) = (TextValues::default(), String::new());
    for (row, is_null) in is_null.into_iter().enumerate() {
        list.clear();
        if !is_null {
            list.push('[');
            let is_list = of.each(texts.get(row), |element| {
                if list.len() > 1 {
                    list.push(',');
                }
                // Negative zero is zero.
                let element = match element {
                    Value::Double(value) => Value::Double(value + 0.0),
                    other => other,
                };
                of.column_type().push_json(&mut list, element);
            });
            list.push(']');
            if !is_list {
                let text = String::from_utf8_lossy(texts.get(row));
                let (text, of) = (printable_up_to(&text, SHOWN_BYTES), ColumnType::List(of));
                return Err(format!("\"{text}\", which is no {of}"));
            }
        }
        written.push(list.as_bytes());
    }
    *texts = written;
    Ok(())
}

fn check_range(given: &Column, values: &[i64], range: &RangeInclusive<i64>, what: &str) -> Result<(), String> {
    let mut rows = values.iter().enumerate();
    match rows.find(|&(row, value)| !range.contains(value) && !given.is_null(row)) {
        Some((_, value)) => {
            let (first, last) = (range.start(), range.end());
            Err(format!("{what} {value}; accepted are {first} to {last}"))
        }
        None => Ok(()),
    }
}

/// Checks each value that is not null.
///
/// # Errors
/// What the first is that is not as it should be, for messages.
fn check_each(given: &Column, texts: &TextValues, mut is_one: impl FnMut(&[u8]) -> bool) -> Result<(), String> {
    let mut rows = 0..given.len();
    match rows.find(|&row| !given.is_null(row) && !is_one(texts.get(row))) {
        Some(row) => {
            let text = String::from_utf8_lossy(texts.get(row));
            Err(format!("\"{}\"", printable_up_to(&text, SHOWN_BYTES)))
        }
        None => Ok(()),
    }
}

fn check_texts(offsets: &[u32], data: &[u8]) -> Result<(), String> {
    check_offsets(offsets, data, "texts")?;
    // Offsets into ASCII cannot fall into the middle of a character.
    if data.is_ascii() {
        return Ok(());
    }
    let text = std::str::from_utf8(data).map_err(|cause| format!("text that is not UTF-8: {cause}"))?;
    match offsets.iter().find(|&&offset| !text.is_char_boundary(offset as usize)) {
        Some(offset) => Err(format!("a text that ends within a character, at byte {offset}")),
        None => Ok(()),
    }
}

/// Checks that `offsets` cut `data` into pieces, which messages call `what`.
///
/// # Errors
/// Why they do not.
pub(super) fn check_offsets(offsets: &[u32], data: &[u8], what: &str) -> Result<(), String> {
    if offsets.first() != Some(&0) || offsets.last().map(|&last| last as usize) != Some(data.len()) {
        return Err(format!(
            "offsets of {what} that do not begin at 0 and end with the data"
        ));
    }
    match offsets.is_sorted() {
        true => Ok(()),
        false => Err(format!("offsets of {what} that descend")),
    }
}

/// Cuts a reason to what the database keeps.
pub(super) fn shorten(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(texts: &[&str]) -> Column {
        let mut values = TextValues::default();
        texts.iter().for_each(|text| values.push(text.as_bytes()));
        Column {
            validity: None,
            values: Values::Text(values),
        }
    }

    #[test]
    fn lists_are_brought_into_one_form() {
        let of_doubles = ColumnType::List(ElementType::of(ColumnType::Double).unwrap());
        let mut given = lists(&["[1, -0.0, 1e16,null]", "[]", "[ 0.10 ]"]);
        check_column(&mut given, of_doubles, false, 3).unwrap();
        assert_eq!(given, lists(&["[1.0,0.0,1e+16,null]", "[]", "[0.1]"]));
        let of_texts = ColumnType::List(ElementType::of(ColumnType::Text).unwrap());
        let mut given = lists(&["[\"\\u00e4\"]"]);
        check_column(&mut given, of_texts, false, 1).unwrap();
        assert_eq!(given, lists(&["[\"ä\"]"]));
        let refused = check_column(&mut lists(&["[1]", "[1"]), of_doubles, false, 2);
        assert_eq!(refused, Err("\"[1\", which is no list(double)".to_owned()));
        assert!(check_column(&mut lists(&["{}"]), of_doubles, false, 1).is_err());
    }
}
