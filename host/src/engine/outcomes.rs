//! What becomes of the deliveries of a batch: each is applied, filtered, or a dead letter.

use crate::{
    model::{
        column::{Batch, Column, Field},
        delivery::Rejected,
    },
    sink::json,
};

/// What a pass over some events found out about each delivery of the batch.
#[derive(Debug)]
pub(super) struct Outcomes {
    /// Reached a state, a table or a sink.
    pub(super) applied: Vec<bool>,
    /// Is a dead letter.
    pub(super) dead: Vec<bool>,
    pub(super) rejected: Vec<Rejected>,
    /// Rows that came because time went on, and that a rule could not take.
    pub(super) dead_rows: Vec<DeadRow>,
}

/// A row that a rule could not take and that is no event's doing.
#[derive(Debug)]
pub(super) struct DeadRow {
    pub(super) rejected: Rejected,
    /// The row, as a JSON object.
    pub(super) row: String,
}

/// The outcomes as they were before a part, to come back to where it is undone.
#[derive(Debug)]
pub(super) struct Mark {
    applied: Vec<bool>,
    rejected: usize,
    dead_rows: usize,
}

impl Outcomes {
    pub(super) fn new(deliveries: usize) -> Self {
        Self {
            applied: vec![false; deliveries],
            dead: vec![false; deliveries],
            rejected: Vec::new(),
            dead_rows: Vec::new(),
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            applied: self.applied.clone(),
            rejected: self.rejected.len(),
            dead_rows: self.dead_rows.len(),
        }
    }

    /// Forgets what was found out since the mark: also which events were rejected, so that whoever counts what a version
    /// rejects meets them again as it did the first time.
    pub(super) fn back_to(&mut self, mark: Mark) {
        self.applied = mark.applied;
        self.dead_rows.truncate(mark.dead_rows);
        for rejected in self.rejected.drain(mark.rejected.min(self.rejected.len())..) {
            if let Some(dead) = self.dead.get_mut(rejected.delivery as usize) {
                *dead = false;
            }
        }
    }

    /// Forgets all deliveries from this one on.
    pub(super) fn end_at(&mut self, delivery: u32) {
        self.applied.truncate(delivery as usize);
        self.dead.truncate(delivery as usize);
        self.rejected.retain(|rejected| rejected.delivery < delivery);
        self.dead_rows.retain(|row| row.rejected.delivery < delivery);
    }

    pub(super) fn is_alive(&self, delivery: u32) -> bool {
        self.dead.get(delivery as usize) == Some(&false)
    }

    pub(super) fn reject(&mut self, rejected: Rejected) {
        if let Some(dead) = self.dead.get_mut(rejected.delivery as usize)
            && !std::mem::replace(dead, true)
        {
            self.rejected.push(rejected);
        }
    }

    pub(super) fn apply(&mut self, rows: &Batch) {
        self.apply_each(&rows.deliveries);
    }

    pub(super) fn apply_each(&mut self, deliveries: &[u32]) {
        for &delivery in deliveries {
            if let Some(applied) = self.applied.get_mut(delivery as usize) {
                *applied = true;
            }
        }
    }

    /// As [`Outcomes::apply`], but for the rows that were left out for being late.
    pub(super) fn apply_but(&mut self, rows: &Batch, late: Option<&Batch>) {
        let mut late = late.into_iter().flat_map(|late| &late.deliveries).peekable();
        for delivery in &rows.deliveries {
            if late.next_if_eq(&delivery).is_none()
                && let Some(applied) = self.applied.get_mut(*delivery as usize)
            {
                *applied = true;
            }
        }
    }

    /// Keeps rows that no event is to blame for, as dead letters of their own.
    pub(super) fn reject_rows(&mut self, rejected: Vec<(Rejected, u32)>, schema: &[Field], input: &Batch) {
        let names: Vec<String> = schema.iter().map(|field| field.name.clone()).collect();
        let columns: Vec<&Column> = input.columns.iter().map(|column| &**column).collect();
        let rows = rejected.into_iter().map(|(rejected, row)| DeadRow {
            rejected,
            row: json(&names, &columns, row as usize),
        });
        self.dead_rows.extend(rows);
    }

    /// The rows whose event is no dead letter.
    pub(super) fn living(&self, rows: &Batch) -> Batch {
        let dead = |delivery: u32| self.dead.get(delivery as usize) == Some(&true);
        if !rows.deliveries.iter().any(|&delivery| dead(delivery)) {
            return rows.clone();
        }
        let alive = (0..rows.len() as u32).filter(|&row| rows.deliveries.get(row as usize).is_some_and(|&d| !dead(d)));
        rows.gather(&alive.collect::<Vec<_>>())
    }
}
