//! Lists that are made of values of other formats than JSON, as a column holds them: in one way only, so that lists that are equal
//! are equal texts.

use super::{
    columns::RejectedPayload,
    cursor::Rejected,
    reading::push_element,
    scalar::{Scalar, cell_of},
};
use crate::{
    limits::LIST_BYTES_MAX,
    model::column::{ColumnType, ElementType},
    plan::{Reading, SourceColumn},
};

/// A list under construction.
pub(super) struct ListText<'c> {
    column: &'c SourceColumn,
    of: ElementType,
    reading: Option<&'c Reading>,
    /// Where it begins in the payload.
    start: usize,
    text: String,
}

impl<'c> ListText<'c> {
    /// An empty one of a column, in place of what was in `room`; nothing where the column is no list.
    pub(super) fn begin(column: &'c SourceColumn, start: usize, room: &mut Vec<u8>) -> Option<Self> {
        let ColumnType::List(of) = column.field.column_type else {
            return None;
        };
        room.clear();
        let mut text = String::from_utf8(std::mem::take(room)).unwrap_or_default();
        text.push('[');
        Some(Self {
            column,
            of,
            reading: column.reading.as_ref().and_then(Reading::of_elements),
            start,
            text,
        })
    }

    /// The type of its elements.
    pub(super) fn of(&self) -> ColumnType {
        self.of.column_type()
    }

    /// Appends an element; false where it is none of its type.
    ///
    /// # Errors
    /// When the list is too long.
    pub(super) fn push(&mut self, element: Scalar<'_>) -> Result<bool, Rejected> {
        let Some(cell) = cell_of(self.of(), self.reading, element) else {
            return Ok(false);
        };
        if self.text.len() > 1 {
            self.text.push(',');
        }
        push_element(&mut self.text, self.of, &cell);
        match self.text.len() > LIST_BYTES_MAX {
            false => Ok(true),
            true => Err(self.too_long()),
        }
    }

    /// Its text.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.text.push(']');
        self.text.into_bytes()
    }

    #[cold]
    fn too_long(&self) -> Rejected {
        Box::new(RejectedPayload {
            column: Some(self.column.field.name.clone()),
            reason: format!(
                "found a longer list at byte {}; accepted is a list that takes at most 16 MiB",
                self.start
            ),
        })
    }
}
