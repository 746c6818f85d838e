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
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value as Json};
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
                    "column \"{}\" of table {} is {what}, found {cell}",
                    field.name, self.name
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
        Json::Object(cells.collect()).to_string()
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
        ColumnType::Double => cell.as_f64().map(|value| Json::from(value + 0.0)),
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
                cell => cell.to_string(),
            };
            let unscaled = decimal.parse(written.as_bytes())?;
            Some(Json::from(decimal.text(unscaled)))
        }
        // As a value: neither the order of members nor spaces tell two apart.
        ColumnType::Json | ColumnType::List(_) => match cell {
            Json::String(text) => serde_json::from_str(text).ok().or_else(|| Some(cell.clone())),
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

/// A value whose objects have each member once. Of two the last would be taken, and the first compared with nothing.
struct Strict(Json);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Strict;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_unit<E>(self) -> Result<Strict, E> {
                Ok(Strict(Json::Null))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Strict, A::Error> {
                let mut list = Vec::new();
                while let Some(Strict(element)) = elements.next_element()? {
                    list.push(element);
                }
                Ok(Strict(list.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Strict, A::Error> {
                let mut object = Map::new();
                while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
                    if object.contains_key(&name) {
                        return Err(A::Error::custom(format!("the member \"{name}\" is there twice")));
                    }
                    object.insert(name, value);
                }
                Ok(Strict(object.into()))
            }
        }

        deserializer.deserialize_any(Members)
    }
}

/// The objects of a file, each with the number of its line.
pub(super) fn read_objects(file: &Path) -> Result<Vec<(usize, Map<String, Json>)>> {
    let text = input::read_text(file, "", FILE_BYTES_MAX)?;
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    lines
        .map(
            |(line, number)| match serde_json::from_str(line).map(|Strict(value)| value) {
                Ok(Json::Object(object)) => Ok((number, object)),
                Ok(other) => Err(mistake(
                    file,
                    number,
                    format_args!("found {other}; accepted is one JSON object a line"),
                )),
                Err(cause) => Err(mistake(
                    file,
                    number,
                    format_args!("{cause}; accepted is one JSON object a line"),
                )),
            },
        )
        .collect()
}
