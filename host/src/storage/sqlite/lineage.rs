//! The trace: by which events the rows of keyed tables were made.
//!
//! Each turn writes, per table, the keys whose rows it changed, with the stream sequences of the events that did. A key is
//! held as 64 bits of hash; that two keys of a table share one is possible and does not happen (one pair in 10^13 with a
//! million keys). A swap that changed a row stands as the sequence of the event that it is behind, and
//! [`OF_SWAP`]. The trace of the last [`TRACE_BYTES_MAX`](crate::limits::TRACE_BYTES_MAX) bytes is kept.

mod current_rows;

pub(super) use current_rows::write_changelogs;

use super::{
    failure::Sqlite,
    read::open_weir,
    schema::quote,
    table_columns::{self, KnownColumn},
    values::{Cell, cell_of},
};
use crate::{
    error::{Error, Result},
    limits::TRACE_BYTES_MAX,
    model::{
        column::{ColumnType, Unscaled, Value},
        decimal::DecimalType,
        row::{hash_of_key, push_key_cell, push_length, take_bytes, take_length},
        rows::{KeyedRows, OF_SWAP},
    },
    storage::{RowLineage, TracedRow},
};
use rusqlite::{
    Connection, OptionalExtension, Transaction,
    types::{Value as SqlValue, ValueRef},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    path::Path,
};

/// How many bytes the trace of a pipeline has.
pub(super) fn bytes(connection: &Connection, pipeline: &str) -> rusqlite::Result<u64> {
    connection.query_row(
        "SELECT coalesce(sum(length(entries)), 0) FROM weir_trace WHERE pipeline = ?1",
        [pipeline],
        |row| row.get::<_, i64>(0).map(|bytes| bytes as u64),
    )
}

/// Writes what a turn did to a table. Gives the bytes that it took. Events that are retried stand `behind` the sequence
/// that the turns before came to: how far the trace reaches back does not depend on how old they are.
pub(super) fn write(
    transaction: &Transaction<'_>,
    pipeline: &str,
    number: u64,
    table: &str,
    rows: &KeyedRows,
    behind: Option<u64>,
) -> rusqlite::Result<u64> {
    let (mut entries, mut first_sequence) = (Vec::new(), u64::MAX);
    for (key, sequences) in rows.lineage() {
        let sequences: Vec<u64> = sequences.collect();
        entries.extend_from_slice(&hash_of_key(key).to_le_bytes());
        push_length(&mut entries, sequences.len());
        let mut before = 0;
        // They ascend: swaps stand last.
        for sequence in sequences {
            first_sequence = first_sequence.min(sequence & !OF_SWAP);
            push_length(&mut entries, sequence.saturating_sub(before) as usize);
            before = sequence;
        }
    }
    let first_sequence = behind.map_or(first_sequence, |behind| behind + 1);
    insert(transaction, pipeline, number, table, first_sequence, &entries)
}

/// Writes entries of a turn, if there are any. Gives their bytes.
fn insert(
    transaction: &Transaction<'_>,
    pipeline: &str,
    number: u64,
    name: &str,
    first_sequence: u64,
    entries: &[u8],
) -> rusqlite::Result<u64> {
    if entries.is_empty() {
        return Ok(0);
    }
    transaction
        .prepare_cached(
            "INSERT INTO weir_trace (pipeline, epoch, name, first_sequence, entries) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((pipeline, number as i64, name, first_sequence as i64, entries))?;
    Ok(entries.len() as u64)
}

/// Forgets the oldest turns, a quarter of what is kept at once. Gives the bytes that are left.
pub(super) fn forget(transaction: &Transaction<'_>, pipeline: &str, bytes: u64) -> rusqlite::Result<u64> {
    let mut left = bytes;
    let mut until = None;
    let mut statement = transaction.prepare_cached(
        "SELECT epoch, sum(length(entries)) FROM weir_trace WHERE pipeline = ?1 GROUP BY epoch ORDER BY epoch",
    )?;
    let mut rows = statement.query([pipeline])?;
    while let Some(row) = rows.next()? {
        if left <= TRACE_BYTES_MAX / 4 * 3 {
            break;
        }
        until = Some(row.get::<_, i64>(0)?);
        left = left.saturating_sub(row.get::<_, i64>(1)? as u64);
    }
    if let Some(until) = until {
        transaction
            .prepare_cached("DELETE FROM weir_trace WHERE pipeline = ?1 AND epoch <= ?2")?
            .execute((pipeline, until))?;
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO weir_trace_start (pipeline, sequence)
                 SELECT ?1, min(first_sequence) FROM weir_trace WHERE pipeline = ?1 HAVING min(first_sequence) IS NOT NULL",
            )?
            .execute([pipeline])?;
    }
    Ok(left)
}

/// Reads by which events the row of `table` with this key was made. The key has a text per column of the table's key, or
/// nothing for null, each with the column's name.
///
/// # Errors
/// When there is no such database or table, or the key is not one of the table's.
pub(in crate::storage) fn read_lineage(
    path: &Path,
    table: &str,
    key: &[(String, Option<String>)],
) -> Result<RowLineage> {
    let wrap = || format!("cannot read database {}", path.display());
    let connection = open_weir(path)?;
    let owner: Option<String> = connection
        .query_row("SELECT pipeline FROM weir_table WHERE name = ?1", [table], |row| {
            row.get(0)
        })
        .optional()
        .sqlite(wrap)?;
    let Some(pipeline) = owner else {
        let known = names(&connection, "SELECT name FROM weir_table ORDER BY name", []).sqlite(wrap)?;
        return Err(Error::definition(format!(
            "database {} has no table \"{table}\"; it has {}",
            path.display(),
            known.join(", ")
        )));
    };
    let columns = key_columns(&connection, table).sqlite(wrap)?;
    let known = table_columns::read(&connection, table)
        .sqlite(wrap)?
        .unwrap_or_default();
    let hashes = hashes(table, &columns, &known, key)?;

    let row = current(&connection, table, &columns, key).sqlite(wrap)?;
    let mut lineage = RowLineage {
        row: TracedRow {
            key: columns.into_iter().map(|(name, _)| name).collect(),
            columns: row,
        },
        ..Default::default()
    };
    let stored = super::read::pipeline(&connection, &pipeline)
        .sqlite(wrap)?
        .unwrap_or_default();
    lineage.steps = super::fingerprints::steps_of(&connection, &pipeline, table).sqlite(wrap)?;
    (lineage.position, lineage.source) = (stored.position, stored.source.unwrap_or_default());
    lineage.first_sequence = connection
        .query_row(
            "SELECT sequence FROM weir_trace_start WHERE pipeline = ?1",
            [&pipeline],
            |row| row.get::<_, i64>(0).map(|sequence| sequence as u64),
        )
        .optional()
        .sqlite(wrap)?
        .unwrap_or(0);
    let mut statement = connection
        .prepare("SELECT entries FROM weir_trace WHERE pipeline = ?1 AND name = ?2 ORDER BY epoch")
        .sqlite(wrap)?;
    let mut rows = statement.query([&pipeline, table]).sqlite(wrap)?;
    while let Some(row) = rows.next().sqlite(wrap)? {
        let entries = row.get_ref(0).and_then(|entries| Ok(entries.as_blob()?)).sqlite(wrap)?;
        find(entries, &hashes, &mut lineage.sequences)
            .ok_or_else(|| Error::mismatch(format!("the lineage in database {} is damaged", path.display())))?;
    }
    let swaps = lineage.sequences.extract_if(.., |sequence| *sequence >= OF_SWAP);
    let mut swaps: Vec<u64> = swaps.map(|sequence| sequence - OF_SWAP).collect();
    // Of several at one place the last counts.
    swaps.dedup();
    lineage.swaps = match swaps.is_empty() {
        true => Vec::new(),
        false => current_rows::last_events(&connection, path, &pipeline, table, &hashes, swaps)?,
    };
    lineage.retried = retried(&connection, &pipeline, &lineage.sequences).sqlite(wrap)?;
    lineage.pipeline = pipeline;
    Ok(lineage)
}

fn take_hash(entries: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take_bytes(entries, 8)?.try_into().ok()?))
}

/// Which of these events were dead letters before, and behind which sequence each took effect.
fn retried(connection: &Connection, pipeline: &str, sequences: &[u64]) -> rusqlite::Result<BTreeMap<u64, u64>> {
    let mut retried = BTreeMap::new();
    // A database that nobody has written since is of the layout that it was.
    if connection.prepare("SELECT 1 FROM weir_retried").is_err() {
        return Ok(retried);
    }
    let mut statement =
        connection.prepare("SELECT decided_at FROM weir_retried WHERE pipeline = ?1 AND sequence = ?2")?;
    for &sequence in sequences {
        let decided_at = statement.query_row((pipeline, sequence as i64), |row| row.get::<_, i64>(0));
        if let Some(decided_at) = decided_at.optional()? {
            retried.insert(sequence, decided_at as u64);
        }
    }
    Ok(retried)
}

/// Collects the sequences of the keys with these hashes; `None` when the bytes are broken.
fn find(mut entries: &[u8], hashes: &[u64], sequences: &mut Vec<u64>) -> Option<()> {
    let entries = &mut entries;
    while !entries.is_empty() {
        let hash = take_hash(entries)?;
        let wanted = hashes.contains(&hash);
        let mut sequence = 0;
        for _ in 0..take_length(entries)? {
            sequence += take_length(entries)? as u64;
            if wanted {
                sequences.push(sequence);
            }
        }
    }
    Some(())
}

fn names<P: rusqlite::Params>(connection: &Connection, query: &str, parameters: P) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(query)?;
    let names = statement.query_map(parameters, |row| row.get(0))?;
    names.collect()
}

/// The columns of the table's key, in order, with their types.
fn key_columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let mut of_key = names(
        connection,
        "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk",
        [table],
    )?;
    if of_key.is_empty() {
        of_key = names(
            connection,
            "SELECT c.name FROM pragma_index_list(?1) AS i, pragma_index_info(i.name) AS c
             WHERE i.\"unique\" = 1 ORDER BY c.seqno",
            [table],
        )?;
    }
    let type_of = |name: String| {
        let found = connection.query_row(
            "SELECT type FROM pragma_table_info(?1) WHERE name = ?2",
            [table, &name],
            |row| row.get(0),
        );
        found.map(|column_type| (name, column_type))
    };
    of_key.into_iter().map(type_of).collect()
}

/// The hashes that the key can have. Where nothing is `known` of its columns, a 0 or 1 may be an integer or a boolean, and a text a
/// time or a decimal.
fn hashes(
    table: &str,
    columns: &[(String, String)],
    known: &[KnownColumn],
    key: &[(String, Option<String>)],
) -> Result<Vec<u64>> {
    let wanted: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    if wanted.is_empty() {
        return Err(Error::definition(format!(
            "table \"{table}\" has no key: its rows are appended, and nothing is known of each"
        )));
    }
    let mut keys = vec![Vec::new()];
    for (name, column_type) in columns {
        let Some((_, text)) = key.iter().find(|(given, _)| given == name) else {
            return Err(Error::definition(format!(
                "the key of table \"{table}\" is {}; \"{name}\" was not given (NAME=VALUE, or NAME alone for null)",
                wanted.join(", ")
            )));
        };
        let wrong = |accepted: &str| {
            let text = text.as_deref().unwrap_or_default();
            Error::definition(format!(
                "column \"{name}\" of the key is {text}; accepted is {accepted}"
            ))
        };
        let blob;
        let cell;
        let known = known.iter().find(|known| known.name == *name);
        let cells: Vec<Value<'_>> = match (text, column_type.as_str()) {
            (None, _) => vec![Value::Null],
            (Some(text), sql_type) if let Some(known) = known => {
                let accepted = || match sql_type {
                    "BLOB" => wrong("bytes in base64, with padding"),
                    _ => wrong(&format!("a value of {}", known.form)),
                };
                cell = key_cell(text, sql_type, known).ok_or_else(accepted)?;
                vec![cell.value()]
            }
            (Some(text), "INTEGER") => match text.parse().map_err(|_| wrong("an integer"))? {
                value @ (0 | 1) => vec![Value::Int(value), Value::Boolean(value == 1)],
                value => vec![Value::Int(value)],
            },
            (Some(text), "REAL") => {
                let double = Value::Double(text.parse::<f64>().map_err(|_| wrong("a number"))? + 0.0);
                iter::once(double).chain(decimals(text)).collect()
            }
            (Some(text), "BLOB") => {
                blob = data_encoding::BASE64
                    .decode(text.as_bytes())
                    .map_err(|_| wrong("bytes in base64"))?;
                vec![Value::Text(&blob)]
            }
            (Some(text), _) => {
                let times = [ColumnType::Timestamp, ColumnType::Date];
                let times = times.into_iter().filter_map(|time| time.time_of(text)).map(Value::Int);
                iter::once(Value::Text(text.as_bytes()))
                    .chain(times)
                    .chain(decimals(text))
                    .collect()
            }
        };
        keys = keys
            .iter()
            .flat_map(|key| {
                cells.iter().map(|cell| {
                    let mut key: Vec<u8> = key.clone();
                    push_key_cell(&mut key, *cell);
                    key
                })
            })
            .collect();
    }
    if let Some((unknown, _)) = key.iter().find(|(name, _)| !wanted.contains(&name.as_str())) {
        return Err(Error::definition(format!(
            "\"{unknown}\" is not of the key of table \"{table}\", which is {}",
            wanted.join(", ")
        )));
    }
    Ok(keys.iter().map(|key| hash_of_key(key)).collect())
}

/// The cell of a key that is written so in its table.
fn key_cell<'t>(text: &'t str, sql_type: &str, known: &KnownColumn) -> Option<Cell<'t>> {
    let stored = match sql_type {
        "INTEGER" => ValueRef::Integer(text.parse().ok()?),
        // There is one zero.
        "REAL" => ValueRef::Real(text.parse::<f64>().ok()? + 0.0),
        "BLOB" => return data_encoding::BASE64.decode(text.as_bytes()).ok().map(Cell::Bytes),
        _ => ValueRef::Text(text.as_bytes()),
    };
    cell_of(stored, known.form)
}

/// The decimals that are written so, of whatever scale: the table does not say which its column has, only that the text has as many
/// places as those have, or fewer.
fn decimals<'v>(text: &str) -> impl Iterator<Item = Value<'v>> {
    let places = text.split_once('.').map_or(0, |(_, places)| places.len());
    let scales = (0..=DecimalType::PRECISION_MAX).filter(move |scale| usize::from(*scale) >= places);
    let decimals =
        scales.filter_map(|scale| DecimalType::new(DecimalType::PRECISION_MAX, scale)?.parse(text.as_bytes()));
    let decimals: BTreeSet<i128> = decimals.collect();
    decimals
        .into_iter()
        .map(|unscaled| Value::Decimal(Unscaled::new(unscaled)))
}

/// The row as it is now. Bytes are in base64, also those of the key.
fn current(
    connection: &Connection,
    table: &str,
    columns: &[(String, String)],
    key: &[(String, Option<String>)],
) -> rusqlite::Result<Option<Vec<(String, String)>>> {
    let conditions: Vec<String> = key
        .iter()
        .enumerate()
        .map(|(at, (name, _))| format!("{} IS ?{}", quote(name), at + 1))
        .collect();
    let query = format!("SELECT * FROM {} WHERE {}", quote(table), conditions.join(" AND "));
    let mut statement = connection.prepare(&query)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    // The affinity of the columns makes of a text what they hold, but for bytes.
    let values = key.iter().map(|(name, text)| {
        let Some(text) = text else { return SqlValue::Null };
        let is_blob = columns.iter().any(|(column, kind)| column == name && kind == "BLOB");
        let bytes = data_encoding::BASE64.decode(text.as_bytes());
        match bytes {
            Ok(bytes) if is_blob => SqlValue::Blob(bytes),
            _ => SqlValue::Text(text.clone()),
        }
    });
    let values = rusqlite::params_from_iter(values);
    let mut rows = statement.query(values)?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut columns = Vec::with_capacity(names.len());
    for (at, name) in names.into_iter().enumerate() {
        let value = match row.get_ref(at)? {
            ValueRef::Blob(bytes) => data_encoding::BASE64.encode(bytes),
            ValueRef::Null => "null".to_owned(),
            ValueRef::Integer(value) => value.to_string(),
            ValueRef::Real(value) => format!("{value:?}"),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        };
        columns.push((name, value));
    }
    Ok(Some(columns))
}
