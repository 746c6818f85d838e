//! `keyed`: a function of the user's own that remembers something for each key and can wait for a time. See
//! [`crate::operator::keyed`].

use super::{
    Binder, BoundChange, BoundNode, BoundOperator, BoundOutput, Layout, Origin, Provenance, Reads, StepAt, StepKeys,
    is_timer_driven, list,
    stage::{check_reads, parameters},
    texts,
};
use crate::{
    definition::{Name, Spanned, StageLimits},
    error::Result,
    model::{
        column::{Field, Schema},
        deployment::Whose,
        guest::{KeyedDescription, KeyedModule, OutputSpec, ParameterValue},
    },
    plan::{At, KeyedGuest, OperatorPlan, Setting, StateForm},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Its keys in the file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Keyed {
    /// The file of a component that is a keyed function, relative to the pipeline file.
    module: Spanned<PathBuf>,
    /// The columns by which it remembers.
    key: Vec<Name>,
    /// Parameters by name; those left out have the function's defaults.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    parameters: BTreeMap<String, Spanned<toml::Value>>,
    /// Bounds other than the defaults.
    #[serde(default)]
    limits: StageLimits,
}

impl StepKeys for Keyed {
    fn bind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode> {
        let input = step.input(binder)?;
        let first = binder.first(step, "key", &self.key)?;
        binder.append_only(input, step, first)?;
        binder.distinct(&self.key, "key")?;
        // What it refuses of these would be a dead letter at once, and whether it refuses a row is known only in its turn.
        if is_timer_driven(&binder.nodes, input) {
            let message = format!(
                "step \"{}\": a keyed function reads rows of events, but {} sends rows that come because time went on; let \
                 it read what stands in front of that",
                step.name(),
                binder.port_name(input),
            );
            return Err(binder.at(first, message));
        }
        binder.check_limits(&self.limits)?;
        let whose = binder.port_name(input);
        let source = binder.output(input)?;
        let mut key = Vec::new();
        for name in &self.key {
            key.push(binder.column(&source.schema, name, &whose)?);
        }

        let at_step = |at: Option<Range<usize>>, message: String| {
            let message = format!("step \"{}\": {message}", step.name());
            binder.error(at.unwrap_or(step.span()), message)
        };
        let at_module = |message: String| at_step(Some(self.module.span()), message);
        let folder = binder.file.path.parent().unwrap_or(Path::new(""));
        let whose_guest = Whose::of_file(step.name());
        let module = step
            .host
            .load_keyed(&folder.join(self.module.get_ref()), whose_guest.clone())
            .map_err(|cause| at_module(format!("key `module`: {cause}")).like(&cause))?;
        let description = &module.description;
        let name = &description.name;
        check_reads("keyed function", name, &description.inputs, &source.schema, &whose).map_err(at_module)?;
        let mut outputs = Vec::new();
        for (number, output) in description.outputs.iter().enumerate() {
            outputs.push(
                self.output(
                    number,
                    output,
                    &key,
                    (binder, &source.schema, &source.origins),
                    description,
                    &whose,
                )
                .map_err(at_module)?,
            );
        }

        let given = self.parameters.iter();
        let given = given.map(|(name, value)| (name.as_str(), value.get_ref(), Some(value.span())));
        let parameters = parameters("keyed function", name, &description.parameters, given)
            .map_err(|(at, message)| at_step(at, message))?;
        let setting = Setting {
            parameters: &parameters,
            inputs: &[],
            limits: &self.limits,
            whose: whose_guest,
        };
        step.host.keyed(&module, setting).configure().map_err(|failure| {
            let cause = failure.error(format!("the keyed function {name}: {failure}"));
            at_step(None, cause.to_string()).like(&cause)
        })?;
        let keyed = BoundKeyed {
            key: texts(&self.key),
            key_fields: key
                .iter()
                .filter_map(|&index| source.schema.get(index).cloned())
                .collect(),
            module,
            parameters,
            limits: self.limits.clone(),
        };
        Ok(step.bound(input, keyed, outputs))
    }
}

impl Keyed {
    /// One of its outputs: the columns of the key, those that go through, and those that the function computes.
    ///
    /// # Errors
    /// What of the function does not fit.
    fn output(
        &self,
        number: usize,
        output: &OutputSpec,
        key: &[usize],
        (binder, schema, origins): (&Binder<'_>, &Schema, &[Origin]),
        description: &KeyedDescription,
        whose: &str,
    ) -> Result<BoundOutput, String> {
        let (name, of) = (&description.name, &output.name);
        let (mut fields, mut from): (Schema, Vec<Origin>) = (Vec::new(), Vec::new());
        let mut copy = |index: usize, to: &str| {
            if let (Some(field), Some(origin)) = (schema.get(index), origins.get(index)) {
                fields.push(Field {
                    name: to.to_owned(),
                    ..field.clone()
                });
                from.push(*origin);
            }
        };
        for (&index, column) in key.iter().zip(&self.key) {
            copy(index, column.get_ref());
        }
        for (column, to) in &output.passed {
            let Some(index) = schema.iter().position(|field| field.name == *column) else {
                return Err(format!(
                    "the keyed function {name} passes column \"{column}\" on, which {whose} does not have; there are {}",
                    list(schema)
                ));
            };
            copy(index, to);
        }
        for computed in &output.computed {
            from.push((binder.nodes.next_id(), number, fields.len()));
            fields.push(computed.clone());
        }
        let twice = self.key.iter().find(|key| {
            let mut same = fields.iter().filter(|field| field.name == *key.get_ref());
            same.nth(1).is_some()
        });
        if let Some(twice) = twice {
            return Err(format!(
                "the keyed function {name} gives a column \"{}\" in output \"{of}\", which is a column of the key and there \
                 without that; leave it out of the function",
                twice.get_ref()
            ));
        }
        Ok(BoundOutput {
            name: output.name.clone(),
            schema: fields,
            origins: from,
            change: BoundChange::Append,
        })
    }
}

/// The step, by the names of its columns.
struct BoundKeyed {
    key: Vec<String>,
    key_fields: Vec<Field>,
    module: Arc<KeyedModule>,
    parameters: Vec<(String, ParameterValue)>,
    limits: StageLimits,
}

impl BoundKeyed {
    /// The column of the input that a column of an output is, where it is one.
    fn copied<'c>(&'c self, output: &'c OutputSpec, column: &str) -> Option<&'c String> {
        let passed = output.passed.iter().find(|(_, to)| to == column);
        let key = self.key.iter().find(|key| *key == column);
        key.or(passed.map(|(from, _)| from))
    }
}

impl BoundOperator for BoundKeyed {
    fn reads(&self, node: &BoundNode, read: &[BTreeSet<String>]) -> Reads {
        let description = &self.module.description;
        let own = description.inputs.iter().map(|input| &input.name);
        let outputs = description.outputs.iter().zip(read);
        let copied = outputs.flat_map(|(output, read)| read.iter().filter_map(|name| self.copied(output, name)));
        vec![(node.input, self.key.iter().chain(own).chain(copied).cloned().collect())]
    }

    fn follows_time(&self) -> bool {
        true
    }

    fn is_timer_driven(&self) -> bool {
        self.is_timer_driven_output(0)
    }

    fn is_timer_driven_output(&self, output: usize) -> bool {
        let description = &self.module.description;
        // An output that passes columns of events on has no rows without events.
        let output = description.outputs.get(output);
        description.timers && output.is_some_and(|output| output.passed.is_empty())
    }

    fn provenance(&self, node: &BoundNode, column: &str) -> Provenance {
        let first = self.module.description.outputs.first();
        let copied = first.and_then(|output| self.copied(output, column));
        copied.map_or(Provenance::New, |of| Provenance::copy(node.input, of))
    }

    fn plan(&self, layout: &Layout<'_>) -> Box<dyn OperatorPlan> {
        let description = &self.module.description;
        let outputs = description.outputs.iter().enumerate().map(|(number, output)| {
            let place = |name: &String| {
                let computed = || output.computed.iter().position(|field| field.name == *name);
                match self.key.iter().position(|key| key == name) {
                    Some(key) => Some(KeyedColumn::Key(key)),
                    None => match self.copied(output, name) {
                        Some(from) => layout.own([from]).first().copied().map(KeyedColumn::Passed),
                        None => computed().map(KeyedColumn::Computed),
                    },
                }
            };
            layout.held(number).filter_map(place).collect()
        });
        Box::new(KeyedPlan {
            key: layout.own(&self.key),
            key_fields: self.key_fields.clone(),
            guest: KeyedGuest {
                module: self.module.clone(),
                parameters: self.parameters.clone(),
                limits: self.limits.clone(),
                input_types: layout.types(&description.inputs),
            },
            inputs: layout.own(description.inputs.iter().map(|input| &input.name)),
            outputs: outputs.collect(),
        })
    }
}

/// Each output has columns of the key, of the input, and of the function.
#[derive(Clone, Debug)]
pub struct KeyedPlan {
    /// The columns by which it remembers.
    pub key: Vec<usize>,
    /// What these are called, and of which type they are.
    pub key_fields: Vec<Field>,
    /// The function.
    pub guest: KeyedGuest,
    /// For each column that it reads, the column of the input.
    pub inputs: Vec<usize>,
    /// For each output where its columns come from.
    pub outputs: Vec<Vec<KeyedColumn>>,
}

/// Where a column of an output comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyedColumn {
    /// The column of the key.
    Key(usize),
    /// The column of the input, unchanged.
    Passed(usize),
    /// The computed column of the answer.
    Computed(usize),
}

impl OperatorPlan for KeyedPlan {
    fn follows_time(&self) -> bool {
        true
    }

    fn keyed(&self) -> Option<&KeyedGuest> {
        Some(&self.guest)
    }

    fn fingerprint(&self, at: At<'_>, _: StateForm) -> String {
        let description = &self.guest.module.description;
        let KeyedDescription { name, state, .. } = description;
        let key = at.typed(at.node.input, &self.key);
        let timers = if description.timers { " and timers" } else { "" };
        format!("{name} with states {state}{timers} by {key}")
    }

    fn describe(&self, at: At<'_>) -> String {
        let KeyedDescription { name, version, .. } = &self.guest.module.description;
        let digest = self.guest.module.short_digest();
        format!("{name} {version} ({digest}) by {}", at.own_names(&self.key))
    }
}
