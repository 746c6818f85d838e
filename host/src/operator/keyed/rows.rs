//! What comes out of a keyed function, piece by piece, brought in the order of the stream.

use super::lanes::{Lanes, RowOfLane};
use crate::{
    error::note_defect,
    model::{
        batch::Batch,
        column::{Column, ColumnType},
        guest::OutputRows,
        row::{cells, row_of_key},
    },
    planner::keyed::{KeyedColumn, KeyedPlan},
};
use std::{cmp::Ordering, sync::Arc};

/// The rows of each output.
#[derive(Debug)]
pub(super) struct Collected {
    outputs: Vec<Pieces>,
}

#[derive(Debug, Default)]
struct Pieces {
    rows: Vec<Row>,
    /// The computed columns of all pieces, one after the other.
    computed: Vec<Column>,
    /// How many rows all pieces have.
    len: u32,
}

/// A row that came out.
#[derive(Clone, Copy, Debug)]
struct Row {
    delivery: u32,
    cause: Cause,
    lane: usize,
    /// Its place among the rows of all pieces.
    at: u32,
}

/// Why a row came out: in the order in which that is so behind one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// A row of the input.
    Row(u32),
    /// A time that came.
    Time(i64),
}

impl Collected {
    pub(super) fn new(outputs: usize) -> Self {
        Self {
            outputs: (0..outputs).map(|_| Pieces::default()).collect(),
        }
    }

    /// Adds what came of rows, as far as their lanes are to be kept.
    pub(super) fn add_rows(
        &mut self,
        outputs: Vec<OutputRows>,
        rows: &[RowOfLane],
        lanes: &Lanes<'_>,
        is_kept: impl Fn(usize) -> bool,
    ) {
        for (pieces, mut output) in self.outputs.iter_mut().zip(outputs) {
            let (mut at, mut kept) = (pieces.len, Vec::with_capacity(output.rows.len()));
            for (place, &number) in (0..).zip(&output.rows) {
                let Some(&(row, lane)) = rows.get(number as usize) else {
                    note_defect(format_args!("a row came of row {number} of {}", rows.len()));
                    continue;
                };
                if is_kept(lane) {
                    pieces.rows.push(Row {
                        delivery: lanes.input.delivery(row as usize),
                        cause: Cause::Row(row),
                        lane,
                        at,
                    });
                    kept.push(place);
                    at += 1;
                }
            }
            if kept.len() < output.rows.len() {
                output
                    .computed
                    .iter_mut()
                    .for_each(|column| *column = column.gather(&kept));
                output.rows = kept;
            }
            pieces.extend(output);
        }
    }

    /// Adds what came of times, each of which came for a lane behind a delivery.
    pub(super) fn add_fired(&mut self, outputs: Vec<OutputRows>, due: &[(usize, u32)], lanes: &Lanes<'_>) {
        for (pieces, output) in self.outputs.iter_mut().zip(outputs) {
            let start = pieces.len;
            for (at, &number) in output.rows.iter().enumerate() {
                let Some(&(lane, delivery)) = due.get(number as usize) else {
                    note_defect(format_args!("a row came of time {number} of {}", due.len()));
                    continue;
                };
                pieces.rows.push(Row {
                    delivery,
                    cause: Cause::Time(lanes.timer(lane)),
                    lane,
                    at: start + at as u32,
                });
            }
            pieces.extend(output);
        }
    }

    /// The rows of each output in order, with the columns that are held.
    pub(super) fn finish(self, plan: &KeyedPlan, types: &[Vec<ColumnType>], lanes: &Lanes<'_>) -> Vec<Batch> {
        let outputs = self.outputs.into_iter().zip(&plan.outputs).zip(types);
        outputs
            .map(|((pieces, columns), types)| pieces.finish(plan, columns, types, lanes))
            .collect()
    }
}

impl Pieces {
    fn extend(&mut self, output: OutputRows) {
        self.len += output.rows.len() as u32;
        if self.computed.is_empty() {
            self.computed = output.computed;
            return;
        }
        for (all, part) in self.computed.iter_mut().zip(&output.computed) {
            all.extend(part);
        }
    }

    fn finish(mut self, plan: &KeyedPlan, columns: &[KeyedColumn], types: &[ColumnType], lanes: &Lanes<'_>) -> Batch {
        if self.rows.is_empty() {
            return Batch::default();
        }
        let in_order = |a: &Row, b: &Row| {
            let key = |row: &Row| lanes.lane(row.lane).map(|lane| &*lane.key);
            (a.delivery, a.cause)
                .cmp(&(b.delivery, b.cause))
                .then_with(|| match a.cause {
                    Cause::Row(_) => Ordering::Equal,
                    Cause::Time(_) => key(a).cmp(&key(b)),
                })
        };
        if !self.rows.is_sorted_by(|a, b| in_order(a, b) != Ordering::Greater) {
            // Rows of one cause keep their order.
            self.rows.sort_by(in_order);
        }
        let places: Vec<u32> = self.rows.iter().map(|row| row.at).collect();
        let all =
            places.len() == self.len as usize && places.iter().enumerate().all(|(at, &place)| at == place as usize);
        let inputs: Option<Vec<u32>> = self
            .rows
            .iter()
            .map(|row| match row.cause {
                Cause::Row(row) => Some(row),
                Cause::Time(_) => None,
            })
            .collect();
        let input_column = |index: usize| {
            let column = lanes.input.columns.get(index);
            column.zip(inputs.as_ref()).map(|(column, rows)| column.gather(rows))
        };
        let columns = columns.iter().zip(types).map(|(column, column_type)| {
            let found = match *column {
                KeyedColumn::Passed(index) => input_column(index),
                KeyedColumn::Key(number) => {
                    let of_input = plan.key.get(number).and_then(|&index| input_column(index));
                    Some(of_input.unwrap_or_else(|| self.key_column(number, *column_type, lanes)))
                }
                KeyedColumn::Computed(index) if all => self.computed.get(index).cloned(),
                KeyedColumn::Computed(index) => self.computed.get(index).map(|column| column.gather(&places)),
            };
            Arc::new(found.unwrap_or_else(|| {
                note_defect(format_args!("a keyed function gave no column {column:?}"));
                Column::with_capacity(*column_type, 0)
            }))
        });
        Batch {
            columns: columns.collect(),
            deliveries: self.rows.iter().map(|row| row.delivery).collect(),
            kinds: None,
            lineage: None,
        }
    }

    /// A column of the key, of rows that may have no row of the input.
    fn key_column(&self, number: usize, column_type: ColumnType, lanes: &Lanes<'_>) -> Column {
        let mut column = Column::with_capacity(column_type, self.rows.len());
        for row in &self.rows {
            let cells_of_key = lanes
                .lane(row.lane)
                .map(|lane| row_of_key(&lane.key))
                .unwrap_or_default();
            let value = cells(&cells_of_key).nth(number);
            match value {
                Some(value) => column.push(value),
                None => {
                    note_defect(format_args!("a key has no column {number}"));
                    column.push_null();
                }
            }
        }
        column
    }
}
