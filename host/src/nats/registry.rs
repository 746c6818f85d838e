//! The registry: modules in an object store by digest, deployments in a key-value bucket, and what hosts say of
//! themselves in another.
//!
//! The buckets are made when they are missing. `weir-modules` holds each component under its SHA-256. `weir-deployments`
//! has a key `PIPELINE.STEP` per stage, whose value is the deployment that is wanted, and whose history are those before
//! it; and a key `PIPELINE.STEP.shadow` while a candidate runs beside it. `weir-hosts` has a key `PIPELINE.HOST` for each
//! running pipeline, which goes away by itself soon after the host did.

mod buckets;
mod hosts;
mod messages;
mod modules;

pub use hosts::Hosts;

use super::Nats;
use crate::{
    error::{Context as _, Error, Result},
    model::deployment::{Deployment, Outcome},
    say,
};
use async_nats::jetstream::{
    kv::{self, Operation},
    object_store::ObjectStore,
    stream::Stream,
};
use buckets::{NO_ANSWER, bucket, deployments_config, fewer, hosts_config, outcomes_config};
use futures_util::StreamExt;
use messages::{is_put, next_message};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    time::Duration,
};

const MODULES: &str = "weir-modules";
const DEPLOYMENTS: &str = "weir-deployments";
const HOSTS: &str = "weir-hosts";
const OUTCOMES: &str = "weir-outcomes";

/// Deployments that the registry remembers of each step: the most that the server keeps.
pub const HISTORY: i64 = 64;

/// How often a host says that it is there.
pub const HEARTBEAT: Duration = Duration::from_secs(2);

/// How long after its last word a host is taken for gone.
const HOST_AGE_MAX: Duration = Duration::from_secs(10);

/// By how much the number of a version may exceed the revision of its entry. Each deployment takes one of each, and numbers
/// that hosts know are not given again by a registry that forgot them; so they are never far ahead, and an entry that says
/// otherwise cannot take up all numbers that there are.
const VERSIONS_AHEAD_MAX: u64 = 1 << 32;

/// How often a deployment is tried again that another one overtook.
const ATTEMPTS: usize = 20;

/// Prefix of the subjects on which hosts say what became of a deployment.
pub const EVENTS: &str = "weir.versions";

/// Modules and deployments on a server.
#[derive(Clone)]
pub struct Registry {
    nats: Nats,
    modules: ObjectStore,
    deployments: kv::Store,
    hosts: Hosts,
    /// Buckets that too few servers hold.
    fewer: Vec<String>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("nats", &self.nats)
            .finish_non_exhaustive()
    }
}

/// What a host hears while it tries to open the registry.
#[derive(Debug)]
pub enum Opening {
    /// It is open.
    Opened(Box<Registry>),
    /// It cannot be opened yet, and why. What hosts say of themselves may be heard all the same.
    Waits(String, Option<Box<Hosts>>),
}

/// What a pipeline's host wants to know of.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// This deployment is to be in force.
    Live(String, Deployment),
    /// This candidate is to run beside the step, or none any more.
    Shadow(String, Option<Deployment>),
}

impl Registry {
    /// Opens the registry of a server, and makes its buckets when they are missing, with so many replicas.
    ///
    /// # Errors
    /// When the server does not let us: the message names the bucket, and what keeps us from it.
    pub fn open(nats: &Nats, replicas: usize) -> Result<Self> {
        nats.runtime.block_on(Self::opened(nats, replicas))
    }

    async fn opened(nats: &Nats, replicas: usize) -> Result<Self> {
        let replicas = replicas.max(1);
        let gone = || {
            Error::environment(format!(
                "the buckets at {} went away while they were opened",
                nats.server()
            ))
        };
        let modules = buckets::modules(nats, Some(replicas)).await?.ok_or_else(gone)?;
        let deployments = bucket(nats, deployments_config(replicas), true)
            .await?
            .ok_or_else(gone)?;
        let hosts = bucket(nats, hosts_config(replicas), true).await?.ok_or_else(gone)?;
        let modules_info = nats.jetstream.get_stream(format!("OBJ_{MODULES}")).await.ok();
        let infos = [
            modules_info.as_ref().map(Stream::cached_info),
            Some(deployments.stream.cached_info()),
            Some(hosts.stream.cached_info()),
        ];
        let fewer = infos
            .into_iter()
            .flatten()
            .filter_map(|info| fewer(info, replicas))
            .collect();
        Ok(Self {
            nats: nats.clone(),
            modules,
            deployments,
            hosts: Hosts::new(nats, hosts, replicas),
            fewer,
        })
    }

    /// Makes all buckets that the registry may have, also those that hosts make as a rule; gives their names.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub fn make(nats: &Nats, replicas: usize) -> Result<[&'static str; 4]> {
        let registry = Self::open(nats, replicas)?;
        registry.say_fewer();
        nats.runtime
            .block_on(bucket(nats, outcomes_config(replicas.max(1)), true))?;
        Ok([MODULES, DEPLOYMENTS, HOSTS, OUTCOMES])
    }

    /// The registry of a server, for those who only look; nothing where nobody made one.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub fn find(nats: &Nats) -> Result<Option<Self>> {
        nats.runtime.block_on(async {
            let modules = buckets::modules(nats, None).await?;
            let deployments = bucket(nats, deployments_config(1), false).await?;
            let hosts = bucket(nats, hosts_config(1), false).await?;
            let (Some(modules), Some(deployments), Some(hosts)) = (modules, deployments, hosts) else {
                return Ok(None);
            };
            Ok(Some(Self {
                nats: nats.clone(),
                modules,
                deployments,
                hosts: Hosts::new(nats, hosts, 1),
                fewer: Vec::new(),
            }))
        })
    }

    /// Tries to open the registry until that succeeds, with growing pauses, or `ended` is set; tells of it.
    pub fn open_later<T: From<Opening> + Send + 'static>(
        nats: &Nats,
        replicas: usize,
        ended: Arc<AtomicBool>,
        tell: Sender<T>,
    ) {
        let nats = nats.clone();
        let runtime = nats.runtime.clone();
        runtime.spawn(async move {
            let mut pauses = super::BackOff::new();
            while !ended.load(Ordering::Relaxed) {
                let outcome = match Self::opened(&nats, replicas).await {
                    Ok(registry) => Opening::Opened(Box::new(registry)),
                    Err(error) => {
                        let hosts = bucket(&nats, hosts_config(replicas), false).await.ok().flatten();
                        let hosts = hosts.map(|hosts| Box::new(Hosts::new(&nats, hosts, replicas)));
                        Opening::Waits(error.to_string(), hosts)
                    }
                };
                let is_open = matches!(outcome, Opening::Opened(_));
                if tell.send(outcome.into()).is_err() || is_open {
                    return;
                }
                tokio::time::sleep(pauses.next()).await;
            }
        });
    }

    /// Says which buckets are held by fewer servers than they are to be.
    pub fn say_fewer(&self) {
        self.fewer.iter().for_each(|fewer| say!(Warning, "weir: {fewer}"));
    }

    /// What hosts say of themselves.
    pub fn of_hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// What running hosts say of themselves; those of one pipeline, or of all.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn hosts<T: DeserializeOwned>(&self, pipeline: Option<&str>) -> Result<Vec<T>> {
        self.hosts.read(pipeline)
    }

    /// What became of the deployments of a step at each database, by version.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn outcomes(&self, pipeline: &str, step: &str) -> Result<Vec<Outcome>> {
        self.hosts.outcomes(pipeline, step)
    }

    /// Buckets that somebody removed: running hosts make them when they start, and deploying makes them anew.
    ///
    /// # Errors
    /// When the server does not let us look.
    pub fn missing(nats: &Nats) -> Result<Vec<&'static str>> {
        nats.runtime.block_on(async {
            let modules = buckets::modules(nats, None).await?.is_none();
            let deployments = bucket(nats, deployments_config(1), false).await?.is_none();
            let missing = [(modules, MODULES), (deployments, DEPLOYMENTS)].into_iter();
            Ok(missing
                .filter(|(is_missing, _)| *is_missing)
                .map(|(_, name)| name)
                .collect())
        })
    }

    fn failed(&self, what: &str, cause: impl std::fmt::Display) -> Error {
        failed(&self.nats, what, cause)
    }

    // ---- deployments --------------------------------------------------------------------------------------------------

    /// The deployment that is wanted for a step; none before the first.
    ///
    /// # Errors
    /// When the server does not answer, or holds something that is no deployment.
    pub fn deployment(&self, pipeline: &str, step: &str) -> Result<Option<Deployment>> {
        self.latest(pipeline, step)?.1.transpose()
    }

    /// The revision of the key, and the deployment that it holds.
    fn latest(&self, pipeline: &str, step: &str) -> Result<(u64, Option<Result<Deployment>>)> {
        let key = key(pipeline, step);
        let entry = self.nats.runtime.block_on(self.deployments.entry(key.clone()));
        Ok(
            match entry.map_err(|cause| self.failed(&format!("read {key} of bucket {DEPLOYMENTS}"), cause))? {
                None => (0, None),
                Some(entry) if entry.operation != Operation::Put => (entry.revision, None),
                Some(entry) => (
                    entry.revision,
                    Some(self.deployment_of(&key, &entry.value, entry.revision)),
                ),
            },
        )
    }

    fn decode<T: DeserializeOwned>(&self, key: &str, value: &[u8]) -> Result<T> {
        serde_json::from_slice(value).map_err(|cause| {
            Error::mismatch(format!(
                "{key} of bucket {DEPLOYMENTS} at {} is no deployment that this weir understands: {cause}; deploy again",
                self.nats.server()
            ))
        })
    }

    /// A deployment that the registry may have numbered so.
    fn deployment_of(&self, key: &str, value: &[u8], revision: u64) -> Result<Deployment> {
        let deployment: Deployment = self.decode(key, value)?;
        let most = revision.saturating_add(VERSIONS_AHEAD_MAX);
        match (1..=most).contains(&deployment.version) {
            true => Ok(deployment),
            false => Err(Error::mismatch(format!(
                "{key} of bucket {DEPLOYMENTS} at {} is no deployment that this weir understands: it has version {}, and \
                 accepted are 1 to {most}; deploy again",
                self.nats.server(),
                deployment.version
            ))),
        }
    }

    /// Sets what is wanted for a step, under the next version number, which it gives: that of the deployment that it
    /// replaces and that `make` is told of, and one more; or, where that is greater, the number that `make` gives.
    ///
    /// # Errors
    /// When `make` fails, or the server does not take it.
    pub fn deploy(
        &self,
        pipeline: &str,
        step: &str,
        make: impl FnMut(Option<&Deployment>) -> Result<Deployment>,
    ) -> Result<Deployment> {
        self.deploy_signed(pipeline, step, make, Ok)
    }

    /// As [`Registry::deploy`]; what has its number is signed by `sign`, which gives it back.
    ///
    /// # Errors
    /// As [`Registry::deploy`], and when `sign` fails.
    pub fn deploy_signed(
        &self,
        pipeline: &str,
        step: &str,
        mut make: impl FnMut(Option<&Deployment>) -> Result<Deployment>,
        sign: impl Fn(Deployment) -> Result<Deployment>,
    ) -> Result<Deployment> {
        let key = key(pipeline, step);
        for _ in 0..ATTEMPTS {
            let (revision, before) = match self.latest(pipeline, step)? {
                (revision, None) => (revision, None),
                (revision, Some(Ok(before))) => (revision, Some(before)),
                // Deploying again is the way out; what was understood last is what it goes on from.
                (revision, Some(Err(_))) => (revision, self.history(pipeline, step)?.pop()),
            };
            let made = make(before.as_ref())?;
            let deployment = sign(Deployment {
                version: next_version(before.as_ref(), made.version, revision),
                ..made
            })?;
            let value = encode(&deployment)?;
            match self
                .nats
                .runtime
                .block_on(self.deployments.update(&key, value, revision))
            {
                Ok(_) => return Ok(deployment),
                // Somebody was faster: theirs is now the one before.
                Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => {}
                Err(error) => return Err(self.not_written(&key, error)),
            }
        }
        Err(Error::environment(format!(
            "others deploy {key} at the same time, faster than we can; try again"
        )))
    }

    fn not_written(&self, key: &str, cause: impl std::fmt::Display) -> Error {
        let what = format!("write {key} of bucket {DEPLOYMENTS}");
        not_taken(&self.nats, &what, &format!("$KV.{DEPLOYMENTS}.>"), cause)
    }

    /// The deployments of a step that the registry remembers, oldest first, without what this host does not understand.
    ///
    /// # Errors
    /// As [`Registry::deployment`].
    pub fn history(&self, pipeline: &str, step: &str) -> Result<Vec<Deployment>> {
        let key = key(pipeline, step);
        self.nats.runtime.block_on(async {
            let (store, subject) = (&self.deployments, format!("{}{key}", self.deployments.prefix));
            let (mut deployments, mut next) = (Vec::new(), 1);
            // As many as the bucket keeps, and those that come meanwhile.
            for _ in 0..2 * HISTORY {
                let entry = next_message(&store.stream, &subject, next).await;
                let entry = entry.map_err(|cause| self.failed(&format!("read the history of {key}"), cause))?;
                let Some(entry) = entry else { break };
                next = entry.sequence + 1;
                if is_put(&entry) {
                    deployments.extend(self.deployment_of(&key, &entry.payload, entry.sequence).ok());
                }
            }
            Ok(deployments)
        })
    }

    /// Puts back a deployment as a database knows it, where the registry knows none of that version or a later one; whether
    /// it did.
    ///
    /// # Errors
    /// When the server does not take it.
    pub fn restore(&self, pipeline: &str, step: &str, deployment: &Deployment) -> Result<bool> {
        let key = key(pipeline, step);
        for _ in 0..ATTEMPTS {
            let (revision, last) = self.latest(pipeline, step)?;
            if last.is_some_and(|last| last.is_ok_and(|last| last.version >= deployment.version)) {
                return Ok(false);
            }
            let update = self.deployments.update(&key, encode(deployment)?, revision);
            match self.nats.runtime.block_on(update) {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => {}
                Err(error) => return Err(self.not_written(&key, error)),
            }
        }
        Err(Error::environment(format!(
            "others deploy {key} at the same time, faster than we can; try again"
        )))
    }

    /// Sets the candidate that runs beside a step, or takes it away.
    ///
    /// # Errors
    /// When the server does not take it.
    pub fn set_shadow(&self, pipeline: &str, step: &str, candidate: Option<&Deployment>) -> Result<()> {
        let key = shadow_key(pipeline, step);
        let failed = |cause: &dyn std::fmt::Display| self.not_written(&key, cause);
        match candidate {
            Some(candidate) => {
                let put = self.deployments.put(&key, encode(candidate)?);
                self.nats
                    .runtime
                    .block_on(put)
                    .map(|_| ())
                    .map_err(|cause| failed(&cause))
            }
            None => {
                let purge = self.deployments.purge(&key);
                self.nats.runtime.block_on(purge).map_err(|cause| failed(&cause))
            }
        }
    }

    /// The candidate that runs beside a step.
    ///
    /// # Errors
    /// As [`Registry::deployment`].
    pub fn shadow(&self, pipeline: &str, step: &str) -> Result<Option<Deployment>> {
        let key = shadow_key(pipeline, step);
        let value = self.nats.runtime.block_on(self.deployments.get(key.clone()));
        let value = value.map_err(|cause| self.failed(&format!("read {key} of bucket {DEPLOYMENTS}"), cause))?;
        value.map(|value| self.decode(&key, &value)).transpose()
    }

    /// Tells `wanted` of what is wanted for a pipeline now, and of each change, until nobody listens any more. What it
    /// cannot understand it says on standard error.
    pub fn watch<T: From<Wanted> + Send + 'static>(&self, pipeline: &str, wanted: Sender<T>) {
        let (registry, pipeline) = (self.clone(), pipeline.to_owned());
        self.nats.runtime.spawn(async move {
            let mut pauses = super::BackOff::new();
            loop {
                let all = format!("{pipeline}.>");
                if let Ok(mut entries) = registry.deployments.watch_with_history(&all).await {
                    while let Some(Ok(entry)) = entries.next().await {
                        pauses = super::BackOff::new();
                        match registry.wanted(&pipeline, &entry) {
                            Ok(Some(change)) => {
                                if wanted.send(change.into()).is_err() {
                                    return;
                                }
                            }
                            Ok(None) => {}
                            Err(error) => say!(Warning, "weir: {error}"),
                        }
                    }
                }
                // Whatever was missed comes again with the next look.
                tokio::time::sleep(pauses.next()).await;
            }
        });
    }

    fn wanted(&self, pipeline: &str, entry: &kv::Entry) -> Result<Option<Wanted>> {
        let put = entry.operation == Operation::Put;
        let name = entry.key.strip_prefix(pipeline).and_then(|rest| rest.strip_prefix('.'));
        Ok(
            match name.map(|name| {
                name.split_once('.')
                    .map_or((name, None), |(step, rest)| (step, Some(rest)))
            }) {
                Some((step, None)) if put => {
                    let deployment = self.deployment_of(&entry.key, &entry.value, entry.revision)?;
                    Some(Wanted::Live(step.to_owned(), deployment))
                }
                Some((step, Some("shadow"))) => {
                    let candidate = put.then(|| self.decode(&entry.key, &entry.value)).transpose()?;
                    Some(Wanted::Shadow(step.to_owned(), candidate))
                }
                _ => None,
            },
        )
    }
}

/// Something cannot be read, for want of a permission where the server said so: it gives no answer then.
fn failed(nats: &Nats, what: &str, cause: impl std::fmt::Display) -> Error {
    let why = nats.denied_read().map_or_else(String::new, |subject| {
        format!("; it takes the permission to publish to {subject}")
    });
    Error::environment(format!("cannot {what} at {}: {cause}{why}", nats.server()))
}

/// The server did not take something: for want of a permission, of which it tells apart from this; or because nobody is there
/// who could.
fn not_taken(nats: &Nats, what: &str, subjects: &str, cause: impl std::fmt::Display) -> Error {
    let why = match nats.is_denied_something() {
        false => NO_ANSWER.to_owned(),
        true => format!("it takes the permission to publish to {subjects}"),
    };
    Error::environment(format!("cannot {what} at {}: {cause}; {why}", nats.server()))
}

/// The number after that of `before`, or `known` where that is greater and a number that may be.
fn next_version(before: Option<&Deployment>, known: u64, revision: u64) -> u64 {
    let next = before.map_or(1, |before| before.version.saturating_add(1));
    match known <= revision.saturating_add(VERSIONS_AHEAD_MAX) {
        true => next.max(known),
        false => next,
    }
}

fn key(pipeline: &str, name: &str) -> String {
    format!("{pipeline}.{name}")
}

fn shadow_key(pipeline: &str, step: &str) -> String {
    format!("{pipeline}.{step}.shadow")
}

fn encode(value: &impl Serialize) -> Result<bytes::Bytes> {
    serde_json::to_vec(value)
        .map(Into::into)
        .environment(|| "cannot write JSON".to_owned())
}
