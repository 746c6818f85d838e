//! Stages: what a rule says of itself against the columns that it is to read, and its parameters.

use super::{
    Binder, BoundChange, BoundGuest, BoundKind, BoundNode, BoundOutput, BoundStage, OutputPort, StepAt, StepKeys, list,
};
use crate::{
    definition::{self, Failures, Spanned, Stage, StageLimits},
    error::{Error, Result},
    limits::{
        FAILURES_MOST, FAILURES_OF, FAILURES_OF_MAX, GUEST_MEMORY_MIB_MAX, ROWS_PER_ROW_MAX, TRIAL_FAILURES, TRIAL_ROWS,
    },
    model::{
        column::{Field, Schema},
        deployment::{Deployment, Whose},
        guest::{InputColumn, Module, ParameterSpec, ParameterValue},
    },
    plan::{FailureBound, GuestHost, Setting, StagePlan, StageVersion, Trial},
};
use std::{collections::BTreeMap, ops::Range, path::Path, sync::Arc};

/// On how many rows it may fail; a block has a row at least.
fn failure_bound(failures: Option<&Spanned<Failures>>) -> FailureBound {
    match failures.map(Spanned::get_ref) {
        Some(given) => FailureBound {
            most: given.most,
            of: given.of.max(1),
        },
        None => FailureBound {
            most: FAILURES_MOST,
            of: FAILURES_OF,
        },
    }
}

impl StepKeys for Stage {
    fn bind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode> {
        let input = step.input(binder)?;
        let load = || {
            let folder = binder.file.path.parent().unwrap_or(Path::new(""));
            let module = step
                .host
                .load_stage(&folder.join(self.module.get_ref()), Whose::of_file(step.name()));
            module.map_err(|cause| {
                let message = format!("step \"{}\": key `module`: {cause}", step.name());
                binder.error(self.module.span(), message).like(&cause)
            })
        };
        let module = ModuleOfStage {
            load: &load,
            span: self.module.span(),
            parameters: &self.parameters,
            limits: &self.limits,
            failures: self.failures.as_ref(),
            trial: &self.trial,
        };
        binder.stage(step.name(), input, &module, step.span(), step.host)
    }
}

/// What the file says of a stage: the module that runs where no other was deployed, and what is asked of all of them.
pub(super) struct ModuleOfStage<'a> {
    /// Loads it, where it is to run.
    pub(super) load: &'a dyn Fn() -> Result<Arc<Module>>,
    /// Where it stands in the file.
    pub(super) span: Range<usize>,
    pub(super) parameters: &'a BTreeMap<String, Spanned<toml::Value>>,
    pub(super) limits: &'a StageLimits,
    pub(super) failures: Option<&'a Spanned<Failures>>,
    pub(super) trial: &'a definition::Trial,
}

impl Binder<'_> {
    pub(super) fn stage(
        &self,
        name: &str,
        input: OutputPort,
        stage: &ModuleOfStage<'_>,
        span: Range<usize>,
        host: &dyn GuestHost,
    ) -> Result<BoundNode> {
        self.check_limits(stage.limits)?;
        self.check_failures(stage.failures)?;
        let versions = self.versions.get(name).cloned().unwrap_or_default();
        let (live, outputs) = match &versions.live {
            Some(version) => {
                let whose = version.deployment.whose(name);
                self.version(input, version, stage.limits, host, whose)?
            }
            None => {
                let at_module = |message: String| self.error(stage.span.clone(), format!("step \"{name}\": {message}"));
                let module = (stage.load)()?;
                let outputs = self.outputs(input, &module).map_err(at_module)?;
                let given = stage
                    .parameters
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.get_ref(), Some(value.span())));
                let at_step = |at: Option<Range<usize>>, message: String| {
                    self.error(at.unwrap_or(span.clone()), format!("step \"{name}\": {message}"))
                };
                let parameters = parameters_of(&module, given).map_err(|(at, message)| at_step(at, message))?;
                let said = stage.parameters.iter();
                let deployment = Deployment {
                    parameters: said
                        .map(|(name, value)| (name.clone(), value.get_ref().clone()))
                        .collect(),
                    ..Default::default()
                };
                let whose = deployment.whose(name);
                let guest = configured(host, module, deployment, parameters, stage.limits, whose)
                    .map_err(|cause| at_step(None, cause.to_string()).like(&cause))?;
                (guest, outputs)
            }
        };
        let beside = |version: &Option<StageVersion>, whose: fn(Whose) -> Whose| {
            let bound = version.as_ref().map(|version| {
                let whose = whose(version.deployment.whose(name));
                self.version(input, version, stage.limits, host, whose)
            });
            Ok(bound.transpose()?.map(|(guest, _)| guest))
        };
        let fallback = beside(&versions.fallback, |whose| whose)?;
        let shadow = beside(&versions.shadow, Whose::as_candidate)?;
        Ok(BoundNode {
            name: name.to_owned(),
            input,
            kind: BoundKind::Stage(Box::new(BoundStage {
                live,
                fallback,
                shadow,
                limits: stage.limits.clone(),
                failures: failure_bound(stage.failures),
                trial: Trial {
                    rows: stage.trial.rows.unwrap_or(TRIAL_ROWS),
                    failures: stage.trial.failures.unwrap_or(TRIAL_FAILURES),
                },
            })),
            outputs,
        })
    }

    /// A guest that is not from the pipeline file.
    fn version(
        &self,
        input: OutputPort,
        version: &StageVersion,
        limits: &StageLimits,
        host: &dyn GuestHost,
        whose: Whose,
    ) -> Result<(BoundGuest, Vec<BoundOutput>)> {
        let at_module = |message: String| {
            Error::definition(format!(
                "module {} does not fit step \"{}\" of pipeline {}: {message}",
                version.module.short_digest(),
                whose.step,
                self.definition.name.get_ref()
            ))
        };
        let outputs = self.outputs(input, &version.module).map_err(at_module)?;
        let given = version
            .deployment
            .parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value, None));
        let parameters = parameters_of(&version.module, given).map_err(|(_, message)| at_module(message))?;
        let (module, deployment) = (version.module.clone(), version.deployment.clone());
        let guest = configured(host, module, deployment, parameters, limits, whose.clone())
            .map_err(|cause| at_module(cause.to_string()).like(&cause))?;
        Ok((guest, outputs))
    }

    /// What the rule gives of the rows of `input`.
    ///
    /// # Errors
    /// What of the rule does not fit.
    fn outputs(&self, input: OutputPort, module: &Module) -> Result<Vec<BoundOutput>, String> {
        let whose = self.port_name(input);
        let input_output = self.output(input).map_err(|error| error.to_string())?;
        let schema = &input_output.schema;
        let description = &module.description;
        check_reads("rule", &description.name, &description.inputs, schema, &whose)?;
        let changelog = !matches!(input_output.change, BoundChange::Append);
        if changelog && description.reads_time {
            return Err(format!(
                "the rule {} reads the time, but {whose} sends a changelog: what it said of a row could not be taken \
                 back at another time",
                description.name
            ));
        }

        let mut outputs = Vec::new();
        for (number, output) in description.outputs.iter().enumerate() {
            if changelog && output.many {
                return Err(format!(
                    "the rule {} may give many rows for one (output \"{}\"), and {whose} sends a changelog; accepted are \
                     single rows",
                    description.name, output.name
                ));
            }
            let mut fields = Vec::new();
            let mut origins = Vec::new();
            for (from, to) in &output.passed {
                let Some(index) = schema.iter().position(|field| field.name == *from) else {
                    return Err(format!(
                        "the rule {} passes column \"{from}\" on, which {whose} does not have; there are {}",
                        description.name,
                        list(schema)
                    ));
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
                origins.push((self.nodes.next_id(), number, fields.len()));
                fields.push(computed.clone());
            }
            let change = match &input_output.change {
                BoundChange::Append => BoundChange::Append,
                BoundChange::Keyed(key) => BoundChange::Keyed(key.as_ref().and_then(|key| {
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
            outputs.push(BoundOutput {
                name: output.name.clone(),
                schema: fields,
                origins,
                change,
            });
        }
        Ok(outputs)
    }

    fn check_failures(&self, failures: Option<&Spanned<Failures>>) -> Result<()> {
        let Some(given) = failures else { return Ok(()) };
        let Failures { most, of } = *given.get_ref();
        if (1..=FAILURES_OF_MAX).contains(&of) && most <= of {
            return Ok(());
        }
        Err(self.error(
            given.span(),
            format!(
                "key `failures`: {most} of {of} rows; accepted are 1 to {FAILURES_OF_MAX} rows, and up to as many that may fail"
            ),
        ))
    }

    pub(super) fn check_limits(&self, limits: &StageLimits) -> Result<()> {
        let bounds = [
            ("memory_mib", &limits.memory_mib, GUEST_MEMORY_MIB_MAX),
            ("output_mib", &limits.output_mib, GUEST_MEMORY_MIB_MAX),
            ("deadline_ms", &limits.deadline_ms, 60_000),
            ("rows_per_row", &limits.rows_per_row, ROWS_PER_ROW_MAX),
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
}

/// Whether a guest can read what it wants to of the columns of `whose`; `kind` is what people call it.
///
/// # Errors
/// Which column does not fit.
pub(super) fn check_reads(
    kind: &str,
    name: &str,
    inputs: &[InputColumn],
    schema: &Schema,
    whose: &str,
) -> Result<(), String> {
    for wanted in inputs {
        let (column, column_type) = (&wanted.name, wanted.accepts);
        let Some(found) = schema.iter().find(|field| field.name == *column) else {
            return Err(format!(
                "the {kind} {name} reads column \"{column}\" ({column_type}), which {whose} does not have; there are {}",
                list(schema)
            ));
        };
        if !column_type.takes(found.column_type) {
            return Err(format!(
                "the {kind} {name} reads column \"{column}\" as {column_type}, but it is {} in {whose}",
                found.column_type
            ));
        }
        if found.nullable && !wanted.nullable {
            return Err(format!(
                "the {kind} {name} reads column \"{column}\" as {column_type} without nulls, but it may be null in \
                 {whose}; let the {kind} take an Option"
            ));
        }
    }
    Ok(())
}

/// A guest that took its parameters; or that this host does not run any more, which says so where it is to be run.
fn configured(
    host: &dyn GuestHost,
    module: Arc<Module>,
    deployment: Deployment,
    parameters: Vec<(String, ParameterValue)>,
    limits: &StageLimits,
    whose: Whose,
) -> Result<BoundGuest> {
    let setting = Setting {
        parameters: &parameters,
        inputs: &[],
        limits,
        whose,
    };
    let mut instance = host.stage(&module, setting);
    if instance.refusal().is_none() {
        instance
            .configure()
            .map_err(|failure| failure.error(format!("the rule {}: {failure}", module.description.name)))?;
    }
    Ok(BoundGuest {
        module,
        deployment,
        parameters,
    })
}

impl StageVersion {
    /// Whether it is the module of that digest with these parameters: those that the rule has of itself count as much as
    /// those that are set.
    pub fn is(&self, digest: &str, parameters: &BTreeMap<String, toml::Value>) -> bool {
        is_same(&self.module, &self.deployment.parameters, digest, parameters)
    }

    /// Every parameter of it, those that the rule has of itself included; nothing where they do not fit.
    pub fn all_parameters(&self) -> Option<Vec<(String, ParameterValue)>> {
        let set = self.deployment.parameters.iter();
        parameters_of(&self.module, set.map(|(name, value)| (name.as_str(), value, None))).ok()
    }
}

impl StagePlan {
    /// See [`StageVersion::is`].
    pub fn is(&self, digest: &str, parameters: &BTreeMap<String, toml::Value>) -> bool {
        is_same(&self.module, &self.deployment.parameters, digest, parameters)
    }
}

fn is_same(
    module: &Module,
    set: &BTreeMap<String, toml::Value>,
    digest: &str,
    parameters: &BTreeMap<String, toml::Value>,
) -> bool {
    let all = |set: &BTreeMap<String, toml::Value>| {
        let given = set.iter().map(|(name, value)| (name.as_str(), value, None));
        parameters_of(module, given).ok()
    };
    module.digest == digest && all(set).is_some_and(|set| all(parameters) == Some(set))
}

/// What is wrong, and where what was given stands in the file, if it does.
pub(super) type Wrong = (Option<Range<usize>>, String);

fn parameters_of<'v>(
    module: &Module,
    given: impl Iterator<Item = (&'v str, &'v toml::Value, Option<Range<usize>>)>,
) -> Result<Vec<(String, ParameterValue)>, Wrong> {
    let description = &module.description;
    parameters("rule", &description.name, &description.parameters, given)
}

/// Every parameter of a guest, with the value that is given, or that the guest itself gives it; `kind` is what people
/// call it.
///
/// # Errors
/// What is wrong with which, and the place of what was given.
pub(super) fn parameters<'v>(
    kind: &str,
    name: &str,
    specs: &[ParameterSpec],
    given: impl Iterator<Item = (&'v str, &'v toml::Value, Option<Range<usize>>)>,
) -> Result<Vec<(String, ParameterValue)>, Wrong> {
    let guest = name;
    let mut values: BTreeMap<&str, (&toml::Value, Option<Range<usize>>)> = BTreeMap::new();
    for (name, value, at) in given {
        if !specs.iter().any(|spec| spec.name == name) {
            let known: Vec<String> = specs
                .iter()
                .map(|spec| format!("{} ({})", spec.name, spec.parameter_type))
                .collect();
            let known = if known.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", known.join(", "))
            };
            return Err((at, format!("the {kind} {guest} has no parameter \"{name}\"; {known}")));
        }
        values.insert(name, (value, at));
    }
    let mut parameters = Vec::new();
    for spec in specs {
        let accepted = spec.parameter_type.described();
        let value = match (values.remove(spec.name.as_str()), &spec.default) {
            (Some((value, at)), _) => spec.parameter_type.value(value).ok_or_else(|| {
                (
                    at,
                    format!("parameter \"{}\" is {value}; accepted is {accepted}", spec.name),
                )
            })?,
            (None, Some(default)) => default.clone(),
            (None, None) => {
                return Err((
                    None,
                    format!(
                        "parameter \"{}\" is missing; accepted is {accepted} ({})",
                        spec.name, spec.doc
                    ),
                ));
            }
        };
        parameters.push((spec.name.clone(), value));
    }
    Ok(parameters)
}
