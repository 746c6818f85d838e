//! `union`: the rows of several ports as one.
//!
//! - Emits: every row at once, in order of arrival; of the rows of one event those of the port that is named first.
//! - Late rows: there are none.
//! - Nulls go through.
//! - Restart: there is no state.

use super::{Applied, Build, Inputs, Operator, Outputs, ProcessError, StateMap, Stateful, guests::Guests};
use crate::{error::Result, model::batch::Batch, plan::Node, planner::union::UnionPlan};

/// The operator.
#[derive(Debug)]
pub struct Union {
    plan: UnionPlan,
    /// Whether some of its rows come because time went on. Behind it they cannot be told from rows of events.
    is_timer_driven: bool,
}

impl Build for Union {
    type Plan = UnionPlan;

    fn build(node: &Node, plan: &UnionPlan, _: Guests, _: u64) -> Result<Self> {
        Ok(Self {
            plan: plan.clone(),
            is_timer_driven: node.output(0)?.timer_driven,
        })
    }
}

impl Operator for Union {
    fn process(&mut self, inputs: Inputs<'_>) -> Result<Outputs, ProcessError> {
        let parts = inputs.batches.iter().zip(&self.plan.columns);
        let parts = parts.map(|(input, columns)| Batch {
            columns: columns
                .iter()
                .filter_map(|&index| input.columns.get(index).cloned())
                .collect(),
            deliveries: input.deliveries.clone(),
            kinds: None,
            lineage: None,
        });
        let rows = vec![Batch::merge(parts.collect())];
        let applied = |_| match self.is_timer_driven {
            true => Applied::All,
            false => Applied::None,
        };
        let applied = inputs.batches.iter().map(applied).collect();
        Ok(Outputs::new(rows, applied))
    }

    fn replan(&mut self, node: &Node) -> Result<()> {
        self.plan = node.operator_plan::<UnionPlan>()?.clone();
        self.is_timer_driven = node.output(0)?.timer_driven;
        Ok(())
    }
}

impl Stateful for Union {
    fn rollback(&mut self) {}

    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use crate::operator::testing::Tested;

    #[test]
    fn rows_come_in_order_of_arrival() {
        let source = "
            [source]
            stream = \"S\"
            [source.input.web]
            subject = \"web\"
            columns = { id = \"int\", by = \"text\" }
            [source.input.shop]
            subject = \"shop\"
            columns = { by = \"text\", id = \"int\" }";
        let pipeline = "
            [[step]]
            name = \"all\"
            union = [\"web\", \"shop\"]
            [[sink]]
            table = \"orders\"";
        let mut all = Tested::with_source(source, pipeline);
        all.check_all(
            &[
                "#  kind  id  by
                 1  +     10  ann
                 3  +     11  .",
                "#  kind  id  by
                 2  +     20  bob
                 4  +     21  ann",
            ],
            "1  +  10  ann
             2  +  20  bob
             3  +  11  .
             4  +  21  ann",
        );
    }
}
