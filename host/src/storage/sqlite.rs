//! The database: one SQLite file that holds the tables that people read, and all that a pipeline needs to go on.
//!
//! rusqlite is named here and nowhere else.
//!
//! Everything that a turn changes is written in one transaction: sink rows, lookup tables, dead letters, messages to
//! publish, state log, and position. Whatever dies in between, the file holds whole turns, and its position says what
//! comes next. The tables of Weir itself begin with `weir_`.

mod audit;
mod backend;
mod checkpoint;
mod commit;
mod compare;
mod dead_letters;
mod definitions;
mod failure;
mod file;
mod filter;
mod fingerprints;
mod harm;
mod inspector;
mod lineage;
mod load;
mod outbox;
mod owner;
mod pipeline_tables;
mod read;
mod read_only;
mod schema;
mod statements;
mod stored_tables;
mod table_columns;
mod values;
mod versions;

pub(super) use audit::Audit;
pub(super) use file::{DatabaseFile, leave};
pub(super) use inspector::Inspector;

use crate::{
    error::{Context, Error, OrDefect, Result},
    fail_point,
    model::{delivery::Receipt, ids::TableId, rows::KeyedRows, turn::Turn},
    plan::Plan,
    storage::{LetterFilter, LetterName, Messages, Restore, Storage, StoredDeadLetter, StoredPipeline},
};
use checkpoint::Checkpoints;
use failure::Sqlite;
use file::OpenedFiles;
use outbox::Outbox;
use read_only::connect_read_only;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use statements::Statements;
use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// How long a statement waits for another connection's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// One pipeline in a database.
#[derive(Debug)]
pub(in crate::storage) struct Database {
    connection: Connection,
    checkpoints: Checkpoints,
    opened: OpenedFiles,
    plan: Arc<Plan>,
    messages: Messages,
    statements: Statements,
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
    pub(in crate::storage) fn open(file: &DatabaseFile, plan: Arc<Plan>, messages: Messages) -> Result<Self> {
        let path = file.path().to_owned();
        // Before anything is set: a database of somebody else stays as it is, to the byte.
        schema::is_new(&open(&path)?, &path)?;
        fail_point::pass("opening");
        let mut connection = connect(&path)?;
        schema::prepare(&mut connection, &path)?;
        pipeline_tables::make_tables(&mut connection, &plan, &path)?;
        fail_point::pass("opened");
        let wrap = || format!("cannot read database {}", path.display());
        owner::take(&connection, Some(&plan.name), file.owner())
            .sqlite(|| format!("cannot write database {}", path.display()))?;
        let stored = read::pipeline(&connection, &plan.name).sqlite(wrap)?;
        let source = stored.as_ref().and_then(|stored| stored.source.as_deref());
        let outgoing = outbox::Outgoing::load(&connection, &plan.name, source.unwrap_or_default()).sqlite(wrap)?;
        let log = commit::logged_turns(&connection, &plan.name).sqlite(wrap)?;
        let trace_bytes = lineage::bytes(&connection, &plan.name).sqlite(wrap)?;
        let statements = Statements::new(&plan)?;
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

    /// Where it is.
    fn path(&self) -> &Path {
        self.file.path()
    }
}

impl Storage for Database {
    fn stored(&self) -> &StoredPipeline {
        &self.stored
    }

    fn claim(&mut self, source: &str) -> Result<()> {
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

    fn load(&mut self, into: &mut dyn Restore) -> Result<()> {
        self.load_into(into)
    }

    fn commit(&mut self, turn: Turn) -> Result<()> {
        self.commit_turn(turn)
    }

    fn set_table(&mut self, table: TableId, rows: KeyedRows) -> Result<()> {
        let mut tables = self.plan.tables.map(|_, _| KeyedRows::default());
        *tables
            .get_mut(table)
            .or_defect(|| format!("lookup table {table} is not there"))? = rows;
        let stored = self.stored.clone();
        let receipt = Receipt {
            ack_subject: None,
            content_hash: stored.content_hash,
        };
        self.commit(Turn {
            number: stored.turn,
            position: stored.position,
            receipt,
            sinks: self.plan.sinks.map(|_, _| None),
            tables,
            ..Default::default()
        })
    }

    fn is_stopped(&self) -> Result<bool> {
        let query = "SELECT count(*) FROM weir_failures WHERE pipeline = ?1 AND stopped = 1";
        self.connection
            .query_row(query, [&self.plan.name], |row| row.get::<_, i64>(0))
            .map(|count| count > 0)
            .environment(|| format!("cannot read database {}", self.path().display()))
    }

    fn is_settled(&self) -> bool {
        self.outgoing.is_settled || self.stored.position > 0
    }

    fn settle(&mut self, first: &BTreeMap<String, u64>) -> Result<()> {
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

    fn first_published(&self, subject: &str) -> u64 {
        self.outgoing.first(subject)
    }

    fn dead_letters_held(&self) -> Result<u64> {
        let counts = dead_letters::letter_counts(&self.connection, &self.plan.name);
        let counts = counts.environment(|| format!("cannot read database {}", self.path().display()))?;
        Ok(counts.held)
    }

    fn publish_again(&mut self, filter: &LetterFilter, keeps: bool) -> Result<u64> {
        self.republish(filter, keeps)
    }

    fn letters(&self, filter: &LetterFilter) -> Result<Vec<LetterName>> {
        self.letter_names(filter)
    }

    fn letter(&self, id: i64) -> Result<StoredDeadLetter> {
        self.letter_at(id)
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
