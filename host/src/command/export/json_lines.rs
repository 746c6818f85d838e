//! A JSON object on each line: decimals as numbers with all their digits, JSON as it was written, bytes in base64.

use super::{Output, RowWriter};
use crate::{
    error::{Error, Result},
    model::{
        column::Value,
        form::{ColumnForm, Place},
    },
    storage::StoredColumn,
};
use serde_json::Value as Json;

/// Writes a line for each row.
pub(super) struct JsonLines {
    output: Output,
    /// The names, as JSON, and how values are written.
    columns: Vec<(String, ColumnForm)>,
    /// Room for one, so that each is allocated once.
    line: String,
}

impl JsonLines {
    pub(super) fn begin(output: Output, columns: &[StoredColumn]) -> Self {
        let columns = columns.iter().map(|column| {
            let name = Json::from(column.name.as_str()).to_string();
            (name, ColumnForm::usual(column.form.column_type, Place::Subject))
        });
        Self {
            output,
            columns: columns.collect(),
            line: String::new(),
        }
    }
}

impl RowWriter for JsonLines {
    fn row(&mut self, values: &[Value<'_>]) -> Result<()> {
        self.line.clear();
        for ((name, form), value) in self.columns.iter().zip(values) {
            if matches!(value, Value::Double(double) if !double.is_finite()) {
                return Err(Error::mismatch(format!(
                    "column {name} holds a double that is not finite, which JSON has no number for; export it as csv or parquet"
                )));
            }
            self.line.push(if self.line.is_empty() { '{' } else { ',' });
            self.line.push_str(name);
            self.line.push(':');
            form.push_json(&mut self.line, *value);
        }
        self.line.push('}');
        // A value that was written on several lines has ends of lines between its parts, and nowhere else.
        if self.line.contains(['\n', '\r']) {
            self.line = self.line.replace(['\n', '\r'], " ");
        }
        self.line.push('\n');
        self.output.put(self.line.as_bytes())
    }

    fn finish(self: Box<Self>) -> Result<Output> {
        Ok(self.output)
    }
}
