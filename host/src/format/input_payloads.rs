//! The payloads of an input, whatever their format.

use super::{
    Scanner,
    avro::Avro,
    columns::{ColumnBuilders, Decoded, RejectedPayload},
    csv::Csv,
    debezium::Debezium,
    payloads::Payloads,
    protobuf::Protobuf,
};
use crate::{
    error::{Error, Result},
    plan::{PayloadFormat, SourceColumn},
};

/// The payloads of one input. JSON is called directly, so that a pipeline over JSON pays nothing for there being others; one
/// virtual call for each payload is nothing beside what the others do.
#[derive(Debug)]
pub(super) enum InputPayloads {
    Json(Box<Scanner>),
    Other(Box<dyn Payloads>),
}

impl InputPayloads {
    /// Those of this format, as rows of these columns.
    ///
    /// # Errors
    /// When two columns are read from one value.
    pub(super) fn new(format: &PayloadFormat, columns: &[SourceColumn]) -> Result<Self> {
        let other = |payloads: Box<dyn Payloads>| Ok(Self::Other(payloads));
        match format {
            PayloadFormat::Json => Ok(Self::Json(Box::new(Scanner::new(columns).map_err(Error::definition)?))),
            PayloadFormat::Avro(avro) => other(Box::new(Avro::new(avro, columns))),
            PayloadFormat::Protobuf(protobuf) => other(Box::new(Protobuf::new(protobuf, columns))),
            PayloadFormat::Csv(csv) => other(Box::new(Csv::new(csv, columns))),
            PayloadFormat::Debezium(debezium) => other(Box::new(Debezium::new(debezium, columns)?)),
        }
    }

    #[inline]
    pub(super) fn decode(&mut self, payload: &[u8], sink: &mut ColumnBuilders) -> Result<Decoded, RejectedPayload> {
        match self {
            Self::Json(scanner) => scanner.decode(payload, sink),
            Self::Other(payloads) => payloads.decode(payload, sink),
        }
    }
}
