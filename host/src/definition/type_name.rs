//! The name of a column's type, for the JSON schema.

use crate::model::{
    column::ColumnType,
    column_type::{DECIMAL, LIST},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

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
