//! Several inputs: subjects of one stream, read by one consumer in the order of their sequences.

use crate::{
    NOW,
    events::Event,
    process::{Run, database, position, weir},
    server::{Client, INSURANCE},
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use weir_tests::{
    nats::NatsServer,
    scratch,
    seed::{self, Random},
    table::{Contents, contents, query, read},
};

const EVENTS: usize = 20_000;

/// How often the process dies.
const KILLS: usize = 6;

/// Both inputs are logged, and kept by key.
const SHOP: &str = r#"
name = "shop"
[source]
stream = "INSURANCE"
[source.input.orders]
subject = "shop.orders"
columns = { id = "int", customer = "text" }
[source.input.payments]
subject = "shop.payments.*"
columns = { customer = "text", id = "int", paid = "int" }

[[step]]
name = "last-order"
from = "orders"
last_value = { key = ["customer"] }
[[step]]
name = "paid"
from = "payments"
[step.aggregate]
group_by = ["customer"]
columns = { payments = { count = "*" }, paid = { sum = "paid" } }

[[sink]]
from = "orders"
table = "orders"
[[sink]]
from = "payments"
table = "payments"
[[sink]]
from = "last-order"
table = "last_order"
primary_key = ["customer"]
[[sink]]
from = "paid"
table = "paid"
primary_key = ["customer"]
"#;

/// A server with a stream of a shop, and a folder with the pipeline.
struct Shop {
    server: NatsServer,
    client: Client,
    folder: tempfile::TempDir,
}

impl Shop {
    fn new() -> Self {
        let server = NatsServer::start();
        let client = Client::connect(&server.url());
        client.make_stream(INSURANCE, &["shop.>"]);
        let shop = Self {
            server,
            client,
            folder: scratch(),
        };
        shop.write("shop.toml", SHOP);
        shop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file can be written");
    }

    fn run(&self) -> Run {
        Run::new(self.folder.path(), &self.server.url(), ["shop.toml"])
    }

    fn database(&self) -> PathBuf {
        database(self.folder.path(), "shop")
    }
}

/// Events of both inputs and of a subject that nobody reads; some are malformed. The last is an order.
fn events(random: &mut Random) -> Vec<Event> {
    let mut made: Vec<Event> = (0..EVENTS).map(|id| event(random, id)).collect();
    made.push(("shop.orders", b"{\"id\": 0, \"customer\": \"last\"}".to_vec()));
    made
}

fn event(random: &mut Random, id: usize) -> Event {
    let customer = random.below(50);
    let subject = match random.below(8) {
        0 => "shop.audit",
        1..4 => "shop.orders",
        4..7 => "shop.payments.card",
        _ => "shop.payments.cash",
    };
    let payload = match (random.once_in(40), subject) {
        (true, _) => format!("{{\"id\":\"{id}\"}}"),
        (_, "shop.orders") => format!("{{\"id\":{id},\"customer\":\"{customer}\",\"paid\":\"not yet\"}}"),
        _ => format!(
            "{{\"id\":{id},\"customer\":\"{customer}\",\"paid\":{}}}",
            random.below(100)
        ),
    };
    (subject, payload.into_bytes())
}

/// The events as lines of a file. One that nobody reads is a blank line, so that the others keep their numbers.
fn lines(events: &[Event]) -> String {
    let line = |(subject, payload): &Event| match *subject {
        "shop.audit" => "\n".to_owned(),
        _ => {
            let payload = String::from_utf8_lossy(payload);
            format!("{{\"subject\":\"{subject}\",\"payload\":{payload}}}\n")
        }
    };
    events.iter().map(line).collect()
}

#[test]
fn killed_runs_and_replays_leave_what_one_run_leaves() {
    let mut shop = Shop::new();
    let events = seed::with_seed(|random| {
        let events = events(random);
        let mut cuts = random.cuts(KILLS, events.len());
        cuts.sort_unstable();
        let mut published = 0;
        for (number, cut) in cuts.into_iter().enumerate() {
            let mut running = shop.run().start();
            shop.client.publish(&events[published..cut]);
            let target = published + random.below((cut - published).max(1));
            published = cut;
            let last = events[..target]
                .iter()
                .rposition(|(subject, _)| *subject != "shop.audit");
            running.wait_for_position(&shop.database(), "shop", last.map_or(0, |index| index as u64 + 1));
            if number == KILLS / 2 {
                // The server goes away under it, and comes back.
                shop.server.kill();
                shop.server.restart();
                shop.client = Client::connect(&shop.server.url());
            }
            std::thread::park_timeout(Duration::from_micros(random.below(20_000) as u64));
            running.kill();
        }
        shop.client.publish(&events[published..]);
        events
    });
    let last = events.len() as u64;
    let mut running = shop.run().start();
    running.wait_for_position(&shop.database(), "shop", last);
    shop.client.check_acknowledged("shop", last);
    let consumer = shop.client.consumer("shop").config;
    assert_eq!(consumer.filter_subject, "");
    assert_eq!(consumer.filter_subjects, ["shop.orders", "shop.payments.*"]);
    running.interrupt().ends_with(0);
    shop.run().catch_up().ends_with(0);
    let found = contents(&shop.database());
    check_rows(&found, &events);

    let straight = shop.run().with(["--database", "straight.db"]);
    straight
        .catch_up()
        .ends_with(0)
        .says("shop: stream INSURANCE, subjects shop.orders, shop.payments.*, consumer weir-shop-");
    assert!(found == contents(&shop.path("straight.db")), "as one run leaves it");

    let past = Run::replay(
        shop.folder.path(),
        &shop.server.url(),
        Path::new("shop.toml"),
        "past.db",
    );
    past.start()
        .end()
        .ends_with(0)
        .says("subjects shop.orders, shop.payments.*, sequences 1 to");
    assert!(
        found == contents(&shop.path("past.db")),
        "as a replay of the stream leaves it"
    );

    shop.write("events.jsonl", &lines(&events));
    let file = format!("replay shop.toml --input events.jsonl --database file.db --now {NOW}");
    weir().run_in(shop.folder.path(), file.split_whitespace()).ends_with(0);
    let mut of_file = contents(&shop.path("file.db"));
    let audits = events.iter().filter(|(subject, _)| *subject == "shop.audit").count() as u64;
    assert_eq!(std::mem::take(&mut of_file.counts.empty), audits);
    of_file.counts.events -= audits;
    assert!(found == of_file, "as a replay of a file leaves it");
}

/// Checks the logs of both inputs, and what was malformed, against the events themselves.
#[track_caller]
fn check_rows(found: &Contents, events: &[Event]) {
    let mut expected = [Vec::new(), Vec::new()];
    let mut letters = Vec::new();
    for (sequence, (subject, payload)) in (1u64..).zip(events) {
        let payload: serde_json::Value = serde_json::from_slice(payload).expect("what is made up is JSON");
        let input = match *subject {
            "shop.audit" => continue,
            "shop.orders" => 0,
            _ => 1,
        };
        match payload["id"].as_i64() {
            Some(id) => expected[input].push(id),
            None => letters.push((sequence, Some((*subject).to_owned()))),
        }
    }
    for (table, column, ids) in [("orders", 0, &expected[0]), ("payments", 1, &expected[1])] {
        let rows = found.tables[table].rows.iter();
        let found: Vec<_> = rows.map(|row| row[column].to_json().as_i64()).collect();
        assert!(ids.len() > EVENTS / 10, "the test is about something");
        assert!(found.into_iter().eq(ids.iter().map(|&id| Some(id))), "rows of {table}");
    }
    let found = found.dead_letters.iter();
    let found: Vec<_> = found.map(|letter| (letter.sequence, letter.subject.clone())).collect();
    assert!(letters.len() > 100, "the test is about something");
    assert_eq!(found, letters);
}

#[test]
fn a_database_belongs_to_the_subjects_and_not_to_what_they_are_called() {
    let shop = Shop::new();
    let order: Event = ("shop.orders", b"{\"id\": 1, \"customer\": \"ann\"}".to_vec());
    let payment: Event = (
        "shop.payments.card",
        b"{\"id\": 1, \"customer\": \"ann\", \"paid\": 2}".to_vec(),
    );
    shop.client.publish(&[order.clone(), payment.clone()]);
    shop.run().catch_up().ends_with(0);
    let source = query(&shop.database(), "SELECT source FROM weir_pipeline");
    assert!(
        source[0].ends_with(", subjects shop.orders, shop.payments.*"),
        "{source:?}"
    );

    // By other names, and so in another order.
    let renamed = SHOP
        .replace("input.orders", "input.they-buy")
        .replace("from = \"orders\"", "from = \"they-buy\"")
        .replace("input.payments", "input.pay")
        .replace("from = \"payments\"", "from = \"pay\"");
    shop.write("shop.toml", &renamed);
    shop.client.publish(&[payment, order]);
    shop.run().catch_up().ends_with(0);
    assert_eq!(position(&shop.database(), "shop"), 4);
    let rows = |table: &str| read(&shop.database(), table).rows;
    assert_eq!((rows("orders").len(), rows("payments").len()), (2, 2));

    for (from, to) in [
        ("shop.orders", "shop.orders.*"),
        ("shop.payments.*", "shop.payments.card"),
    ] {
        shop.write("shop.toml", &SHOP.replace(from, to));
        let refused = shop.run().catch_up().ends_with(1);
        refused.says("was filled from stream INSURANCE made at").says(to);
    }
}

#[test]
fn one_input_is_the_same_with_a_name_and_without() {
    let shop = Shop::new();
    let pipeline = |source: &str| {
        format!(
            "name = \"shop\"\n[source]\nstream = \"INSURANCE\"\n{source}subject = \"shop.orders\"\n\
             columns = {{ id = \"int\" }}\n[[sink]]\ntable = \"orders\"\n"
        )
    };
    let order: Event = ("shop.orders", b"{\"id\": 1}".to_vec());
    shop.client.publish(&[order.clone(), ("shop.orders", b"[]".to_vec())]);
    shop.write("shop.toml", &pipeline(""));
    shop.run().catch_up().ends_with(0);
    let source = query(&shop.database(), "SELECT source FROM weir_pipeline");
    assert!(source[0].ends_with(", subject shop.orders"), "{source:?}");
    shop.write("shop.toml", &pipeline("[source.input.bought]\n"));
    shop.client.publish(&[order, ("shop.audit", b"{\"id\": 2}".to_vec())]);
    shop.run().catch_up().ends_with(0);
    let found = contents(&shop.database());
    assert_eq!(found.tables["orders"].rows.len(), 2);
    assert_eq!(found.dead_letters[0].subject, None, "there is only one");
    assert_eq!(shop.client.consumer("shop").config.filter_subject, "shop.orders");
}

#[test]
fn a_stream_that_is_missing_is_answered_with_all_subjects() {
    let shop = Shop::new();
    shop.client.delete_stream(INSURANCE);
    let outcome = shop.run().catch_up().ends_with(2);
    outcome.says("nats stream add INSURANCE --subjects 'shop.orders,shop.payments.*'");
}

/// A stream whose payments are those of somebody else is said to be, once, by a run and by a replay; orders are not.
#[test]
fn an_input_of_other_events_is_a_warning() {
    let shop = Shop::new();
    let order = |id: usize| {
        (
            "shop.orders",
            format!("{{\"id\":{id},\"customer\":\"c\"}}").into_bytes(),
        )
    };
    let payment = ("shop.payments.card", b"{\"envelope\":{\"id\":1,\"paid\":2}}".to_vec());
    let events: Vec<Event> = (0..120).flat_map(|id| [order(id), payment.clone()]).collect();
    shop.client.publish(&events);
    let said = "shop: no declared column was found in the first 100 events of input \"payments\" (shop.payments.*), so all \
                columns are null: looked for customer, id, paid, and the payloads have envelope.id, envelope.paid; give";
    let folder = shop.folder.path();
    let past = Run::replay(folder, &shop.server.url(), Path::new("shop.toml"), "past.db");
    for outcome in [shop.run().catch_up(), past.start().end()] {
        let outcome = outcome.ends_with(0);
        assert_eq!(
            outcome.stderr.matches("no declared column").count(),
            1,
            "{}",
            outcome.stderr
        );
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    }
}
