//! The parameters of a deployment: those that are given, and those that stay as they are.

use super::Target;
use crate::{
    command::show,
    error::{Error, Result},
    model::deployment::Deployment,
    runtime::status::{HostStatus, StepStatus},
    wasm::Module,
};
use std::collections::BTreeMap;

impl Target<'_> {
    /// The parameters that stay where nothing else is said: those in force, or about to be. `before` is the last deployment.
    fn parameters_kept(&self, before: Option<&Deployment>) -> Result<BTreeMap<String, toml::Value>> {
        let of_file = &self.plan.stage(&self.step)?.deployment.parameters;
        let Some(before) = before else {
            return Ok(of_file.clone());
        };
        let hosts: Vec<HostStatus> = self.registry.hosts(Some(&self.plan.name))?;
        let steps = || {
            let steps = hosts.iter().flat_map(|host| &host.steps);
            steps.filter(|step| step.step == self.step)
        };
        let has_it = |step: &&StepStatus| step.deployment.version == before.version;
        // What a host refused or took back is not in force; what was before it still is.
        let has_not = |step: &&StepStatus| {
            let failed = step.failed.as_ref();
            failed.is_some_and(|failed| failed.version == before.version)
        };
        let in_force = steps().find(has_it).or_else(|| steps().find(has_not));
        let told = in_force.and_then(|step| self.parameters_told(&step.deployment));
        Ok(match told {
            Some(parameters) => parameters,
            // The file has the word, and may have changed since.
            None if before.of_file => of_file.clone(),
            None => before.parameters.clone(),
        })
    }

    /// Whether the running hosts have `module` at the step.
    pub(super) fn check_running(&self, module: &Module) -> Result<()> {
        let hosts: Vec<HostStatus> = self.registry.hosts(Some(&self.plan.name))?;
        for host in &hosts {
            let step = host.steps.iter().find(|step| step.step == self.step);
            if let Some(step) = step.filter(|step| step.digest != module.digest) {
                return Err(Error::mismatch(format!(
                    "step \"{}\" runs module {} at {}, and here it is {}; deploy the one that you mean, with its parameters",
                    self.step,
                    show::short(Some(&step.digest)),
                    host.process,
                    module.short_digest()
                )));
            }
        }
        Ok(())
    }
}

/// The parameters of a deployment behind `before`: those given, and of those that are kept the ones that the module has too.
pub(in crate::command) fn merge(
    target: &Target<'_>,
    module: &Module,
    before: Option<&Deployment>,
    given: &[String],
) -> Result<BTreeMap<String, toml::Value>> {
    let kept = target.parameters_kept(before)?;
    let specs = &module.description.parameters;
    let has = |name: &str| specs.iter().any(|spec| spec.name == name);
    let mut parameters: BTreeMap<String, toml::Value> = kept.into_iter().filter(|(name, _)| has(name)).collect();
    for text in given {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Error::definition(format!("parameter \"{text}\" has no value; accepted is NAME=VALUE")))?;
        let Some(spec) = specs.iter().find(|spec| spec.name == name) else {
            let known: Vec<String> = specs
                .iter()
                .map(|spec| format!("{} ({})", spec.name, spec.parameter_type))
                .collect();
            let known = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            return Err(Error::definition(format!(
                "the rule {} has no parameter \"{name}\"; it has {known}",
                module.description.name
            )));
        };
        let value = spec.parameter_type.parse(value).ok_or_else(|| {
            Error::definition(format!(
                "parameter \"{name}\" is {value}; accepted is {}",
                spec.parameter_type.described()
            ))
        })?;
        parameters.insert(name.to_owned(), value);
    }
    Ok(parameters)
}
