//! Ticks: messages that are no events, and say how late it is.
//!
//! Event time goes on with events alone. So the last windows of a stream that falls silent would stay open; where the
//! pipeline asks for it, its host publishes ticks into the stream for as long as it is silent. A tick is stored like any
//! message, and counts as an event of the time at which it was stored: what it closes is closed again by every replay.

use super::Nats;
use crate::plan::TickPlan;
use async_nats::{HeaderMap, header::NATS_MESSAGE_ID, jetstream::Message};
use std::time::Duration;
use tokio::time::Instant;

/// The header that a tick is known by. Its value does not matter.
pub const TICK_HEADER: &str = "Weir-Tick";

/// Whether a message is a tick, whoever published it, in a pipeline that asks for ticks: one with a payload is an event,
/// whatever its headers.
pub(super) fn is_tick(message: &Message) -> bool {
    let headers = message.headers.as_ref();
    message.payload.is_empty() && headers.is_some_and(|headers| headers.get(TICK_HEADER).is_some())
}

/// Publishes ticks into a stream that is silent.
#[derive(Debug)]
pub(super) struct Ticker {
    plan: TickPlan,
    /// When a message came, or a tick was sent.
    last: Instant,
    /// The sequence of the last message.
    sequence: u64,
}

impl Ticker {
    /// For a stream whose last message of the pipeline's subjects has this sequence.
    pub(super) fn new(plan: TickPlan, sequence: u64) -> Self {
        Self {
            plan,
            last: Instant::now(),
            sequence,
        }
    }

    /// A message came: the stream is not silent.
    pub(super) fn heard(&mut self, sequence: u64) {
        (self.last, self.sequence) = (Instant::now(), sequence);
    }

    /// Publishes a tick if nothing came for as long as the pipeline says. One that is lost is followed by the next.
    pub(super) async fn tick_when_silent(&mut self, nats: &Nats) {
        if self.last.elapsed() < Duration::from_millis(self.plan.every_ms) {
            return;
        }
        self.last = Instant::now();
        let mut headers = HeaderMap::new();
        headers.insert(TICK_HEADER, "1");
        let subject = self.plan.subject.clone();
        // Every host that hears the same silence names its tick alike, so that the server keeps one.
        let name = format!("weir-tick {subject} after {}", self.sequence);
        headers.insert(NATS_MESSAGE_ID, name);
        let _ = nats.client.publish_with_headers(subject, headers, "".into()).await;
    }
}
