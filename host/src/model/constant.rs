//! Constants: one value for every row of a column.

use super::{
    column::{Column, ColumnType, TextValues, Unscaled, Value, Values},
    column_type::rfc3339,
};
use std::{borrow::Cow, fmt};

/// A value with its type.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// The type.
    pub column_type: ColumnType,
    cell: Cell,
}

/// A value that owns what it holds.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Null,
    Int(i64),
    Double(f64),
    Boolean(bool),
    Text(Box<[u8]>),
    Decimal(i128),
}

impl Constant {
    /// Null, as a value of this type.
    pub fn null(column_type: ColumnType) -> Self {
        let cell = Cell::Null;
        Self { column_type, cell }
    }

    /// What TOML has, as a value of this type. A text is written as [`ColumnType::text`] writes it. Nothing where it is none.
    pub fn of(column_type: ColumnType, value: &toml::Value) -> Option<Self> {
        let cell = match (column_type, value) {
            (ColumnType::Int, toml::Value::Integer(value)) => Cell::Int(*value),
            (ColumnType::Double, toml::Value::Float(value)) if value.is_finite() => Cell::Double(*value + 0.0),
            (ColumnType::Double, toml::Value::Integer(value)) => Cell::Double(*value as f64),
            (ColumnType::Boolean, toml::Value::Boolean(value)) => Cell::Boolean(*value),
            (ColumnType::Text, toml::Value::String(text)) => Cell::text(text.as_bytes()),
            (ColumnType::Decimal(decimal), value) => Cell::Decimal(decimal.parse(digits(value)?.as_bytes())?),
            (ColumnType::Timestamp, toml::Value::String(text)) => Cell::Int(rfc3339(text.as_bytes())?),
            (ColumnType::Timestamp, toml::Value::Datetime(time)) => Cell::Int(rfc3339(time.to_string().as_bytes())?),
            (ColumnType::Date, toml::Value::String(text)) => Cell::Int(column_type.time_of(text)?),
            (ColumnType::Date, toml::Value::Datetime(date)) if date.time.is_none() => {
                Cell::Int(column_type.time_of(&date.to_string())?)
            }
            (ColumnType::Bytes, toml::Value::String(text)) => {
                Cell::text(&data_encoding::BASE64.decode(text.as_bytes()).ok()?)
            }
            (ColumnType::Json, toml::Value::String(text)) => {
                let text = text.trim_matches([' ', '\t', '\n', '\r']);
                let parsed: Option<serde::de::IgnoredAny> = serde_json::from_str(text).ok();
                Cell::text(parsed.filter(|_| text != "null").map(|_| text)?.as_bytes())
            }
            (ColumnType::List(of), toml::Value::Array(values)) => {
                let elements = values.iter().map(|value| Self::of(of.column_type(), value));
                let mut json = "[".to_owned();
                for (at, element) in elements.enumerate() {
                    json += if at > 0 { "," } else { "" };
                    of.column_type().push_json(&mut json, element?.value());
                }
                Cell::text((json + "]").as_bytes())
            }
            _ => return None,
        };
        Some(Self { column_type, cell })
    }

    /// The value.
    pub fn value(&self) -> Value<'_> {
        match &self.cell {
            Cell::Null => Value::Null,
            Cell::Int(value) => Value::Int(*value),
            Cell::Double(value) => Value::Double(*value),
            Cell::Boolean(value) => Value::Boolean(*value),
            Cell::Text(text) => Value::Text(text),
            Cell::Decimal(value) => Value::Decimal(Unscaled::new(*value)),
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        self.cell == Cell::Null
    }

    /// How many bytes a row of it takes beside what each value takes.
    pub fn bytes(&self) -> usize {
        match &self.cell {
            Cell::Text(text) => text.len(),
            _ => 0,
        }
    }

    /// A column of so many rows.
    pub fn column(&self, rows: usize) -> Column {
        let values = match &self.cell {
            Cell::Null => {
                let mut nulls = Column::with_capacity(self.column_type, rows);
                (0..rows).for_each(|_| nulls.push_null());
                return nulls;
            }
            Cell::Int(value) => Values::Int(vec![*value; rows]),
            Cell::Double(value) => Values::Double(vec![*value; rows]),
            Cell::Boolean(value) => Values::Boolean(vec![u8::from(*value); rows]),
            Cell::Decimal(value) => Values::Decimal(vec![*value; rows]),
            Cell::Text(text) => Values::Text(TextValues {
                offsets: (0..=rows).map(|row| (row * text.len()) as u32).collect(),
                data: text.repeat(rows),
            }),
        };
        Column { validity: None, values }
    }
}

impl Cell {
    fn text(bytes: &[u8]) -> Self {
        Self::Text(bytes.into())
    }
}

/// As a person writes it: with its type, where the value alone does not say it.
impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column_type, .. } = self;
        match (column_type, column_type.text(self.value())) {
            (_, None) => write!(f, "{column_type} null"),
            (ColumnType::Int | ColumnType::Double | ColumnType::Boolean, Some(text)) => f.write_str(&text),
            (ColumnType::Text, Some(text)) => write!(f, "{text:?}"),
            (_, Some(text)) => write!(f, "{column_type} {text}"),
        }
    }
}

/// The digits that a decimal is written with: those of a number of TOML where a double holds all of them.
fn digits(value: &toml::Value) -> Option<Cow<'_, str>> {
    Some(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(value) => value.to_string().into(),
        toml::Value::Float(value) => {
            let text = value.to_string();
            let digits = text.bytes().filter(u8::is_ascii_digit).count();
            (digits <= f64::DIGITS as usize).then_some(text)?.into()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{column::ElementType, decimal::DecimalType};

    #[track_caller]
    fn check(column_type: ColumnType, toml: &str, shown: Option<&str>) {
        let table: toml::Table = format!("is = {toml}").parse().unwrap();
        let constant = Constant::of(column_type, &table["is"]);
        assert_eq!(
            constant.map(|constant| constant.to_string()).as_deref(),
            shown,
            "{toml} as {column_type}"
        );
    }

    #[test]
    fn a_value_of_toml_is_one_of_its_type_or_none() {
        let decimal = ColumnType::Decimal(DecimalType::new(20, 2).unwrap());
        let dates = ColumnType::List(ElementType::of(ColumnType::Date).unwrap());
        for (column_type, toml, shown) in [
            (ColumnType::Int, "-7", Some("-7")),
            (ColumnType::Int, "1.0", None),
            (ColumnType::Int, "\"1\"", None),
            (ColumnType::Double, "1", Some("1.0")),
            (ColumnType::Double, "-0.0", Some("0.0")),
            (ColumnType::Double, "nan", None),
            (ColumnType::Boolean, "true", Some("true")),
            (ColumnType::Boolean, "1", None),
            (ColumnType::Text, "'CHF'", Some("\"CHF\"")),
            (ColumnType::Text, "1", None),
            (decimal, "12", Some("decimal(20, 2) 12.00")),
            (decimal, "12.5", Some("decimal(20, 2) 12.50")),
            (decimal, "'-0.05'", Some("decimal(20, 2) -0.05")),
            (decimal, "'0.005'", None),
            // A double holds fifteen digits, and what it makes of more is not what was written.
            (decimal, "1234567890123456.25", None),
            (
                decimal,
                "'1234567890123456.25'",
                Some("decimal(20, 2) 1234567890123456.25"),
            ),
            (
                ColumnType::Timestamp,
                "2026-03-15T12:00:00+08:00",
                Some("timestamp 2026-03-15T04:00:00.000000Z"),
            ),
            (
                ColumnType::Timestamp,
                "'2026-03-15T04:00:00.5Z'",
                Some("timestamp 2026-03-15T04:00:00.500000Z"),
            ),
            (ColumnType::Timestamp, "2026-03-15T12:00:00", None),
            (ColumnType::Timestamp, "1773547200", None),
            (ColumnType::Date, "2026-03-15", Some("date 2026-03-15")),
            (ColumnType::Date, "'0000-01-01'", Some("date 0000-01-01")),
            (ColumnType::Date, "2026-03-15T00:00:00Z", None),
            (ColumnType::Bytes, "'AAEC'", Some("bytes AAEC")),
            (ColumnType::Bytes, "'AAE'", None),
            (ColumnType::Json, "' {\"a\": [1]} '", Some(r#"json {"a": [1]}"#)),
            (ColumnType::Json, "'{'", None),
            (ColumnType::Json, "'null'", None),
            (ColumnType::Json, "{ a = 1 }", None),
            (
                dates,
                "['2026-03-15', 2024-02-29]",
                Some(r#"list(date) ["2026-03-15","2024-02-29"]"#),
            ),
            (dates, "[]", Some("list(date) []")),
            (dates, "['2026-03-15', 1]", None),
            (dates, "'[]'", None),
        ] {
            check(column_type, toml, shown);
        }
    }

    #[test]
    fn every_row_of_a_column_is_the_constant() {
        let of = |column_type, value: toml::Value| Constant::of(column_type, &value).unwrap();
        for constant in [
            of(ColumnType::Int, 7.into()),
            of(ColumnType::Double, 7.5.into()),
            of(ColumnType::Boolean, true.into()),
            of(ColumnType::Text, "CHF".into()),
            of(ColumnType::Text, "".into()),
            of(ColumnType::Decimal(DecimalType::new(3, 1).unwrap()), 7.into()),
            Constant::null(ColumnType::Text),
            Constant::null(ColumnType::Int),
        ] {
            for rows in [0, 1, 3] {
                let column = constant.column(rows);
                assert_eq!(column.len(), rows);
                assert!((0..rows).all(|row| column.get(row) == constant.value()), "{constant}");
            }
        }
    }
}
