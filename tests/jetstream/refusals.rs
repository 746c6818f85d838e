//! Where going on would lose something, or is impossible: a clear word, and an exit code.

use crate::{
    events::{Event, case, of_case},
    process::{Run, position},
    server::{Client, INSURANCE, SUBJECTS},
};
use std::path::PathBuf;
use tempfile::TempDir;
use weir_tests::{
    nats::NatsServer,
    pipeline, scratch,
    table::{Contents, contents},
};

pub(crate) const SCENARIO: &str = "last-page";

/// One pipeline over one stream.
pub(crate) struct Setup {
    pub(crate) server: NatsServer,
    pub(crate) client: Client,
    pub(crate) folder: TempDir,
    pub(crate) events: Vec<Event>,
}

impl Setup {
    fn new() -> Self {
        Self::at(NatsServer::start())
    }

    pub(crate) fn at(server: NatsServer) -> Self {
        let client = Client::connect(&server.url());
        client.make_insurance();
        Self {
            server,
            client,
            folder: scratch(),
            events: of_case(&case("last-page/s3_2000")),
        }
    }

    pub(crate) fn run(&self) -> Run {
        Run::new(self.folder.path(), &self.server.url(), [pipeline(SCENARIO)])
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("last-page.db")
    }

    pub(crate) fn contents(&self) -> Contents {
        contents(&self.database())
    }
}

#[test]
fn a_missing_stream_is_answered_with_the_command_that_makes_it() {
    let server = NatsServer::start();
    let folder = scratch();
    let outcome = Run::new(folder.path(), &server.url(), [pipeline(SCENARIO)])
        .catch_up()
        .ends_with(2);
    outcome.says("nats stream add INSURANCE --subjects 'edw_zy_evt_bury_point_log'");
}

#[test]
fn a_missing_server_is_named_without_credentials() {
    let folder = scratch();
    // Nobody listens on port 1.
    let url = "nats://somebody:secret@127.0.0.1:1";
    let outcome = Run::new(folder.path(), url, [pipeline(SCENARIO)])
        .catch_up()
        .ends_with(1);
    let outcome = outcome.says("cannot connect to NATS at nats://127.0.0.1:1");
    assert!(
        !outcome.stderr.contains("somebody") && !outcome.stderr.contains("secret"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_stream_purged_past_the_position_is_refused_unless_the_gap_is_accepted() {
    let setup = Setup::new();
    let (first, rest) = setup.events.split_at(500);
    setup.client.publish(first);
    setup.run().catch_up().ends_with(0);
    let before = setup.contents();
    setup.client.publish(rest);
    setup.client.purge_below(701);

    setup
        .run()
        .catch_up()
        .ends_with(1)
        .says("--accept-gap")
        .says("begins at sequence 701");
    assert_eq!(setup.contents(), before, "a refusal changes nothing");

    setup.run().with(["--accept-gap"]).catch_up().ends_with(0);
    let after = setup.contents();
    assert_eq!(after.position, setup.events.len() as u64);
    assert_eq!(
        after.counts.events,
        setup.events.len() as u64 - 200,
        "200 messages are gone"
    );
    setup.run().catch_up().ends_with(0);
    assert_eq!(setup.contents(), after, "the gap is behind it");
}

#[test]
fn a_purge_up_to_the_position_is_no_gap() {
    let setup = Setup::new();
    let (first, rest) = setup.events.split_at(500);
    setup.client.publish(first);
    setup.run().catch_up().ends_with(0);
    setup.client.publish(rest);
    setup.client.purge_below(501);
    setup.run().catch_up().ends_with(0);
    assert_eq!(setup.contents().counts.events, setup.events.len() as u64);
}

#[test]
fn a_stream_made_anew_is_another_one() {
    let setup = Setup::new();
    setup.client.publish(&setup.events);
    setup.run().catch_up().ends_with(0);
    let before = setup.contents();
    setup.client.delete_stream(INSURANCE);
    setup.client.make_insurance();
    setup.client.publish(&setup.events);
    setup
        .run()
        .catch_up()
        .ends_with(1)
        .says("stream INSURANCE made at")
        .says("--database");
    assert_eq!(setup.contents(), before, "a refusal changes nothing");
}

#[test]
fn a_stream_deleted_under_a_run_ends_it() {
    let setup = Setup::new();
    let last = setup.client.publish(&setup.events);
    let mut running = setup.run().start();
    running.wait_for_position(&setup.database(), SCENARIO, last);
    setup.client.delete_stream(INSURANCE);
    let outcome = running.end().says("INSURANCE");
    assert!(outcome.code == 1 || outcome.code == 2, "{outcome:?}");
    assert_eq!(position(&setup.database(), SCENARIO), last, "what was committed stays");
}

#[test]
fn a_database_belongs_to_one_process() {
    let setup = Setup::new();
    let last = setup.client.publish(&setup.events);
    let mut first = setup.run().start();
    first.wait_for_word("from sequence");
    setup
        .run()
        .catch_up()
        .ends_with(1)
        .says("last-page.db is in use by another weir");
    first.wait_for_position(&setup.database(), SCENARIO, last);
    first.interrupt().ends_with(0);
    setup.client.check_acknowledged(SCENARIO, last);
}

#[test]
fn an_empty_stream_is_caught_up_with() {
    let setup = Setup::new();
    setup.run().catch_up().ends_with(0);
    assert_eq!(setup.contents().counts.events, 0);
    // One that holds messages of others alone, too.
    setup.client.publish(&[(SUBJECTS[0], b"{}".to_vec())]);
    setup.run().catch_up().ends_with(0);
    assert_eq!(setup.contents().counts.events, 0);
}

#[test]
fn pipelines_that_would_feed_each_other_are_not_run_together() {
    let folder = scratch();
    let write = |name: &str, reads: &str, publishes: &str| {
        let text = format!(
            "name = \"{name}\"\n[source]\nstream = \"{}\"\nsubject = \"{reads}\"\ncolumns = {{ n = \"int\" }}\n\
             [[sink]]\nsubject = \"{publishes}\"\n",
            name.to_uppercase()
        );
        std::fs::write(folder.path().join(format!("{name}.toml")), text).expect("a file can be written");
    };
    write("orders", "orders.>", "alerts.orders");
    write("alerts", "alerts.*", "mails.alerts");
    write("mails", "mails.>", "orders.mails");
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    for (stream, subject) in [("ORDERS", "orders.>"), ("ALERTS", "alerts.>"), ("MAILS", "mails.>")] {
        client.make_stream(stream, &[subject]);
    }
    let run = |files: &[&str]| Run::new(folder.path(), &server.url(), files).catch_up();
    run(&["orders.toml", "alerts.toml"]).ends_with(0);
    run(&["orders.toml", "alerts.toml", "mails.toml"]).ends_with(2).says(
        "these pipelines would feed each other for ever: orders publishes to alerts.orders, which alerts reads as alerts.*; \
         alerts publishes to mails.alerts, which mails reads as mails.>; mails publishes to orders.mails, which orders reads \
         as orders.>",
    );
    assert!(!folder.path().join("mails.db").exists(), "nothing was begun");
}
