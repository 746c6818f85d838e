//! The server as another client sees it: streams, messages, consumers.

use crate::{DEADLINE, events::Event, wait_until};
use async_nats::{
    ConnectOptions, HeaderMap, Subscriber,
    header::NATS_MESSAGE_ID,
    jetstream::{
        self,
        consumer::{self, FromConsumer, Info},
        context::PublishAckFuture,
        stream::{Config, Stream},
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE};
use futures_util::{StreamExt, TryStreamExt};
use std::time::Duration;
use tokio::runtime::Runtime;

/// The stream that the pipelines read.
pub(crate) const INSURANCE: &str = "INSURANCE";

/// Its subjects: one per scenario.
pub(crate) const SUBJECTS: [&str; 3] = [
    "user_order",
    "dh_prd_dm_account_wechat_trace",
    "edw_zy_evt_bury_point_log",
];

/// The stream of alerts.
pub(crate) const ALERTS: &str = "ALERTS";

/// Messages that are published before the first answer is waited for.
const MESSAGES_AT_ONCE: usize = 1_000;

/// A client that is not Weir.
pub(crate) struct Client {
    runtime: Runtime,
    client: async_nats::Client,
    jetstream: jetstream::Context,
}

/// A message as the stream holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) payload: String,
}

/// A message with its headers.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    headers: HeaderMap,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    /// What a header holds; nothing where it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.as_str())
    }
}

impl Client {
    /// Connects.
    #[track_caller]
    pub(crate) fn connect(url: &str) -> Self {
        Self::connect_as(url, ConnectOptions::new())
    }

    /// Connects with credentials.
    #[track_caller]
    pub(crate) fn connect_as(url: &str, options: ConnectOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let client = runtime.block_on(options.connect(url)).expect("the server lets us in");
        let entered = runtime.enter();
        let jetstream = jetstream::new(client.clone());
        drop(entered);
        Self {
            runtime,
            client,
            jetstream,
        }
    }

    /// Makes the stream that the pipelines read.
    #[track_caller]
    pub(crate) fn make_insurance(&self) {
        self.make(Config {
            name: INSURANCE.to_owned(),
            subjects: SUBJECTS.map(str::to_owned).into(),
            ..Config::default()
        });
    }

    /// Makes the stream of alerts; a message id is known for so long.
    #[track_caller]
    pub(crate) fn make_alerts(&self, duplicate_window: Duration) {
        self.make(Config {
            name: ALERTS.to_owned(),
            subjects: vec!["alerts.>".to_owned()],
            duplicate_window,
            ..Config::default()
        });
    }

    /// Makes a stream.
    #[track_caller]
    pub(crate) fn make_stream(&self, name: &str, subjects: &[&str]) {
        self.make(Config {
            name: name.to_owned(),
            subjects: subjects.iter().copied().map(str::to_owned).collect(),
            ..Config::default()
        });
    }

    /// Makes a stream of these settings.
    #[track_caller]
    pub(crate) fn make_with(&self, config: Config) {
        self.make(config);
    }

    /// Changes the settings of a stream.
    #[track_caller]
    pub(crate) fn update(&self, config: Config) {
        let updated = self.runtime.block_on(self.jetstream.update_stream(config));
        updated.expect("the stream can be changed");
    }

    /// Publishes a message under this name.
    #[track_caller]
    pub(crate) fn publish_as(&self, id: &str, subject: &'static str, payload: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id);
        let payload = payload.to_owned().into();
        let stored = self.runtime.block_on(async {
            let sent = self.jetstream.publish_with_headers(subject, headers, payload).await;
            sent.expect("it can be sent").await
        });
        stored.expect("it is stored");
    }

    /// How many messages a stream holds of a subject.
    #[track_caller]
    pub(crate) fn count_of(&self, stream: &str, subject: &str) -> usize {
        let stream = self.stream(stream);
        self.runtime.block_on(async {
            let subjects = stream.info_with_subjects(subject).await;
            let counts: Vec<(String, usize)> = subjects.expect("it can be read").try_collect().await.expect("counts");
            counts.iter().map(|(_, count)| count).sum()
        })
    }

    /// Makes a stream, if the server can.
    pub(crate) fn try_make(&self, config: Config) -> bool {
        self.runtime.block_on(self.jetstream.create_stream(config)).is_ok()
    }

    #[track_caller]
    fn make(&self, config: Config) {
        let made = self.runtime.block_on(self.jetstream.create_stream(config));
        made.expect("the stream can be made");
    }

    /// Hears what is said on a subject from now on.
    #[track_caller]
    pub(crate) fn subscribe(&self, subject: &'static str) -> Subscriber {
        let subscribed = self.runtime.block_on(async {
            let subscriber = self.client.subscribe(subject).await;
            self.client.flush().await.expect("the server answers");
            subscriber
        });
        subscribed.expect("a subject can be subscribed to")
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn hear(&self, subscriber: &mut Subscriber) -> String {
        let next = async { tokio::time::timeout(DEADLINE, subscriber.next()).await };
        let message = self.runtime.block_on(next).expect("a message comes");
        let payload = message.expect("the connection is open").payload;
        String::from_utf8(payload.into()).expect("messages are UTF-8")
    }

    /// Puts a value into a bucket of keys.
    #[track_caller]
    pub(crate) fn put_key(&self, bucket: &str, key: &str, value: impl Into<String>) {
        let put = self
            .jetstream
            .publish(format!("$KV.{bucket}.{key}"), value.into().into());
        let stored = self
            .runtime
            .block_on(async { put.await.expect("it can be sent").await });
        stored.expect("the value is stored");
    }

    /// Exchanges what is stored of the last object of a bucket.
    #[track_caller]
    pub(crate) fn damage_object(&self, bucket: &str) {
        let stream = self.stream(&format!("OBJ_{bucket}"));
        self.runtime.block_on(async {
            let chunks = format!("$O.{bucket}.C.>");
            let last = stream.get_last_raw_message_by_subject(&chunks).await;
            let subject = last.expect("an object is stored").subject;
            stream.purge().filter(&*subject).await.expect("chunks can be removed");
            let sent = self.jetstream.publish(subject, "\0asm, or so".into()).await;
            sent.expect("a chunk can be sent").await.expect("the chunk is stored");
        });
    }

    /// Writes over what is said of an object of a bucket with what nobody can read; gives the bucket's stream, and the sequence.
    #[track_caller]
    pub(crate) fn garble_object(&self, bucket: &str, name: &str) -> (String, u64) {
        let subject = format!("$O.{bucket}.M.{}", URL_SAFE.encode(name));
        let sequence = self.runtime.block_on(async {
            let sent = self.jetstream.publish(subject, "{".into()).await;
            sent.expect("it can be sent").await.expect("it is stored").sequence
        });
        (format!("OBJ_{bucket}"), sequence)
    }

    /// Removes the pieces of all objects of a bucket.
    #[track_caller]
    pub(crate) fn lose_pieces(&self, bucket: &str) {
        let stream = self.stream(&format!("OBJ_{bucket}"));
        let purge = stream.purge().filter(format!("$O.{bucket}.C.>"));
        self.runtime
            .block_on(purge.into_future())
            .expect("chunks can be removed");
    }

    /// Removes a stream.
    #[track_caller]
    pub(crate) fn delete_stream(&self, name: &str) {
        let deleted = self.runtime.block_on(self.jetstream.delete_stream(name));
        deleted.expect("the stream can be deleted");
    }

    #[track_caller]
    fn stream(&self, name: &str) -> Stream {
        let stream = self.runtime.block_on(self.jetstream.get_stream(name));
        stream.unwrap_or_else(|cause| panic!("stream {name}: {cause}"))
    }

    /// Publishes events in order; gives the sequence of the last one.
    #[track_caller]
    pub(crate) fn publish(&self, events: &[Event]) -> u64 {
        self.runtime.block_on(async {
            let mut last = 0;
            for part in events.chunks(MESSAGES_AT_ONCE) {
                let mut acks: Vec<PublishAckFuture> = Vec::with_capacity(part.len());
                for (subject, payload) in part {
                    let sent = self.jetstream.publish(*subject, payload.clone().into()).await;
                    acks.push(sent.expect("an event can be sent"));
                }
                for ack in acks {
                    last = ack.await.expect("an event is stored").sequence;
                }
            }
            last
        })
    }

    /// Waits until the server has forgotten every message id that it knows now.
    #[track_caller]
    pub(crate) fn wait_for_end_of_duplicate_window(&self) {
        wait_until("the end of the duplicate window", || {
            let publish = async {
                let mut headers = HeaderMap::new();
                headers.insert(NATS_MESSAGE_ID, "probe");
                let sent = self
                    .jetstream
                    .publish_with_headers("alerts.probe", headers, "".into())
                    .await;
                let stored = sent
                    .expect("the probe can be sent")
                    .await
                    .expect("the probe is answered");
                // The second that is no duplicate.
                !stored.duplicate && stored.sequence > self.first_probe().await
            };
            self.runtime.block_on(publish)
        });
    }

    /// The sequence of the first probe.
    async fn first_probe(&self) -> u64 {
        let stream = self
            .jetstream
            .get_stream(ALERTS)
            .await
            .expect("there is a stream of alerts");
        let first = stream.get_first_raw_message_by_subject("alerts.probe", 1).await;
        first.expect("the first probe is stored").sequence
    }

    /// Everything that a stream holds of a subject, in order.
    #[track_caller]
    pub(crate) fn messages(&self, stream: &str, subject: &str) -> Vec<Stored> {
        let stream = self.stream(stream);
        let last = stream.cached_info().state.last_sequence;
        let mut messages = Vec::new();
        for sequence in 1..=last {
            // One that was deleted is no message.
            let Ok(message) = self.runtime.block_on(stream.get_raw_message(sequence)) else {
                continue;
            };
            if *message.subject == *subject {
                messages.push(Stored {
                    id: message
                        .headers
                        .get(NATS_MESSAGE_ID)
                        .map(ToString::to_string)
                        .unwrap_or_default(),
                    payload: String::from_utf8(message.payload.into()).expect("alerts are UTF-8"),
                });
            }
        }
        messages
    }

    /// Everything that a stream holds of a subject, in order, with headers.
    #[track_caller]
    pub(crate) fn messages_with_headers(&self, stream: &str, subject: &str) -> Vec<Message> {
        let stream = self.stream(stream);
        let all = (1..=stream.cached_info().state.last_sequence).map(|sequence| {
            let message = self.runtime.block_on(stream.get_raw_message(sequence));
            message.expect("nothing was deleted")
        });
        all.filter(|message| *message.subject == *subject)
            .map(|message| Message {
                headers: message.headers,
                payload: message.payload.into(),
            })
            .collect()
    }

    /// Publishes a message with a header.
    #[track_caller]
    pub(crate) fn publish_with_header(&self, subject: &'static str, header: (&str, &str), payload: &'static str) {
        let mut headers = HeaderMap::new();
        headers.insert(header.0, header.1);
        self.runtime.block_on(async {
            let sent = self
                .jetstream
                .publish_with_headers(subject, headers, payload.into())
                .await;
            sent.expect("it can be sent").await.expect("the message is stored");
        });
    }

    /// Removes all messages of a stream.
    #[track_caller]
    pub(crate) fn purge(&self, stream: &str) {
        let stream = self.stream(stream);
        let purged = self.runtime.block_on(async { stream.purge().await });
        assert!(
            purged.expect("the stream can be purged").purged > 0,
            "something was purged"
        );
    }

    /// Publishes events, and has everything removed while they are still being stored; gives the stream's last sequence.
    #[track_caller]
    pub(crate) fn publish_and_purge(&self, stream: &str, events: &[Event]) -> u64 {
        let mut stream = self.stream(stream);
        self.runtime.block_on(async {
            let mut acks = Vec::with_capacity(events.len());
            for (subject, payload) in events {
                let sent = self.jetstream.publish(*subject, payload.clone().into()).await;
                acks.push(sent.expect("an event can be sent"));
            }
            stream.purge().await.expect("the stream can be purged");
            for ack in acks {
                ack.await.expect("an event is stored");
            }
            stream.info().await.expect("the stream is there").state.last_sequence
        })
    }

    /// Removes one message of a stream.
    #[track_caller]
    pub(crate) fn delete_message(&self, stream: &str, sequence: u64) {
        let stream = self.stream(stream);
        let deleted = self.runtime.block_on(stream.delete_message(sequence));
        assert!(
            deleted.expect("a message can be deleted"),
            "message {sequence} is deleted"
        );
    }

    /// Removes one message of a stream, if there is such a one.
    pub(crate) fn delete_if_there(&self, stream: &str, sequence: u64) {
        let stream = self.stream(stream);
        let _ = self.runtime.block_on(stream.delete_message(sequence));
    }

    /// Removes all messages of a stream below a sequence, if there are any.
    #[track_caller]
    pub(crate) fn purge_stream_below(&self, stream: &str, sequence: u64) {
        let stream = self.stream(stream);
        let purged = self
            .runtime
            .block_on(async { stream.purge().sequence(sequence.max(1)).await });
        purged.expect("the stream can be purged");
    }

    /// The sequences behind `position` that a stream has given and does not hold.
    #[track_caller]
    pub(crate) fn missing_behind(&self, stream: &str, position: u64) -> Vec<u64> {
        let stream = self.stream(stream);
        let info = self.runtime.block_on(async {
            let fetched = stream.info_builder().with_deleted(true).fetch().await;
            fetched.expect("the stream can be read").info
        });
        let state = info.state;
        let first = state.first_sequence;
        let missing =
            |sequence: &u64| *sequence < first || state.deleted.as_ref().is_some_and(|gone| gone.contains(sequence));
        (position + 1..=state.last_sequence).filter(missing).collect()
    }

    /// Pauses the consumers of a pipeline for a day, those that are there.
    pub(crate) fn pause_consumers(&self, stream: &str, pipeline: &str) {
        let until = std::time::SystemTime::now() + Duration::from_secs(24 * 3600);
        for consumer in self.consumers_of(stream, pipeline) {
            let stream = self.stream(stream);
            let _ = self
                .runtime
                .block_on(stream.pause_consumer(&consumer.name, until.into()));
        }
    }

    /// Changes the consumers of a pipeline, those that are there.
    #[track_caller]
    pub(crate) fn edit_consumers(&self, stream: &str, pipeline: &str, edit: impl Fn(&mut consumer::pull::Config)) {
        for consumer in self.consumers_of(stream, pipeline) {
            let mut config = consumer.config;
            config.metadata.clear();
            let mut config = consumer::pull::Config::try_from_consumer_config(config).expect("it is pulled from");
            edit(&mut config);
            let _ = self.runtime.block_on(self.stream(stream).update_consumer(config));
        }
    }

    /// Pauses a consumer for a day.
    #[track_caller]
    pub(crate) fn pause_consumer(&self, stream: &str, name: &str) {
        let stream = self.stream(stream);
        let until = std::time::SystemTime::now() + Duration::from_secs(24 * 3600);
        let paused = self.runtime.block_on(stream.pause_consumer(name, until.into()));
        assert!(paused.expect("a consumer can be paused").paused);
    }

    /// Lets a consumer go on.
    #[track_caller]
    pub(crate) fn resume_consumer(&self, stream: &str, name: &str) {
        let stream = self.stream(stream);
        let resumed = self.runtime.block_on(stream.resume_consumer(name));
        assert!(!resumed.expect("a consumer can go on").paused);
    }

    /// Asks a consumer for a message, as its reader does; what it gives is not acknowledged.
    #[track_caller]
    pub(crate) fn ask_consumer(&self, stream: &str, name: &str) -> Subscriber {
        self.runtime.block_on(async {
            let inbox = self.client.new_inbox();
            let heard = self
                .client
                .subscribe(inbox.clone())
                .await
                .expect("an inbox can be read");
            let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
            let asked = self.client.publish_with_reply(subject, inbox, "1".into()).await;
            asked.expect("a request can be sent");
            self.client.flush().await.expect("a request can be sent");
            heard
        })
    }

    /// Whether there is a message, or one comes at once.
    pub(crate) fn has_heard(&self, subscriber: &mut Subscriber) -> bool {
        let next = async { tokio::time::timeout(Duration::from_millis(200), subscriber.next()).await };
        self.runtime.block_on(next).is_ok()
    }

    /// Changes a consumer.
    #[track_caller]
    pub(crate) fn edit_consumer(&self, stream: &str, name: &str, edit: impl FnOnce(&mut consumer::pull::Config)) {
        let stream = self.stream(stream);
        self.runtime.block_on(async {
            let found: consumer::PullConsumer = stream.get_consumer(name).await.expect("there is such a consumer");
            let mut config = found.cached_info().config.clone();
            config.metadata.clear();
            let mut config = consumer::pull::Config::try_from_consumer_config(config).expect("it is pulled from");
            edit(&mut config);
            stream.update_consumer(config).await.expect("a consumer can be changed");
        });
    }

    /// Deletes the last messages of a subject, so that `keep` are left.
    #[track_caller]
    pub(crate) fn keep_first(&self, stream: &str, subject: &str, keep: usize) {
        let stream = self.stream(stream);
        let mut of_subject = Vec::new();
        for sequence in 1..=stream.cached_info().state.last_sequence {
            if let Ok(message) = self.runtime.block_on(stream.get_raw_message(sequence))
                && *message.subject == *subject
            {
                of_subject.push(sequence);
            }
        }
        for sequence in of_subject.split_off(keep) {
            let deleted = self.runtime.block_on(stream.delete_message(sequence));
            assert!(
                deleted.expect("a message can be deleted"),
                "message {sequence} is deleted"
            );
        }
    }

    /// Removes all messages of the stream below a sequence.
    #[track_caller]
    pub(crate) fn purge_below(&self, sequence: u64) {
        let stream = self.stream(INSURANCE);
        let purged = self.runtime.block_on(async { stream.purge().sequence(sequence).await });
        assert!(
            purged.expect("the stream can be purged").purged > 0,
            "something was purged"
        );
    }

    /// The consumers of a pipeline: one per database.
    #[track_caller]
    pub(crate) fn consumers(&self, pipeline: &str) -> Vec<Info> {
        self.consumers_of(INSURANCE, pipeline)
    }

    /// The same over another stream.
    #[track_caller]
    pub(crate) fn consumers_of(&self, stream: &str, pipeline: &str) -> Vec<Info> {
        let stream = self.stream(stream);
        let all = self.runtime.block_on(stream.consumers().try_collect());
        let mut all: Vec<Info> = all.expect("consumers can be listed");
        let prefix = format!("weir-{pipeline}-");
        all.retain(|info| info.name.starts_with(&prefix));
        all
    }

    /// The names of all consumers of the stream.
    #[track_caller]
    pub(crate) fn consumer_names(&self) -> Vec<String> {
        self.consumer_names_of(INSURANCE)
    }

    /// The same of another stream.
    #[track_caller]
    pub(crate) fn consumer_names_of(&self, stream: &str) -> Vec<String> {
        let stream = self.stream(stream);
        let names = self.runtime.block_on(stream.consumer_names().try_collect());
        names.expect("consumers can be listed")
    }

    /// The names of all streams.
    #[track_caller]
    pub(crate) fn stream_names(&self) -> Vec<String> {
        let names = self.runtime.block_on(self.jetstream.stream_names().try_collect());
        names.expect("streams can be listed")
    }

    /// How many servers hold a stream.
    #[track_caller]
    pub(crate) fn replicas(&self, stream: &str) -> usize {
        self.stream(stream).cached_info().config.num_replicas
    }

    /// When a message of the stream was stored, in nanoseconds since 1970-01-01T00:00:00Z.
    #[track_caller]
    pub(crate) fn stored_at(&self, sequence: u64) -> i128 {
        self.stored_at_of(INSURANCE, sequence)
    }

    /// The same for another stream.
    #[track_caller]
    pub(crate) fn stored_at_of(&self, stream: &str, sequence: u64) -> i128 {
        let stream = self.stream(stream);
        let message = self.runtime.block_on(stream.get_raw_message(sequence));
        message.expect("the message is there").time.unix_timestamp_nanos()
    }

    /// The consumer of a pipeline; there is one.
    #[track_caller]
    pub(crate) fn consumer(&self, pipeline: &str) -> Info {
        let found = self.consumers(pipeline);
        let [one] = &found[..] else {
            panic!("one consumer of {pipeline} was expected: {found:?}")
        };
        one.clone()
    }

    /// Removes the consumer of a pipeline.
    #[track_caller]
    pub(crate) fn delete_consumer(&self, pipeline: &str) {
        let name = self.consumer(pipeline).name;
        let stream = self.stream(INSURANCE);
        let deleted = self.runtime.block_on(stream.delete_consumer(&name));
        assert!(deleted.expect("a consumer can be deleted").success);
    }

    /// Removes a consumer of a stream.
    #[track_caller]
    pub(crate) fn delete_consumer_of(&self, stream: &str, name: &str) {
        let stream = self.stream(stream);
        let deleted = self.runtime.block_on(stream.delete_consumer(name));
        assert!(deleted.expect("a consumer can be deleted").success);
    }

    /// Checks that the server knows of everything up to `position`, and that nothing is under way.
    #[track_caller]
    pub(crate) fn check_acknowledged(&self, pipeline: &str, position: u64) {
        // An ack is not answered: it may still be on its way within the server.
        wait_until(&format!("the ack of {position} by {pipeline}"), || {
            self.consumer(pipeline).ack_floor.stream_sequence == position
        });
        let info = self.consumer(pipeline);
        let state = (info.num_ack_pending, info.num_pending, info.delivered.stream_sequence);
        assert_eq!(state, (0, 0, position), "{pipeline}: nothing is under way: {info:?}");
    }
}
