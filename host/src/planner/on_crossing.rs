//! `on_crossing`: a row when a key is raised, and one when it is cleared. See [`crate::operator::on_crossing`].

use super::{
    Binder, BoundChange, BoundNode, BoundOperator, BoundOutput, Layout, Reads, StepAt, StepKeys,
    describe::{forgets, forgotten},
};
use crate::{
    definition::Name,
    error::Result,
    model::column::{ColumnType, Schema},
    plan::{At, OperatorPlan, StateForm},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Its keys in the file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OnCrossing {
    /// The key; that of the changelog, when absent.
    key: Option<Vec<Name>>,
    /// The boolean column that raises a key. When absent, a key of a changelog is raised while it has a row.
    raise: Option<Name>,
    /// The boolean column that keeps a key raised.
    hold: Option<Name>,
    /// After how long without a row a key is forgotten, such as `"30 d"`; never, when absent.
    ttl: Option<Name>,
}

impl StepKeys for OnCrossing {
    fn bind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode> {
        let (name, input) = (step.name(), step.input(binder)?);
        let whose = binder.port_name(input);
        let source = binder.output(input)?;
        let key: Vec<String> = match (&self.key, &source.change) {
            (Some(key), _) => {
                binder.distinct(key, "key")?;
                for column in key {
                    binder.column(&source.schema, column, &whose)?;
                }
                key.iter().map(|column| column.get_ref().clone()).collect()
            }
            (None, BoundChange::Keyed(Some(key))) => key.clone(),
            (None, BoundChange::Keyed(None)) => {
                let message = format!(
                    "step \"{name}\": {whose} does not pass on the key of the changelog that it reads; say with key `key` what \
                     crosses"
                );
                return Err(binder.error(step.span(), message));
            }
            (None, BoundChange::Append) => {
                let message = format!(
                    "step \"{name}\": {whose} sends rows that stand for themselves, and no key; say with key `key` what crosses"
                );
                return Err(binder.error(step.span(), message));
            }
        };
        let retracts = !matches!(source.change, BoundChange::Append);
        match (&self.raise, &self.hold) {
            (None, Some(hold)) => {
                let message = "key `hold` goes with `raise`: without that, a key is raised while it has a row at all";
                return Err(binder.at(hold, message));
            }
            (None, None) if !retracts => {
                let message = format!(
                    "step \"{name}\": {whose} sends rows that stand for themselves, and do not go again; say with key `raise` \
                     which boolean column raises a key"
                );
                return Err(binder.error(step.span(), message));
            }
            _ => {}
        }
        let raise = binder.flag(&source.schema, self.raise.as_ref(), "raise", &whose)?;
        let hold = binder.flag(&source.schema, self.hold.as_ref(), "hold", &whose)?;
        let ttl_us = binder.ttl(self.ttl.as_ref())?;
        if let (Some(ttl), BoundChange::Keyed(rows_by)) = (&self.ttl, &source.change) {
            // Rows of a key that is forgotten may go later. Where it has one at most, that one is ignored then.
            let is_one = |rows_by: &Vec<String>| rows_by.iter().all(|column| key.contains(column));
            if !rows_by.as_ref().is_some_and(is_one) {
                let message = format!(
                    "key `ttl`: {whose} may have several rows of one key, and when a key is forgotten nobody knows which of them \
                     were its own; give the ttl to the step that keeps the rows"
                );
                return Err(binder.at(ttl, message));
            }
        }
        let output = |name: &str| BoundOutput {
            name: name.to_owned(),
            schema: source.schema.clone(),
            origins: source.origins.clone(),
            change: BoundChange::Append,
        };
        let outputs = vec![output("out"), output("cleared")];
        let on_crossing = BoundOnCrossing {
            key,
            raise,
            hold,
            retracts,
            ttl_us,
        };
        Ok(step.bound(input, on_crossing, outputs))
    }
}

/// The step, by the names of its columns.
struct BoundOnCrossing {
    key: Vec<String>,
    raise: Option<String>,
    hold: Option<String>,
    /// Whether rows of the input may be taken away again.
    retracts: bool,
    ttl_us: Option<i64>,
}

impl BoundOperator for BoundOnCrossing {
    fn reads(&self, node: &BoundNode, read: &[BTreeSet<String>]) -> Reads {
        let own = self.key.iter().chain(&self.raise).chain(&self.hold);
        vec![(node.input, read.iter().flatten().chain(own).cloned().collect())]
    }

    fn follows_time(&self) -> bool {
        self.ttl_us.is_some()
    }

    fn plan(&self, layout: &Layout<'_>) -> Box<dyn OperatorPlan> {
        Box::new(OnCrossingPlan {
            key: layout.own(&self.key),
            raise: layout.own(&self.raise).first().copied(),
            hold: layout.own(&self.hold).first().copied(),
            retracts: self.retracts,
            ttl_us: self.ttl_us,
            passed: [layout.passed(0), layout.passed(1)],
        })
    }
}

/// The outputs are the rows that raised a key, and those that cleared one.
#[derive(Clone, Debug)]
pub struct OnCrossingPlan {
    /// The key.
    pub key: Vec<usize>,
    /// The column that says whether a row raises its key; where absent, it does so by being there.
    pub raise: Option<usize>,
    /// The column that says whether a row keeps its key raised.
    pub hold: Option<usize>,
    /// Whether rows of the input may be taken away again.
    pub retracts: bool,
    /// After how long without a row a key is forgotten.
    pub ttl_us: Option<i64>,
    /// The columns of each output.
    pub passed: [Vec<usize>; 2],
}

impl OperatorPlan for OnCrossingPlan {
    fn follows_time(&self) -> bool {
        self.ttl_us.is_some()
    }

    fn takes_back(&self) -> bool {
        true
    }

    fn fingerprint(&self, at: At<'_>, _: StateForm) -> String {
        let columns = |indices: &[usize]| at.typed(at.node.input, indices);
        let of = if self.retracts { " of a changelog" } else { "" };
        let [raise, hold] = [&self.raise, &self.hold].map(|column| columns(column.as_slice()));
        let (key, forgets) = (columns(&self.key), forgets(self.ttl_us));
        format!("crossings{of}{forgets} by {key}, raised by {raise}, held by {hold}")
    }

    fn describe(&self, at: At<'_>) -> String {
        let raised = match self.raise {
            Some(raise) => format!("raised by {}", at.own_names(&[raise])),
            None => "raised by being there".to_owned(),
        };
        let hold = self.hold.map(|hold| format!(", held by {}", at.own_names(&[hold])));
        let by = match self.key.as_slice() {
            [] => String::new(),
            key => format!(" by {}", at.own_names(key)),
        };
        let (forgotten, hold) = (forgotten(self.ttl_us), hold.unwrap_or_default());
        format!("crossings{by}{forgotten}: {raised}{hold}")
    }
}

impl Binder<'_> {
    /// A column that says yes or no.
    fn flag(&self, schema: &Schema, column: Option<&Name>, key: &str, whose: &str) -> Result<Option<String>> {
        let Some(name) = column else { return Ok(None) };
        let index = self.column(schema, name, whose)?;
        let found = schema.get(index).map_or(ColumnType::Boolean, |field| field.column_type);
        if found != ColumnType::Boolean {
            let column = name.get_ref();
            let message = format!("key `{key}`: column \"{column}\" is {found}; accepted is a boolean");
            return Err(self.at(name, message));
        }
        Ok(Some(name.get_ref().clone()))
    }
}
