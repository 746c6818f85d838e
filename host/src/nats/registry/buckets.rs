//! The buckets of the registry: opened, made where they are missing, and what keeps the server from it.

use super::{DEPLOYMENTS, HISTORY, HOST_AGE_MAX, HOSTS, MODULES, OUTCOMES};
use crate::{
    error::{Error, Result},
    nats::Nats,
};
use async_nats::jetstream::{
    ErrorCode,
    context::GetStreamErrorKind,
    kv,
    object_store::{self, ObjectStore},
    stream::Info,
};

pub(super) fn deployments_config(replicas: usize) -> kv::Config {
    kv::Config {
        bucket: DEPLOYMENTS.to_owned(),
        description: "weir: which module each step of each pipeline runs".to_owned(),
        history: HISTORY,
        num_replicas: replicas,
        ..Default::default()
    }
}

/// On disk, so that a server that starts again still knows who runs.
pub(super) fn hosts_config(replicas: usize) -> kv::Config {
    kv::Config {
        bucket: HOSTS.to_owned(),
        description: "weir: what each running pipeline says of itself".to_owned(),
        history: 1,
        max_age: HOST_AGE_MAX,
        num_replicas: replicas,
        ..Default::default()
    }
}

pub(super) fn outcomes_config(replicas: usize) -> kv::Config {
    kv::Config {
        bucket: OUTCOMES.to_owned(),
        description: "weir: what became of each deployment at each database".to_owned(),
        history: 1,
        num_replicas: replicas,
        ..Default::default()
    }
}

/// The object store; made with so many replicas where it is missing, if it is to be made.
pub(super) async fn modules(nats: &Nats, replicas: Option<usize>) -> Result<Option<ObjectStore>> {
    let name = format!("OBJ_{MODULES}");
    match nats.jetstream.get_object_store(MODULES).await {
        Ok(store) => return Ok(Some(store)),
        Err(_) if replicas.is_none() => {
            return match why(nats, &name).await {
                Why::Missing => Ok(None),
                why => Err(cannot_open(nats, MODULES, &name, &why)),
            };
        }
        Err(_) => {}
    }
    let config = object_store::Config {
        bucket: MODULES.to_owned(),
        description: Some("weir: modules by SHA-256".to_owned()),
        num_replicas: replicas.unwrap_or(1),
        ..Default::default()
    };
    match nats.jetstream.create_object_store(config).await {
        Ok(store) => Ok(Some(store)),
        Err(cause) => Err(cannot_make(nats, MODULES, &name, &cause).await),
    }
}

/// A key-value bucket; made where it is missing, if it is to be made.
pub(super) async fn bucket(nats: &Nats, config: kv::Config, make: bool) -> Result<Option<kv::Store>> {
    let bucket = config.bucket.clone();
    let name = format!("KV_{bucket}");
    match nats.jetstream.get_key_value(&bucket).await {
        Ok(store) => return Ok(Some(store)),
        Err(_) if !make => {
            return match why(nats, &name).await {
                Why::Missing => Ok(None),
                why => Err(cannot_open(nats, &bucket, &name, &why)),
            };
        }
        Err(_) => {}
    }
    match nats.jetstream.create_key_value(config).await {
        Ok(store) => Ok(Some(store)),
        Err(cause) => Err(cannot_make(nats, &bucket, &name, &cause).await),
    }
}

/// A bucket that fewer servers hold than those of the streams that are read.
pub(super) fn fewer(info: &Info, wanted: usize) -> Option<String> {
    let (name, has) = (&info.config.name, info.config.num_replicas.max(1));
    (has < wanted).then(|| {
        format!(
            "the stream behind bucket {} has {has} of {wanted} replicas: what is lost with its server is gone from the \
             registry; `nats stream edit {name} --replicas {wanted}` gives it more, and --registry-replicas {has} takes it as \
             it is",
            name.split_once('_').map_or(name.as_str(), |(_, bucket)| bucket)
        )
    })
}

/// Why a bucket cannot be opened.
enum Why {
    /// There is none.
    Missing,
    /// The servers cannot serve it now.
    Unavailable(String),
    /// Something else; a permission, as a rule.
    Other(String),
}

async fn why(nats: &Nats, stream: &str) -> Why {
    let Err(error) = nats.jetstream.get_stream(stream).await else {
        return Why::Other("it was there a moment later; try again".to_owned());
    };
    match error.kind() {
        GetStreamErrorKind::JetStream(error) => match error.error_code() {
            ErrorCode::STREAM_NOT_FOUND => Why::Missing,
            code => {
                unavailable(code).map_or_else(|| Why::Other(error.to_string()), |why| Why::Unavailable(why.to_owned()))
            }
        },
        _ if !nats.is_denied_something() => Why::Unavailable(NO_ANSWER.to_owned()),
        _ => Why::Other(error.to_string()),
    }
}

/// What is said where nothing comes back, and no permission is missing.
pub(super) const NO_ANSWER: &str = "no server answers for it: where it has several replicas more than half of their servers have \
                                    to be there, where it has one that one; see `nats server report jetstream`";

fn unavailable(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::CLUSTER_NOT_AVAILABLE | ErrorCode::CLUSTER_NOT_LEADER | ErrorCode::CLUSTER_INCOMPLETE => {
            Some("JetStream has no quorum: more than half of the servers of the cluster have to be there")
        }
        ErrorCode::STREAM_OFFLINE | ErrorCode::STREAM_OFFLINE_REASON => {
            Some("it is offline: the servers that hold it are away; it comes back with them")
        }
        ErrorCode::CLUSTER_NO_PEERS | ErrorCode::INSUFFICIENT_RESOURCES => {
            Some("too few servers can hold so many replicas now; wait for them, or say --registry-replicas with fewer")
        }
        _ => None,
    }
}

fn cannot_open(nats: &Nats, bucket: &str, stream: &str, why: &Why) -> Error {
    let server = nats.server();
    Error::environment(match why {
        Why::Unavailable(why) => format!("cannot open bucket {bucket} at {server} now: {why}"),
        Why::Missing => format!("there is no bucket {bucket} at {server}"),
        Why::Other(cause) => format!(
            "cannot open bucket {bucket} at {server}: {cause}; it takes the permission to publish to $JS.API.STREAM.INFO.{stream}"
        ),
    })
}

async fn cannot_make(
    nats: &Nats,
    bucket: &str,
    stream: &str,
    cause: &(dyn std::error::Error + Send + Sync + 'static),
) -> Error {
    // A server that has no quorum answers to what is asked of it, or does not; so it is asked once more.
    if !nats.is_denied_something() {
        match why(nats, stream).await {
            why @ Why::Unavailable(_) => return cannot_open(nats, bucket, stream, &why),
            Why::Missing | Why::Other(_) => {}
        }
        if let Some(why) = code_of(cause).and_then(unavailable) {
            return cannot_open(nats, bucket, stream, &Why::Unavailable(why.to_owned()));
        }
    }
    Error::environment(format!(
        "cannot open or make bucket {bucket} at {}: {cause}; it takes the permission to publish to \
         $JS.API.STREAM.INFO.{stream} and $JS.API.STREAM.CREATE.{stream}, or somebody who makes it",
        nats.server()
    ))
}

/// The code that JetStream gave an error, somewhere down its causes.
fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<ErrorCode> {
    let mut at = Some(cause);
    while let Some(error) = at {
        if let Some(error) = error.downcast_ref::<async_nats::jetstream::Error>() {
            return Some(error.error_code());
        }
        if let Some(error) = error.downcast_ref::<async_nats::jetstream::context::CreateStreamError>()
            && let async_nats::jetstream::context::CreateStreamErrorKind::JetStream(error) = error.kind()
        {
            return Some(error.error_code());
        }
        at = error.source();
    }
    None
}
