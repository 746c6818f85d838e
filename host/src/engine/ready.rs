//! The changelog of rows that a swap makes others, made beforehand.
//!
//! To bring a quarter of a million rows into the columns of a changelog takes longer than events may wait. So a rehearsal does
//! so as soon as it knows of all rows, and notes which have become others since. At the swap what was made is copied, but for
//! those.

use crate::{
    model::{
        batch::Batch,
        moved::{Moved, MovedRows},
    },
    operator::ChangelogBuilder,
    plan::Output,
};
use std::{collections::BTreeSet, ops::Range};

/// Rows that have become others, out of as many as were brought into columns, from which on all are brought into columns again...
const SHARE: usize = 64;

/// ...if there are at least so many.
const LEAST: usize = 1024;

/// The rows that are others in an output, with their changelog where somebody reads that row by row.
#[derive(Debug, Default)]
pub(super) struct MovedOutput {
    pub(super) rows: MovedRows,
    is_read_row_by_row: bool,
    ready: Option<Ready>,
}

/// A changelog as it was, and what has become another since.
#[derive(Debug, Default)]
struct Ready {
    changelog: Batch,
    keys: Keys,
    /// The keys of the rows that have become others.
    since: BTreeSet<Box<[u8]>>,
}

/// The keys of rows, in order, each with where the rows of the changelog end that are made of it.
#[derive(Debug, Default)]
struct Keys {
    bytes: Vec<u8>,
    ends: Vec<(usize, usize)>,
}

impl Keys {
    fn push(&mut self, key: &[u8], rows_end: usize) {
        self.bytes.extend_from_slice(key);
        self.ends.push((self.bytes.len(), rows_end));
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, at: usize) -> &[u8] {
        let end = |at: usize| self.ends.get(at).map_or(0, |(end, _)| *end);
        let start = at.checked_sub(1).map_or(0, end);
        self.bytes.get(start..end(at)).unwrap_or_default()
    }

    /// Where the rows of the keys in front of `at` end.
    fn rows_in_front(&self, at: usize) -> usize {
        let before = at.checked_sub(1).and_then(|before| self.ends.get(before));
        before.map_or(0, |(_, end)| *end)
    }

    /// The first key from `from` on that is not less than `key`: it is not far.
    fn first_from(&self, from: usize, key: &[u8]) -> usize {
        let (mut start, mut step) = (from, 1);
        while start + step <= self.len() && self.get(start + step - 1) < key {
            start += step;
            step *= 2;
        }
        let (mut less, mut end) = (start, (start + step - 1).min(self.len()));
        while less < end {
            let middle = less + (end - less) / 2;
            match self.get(middle) < key {
                true => less = middle + 1,
                false => end = middle,
            }
        }
        less
    }
}

impl MovedOutput {
    /// No rows yet, of an output that is read row by row or not.
    pub(super) fn new(is_read_row_by_row: bool) -> Self {
        Self {
            rows: MovedRows::default(),
            is_read_row_by_row,
            ready: None,
        }
    }

    /// As [`MovedRows::insert`].
    pub(super) fn insert(&mut self, of: &[u8], moved: Moved) {
        self.touch(of);
        self.rows.insert(of, moved);
    }

    /// As [`MovedRows::remove`].
    pub(super) fn remove(&mut self, of: &[u8]) {
        if self.rows.remove(of) {
            self.touch(of);
        }
    }

    fn touch(&mut self, of: &[u8]) {
        if let Some(ready) = &mut self.ready
            && !ready.since.contains(of)
        {
            ready.since.insert(of.into());
        }
    }

    /// Makes the changelog, or makes it again where many rows have become others.
    pub(super) fn renew(&mut self, output: &Output) {
        let mut keys = Keys::default();
        let changelog = match &self.ready {
            _ if !self.is_read_row_by_row => return,
            None => changelog_of(output, &self.rows, Some(&mut keys)),
            Some(ready) if ready.since.len() < LEAST.max(ready.keys.len() / SHARE) => return,
            Some(ready) => self.merged(ready, output, Some(&mut keys)),
        };
        self.ready = Some(Ready {
            changelog,
            keys,
            since: BTreeSet::new(),
        });
    }

    /// The changelog of all rows.
    pub(super) fn changelog(&self, output: &Output) -> Batch {
        match &self.ready {
            None => changelog_of(output, &self.rows, None),
            Some(ready) => self.merged(ready, output, None),
        }
    }

    /// The changelog of all rows, of what is ready and what has become another since; and their keys, where they are wanted.
    fn merged(&self, ready: &Ready, output: &Output, mut all_keys: Option<&mut Keys>) -> Batch {
        let Ready { changelog, keys, since } = ready;
        let needs_update_before = output.readers.needs_update_before;
        let mut all = ChangelogBuilder::new(&output.schema, self.rows.changes(needs_update_before));
        let copy = |all: &mut ChangelogBuilder, all_keys: &mut Option<&mut Keys>, range: Range<usize>| {
            let (first, end) = (keys.rows_in_front(range.start), keys.rows_in_front(range.end));
            let before = all.len();
            all.append(changelog, first..end);
            if let Some(all_keys) = all_keys {
                for at in range.clone() {
                    all_keys.push(keys.get(at), before + keys.rows_in_front(at + 1) - first);
                }
            }
        };
        let mut at = 0;
        for key in since {
            let found = keys.first_from(at, key);
            copy(&mut all, &mut all_keys, at..found);
            at = found + usize::from(found < keys.len() && keys.get(found) == &**key);
            if let Some(moved) = self.rows.get(key) {
                all.push_moved(needs_update_before, 0, moved);
                all_keys.iter_mut().for_each(|all_keys| all_keys.push(key, all.len()));
            }
        }
        copy(&mut all, &mut all_keys, at..keys.len());
        all.finish()
    }
}

/// The changelog of rows that are others in an output, as rows of the only delivery; and their keys, where they are wanted.
fn changelog_of(output: &Output, rows: &MovedRows, mut keys: Option<&mut Keys>) -> Batch {
    let needs_update_before = output.readers.needs_update_before;
    let mut changelog = ChangelogBuilder::new(&output.schema, rows.changes(needs_update_before));
    for (key, moved) in rows {
        changelog.push_moved(needs_update_before, 0, moved);
        keys.iter_mut().for_each(|keys| keys.push(key, changelog.len()));
    }
    changelog.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            column::{ColumnType, Field, Value},
            row::push_cell,
        },
        plan::{Change, Readers},
    };

    fn row(random: &mut fastrand::Rng) -> Vec<u8> {
        let mut row = Vec::new();
        match random.u8(..) {
            0..30 => push_cell(&mut row, Value::Null),
            value => push_cell(&mut row, Value::Int(value.into())),
        }
        push_cell(&mut row, Value::Text(&vec![b'x'; random.usize(0..9)]));
        row
    }

    #[test]
    fn what_was_made_beforehand_comes_to_the_changelog_of_all_rows() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let field = |name: &str, column_type| Field {
            name: name.to_owned(),
            column_type,
            nullable: true,
        };
        let schema = vec![field("n", ColumnType::Int), field("t", ColumnType::Text)];
        for needs_update_before in [false, true] {
            let output = Output {
                name: "out".to_owned(),
                offered: schema.clone(),
                schema: schema.clone(),
                change: Change::Keyed(None),
                timer_driven: false,
                readers: Readers {
                    needs_update_before,
                    ..Readers::OF_EVERY_CHANGE
                },
            };
            let mut moved = MovedOutput::new(true);
            for round in 0..200 {
                // Now and then all rows go, and many come at once.
                let (changes, keys) = (random.usize(0..400), random.u32(1..2_000));
                for _ in 0..changes {
                    let key = random.u32(0..keys).to_be_bytes();
                    match random.u8(0..4) {
                        0 if round % 7 == 6 => (0..keys).for_each(|key| moved.remove(&key.to_be_bytes())),
                        0 | 1 => moved.remove(&key),
                        _ => {
                            let [before, after] = [(); 2].map(|()| row(&mut random));
                            let (before, after) = match random.u8(0..3) {
                                0 => (None, Some(after)),
                                1 => (Some(before), None),
                                _ => (Some(before), Some(after)),
                            };
                            moved.insert(&key, Moved::new(before.as_deref(), after.as_deref()));
                        }
                    }
                }
                if round > 5 {
                    moved.renew(&output);
                }
                assert_eq!(moved.ready.is_some(), round > 5);
                let expected = changelog_of(&output, &moved.rows, None);
                assert_eq!(moved.changelog(&output), expected, "seed {seed}, round {round}");
            }
        }
    }
}
