//! What running hosts say of themselves, and what became of deployments there.

use super::{
    EVENTS, HOSTS, OUTCOMES,
    buckets::{bucket, hosts_config, outcomes_config},
    encode, key,
};
use crate::{
    error::{Error, Result},
    model::deployment::Outcome,
    nats::Nats,
    say,
};
use async_nats::{
    connection::State,
    jetstream::{kv, stream::InfoError},
};
use futures_util::TryStreamExt;
use serde::{Serialize, de::DeserializeOwned};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The bucket that hosts write to. It may be there where the others cannot be opened.
#[derive(Clone)]
pub struct Hosts {
    pub(super) nats: Nats,
    pub(super) store: kv::Store,
    replicas: usize,
    /// Whether it was said that hosts cannot be heard.
    mute: Arc<AtomicBool>,
    /// Whether it was said that outcomes cannot be written.
    forgets: Arc<AtomicBool>,
}

impl std::fmt::Debug for Hosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosts")
            .field("nats", &self.nats)
            .finish_non_exhaustive()
    }
}

impl Hosts {
    pub(super) fn new(nats: &Nats, store: kv::Store, replicas: usize) -> Self {
        Self {
            nats: nats.clone(),
            store,
            replicas,
            mute: Arc::default(),
            forgets: Arc::default(),
        }
    }

    /// Says what a host is doing. A server that is away hears it later; one that does not take it is complained of once.
    pub fn put(&self, pipeline: &str, host: &str, status: &impl Serialize) {
        let Ok(value) = encode(status) else { return };
        let key = key(pipeline, host);
        let put = || match self.nats.wait(self.store.put(&key, value.clone())) {
            Some(outcome) => outcome.map(drop).map_err(|cause| cause.to_string()),
            None => Err("no answer".to_owned()),
        };
        let is_connected = || self.nats.client.connection_state() == State::Connected;
        let mut outcome = put();
        if outcome.is_err() && is_connected() && !self.mute.load(Ordering::Relaxed) {
            // Somebody may have removed the bucket.
            let _ = self.nats.wait(bucket(&self.nats, hosts_config(self.replicas), true));
            outcome = put();
        }
        match outcome {
            Ok(()) => self.mute.store(false, Ordering::Relaxed),
            Err(cause) if is_connected() && !self.mute.swap(true, Ordering::Relaxed) => {
                let what = format!("write to bucket {HOSTS}");
                let error = super::not_taken(&self.nats, &what, &format!("$KV.{HOSTS}.>"), cause);
                say!(
                    Warning,
                    "weir: `weir status` and `weir deploy` do not see this host: {error}"
                );
            }
            Err(_) => {}
        }
    }

    /// Says that a host is gone.
    pub fn remove(&self, pipeline: &str, host: &str) {
        // It would go by itself.
        let _ = self.nats.wait(self.store.purge(key(pipeline, host)));
    }

    /// What hosts write to, for those who only look; nothing where no host ever ran.
    ///
    /// # Errors
    /// When the server does not let us.
    pub fn find(nats: &Nats) -> Result<Option<Self>> {
        let store = nats.runtime.block_on(bucket(nats, hosts_config(1), false))?;
        Ok(store.map(|store| Self::new(nats, store, 1)))
    }

    /// What running hosts say of themselves; those of one pipeline, or of all.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn read<T: DeserializeOwned>(&self, pipeline: Option<&str>) -> Result<Vec<T>> {
        self.nats.runtime.block_on(async {
            let failed =
                |cause: &dyn std::fmt::Display| super::failed(&self.nats, &format!("read bucket {HOSTS}"), cause);
            let mut found = Vec::new();
            for key in keys(&self.store).await.map_err(|cause| failed(&cause))? {
                let wanted = pipeline.is_none_or(|pipeline| key.split('.').next() == Some(pipeline));
                if wanted && let Some(value) = self.store.get(&key).await.map_err(|cause| failed(&cause))? {
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

    /// Writes down what became of a deployment, for `weir history`. The bucket is made with the first.
    pub fn put_outcome(&self, pipeline: &str, step: &str, host: &str, outcome: &Outcome) {
        let Ok(value) = encode(outcome) else { return };
        let key = format!("{pipeline}.{step}.{}.{host}", outcome.version);
        let put = async {
            let store = bucket(&self.nats, outcomes_config(self.replicas), true).await?;
            let Some(store) = store else { return Ok(()) };
            store.put(&key, value).await.map(drop).map_err(|cause| {
                let what = format!("write {key} to bucket {OUTCOMES}");
                super::not_taken(&self.nats, &what, &format!("$KV.{OUTCOMES}.>"), cause)
            })
        };
        if let Some(Err(error)) = self.nats.wait(put)
            && !self.forgets.swap(true, Ordering::Relaxed)
        {
            say!(
                Warning,
                "weir: `weir history` does not hear what becomes of deployments here: {error}"
            );
        }
    }

    /// What became of the deployments of a step, as hosts wrote it down.
    pub(super) fn outcomes(&self, pipeline: &str, step: &str) -> Result<Vec<Outcome>> {
        self.nats.runtime.block_on(async {
            let Some(store) = bucket(&self.nats, outcomes_config(self.replicas), false).await? else {
                return Ok(Vec::new());
            };
            let failed = |cause: &dyn std::fmt::Display| {
                Error::environment(format!(
                    "cannot read bucket {OUTCOMES} at {}: {cause}",
                    self.nats.server()
                ))
            };
            let of_step = format!("{pipeline}.{step}.");
            let mut outcomes: Vec<Outcome> = Vec::new();
            for key in keys(&store).await.map_err(|cause| failed(&cause))? {
                if key.starts_with(&of_step)
                    && let Some(value) = store.get(&key).await.map_err(|cause| failed(&cause))?
                {
                    outcomes.extend(serde_json::from_slice::<Outcome>(&value).ok());
                }
            }
            outcomes.sort_by(|a, b| (a.version, &a.database).cmp(&(b.version, &b.database)));
            Ok(outcomes)
        })
    }
}

/// The keys of a bucket, those of removed entries among them. They are asked of its stream: listing them with a consumer would
/// leave one behind at the server each time, and the server takes only so many.
async fn keys(store: &kv::Store) -> std::result::Result<Vec<String>, InfoError> {
    let subjects = store.stream.info_with_subjects(format!("{}>", store.prefix)).await?;
    let subjects: Vec<(String, usize)> = subjects.try_collect().await?;
    let key = |(subject, _): (String, usize)| subject.strip_prefix(&store.prefix).map(str::to_owned);
    Ok(subjects.into_iter().filter_map(key).collect())
}
