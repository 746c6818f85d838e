//! Dead letters on a subject: each arrives once, with what is known of it, whatever dies on the way; and those that are
//! retried, with what comes of them.

use crate::{
    process::{Run, weir},
    server::Client,
};
use async_nats::jetstream::stream::Config;
use std::{collections::BTreeSet, fs, path::Path, time::Duration};
use weir_tests::{
    guest,
    nats::NatsServer,
    scratch, seed,
    table::{contents, query},
};

const EVENTS: usize = 20_000;

/// How often the process dies.
const KILLS: usize = 5;

/// Rejects each event whose `n` is a multiple of `malformed`, and tells of all others.
fn text(malformed: i64) -> String {
    format!(
        r#"
name = "letters"
source = {{ stream = "EVENTS", subject = "events", columns = {{ n = "int", k = "text" }} }}
dead_letters = {{ subject = "dead.letters" }}

[[step]]
name = "versions"
stage = {{ module = "{}", parameters = {{ malformed = {malformed} }} }}

[[sink]]
table = "seen"

[[sink]]
subject = "alerts.seen"
"#,
        guest("versions").display()
    )
}

/// One in ten is rejected by the rule, one in a hundred is no JSON.
fn payload(n: usize) -> Vec<u8> {
    match n % 100 {
        50 => format!("{{\"n\": {n}, \u{1}\r\n").into_bytes(),
        51 => vec![0xff, 0, b'\r', b'\n', n as u8],
        _ => format!("{{\"n\": {n}, \"k\": \"保\"}}").into_bytes(),
    }
}

#[test]
fn dead_letters_arrive_once_with_their_headers_over_kills() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_stream("EVENTS", &["events"]);
    client.make_stream("DEAD", &["dead.>"]);
    let folder = scratch();
    let pipeline = folder.path().join("letters.toml");
    fs::write(&pipeline, text(10)).expect("the pipeline file can be written");
    let database = folder.path().join("letters.db");
    let run = || Run::new(folder.path(), &server.url(), [&pipeline]);
    let events: Vec<_> = (1..=EVENTS).map(|n| ("events", payload(n))).collect();
    seed::with_seed(|random| {
        let mut published = 0;
        for cut in random.cuts(KILLS, EVENTS) {
            let mut running = run().start();
            client.publish(&events[published..cut]);
            let target = published + random.below((cut - published).max(1));
            published = cut;
            running.wait_for_position(&database, "letters", target as u64);
            std::thread::park_timeout(Duration::from_micros(random.below(30_000) as u64));
            running.kill();
        }
        client.publish(&events[published..]);
    });
    // Nobody takes the alerts; letters do not wait for that.
    let outcome = run().catch_up().ends_with(0);
    outcome.says("wait in the outbox: no stream takes subject alerts.seen");

    let found = contents(&database);
    let expected: Vec<usize> = (1..=EVENTS).filter(|n| n % 10 == 0 || n % 100 == 51).collect();
    assert_eq!(found.counts.dead_letters, expected.len() as u64);
    let letters = client.messages_with_headers("DEAD", "dead.letters");
    let ids: BTreeSet<&str> = letters.iter().map(|letter| letter.header("Nats-Msg-Id")).collect();
    assert_eq!(
        (letters.len(), ids.len()),
        (expected.len(), expected.len()),
        "each comes once"
    );
    for ((letter, stored), n) in letters.iter().zip(&found.dead_letters).zip(expected) {
        assert_eq!(letter.payload, payload(n), "the payload, byte for byte");
        let by_rule = n % 10 == 0 && n % 100 != 50;
        assert_eq!(letter.header("Weir-Stream"), "EVENTS");
        assert_eq!(letter.header("Weir-Sequence"), n.to_string());
        assert_eq!(letter.header("Weir-Pipeline"), "letters");
        assert_eq!(letter.header("Weir-Step"), if by_rule { "versions" } else { "decode" });
        assert_eq!(
            letter.header("Weir-Module"),
            stored.module.as_deref().unwrap_or_default()
        );
        assert_eq!(letter.header("Weir-Reason"), weir::text::printable(&stored.reason));
        assert_eq!(letter.header("Weir-Subject"), "", "there is one subject alone");
    }
    let waiting = "SELECT DISTINCT subject FROM weir_outbox";
    assert_eq!(query(&database, waiting), ["alerts.seen"]);

    client.make_stream("ALERTS", &["alerts.>"]);
    run().catch_up().ends_with(0);
    assert_eq!(query(&database, waiting), Vec::<String>::new());
    retried(folder.path(), &pipeline, &client, &letters.len(), run);
}

/// What the mended rule takes is told of once, under names of its own; what it does not comes once more.
fn retried(folder: &Path, pipeline: &Path, client: &Client, letters: &usize, run: impl Fn() -> Run) {
    let alerts = client.messages("ALERTS", "alerts.seen").len();
    fs::write(pipeline, text(7)).expect("the pipeline file can be written");
    let line = "dead-letters retry letters.toml --database letters.db --step versions --to 700";
    let outcome = weir().run_in(folder, line.split_whitespace()).ends_with(3);
    // Of 10, 20, … but for the seven that are no JSON; each seventh is rejected again.
    let (retried, again) = (70 - 7, 9);
    assert!(
        outcome.stdout.starts_with(&format!(
            "{retried} dead letters retried: {} applied, 0 filtered, {again} dead letters again\n",
            retried - again
        )),
        "{}",
        outcome.stdout
    );
    assert_eq!(
        client.messages("ALERTS", "alerts.seen").len(),
        alerts,
        "they wait for weir run"
    );
    let position = contents(&folder.join("letters.db")).position;
    assert_eq!(position, EVENTS as u64);
    run().catch_up().ends_with(0);
    let after = client.messages("ALERTS", "alerts.seen");
    assert_eq!(after.len(), alerts + retried - again);
    let ids: BTreeSet<&str> = after.iter().map(|alert| alert.id.as_str()).collect();
    assert_eq!(ids.len(), after.len());
    assert!(
        after[alerts..].iter().all(|alert| alert.id.ends_with("~1")),
        "{:?}",
        &after[alerts..]
    );
    let more = client.messages_with_headers("DEAD", "dead.letters");
    let more: Vec<(&str, &str)> = more[*letters..]
        .iter()
        .map(|letter| (letter.header("Weir-Sequence"), letter.header("Weir-Retries")))
        .collect();
    let sequences: Vec<String> = (1..=700)
        .filter(|n| n % 70 == 0 && n % 100 != 50)
        .map(|n: u64| n.to_string())
        .collect();
    assert_eq!(more, sequences.iter().map(|n| (n.as_str(), "1")).collect::<Vec<_>>());
}

#[test]
fn a_letter_that_is_too_large_goes_without_its_payload_and_holds_nobody_up() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_stream("EVENTS", &["events"]);
    client.make_with(Config {
        name: "DEAD".to_owned(),
        subjects: vec!["dead.>".to_owned()],
        max_message_size: 2000,
        ..Config::default()
    });
    let folder = scratch();
    let pipeline = folder.path().join("letters.toml");
    fs::write(
        &pipeline,
        text(10).replace("subject = \"alerts.seen\"", "table = \"also\""),
    )
    .expect("it can be written");
    // The last is as large as the server takes, so that with headers it is larger.
    let large = [1500, 3000, 10, (1 << 20) - 40, 20].map(|bytes| ("events", vec![b'x'; bytes]));
    client.publish(&large);
    Run::new(folder.path(), &server.url(), [&pipeline])
        .catch_up()
        .ends_with(0);
    let letters = client.messages_with_headers("DEAD", "dead.letters");
    let found: Vec<(usize, &str)> = letters
        .iter()
        .map(|letter| (letter.payload.len(), letter.header("Weir-Payload-Bytes")))
        .collect();
    let last = ((1 << 20) - 40).to_string();
    assert_eq!(found, [(1500, ""), (0, "3000"), (10, ""), (0, &*last), (20, "")]);
}

#[test]
fn a_module_that_fails_too_often_stops_weir_run_and_a_mended_one_goes_on() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_stream("EVENTS", &["events"]);
    let folder = scratch();
    let pipeline = folder.path().join("failing.toml");
    let text = |fails: &str| {
        format!(
            r#"
name = "failing"
source = {{ stream = "EVENTS", subject = "events", columns = {{ n = "int", k = "text" }} }}
step = [{{ name = "versions", stage = {{ module = "{}", failures = {{ most = 4, of = 50 }}, parameters = {{ fails = "{fails}", every = 5 }} }} }}]
sink = [{{ table = "seen" }}]
"#,
            guest("versions").display()
        )
    };
    fs::write(&pipeline, text("panic")).expect("it can be written");
    let events: Vec<_> = (1..=200)
        .map(|n| ("events", format!("{{\"n\": {n}}}").into_bytes()))
        .collect();
    client.publish(&events);
    let database = folder.path().join("failing.db");
    let run = || Run::new(folder.path(), &server.url(), [&pipeline]);
    // Nothing more comes: it ends by itself.
    for _ in 0..2 {
        let outcome = run().start().end().ends_with(1);
        outcome
            .says("pipeline failing: step \"versions\": module ")
            .says("failed on 5 of 25 rows, the first of them at sequence 5, the last at sequence 25: ")
            .says("4 of 50 rows may fail");
        let found = contents(&database);
        assert_eq!((found.position, found.counts.dead_letters), (24, 4));
    }
    // What was deployed meanwhile is waited for; the file says what it did.
    let line = format!("params set failing.toml versions fails= --nats {}", server.url());
    weir().run_in(folder.path(), line.split_whitespace()).ends_with(0);
    run().catch_up().ends_with(0);
    let found = contents(&database);
    assert_eq!(
        (found.position, found.counts.applied, found.counts.dead_letters),
        (200, 196, 4)
    );
}
