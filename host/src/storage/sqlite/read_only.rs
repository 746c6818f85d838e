//! Connections for reading alone, which leave nothing beside the database that was not there.
//!
//! The last connection that closes removes the write-ahead log, but not one that may not write. So a reader may write,
//! where there is no log, and says that it will not. Where there is one, it belongs to a process that runs, or to one that
//! died: it is left to them.
//!
//! A user who may not write to the folder reads beside a process that runs, through the files that it has open. Who may not
//! write to the file, or to its folder, reads a database at rest as a file that nobody writes to (`immutable`), and holds a
//! shared lock on it meanwhile: a `weir run` that starts waits for the end of that.

use super::{
    BUSY_TIMEOUT,
    failure::Sqlite,
    file::{beside, check_logs, share},
    plain,
};
use crate::error::{Error, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::{
    fmt::Write,
    fs::{self, File},
    ops::Deref,
    os::unix::ffi::OsStrExt,
    path::Path,
    time::{Duration, Instant},
};

/// How often a reader looks again whether the process that starts has made its log.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A connection for reading alone.
#[derive(Debug)]
pub(super) struct Reader {
    connection: Connection,
    /// Keeps those out who would write. Closed after the connection.
    _at_rest: Option<File>,
}

impl Deref for Reader {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Opens the database at `path` for reading alone.
pub(super) fn connect_read_only(path: &Path) -> Result<Reader> {
    let wrap = || format!("cannot open database {}", path.display());
    // SQLite keeps the log beside the file that links lead to.
    let real_path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    check_logs(path, &real_path)?;
    let log = beside(&real_path, "-wal");
    let until = Instant::now() + BUSY_TIMEOUT;
    let (connection, at_rest) = loop {
        let log_bytes = fs::metadata(&log).ok().map(|log| log.len());
        let may_write = rustix::fs::access(&real_path, rustix::fs::Access::WRITE_OK).is_ok();
        let flags = match log_bytes {
            Some(_) => OpenFlags::SQLITE_OPEN_READ_ONLY,
            None => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        // SQLite would make a log of this user and leave it, for the owner to stumble over.
        let would_leave = log_bytes.is_none() && !may_write && real_path.is_file();
        let opened = match would_leave {
            true => None,
            false => Some(Connection::open_with_flags(plain(path), flags).and_then(|connection| {
                connection.busy_timeout(BUSY_TIMEOUT)?;
                connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
                Ok(connection)
            })),
        };
        let barred = match opened {
            Some(Ok(connection)) => break (connection, None),
            Some(Err(cause)) if is_barred(&cause) => cause.to_string(),
            // Who reads on says what is wrong with the file.
            Some(Err(_)) => break (Connection::open_with_flags(plain(path), flags).sqlite(wrap)?, None),
            None => "this user may not write to it".to_owned(),
        };
        let file = File::open(&real_path)
            .map_err(|cause| Error::environment(format!("cannot open database {}: {cause}", path.display())))?;
        let is_shared = share(&file);
        match log_bytes {
            // Who held it until now may have died, and left a log.
            None | Some(0) if is_shared && fs::metadata(&log).map_or(0, |log| log.len()) == 0 => {
                break (open_at_rest(&real_path).sqlite(wrap)?, Some(file));
            }
            // Its process starts or ends.
            None if Instant::now() < until => {
                drop(file);
                std::thread::sleep(LOOK_AGAIN);
            }
            _ => {
                return Err(Error::environment(format!(
                    "cannot read database {}: {barred}; part of it is in {}, which a process left that died, or which this \
                     user may not read: start the pipeline again, or read it as a user who may write to the folder",
                    path.display(),
                    log.display()
                )));
            }
        }
    };
    connection.busy_timeout(BUSY_TIMEOUT).sqlite(wrap)?;
    connection.pragma_update(None, "query_only", true).sqlite(wrap)?;
    Ok(Reader {
        connection,
        _at_rest: at_rest,
    })
}

/// Whether it is for want of permission.
fn is_barred(cause: &rusqlite::Error) -> bool {
    matches!(
        cause.sqlite_error_code(),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied)
    )
}

/// Opens a file that nobody has open for writing: without locks, and without a log.
fn open_at_rest(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(*byte)),
            byte => {
                let _ = write!(uri, "%{byte:02x}");
            }
        }
    }
    uri.push_str("?immutable=1");
    Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
}
