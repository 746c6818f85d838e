//! The name of a column's type, for the JSON schema.

use crate::model::{
    column::ColumnType,
    column_type::{DECIMAL, LIST},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

/// A type that stands by itself, such as `"int"` or `"decimal(8, 2)"`.
#[derive(Clone, Copy, Debug)]
pub struct NamedType(pub ColumnType);

impl<'de> Deserialize<'de> for NamedType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        ColumnType::parse(&written).map(Self)
    }
}

impl JsonSchema for NamedType {
    fn schema_name() -> Cow<'static, str> {
        TypeName::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        TypeName::json_schema(generator)
    }
}

/// The name of a column's type.
pub(super) struct TypeName;

impl JsonSchema for TypeName {
    fn schema_name() -> Cow<'static, str> {
        "ColumnType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = ColumnType::names().collect();
        json_schema!({
            "anyOf": [
                { "enum": names },
                { "type": "string", "pattern": format!("^({DECIMAL}|{LIST})($|\\s*\\()") },
            ],
        })
    }
}
