//! Debezium: which columns tell the rows of a table apart, and which stand beside a row.

use super::Binder;
use crate::{
    definition::{ColumnPlace, DebeziumFormat as Written, Name, SourceColumn},
    error::Result,
    model::path::PathPart,
    plan::{DebeziumFormat, PayloadFormat},
};
use std::ops::Range;

/// The members of a change that are the row.
const IMAGES: [&str; 2] = ["before", "after"];

/// What the column is called that is true where a row is gone.
const DELETED: &str = "deleted";

impl Binder<'_> {
    /// `at` is where the format stands in the file.
    pub(super) fn debezium(
        &self,
        written: &Written,
        at: Range<usize>,
        columns: &[(Name, SourceColumn)],
    ) -> Result<PayloadFormat> {
        if written.key.is_empty() {
            let message = "key `key` of the format debezium is empty; name the columns that are the primary key of the table, such as \
                           key = [\"id\"]";
            return Err(self.error(at, message));
        }
        self.distinct(&written.key, "key")?;
        let of_row = |index: usize| {
            let column = columns.get(index);
            column.is_some_and(|(_, column)| matches!(column.place, ColumnPlace::Payload(_)))
        };
        let mut key = Vec::new();
        for name in &written.key {
            let found = columns
                .iter()
                .position(|(column, _)| column.get_ref() == name.get_ref());
            let Some(index) = found.filter(|&index| of_row(index)) else {
                let rows = columns.iter().enumerate().filter(|(index, _)| of_row(*index));
                let rows: Vec<&str> = rows.map(|(_, (column, _))| column.get_ref().as_str()).collect();
                let message = format!(
                    "key `key` of the format debezium names \"{}\"; accepted are columns of the row: {}",
                    name.get_ref(),
                    rows.join(", ")
                );
                return Err(self.at(name, message));
            };
            key.push(index);
        }
        for (name, column) in columns {
            let ColumnPlace::Envelope(path) = &column.place else {
                continue;
            };
            let first = match path.as_ref().map(|path| path.0.first()) {
                Some(Some(PathPart::Name(first))) => first,
                _ => name.get_ref(),
            };
            if IMAGES.contains(&first.as_str()) {
                let message = format!(
                    "column \"{}\" is from the envelope, and its path leads into \"{first}\", which is the row; leave out `from` and \
                     \"{first}\"",
                    name.get_ref()
                );
                return Err(self.at(name, message));
            }
        }
        let deleted = columns.len();
        Ok(PayloadFormat::Debezium(DebeziumFormat { key, deleted }.into()))
    }
}

/// A name that no column has, for the one that is true where a row is gone.
pub(in crate::planner) fn deleted_name(columns: &[(Name, SourceColumn)]) -> String {
    let mut name = DELETED.to_owned();
    while columns.iter().any(|(column, _)| *column.get_ref() == name) {
        name.insert(0, '_');
    }
    name
}
