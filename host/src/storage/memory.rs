//! In memory: for tests, for examples, and for programs that embed a pipeline and keep its tables themselves.

use super::{
    LetterFilter, LetterName, Part, Remembered, Restore, Storage, StoredDeadLetter, StoredPipeline, check_turn,
};
use crate::{
    error::{Error, OrDefect, Result},
    model::{
        column::Value,
        form::{ColumnForm, Place, Written},
        ids::TableId,
        row::cells,
        rows::{KeyedRows, Message},
        turn::{FailureCount, LogRow, SinkRows, Turn},
    },
    plan::{Plan, SinkColumn, Target},
};
use std::{collections::BTreeMap, sync::Arc};

/// A storage that lasts as long as it lives, with an example at [`Storage`].
///
/// It keeps tables, state, dead letters and messages. It remembers no versions of rules and no lineage, and nobody
/// publishes its messages: [`MemoryStorage::messages`] has them.
#[derive(Debug)]
pub struct MemoryStorage {
    plan: Arc<Plan>,
    stored: StoredPipeline,
    /// The rows of sinks and lookup tables, by the name of the table.
    tables: BTreeMap<String, Rows>,
    fingerprints: BTreeMap<String, String>,
    snapshots: BTreeMap<(String, usize), Vec<u8>>,
    /// Rows of the state log, each with its turn.
    log: Vec<(u64, LogRow)>,
    failures: BTreeMap<String, (FailureCount, bool)>,
    letters: BTreeMap<i64, StoredDeadLetter>,
    messages: Vec<Message>,
    /// For subjects the first event whose messages are kept, once that is settled.
    first: Option<BTreeMap<String, u64>>,
}

/// The rows of a table, encoded as in [`crate::model::row`].
#[derive(Debug)]
enum Rows {
    Keyed(BTreeMap<Vec<u8>, Vec<u8>>),
    Appended(Vec<Vec<u8>>),
}

impl MemoryStorage {
    /// Holds nothing yet.
    pub fn new(plan: Arc<Plan>) -> Self {
        Self {
            plan,
            stored: StoredPipeline::default(),
            tables: BTreeMap::new(),
            fingerprints: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            log: Vec::new(),
            failures: BTreeMap::new(),
            letters: BTreeMap::new(),
            messages: Vec::new(),
            first: None,
        }
    }

    /// The rows of a table, in order of the key, or as they were appended; none where there is no such table.
    pub fn rows(&self, table: &str) -> Vec<Vec<serde_json::Value>> {
        let forms = self.forms_of(table);
        let shown = |row: &Vec<u8>| cells(row).zip(&forms).map(|(cell, form)| json(*form, cell)).collect();
        match self.tables.get(table) {
            None => Vec::new(),
            Some(Rows::Keyed(rows)) => rows.values().map(shown).collect(),
            Some(Rows::Appended(rows)) => rows.iter().map(shown).collect(),
        }
    }

    /// How the columns of a table are written.
    fn forms_of(&self, table: &str) -> Vec<ColumnForm> {
        let sink = self.plan.sinks.iter().find(|sink| sink.table() == Some(table));
        let lookup = self.plan.tables.iter().find(|lookup| lookup.name == table);
        let of_sink = sink.map(|sink| sink.columns.iter().map(SinkColumn::column_form).collect());
        let of_lookup = || {
            let columns = lookup?.columns.iter();
            Some(
                columns
                    .map(|column| ColumnForm::usual(column.field.column_type, Place::Table))
                    .collect(),
            )
        };
        of_sink.or_else(of_lookup).unwrap_or_default()
    }

    /// The messages to publish, in order.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    fn set_rows(&mut self, table: &str, changed: &KeyedRows) -> Result<()> {
        let empty = || Rows::Keyed(BTreeMap::new());
        let Rows::Keyed(rows) = self.tables.entry(table.to_owned()).or_insert_with(empty) else {
            return Err(Error::defect(format_args!(
                "rows of table {table} are set, and it has no key"
            )));
        };
        for (key, row) in changed.sorted() {
            match row {
                Some(row) => rows.insert(key.to_vec(), row.to_vec()),
                None => rows.remove(key),
            };
        }
        Ok(())
    }

    fn append_rows(&mut self, table: &str, more: Vec<Vec<u8>>) -> Result<()> {
        let empty = || Rows::Appended(Vec::new());
        let Rows::Appended(rows) = self.tables.entry(table.to_owned()).or_insert_with(empty) else {
            return Err(Error::defect(format_args!(
                "rows are appended to table {table}, which has a key"
            )));
        };
        rows.extend(more);
        Ok(())
    }

    fn take_over(&mut self, part: Part, into: &mut dyn Restore) -> Result<()> {
        let remembered = Remembered {
            fingerprints: self.fingerprints.clone(),
            versions: &|| Ok(Vec::new()),
        };
        let taken = into.take_over(part, (self.stored.position > 0).then_some(&remembered))?;
        self.fingerprints.extend(taken);
        Ok(())
    }
}

impl Storage for MemoryStorage {
    fn stored(&self) -> &StoredPipeline {
        &self.stored
    }

    fn claim(&mut self, source: &str) -> Result<()> {
        if let Some(known) = self.stored.source.as_ref().filter(|known| *known != source) {
            return Err(Error::mismatch(format!(
                "the storage was filled from {known}, not from {source}"
            )));
        }
        self.stored.source = Some(source.to_owned());
        if self.stored.seed == 0 {
            self.stored.seed = fastrand::u64(1..i64::MAX as u64);
        }
        Ok(())
    }

    fn load(&mut self, into: &mut dyn Restore) -> Result<()> {
        self.take_over(Part::States, into)?;
        for (step, (count, _)) in &self.failures {
            into.failures(step, *count);
        }
        for ((state, _), entries) in &self.snapshots {
            into.entries(state, entries)?;
        }
        for (_, row) in &self.log {
            into.entries(&row.state, &row.entries)?;
        }
        into.restored();
        for (id, table) in self.plan.tables.iter_enumerated() {
            if let Some(Rows::Keyed(rows)) = self.tables.get(&table.name) {
                for row in rows.values() {
                    into.table_row(id, &cells(row).collect::<Vec<_>>());
                }
            }
        }
        into.tables_restored();
        self.take_over(Part::Readers, into)
    }

    fn commit(&mut self, turn: Turn) -> Result<()> {
        check_turn(&self.plan, &turn)?;
        let stored = self.stored.after(&turn);
        let plan = self.plan.clone();
        let retries: BTreeMap<u64, u64> = turn
            .retried
            .iter()
            .map(|letter| (letter.sequence, letter.retries))
            .collect();
        for letter in &turn.retried {
            self.letters.remove(&letter.id);
        }
        for (sink, rows) in plan.sinks.iter().zip(turn.sinks) {
            match (&sink.target, rows) {
                (Target::Table { name, .. }, Some(SinkRows::Upserts(all))) => {
                    all.iter()
                        .try_for_each(|upserts| self.set_rows(name, &upserts.rows()))?;
                }
                (Target::Append { name }, Some(SinkRows::Appends(rows))) => self.append_rows(name, rows)?,
                // A subject, or a table without changes: the turn was checked.
                _ => {}
            }
        }
        for (table, rows) in plan.tables.iter().zip(&turn.tables) {
            self.set_rows(&table.name, rows)?;
        }
        self.log.retain(|(number, _)| *number > turn.log_obsolete_through);
        if turn.number > turn.log_obsolete_through {
            self.log.extend(turn.log.into_iter().map(|row| (turn.number, row)));
        }
        for snapshot in turn.snapshots {
            self.snapshots
                .insert((snapshot.state, snapshot.bucket), snapshot.entries);
        }
        self.fingerprints.extend(turn.made);
        for failures in turn.failures {
            self.failures
                .insert(failures.step, (failures.count, failures.is_stopped));
        }
        for letter in turn.dead_letters {
            let id = self.letters.last_key_value().map_or(1, |(last, _)| last + 1);
            let retries = if letter.is_row {
                0
            } else {
                retries.get(&letter.sequence).copied().unwrap_or(0)
            };
            self.letters
                .insert(id, StoredDeadLetter::of(&plan.name, letter, retries));
        }
        for message in turn.messages {
            if let Some(Target::Subject { name }) = plan.sinks.get(message.sink).map(|sink| &sink.target)
                && message.sequence >= self.first_published(name)
            {
                self.messages.push(message);
            }
        }
        self.stored = stored;
        Ok(())
    }

    fn set_table(&mut self, table: TableId, rows: KeyedRows) -> Result<()> {
        let plan = self.plan.clone();
        let table = plan
            .tables
            .get(table)
            .or_defect(|| format!("lookup table {table} is not there"))?;
        self.set_rows(&table.name, &rows)
    }

    fn is_stopped(&self) -> Result<bool> {
        Ok(self.failures.values().any(|(_, is_stopped)| *is_stopped))
    }

    fn is_settled(&self) -> bool {
        self.first.is_some() || self.stored.position > 0
    }

    fn settle(&mut self, first: &BTreeMap<String, u64>) -> Result<()> {
        self.first = Some(first.clone());
        Ok(())
    }

    fn first_published(&self, subject: &str) -> u64 {
        let first = self.first.as_ref().and_then(|first| first.get(subject));
        first.copied().unwrap_or(1)
    }

    fn dead_letters_held(&self) -> Result<u64> {
        Ok(self.letters.len() as u64)
    }

    /// No server refuses what nobody publishes.
    fn publish_again(&mut self, _: &LetterFilter, _: bool) -> Result<u64> {
        Ok(0)
    }

    fn letters(&self, filter: &LetterFilter) -> Result<Vec<LetterName>> {
        let letters = self.letters.iter().filter(|(_, letter)| filter.takes(letter));
        let mut names: Vec<(u64, LetterName)> = letters
            .map(|(&id, letter)| {
                (
                    letter.sequence,
                    LetterName {
                        id,
                        is_row: letter.is_row,
                    },
                )
            })
            .collect();
        names.sort_by_key(|(sequence, name)| (*sequence, name.id));
        Ok(names.into_iter().map(|(_, name)| name).collect())
    }

    fn letter(&self, id: i64) -> Result<StoredDeadLetter> {
        let letter = self.letters.get(&id).cloned();
        letter.ok_or_else(|| Error::mismatch(format!("there is no dead letter {id}")))
    }
}

/// A value as a number or a truth where it is one, else as text.
fn json(form: ColumnForm, value: Value<'_>) -> serde_json::Value {
    match form.write(value) {
        Written::Null => serde_json::Value::Null,
        Written::Integer(value) => value.into(),
        Written::Real(value) => value.into(),
        Written::Boolean(value) => value.into(),
        Written::Number(digits) => digits.into(),
        Written::Text(text) => String::from_utf8_lossy(&text).into(),
        Written::Json(text) => String::from_utf8_lossy(text).into(),
        Written::Bytes(bytes) => data_encoding::BASE64.encode(bytes).into(),
    }
}
