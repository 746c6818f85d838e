//! State and lookup tables, back into an engine.

use super::{
    Database, checksum,
    failure::Sqlite,
    fingerprints, is_intact, schema,
    values::{Cell, cell_of},
};
use crate::{
    error::{Context, Error, Result},
    fail_point,
    model::{
        column::Value,
        form::{ColumnForm, Place},
        ids::TableId,
        turn::FailureCount,
    },
    plan::{Plan, TablePlan},
    storage::{Part, Restore},
};
use rusqlite::Connection;
use std::path::Path;

impl Database {
    pub(super) fn load_into(&self, into: &mut dyn Restore) -> Result<()> {
        let path = self.path().display().to_string();
        let wrap = || format!("cannot read the state in database {path}");
        let context = |error: Error| error.context(format!("database {path}"));
        let (connection, pipeline) = (&self.connection, self.plan.name.as_str());
        fingerprints::take_over(connection, pipeline, &self.stored, Part::States, into).map_err(context)?;
        let mut older = fingerprints::in_ms(connection, pipeline).sqlite(wrap)?;
        older.retain(|state| into.restores_ms(state));
        for (step, count) in self.failures().environment(wrap)? {
            into.failures(&step, count);
        }
        fill(connection, self.path(), &self.plan, into)?;
        if !older.is_empty() {
            self.write_anew(&older, into)?;
        }
        fingerprints::take_over(connection, pipeline, &self.stored, Part::Readers, into).map_err(context)?;
        fingerprints::remember_steps(connection, pipeline, into).sqlite(wrap)
    }

    /// Writes states whole whose times an older Weir wrote in milliseconds, in one transaction.
    fn write_anew(&self, states: &[String], from: &mut dyn Restore) -> Result<()> {
        let path = self.path().display().to_string();
        let pipeline = &self.plan.name;
        let mut write = || {
            // Nothing else is under way: the pipeline has not begun.
            let transaction = self.connection.unchecked_transaction()?;
            for state in states {
                let of_state = (pipeline, state);
                for table in ["weir_state_snapshot", "weir_state_log"] {
                    let delete = format!("DELETE FROM {table} WHERE pipeline = ?1 AND state = ?2");
                    transaction.execute(&delete, of_state)?;
                }
                let mut insert = transaction.prepare(
                    "INSERT INTO weir_state_snapshot (pipeline, state, bucket, entries, checksum) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?;
                for snapshot in from.buckets(state) {
                    let (bucket, sum) = (snapshot.bucket as i64, checksum(state, &snapshot.entries));
                    insert.execute((pipeline, state, bucket, &snapshot.entries, sum))?;
                }
                let update = "UPDATE weir_state SET in_us = 1 WHERE pipeline = ?1 AND state = ?2";
                transaction.execute(update, of_state)?;
            }
            transaction.commit()
        };
        write().sqlite(|| format!("cannot bring the state in database {path} up to date"))
    }

    fn failures(&self) -> rusqlite::Result<Vec<(String, FailureCount)>> {
        let mut statement = self
            .connection
            .prepare("SELECT step, judged, failed, first_sequence FROM weir_failures WHERE pipeline = ?1")?;
        let counts = statement.query_map([&self.plan.name], |row| {
            let unsigned = |index| row.get::<_, i64>(index).map(|value| value as u64);
            let count = FailureCount {
                judged: unsigned(1)?,
                failed: unsigned(2)?,
                first_sequence: unsigned(3)?,
            };
            Ok((row.get(0)?, count))
        });
        counts.and_then(Iterator::collect)
    }
}

/// Fills an engine whose fingerprints were checked.
pub(super) fn fill(connection: &Connection, path: &Path, plan: &Plan, into: &mut dyn Restore) -> Result<()> {
    let path = path.display().to_string();
    let wrap = || format!("cannot read the state in database {path}");
    // Snapshots first: whatever changed after one stands in the log, in the order of its rows.
    for query in [
        "SELECT state, entries, checksum FROM weir_state_snapshot WHERE pipeline = ?1 ORDER BY state, bucket",
        "SELECT state, entries, checksum FROM weir_state_log WHERE pipeline = ?1 ORDER BY rowid",
    ] {
        let mut statement = connection.prepare(query).sqlite(wrap)?;
        let mut rows = statement.query([&plan.name]).sqlite(wrap)?;
        while let Some(row) = rows.next().sqlite(wrap)? {
            fail_point::pass("restoring");
            let state: String = row.get(0).sqlite(wrap)?;
            let entries = row.get_ref(1).and_then(|entries| Ok(entries.as_blob()?)).sqlite(wrap)?;
            let sum: Option<i64> = row.get(2).sqlite(wrap)?;
            match is_intact(&state, entries, sum) {
                true => into.entries(&state, entries),
                false => Err(Error::mismatch(format!(
                    "the stored state \"{state}\" is not what was written: its bytes are damaged; put back a copy of the \
                     database, or name another --database and fill it from the stream"
                ))),
            }
            .map_err(|error| error.context(format!("database {path}")))?;
        }
    }
    into.restored();
    for (id, table) in plan.tables.iter_enumerated() {
        fill_table(connection, id, table, into).sqlite(wrap)?;
    }
    into.tables_restored();
    fail_point::pass("restored");
    Ok(())
}

fn fill_table(connection: &Connection, id: TableId, table: &TablePlan, into: &mut dyn Restore) -> rusqlite::Result<()> {
    let columns: Vec<String> = table.columns.iter().map(|c| schema::quote(&c.field.name)).collect();
    let query = format!("SELECT {} FROM {}", columns.join(", "), schema::quote(&table.name));
    let mut statement = connection.prepare(&query)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut values: Vec<Value<'_>> = Vec::with_capacity(columns.len());
        for (index, column) in table.columns.iter().enumerate() {
            let form = ColumnForm::usual(column.field.column_type, Place::Table);
            values.push(match cell_of(row.get_ref(index)?, form) {
                Some(Cell::Value(value)) => value,
                // No usual form of a table has bytes as text.
                Some(Cell::Bytes(_)) | None => Value::Null,
            });
        }
        into.table_row(id, &values);
    }
    Ok(())
}
