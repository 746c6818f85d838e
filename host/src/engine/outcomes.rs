//! What becomes of the deliveries of a batch: each is applied, filtered, or a dead letter.

use crate::{
    error::note_defect,
    model::{
        batch::Batch,
        column::{Column, Field},
        delivery::RejectedDelivery,
        form::{ColumnForm, Place},
    },
    operator::Applied,
    sink::json,
};

/// What a pass over some events found out about each delivery of the batch.
#[derive(Debug)]
pub(super) struct Outcomes {
    /// Reached a state, a table or a sink.
    pub(super) applied: Vec<bool>,
    /// Is a dead letter.
    pub(super) dead: Vec<bool>,
    pub(super) rejected: Vec<RejectedDelivery>,
    /// Rows that came because time went on, and that a rule could not take.
    pub(super) dead_rows: Vec<DeadRow>,
}

/// A row that a rule could not take and that is no event's doing.
#[derive(Debug)]
pub(super) struct DeadRow {
    pub(super) rejected: RejectedDelivery,
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
            match self.dead.get_mut(rejected.delivery as usize) {
                Some(dead) => *dead = false,
                None => beyond(rejected.delivery),
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
        !self.is_dead(delivery)
    }

    fn is_dead(&self, delivery: u32) -> bool {
        self.dead.get(delivery as usize).copied().unwrap_or_else(|| {
            beyond(delivery);
            true
        })
    }

    pub(super) fn reject(&mut self, rejected: RejectedDelivery) {
        match self.dead.get_mut(rejected.delivery as usize) {
            Some(true) => {}
            Some(dead) => {
                *dead = true;
                self.rejected.push(rejected);
            }
            None => beyond(rejected.delivery),
        }
    }

    pub(super) fn apply(&mut self, rows: &Batch) {
        self.apply_each(&rows.deliveries);
    }

    /// What an operator says of the rows of an input.
    pub(super) fn apply_of(&mut self, rows: &Batch, applied: &Applied) {
        match applied {
            Applied::All => self.apply_each(&rows.deliveries),
            Applied::None => {}
            Applied::Only(deliveries) => self.apply_each(deliveries),
            Applied::But(others) => {
                let mut others = others.iter().peekable();
                for delivery in &rows.deliveries {
                    if others.next_if_eq(&delivery).is_none() {
                        self.apply_each(&[*delivery]);
                    }
                }
            }
        }
    }

    fn apply_each(&mut self, deliveries: &[u32]) {
        for &delivery in deliveries {
            match self.applied.get_mut(delivery as usize) {
                Some(applied) => *applied = true,
                None => beyond(delivery),
            }
        }
    }

    /// Keeps rows that no event is to blame for, as dead letters of their own.
    pub(super) fn reject_rows(&mut self, rejected: Vec<(RejectedDelivery, u32)>, schema: &[Field], input: &Batch) {
        let columns: Vec<&Column> = input.columns.iter().map(|column| &**column).collect();
        let fields = |field: &Field| ColumnForm::usual(field.column_type, Place::Subject);
        let rows = rejected.into_iter().map(|(rejected, row)| DeadRow {
            rejected,
            row: json(
                schema.iter().map(|field| (field.name.as_str(), fields(field))),
                &columns,
                row as usize,
            ),
        });
        self.dead_rows.extend(rows);
    }

    /// The rows whose event is no dead letter.
    pub(super) fn living(&self, rows: &Batch) -> Batch {
        if !rows.deliveries.iter().any(|&delivery| self.is_dead(delivery)) {
            return rows.clone();
        }
        let alive = (0..rows.len() as u32).filter(|&row| self.is_alive(rows.delivery(row as usize)));
        rows.gather(&alive.collect::<Vec<_>>())
    }
}

/// Notes that a row names a delivery that the batch does not have.
#[cold]
fn beyond(delivery: u32) {
    note_defect(format_args!("there is no delivery {delivery} in the batch"));
}
