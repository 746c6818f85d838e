//! `lookup`: an inner join with a table, as the table stands when the event is processed.
//!
//! - Emits: one row for each event whose key is in the table, in order of arrival; others are filtered.
//! - Order: arrival. Where the pipeline itself updates the table, an event sees what the one before wrote, also within a
//!   batch: the engine runs the steps between the lookup and the update in waves, in each of which a key occurs once.
//! - Nulls: a null in the key joins nothing.
//! - Restart: the table is read from the database, where each turn writes what it changed.

use super::{StateMap, Stateful, held_times::HeldTimes};
use crate::{
    error::note_defect,
    model::{
        batch::Batch,
        column::{Column, Field, Value},
        row::{cells, push_cell, push_key, push_key_cell},
        rows::KeyedRows,
    },
    plan::{LookupPlan, TablePlan},
    state::KeyedState,
};
use hashbrown::HashMap;
use std::sync::Arc;

/// A lookup table: rows by primary key.
#[derive(Debug)]
pub struct Table {
    plan: TablePlan,
    rows: KeyedState<Box<[u8]>>,
}

impl Table {
    /// An empty table.
    pub fn new(plan: TablePlan, seed: u64) -> Self {
        Self {
            plan,
            rows: KeyedState::new(seed),
        }
    }

    /// What the table is.
    pub fn plan(&self) -> &TablePlan {
        &self.plan
    }

    /// Goes on with the same rows as the table of another plan, which may be updated from columns that lie elsewhere.
    pub fn replace(&mut self, plan: TablePlan) {
        self.plan = plan;
    }

    /// The rows, each with all of the table's columns, by key.
    pub fn rows(&mut self) -> &mut KeyedState<Box<[u8]>> {
        &mut self.rows
    }

    /// Hands over the rows that were set since the last call.
    pub fn take_changes(&mut self) -> KeyedRows {
        let mut rows = KeyedRows::default();
        self.rows.take_changes(|key, row| rows.push(key, row.map(|row| &**row)));
        rows
    }

    /// Puts a row in place while the table is read from the database.
    pub fn restore<'v>(&mut self, values: impl Iterator<Item = Value<'v>>) {
        let (mut key, mut row) = (Vec::new(), Vec::new());
        for (at, value) in values.enumerate() {
            if at < self.plan.key_len {
                push_key_cell(&mut key, value);
            }
            push_cell(&mut row, value);
        }
        self.rows.restore(&key, Some(row.into()));
    }

    /// Sets the rows of an update, in order. SQLite keeps one zero, so the table does too: a row reads the same before and
    /// after a restart.
    pub fn set(&mut self, input: &Batch, columns: &[usize]) {
        let columns = input.pick(columns);
        let keys = columns.get(..self.plan.key_len).unwrap_or_else(|| {
            // Where there are no rows, there may be no columns.
            if !input.is_empty() {
                let (table, found) = (&self.plan.name, columns.len());
                note_defect(format_args!("table {table} is set by rows of {found} columns"));
            }
            &[]
        });
        let (mut key, mut row) = (Vec::new(), Vec::new());
        for at in 0..input.len() {
            key.clear();
            row.clear();
            push_key(&mut key, keys, at);
            for column in &columns {
                let value = match column.get(at) {
                    Value::Double(value) => Value::Double(value + 0.0),
                    value => value,
                };
                push_cell(&mut row, value);
            }
            self.rows.modify(&key, |current| {
                if current.as_deref() == Some(row.as_slice()) {
                    return false;
                }
                *current = Some(row.as_slice().into());
                true
            });
        }
    }
}

impl Stateful for Table {
    fn savepoint(&mut self) {
        self.rows.savepoint();
    }

    fn release(&mut self) {
        self.rows.release();
    }

    fn rollback(&mut self) {
        self.rows.rollback(|_, _| {});
    }

    /// None for the state log: the table itself is in the database.
    fn held_times(&self, _: &str) -> Option<HeldTimes> {
        None
    }

    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        Vec::new()
    }
}

/// The events of a batch that have a row in the table, cut into waves in each of which a key occurs once.
///
/// Joining does not depend on what rows the updates set, only on which keys there are, and updates set rows of keys that
/// were found.
pub fn waves(plan: &LookupPlan, table: &Table, input: &Batch) -> Vec<Vec<u32>> {
    let keys = input.pick(&plan.on);
    let mut waves: Vec<Vec<u32>> = Vec::new();
    let mut seen: HashMap<Vec<u8>, usize> = HashMap::new();
    for row in hits(&keys, table, input.len()) {
        let wave = match plan.waves {
            None => 0,
            Some(_) => {
                let mut key = Vec::new();
                push_key(&mut key, &keys, row as usize);
                let next = seen.entry(key).or_default();
                *next += 1;
                *next - 1
            }
        };
        match waves.get_mut(wave) {
            Some(rows) => rows.push(row),
            None => waves.push(vec![row]),
        }
    }
    waves
}

fn hits(keys: &[&Column], table: &Table, rows: usize) -> Vec<u32> {
    let mut key = Vec::new();
    (0..rows)
        .filter(|&row| {
            key.clear();
            push_key(&mut key, keys, row);
            !keys.iter().any(|column| column.is_null(row)) && table.rows.get(&key).is_some()
        })
        .map(|row| row as u32)
        .collect()
}

/// Joins events, each of which has a row in the table. `schema` is that of the output.
pub fn join(plan: &LookupPlan, table: &Table, schema: &[Field], input: &Batch) -> Batch {
    let keys = input.pick(&plan.on);
    let types = schema.iter().skip(plan.passed.len());
    let mut added: Vec<Column> = types
        .map(|field| Column::with_capacity(field.column_type, input.len()))
        .collect();
    let mut key = Vec::new();
    let mut values = Vec::new();
    for row in 0..input.len() {
        key.clear();
        push_key(&mut key, &keys, row);
        values.clear();
        match table.rows.get(&key) {
            Some(found) => values.extend(cells(found)),
            None => no_row(table),
        }
        for (column, &index) in added.iter_mut().zip(&plan.added) {
            column.push(values.get(index).copied().unwrap_or_else(|| {
                no_cell(table, index);
                Value::Null
            }));
        }
    }
    let passed = input.picked(&plan.passed).cloned();
    Batch {
        columns: passed.chain(added.into_iter().map(Arc::new)).collect(),
        deliveries: input.deliveries.clone(),
        kinds: None,
        lineage: None,
    }
}

#[cold]
fn no_row(table: &Table) {
    note_defect(format_args!(
        "an event is joined with table {}, which has no row for it",
        table.plan.name
    ));
}

#[cold]
fn no_cell(table: &Table, column: usize) {
    note_defect(format_args!(
        "a row of table {} has no column {column}",
        table.plan.name
    ));
}
