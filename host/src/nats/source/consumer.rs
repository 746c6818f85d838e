//! The consumer of a source: how it is made, and whether it is still as it was made.

use super::{Consumer, JetStreamSourceOptions};
use crate::{
    error::{Error, Result},
    nats::Nats,
    source::Lag,
};
use async_nats::jetstream::{
    consumer::{self, AckPolicy, DeliverPolicy, IntoConsumerConfig, PullConsumer, pull},
    stream::Stream,
};
use std::time::Duration;

/// Messages in one pull; the next one is sent when half of them have come.
pub(super) const PULL_MESSAGES: usize = 5000;

/// A pull that nothing is heard of for twice this long is sent again.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long the server keeps a pull that it has no messages for.
const PULL_EXPIRES: Duration = Duration::from_secs(30);

/// After this the server delivers again what was not acknowledged. Longer than any commit takes.
const ACK_WAIT: Duration = Duration::from_secs(120);

/// A consumer that nobody used for this long is removed by the server. The position is the database's, so nothing is
/// lost with it.
const CONSUMER_INACTIVE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// The same for the consumer of a replay, where the replay did not live to remove it. Longer than any commit takes.
const REPLAY_INACTIVE_MAX: Duration = Duration::from_secs(300);

const _: () = assert!(
    // Two pulls may be under way at once, and the client drops silently what it has no room for.
    super::super::connect::SUBSCRIPTION_MESSAGES_MAX >= 3 * PULL_MESSAGES,
    "the subscription has room for all messages under way"
);

/// A pull from a consumer that stands right after the position.
pub(super) struct Pull {
    pub(super) messages: pull::Stream,
    /// How many deliveries the consumer had counted.
    pub(super) delivered: u64,
    /// The consumer as it was made, by the settings that somebody might change.
    pub(super) settings: Settings,
}

/// What a consumer does, as far as it matters to its reader. Names of settings, and what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings(Vec<(&'static str, String)>);

impl Settings {
    pub(super) fn of(config: &consumer::Config) -> Self {
        let mut subjects = match config.filter_subject.as_str() {
            "" => config.filter_subjects.clone(),
            only => vec![only.to_owned()],
        };
        subjects.sort();
        Self(vec![
            ("filter", subjects.join(", ")),
            ("headers_only", config.headers_only.to_string()),
            ("ack_policy", format!("{:?}", config.ack_policy)),
            ("deliver_subject", config.deliver_subject.clone().unwrap_or_default()),
            ("max_deliver", config.max_deliver.max(0).to_string()),
            ("rate_limit_bps", config.rate_limit.to_string()),
            ("replay_policy", format!("{:?}", config.replay_policy)),
            ("max_ack_pending", config.max_ack_pending.to_string()),
            ("max_batch", config.max_batch.to_string()),
            ("max_bytes", config.max_bytes.to_string()),
            ("max_expires", format!("{:?}", config.max_expires)),
            ("backoff", format!("{:?}", config.backoff)),
        ])
    }

    /// How these differ from what they were, for people; nothing where they do not.
    pub(super) fn changes_since(&self, before: &Self) -> Option<String> {
        let pairs = self.0.iter().zip(&before.0);
        let changes: Vec<String> = pairs
            .filter(|(now, before)| now != before)
            .map(|((name, now), (_, before))| format!("{name} is \"{now}\", and was \"{before}\""))
            .collect();
        (!changes.is_empty()).then(|| changes.join(", "))
    }
}

fn config(options: &JetStreamSourceOptions, position: u64) -> pull::Config {
    let deliver_policy = DeliverPolicy::ByStartSequence {
        start_sequence: position + 1,
    };
    let (filter_subject, filter_subjects) = match options.subjects.as_slice() {
        [only] => (only.clone(), Vec::new()),
        several => (String::new(), several.to_vec()),
    };
    match &options.consumer {
        Consumer::Durable(name) => pull::Config {
            durable_name: Some(name.clone()),
            description: Some("weir: the position of its database, acknowledged after each commit".to_owned()),
            deliver_policy,
            ack_policy: AckPolicy::All,
            ack_wait: ACK_WAIT,
            filter_subject,
            filter_subjects,
            // Bounded by the turn, not by the server: a stalled commit stops the pulls.
            max_ack_pending: -1,
            inactive_threshold: CONSUMER_INACTIVE_MAX,
            ..Default::default()
        },
        Consumer::Ephemeral(name) => pull::Config {
            name: Some(name.clone()),
            description: Some("weir: a replay".to_owned()),
            deliver_policy,
            ack_policy: AckPolicy::None,
            filter_subject,
            filter_subjects,
            inactive_threshold: REPLAY_INACTIVE_MAX,
            // The server keeps no account of it on disk: what a restart forgets is made anew at the last delivery.
            memory_storage: true,
            num_replicas: 1,
            ..Default::default()
        },
    }
}

/// A pull from the consumer, which stands right after `position`: as it is, or made anew.
pub(super) async fn pull_from(
    nats: &Nats,
    stream: &Stream,
    options: &JetStreamSourceOptions,
    position: u64,
    lag: &Lag,
) -> Result<Pull> {
    let name = options.consumer.name();
    let failed = |what: &str, cause: &dyn std::fmt::Display| {
        Error::environment(format!(
            "cannot {what} consumer {name} of stream {} at {}: {cause}",
            options.stream, nats.server
        ))
    };
    let config = config(options, position);
    let wanted = Settings::of(&config.clone().into_consumer_config());
    let known: Option<PullConsumer> = stream.get_consumer(name).await.ok();
    let mut fits = None;
    if let Some(known) = known {
        let info = known.cached_info();
        if let Some(changes) = Settings::of(&info.config).changes_since(&wanted) {
            say_changed(name, &options.stream, &changes);
        } else if info.paused {
            tracing::warn!(
                stream = options.stream,
                consumer = name,
                "consumer {name} of stream {} was paused by somebody; it is made anew",
                options.stream
            );
        } else if info.ack_floor.stream_sequence == position
            && info.delivered.stream_sequence == position
            && info.num_ack_pending == 0
        {
            // One that stands right there, with nothing under way, is used as it is; any other is made anew.
            fits = Some(known);
        }
    }
    let consumer = match fits {
        Some(consumer) => consumer,
        None => {
            let _ = stream.delete_consumer(name).await;
            stream.create_consumer(config).await.map_err(|cause| {
                let what = format!("consumer {name} of stream {}", options.stream);
                nats.consumer_failed(&what, &cause)
            })?
        }
    };
    let info = consumer.cached_info();
    let (delivered, settings) = (info.delivered.consumer_sequence, Settings::of(&info.config));
    lag.begin(delivered, info.num_pending);
    let pulls = consumer
        .stream()
        .max_messages_per_batch(PULL_MESSAGES)
        .heartbeat(HEARTBEAT)
        .expires(PULL_EXPIRES);
    let messages = pulls.messages().await.map_err(|cause| failed("pull from", &cause))?;
    Ok(Pull {
        messages,
        delivered,
        settings,
    })
}

/// Says that a consumer is not as it was made, and what is done about it.
pub(super) fn say_changed(name: &str, stream: &str, changes: &str) {
    tracing::warn!(
        stream,
        consumer = name,
        "consumer {name} of stream {stream} was changed by somebody: {changes}; it is made anew"
    );
}
