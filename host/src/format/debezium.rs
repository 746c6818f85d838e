//! Debezium: a payload is a change of a row. Its columns are those of the row as it is now, or of its key where it is gone.

use super::{
    Scanner,
    columns::{Builder, ColumnBuilders, Decoded, RejectedPayload},
    json::EnvelopeScanner,
    payloads::Payloads,
};
use crate::{
    error::{Error, Result},
    model::path::{PathPart, ValuePath},
    plan::{DebeziumFormat, Place, SourceColumn},
};
use std::iter;

/// Payloads of one input.
#[derive(Debug)]
pub(super) struct Debezium {
    envelopes: EnvelopeScanner,
    /// Reads rows as they are now, and as they were.
    after: Scanner,
    before: Scanner,
    columns: Vec<SourceColumn>,
    /// The columns of the key, and those that may not be null beside.
    key: Vec<usize>,
    required: Vec<usize>,
    /// The column that is true where the row is gone.
    deleted: usize,
}

impl Debezium {
    /// Of rows with these columns.
    ///
    /// # Errors
    /// When two columns are read from one value.
    pub(super) fn new(format: &DebeziumFormat, columns: &[SourceColumn]) -> Result<Self> {
        let within = |image: &str, path: &ValuePath| {
            let image = iter::once(PathPart::Name(image.to_owned()));
            ValuePath(image.chain(path.0.iter().cloned()).collect())
        };
        // Of a row that is gone there may be no more than its key.
        let scanner = |image: &str, is_there: &dyn Fn(usize) -> bool| {
            let columns = columns.iter().enumerate().map(|(index, column)| SourceColumn {
                place: match &column.place {
                    Place::Payload(path) if is_there(index) => Place::Payload(within(image, path)),
                    Place::Payload(_) => Place::Deleted,
                    Place::Envelope(path) => Place::Payload(path.clone()),
                    other => other.clone(),
                },
                ..column.clone()
            });
            Scanner::of_part(&columns.collect::<Vec<_>>()).map_err(Error::definition)
        };
        let required = columns.iter().enumerate().filter(|(_, column)| column.required);
        Ok(Self {
            envelopes: EnvelopeScanner::default(),
            after: scanner("after", &|_| true)?,
            before: scanner("before", &|index| format.key.contains(&index))?,
            columns: columns.to_vec(),
            key: format.key.clone(),
            required: required.map(|(index, _)| index).collect(),
            deleted: format.deleted,
        })
    }

    fn reject(&self, index: usize, reason: &str) -> RejectedPayload {
        RejectedPayload {
            column: self.columns.get(index).map(|column| column.field.name.clone()),
            reason: format!("found null, or nothing; accepted is a value, since the column is {reason}"),
        }
    }
}

impl Payloads for Debezium {
    fn decode(&mut self, payload: &[u8], sink: &mut ColumnBuilders) -> Result<Decoded, RejectedPayload> {
        let Some(envelope) = self.envelopes.find(payload)? else {
            return Ok(Decoded::Empty);
        };
        let row = sink.rows();
        if let Some(Builder::Boolean(deleted)) = sink.columns.get_mut(self.deleted) {
            deleted.push(Some(envelope.deletes.into()));
        }
        let scanner = match envelope.deletes {
            true => &mut self.before,
            false => &mut self.after,
        };
        let decoded = scanner.decode_within(payload, envelope.place, sink)?;
        let missing = |columns: &[usize]| columns.iter().copied().find(|&index| sink.is_null(index, row));
        let rejected = match (missing(&self.key), missing(&self.required)) {
            (Some(index), _) => Some(self.reject(index, "of the key")),
            (None, Some(index)) if !envelope.deletes => Some(self.reject(index, "required")),
            _ => None,
        };
        match rejected {
            None => Ok(decoded),
            Some(rejected) => {
                sink.drop_row();
                Err(rejected)
            }
        }
    }
}
