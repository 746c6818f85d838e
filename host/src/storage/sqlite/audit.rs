//! Audits: what a database holds, and whether it holds together. Nothing is written, and a pipeline that runs is not
//! disturbed: all is read within one transaction.

mod checks;
mod tables;

pub use checks::{Check, Verdict};

use super::{
    Database, StoredPipeline,
    dead_letters::{LetterCounts, letter_counts},
    failure::Sqlite,
    file::beside,
    is_intact,
    outbox::{MessageCounts, message_counts},
    read::{self, open_weir},
    read_only::Reader,
};
use crate::{error::Result, model::keys::Place, state::take_entry};
use rusqlite::Connection;
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

/// A database as it is at one moment.
#[derive(Debug)]
pub struct Audit {
    connection: Reader,
    path: PathBuf,
}

/// A database file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSize {
    /// The layout of Weir's own tables.
    pub layout: i64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of the write-ahead log beside it; 0 where there is none.
    pub log_bytes: u64,
}

/// What a pipeline keeps to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Each state, by its name: the step, and which of its states.
    pub states: BTreeMap<String, StateSize>,
    /// Rows of the state log.
    pub log_rows: u64,
    /// Their bytes.
    pub log_bytes: u64,
    /// Buckets that are written whole.
    pub snapshot_rows: u64,
    /// Their bytes.
    pub snapshot_bytes: u64,
    /// Bytes of the trace.
    pub trace_bytes: u64,
    /// Messages that wait to be published.
    pub outbox: u64,
    /// What is known of the messages that do not.
    pub messages: MessageCounts,
    /// Dead letters.
    pub dead_letters: LetterCounts,
    /// The steps whose module failed too often, so that the pipeline stopped: on how many of how many rows.
    pub stopped: Vec<(String, u64, u64)>,
    /// What does not fit: entries that cannot be read, or stand in another bucket than their key's.
    pub faults: Vec<String>,
}

/// The size of one state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Keys that have a value.
    pub entries: u64,
    /// Bytes of these keys and values, as they are encoded.
    pub bytes: u64,
}

impl Audit {
    /// Opens the database at `path` as it is now.
    ///
    /// # Errors
    /// When it is not there, is not Weir's, or cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let connection = open_weir(path)?;
        connection
            .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")
            .sqlite(|| format!("cannot read database {}", path.display()))?;
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }

    /// The file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn file(&self) -> Result<FileSize> {
        let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let real_path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let log = beside(&real_path, "-wal");
        Ok(FileSize {
            layout: self.read(|connection| connection.query_row("PRAGMA user_version", [], |row| row.get(0)))?,
            bytes: length(&self.path),
            log_bytes: length(&log),
        })
    }

    /// The pipelines in it, by name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn pipelines(&self) -> Result<Vec<(String, StoredPipeline)>> {
        self.read(read::pipelines)
    }

    /// What `pipeline` keeps. Every entry is read once: some million of them a second, and they are in memory meanwhile.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn kept(&self, pipeline: &str, stored: &StoredPipeline) -> Result<Kept> {
        self.read(|connection| kept(connection, pipeline, stored.seed))
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        read(&self.connection).sqlite(|| format!("cannot read database {}", self.path.display()))
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
         AND state NOT LIKE 'table %/steps'",
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
        let (state, epoch, part): (String, i64, i64) = (row.get(0)?, row.get(2)?, row.get(3)?);
        let entries = row.get_ref(1)?.as_blob()?;
        kept.log_rows += 1;
        kept.log_bytes += entries.len() as u64;
        let intact = is_intact(&state, entries, row.get(4)?);
        let held = states.entry(state).or_default();
        if !each_entry(entries, |key, value| hold(held, key, value)) || !intact {
            kept.faults.push(format!(
                "part {part} of turn {epoch} of the state log is not what was written: its bytes are damaged"
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
