//! How the payloads of a source are written: `"json"`, or the name of a format with its keys, `{ csv = { … } }`.

use super::{Name, Spanned};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use std::{collections::BTreeMap, fmt};

/// How the payloads of a source or an input are written.
#[derive(Debug)]
pub enum PayloadFormat {
    /// One JSON object each.
    Json,
    /// One record of separated values each.
    Csv(CsvFormat),
    /// One value of an Avro schema each, in binary.
    Avro(AvroFormat),
    /// One message of Protobuf each.
    Protobuf(ProtobufFormat),
    /// One change of a row each, as Debezium has it in JSON.
    Debezium(DebeziumFormat),
}

/// Separated values: a payload is one record.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CsvFormat {
    /// What the fields of a record are called, from the first on.
    pub columns: Vec<Name>,
    /// What stands between two fields; a comma, when absent.
    pub delimiter: Option<Name>,
    /// What stands around a field that holds a delimiter; a double quote, when absent, and nothing, when empty.
    pub quote: Option<Name>,
    /// The field that is null; the empty one, when absent.
    pub null: Option<Name>,
}

/// Avro: the schema by which payloads were written, or one for each number that stands in front of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AvroFormat {
    /// The file of the only schema: payloads are values of it and nothing else.
    pub schema: Option<Name>,
    /// Files of schemas by their number in a schema registry, which stands in front of a payload as Confluent has it.
    pub schemas: Option<Spanned<BTreeMap<String, Name>>>,
}

/// Protobuf: the message that a payload is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProtobufFormat {
    /// The file of descriptors, as `protoc --descriptor_set_out` writes it.
    pub descriptors: Name,
    /// The name of the message, with its package.
    pub message: Name,
    /// What stands in front of a payload.
    #[serde(default)]
    pub framing: Framing,
}

/// Changes of the rows of a table, as Debezium tells them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DebeziumFormat {
    /// The columns by which the rows of the table are told apart.
    pub key: Vec<Name>,
}

/// What stands in front of a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// Nothing.
    #[default]
    None,
    /// The number of a schema in a registry, and which message of that schema it is, as Confluent has it.
    Confluent,
}

/// How payloads are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As RFC 1952 has it.
    Gzip,
    /// As RFC 8878 has it.
    Zstd,
    /// As the header `Content-Encoding` of each message says.
    Header,
}

/// The formats that need keys, each with an example.
const WITH_KEYS: [(&str, &str); 4] = [
    ("csv", "{ csv = { columns = [\"id\", \"amount\"] } }"),
    ("avro", "{ avro = { schema = \"payment.avsc\" } }"),
    (
        "protobuf",
        "{ protobuf = { descriptors = \"payments.binpb\", message = \"acme.Payment\" } }",
    ),
    ("debezium", "{ debezium = { key = [\"id\"] } }"),
];

fn accepted() -> String {
    let examples: Vec<&str> = WITH_KEYS.iter().map(|(_, example)| *example).collect();
    format!("\"json\", {}", examples.join(", "))
}

impl<'de> Deserialize<'de> for PayloadFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Format;
        impl<'de> Visitor<'de> for Format {
            type Value = PayloadFormat;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a format of payloads: {}", accepted())
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<PayloadFormat, E> {
                if name == "json" {
                    return Ok(PayloadFormat::Json);
                }
                let accepted = accepted();
                Err(E::custom(match WITH_KEYS.iter().find(|(known, _)| *known == name) {
                    Some((_, example)) => format!("the format \"{name}\" needs keys, as in {example}"),
                    None => format!("unknown format \"{name}\" of payloads; accepted are {accepted}"),
                }))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PayloadFormat, A::Error> {
                let accepted = accepted();
                let Some(name) = map.next_key::<String>()? else {
                    return Err(de::Error::custom(format!(
                        "the format of payloads is empty; accepted are {accepted}"
                    )));
                };
                let format = match name.as_str() {
                    "csv" => PayloadFormat::Csv(map.next_value()?),
                    "avro" => PayloadFormat::Avro(map.next_value()?),
                    "protobuf" => PayloadFormat::Protobuf(map.next_value()?),
                    "debezium" => PayloadFormat::Debezium(map.next_value()?),
                    _ => {
                        return Err(de::Error::custom(format!(
                            "unknown format \"{name}\" of payloads; accepted are {accepted}"
                        )));
                    }
                };
                match map.next_key::<String>()? {
                    None => Ok(format),
                    Some(other) => Err(de::Error::custom(format!(
                        "the payloads of a source have one format; found \"{name}\" and \"{other}\""
                    ))),
                }
            }
        }
        deserializer.deserialize_any(Format)
    }
}
