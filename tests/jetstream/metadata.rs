//! Columns that are read from the subject, the headers, the sequence and the store time of a message.

use crate::{
    process::{Run, weir},
    server::Client,
};
use std::fs;
use weir_tests::{
    guest,
    nats::NatsServer,
    scratch,
    table::{Cell, contents},
};

fn text(malformed: i64) -> String {
    format!(
        r#"
name = "orders"
[source]
stream = "EVENTS"
subject = "events.*"
[source.columns]
n = "int"
k = {{ from = "subject", token = 2 }}
trace = {{ from = "header", name = "Trace-Id" }}
sequence = {{ from = "sequence" }}
stored = {{ from = "store_time" }}

[[step]]
name = "judged"
unread = true
from = "source"
stage = {{ module = "{}", parameters = {{ malformed = {malformed} }} }}

[[sink]]
from = "source"
table = "seen"
columns = ["n", "k", "trace", "sequence", "stored"]
"#,
        guest("versions").display()
    )
}

#[test]
fn messages_have_their_columns_and_dead_letters_keep_them() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_stream("EVENTS", &["events.>"]);
    let folder = scratch();
    let pipeline = folder.path().join("orders.toml");
    fs::write(&pipeline, text(2)).expect("the pipeline file can be written");
    client.publish_with_header("events.a", ("Trace-Id", "t1"), r#"{"n": 1}"#);
    client.publish_with_header("events.b", ("Trace-Id", "t2"), r#"{"n": 2}"#);
    client.publish(&[("events.c", br#"{"n": 3}"#.to_vec())]);
    let stored = |sequence| {
        let at =
            jiff::Timestamp::from_nanosecond(client.stored_at_of("EVENTS", sequence)).expect("it is in the calendar");
        // To the millisecond, as "now" is.
        at.strftime("%Y-%m-%dT%H:%M:%S.%3f000Z").to_string()
    };
    let run = || {
        Run::new(folder.path(), &server.url(), [&pipeline])
            .catch_up()
            .ends_with(0)
    };
    run();
    let row = |n: i64, k: &str, trace: Option<&str>| {
        let text = |text: &str| Cell::Text(text.to_owned());
        vec![
            Cell::Int(n),
            text(k),
            trace.map_or(Cell::Null, text),
            Cell::Int(n),
            text(&stored(n as u64)),
        ]
    };
    let database = folder.path().join("orders.db");
    let rows = || contents(&database).tables["seen"].rows.clone();
    assert_eq!(rows(), [row(1, "a", Some("t1")), row(3, "c", None)]);
    let shown = weir()
        .run_in(folder.path(), ["dead-letters", "show", "orders.db", "2"])
        .ends_with(0);
    for line in ["subject   events.b", "header    Trace-Id: t2"] {
        assert!(shown.stdout.contains(line), "{}", shown.stdout);
    }

    fs::write(&pipeline, text(0)).expect("the pipeline file can be written");
    run();
    let line = "dead-letters retry orders.toml --database orders.db --all";
    weir().run_in(folder.path(), line.split_whitespace()).ends_with(0);
    let mut found = rows();
    found.sort_by_key(|row| format!("{row:?}"));
    assert_eq!(
        found,
        [row(1, "a", Some("t1")), row(2, "b", Some("t2")), row(3, "c", None)]
    );
}
