//! Tables as they are, for whoever compares two databases.

use super::{audit::Audit, failure::Sqlite, schema::quote, table_columns};
use crate::{
    error::{Error, Result},
    model::form::Place,
    storage::{RowStream, StoredCell, TableShape},
};
use rusqlite::{Row, Rows, types::ValueRef};
use std::collections::BTreeMap;

/// The query for dead letters: what tells them apart, then the reason.
const DEAD_LETTERS: &str = "SELECT pipeline, sequence, step, reason FROM weir_dead_letter ORDER BY 1, 2, 3";

/// Rows of a query.
struct Found<'a, 's> {
    audit: &'a Audit,
    rows: Rows<'s>,
}

impl RowStream for Found<'_, '_> {
    fn next(&mut self) -> Result<Option<Vec<StoredCell>>> {
        next(&mut self.rows).sqlite(|| self.audit.cannot_read())
    }
}

fn next(rows: &mut Rows<'_>) -> rusqlite::Result<Option<Vec<StoredCell>>> {
    let Some(row) = rows.next()? else { return Ok(None) };
    let width = row.as_ref().column_count();
    let cells = (0..width).map(|index| row.get_ref(index).map(cell_of));
    cells.collect::<rusqlite::Result<_>>().map(Some)
}

fn cell_of(value: ValueRef<'_>) -> StoredCell {
    match value {
        ValueRef::Null => StoredCell::Null,
        ValueRef::Integer(value) => StoredCell::Integer(value),
        ValueRef::Real(value) => StoredCell::Real(value),
        ValueRef::Text(text) => StoredCell::Text(text.to_vec()),
        ValueRef::Blob(bytes) => StoredCell::Blob(bytes.to_vec()),
    }
}

impl Audit {
    /// Hands the rows of a table to `with`, in order of the first `sorted` of these columns. SQLite sorts on disk where no
    /// index has that order and the rows are many.
    pub(super) fn scan_table(
        &self,
        table: &str,
        columns: &[String],
        sorted: usize,
        with: &mut dyn FnMut(&mut dyn RowStream) -> Result<()>,
    ) -> Result<()> {
        let columns: Vec<String> = columns.iter().map(|name| quote(name)).collect();
        let order: Vec<&str> = columns.iter().take(sorted).map(String::as_str).collect();
        let (columns, table, order) = (columns.join(", "), quote(table), order.join(", "));
        self.scan_query(&format!("SELECT {columns} FROM {table} ORDER BY {order}"), with)
    }

    pub(super) fn scan_letters(&self, with: &mut dyn FnMut(&mut dyn RowStream) -> Result<()>) -> Result<()> {
        self.scan_query(DEAD_LETTERS, with)
    }

    fn scan_query(&self, query: &str, with: &mut dyn FnMut(&mut dyn RowStream) -> Result<()>) -> Result<()> {
        let wrap = || self.cannot_read();
        let mut statement = self.connection.prepare(query).sqlite(wrap)?;
        let rows = statement.query([]).sqlite(wrap)?;
        with(&mut Found { audit: self, rows })
    }

    /// The tables of pipelines.
    pub(super) fn shapes(&self) -> Result<BTreeMap<String, TableShape>> {
        let names: Vec<String> = self.list("SELECT name FROM weir_table", |row| row.get(0))?;
        names
            .into_iter()
            .map(|name| self.shape(&name).map(|shape| (name, shape)))
            .collect()
    }

    pub(super) fn shape(&self, table: &str) -> Result<TableShape> {
        let name = quote(table);
        let mut key: Vec<(i64, String)> = Vec::new();
        let mut columns = self.list(&format!("PRAGMA table_info({name})"), |row| {
            let (column, column_type, place): (String, String, i64) = (row.get(1)?, row.get(2)?, row.get(5)?);
            if place > 0 {
                key.push((place, column.clone()));
            }
            Ok((column, column_type))
        })?;
        if columns.is_empty() {
            return Err(Error::mismatch(format!(
                "table {table} of database {} was dropped by somebody",
                self.path.display()
            )));
        }
        let known = self
            .read(|connection| table_columns::read(connection, table))?
            .unwrap_or_default();
        for (column, column_type) in &mut columns {
            let known = known.iter().find(|known| known.name == *column);
            // Numbers of another unit are not compared with each other.
            if let Some(known) = known.filter(|known| !known.form.is_usual(Place::Table)) {
                column_type.push_str(&format!(" as {}", known.form.form));
            }
        }
        key.sort();
        let mut key: Vec<String> = key.into_iter().map(|(_, column)| column).collect();
        if key.is_empty() {
            // A key that may be null is a unique index, see `schema.rs`.
            let unique: Vec<String> = self.list(
                &format!(
                    "SELECT name FROM pragma_index_list({}) WHERE origin = 'u'",
                    literal(table)
                ),
                |row| row.get(0),
            )?;
            if let Some(index) = unique.first() {
                let query = format!("SELECT name FROM pragma_index_info({}) ORDER BY seqno", literal(index));
                key = self.list(&query, |row| row.get(0))?;
            }
        }
        Ok(TableShape { columns, key })
    }

    pub(super) fn list<T>(&self, query: &str, of: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Result<Vec<T>> {
        self.read(|connection| {
            let mut statement = connection.prepare(query)?;
            statement.query_map([], of)?.collect::<rusqlite::Result<_>>()
        })
    }
}

/// A text as SQL takes it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
