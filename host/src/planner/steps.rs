//! Steps: which operator each is, and where its rows come from.

use super::{Binder, BoundChange, BoundKind, BoundOutput, OutputPort, StepAt, list, source::ONLY_INPUT};
use crate::{
    definition::{Name, Step},
    error::{OrDefect, Result},
    model::{
        column::Schema,
        ids::{Id, NodeId},
    },
};
use std::ops::Range;

impl Binder<'_> {
    pub(super) fn check_step_name(&self, step: &Step<'_>) -> Result<()> {
        self.check_name(&step.name, "a step's name")?;
        let name = step.name.get_ref();
        if let Some((_, other)) = self.nodes.find(|node| node.name == *name) {
            let (what, names) = match matches!(other.kind, BoundKind::Source) {
                true => ("an input", "inputs and steps"),
                false => ("a step", "steps"),
            };
            return Err(self.at(
                &step.name,
                format!("there is {what} \"{name}\" already; names of {names} are unique"),
            ));
        }
        Ok(())
    }

    /// The output that `from` names, or that of the step before; before the first step, of the only input.
    pub(super) fn edge_or_before(&self, from: Option<&Name>, span: Range<usize>) -> Result<OutputPort> {
        self.edge_or_at(from, NodeId::of(self.nodes.len().saturating_sub(1)), span)
    }

    /// The output that `from` names, or that of the node `before`.
    pub(super) fn edge_or_at(&self, from: Option<&Name>, before: NodeId, span: Range<usize>) -> Result<OutputPort> {
        if let Some(from) = from {
            return self.port(from);
        }
        if self.inputs.len() > 1 && before.number() < self.first_step() {
            let known: Vec<&str> = self.known().collect();
            return Err(self.error(
                span,
                format!(
                    "key `from` is missing: there are several inputs, and no step before this; name one of {}",
                    known.join(", ")
                ),
            ));
        }
        self.port_of(before, None, span)
    }

    /// The output that `from` names: `step`, or `step.output`.
    pub(super) fn port(&self, from: &Name) -> Result<OutputPort> {
        let text = from.get_ref();
        let (step, output) = match text.split_once('.') {
            Some((step, output)) => (step, Some(output)),
            None => (text.as_str(), None),
        };
        let Some(node) = self.nodes.position(|node| node.name == step) else {
            let known: Vec<&str> = self.known().collect();
            return Err(self.at(
                from,
                format!(
                    "there is no step \"{step}\" before this; there are {}",
                    known.join(", ")
                ),
            ));
        };
        // Who reads changes of rows reads the rows.
        let node = self.rows_of.get(&node).copied().unwrap_or(node);
        self.port_of(node, output, from.span())
    }

    /// The number of the first step of the file: inputs stand in front of it, and what holds their rows.
    pub(super) fn first_step(&self) -> usize {
        self.inputs.len() + self.rows_of.len()
    }

    /// The input whose rows a node holds, if it does.
    fn input_of_rows(&self, node: NodeId) -> Option<NodeId> {
        let mut rows_of = self.rows_of.iter();
        rows_of.find_map(|(input, rows)| (*rows == node).then_some(*input))
    }

    /// The names that `from` can have so far.
    fn known(&self) -> impl Iterator<Item = &str> {
        let named = self.nodes.iter_enumerated();
        let named = named.filter(|(at, _)| self.input_of_rows(*at).is_none());
        named.map(|(_, node)| node.name.as_str())
    }

    /// An output of a node: that of this name, or its own. `span` is where it is asked for.
    fn port_of(&self, node: NodeId, output: Option<&str>, span: Range<usize>) -> Result<OutputPort> {
        let found = self.nodes.get(node);
        let found = found.or_defect(|| format!("there is no step {node} before this"))?;
        let named = self
            .nodes
            .get(self.input_of_rows(node).unwrap_or(node))
            .unwrap_or(found);
        let known = || {
            found
                .outputs
                .iter()
                .map(|o| format!("{}.{}", named.name, o.name))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let output = match output {
            Some(output) => match found.outputs.iter().position(|known| known.name == output) {
                Some(output) => output,
                None => {
                    let step = &named.name;
                    return Err(self.error(
                        span,
                        format!("step \"{step}\" has no output \"{output}\"; there are {}", known()),
                    ));
                }
            },
            // An operator's own output; the others are for what did not go into it.
            None if found.outputs.first().is_some_and(|output| output.name == "out") => 0,
            None if found.outputs.len() > 1 => {
                let step = &found.name;
                return Err(self.error(
                    span,
                    format!(
                        "step \"{step}\" has several outputs; say `from` with one of {}",
                        known()
                    ),
                ));
            }
            None => 0,
        };
        Ok(OutputPort { node, output })
    }

    pub(super) fn output(&self, port: OutputPort) -> Result<&BoundOutput> {
        let output = self.nodes.get(port.node).and_then(|node| node.outputs.get(port.output));
        output.or_defect(|| format!("output {} of step {} is read and is not there", port.output, port.node))
    }

    pub(super) fn port_name(&self, port: OutputPort) -> String {
        match self.nodes.get(self.input_of_rows(port.node).unwrap_or(port.node)) {
            Some(node) if node.outputs.len() > 1 && (port.output > 0 || matches!(node.kind, BoundKind::Stage(_))) => {
                let output = node.outputs.get(port.output).map_or("", |output| output.name.as_str());
                format!("step \"{}.{output}\"", node.name)
            }
            Some(node) if !matches!(node.kind, BoundKind::Source) => format!("step \"{}\"", node.name),
            Some(node) if node.name != ONLY_INPUT => format!("input \"{}\"", node.name),
            _ => "the source".to_owned(),
        }
    }

    /// The index of a column by name; the error lists those that there are.
    pub(super) fn column(&self, schema: &Schema, name: &Name, whose: &str) -> Result<usize> {
        match schema.iter().position(|field| field.name == *name.get_ref()) {
            Some(index) => Ok(index),
            None => Err(self.at(
                name,
                format!(
                    "there is no column \"{}\" in {whose}; there are {}",
                    name.get_ref(),
                    list(schema)
                ),
            )),
        }
    }

    pub(super) fn distinct(&self, names: &[Name], key: &str) -> Result<()> {
        for (at, name) in names.iter().enumerate() {
            if names.iter().take(at).any(|earlier| earlier.get_ref() == name.get_ref()) {
                return Err(self.at(name, format!("key `{key}` names column \"{}\" twice", name.get_ref())));
            }
        }
        Ok(())
    }

    /// The first of the columns that a key of the step names.
    pub(super) fn first<'n>(&self, step: &StepAt<'_>, key: &str, names: &'n [Name]) -> Result<&'n Name> {
        names.first().ok_or_else(|| {
            let (name, kind) = (step.name(), step.key);
            let message = format!("step \"{name}\": key `{kind}.{key}` is empty; name at least one column");
            self.error(step.span(), message)
        })
    }

    pub(super) fn append_only(&self, input: OutputPort, step: &StepAt<'_>, at: &Name) -> Result<()> {
        match self.output(input)?.change {
            BoundChange::Append => Ok(()),
            BoundChange::Keyed(_) => Err(self.at(
                at,
                format!(
                    "step \"{}\": {} reads rows that stand for themselves, but {} sends a changelog",
                    step.name(),
                    step.key,
                    self.port_name(input)
                ),
            )),
        }
    }

    /// The only output of an operator that sends a changelog by `key`; its columns come into being here.
    pub(super) fn keyed_output(&self, schema: Schema, key: Vec<String>) -> BoundOutput {
        let origins = (0..schema.len())
            .map(|column| (self.nodes.next_id(), 0, column))
            .collect();
        BoundOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change: BoundChange::Keyed(Some(key)),
        }
    }
}
