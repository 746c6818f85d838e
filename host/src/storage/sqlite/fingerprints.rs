//! What states, and the readers of changelogs, were made for.

use super::{failure::Sqlite, versions};
use crate::{
    error::Result,
    storage::{Part, Remembered, Restore, StoredPipeline},
};
use rusqlite::{Connection, OptionalExtension};
use std::collections::BTreeMap;

/// Has an engine check one part of what the pipeline has in the database, and remembers what it makes of that from here on.
///
/// # Errors
/// Why it may not go on. Nothing is written then.
pub(super) fn take_over(
    connection: &Connection,
    pipeline: &str,
    stored: &StoredPipeline,
    part: Part,
    into: &mut dyn Restore,
) -> Result<()> {
    // Before the first event nothing was made yet.
    let fingerprints = match stored.position {
        0 => into.take_over(part, None)?,
        _ => check(connection, pipeline, part, into)?,
    };
    remember(connection, pipeline, &fingerprints).sqlite(|| "cannot write what the state was made for".to_owned())
}

/// Remembers what states, or readers of changelogs, are made for from here on.
pub(super) fn remember(connection: &Connection, pipeline: &str, made: &[(String, String)]) -> rusqlite::Result<()> {
    for (name, fingerprint) in made {
        connection.execute(
            "INSERT INTO weir_state (pipeline, state, fingerprint, in_us) VALUES (?1, ?2, ?3, 1)
             ON CONFLICT (pipeline, state) DO UPDATE SET fingerprint = ?3 WHERE fingerprint <> ?3",
            (pipeline, name, fingerprint),
        )?;
    }
    Ok(())
}

/// Has an engine check one part of what the pipeline has in the database. Gives what it makes of that from here on.
///
/// # Errors
/// Why it may not go on.
pub(super) fn check(
    connection: &Connection,
    pipeline: &str,
    part: Part,
    into: &mut dyn Restore,
) -> Result<Vec<(String, String)>> {
    let read = || -> rusqlite::Result<BTreeMap<String, String>> {
        let mut statement = connection.prepare("SELECT state, fingerprint FROM weir_state WHERE pipeline = ?1")?;
        let fingerprints = statement.query_map([pipeline], |row| Ok((row.get(0)?, row.get(1)?)))?;
        fingerprints.collect()
    };
    let remembered = Remembered {
        fingerprints: read().sqlite(|| "cannot read what the state was made for".to_owned())?,
        versions: &|| versions::of_pipeline(connection, pipeline),
    };
    into.take_over(part, Some(&remembered))
}

/// What follows the name of a table where it is remembered which steps its rows come through.
const STEPS: &str = "/steps";

/// Remembers through which steps the rows of each table come, for those who ask how a row was made.
pub(super) fn remember_steps(connection: &Connection, pipeline: &str, of: &dyn Restore) -> rusqlite::Result<()> {
    for (table, steps) in of.steps_of_tables() {
        let steps = serde_json::to_string(&steps);
        connection.execute(
            "INSERT OR REPLACE INTO weir_state (pipeline, state, fingerprint) VALUES (?1, ?2, ?3)",
            (pipeline, format!("table {table}{STEPS}"), steps.unwrap_or_default()),
        )?;
    }
    Ok(())
}

/// The steps that rows of a table come through; nothing where the database was filled by a weir that did not remember it.
pub(super) fn steps_of(connection: &Connection, pipeline: &str, table: &str) -> rusqlite::Result<Option<Vec<String>>> {
    let found: Option<String> = connection
        .query_row(
            "SELECT fingerprint FROM weir_state WHERE pipeline = ?1 AND state = ?2",
            (pipeline, format!("table {table}{STEPS}")),
            |row| row.get(0),
        )
        .optional()?;
    Ok(found.and_then(|steps| serde_json::from_str(&steps).ok()))
}

/// The states whose times an older Weir wrote in milliseconds.
pub(super) fn in_ms(connection: &Connection, pipeline: &str) -> rusqlite::Result<Vec<String>> {
    // A database that is only read is left in the layout that it has.
    let layout: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let of_layout_6 = if layout < 6 { "" } else { "AND in_us = 0" };
    let mut statement = connection.prepare(&format!(
        "SELECT state FROM weir_state WHERE pipeline = ?1 {of_layout_6}"
    ))?;
    let states = statement.query_map([pipeline], |row| row.get(0))?;
    states.collect()
}
