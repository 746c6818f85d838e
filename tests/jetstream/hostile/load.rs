//! Events for all three pipelines, as fast as they come and all the time, and how long they take through two of them.

use super::BESIDE;
use crate::versions::SUBJECT;
use async_nats::{Subscriber, jetstream};
use futures_util::StreamExt;
use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use weir_tests::swaps;

/// How often an event comes to each pipeline.
const PAUSE: Duration = Duration::from_millis(5);

/// A client that publishes and listens.
pub(super) struct Load {
    ended: Arc<AtomicBool>,
    times: Arc<Mutex<Vec<Duration>>>,
    thread: JoinHandle<u64>,
}

/// How long events took, from when they were published until the message came that a pipeline made of them.
pub(super) struct Measured {
    events: usize,
    p50: Duration,
    p99: Duration,
    most: Duration,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (p50, p99, most) = (ms(self.p50), ms(self.p99), ms(self.most));
        write!(
            f,
            "{} events, p50 {p50:.1} ms, p99 {p99:.1} ms, most {most:.1} ms",
            self.events
        )
    }
}

impl Load {
    pub(super) fn start(url: &str) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let times = Arc::new(Mutex::new(Vec::new()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let work = run(url.to_owned(), ended.clone(), times.clone());
        let thread = thread::spawn(move || runtime.block_on(work));
        Self { ended, times, thread }
    }

    /// How many events came through so far.
    pub(super) fn passed(&self) -> usize {
        self.times.lock().expect("nobody panics with it").len()
    }

    /// How long those took that came through after the first `passed`.
    pub(super) fn measured(&self, passed: usize) -> Measured {
        let mut times = self.times.lock().expect("nobody panics with it")[passed..].to_vec();
        times.sort_unstable();
        let at = |share: f64| {
            let time = times.get((times.len() as f64 * share) as usize);
            time.copied().unwrap_or_default()
        };
        Measured {
            events: times.len(),
            p50: at(0.5),
            p99: at(0.99),
            most: times.last().copied().unwrap_or_default(),
        }
    }

    /// Publishes nothing any more; gives how many events each pipeline got.
    pub(super) fn end(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().expect("nothing panics")
    }
}

async fn run(url: String, ended: Arc<AtomicBool>, times: Arc<Mutex<Vec<Duration>>>) -> u64 {
    let client = async_nats::connect(&url).await.expect("the server lets us in");
    let context = jetstream::new(client.clone());
    let mut heard: Vec<Subscriber> = Vec::new();
    for name in BESIDE {
        heard.push(
            client
                .subscribe(format!("passed.{name}"))
                .await
                .expect("a subject can be heard"),
        );
    }
    let mut heard = futures_util::stream::select_all(heard);
    let mut begun: Vec<Instant> = Vec::new();
    let mut pause = tokio::time::interval(PAUSE);
    while !ended.load(Ordering::Relaxed) {
        tokio::select! {
            message = heard.next() => {
                let payload = message.expect("the connection is open").payload;
                let row: serde_json::Value = serde_json::from_slice(&payload).expect("messages are JSON");
                let number = row["n"].as_u64().expect("each has a number");
                let time = begun[number as usize - 1].elapsed();
                times.lock().expect("nobody panics with it").push(time);
            }
            _ = pause.tick() => {
                begun.push(Instant::now());
                let payload = swaps::payload(begun.len() as u64);
                for subject in [SUBJECT, BESIDE[0], BESIDE[1]] {
                    let sent = context.publish(subject, payload.clone().into()).await.expect("it can be sent");
                    let stored = sent.await.expect("it is stored");
                    assert_eq!(stored.sequence, begun.len() as u64, "numbers are sequences");
                }
            }
        }
    }
    begun.len() as u64
}
