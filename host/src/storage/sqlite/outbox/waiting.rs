//! Messages that wait in an outbox, for people: read, picked out, and dropped.

use crate::{
    error::Result,
    storage::{
        MessageFilter, WaitingMessage,
        sqlite::{DatabaseFile, connect, failure::Sqlite, filter, owner, read::open_weir, schema},
    },
};
use rusqlite::{Connection, TransactionBehavior, params_from_iter, types::Value};
use std::path::Path;

impl MessageFilter {
    /// The condition in SQL, with its values.
    fn condition(&self) -> (String, Vec<Value>) {
        filter::all_of([
            ("o.pipeline = ?", filter::text(&self.pipeline)),
            ("o.subject = ?", filter::text(&self.subject)),
            ("o.sequence >= ?", filter::sequence(self.from)),
            ("o.sequence <= ?", filter::sequence(self.to)),
        ])
    }
}

/// Calls `each` with the messages that wait in a database and that `filter` lets through, in the order in which those of a
/// subject are published.
///
/// # Errors
/// When the file is no database of Weir, or `each` fails.
pub(in crate::storage::sqlite) fn read_outbox(
    path: &Path,
    filter: &MessageFilter,
    mut each: impl FnMut(WaitingMessage) -> Result<()>,
) -> Result<()> {
    let wrap = || format!("cannot read the outbox of {}", path.display());
    let connection = open_weir(path)?;
    // A database that nobody has written since is of the layout that it was.
    let (payload, is_letter, letters) = match schema::layout(&connection).sqlite(wrap)? {
        ..5 => ("CAST(o.payload AS BLOB)", "0", ""),
        5 => ("coalesce(o.body, CAST(o.payload AS BLOB))", "o.headers IS NOT NULL", ""),
        _ => (
            "coalesce(o.body, l.payload, CAST(o.payload AS BLOB))",
            "o.headers IS NOT NULL",
            "LEFT JOIN weir_dead_letter l ON l.id = o.letter",
        ),
    };
    let (condition, values) = filter.condition();
    let mut statement = connection
        .prepare(&format!(
            "SELECT o.pipeline, o.subject, o.message_id, o.sequence, {is_letter}, {payload} FROM weir_outbox o {letters}
             WHERE {condition} ORDER BY o.pipeline, o.id"
        ))
        .sqlite(wrap)?;
    let mut rows = statement.query(params_from_iter(values)).sqlite(wrap)?;
    while let Some(row) = rows.next().sqlite(wrap)? {
        let message = || -> rusqlite::Result<WaitingMessage> {
            Ok(WaitingMessage {
                pipeline: row.get(0)?,
                subject: row.get(1)?,
                message_id: row.get(2)?,
                sequence: row.get::<_, i64>(3)? as u64,
                is_letter: row.get(4)?,
                payload: row.get(5)?,
            })
        };
        each(message().sqlite(wrap)?)?;
    }
    Ok(())
}

/// Drops the messages that `filter` lets through, in one transaction, and gives how many those were. They are counted.
///
/// # Errors
/// When the file is no database of Weir, or cannot be written. It then is as it was.
pub(in crate::storage::sqlite) fn drop_messages(file: &DatabaseFile, filter: &MessageFilter) -> Result<u64> {
    let path = file.path();
    let wrap = || format!("cannot drop messages of {}", path.display());
    drop(open_weir(path)?);
    let mut connection = connect(path)?;
    schema::prepare(&mut connection, path)?;
    drop_waiting(&mut connection, filter, file.owner())
        .map(|dropped| dropped as u64)
        .sqlite(wrap)
}

fn drop_waiting(connection: &mut Connection, filter: &MessageFilter, owner: i64) -> rusqlite::Result<usize> {
    let (condition, values) = filter.condition();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    owner::take(&transaction, None, owner)?;
    transaction.execute(
        &format!(
            "UPDATE weir_messages SET dropped = dropped + found.messages
             FROM (SELECT o.pipeline, count(*) AS messages FROM weir_outbox o WHERE {condition} GROUP BY o.pipeline) AS found
             WHERE found.pipeline = weir_messages.pipeline"
        ),
        params_from_iter(values.clone()),
    )?;
    let dropped = transaction.execute(
        &format!("DELETE FROM weir_outbox AS o WHERE {condition}"),
        params_from_iter(values),
    )?;
    transaction.commit()?;
    Ok(dropped)
}
