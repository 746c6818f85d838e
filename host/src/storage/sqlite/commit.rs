//! The commit of a turn: one transaction.

use super::{
    Database, Messages, StoredPipeline, checksum, dead_letters, failure::Sqlite, lineage, outbox::Outgoing, owner,
    read, schema::quote, versions,
};
use crate::{
    error::Result,
    fail_point,
    limits::TRACE_BYTES_MAX,
    model::{
        column::Value,
        row::cells,
        rows::{KeyedRows, SinkRows},
        turn::{StepFailures, Turn},
    },
    plan::{Plan, Target},
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Transaction, TransactionBehavior, types::Null};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The statements for each table.
#[derive(Debug)]
pub(super) struct Statements {
    sinks: Vec<Option<TableStatements>>,
    tables: Vec<TableStatements>,
}

#[derive(Debug)]
struct TableStatements {
    name: String,
    /// The key, as indices of the columns.
    key: Vec<usize>,
    nullable_key: bool,
    insert: String,
    /// By key, with nulls equal to each other: first all columns that are not in the key, then the key.
    update: Option<String>,
    delete: String,
    /// The columns that `update` sets.
    others: Vec<usize>,
}

impl Statements {
    pub(super) fn new(plan: &Plan) -> Self {
        let sinks = plan.sinks.iter().map(|sink| {
            let columns: Vec<(&str, bool)> = sink
                .columns
                .iter()
                .map(|(f, _)| (f.name.as_str(), f.nullable))
                .collect();
            match &sink.target {
                Target::Table { name, primary_key, .. } => Some(TableStatements::new(name, &columns, primary_key)),
                Target::Append { name } => Some(TableStatements::new(name, &columns, &[])),
                Target::Subject { .. } => None,
            }
        });
        let tables = plan.tables.iter().map(|table| {
            let columns: Vec<(&str, bool)> = table
                .columns
                .iter()
                .map(|c| (c.field.name.as_str(), c.field.nullable))
                .collect();
            TableStatements::new(&table.name, &columns, &(0..table.key_len).collect::<Vec<_>>())
        });
        Self {
            sinks: sinks.collect(),
            tables: tables.collect(),
        }
    }
}

impl TableStatements {
    fn new(table: &str, columns: &[(&str, bool)], key: &[usize]) -> Self {
        let name = |&index: &usize| columns.get(index).map(|(name, _)| quote(name)).unwrap_or_default();
        let others: Vec<usize> = (0..columns.len()).filter(|index| !key.contains(index)).collect();
        let all: Vec<String> = (0..columns.len()).map(|index| name(&index)).collect();
        let marks: Vec<String> = (1..=columns.len()).map(|number| format!("?{number}")).collect();
        let mut insert = format!(
            "INSERT INTO {} ({}) VALUES ({})",
            quote(table),
            all.join(", "),
            marks.join(", ")
        );
        if !key.is_empty() {
            let key_names: Vec<String> = key.iter().map(name).collect();
            insert += &format!(" ON CONFLICT ({}) DO ", key_names.join(", "));
            let set: Vec<String> = others
                .iter()
                .map(|index| format!("{0} = excluded.{0}", name(index)))
                .collect();
            insert += &if set.is_empty() {
                "NOTHING".to_owned()
            } else {
                format!("UPDATE SET {}", set.join(", "))
            };
        }
        let condition = |first: usize| {
            let parts = key
                .iter()
                .enumerate()
                .map(|(at, index)| format!("{} IS ?{}", name(index), first + at));
            parts.collect::<Vec<_>>().join(" AND ")
        };
        let update = (!others.is_empty()).then(|| {
            let set: Vec<String> = others
                .iter()
                .enumerate()
                .map(|(at, index)| format!("{} = ?{}", name(index), at + 1))
                .collect();
            format!(
                "UPDATE {} SET {} WHERE {}",
                quote(table),
                set.join(", "),
                condition(others.len() + 1)
            )
        });
        Self {
            name: table.to_owned(),
            key: key.to_vec(),
            nullable_key: key
                .iter()
                .any(|&index| columns.get(index).is_some_and(|(_, nullable)| *nullable)),
            insert,
            update,
            delete: format!("DELETE FROM {} WHERE {}", quote(table), condition(1)),
            others,
        }
    }

    fn upsert_all(&self, transaction: &Transaction<'_>, rows: &KeyedRows) -> rusqlite::Result<()> {
        let mut insert = transaction.prepare_cached(&self.insert)?;
        let mut delete = transaction.prepare_cached(&self.delete)?;
        let mut update = match &self.update {
            Some(update) if self.nullable_key => Some(transaction.prepare_cached(update)?),
            _ => None,
        };
        // In the order of the B-tree, so that each page is touched once.
        for (key, row) in rows.sorted() {
            let Some(row) = row else {
                let mut text = Vec::new();
                let mut rest = key;
                let mut number = 0;
                while let Some(value) = crate::model::row::take_key_cell(&mut rest, &mut text) {
                    number += 1;
                    bind(&mut delete, number, value)?;
                }
                delete.raw_execute()?;
                continue;
            };
            if self.nullable_key && self.set_null_key(transaction, &mut update, row)? {
                continue;
            }
            for (at, value) in cells(row).enumerate() {
                bind(&mut insert, at + 1, value)?;
            }
            insert.raw_execute()?;
        }
        Ok(())
    }

    /// Updates the row of a key that holds a null; says whether nothing is left to do.
    fn set_null_key(
        &self,
        transaction: &Transaction<'_>,
        update: &mut Option<CachedStatement<'_>>,
        row: &[u8],
    ) -> rusqlite::Result<bool> {
        let values: Vec<Value<'_>> = cells(row).collect();
        let value = |&index: &usize| values.get(index).copied().unwrap_or(Value::Null);
        if !self.key.iter().map(value).any(Value::is_null) {
            return Ok(false);
        }
        match update {
            Some(update) => {
                for (at, index) in self.others.iter().chain(&self.key).enumerate() {
                    bind(update, at + 1, value(index))?;
                }
                Ok(update.raw_execute()? > 0)
            }
            None => {
                // Nothing but the key: it is there, or is inserted.
                let condition = self.delete.replacen("DELETE", "SELECT 1", 1);
                let mut found = transaction.prepare_cached(&condition)?;
                for (at, index) in self.key.iter().enumerate() {
                    bind(&mut found, at + 1, value(index))?;
                }
                Ok(found.raw_query().next()?.is_some())
            }
        }
    }

    fn append_all(&self, transaction: &Transaction<'_>, rows: Vec<Vec<u8>>) -> rusqlite::Result<()> {
        let mut insert = transaction.prepare_cached(&self.insert)?;
        for row in rows {
            for (at, value) in cells(&row).enumerate() {
                bind(&mut insert, at + 1, value)?;
            }
            insert.raw_execute()?;
        }
        Ok(())
    }
}

/// Binds one cell. Text goes in as it is: it was checked to be UTF-8 when it came in.
fn bind(statement: &mut CachedStatement<'_>, number: usize, value: Value<'_>) -> rusqlite::Result<()> {
    match value {
        Value::Null => statement.raw_bind_parameter(number, Null),
        Value::Int(value) => statement.raw_bind_parameter(number, value),
        Value::Double(value) => statement.raw_bind_parameter(number, value),
        Value::Boolean(value) => statement.raw_bind_parameter(number, value),
        Value::Text(text) => statement.raw_bind_parameter(number, Text(text)),
    }
}

struct Text<'a>(&'a [u8]);

impl rusqlite::ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(rusqlite::types::ToSqlOutput::Borrowed(rusqlite::types::ValueRef::Text(
            self.0,
        )))
    }
}

impl Database {
    /// Commits a turn: all of it, or nothing.
    ///
    /// # Errors
    /// When SQLite fails (a full disk, say). The database then holds what the turn before left.
    pub fn commit(&mut self, turn: Turn) -> Result<()> {
        let path = self.path().display().to_string();
        let epoch = turn.epoch;
        let wrap = || format!("cannot commit turn {epoch} to database {path}");
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
    fn fill(&self, transaction: &Transaction<'_>, turn: Turn) -> rusqlite::Result<Filled> {
        let pipeline = &self.plan.name;
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
                (Some(statements), Some(SinkRows::Upserts(rows))) => {
                    statements.upsert_all(transaction, &rows)?;
                    trace_bytes += lineage::write(transaction, pipeline, turn.epoch, &statements.name, &rows, behind)?;
                }
                (Some(statements), Some(SinkRows::Appends(rows))) => statements.append_all(transaction, rows)?,
                _ => {}
            }
        }
        for (statements, rows) in self.statements.tables.iter().zip(turn.tables) {
            debug_assert!(!statements.name.is_empty());
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
                insert.execute((pipeline, turn.epoch as i64, part as i64, &row.state, &row.entries, sum))?;
                let id = transaction.last_insert_rowid();
                let (epoch, first, _) = logged.unwrap_or((turn.epoch, id, id));
                logged = Some((epoch, first, id));
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
            for (_, first, last) in turns.take_while(|(epoch, ..)| *epoch <= turn.log_obsolete_through) {
                delete.execute((first, last))?;
                obsolete += 1;
            }
            fail_point::pass("after-compaction");
        }
        if self.messages == Messages::Outbox {
            self.outgoing
                .write(transaction, self.plan, &turn.messages, letters, retries)?;
        }
        if is_letter_in || self.plan.keep.age_ms.is_some() {
            dead_letters::bound(transaction, pipeline, self.plan.keep, turn.time_ms)?;
        }
        versions::write(transaction, pipeline, &self.plan.trust, &turn.changes)?;
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
        let mut stored = self.stored.clone();
        stored.epoch = turn.epoch;
        stored.position = turn.position.max(stored.position);
        if turn.position > 0 {
            stored.content_hash = turn.receipt.content_hash;
        }
        if turn.scanned.through > 0 {
            stored.scanned = turn.scanned;
        }
        stored.counts = stored.counts.without_letters(turn.retried.len() as u64);
        stored.counts += turn.counts;
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
