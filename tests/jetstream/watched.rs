//! The consumer of a run, when somebody else lays hands on it or the server stays away; and what tells ticks from events.

use crate::{
    process::{Run, weir},
    removed::{STREAM, Setup},
    server::Client,
    wait_until,
};
use async_nats::jetstream::{
    consumer::pull,
    stream::{Config, Source},
};
use std::fs;
use weir_tests::{nats::NatsServer, scratch, table::query};

fn consumer(setup: &Setup) -> String {
    let [one] = &setup.client.consumers_of(STREAM, "keeper")[..] else {
        panic!("there is one consumer")
    };
    one.name.clone()
}

#[test]
fn a_consumer_that_somebody_pauses_goes_on() {
    let setup = Setup::over(Config::default());
    let last = setup.publish(0..3);
    let mut running = setup.keeping_up(last);
    setup.client.pause_consumer(STREAM, &consumer(&setup));
    let last = setup.publish(3..60);
    running.wait_for_position(&setup.database(), "keeper", last);
    running.wait_for_word("was paused by somebody until 2");
    running.interrupt().ends_with(0);
    // Also where it was paused while nobody ran.
    setup.client.pause_consumer(STREAM, &consumer(&setup));
    setup.publish(60..70);
    setup.run().catch_up().ends_with(0).says("was paused by somebody");
    assert_eq!(setup.rows(), (0..70).collect::<Vec<_>>());
}

#[test]
fn what_goes_while_a_consumer_is_paused_was_removed_before_it_was_read() {
    let setup = Setup::over(Config::default());
    let last = setup.publish(0..3);
    let running = setup.keeping_up(last);
    // It keeps up, and has said so.
    let last = setup.publish_others(1);
    wait_until("the scanned position", || setup.scanned() == last);
    setup.client.pause_consumer(STREAM, &consumer(&setup));
    let last = setup.publish(3..8);
    setup.client.purge_stream_below(STREAM, last + 1);
    setup.publish_others(1);
    running.end().ends_with(1).says("was paused by somebody").says("gone");
    assert_eq!(setup.rows(), [0, 1, 2]);
}

#[test]
fn what_goes_while_a_consumer_is_paused_for_a_moment_is_noticed() {
    let setup = Setup::over(Config::default());
    let last = setup.publish(0..3);
    let running = setup.keeping_up(last);
    let last = setup.publish_others(1);
    wait_until("the scanned position", || setup.scanned() == last);
    let name = consumer(&setup);
    setup.client.pause_consumer(STREAM, &name);
    let last = setup.publish(3..8);
    setup.client.purge_stream_below(STREAM, last + 1);
    setup.client.resume_consumer(STREAM, &name);
    running.end().ends_with(1).says("gone");
    assert_eq!(setup.rows(), [0, 1, 2]);
}

#[test]
fn payloads_that_were_held_back_for_a_while_are_read_all_the_same() {
    let setup = Setup::over(Config::default());
    let last = setup.publish(0..3);
    let mut running = setup.keeping_up(last);
    running.send(libc::SIGSTOP);
    let name = consumer(&setup);
    setup
        .client
        .edit_consumer(STREAM, &name, |config| config.headers_only = true);
    let last = setup.publish(3..8);
    setup
        .client
        .edit_consumer(STREAM, &name, |config| config.headers_only = false);
    running.send(libc::SIGCONT);
    running.wait_for_position(&setup.database(), "keeper", last);
    running.interrupt().ends_with(0);
    assert_eq!(setup.rows(), (0..8).collect::<Vec<_>>());
}

#[test]
fn a_message_that_somebody_else_takes_from_the_consumer_is_read() {
    let setup = Setup::over(Config::default());
    let last = setup.publish(0..3);
    let mut running = setup.keeping_up(last);
    // Of two who ask the server gives to one after the other. Nothing comes behind the one that is taken.
    let mut taken = setup.client.ask_consumer(STREAM, &consumer(&setup));
    let mut events = 3;
    let last = loop {
        let last = setup.publish(events..events + 1);
        events += 1;
        if setup.client.has_heard(&mut taken) {
            break last;
        }
    };
    running.wait_for_position(&setup.database(), "keeper", last);
    running.interrupt().ends_with(0);
    assert_eq!(setup.rows(), (0..events).collect::<Vec<_>>());
}

#[test]
fn what_the_filter_of_a_mirror_leaves_out_is_no_gap() {
    let setup = Setup::over(Config::default());
    setup.client.make_with(Config {
        name: "MIRROR".to_owned(),
        mirror: Some(Source {
            name: STREAM.to_owned(),
            filter_subject: Some("g.a".to_owned()),
            ..Source::default()
        }),
        ..Config::default()
    });
    setup.reads_of("MIRROR", "g.a", "");
    setup.publish(0..3);
    setup.publish_others(2);
    let last = setup.publish(3..6);
    let mut running = setup.keeping_up(last);
    setup.publish_others(2);
    let last = setup.publish(6..7);
    running.wait_for_position(&setup.database(), "keeper", last);
    running.interrupt().ends_with(0);
    setup.publish_others(2);
    setup.publish(7..8);
    setup.run().catch_up().ends_with(0);
    assert_eq!(setup.rows(), (0..8).collect::<Vec<_>>());
}

/// Has somebody change the consumer under a run, and between two.
#[track_caller]
fn check_edit_is_undone(edit: fn(&mut pull::Config)) {
    let setup = Setup::over(Config::default());
    let last = setup.publish(0..3);
    let mut running = setup.keeping_up(last);
    setup.client.edit_consumer(STREAM, &consumer(&setup), edit);
    let mut last = 0;
    for k in 3..6 {
        last = setup.publish(k..k + 1);
        setup.publish_others(1);
    }
    running.wait_for_position(&setup.database(), "keeper", last);
    running.wait_for_word("was changed by somebody");
    running.interrupt().ends_with(0);
    setup.client.edit_consumer(STREAM, &consumer(&setup), edit);
    setup.publish(6..9);
    setup.run().catch_up().ends_with(0).says("was changed by somebody");
    assert_eq!(setup.rows(), (0..9).collect::<Vec<_>>());
}

#[test]
fn a_consumer_whose_filter_somebody_changes_is_made_anew() {
    check_edit_is_undone(|config| config.filter_subject = "g.b".to_owned());
}

#[test]
fn a_consumer_that_is_to_give_headers_alone_is_made_anew() {
    check_edit_is_undone(|config| config.headers_only = true);
}

#[test]
fn a_consumer_that_passes_over_messages_is_made_anew_where_it_did() {
    let setup = Setup::over(Config::default());
    setup.reads("g.>", "");
    let last = setup.publish(0..3);
    let mut running = setup.keeping_up(last);
    let edit = |config: &mut pull::Config| config.filter_subject = "g.a".to_owned();
    setup.client.edit_consumer(STREAM, &consumer(&setup), edit);
    setup.client.publish(&[("g.b", b"{\"k\":3}".to_vec())]);
    let last = setup.publish(4..6);
    running.wait_for_position(&setup.database(), "keeper", last);
    running.interrupt().ends_with(0);
    assert_eq!(setup.rows(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_message_that_only_looks_as_if_it_lacked_its_payload_is_blank() {
    let setup = Setup::over(Config::default());
    setup.client.publish_with_header("g.a", ("Nats-Msg-Size", "9"), "");
    setup.publish(0..2);
    setup.run().catch_up().ends_with(0);
    assert_eq!(setup.rows(), [0, 1]);
}

#[test]
fn lag_is_unknown_while_the_server_is_away_and_a_stop_does_not_wait_for_it() {
    let mut setup = Setup::over(Config::default());
    let last = setup.publish(0..3);
    let mut running = setup.run().with(["--drain-max", "2 s"]).start();
    running.wait_for_position(&setup.database(), "keeper", last);
    setup.server.kill();
    running.wait_for_word("lost the connection");
    running.wait_for_word("lag unknown since");
    // It would say that it was not drained.
    running.interrupt().ends_with(0);
}

#[test]
fn a_stop_does_not_wait_for_a_server_that_hangs() {
    let setup = Setup::over(Config::default());
    let last = setup.publish(0..3);
    let mut running = setup.run().with(["--drain-max", "2 s"]).start();
    running.wait_for_position(&setup.database(), "keeper", last);
    setup.server.hang();
    running.wait_for_word("lag unknown since");
    // It would say that it was not drained.
    running.interrupt().ends_with(0);
}

#[test]
fn lag_counts_what_is_not_committed() {
    let setup = Setup::over(Config::default());
    let last = setup.publish(0..3);
    let mut running = setup.keeping_up(last);
    let writer = rusqlite::Connection::open(setup.database()).expect("the database can be opened");
    writer.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
    setup.publish(3..60);
    let status = || {
        weir()
            .run(["status", "--nats", &setup.server.url()])
            .ends_with(0)
            .stdout
    };
    wait_until("the lag", || status().contains("lag 57"));
    writer.execute_batch("ROLLBACK").expect("a transaction can be ended");
    running.wait_for_position(&setup.database(), "keeper", 60);
    wait_until("no lag", || status().contains("lag 0"));
    running.interrupt().ends_with(0);
}

#[test]
fn a_message_with_the_header_of_a_tick_is_an_event_unless_ticks_are_asked_for_and_it_is_empty() {
    let setup = Setup::over(Config::default());
    setup.publish(0..1);
    setup.client.publish_with_header("g.a", ("Weir-Tick", "1"), "{\"k\":1}");
    setup.client.publish_with_header("g.a", ("Weir-Tick", "1"), "");
    setup.publish(2..3);
    setup.run().catch_up().ends_with(0);
    assert_eq!(setup.rows(), [0, 1, 2]);
    let counts = "SELECT concat_ws('|', applied, blank, events) FROM weir_pipeline";
    assert_eq!(query(&setup.database(), counts), ["3|1|4"]);
}

#[test]
fn hosts_that_hear_the_same_silence_publish_one_tick() {
    const TICKING: &str = r#"
        name = "ticking"
        event_time = { column = "at", ticks = { every = "100 ms" } }
        source = { stream = "G", subject = "g.a", columns = { at = "int" } }
        [[sink]]
        table = "rows"
    "#;
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_stream(STREAM, &["g.>"]);
    let folder = scratch();
    fs::write(folder.path().join("ticking.toml"), TICKING).expect("a file can be written");
    client.publish(&[("g.a", b"{\"at\":1}".to_vec())]);
    let host = |number: u32| {
        let database = format!("{number}.db");
        let run = Run::new(folder.path(), &server.url(), ["ticking.toml"]);
        run.with(["--database", &database]).start()
    };
    let hosts = [1, 2, 3, 4].map(host);
    wait_until("some ticks", || client.messages(STREAM, "g.a").len() > 20);
    for host in hosts {
        host.interrupt().ends_with(0);
    }
    // Each stands for the silence after the message before it.
    for (before, message) in (1..).zip(client.messages(STREAM, "g.a").iter().skip(1)) {
        assert_eq!(message.id, format!("weir-tick g.a after {before}"));
    }
}
