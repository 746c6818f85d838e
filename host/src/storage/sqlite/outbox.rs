//! The outbox: messages that are committed and not yet known to be published.

mod names;
mod outgoing;
mod waiting;

use names::MessageNames;
pub(super) use outgoing::Outgoing;
pub(super) use waiting::{drop_messages, read_outbox};

use super::{DatabaseFile, checkpoint, connect, dead_letters, failure::Sqlite, owner, read::open_weir};
use crate::{
    error::{Context, Result},
    fail_point,
    model::delivery::DeadLetter,
    plan::Plan,
    storage::{self, MessageCounts, OutgoingMessage, PUBLISH, StoredAt},
    text::printable,
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params_from_iter, types::Value};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    iter,
    path::Path,
};

/// What is known of the messages of a pipeline in the database at `path`.
///
/// # Errors
/// When the file is no database of Weir.
pub(super) fn read_message_counts(path: &Path, pipeline: &str) -> Result<MessageCounts> {
    let connection = open_weir(path)?;
    message_counts(&connection, pipeline).sqlite(|| format!("cannot read database {}", path.display()))
}

pub(super) fn message_counts(connection: &Connection, pipeline: &str) -> rusqlite::Result<MessageCounts> {
    // A database that nobody has written since is of the layout that it was.
    let Ok(mut statement) =
        connection.prepare("SELECT unpublished, dead, dropped FROM weir_messages WHERE pipeline = ?1")
    else {
        return Ok(MessageCounts::default());
    };
    let counts = statement.query_row([pipeline], |row| {
        let unsigned = |index| row.get::<_, i64>(index).map(|value| value as u64);
        Ok(MessageCounts {
            unpublished: unsigned(0)?,
            dead: unsigned(1)?,
            dropped: unsigned(2)?,
        })
    });
    Ok(counts.optional()?.unwrap_or_default())
}

/// Puts the dead letters of a turn into the outbox, each as a message of its own: `ids` are their places among the dead
/// letters, where their payloads are. Gives how many lie before `first`, the event from which on messages are published.
fn write_letters(
    transaction: &Transaction<'_>,
    plan: &Plan,
    names: &MessageNames,
    (subject, first): (&str, u64),
    letters: impl Iterator<Item = (i64, DeadLetter)>,
    retries: impl Fn(u64) -> u64,
) -> rusqlite::Result<u64> {
    // The letters of an event stand together: itself, and rows of windows that it ended.
    let (mut sequence, mut ordinal, mut unpublished) = (0, 0, 0);
    for (id, letter) in letters {
        ordinal = if letter.sequence == sequence { ordinal + 1 } else { 0 };
        sequence = letter.sequence;
        if sequence < first {
            unpublished += 1;
            continue;
        }
        let retries = retries(sequence);
        let headers = headers(plan, &letter, retries);
        let name = names.name(sequence, "#dead-letter", ordinal, retries);
        insert_letter(transaction, &plan.name, subject, &name, (sequence as i64, id), &headers)?;
    }
    Ok(unpublished)
}

/// Puts a dead letter into the outbox, which refers to the letter for its payload.
fn insert_letter(
    transaction: &Transaction<'_>,
    pipeline: &str,
    subject: &str,
    name: &str,
    (sequence, letter): (i64, i64),
    headers: &[(&'static str, String)],
) -> rusqlite::Result<()> {
    let headers =
        serde_json::to_string(headers).map_err(|cause| rusqlite::Error::ToSqlConversionFailure(Box::new(cause)))?;
    transaction
        .prepare_cached(
            "INSERT INTO weir_outbox (pipeline, subject, message_id, sequence, payload, headers, letter)
             VALUES (?1, ?2, ?3, ?4, '', ?5, ?6)",
        )?
        .execute((pipeline, subject, name, sequence, headers, letter))
        .map(|_| ())
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
pub(in crate::storage) struct Outbox {
    connection: Connection,
    pipeline: String,
    file: DatabaseFile,
}

impl Outbox {
    /// Opens the outbox of `pipeline` in a database.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub(in crate::storage) fn open(file: &DatabaseFile, pipeline: &str) -> Result<Self> {
        let connection = connect(file.path())?;
        owner::take(&connection, Some(pipeline), file.owner())
            .sqlite(|| format!("cannot write the outbox of {}", file.path().display()))?;
        Ok(Self {
            connection,
            pipeline: pipeline.to_owned(),
            file: file.clone(),
        })
    }

    fn path(&self) -> &Path {
        self.file.path()
    }
}

impl storage::Outbox for Outbox {
    fn oldest(&self, count: usize, bytes: usize, without: &BTreeSet<String>) -> Result<Vec<OutgoingMessage>> {
        let wrap = || format!("cannot read the outbox of {}", self.path().display());
        let marks = vec!["?"; without.len()].join(", ");
        let mut statement = self
            .connection
            .prepare_cached(&format!(
                "SELECT o.id, o.subject, o.message_id, coalesce(o.body, l.payload, CAST(o.payload AS BLOB)), o.headers
                 FROM weir_outbox o LEFT JOIN weir_dead_letter l ON l.id = o.letter
                 WHERE o.pipeline = ? AND o.subject NOT IN ({marks}) ORDER BY o.id LIMIT ?"
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
        let (mut messages, mut held) = (Vec::new(), 0);
        for row in rows.sqlite(wrap)? {
            let (mut message, headers) = row.sqlite(wrap)?;
            if let Some(headers) = headers {
                message.headers = serde_json::from_str(&headers).environment(wrap)?;
            }
            held += message.payload.len();
            messages.push(message);
            if held >= bytes {
                break;
            }
        }
        Ok(messages)
    }

    fn subjects(&self) -> Result<Vec<String>> {
        let wrap = || format!("cannot read the outbox of {}", self.path().display());
        let mut statement = self
            .connection
            .prepare("SELECT DISTINCT subject FROM weir_outbox WHERE pipeline = ?1")
            .sqlite(wrap)?;
        let subjects = statement.query_map([&self.pipeline], |row| row.get(0)).sqlite(wrap)?;
        subjects.collect::<rusqlite::Result<_>>().sqlite(wrap)
    }

    fn names(&self, subject: &str, count: usize) -> Result<HashMap<String, i64>> {
        let wrap = || format!("cannot read the outbox of {}", self.path().display());
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT message_id, id FROM weir_outbox WHERE pipeline = ?1 AND subject = ?2 ORDER BY id LIMIT ?3",
            )
            .sqlite(wrap)?;
        let names = statement
            .query_map((&self.pipeline, subject, count as i64), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .sqlite(wrap)?;
        names.collect::<rusqlite::Result<_>>().sqlite(wrap)
    }

    fn last_stored(&self, subject: &str) -> Result<Option<StoredAt>> {
        let query = "SELECT stream, sequence FROM weir_subject
                     WHERE pipeline = ?1 AND subject = ?2 AND stream IS NOT NULL AND sequence IS NOT NULL";
        self.connection
            .query_row(query, (&self.pipeline, subject), |row| {
                Ok(StoredAt {
                    stream: row.get(0)?,
                    sequence: row.get::<_, i64>(1)? as u64,
                })
            })
            .optional()
            .sqlite(|| format!("cannot read the outbox of {}", self.path().display()))
    }

    fn waiting(&self) -> Result<u64> {
        self.connection
            .query_row(
                "SELECT count(*) FROM weir_outbox WHERE pipeline = ?1",
                [&self.pipeline],
                |row| row.get::<_, i64>(0),
            )
            .map(|count| count as u64)
            .sqlite(|| format!("cannot read the outbox of {}", self.path().display()))
    }

    fn remove(&self, ids: &[i64], stored: &BTreeMap<String, StoredAt>) -> Result<()> {
        let wrap = || format!("cannot write the outbox of {}", self.path().display());
        if ids.is_empty() && stored.is_empty() {
            return Ok(());
        }
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).sqlite(wrap)?;
        // The places of messages are given again: what another process wrote must not go for what was here.
        owner::check_owner(&transaction, self.file.path(), &self.pipeline, self.file.owner())?;
        {
            let mut delete = transaction
                .prepare_cached("DELETE FROM weir_outbox WHERE id = ?1")
                .sqlite(wrap)?;
            for id in ids {
                delete.execute([id]).sqlite(wrap)?;
            }
            let mut remember = transaction
                .prepare_cached(
                    "INSERT INTO weir_subject (pipeline, subject, stream, sequence) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (pipeline, subject) DO UPDATE SET stream = excluded.stream, sequence = excluded.sequence",
                )
                .sqlite(wrap)?;
            for (subject, StoredAt { stream, sequence }) in stored {
                remember
                    .execute((&self.pipeline, subject, stream, *sequence as i64))
                    .sqlite(wrap)?;
            }
        }
        fail_point::pass("in-remove");
        transaction.commit().sqlite(wrap)
    }

    fn bury(&self, plan: &Plan, message: &OutgoingMessage, reason: &str) -> Result<()> {
        let wrap = || format!("cannot write the outbox of {}", self.path().display());
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).sqlite(wrap)?;
        owner::check_owner(&transaction, self.file.path(), &self.pipeline, self.file.owner())?;
        let bury = || -> rusqlite::Result<()> {
            let sequence: i64 = transaction.query_row(
                "DELETE FROM weir_outbox WHERE id = ?1 RETURNING sequence",
                [message.id],
                |row| row.get(0),
            )?;
            let letter = DeadLetter {
                sequence: sequence as u64,
                subject: Some(message.subject.clone()),
                headers: None,
                written_sequence: None,
                // When the server refused it, which no event decides.
                time_ms: jiff::Timestamp::now().as_millisecond(),
                store_ms: None,
                step: PUBLISH.to_owned(),
                module: None,
                reason: reason.to_owned(),
                payload: message.payload.clone(),
                is_row: true,
            };
            let id = dead_letters::insert(&transaction, &self.pipeline, &letter, 0)?;
            dead_letters::count(&transaction, &self.pipeline, 1, letter.payload.len() as i64)?;
            transaction.execute(
                "UPDATE weir_messages SET dead = dead + 1 WHERE pipeline = ?1",
                [&self.pipeline],
            )?;
            if let Some(subject) = &plan.dead_letters {
                insert_letter(
                    &transaction,
                    &self.pipeline,
                    subject,
                    &format!("{}#dead-letter", message.message_id),
                    (sequence, id),
                    &headers(plan, &letter, 0),
                )?;
            }
            Ok(())
        };
        bury().sqlite(wrap)?;
        transaction.commit().sqlite(wrap)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        checkpoint::before_close(&self.connection, &self.file.beside("-wal"));
    }
}
