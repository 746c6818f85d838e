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
compression = "header"
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

/// `{"n": 2}`, by Python's gzip.
const TWO_IN_GZIP: [u8; 28] = *b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\xca\x53\xb2\x52\x30\xaa\x05\x00\x81\x6f\xda\x21\x08\x00\x00\x00";

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
    client.publish_with_header("events.d", ("Content-Encoding", "gzip"), TWO_IN_GZIP);
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
    let row = |sequence: i64, n: i64, k: &str, trace: Option<&str>| {
        let text = |text: &str| Cell::Text(text.to_owned());
        vec![
            Cell::Int(n),
            text(k),
            trace.map_or(Cell::Null, text),
            Cell::Int(sequence),
            text(&stored(sequence as u64)),
        ]
    };
    let database = folder.path().join("orders.db");
    let rows = || contents(&database).tables["seen"].rows.clone();
    assert_eq!(rows(), [row(1, 1, "a", Some("t1")), row(3, 3, "c", None)]);
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
        [
            row(1, 1, "a", Some("t1")),
            row(2, 2, "b", Some("t2")),
            row(4, 2, "d", None),
            row(3, 3, "c", None)
        ]
    );
}

/// Where a column is read from the subject, `weir dev` makes none up from the wildcards of the input.
#[test]
fn a_line_without_a_subject_is_not_published_under_a_pattern() {
    let folder = scratch();
    let pipeline = "name = \"pays\"\n[source]\nstream = \"PAYS\"\nsubject = \"pay.*\"\n[source.columns]\n\
                    region = { from = \"subject\", token = 2 }\nn = \"int\"\n[[sink]]\ntable = \"pays\"\n";
    fs::create_dir_all(folder.path().join("pipelines")).expect("a folder can be made");
    fs::write(folder.path().join("weir.toml"), "").expect("it can be written");
    fs::write(folder.path().join("pipelines/pays.toml"), pipeline).expect("it can be written");
    let input = "{\"n\": 1}\n{\"subject\": \"pay.eu\", \"payload\": {\"n\": 2}}\n";
    fs::write(folder.path().join("input.jsonl"), input).expect("it can be written");
    let outcome = Run::dev(folder.path(), ".")
        .with(["--once", "--input", "input.jsonl"])
        .start()
        .end()
        .ends_with(0);
    assert!(outcome.stdout.contains("with 1 event published"), "{}", outcome.stdout);
    outcome.says("input.jsonl:1 is not published: columns are read from the subject, which the line does not say");
}
