//! Separated values: which field of a record is which column.

use super::{Binder, path};
use crate::{
    definition::{ColumnFormat, CsvFormat as Written, Name, SourceColumn},
    error::Result,
    model::{
        column::ColumnType,
        path::{PathPart, ValuePath},
    },
    plan::{CsvFormat, PayloadFormat},
};

impl Binder<'_> {
    pub(super) fn csv(&self, written: &Written, columns: &[(Name, SourceColumn)]) -> Result<PayloadFormat> {
        let names: Vec<&str> = written.columns.iter().map(|name| name.get_ref().as_str()).collect();
        for (at, name) in written.columns.iter().enumerate() {
            let text = name.get_ref();
            if names.iter().take(at).any(|other| other == text) {
                return Err(self.at(name, format!("key `format`: the field \"{text}\" is named twice")));
            }
        }
        let mut fields = vec![None; names.len()];
        for (index, (name, column)) in columns.iter().enumerate() {
            let Some(path) = path(name, column) else { continue };
            let place = self.csv_field(name, column, &path, &names)?;
            if let Some(field) = fields.get_mut(place) {
                *field = Some(index);
            }
        }
        let delimiter = self.csv_byte(written.delimiter.as_ref(), "delimiter", Some(b','))?;
        let quote = self.csv_byte(written.quote.as_ref(), "quote", Some(b'"'))?;
        let delimiter = match (delimiter, &written.delimiter) {
            (Some(delimiter), _) => delimiter,
            (None, Some(name)) => {
                return Err(self.at(name, "key `delimiter` is empty; accepted is one character of ASCII"));
            }
            (None, None) => b',',
        };
        if let Some(name) = written
            .quote
            .as_ref()
            .or(written.delimiter.as_ref())
            .filter(|_| quote == Some(delimiter))
        {
            return Err(self.at(
                name,
                "key `delimiter` and key `quote` are the same; accepted are two characters",
            ));
        }
        let null = written.null.as_ref().map(|null| null.get_ref().as_bytes().to_vec());
        Ok(PayloadFormat::Csv(
            CsvFormat {
                fields,
                delimiter,
                quote,
                null: null.unwrap_or_default(),
            }
            .into(),
        ))
    }

    /// The place of a column's field in a record.
    fn csv_field(&self, name: &Name, column: &SourceColumn, path: &ValuePath, names: &[&str]) -> Result<usize> {
        let text = name.get_ref();
        let wrong = |message: String| Err(self.at(name, format!("column \"{text}\": {message}")));
        let [PathPart::Name(field)] = path.0.as_slice() else {
            return wrong("key `path` is the name of a field, since no value of a record is within another".to_owned());
        };
        let Some(place) = names.iter().position(|other| other == field) else {
            return wrong(format!(
                "the records have no field \"{field}\"; key `columns` of the format lists {}",
                names.join(", ")
            ));
        };
        match (column.column_type, &column.format) {
            (_, Some(ColumnFormat::String)) => {
                wrong("key `format` is \"string\", and all fields of a record are; leave it out".to_owned())
            }
            (ColumnType::Timestamp | ColumnType::Bytes, None) => wrong(format!(
                "key `format` is missing, which says how a value of {} is written; all fields of a record are texts",
                column.column_type
            )),
            (ColumnType::List(_), _) => wrong("a field is no list; accepted is json, or text".to_owned()),
            _ => Ok(place),
        }
    }

    /// A character of ASCII; nothing where the text is empty.
    fn csv_byte(&self, name: Option<&Name>, key: &str, default: Option<u8>) -> Result<Option<u8>> {
        let Some(name) = name else { return Ok(default) };
        match name.get_ref().as_bytes() {
            [] => Ok(None),
            [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Ok(Some(*byte)),
            _ => Err(self.at(
                name,
                format!(
                    "key `{key}` is {:?}; accepted is one character of ASCII that ends no line",
                    name.get_ref()
                ),
            )),
        }
    }
}
