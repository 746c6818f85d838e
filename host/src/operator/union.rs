//! `union`: the rows of several edges as one.
//!
//! - Emits: every row at once, in order of arrival; of the rows of one event those of the edge that is named first.
//! - Late rows: there are none.
//! - Nulls go through.
//! - Restart: there is no state.

use crate::{model::column::Batch, plan::UnionPlan};

/// The rows of `inputs`, which are the edges of `plan` in their order.
pub fn union<'b>(plan: &UnionPlan, inputs: impl Iterator<Item = &'b Batch>) -> Batch {
    let parts = inputs.zip(&plan.columns).map(|(input, columns)| Batch {
        columns: columns
            .iter()
            .filter_map(|&index| input.columns.get(index).cloned())
            .collect(),
        deliveries: input.deliveries.clone(),
        kinds: None,
        lineage: None,
    });
    Batch::merge(parts.collect())
}
