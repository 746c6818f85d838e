//! A plan of a pipeline file.

use super::wire::wire;
use crate::{
    definition::File,
    error::Result,
    plan::{Plan, Versions},
    wasm::StageHost,
};

impl Plan {
    /// Checks the pipeline in `file` and wires it. Modules are loaded, and asked to describe and to configure
    /// themselves.
    ///
    /// # Errors
    /// [`ErrorKind::Definition`](crate::error::ErrorKind::Definition), with the place in the file.
    pub fn build(file: &File, host: &StageHost) -> Result<Self> {
        Self::with_versions(file, host, &Versions::new())
    }

    /// What the pipeline in `file` is called, before anything else of it is looked at.
    ///
    /// # Errors
    /// When the file is not understood, or that is no name.
    pub fn name_of(file: &File) -> Result<String> {
        super::name_of(file)
    }

    /// As [`Plan::build`], with other modules and parameters than the file's for the steps that `versions` names.
    ///
    /// # Errors
    /// As [`Plan::build`]; also when the pipeline has no such stage, or a module or its parameters do not fit in its
    /// place.
    pub fn with_versions(file: &File, host: &StageHost, versions: &Versions) -> Result<Self> {
        let definition = file.parse()?;
        let resolved = super::resolve(file, &definition, host, versions)?;
        let plan = wire(file, &definition, resolved);
        versions.keys().try_for_each(|step| plan.stage(step).map(|_| ()))?;
        plan.guest_counts().check(&plan.name)?;
        Ok(plan)
    }

    /// The same pipeline with other versions of its rules, see [`Plan::with_versions`]. What "now" is, and
    /// who may deploy, stays.
    ///
    /// # Errors
    /// As [`Plan::with_versions`].
    pub fn again(&self, host: &StageHost, versions: &Versions) -> Result<Self> {
        let (now, trust) = (self.now.clone(), self.trust.clone());
        let plan = Self::with_versions(&self.file, host, versions)?;
        Ok(Self { now, trust, ..plan })
    }
}
