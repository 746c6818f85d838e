//! Payloads of Protobuf: fields by number, in any order.
//!
//! A field that occurs more often is the last of it, a message is all of its parts together, and of a `oneof` the last stands. So a
//! payload is walked once to find where the fields of columns are, and what was found is read afterwards. Nothing is built in
//! between; fields that no column reads are passed over by their length.

mod elements;
mod json;
mod known;
mod wire;

use super::{
    columns::{ColumnBuilders, Decoded, RejectedPayload},
    cursor::{Cursor, Rejected, broken},
    framing::schema_number,
    payloads::Payloads,
    reading::Cell,
    scalar::{Scalar, cell, end_row, excerpt, full, unfit, wrong},
};
use crate::{
    limits::PATH_NAMES_MAX,
    model::column::ColumnType,
    plan::{
        SourceColumn,
        protobuf::{
            Known, ProtoCount, ProtoField, ProtoKind, ProtoPlace, ProtoReads, ProtoRival, ProtoTypes, ProtobufFormat,
        },
    },
};
use std::sync::Arc;
use wire::{Key, Slot};

/// Reads payloads.
#[derive(Debug)]
pub(super) struct Protobuf {
    format: Arc<ProtobufFormat>,
    columns: Vec<SourceColumn>,
    found: Found,
    /// A value as JSON, or as a list.
    text: Vec<u8>,
}

/// What a payload has of the columns.
#[derive(Debug)]
struct Found {
    /// Where the value of each column is, the last of it.
    last: Vec<Option<Slot>>,
    /// The same of columns that may be in several parts.
    all: Vec<Option<Vec<Slot>>>,
    /// How often each place was met: parts of a message, or elements of a field.
    met: Vec<usize>,
}

impl Protobuf {
    pub(super) fn new(format: &Arc<ProtobufFormat>, columns: &[SourceColumn]) -> Self {
        let in_parts = format.columns.iter().zip(columns).map(|(read, column)| {
            let kind = read.as_ref().map(|read| read.field.kind);
            let is_message = matches!(kind, Some(ProtoKind::Message(_)));
            let is_nested = matches!(column.field.column_type, ColumnType::Json | ColumnType::List(_));
            (is_message || is_nested).then(Vec::new)
        });
        Self {
            found: Found {
                last: vec![None; columns.len()],
                all: in_parts.collect(),
                met: vec![0; format.places],
            },
            format: format.clone(),
            columns: columns.to_vec(),
            text: Vec::new(),
        }
    }

    fn payload(&mut self, payload: &[u8], sink: &mut ColumnBuilders) -> Result<Decoded, Rejected> {
        let mut cursor = Cursor::new(payload);
        if let Some(expected) = &self.format.frame {
            if payload.is_empty() {
                return Ok(Decoded::Empty);
            }
            frame(&mut cursor, expected)?;
        }
        self.found.begin();
        self.found.message(&self.format.root, cursor)?;
        let format = self.format.clone();
        for (index, (read, column)) in format.columns.iter().zip(&self.columns).enumerate() {
            let Some(read) = read else { continue };
            if self.found.met.get(read.place).is_none_or(|met| *met == 0) {
                continue;
            }
            let mut values = Values {
                types: &format.types,
                payload,
                text: &mut self.text,
            };
            let last = self.found.last.get(index).copied().flatten();
            let all = self.found.all.get(index).and_then(Option::as_deref);
            let cell = match all {
                Some(all) => values.of_parts(&read.field, column, all)?,
                None => values.of_one(&read.field, column, last)?,
            };
            let Some(cell) = cell else {
                let at = last.or(all.and_then(|all| all.first().copied())).map_or(0, Slot::start);
                let found = values.shown(&read.field, last.as_slice(), all);
                return Err(Box::new(wrong(column, &found, at)));
            };
            let builder = sink.columns.get_mut(index);
            if !builder.is_none_or(|builder| builder.push(cell)) {
                return Err(Box::new(full()));
            }
        }
        Ok(Decoded::Row)
    }
}

impl Payloads for Protobuf {
    fn decode(&mut self, payload: &[u8], sink: &mut ColumnBuilders) -> Result<Decoded, RejectedPayload> {
        let pushed = self.payload(payload, sink).map_err(|rejected| *rejected);
        end_row(sink, pushed)
    }
}

/// What stands in front of a payload: the number of a schema, and which message of it this is. There are few messages in a file, so
/// each message around one is a number; the first of all is a single zero.
fn frame(cursor: &mut Cursor<'_>, expected: &[u64]) -> Result<(), Rejected> {
    schema_number(cursor)?;
    let at = cursor.at();
    let count = cursor.zigzag()?;
    let mut found = Vec::new();
    match usize::try_from(count) {
        Ok(0) => found.push(0),
        Ok(count @ 1..=PATH_NAMES_MAX) => {
            for _ in 0..count {
                found.push(cursor.zigzag()?.unsigned_abs());
            }
        }
        _ => {}
    }
    match found == expected {
        true => Ok(()),
        false => Err(broken(format!(
            "found message {found:?} of its schema at byte {at}; accepted is {expected:?}, which key `message` of the format names"
        ))),
    }
}

impl Found {
    fn begin(&mut self) {
        self.last.fill(None);
        for parts in self.all.iter_mut().flatten() {
            parts.clear();
        }
        self.met.fill(0);
    }

    /// Finds fields of a message, which ends where its bytes do.
    fn message(&mut self, place: &ProtoPlace, mut cursor: Cursor<'_>) -> Result<(), Rejected> {
        if let Some(met) = self.met.get_mut(place.number) {
            *met = met.saturating_add(1);
        }
        // Fields come in the order of their numbers mostly.
        let mut likely = 0;
        while !cursor.is_at_end() {
            let key = Key::read(&mut cursor)?;
            let target = match place.fields.get(likely) {
                Some(target) if target.number == key.number => Some(target),
                _ => match place.fields.binary_search_by_key(&key.number, |target| target.number) {
                    Ok(found) => {
                        likely = found;
                        place.fields.get(found)
                    }
                    Err(_) => None,
                },
            };
            let Some(target) = target else {
                key.skip(&mut cursor)?;
                continue;
            };
            likely = likely.saturating_add(1);
            for rival in &target.clears {
                self.clear(rival);
            }
            let slot = key.value(&mut cursor)?;
            self.read(&target.reads, key, slot, cursor)?;
        }
        Ok(())
    }

    /// Takes in a value, of which the cursor is behind the end.
    #[inline]
    fn read(&mut self, reads: &ProtoReads, key: Key, slot: Slot, cursor: Cursor<'_>) -> Result<(), Rejected> {
        match (reads, slot) {
            (ProtoReads::Column(column), slot) => self.set(*column, slot),
            (ProtoReads::Fields(inner), Slot::Bytes { start, end }) => {
                self.message(inner, part(cursor, start, end)?)?;
            }
            (ProtoReads::Fields(_), _) => return Err(key.mismatch("a message")),
            (ProtoReads::Elements(elements), slot) => self.elements(elements, key, slot, cursor)?,
            (ProtoReads::Nothing, _) => {}
        }
        Ok(())
    }

    fn set(&mut self, column: usize, slot: Slot) {
        match self.all.get_mut(column) {
            Some(Some(parts)) => parts.push(slot),
            _ => {
                if let Some(last) = self.last.get_mut(column) {
                    *last = Some(slot);
                }
            }
        }
    }

    /// Forgets a field, and all that is within it.
    fn clear(&mut self, rival: &ProtoRival) {
        for &column in &rival.columns {
            if let Some(last) = self.last.get_mut(column) {
                *last = None;
            }
            if let Some(Some(parts)) = self.all.get_mut(column) {
                parts.clear();
            }
        }
        if let Some(places) = self.met.get_mut(rival.places.clone()) {
            places.fill(0);
        }
    }
}

/// The bytes of a value, of which the cursor is behind the end.
fn part(mut cursor: Cursor<'_>, start: usize, end: usize) -> Result<Cursor<'_>, Rejected> {
    cursor.back_to(start);
    cursor.within(end.saturating_sub(start))
}

/// Reads what was found.
struct Values<'a> {
    types: &'a ProtoTypes,
    payload: &'a [u8],
    text: &'a mut Vec<u8>,
}

impl<'a> Values<'a> {
    /// The value of a column that is in one place.
    #[inline]
    fn of_one(
        &self,
        field: &ProtoField,
        column: &SourceColumn,
        slot: Option<Slot>,
    ) -> Result<Option<Cell<'a>>, Rejected> {
        let slot = match (slot, field.count) {
            (Some(slot), _) => slot,
            (None, ProtoCount::Implicit) => Slot::DEFAULT,
            (None, _) => return Ok(Some(Cell::Null)),
        };
        let scalar = match (field.kind, column.field.column_type) {
            (ProtoKind::Enum(_), ColumnType::Int) => self.scalar(field, ProtoKind::Int32, slot)?,
            (kind, _) => self.scalar(field, kind, slot)?,
        };
        Ok(cell(column, scalar))
    }

    /// The value of a column that may be in several.
    fn of_parts(
        &mut self,
        field: &ProtoField,
        column: &SourceColumn,
        parts: &[Slot],
    ) -> Result<Option<Cell<'_>>, Rejected> {
        if parts.is_empty() && field.count == ProtoCount::Optional {
            return Ok(Some(Cell::Null));
        }
        if column.field.column_type == ColumnType::Json {
            self.text.clear();
            let is_one = self.render(field, parts, 0)?;
            return Ok(is_one.then_some(match self.text.as_slice() {
                b"null" => Cell::Null,
                text => Cell::Bytes(text.into()),
            }));
        }
        if let ColumnType::List(_) = column.field.column_type {
            self.list_of(field, column, parts)?;
            return Ok(Some(Cell::Bytes(self.text.as_slice().into())));
        }
        let ProtoKind::Message(message) = field.kind else {
            return Ok(None);
        };
        let scalar = self.known(message, parts)?;
        Ok(scalar.and_then(|scalar| cell(column, scalar)))
    }

    /// The scalar that a message stands for; nothing where it stands for none.
    fn known(&self, message: usize, parts: &[Slot]) -> Result<Option<Scalar<'a>>, Rejected> {
        let Some(message) = self.types.messages.get(message) else {
            return Ok(None);
        };
        Ok(match (message.known, message.fields.first()) {
            (Some(Known::Timestamp), _) => Some(self.timestamp(message, parts)?),
            (Some(Known::Date), _) => Some(self.date(message, parts)?),
            (Some(Known::Inner), Some(inner)) => {
                let slot = self.last_of(message, parts, inner.number)?;
                Some(self.scalar(inner, inner.kind, slot.unwrap_or(Slot::DEFAULT))?)
            }
            _ => None,
        })
    }

    /// A value as people read it, for a reason.
    #[cold]
    fn shown(&mut self, field: &ProtoField, last: &[Slot], all: Option<&[Slot]>) -> String {
        self.text.clear();
        let parts = all.unwrap_or(last);
        let rendered = match field.kind {
            // What is no timestamp or date is shown by its fields.
            ProtoKind::Message(message) => self.fields(message, parts, 0),
            _ => self.render(field, parts, 0),
        };
        match (rendered, parts.last()) {
            (Ok(true), _) => excerpt(self.text),
            (Ok(false), Some(last)) => match self.scalar(field, field.kind, *last) {
                Ok(scalar) => unfit(scalar),
                Err(_) => "a broken value".to_owned(),
            },
            _ => "a broken value".to_owned(),
        }
    }

    /// A value that has no others within it.
    #[inline]
    fn scalar(&self, field: &ProtoField, kind: ProtoKind, slot: Slot) -> Result<Scalar<'a>, Rejected> {
        Ok(match (kind, slot) {
            (ProtoKind::Double, Slot::Fixed64 { bits, .. }) => Scalar::Double(f64::from_bits(bits)),
            (ProtoKind::Float, Slot::Fixed32 { bits, .. }) => Scalar::Float(f32::from_bits(bits)),
            (ProtoKind::Int32, Slot::Varint { bits, .. }) => Scalar::Int((bits as i32).into()),
            (ProtoKind::Int64, Slot::Varint { bits, .. }) => Scalar::Int(bits as i64),
            (ProtoKind::Uint32, Slot::Varint { bits, .. }) => Scalar::Int((bits as u32).into()),
            (ProtoKind::Uint64, Slot::Varint { bits, .. }) => Scalar::Wide(bits.into()),
            (ProtoKind::Sint32, Slot::Varint { bits, .. }) => {
                Scalar::Int((super::cursor::unzigzag((bits as u32).into()) as i32).into())
            }
            (ProtoKind::Sint64, Slot::Varint { bits, .. }) => Scalar::Int(super::cursor::unzigzag(bits)),
            (ProtoKind::Fixed32, Slot::Fixed32 { bits, .. }) => Scalar::Int(bits.into()),
            (ProtoKind::Fixed64, Slot::Fixed64 { bits, .. }) => Scalar::Wide(bits.into()),
            (ProtoKind::Sfixed32, Slot::Fixed32 { bits, .. }) => Scalar::Int((bits as i32).into()),
            (ProtoKind::Sfixed64, Slot::Fixed64 { bits, .. }) => Scalar::Int(bits as i64),
            (ProtoKind::Bool, Slot::Varint { bits, .. }) => Scalar::Boolean(bits != 0),
            (ProtoKind::Enum(of), Slot::Varint { bits, .. }) => {
                let name = self.types.enums.get(of).and_then(|of| of.name(bits as i32));
                // One that the descriptors do not know.
                name.map_or(Scalar::Int((bits as i32).into()), Scalar::Text)
            }
            (ProtoKind::String, Slot::Bytes { start, end }) => {
                Scalar::text(self.payload.get(start..end).unwrap_or_default())
            }
            (ProtoKind::Bytes, Slot::Bytes { start, end }) => {
                Scalar::Bytes(self.payload.get(start..end).unwrap_or_default())
            }
            (kind, Slot::Default) => default_of(self.types, kind),
            (_, slot) => {
                return Err(broken(format!(
                    "found {} for field \"{}\" (number {}) at byte {}; accepted is {}, as the descriptors have it",
                    slot.written(),
                    field.name,
                    field.number,
                    slot.start(),
                    word(kind)
                )));
            }
        })
    }
}

/// A kind in a word.
fn word(kind: ProtoKind) -> String {
    let kind = format!("{kind:?}").to_lowercase();
    kind.split('(').next().unwrap_or_default().to_owned()
}

/// The value of a field that is not there, of a kind that has one then.
fn default_of(types: &ProtoTypes, kind: ProtoKind) -> Scalar<'_> {
    match kind {
        ProtoKind::Double | ProtoKind::Float => Scalar::Double(0.0),
        ProtoKind::Bool => Scalar::Boolean(false),
        ProtoKind::String => Scalar::Text(""),
        ProtoKind::Bytes => Scalar::Bytes(&[]),
        ProtoKind::Enum(of) => {
            let name = types.enums.get(of).and_then(|of| of.name(0));
            name.map_or(Scalar::Int(0), Scalar::Text)
        }
        ProtoKind::Message(_) | ProtoKind::Group => Scalar::Null,
        _ => Scalar::Int(0),
    }
}
