//! Records of separated values, as RFC 4180 has them: a payload is one.
//!
//! A field is known by its place. One in quotes may hold delimiters, ends of lines, and quotes that are doubled; outside of quotes a
//! field is what stands there, with its spaces. A field that is not in quotes and is the `null` of the format is null; in quotes it
//! is a text, as DuckDB, Arrow and PostgreSQL write it.

use super::{
    columns::{ColumnBuilders, Decoded, RejectedPayload},
    json::JsonCheck,
    payloads::Payloads,
    reading::{Cell, Raw, read},
    scalar::{accepted, end_row, excerpt, full, malformed},
};
use crate::{
    model::column::ColumnType,
    plan::{CsvFormat, Reading, SourceColumn},
};
use memchr::{memchr, memchr3};
use std::sync::Arc;

/// Reads records.
#[derive(Debug)]
pub(super) struct Csv {
    format: Arc<CsvFormat>,
    columns: Vec<SourceColumn>,
    json: JsonCheck,
    /// A field in quotes, without those that are doubled.
    unquoted: Vec<u8>,
}

impl Csv {
    pub(super) fn new(format: &Arc<CsvFormat>, columns: &[SourceColumn]) -> Self {
        Self {
            format: format.clone(),
            columns: columns.to_vec(),
            json: JsonCheck::default(),
            unquoted: Vec::new(),
        }
    }

    fn record(&mut self, payload: &[u8], sink: &mut ColumnBuilders) -> Result<Decoded, RejectedPayload> {
        let record = without_end(payload);
        if record.is_empty() {
            return Ok(Decoded::Empty);
        }
        let (mut at, mut place) = (0, 0);
        loop {
            let Some(&column) = self.format.fields.get(place) else {
                return Err(self.wrong_count(record));
            };
            let field = field(record, at, &self.format, &mut self.unquoted)?;
            let text = match field.in_quotes {
                Quotes::None | Quotes::Plain => record.get(field.start..field.end).unwrap_or_default(),
                Quotes::Doubled => &self.unquoted,
            };
            if let Some(index) = column {
                let is_null = field.in_quotes == Quotes::None && text == self.format.null;
                push(&self.columns, index, text, is_null, at, &mut self.json, sink)?;
            }
            place += 1;
            if field.next > record.len() {
                break;
            }
            at = field.next;
        }
        match place == self.format.fields.len() {
            true => Ok(Decoded::Row),
            false => Err(self.wrong_count(record)),
        }
    }

    #[cold]
    fn wrong_count(&mut self, record: &[u8]) -> RejectedPayload {
        let (mut at, mut found) = (0, 0);
        while at <= record.len() {
            match field(record, at, &self.format, &mut self.unquoted) {
                Ok(field) => at = field.next,
                Err(rejected) => return rejected,
            }
            found += 1;
        }
        malformed(format!(
            "found a record of {found} fields; accepted is one of {}, as key `columns` of the format lists them",
            self.format.fields.len()
        ))
    }
}

impl Payloads for Csv {
    fn decode(&mut self, payload: &[u8], sink: &mut ColumnBuilders) -> Result<Decoded, RejectedPayload> {
        let pushed = self.record(payload, sink);
        end_row(sink, pushed)
    }
}

/// A record without the end of its line.
fn without_end(payload: &[u8]) -> &[u8] {
    let line = payload.strip_suffix(b"\n").unwrap_or(payload);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[derive(Clone, Copy, PartialEq)]
enum Quotes {
    None,
    /// Around the field, and none within.
    Plain,
    /// Around the field and within; what is meant was put together.
    Doubled,
}

struct Field {
    start: usize,
    end: usize,
    /// Where the next one begins; beyond the end of the record behind the last.
    next: usize,
    in_quotes: Quotes,
}

/// The field that begins at `start`.
#[inline]
fn field(record: &[u8], start: usize, format: &CsvFormat, unquoted: &mut Vec<u8>) -> Result<Field, RejectedPayload> {
    let rest = record.get(start..).unwrap_or_default();
    if format.quote.is_some() && rest.first().copied() == format.quote {
        return quoted(record, start, format, unquoted);
    }
    let length = match memchr3(format.delimiter, b'\n', b'\r', rest) {
        Some(at) if rest.get(at) == Some(&format.delimiter) => at,
        Some(at) => return Err(another_line(start.saturating_add(at))),
        None => rest.len(),
    };
    let end = start.saturating_add(length);
    Ok(Field {
        start,
        end,
        next: end.saturating_add(1),
        in_quotes: Quotes::None,
    })
}

fn quoted(record: &[u8], open: usize, format: &CsvFormat, unquoted: &mut Vec<u8>) -> Result<Field, RejectedPayload> {
    let quote = format.quote.unwrap_or_default();
    let start = open.saturating_add(1);
    let mut in_quotes = Quotes::Plain;
    let mut from = start;
    unquoted.clear();
    loop {
        let rest = record.get(from..).unwrap_or_default();
        let Some(length) = memchr(quote, rest) else {
            return Err(malformed(format!(
                "found the quote at byte {open} and none that closes it; accepted is a whole record"
            )));
        };
        let end = from.saturating_add(length);
        let after = record.get(end.saturating_add(1)).copied();
        if after == Some(quote) {
            in_quotes = Quotes::Doubled;
            unquoted.extend_from_slice(record.get(from..=end).unwrap_or_default());
            from = end.saturating_add(2);
            continue;
        }
        if in_quotes == Quotes::Doubled {
            unquoted.extend_from_slice(record.get(from..end).unwrap_or_default());
        }
        return match after {
            Some(byte) if byte == format.delimiter => Ok(end.saturating_add(2)),
            None => Ok(record.len().saturating_add(1)),
            Some(b'\n' | b'\r') => Err(another_line(end.saturating_add(1))),
            Some(_) => {
                let rest = record.get(end.saturating_add(1)..).unwrap_or_default();
                Err(malformed(format!(
                    "found {} behind the quote that closes a field, at byte {}; accepted is a delimiter, or the end of the record",
                    excerpt(rest),
                    end.saturating_add(1)
                )))
            }
        }
        .map(|next| Field {
            start,
            end,
            next,
            in_quotes,
        });
    }
}

#[cold]
fn another_line(at: usize) -> RejectedPayload {
    malformed(format!(
        "found the end of a line at byte {at}, and more behind it; accepted is one record, and ends of lines only in quotes"
    ))
}

/// Appends a field to its column.
#[inline]
fn push(
    columns: &[SourceColumn],
    index: usize,
    text: &[u8],
    is_null: bool,
    at: usize,
    json: &mut JsonCheck,
    sink: &mut ColumnBuilders,
) -> Result<(), RejectedPayload> {
    let (Some(column), Some(builder)) = (columns.get(index), sink.columns.get_mut(index)) else {
        return Ok(());
    };
    let cell = if is_null {
        Some(Cell::Null)
    } else {
        cell(column, text, json)
    };
    let Some(cell) = cell else {
        return Err(RejectedPayload {
            column: Some(column.field.name.clone()),
            reason: format!("found {} at byte {at}; accepted is {}", excerpt(text), accepted(column)),
        });
    };
    match builder.push(cell) {
        true => Ok(()),
        false => Err(full()),
    }
}

/// What a field is in a column; nothing where it is none of its values.
fn cell<'p>(column: &SourceColumn, text: &'p [u8], json: &mut JsonCheck) -> Option<Cell<'p>> {
    match (column.field.column_type, &column.reading) {
        (ColumnType::Text, _) => std::str::from_utf8(text)
            .ok()
            .map(|text| Cell::Bytes(text.as_bytes().into())),
        (ColumnType::Int, _) => read(&Reading::IntText, Raw::Text(text)),
        (ColumnType::Double, _) => read(&Reading::DoubleText, Raw::Text(text)),
        (ColumnType::Decimal(of), _) => of.parse(text).map(Cell::Decimal),
        (ColumnType::Boolean, _) => match text {
            b"true" => Some(Cell::Boolean(true)),
            b"false" => Some(Cell::Boolean(false)),
            _ => None,
        },
        (ColumnType::Json, _) => match json.value(text)? {
            b"null" => Some(Cell::Null),
            value => Some(Cell::Bytes(value.into())),
        },
        (_, Some(reading @ (Reading::Since(_) | Reading::Days))) => read(reading, Raw::Number(text)),
        (_, Some(reading)) => read(reading, Raw::Text(text)),
        (_, None) => None,
    }
}
