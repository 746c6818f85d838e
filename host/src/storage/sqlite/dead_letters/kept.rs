//! How many dead letters are held, and that they are not too many.

use crate::{plan::KeepPlan, storage::LetterCounts};
use rusqlite::{Connection, OptionalExtension, Transaction};

/// Dead letters that are looked at in one go for some that can go.
const LOOK_AT_ONCE: i64 = 4096;

pub(in crate::storage::sqlite) fn letter_counts(
    connection: &Connection,
    pipeline: &str,
) -> rusqlite::Result<LetterCounts> {
    // A database that nobody has written since is of the layout that it was.
    let Ok(mut statement) =
        connection.prepare_cached("SELECT letters, bytes, let_go FROM weir_kept WHERE pipeline = ?1")
    else {
        return connection.query_row(
            "SELECT count(*), coalesce(sum(length(payload)), 0) FROM weir_dead_letter WHERE pipeline = ?1",
            [pipeline],
            |row| {
                Ok(LetterCounts {
                    held: row.get::<_, i64>(0)? as u64,
                    bytes: row.get::<_, i64>(1)? as u64,
                    let_go: 0,
                })
            },
        );
    };
    let counts = statement.query_row([pipeline], |row| {
        let unsigned = |index| row.get::<_, i64>(index).map(|value| value as u64);
        Ok(LetterCounts {
            held: unsigned(0)?,
            bytes: unsigned(1)?,
            let_go: unsigned(2)?,
        })
    });
    Ok(counts.optional()?.unwrap_or_default())
}

/// Counts dead letters that came, or went where the numbers are negative.
pub(in crate::storage::sqlite) fn count(
    transaction: &Transaction<'_>,
    pipeline: &str,
    letters: i64,
    bytes: i64,
) -> rusqlite::Result<()> {
    if letters == 0 {
        return Ok(());
    }
    transaction
        .prepare_cached(
            "INSERT INTO weir_kept (pipeline, letters, bytes, let_go) VALUES (?1, ?2, ?3, 0)
             ON CONFLICT (pipeline) DO UPDATE SET letters = letters + ?2, bytes = bytes + ?3",
        )?
        .execute((pipeline, letters, bytes))
        .map(|_| ())
}

/// Lets the oldest dead letters go, as far as more are held than `keep` says; `time_ms` is the store time of the last event.
/// The newest is kept in any case, and so are those that wait to be published, until they are.
///
/// What is left does not depend on where turns end: of all letters it is as many of the newest as fit.
pub(in crate::storage::sqlite) fn bound(
    transaction: &Transaction<'_>,
    pipeline: &str,
    keep: KeepPlan,
    time_ms: Option<i64>,
) -> rusqlite::Result<()> {
    let oldest_ms = keep.age_ms.zip(time_ms).map(|(age, time)| time.saturating_sub(age));
    let counts = letter_counts(transaction, pipeline)?;
    let (mut letters, mut bytes) = (counts.held as i64, counts.bytes as i64);
    let (rows_max, bytes_max) = (signed(keep.rows), signed(keep.bytes));
    if letters <= 1 || (letters <= rows_max && bytes <= bytes_max && oldest_ms.is_none()) {
        return Ok(());
    }
    let newest: i64 = transaction
        .prepare_cached("SELECT max(id) FROM weir_dead_letter WHERE pipeline = ?1")?
        .query_row([pipeline], |row| row.get(0))?;
    let mut look = transaction.prepare_cached(
        "SELECT id, length(payload), coalesce(store_ms, time_ms),
                EXISTS (SELECT 1 FROM weir_outbox o WHERE o.letter = l.id)
         FROM weir_dead_letter l WHERE pipeline = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    )?;
    let mut delete = transaction.prepare_cached("DELETE FROM weir_dead_letter WHERE id = ?1")?;
    let (mut after, mut gone, mut gone_bytes) = (0, 0, 0);
    loop {
        let found = look.query_map((pipeline, after, LOOK_AT_ONCE), |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, bool>(3)?,
            ))
        });
        let found: Vec<(i64, i64, i64, bool)> = found.and_then(Iterator::collect)?;
        let gone_before = gone;
        let mut fits = found.is_empty();
        for (id, size, time_ms, waits) in found {
            let too_many = letters > rows_max || bytes > bytes_max || oldest_ms.is_some_and(|oldest| time_ms < oldest);
            if !too_many || id >= newest {
                fits = true;
                break;
            }
            after = id;
            if waits {
                continue;
            }
            delete.execute([id])?;
            (letters, bytes) = (letters - 1, bytes - size);
            (gone, gone_bytes) = (gone + 1, gone_bytes + size);
        }
        // Where none could go, all of them wait to be published: they go later.
        if fits || gone == gone_before {
            break;
        }
    }
    if gone > 0 {
        transaction
            .prepare_cached(
                "UPDATE weir_kept SET letters = letters - ?2, bytes = bytes - ?3, let_go = let_go + ?2 WHERE pipeline = ?1",
            )?
            .execute((pipeline, gone, gone_bytes))?;
    }
    Ok(())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
