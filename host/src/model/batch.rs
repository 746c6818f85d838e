//! Batches: rows between two steps.

use super::column::{Column, gather};
use crate::error::note_defect;
use std::{ops::Range, sync::Arc};

/// How a row of a changelog changes the table that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// The row is new.
    Insert,
    /// The row as it was before an update; always right before its [`RowKind::UpdateAfter`].
    UpdateBefore,
    /// The row as it is after an update.
    UpdateAfter,
    /// The row is gone.
    Delete,
}

impl RowKind {
    /// Whether the row is taken away rather than added.
    #[inline]
    pub fn retracts(self) -> bool {
        matches!(self, Self::UpdateBefore | Self::Delete)
    }
}

/// Rows of one edge: columns, where each row came from, and how it changes things.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// One column per field of the edge's schema.
    pub columns: Vec<Arc<Column>>,
    /// For each row the index of the delivery that caused it, ascending.
    pub deliveries: Vec<u32>,
    /// The kind of each row; absent when all are inserts.
    pub kinds: Option<Vec<RowKind>>,
    /// Where rows tell of several deliveries at once: all of them. Lost where rows are left out or put in another order.
    pub lineage: Option<Arc<Lineage>>,
}

/// The deliveries that had part in each row of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// For each row where its deliveries end.
    pub ends: Vec<u32>,
    /// The deliveries of all rows, one row after the other.
    pub deliveries: Vec<u32>,
}

impl Lineage {
    /// The deliveries that had part in `row`.
    pub fn of(&self, row: usize) -> &[u32] {
        let end = |row: usize| self.ends.get(row).map(|&end| end as usize);
        let start = row.checked_sub(1).map_or(Some(0), end);
        let range = start.zip(end(row));
        let deliveries = range.and_then(|(start, end)| self.deliveries.get(start..end));
        deliveries.unwrap_or_else(|| {
            note_defect(format_args!(
                "the lineage of row {row} of {} was asked for",
                self.ends.len()
            ));
            &[]
        })
    }
}

/// No rows, to be borrowed.
pub(crate) static NOTHING: Batch = Batch {
    columns: Vec::new(),
    deliveries: Vec::new(),
    kinds: None,
    lineage: None,
};

impl Batch {
    /// The deliveries that had part in `row`.
    pub fn lineage(&self, row: usize) -> &[u32] {
        match &self.lineage {
            Some(lineage) => lineage.of(row),
            None => match self.deliveries.get(row..=row) {
                Some(delivery) => delivery,
                None => self.beyond(row, &[]),
            },
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// The kind of `row`.
    #[inline]
    pub fn kind(&self, row: usize) -> RowKind {
        match self.kinds.as_ref().map(|kinds| kinds.get(row)) {
            None => RowKind::Insert,
            Some(Some(&kind)) => kind,
            Some(None) => self.beyond(row, RowKind::Insert),
        }
    }

    /// The delivery that caused `row`.
    #[inline]
    pub fn delivery(&self, row: usize) -> u32 {
        match self.deliveries.get(row) {
            Some(&delivery) => delivery,
            None => self.beyond(row, 0),
        }
    }

    /// Notes that a row was asked for that is not there. Nobody sees `instead`: no turn is given after that.
    #[cold]
    #[inline(never)]
    fn beyond<T>(&self, row: usize, instead: T) -> T {
        note_defect(format_args!("row {row} of {} was asked for", self.len()));
        instead
    }

    /// The columns at `indices`, in that order. Where there are no rows, there may be none.
    pub fn pick(&self, indices: &[usize]) -> Vec<&Column> {
        self.picked(indices).map(|column| &**column).collect()
    }

    pub(crate) fn picked<'b>(&'b self, indices: &[usize]) -> impl Iterator<Item = &'b Arc<Column>> {
        indices.iter().filter_map(|&index| {
            let column = self.columns.get(index);
            if column.is_none() && !self.is_empty() {
                note_defect(format_args!("column {index} of {} was picked", self.columns.len()));
            }
            column
        })
    }

    /// The given rows, in the given order.
    #[must_use]
    pub fn gather(&self, rows: &[u32]) -> Self {
        if rows.len() == self.len() && rows.iter().enumerate().all(|(at, &row)| at == row as usize) {
            return self.clone();
        }
        Self {
            columns: self
                .columns
                .iter()
                .map(|column| Arc::new(column.gather(rows)))
                .collect(),
            deliveries: gather(&self.deliveries, rows),
            kinds: self
                .kinds
                .as_ref()
                .map(|_| rows.iter().map(|&row| self.kind(row as usize)).collect()),
            lineage: None,
        }
    }

    /// The given rows with these columns alone, as rows that stand for themselves.
    #[must_use]
    pub fn rows_of(&self, rows: &[u32], columns: &[usize]) -> Self {
        let whole = Self {
            columns: self.picked(columns).cloned().collect(),
            deliveries: self.deliveries.clone(),
            kinds: None,
            lineage: None,
        };
        whole.gather(rows)
    }

    /// Some of the rows, each with its delivery.
    #[inline]
    pub fn rows_in(&self, rows: Range<usize>) -> impl Iterator<Item = (usize, u32)> + use<'_> {
        let deliveries = self.deliveries.get(rows.clone()).unwrap_or_default();
        rows.zip(deliveries.iter().copied())
    }

    /// Whether two rows have the same cells.
    pub fn same_row(&self, a: u32, b: u32) -> bool {
        let mut columns = self.columns.iter();
        columns.all(|column| column.get(a as usize) == column.get(b as usize))
    }

    /// The rows whose delivery lies in `range`.
    #[must_use]
    pub fn of_deliveries(&self, range: Range<u32>) -> Self {
        let start = self.deliveries.partition_point(|&delivery| delivery < range.start);
        let end = self.deliveries.partition_point(|&delivery| delivery < range.end);
        self.gather(&(start as u32..end as u32).collect::<Vec<_>>())
    }

    /// All rows of `batches`, ordered by the delivery that caused them (rows of one delivery keep their order).
    #[must_use]
    pub fn merge(batches: Vec<Self>) -> Self {
        let mut parts = batches.into_iter().filter(|batch| !batch.is_empty());
        let Some(mut all) = parts.next() else {
            return Self::default();
        };
        let mut alone = true;
        for part in parts {
            alone = false;
            all.lineage = None;
            if all.columns.len() != part.columns.len() {
                note_defect(format_args!(
                    "{} and {} columns were merged",
                    all.columns.len(),
                    part.columns.len()
                ));
            }
            let before = all.len();
            for (column, more) in all.columns.iter_mut().zip(&part.columns) {
                Arc::make_mut(column).extend(more);
            }
            if all.kinds.is_some() || part.kinds.is_some() {
                let mut kinds = all.kinds.take().unwrap_or_else(|| vec![RowKind::Insert; before]);
                kinds.extend((0..part.len()).map(|row| part.kind(row)));
                all.kinds = Some(kinds);
            }
            all.deliveries.extend_from_slice(&part.deliveries);
        }
        if alone {
            return all;
        }
        let mut order: Vec<u32> = (0..all.len() as u32).collect();
        order.sort_by_key(|&row| all.delivery(row as usize));
        all.gather(&order)
    }
}
