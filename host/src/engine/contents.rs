//! The rows that a table has to have, as the state says it: what [`crate::storage::Snapshot`] holds tables to.

use super::{Engine, Step};
use crate::{limits::STATE_BUCKETS, model::row::push_cell, plan::Target};

impl Engine {
    /// Calls `each` with the rows of the sink number `sink` as they have to be, in no order; each has a cell for each
    /// column. Says whether the state tells them: it does where the sink is a table by primary key that reads an operator
    /// whose state holds its rows, and these are not told apart by another key.
    pub fn table_rows(&self, sink: usize, mut each: impl FnMut(Vec<u8>)) -> bool {
        let Some(plan) = self.plan.sinks.get(sink) else {
            return false;
        };
        if !matches!(&plan.target, Target::Table { rows_by: None, .. }) || plan.input.output > 0 {
            return false;
        }
        let places: Vec<usize> = plan.columns.iter().map(|(_, place)| *place).collect();
        for bucket in 0..STATE_BUCKETS {
            let Some(Step::Operator(operator)) = self.steps.get(plan.input.node) else {
                return false;
            };
            let Some(rows) = operator.contents(bucket) else {
                return false;
            };
            let columns = rows.pick(&places);
            for row in 0..rows.len() {
                let mut cells = Vec::new();
                columns.iter().for_each(|column| push_cell(&mut cells, column.get(row)));
                each(cells);
            }
        }
        true
    }
}
