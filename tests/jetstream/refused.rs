//! Messages that the server refuses: nothing of their subject is stored before them, and they are stored in the end; what
//! it will never take makes way.

use crate::{
    process::{Run, weir},
    server::{ALERTS, Client, Stored},
    wait_until,
};
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use std::{fs, path::PathBuf, time::Duration};
use weir_tests::{nats::NatsServer, scratch, table::query};

const OUT: &str = "OUT";

/// Each event is a message to two subjects.
const PIPELINE: &str = r#"
name = "alerts"
source = { stream = "EVENTS", subject = "events", columns = { k = "int", t = "text" } }
[[sink]]
subject = "out.all"
[[sink]]
subject = "keys.all"
columns = ["k"]
"#;

struct Setup {
    server: NatsServer,
    client: Client,
    folder: tempfile::TempDir,
}

impl Setup {
    fn new(text: &str) -> Self {
        Self::with_subjects(text, &["events"])
    }

    fn with_subjects(text: &str, subjects: &[&str]) -> Self {
        let server = NatsServer::start();
        let client = Client::connect(&server.url());
        client.make_stream("EVENTS", subjects);
        let folder = scratch();
        fs::write(folder.path().join("alerts.toml"), text).expect("the pipeline file can be written");
        Self { server, client, folder }
    }

    fn run(&self) -> Run {
        Run::new(self.folder.path(), &self.server.url(), ["alerts.toml"])
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("alerts.db")
    }

    /// The keys of what waits for a subject.
    fn waiting(&self, subject: &str) -> Vec<String> {
        let waiting = format!(
            "SELECT CAST(json_extract(payload, '$.k') AS TEXT) FROM weir_outbox WHERE subject = '{subject}' ORDER BY id"
        );
        query(&self.database(), &waiting)
    }

    /// The keys of what is stored of a subject.
    fn stored(&self, subject: &str) -> Vec<String> {
        self.stored_in(OUT, subject)
    }

    fn stored_in(&self, stream: &str, subject: &str) -> Vec<String> {
        keys(&self.client.messages(stream, subject))
    }

    fn publish(&self, keys: impl Iterator<Item = usize>, large: &[usize]) -> u64 {
        let event = |k: usize| {
            let text = "y".repeat(if large.contains(&k) { 560 } else { 1 });
            ("events", format!("{{\"k\":{k},\"t\":\"{text}\"}}").into_bytes())
        };
        self.client.publish(&keys.map(event).collect::<Vec<_>>())
    }
}

fn keys(messages: &[Stored]) -> Vec<String> {
    let key = |message: &Stored| {
        let row: serde_json::Value = serde_json::from_str(&message.payload).expect("a row is JSON");
        row["k"].to_string()
    };
    messages.iter().map(key).collect()
}

fn numbers(keys: impl Iterator<Item = usize>) -> Vec<String> {
    keys.map(|k| k.to_string()).collect()
}

/// A stream that takes no large message, or has no room for one.
fn tight(what: &str) -> Config {
    let config = Config {
        name: OUT.to_owned(),
        subjects: vec!["out.>".to_owned()],
        ..Config::default()
    };
    match what {
        "max_msg_size" => Config {
            max_message_size: 250,
            ..config
        },
        _ => Config {
            max_bytes: 700,
            discard: DiscardPolicy::New,
            ..config
        },
    }
}

#[test]
fn what_stands_behind_a_refused_message_waits_for_it() {
    for what in ["max_msg_size", "max_bytes"] {
        for how in ["restart", "kill", "live"] {
            let setup = Setup::new(PIPELINE);
            setup.client.make_with(tight(what));
            setup.client.make_stream("KEYS", &["keys.>"]);
            let mut running = setup.run().start();
            running.wait_for_word("from sequence");
            let last = setup.publish(1..=7, &[2, 5]);
            running.wait_for_position(&setup.database(), "alerts", last);
            running.wait_for_word("messages wait in the outbox: ");
            wait_until("the other subject", || setup.waiting("keys.all").is_empty());
            let case = format!("{what}, {how}");
            assert_eq!(setup.stored("out.all"), ["1"], "{case}");
            assert_eq!(setup.waiting("out.all"), numbers(2..=7), "{case}");
            assert_eq!(
                setup.stored_in("KEYS", "keys.all"),
                numbers(1..=7),
                "{case}: another subject does not wait"
            );
            match how {
                "restart" => drop(running.interrupt().ends_with(0).says("6 wait in the outbox: ")),
                "kill" => running.kill(),
                _ => {}
            }
            setup.client.update(Config {
                max_message_size: -1,
                max_bytes: -1,
                ..tight(what)
            });
            match how {
                "live" => wait_until("an empty outbox", || setup.waiting("out.all").is_empty()),
                _ => drop(setup.run().catch_up().ends_with(0)),
            }
            assert_eq!(setup.stored("out.all"), numbers(1..=7), "{case}: each once, in order");
            assert_eq!(setup.waiting("out.all"), Vec::<String>::new(), "{case}");
        }
    }
}

#[test]
fn a_message_is_forgotten_by_its_own_name_alone() {
    let setup = Setup::new(PIPELINE);
    setup.publish(1..=5, &[]);
    setup
        .run()
        .catch_up()
        .ends_with(0)
        .says("no stream takes subject out.all");
    let waiting = query(
        &setup.database(),
        "SELECT message_id || ' ' || payload FROM weir_outbox WHERE subject = 'out.all' ORDER BY id",
    );
    // An earlier process published the first, the third and the fifth; the server has forgotten the names.
    setup.client.make_with(Config {
        name: ALERTS.to_owned(),
        subjects: ["out.>", "keys.>", "alerts.>"].map(str::to_owned).into(),
        duplicate_window: Duration::from_millis(100),
        ..Config::default()
    });
    for index in [0, 2, 4] {
        let (id, payload) = waiting[index].split_once(' ').expect("a name, and a payload");
        setup.client.publish_as(id, "out.all", payload);
    }
    setup.client.wait_for_end_of_duplicate_window();
    setup.run().catch_up().ends_with(0);
    assert_eq!(setup.stored_in(ALERTS, "out.all"), ["1", "3", "5", "2", "4"]);
    assert_eq!(setup.waiting("out.all"), Vec::<String>::new());
}

#[test]
fn others_who_publish_to_the_stream_disturb_no_order() {
    const EVENTS: usize = 3_000;
    let setup = Setup::new(PIPELINE);
    setup.client.make_with(Config {
        name: OUT.to_owned(),
        subjects: ["out.>", "keys.>", "noise"].map(str::to_owned).into(),
        ..Config::default()
    });
    let mut running = setup.run().start();
    running.wait_for_word("from sequence");
    let noise: Vec<_> = (0..20).map(|_| ("noise", b"n".to_vec())).collect();
    for first in (1..=EVENTS).step_by(100) {
        setup.publish(first..first + 100, &[]);
        setup.client.publish(&noise);
    }
    wait_until("all messages", || {
        setup.client.publish(&noise);
        setup.client.count_of(OUT, "out.all") + setup.client.count_of(OUT, "keys.all") == 2 * EVENTS
    });
    running.interrupt().ends_with(0);
    for subject in ["out.all", "keys.all"] {
        assert_eq!(
            setup.stored(subject),
            numbers(1..=EVENTS),
            "{subject}: each once, in order"
        );
    }
}

/// Payloads that the server takes, whose joined row it does not.
const JOINED: &str = r#"
name = "alerts"
event_time = { column = "at" }
dead_letters = { subject = "dead.letters" }
[source]
stream = "EVENTS"
[source.input.left]
subject = "events.left"
columns = { k = "int", a = "text", at = "int" }
[source.input.right]
subject = "events.right"
columns = { k = "int", b = "text", at = "int" }
[[step]]
name = "joined"
from = "left"
interval_join = { with = "right", on = { k = "k" }, earliest = "-1 h", latest = "1 h", columns = ["b"] }
[[sink]]
subject = "out.all"
"#;

#[test]
fn a_row_that_the_server_will_never_take_is_a_dead_letter_and_the_rest_goes_on() {
    let setup = Setup::with_subjects(JOINED, &["events.*"]);
    setup.client.make_stream(OUT, &["out.>", "dead.>"]);
    let mut running = setup.run().start();
    running.wait_for_word("from sequence");
    let mut last = 0;
    for (k, bytes) in [(1, 5), (2, 600_000), (3, 5), (4, 700_000), (5, 5)] {
        let text = "z".repeat(bytes);
        let left = format!("{{\"k\":{k},\"a\":\"{text}\",\"at\":1000}}").into_bytes();
        let right = format!("{{\"k\":{k},\"b\":\"{text}\",\"at\":1000}}").into_bytes();
        last = setup.client.publish(&[("events.left", left), ("events.right", right)]);
    }
    running.wait_for_position(&setup.database(), "alerts", last);
    wait_until("the end of the outbox", || {
        query(&setup.database(), "SELECT message_id FROM weir_outbox").is_empty()
    });
    running
        .interrupt()
        .ends_with(0)
        .says("a row is a dead letter of step publish: the message to out.all is larger than")
        .says("2 too large, and dead letters of step publish");
    assert_eq!(setup.stored("out.all"), ["1", "3", "5"]);
    let folder = setup.folder.path();
    let weir = |line: &str| weir().run_in(folder, line.split_whitespace());
    let listed = weir("dead-letters list alerts.db --step publish --json")
        .ends_with(0)
        .stdout;
    let letters: Vec<serde_json::Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).expect("a letter is JSON"))
        .collect();
    let found: Vec<(u64, u64)> = letters
        .iter()
        .map(|letter| {
            let row = letter["payload"].as_str().expect("the payload is text");
            let row: serde_json::Value = serde_json::from_str(row).expect("a row is JSON");
            let number = |value: &serde_json::Value| value.as_u64().expect("a number");
            (number(&letter["sequence"]), number(&row["k"]))
        })
        .collect();
    assert_eq!(
        found,
        [(4, 2), (8, 4)],
        "the rows whole, with the event that caused them"
    );
    let reason = letters[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("max_payload"), "{reason}");
    // The subject of dead letters is told as of any other, without the payload.
    let told = setup.client.messages_with_headers(OUT, "dead.letters");
    let told: Vec<(&str, usize)> = told
        .iter()
        .map(|letter| (letter.header("Weir-Step"), letter.payload.len()))
        .collect();
    assert_eq!(told, [("publish", 0), ("publish", 0)]);
    weir("verify alerts.db").ends_with(0);
    assert!(
        weir("status alerts.db")
            .ends_with(0)
            .stdout
            .contains("2 messages too large for the server"),
        "status counts them"
    );
    setup.run().catch_up().ends_with(0);
    assert_eq!(setup.stored("out.all"), ["1", "3", "5"], "nothing comes twice");

    // The server may be given another bound: a person has them published once more.
    let retry = "dead-letters retry alerts.toml --database alerts.db --step publish --to 4";
    let told = weir(&format!("{retry} --dry-run")).ends_with(0).stdout;
    assert!(
        told.contains("1 row that the server did not take: would go back into the outbox"),
        "{told}"
    );
    let told = weir(retry).ends_with(0).stdout;
    assert!(
        told.contains("1 row that the server did not take: back in the outbox"),
        "{told}"
    );
    assert_eq!(setup.waiting("out.all"), ["2"]);
    weir("verify alerts.db").ends_with(0);
    // Until then it does not fit.
    let outcome = setup.run().catch_up().ends_with(0);
    outcome.says("1 too large, and dead letters of step publish");
    weir("verify alerts.db").ends_with(0);
    assert_eq!(setup.waiting("out.all"), Vec::<String>::new());
}

#[test]
fn what_waits_can_be_listed_and_dropped() {
    let setup = Setup::new(PIPELINE);
    setup.publish(1..=4, &[2]);
    setup.run().catch_up().ends_with(0);
    let folder = setup.folder.path();
    let weir = |line: &str| weir().run_in(folder, line.split_whitespace());
    let sequences = |line: &str| -> Vec<u64> {
        let listed = weir(line).ends_with(0).stdout;
        let messages = listed.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        messages
            .map(|message: serde_json::Value| message["sequence"].as_u64().expect("a sequence"))
            .collect()
    };
    assert_eq!(
        sequences("outbox list alerts.db --json --subject out.all"),
        [1, 2, 3, 4]
    );
    assert_eq!(sequences("outbox list alerts.db --json --from 4"), [4, 4]);
    weir("outbox drop alerts.db")
        .ends_with(2)
        .says("say which messages to drop");
    weir("outbox drop alerts.db --pipeline other --all").ends_with(2);
    let dropped = weir("outbox drop alerts.db --subject out.all --from 2 --to 2 --json").ends_with(0);
    assert_eq!(dropped.stdout, "{\"database\":\"alerts.db\",\"dropped\":1}\n");
    weir("verify alerts.db").ends_with(0);
    setup.client.make_stream(OUT, &["out.>", "keys.>"]);
    setup.run().catch_up().ends_with(0);
    assert_eq!(setup.stored("out.all"), ["1", "3", "4"]);
    assert_eq!(setup.stored("keys.all"), numbers(1..=4));
    weir("outbox list alerts.db")
        .ends_with(0)
        .says("no messages wait in alerts.db")
        .says("of alerts were dropped");
}

#[test]
fn a_database_made_anew_is_heard_within_the_duplicate_window() {
    let setup = Setup::new(PIPELINE);
    setup.client.make_stream(OUT, &["out.>", "keys.>"]);
    let publish = || setup.publish(1..=20, &[]);
    publish();
    setup.run().catch_up().ends_with(0);
    // The advice of the refusal is followed: another database, over the stream that was made anew.
    setup.client.delete_stream("EVENTS");
    setup.client.make_stream("EVENTS", &["events"]);
    publish();
    setup.run().catch_up().ends_with(1).says("--database");
    setup.run().with(["--database", "anew.db"]).catch_up().ends_with(0);
    let twice = [numbers(1..=20), numbers(1..=20)].concat();
    assert_eq!(setup.stored("out.all"), twice, "both databases are heard");
    assert_eq!(setup.stored_in(OUT, "keys.all"), twice);
    let messages = setup.client.messages(OUT, "out.all");
    let names: std::collections::BTreeSet<&str> = messages.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(names.len(), messages.len());
}
