//! What a version on trial changed of the current rows, so that it can be taken back.
//!
//! What a rule over a changelog let through stands further on. Where a version on trial is taken back, all current rows are
//! judged back at that very row. So while it is on trial, those are kept over which it differs from the version that it falls
//! back on, with what both give of them. They are not stored: a start asks both versions again.

use super::rules::{all_columns, each_pair, push_change, row_of};
use crate::{
    error::note_defect,
    model::{column::Batch, row::push_key},
    operator::ChangelogBuilder,
    plan::Output,
};
use std::{
    collections::{BTreeMap, HashMap},
    mem,
};

/// The current rows over which two versions differ.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// By the key that all cells of the row make.
    rows: HashMap<Vec<u8>, Difference>,
    /// How what changed since the savepoint was then.
    journal: HashMap<Vec<u8>, Option<Difference>>,
}

#[derive(Clone, Debug)]
struct Difference {
    /// How many such rows there are: of a changelog whose key was left out there may be several.
    rows: u64,
    /// What becomes of them in each output.
    outputs: Vec<Given>,
}

/// A current row over which two versions differ.
#[derive(Clone, Debug)]
pub(super) struct DifferingRow {
    /// The key that all cells of the row make, as the rule reads it.
    pub(super) read: Vec<u8>,
    /// What becomes of it in each output.
    pub(super) outputs: Vec<Given>,
}

/// The row that two versions give of a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    on_trial: Option<Vec<u8>>,
    fallback: Option<Vec<u8>>,
}

/// The rows of which two versions give others, by their numbers: the delivery of a row that they give is that of the row that
/// it comes of. Each with what both give in each output.
pub(super) fn differing_rows(on_trial: &[Batch], fallback: &[Batch]) -> BTreeMap<u32, Vec<Given>> {
    let mut differs: BTreeMap<u32, Vec<Given>> = BTreeMap::new();
    for (number, (a, b)) in on_trial.iter().zip(fallback).enumerate() {
        let (a_columns, b_columns) = (all_columns(a), all_columns(b));
        each_pair(&a.deliveries, &b.deliveries, |row, at_a, at_b| {
            let given = Given {
                on_trial: at_a.map(|at| row_of(&a_columns, at)),
                fallback: at_b.map(|at| row_of(&b_columns, at)),
            };
            if given.on_trial != given.fallback {
                let nothing = || vec![Given::default(); on_trial.len()];
                if let Some(output) = differs.entry(row).or_insert_with(nothing).get_mut(number) {
                    *output = given;
                }
            }
        });
    }
    differs
}

impl Differences {
    /// Those of current rows.
    pub(super) fn of(current: impl Iterator<Item = DifferingRow>) -> Self {
        let mut all = Self::default();
        for DifferingRow { read, outputs } in current {
            let difference = all.rows.entry(read).or_insert(Difference { rows: 0, outputs });
            difference.rows += 1;
        }
        all
    }

    pub(super) fn savepoint(&mut self) {
        self.journal.clear();
    }

    pub(super) fn rollback(&mut self) {
        for (row, difference) in mem::take(&mut self.journal) {
            match difference {
                Some(difference) => drop(self.rows.insert(row, difference)),
                None => drop(self.rows.remove(&row)),
            }
        }
    }

    /// Takes in what both versions give of the first `rows` rows of `input`: the delivery of a row that they give is the number
    /// of the row that it comes of.
    pub(super) fn note(&mut self, input: &Batch, rows: u32, on_trial: &[Batch], fallback: &[Batch]) {
        let mut differs = differing_rows(on_trial, fallback);
        differs.retain(|row, _| *row < rows);
        let columns = all_columns(input);
        for (row, outputs) in differs {
            let mut key = Vec::new();
            push_key(&mut key, &columns, row as usize);
            self.change(key, input.kind(row as usize).retracts(), outputs);
        }
    }

    /// Leaves rows that are past, as far as both versions differ over them: what they became stays.
    pub(super) fn leave(&mut self, rows: &Batch) {
        let columns = all_columns(rows);
        for row in 0..rows.len() {
            let mut key = Vec::new();
            push_key(&mut key, &columns, row);
            if let Some(known) = self.rows.get(&key) {
                let outputs = known.outputs.clone();
                self.change(key, true, outputs);
            }
        }
    }

    fn change(&mut self, row: Vec<u8>, retracts: bool, outputs: Vec<Given>) {
        let before = self.rows.get(&row).cloned();
        let count = before.as_ref().map_or(0, |before| before.rows);
        let count = match retracts {
            true => count.checked_sub(1),
            false => count.checked_add(1),
        };
        let Some(rows) = count else {
            note_defect("a row goes from a changelog that never came");
            return;
        };
        match rows {
            0 => drop(self.rows.remove(&row)),
            rows => drop(self.rows.insert(row.clone(), Difference { rows, outputs })),
        }
        self.journal.entry(row).or_insert(before);
    }

    /// Leaves all of them, and gives for each output what leads back to the fallback, in the order of the rows, as rows of
    /// `delivery`.
    pub(super) fn take_back(&mut self, outputs: &[Output], delivery: u32) -> Vec<Batch> {
        let mut rows: Vec<(Vec<u8>, Difference)> = self.rows.drain().collect();
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        let outputs = outputs.iter().enumerate().map(|(number, output)| {
            let mut back = ChangelogBuilder::new(&output.schema, 0);
            for (_, difference) in &rows {
                let Some(given) = difference.outputs.get(number) else {
                    continue;
                };
                let change = (given.on_trial.as_deref(), given.fallback.as_deref());
                if change.0 != change.1 {
                    let needs_update_before = output.readers.needs_update_before;
                    (0..difference.rows).for_each(|_| push_change(&mut back, needs_update_before, delivery, change));
                }
            }
            back.finish()
        });
        let outputs = outputs.collect();
        for (row, difference) in rows {
            self.journal.entry(row).or_insert(Some(difference));
        }
        outputs
    }
}
