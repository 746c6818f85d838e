//! Stages: what a rule says of itself against the columns that it is to read, and its parameters.

use super::{Edge, ResolvedChange, ResolvedKind, ResolvedNode, ResolvedOutput, Resolver, list};
use crate::{
    column::Field,
    definition::{Stage, StageLimits},
    error::Result,
    limits::GUEST_MEMORY_MIB_MAX,
    stage::{Instance, Module, ParameterType, ParameterValue, StageHost},
};
use serde_spanned::Spanned;
use std::{collections::BTreeMap, ops::Range, path::Path};

impl Resolver<'_> {
    pub(super) fn stage(
        &self,
        name: &str,
        input: Edge,
        stage: &Stage,
        span: Range<usize>,
        host: &StageHost,
    ) -> Result<ResolvedNode> {
        let whose = self.edge_name(input);
        let input_output = self.output(input)?;
        let schema = &input_output.schema;
        self.check_limits(&stage.limits)?;
        let folder = self.file.path.parent().unwrap_or(Path::new(""));
        let at_module = |message: String| self.error(stage.module.span(), format!("step \"{name}\": {message}"));
        let module = host
            .load(&folder.join(stage.module.get_ref()))
            .map_err(|cause| at_module(format!("key `module`: {cause}")))?;
        let description = &module.description;

        for wanted in &description.inputs {
            let Some(found) = schema.iter().find(|field| field.name == wanted.name) else {
                return Err(at_module(format!(
                    "the rule {} reads column \"{}\" ({}), which {whose} does not have; there are {}",
                    description.name,
                    wanted.name,
                    wanted.column_type,
                    list(schema)
                )));
            };
            if found.column_type != wanted.column_type {
                return Err(at_module(format!(
                    "the rule {} reads column \"{}\" as {}, but it is {} in {whose}",
                    description.name, wanted.name, wanted.column_type, found.column_type
                )));
            }
            if found.nullable && !wanted.nullable {
                return Err(at_module(format!(
                    "the rule {} reads column \"{}\" as {} without nulls, but it may be null in {whose}; \
                     let the rule take an Option",
                    description.name, wanted.name, wanted.column_type
                )));
            }
        }
        let changelog = !matches!(input_output.change, ResolvedChange::Append);
        if changelog && description.reads_time {
            return Err(at_module(format!(
                "the rule {} reads the time, but {whose} sends a changelog: what it said of a row could not be taken \
                 back at another time",
                description.name
            )));
        }

        let mut outputs = Vec::new();
        for (number, output) in description.outputs.iter().enumerate() {
            let mut fields = Vec::new();
            let mut origins = Vec::new();
            for (from, to) in &output.passed {
                let Some(index) = schema.iter().position(|field| field.name == *from) else {
                    return Err(at_module(format!(
                        "the rule {} passes column \"{from}\" on, which {whose} does not have; there are {}",
                        description.name,
                        list(schema)
                    )));
                };
                if let (Some(field), Some(origin)) = (schema.get(index), input_output.origins.get(index)) {
                    fields.push(Field {
                        name: to.clone(),
                        ..field.clone()
                    });
                    origins.push(*origin);
                }
            }
            for computed in &output.computed {
                origins.push((self.nodes.len(), number, fields.len()));
                fields.push(computed.clone());
            }
            let change = match &input_output.change {
                ResolvedChange::Append => ResolvedChange::Append,
                ResolvedChange::Keyed(key) => ResolvedChange::Keyed(key.as_ref().and_then(|key| {
                    let renamed = |column: &String| {
                        output
                            .passed
                            .iter()
                            .find(|(from, _)| from == column)
                            .map(|(_, to)| to.clone())
                    };
                    key.iter().map(renamed).collect()
                })),
            };
            outputs.push(ResolvedOutput {
                name: output.name.clone(),
                schema: fields,
                origins,
                change,
            });
        }

        let parameters = self.parameters(name, &module, &stage.parameters, span.clone())?;
        Instance::new(host, module.clone(), parameters.clone(), &stage.limits)
            .configure()
            .map_err(|failure| {
                self.error(
                    span,
                    format!("step \"{name}\": the rule {}: {failure}", description.name),
                )
            })?;
        Ok(ResolvedNode {
            name: name.to_owned(),
            input,
            kind: ResolvedKind::Stage { module, parameters },
            outputs,
        })
    }

    fn check_limits(&self, limits: &StageLimits) -> Result<()> {
        let bounds = [
            ("memory_mib", &limits.memory_mib, GUEST_MEMORY_MIB_MAX),
            ("output_mib", &limits.output_mib, GUEST_MEMORY_MIB_MAX),
            ("deadline_ms", &limits.deadline_ms, 60_000),
        ];
        for (key, given, most) in bounds {
            if let Some(given) = given
                && !(1..=most).contains(given.get_ref())
            {
                let value = given.get_ref();
                return Err(self.error(
                    given.span(),
                    format!("key `{key}` is {value}; accepted are 1 to {most}"),
                ));
            }
        }
        Ok(())
    }

    /// Every parameter of the rule, with the value that the file or the rule gives it.
    fn parameters(
        &self,
        step: &str,
        module: &Module,
        given: &BTreeMap<String, Spanned<toml::Value>>,
        span: Range<usize>,
    ) -> Result<Vec<(String, ParameterValue)>> {
        let specs = &module.description.parameters;
        for (name, value) in given {
            if !specs.iter().any(|spec| spec.name == *name) {
                let known: Vec<String> = specs
                    .iter()
                    .map(|spec| format!("{} ({})", spec.name, spec.parameter_type))
                    .collect();
                let known = if known.is_empty() {
                    "it has none".to_owned()
                } else {
                    format!("it has {}", known.join(", "))
                };
                let rule = &module.description.name;
                return Err(self.error(
                    value.span(),
                    format!("step \"{step}\": the rule {rule} has no parameter \"{name}\"; {known}"),
                ));
            }
        }
        let mut parameters = Vec::new();
        for spec in specs {
            let value = match (given.get(&spec.name), &spec.default) {
                (Some(value), _) => parameter(value.get_ref(), spec.parameter_type).ok_or_else(|| {
                    self.error(
                        value.span(),
                        format!(
                            "step \"{step}\": parameter \"{}\" is {}; accepted is {}",
                            spec.name,
                            value.get_ref(),
                            spec.parameter_type.described()
                        ),
                    )
                })?,
                (None, Some(default)) => default.clone(),
                (None, None) => {
                    return Err(self.error(
                        span,
                        format!(
                            "step \"{step}\": parameter \"{}\" is missing; accepted is {} ({})",
                            spec.name,
                            spec.parameter_type.described(),
                            spec.doc
                        ),
                    ));
                }
            };
            parameters.push((spec.name.clone(), value));
        }
        Ok(parameters)
    }
}

/// The value of a parameter as the rule wants it; an integer is also a double.
fn parameter(value: &toml::Value, wanted: ParameterType) -> Option<ParameterValue> {
    let double = |value: &toml::Value| match value {
        toml::Value::Float(value) => Some(*value).filter(|value| value.is_finite()),
        toml::Value::Integer(value) => Some(*value as f64),
        _ => None,
    };
    Some(match wanted {
        ParameterType::Int => ParameterValue::Int(value.as_integer()?),
        ParameterType::Double => ParameterValue::Double(double(value)?),
        ParameterType::Boolean => ParameterValue::Boolean(value.as_bool()?),
        ParameterType::Text => ParameterValue::Text(value.as_str()?.to_owned()),
        ParameterType::IntList => ParameterValue::IntList(
            value
                .as_array()?
                .iter()
                .map(toml::Value::as_integer)
                .collect::<Option<_>>()?,
        ),
        ParameterType::DoubleList => {
            ParameterValue::DoubleList(value.as_array()?.iter().map(double).collect::<Option<_>>()?)
        }
        ParameterType::TextList => ParameterValue::TextList(
            value
                .as_array()?
                .iter()
                .map(|text| text.as_str().map(str::to_owned))
                .collect::<Option<_>>()?,
        ),
    })
}
