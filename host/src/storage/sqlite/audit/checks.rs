//! The checks of an audit.

use super::{Audit, tables};
use crate::{
    error::Result,
    plan::Plan,
    storage::{
        Check, Contents, Part, Snapshot, StoredPipeline, Verdict,
        sqlite::{
            dead_letters::letter_counts,
            definitions::{self, Others},
            failure::Sqlite,
            fingerprints, load, outbox, pipeline_tables, schema,
            versions::named_components,
        },
    },
};
use rusqlite::Connection;

impl Audit {
    /// Whether the pages of the file and its indexes are sound.
    pub(super) fn file(&self) -> Check {
        let what = "pages";
        let checked = self.read(|connection| {
            let mut check = connection.prepare("PRAGMA integrity_check(10)")?;
            let lines = check.query_map([], |row| row.get::<_, String>(0))?;
            lines.collect::<rusqlite::Result<Vec<_>>>()
        });
        Check::made(
            what,
            checked.map(|lines| {
                let faults = lines.into_iter().filter(|line| line != "ok").collect();
                Check::new(what, faults, || "sound, and so are the indexes".to_owned())
            }),
        )
    }

    pub(super) fn schema(&self) -> Check {
        let what = "schema";
        let checked = self.read(|c| definitions::faults(c, schema::layout(c)?, &[], Others::Checked));
        Check::made(
            what,
            checked.map(|faults| Check::new(what, faults, || "tables as weir makes them".to_owned())),
        )
    }

    pub(super) fn pipeline(&self, pipeline: &str, stored: &StoredPipeline) -> Vec<Check> {
        let outcome = |what: &str, faults: Result<(Vec<String>, String)>| {
            Check::made(
                what,
                faults.map(|(faults, counted)| Check::new(what, faults, || counted)),
            )
        };
        vec![
            counts(stored),
            outcome("dead letters", self.read(|c| dead_letters(c, pipeline, stored))),
            outcome("state log", self.read(|c| log(c, pipeline, stored))),
            Check::made(
                "state",
                self.kept(pipeline, stored).map(|kept| {
                    let entries: u64 = kept.states.values().map(|state| state.entries).sum();
                    Check::new("state", kept.faults, || {
                        format!("{entries} entries, each in its bucket")
                    })
                }),
            ),
            outcome("outbox", self.read(|c| waiting(c, pipeline, stored))),
            outcome("versions", self.read(|c| versions(c, pipeline, stored))),
        ]
    }

    pub(super) fn tables_of(&self, plan: &Plan, state: &mut dyn Contents) -> Vec<Check> {
        let made = pipeline_tables::made_tables(plan);
        let faults = |connection: &Connection| {
            let mut faults = definitions::faults(connection, schema::layout(connection)?, &made, Others::Ignored)?;
            faults.extend(pipeline_tables::changed_columns(connection, plan)?);
            Ok(faults)
        };
        match self.read(faults) {
            Ok(faults) if faults.is_empty() => {}
            faults => {
                let what = "schema of the pipeline file";
                return vec![Check::made(
                    what,
                    faults.map(|faults| Check::new(what, faults, String::new)),
                )];
            }
        }
        let restored = (|| {
            let (connection, pipeline) = (&self.connection, &plan.name);
            for part in [Part::States, Part::Readers] {
                fingerprints::check(connection, pipeline, part, state)?;
            }
            let older = fingerprints::in_ms(connection, pipeline);
            for name in older.sqlite(|| "cannot read what the state was made for".to_owned())? {
                state.restores_ms(&name);
            }
            load::fill(connection, &self.path, plan, state)
        })();
        if let Err(error) = restored {
            return vec![Check::made("state of the pipeline file", Err(error))];
        }
        let entries = state.state_entries();
        let mut checks = vec![Check::new("state of the pipeline file", Vec::new(), || {
            format!("{entries} values of its types")
        })];
        for (id, sink) in plan.sinks.iter_enumerated() {
            let Some(table) = sink.table() else { continue };
            let what = format!("table {table}");
            let compared = tables::expected(id, sink, state).and_then(|expected| {
                let compare = |rows| self.read(|connection| tables::compare(connection, sink, table, rows));
                expected.map(compare).transpose()
            });
            checks.push(match compared {
                Ok(None) => Check {
                    what,
                    verdict: Verdict::Unknown(
                        "holds what came by, which the state does not; replay and diff".to_owned(),
                    ),
                },
                Ok(Some((faults, rows))) => Check::new(what, faults, || format!("{rows} rows, as the state has them")),
                Err(error) => Check::made(&what, Err(error)),
            });
        }
        checks
    }
}

fn counts(stored: &StoredPipeline) -> Check {
    let counts = stored.counts;
    let sum = counts.applied + counts.filtered + counts.dead_letters + counts.empty;
    let shown = format!(
        "{} events = {} applied + {} filtered + {} dead letters + {} empty",
        counts.events, counts.applied, counts.filtered, counts.dead_letters, counts.empty
    );
    let mut faults = Vec::new();
    if sum != counts.events {
        faults.push(format!("{shown} does not add up: the sum is {sum}"));
    }
    Check::new("counts", faults, || shown)
}

fn dead_letters(
    connection: &Connection,
    pipeline: &str,
    stored: &StoredPipeline,
) -> rusqlite::Result<(Vec<String>, String)> {
    let (held, beyond, bytes): (i64, i64, i64) = connection.query_row(
        "SELECT count(*), count(*) FILTER (WHERE sequence > ?2), coalesce(sum(length(payload)), 0)
         FROM weir_dead_letter WHERE pipeline = ?1",
        (pipeline, stored.position as i64),
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let known = letter_counts(connection, pipeline)?;
    let unpublishable = outbox::message_counts(connection, pipeline)?.dead;
    let counted = stored.counts.dead_letters + stored.counts.dead_rows + unpublishable;
    let dropped = stored.dropped;
    let mut faults = Vec::new();
    if beyond > 0 {
        faults.push(format!("{beyond} come after position {}", stored.position));
    }
    let let_go = known.let_go;
    let and_let_go = match let_go {
        0 => String::new(),
        _ => format!(", {let_go} let go"),
    };
    if held as u64 + dropped + let_go != counted {
        faults.push(format!(
            "{held} are held{and_let_go} and {dropped} were dropped, but {counted} were counted"
        ));
    }
    if (held as u64, bytes as u64) != (known.held, known.bytes) {
        faults.push(format!(
            "{held} are held, of {bytes} bytes, but the database says that it has {} of {} bytes",
            known.held, known.bytes
        ));
    }
    Ok((
        faults,
        format!("{held} held{and_let_go} and {dropped} dropped of {counted} counted, none after the position"),
    ))
}

fn log(connection: &Connection, pipeline: &str, stored: &StoredPipeline) -> rusqlite::Result<(Vec<String>, String)> {
    let mut turns = connection.prepare(
        "SELECT epoch, count(*), min(part), max(part) FROM weir_state_log WHERE pipeline = ?1 GROUP BY epoch ORDER BY epoch",
    )?;
    let mut rows = turns.query([pipeline])?;
    let (mut faults, mut count) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (number, parts, first, last): (i64, i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        count += 1;
        if number as u64 > stored.turn {
            faults.push(format!("turn {number} comes after the last one, {}", stored.turn));
        }
        if first != 0 || last != parts - 1 {
            faults.push(format!("turn {number} has {parts} parts, numbered {first} to {last}"));
        }
    }
    let unknown: i64 = connection.query_row(
        "SELECT count(*) FROM (SELECT state FROM weir_state_log WHERE pipeline = ?1 UNION SELECT state FROM
         weir_state_snapshot WHERE pipeline = ?1 EXCEPT SELECT state FROM weir_state WHERE pipeline = ?1)",
        [pipeline],
        |row| row.get(0),
    )?;
    if unknown > 0 {
        faults.push(format!("it holds {unknown} states that nobody announced"));
    }
    Ok((faults, format!("{count} turns, their parts without a gap")))
}

fn waiting(
    connection: &Connection,
    pipeline: &str,
    stored: &StoredPipeline,
) -> rusqlite::Result<(Vec<String>, String)> {
    let (waiting, beyond): (i64, i64) = connection.query_row(
        "SELECT count(*), count(*) FILTER (WHERE sequence > ?2) FROM weir_outbox WHERE pipeline = ?1",
        (pipeline, stored.position as i64),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let mut faults = Vec::new();
    if beyond > 0 {
        faults.push(format!("{beyond} messages come after position {}", stored.position));
    }
    Ok((faults, format!("{waiting} messages wait, none after the position")))
}

fn versions(
    connection: &Connection,
    pipeline: &str,
    stored: &StoredPipeline,
) -> rusqlite::Result<(Vec<String>, String)> {
    // A database of the first layout has none.
    let Ok(mut versions) = connection.prepare(&format!(
        "SELECT step, first_sequence, digest,
             EXISTS (SELECT 1 FROM weir_module m WHERE m.digest = v.digest) OR digest NOT IN ({})
         FROM weir_version v WHERE pipeline = ?1 ORDER BY step, first_sequence",
        named_components()
    )) else {
        return Ok((Vec::new(), "none are kept in this layout".to_owned()));
    };
    let mut rows = versions.query([pipeline])?;
    let (mut faults, mut count) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (step, first, digest, held): (String, i64, String, bool) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        count += 1;
        if !held {
            faults.push(format!("the component {digest} of step {step} is missing"));
        }
        if first as u64 > stored.position + 1 {
            faults.push(format!(
                "a version of step {step} decides from sequence {first} on, after position {}",
                stored.position
            ));
        }
    }
    Ok((faults, format!("{count}, with the components that may be asked for")))
}
