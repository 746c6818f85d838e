//! What a source says to the server beside its pulls: what is committed, and that it is done.

use crate::{model::delivery::Receipt, nats::Nats, source::Acknowledge};
use async_nats::jetstream;

/// Sends one ack per commit, for everything up to it.
#[derive(Debug)]
pub struct JetStreamAcknowledge {
    pub(super) nats: Nats,
}

impl Acknowledge for JetStreamAcknowledge {
    fn committed(&mut self, _: u64, receipt: &Receipt) {
        let Some(subject) = &receipt.ack_subject else { return };
        // An ack that is lost costs nothing: the next one covers it, and the position drops what comes twice.
        let _ = self.nats.wait(
            self.nats
                .client
                .publish(subject.clone(), jetstream::AckKind::Ack.into()),
        );
    }
}

/// Removes a consumer when it is dropped.
pub(super) struct Removal {
    pub(super) nats: Nats,
    pub(super) stream: String,
    pub(super) consumer: String,
}

impl Drop for Removal {
    fn drop(&mut self) {
        // A server that is gone forgets the consumer by itself, see `consumer.rs`.
        if !self.nats.is_connected() {
            return;
        }
        let jetstream = &self.nats.jetstream;
        let _ = self
            .nats
            .wait(jetstream.delete_consumer_from_stream(&self.consumer, &self.stream));
    }
}
