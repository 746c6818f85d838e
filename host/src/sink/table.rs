//! A table by primary key.
//!
//! - Where the key of the changelog is (part of) the table's, each change sets or deletes one row.
//! - Where it is another (a table by account over rows kept by account and device), several rows compete for one primary
//!   key. The one that changed last shows; deleting it brings back the latest of those that remain. All of them are
//!   state of the sink, one entry each.

use crate::{
    model::{
        batch::{Batch, RowKind},
        keys::Keys,
        moved::{MovedInTable, MovedRows},
        row::{push_cell, push_key},
        rows::PendingRows,
        turn::Upserts,
    },
    operator::StateMap,
    state::{KeyedState, StateValue},
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    mem,
    sync::Arc,
};

/// Collects the changes of a table.
#[derive(Debug)]
pub struct TableSink {
    columns: Vec<usize>,
    key: Vec<usize>,
    /// What was collected up to the last swap.
    earlier: Vec<Upserts>,
    pending: PendingRows,
    contenders: Option<Contenders>,
}

/// The rows that compete for primary keys.
#[derive(Debug)]
struct Contenders {
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
        let contenders = rows_by.map(|rows_by| Contenders {
            rows_by,
            rows: KeyedState::new(seed),
            order: BTreeMap::new(),
            change: 0,
        });
        Self {
            columns,
            key,
            earlier: Vec::new(),
            pending: PendingRows::new(seed),
            contenders,
        }
    }

    pub(super) fn replace(&mut self, columns: Vec<usize>, key: Vec<usize>, rows_by: Option<&[usize]>) {
        (self.columns, self.key) = (columns, key);
        if let (Some(contenders), Some(rows_by)) = (&mut self.contenders, rows_by) {
            contenders.rows_by = rows_by.to_vec();
        }
    }

    pub(super) fn collect(&mut self, input: &Batch, sequence_of: impl Fn(u32) -> u64) {
        match &mut self.contenders {
            None => self.collect_rows(input, sequence_of),
            Some(contenders) => contenders.collect(input, &self.columns, &self.key, &mut self.pending, sequence_of),
        }
    }

    fn collect_rows(&mut self, input: &Batch, sequence_of: impl Fn(u32) -> u64) {
        let (columns, key) = (input.pick(&self.columns), input.pick(&self.key));
        let (mut ahead, mut bytes) = (Keys::default(), Vec::new());
        while let Some(rows) = ahead.next_rows(input.len(), |ahead, row| {
            ahead.push(|bytes| push_key(bytes, &key, row));
            1
        }) {
            self.pending.look_ahead(&mut ahead);
            for row in rows {
                bytes.clear();
                let retracts = input.kind(row).retracts();
                if !retracts {
                    columns.iter().for_each(|column| push_cell(&mut bytes, column.get(row)));
                }
                let lineage = input.lineage(row).iter().map(|&delivery| sequence_of(delivery));
                self.pending
                    .set_next(&mut ahead, (!retracts).then_some(bytes.as_slice()), lineage);
            }
        }
    }

    /// Takes in the rows of a swap as they are, where none competes with others for its primary key. They are
    /// made rows of the table when the turn is committed.
    pub(super) fn collect_moved(&mut self, moved: &Arc<MovedRows>, needs_update_before: bool, behind: u64) {
        let collected = self.take_collected();
        self.earlier.extend(collected);
        self.earlier.push(Upserts::Moved(MovedInTable {
            moved: moved.clone(),
            columns: self.columns.clone(),
            key: self.key.clone(),
            needs_update_before,
            behind,
        }));
    }

    /// Whether rows of a swap wait for the commit.
    pub(super) fn holds_moved(&self) -> bool {
        let mut earlier = self.earlier.iter();
        earlier.any(|upserts| matches!(upserts, Upserts::Moved(_)))
    }

    /// Whether rows compete for primary keys.
    pub(super) fn has_contenders(&self) -> bool {
        self.contenders.is_some()
    }

    pub(super) fn pending(&self) -> usize {
        let earlier = self.earlier.iter().map(|upserts| match upserts {
            Upserts::Collected(rows) => rows.len(),
            Upserts::Moved(_) => 0,
        });
        earlier.sum::<usize>() + self.pending.len()
    }

    pub(super) fn pending_bytes(&self) -> usize {
        let earlier = self.earlier.iter().map(|upserts| match upserts {
            Upserts::Collected(rows) => rows.cause_bytes(),
            Upserts::Moved(_) => 0,
        });
        earlier.sum::<usize>() + self.pending.cause_bytes()
    }

    pub(super) fn take(&mut self) -> Vec<Upserts> {
        let mut all = mem::take(&mut self.earlier);
        all.extend(self.take_collected());
        all
    }

    fn take_collected(&mut self) -> Option<Upserts> {
        (self.pending.len() > 0).then(|| Upserts::Collected(self.pending.take()))
    }

    pub(super) fn state(&mut self) -> Option<&mut dyn StateMap> {
        self.contenders
            .as_mut()
            .map(|contenders| &mut contenders.rows as &mut dyn StateMap)
    }

    pub(super) fn restored(&mut self) {
        let Some(Contenders {
            rows, order, change, ..
        }) = &mut self.contenders
        else {
            return;
        };
        for (entry, contender) in rows.iter() {
            let key = entry.get(..contender.key_len as usize).unwrap_or_default();
            order
                .entry(key.into())
                .or_default()
                .insert(contender.change, entry.into());
            *change = contender.change.max(*change);
        }
    }
}

impl Contenders {
    fn collect(
        &mut self,
        input: &Batch,
        columns: &[usize],
        key: &[usize],
        pending: &mut PendingRows,
        sequence_of: impl Fn(u32) -> u64,
    ) {
        let (columns, keys, rows_by) = (input.pick(columns), input.pick(key), input.pick(&self.rows_by));
        let (mut key, mut entry, mut next, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for row in 0..input.len() {
            key.clear();
            push_key(&mut key, &keys, row);
            entry.clone_from(&key);
            push_key(&mut entry, &rows_by, row);
            let kind = input.kind(row);
            // An update-before is followed by its update-after, which replaces it: only where the primary key changes in
            // between does the old one lose its row.
            if kind == RowKind::UpdateBefore {
                next.clear();
                push_key(&mut next, &keys, row + 1);
                push_key(&mut next, &rows_by, row + 1);
                if next == entry {
                    continue;
                }
            }
            bytes.clear();
            if !kind.retracts() {
                columns.iter().for_each(|column| push_cell(&mut bytes, column.get(row)));
            }
            let shown = self.change(&key, &entry, (!kind.retracts()).then_some(bytes.as_slice()));
            let lineage = input.lineage(row).iter().map(|&delivery| sequence_of(delivery));
            pending.set(&key, shown, lineage);
        }
    }

    /// Sets or removes the row of `entry` and gives the row that `key` shows now.
    fn change(&mut self, key: &[u8], entry: &[u8], row: Option<&[u8]>) -> Option<&[u8]> {
        self.change += 1;
        let (change, key_len) = (self.change, key.len() as u32);
        let mut before = None;
        self.rows.modify(entry, |contender| {
            before = contender.as_ref().map(|contender| contender.change);
            *contender = row.map(|row| Rival {
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
        self.rows.get(&shown?).map(|contender| &*contender.row)
    }
}
