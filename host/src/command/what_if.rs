//! What a replay changes in a pipeline: other modules and parameters than its file says.

use crate::{
    definition::{File, Spanned, Stage},
    error::{Error, Result},
    model::deployment::Deployment,
    plan::{Plan, StageVersion, StepVersions, Versions},
    wasm::StageHost,
};
use std::path::{Path, PathBuf};

/// What to change in the pipeline, for this replay alone.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What if")]
pub(super) struct WhatIf {
    /// Another module for a step. It gets the parameters of the pipeline file.
    #[arg(long = "with", value_name = "STEP=MODULE.wasm", value_parser = parse_module)]
    modules: Vec<(String, PathBuf)>,
    /// Another value for a parameter of a step; lists are separated by commas. The others keep what the pipeline file
    /// says.
    #[arg(long = "param", value_name = "STEP.NAME=VALUE", value_parser = parse_parameter)]
    parameters: Vec<Parameter>,
}

/// A parameter of a step, and the text that was given for it.
#[derive(Clone, Debug)]
struct Parameter {
    step: String,
    name: String,
    value: String,
}

fn parse_module(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((step, module)) if !step.is_empty() && !module.is_empty() => Ok((step.to_owned(), module.into())),
        _ => Err("accepted is STEP=MODULE.wasm".to_owned()),
    }
}

fn parse_parameter(text: &str) -> Result<Parameter, String> {
    // Names of steps have no dots.
    let split = text
        .split_once('=')
        .and_then(|(name, value)| Some((name.split_once('.')?, value)));
    match split {
        Some(((step, name), value)) if !step.is_empty() && !name.is_empty() => Ok(Parameter {
            step: step.to_owned(),
            name: name.to_owned(),
            value: value.to_owned(),
        }),
        _ => Err("accepted is STEP.NAME=VALUE".to_owned()),
    }
}

/// The changes to a pipeline.
pub(super) struct Changes {
    /// What its stages run instead.
    pub(super) versions: Versions,
    /// Each of them in words.
    pub(super) said: Vec<String>,
}

impl WhatIf {
    /// The changes to the pipeline in `file`.
    ///
    /// # Errors
    /// When the file is no pipeline, a step is no stage of it, a module cannot be loaded, or a parameter is none of the
    /// rule's or not of its type.
    pub(super) fn changes(&self, file: &File, host: &StageHost) -> Result<Changes> {
        let mut changes = Changes {
            versions: Versions::new(),
            said: Vec::new(),
        };
        if self.modules.is_empty() && self.parameters.is_empty() {
            return Ok(changes);
        }
        let definition = file.parse()?;
        let mut stages: Vec<(&str, Option<Stage>)> = Vec::new();
        for step in definition.steps.iter().map(Spanned::get_ref) {
            if step.is_stage() {
                stages.push((step.name.get_ref(), step.stage(file)?));
            }
        }
        for named in self.steps() {
            if !stages.iter().any(|(step, _)| *step == named) {
                let known: Vec<&str> = stages.iter().map(|(step, _)| *step).collect();
                let known = if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                };
                let name = definition.name.get_ref();
                return Err(Error::definition(format!(
                    "pipeline {name} has no stage \"{named}\"; it has {known}"
                )));
            }
        }
        for (step, stage) in stages {
            if self.steps().any(|named| named == step) {
                let version = self.version(file, host, step, stage.as_ref(), &mut changes.said)?;
                let step_versions = StepVersions {
                    live: Some(version),
                    ..Default::default()
                };
                changes.versions.insert(step.to_owned(), step_versions);
            }
        }
        Ok(changes)
    }

    /// The steps that are named, some of them more than once.
    fn steps(&self) -> impl Iterator<Item = &str> {
        let modules = self.modules.iter().map(|(step, _)| step.as_str());
        modules.chain(self.parameters.iter().map(|parameter| parameter.step.as_str()))
    }

    fn version(
        &self,
        file: &File,
        host: &StageHost,
        step: &str,
        stage: Option<&Stage>,
        said: &mut Vec<String>,
    ) -> Result<StageVersion> {
        let mut given = self.modules.iter().filter(|(named, _)| named == step);
        let other = given.next().map(|(_, module)| module);
        if given.next().is_some() {
            return Err(Error::definition(format!("--with names step {step} twice")));
        }
        let folder = file.path.parent().unwrap_or(Path::new(""));
        let path = match (other, stage) {
            (Some(other), _) => Some(other.clone()),
            (None, stage) => stage.map(|stage| folder.join(stage.module.get_ref())),
        };
        let module = match path {
            Some(path) => host
                .load(&path)
                .map_err(|error| error.context(format!("step \"{step}\"")))?,
            // A rule that is written in the file.
            None => Plan::build(file, host)?.stage(step)?.module.clone(),
        };
        let mut deployment = Deployment {
            digest: other.map(|_| module.digest.clone()),
            ..Default::default()
        };
        if other.is_some() {
            said.push(format!("{step} = {}", module.short_digest()));
        }
        for (name, value) in stage.into_iter().flat_map(|stage| &stage.parameters) {
            deployment.parameters.insert(name.clone(), value.get_ref().clone());
        }
        let mut set: Vec<&str> = Vec::new();
        for Parameter { name, value, .. } in self.parameters.iter().filter(|parameter| parameter.step == step) {
            if set.contains(&name.as_str()) {
                return Err(Error::definition(format!("--param sets {step}.{name} twice")));
            }
            set.push(name);
            // One that the rule does not have is reported with those that it has when the plan is made.
            let specs = &module.description.parameters;
            let value = match specs.iter().find(|spec| spec.name == *name) {
                None => value.as_str().into(),
                Some(spec) => spec.parameter_type.parse(value).ok_or_else(|| {
                    Error::definition(format!(
                        "--param {step}.{name} is \"{value}\"; accepted is {}",
                        spec.parameter_type.described()
                    ))
                })?,
            };
            said.push(format!("{step}.{name} = {value}"));
            deployment.parameters.insert(name.clone(), value);
        }
        said.sort();
        Ok(StageVersion { module, deployment })
    }
}

impl Changes {
    /// What follows the name of a source where the pipeline is a changed one: `, with step.parameter = 0.9`.
    pub(super) fn suffix(&self) -> String {
        match self.said.as_slice() {
            [] => String::new(),
            said => format!(", with {}", said.join(", ")),
        }
    }
}
