//! The registry: modules in an object store by digest, deployments in a key-value bucket, and what hosts say of
//! themselves in another.
//!
//! The buckets are made when they are missing. `weir-modules` holds each component under its SHA-256. `weir-deployments`
//! has a key `PIPELINE.STEP` per stage, whose value is the deployment that is wanted, and whose history are those before
//! it; and a key `PIPELINE.STEP.shadow` while a candidate runs beside it. `weir-hosts` has a key `PIPELINE.HOST` for each
//! running pipeline, which goes away by itself soon after the host did.

use super::Nats;
use crate::{
    deployment::Deployment,
    error::{Error, Result},
    limits::GUEST_MODULE_BYTES_MAX,
    say,
};
use async_nats::{
    connection::State,
    jetstream::{
        kv::{self, Operation},
        object_store::{self, GetErrorKind, InfoErrorKind, ObjectStore},
    },
};
use futures_util::StreamExt;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    time::Duration,
};
use tokio::io::AsyncReadExt;

const MODULES: &str = "weir-modules";
const DEPLOYMENTS: &str = "weir-deployments";
const HOSTS: &str = "weir-hosts";

/// Deployments that the registry remembers of each step: the most that the server keeps.
pub const HISTORY: i64 = 64;

/// How often a host says that it is there.
pub const HEARTBEAT: Duration = Duration::from_secs(2);

/// How long after its last word a host is taken for gone.
const HOST_AGE_MAX: Duration = Duration::from_secs(10);

/// How long the server may take to give a module. One whose parts are gone never comes.
const MODULE_WAIT: Duration = Duration::from_secs(60);

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
    hosts: kv::Store,
    /// Whether it was said that hosts cannot be heard.
    mute: Arc<AtomicBool>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("nats", &self.nats)
            .finish_non_exhaustive()
    }
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
    /// Opens the registry of a server, and makes its buckets when they are missing.
    ///
    /// # Errors
    /// When the server does not let us: the message names the bucket and the permission.
    pub fn open(nats: &Nats) -> Result<Self> {
        let (modules, deployments, hosts) = nats.runtime.block_on(async {
            let modules = modules(nats).await?;
            let deployments = bucket(
                nats,
                kv::Config {
                    bucket: DEPLOYMENTS.to_owned(),
                    description: "weir: which module each step of each pipeline runs".to_owned(),
                    history: HISTORY,
                    ..Default::default()
                },
            );
            let hosts = bucket(nats, hosts_config());
            Ok::<_, Error>((modules, deployments.await?, hosts.await?))
        })?;
        Ok(Self {
            nats: nats.clone(),
            modules,
            deployments,
            hosts,
            mute: Arc::default(),
        })
    }

    fn failed(&self, what: &str, cause: impl std::fmt::Display) -> Error {
        Error::environment(format!("cannot {what} at {}: {cause}", self.nats.server()))
    }

    /// The server did not take something: for want of a permission, it just does not answer.
    fn not_taken(&self, what: &str, subjects: &str, cause: impl std::fmt::Display) -> Error {
        self.failed(
            what,
            format!("{cause}; it takes the permission to publish to {subjects}"),
        )
    }

    // ---- modules ------------------------------------------------------------------------------------------------------

    /// Stores a component under its digest, unless it is there.
    ///
    /// # Errors
    /// When the server does not take it.
    pub fn put_module(&self, digest: &str, component: &[u8]) -> Result<()> {
        let info = self.nats.runtime.block_on(self.modules.info(digest));
        match info {
            // Not by its size alone: one that was damaged is put right by deploying it again.
            Ok(info) if !info.deleted && info.size == component.len() => {
                if self.module(digest).is_ok_and(|stored| stored == component) {
                    return Ok(());
                }
            }
            Ok(_) => {}
            Err(error) if error.kind() == InfoErrorKind::NotFound => {}
            Err(error) => return Err(self.failed(&format!("look for module {digest} in bucket {MODULES}"), error)),
        }
        let mut bytes = component;
        let put = self.nats.runtime.block_on(self.modules.put(digest, &mut bytes));
        put.map(|_| ()).map_err(|cause| {
            let what = format!("store module {digest} in bucket {MODULES}");
            self.not_taken(&what, &format!("$O.{MODULES}.>"), cause)
        })
    }

    /// The component of that digest, as it is stored: its digest has to be checked.
    ///
    /// # Errors
    /// When there is none, or it was damaged, or is larger than any module may be, or the server does not answer.
    pub fn module(&self, digest: &str) -> Result<Vec<u8>> {
        let read = async { tokio::time::timeout(MODULE_WAIT, self.read_module(digest)).await };
        self.nats.runtime.block_on(read).unwrap_or_else(|_| {
            let waited = format!("nothing came for {} s", MODULE_WAIT.as_secs());
            Err(self.failed(&format!("read module {digest} of bucket {MODULES}"), waited))
        })
    }

    async fn read_module(&self, digest: &str) -> Result<Vec<u8>> {
        let mut object = self.modules.get(digest).await.map_err(|cause| match cause.kind() {
            GetErrorKind::NotFound => Error::mismatch(format!(
                "there is no module {digest} in bucket {MODULES} at {}; deploy it again",
                self.nats.server()
            )),
            _ => self.failed(&format!("read module {digest} of bucket {MODULES}"), cause),
        })?;
        let too_large = |bytes: usize| {
            Error::definition(format!(
                "module {digest} of bucket {MODULES} has {bytes} bytes; accepted are up to {GUEST_MODULE_BYTES_MAX}"
            ))
        };
        // What the store says of it is no more to be trusted than what it holds.
        if object.info().size as u64 > GUEST_MODULE_BYTES_MAX {
            return Err(too_large(object.info().size));
        }
        let mut bytes = Vec::new();
        let read = (&mut object)
            .take(GUEST_MODULE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .await;
        read.map_err(|cause| match cause.kind() {
            // The library checks the store's own digest of what it read.
            io::ErrorKind::InvalidData => Error::mismatch(format!(
                "module {digest} of bucket {MODULES} at {} was damaged: {cause}; deploy it again",
                self.nats.server()
            )),
            _ => self.failed(&format!("read module {digest} of bucket {MODULES}"), cause),
        })?;
        if bytes.len() as u64 > GUEST_MODULE_BYTES_MAX {
            return Err(too_large(bytes.len()));
        }
        Ok(bytes)
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
                Some(entry) => (entry.revision, Some(self.decode(&key, &entry.value))),
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

    /// Sets what is wanted for a step, under the next version number, which it gives: that of the deployment that it
    /// replaces and that `make` is told of, and one more; or, where that is greater, the number that `make` gives.
    ///
    /// # Errors
    /// When `make` fails, or the server does not take it.
    pub fn deploy(
        &self,
        pipeline: &str,
        step: &str,
        mut make: impl FnMut(Option<&Deployment>) -> Result<Deployment>,
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
            let deployment = Deployment {
                version: before.as_ref().map_or(1, |before| before.version + 1).max(made.version),
                ..made
            };
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
        self.not_taken(&what, &format!("$KV.{DEPLOYMENTS}.>"), cause)
    }

    /// The deployments of a step that the registry remembers, oldest first, without what this host does not understand.
    ///
    /// # Errors
    /// As [`Registry::deployment`].
    pub fn history(&self, pipeline: &str, step: &str) -> Result<Vec<Deployment>> {
        let key = key(pipeline, step);
        self.nats.runtime.block_on(async {
            let failed = |cause: &dyn std::fmt::Display| self.failed(&format!("read the history of {key}"), cause);
            let mut history = self.deployments.history(&key).await.map_err(|cause| failed(&cause))?;
            let mut deployments = Vec::new();
            while let Some(entry) = history.next().await {
                let entry = entry.map_err(|cause| failed(&cause))?;
                if entry.operation == Operation::Put {
                    deployments.extend(self.decode(&key, &entry.value).ok());
                }
            }
            Ok(deployments)
        })
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
                    Some(Wanted::Live(step.to_owned(), self.decode(&entry.key, &entry.value)?))
                }
                Some((step, Some("shadow"))) => {
                    let candidate = put.then(|| self.decode(&entry.key, &entry.value)).transpose()?;
                    Some(Wanted::Shadow(step.to_owned(), candidate))
                }
                _ => None,
            },
        )
    }

    // ---- hosts --------------------------------------------------------------------------------------------------------

    /// Says what a host is doing. A server that is away hears it later; one that does not take it is complained of once.
    pub fn put_host(&self, pipeline: &str, host: &str, status: &impl Serialize) {
        let Ok(value) = encode(status) else { return };
        let key = key(pipeline, host);
        let put = || match self.nats.wait(self.hosts.put(&key, value.clone())) {
            Some(outcome) => outcome.map(drop).map_err(|cause| cause.to_string()),
            None => Err("no answer".to_owned()),
        };
        let is_connected = || self.nats.client.connection_state() == State::Connected;
        let mut outcome = put();
        if outcome.is_err() && is_connected() && !self.mute.load(Ordering::Relaxed) {
            // Somebody may have removed the bucket.
            let _ = self.nats.wait(bucket(&self.nats, hosts_config()));
            outcome = put();
        }
        match outcome {
            Ok(()) => self.mute.store(false, Ordering::Relaxed),
            Err(cause) if is_connected() && !self.mute.swap(true, Ordering::Relaxed) => {
                let error = self.not_taken(&format!("write to bucket {HOSTS}"), &format!("$KV.{HOSTS}.>"), cause);
                say!(
                    Warning,
                    "weir: `weir status` and `weir deploy` do not see this host: {error}"
                );
            }
            Err(_) => {}
        }
    }

    /// Says that a host is gone.
    pub fn remove_host(&self, pipeline: &str, host: &str) {
        // It would go by itself.
        let _ = self.nats.wait(self.hosts.purge(key(pipeline, host)));
    }

    /// What running hosts say of themselves; those of one pipeline, or of all.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn hosts<T: DeserializeOwned>(&self, pipeline: Option<&str>) -> Result<Vec<T>> {
        self.nats.runtime.block_on(async {
            let failed = |cause: &dyn std::fmt::Display| self.failed(&format!("read bucket {HOSTS}"), cause);
            let mut keys = self.hosts.keys().await.map_err(|cause| failed(&cause))?;
            let mut found = Vec::new();
            while let Some(key) = keys.next().await {
                let key = key.map_err(|cause| failed(&cause))?;
                let wanted = pipeline.is_none_or(|pipeline| key.split('.').next() == Some(pipeline));
                if wanted && let Some(value) = self.hosts.get(&key).await.map_err(|cause| failed(&cause))? {
                    // A host of another version of weir may say it in other words.
                    found.extend(serde_json::from_slice(&value).ok().map(|status| (key, status)));
                }
            }
            found.sort_by(|(a, _), (b, _)| a.cmp(b));
            Ok(found.into_iter().map(|(_, status)| status).collect())
        })
    }

    /// Says on `weir.versions.PIPELINE.STEP` what became of a deployment. Nobody has to listen.
    pub fn announce(&self, pipeline: &str, step: &str, event: &impl Serialize) {
        if let Ok(payload) = encode(event) {
            let subject = format!("{EVENTS}.{pipeline}.{step}");
            let _ = self.nats.wait(self.nats.client.publish(subject, payload));
        }
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
        .map_err(|cause| Error::environment(format!("cannot write JSON: {cause}")))
}

/// On disk, so that a server that starts again still knows who runs.
fn hosts_config() -> kv::Config {
    kv::Config {
        bucket: HOSTS.to_owned(),
        description: "weir: what each running pipeline says of itself".to_owned(),
        history: 1,
        max_age: HOST_AGE_MAX,
        ..Default::default()
    }
}

async fn modules(nats: &Nats) -> Result<ObjectStore> {
    if let Ok(store) = nats.jetstream.get_object_store(MODULES).await {
        return Ok(store);
    }
    let config = object_store::Config {
        bucket: MODULES.to_owned(),
        description: Some("weir: modules by SHA-256".to_owned()),
        ..Default::default()
    };
    let made = nats.jetstream.create_object_store(config).await;
    made.map_err(|cause| cannot_make(nats, MODULES, &format!("OBJ_{MODULES}"), &cause))
}

async fn bucket(nats: &Nats, config: kv::Config) -> Result<kv::Store> {
    let name = config.bucket.clone();
    if let Ok(store) = nats.jetstream.get_key_value(&name).await {
        return Ok(store);
    }
    let made = nats.jetstream.create_key_value(config).await;
    made.map_err(|cause| cannot_make(nats, &name, &format!("KV_{name}"), &cause))
}

fn cannot_make(nats: &Nats, bucket: &str, stream: &str, cause: &dyn std::fmt::Display) -> Error {
    Error::environment(format!(
        "cannot open or make bucket {bucket} at {}: {cause}; it takes the permission to publish to \
         $JS.API.STREAM.INFO.{stream} and $JS.API.STREAM.CREATE.{stream}, or somebody who makes it",
        nats.server()
    ))
}
