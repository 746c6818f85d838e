//! NATS: the connection, the JetStream source, and the publisher of outgoing messages.
//!
//! async-nats is named in `nats/` and nowhere else. The rest of the program is synchronous: a connection brings a small
//! runtime of its own, and the threads of the data path wait on it.

mod begin;
mod connect;
pub mod context;
mod feed;
mod publish;
mod range;
mod refused;
mod registry;
mod runtime;
mod secrets;
mod servers;
mod source;
mod subjects;
mod tick;
mod trouble;
mod who;

pub use begin::{Beginning, first_published};
pub use connect::{DEFAULT_URL, Nats, NatsOptions};
pub use publish::{Publisher, PublisherReport};
pub use range::{Place, StreamRange};
pub use registry::{EVENTS, HEARTBEAT, HISTORY, Hosts, Opening, Registry, Wanted};
pub use source::{Consumer, Gap, JetStreamSource, JetStreamSourceOptions, Until};
pub use tick::TICK_HEADER;
pub(crate) use trouble::patiently;

use std::time::Duration;

/// Pauses between attempts at something that the server did not grant: doubling, with jitter, up to ten seconds.
#[derive(Debug)]
pub(crate) struct BackOff {
    next: Duration,
}

impl BackOff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(10);

    pub(crate) fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// How long to wait now. Between half of the pause and all of it, so that many hosts do not come back at once.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(Self::LONGEST);
        pause.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}
