//! Rows of a table, as a case writes them and as a database holds them.

use super::mistake;
use crate::{
    error::Result,
    files::input,
    model::{
        column::{ColumnType, Field},
        form::{ColumnForm, Place},
    },
    plan::{Plan, SinkColumn, Target},
};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::{Map, Value as Json, json, value::RawValue};
use std::{fmt, path::Path};

/// How far a double may be from the one that is expected, as a part of it: so that a sum that somebody worked out by
/// adding one number after the other is accepted.
const DOUBLE_TOLERANCE: f64 = 1e-9;

/// A table's name, columns and key.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    /// How each of them is written.
    forms: Vec<ColumnForm>,
    /// The columns of the primary key; none for a table that rows are appended to.
    pub(super) key: Vec<usize>,
    /// Whether it is a lookup table, and no sink.
    pub(super) is_lookup: bool,
}

impl Shape {
    /// The tables of a pipeline: those that it fills, then those that it looks up.
    pub(super) fn all(plan: &Plan) -> Vec<Self> {
        let sinks = plan.sinks.iter().filter_map(|sink| {
            let (name, key) = match &sink.target {
                Target::Table { name, primary_key, .. } => (name, primary_key.clone()),
                Target::Append { name } => (name, Vec::new()),
                Target::Subject { .. } => return None,
            };
            Some(Self {
                name: name.clone(),
                fields: sink.fields().cloned().collect(),
                forms: sink.columns.iter().map(SinkColumn::column_form).collect(),
                key,
                is_lookup: false,
            })
        });
        let lookups = plan.tables.iter().map(|table| Self {
            name: table.name.clone(),
            fields: table.columns.iter().map(|column| column.field.clone()).collect(),
            forms: table
                .columns
                .iter()
                .map(|column| ColumnForm::usual(column.field.column_type, Place::Table))
                .collect(),
            key: (0..table.key_len).collect(),
            is_lookup: true,
        });
        sinks.chain(lookups).collect()
    }

    /// The names of the columns.
    pub(super) fn columns(&self) -> Vec<&str> {
        self.fields.iter().map(|field| field.name.as_str()).collect()
    }

    /// A row of the database in the form in which rows are compared.
    pub(super) fn found(&self, row: Vec<Json>) -> Vec<Json> {
        let cells = row.into_iter().zip(&self.forms);
        cells
            .map(|(cell, form)| cell_of(&cell, *form).unwrap_or(cell))
            .collect()
    }

    /// A row that is expected. A member that is missing is null, as in a payload.
    pub(super) fn expected(&self, row: &Map<String, Json>) -> Result<Vec<Json>, String> {
        if let Some(name) = row.keys().find(|name| !self.columns().contains(&name.as_str())) {
            return Err(format!(
                "table {} has no column \"{name}\"; it has {}",
                self.name,
                self.columns().join(", ")
            ));
        }
        let cell = |(field, form): (&Field, &ColumnForm)| {
            let cell = row.get(&field.name).unwrap_or(&Json::Null);
            cell_of(cell, *form).ok_or_else(|| {
                let what = match form.is_usual(Place::Table) {
                    true => form.column_type.to_string(),
                    false => form.to_string(),
                };
                format!(
                    "column \"{}\" of table {} is {what}, found {}",
                    field.name,
                    self.name,
                    written(cell)
                )
            })
        };
        self.fields.iter().zip(&self.forms).map(cell).collect()
    }

    /// The key of a row as text: equal for equal keys.
    pub(super) fn key_of(&self, row: &[Json]) -> String {
        let cells: Vec<String> = self
            .key
            .iter()
            .filter_map(|&at| row.get(at))
            .map(Json::to_string)
            .collect();
        cells.join(",")
    }

    /// A row as a line of a file.
    pub(super) fn line(&self, row: &[Json]) -> String {
        let cells = self.columns().into_iter().map(str::to_owned).zip(row.iter().cloned());
        written(&Json::Object(cells.collect()))
    }
}

/// A cell in the form of its column: every double as one, every boolean as true or false.
fn cell_of(cell: &Json, form: ColumnForm) -> Option<Json> {
    if cell.is_null() {
        return Some(Json::Null);
    }
    match form.column_type {
        _ if form.form.is_integer() => cell.as_i64().map(Json::from),
        ColumnType::Int => cell.as_i64().map(Json::from),
        // SQLite has one zero.
        ColumnType::Double => number(cell)?.parse().ok().map(|value: f64| Json::from(value + 0.0)),
        ColumnType::Boolean => match cell.as_i64() {
            Some(0) => Some(Json::from(false)),
            Some(1) => Some(Json::from(true)),
            _ => cell.as_bool().map(Json::from),
        },
        ColumnType::Text | ColumnType::Timestamp | ColumnType::Date | ColumnType::Bytes => {
            cell.as_str().map(Json::from)
        }
        // Wide decimals are texts; of others the shortest number of a double is the decimal, or less than it by zeros.
        ColumnType::Decimal(decimal) => {
            let written = match cell {
                Json::String(text) => text.clone(),
                cell => number(cell)?,
            };
            let unscaled = decimal.parse(written.as_bytes())?;
            Some(Json::from(decimal.text(unscaled)))
        }
        // As a value: neither the order of members nor spaces tell two apart.
        ColumnType::Json | ColumnType::List(_) => match cell {
            Json::String(text) => exact(text).ok().or_else(|| Some(cell.clone())),
            cell => Some(cell.clone()),
        },
    }
}

/// Whether two cells are the same, but for the last digits of a double.
pub(super) fn is_same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(one), Json::Number(other)) if one.is_f64() && other.is_f64() => {
            let (one, other) = (one.as_f64().unwrap_or(0.0), other.as_f64().unwrap_or(0.0));
            (one - other).abs() <= DOUBLE_TOLERANCE * one.abs().max(other.abs())
        }
        _ => one == other,
    }
}

/// Bytes of a file with what is expected of a case.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The name under which a number stands that no double is.
const NUMBER: &str = "\0number";

/// How deep values may be nested.
const NESTING_MAX: usize = 128;

/// A value whose objects have each member once: of two the last would be taken, and the first compared with nothing. A number that
/// would become another as a double stands as it is written, so that two decimals are the same only where all their digits are.
pub(super) fn exact(text: &str) -> serde_json::Result<Json> {
    value(serde_json::from_str(text)?, 0)
}

fn value(raw: &RawValue, depth: usize) -> serde_json::Result<Json> {
    let text = raw.get();
    if depth > NESTING_MAX {
        return Err(serde_json::Error::custom(format!(
            "found values within values, more than {NESTING_MAX} deep"
        )));
    }
    Ok(match text.bytes().next() {
        Some(b'{') => {
            let mut object = Map::new();
            for (name, member) in serde_json::from_str::<Members<'_>>(text)?.0 {
                let member = value(member, depth + 1)?;
                if object.insert(name.clone(), member).is_some() {
                    return Err(serde_json::Error::custom(format!(
                        "the member \"{name}\" is there twice"
                    )));
                }
            }
            Json::Object(object)
        }
        Some(b'[') => {
            let elements = serde_json::from_str::<Vec<&RawValue>>(text)?.into_iter();
            let elements = elements.map(|element| value(element, depth + 1));
            Json::Array(elements.collect::<serde_json::Result<_>>()?)
        }
        Some(b'-' | b'0'..=b'9') => Digits::of(text).json(),
        _ => serde_json::from_str(text)?,
    })
}

/// The number that a cell is, as it is written; nothing where it is none.
fn number(cell: &Json) -> Option<String> {
    match cell {
        Json::Number(number) => Some(number.to_string()),
        Json::Object(object) if object.len() == 1 => Some(object.get(NUMBER)?.as_str()?.to_owned()),
        _ => None,
    }
}

/// A value as it is written, numbers with all their digits.
pub(super) fn written(value: &Json) -> String {
    match (number(value), value) {
        (Some(number), _) => number,
        (None, Json::Array(elements)) => {
            let elements: Vec<String> = elements.iter().map(written).collect();
            format!("[{}]", elements.join(","))
        }
        (None, Json::Object(object)) => {
            let members = object.iter().map(|(name, value)| {
                let name = Json::from(name.as_str());
                format!("{name}:{}", written(value))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        (None, scalar) => scalar.to_string(),
    }
}

/// A number by its digits, without zeros at either end, and the power of ten of the last.
#[derive(PartialEq)]
struct Digits {
    is_negative: bool,
    significant: String,
    power: i64,
}

impl Digits {
    /// Those of a number as JSON has it.
    fn of(text: &str) -> Self {
        let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let all = format!("{}{fraction}", whole.trim_start_matches('-'));
        let kept = all.trim_end_matches('0');
        let exponent = match exponent.trim_start_matches('+').parse::<i64>() {
            Ok(exponent) => exponent,
            // Beyond any number that somebody means.
            Err(_) if exponent.starts_with('-') => i64::MIN / 2,
            Err(_) => i64::MAX / 2,
        };
        let zeros = all.len() as i64 - kept.len() as i64;
        let significant = kept.trim_start_matches('0').to_owned();
        let is_zero = significant.is_empty();
        Self {
            is_negative: text.starts_with('-') && !is_zero,
            power: if is_zero {
                0
            } else {
                exponent.saturating_sub(fraction.len() as i64).saturating_add(zeros)
            },
            significant,
        }
    }

    /// The number: an integer or a double where one is exactly that, in whichever way it was written.
    fn json(self) -> Json {
        let sign = if self.is_negative { "-" } else { "" };
        let digits = if self.significant.is_empty() {
            "0"
        } else {
            &self.significant
        };
        let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or_default());
        let text = match (self.power, digits.len() as i64 + self.power) {
            (0..=40, _) => format!("{sign}{digits}{}", zeros(self.power)),
            (_, whole @ 1..=40) => {
                let (whole, fraction) = digits.split_at(usize::try_from(whole).unwrap_or_default());
                format!("{sign}{whole}.{fraction}")
            }
            (_, whole @ -40..=0) => format!("{sign}0.{}{digits}", zeros(-whole)),
            (power, _) => format!("{sign}{digits}e{power}"),
        };
        match serde_json::from_str::<Json>(&text) {
            Ok(number) if Self::of(&number.to_string()) == self => number,
            _ => json!({ NUMBER: text }),
        }
    }
}

/// The members of an object, in the order in which they were written.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members<'de>, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = members.next_entry()? {
                    all.push(member);
                }
                Ok(Members(all))
            }
        }

        deserializer.deserialize_map(Each)
    }
}

/// The objects of a file, each with the number of its line. Numbers are as [`exact`] has them.
pub(super) fn read_objects(file: &Path) -> Result<Vec<(usize, Map<String, Json>)>> {
    let text = input::read_text(file, "", FILE_BYTES_MAX)?;
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    lines
        .map(|(line, number)| match exact(line) {
            Ok(Json::Object(object)) => Ok((number, object)),
            Ok(_) => Err(mistake(
                file,
                number,
                format_args!("found {}; accepted is one JSON object a line", line.trim()),
            )),
            Err(cause) => Err(mistake(
                file,
                number,
                format_args!("{cause}; accepted is one JSON object a line"),
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_the_same_are_and_others_are_not() {
        let same = |one: &str, other: &str| exact(one).unwrap() == exact(other).unwrap();
        for (one, other) in [
            ("12345678901234567890.12", "12345678901234567890.12"),
            ("0.1", "0.10"),
            ("-1.5e3", "-1500.0"),
            ("[1, {\"a\": 0.0}]", "[1,{\"a\":0e5}]"),
            ("1e+16", "1e16"),
            ("[1.0, 1e2, -0]", "[1, 100, 0.0]"),
            ("12345678901234567890.100", "12345678901234567890.1"),
            ("1e400", "10e399"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("12345678901234567890.12", "12345678901234567890.13"),
            ("[12345678901234567890.12]", "[12345678901234567890.13]"),
            ("12345678901234567890.12", "\"12345678901234567890.12\""),
            ("0.1", "0.1000000000000000055"),
            ("9007199254740993.0", "9007199254740992.0"),
            ("1e400", "1e401"),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(exact(&deep(128)).is_ok() && exact(&deep(100_000)).is_err());
        assert_eq!(
            exact("{\"a\": 1, \"a\": 2}").unwrap_err().to_string(),
            "the member \"a\" is there twice"
        );
    }
}
