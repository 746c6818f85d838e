//! What people pick out of a database, as conditions of SQL.

use rusqlite::types::Value;

/// The condition that all of `given` holds, where there is a value for it, with the values in order.
pub(super) fn all_of<const N: usize>(given: [(&str, Option<Value>); N]) -> (String, Vec<Value>) {
    let (mut parts, mut values) = (vec!["1"], Vec::new());
    for (part, value) in given {
        if let Some(value) = value {
            parts.push(part);
            values.push(value);
        }
    }
    (parts.join(" AND "), values)
}

/// A text to compare with.
pub(super) fn text(text: &Option<String>) -> Option<Value> {
    text.clone().map(Value::Text)
}

/// A sequence to compare with. SQLite counts in signed numbers, and no stream comes that far.
pub(super) fn sequence(sequence: Option<u64>) -> Option<Value> {
    sequence.map(|sequence| Value::Integer(i64::try_from(sequence).unwrap_or(i64::MAX)))
}
