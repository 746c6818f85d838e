//! Messages of Protobuf as JSON: fields by the names that the descriptors have, in the order of their numbers. A field without
//! presence is there with its default, as are lists and maps that are empty; one with presence is there if it is in the payload.

use super::{
    Values,
    wire::{Key, Slot},
};
use crate::{
    format::{
        cursor::{Cursor, Rejected, broken, deeper},
        json_text::{append, append_text, check_length, sort_members},
        scalar::Scalar,
    },
    plan::protobuf::{Known, ProtoCount, ProtoField, ProtoKind, ProtoMessage},
};

impl Values<'_> {
    /// Appends a field to `text`; false where JSON cannot hold it.
    pub(super) fn render(&mut self, field: &ProtoField, slots: &[Slot], depth: usize) -> Result<bool, Rejected> {
        match field.count {
            ProtoCount::Map => self.map(field, slots, depth),
            ProtoCount::Repeated => self.list(field, slots, depth),
            ProtoCount::Implicit | ProtoCount::Optional => self.one(field, slots, depth),
        }
    }

    fn one(&mut self, field: &ProtoField, slots: &[Slot], depth: usize) -> Result<bool, Rejected> {
        if let ProtoKind::Message(message) = field.kind {
            return self.message(message, slots, deeper(depth, start_of(slots))?);
        }
        let slot = slots.last().copied().unwrap_or(Slot::DEFAULT);
        let scalar = self.scalar(field, field.kind, slot)?;
        check_length(self.text)?;
        Ok(append(self.text, scalar))
    }

    fn list(&mut self, field: &ProtoField, slots: &[Slot], depth: usize) -> Result<bool, Rejected> {
        let (mut is_one, mut is_first) = (true, true);
        self.text.push(b'[');
        self.each_element(field.kind, slots, |values, slot| {
            if !std::mem::take(&mut is_first) {
                values.text.push(b',');
            }
            is_one &= values.one(field, &[slot], depth)?;
            Ok(())
        })?;
        self.text.push(b']');
        Ok(is_one)
    }

    fn map(&mut self, field: &ProtoField, slots: &[Slot], depth: usize) -> Result<bool, Rejected> {
        let types = self.types;
        let ProtoKind::Message(entry) = field.kind else {
            return Ok(false);
        };
        let Some(entry) = types.messages.get(entry) else {
            return Ok(false);
        };
        let [key, value] = entry.fields.as_slice() else {
            return Ok(false);
        };
        let depth = deeper(depth, start_of(slots))?;
        let start = self.text.len();
        let (mut is_one, mut members) = (true, Vec::new());
        for slot in slots {
            let entries = self.entries(entry, &[*slot])?;
            let of = |field: usize| {
                let of_field = entries.iter().filter(move |(of, _)| *of == field);
                of_field.map(|(_, slot)| *slot).collect::<Vec<Slot>>()
            };
            let name = self.scalar(key, key.kind, of(0).last().copied().unwrap_or(Slot::DEFAULT))?;
            let name = match name {
                Scalar::Text(name) => name.to_owned(),
                Scalar::Int(number) => number.to_string(),
                Scalar::Wide(number) => number.to_string(),
                Scalar::Boolean(value) => value.to_string(),
                _ => {
                    is_one = false;
                    continue;
                }
            };
            let from = self.text.len();
            is_one &= self.one(value, &of(1), depth)?;
            members.push((name, from, self.text.len()));
        }
        sort_members(self.text, start, members);
        Ok(is_one)
    }

    /// Appends a message, of which these are the parts.
    fn message(&mut self, message: usize, parts: &[Slot], depth: usize) -> Result<bool, Rejected> {
        let types = self.types;
        let Some(of) = types.messages.get(message) else {
            return Ok(false);
        };
        match (of.known, of.fields.first()) {
            (Some(Known::Timestamp), _) => {
                let timestamp = self.timestamp(of, parts)?;
                Ok(append(self.text, timestamp))
            }
            (Some(Known::Date), _) => {
                let date = self.date(of, parts)?;
                Ok(append(self.text, date))
            }
            (Some(Known::Inner), Some(inner)) => {
                let entries = self.entries(of, parts)?;
                let slots: Vec<Slot> = entries
                    .iter()
                    .filter(|(field, _)| *field == 0)
                    .map(|(_, slot)| *slot)
                    .collect();
                self.render(inner, &slots, depth)
            }
            (Some(Known::Value), _) => {
                let entries = self.entries(of, parts)?;
                let last = entries
                    .last()
                    .and_then(|(field, _)| Some((*field, of.fields.get(*field)?)));
                match last {
                    // The first field says that it is null.
                    None => Ok(append(self.text, Scalar::Null)),
                    Some((_, field)) if matches!(field.kind, ProtoKind::Enum(_)) => Ok(append(self.text, Scalar::Null)),
                    Some((last, field)) => {
                        let slots = entries.iter().filter(|(field, _)| *field == last);
                        let slots: Vec<Slot> = slots.map(|(_, slot)| *slot).collect();
                        self.one(field, &slots, depth)
                    }
                }
            }
            _ => self.fields(message, parts, depth),
        }
    }

    /// Appends the fields of a message as an object.
    pub(super) fn fields(&mut self, message: usize, parts: &[Slot], depth: usize) -> Result<bool, Rejected> {
        let types = self.types;
        let Some(message) = types.messages.get(message) else {
            return Ok(false);
        };
        let mut entries = self.entries(message, parts)?;
        // Of fields of which only one is there, it is the last.
        let mut chosen: Vec<(usize, usize)> = Vec::new();
        for (field, _) in &entries {
            let oneof = message.fields.get(*field).and_then(|field| field.oneof);
            if let Some(oneof) = oneof {
                match chosen.iter_mut().find(|(known, _)| *known == oneof) {
                    Some((_, last)) => *last = *field,
                    None => chosen.push((oneof, *field)),
                }
            }
        }
        entries.sort_by_key(|(field, _)| *field);
        let mut entries = entries.as_slice();
        let (mut is_one, mut is_first) = (true, true);
        let mut slots = Vec::new();
        self.text.push(b'{');
        for (index, field) in message.fields.iter().enumerate() {
            let (of_field, rest) = entries.split_at(entries.partition_point(|(of, _)| *of <= index));
            entries = rest;
            let is_rival = |(oneof, last): &(usize, usize)| field.oneof == Some(*oneof) && *last != index;
            let is_there = match field.count {
                ProtoCount::Optional => !of_field.is_empty() && !chosen.iter().any(is_rival),
                _ => true,
            };
            if !is_there || field.kind == ProtoKind::Group {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                self.text.push(b',');
            }
            append_text(self.text, &field.name);
            self.text.push(b':');
            slots.clear();
            slots.extend(of_field.iter().map(|(_, slot)| *slot));
            is_one &= self.render(field, &slots, depth)?;
            check_length(self.text)?;
        }
        self.text.push(b'}');
        Ok(is_one)
    }

    /// The fields that a message has, each with its index, in the order in which they stand.
    pub(super) fn entries(&self, message: &ProtoMessage, parts: &[Slot]) -> Result<Vec<(usize, Slot)>, Rejected> {
        let mut entries = Vec::new();
        for part in parts {
            let Slot::Bytes { start, end } = *part else {
                return Err(broken(format!(
                    "found {} at byte {}, where message {} stands; accepted is bytes with a length",
                    part.written(),
                    part.start(),
                    message.name
                )));
            };
            let mut cursor = Cursor::over(self.payload, start, end);
            while !cursor.is_at_end() {
                let key = Key::read(&mut cursor)?;
                match message.fields.binary_search_by_key(&key.number, |field| field.number) {
                    Ok(field) => entries.push((field, key.value(&mut cursor)?)),
                    Err(_) => key.skip(&mut cursor)?,
                }
            }
        }
        Ok(entries)
    }
}

fn start_of(slots: &[Slot]) -> usize {
    slots.first().map_or(0, |slot| slot.start())
}
