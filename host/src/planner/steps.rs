//! Steps: which operator each is, and where its rows come from.

use super::{
    OutputPort, ResolvedChange, ResolvedKind, ResolvedNode, ResolvedOutput, Resolver, list, source::ONLY_INPUT,
};
use crate::{
    definition::{LastValue, Name, Step},
    error::{Error, Result},
    model::column::{ColumnType, Schema},
    wasm::StageHost,
};
use std::ops::Range;

impl Resolver<'_> {
    pub(super) fn step(&mut self, step: &Step, span: Range<usize>, host: &StageHost) -> Result<()> {
        self.check_name(&step.name, "a step's name")?;
        let name = step.name.get_ref().clone();
        if let Some(other) = self.nodes.iter().position(|node| node.name == name) {
            let (what, names) = match other < self.inputs.len() {
                true => ("an input", "inputs and steps"),
                false => ("a step", "steps"),
            };
            return Err(self.at(
                &step.name,
                format!("there is {what} \"{name}\" already; names of {names} are unique"),
            ));
        }
        let kinds = [
            ("stage", step.stage.is_some()),
            ("last_value", step.last_value.is_some()),
            ("aggregate", step.aggregate.is_some()),
            ("lookup", step.lookup.is_some()),
            ("window", step.window.is_some()),
            ("interval_join", step.interval_join.is_some()),
            ("on_crossing", step.on_crossing.is_some()),
            ("union", step.union.is_some()),
            ("deduplicate", step.deduplicate.is_some()),
        ];
        let given: Vec<&str> = kinds
            .iter()
            .filter(|(_, given)| *given)
            .map(|(kind, _)| *kind)
            .collect();
        if given.len() != 1 {
            let found = if given.is_empty() {
                "none".to_owned()
            } else {
                given.join(" and ")
            };
            let accepted = "exactly one of stage, last_value, aggregate, lookup, window, interval_join, on_crossing, union, deduplicate";
            return Err(self.error(span, format!("step \"{name}\" has {found}; a step has {accepted}")));
        }
        // A union names all edges that it reads itself.
        let input = match &step.union {
            Some(_) => OutputPort { node: 0, output: 0 },
            None => self.edge_or_before(step.from.as_ref(), step.name.span())?,
        };
        let node = if let Some(stage) = &step.stage {
            self.stage(&name, input, stage.get_ref(), stage.span(), host)?
        } else if let Some(last_value) = &step.last_value {
            self.last_value(&name, input, last_value.get_ref(), last_value.span())?
        } else if let Some(aggregate) = &step.aggregate {
            self.aggregate(&name, input, aggregate.get_ref(), host)?
        } else if let Some(lookup) = &step.lookup {
            self.lookup(&name, input, lookup.get_ref(), lookup.span())?
        } else if let Some(join) = &step.interval_join {
            self.interval_join(&name, input, join.get_ref(), join.span())?
        } else if let Some(window) = &step.window {
            self.window(&name, input, window.get_ref(), window.span(), host)?
        } else if let Some(on_crossing) = &step.on_crossing {
            self.on_crossing(&name, input, on_crossing.get_ref(), on_crossing.span())?
        } else if let Some(union) = &step.union {
            self.union(&name, step.from.as_ref(), union.get_ref(), union.span())?
        } else if let Some(deduplicate) = &step.deduplicate {
            self.deduplicate(&name, input, deduplicate.get_ref(), deduplicate.span())?
        } else {
            return Ok(());
        };
        self.nodes.push(node);
        Ok(())
    }

    /// The output that `from` names, or that of the step before; before the first step, of the only input.
    pub(super) fn edge_or_before(&self, from: Option<&Name>, span: Range<usize>) -> Result<OutputPort> {
        self.edge_or_at(from, self.nodes.len().saturating_sub(1), span)
    }

    /// The output that `from` names, or that of the node `before`.
    pub(super) fn edge_or_at(&self, from: Option<&Name>, before: usize, span: Range<usize>) -> Result<OutputPort> {
        if from.is_none() && before > 0 && before < self.inputs.len() {
            let known: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
            return Err(self.error(
                span,
                format!(
                    "key `from` is missing: there are several inputs, and no step before this; name one of {}",
                    known.join(", ")
                ),
            ));
        }
        self.port(from, before, span)
    }

    /// The output that `from` names: `step`, or `step.output`.
    pub(super) fn port(&self, from: Option<&Name>, default: usize, span: Range<usize>) -> Result<OutputPort> {
        let (node, output, span) = match from {
            None => (default, None, span),
            Some(from) => {
                let text = from.get_ref();
                let (step, output) = match text.split_once('.') {
                    Some((step, output)) => (step, Some(output)),
                    None => (text.as_str(), None),
                };
                let Some(node) = self.nodes.iter().position(|node| node.name == step) else {
                    let known: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
                    return Err(self.at(
                        from,
                        format!(
                            "there is no step \"{step}\" before this; there are {}",
                            known.join(", ")
                        ),
                    ));
                };
                (node, output, from.span())
            }
        };
        let Some(found) = self.nodes.get(node) else {
            return Ok(OutputPort { node, output: 0 });
        };
        let known = || {
            found
                .outputs
                .iter()
                .map(|o| format!("{}.{}", found.name, o.name))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let output = match output {
            Some(output) => match found.outputs.iter().position(|known| known.name == output) {
                Some(output) => output,
                None => {
                    let step = &found.name;
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

    pub(super) fn output(&self, port: OutputPort) -> Result<&ResolvedOutput> {
        let output = self.nodes.get(port.node).and_then(|node| node.outputs.get(port.output));
        output.ok_or_else(|| Error::definition("a step reads from a step that is not there"))
    }

    pub(super) fn port_name(&self, port: OutputPort) -> String {
        match self.nodes.get(port.node) {
            Some(node)
                if node.outputs.len() > 1 && (port.output > 0 || matches!(node.kind, ResolvedKind::Stage(_))) =>
            {
                let output = node.outputs.get(port.output).map_or("", |output| output.name.as_str());
                format!("step \"{}.{output}\"", node.name)
            }
            Some(node) if port.node >= self.inputs.len() => format!("step \"{}\"", node.name),
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

    pub(super) fn append_only(&self, input: OutputPort, step: &str, operator: &str, at: &Name) -> Result<()> {
        match self.output(input)?.change {
            ResolvedChange::Append => Ok(()),
            ResolvedChange::Keyed(_) => Err(self.at(
                at,
                format!(
                    "step \"{step}\": {operator} reads rows that stand for themselves, but {} sends a changelog",
                    self.port_name(input)
                ),
            )),
        }
    }

    fn last_value(
        &self,
        name: &str,
        input: OutputPort,
        last_value: &LastValue,
        span: Range<usize>,
    ) -> Result<ResolvedNode> {
        let whose = self.port_name(input);
        let Some(first) = last_value.key.first() else {
            return Err(self.error(
                span,
                format!("step \"{name}\": key `last_value.key` is empty; name at least one column"),
            ));
        };
        self.append_only(input, name, "last_value", first)?;
        self.distinct(&last_value.key, "key")?;
        let source = self.output(input)?;
        let mut indices = Vec::new();
        for key in &last_value.key {
            indices.push(self.column(&source.schema, key, &whose)?);
        }
        let key_len = indices.len();
        let deleted = match &last_value.deleted {
            None => None,
            Some(deleted) => {
                let index = self.column(&source.schema, deleted, &whose)?;
                let name = deleted.get_ref();
                let found = source.schema.get(index).map(|field| field.column_type);
                if found != Some(ColumnType::Boolean) || indices.contains(&index) {
                    let accepted = "a boolean column that is not in `key`";
                    return Err(self.at(deleted, format!("key `deleted` is \"{name}\"; accepted is {accepted}")));
                }
                Some(index)
            }
        };
        match &last_value.columns {
            Some(columns) => {
                self.distinct(columns, "columns")?;
                for column in columns {
                    let index = self.column(&source.schema, column, &whose)?;
                    if indices.contains(&index) {
                        let column_name = column.get_ref();
                        return Err(self.at(column, format!("column \"{column_name}\" is in `key` already")));
                    }
                    indices.push(index);
                }
            }
            None => {
                let rest: Vec<usize> = (0..source.schema.len())
                    .filter(|index| !indices.contains(index) && deleted != Some(*index))
                    .collect();
                indices.extend(rest);
            }
        }
        let schema: Schema = indices
            .iter()
            .filter_map(|&index| source.schema.get(index).cloned())
            .collect();
        let names: Vec<String> = schema.iter().map(|field| field.name.clone()).collect();
        let (key, columns) = names.split_at(key_len.min(names.len()));
        let kind = ResolvedKind::LastValue {
            key: key.to_vec(),
            columns: columns.to_vec(),
            ttl_us: self.ttl(last_value.ttl.as_ref())?,
            deleted: last_value.deleted.as_ref().map(|deleted| deleted.get_ref().clone()),
        };
        let output = self.keyed_output(schema, key.to_vec());
        Ok(ResolvedNode {
            name: name.to_owned(),
            input,
            kind,
            outputs: vec![output],
        })
    }

    /// The only output of an operator that sends a changelog by `key`; its columns come into being here.
    pub(super) fn keyed_output(&self, schema: Schema, key: Vec<String>) -> ResolvedOutput {
        let origins = (0..schema.len()).map(|column| (self.nodes.len(), 0, column)).collect();
        ResolvedOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change: ResolvedChange::Keyed(Some(key)),
        }
    }
}
