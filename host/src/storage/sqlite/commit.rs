//! The commit of a turn: one transaction.

use super::{
    Database, checksum, dead_letters,
    failure::{Sqlite, Written},
    fingerprints, lineage,
    outbox::Outgoing,
    owner, read,
    statements::Statements,
    versions,
};
use crate::{
    error::{Error, Result},
    fail_point,
    limits::TRACE_BYTES_MAX,
    model::turn::{SinkRows, StepFailures, Turn},
    plan::Plan,
    storage::{Messages, StoredPipeline, check_turn},
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

impl Database {
    pub(super) fn commit_turn(&mut self, turn: Turn) -> Result<()> {
        let path = self.path().display().to_string();
        let number = turn.number;
        let wrap = || format!("cannot commit turn {number} to database {path}");
        check_turn(&self.plan, &turn).map_err(|error| error.context(wrap()))?;
        // Before, so that nothing is written beside the file; and after, so that nothing is acknowledged that is in none.
        self.opened.check()?;
        self.write(turn, wrap)?;
        self.opened.check()?;
        self.checkpoints.committed(&self.connection);
        Ok(())
    }

    fn write(&mut self, turn: Turn, wrap: impl Fn() -> String) -> Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .sqlite(&wrap)?;
        let left = self.is_known.then_some(&self.stored);
        owner::check(&transaction, self.file.path(), &self.plan.name, self.file.owner(), left)?;
        let parts = Parts {
            plan: &self.plan,
            statements: &self.statements,
            messages: self.messages,
            stored: &self.stored,
            outgoing: &self.outgoing,
            log: &self.log,
            trace_bytes: self.trace_bytes,
            owner: self.file.owner(),
        };
        let Filled {
            stored,
            logged,
            obsolete,
            trace_bytes,
        } = parts.fill(&transaction, turn).sqlite(&wrap)?;
        fail_point::pass("in-commit");
        transaction.commit().sqlite(&wrap)?;
        (self.stored, self.is_known, self.trace_bytes) = (stored, true, trace_bytes);
        self.log.extend(logged);
        self.log.drain(..obsolete);
        Ok(())
    }
}

/// What a transaction reads of a database.
struct Parts<'d> {
    plan: &'d Plan,
    statements: &'d Statements,
    messages: Messages,
    stored: &'d StoredPipeline,
    outgoing: &'d Outgoing,
    log: &'d VecDeque<LoggedTurn>,
    trace_bytes: u64,
    owner: i64,
}

impl Parts<'_> {
    /// Writes all of a turn.
    fn fill(&self, transaction: &Transaction<'_>, turn: Turn) -> Written<Filled> {
        let pipeline = &self.plan.name;
        let stored = self.stored.after(&turn);
        let mut trace_bytes = self.trace_bytes;
        take_back(transaction, pipeline, &turn, self.stored.position)?;
        let retries: BTreeMap<u64, u64> = turn
            .retried
            .iter()
            .map(|letter| (letter.sequence, letter.retries))
            .collect();
        let retries = |sequence: u64| retries.get(&sequence).copied().unwrap_or(0);
        let behind = (!turn.retried.is_empty()).then_some(self.stored.position);
        for (statements, rows) in self.statements.sinks.iter().zip(turn.sinks) {
            match (statements, rows) {
                (_, None) => {}
                (Some(statements), Some(SinkRows::Upserts(all))) => {
                    for upserts in all {
                        let rows = upserts.rows();
                        statements.upsert_all(transaction, &rows)?;
                        trace_bytes +=
                            lineage::write(transaction, pipeline, turn.number, &statements.name, &rows, behind)?;
                    }
                }
                (Some(statements), Some(SinkRows::Appends(rows))) => statements.append_all(transaction, rows)?,
                (None, Some(_)) => return Err(Error::defect("a sink that is no table has rows").into()),
            }
        }
        trace_bytes += lineage::write_changelogs(transaction, pipeline, turn.number, turn.traces, behind)?;
        for (statements, rows) in self.statements.tables.iter().zip(turn.tables) {
            statements.upsert_all(transaction, &rows)?;
        }
        let (mut logged, mut obsolete) = (None, 0);
        let is_letter_in = !turn.dead_letters.is_empty();
        let (mut letters, mut held_bytes) = (Vec::with_capacity(turn.dead_letters.len()), 0);
        for letter in turn.dead_letters {
            let id = dead_letters::insert(transaction, pipeline, &letter, retries(letter.sequence))?;
            held_bytes += letter.payload.len();
            letters.push((id, letter));
        }
        dead_letters::count(transaction, pipeline, letters.len() as i64, held_bytes as i64)?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO weir_state_log (pipeline, epoch, part, state, entries, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for (part, row) in turn.log.iter().enumerate() {
                let sum = checksum(&row.state, &row.entries);
                insert.execute((pipeline, turn.number as i64, part as i64, &row.state, &row.entries, sum))?;
                let id = transaction.last_insert_rowid();
                let (number, first, _) = logged.unwrap_or((turn.number, id, id));
                logged = Some((number, first, id));
            }
            let mut insert = transaction.prepare_cached(
                "INSERT INTO weir_state_snapshot (pipeline, state, bucket, entries, checksum) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (pipeline, state, bucket) DO UPDATE SET entries = excluded.entries, checksum = excluded.checksum",
            )?;
            fail_point::pass("before-compaction");
            for snapshot in &turn.snapshots {
                fail_point::pass("in-compaction");
                let sum = checksum(&snapshot.state, &snapshot.entries);
                insert.execute((
                    pipeline,
                    &snapshot.state,
                    snapshot.bucket as i64,
                    &snapshot.entries,
                    sum,
                ))?;
            }
            let mut delete = transaction.prepare_cached("DELETE FROM weir_state_log WHERE id BETWEEN ?1 AND ?2")?;
            let turns = self.log.iter().chain(&logged);
            for (_, first, last) in turns.take_while(|(number, ..)| *number <= turn.log_obsolete_through) {
                delete.execute((first, last))?;
                obsolete += 1;
            }
            fail_point::pass("after-compaction");
        }
        if self.messages == Messages::Outbox {
            self.outgoing
                .write(transaction, self.plan, (turn.number, &turn.messages), letters, retries)?;
        }
        if is_letter_in || self.plan.keep.age_ms.is_some() {
            dead_letters::bound(transaction, pipeline, self.plan.keep, turn.time_ms)?;
        }
        versions::write(transaction, pipeline, &self.plan.trust, &turn.changes)?;
        fingerprints::remember(transaction, pipeline, &turn.made)?;
        if !turn.changes.is_empty() {
            fail_point::pass("in-swap");
        }
        for StepFailures {
            step,
            count,
            is_stopped,
        } in &turn.failures
        {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO weir_failures (pipeline, step, judged, failed, first_sequence, stopped)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute((
                    pipeline,
                    step,
                    count.judged as i64,
                    count.failed as i64,
                    count.first_sequence as i64,
                    is_stopped,
                ))?;
        }
        if trace_bytes > TRACE_BYTES_MAX {
            trace_bytes = lineage::forget(transaction, pipeline, trace_bytes)?;
        }
        read::write_pipeline(transaction, pipeline, &stored, self.owner)?;
        Ok(Filled {
            stored,
            logged,
            obsolete,
            trace_bytes,
        })
    }
}

/// What a transaction leaves, once it is committed.
struct Filled {
    stored: StoredPipeline,
    /// Where the turn stands in the state log, if it changed a state.
    logged: Option<LoggedTurn>,
    /// How many turns of the log are gone, the oldest first.
    obsolete: usize,
    trace_bytes: u64,
}

/// A turn of the state log: its number, and the places of its first and last row, between which there are no others.
pub(super) type LoggedTurn = (u64, i64, i64);

/// The turns of the state log of `pipeline`, in order.
pub(super) fn logged_turns(connection: &Connection, pipeline: &str) -> rusqlite::Result<VecDeque<LoggedTurn>> {
    let mut turns = connection.prepare(
        "SELECT epoch, min(id), max(id) FROM weir_state_log WHERE pipeline = ?1 GROUP BY epoch ORDER BY epoch",
    )?;
    let turns = turns.query_map([pipeline], |row| {
        Ok((row.get::<_, i64>(0)? as u64, row.get(1)?, row.get(2)?))
    });
    turns.and_then(Iterator::collect)
}

/// Removes the dead letters that a turn retried, and remembers which of them are none any more. Those that are one again
/// are among the turn's own.
fn take_back(transaction: &Transaction<'_>, pipeline: &str, turn: &Turn, position: u64) -> rusqlite::Result<()> {
    if turn.retried.is_empty() {
        return Ok(());
    }
    let letters = turn.dead_letters.iter().filter(|letter| !letter.is_row);
    let again: BTreeSet<u64> = letters.map(|letter| letter.sequence).collect();
    let mut delete =
        transaction.prepare_cached("DELETE FROM weir_dead_letter WHERE id = ?1 RETURNING length(payload)")?;
    let mut remember = transaction
        .prepare_cached("INSERT OR REPLACE INTO weir_retried (pipeline, sequence, decided_at) VALUES (?1, ?2, ?3)")?;
    for letter in &turn.retried {
        dead_letters::leave_payloads(transaction, "id = ?1", &[letter.id.into()])?;
        let bytes: Option<i64> = delete.query_row([letter.id], |row| row.get(0)).optional()?;
        if let Some(bytes) = bytes {
            dead_letters::count(transaction, pipeline, -1, -bytes)?;
        }
        if !again.contains(&letter.sequence) {
            remember.execute((pipeline, letter.sequence as i64, position as i64))?;
        }
    }
    Ok(())
}
