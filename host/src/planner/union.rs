//! `union`: the rows of several ports whose columns are the same. See [`crate::operator::union`].

use super::{
    Binder, BoundChange, BoundNode, BoundOperator, BoundOutput, Layout, OutputPort, Provenance, Reads, StepAt,
    StepKeys, list,
};
use crate::{
    definition::Name,
    error::Result,
    model::column::Schema,
    plan::{At, OperatorPlan, StateForm},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Its key in the file: the steps, or `step.output`s, whose rows are put together.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct Union(Vec<Name>);

impl StepKeys for Union {
    fn bind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode> {
        let name = step.name();
        if let Some(from) = &step.step.from {
            let message = "key `from`: a union names all edges that it reads itself, in `union`";
            return Err(binder.at(from, message));
        }
        let mut inputs: Vec<OutputPort> = Vec::new();
        let mut schema = Schema::new();
        for of in &self.0 {
            let port = binder.port(of)?;
            let (whose, output) = (binder.port_name(port), binder.output(port)?);
            if !matches!(output.change, BoundChange::Append) {
                let message = format!(
                    "step \"{name}\": a union is of rows that stand for themselves, but {whose} sends a changelog, whose keys \
                     could meet those of another"
                );
                return Err(binder.at(of, message));
            }
            if inputs.contains(&port) {
                return Err(binder.at(of, format!("key `union` names {whose} twice")));
            }
            match inputs.first() {
                None => schema.clone_from(&output.schema),
                Some(&first) => {
                    binder.same_columns(of, (&mut schema, &binder.port_name(first)), (&output.schema, &whose))?
                }
            }
            inputs.push(port);
        }
        let mut inputs = inputs.into_iter();
        let (Some(input), others) = (inputs.next(), inputs.collect::<Vec<_>>()) else {
            let message = format!("step \"{name}\": key `union` is empty; name two edges or more");
            return Err(binder.error(step.span(), message));
        };
        if others.is_empty() {
            let message = format!("step \"{name}\": key `union` names one edge; accepted are two or more");
            return Err(binder.error(step.span(), message));
        }
        let origins = (0..schema.len())
            .map(|column| (binder.nodes.next_id(), 0, column))
            .collect();
        let output = BoundOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change: BoundChange::Append,
        };
        Ok(step.bound(input, BoundUnion { others }, vec![output]))
    }
}

/// The step, by the names of its columns.
struct BoundUnion {
    /// The ports after the first.
    others: Vec<OutputPort>,
}

impl BoundOperator for BoundUnion {
    fn other_inputs(&self) -> &[OutputPort] {
        &self.others
    }

    fn reads(&self, node: &BoundNode, read: &[BTreeSet<String>]) -> Reads {
        let passed: BTreeSet<String> = read.iter().flatten().cloned().collect();
        node.inputs().map(|port| (port, passed.clone())).collect()
    }

    fn keeps_state(&self) -> bool {
        false
    }

    fn provenance(&self, node: &BoundNode, column: &str) -> Provenance {
        Provenance::Copies(node.inputs().map(|port| (port, column.to_owned())).collect())
    }

    fn plan(&self, layout: &Layout<'_>) -> Box<dyn OperatorPlan> {
        let node = layout.node;
        Box::new(UnionPlan {
            others: self.others.clone(),
            columns: node.inputs().map(|port| layout.passed_of(0, port)).collect(),
        })
    }
}

/// The output is the rows of several ports.
#[derive(Clone, Debug)]
pub struct UnionPlan {
    /// The ports after the first, which is [`Node::input`](crate::plan::Node::input).
    pub others: Vec<OutputPort>,
    /// For each of all ports the columns that go on.
    pub columns: Vec<Vec<usize>>,
}

impl OperatorPlan for UnionPlan {
    fn other_inputs(&self) -> &[OutputPort] {
        &self.others
    }

    fn keeps_state(&self) -> bool {
        false
    }

    fn fingerprint(&self, _: At<'_>, _: StateForm) -> String {
        String::new()
    }

    fn describe(&self, _: At<'_>) -> String {
        "union".to_owned()
    }
}

impl Binder<'_> {
    /// Whether an edge has the columns of the first one. A column is nullable if it is on any edge.
    fn same_columns(&self, at: &Name, first: (&mut Schema, &str), other: (&Schema, &str)) -> Result<()> {
        let ((schema, first), (other, whose)) = (first, other);
        if let Some(more) = other
            .iter()
            .find(|field| schema.iter().all(|known| known.name != field.name))
        {
            let message = format!(
                "{whose} has a column \"{}\", which {first} does not have; a union is of the same columns: {}",
                more.name,
                list(schema)
            );
            return Err(self.at(at, message));
        }
        for field in schema.iter_mut() {
            let Some(found) = other.iter().find(|found| found.name == field.name) else {
                let message = format!(
                    "{whose} has no column \"{}\", which {first} has; there are {}",
                    field.name,
                    list(other)
                );
                return Err(self.at(at, message));
            };
            if found.column_type != field.column_type {
                let message = format!(
                    "column \"{}\" is {} in {first}, but {} in {whose}",
                    field.name, field.column_type, found.column_type
                );
                return Err(self.at(at, message));
            }
            field.nullable |= found.nullable;
        }
        Ok(())
    }
}
