//! A table by primary key.
//!
//! - Where the key of the changelog is (part of) the table's, each change sets or deletes one row.
//! - Where it is another (a table by account over rows kept by account and device), several rows compete for one primary
//!   key. The one that changed last shows; deleting it brings back the latest of those that remain. All of them are
//!   state of the sink, one entry each.

use crate::{
    column::{Batch, RowKind},
    operator::StateMap,
    row::{push_cell, push_key},
    sink::KeyedRow,
    state::{KeyedState, StateValue},
};
use hashbrown::HashMap;
use std::collections::{BTreeMap, btree_map::Entry};

/// Collects the changes of a table.
#[derive(Debug)]
pub struct TableSink {
    columns: Vec<usize>,
    key: Vec<usize>,
    pending: HashMap<Box<[u8]>, Option<Box<[u8]>>>,
    rivals: Option<Rivals>,
}

/// The rows that compete for primary keys.
#[derive(Debug)]
struct Rivals {
    /// The columns that tell rows apart.
    rows_by: Vec<usize>,
    /// By primary key and row: the row, and when it changed.
    rows: KeyedState<Rival>,
    /// By primary key.
    order: BTreeMap<Box<[u8]>, ByChange>,
    /// Counts changes; a later one has a greater number.
    change: u64,
}

/// The key in `rows` of each row of one primary key, by when it changed.
type ByChange = BTreeMap<u64, Box<[u8]>>;

#[derive(Clone, Debug)]
struct Rival {
    change: u64,
    /// How many bytes of the entry's key are the primary key.
    key_len: u32,
    row: Box<[u8]>,
}

impl StateValue for Rival {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.change.to_le_bytes());
        bytes.extend_from_slice(&self.key_len.to_le_bytes());
        bytes.extend_from_slice(&self.row);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (change, rest) = bytes.split_first_chunk::<8>()?;
        let (key_len, row) = rest.split_first_chunk::<4>()?;
        let (change, key_len) = (u64::from_le_bytes(*change), u32::from_le_bytes(*key_len));
        Some(Self {
            change,
            key_len,
            row: row.into(),
        })
    }
}

impl TableSink {
    pub(super) fn new(columns: Vec<usize>, key: Vec<usize>, rows_by: Option<Vec<usize>>, seed: u64) -> Self {
        let rivals = rows_by.map(|rows_by| Rivals {
            rows_by,
            rows: KeyedState::new(seed),
            order: BTreeMap::new(),
            change: 0,
        });
        Self {
            columns,
            key,
            pending: HashMap::new(),
            rivals,
        }
    }

    pub(super) fn collect(&mut self, input: &Batch) {
        let (columns, keys) = (input.pick(&self.columns), input.pick(&self.key));
        let (mut key, mut bytes) = (Vec::new(), Vec::new());
        let rival_columns = self.rivals.as_ref().map(|rivals| input.pick(&rivals.rows_by));
        for row in 0..input.len() {
            key.clear();
            bytes.clear();
            push_key(&mut key, &keys, row);
            let kind = input.kind(row);
            if !kind.retracts() {
                columns.iter().for_each(|column| push_cell(&mut bytes, column.get(row)));
            }
            match (&mut self.rivals, &rival_columns) {
                (Some(rivals), Some(rows_by)) => {
                    let mut entry = key.clone();
                    push_key(&mut entry, rows_by, row);
                    // An update-before is followed by its update-after, which replaces it: only where the primary key
                    // changes in between does the old one lose its row.
                    let stays = kind == RowKind::UpdateBefore && {
                        let mut next = Vec::new();
                        push_key(&mut next, &keys, row + 1);
                        push_key(&mut next, rows_by, row + 1);
                        next == entry
                    };
                    if !stays {
                        let shown = rivals.change(&key, &entry, (!kind.retracts()).then_some(bytes.as_slice()));
                        set(&mut self.pending, &key, shown);
                    }
                }
                _ => set(&mut self.pending, &key, (!kind.retracts()).then_some(bytes.as_slice())),
            }
        }
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn take(&mut self) -> Vec<KeyedRow> {
        // The map keeps its room for the next turn, which changes as many keys or so.
        self.pending.drain().collect()
    }

    pub(super) fn state(&mut self) -> Option<&mut dyn StateMap> {
        self.rivals.as_mut().map(|rivals| &mut rivals.rows as &mut dyn StateMap)
    }

    pub(super) fn restored(&mut self) {
        let Some(Rivals {
            rows, order, change, ..
        }) = &mut self.rivals
        else {
            return;
        };
        for (entry, rival) in rows.iter() {
            let key = entry.get(..rival.key_len as usize).unwrap_or_default();
            order.entry(key.into()).or_default().insert(rival.change, entry.into());
            *change = rival.change.max(*change);
        }
    }
}

fn set(pending: &mut HashMap<Box<[u8]>, Option<Box<[u8]>>>, key: &[u8], row: Option<&[u8]>) {
    match (pending.get_mut(key), row) {
        (Some(Some(current)), Some(row)) if current.len() == row.len() => current.copy_from_slice(row),
        (Some(current), row) => *current = row.map(Box::from),
        (None, row) => {
            pending.insert(key.into(), row.map(Box::from));
        }
    }
}

impl Rivals {
    /// Sets or removes the row of `entry` and gives the row that `key` shows now.
    fn change(&mut self, key: &[u8], entry: &[u8], row: Option<&[u8]>) -> Option<&[u8]> {
        self.change += 1;
        let (change, key_len) = (self.change, key.len() as u32);
        let mut before = None;
        self.rows.modify(entry, |rival| {
            before = rival.as_ref().map(|rival| rival.change);
            *rival = row.map(|row| Rival {
                change,
                key_len,
                row: row.into(),
            });
            true
        });
        let mut order = match self.order.entry(key.into()) {
            Entry::Vacant(vacant) => {
                row?;
                vacant.insert_entry(BTreeMap::new())
            }
            Entry::Occupied(occupied) => occupied,
        };
        if let Some(before) = before {
            order.get_mut().remove(&before);
        }
        if row.is_some() {
            order.get_mut().insert(change, entry.into());
        }
        let shown = order.get().last_key_value().map(|(_, entry)| entry.clone());
        if shown.is_none() {
            order.remove();
        }
        self.rows.get(&shown?).map(|rival| &*rival.row)
    }
}
