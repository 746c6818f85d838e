//! `deduplicate`: the first row of each key, or the first within a time. See [`crate::operator::deduplicate`].

use super::{
    Binder, BoundChange, BoundNode, BoundOperator, BoundOutput, Layout, Reads, StepAt, StepKeys, describe::span,
    time::DURATION_US_MAX,
};
use crate::{
    definition::Name,
    error::Result,
    plan::{At, OperatorPlan, StateForm},
    text::duration,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Its keys in the file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Deduplicate {
    /// The columns in which twins are alike.
    key: Vec<Name>,
    /// How far apart rows are that are no twins any more, such as `"1 h"`; for ever, when absent.
    within: Option<Name>,
}

impl StepKeys for Deduplicate {
    fn bind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode> {
        let input = step.input(binder)?;
        let first = binder.first(step, "key", &self.key)?;
        binder.append_only(input, step, first)?;
        binder.distinct(&self.key, "key")?;
        let source = binder.output(input)?;
        for key in &self.key {
            binder.column(&source.schema, key, &binder.port_name(input))?;
        }
        let within = self.within.as_ref();
        let within = within.map(|within| binder.duration(within, "within", 1..=DURATION_US_MAX));
        let within_us = within.transpose()?;
        let mut outputs = vec![BoundOutput {
            name: "out".to_owned(),
            schema: source.schema.clone(),
            origins: source.origins.clone(),
            change: BoundChange::Append,
        }];
        if within_us.is_some() {
            outputs.push(binder.late_output(input, false)?);
        }
        let key = super::texts(&self.key);
        Ok(step.bound(input, BoundDeduplicate { key, within_us }, outputs))
    }
}

/// The step, by the names of its columns.
struct BoundDeduplicate {
    key: Vec<String>,
    within_us: Option<i64>,
}

impl BoundOperator for BoundDeduplicate {
    fn reads(&self, node: &BoundNode, read: &[BTreeSet<String>]) -> Reads {
        let passed = read.iter().flatten();
        vec![(node.input, passed.chain(&self.key).cloned().collect())]
    }

    fn follows_time(&self) -> bool {
        self.within_us.is_some()
    }

    fn plan(&self, layout: &Layout<'_>) -> Box<dyn OperatorPlan> {
        let outputs = 0..layout.node.outputs.len();
        Box::new(DeduplicatePlan {
            key: layout.own(&self.key),
            within_us: self.within_us,
            passed: outputs.map(|output| layout.passed(output)).collect(),
        })
    }
}

/// The outputs are the rows that pass, and, within a time, those that are late.
#[derive(Clone, Debug)]
pub struct DeduplicatePlan {
    /// The columns in which twins are alike.
    pub key: Vec<usize>,
    /// How far apart rows are that are no twins any more; for ever, when absent.
    pub within_us: Option<i64>,
    /// The columns of each output.
    pub passed: Vec<Vec<usize>>,
}

impl OperatorPlan for DeduplicatePlan {
    fn follows_time(&self) -> bool {
        self.within_us.is_some()
    }

    fn late_outputs(&self) -> &'static [usize] {
        &[1]
    }

    fn fingerprint(&self, at: At<'_>, _: StateForm) -> String {
        let within = self.within_us.map(|within_us| format!(" within {}", span(within_us)));
        let key = at.typed(at.node.input, &self.key);
        format!("the first rows by {key}{}", within.unwrap_or_default())
    }

    fn describe(&self, at: At<'_>) -> String {
        let within = self.within_us.map(|within| format!(" within {}", duration(within)));
        format!("first row by {}{}", at.own_names(&self.key), within.unwrap_or_default())
    }
}
