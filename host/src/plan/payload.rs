//! How the payloads of an input are read: what a pipeline file and the schemas that it names say, checked against the columns.

use super::{avro::AvroFormat, protobuf::ProtobufFormat};
use std::sync::Arc;

/// The format of an input's payloads.
#[derive(Clone, Debug, Default)]
pub enum PayloadFormat {
    /// One JSON object each.
    #[default]
    Json,
    /// One record of separated values each.
    Csv(Arc<CsvFormat>),
    /// One value of an Avro schema each.
    Avro(Arc<AvroFormat>),
    /// One message of Protobuf each.
    Protobuf(Arc<ProtobufFormat>),
    /// One change of a row each, as Debezium has it in JSON.
    Debezium(Arc<DebeziumFormat>),
}

impl PayloadFormat {
    /// Its name, as a pipeline file has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv(_) => "csv",
            Self::Avro(_) => "avro",
            Self::Protobuf(_) => "protobuf",
            Self::Debezium(_) => "debezium",
        }
    }

    /// The changes of rows, where payloads are some.
    pub fn debezium(&self) -> Option<&DebeziumFormat> {
        match self {
            Self::Debezium(debezium) => Some(debezium),
            Self::Json | Self::Csv(_) | Self::Avro(_) | Self::Protobuf(_) => None,
        }
    }

    /// Whether payloads are JSON objects.
    pub fn is_json(&self) -> bool {
        matches!(self, Self::Json)
    }
}

/// Separated values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvFormat {
    /// For each field of a record the column that it is, where it is one.
    pub fields: Vec<Option<usize>>,
    /// What stands between two fields.
    pub delimiter: u8,
    /// What may stand around a field.
    pub quote: Option<u8>,
    /// The field that is null.
    pub null: Vec<u8>,
}

/// Changes of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebeziumFormat {
    /// The columns by which rows are told apart.
    pub key: Vec<usize>,
    /// The column that no payload has: it is true where the row is gone.
    pub deleted: usize,
}
