//! Elements of repeated fields: by their index, and all of them as a list.
//!
//! Numbers may stand together without keys, in one run or in several, and others with a key each; a field is all of them in their
//! order. Each element is one by itself, also if it is a message: only a message that is not repeated is all of its parts.

use super::{
    Found, Values, part,
    wire::{Key, Slot},
    word,
};
use crate::{
    format::{
        cursor::{Cursor, Rejected},
        list::ListText,
        scalar::wrong,
    },
    model::column::ColumnType,
    plan::{
        SourceColumn,
        protobuf::{ProtoCount, ProtoElements, ProtoField, ProtoKind},
    },
};

impl Found {
    /// Takes in what stands behind one key: an element, or a run of them.
    #[inline(never)]
    pub(super) fn elements(
        &mut self,
        elements: &ProtoElements,
        key: Key,
        slot: Slot,
        cursor: Cursor<'_>,
    ) -> Result<(), Rejected> {
        match slot {
            Slot::Bytes { start, end } if elements.kind.is_packed() => {
                let mut run = part(cursor, start, end)?;
                while !run.is_at_end() {
                    let slot = packed(elements.kind, &mut run)?;
                    self.element(elements, key, slot, cursor)?;
                }
                Ok(())
            }
            slot if is_written_as(elements.kind, slot) => self.element(elements, key, slot, cursor),
            _ => Err(key.mismatch(&format!("{}, as the descriptors have it", word(elements.kind)))),
        }
    }

    fn element(&mut self, elements: &ProtoElements, key: Key, slot: Slot, cursor: Cursor<'_>) -> Result<(), Rejected> {
        let Some(met) = self.met.get_mut(elements.number) else {
            return Ok(());
        };
        let index = *met;
        *met = met.saturating_add(1);
        let found = elements.reads.binary_search_by_key(&index, |(index, _)| *index);
        match found.ok().and_then(|found| elements.reads.get(found)) {
            Some((_, reads)) => self.read(reads, key, slot, cursor),
            None => Ok(()),
        }
    }
}

impl Values<'_> {
    /// Makes a list of the elements of a field, in `text`.
    pub(super) fn list_of(
        &mut self,
        field: &ProtoField,
        column: &SourceColumn,
        slots: &[Slot],
    ) -> Result<(), Rejected> {
        let start = slots.first().map_or(0, |slot| slot.start());
        let Some(mut list) = ListText::begin(column, start, self.text) else {
            return Err(Box::new(wrong(column, "a list", start)));
        };
        let kind = match (field.kind, list.of()) {
            (ProtoKind::Enum(_), ColumnType::Int) => ProtoKind::Int32,
            (kind, _) => kind,
        };
        self.each_element(field.kind, slots, |values, slot| {
            let scalar = match kind {
                ProtoKind::Message(message) => values.known(message, &[slot])?,
                kind => Some(values.scalar(field, kind, slot)?),
            };
            let fits = match scalar {
                Some(scalar) => list.push(scalar)?,
                None => false,
            };
            match fits {
                true => Ok(()),
                false => Err(values.unfit_element(field, column, slot)),
            }
        })?;
        *self.text = list.end();
        Ok(())
    }

    #[cold]
    fn unfit_element(&mut self, field: &ProtoField, column: &SourceColumn, slot: Slot) -> Rejected {
        let element = ProtoField {
            count: ProtoCount::Optional,
            ..field.clone()
        };
        let found = self.shown(&element, &[slot], None);
        Box::new(wrong(column, &found, slot.start()))
    }

    /// Gives each element of a repeated field to `each`, in their order.
    pub(super) fn each_element(
        &mut self,
        kind: ProtoKind,
        slots: &[Slot],
        mut each: impl FnMut(&mut Self, Slot) -> Result<(), Rejected>,
    ) -> Result<(), Rejected> {
        for slot in slots {
            match *slot {
                Slot::Bytes { start, end } if kind.is_packed() => {
                    let mut run = Cursor::over(self.payload, start, end);
                    while !run.is_at_end() {
                        let slot = packed(kind, &mut run)?;
                        each(self, slot)?;
                    }
                }
                slot => each(self, slot)?,
            }
        }
        Ok(())
    }
}

/// Whether a value of this kind is written so, where it has a key.
fn is_written_as(kind: ProtoKind, slot: Slot) -> bool {
    match kind {
        ProtoKind::Double | ProtoKind::Fixed64 | ProtoKind::Sfixed64 => matches!(slot, Slot::Fixed64 { .. }),
        ProtoKind::Float | ProtoKind::Fixed32 | ProtoKind::Sfixed32 => matches!(slot, Slot::Fixed32 { .. }),
        ProtoKind::String | ProtoKind::Bytes | ProtoKind::Message(_) => matches!(slot, Slot::Bytes { .. }),
        ProtoKind::Group => matches!(slot, Slot::Group { .. }),
        _ => matches!(slot, Slot::Varint { .. }),
    }
}

/// A value among others without a key.
fn packed(kind: ProtoKind, cursor: &mut Cursor<'_>) -> Result<Slot, Rejected> {
    let at = cursor.at();
    Ok(match kind {
        ProtoKind::Double | ProtoKind::Fixed64 | ProtoKind::Sfixed64 => Slot::Fixed64 {
            bits: u64::from_le_bytes(cursor.array()?),
            at,
        },
        ProtoKind::Float | ProtoKind::Fixed32 | ProtoKind::Sfixed32 => Slot::Fixed32 {
            bits: u32::from_le_bytes(cursor.array()?),
            at,
        },
        _ => Slot::Varint {
            bits: cursor.varint()?,
            at,
        },
    })
}
