//! Where a column of a step `columns` comes from: another column by its name, or a constant.

use super::{columns::column_type, type_name::TypeName};
use crate::model::{column::ColumnType, constant::Constant};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::fmt;

/// `"payload_customer"`, or `{ constant = "CHF", type = "text" }`.
#[derive(Clone, Debug)]
pub enum ColumnSource {
    /// The column of this name.
    Column(String),
    /// One value for all rows.
    Constant(Constant),
}

/// A constant.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenConstant {
    /// The value.
    #[schemars(with = "Option<serde_json::Value>")]
    constant: Option<toml::Value>,
    /// The type, where the value does not say it.
    #[serde(rename = "type")]
    #[schemars(with = "Option<TypeName>")]
    column_type: Option<String>,
    /// Of a decimal: how many digits it has.
    precision: Option<u8>,
    /// Of a decimal: how many of them stand behind the point.
    scale: Option<u8>,
    /// Of a list: the type of its elements.
    #[schemars(with = "Option<TypeName>")]
    of: Option<String>,
    /// Whether it is null.
    #[serde(default)]
    null: bool,
}

impl<'de> Deserialize<'de> for ColumnSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Source;
        impl<'de> Visitor<'de> for Source {
            type Value = ColumnSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a column, or a constant such as { constant = \"CHF\", type = \"text\" }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<ColumnSource, E> {
                Ok(ColumnSource::Column(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ColumnSource, A::Error> {
                WrittenConstant::deserialize(MapAccessDeserializer::new(map))?.constant()
            }
        }
        deserializer.deserialize_any(Source)
    }
}

impl WrittenConstant {
    fn constant<E: de::Error>(self) -> Result<ColumnSource, E> {
        let given = match &self.column_type {
            Some(name) => Some(column_type(name, (self.precision, self.scale), self.of.as_deref())?),
            None if self.precision.is_some() || self.scale.is_some() => {
                return Err(E::custom("the keys precision and scale go with type = \"decimal\""));
            }
            None if self.of.is_some() => return Err(E::custom("the key of goes with type = \"list\"")),
            None => None,
        };
        let constant = match (&self.constant, self.null, given) {
            (None, true, Some(column_type)) => Constant::null(column_type),
            (None, true, None) => {
                return Err(E::custom(
                    "a null has a type like any other constant; say it, such as { null = true, type = \"text\" }",
                ));
            }
            (None, false, _) => {
                return Err(E::custom(
                    "there is neither a column nor a constant; accepted is the name of a column, { constant = \"CHF\", type = \"text\" }, \
                     or { null = true, type = \"text\" }",
                ));
            }
            (Some(_), true, _) => {
                return Err(E::custom(
                    "the keys constant and null exclude each other; leave one out",
                ));
            }
            (Some(value), false, given) => {
                let column_type = given.or_else(|| type_of(value)).ok_or_else(|| {
                    E::custom(format!(
                        "the type of the constant {value} is not clear; say it with the key type"
                    ))
                })?;
                Constant::of(column_type, value).ok_or_else(|| {
                    let accepted = accepted(column_type);
                    E::custom(format!(
                        "the constant {value} is no {column_type}; accepted is {accepted}"
                    ))
                })?
            }
        };
        Ok(ColumnSource::Constant(constant))
    }
}

/// The type that a value of TOML has of itself.
fn type_of(value: &toml::Value) -> Option<ColumnType> {
    Some(match value {
        toml::Value::Integer(_) => ColumnType::Int,
        toml::Value::Float(_) => ColumnType::Double,
        toml::Value::Boolean(_) => ColumnType::Boolean,
        toml::Value::String(_) => ColumnType::Text,
        toml::Value::Datetime(time) if time.offset.is_some() => ColumnType::Timestamp,
        toml::Value::Datetime(time) if time.time.is_none() => ColumnType::Date,
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => return None,
    })
}

fn accepted(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Int => "an integer of 64 bits, such as 7",
        ColumnType::Double => "a finite number, such as 7.5",
        ColumnType::Boolean => "true or false",
        ColumnType::Text => "a text, such as \"CHF\"",
        ColumnType::Decimal(_) => {
            "a number with no more digits than these; in quotes, such as \"12.50\", it may have more than fifteen"
        }
        ColumnType::Timestamp => {
            "a timestamp with an offset, such as 2026-03-15T12:00:00+08:00, with or without quotes"
        }
        ColumnType::Date => "a date such as 2026-03-15, with or without quotes",
        ColumnType::Bytes => "a text in base64, with padding, such as \"AAEC\"",
        ColumnType::List(_) => "an array of constants that its type accepts, such as [\"new\", \"gift\"]",
        ColumnType::Json => "a text that is JSON and not null, such as '{\"tags\": []}'",
    }
}
