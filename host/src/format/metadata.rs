//! Columns that are read from what a message has beside its payload: its subject, headers, sequence and store time.

use super::{
    columns::{ColumnBuilders, RejectedPayload, accepted},
    reading::{Cell, read_text},
};
use crate::{
    model::{column_type::TIMESTAMPS_US, delivery::Message, headers::Headers},
    plan::{Place, SourceColumn, ms_in_us},
    text::printable,
};
use std::borrow::Cow;

/// Bytes of a value that a reason shows.
const VALUE_SHOWN: usize = 40;

/// The columns of an input that are not in its payloads.
#[derive(Debug)]
pub(super) struct Metadata {
    /// Each with its index among all.
    columns: Vec<(usize, SourceColumn)>,
    /// The subject of every message, where the input has only one.
    subject: Option<String>,
}

impl Metadata {
    pub(super) fn of(subject: &str, columns: &[SourceColumn]) -> Self {
        let columns = columns.iter().enumerate();
        let in_payload = |place: &Place| matches!(place, Place::Payload(_) | Place::Envelope(_) | Place::Deleted);
        let columns = columns.filter(|(_, column)| !in_payload(&column.place));
        Self {
            columns: columns.map(|(index, column)| (index, column.clone())).collect(),
            subject: (!subject.contains(['*', '>'])).then(|| subject.to_owned()),
        }
    }

    pub(super) fn reads(&self, is: fn(&Place) -> bool) -> bool {
        self.columns.iter().any(|(_, column)| is(&column.place))
    }

    /// Appends the values of a message to the row under construction.
    ///
    /// # Errors
    /// Says what was found and what is accepted. The row then has to be rolled back.
    pub(super) fn push(&self, message: &Message<'_>, sink: &mut ColumnBuilders) -> Result<(), RejectedPayload> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let has_headers = !message.headers.is_empty() && self.reads(|place| matches!(place, Place::Header(_)));
        let headers = match has_headers {
            true => Headers::parse(message.headers).unwrap_or_default(),
            false => Headers::default(),
        };
        for (index, column) in &self.columns {
            let cell = self
                .value(message, &headers, column)
                .map_err(|reason| RejectedPayload {
                    column: Some(column.field.name.clone()),
                    reason,
                })?;
            if sink.columns.get_mut(*index).is_some_and(|builder| !builder.push(cell)) {
                return Err(RejectedPayload {
                    column: Some(column.field.name.clone()),
                    reason: "has no room left in this batch".to_owned(),
                });
            }
        }
        Ok(())
    }

    fn value<'m>(
        &'m self,
        message: &'m Message<'_>,
        headers: &'m Headers,
        column: &SourceColumn,
    ) -> Result<Cell<'m>, String> {
        let text = match &column.place {
            Place::Payload(_) | Place::Envelope(_) | Place::Deleted => return Ok(Cell::Null),
            Place::Sequence => {
                let sequence = message.written_sequence.unwrap_or(message.sequence);
                return Ok(Cell::Int(i64::try_from(sequence).unwrap_or(i64::MAX)));
            }
            Place::StoreTime => {
                let Some(ms) = message.store_ms else {
                    return Ok(Cell::Null);
                };
                let us = Some(ms_in_us(ms)).filter(|us| TIMESTAMPS_US.contains(us));
                return us.map(Cell::Int).ok_or_else(|| {
                    format!(
                        "found the store time {ms}; accepted are milliseconds since 1970-01-01T00:00:00Z, of the years 0 to 9999"
                    )
                });
            }
            Place::Header(name) => headers.get(name),
            Place::Subject { token } => {
                let subject = message.subject.or(self.subject.as_deref()).ok_or(
                    "found no subject, which it is read from; accepted is a line {\"subject\": \"…\", \"payload\": …}",
                )?;
                match token {
                    None => Some(subject),
                    Some(token) => subject.split('.').nth(token.saturating_sub(1)),
                }
            }
        };
        let Some(text) = text else { return Ok(Cell::Null) };
        read_text(column, text.as_bytes()).ok_or_else(|| {
            let shown = text.get(..text.floor_char_boundary(VALUE_SHOWN)).unwrap_or_default();
            let more = if shown.len() < text.len() { "…" } else { "" };
            let place = match &column.place {
                Place::Header(name) => Cow::Owned(format!("header \"{name}\"")),
                _ => Cow::Borrowed("the subject"),
            };
            format!(
                "found the text \"{}{more}\" in {place}; accepted is {}",
                printable(shown),
                accepted(column)
            )
        })
    }
}
