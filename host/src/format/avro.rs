//! Payloads of Avro: values of a schema in binary, one after the other.
//!
//! What no column reads is passed over. Nothing is built in between. A payload has no names and no
//! types, so one that was written by another schema may look like one of this; whatever cannot be is a dead letter.

mod json;
mod list;

use super::{
    columns::{ColumnBuilders, Decoded, RejectedPayload},
    cursor::{Cursor, Rejected, broken, deeper},
    framing::schema_number,
    payloads::Payloads,
    reading::Cell,
    scalar::{Scalar, cell, end_row, excerpt, full, unfit, wrong},
};
use crate::{
    limits::EMPTY_ELEMENTS_MAX,
    model::column::ColumnType,
    plan::{
        SourceColumn, TimeScale,
        avro::{AvroFormat, AvroPlace, AvroReader, AvroType, AvroTypeId, AvroTypes, OnPath},
    },
};
use std::sync::Arc;

/// Reads payloads.
#[derive(Debug)]
pub(super) struct Avro {
    format: Arc<AvroFormat>,
    columns: Vec<SourceColumn>,
    /// A value as JSON, or as a list.
    text: Vec<u8>,
}

impl Avro {
    pub(super) fn new(format: &Arc<AvroFormat>, columns: &[SourceColumn]) -> Self {
        Self {
            format: format.clone(),
            columns: columns.to_vec(),
            text: Vec::new(),
        }
    }

    fn payload(&mut self, payload: &[u8], sink: &mut ColumnBuilders) -> Result<Decoded, Rejected> {
        if payload.is_empty() {
            return Ok(Decoded::Empty);
        }
        let mut cursor = Cursor::new(payload);
        let reader = match &*self.format {
            AvroFormat::One(reader) => reader,
            AvroFormat::Framed(readers) => {
                let id = schema_number(&mut cursor)?;
                readers.get(&id).ok_or_else(|| {
                    let known: Vec<String> = readers.keys().map(u32::to_string).collect();
                    broken(format!(
                        "found the schema {id}, which key `schemas` of the format does not have; accepted are {}",
                        known.join(", ")
                    ))
                })?
            }
        };
        let AvroReader { types, root } = reader;
        let mut walk = Walk {
            types,
            columns: &self.columns,
            text: &mut self.text,
            sink,
            empty_elements: 0,
        };
        walk.place(root, &mut cursor)?;
        match cursor.is_at_end() {
            true => Ok(Decoded::Row),
            false => Err(broken(format!(
                "found {} bytes behind the value, from byte {} on; accepted is one value of the schema",
                cursor.rest().len(),
                cursor.at()
            ))),
        }
    }
}

impl Payloads for Avro {
    fn decode(&mut self, payload: &[u8], sink: &mut ColumnBuilders) -> Result<Decoded, RejectedPayload> {
        let pushed = self.payload(payload, sink).map_err(|rejected| *rejected);
        end_row(sink, pushed)
    }
}

/// A way through one payload.
struct Walk<'a> {
    types: &'a AvroTypes,
    columns: &'a [SourceColumn],
    text: &'a mut Vec<u8>,
    sink: &'a mut ColumnBuilders,
    empty_elements: usize,
}

impl Walk<'_> {
    fn place(&mut self, place: &AvroPlace, cursor: &mut Cursor<'_>) -> Result<(), Rejected> {
        match place {
            AvroPlace::Skip(id) => self.skip(*id, cursor, 0),
            AvroPlace::Column(id, column) => self.column(*id, *column, cursor),
            AvroPlace::List(id, column) => self.list(*id, *column, cursor),
            AvroPlace::Record(fields) => fields.iter().try_for_each(|field| self.place(field, cursor)),
            AvroPlace::Array(items, elements) => self.elements(*items, elements, cursor),
            AvroPlace::Union(branches) => {
                let branch = branch(branches, cursor)?;
                self.place(branch, cursor)
            }
            AvroPlace::NotOnPath(id, column, on_path) => {
                let at = cursor.at();
                let found = self.shown(*id, cursor);
                let accepted = match on_path {
                    OnPath::Record => "a record",
                    OnPath::Array => "an array",
                };
                Err(Box::new(RejectedPayload {
                    column: self.columns.get(*column).map(|column| column.field.name.clone()),
                    reason: format!(
                        "found {found} at byte {at}; accepted is {accepted} or null, since the column's path leads through it"
                    ),
                }))
            }
        }
    }

    #[inline]
    fn column(&mut self, id: AvroTypeId, index: usize, cursor: &mut Cursor<'_>) -> Result<(), Rejected> {
        let Some(column) = self.columns.get(index) else {
            return self.skip(id, cursor, 0);
        };
        let start = cursor.at();
        let value = match self.types.get(id) {
            AvroType::Union(branches) => *branch(branches, cursor)?,
            _ => id,
        };
        let at = cursor.at();
        let cell = if column.field.column_type == ColumnType::Json {
            self.text.clear();
            let is_null = *self.types.get(value) == AvroType::Null;
            match is_null {
                true => Some(Cell::Null),
                false => {
                    let is_one = self.render(value, cursor, 0)?;
                    is_one.then_some(Cell::Bytes(self.text.as_slice().into()))
                }
            }
        } else {
            // Such a branch goes with another column than this.
            match scalar(self.types, value, cursor)? {
                Some(scalar) => cell(column, scalar),
                None => None,
            }
        };
        let Some(cell) = cell else {
            let mut again = *cursor;
            again.back_to(at);
            let found = self.shown(value, &mut again);
            return Err(Box::new(wrong(column, &found, start)));
        };
        let builder = self.sink.columns.get_mut(index);
        match builder.is_none_or(|builder| builder.push(cell)) {
            true => Ok(()),
            false => Err(Box::new(full())),
        }
    }

    /// Passes over a value.
    fn skip(&mut self, id: AvroTypeId, cursor: &mut Cursor<'_>, depth: usize) -> Result<(), Rejected> {
        match self.types.get(id) {
            AvroType::Null => {}
            AvroType::Boolean => {
                boolean(cursor)?;
            }
            AvroType::Int | AvroType::Long | AvroType::Timestamp(_) | AvroType::Date => {
                cursor.varint()?;
            }
            AvroType::Float => {
                cursor.take(4)?;
            }
            AvroType::Double => {
                cursor.take(8)?;
            }
            AvroType::Bytes | AvroType::Text | AvroType::Decimal { size: None, .. } => {
                bytes(cursor)?;
            }
            AvroType::Fixed(size) | AvroType::Decimal { size: Some(size), .. } => {
                cursor.take(*size)?;
            }
            AvroType::Uuid => {
                cursor.take(16)?;
            }
            AvroType::Enum(symbols) => {
                symbol(symbols, cursor)?;
            }
            AvroType::Union(branches) => {
                let branch = *branch(branches, cursor)?;
                self.skip(branch, cursor, deeper(depth, cursor.at())?)?;
            }
            AvroType::Record(record) => {
                let depth = deeper(depth, cursor.at())?;
                for (_, field) in &record.fields {
                    self.skip(*field, cursor, depth)?;
                }
            }
            AvroType::Array(items) => {
                let depth = deeper(depth, cursor.at())?;
                while let Some(block) = block(cursor)? {
                    for _ in 0..block.items {
                        let start = cursor.at();
                        self.skip(*items, cursor, depth)?;
                        self.check_element(start, cursor)?;
                    }
                    block.check_end(cursor)?;
                }
            }
            AvroType::Map(values) => {
                let depth = deeper(depth, cursor.at())?;
                while let Some(block) = block(cursor)? {
                    for _ in 0..block.items {
                        bytes(cursor)?;
                        self.skip(*values, cursor, depth)?;
                    }
                    block.check_end(cursor)?;
                }
            }
        }
        Ok(())
    }

    /// Counts an element that takes no bytes, since a payload can claim any number of those.
    fn check_element(&mut self, start: usize, cursor: &Cursor<'_>) -> Result<(), Rejected> {
        if cursor.at() == start {
            self.empty_elements += 1;
            if self.empty_elements > EMPTY_ELEMENTS_MAX {
                return Err(broken(format!(
                    "found more than {EMPTY_ELEMENTS_MAX} elements without a byte at byte {start}; accepted are as many"
                )));
            }
        }
        Ok(())
    }

    /// A value as people read it, for a reason.
    #[cold]
    fn shown(&mut self, id: AvroTypeId, cursor: &mut Cursor<'_>) -> String {
        self.text.clear();
        let mut again = *cursor;
        match self.render(id, cursor, 0) {
            // What JSON has no number for.
            Ok(false) => match scalar(self.types, id, &mut again) {
                Ok(Some(scalar)) => unfit(scalar),
                _ => "a value that has no place in JSON".to_owned(),
            },
            Ok(true) => excerpt(self.text),
            Err(_) => "a broken value".to_owned(),
        }
    }
}

/// A value that has no others within it; nothing where it has, and then nothing is read.
#[inline]
fn scalar<'v, 'a: 'v, 'p: 'v>(
    types: &'a AvroTypes,
    id: AvroTypeId,
    cursor: &mut Cursor<'p>,
) -> Result<Option<Scalar<'v>>, Rejected> {
    Ok(Some(match types.get(id) {
        AvroType::Null => Scalar::Null,
        AvroType::Boolean => Scalar::Boolean(boolean(cursor)?),
        AvroType::Int => Scalar::Int(int(cursor)?),
        AvroType::Long => Scalar::Int(cursor.zigzag()?),
        AvroType::Float => Scalar::Float(f32::from_le_bytes(cursor.array()?)),
        AvroType::Double => Scalar::Double(f64::from_le_bytes(cursor.array()?)),
        AvroType::Bytes => Scalar::Bytes(bytes(cursor)?),
        AvroType::Text => Scalar::text(bytes(cursor)?),
        AvroType::Fixed(size) => Scalar::Bytes(cursor.take(*size)?),
        AvroType::Enum(symbols) => Scalar::Text(symbol(symbols, cursor)?),
        AvroType::Decimal { size, scale } => {
            let digits = match size {
                Some(size) => cursor.take(*size)?,
                None => bytes(cursor)?,
            };
            Scalar::Decimal(two_complement(digits), *scale)
        }
        AvroType::Timestamp(unit) => {
            // What is finer is cut to the microsecond before.
            let (unit, truncates) = (*unit, true);
            Scalar::Timestamp(TimeScale { unit, truncates }.in_us(cursor.zigzag()?))
        }
        AvroType::Date => Scalar::Date(int(cursor)?),
        AvroType::Uuid => Scalar::Uuid(cursor.array()?),
        AvroType::Array(_) | AvroType::Map(_) | AvroType::Union(_) | AvroType::Record(_) => return Ok(None),
    }))
}

#[inline]
fn boolean(cursor: &mut Cursor<'_>) -> Result<bool, Rejected> {
    let at = cursor.at();
    match cursor.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        byte => Err(broken(format!(
            "found the byte {byte} at byte {at}, where a boolean stands; accepted is 0 or 1"
        ))),
    }
}

#[inline]
fn int(cursor: &mut Cursor<'_>) -> Result<i64, Rejected> {
    let at = cursor.at();
    let value = cursor.zigzag()?;
    match i32::try_from(value) {
        Ok(_) => Ok(value),
        Err(_) => Err(broken(format!(
            "found the int {value} at byte {at}; accepted is one of 32 bits"
        ))),
    }
}

/// Bytes with their length in front.
#[inline]
fn bytes<'p>(cursor: &mut Cursor<'p>) -> Result<&'p [u8], Rejected> {
    let length = length(cursor)?;
    cursor.take(length)
}

#[inline]
fn length(cursor: &mut Cursor<'_>) -> Result<usize, Rejected> {
    let at = cursor.at();
    let length = cursor.zigzag()?;
    usize::try_from(length).map_err(|_| {
        broken(format!(
            "found the length {length} at byte {at}; accepted is a whole payload of the schema"
        ))
    })
}

#[inline]
fn text<'p>(cursor: &mut Cursor<'p>) -> Result<&'p str, Rejected> {
    let at = cursor.at();
    std::str::from_utf8(bytes(cursor)?).map_err(|_| {
        broken(format!(
            "found a text that is not valid UTF-8 at byte {at}; accepted is valid UTF-8"
        ))
    })
}

#[inline]
fn symbol<'a>(symbols: &'a [String], cursor: &mut Cursor<'_>) -> Result<&'a str, Rejected> {
    let at = cursor.at();
    let index = int(cursor)?;
    let symbol = usize::try_from(index).ok().and_then(|index| symbols.get(index));
    symbol.map(String::as_str).ok_or_else(|| {
        broken(format!(
            "found the symbol {index} of an enum at byte {at}; accepted are {} symbols, from 0 on",
            symbols.len()
        ))
    })
}

/// The branch of a union that a payload names.
#[inline]
fn branch<'b, T>(branches: &'b [T], cursor: &mut Cursor<'_>) -> Result<&'b T, Rejected> {
    let at = cursor.at();
    let index = cursor.zigzag()?;
    let branch = usize::try_from(index).ok().and_then(|index| branches.get(index));
    branch.ok_or_else(|| {
        broken(format!(
            "found the branch {index} of a union at byte {at}; accepted are {} branches, from 0 on",
            branches.len()
        ))
    })
}

/// Some elements of an array or a map.
struct Block {
    items: u64,
    /// Where they end, if that is said.
    end: Option<usize>,
}

impl Block {
    /// Checks that the elements end where they were said to. They are looked at one by one for that, so that what a payload is does
    /// not depend on what is read of it.
    fn check_end(&self, cursor: &Cursor<'_>) -> Result<(), Rejected> {
        match self.end {
            Some(end) if end != cursor.at() => Err(broken(format!(
                "found elements that end at byte {}, and were said to end at byte {end}; accepted is a whole payload of the schema",
                cursor.at()
            ))),
            _ => Ok(()),
        }
    }
}

/// The next elements; nothing behind the last.
fn block(cursor: &mut Cursor<'_>) -> Result<Option<Block>, Rejected> {
    let count = cursor.zigzag()?;
    let end = match count {
        0 => return Ok(None),
        1.. => None,
        _ => {
            let length = length(cursor)?;
            Some(cursor.at().saturating_add(length))
        }
    };
    let items = count.unsigned_abs();
    Ok(Some(Block { items, end }))
}

/// An integer of any number of bytes, the highest first; nothing beyond 128 bits.
fn two_complement(bytes: &[u8]) -> Option<i128> {
    let sign = match bytes.first() {
        Some(0x80..) => 0xff,
        _ => 0,
    };
    let (extension, digits) = bytes.split_at(bytes.len().saturating_sub(16));
    if extension.iter().any(|byte| *byte != sign) {
        return None;
    }
    let number = digits.iter().fold(if sign == 0 { 0 } else { -1i128 }, |number, byte| {
        number << 8 | i128::from(*byte)
    });
    // Beyond 128 bits the sign is in what was left out.
    Some(number).filter(|number| (*number < 0) == (sign != 0))
}
