//! What is deployed in place of what a pipeline file says, for who looks at the file.

use super::connection::NatsArguments;
use crate::{
    error::Result,
    model::deployment::{Deployment, StoredVersion},
    nats::{Nats, Registry},
    plan::{NodeKind, Plan},
    runtime::rollout::Overridden,
    storage::Location,
};
use std::{
    net::{TcpStream, ToSocketAddrs},
    path::Path,
    time::Duration,
};

/// How long a server that nobody named is looked for.
const LOOK: Duration = Duration::from_millis(200);

/// Where a server is, when nobody names one.
const USUAL: &str = "127.0.0.1:4222";

/// A line for each step that runs something else than its file says, as the registry knows it, else the database; none where
/// neither can be reached.
///
/// # Errors
/// When a server that was named cannot be reached, or the database is damaged.
pub(super) fn lines(plan: &Plan, file: &Path, nats: &NatsArguments, database: &Location) -> Result<Vec<String>> {
    let registry = match NatsArguments::names_server() {
        true => Registry::find(&Nats::connect(&nats.options()?)?)?,
        false if is_there(USUAL) => {
            let nats = Nats::connect(&nats.options()?).ok();
            nats.and_then(|nats| Registry::find(&nats).ok().flatten())
        }
        false => None,
    };
    let known = database.inspect().versions(&plan.name)?;
    let mut lines = Vec::new();
    for node in &plan.nodes {
        let NodeKind::Stage(of_file) = &node.kind else { continue };
        let last = known.iter().rfind(|version| version.step == node.name);
        let deployed = match &registry {
            Some(registry) => registry.deployment(&plan.name, &node.name)?,
            None => None,
        };
        let deployed = deployed.or_else(|| last.map(named));
        if let Some(overridden) = deployed.and_then(|deployed| Overridden::of(&deployed, of_file)) {
            lines.push(format!(
                "step {} does not run what this file says: {overridden}; `weir undeploy {} {}` gives the word back to the file",
                node.name,
                file.display(),
                node.name
            ));
        }
    }
    Ok(lines)
}

fn named(version: &StoredVersion) -> Deployment {
    Deployment {
        digest: Some(version.digest.clone()),
        ..version.deployment.clone()
    }
}

fn is_there(address: &str) -> bool {
    let addresses = address.to_socket_addrs().into_iter().flatten();
    addresses
        .into_iter()
        .any(|address| TcpStream::connect_timeout(&address, LOOK).is_ok())
}
