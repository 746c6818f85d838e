//! Comma-separated values, as RFC 4180 has them, with a line of names first. Lines end in LF.
//!
//! Null is nothing between two commas, and an empty text is `""`: PostgreSQL writes and reads them so, and DuckDB and Arrow tell
//! them apart if they are asked to.

use super::{Output, RowWriter};
use crate::{
    error::{Error, Result},
    model::column::{ColumnType, Value},
    storage::StoredColumn,
};
use csv_core::WriteResult;

/// Writes a line for each row.
pub(super) struct Csv {
    output: Output,
    types: Vec<ColumnType>,
    quoting: csv_core::Writer,
    /// Room for one, so that each is allocated once.
    line: Vec<u8>,
}

impl Csv {
    /// Writes the names.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn begin(output: Output, columns: &[StoredColumn]) -> Result<Self> {
        let mut csv = Self {
            output,
            types: columns.iter().map(|column| column.form.column_type).collect(),
            quoting: csv_core::Writer::new(),
            line: Vec::new(),
        };
        for column in columns {
            csv.field(Some(column.name.as_bytes()))?;
        }
        csv.end_line()?;
        Ok(csv)
    }

    /// Appends a field to the line, and a comma.
    fn field(&mut self, text: Option<&[u8]>) -> Result<()> {
        match text {
            None => self.line.push(b','),
            Some([]) => self.line.extend_from_slice(b"\"\","),
            Some(text) => {
                let begun = self.line.len();
                // Every byte may be a quote, which is doubled; around them two quotes, behind them a comma.
                self.line.resize(begun + 2 * text.len() + 3, 0);
                let room = self.line.get_mut(begun..).unwrap_or_default();
                let (written, _, length) = self.quoting.field(text, room);
                let rest = room.get_mut(length..).unwrap_or_default();
                let (ended, end) = self.quoting.delimiter(rest);
                if let (WriteResult::OutputFull, _) | (_, WriteResult::OutputFull) = (written, ended) {
                    return Err(Error::defect(format_args!(
                        "a field of {} bytes has no room",
                        text.len()
                    )));
                }
                self.line.truncate(begun + length + end);
            }
        }
        Ok(())
    }

    /// Writes the line.
    fn end_line(&mut self) -> Result<()> {
        self.line.pop();
        self.line.push(b'\n');
        let written = self.output.put(&self.line);
        self.line.clear();
        written
    }
}

impl RowWriter for Csv {
    fn row(&mut self, values: &[Value<'_>]) -> Result<()> {
        for (at, value) in values.iter().enumerate() {
            let column_type = self.types.get(at).copied().unwrap_or(ColumnType::Text);
            match (column_type, *value) {
                // As it is, also where somebody else wrote what is no UTF-8.
                (ColumnType::Text | ColumnType::Json, Value::Text(text)) => self.field(Some(text))?,
                (column_type, value) => {
                    let text = column_type.text(value);
                    self.field(text.as_ref().map(|text| text.as_bytes()))?;
                }
            }
        }
        self.end_line()
    }

    fn finish(self: Box<Self>) -> Result<Output> {
        Ok(self.output)
    }
}
