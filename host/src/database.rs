//! The database: one SQLite file that holds the tables that people read, and all that a pipeline needs to go on.
//!
//! rusqlite is named in `database/` and nowhere else.
//!
//! Everything that a turn changes is written in one transaction: sink rows, lookup tables, dead letters, messages to
//! publish, state log, and position. Whatever dies in between, the file holds whole turns, and its position says what
//! comes next. The tables of Weir itself begin with `weir_`.

mod audit;
mod commit;
mod compare;
mod dead_letters;
mod failure;
mod made;
mod outbox;
mod read;
mod schema;
mod trace;
mod versions;

pub use audit::{Audit, Check, FileSize, Kept, StateSize, Verdict};
pub use compare::{DatabasePair, Difference, PairedTable, SharedTable, Side, Standing, StoredCell, Tally};
pub use dead_letters::{
    LetterCounts, LetterFilter, LetterName, StoredDeadLetter, drop_dead_letters, read_dead_letters,
};
pub use outbox::{
    MessageCounts, MessageFilter, Outbox, OutgoingMessage, PUBLISH, StoredAt, WaitingMessage, drop_messages,
    read_message_counts, read_outbox,
};
pub use read::{StoredPipeline, read_pipelines, read_rows, read_table, table_sizes};
pub use trace::{Trace, TracedRow, read_trace};
pub use versions::{read_module, read_versions};

use crate::{
    column::Value,
    engine::{Engine, Made},
    error::{Context, Error, Result},
    fail_point,
    limits::WAL_BYTES_BEFORE_CHECKPOINT,
    operator::lookup,
    plan::Plan,
    sink::KeyedRows,
    turn::{Counts, FailureCount},
};
use failure::Sqlite;
use rusqlite::{Connection, OpenFlags, types::ValueRef};
use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// How long a statement waits for another connection's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// A database that one process holds. Several pipelines of that process may be in it.
#[derive(Clone, Debug)]
pub struct DatabaseFile {
    path: PathBuf,
    /// Held until the last pipeline is done.
    _lock: Arc<File>,
}

/// A database that was brought in order after a crash. See [`DatabaseFile::recover`].
#[derive(Debug)]
pub struct Recovered {
    _connection: Option<Connection>,
}

impl DatabaseFile {
    /// Takes in what a crash left in the write-ahead log, and keeps it so. A connection for reading alone cannot do that
    /// while another reader tries to, and fails.
    ///
    /// # Errors
    /// When the file is no database, or damaged.
    pub fn recover(&self) -> Result<Recovered> {
        let path = self.path();
        if !path.exists() {
            return Ok(Recovered { _connection: None });
        }
        let connection = open(path)?;
        connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
            .sqlite(|| format!("cannot read database {}", path.display()))?;
        let _connection = Some(connection);
        Ok(Recovered { _connection })
    }

    /// Takes hold of the database at `path`, which is made when it is missing.
    ///
    /// # Errors
    /// When another process holds it, or the folder cannot be written to.
    pub fn hold(path: &Path) -> Result<Self> {
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push("-lock");
        let lock_path = PathBuf::from(lock_path);
        let lock = File::create(&lock_path).environment(|| format!("cannot create {}", lock_path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: Arc::new(lock),
            }),
            Err(std::fs::TryLockError::WouldBlock) => Err(Error::environment(format!(
                "database {} is in use by another weir; stop that one first",
                path.display()
            ))),
            Err(std::fs::TryLockError::Error(cause)) => Err(Error::environment(format!(
                "cannot lock {}: {cause}",
                lock_path.display()
            ))),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

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
    file: DatabaseFile,
    plan: Arc<Plan>,
    messages: Messages,
    statements: commit::Statements,
    stored: StoredPipeline,
    outgoing: outbox::Outgoing,
    /// Bytes that the trace has.
    trace_bytes: u64,
    checkpoints: Checkpoints,
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
        let stored = read::pipeline(&connection, &plan.name)
            .sqlite(|| format!("cannot read database {}", path.display()))?
            .unwrap_or_default();
        let outgoing = outbox::Outgoing::load(&connection, &plan.name, stored.source.as_deref().unwrap_or_default())
            .sqlite(|| format!("cannot read database {}", path.display()))?;
        let trace_bytes =
            trace::bytes(&connection, &plan.name).sqlite(|| format!("cannot read database {}", path.display()))?;
        let statements = commit::Statements::new(&plan);
        let checkpoints = Checkpoints::start(&path)?;
        Ok(Self {
            connection,
            file: file.clone(),
            plan,
            messages,
            statements,
            stored,
            outgoing,
            trace_bytes,
            checkpoints,
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
        self.stored.source = Some(source.to_owned());
        if self.stored.seed == 0 {
            self.stored.seed = fastrand::u64(1..i64::MAX as u64);
        }
        read::write_pipeline(&self.connection, &self.plan.name, &self.stored)
            .sqlite(|| format!("cannot write database {path}"))?;
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
        for (step, count) in self.failures().environment(wrap)? {
            engine.restore_failures(&step, count);
        }
        Self::restore_from(&self.connection, self.path(), &self.plan.name, engine)?;
        made::check(&self.connection, &self.stored, engine, Made::is_reader).map_err(context)
    }

    /// Fills an engine whose fingerprints were checked.
    fn restore_from(connection: &Connection, path: &Path, pipeline: &str, engine: &mut Engine) -> Result<()> {
        let path = path.display().to_string();
        let wrap = || format!("cannot read the state in database {path}");
        // Snapshots first: whatever changed after one stands in the log, in order.
        for query in [
            "SELECT state, entries, checksum FROM weir_state_snapshot WHERE pipeline = ?1 ORDER BY state, bucket",
            "SELECT state, entries, checksum FROM weir_state_log WHERE pipeline = ?1 ORDER BY epoch, part",
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
        let receipt = crate::delivery::Receipt {
            ack_subject: None,
            content_hash: stored.content_hash,
        };
        self.commit(crate::turn::Turn {
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
        .map(|column| column.field.column_type == crate::column::ColumnType::Boolean)
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

fn open(path: &Path) -> Result<Connection> {
    let wrap = || format!("cannot open database {}", path.display());
    let connection = Connection::open(path).sqlite(wrap)?;
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
         -- Checkpoints run on a thread of their own.
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA cache_size = -32768;
         PRAGMA temp_store = MEMORY;";
    connection.execute_batch(pragmas).sqlite(wrap)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Opens a database for reading alone, and leaves nothing beside it that was not there.
///
/// The last connection that closes removes the write-ahead log, but not one that may not write. So this may, where there
/// is no log, and says that it will not. Where there is one, it belongs to a process that runs, or to one that died: it
/// is left to them.
pub(crate) fn connect_read_only(path: &Path) -> Result<Connection> {
    let wrap = || format!("cannot open database {}", path.display());
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let flags = match Path::new(&log).exists() {
        true => OpenFlags::SQLITE_OPEN_READ_ONLY,
        false => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    let connection = Connection::open_with_flags(path, flags).sqlite(wrap)?;
    connection.busy_timeout(BUSY_TIMEOUT).sqlite(wrap)?;
    connection.pragma_update(None, "query_only", true).sqlite(wrap)?;
    Ok(connection)
}

/// The thread that copies the write-ahead log into the database file whenever it is asked to.
///
/// A checkpoint on the commit's own connection would stall the commit; one beside it does not block it. It never gets
/// quite to the end while commits go on, so the commits themselves do the rest once in a while, see `commit.rs`.
#[derive(Debug)]
struct Checkpoints {
    requests: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    fn start(path: &Path) -> Result<Self> {
        let connection = connect(path)?;
        let (requests, received) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("weir-checkpoint".to_owned())
            .spawn(move || {
                while received.recv().is_ok() {
                    fail_point::pass("before-checkpoint");
                    // A checkpoint that fails is tried again at the next turn; the log holds everything meanwhile.
                    let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
                    fail_point::pass("after-checkpoint");
                }
            })
            .environment(|| "cannot start a thread".to_owned())?;
        Ok(Self {
            requests: Some(requests),
            thread: Some(thread),
        })
    }

    /// Asks for one. One that still runs is enough.
    fn ask(&self) {
        if let Some(requests) = &self.requests {
            let _ = requests.try_send(());
        }
    }
}

impl Drop for Checkpoints {
    /// Waits for the thread: the last connection that closes puts the whole log into the file, which then is all there
    /// is to copy or to look at. A process that ended before would leave the log beside it.
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Bytes of write-ahead log beyond which a commit waits for it to be copied: the bound on its size.
const WAL_BYTES_MAX: u64 = 8 * WAL_BYTES_BEFORE_CHECKPOINT;
