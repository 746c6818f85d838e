//! The outbox: messages that are committed and not yet known to be published.

use super::{connect, failure::Sqlite};
use crate::{error::Result, fail_point};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// Its place in the outbox.
    pub id: i64,
    /// The subject.
    pub subject: String,
    /// The name by which the server drops a second copy.
    pub message_id: String,
    /// The row as a JSON object.
    pub payload: String,
}

/// The outbox of one pipeline, on a connection of its own.
#[derive(Debug)]
pub struct Outbox {
    connection: Connection,
    pipeline: String,
    path: PathBuf,
}

impl Outbox {
    /// Opens the outbox of `pipeline` in the database at `path`.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub fn open(path: &Path, pipeline: &str) -> Result<Self> {
        Ok(Self {
            connection: connect(path)?,
            pipeline: pipeline.to_owned(),
            path: path.to_owned(),
        })
    }

    /// The oldest messages, up to `count` of them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn oldest(&self, count: usize) -> Result<Vec<OutgoingMessage>> {
        let wrap = || format!("cannot read the outbox of {}", self.path.display());
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT id, subject, message_id, payload FROM weir_outbox WHERE pipeline = ?1 ORDER BY id LIMIT ?2",
            )
            .sqlite(wrap)?;
        let rows = statement.query_map((&self.pipeline, count as i64), |row| {
            Ok(OutgoingMessage {
                id: row.get(0)?,
                subject: row.get(1)?,
                message_id: row.get(2)?,
                payload: row.get(3)?,
            })
        });
        rows.and_then(Iterator::collect).sqlite(wrap)
    }

    /// How many messages wait.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn waiting(&self) -> Result<u64> {
        self.connection
            .query_row(
                "SELECT count(*) FROM weir_outbox WHERE pipeline = ?1",
                [&self.pipeline],
                |row| row.get::<_, i64>(0),
            )
            .map(|count| count as u64)
            .sqlite(|| format!("cannot read the outbox of {}", self.path.display()))
    }

    /// Removes messages that the server has.
    ///
    /// # Errors
    /// When the database cannot be written. The messages are published again then, and dropped by the server.
    pub fn remove(&self, ids: &[i64]) -> Result<()> {
        let wrap = || format!("cannot write the outbox of {}", self.path.display());
        let transaction = self.connection.unchecked_transaction().sqlite(wrap)?;
        {
            let mut delete = transaction
                .prepare_cached("DELETE FROM weir_outbox WHERE id = ?1")
                .sqlite(wrap)?;
            for id in ids {
                delete.execute([id]).sqlite(wrap)?;
            }
        }
        fail_point::pass("in-remove");
        transaction.commit().sqlite(wrap)
    }
}
