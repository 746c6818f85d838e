//! The server dies, or the connection: it is waited for, and work goes on where it stopped.

use crate::{
    events::{Event, SCENARIOS, made_up, pipelines, subject_of},
    process::{Run, Running, all_contents, database, folder_with_customers},
    removed::{STREAM, Setup},
    server::Client,
    wait_until,
};
use async_nats::jetstream::stream::Config;
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use weir_tests::{nats::NatsServer, scratch, seed};

const EVENTS: usize = 20_000;

#[test]
fn a_server_that_is_killed_is_waited_for() {
    let mut server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_insurance();
    let scratch = scratch();
    let folder = folder_with_customers(scratch.path(), "cut");
    let events = seed::with_seed(|random| made_up(random, EVENTS));
    let (first, rest) = events.split_at(EVENTS / 2);
    client.publish(first);

    let mut running = Run::new(&folder, &server.url(), pipelines()).start();
    wait_for_start(&mut running);
    drop(client);
    server.kill();
    running.wait_for_word("lost the connection to NATS");
    server.restart();
    running.wait_for_word("again");
    let client = Client::connect(&server.url());
    client.publish(rest);
    wait_for_all(&mut running, &folder, &events);
    let outcome = running.interrupt().ends_with(0);

    let count = |text: &str| outcome.stderr.matches(text).count();
    let said = &outcome.stderr;
    assert_eq!(count("lost the connection to NATS"), 1, "said once:\n{said}");
    assert_eq!(count("connected to NATS"), 1, "said once:\n{said}");
    // Each pipeline may say once why its own reading stopped.
    assert!(count("trying again") <= SCENARIOS.len(), "said once:\n{said}");
    check_against_straight_run(scratch.path(), &folder, &server.url());
}

#[test]
fn a_connection_that_is_cut_is_made_again() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_insurance();
    let scratch = scratch();
    let folder = folder_with_customers(scratch.path(), "cut");
    let proxy = Proxy::start(&server.url());
    seed::with_seed(|random| {
        let events = made_up(random, EVENTS);
        let mut running = Run::new(&folder, &proxy.url, pipelines()).start();
        wait_for_start(&mut running);
        let mut published = 0;
        for (number, cut) in random.cuts(4, events.len()).into_iter().enumerate() {
            client.publish(&events[published..cut]);
            published = cut;
            proxy.cut();
            // Otherwise several cuts are one.
            let again = "connected to NATS";
            wait_until(again, || running.said().matches(again).count() > number);
        }
        client.publish(&events[published..]);
        wait_for_all(&mut running, &folder, &events);
        running.interrupt().ends_with(0);
    });
    check_against_straight_run(scratch.path(), &folder, &server.url());
}

#[test]
fn what_was_on_its_way_when_the_connection_was_cut_comes_again() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_insurance();
    let scratch = scratch();
    let folder = folder_with_customers(scratch.path(), "cut");
    let proxy = Proxy::start(&server.url());
    let events = seed::with_seed(|random| made_up(random, 3_000));
    let mut parts = events.chunks(1_000);
    let mut part = || parts.next().expect("there are three parts");
    let mut running = Run::new(&folder, &proxy.url, pipelines()).start();
    wait_for_start(&mut running);

    // The first messages that a consumer ever delivers, with others after them.
    lose(&proxy, &client, part());
    client.publish(part());
    wait_for_all(&mut running, &folder, &events[..2_000]);
    // The last ones of the stream: nothing comes after them that would show the gap.
    lose(&proxy, &client, part());
    wait_for_all(&mut running, &folder, &events);
    running.interrupt().ends_with(0);
    check_against_straight_run(scratch.path(), &folder, &server.url());
}

#[test]
fn what_was_lost_on_its_way_and_is_removed_meanwhile_ends_a_run() {
    let setup = Setup::over(Config::default());
    let proxy = Proxy::start(&setup.server.url());
    let last = setup.publish(0..3);
    let mut running = setup.run_over(&proxy.url).start();
    running.wait_for_position(&setup.database(), "keeper", last);
    // It keeps up, and has said so.
    let last = setup.publish_others(1);
    wait_until("the scanned position", || setup.scanned() == last);
    proxy.swallow(true);
    let last = setup.publish(3..8);
    wait_until("delivery into nothing", || {
        let consumers = setup.client.consumers_of(STREAM, "keeper");
        consumers[0].delivered.stream_sequence == last
    });
    setup.client.purge_stream_below(STREAM, last + 1);
    setup.publish_others(1);
    proxy.cut();
    proxy.swallow(false);
    running.end().ends_with(1).says("gone");
    assert_eq!(setup.rows(), [0, 1, 2]);
}

/// Publishes events that the server delivers and Weir never sees, and cuts the connection.
#[track_caller]
fn lose(proxy: &Proxy, client: &Client, events: &[Event]) {
    proxy.swallow(true);
    let last = client.publish(events);
    for scenario in SCENARIOS {
        let after = events
            .iter()
            .rev()
            .take_while(|(subject, _)| *subject != subject_of(scenario))
            .count();
        let last = last - after as u64;
        wait_until("delivery into nothing", || {
            client.consumer(scenario).delivered.stream_sequence == last
        });
    }
    proxy.cut();
    proxy.swallow(false);
}

/// Waits until all pipelines run. A server that goes away before is an error.
#[track_caller]
fn wait_for_start(running: &mut Running) {
    for scenario in SCENARIOS {
        running.wait_for_word(&format!("{scenario}: stream INSURANCE"));
    }
}

/// Waits until all pipelines have committed the last event of theirs.
#[track_caller]
pub(crate) fn wait_for_all(running: &mut Running, folder: &Path, events: &[Event]) {
    for scenario in SCENARIOS {
        let last = events.iter().rposition(|(subject, _)| *subject == subject_of(scenario));
        let last = last.map_or(0, |index| index as u64 + 1);
        running.wait_for_position(&database(folder, scenario), scenario, last);
    }
}

/// Checks that the databases in `folder` hold what a run leaves that nothing happens to.
#[track_caller]
pub(crate) fn check_against_straight_run(scratch: &Path, folder: &Path, url: &str) {
    let straight = folder_with_customers(scratch, "straight");
    Run::new(&straight, url, pipelines()).catch_up().ends_with(0);
    let (found, expected) = (all_contents(folder), all_contents(&straight));
    for scenario in SCENARIOS {
        let (found, expected) = (&found[scenario], &expected[scenario]);
        assert_eq!(
            (found.counts, found.position),
            (expected.counts, expected.position),
            "{scenario}: counts and position"
        );
        assert!(expected.counts.applied > 0, "{scenario}: the test is about something");
        assert!(
            found == expected,
            "{scenario}: tables and dead letters are those of a straight run"
        );
    }
}

/// Stands between Weir and the server, so that a connection can be cut.
pub(crate) struct Proxy {
    pub(crate) url: String,
    open: Arc<Mutex<Vec<TcpStream>>>,
    /// Whether what the server says is lost.
    swallows: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) fn start(server: &str) -> Self {
        let server = server.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let url = format!("nats://{}", listener.local_addr().expect("the port is known"));
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let swallows: Arc<AtomicBool> = Arc::default();
        let (kept, swallowing) = (open.clone(), swallows.clone());
        // Ends with the process.
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(server) = TcpStream::connect(&server) else {
                    continue;
                };
                let never = Arc::default();
                carry(&client, &server, &never);
                carry(&server, &client, &swallowing);
                kept.lock().expect("nobody panicked").extend([client, server]);
            }
        });
        Self { url, open, swallows }
    }

    /// Whether what the server says from now on is lost.
    pub(crate) fn swallow(&self, swallows: bool) {
        self.swallows.store(swallows, Ordering::SeqCst);
    }

    /// Cuts every connection; new ones are let through.
    pub(crate) fn cut(&self) {
        for stream in self.open.lock().expect("nobody panicked").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Carries bytes on a thread of its own, until one side is closed.
fn carry(from: &TcpStream, to: &TcpStream, swallows: &Arc<AtomicBool>) {
    let clone = |stream: &TcpStream| stream.try_clone().expect("a socket can be shared");
    let (mut from, mut to, swallows) = (clone(from), clone(to), swallows.clone());
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if !swallows.load(Ordering::SeqCst) && to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
