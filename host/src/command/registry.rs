//! `weir registry`: the registry made before anybody needs it, and what a database knows of deployments put back into one that
//! lost it.

use super::connection::{NatsArguments, RegistryArguments};
use crate::{
    command::terminal::{self, answer},
    error::{Error, Result},
    model::deployment::Deployment,
    nats::{Nats, Registry as NatsRegistry},
    storage::Location,
};
use serde_json::json;
use std::{collections::BTreeMap, process::ExitCode};

/// Looks after the registry: modules and deployments, as NATS keeps them.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Registry {
    Make(Make),
    Restore(Restore),
}

/// Makes the buckets of the registry that are missing.
///
/// Whoever deploys makes them too, and so does the first host, where they may. With this, nobody but an operator needs the
/// permission to make streams.
///
/// With --json one object: `buckets`, their names.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir registry make --registry-replicas 3 --nats nats://127.0.0.1:4222")]
pub(super) struct Make {
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(flatten)]
    nats: NatsArguments,
}

/// Puts back what a database knows: modules, deployments and their history.
///
/// For each step the versions that decided over rows of the database go into the registry under their own numbers, oldest
/// first, with their modules, where the registry knows none of that number or a later one. Versions that never decided there
/// are not known to it, nor are candidates. Hosts that run do not notice: the last version is the one that they run.
///
/// With --json one object per step: `pipeline`, `step`, `known`, and `restored`, the numbers of the versions.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir registry restore premium-drop.db --nats nats://127.0.0.1:4222")]
pub(super) struct Restore {
    /// The database.
    database: Location,
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(flatten)]
    nats: NatsArguments,
}

impl Registry {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Make(make) => make.run(),
            Self::Restore(restore) => restore.run(),
        }
    }
}

impl Make {
    fn run(self) -> Result<ExitCode> {
        let nats = Nats::connect(&self.nats.options()?)?;
        let buckets = NatsRegistry::make(&nats, self.registry.replicas(&nats, std::iter::empty()))?;
        match terminal::is_json() {
            true => answer!("{}", json!({ "buckets": buckets }))?,
            false => answer!("the registry is at {}: buckets {}", nats.server(), buckets.join(", "))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Restore {
    fn run(self) -> Result<ExitCode> {
        let database = self.database.inspect();
        let pipelines = database.pipelines()?;
        if pipelines.is_empty() {
            return Err(Error::mismatch(format!("database {} has no pipeline", self.database)));
        }
        let nats = Nats::connect(&self.nats.options()?)?;
        let streams = pipelines.iter().filter_map(|(_, stored)| {
            let source = stored.source.as_deref()?.strip_prefix("stream ")?;
            source.split_once(" made at ").map(|(stream, _)| stream)
        });
        let registry = NatsRegistry::open(&nats, self.registry.replicas(&nats, streams))?;
        registry.say_fewer();
        for (pipeline, _) in &pipelines {
            let mut steps: BTreeMap<String, BTreeMap<u64, (Deployment, String)>> = BTreeMap::new();
            for version in database.versions(pipeline)? {
                if version.deployment.version > 0 {
                    let of_step = steps.entry(version.step).or_default();
                    of_step.insert(version.deployment.version, (version.deployment, version.digest));
                }
            }
            for (step, versions) in steps {
                let mut restored = Vec::new();
                for (version, (deployment, digest)) in &versions {
                    if deployment.digest.is_some() {
                        // One that nobody can name any more may be gone from the database.
                        let Ok(component) = database.module(digest) else {
                            continue;
                        };
                        registry.put_module(digest, &component)?;
                    }
                    // What the file says was never part of the entry, and is not what was signed.
                    let entry = Deployment {
                        digest: deployment.digest.clone().filter(|_| !deployment.of_file),
                        ..deployment.clone()
                    };
                    if registry.restore(pipeline, &step, &entry)? {
                        restored.push(*version);
                    }
                }
                let known = versions.len();
                match terminal::is_json() {
                    true => answer!(
                        "{}",
                        json!({ "pipeline": pipeline, "step": step, "known": known, "restored": restored })
                    )?,
                    false => answer!(
                        "step {step} of pipeline {pipeline}: {} of {known} versions put back{}",
                        restored.len(),
                        match restored.len() == known {
                            true => "",
                            false => "; the registry knows the others, or later ones",
                        }
                    )?,
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
