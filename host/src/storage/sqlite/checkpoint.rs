//! Checkpoints: the write-ahead log is copied into the database file beside the commits, on a thread of its own.
//!
//! None of them waits for a reader, and no commit waits for one that does. Each is `PASSIVE`: it copies what no reader
//! needs to find in the log. A log that is copied whole begins anew with the next commit, unless a reader is still in it;
//! then it grows, which is said once it is large.
//!
//! It is time for one when the tables were made, when the log has grown by [`WAL_BYTES_BEFORE_CHECKPOINT`], when nothing
//! was written for [`CHECKPOINT_SILENCE`], and every [`CHECKPOINT_EVERY`]. So a copy of the file alone is as a rule some
//! seconds old where little comes, and some minutes where much does.
//!
//! A checkpoint beside commits never gets to the end of a log that grows meanwhile. Beyond [`WAL_BYTES_MAX`], the commit
//! after a checkpoint copies what came since, which is little.

use super::{DatabaseFile, connect};
use crate::{
    error::{Context, Result},
    fail_point,
    limits::{CHECKPOINT_EVERY, CHECKPOINT_SILENCE, WAL_BYTES_BEFORE_CHECKPOINT, WAL_BYTES_MAX},
    say,
};
use rusqlite::{Connection, InterruptHandle, config::DbConfig};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

/// How long after the start the tables are in the file. A database that is closed before does not need it.
const FIRST: Duration = Duration::from_millis(200);

/// How often it is looked whether something was written.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The thread that copies the log.
pub(super) struct Checkpoints {
    log: PathBuf,
    requests: Option<SyncSender<()>>,
    /// Whether the last checkpoint found no reader in its way, and no commit has gone on from there yet.
    is_complete: Arc<AtomicBool>,
    interrupt: InterruptHandle,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoints")
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

impl Checkpoints {
    pub(super) fn start(file: &DatabaseFile) -> Result<Self> {
        let connection = connect(file.path())?;
        let interrupt = connection.get_interrupt_handle();
        let is_complete = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            connection,
            log: Log::at(file.beside("-wal")),
            shown: file.path().display().to_string(),
            is_complete: is_complete.clone(),
            copied_at: 0,
            say_from: bytes_max(),
        };
        let (requests, received) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("weir-checkpoint".to_owned())
            .spawn(move || worker.run(&received))
            .environment(|| "cannot start a thread".to_owned())?;
        Ok(Self {
            log: file.beside("-wal"),
            requests: Some(requests),
            is_complete,
            interrupt,
            thread: Some(thread),
        })
    }

    /// Called after each commit, on its connection.
    pub(super) fn committed(&self, connection: &Connection) {
        let bytes = fs::metadata(&self.log).map_or(0, |log| log.len());
        if bytes > bytes_max() && self.is_complete.swap(false, Ordering::Relaxed) {
            fail_point::pass("before-truncation");
            // What fails here fails on the thread as well, which says so.
            let _ = copy(connection);
            fail_point::pass("after-truncation");
        }
        if bytes > bytes_before()
            && let Some(requests) = &self.requests
        {
            // One that waits is enough.
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
            // Nobody who stops waits for a log that readers let grow large.
            if fs::metadata(&self.log).is_ok_and(|log| log.len() > 2 * WAL_BYTES_MAX) {
                self.interrupt.interrupt();
            }
            let _ = thread.join();
        }
    }
}

/// Lets go of a connection that writes. As a rule the last one puts the log into the file; not where that takes long:
/// the next start goes on with the log.
pub(super) fn before_close(connection: &Connection, log: &Path) {
    if fs::metadata(log).is_ok_and(|log| log.len() > 2 * WAL_BYTES_MAX) {
        let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }
}

fn bytes_before() -> u64 {
    fail_point::number("wal-bytes", WAL_BYTES_BEFORE_CHECKPOINT)
}

fn bytes_max() -> u64 {
    fail_point::number("wal-bytes-max", WAL_BYTES_MAX)
}

/// What came of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copied {
    /// All that the log had.
    All,
    /// What no reader is in the way of.
    Part,
    /// Nothing: another connection is at it.
    Nothing,
}

/// Copies what can be copied at once.
fn copy(connection: &Connection) -> rusqlite::Result<Copied> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        let (held, copied): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok(match (held, copied) {
            (-1, _) => Copied::Nothing,
            _ if held == copied => Copied::All,
            _ => Copied::Part,
        })
    })
}

struct Worker {
    connection: Connection,
    log: Log,
    shown: String,
    is_complete: Arc<AtomicBool>,
    /// How large the log was at the last checkpoint.
    copied_at: u64,
    /// How large it has to be for something to be said.
    say_from: u64,
}

impl Worker {
    fn run(mut self, requests: &Receiver<()>) {
        let (mut wait, mut copied) = (FIRST, None);
        while !matches!(requests.recv_timeout(wait), Err(RecvTimeoutError::Disconnected)) {
            wait = LOOK_EVERY;
            self.log.look();
            if self.is_time(copied) {
                self.checkpoint();
                copied = Some(Instant::now());
            }
        }
        before_close(&self.connection, &self.log.path);
    }

    /// Whether it is time for a checkpoint; the last one was at `copied`.
    fn is_time(&mut self, copied: Option<Instant>) -> bool {
        let Some(copied) = copied else { return true };
        if self.log.bytes < self.copied_at {
            // It began anew.
            self.copied_at = 0;
        }
        if self.log.bytes < bytes_max() {
            self.say_from = bytes_max();
        }
        let is_silent = self.log.changed.elapsed() >= CHECKPOINT_SILENCE && self.log.changed > copied;
        let is_old = self.log.is_dirty && copied.elapsed() >= CHECKPOINT_EVERY;
        is_silent || is_old || self.log.bytes > self.copied_at.saturating_add(bytes_before())
    }

    fn checkpoint(&mut self) {
        fail_point::pass("before-checkpoint");
        let copied = copy(&self.connection);
        fail_point::pass("after-checkpoint");
        self.copied_at = self.log.bytes;
        let is_complete = matches!(copied, Ok(Copied::All));
        self.is_complete.store(is_complete, Ordering::Relaxed);
        self.log.is_dirty = !is_complete;
        let bytes = self.log.bytes;
        // A reader that comes and goes is in the way of a new beginning, and not of the copy.
        if bytes >= self.say_from && (!is_complete || bytes >= 2 * bytes_max()) {
            let (mebibytes, shown) = (bytes >> 20, &self.shown);
            match copied {
                Ok(Copied::Nothing) => return,
                Ok(Copied::All | Copied::Part) => say!(
                    Warning,
                    "weir: the write-ahead log of database {shown} has {mebibytes} MiB and grows: another program keeps a \
                     transaction open on it, as it seems; `fuser -v {shown}-shm` or `lsof {shown}-shm` names those that read; \
                     commits do not wait for it, but for the disk it needs room"
                ),
                Err(cause) => say!(
                    Warning,
                    "weir: the write-ahead log of database {shown} has {mebibytes} MiB and cannot be copied into it: {cause}"
                ),
            }
            self.say_from = 2 * bytes;
        }
    }
}

/// The log as it was last seen.
struct Log {
    path: PathBuf,
    bytes: u64,
    written: Option<SystemTime>,
    /// When it was first seen as it is.
    changed: Instant,
    /// Whether it was written since the last checkpoint that came to its end.
    is_dirty: bool,
}

impl Log {
    fn at(path: PathBuf) -> Self {
        Self {
            path,
            bytes: 0,
            written: None,
            changed: Instant::now(),
            is_dirty: false,
        }
    }

    fn look(&mut self) {
        let found = fs::metadata(&self.path).ok();
        let written = found.as_ref().and_then(|found| found.modified().ok());
        let bytes = found.map_or(0, |found| found.len());
        if (bytes, written) != (self.bytes, self.written) {
            (self.bytes, self.written, self.changed) = (bytes, written, Instant::now());
            self.is_dirty = true;
        }
    }
}
