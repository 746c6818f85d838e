//! A second decoder, slow and plain, that shares no line with the host's: `serde_json` says whether a payload is JSON,
//! and the values are taken out of the text of one that is.

use crate::table::Cell;
use serde::de::IgnoredAny;
use std::collections::HashSet;
use weir::{
    definition::{ColumnFormat, ColumnPlace},
    model::column::ColumnType,
};

/// A declared column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Where it is in the payload.
    pub path: Vec<String>,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether it is a text that has to hold a number.
    pub number: bool,
}

/// What a payload is.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A dead letter.
    Reject,
    /// No event.
    Blank,
    /// An event, with one cell per declared column.
    Row(Vec<Cell>),
}

/// Whether it knows the types of all columns.
pub fn knows(columns: &[Column]) -> bool {
    use ColumnType::{Boolean, Double, Int, Text};
    columns
        .iter()
        .all(|column| matches!(column.column_type, Int | Double | Boolean | Text))
}

/// Decodes a payload as `SEMANTICS.md` says.
pub fn decode(payload: &[u8], columns: &[Column]) -> Outcome {
    if payload.iter().all(|byte| b" \n\r\t".contains(byte)) {
        return Outcome::Blank;
    }
    let Ok(json) = std::str::from_utf8(payload) else {
        return Outcome::Reject;
    };
    let json = json.trim_matches([' ', '\n', '\r', '\t']);
    if serde_json::from_str::<IgnoredAny>(json).is_err() || !json.starts_with('{') {
        return Outcome::Reject;
    }
    let mut row = vec![Cell::Null; columns.len()];
    match fill(json, &[], columns, &mut row) {
        Some(()) => Outcome::Row(row),
        None => Outcome::Reject,
    }
}

/// Decodes a change of a row as Debezium tells it: `of_envelope` are the numbers of the columns beside the row, `key` those of its
/// key. A last cell says whether the row is gone.
pub fn decode_change(payload: &[u8], columns: &[Column], of_envelope: &[usize], key: &[usize]) -> Outcome {
    if payload.iter().all(|byte| b" \n\r\t".contains(byte)) {
        return Outcome::Blank;
    }
    let Ok(json) = std::str::from_utf8(payload) else {
        return Outcome::Reject;
    };
    let json = json.trim_matches([' ', '\n', '\r', '\t']);
    if json == "null" {
        return Outcome::Blank;
    }
    if serde_json::from_str::<IgnoredAny>(json).is_err() || !json.starts_with('{') {
        return Outcome::Reject;
    }
    change(json, columns, of_envelope, key).unwrap_or(Outcome::Reject)
}

fn change(json: &str, columns: &[Column], of_envelope: &[usize], key: &[usize]) -> Option<Outcome> {
    let [op, payload, ..] = named(json)?;
    let envelope = match (op, payload) {
        (None, Some("null")) => return Some(Outcome::Blank),
        (None, Some(inner)) => inner,
        _ => json,
    };
    if !envelope.starts_with('{') {
        return None;
    }
    let [op, _, before, after] = named(envelope)?;
    let (is_gone, prefix, image) = match op? {
        "\"c\"" | "\"r\"" | "\"u\"" => (false, "after", after?),
        "\"d\"" => (true, "before", before?),
        _ => return None,
    };
    if !image.starts_with('{') {
        return None;
    }
    let path = |index: usize, column: &Column| match (of_envelope.contains(&index), is_gone && !key.contains(&index)) {
        (true, _) => column.path.clone(),
        // No path is that of a column that is not read.
        (false, true) => Vec::new(),
        (false, false) => [&[prefix.to_owned()], &column.path[..]].concat(),
    };
    let read = columns.iter().enumerate().map(|(index, column)| Column {
        path: path(index, column),
        ..column.clone()
    });
    let read: Vec<Column> = read.collect();
    let mut row = vec![Cell::Null; columns.len()];
    fill(envelope, &[], &read, &mut row)?;
    let has_key = key.iter().all(|&column| row[column] != Cell::Null);
    row.push(Cell::Int(is_gone.into()));
    has_key.then_some(Outcome::Row(row))
}

/// The members of an object that make an envelope: `op`, `payload`, `before` and `after`; nothing when one occurs twice.
fn named(object: &str) -> Option<[Option<&str>; 4]> {
    let mut values = [None; 4];
    for (name, value) in members(object) {
        let name = serde_json::from_str::<String>(name).unwrap_or_default();
        let place = ["op", "payload", "before", "after"]
            .iter()
            .position(|known| *known == name);
        if let Some(place) = place
            && values[place].replace(value).is_some()
        {
            return None;
        }
    }
    Some(values)
}

/// The columns that a pipeline file declares for its payloads.
///
/// # Panics
/// When the file is none, or names several inputs.
pub fn columns_of(pipeline: &std::path::Path) -> Vec<Column> {
    let file = weir::definition::File::read(pipeline).expect("the pipeline file can be read");
    let definition = file.parse().expect("the pipeline file is one");
    let column = |(name, column): &(weir::definition::Name, weir::definition::SourceColumn)| Column {
        path: match &column.place {
            ColumnPlace::Payload(Some(path)) => path.names().expect("paths lead through objects"),
            _ => vec![name.get_ref().clone()],
        },
        column_type: column.column_type,
        number: column.format == Some(ColumnFormat::Number),
    };
    let columns = definition.source.into_inner().columns;
    let columns = columns.expect("the source has one input, without a name");
    columns.0.iter().map(column).collect()
}

/// Takes the declared columns out of an object, which lies under `prefix`; nothing when one is wrong.
fn fill(object: &str, prefix: &[String], columns: &[Column], row: &mut [Cell]) -> Option<()> {
    let mut seen = HashSet::new();
    for (name, value) in members(object) {
        // A name with a lone surrogate is no text, and so no declared one.
        let Ok(name) = serde_json::from_str::<String>(name) else {
            continue;
        };
        let mut path = prefix.to_vec();
        path.push(name);
        if !columns.iter().any(|column| column.path.starts_with(&path)) {
            continue;
        }
        if !seen.insert(path.clone()) {
            return None;
        }
        match columns.iter().position(|column| column.path == path) {
            Some(at) => row[at] = cell(&columns[at], value)?,
            None if value.starts_with('{') => fill(value, &path, columns, row)?,
            None if value == "null" => {}
            None => return None,
        }
    }
    Some(())
}

/// The cell that a value of valid JSON makes; nothing when the column does not take it.
fn cell(column: &Column, value: &str) -> Option<Cell> {
    if value == "null" {
        return Some(Cell::Null);
    }
    let is_number = value.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    match column.column_type {
        ColumnType::Int if is_number && !value.contains(['.', 'e', 'E']) => value.parse().ok().map(Cell::Int),
        ColumnType::Double if is_number => value
            .parse()
            .ok()
            .filter(|double: &f64| double.is_finite())
            // Negative zero is zero.
            .map(|double| Cell::Double(double + 0.0)),
        ColumnType::Boolean if value == "true" => Some(Cell::Int(1)),
        ColumnType::Boolean if value == "false" => Some(Cell::Int(0)),
        ColumnType::Text if value.starts_with('"') => {
            let text = serde_json::from_str::<String>(value).ok()?;
            (!column.number || is_decimal(&text)).then_some(Cell::Text(text))
        }
        _ => None,
    }
}

/// Whether a text is a finite number: spaces around it, a sign, digits with a point, an exponent.
pub fn is_decimal(text: &str) -> bool {
    fn after_digits(text: &str) -> &str {
        text.trim_start_matches(|c: char| c.is_ascii_digit())
    }
    fn after_sign(text: &str) -> &str {
        text.strip_prefix(['+', '-']).unwrap_or(text)
    }
    let text = text.trim_matches(' ');
    let whole = after_sign(text);
    let point = after_digits(whole);
    let fraction = point.strip_prefix('.').unwrap_or(point);
    let exponent = after_digits(fraction);
    let has_digits = whole.len() > point.len() || fraction.len() > exponent.len();
    let ends_well = match exponent.strip_prefix(['e', 'E']).map(after_sign) {
        Some(digits) => !digits.is_empty() && after_digits(digits).is_empty(),
        None => exponent.is_empty(),
    };
    has_digits && ends_well && text.parse().is_ok_and(f64::is_finite)
}

/// The members of an object in valid JSON, names and values as they are written.
fn members(object: &str) -> Vec<(&str, &str)> {
    let bytes = object.as_bytes();
    let skip = |mut at: usize, skipped: &[u8]| {
        while skipped.contains(&bytes[at]) {
            at += 1;
        }
        at
    };
    let mut members = Vec::new();
    let mut at = skip(1, b" \n\r\t");
    while bytes[at] != b'}' {
        let name_end = end_of_value(bytes, at);
        let value = skip(name_end, b" \n\r\t:");
        let value_end = end_of_value(bytes, value);
        members.push((&object[at..name_end], &object[value..value_end]));
        at = skip(value_end, b" \n\r\t,");
    }
    members
}

/// Where the value ends that begins at `at` in valid JSON.
fn end_of_value(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (end, &byte) in bytes.iter().enumerate().skip(at) {
        let outside = !quoted && depth == 0;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => {
                quoted = !quoted;
                if !quoted && depth == 0 {
                    return end + 1;
                }
            }
            _ if quoted => {}
            b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' if outside => return end,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return end + 1;
                }
            }
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_taken_apart_as_written() {
        let found = members(r#"{ "a" : [1, {"x":"]}"}] ,"b\"":-1.5e3, "c":"\\" , "d":{},"e":null}"#);
        let expected = [
            (r#""a""#, r#"[1, {"x":"]}"}]"#),
            (r#""b\"""#, "-1.5e3"),
            (r#""c""#, r#""\\""#),
            (r#""d""#, "{}"),
            (r#""e""#, "null"),
        ];
        assert_eq!(found, expected);
        assert_eq!(members("{ }"), []);
    }
}
