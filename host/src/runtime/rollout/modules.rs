//! Where the module of a version comes from: the pipeline file, or the database.

use crate::{
    error::Result,
    model::deployment::{Deployment, StoredVersion},
    plan::{Plan, StageVersion},
    storage::Inspect,
    wasm::{Binary, StageHost},
};

/// What the pipeline file says, in the place of a deployment that leaves it the word.
pub(super) fn of_file_version(base: &Plan, step: &str, deployment: &Deployment) -> Result<StageVersion> {
    let of_file = base.stage(step)?;
    let parameters = match deployment.version == 0 || deployment.of_file {
        true => of_file.deployment.parameters.clone(),
        false => deployment.parameters.clone(),
    };
    Ok(StageVersion {
        module: of_file.module.clone(),
        deployment: Deployment {
            digest: None,
            parameters,
            ..deployment.clone()
        },
    })
}

/// The module of what a version falls back on, where that is known; an older weir did not name that of the pipeline file, but
/// it is known where it decided.
pub(super) fn digest_of<'v>(
    fallback: &'v Deployment,
    mut of_step: impl DoubleEndedIterator<Item = &'v StoredVersion>,
) -> Option<&'v str> {
    fallback.digest.as_deref().or_else(|| {
        let decided = of_step.rfind(|version| version.deployment == *fallback);
        decided.map(|version| version.digest.as_str())
    })
}

/// A version that is kept in the database.
pub(super) fn load_stored(
    host: &StageHost,
    database: &dyn Inspect,
    step: &str,
    deployment: &Deployment,
    digest: &str,
) -> Result<StageVersion> {
    let binary = Binary::stored(digest, database.module(digest)?)?;
    Ok(StageVersion {
        module: host.at(deployment.whose(step)).load_deployed(&binary)?,
        deployment: Deployment {
            digest: Some(digest.to_owned()),
            ..deployment.clone()
        },
    })
}
