//! Connections for reading alone, which leave nothing beside the database that was not there.
//!
//! The last connection that closes removes the write-ahead log, but not one that may not write. So a reader may write,
//! where there is no log, and says that it will not. Where there is one, it belongs to a process that runs, or to one that
//! died: it is left to them.
//!
//! A user who may not write to the folder reads beside a process that runs, through the files that it has open; and a
//! database at rest as a file that nobody writes to (`immutable`).

use super::{BUSY_TIMEOUT, failure::Sqlite, file::beside};
use crate::error::{Error, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::{fmt::Write, fs, os::unix::ffi::OsStrExt, path::Path};

/// Opens the database at `path` for reading alone.
pub(crate) fn connect_read_only(path: &Path) -> Result<Connection> {
    let wrap = || format!("cannot open database {}", path.display());
    // SQLite keeps the log beside the file that links lead to.
    let real_path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let log = beside(&real_path, "-wal");
    let log_bytes = fs::metadata(&log).ok().map(|log| log.len());
    let flags = match log_bytes {
        Some(_) => OpenFlags::SQLITE_OPEN_READ_ONLY,
        None => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    });
    let connection = match opened {
        Err(cause) if is_barred(&cause) && fs::File::open(path).is_ok() => match log_bytes {
            None | Some(0) => open_at_rest(&real_path).sqlite(wrap)?,
            Some(_) => {
                return Err(Error::environment(format!(
                    "cannot read database {}: {cause}; part of it is in {}, which a process left that died, or which this user \
                     may not read: start the pipeline again, or read it as a user who may write to the folder",
                    path.display(),
                    log.display()
                )));
            }
        },
        // Who reads on says what is wrong with the file.
        Err(_) => Connection::open_with_flags(path, flags).sqlite(wrap)?,
        Ok(connection) => connection,
    };
    connection.busy_timeout(BUSY_TIMEOUT).sqlite(wrap)?;
    connection.pragma_update(None, "query_only", true).sqlite(wrap)?;
    Ok(connection)
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
