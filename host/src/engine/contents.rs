//! The rows that a table has to have, as the state says it: what [`crate::storage::Snapshot`] holds tables to.

use super::{Engine, Step};
use crate::{
    error::{OrDefect, Result},
    limits::STATE_BUCKETS,
    model::{ids::SinkId, row::push_cell},
    plan::Target,
};

impl Engine {
    /// Calls `each` with the rows of a sink as they have to be, in no order; each has a cell for each
    /// column. Says whether the state tells them: it does where the sink is a table by primary key that reads an operator
    /// whose state holds its rows, and these are not told apart by another key.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect), where it has no such sink.
    pub fn table_rows(&self, sink: SinkId, mut each: impl FnMut(Vec<u8>)) -> Result<bool> {
        let plan = self.plan.sinks.get(sink);
        let plan = plan.or_defect(|| format!("sink {sink} is not there"))?;
        if !matches!(&plan.target, Target::Table { rows_by: None, .. }) || plan.input.output > 0 {
            return Ok(false);
        }
        let step = self.steps.get(plan.input.node);
        let Step::Operator(operator) = step.or_defect(|| format!("sink {sink} reads a step that is not there"))? else {
            return Ok(false);
        };
        let places: Vec<usize> = plan.columns.iter().map(|column| column.place).collect();
        for bucket in 0..STATE_BUCKETS {
            let rows = operator.current_rows(bucket).filter(|_| !operator.rows_outlive_state());
            let Some(rows) = rows else { return Ok(false) };
            let columns = rows.pick(&places);
            for row in 0..rows.len() {
                let mut cells = Vec::new();
                columns.iter().for_each(|column| push_cell(&mut cells, column.get(row)));
                each(cells);
            }
        }
        Ok(true)
    }
}
