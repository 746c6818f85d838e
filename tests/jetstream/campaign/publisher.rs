//! Events on their way into the streams, beside what happens to those who read them.

use super::shop;
use crate::{events::Event, server::Client, versions, wait_until};
use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};
use weir_tests::{nats::NatsServer, seed::Random};

/// Events that are published together, at most.
const AT_ONCE: usize = 40;

/// Events for both streams.
pub(super) struct Portion {
    pub(super) shop: Vec<Event>,
    /// Numbers, which are sequences.
    pub(super) swapped: Range<u64>,
    /// How they are cut.
    pub(super) seed: u64,
}

/// The server, and a thread that publishes. Nothing is under way when the server is killed: whether that is stored would
/// be a matter between publisher and server, and not of what is tested.
pub(super) struct Publisher {
    server: Arc<Mutex<NatsServer>>,
    portions: Option<Sender<Portion>>,
    handed: u64,
    published: Arc<AtomicU64>,
    /// How often the server was killed: those who publish connect anew then.
    kills: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Publisher {
    pub(super) fn start(server: NatsServer) -> Self {
        let (portions, handed) = channel::<Portion>();
        let server = Arc::new(Mutex::new(server));
        let (published, kills): (Arc<AtomicU64>, Arc<AtomicU64>) = Default::default();
        let mut publishing = Publishing {
            server: server.clone(),
            kills: kills.clone(),
            client: None,
            sequence: 0,
        };
        let done = published.clone();
        let thread = thread::spawn(move || {
            for portion in handed {
                publishing.publish(portion);
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            server,
            portions: Some(portions),
            handed: 0,
            published,
            kills,
            thread: Some(thread),
        }
    }

    pub(super) fn url(&self) -> String {
        self.server.lock().expect("nobody panicked").url()
    }

    /// Has events published, after those before.
    #[track_caller]
    pub(super) fn publish(&mut self, portion: Portion) {
        let portions = self.portions.as_ref().expect("it runs");
        portions.send(portion).expect("the publisher runs");
        self.handed += 1;
    }

    #[track_caller]
    pub(super) fn wait_until_published(&self) {
        wait_until("all events to be published", || {
            self.published.load(Ordering::Relaxed) == self.handed
        });
    }

    /// Kills the server, does something, and starts the server again.
    pub(super) fn kill_server(&self, meanwhile: impl FnOnce()) {
        let mut server = self.server.lock().expect("nobody panicked");
        server.kill();
        meanwhile();
        server.restart();
        self.kills.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.portions = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Publishing {
    server: Arc<Mutex<NatsServer>>,
    kills: Arc<AtomicU64>,
    /// The connection, with how many kills of the server there were before it was made.
    client: Option<(u64, Client)>,
    /// The last sequence in the stream of the shop.
    sequence: u64,
}

impl Publishing {
    fn publish(&mut self, portion: Portion) {
        let mut random = Random::new(portion.seed);
        let Portion { mut shop, swapped, .. } = portion;
        let mut next = swapped.start;
        while !shop.is_empty() || next < swapped.end {
            let some: Vec<Event> = shop.drain(..shop.len().min(1 + random.below(AT_ONCE))).collect();
            let end = swapped.end.min(next + 1 + random.below(AT_ONCE / 2) as u64);
            {
                let server = self.server.lock().expect("nobody panicked");
                let kills = self.kills.load(Ordering::Relaxed);
                if self.client.as_ref().is_none_or(|(before, _)| *before != kills) {
                    self.client = Some((kills, Client::connect(&server.url())));
                }
                let Some((_, client)) = &self.client else { continue };
                if !some.is_empty() {
                    self.sequence += some.len() as u64;
                    let last = client.publish(&some);
                    assert_eq!(last, self.sequence, "numbers are sequences in {}", shop::STREAM);
                }
                if next < end {
                    versions::publish(client, next, end - 1);
                }
            }
            next = end;
            thread::park_timeout(Duration::from_micros(random.below(4_000) as u64));
        }
    }
}
