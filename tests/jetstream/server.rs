//! The server as another client sees it: streams, messages, consumers.

mod buckets;
mod consumers;
mod messages;
mod streams;

pub(crate) use messages::Stored;

use crate::DEADLINE;
use async_nats::{
    ConnectOptions, Subscriber,
    jetstream::{self, stream::Stream},
};
use futures_util::StreamExt;
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

/// A client that is not Weir.
pub(crate) struct Client {
    runtime: Runtime,
    client: async_nats::Client,
    jetstream: jetstream::Context,
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

    #[track_caller]
    fn stream(&self, name: &str) -> Stream {
        let stream = self.runtime.block_on(self.jetstream.get_stream(name));
        stream.unwrap_or_else(|cause| panic!("stream {name}: {cause}"))
    }

    /// Whether there is a message, or one comes at once.
    pub(crate) fn has_heard(&self, subscriber: &mut Subscriber) -> bool {
        let next = async { tokio::time::timeout(Duration::from_millis(200), subscriber.next()).await };
        self.runtime.block_on(next).is_ok()
    }
}
