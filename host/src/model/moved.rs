//! Rows that a swap makes others, or takes away, or adds: as they were and as they are.
//!
//! There may be a million of them, and they are found out beside the data path. What a table makes of them is made when
//! the turn is committed, so that a swap only has to hand them on.

use crate::model::{
    column::Value,
    row::{cells, hash_of_key, push_cell, push_key_cell, push_length, take_bytes, take_length},
    rows::{KeyedRows, OF_SWAP, PendingRows},
};
use std::{
    collections::{BTreeMap, btree_map},
    iter,
    sync::Arc,
};

const BEFORE: u8 = 1;
const AFTER: u8 = 2;

/// A row as it was and as it is, each as its cells (see [`row`](super::row)), in one piece of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved(Box<[u8]>);

impl Moved {
    /// From `before` to `after`; where one is absent, there was or is no row.
    pub fn new(before: Option<&[u8]>, after: Option<&[u8]>) -> Self {
        let tag = before.map_or(0, |_| BEFORE) | after.map_or(0, |_| AFTER);
        if tag == 0 {
            return Self::default();
        }
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        let mut bytes = Vec::with_capacity(2 + before.len() + after.len());
        bytes.push(tag);
        push_length(&mut bytes, before.len());
        bytes.extend_from_slice(before);
        bytes.extend_from_slice(after);
        Self(bytes.into())
    }

    fn is_update(&self) -> bool {
        self.0.first() == Some(&(BEFORE | AFTER))
    }

    /// Both rows.
    pub fn sides(&self) -> (Option<&[u8]>, Option<&[u8]>) {
        let read = || {
            let (&tag, mut rest) = self.0.split_first()?;
            let length = take_length(&mut rest)?;
            let before = take_bytes(&mut rest, length)?;
            Some((
                (tag & BEFORE != 0).then_some(before),
                (tag & AFTER != 0).then_some(rest),
            ))
        };
        read().unwrap_or_default()
    }
}

/// What becomes of the rows of an output, by the key of the current row that each comes of, and in the order of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MovedRows {
    rows: BTreeMap<Box<[u8]>, Moved>,
    /// How many of them there were and are.
    updates: usize,
}

impl MovedRows {
    /// Says what becomes of the row that comes of the current row `of`, in the place of what was known of it.
    pub fn insert(&mut self, of: &[u8], moved: Moved) {
        self.updates += usize::from(moved.is_update());
        let known = self.rows.insert(of.into(), moved);
        self.updates -= usize::from(known.as_ref().is_some_and(Moved::is_update));
    }

    /// Forgets what is known of the row that comes of the current row `of`; says whether anything was.
    pub fn remove(&mut self, of: &[u8]) -> bool {
        let known = self.rows.remove(of);
        self.updates -= usize::from(known.as_ref().is_some_and(Moved::is_update));
        known.is_some()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many rows the changelog of them has, with or without the rows that updates replace.
    pub fn changes(&self, needs_update_before: bool) -> usize {
        self.len() + if needs_update_before { self.updates } else { 0 }
    }

    /// What becomes of the row that comes of the current row `of`.
    pub fn get(&self, of: &[u8]) -> Option<&Moved> {
        self.rows.get(of)
    }

    /// The rows in order, each with the key of its current row.
    pub fn iter(&self) -> MovedIter<'_> {
        self.rows.iter()
    }
}

/// The rows in order.
pub type MovedIter<'a> = btree_map::Iter<'a, Box<[u8]>, Moved>;

impl<'a> IntoIterator for &'a MovedRows {
    type Item = (&'a Box<[u8]>, &'a Moved);
    type IntoIter = MovedIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A row of a table, and the current row that it comes of, each by its key, see [`hash_of_key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JudgedRow {
    /// In the table.
    pub row: u64,
    /// In the changelog.
    pub current: u64,
    /// The sequence of the event that the swap is behind.
    pub behind: u64,
}

/// What moved rows are to a table that reads them, and in which each row has a key of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedInTable {
    /// The rows, with the cells of the output that the table reads.
    pub moved: Arc<MovedRows>,
    /// Where the columns of the table are among those.
    pub columns: Vec<usize>,
    /// Where the columns of its key are among those.
    pub key: Vec<usize>,
    /// Whether the table is told of the row that an update replaces.
    pub needs_update_before: bool,
    /// The sequence of the event that the swap is behind.
    pub behind: u64,
}

impl MovedInTable {
    /// How many rows of the table there are, at most.
    pub fn len(&self) -> usize {
        self.moved.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.moved.is_empty()
    }

    /// The rows as the table has them from the swap on.
    pub fn rows(&self) -> KeyedRows {
        let mut pending = PendingRows::new(0);
        let (mut key, mut row) = (Vec::new(), Vec::new());
        let mut set = |cells: &[Value<'_>], is_there: bool| {
            key.clear();
            row.clear();
            self.key.iter().for_each(|&at| push_key_cell(&mut key, cell(cells, at)));
            if is_there {
                self.columns.iter().for_each(|&at| push_cell(&mut row, cell(cells, at)));
            }
            let swap = iter::once(OF_SWAP + self.behind);
            pending.set(&key, is_there.then_some(row.as_slice()), swap);
        };
        for (_, moved) in &*self.moved {
            let (before, after) = moved.sides();
            if let Some(before) = before.filter(|_| self.needs_update_before || after.is_none()) {
                set(&cells(before).collect::<Vec<_>>(), false);
            }
            if let Some(after) = after {
                set(&cells(after).collect::<Vec<_>>(), true);
            }
        }
        pending.take()
    }

    /// Which rows of the table came of which current rows, or went with them.
    pub fn judged(&self) -> impl Iterator<Item = JudgedRow> {
        self.moved.iter().flat_map(|(of, moved)| {
            let (before, after) = moved.sides();
            let [before, after] = [before, after].map(|row| row.map(|row| self.hash_of(row)));
            let after = after.filter(|after| before != Some(*after));
            let (current, behind) = (hash_of_key(of), self.behind);
            let rows = before.into_iter().chain(after);
            rows.map(move |row| JudgedRow { row, current, behind })
        })
    }

    fn hash_of(&self, row: &[u8]) -> u64 {
        let values: Vec<Value<'_>> = cells(row).collect();
        let mut key = Vec::new();
        self.key
            .iter()
            .for_each(|&at| push_key_cell(&mut key, cell(&values, at)));
        hash_of_key(&key)
    }
}

fn cell<'a>(cells: &[Value<'a>], at: usize) -> Value<'a> {
    cells.get(at).copied().unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[i64]) -> Vec<u8> {
        let mut row = Vec::new();
        values.iter().for_each(|&value| push_cell(&mut row, Value::Int(value)));
        row
    }

    #[test]
    fn both_rows_read_back() {
        for before in [None, Some(&b""[..]), Some(b"as it was")] {
            for after in [None, Some(&b""[..]), Some(b"as it is")] {
                assert_eq!(Moved::new(before, after).sides(), (before, after));
            }
        }
    }

    #[test]
    fn a_table_gets_what_changed_and_by_which_swap() {
        let mut moved = MovedRows::default();
        moved.insert(b"a", Moved::new(Some(&row(&[10, 9])), Some(&row(&[10, 8]))));
        moved.insert(b"a", Moved::new(None, Some(&row(&[10, 1]))));
        moved.insert(b"0", Moved::new(Some(&row(&[1, 2])), Some(&row(&[3, 4]))));
        moved.remove(b"0");
        moved.insert(b"b", Moved::new(Some(&row(&[20, 2])), None));
        moved.insert(b"c", Moved::new(Some(&row(&[30, 3])), Some(&row(&[33, 3]))));
        // Of a key that holds more than that of the current row.
        moved.insert(b"d", Moved::new(Some(&row(&[40, 4])), Some(&row(&[40, 5]))));
        assert_eq!([false, true].map(|before| moved.changes(before)), [4, 6]);
        let in_table = MovedInTable {
            moved: Arc::new(moved),
            columns: vec![1, 0],
            key: vec![1],
            needs_update_before: true,
            behind: 7,
        };
        let key = |value: i64| {
            let mut key = Vec::new();
            push_key_cell(&mut key, Value::Int(value));
            key
        };
        let rows = in_table.rows();
        let found = rows.sorted().map(|(key, row)| (key.to_vec(), row.map(<[u8]>::to_vec)));
        let expected = [
            (key(1), Some(row(&[1, 10]))),
            (key(2), None),
            (key(3), Some(row(&[3, 33]))),
            (key(4), None),
            (key(5), Some(row(&[5, 40]))),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        let lineage = rows
            .lineage()
            .map(|(key, sequences)| (key.to_vec(), sequences.collect()));
        let expected = [1, 2, 3, 4, 5].map(|value| (key(value), vec![OF_SWAP + 7]));
        assert_eq!(lineage.collect::<Vec<(_, Vec<_>)>>(), expected);
        let judged = in_table
            .judged()
            .map(|judged| (judged.row, judged.current, judged.behind));
        let expected = [(1, b"a"), (2, b"b"), (3, b"c"), (4, b"d"), (5, b"d")];
        let expected = expected.map(|(value, of)| (hash_of_key(&key(value)), hash_of_key(of), 7));
        assert_eq!(judged.collect::<Vec<_>>(), expected);
    }
}
