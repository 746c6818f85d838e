//! The file of a database: one process holds it, and notices when its path leads to another file.
//!
//! The lock is on the database file itself, so that it does not matter by which name the file is opened: a symbolic link,
//! a mount, or a second hard link. It also holds where `FILE-lock` was removed, which older versions of Weir go by.
//!
//! The locks that SQLite has on the same file belong to the process, and end all together as soon as the process closes any
//! descriptor of it. So the descriptor of the lock here is opened before SQLite opens the file and closed after it, and no
//! second one is opened while the process holds the file (see [`HELD`]).

use super::{BUSY_TIMEOUT, failure::Sqlite, open};
use crate::{
    error::{Context, Error, Result},
    files::private_file,
};
use rusqlite::Connection;
use rustix::{fs::Access, io::Errno};
use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io::ErrorKind,
    mem,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What to do where a file cannot be opened.
const ADVICE: &str = "see that it is a file that this user may write to, and its folder too";

/// How often a process that waits for readers looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Which file it is, whatever its names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// The files that this process holds, and what it made of them.
static HELD: Mutex<BTreeMap<Identity, Option<Made>>> = Mutex::new(BTreeMap::new());

/// What this process made under a name that nothing had.
#[derive(Clone, Debug)]
struct Made {
    database: PathBuf,
    /// The file beside it, where that was made too.
    lock: Option<PathBuf>,
}

impl Made {
    /// Removes both, if they are as they were made: who looks for a database finds none. Who comes meanwhile finds the database
    /// locked, or makes one anew.
    fn remove_if_empty(&self, identity: Identity) {
        let found = fs::metadata(&self.database);
        let is_as_made = found.is_ok_and(|found| Identity::of(&found) == identity && found.len() == 0);
        // One that is written to has a first page before it has a log.
        if !is_as_made {
            return;
        }
        if let Some(lock) = &self.lock {
            let _ = fs::remove_file(lock);
        }
        let _ = fs::remove_file(&self.database);
    }
}

/// Removes the databases that this process made and wrote nothing to: it ends now, and nothing came of them.
pub(in crate::storage) fn leave() {
    // Who has it looks at files now, of which none is known here yet.
    let Ok(held) = HELD.try_lock() else { return };
    for (identity, made) in held.iter() {
        if let Some(made) = made {
            made.remove_if_empty(*identity);
        }
    }
}

/// A database that one process holds. Several pipelines of that process may be in it.
#[derive(Clone, Debug)]
pub(in crate::storage) struct DatabaseFile {
    path: PathBuf,
    /// Held until the last pipeline is done.
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    /// The path without symbolic links: SQLite keeps its log beside that.
    real_path: PathBuf,
    identity: Identity,
    /// The file itself, with its lock.
    file: Option<File>,
    /// The file beside it, with its lock.
    beside: Option<File>,
    owner: i64,
}

impl DatabaseFile {
    /// Takes hold of the database at `path`, which is made when it is missing.
    ///
    /// # Errors
    /// When another process holds it, or the file or its folder cannot be written to.
    pub(in crate::storage) fn hold(path: &Path) -> Result<Self> {
        let shown = path.display();
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, found, is_new) = loop {
            let is_new = match fs::metadata(path) {
                Ok(found) if !found.is_file() => {
                    return Err(Error::environment(format!(
                        "cannot open database {shown}: it is no file; {ADVICE}"
                    )));
                }
                Ok(found) if held.contains_key(&Identity::of(&found)) => return Err(in_use(path)),
                Ok(found) => {
                    check_link(path, found.len())?;
                    false
                }
                Err(_) => {
                    check_link(path, 0)?;
                    true
                }
            };
            let opened = match is_new {
                true => private_file::make(path),
                false => OpenOptions::new().read(true).write(true).open(path),
            };
            let file = match opened {
                Ok(file) => file,
                // It came or went in between.
                Err(cause) if is_new && cause.kind() == ErrorKind::AlreadyExists => continue,
                Err(cause) if !is_new && cause.kind() == ErrorKind::NotFound => continue,
                Err(cause) => {
                    return Err(Error::environment(format!(
                        "cannot open database {shown}: {cause}; {ADVICE}"
                    )));
                }
            };
            lock(&file, path)?;
            let opened = file
                .metadata()
                .environment(|| format!("cannot open database {shown}"))?;
            // Whoever held it before may have removed it, because it was empty.
            let found = fs::metadata(path).ok();
            if found.is_some_and(|found| Identity::of(&found) == Identity::of(&opened)) {
                check_names(path, &opened)?;
                break (file, opened, is_new);
            }
        };
        let identity = Identity::of(&found);
        let made = is_new.then(|| Made {
            database: path.to_owned(),
            lock: None,
        });
        held.insert(identity, made);
        drop(held);
        let mut taken = Held {
            real_path: path.to_owned(),
            identity,
            file: Some(file),
            beside: None,
            owner: fastrand::i64(1..),
        };
        taken.real_path = fs::canonicalize(path).environment(|| format!("cannot open database {shown}"))?;
        private_file::warn_of_open_folder(&taken.real_path);
        let lock = beside(&taken.real_path, "-lock");
        let makes_lock = fs::symlink_metadata(&lock).is_err_and(|cause| cause.kind() == ErrorKind::NotFound);
        taken.beside = Some(lock_beside(path, &taken.real_path, &found)?);
        // Where the lock beside the database is the only one, it stays: who waits for it may have it open.
        if is_new && makes_lock && taken.file.as_ref().is_some_and(has_own_lock) {
            let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
            let made = held.get_mut(&identity).and_then(Option::as_mut);
            made.into_iter().for_each(|made| made.lock = Some(lock.clone()));
        }
        check_logs(path, &taken.real_path)?;
        check_access(path, &taken.real_path)?;
        Ok(Self {
            path: path.to_owned(),
            held: Arc::new(taken),
        })
    }

    /// Takes in what a crash left in the write-ahead log, and keeps it so. A connection for reading alone cannot do that
    /// while another reader tries to, and fails.
    ///
    /// # Errors
    /// When the file is no database, or damaged.
    pub(super) fn take_in_log(&self) -> Result<Connection> {
        let path = self.path();
        let connection = open(path)?;
        connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
            .sqlite(|| format!("cannot read database {}", path.display()))?;
        Ok(connection)
    }

    /// Whether there is nothing in it yet.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(super) fn has_no_bytes(&self) -> Result<bool> {
        let path = self.path();
        let found = fs::metadata(path).environment(|| format!("cannot open database {}", path.display()))?;
        Ok(found.len() == 0)
    }

    /// Makes an empty file a database of pages of so many bytes, which it keeps; one that is not empty stays as it is. What
    /// opens an empty file without this makes it one of pages of 4096 bytes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn make(&self, page_bytes: u32) -> Result<()> {
        let path = self.path();
        let make = || {
            let connection = open(path)?;
            connection
                .execute_batch(&format!("PRAGMA page_size = {page_bytes}; PRAGMA journal_mode = WAL;"))
                .sqlite(|| format!("cannot make database {}", path.display()))
        };
        if self.has_no_bytes()? { make() } else { Ok(()) }
    }

    /// Where it is.
    pub(in crate::storage) fn path(&self) -> &Path {
        &self.path
    }

    /// The number under which this process writes. Each transaction sees that no other process has written since, see
    /// `owner.rs`.
    pub(super) fn owner(&self) -> i64 {
        self.held.owner
    }

    /// A file beside the database, such as the log of SQLite: `-wal`.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        beside(&self.held.real_path, suffix)
    }

    /// Which files SQLite has open, to see later that they are still there.
    ///
    /// # Errors
    /// When they are not.
    pub(super) fn opened(&self) -> Result<OpenedFiles> {
        let mut logs = Vec::new();
        for suffix in ["-wal", "-shm"] {
            let path = self.beside(suffix);
            let found = fs::metadata(&path).environment(|| format!("cannot open {}", path.display()))?;
            logs.push((path, Identity::of(&found)));
        }
        Ok(OpenedFiles {
            path: self.path.clone(),
            identity: self.held.identity,
            logs,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Some(made)) = held.remove(&self.identity) {
            made.remove_if_empty(self.identity);
        }
        drop(self.beside.take());
        drop(self.file.take());
    }
}

/// The files of an open database.
#[derive(Debug)]
pub(super) struct OpenedFiles {
    path: PathBuf,
    identity: Identity,
    logs: Vec<(PathBuf, Identity)>,
}

impl OpenedFiles {
    /// Looks whether the files are where they were. What is written to a file that was removed is gone with the process,
    /// and nobody else sees it.
    ///
    /// # Errors
    /// When one was removed, or another one is in its place.
    pub(super) fn check(&self) -> Result<()> {
        let files = [(&self.path, self.identity)].into_iter();
        for (path, identity) in files.chain(self.logs.iter().map(|(path, identity)| (path, *identity))) {
            let what = match fs::metadata(path) {
                Ok(found) if Identity::of(&found) == identity => continue,
                Ok(_) => "replaced by another file",
                Err(cause) if cause.kind() == ErrorKind::NotFound => "removed",
                Err(cause) => {
                    return Err(Error::environment(format!(
                        "cannot find {} any more: {cause}",
                        path.display()
                    )));
                }
            };
            let of = match *path == self.path {
                true => String::new(),
                false => format!(", which belongs to database {},", self.path.display()),
            };
            return Err(Error::environment(format!(
                "{}{of} was {what} while weir had it open; put back the database with all of its files, or name another \
                 --database, and start again: what comes after the position of that database is processed again",
                path.display()
            )));
        }
        Ok(())
    }
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(suffix);
    PathBuf::from(beside)
}

fn in_use(path: &Path) -> Error {
    Error::environment(format!(
        "database {} is in use by another weir; stop that one first",
        path.display()
    ))
}

/// SQLite keeps a log beside each name of a file. What one of them holds, nobody finds who opens the file by another.
fn check_names(path: &Path, found: &Metadata) -> Result<()> {
    match found.nlink() {
        0 | 1 => Ok(()),
        names => Err(Error::environment(format!(
            "database {} is a file with {names} names (hard links); SQLite keeps a write-ahead log for each name, and one \
             would overwrite what the other holds; remove the other names, or copy the file",
            path.display()
        ))),
    }
}

/// Locks the file itself, where that is a lock apart from those of SQLite: on Linux, but for file systems on other machines,
/// where it would be one of the same kind and in SQLite's way. Elsewhere the file beside the database has to do, and what a
/// transaction looks for (`owner.rs`).
fn lock(file: &File, path: &Path) -> Result<()> {
    if !has_own_lock(file) {
        return Ok(());
    }
    let until = Instant::now() + BUSY_TIMEOUT;
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            // Those who only read let others read too, and end.
            Err(TryLockError::WouldBlock) if file.try_lock_shared().is_ok() => {
                if Instant::now() >= until {
                    return Err(Error::environment(format!(
                        "database {} is being read by a user who may not write to it; wait for the end of that, and start \
                         again (`fuser -v {0}` names the program)",
                        path.display()
                    )));
                }
                if !mem::replace(&mut said, true) {
                    tracing::warn!(database = %path.display(), "database {} is being read by a user who may not write to it; waiting for the end of that",
                        path.display()
                    );
                }
                std::thread::sleep(LOOK_AGAIN);
            }
            Err(TryLockError::WouldBlock) => return Err(in_use(path)),
            Err(TryLockError::Error(cause)) => {
                return Err(Error::environment(format!(
                    "cannot lock database {}: {cause}",
                    path.display()
                )));
            }
        }
    }
}

/// Locks a file that is read as one that nobody writes to, so that nobody does; whether that is so. Where [`lock`] does not
/// lock the file, there is nothing to keep out.
pub(super) fn share(file: &File) -> bool {
    !has_own_lock(file) || file.try_lock_shared().is_ok()
}

/// Whether a database has a lock on the file itself, see [`lock`].
fn has_own_lock(file: &File) -> bool {
    cfg!(target_os = "linux") && !is_remote(file)
}

/// A database that is there may be named by a link. None is made through one: what it leads to is somebody else's.
fn check_link(path: &Path, bytes: u64) -> Result<()> {
    if bytes > 0 || !fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        return Ok(());
    }
    Err(Error::environment(format!(
        "cannot make database {}: it is {}, and weir makes no file through a link; name that file itself, or remove the link",
        path.display(),
        private_file::link_to(path)
    )))
}

/// Whether what SQLite keeps beside the database are files of its own. SQLite follows no links there either, but says only
/// that it cannot open the file, and writes through a second name.
pub(super) fn check_logs(path: &Path, real_path: &Path) -> Result<()> {
    let mut suffixes = ["-wal", "-shm", "-journal"].into_iter();
    suffixes
        .try_for_each(|suffix| private_file::check_own(&beside(real_path, suffix)))
        .map_err(|error| of_database(path, error))
}

/// Whether what SQLite keeps beside the database can be written to, where it is there.
fn check_access(path: &Path, real_path: &Path) -> Result<()> {
    for suffix in ["-wal", "-shm"] {
        let log = beside(real_path, suffix);
        let Ok(found) = fs::metadata(&log) else { continue };
        if rustix::fs::access(&log, Access::READ_OK | Access::WRITE_OK) == Err(Errno::ACCESS) {
            return Err(Error::environment(format!(
                "cannot open database {}: {} belongs to user {}, and this user may not write to it; give it to the user of \
                 the database (chown), or remove it together with the other of NAME-wal and NAME-shm if NAME-wal has 0 bytes \
                 and no program has it open",
                path.display(),
                log.display(),
                found.uid()
            )));
        }
    }
    Ok(())
}

/// Whether the file system is NFS or SMB.
fn is_remote(file: &File) -> bool {
    const REMOTE: [u64; 4] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42];
    rustix::fs::fstatfs(file).is_ok_and(|found| REMOTE.contains(&(found.f_type as u64 & 0xffff_ffff)))
}

/// Locks `FILE-lock`. Nothing is ever written to it.
fn lock_beside(path: &Path, real_path: &Path, database: &Metadata) -> Result<File> {
    let lock_path = beside(real_path, "-lock");
    let lock = private_file::keep_beside(&lock_path, database).map_err(|error| of_database(path, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(in_use(path)),
        Err(TryLockError::Error(cause)) => {
            let shown = lock_path.display();
            Err(Error::environment(format!("cannot lock {shown}: {cause}")))
        }
    }
}

fn of_database(path: &Path, error: Error) -> Error {
    error.context(format!("database {}", path.display()))
}
