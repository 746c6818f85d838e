//! What went wrong between a server and us, and what would mend it.
//!
//! Three kinds of failure are told apart here, and nowhere else. What has to be changed by somebody (an account without
//! JetStream, a stream that is not there, a permission) ends a command. What may pass (no leader, no answer) is
//! [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable), and whoever can wait does. What is not known is shown as the
//! library says it.

use super::{BackOff, Nats};
use crate::{
    error::{Error, ErrorKind, Result},
    source::Stop,
};
use async_nats::jetstream::{
    self, ErrorCode,
    context::{AccountErrorKind, GetStreamError, GetStreamErrorKind, RequestError, RequestErrorKind},
    stream::{ConsumerError, ConsumerErrorKind},
};
use futures_util::StreamExt;
use std::{
    collections::BTreeSet,
    error::Error as StdError,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long is looked for what a message could say beyond what is known.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// How often something that waits looks whether it is to stop.
const STOP_LOOK: Duration = Duration::from_millis(20);

/// Streams that a message lists.
const STREAMS_MAX: usize = 8;

/// What the server did not let us do, as it said so itself. It does not answer such a request, so that the request times out
/// like one that went to a server which is gone.
#[derive(Debug, Default)]
pub(super) struct Denied(Mutex<BTreeSet<String>>);

impl Denied {
    /// Takes what the server says; false where it is known already, or no denial.
    pub(super) fn hear(&self, said: &str) -> bool {
        let Some(subject) = denied_subject(said) else {
            return false;
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(class(subject))
    }

    /// Whether nothing was denied so far.
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn find(&self, fits: impl Fn(&str) -> bool) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|subject| fits(subject)).cloned()
    }
}

/// What stands for all subjects that are alike: of the API up to the stream, and of others without their numbers and inboxes.
fn class(subject: &str) -> String {
    let names: Vec<&str> = subject.split('.').collect();
    let in_api = names.iter().position(|name| *name == "API").map(|at| {
        let has_long_name = names.get(at + 2) == Some(&"MSG");
        at + 4 + usize::from(has_long_name)
    });
    let class: Vec<&str> = names.into_iter().take(in_api.unwrap_or(5)).collect();
    class.join(".")
}

/// Whether the server denies something.
pub(super) fn is_denial(said: &str) -> bool {
    denied_subject(said).is_some()
}

/// The subject in `Permissions Violation for Publish to "SUBJECT"`.
fn denied_subject(said: &str) -> Option<&str> {
    let (_, rest) = said
        .to_ascii_lowercase()
        .contains("permissions violation")
        .then(|| said.split_once('"'))??;
    rest.split('"').next()
}

impl Nats {
    /// Waits until JetStream can be asked. A cluster that has no leader is waited for as a lost server is: that is said once.
    ///
    /// # Errors
    /// When there is no JetStream for this account, or `stop` is set meanwhile.
    pub fn wait_for_jetstream(&self, stop: &Stop) -> Result<()> {
        patiently(stop, || self.runtime.block_on(self.ask_jetstream(stop)))
    }

    async fn ask_jetstream(&self, stop: &Stop) -> Result<()> {
        let asked = async {
            match self.jetstream.query_account().await {
                Ok(_) => Ok(()),
                Err(error) => match error.kind() {
                    AccountErrorKind::JetStream(cause) => match self.of_jetstream("use", "JetStream", &cause) {
                        error if error.kind() == ErrorKind::Unavailable => Err(error),
                        error if is_not_enabled(&cause) => Err(error),
                        // Whether the stream can be read is seen when it is.
                        _ => Ok(()),
                    },
                    AccountErrorKind::TimedOut if self.is_denied_account() => Ok(()),
                    AccountErrorKind::TimedOut => Err(self.unanswered("JetStream")),
                    AccountErrorKind::JetStreamUnavailable if self.way.is_plain() => Err(self.no_jetstream()),
                    _ => Ok(()),
                },
            }
        };
        tokio::select! {
            outcome = asked => outcome,
            () = stopped(stop) => Err(Error::unavailable(format!("JetStream at {} did not answer yet", self.server))),
        }
    }

    /// The subject of a request for single messages that the server denied, if there was one.
    pub(super) fn denied_read(&self) -> Option<String> {
        let reads = [".API.DIRECT.GET.", ".API.STREAM.MSG.GET."];
        self.denied
            .find(|subject| reads.iter().any(|read| subject.contains(read)))
    }

    /// Whether the account may not be asked for: who may read a stream need not be allowed to.
    fn is_denied_account(&self) -> bool {
        self.denied.find(|subject| subject.ends_with("API.INFO")).is_some()
    }

    /// Why a stream cannot be read.
    pub(super) async fn stream_failed(&self, name: &str, subjects: &[String], error: &GetStreamError) -> Error {
        let what = format!("stream {name}");
        match error.kind() {
            GetStreamErrorKind::JetStream(cause) if cause.code() == 404 => self.no_stream(name, subjects).await,
            GetStreamErrorKind::JetStream(cause) => self.of_jetstream("read", &what, &cause),
            _ => self.of_request(&what, error),
        }
    }

    /// Why a consumer cannot be made.
    pub(super) fn consumer_failed(&self, what: &str, error: &ConsumerError) -> Error {
        match error.kind() {
            ConsumerErrorKind::JetStream(cause) => self.of_jetstream("make", what, &cause),
            ConsumerErrorKind::TimedOut => self.unanswered(what),
            _ => self.of_request(what, error),
        }
    }

    /// What JetStream answers with in place of `what`.
    fn of_jetstream(&self, verb: &str, what: &str, cause: &jetstream::Error) -> Error {
        let passing = [
            ErrorCode::CLUSTER_NOT_AVAILABLE,
            ErrorCode::CLUSTER_NOT_LEADER,
            ErrorCode::STREAM_OFFLINE,
            ErrorCode::CONSUMER_OFFLINE,
        ];
        if is_not_enabled(cause) {
            return self.no_jetstream();
        }
        match passing.contains(&cause.error_code()) {
            true => Error::unavailable(format!(
                "cannot {verb} {what} at {}: {cause}; it takes a leader, which more than half of the servers of the cluster \
                 have to be up for",
                self.server
            )),
            false => Error::environment(format!("cannot {verb} {what} at {}: {cause}", self.server)),
        }
    }

    fn of_request(&self, what: &str, error: &(dyn StdError + 'static)) -> Error {
        let mut cause = Some(error);
        while let Some(at) = cause {
            if let Some(request) = at.downcast_ref::<RequestError>() {
                match request.kind() {
                    RequestErrorKind::NoResponders => return self.no_jetstream(),
                    RequestErrorKind::TimedOut => return self.unanswered(what),
                    _ => {}
                }
            }
            cause = at.source();
        }
        Error::unavailable(format!(
            "{what} at {} does not answer: {}",
            self.server,
            self.secrets.hide(&error.to_string())
        ))
    }

    /// Whether messages of a stream may be asked for. Who may not gets none, and no answer that says so.
    ///
    /// # Errors
    /// With the permission that is missing, where the server denied such a request.
    pub(super) fn check_may_pull(&self, stream: &str) -> Result<()> {
        let pull = format!(".API.CONSUMER.MSG.NEXT.{stream}");
        match self.denied.find(|subject| subject.ends_with(&pull)) {
            None => Ok(()),
            Some(subject) => Err(self.not_allowed(&format!("stream {stream}"), "read", &subject)),
        }
    }

    fn not_allowed(&self, what: &str, verb: &str, subject: &str) -> Error {
        Error::environment(format!(
            "{what} at {} cannot be {verb}: this user may not publish to {subject}; allow that in the server's configuration, or \
             use credentials that may",
            self.server
        ))
    }

    /// Nothing came back.
    fn unanswered(&self, what: &str) -> Error {
        let inbox = self.way.inbox_prefix.as_deref().unwrap_or("_INBOX");
        if self.denied.find(|subject| subject.starts_with(inbox)).is_some() {
            return Error::environment(format!(
                "{what} at {} cannot answer: this user may not subscribe to {inbox}.>, where answers go; allow that in the \
                 server's configuration, or name a prefix that it may subscribe to with --inbox-prefix",
                self.server
            ));
        }
        let api = format!("{}.", self.way.api());
        if let Some(subject) = self.denied.find(|subject| subject.starts_with(&api)) {
            return self.not_allowed(what, "asked for", &subject);
        }
        Error::unavailable(format!(
            "{what} at {} does not answer; where it is a cluster, more than half of its servers have to be up",
            self.server
        ))
    }

    /// Nobody has JetStream for us.
    fn no_jetstream(&self) -> Error {
        Error::environment(match (&self.way.domain, &self.way.api_prefix) {
            (Some(domain), _) => format!(
                "there is no JetStream of domain {domain} at {}: name the domain as the servers' configuration does, with \
                 --js-domain, and see that the leaf node is connected",
                self.server
            ),
            (None, Some(prefix)) => format!(
                "nothing answers under {prefix} at {}: name the prefix as this account imports it, with --js-api-prefix",
                self.server
            ),
            (None, None) => format!(
                "there is no JetStream for this account at {0}: use the credentials of an account that has it, enable it in the \
                 server's configuration (`jetstream: enabled` in the account, and for the server), or name the domain that \
                 has it with --js-domain where {0} is a leaf node",
                self.server
            ),
        })
    }

    /// There is no such stream. It is made only where it is nowhere: what is looked for may lie in another stream, in another
    /// domain, or be another account's.
    async fn no_stream(&self, name: &str, subjects: &[String]) -> Error {
        let at = match &self.way.domain {
            Some(domain) => format!("in JetStream domain {domain} at {}", self.server),
            None => format!("at {}", self.server),
        };
        let mut holders = Vec::new();
        for subject in subjects {
            let found = tokio::time::timeout(LOOK_MAX, self.jetstream.stream_by_subject(subject)).await;
            if let Ok(Ok(holder)) = found {
                holders.push(format!("{subject} is in stream {holder}"));
            }
        }
        if !holders.is_empty() {
            return Error::definition(format!(
                "there is no stream {name} {at}; {}: name that one as `stream` in the pipeline file",
                holders.join(", ")
            ));
        }
        let domain = match tokio::time::timeout(LOOK_MAX, self.jetstream.query_account()).await {
            Ok(Ok(account)) if self.way.is_plain() => account.domain.filter(|domain| !domain.is_empty()),
            _ => None,
        };
        let of_domain = domain.map(|domain| {
            format!(
                "This is JetStream domain {domain}: where another domain has the stream, as behind a leaf node, name that with \
                 --js-domain. Only where none has it, "
            )
        });
        let there = match tokio::time::timeout(LOOK_MAX, self.stream_names()).await {
            Ok(names) if names.is_empty() => " (this account has none)".to_owned(),
            Ok(names) => format!(" (there are {})", names.join(", ")),
            Err(_) => String::new(),
        };
        let option = match (&self.way.domain, &self.way.api_prefix) {
            (Some(domain), _) => format!(" --js-domain {domain}"),
            (None, Some(prefix)) => format!(" --js-api-prefix {prefix}"),
            (None, None) => String::new(),
        };
        let (end, begin) = match of_domain {
            Some(of_domain) => (". ", of_domain),
            None => ("; ", String::new()),
        };
        Error::definition(format!(
            "there is no stream {name} {at}{there}{end}{begin}make it with\n  nats stream add {name} --subjects '{}' --storage file \
             --defaults{option}",
            subjects.join(",")
        ))
    }

    /// The first streams of the account.
    async fn stream_names(&self) -> Vec<String> {
        let names = self.jetstream.stream_names().take(STREAMS_MAX + 1);
        let mut names: Vec<String> = names
            .filter_map(|name| std::future::ready(name.ok()))
            // Those of buckets are not what anybody means.
            .filter(|name| std::future::ready(!name.starts_with("KV_") && !name.starts_with("OBJ_")))
            .collect()
            .await;
        if names.len() > STREAMS_MAX {
            names.truncate(STREAMS_MAX);
            names.push("others".to_owned());
        }
        names
    }
}

/// Whether the account has no JetStream at all.
fn is_not_enabled(cause: &jetstream::Error) -> bool {
    [
        ErrorCode::JETSTREAM_NOT_ENABLED,
        ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT,
    ]
    .contains(&cause.error_code())
}

/// Tries until it is done, or fails in a way that waiting does not mend. What is waited for is said once.
///
/// # Errors
/// What ended it; when `stop` is set, what it waited for.
pub(crate) fn patiently<T>(stop: &Stop, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let mut pauses = BackOff::new();
    let mut said = false;
    loop {
        let error = match attempt() {
            Err(error) if error.kind() == ErrorKind::Unavailable => error,
            outcome => return outcome,
        };
        if stop.is_set() {
            return Err(error.context("stopped before anything was read"));
        }
        if !said {
            tracing::warn!("waiting: {error}");
            said = true;
        }
        let next = Instant::now() + pauses.next();
        while Instant::now() < next && !stop.is_set() {
            std::thread::sleep(STOP_LOOK);
        }
    }
}

/// Ends when `stop` is set.
async fn stopped(stop: &Stop) {
    while !stop.is_set() {
        tokio::time::sleep(STOP_LOOK).await;
    }
}

/// How JetStream is reached.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    pub(super) domain: Option<String>,
    pub(super) api_prefix: Option<String>,
    pub(super) inbox_prefix: Option<String>,
}

impl Way {
    fn is_plain(&self) -> bool {
        self.domain.is_none() && self.api_prefix.is_none()
    }

    fn api(&self) -> String {
        match (&self.domain, &self.api_prefix) {
            (Some(domain), _) => format!("$JS.{domain}.API"),
            (None, Some(prefix)) => prefix.clone(),
            (None, None) => "$JS.API".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Denied, class, denied_subject};

    #[test]
    fn a_denial_is_said_once_for_what_is_alike() {
        let denied = Denied::default();
        assert!(denied.hear("Permissions Violation for Publish to \"$JS.ACK.S.C.1.7.7.1.0\""));
        assert!(!denied.hear("permissions violation for publish to \"$JS.ACK.S.C.1.8.8.2.0\""));
        assert!(denied.hear("Permissions Violation for Subscription to \"_INBOX.abc.*\""));
        assert_eq!(
            denied.find(|subject| subject.starts_with("_INBOX")).as_deref(),
            Some("_INBOX.abc.*")
        );
        assert_eq!(denied_subject("maximum payload exceeded"), None);
    }

    #[test]
    fn a_denied_request_is_known_with_its_stream() {
        for (subject, expected) in [
            ("$JS.API.STREAM.MSG.GET.ORDERS", "$JS.API.STREAM.MSG.GET.ORDERS"),
            ("$JS.leaf.API.STREAM.INFO.ORDERS", "$JS.leaf.API.STREAM.INFO.ORDERS"),
            (
                "$JS.API.DIRECT.GET.KV_weir-hosts.$KV.weir-hosts.a.b",
                "$JS.API.DIRECT.GET.KV_weir-hosts",
            ),
            (
                "$JS.API.CONSUMER.CREATE.ORDERS.weir-a.orders",
                "$JS.API.CONSUMER.CREATE.ORDERS",
            ),
            (
                "$JS.API.CONSUMER.MSG.NEXT.ORDERS.weir-a",
                "$JS.API.CONSUMER.MSG.NEXT.ORDERS",
            ),
            ("$JS.API.INFO", "$JS.API.INFO"),
            ("$JS.ACK.S.C.1.7.7.1.0", "$JS.ACK.S.C.1"),
        ] {
            assert_eq!(class(subject), expected);
        }
    }
}
