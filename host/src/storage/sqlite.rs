//! The database: one SQLite file that holds the tables that people read, and all that a pipeline needs to go on.
//!
//! rusqlite is named in `database/` and nowhere else.
//!
//! Everything that a turn changes is written in one transaction: sink rows, lookup tables, dead letters, messages to
//! publish, state log, and position. Whatever dies in between, the file holds whole turns, and its position says what
//! comes next. The tables of Weir itself begin with `weir_`.

mod audit;
mod checkpoint;
mod commit;
mod compare;
mod dead_letters;
mod definitions;
mod failure;
mod file;
mod filter;
mod harm;
mod lineage;
mod made;
mod outbox;
mod owner;
mod read;
mod read_only;
mod schema;
mod versions;

pub use audit::{Audit, Check, FileSize, Kept, StateSize, Verdict};
pub use compare::{DatabasePair, Difference, PairedTable, SharedTable, Side, Standing, StoredCell, Tally};
pub use dead_letters::{
    LetterCounts, LetterFilter, LetterName, StoredDeadLetter, drop_dead_letters, read_dead_letters,
};
pub use file::{DatabaseFile, Recovered, leave};
pub use harm::{forget_harms, read_harms, watch_guests};
pub use lineage::{RowLineage, TracedRow, read_lineage};
pub use outbox::{
    MessageCounts, MessageFilter, Outbox, OutgoingMessage, PUBLISH, StoredAt, WaitingMessage, drop_messages,
    read_message_counts, read_outbox,
};
pub use read::{StoredPipeline, read_pipelines, read_rows, read_table, table_sizes};
pub use versions::{read_module, read_versions};

use crate::{
    engine::{Engine, Made},
    error::{Context, Error, Result},
    fail_point,
    model::{
        column::Value,
        rows::KeyedRows,
        turn::{Counts, FailureCount},
    },
    operator::lookup,
    plan::Plan,
};
use checkpoint::Checkpoints;
use failure::Sqlite;
use file::OpenedFiles;
use read_only::connect_read_only;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, types::ValueRef};
use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// How long a statement waits for another connection's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// What becomes of messages to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// They are written to the outbox, in the transaction of their turn.
    Outbox,
    /// They are counted and dropped: a replay tells nobody.
    Drop,
}

/// One pipeline in a database.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    checkpoints: Checkpoints,
    opened: OpenedFiles,
    plan: Arc<Plan>,
    messages: Messages,
    statements: commit::Statements,
    stored: StoredPipeline,
    outgoing: outbox::Outgoing,
    /// Whether there is a row of it yet.
    is_known: bool,
    /// Where each turn of the state log stands, the oldest first.
    log: VecDeque<commit::LoggedTurn>,
    /// Bytes that the trace has.
    trace_bytes: u64,
    /// Goes last, after all connections: with it go the locks that SQLite has.
    file: DatabaseFile,
}

impl Database {
    /// Opens the database of `plan`, and makes the tables that are missing.
    ///
    /// # Errors
    /// When the file is no database, of another version, or holds a table of the same name with other columns.
    pub fn open(file: &DatabaseFile, plan: Arc<Plan>, messages: Messages) -> Result<Self> {
        let path = file.path().to_owned();
        // Before anything is set: a database of somebody else stays as it is, to the byte.
        schema::is_new(&open(&path)?, &path)?;
        fail_point::pass("opening");
        let mut connection = connect(&path)?;
        schema::prepare(&mut connection, &path)?;
        schema::make_tables(&mut connection, &plan, &path)?;
        fail_point::pass("opened");
        let wrap = || format!("cannot read database {}", path.display());
        owner::take(&connection, Some(&plan.name), file.owner())
            .sqlite(|| format!("cannot write database {}", path.display()))?;
        let stored = read::pipeline(&connection, &plan.name).sqlite(wrap)?;
        let source = stored.as_ref().and_then(|stored| stored.source.as_deref());
        let outgoing = outbox::Outgoing::load(&connection, &plan.name, source.unwrap_or_default()).sqlite(wrap)?;
        let log = commit::logged_turns(&connection, &plan.name).sqlite(wrap)?;
        let trace_bytes = lineage::bytes(&connection, &plan.name).sqlite(wrap)?;
        let statements = commit::Statements::new(&plan);
        Ok(Self {
            connection,
            checkpoints: Checkpoints::start(file)?,
            opened: file.opened()?,
            plan,
            messages,
            statements,
            is_known: stored.is_some(),
            stored: stored.unwrap_or_default(),
            outgoing,
            log,
            trace_bytes,
            file: file.clone(),
        })
    }

    /// What the last commit left.
    pub fn stored(&self) -> &StoredPipeline {
        &self.stored
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Claims the pipeline's place for a source, or finds that it belongs to it.
    ///
    /// # Errors
    /// When the database was filled from another source.
    pub fn claim(&mut self, source: &str) -> Result<()> {
        let path = self.path().display().to_string();
        if let Some(known) = &self.stored.source
            && known != source
        {
            return Err(Error::mismatch(format!(
                "database {path} was filled from {known}, not from {source}; name another --database, or go on with that source"
            )));
        }
        let mut stored = self.stored.clone();
        stored.source = Some(source.to_owned());
        if stored.seed == 0 {
            stored.seed = fastrand::u64(1..i64::MAX as u64);
        }
        let wrap = || format!("cannot write database {path}");
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .sqlite(wrap)?;
        let left = self.is_known.then_some(&self.stored);
        owner::check(&transaction, self.file.path(), &self.plan.name, self.file.owner(), left)?;
        read::write_pipeline(&transaction, &self.plan.name, &stored, self.file.owner()).sqlite(wrap)?;
        transaction.commit().sqlite(wrap)?;
        (self.stored, self.is_known) = (stored, true);
        // Messages are named by what fills the database.
        self.outgoing = outbox::Outgoing::load(&self.connection, &self.plan.name, source)
            .sqlite(|| format!("cannot read database {path}"))?;
        fail_point::pass("claimed");
        Ok(())
    }

    /// Whether it is settled from which events on messages are published: it is from the first start over a stream on.
    pub fn is_settled(&self) -> bool {
        self.outgoing.is_settled || self.stored.position > 0
    }

    /// Settles from which events on messages are published, for the subjects where that is not the first: those before are
    /// counted and not published.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn settle(&mut self, first: &BTreeMap<String, u64>) -> Result<()> {
        let source = self.stored.source.clone().unwrap_or_default();
        let settle = || {
            let transaction = self.connection.unchecked_transaction()?;
            outbox::Outgoing::settle(&transaction, &self.plan.name, first)?;
            transaction.commit()?;
            outbox::Outgoing::load(&self.connection, &self.plan.name, &source)
        };
        self.outgoing = settle().sqlite(|| format!("cannot write database {}", self.path().display()))?;
        Ok(())
    }

    /// The event from which on messages to `subject` are published.
    pub fn first_published(&self, subject: &str) -> u64 {
        self.outgoing.first(subject)
    }

    /// Fills an engine with the state and the tables of the last commit.
    ///
    /// # Errors
    /// When the stored state was built for other settings, or cannot be read.
    pub fn restore(&self, engine: &mut Engine) -> Result<()> {
        let path = self.path().display().to_string();
        let wrap = || format!("cannot read the state in database {path}");
        let context = |error: Error| error.context(format!("database {path}"));
        made::check(&self.connection, &self.stored, engine, |made| !made.is_reader()).map_err(context)?;
        let older = made::in_ms(&self.connection, &self.plan.name).sqlite(wrap)?;
        let older: Vec<String> = older.into_iter().filter(|state| engine.restores_ms(state)).collect();
        for (step, count) in self.failures().environment(wrap)? {
            engine.restore_failures(&step, count);
        }
        Self::restore_from(&self.connection, self.path(), &self.plan.name, engine)?;
        if !older.is_empty() {
            self.write_anew(&older, engine)?;
        }
        made::check(&self.connection, &self.stored, engine, Made::is_reader).map_err(context)?;
        made::remember_steps(&self.connection, engine).sqlite(wrap)
    }

    /// Writes states whole whose times an older Weir wrote in milliseconds, in one transaction.
    fn write_anew(&self, states: &[String], engine: &mut Engine) -> Result<()> {
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
                for snapshot in engine.buckets(state) {
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

    /// Fills an engine whose fingerprints were checked.
    fn restore_from(connection: &Connection, path: &Path, pipeline: &str, engine: &mut Engine) -> Result<()> {
        let path = path.display().to_string();
        let wrap = || format!("cannot read the state in database {path}");
        // Snapshots first: whatever changed after one stands in the log, in the order of its rows.
        for query in [
            "SELECT state, entries, checksum FROM weir_state_snapshot WHERE pipeline = ?1 ORDER BY state, bucket",
            "SELECT state, entries, checksum FROM weir_state_log WHERE pipeline = ?1 ORDER BY rowid",
        ] {
            let mut statement = connection.prepare(query).sqlite(wrap)?;
            let mut rows = statement.query([pipeline]).sqlite(wrap)?;
            while let Some(row) = rows.next().sqlite(wrap)? {
                fail_point::pass("restoring");
                let state: String = row.get(0).sqlite(wrap)?;
                let entries = row.get_ref(1).and_then(|entries| Ok(entries.as_blob()?)).sqlite(wrap)?;
                let sum: Option<i64> = row.get(2).sqlite(wrap)?;
                match is_intact(&state, entries, sum) {
                    true => engine.restore(&state, entries),
                    false => Err(Error::mismatch(format!(
                        "the stored state \"{state}\" is not what was written: its bytes are damaged; put back a copy of the \
                         database, or name another --database and fill it from the stream"
                    ))),
                }
                .map_err(|error| error.context(format!("database {path}")))?;
            }
        }
        engine.restored();
        for table in engine.tables() {
            restore_table(connection, table).sqlite(wrap)?;
        }
        engine.tables_restored();
        fail_point::pass("restored");
        Ok(())
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

    /// Whether the pipeline stopped because a module failed too often, and has not gone on since.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn is_stopped(&self) -> Result<bool> {
        let query = "SELECT count(*) FROM weir_failures WHERE pipeline = ?1 AND stopped = 1";
        self.connection
            .query_row(query, [&self.plan.name], |row| row.get::<_, i64>(0))
            .map(|count| count > 0)
            .environment(|| format!("cannot read database {}", self.path().display()))
    }

    /// Writes the rows of a lookup table, in one transaction, over those of the same key.
    ///
    /// # Errors
    /// When SQLite fails. The table then is as it was.
    pub fn load_table(&mut self, index: usize, table: &mut lookup::Table) -> Result<()> {
        let mut tables = vec![KeyedRows::default(); index];
        let mut rows = KeyedRows::default();
        table
            .rows()
            .take_changes(|key, row| rows.push(key, row.map(|row| &**row)));
        tables.push(rows);
        let stored = self.stored.clone();
        let receipt = crate::model::delivery::Receipt {
            ack_subject: None,
            content_hash: stored.content_hash,
        };
        self.commit(crate::model::turn::Turn {
            epoch: stored.epoch,
            position: stored.position,
            receipt,
            tables,
            ..Default::default()
        })
    }

    /// The totals over the life of the database.
    pub fn counts(&self) -> Counts {
        self.stored.counts
    }
}

/// Of what state is read back from. SQLite has no checksums, and a disk that turns a bit would change a state in silence.
fn checksum(state: &str, entries: &[u8]) -> i64 {
    xxh3_64_with_seed(entries, xxh3_64(state.as_bytes())) as i64
}

/// Whether entries are those that were written, as far as their checksum tells; older rows have none.
fn is_intact(state: &str, entries: &[u8], sum: Option<i64>) -> bool {
    sum.is_none_or(|sum| sum == checksum(state, entries))
}

fn restore_table(connection: &Connection, table: &mut lookup::Table) -> rusqlite::Result<()> {
    let columns: Vec<String> = table
        .plan()
        .columns
        .iter()
        .map(|c| schema::quote(&c.field.name))
        .collect();
    let width = columns.len();
    let query = format!(
        "SELECT {} FROM {}",
        columns.join(", "),
        schema::quote(&table.plan().name)
    );
    let booleans: Vec<bool> = table
        .plan()
        .columns
        .iter()
        .map(|column| column.field.column_type == crate::model::column::ColumnType::Boolean)
        .collect();
    let mut statement = connection.prepare(&query)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut values = Vec::with_capacity(width);
        for index in 0..width {
            values.push(value_of(row.get_ref(index)?, booleans.get(index) == Some(&true)));
        }
        table.restore(values.into_iter());
    }
    Ok(())
}

/// A value of SQLite as a cell.
pub(crate) fn value_of(value: ValueRef<'_>, boolean: bool) -> Value<'_> {
    match value {
        ValueRef::Null | ValueRef::Blob(_) => Value::Null,
        ValueRef::Integer(value) if boolean => Value::Boolean(value != 0),
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Real(value) => Value::Double(value),
        ValueRef::Text(text) => Value::Text(text),
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        checkpoint::before_close(&self.connection, &self.file.beside("-wal"));
    }
}

/// The same path, as one that SQLite takes for the name of a file, whatever it is: `:memory:` and `file:…` are names like
/// others here.
fn plain(path: &Path) -> PathBuf {
    Path::new(".").join(path)
}

fn open(path: &Path) -> Result<Connection> {
    let wrap = || format!("cannot open database {}", path.display());
    // It is there: `DatabaseFile::hold` makes it.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(plain(path), flags).sqlite(wrap)?;
    connection.busy_timeout(BUSY_TIMEOUT).sqlite(wrap)?;
    Ok(connection)
}

fn connect(path: &Path) -> Result<Connection> {
    let wrap = || format!("cannot open database {}", path.display());
    let connection = open(path)?;
    let pragmas = "PRAGMA journal_mode = WAL;
         -- A commit survives the death of the process at once, and a power cut from the next checkpoint on; the position
         -- is part of the commit, so a commit that a power cut takes back is done again from the stream.
         PRAGMA synchronous = NORMAL;
         -- Checkpoints run on a thread of their own. A log that begins anew is cut, so that its size says what it holds.
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 0;
         -- What somebody keeps beside the tables of Weir has no say in what a commit writes.
         PRAGMA foreign_keys = OFF;
         PRAGMA cache_size = -32768;
         PRAGMA temp_store = MEMORY;";
    connection.execute_batch(pragmas).sqlite(wrap)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
