//! `columns`: the same rows with other columns: renamed, in another order, fewer, or constants.
//!
//! - Emits: every row at once. A changelog stays one; its key is called as its columns are here.
//! - Late rows: there are none.
//! - Nulls go through.
//! - Restart: there is no state.

use super::{Applied, Build, Inputs, Operator, Outputs, ProcessError, StateMap, Stateful, guests::Guests};
use crate::{
    error::Result,
    plan::{Node, Projection},
    planner::columns::ColumnsPlan,
};

/// The operator.
#[derive(Debug)]
pub struct Columns(Projection);

impl Build for Columns {
    type Plan = ColumnsPlan;

    fn build(_: &Node, plan: &ColumnsPlan, _: Guests, _: u64) -> Result<Self> {
        Ok(Self(plan.projection.clone()))
    }
}

impl Operator for Columns {
    fn process(&mut self, inputs: Inputs<'_>) -> Result<Outputs, ProcessError> {
        let rows = vec![self.0.of(inputs.one()?)];
        let applied = vec![Applied::None];
        Ok(Outputs::new(rows, applied))
    }

    fn replan(&mut self, node: &Node) -> Result<()> {
        self.0 = node.operator_plan::<ColumnsPlan>()?.projection.clone();
        Ok(())
    }
}

impl Stateful for Columns {
    fn rollback(&mut self) {}

    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        definition::File,
        operator::testing::Tested,
        plan::{Plan, double::Closures},
    };

    const ORDERS: &str = "id = \"int\", amount = \"int\", by = \"text\"";

    #[test]
    fn columns_are_renamed_left_out_and_put_in_another_order() {
        let step = "step = [{ name = \"slim\", columns = { customer = \"by\", number = \"id\", again = \"id\" } }]
                    sink = [{ table = \"orders\" }]";
        let mut slim = Tested::new(ORDERS, step);
        slim.check(
            "#  kind  id  by
             1  +     10  ann
             1  +     11  .
             2  +     .   bob",
            "1  +  ann  10  10
             1  +  .    11  11
             2  +  bob  .   .",
        );
    }

    #[test]
    fn every_row_has_the_constants() {
        let step = "step = [{ name = \"priced\", columns = { currency = { constant = \"CHF\" }, id = \"id\",
                        least = { constant = 5, type = \"double\" }, note = { null = true, type = \"text\" } } }]
                    sink = [{ table = \"orders\" }]";
        let mut priced = Tested::new(ORDERS, step);
        priced.check(
            "#  kind  id
             1  +     10
             2  +     .",
            "1  +  CHF  10  5.0  .
             2  +  CHF  .   5.0  .",
        );
        priced.check("#  kind  id", "");
    }

    #[test]
    fn columns_that_nobody_reads_are_not_there() {
        let step = "step = [{ name = \"slim\", columns = { customer = \"by\", number = \"id\", currency = { constant = \"CHF\" } } }]
                    sink = [{ table = \"orders\", columns = [\"number\"] }]";
        let mut slim = Tested::new(ORDERS, step);
        slim.check(
            "#  kind  id
             1  +     10",
            "1  +  10",
        );
    }

    #[test]
    fn a_changelog_stays_one() {
        let steps = "step = [
                         { name = \"last\", last_value = { key = [\"id\"] } },
                         { name = \"slim\", columns = { customer = \"by\", number = \"id\", currency = { constant = \"CHF\" } } },
                     ]
                     sink = [{ table = \"orders\", primary_key = [\"number\"] }]";
        let mut slim = Tested::new(ORDERS, steps);
        slim.check(
            "#  kind  id  by
             1  +     10  ann
             2  U-    10  ann
             2  U+    10  bob
             3  -     10  bob",
            "1  +   ann  10  CHF
             2  U-  ann  10  CHF
             2  U+  bob  10  CHF
             3  -   bob  10  CHF",
        );
        let columns = "step = [
                           { name = \"last\", last_value = { key = [\"id\"] } },
                           { name = \"slim\", columns = { customer = \"by\", amount = \"amount\" } },
                           { name = \"sums\", aggregate = { group_by = [\"customer\"], columns = { total = { sum = \"amount\" } } } },
                       ]
                       sink = [{ table = \"totals\", primary_key = [\"customer\"] }]";
        let mut sums = Tested::new(ORDERS, columns);
        sums.check(
            "#  kind  customer  amount
             1  +     ann       10
             2  U-    ann       10
             2  U+    bob       12",
            "2  +  bob  12",
        );
    }

    #[test]
    fn a_changelog_is_as_short_as_what_reads_its_new_names_allows() {
        let readers = |behind: &str| {
            let text = format!(
                "name = \"p\"
                 source = {{ stream = \"S\", subject = \"s\", columns = {{ {ORDERS} }} }}
                 step = [
                     {{ name = \"last\", last_value = {{ key = [\"id\"] }} }},
                     {{ name = \"slim\", columns = {{ number = \"id\", amount = \"amount\" }} }},
                     {behind}"
            );
            let plan = Plan::build(&File::from_text("p.toml", text), &Closures::default());
            let plan = plan.unwrap_or_else(|error| panic!("{error}"));
            let last = plan.nodes.iter().find(|node| node.name == "last");
            last.unwrap().outputs[0].readers
        };
        let by_key = readers("]\nsink = [{ table = \"orders\", primary_key = [\"number\"] }]");
        assert!(by_key.compactable && !by_key.needs_update_before);
        // Rows that go because time went on may not go later: they have to pass the step.
        assert!(!by_key.spreads);
        for every_change in [
            "]\nsink = [{ table = \"amounts\", primary_key = [\"amount\"] }]",
            "{ name = \"sums\", aggregate = { group_by = [\"number\"], columns = { total = { sum = \"amount\" } } } }]
             sink = [{ table = \"totals\", primary_key = [\"number\"] }]",
        ] {
            let readers = readers(every_change);
            assert!(readers.needs_update_before && !readers.compactable, "{every_change}");
        }
    }
}
