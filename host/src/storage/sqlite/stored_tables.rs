//! Tables with their types and values, for whoever takes them elsewhere.

use super::{
    audit::Audit,
    failure::Sqlite,
    schema::quote,
    table_columns::{self, KnownColumn},
    values::cell_of,
};
use crate::{
    error::{Error, Result},
    model::{
        column::{ColumnType, Value},
        form::{ColumnForm, Form},
    },
    storage::{StoredColumn, StoredTable},
    text::printable,
};
use rusqlite::types::ValueRef;
use serde::de::IgnoredAny;

/// The names by which a table's rows are numbered, unless a column is called so.
const ROW_NUMBERS: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// Characters of a value that an error shows.
const SHOWN_CHARS_MAX: usize = 80;

impl Audit {
    /// A table of a pipeline.
    pub(super) fn stored_table(&self, table: &str) -> Result<StoredTable> {
        let query = "SELECT name, pipeline FROM weir_table ORDER BY name";
        let all: Vec<(String, String)> = self.list(query, |row| Ok((row.get(0)?, row.get(1)?)))?;
        let Some((_, pipeline)) = all.iter().find(|(name, _)| name == table) else {
            let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
            let known = match names.as_slice() {
                [] => "none".to_owned(),
                names => names.join(", "),
            };
            return Err(Error::definition(format!(
                "database {} has no table \"{table}\" of a pipeline; it has {known}",
                self.path.display()
            )));
        };
        let shape = self.shape(table)?;
        let known = self.read(|connection| table_columns::read(connection, table))?;
        let is_typed = known.is_some();
        let known = known.unwrap_or_default();
        let columns = self.list(&format!("PRAGMA table_info({})", quote(table)), |row| {
            let (name, sql_type, not_null): (String, String, bool) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let of_known = known.iter().find(|column| column.name == name);
            let form = of_known.map_or_else(|| form_of_sql(&sql_type), |column: &KnownColumn| column.form);
            Ok(StoredColumn {
                name,
                form,
                is_nullable: !not_null,
            })
        })?;
        Ok(StoredTable {
            name: table.to_owned(),
            pipeline: pipeline.clone(),
            columns,
            key: shape.key,
            is_typed,
        })
    }

    /// Calls `each` with the rows of a table, these columns of it.
    pub(super) fn stored_rows(
        &self,
        table: &StoredTable,
        columns: &[StoredColumn],
        each: &mut dyn FnMut(&[Value<'_>]) -> Result<()>,
    ) -> Result<()> {
        let wrap = || self.cannot_read();
        let names: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
        let key: Vec<String> = table.key.iter().map(|name| quote(name)).collect();
        let is_free = |name: &&&str| {
            !table
                .columns
                .iter()
                .any(|column| column.name.eq_ignore_ascii_case(name))
        };
        let order = match (key.as_slice(), ROW_NUMBERS.iter().find(is_free)) {
            ([], Some(number)) => format!("ORDER BY {number}"),
            ([], None) => String::new(),
            (key, _) => format!("ORDER BY {}", key.join(", ")),
        };
        let query = format!("SELECT {} FROM {} {order}", names.join(", "), quote(&table.name));
        let mut statement = self.connection.prepare(&query).sqlite(wrap)?;
        let mut rows = statement.query([]).sqlite(wrap)?;
        while let Some(row) = rows.next().sqlite(wrap)? {
            let mut cells = Vec::with_capacity(columns.len());
            for (at, column) in columns.iter().enumerate() {
                let stored = row.get_ref(at).sqlite(wrap)?;
                let cell = cell_of(stored, column.form).filter(|cell| is_whole(cell.value(), column.form));
                cells.push(cell.ok_or_else(|| {
                    Error::mismatch(format!(
                        "database {}: column \"{}\" of table \"{}\" holds {}, which is no {}: somebody else wrote it",
                        self.path.display(),
                        column.name,
                        table.name,
                        shown(stored),
                        column.form
                    ))
                })?);
            }
            let values: Vec<Value<'_>> = cells.iter().map(super::values::Cell::value).collect();
            each(&values)?;
        }
        Ok(())
    }
}

/// Whether a text is JSON, or the list, that its column says.
fn is_whole(value: Value<'_>, form: ColumnForm) -> bool {
    match (form.column_type, value) {
        (ColumnType::Json, Value::Text(json)) => serde_json::from_slice::<IgnoredAny>(json).is_ok(),
        (ColumnType::List(of), Value::Text(list)) => of.each(list, |_| {}),
        _ => true,
    }
}

/// The form of a column of which no more is known than what SQLite has.
fn form_of_sql(sql_type: &str) -> ColumnForm {
    let (column_type, form) = match sql_type {
        "INTEGER" => (ColumnType::Int, Form::Plain),
        "REAL" => (ColumnType::Double, Form::Plain),
        "BLOB" => (ColumnType::Bytes, Form::Blob),
        _ => (ColumnType::Text, Form::Text),
    };
    ColumnForm { column_type, form }
}

fn shown(stored: ValueRef<'_>) -> String {
    let text = match stored {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => format!("{value:?}"),
        ValueRef::Text(text) => format!("\"{}\"", String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()),
    };
    printable(&text.chars().take(SHOWN_CHARS_MAX).collect::<String>())
}
