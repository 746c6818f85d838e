//! Consumers: looked at, changed, paused and removed.

use super::{Client, INSURANCE};
use crate::wait_until;
use async_nats::{
    Subscriber,
    jetstream::consumer::{self, FromConsumer, Info},
};
use futures_util::TryStreamExt;
use std::time::Duration;

impl Client {
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
