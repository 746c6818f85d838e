//! Who writes to a database: each transaction sees that nobody else did since the one before.
//!
//! The lock of `file.rs` keeps a second process out. Where it cannot (a file system that forgets locks, a version of Weir
//! that knows no such lock), two processes would write over each other, each going by the state that it has in memory.
//! So whoever opens a pipeline for writing stores a number of its own with it, and a transaction that finds another number,
//! or another turn than the one that it left, ends with an error and changes nothing.

use super::failure::Sqlite;
use crate::{
    error::{Error, Result},
    storage::StoredPipeline,
};
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;

/// Makes `owner` the one who writes: of one pipeline, or of all that are there.
pub(super) fn take(connection: &Connection, pipeline: Option<&str>, owner: i64) -> rusqlite::Result<()> {
    connection
        .execute(
            "UPDATE weir_pipeline SET owner = ?1 WHERE name = ?2 OR ?2 IS NULL",
            (owner, pipeline),
        )
        .map(|_| ())
}

/// Sees, in a transaction that writes, that a pipeline is as this process left it: absent, or with these numbers.
pub(super) fn check(
    connection: &Connection,
    path: &Path,
    pipeline: &str,
    owner: i64,
    left: Option<&StoredPipeline>,
) -> Result<()> {
    let found = find(connection, path, pipeline)?;
    let expected = left.map(|left| (owner, left.turn, left.position));
    match found == expected {
        true => Ok(()),
        false => Err(intruded(
            path,
            pipeline,
            found.map(|(_, number, position)| (number, position)),
        )),
    }
}

/// The same for who knows nothing of turns.
pub(super) fn check_owner(connection: &Connection, path: &Path, pipeline: &str, owner: i64) -> Result<()> {
    match find(connection, path, pipeline)? {
        Some((found, _, _)) if found == owner => Ok(()),
        found => Err(intruded(
            path,
            pipeline,
            found.map(|(_, number, position)| (number, position)),
        )),
    }
}

fn find(connection: &Connection, path: &Path, pipeline: &str) -> Result<Option<(i64, u64, u64)>> {
    let query = "SELECT owner, epoch, position FROM weir_pipeline WHERE name = ?1";
    connection
        .prepare_cached(query)
        .and_then(|mut statement| {
            let row = statement.query_row([pipeline], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64))
            });
            row.optional()
        })
        .sqlite(|| format!("cannot read database {}", path.display()))
}

fn intruded(path: &Path, pipeline: &str, found: Option<(u64, u64)>) -> Error {
    let stands = match found {
        Some((number, position)) => {
            format!("is at turn {number}, position {position}, and not where this process left it")
        }
        None => "is not there any more".to_owned(),
    };
    Error::environment(format!(
        "database {} was written to by another process: pipeline {pipeline} {stands}; nothing was written here; see that one \
         weir alone runs over it, and start again",
        path.display()
    ))
}
