//! How values lie in SQLite: what a column of each type is declared as, and a cell on its way there and back.
//!
//! People and their tools read these tables, so a value is what `sum()`, `ORDER BY` and `strftime()` take for what it is: a
//! timestamp is text in UTC, a date text, each of which sorts as it is; a decimal of up to 15 digits is a REAL, which comes back
//! exactly once it is rounded to its places. A wider decimal would not: it is text.

use crate::model::{
    column::{ColumnType, Unscaled, Value},
    decimal::DecimalType,
};
use rusqlite::{
    CachedStatement,
    types::{Null, ValueRef},
};

/// The most digits of a decimal for which a double stands.
const DOUBLE_DIGITS: u8 = 15;

/// What a column is declared as.
pub(super) fn sql_type(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Int | ColumnType::Boolean => "INTEGER",
        ColumnType::Double => "REAL",
        ColumnType::Decimal(decimal) if is_real(decimal) => "REAL",
        ColumnType::Decimal(_)
        | ColumnType::Text
        | ColumnType::Timestamp
        | ColumnType::Date
        | ColumnType::Json
        | ColumnType::List(_) => "TEXT",
        ColumnType::Bytes => "BLOB",
    }
}

fn is_real(decimal: DecimalType) -> bool {
    decimal.precision() <= DOUBLE_DIGITS
}

/// Whether a column may hold a value. (Whether it may be null, SQLite knows.)
pub(super) fn fits(value: Value<'_>, column_type: ColumnType) -> bool {
    match (value, column_type) {
        (Value::Decimal(unscaled), ColumnType::Decimal(decimal)) => decimal.holds(unscaled.get()),
        _ => value.layout().is_none_or(|layout| layout == column_type.layout()),
    }
}

/// Binds one cell. Text goes in as it is: it was checked to be UTF-8 when it came in.
pub(super) fn bind(
    statement: &mut CachedStatement<'_>,
    number: usize,
    column_type: ColumnType,
    value: Value<'_>,
) -> rusqlite::Result<()> {
    match (column_type, value) {
        (_, Value::Null) => statement.raw_bind_parameter(number, Null),
        (ColumnType::Timestamp | ColumnType::Date, value) => {
            let text = column_type.text(value);
            statement.raw_bind_parameter(number, text.as_deref())
        }
        (ColumnType::Decimal(decimal), Value::Decimal(unscaled)) => {
            let text = decimal.text(unscaled.get());
            // A text of so few digits has a nearest double, from which it can be told again.
            match text.parse::<f64>() {
                Ok(value) if is_real(decimal) => statement.raw_bind_parameter(number, value),
                _ => statement.raw_bind_parameter(number, text),
            }
        }
        (ColumnType::Bytes, Value::Text(bytes)) => statement.raw_bind_parameter(number, bytes),
        (_, Value::Int(value)) => statement.raw_bind_parameter(number, value),
        (_, Value::Double(value)) => statement.raw_bind_parameter(number, value),
        (_, Value::Boolean(value)) => statement.raw_bind_parameter(number, value),
        (_, Value::Text(text)) => statement.raw_bind_parameter(number, Text(text)),
        (_, Value::Decimal(unscaled)) => statement.raw_bind_parameter(number, unscaled.get().to_string()),
    }
}

/// A text that was checked to be UTF-8.
struct Text<'a>(&'a [u8]);

impl rusqlite::ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(rusqlite::types::ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

/// The cell of a column that holds `value`; null where that is none of the column.
pub(super) fn value_of(value: ValueRef<'_>, column_type: ColumnType) -> Value<'_> {
    let none = Value::Null;
    match (column_type, value) {
        (ColumnType::Timestamp | ColumnType::Date, ValueRef::Text(text)) => std::str::from_utf8(text)
            .ok()
            .and_then(|text| column_type.time_of(text))
            .map_or(none, Value::Int),
        (ColumnType::Decimal(decimal), ValueRef::Text(text)) => decimal_of(decimal, text),
        (ColumnType::Decimal(decimal), ValueRef::Real(value)) => {
            let text = format!("{value:.places$}", places = usize::from(decimal.scale()));
            decimal_of(decimal, text.as_bytes())
        }
        (ColumnType::Bytes, ValueRef::Blob(bytes)) => Value::Text(bytes),
        (ColumnType::Boolean, ValueRef::Integer(value)) => Value::Boolean(value != 0),
        (_, ValueRef::Integer(value)) => Value::Int(value),
        (_, ValueRef::Real(value)) => Value::Double(value),
        (_, ValueRef::Text(text)) => Value::Text(text),
        (_, ValueRef::Null | ValueRef::Blob(_)) => none,
    }
}

fn decimal_of<'v>(decimal: DecimalType, text: &[u8]) -> Value<'v> {
    let unscaled = decimal.parse(text);
    unscaled.map_or(Value::Null, |unscaled| Value::Decimal(Unscaled::new(unscaled)))
}
