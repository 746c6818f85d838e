//! What states, and the readers of changelogs, were made for.

use super::{StoredPipeline, failure::Sqlite, versions};
use crate::{
    engine::{Engine, Made},
    error::Result,
    plan::Plan,
};
use rusqlite::{Connection, OptionalExtension};

/// Whether an engine may go on with what the pipeline has in the database, and remembers what it makes from here on: of
/// `what`, states or readers.
///
/// # Errors
/// Why it may not. Nothing is written then.
pub(super) fn check(
    connection: &Connection,
    stored: &StoredPipeline,
    engine: &mut Engine,
    what: impl Fn(&Made) -> bool,
) -> Result<()> {
    let wrap = || "cannot write what the state was made for".to_owned();
    let made: Vec<Made> = engine.made().into_iter().filter(what).collect();
    // Before the first event nothing was made yet.
    if stored.position > 0 {
        compare(connection, &made, engine.plan())?;
    }
    for Made { name, by, .. } in &made {
        connection
            .execute(
                "INSERT INTO weir_state (pipeline, state, fingerprint, in_us) VALUES (?1, ?2, ?3, 1)
                 ON CONFLICT (pipeline, state) DO UPDATE SET fingerprint = ?3 WHERE fingerprint <> ?3",
                (&engine.plan().name, name, by),
            )
            .sqlite(wrap)?;
    }
    Ok(())
}

/// What follows the name of a table where it is remembered which steps its rows come through.
const STEPS: &str = "/steps";

/// Remembers through which steps the rows of each table come, for those who ask how a row was made.
pub(super) fn remember_steps(connection: &Connection, engine: &Engine) -> rusqlite::Result<()> {
    for (table, steps) in engine.steps_of_tables() {
        let steps = serde_json::to_string(&steps);
        connection.execute(
            "INSERT OR REPLACE INTO weir_state (pipeline, state, fingerprint) VALUES (?1, ?2, ?3)",
            (
                &engine.plan().name,
                format!("table {table}{STEPS}"),
                steps.unwrap_or_default(),
            ),
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

/// Whether what is remembered may be gone on with.
///
/// # Errors
/// Why not.
pub(super) fn compare(connection: &Connection, made: &[Made], plan: &Plan) -> Result<()> {
    let wrap = || "cannot read what the state was made for".to_owned();
    for made in made {
        let held: Option<String> = connection
            .query_row(
                "SELECT fingerprint FROM weir_state WHERE pipeline = ?1 AND state = ?2",
                (&plan.name, &made.name),
                |row| row.get(0),
            )
            .optional()
            .sqlite(wrap)?;
        match held {
            Some(held) => made.may_follow(&held)?,
            None => made.may_follow_versions(plan, &versions::of_pipeline(connection, &plan.name)?)?,
        }
    }
    Ok(())
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
