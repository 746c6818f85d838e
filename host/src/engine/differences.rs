//! What a version on trial changed of the current rows, so that it can be taken back.
//!
//! What a rule over a changelog let through stands further on. Where a version on trial is taken back, all current rows are
//! judged back at that very row. So while it is on trial, those are kept over which it differs from the version that it falls
//! back on, with what both give of them. They are not stored: a start asks both versions again.

use super::rules::{all_columns, each_moved};
use crate::{
    error::note_defect,
    model::{batch::Batch, moved::Moved, row::push_key},
    operator::ChangelogBuilder,
    plan::Output,
};
use hashbrown::HashMap;
use std::{collections::BTreeMap, mem, sync::Arc};
use xxhash_rust::xxh3::xxh3_128;

/// The current rows over which two versions differ.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// By the key that all cells of the row make.
    rows: HashMap<Arc<[u8]>, Difference>,
    /// How what changed since the savepoint was then.
    journal: HashMap<Arc<[u8]>, Option<Difference>>,
}

#[derive(Clone, Debug)]
struct Difference {
    /// How many such rows there are: of a changelog whose key was left out there may be several.
    rows: u64,
    outputs: Given,
}

/// What takes a row back in each output: from what the version on trial gives of it to what its fallback does.
pub(super) type Given = Arc<[Moved]>;

/// The differences over current rows that change while nobody reads them: what is known of each goes by its key.
#[derive(Debug, Default)]
pub(super) struct DifferencesByKey {
    all: Differences,
    /// By the hash of the key of a current row: the key that all its cells make, as the rule reads it.
    read: HashMap<u128, Arc<[u8]>>,
}

impl DifferencesByKey {
    /// Notes what both versions give of the current row of this key, which all cells of `read` make as the rule reads it. Nothing
    /// is known of that key.
    pub(super) fn insert(&mut self, key: &[u8], read: Arc<[u8]>, outputs: Given) {
        self.all.add(read.clone(), outputs);
        self.read.insert(xxh3_128(key), read);
    }

    /// Forgets the current row of this key.
    pub(super) fn forget(&mut self, key: &[u8]) {
        if let Some(read) = self.read.remove(&xxh3_128(key)) {
            self.all.remove(&read);
        }
    }

    /// Takes the differences over all current rows out. What is left takes a while to drop.
    pub(super) fn take(&mut self) -> Differences {
        mem::take(&mut self.all)
    }
}

/// The rows of which two versions give others, by their numbers: the delivery of a row that they give is that of the row that
/// it comes of. Each with what takes it back in each output.
pub(super) fn differing_rows(on_trial: &[Batch], fallback: &[Batch]) -> BTreeMap<u32, Given> {
    let mut differs: BTreeMap<u32, Vec<Moved>> = BTreeMap::new();
    for (number, (a, b)) in on_trial.iter().zip(fallback).enumerate() {
        let (a_columns, b_columns) = (all_columns(a), all_columns(b));
        each_moved((&a.deliveries, &a_columns), (&b.deliveries, &b_columns), |row, back| {
            let nothing = || vec![Moved::default(); on_trial.len()];
            if let Some(output) = differs.entry(row).or_insert_with(nothing).get_mut(number) {
                *output = back;
            }
        });
    }
    let differs = differs.into_iter();
    differs.map(|(row, outputs)| (row, outputs.into())).collect()
}

impl Differences {
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
            self.change(key.into(), input.kind(row as usize).retracts(), outputs);
        }
    }

    /// Leaves rows that are past, as far as both versions differ over them: what they became stays.
    pub(super) fn leave(&mut self, rows: &Batch) {
        let columns = all_columns(rows);
        for row in 0..rows.len() {
            let mut key = Vec::new();
            push_key(&mut key, &columns, row);
            if let Some(known) = self.rows.get(&*key) {
                let outputs = known.outputs.clone();
                self.change(key.into(), true, outputs);
            }
        }
    }

    fn change(&mut self, row: Arc<[u8]>, retracts: bool, outputs: Given) {
        let before = self.rows.get(&row).cloned();
        match retracts {
            true => self.remove(&row),
            false => self.add(row.clone(), outputs),
        }
        self.journal.entry(row).or_insert(before);
    }

    fn add(&mut self, row: Arc<[u8]>, outputs: Given) {
        let known = self.rows.entry(row);
        let known = known.or_insert_with(|| Difference {
            rows: 0,
            outputs: Given::default(),
        });
        known.rows += 1;
        known.outputs = outputs;
    }

    fn remove(&mut self, row: &[u8]) {
        match self.rows.get_mut(row) {
            Some(known) if known.rows > 1 => known.rows -= 1,
            Some(_) => drop(self.rows.remove(row)),
            None => note_defect("a row goes from a changelog that never came"),
        }
    }

    /// Leaves all of them, and gives for each output what leads back to the fallback, in the order of the rows, as rows of
    /// `delivery`.
    pub(super) fn take_back(&mut self, outputs: &[Output], delivery: u32) -> Vec<Batch> {
        let mut rows: Vec<(Arc<[u8]>, Difference)> = self.rows.drain().collect();
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        let outputs = outputs.iter().enumerate().map(|(number, output)| {
            let mut back = ChangelogBuilder::new(&output.schema, 0);
            for (_, difference) in &rows {
                let Some(given) = difference.outputs.get(number) else {
                    continue;
                };
                let needs_update_before = output.readers.needs_update_before;
                (0..difference.rows).for_each(|_| back.push_moved(needs_update_before, delivery, given));
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
