//! Guests that the host died of: see [`crate::model::harm`].
//!
//! The table is made with the first death, so it is no part of a layout: a database without it is one whose host never died so.
//! (An older Weir opens neither. This one brings every database to layout 7, which those before it refuse.)

use super::{DatabaseFile, connect, connect_read_only, failure::Sqlite, open, schema};
use crate::{
    error::Result,
    model::harm::{Doing, Harm, Note},
};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};
use std::path::Path;

const TABLE: &str = "
    -- How often the host died while it was at work for a guest, and what it did at the last death: `deaths` while the pipeline
    -- stood at `position`, `in_a_row` without a run in between that ended otherwise. `parameters` is a hash of them, and
    -- empty where it died of the module alone.
    CREATE TABLE IF NOT EXISTS weir_harm (
        pipeline TEXT NOT NULL, step TEXT NOT NULL, digest TEXT NOT NULL, parameters TEXT NOT NULL,
        version INTEGER NOT NULL, at_ms INTEGER NOT NULL, candidate INTEGER NOT NULL,
        doing TEXT NOT NULL, deaths INTEGER NOT NULL, in_a_row INTEGER NOT NULL, position INTEGER NOT NULL,
        run INTEGER NOT NULL,
        PRIMARY KEY (pipeline, step, digest, parameters)
    ) STRICT, WITHOUT ROWID;
";

const COLUMNS: &str =
    "pipeline, step, digest, parameters, version, at_ms, candidate, doing, deaths, in_a_row, position, run";

/// Enters in a database that this process holds what was at work when the process before died; `left` are its notes. A death
/// that is entered and still noted, since a process died in between, counts once.
///
/// Gives what was entered.
///
/// # Errors
/// When the database cannot be written, or the file is no database.
pub(super) fn enter_harms(file: &DatabaseFile, left: Vec<Note>) -> Result<Vec<Harm>> {
    let path = file.path();
    let wrap = || format!("cannot enter in database {} what the host died of", path.display());
    // Who opens it for the pipeline says what is wrong with a file of somebody else.
    if left.is_empty() && !open(path).is_ok_and(|connection| has_table(&connection)) {
        return Ok(Vec::new());
    }
    schema::is_new(&open(path)?, path)?;
    let mut connection = connect(path)?;
    schema::prepare(&mut connection, path)?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .sqlite(wrap)?;
    transaction.execute_batch(TABLE).sqlite(wrap)?;
    let mut died = Vec::new();
    for note in left.iter().cloned() {
        let position = position_of(&transaction, &note.pipeline).sqlite(wrap)?;
        let before = find(&transaction, &note).sqlite(wrap)?;
        if before.as_ref().is_some_and(|before| before.last.run == note.run) {
            continue;
        }
        let harm = Harm::after(before.as_ref(), note, position);
        write(&transaction, &harm).sqlite(wrap)?;
        died.push(harm);
    }
    // Those that were not at work this time.
    for harm in all(&transaction).sqlite(wrap)? {
        let is_at_work = left.iter().any(|note| is_same(note, &harm.last));
        if is_at_work || harm.is_too_much() {
            continue;
        }
        match position_of(&transaction, &harm.last.pipeline).sqlite(wrap)? > harm.position {
            true => remove(&transaction, &harm.last).sqlite(wrap)?,
            false => write(&transaction, &Harm { in_a_row: 0, ..harm }).sqlite(wrap)?,
        }
    }
    transaction.commit().sqlite(wrap)?;
    Ok(died)
}

/// What the host died of in a pipeline; nothing where there is no such database yet.
///
/// # Errors
/// When the database is damaged.
pub(in crate::storage) fn read_harms(path: &Path, pipeline: &str) -> Result<Vec<Harm>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let connection = connect_read_only(path)?;
    // As above.
    if !has_table(&connection) {
        return Ok(Vec::new());
    }
    let harms =
        all(&connection).sqlite(|| format!("cannot read in database {} what the host died of", path.display()))?;
    Ok(harms
        .into_iter()
        .filter(|harm| harm.last.pipeline == pipeline)
        .collect())
}

/// Forgets that the host died of a guest, or of any of a pipeline.
///
/// # Errors
/// When the database cannot be written.
pub(super) fn forget_harms(file: &DatabaseFile, pipeline: &str, guest: Option<&Harm>) -> Result<()> {
    let path = file.path();
    let wrap = || format!("cannot write database {}", path.display());
    let connection = open(path)?;
    if !has_table(&connection) {
        return Ok(());
    }
    match guest {
        Some(harm) => remove(&connection, &harm.last),
        None => connection
            .execute("DELETE FROM weir_harm WHERE pipeline = ?1", [pipeline])
            .map(|_| ()),
    }
    .sqlite(wrap)
}

fn is_same(a: &Note, b: &Note) -> bool {
    (&a.pipeline, &a.step, &a.digest, &a.parameters) == (&b.pipeline, &b.step, &b.digest, &b.parameters)
}

fn has_table(connection: &Connection) -> bool {
    let query = "SELECT count(*) FROM sqlite_schema WHERE name = 'weir_harm'";
    connection
        .query_row(query, [], |row| row.get::<_, i64>(0))
        .is_ok_and(|count| count > 0)
}

fn position_of(connection: &Connection, pipeline: &str) -> rusqlite::Result<u64> {
    let query = "SELECT position FROM weir_pipeline WHERE name = ?1";
    let position = connection
        .query_row(query, [pipeline], |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(position.map_or(0, i64::cast_unsigned))
}

fn find(connection: &Connection, note: &Note) -> rusqlite::Result<Option<Harm>> {
    let query = format!(
        "SELECT {COLUMNS} FROM weir_harm WHERE pipeline = ?1 AND step = ?2 AND digest = ?3 AND parameters = ?4"
    );
    let key = (&note.pipeline, &note.step, &note.digest, &note.parameters);
    connection.query_row(&query, key, harm_of).optional()
}

fn all(connection: &Connection) -> rusqlite::Result<Vec<Harm>> {
    let mut statement = connection.prepare(&format!(
        "SELECT {COLUMNS} FROM weir_harm ORDER BY pipeline, step, version"
    ))?;
    let harms = statement.query_map([], harm_of)?;
    harms.collect()
}

fn harm_of(row: &Row<'_>) -> rusqlite::Result<Harm> {
    let unsigned = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
    let doing: String = row.get(7)?;
    Ok(Harm {
        last: Note {
            pipeline: row.get(0)?,
            step: row.get(1)?,
            digest: row.get(2)?,
            parameters: row.get(3)?,
            version: unsigned(4)?,
            at_ms: row.get(5)?,
            candidate: row.get(6)?,
            doing: Doing::of_name(&doing).unwrap_or(Doing::Call),
            run: unsigned(11)?,
        },
        deaths: unsigned(8)?,
        in_a_row: unsigned(9)?,
        position: unsigned(10)?,
    })
}

fn write(connection: &Connection, harm: &Harm) -> rusqlite::Result<()> {
    let last = &harm.last;
    connection
        .execute(
            &format!("INSERT OR REPLACE INTO weir_harm ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"),
            rusqlite::params![
                last.pipeline,
                last.step,
                last.digest,
                last.parameters,
                last.version.cast_signed(),
                last.at_ms,
                last.candidate,
                last.doing.name(),
                harm.deaths.cast_signed(),
                harm.in_a_row.cast_signed(),
                harm.position.cast_signed(),
                last.run.cast_signed(),
            ],
        )
        .map(|_| ())
}

fn remove(connection: &Connection, note: &Note) -> rusqlite::Result<()> {
    let delete = "DELETE FROM weir_harm WHERE pipeline = ?1 AND step = ?2 AND digest = ?3 AND parameters = ?4";
    let key = (&note.pipeline, &note.step, &note.digest, &note.parameters);
    connection.execute(delete, key).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(run: u64, step: &str) -> Note {
        Note {
            run,
            doing: Doing::Call,
            pipeline: "orders".to_owned(),
            step: step.to_owned(),
            version: 3,
            at_ms: 9,
            candidate: false,
            digest: "d".repeat(64),
            parameters: "p".repeat(32),
        }
    }

    fn counts(file: &DatabaseFile) -> Vec<(String, u64, u64)> {
        let harms = read_harms(file.path(), "orders").expect("they can be read");
        let counts = harms
            .into_iter()
            .map(|harm| (harm.last.step, harm.deaths, harm.in_a_row));
        counts.collect()
    }

    #[test]
    fn deaths_are_entered_once_and_forgotten_with_progress() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = DatabaseFile::hold(&folder.path().join("a.db")).expect("it can be held");
        assert_eq!(enter_harms(&file, Vec::new()).expect("there is nothing"), []);
        assert!(
            file.has_no_bytes().expect("it can be looked at"),
            "nothing is made for nothing"
        );
        enter_harms(&file, vec![note(1, "a"), note(1, "b")]).expect("they are entered");
        enter_harms(&file, vec![note(1, "a")]).expect("it is known");
        assert_eq!(counts(&file), [("a".to_owned(), 1, 1), ("b".to_owned(), 1, 0)]);
        enter_harms(&file, vec![note(2, "a")]).expect("it is entered");
        assert_eq!(counts(&file), [("a".to_owned(), 2, 2), ("b".to_owned(), 1, 0)]);

        let move_to = |position: i64| {
            let connection = open(file.path()).expect("it can be opened");
            let row = "INSERT OR REPLACE INTO weir_pipeline (name, position, epoch, content_hash, seed, events, applied, filtered,
                dead_letters, blank) VALUES ('orders', ?1, 0, 0, 0, 0, 0, 0, 0, 0)";
            connection.execute(row, [position]).expect("it can be written");
        };
        move_to(5);
        enter_harms(&file, vec![note(3, "a")]).expect("it is entered");
        assert_eq!(
            counts(&file),
            [("a".to_owned(), 1, 3)],
            "a version that the host came further with is cleared"
        );
        enter_harms(&file, vec![note(4, "a")]).expect("it is entered");
        enter_harms(&file, vec![note(5, "a")]).expect("it is entered");
        move_to(9);
        enter_harms(&file, Vec::new()).expect("there is nothing");
        assert_eq!(
            counts(&file),
            [("a".to_owned(), 3, 5)],
            "what is not run any more stays so"
        );
        forget_harms(&file, "orders", None).expect("they can be forgotten");
        assert_eq!(counts(&file), []);
    }
}
