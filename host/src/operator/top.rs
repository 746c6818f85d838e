//! The rows that rank first, which a window keeps in place of aggregates.
//!
//! A row's *place* is what it is ranked by, written so that comparing bytes compares rows: the value as in a key (its bits
//! turned over where the greatest comes first), the sequence of its event, and which row of that it is. So the order of
//! two rows is one comparison, there are no ties, and what remains does not depend on the order in which rows come, or
//! sessions and slices are merged.

use crate::{
    model::{
        batch::{Batch, RowKind},
        column::{Column, Value},
        row::{push_cell, push_key_cell, push_length, take_bytes, take_length},
    },
    planner::window::TopPlan,
};
use std::sync::Arc;

/// The rows of a group that rank first.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Top {
    /// How many there are at most.
    most: u32,
    /// In their order. Whoever keeps them as they were before shares them, and so does an attempt that changes nothing.
    rows: Arc<Vec<Ranked>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Ranked {
    /// The row's place, then its cells.
    bytes: Arc<[u8]>,
    /// Where the cells begin.
    place_len: u32,
}

impl Ranked {
    fn place(&self) -> &[u8] {
        self.bytes.get(..self.place_len as usize).unwrap_or_default()
    }

    fn cells(&self) -> &[u8] {
        self.bytes.get(self.place_len as usize..).unwrap_or_default()
    }
}

/// Ranks the rows of a batch.
pub(super) struct Ranking<'a> {
    most: u32,
    least: bool,
    by: &'a Column,
    columns: Vec<&'a Column>,
}

/// When a row came: the stream sequence of its event, and which row of that it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) sequence: u64,
    pub(super) ordinal: u32,
}

impl<'a> Ranking<'a> {
    pub(super) fn of(plan: &TopPlan, input: &'a Batch) -> Option<Self> {
        Some(Self {
            most: plan.n,
            least: plan.least,
            by: input.columns.get(plan.by)?,
            columns: input.pick(&plan.columns),
        })
    }

    /// Appends the place of a row; nothing and false where it has none, because what it is ranked by is null.
    fn push_place(&self, row: usize, arrival: Arrival, place: &mut Vec<u8>) -> bool {
        let value = self.by.get(row);
        if value.is_null() {
            return false;
        }
        push_key_cell(place, value);
        if !self.least {
            // No key begins with another one, so this turns the order around.
            place.iter_mut().for_each(|byte| *byte = !*byte);
        }
        place.extend_from_slice(&arrival.sequence.to_be_bytes());
        place.extend_from_slice(&arrival.ordinal.to_be_bytes());
        true
    }
}

impl Top {
    /// Puts a row into its place, if it ranks among the first. Says whether it does.
    pub(super) fn offer(top: &mut Option<Self>, ranking: &Ranking<'_>, row: usize, arrival: Arrival) -> bool {
        let mut bytes = Vec::with_capacity(64);
        if !ranking.push_place(row, arrival, &mut bytes) {
            return false;
        }
        let top = top.get_or_insert_with(|| Self {
            most: ranking.most,
            rows: Arc::default(),
        });
        let at = top.rows.partition_point(|before| before.place() < bytes.as_slice());
        if at >= top.most as usize {
            return false;
        }
        let place_len = bytes.len() as u32;
        for column in &ranking.columns {
            push_cell(&mut bytes, column.get(row));
        }
        let rows = Arc::make_mut(&mut top.rows);
        rows.truncate(top.most as usize - 1);
        rows.insert(
            at,
            Ranked {
                bytes: bytes.into(),
                place_len,
            },
        );
        true
    }

    /// Takes in the rows of another group.
    pub(super) fn merge(&mut self, other: &Self) {
        let rows = Arc::make_mut(&mut self.rows);
        rows.extend(other.rows.iter().cloned());
        rows.sort_by(|a, b| a.place().cmp(b.place()));
        rows.truncate(self.most as usize);
    }

    /// Appends the results, each behind its length: the end of the window where it is given, the rank, the row.
    pub(super) fn push_results(&self, end_us: Option<i64>, results: &mut Vec<u8>) {
        let mut result = Vec::new();
        for (at, row) in self.rows.iter().enumerate() {
            result.clear();
            if let Some(end_us) = end_us {
                push_cell(&mut result, Value::Int(end_us));
            }
            push_cell(&mut result, Value::Int(at as i64 + 1));
            result.extend_from_slice(row.cells());
            push_length(results, result.len());
            results.extend_from_slice(&result);
        }
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        push_length(bytes, self.most as usize);
        push_length(bytes, self.rows.len());
        for row in &*self.rows {
            push_length(bytes, row.place_len as usize);
            push_length(bytes, row.bytes.len());
            bytes.extend_from_slice(&row.bytes);
        }
    }

    /// Takes what [`Top::encode`] wrote off the front of `bytes`; nothing when they are none of it.
    pub(super) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let most = u32::try_from(take_length(bytes)?).ok()?;
        let count = take_length(bytes)?;
        let mut rows = Vec::new();
        for _ in 0..count {
            let place_len = u32::try_from(take_length(bytes)?).ok()?;
            let length = take_length(bytes)?;
            let bytes = take_bytes(bytes, length)?.into();
            rows.push(Ranked { bytes, place_len });
        }
        let rows = Arc::new(rows);
        Some(Self { most, rows })
    }
}

/// The results of a group one by one: the whole, or where rows are `ranked`, each behind its length.
pub(super) fn results(results: Option<&[u8]>, ranked: bool) -> impl Iterator<Item = &[u8]> {
    let mut rest = results;
    std::iter::from_fn(move || {
        if !ranked {
            return rest.take();
        }
        let rest = rest.as_mut()?;
        let length = take_length(rest)?;
        take_bytes(rest, length)
    })
}

/// Calls `each` with the changes that turn the results emitted last into those of now: of ranked rows, rank by rank.
pub(super) fn each_change(
    emitted: Option<&[u8]>,
    now: Option<&[u8]>,
    ranked: bool,
    mut each: impl FnMut(RowKind, &[u8]),
) {
    let (mut emitted, mut now) = (results(emitted, ranked), results(now, ranked));
    loop {
        match (emitted.next(), now.next()) {
            (None, None) => return,
            (None, Some(now)) => each(RowKind::Insert, now),
            (Some(emitted), None) => each(RowKind::Delete, emitted),
            (Some(emitted), Some(now)) if emitted == now => {}
            (Some(emitted), Some(now)) => {
                each(RowKind::UpdateBefore, emitted);
                each(RowKind::UpdateAfter, now);
            }
        }
    }
}
