//! The outbox: messages that are committed and not yet known to be published.

use super::{commit::of_retry, connect, failure::Sqlite};
use crate::{
    delivery::DeadLetter,
    error::{Context, Result},
    fail_point,
    plan::Plan,
    text::printable,
};
use rusqlite::{Connection, Transaction, params_from_iter, types::Value};
use std::{
    collections::BTreeSet,
    iter,
    path::{Path, PathBuf},
};

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// Its place in the outbox.
    pub id: i64,
    /// The subject.
    pub subject: String,
    /// The name by which the server drops a second copy.
    pub message_id: String,
    /// What is published: the row as a JSON object, or the payload of a dead letter.
    pub payload: Vec<u8>,
    /// Names and values beside the message id; none but with a dead letter.
    pub headers: Vec<(String, String)>,
}

impl OutgoingMessage {
    /// Whether it is a dead letter.
    pub fn is_letter(&self) -> bool {
        !self.headers.is_empty()
    }
}

/// Puts the dead letters of a turn into the outbox, each as a message of its own.
pub(super) fn write_letters(
    transaction: &Transaction<'_>,
    plan: &Plan,
    subject: &str,
    letters: &[DeadLetter],
    retries: impl Fn(u64) -> u64,
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO weir_outbox (pipeline, subject, message_id, sequence, payload, headers, body)
         VALUES (?1, ?2, ?3, ?4, '', ?5, ?6)",
    )?;
    // The letters of an event stand together: itself, and rows of windows that it ended.
    let (mut sequence, mut ordinal) = (0, 0);
    for letter in letters {
        ordinal = if letter.sequence == sequence { ordinal + 1 } else { 0 };
        sequence = letter.sequence;
        let retries = retries(sequence);
        let id = format!("{}:{sequence}:{}#dead-letter.{ordinal}", plan.stream, plan.name);
        let headers = headers(plan, letter, retries);
        let headers = serde_json::to_string(&headers)
            .map_err(|cause| rusqlite::Error::ToSqlConversionFailure(Box::new(cause)))?;
        insert.execute((
            &plan.name,
            subject,
            of_retry(id, retries),
            sequence as i64,
            headers,
            &letter.payload,
        ))?;
    }
    Ok(())
}

/// What is said of a dead letter beside its payload.
fn headers(plan: &Plan, letter: &DeadLetter, retries: u64) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("Weir-Stream", plan.stream.clone()),
        ("Weir-Sequence", letter.sequence.to_string()),
        ("Weir-Pipeline", plan.name.clone()),
        ("Weir-Step", letter.step.clone()),
        ("Weir-Reason", letter.reason.clone()),
    ];
    headers.extend(letter.subject.clone().map(|subject| ("Weir-Subject", subject)));
    headers.extend(letter.module.clone().map(|module| ("Weir-Module", module)));
    if letter.is_row {
        headers.push(("Weir-Row", "true".to_owned()));
    }
    if retries > 0 {
        headers.push(("Weir-Retries", retries.to_string()));
    }
    // A line break would end the header.
    headers.iter_mut().for_each(|(_, value)| *value = printable(value));
    headers
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

    /// The oldest messages, up to `count` of them, but for those to the subjects `without`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn oldest(&self, count: usize, without: &BTreeSet<String>) -> Result<Vec<OutgoingMessage>> {
        let wrap = || format!("cannot read the outbox of {}", self.path.display());
        let marks = vec!["?"; without.len()].join(", ");
        let mut statement = self
            .connection
            .prepare_cached(&format!(
                "SELECT id, subject, message_id, coalesce(body, CAST(payload AS BLOB)), headers FROM weir_outbox
                 WHERE pipeline = ? AND subject NOT IN ({marks}) ORDER BY id LIMIT ?"
            ))
            .sqlite(wrap)?;
        let texts = iter::once(&self.pipeline).chain(without);
        let values = texts.map(|text| Value::Text(text.clone()));
        let values = params_from_iter(values.chain(iter::once(Value::Integer(count as i64))));
        let rows = statement.query_map(values, |row| {
            let headers: Option<String> = row.get(4)?;
            let message = OutgoingMessage {
                id: row.get(0)?,
                subject: row.get(1)?,
                message_id: row.get(2)?,
                payload: row.get(3)?,
                headers: Vec::new(),
            };
            Ok((message, headers))
        });
        let mut messages = Vec::new();
        for row in rows.sqlite(wrap)? {
            let (mut message, headers) = row.sqlite(wrap)?;
            if let Some(headers) = headers {
                message.headers = serde_json::from_str(&headers).environment(wrap)?;
            }
            messages.push(message);
        }
        Ok(messages)
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
