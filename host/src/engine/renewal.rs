//! Computing results anew, where other aggregates of the user's own go on with the states of a database.
//!
//! At the start, before the first event, the aggregates compute the result of every state that there is. Where a current row is
//! another one then, the difference goes on as a changelog, as at a swap of a rule (see `rejudge.rs`): as the rows of one event,
//! behind the last one and before the next, in the order of their keys. So what is behind is as if these aggregates had always
//! computed the results of those states. Windows that were not emitted yet are emitted with the new results when it is time.
//!
//! Where that cannot be (there is no result of a state, or a rule further on rejects one), the engine does not begin.

use super::{
    Engine, Stage, Step, Unswappable,
    passing::AllMoved,
    ready::MovedOutput,
    rules::{Refused, all_columns, cells_of, key_columns},
};
use crate::{
    error::{Error, OrDefect, Result},
    limits::STATE_BUCKETS,
    model::{batch::Batch, ids::NodeId, moved::Moved, row::push_key},
    operator::guests::NoResult,
    plan::{Change, Node, NodeKind, OutputPort},
    text::printable,
};
use std::mem;

impl Engine {
    /// Computes results anew where a start has other aggregates than gave those in the states. They are part of the next turn, and
    /// so is who gave them.
    ///
    /// # Errors
    /// Why the aggregates cannot take over. The engine is of no use then.
    pub(super) fn renew_results(&mut self) -> Result<()> {
        if self.stale.is_empty() {
            return Ok(());
        }
        // Versions on trial see what becomes of the rows as a change like any other.
        self.begin_to_keep_differences()?;
        let stale = mem::take(&mut self.stale);
        self.each_state(|state| state.savepoint());
        self.each_stage(Stage::savepoint);
        let mut moved = AllMoved::new();
        for &at in &stale {
            let rows = self.renewed_rows(at)?;
            moved.insert((at, 0), rows);
        }
        let deliveries = self.place_of_swap(&self.plan.clone(), &Default::default());
        let mut passed = self.pass_on_moved(moved, &deliveries).map_err(|refused| match refused {
            Refused::Defect(defect) => defect,
            Refused::Row(reason) => Unswappable::AggregateResult.definition(format_args!(
                "the aggregates that the pipeline file names by now cannot take over from those that computed the results so far: \
                 {reason}"
            )),
        })?;
        self.each_state(|state| state.release());
        self.collect_passed(&mut passed);
        let computed: Vec<(String, String)> = stale.iter().filter_map(|&at| self.computed(at)).collect();
        self.renewed.extend(computed);
        self.check()
    }

    /// Has the operator at `at` compute its results anew. Gives the current rows that are others then, in the order of their keys.
    fn renewed_rows(&mut self, at: NodeId) -> Result<MovedOutput> {
        let plan = self.plan.clone();
        let node = plan.nodes.get(at).or_defect(|| format!("there is no step {at}"))?;
        let changelog = OutputPort { node: at, output: 0 };
        let key = match node.output(0)?.change {
            // Rows are emitted once.
            Change::Append => None,
            Change::Keyed(_) => Some(key_columns(&plan, changelog)?),
        };
        let mut moved = MovedOutput::default();
        for bucket in 0..STATE_BUCKETS {
            let before = key.as_ref().map(|_| self.current_rows(changelog, bucket)).transpose()?;
            let operator = self.steps.get_mut(at).and_then(Step::operator);
            let operator = operator.or_defect(|| format!("no operator runs step \"{}\"", node.name))?;
            operator.results_anew(bucket).map_err(|none| no_result(node, &none))?;
            if let (Some(key), Some(before)) = (&key, before) {
                let after = self.current_rows(changelog, bucket)?;
                push_moved(&mut moved, key, &before, &after)?;
            }
        }
        Ok(moved)
    }
}

/// Adds the rows of `after` that are others than those of `before`, which are of the same keys in the same order.
fn push_moved(moved: &mut MovedOutput, key: &[usize], before: &Batch, after: &Batch) -> Result<()> {
    let key_of = |rows: &Batch, row: usize| {
        let mut bytes = Vec::new();
        push_key(&mut bytes, &rows.pick(key), row);
        bytes
    };
    if before.len() != after.len() {
        return Err(Error::defect(
            "results were computed anew, and there are other rows than before",
        ));
    }
    let (was, is) = (all_columns(before), all_columns(after));
    let (mut was_bytes, mut is_bytes) = (Vec::new(), Vec::new());
    for row in 0..after.len() {
        let before_row = cells_of(&mut was_bytes, &was, row);
        let after_row = cells_of(&mut is_bytes, &is, row);
        if before_row == after_row {
            continue;
        }
        let of = key_of(after, row);
        if of != key_of(before, row) {
            return Err(Error::defect("results were computed anew, and a key is another"));
        }
        moved.insert(&of, Moved::new(Some(before_row), Some(after_row)));
    }
    Ok(())
}

/// What is said where a guest has no result of a state.
fn no_result(node: &Node, none: &NoResult) -> Error {
    let specs = match &node.kind {
        NodeKind::Operator(operator) => operator.aggregates(),
        _ => &[],
    };
    let column = specs
        .get(none.number)
        .map(|spec| spec.name.as_str())
        .unwrap_or_default();
    Unswappable::AggregateResult.definition(format_args!(
        "column \"{column}\" of step \"{}\": its aggregate has no result of a state that it holds by now: {}",
        node.name,
        printable(&none.reason)
    ))
}

#[cfg(test)]
mod tests;
