//! Arrays of Avro: as lists of a column, and by their elements.

use super::{Walk, block, branch, scalar};
use crate::{
    format::{
        cursor::{Cursor, Rejected},
        list::ListText,
        reading::Cell,
        scalar::{full, wrong},
    },
    plan::{
        SourceColumn,
        avro::{AvroPlace, AvroType, AvroTypeId},
    },
};

impl Walk<'_> {
    /// Reads a value as a column that is a list.
    pub(super) fn list(&mut self, id: AvroTypeId, index: usize, cursor: &mut Cursor<'_>) -> Result<(), Rejected> {
        let (types, columns) = (self.types, self.columns);
        let Some(column) = columns.get(index) else {
            return self.skip(id, cursor, 0);
        };
        let start = cursor.at();
        let value = match types.get(id) {
            AvroType::Union(branches) => *branch(branches, cursor)?,
            _ => id,
        };
        let cell = match types.get(value) {
            AvroType::Null => Cell::Null,
            AvroType::Array(items) => {
                self.list_of(*items, column, start, cursor)?;
                Cell::Bytes(self.text.as_slice().into())
            }
            // Such a branch goes with another column than this.
            _ => {
                let found = self.shown(value, cursor);
                return Err(Box::new(wrong(column, &found, start)));
            }
        };
        let builder = self.sink.columns.get_mut(index);
        match builder.is_none_or(|builder| builder.push(cell)) {
            true => Ok(()),
            false => Err(Box::new(full())),
        }
    }

    /// Makes a list of elements of this type, in `text`.
    fn list_of(
        &mut self,
        items: AvroTypeId,
        column: &SourceColumn,
        start: usize,
        cursor: &mut Cursor<'_>,
    ) -> Result<(), Rejected> {
        let types = self.types;
        let Some(mut list) = ListText::begin(column, start, self.text) else {
            return Err(Box::new(wrong(column, "a list", start)));
        };
        while let Some(block) = block(cursor)? {
            for _ in 0..block.items {
                let start = cursor.at();
                let item = match types.get(items) {
                    AvroType::Union(branches) => *branch(branches, cursor)?,
                    _ => items,
                };
                let mut again = *cursor;
                let fits = match scalar(types, item, cursor)? {
                    Some(scalar) => list.push(scalar)?,
                    None => false,
                };
                if !fits {
                    let found = self.shown(item, &mut again);
                    return Err(Box::new(wrong(column, &found, start)));
                }
                self.check_element(start, cursor)?;
            }
            block.check_end(cursor)?;
        }
        *self.text = list.end();
        Ok(())
    }

    /// Reads the elements of an array that columns read, and passes over the others. What it does not have is missing.
    pub(super) fn elements(
        &mut self,
        items: AvroTypeId,
        places: &[(usize, AvroPlace)],
        cursor: &mut Cursor<'_>,
    ) -> Result<(), Rejected> {
        let (mut places, mut index) = (places.iter().peekable(), 0usize);
        while let Some(block) = block(cursor)? {
            for _ in 0..block.items {
                let start = cursor.at();
                match places.next_if(|(wanted, _)| *wanted == index) {
                    Some((_, place)) => self.place(place, cursor)?,
                    None => self.skip(items, cursor, 0)?,
                }
                self.check_element(start, cursor)?;
                index = index.saturating_add(1);
            }
            block.check_end(cursor)?;
        }
        Ok(())
    }
}
