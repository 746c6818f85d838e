//! Messages that a stream removes: before they were read, a run ends; after that, or where they are others', it goes on.

use crate::{
    events::Event,
    process::{Run, Running, position},
    server::Client,
    wait_until,
};
use async_nats::jetstream::stream::Config;
use std::{fs, path::PathBuf};
use tempfile::TempDir;
use weir_tests::{nats::NatsServer, scratch, table::query};

pub(crate) const STREAM: &str = "G";

/// The pipeline's subject, and somebody else's.
const OURS: &str = "g.a";
const OTHERS: &str = "g.b";

/// More than a source asks for at once, so that the server waits with some of them for a process that is stopped.
const MANY: u64 = 8_000;

/// How often messages come and go at once, and how many.
const ROUNDS: u64 = 60;
const BURST: u64 = 20;

/// An event of the pipeline.
fn ours(k: u64) -> Event {
    (OURS, format!("{{\"k\":{k}}}").into_bytes())
}

/// A pipeline that keeps what it reads, over a stream that holds other subjects too.
pub(crate) struct Setup {
    pub(crate) server: NatsServer,
    pub(crate) client: Client,
    folder: TempDir,
}

impl Setup {
    pub(crate) fn over(config: Config) -> Self {
        let server = NatsServer::start();
        let client = Client::connect(&server.url());
        client.make_with(Config {
            name: STREAM.to_owned(),
            subjects: vec!["g.>".to_owned()],
            ..config
        });
        let setup = Self {
            server,
            client,
            folder: scratch(),
        };
        setup.reads(OURS, "");
        setup
    }

    /// The pipeline reads this subject; `more` are further keys of its source.
    pub(crate) fn reads(&self, subject: &str, more: &str) {
        self.reads_of(STREAM, subject, more);
    }

    /// The pipeline reads this subject of this stream.
    pub(crate) fn reads_of(&self, stream: &str, subject: &str, more: &str) {
        let text = format!(
            "name = \"keeper\"\n[source]\nstream = \"{stream}\"\nsubject = \"{subject}\"\n{more}\n\
             columns = {{ k = \"int\" }}\n[[sink]]\ntable = \"rows\"\n"
        );
        fs::write(self.folder.path().join("keeper.toml"), text).expect("a file can be written");
    }

    pub(crate) fn run(&self) -> Run {
        Run::new(self.folder.path(), &self.server.url(), ["keeper.toml"])
    }

    /// A run over this way to the server.
    pub(crate) fn run_over(&self, url: &str) -> Run {
        Run::new(self.folder.path(), url, ["keeper.toml"])
    }

    pub(crate) fn replay(&self) -> Run {
        let pipeline = self.folder.path().join("keeper.toml");
        Run::replay(self.folder.path(), &self.server.url(), &pipeline, "past.db")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("keeper.db")
    }

    pub(crate) fn rows(&self) -> Vec<u64> {
        let rows = query(&self.database(), "SELECT CAST(k AS TEXT) FROM rows ORDER BY rowid");
        rows.iter().map(|row| row.parse().expect("a row is a number")).collect()
    }

    pub(crate) fn scanned(&self) -> u64 {
        let scanned = query(&self.database(), "SELECT CAST(scanned AS TEXT) FROM weir_pipeline");
        scanned
            .first()
            .map_or(0, |scanned| scanned.parse().expect("it is a number"))
    }

    /// Publishes these events of the pipeline; gives the sequence of the last.
    pub(crate) fn publish(&self, events: std::ops::Range<u64>) -> u64 {
        self.client.publish(&events.map(ours).collect::<Vec<_>>())
    }

    /// Publishes messages of somebody else; gives the sequence of the last.
    pub(crate) fn publish_others(&self, count: usize) -> u64 {
        self.client.publish(&vec![(OTHERS, b"{}".to_vec()); count])
    }

    /// Starts a run that has read everything and keeps up.
    pub(crate) fn keeping_up(&self, last: u64) -> Running {
        let mut running = self.run().start();
        running.wait_for_position(&self.database(), "keeper", last);
        running
    }
}

/// Stops a run while messages come, and lets it go on when some of them are gone.
#[track_caller]
fn check_unread_messages_are_missed(name: &str, config: Config, remove: impl FnOnce(&Setup)) {
    let setup = Setup::over(config);
    setup.publish(0..10);
    let mut running = setup.keeping_up(10);
    running.send(libc::SIGSTOP);
    setup.publish(10..MANY);
    remove(&setup);
    running.send(libc::SIGCONT);
    setup.publish(MANY..MANY + 3);
    let outcome = running.end().ends_with(1).says("gone").says("--accept-gap once");
    let rows = setup.rows();
    let whole: Vec<u64> = (0..rows.len() as u64).collect();
    assert_eq!(
        rows, whole,
        "{name}: everything before the gap, and nothing behind it\n{}",
        outcome.stderr
    );
    assert!(rows.len() >= 10, "{name}: what was committed stays");

    setup.run().catch_up().ends_with(1).says("gone");
    assert_eq!(setup.rows(), whole, "{name}: a refusal changes nothing");
    setup
        .run()
        .with(["--accept-gap"])
        .catch_up()
        .ends_with(0)
        .says("may have been of subject g.a");
    let rows = setup.rows();
    assert_eq!(rows.last(), Some(&(MANY + 2)), "{name}");
    setup.publish(MANY + 3..MANY + 4);
    setup.run().catch_up().ends_with(0);
    assert_eq!(setup.rows().len(), rows.len() + 1, "{name}: the gap is behind it");
}

#[test]
fn messages_that_a_limit_removes_before_they_were_read_end_a_run() {
    let max_messages = Config {
        max_messages: 50,
        ..Config::default()
    };
    check_unread_messages_are_missed("max_msgs", max_messages, |_| {});
    let max_bytes = Config {
        max_bytes: 5_000,
        ..Config::default()
    };
    check_unread_messages_are_missed("max_bytes", max_bytes, |_| {});
}

#[test]
fn messages_that_a_limit_per_subject_removes_before_they_were_read_end_a_run() {
    let per_subject = Config {
        max_messages_per_subject: 50,
        ..Config::default()
    };
    check_unread_messages_are_missed("max_msgs_per_subject", per_subject.clone(), |_| {});
    // Also where the stream begins with somebody else's message, which stays.
    let setup = Setup::over(per_subject);
    setup.publish_others(1);
    setup.publish(0..10);
    let mut running = setup.keeping_up(11);
    running.send(libc::SIGSTOP);
    setup.publish(10..MANY);
    running.send(libc::SIGCONT);
    running
        .end()
        .ends_with(1)
        .says("were removed before they were read")
        .says("latest_only = true");
}

#[test]
fn messages_that_somebody_purges_or_deletes_before_they_were_read_end_a_run() {
    check_unread_messages_are_missed("purge", Config::default(), |setup| setup.client.purge(STREAM));
    check_unread_messages_are_missed("delete", Config::default(), |setup| {
        setup.client.delete_message(STREAM, MANY - 1);
    });
}

#[test]
fn messages_that_come_and_go_at_once_are_read_or_end_a_run() {
    let setup = Setup::over(Config::default());
    let last = setup.publish(0..1);
    let mut running = setup.keeping_up(last);
    for round in 0..ROUNDS {
        let first = 1 + round * BURST;
        let events: Vec<Event> = (first..first + BURST).map(ours).collect();
        let last = setup.client.publish_and_purge(STREAM, &events);
        wait_until("the scanned position", || {
            running.has_ended() || setup.scanned() >= last
        });
        if running.has_ended() {
            running.end().ends_with(1).says("gone").says("--accept-gap once");
            return;
        }
        let read = setup.rows();
        assert_eq!(
            read.len() as u64,
            first + BURST,
            "round {round}: {:?} are the last that were read",
            read.last()
        );
    }
    running.interrupt().ends_with(0);
}

#[test]
fn a_message_that_is_deleted_between_two_runs_ends_the_next() {
    let setup = Setup::over(Config::default());
    setup.publish(0..3);
    setup.run().catch_up().ends_with(0);
    setup.publish(3..6);
    setup.client.delete_message(STREAM, 5);
    setup
        .run()
        .catch_up()
        .ends_with(1)
        .says("from sequence 5 on were removed before they were read");
    setup.run().with(["--accept-gap"]).catch_up().ends_with(0);
    assert_eq!(setup.rows(), [0, 1, 2, 3, 5]);
    // What was missing when a database began is no loss of its.
    fs::remove_file(setup.database()).expect("the database can be removed");
    setup.run().catch_up().ends_with(0);
    assert_eq!(setup.rows(), [0, 1, 2, 3, 5]);
}

/// A stream that keeps five messages.
fn short() -> Config {
    Config {
        max_messages: 5,
        ..Config::default()
    }
}

#[test]
fn messages_of_others_that_a_limit_removes_are_no_gap_to_a_run_that_keeps_up() {
    let mut setup = Setup::over(short());
    let last = setup.publish(0..1);
    let mut running = setup.keeping_up(last);
    // Behind a quiet subject.
    let last = setup.publish_others(20);
    wait_until("the scanned position", || {
        running.check_running();
        setup.scanned() == last
    });
    let last = setup.publish(1..2);
    running.wait_for_position(&setup.database(), "keeper", last);
    // Where the consumer is made anew.
    let last = setup.publish_others(20);
    wait_until("the scanned position", || {
        running.check_running();
        setup.scanned() == last
    });
    let [consumer] = &setup.client.consumers_of(STREAM, "keeper")[..] else {
        panic!("there is one consumer")
    };
    setup.client.delete_consumer_of(STREAM, &consumer.name);
    let last = setup.publish(2..3);
    running.wait_for_position(&setup.database(), "keeper", last);
    // One that removes nothing unread, to see that it keeps up again.
    let last = setup.publish_others(1);
    wait_until("the scanned position", || {
        running.check_running();
        setup.scanned() == last
    });
    // Where the server goes away.
    let last = setup.publish_others(20);
    wait_until("the scanned position", || {
        running.check_running();
        setup.scanned() == last
    });
    setup.server.kill();
    running.wait_for_word("lost the connection");
    setup.server.restart();
    setup.client = Client::connect(&setup.server.url());
    let last = setup.publish(3..4);
    running.wait_for_position(&setup.database(), "keeper", last);
    assert_eq!(setup.rows(), [0, 1, 2, 3]);
    // One that removes nothing unread, to see that it keeps up again.
    let last = setup.publish_others(1);
    wait_until("the scanned position", || {
        running.check_running();
        setup.scanned() == last
    });
    // And where it is started anew, once it is stored how far it has looked.
    let last = setup.publish_others(20);
    wait_until("the scanned position", || {
        running.check_running();
        setup.scanned() == last
    });
    running.interrupt().ends_with(0);
    setup.run().catch_up().ends_with(0);
    setup.publish(4..5);
    setup.run().catch_up().ends_with(0);
    assert_eq!(setup.rows(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_consumer_that_somebody_deletes_while_others_roll_over_is_made_anew() {
    let setup = Setup::over(short());
    let last = setup.publish(0..1);
    let mut running = setup.keeping_up(last);
    let [consumer] = &setup.client.consumers_of(STREAM, "keeper")[..] else {
        panic!("there is one consumer")
    };
    setup.publish_others(20);
    setup.client.delete_consumer_of(STREAM, &consumer.name);
    let last = setup.publish(1..2);
    running.wait_for_position(&setup.database(), "keeper", last);
    running.interrupt().ends_with(0);
    assert_eq!(setup.rows(), [0, 1]);
}

#[test]
fn what_may_have_been_removed_between_two_runs_is_accepted_once() {
    let setup = Setup::over(short());
    setup.publish(0..1);
    setup.run().catch_up().ends_with(0);
    // One of ours is among what nobody saw.
    setup.publish(1..2);
    setup.publish_others(20);
    setup
        .run()
        .catch_up()
        .ends_with(1)
        .says("begins at sequence 18, but the database ends at 1")
        .says("messages of subject g.a may have been among it");
    setup
        .run()
        .with(["--accept-gap"])
        .catch_up()
        .ends_with(0)
        .says("of sequences 2 to 17 messages are gone");
    setup.run().catch_up().ends_with(0);
    setup.publish(2..3);
    setup.run().catch_up().ends_with(0);
    assert_eq!(setup.rows(), [0, 2]);
}

#[test]
fn a_stream_of_latest_messages_is_taken_as_it_is() {
    let latest = Config {
        max_messages_per_subject: 1,
        ..Config::default()
    };
    let setup = Setup::over(latest);
    setup.publish(0..2);
    setup
        .run()
        .catch_up()
        .ends_with(2)
        .says("say `latest_only = true` in [source]");
    setup.reads(OURS, "latest_only = true");
    let mut running = setup.keeping_up(2);
    running.send(libc::SIGSTOP);
    let last = setup.publish(2..MANY);
    running.send(libc::SIGCONT);
    running.wait_for_position(&setup.database(), "keeper", last);
    running.interrupt().ends_with(0);
    setup.publish(MANY..MANY + 9);
    setup.run().catch_up().ends_with(0);
    assert_eq!(setup.rows().last(), Some(&(MANY + 8)));
    setup.replay().start().end().ends_with(0);

    let setup = Setup::over(Config::default());
    setup.reads(OURS, "latest_only = true");
    setup
        .run()
        .catch_up()
        .ends_with(2)
        .says("keeps all messages of a subject");
}

#[test]
fn a_deleted_key_deletes_its_row() {
    let setup = Setup::over(Config {
        max_messages_per_subject: 1,
        ..Config::default()
    });
    let write = |tombstones: &str| {
        let text = format!(
            "name = \"keeper\"\n[source]\nstream = \"{STREAM}\"\nsubject = \"g.*\"\nlatest_only = true\n{tombstones}\n\
             columns = {{ key = \"text\", k = \"int\", gone = \"boolean\" }}\n\
             [[step]]\nname = \"last\"\nlast_value = {{ key = [\"key\"], deleted = \"gone\" }}\n\
             [[sink]]\ntable = \"rows\"\nprimary_key = [\"key\"]\n"
        );
        fs::write(setup.folder.path().join("keeper.toml"), text).expect("a file can be written");
    };
    let rows = || query(&setup.database(), "SELECT key || ' ' || k FROM rows ORDER BY key");
    let put = |subject: &'static str, key: &str, k: u32| {
        setup
            .client
            .publish(&[(subject, format!("{{\"key\":\"{key}\",\"k\":{k}}}").into_bytes())]);
    };
    write("tombstones = { column = \"gone\", key = { key = 2 } }");
    put("g.a", "a", 1);
    put("g.b", "b", 2);
    setup.run().catch_up().ends_with(0);
    assert_eq!(rows(), ["a 1", "b 2"]);
    setup.client.publish_with_header("g.a", ("KV-Operation", "DEL"), "");
    put("g.c", "c", 3);
    setup.run().catch_up().ends_with(0);
    assert_eq!(rows(), ["b 2", "c 3"]);
    put("g.a", "a", 4);
    setup.client.publish_with_header("g.b", ("KV-Operation", "PURGE"), "");
    setup
        .client
        .publish_with_header("g.c", ("Nats-Marker-Reason", "MaxAge"), "");
    // A key that is deleted without ever having had a row.
    setup.client.publish_with_header("g.d", ("KV-Operation", "DEL"), "");
    setup.run().catch_up().ends_with(0);
    assert_eq!(rows(), ["a 4"]);

    // Without a word on what becomes of it, it is not passed over.
    write("");
    setup.client.publish_with_header("g.a", ("KV-Operation", "DEL"), "");
    setup.run().catch_up().ends_with(0);
    let letters = query(&setup.database(), "SELECT reason FROM weir_dead_letter");
    assert_eq!(
        letters,
        ["subject g.a was deleted; say what becomes of that with key `tombstones` in [source]"]
    );
}

#[test]
fn a_run_until_caught_up_ends_when_what_it_waits_for_is_purged() {
    let setup = Setup::over(Config::default());
    let last = setup.publish(0..60_000);
    let mut running = setup.run().with(["--until-caught-up"]).start();
    wait_until("the first rows", || position(&setup.database(), "keeper") > 0);
    running.send(libc::SIGSTOP);
    setup.client.purge(STREAM);
    running.send(libc::SIGCONT);
    let outcome = running.end();
    let rows = setup.rows().len() as u64;
    match rows == last {
        // It was done by then.
        true => drop(outcome.ends_with(0)),
        false => drop(outcome.ends_with(1).says("gone")),
    }
    assert_eq!(setup.rows(), (0..rows).collect::<Vec<_>>());
}

#[test]
fn a_replay_by_time_over_a_stream_that_was_emptied_is_refused() {
    let setup = Setup::over(Config::default());
    setup.publish(0..3);
    setup.client.purge(STREAM);
    let refused = setup.replay().with(["--from", "2026-01-01T00:00:00Z"]).start().end();
    refused.ends_with(2).says("its messages up to sequence 3 are gone");
    setup.replay().start().end().ends_with(0);
}
