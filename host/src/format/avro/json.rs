//! Values of Avro as JSON: a record is an object, an enum its symbol, a union the value that it holds; bytes are in base64, and times
//! as a table shows them.

use super::{Walk, block, branch, scalar, text};
use crate::{
    format::{
        cursor::{Cursor, Rejected, deeper},
        json_text::{append, append_text, check_length, sort_members},
    },
    plan::avro::{AvroType, AvroTypeId},
};

impl Walk<'_> {
    /// Appends a value to `text`; false where JSON cannot hold it.
    pub(super) fn render(&mut self, id: AvroTypeId, cursor: &mut Cursor<'_>, depth: usize) -> Result<bool, Rejected> {
        let types = self.types;
        if let Some(scalar) = scalar(types, id, cursor)? {
            return Ok(append(self.text, scalar));
        }
        let depth = deeper(depth, cursor.at())?;
        check_length(self.text)?;
        let mut is_one = true;
        match types.get(id) {
            AvroType::Union(branches) => {
                let branch = *branch(branches, cursor)?;
                is_one = self.render(branch, cursor, depth)?;
            }
            AvroType::Record(record) => {
                self.text.push(b'{');
                for (at, (name, field)) in record.fields.iter().enumerate() {
                    if at > 0 {
                        self.text.push(b',');
                    }
                    append_text(self.text, name);
                    self.text.push(b':');
                    is_one &= self.render(*field, cursor, depth)?;
                }
                self.text.push(b'}');
            }
            AvroType::Array(items) => {
                self.text.push(b'[');
                let mut is_first = true;
                while let Some(block) = block(cursor)? {
                    for _ in 0..block.items {
                        if !std::mem::take(&mut is_first) {
                            self.text.push(b',');
                        }
                        let start = cursor.at();
                        is_one &= self.render(*items, cursor, depth)?;
                        self.check_element(start, cursor)?;
                        check_length(self.text)?;
                    }
                    block.check_end(cursor)?;
                }
                self.text.push(b']');
            }
            AvroType::Map(values) => {
                let start = self.text.len();
                let mut members = Vec::new();
                while let Some(block) = block(cursor)? {
                    for _ in 0..block.items {
                        let name = text(cursor)?.to_owned();
                        let from = self.text.len();
                        is_one &= self.render(*values, cursor, depth)?;
                        members.push((name, from, self.text.len()));
                        check_length(self.text)?;
                    }
                    block.check_end(cursor)?;
                }
                sort_members(self.text, start, members);
            }
            // All others are scalars.
            _ => return Ok(false),
        }
        Ok(is_one)
    }
}
