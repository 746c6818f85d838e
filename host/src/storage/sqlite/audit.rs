//! Audits: what a database holds, and whether it holds together. Nothing is written, and a pipeline that runs is not
//! disturbed: all is read within one transaction.

mod checks;
mod tables;

use super::{
    dead_letters::letter_counts,
    failure::Sqlite,
    file::beside,
    is_intact,
    outbox::message_counts,
    read::{self, open_weir},
    read_only::Reader,
    schema::quote,
};
use crate::{
    error::Result,
    model::{column::Value, keys::Place},
    plan::Plan,
    state::take_entry,
    storage::{
        Check, Contents, FileSize, Kept, Location, RowStream, Snapshot, StateSize, StoredColumn, StoredPipeline,
        StoredTable, TableShape,
    },
};
use rusqlite::Connection;
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

/// A database as it is at one moment.
#[derive(Debug)]
pub(in crate::storage) struct Audit {
    pub(super) connection: Reader,
    pub(super) path: PathBuf,
}

impl Audit {
    /// Opens the database at `path` as it is now.
    ///
    /// # Errors
    /// When it is not there, is not Weir's, or cannot be read.
    pub(in crate::storage) fn open(path: &Path) -> Result<Self> {
        let connection = open_weir(path)?;
        connection
            .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")
            .sqlite(|| format!("cannot read database {}", path.display()))?;
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        read(&self.connection).sqlite(|| self.cannot_read())
    }

    pub(super) fn cannot_read(&self) -> String {
        format!("cannot read database {}", self.path.display())
    }
}

impl Snapshot for Audit {
    fn location(&self) -> Location {
        self.path.as_path().into()
    }

    fn size(&self) -> Result<FileSize> {
        let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let real_path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let log = beside(&real_path, "-wal");
        Ok(FileSize {
            layout: self.read(|connection| connection.query_row("PRAGMA user_version", [], |row| row.get(0)))?,
            bytes: length(&self.path),
            log_bytes: length(&log),
        })
    }

    fn pipelines(&self) -> Result<Vec<(String, StoredPipeline)>> {
        self.read(read::pipelines)
    }

    fn kept(&self, pipeline: &str, stored: &StoredPipeline) -> Result<Kept> {
        self.read(|connection| kept(connection, pipeline, stored.seed))
    }

    fn check_file(&self) -> Check {
        self.file()
    }

    fn check_schema(&self) -> Check {
        self.schema()
    }

    fn check_pipeline(&self, pipeline: &str, stored: &StoredPipeline) -> Vec<Check> {
        self.pipeline(pipeline, stored)
    }

    fn check_tables(&self, plan: &Plan, state: &mut dyn Contents) -> Vec<Check> {
        self.tables_of(plan, state)
    }

    fn tables(&self) -> Result<BTreeMap<String, TableShape>> {
        self.shapes()
    }

    fn table(&self, name: &str) -> Result<StoredTable> {
        self.stored_table(name)
    }

    fn rows(
        &self,
        table: &StoredTable,
        columns: &[StoredColumn],
        each: &mut dyn FnMut(&[Value<'_>]) -> Result<()>,
    ) -> Result<()> {
        self.stored_rows(table, columns, each)
    }

    fn table_size(&self, table: &str) -> Result<u64> {
        let query = format!("SELECT count(*) FROM {}", quote(table));
        self.read(|connection| connection.query_row(&query, [], |row| row.get::<_, i64>(0)))
            .map(|rows| rows as u64)
    }

    fn scan(
        &self,
        table: &str,
        columns: &[String],
        sorted: usize,
        with: &mut dyn FnMut(&mut dyn RowStream) -> Result<()>,
    ) -> Result<()> {
        self.scan_table(table, columns, sorted, with)
    }

    fn scan_dead_letters(&self, with: &mut dyn FnMut(&mut dyn RowStream) -> Result<()>) -> Result<()> {
        self.scan_letters(with)
    }
}

fn kept(connection: &Connection, pipeline: &str, seed: u64) -> rusqlite::Result<Kept> {
    let number = |query: &str| {
        connection.query_row(query, [pipeline], |row| {
            row.get::<_, Option<i64>>(0)
                .map(|number| number.unwrap_or_default() as u64)
        })
    };
    let mut kept = Kept {
        outbox: number("SELECT count(*) FROM weir_outbox WHERE pipeline = ?1")?,
        messages: message_counts(connection, pipeline)?,
        dead_letters: letter_counts(connection, pipeline)?,
        ..Default::default()
    };
    // A database that nobody has written since is of the layout that it was.
    if connection.prepare("SELECT entries FROM weir_trace").is_ok() {
        kept.trace_bytes = number("SELECT sum(length(entries)) FROM weir_trace WHERE pipeline = ?1")?;
    }
    if let Ok(mut stopped) = connection
        .prepare("SELECT step, failed, judged FROM weir_failures WHERE pipeline = ?1 AND stopped = 1 ORDER BY step")
    {
        let steps = stopped.query_map([pipeline], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64))
        });
        kept.stopped = steps.and_then(Iterator::collect)?;
    }
    let mut states: HashMap<String, HashMap<Box<[u8]>, usize>> = HashMap::new();
    let mut known = connection.prepare(
        "SELECT state FROM weir_state WHERE pipeline = ?1 AND state NOT LIKE '%/reads'
         AND state NOT LIKE '%/aggregates' AND state NOT LIKE 'table %/steps'",
    )?;
    for state in known.query_map([pipeline], |row| row.get::<_, String>(0))? {
        states.entry(state?).or_default();
    }

    // Nor has it checksums then.
    let sum = match connection.prepare("SELECT checksum FROM weir_state_log") {
        Ok(_) => "checksum",
        Err(_) => "NULL",
    };
    let mut snapshots = connection.prepare(&format!(
        "SELECT state, entries, bucket, {sum} FROM weir_state_snapshot WHERE pipeline = ?1 ORDER BY state, bucket"
    ))?;
    let mut rows = snapshots.query([pipeline])?;
    while let Some(row) = rows.next()? {
        let (state, bucket): (String, i64) = (row.get(0)?, row.get(2)?);
        let entries = row.get_ref(1)?.as_blob()?;
        kept.snapshot_rows += 1;
        kept.snapshot_bytes += entries.len() as u64;
        let shown = format!("the snapshot of bucket {bucket} of state \"{state}\"");
        let intact = is_intact(&state, entries, row.get(3)?);
        let held = states.entry(state).or_default();
        let mut astray = false;
        let read = each_entry(entries, |key, value| {
            astray |= i64::try_from(Place::of(seed, key).bucket()) != Ok(bucket);
            hold(held, key, value);
        });
        if !intact || !read {
            kept.faults
                .push(format!("{shown} is not what was written: its bytes are damaged"));
        } else if astray {
            kept.faults.push(format!("{shown} holds keys of other buckets"));
        }
    }
    let mut log = connection.prepare(&format!(
        "SELECT state, entries, epoch, part, {sum} FROM weir_state_log WHERE pipeline = ?1 ORDER BY rowid"
    ))?;
    let mut rows = log.query([pipeline])?;
    while let Some(row) = rows.next()? {
        let (state, number, part): (String, i64, i64) = (row.get(0)?, row.get(2)?, row.get(3)?);
        let entries = row.get_ref(1)?.as_blob()?;
        kept.log_rows += 1;
        kept.log_bytes += entries.len() as u64;
        let intact = is_intact(&state, entries, row.get(4)?);
        let held = states.entry(state).or_default();
        if !each_entry(entries, |key, value| hold(held, key, value)) || !intact {
            kept.faults.push(format!(
                "part {part} of turn {number} of the state log is not what was written: its bytes are damaged"
            ));
        }
    }
    kept.states = states
        .into_iter()
        .map(|(name, entries)| {
            let size = StateSize {
                entries: entries.len() as u64,
                bytes: entries.iter().map(|(key, value)| (key.len() + value) as u64).sum(),
            };
            (name, size)
        })
        .collect();
    Ok(kept)
}

/// Says whether all entries could be read.
fn each_entry(mut entries: &[u8], mut each: impl FnMut(&[u8], Option<&[u8]>)) -> bool {
    while !entries.is_empty() {
        let Some((key, value)) = take_entry(&mut entries) else {
            return false;
        };
        each(key, value);
    }
    true
}

fn hold(held: &mut HashMap<Box<[u8]>, usize>, key: &[u8], value: Option<&[u8]>) {
    match value {
        Some(value) => held.insert(key.into(), value.len()),
        None => held.remove(key),
    };
}
