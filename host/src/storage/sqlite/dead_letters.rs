//! Dead letters in a database: read, picked out, dropped, and handed out to be retried.

mod kept;

pub(super) use kept::{bound, count, letter_counts};

use super::{Database, DatabaseFile, connect, failure::Sqlite, filter, owner, read::open_weir, schema};
use crate::{
    error::Result,
    model::delivery::DeadLetter,
    storage::{LetterFilter, LetterName, StoredDeadLetter},
};
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params, params_from_iter, types::Value};
use std::path::Path;

impl LetterFilter {
    /// The condition in SQL, with its values.
    fn condition(&self) -> (String, Vec<Value>) {
        filter::all_of([
            ("pipeline = ?", filter::text(&self.pipeline)),
            ("step = ?", filter::text(&self.step)),
            ("instr(module, ?) = 1", filter::text(&self.module)),
            ("instr(reason, ?) > 0", filter::text(&self.reason)),
            ("sequence >= ?", filter::sequence(self.from)),
            ("sequence <= ?", filter::sequence(self.to)),
        ])
    }
}

/// What is read of a dead letter, in the order of [`letter`].
/// The last of them were added one by one.
const COLUMNS: &str = "pipeline, sequence, time_ms, step, module, reason, payload, subject, store_ms, is_row, retries, headers, \
                       written_sequence";

/// Those that older layouts do not have.
const ADDED: &str = "subject, store_ms, is_row, retries, headers, written_sequence";

fn letter(row: &Row<'_>) -> rusqlite::Result<StoredDeadLetter> {
    Ok(StoredDeadLetter {
        pipeline: row.get(0)?,
        sequence: row.get::<_, i64>(1)? as u64,
        time_ms: row.get(2)?,
        step: row.get(3)?,
        module: row.get(4)?,
        reason: row.get(5)?,
        payload: row.get(6)?,
        subject: row.get(7)?,
        store_ms: row.get(8)?,
        is_row: row.get(9)?,
        retries: row.get::<_, i64>(10)? as u64,
        headers: row.get(11)?,
        written_sequence: row.get::<_, Option<i64>>(12)?.map(|sequence| sequence as u64),
    })
}

/// Keeps a dead letter, and gives its place among the others.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    pipeline: &str,
    letter: &DeadLetter,
    retries: u64,
) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached(
            "INSERT INTO weir_dead_letter
             (pipeline, sequence, time_ms, step, module, reason, payload, subject, store_ms, is_row, retries, headers,
              written_sequence)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .insert(params![
            pipeline,
            letter.sequence as i64,
            letter.time_ms,
            &letter.step,
            &letter.module,
            &letter.reason,
            &letter.payload,
            &letter.subject,
            letter.store_ms,
            letter.is_row,
            if letter.is_row { 0 } else { retries as i64 },
            &letter.headers,
            letter.written_sequence.map(|sequence| sequence as i64),
        ])
}

/// Gives messages that wait in the outbox a copy of the payloads of the dead letters that `condition` finds, and which are
/// about to go.
pub(super) fn leave_payloads(transaction: &Transaction<'_>, condition: &str, values: &[Value]) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(&format!(
            "UPDATE weir_outbox SET letter = NULL,
                 body = (SELECT payload FROM weir_dead_letter l WHERE l.id = weir_outbox.letter)
             WHERE letter IN (SELECT id FROM weir_dead_letter WHERE {condition})"
        ))?
        .execute(params_from_iter(values))
        .map(|_| ())
}

/// Calls `each` with the dead letters of a database that `filter` lets through, in order of pipeline and sequence.
///
/// # Errors
/// When the file is no database of Weir, or `each` fails.
pub(in crate::storage) fn read_dead_letters(
    path: &Path,
    filter: &LetterFilter,
    mut each: impl FnMut(StoredDeadLetter) -> Result<()>,
) -> Result<()> {
    let wrap = || format!("cannot read dead letters of {}", path.display());
    let connection = open_weir(path)?;
    // A database that nobody has written since is of the layout that it was.
    let columns = match schema::layout(&connection).sqlite(wrap)? {
        // What decode rejected is an event; of the rest it is not known.
        ..3 => COLUMNS.replace(ADDED, "NULL, NULL, CASE WHEN module IS NULL THEN 0 END, 0, NULL, NULL"),
        3 | 4 => COLUMNS.replace(
            ADDED,
            "subject, NULL, CASE WHEN module IS NULL THEN 0 END, 0, NULL, NULL",
        ),
        5..=7 => COLUMNS.replace(ADDED, "subject, store_ms, is_row, retries, NULL, NULL"),
        _ => COLUMNS.to_owned(),
    };
    let (condition, values) = filter.condition();
    let mut statement = connection
        .prepare(&format!(
            "SELECT {columns} FROM weir_dead_letter WHERE {condition} ORDER BY pipeline, sequence, id"
        ))
        .sqlite(wrap)?;
    let mut rows = statement.query(params_from_iter(values)).sqlite(wrap)?;
    while let Some(row) = rows.next().sqlite(wrap)? {
        each(letter(row).sqlite(wrap)?)?;
    }
    Ok(())
}

/// Drops the dead letters that `filter` lets through, in one transaction, and gives how many those were. What became of
/// their events stays as it was counted; how many letters were dropped is counted beside it.
///
/// # Errors
/// When the file is no database of Weir, or cannot be written. It then is as it was.
pub(super) fn drop_dead_letters(file: &DatabaseFile, filter: &LetterFilter) -> Result<u64> {
    let path = file.path();
    let wrap = || format!("cannot drop dead letters of {}", path.display());
    drop(open_weir(path)?);
    let mut connection = connect(path)?;
    schema::prepare(&mut connection, path)?;
    let dropped = drop_letters(&mut connection, filter, file.owner());
    dropped.map(|dropped| dropped as u64).sqlite(wrap)
}

fn drop_letters(connection: &mut Connection, filter: &LetterFilter, owner: i64) -> rusqlite::Result<usize> {
    let (condition, values) = filter.condition();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    owner::take(&transaction, None, owner)?;
    transaction.execute(
        &format!(
            "UPDATE weir_pipeline SET dropped = dropped + found.letters
             FROM (SELECT pipeline, count(*) AS letters FROM weir_dead_letter WHERE {condition} GROUP BY pipeline) AS found
             WHERE found.pipeline = weir_pipeline.name"
        ),
        params_from_iter(values.clone()),
    )?;
    leave_payloads(&transaction, &condition, &values)?;
    transaction.execute(
        &format!(
            "UPDATE weir_kept SET letters = weir_kept.letters - found.letters, bytes = weir_kept.bytes - found.bytes
             FROM (SELECT pipeline, count(*) AS letters, sum(length(payload)) AS bytes FROM weir_dead_letter
                   WHERE {condition} GROUP BY pipeline) AS found
             WHERE found.pipeline = weir_kept.pipeline"
        ),
        params_from_iter(values.clone()),
    )?;
    let dropped = transaction.execute(
        &format!("DELETE FROM weir_dead_letter WHERE {condition}"),
        params_from_iter(values),
    )?;
    transaction.commit()?;
    Ok(dropped)
}

/// Dead letters of step `publish`: a stage that is called so names its module.
const OF_PUBLISH: &str = "step = 'publish' AND module IS NULL AND is_row = 1";

impl Database {
    pub(super) fn republish(&mut self, filter: &LetterFilter, keeps: bool) -> Result<u64> {
        let pipeline = self.plan.name.clone();
        let filter = LetterFilter {
            pipeline: Some(pipeline.clone()),
            ..filter.clone()
        };
        let (condition, values) = filter.condition();
        let condition = format!("{condition} AND {OF_PUBLISH}");
        let connection = &mut self.connection;
        let mut publish = || -> rusqlite::Result<u64> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let (letters, bytes): (i64, i64) = transaction.query_row(
                &format!("SELECT count(*), coalesce(sum(length(payload)), 0) FROM weir_dead_letter WHERE {condition}"),
                params_from_iter(&values),
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            if letters == 0 || !keeps {
                return Ok(letters as u64);
            }
            // The names that they had may be known to a server. These are stored with them, and so stay the same.
            transaction.execute(
                &format!(
                    "INSERT INTO weir_outbox (pipeline, subject, message_id, sequence, payload)
                     SELECT pipeline, subject, pipeline || ':' || sequence || ':' || lower(hex(randomblob(16))), sequence,
                            CAST(payload AS TEXT)
                     FROM weir_dead_letter WHERE {condition} ORDER BY sequence, id"
                ),
                params_from_iter(&values),
            )?;
            leave_payloads(&transaction, &condition, &values)?;
            transaction.execute(
                &format!("DELETE FROM weir_dead_letter WHERE {condition}"),
                params_from_iter(&values),
            )?;
            count(&transaction, &pipeline, -letters, -bytes)?;
            transaction.execute(
                "UPDATE weir_messages SET dead = dead - ?2 WHERE pipeline = ?1",
                (&pipeline, letters),
            )?;
            transaction.commit()?;
            Ok(letters as u64)
        };
        publish().sqlite(|| format!("cannot write database {}", self.path().display()))
    }

    pub(super) fn letter_names(&self, filter: &LetterFilter) -> Result<Vec<LetterName>> {
        let filter = LetterFilter {
            pipeline: Some(self.plan.name.clone()),
            ..filter.clone()
        };
        let (condition, values) = filter.condition();
        let query = format!("SELECT id, is_row FROM weir_dead_letter WHERE {condition} ORDER BY sequence, id");
        let read = || -> rusqlite::Result<Vec<LetterName>> {
            let mut statement = self.connection.prepare(&query)?;
            let names = statement.query_map(params_from_iter(values), |row| {
                Ok(LetterName {
                    id: row.get(0)?,
                    is_row: row.get(1)?,
                })
            });
            names.and_then(Iterator::collect)
        };
        read().sqlite(|| format!("cannot read dead letters of {}", self.path().display()))
    }

    pub(super) fn letter_at(&self, id: i64) -> Result<StoredDeadLetter> {
        let query = format!("SELECT {COLUMNS} FROM weir_dead_letter WHERE id = ?1");
        self.connection
            .prepare_cached(&query)
            .and_then(|mut statement| statement.query_row([id], letter))
            .sqlite(|| format!("cannot read dead letters of {}", self.path().display()))
    }
}
