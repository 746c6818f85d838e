//! Streams: made, changed, emptied and removed.

use super::{ALERTS, Client, INSURANCE, SUBJECTS};
use async_nats::jetstream::stream::Config;
use futures_util::TryStreamExt;
use std::time::Duration;

impl Client {
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

    /// Makes a stream, if the server can.
    pub(crate) fn try_make(&self, config: Config) -> bool {
        self.runtime.block_on(self.jetstream.create_stream(config)).is_ok()
    }

    #[track_caller]
    fn make(&self, config: Config) {
        let made = self.runtime.block_on(self.jetstream.create_stream(config));
        made.expect("the stream can be made");
    }

    /// Removes a stream.
    #[track_caller]
    pub(crate) fn delete_stream(&self, name: &str) {
        let deleted = self.runtime.block_on(self.jetstream.delete_stream(name));
        deleted.expect("the stream can be deleted");
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
}
