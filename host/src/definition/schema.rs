//! The shapes of what is read by hand, for the JSON schema: where a struct is read by serde alone, its shape is derived.

use super::{
    AvroFormat, ColumnFormat, ColumnMap, ColumnSource, CsvFormat, DebeziumFormat, PayloadFormat, ProtobufFormat,
    PublishFrom, Source, SourceColumn,
    column_source::WrittenConstant,
    columns::{ColumnPath, FORMATS, LongColumn, Part, Pattern},
    type_name::TypeName,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// Implements [`JsonSchema`] with a name and a function.
macro_rules! shape {
    ($type:ty, $name:literal, $shape:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let shape: fn(&mut SchemaGenerator) -> Schema = $shape;
                shape(generator)
            }
        }
    };
}

/// A source in a pipeline file.
pub(super) struct SourceOrName;

shape!(SourceOrName, "SourceOrName", |generator| json_schema!({
    "description": "Where events come from: a source, or the name of one that the project shares.",
    "anyOf": [
        { "type": "string" },
        generator.subschema_for::<Source>(),
    ],
}));

shape!(SourceColumn, "Column", |generator| json_schema!({
    "description": "A column: its type, or a table with more.",
    "anyOf": [
        generator.subschema_for::<TypeName>(),
        generator.subschema_for::<LongColumn>(),
    ],
}));

shape!(ColumnFormat, "ColumnFormat", |generator| {
    let names = FORMATS.map(|(name, _)| name);
    json_schema!({
        "anyOf": [
            { "enum": names },
            generator.subschema_for::<Pattern>(),
        ],
    })
});

shape!(PayloadFormat, "PayloadFormat", |generator| {
    let with_keys = |name: &str, keys: Schema| {
        json_schema!({
            "type": "object",
            "properties": { name: keys },
            "required": [name],
            "additionalProperties": false,
        })
    };
    json_schema!({
        "description": "How payloads are written: as JSON, or in another format with its keys.",
        "anyOf": [
            { "enum": ["json"] },
            with_keys("csv", generator.subschema_for::<CsvFormat>()),
            with_keys("avro", generator.subschema_for::<AvroFormat>()),
            with_keys("protobuf", generator.subschema_for::<ProtobufFormat>()),
            with_keys("debezium", generator.subschema_for::<DebeziumFormat>()),
        ],
    })
});

shape!(ColumnSource, "ColumnSource", |generator| json_schema!({
    "description": "The name of a column, or a constant.",
    "anyOf": [
        { "type": "string" },
        generator.subschema_for::<WrittenConstant>(),
    ],
}));

shape!(ColumnPath, "ColumnPath", |generator| json_schema!({
    "anyOf": [
        { "type": "string" },
        { "type": "array", "items": generator.subschema_for::<Part>(), "minItems": 1 },
    ],
}));

shape!(PublishFrom, "PublishFrom", |_| json_schema!({
    "description": "now, a sequence of the stream, or an instant in RFC 3339",
    "anyOf": [
        { "type": "string" },
        { "type": "integer", "minimum": 1 },
    ],
}));

impl<T: JsonSchema> JsonSchema for ColumnMap<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("ColumnsOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": generator.subschema_for::<T>(),
        })
    }
}
