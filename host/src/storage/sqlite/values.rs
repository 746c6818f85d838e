//! How values lie in SQLite: what a column of each form is declared as, and a cell on its way there and back.
//!
//! People and their tools read these tables, so a value is by default what `sum()`, `ORDER BY` and `strftime()` take for what it
//! is: a timestamp is text in UTC, a date text, each of which sorts as it is; a decimal of up to 15 digits is a REAL, which comes
//! back exactly once it is rounded to its places. A wider decimal would not: it is text. Which forms there are,
//! [`Form`] says.

use crate::model::{
    column::{ColumnType, Unscaled, Value},
    column_type::{DATES, TIMESTAMPS_US},
    decimal::DecimalType,
    form::{ColumnForm, Form, Written},
};
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use rusqlite::{
    CachedStatement,
    types::{Null, ValueRef},
};

/// What a column is declared as.
pub(super) fn sql_type(form: ColumnForm) -> &'static str {
    match form.form {
        Form::Plain if form.column_type == ColumnType::Double => "REAL",
        Form::Number => "REAL",
        Form::Plain | Form::Unscaled | Form::EpochSeconds | Form::EpochMillis | Form::EpochMicros | Form::EpochDays => {
            "INTEGER"
        }
        Form::Text | Form::Json | Form::Base64 | Form::Hex => "TEXT",
        Form::Blob => "BLOB",
    }
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
    form: ColumnForm,
    value: Value<'_>,
) -> rusqlite::Result<()> {
    match form.write(value) {
        Written::Null => statement.raw_bind_parameter(number, Null),
        Written::Integer(value) => statement.raw_bind_parameter(number, value),
        Written::Real(value) => statement.raw_bind_parameter(number, value),
        Written::Boolean(value) => statement.raw_bind_parameter(number, value),
        // A text of so few digits has a nearest double, from which it can be told again.
        Written::Number(digits) => match digits.parse::<f64>() {
            Ok(value) => statement.raw_bind_parameter(number, value),
            Err(_) => statement.raw_bind_parameter(number, digits),
        },
        Written::Text(text) => statement.raw_bind_parameter(number, Text(&text)),
        Written::Json(text) => statement.raw_bind_parameter(number, Text(text)),
        Written::Bytes(bytes) => statement.raw_bind_parameter(number, bytes),
    }
}

/// A text that was checked to be UTF-8.
struct Text<'a>(&'a [u8]);

impl rusqlite::ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(rusqlite::types::ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

/// A cell that was read.
#[derive(Debug)]
pub(super) enum Cell<'v> {
    /// As it lies in the database.
    Value(Value<'v>),
    /// Bytes that are written otherwise there.
    Bytes(Vec<u8>),
}

impl Cell<'_> {
    /// What it holds.
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::Value(value) => *value,
            Self::Bytes(bytes) => Value::Text(bytes),
        }
    }
}

/// The cell of a column that holds `stored`; nothing where that is none of the column.
pub(super) fn cell_of(stored: ValueRef<'_>, form: ColumnForm) -> Option<Cell<'_>> {
    let value = match (form.form, stored) {
        (_, ValueRef::Null) => Value::Null,
        (Form::Plain, ValueRef::Integer(value)) if form.column_type == ColumnType::Boolean => {
            Value::Boolean(value != 0)
        }
        (Form::Plain, ValueRef::Integer(value)) => Value::Int(value),
        (Form::Plain, ValueRef::Real(value)) => Value::Double(value),
        (Form::Text, ValueRef::Text(text)) => match form.column_type {
            ColumnType::Timestamp | ColumnType::Date => {
                let text = std::str::from_utf8(text).ok()?;
                Value::Int(form.column_type.time_of(text)?)
            }
            ColumnType::Decimal(decimal) => decimal_of(decimal, text)?,
            _ => Value::Text(text),
        },
        (Form::Number, ValueRef::Real(value)) => match form.column_type {
            ColumnType::Decimal(decimal) => {
                let text = format!("{value:.places$}", places = usize::from(decimal.scale()));
                decimal_of(decimal, text.as_bytes())?
            }
            _ => return None,
        },
        (Form::Unscaled, ValueRef::Integer(value)) => {
            let value = Value::Decimal(Unscaled::new(value.into()));
            Some(value).filter(|value| fits(*value, form.column_type))?
        }
        (Form::EpochSeconds | Form::EpochMillis | Form::EpochMicros, ValueRef::Integer(value)) => {
            let us = value.checked_mul(form.form.unit_us())?;
            Value::Int(Some(us).filter(|us| TIMESTAMPS_US.contains(us))?)
        }
        (Form::EpochDays, ValueRef::Integer(days)) => Value::Int(Some(days).filter(|days| DATES.contains(days))?),
        (Form::Blob, ValueRef::Blob(bytes)) => Value::Text(bytes),
        (Form::Base64, ValueRef::Text(text)) => return BASE64.decode(text).ok().map(Cell::Bytes),
        (Form::Hex, ValueRef::Text(text)) => return HEXLOWER_PERMISSIVE.decode(text).ok().map(Cell::Bytes),
        _ => return None,
    };
    Some(Cell::Value(value))
}

fn decimal_of<'v>(decimal: DecimalType, text: &[u8]) -> Option<Value<'v>> {
    let unscaled = decimal.parse(text)?;
    Some(Value::Decimal(Unscaled::new(unscaled)))
}
