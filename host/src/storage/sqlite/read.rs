//! Reading a database: where its pipelines are, and what commands list.

use super::{connect_read_only, failure::Sqlite, read_only::Reader, schema::quote};
use crate::{
    error::{Error, Result},
    model::{delivery::Scanned, turn::Counts},
    storage::StoredPipeline,
};
use rusqlite::{Connection, OptionalExtension, params, types::ValueRef};
use std::path::Path;

pub(super) fn pipeline(connection: &Connection, name: &str) -> rusqlite::Result<Option<StoredPipeline>> {
    // A database that is only read is left in the layout that it has.
    let layout: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let of_layout_3 = if layout < 3 { "0, 0" } else { "late_rows, dead_rows" };
    let of_layout_5 = if layout < 5 { "0" } else { "dropped" };
    // Older layouts judged by the position.
    let of_layout_6 = if layout < 6 {
        "0, 0, 0"
    } else {
        "scanned, accepted, ahead_events"
    };
    connection
        .query_row(
            &format!(
                "SELECT source, position, epoch, content_hash, seed, events, applied, filtered, dead_letters, blank,
             {of_layout_3}, {of_layout_5}, {of_layout_6} FROM weir_pipeline WHERE name = ?1"
            ),
            [name],
            |row| {
                let unsigned = |index| row.get::<_, i64>(index).map(|value| value as u64);
                Ok(StoredPipeline {
                    source: row.get(0)?,
                    position: unsigned(1)?,
                    turn: unsigned(2)?,
                    content_hash: unsigned(3)?,
                    seed: unsigned(4)?,
                    counts: Counts {
                        events: unsigned(5)?,
                        applied: unsigned(6)?,
                        filtered: unsigned(7)?,
                        dead_letters: unsigned(8)?,
                        empty: unsigned(9)?,
                        late_rows: unsigned(10)?,
                        dead_rows: unsigned(11)?,
                        ahead_events: unsigned(15)?,
                    },
                    dropped: unsigned(12)?,
                    scanned: Scanned {
                        through: unsigned(13)?,
                        accepted: unsigned(14)?,
                    },
                })
            },
        )
        .optional()
}

/// Writes it, with who does. The row stays in its place, so that one page changes.
pub(super) fn write_pipeline(
    connection: &Connection,
    name: &str,
    stored: &StoredPipeline,
    owner: i64,
) -> rusqlite::Result<()> {
    let counts = stored.counts;
    connection
        .prepare_cached(
            "INSERT INTO weir_pipeline
             (name, source, position, epoch, content_hash, seed, events, applied, filtered, dead_letters, blank,
              late_rows, dead_rows, dropped, scanned, accepted, owner, ahead_events)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
             ON CONFLICT (name) DO UPDATE SET
             source = excluded.source, position = excluded.position, epoch = excluded.epoch,
             content_hash = excluded.content_hash, seed = excluded.seed, events = excluded.events,
             applied = excluded.applied, filtered = excluded.filtered, dead_letters = excluded.dead_letters,
             blank = excluded.blank, late_rows = excluded.late_rows, dead_rows = excluded.dead_rows,
             dropped = excluded.dropped, scanned = excluded.scanned, accepted = excluded.accepted,
             owner = excluded.owner, ahead_events = excluded.ahead_events",
        )?
        .execute(params![
            name,
            &stored.source,
            stored.position as i64,
            stored.turn as i64,
            stored.content_hash as i64,
            stored.seed as i64,
            counts.events as i64,
            counts.applied as i64,
            counts.filtered as i64,
            counts.dead_letters as i64,
            counts.empty as i64,
            counts.late_rows as i64,
            counts.dead_rows as i64,
            stored.dropped as i64,
            stored.scanned.through as i64,
            stored.scanned.accepted as i64,
            owner,
            counts.ahead_events as i64,
        ])
        .map(|_| ())
}

/// The pipelines of a database, by name.
///
/// # Errors
/// When the file is no database of Weir.
pub(super) fn read_pipelines(path: &Path) -> Result<Vec<(String, StoredPipeline)>> {
    let wrap = || format!("cannot read database {}", path.display());
    let connection = open_weir(path)?;
    pipelines(&connection).sqlite(wrap)
}

pub(super) fn pipelines(connection: &Connection) -> rusqlite::Result<Vec<(String, StoredPipeline)>> {
    let mut statement = connection.prepare("SELECT name FROM weir_pipeline ORDER BY name")?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut pipelines = Vec::new();
    for name in names {
        let name = name?;
        if let Some(stored) = pipeline(connection, &name)? {
            pipelines.push((name, stored));
        }
    }
    Ok(pipelines)
}

/// The rows of a table, each with all of its columns, in the order of the table.
///
/// # Errors
/// When the database cannot be read, or there is no such table.
pub(super) fn read_rows(path: &Path, table: &str) -> Result<Vec<Vec<serde_json::Value>>> {
    let wrap = || format!("cannot read table {table} of database {}", path.display());
    let connection = open_weir(path)?;
    let mut statement = connection
        .prepare(&format!("SELECT * FROM {}", quote(table)))
        .sqlite(wrap)?;
    let width = statement.column_count();
    let cells = |row: &rusqlite::Row<'_>| {
        let cell = |index| {
            row.get_ref(index).map(|value| match value {
                ValueRef::Null => serde_json::Value::Null,
                ValueRef::Integer(value) => value.into(),
                ValueRef::Real(value) => value.into(),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
                ValueRef::Blob(bytes) => data_encoding::BASE64.encode(bytes).into(),
            })
        };
        (0..width).map(cell).collect()
    };
    let rows = statement.query_map([], cells).sqlite(wrap)?;
    rows.collect::<rusqlite::Result<_>>().sqlite(wrap)
}

/// Opens a database that exists and is Weir's.
pub(super) fn open_weir(path: &Path) -> Result<Reader> {
    if !path.exists() {
        return Err(Error::environment(format!("there is no database {}", path.display())));
    }
    let connection = connect_read_only(path)?;
    let known = connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'weir_pipeline'",
        [],
        |row| row.get::<_, i64>(0),
    );
    match known {
        Ok(1) => Ok(connection),
        Ok(_) => Err(Error::mismatch(format!(
            "{} is a SQLite database that Weir did not make",
            path.display()
        ))),
        Err(cause) => Err(Error::environment(format!(
            "cannot read database {}: {cause}",
            path.display()
        ))),
    }
}

/// How many rows each table of a pipeline has, by name.
///
/// # Errors
/// When the database cannot be read.
pub(in crate::storage) fn table_sizes(path: &Path, pipeline: &str) -> Result<Vec<(String, u64)>> {
    let wrap = || format!("cannot read database {}", path.display());
    let connection = open_weir(path)?;
    let mut statement = connection
        .prepare("SELECT name FROM weir_table WHERE pipeline = ?1 ORDER BY name")
        .sqlite(wrap)?;
    let names = statement
        .query_map([pipeline], |row| row.get::<_, String>(0))
        .sqlite(wrap)?;
    let mut sizes = Vec::new();
    for name in names {
        let name = name.sqlite(wrap)?;
        let query = format!("SELECT count(*) FROM {}", quote(&name));
        let size: i64 = connection.query_row(&query, [], |row| row.get(0)).sqlite(wrap)?;
        sizes.push((name, size as u64));
    }
    Ok(sizes)
}

/// The names of a table's columns, and up to `rows_max` of its rows as text, in the order of `order`.
///
/// # Errors
/// When the database cannot be read, or there is no such table or column.
pub(in crate::storage) fn read_table(
    path: &Path,
    table: &str,
    order: &str,
    rows_max: usize,
) -> Result<(Vec<String>, Vec<Vec<String>>)> {
    let wrap = || format!("cannot read table {table} of database {}", path.display());
    let connection = open_weir(path)?;
    let query = format!("SELECT * FROM {} ORDER BY {order} LIMIT {rows_max}", quote(table));
    let mut statement = connection.prepare(&query).sqlite(wrap)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let width = names.len();
    let mut found = statement.query([]).sqlite(wrap)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next().sqlite(wrap)? {
        let mut cells = Vec::with_capacity(width);
        for index in 0..width {
            cells.push(match row.get_ref(index).sqlite(wrap)? {
                ValueRef::Null => "∅".to_owned(),
                ValueRef::Integer(value) => value.to_string(),
                ValueRef::Real(value) => format!("{value:.2}"),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()),
            });
        }
        rows.push(cells);
    }
    Ok((names, rows))
}
