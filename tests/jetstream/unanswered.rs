//! Subjects whose messages nobody answers do not hold up others.

use crate::{process::Run, server::Client, wait_until};
use std::fs;
use weir_tests::{nats::NatsServer, scratch};

const TEXT: &str = r#"
name = "p"
source = { stream = "EVENTS", subject = "events", columns = { n = "int" } }
[[sink]]
subject = "heard.x"
[[sink]]
subject = "stored.y"
"#;

#[test]
fn a_subject_that_somebody_hears_and_no_stream_takes_holds_up_no_other() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_stream("EVENTS", &["events"]);
    client.make_stream("STORED", &["stored.>"]);
    // The server does not say by itself that no stream takes it, since somebody hears it.
    let heard = client.subscribe("heard.>");
    let folder = scratch();
    let file = folder.path().join("p.toml");
    fs::write(&file, TEXT).expect("the pipeline file can be written");
    let publish = |numbers: std::ops::RangeInclusive<usize>| {
        let events: Vec<_> = numbers
            .map(|n| ("events", format!("{{\"n\":{n}}}").into_bytes()))
            .collect();
        client.publish(&events);
    };
    publish(1..=30);
    let mut running = Run::new(folder.path(), &server.url(), [&file]).start();
    running.wait_for_word("messages wait in the outbox: no stream takes subject heard.x");
    for last in 31..=33 {
        publish(last..=last);
        wait_until("the messages of the other subject", || {
            client.messages("STORED", "stored.y").len() == last
        });
    }
    // All go out when a stream takes them.
    drop(heard);
    client.make_stream("HEARD", &["heard.>"]);
    wait_until("the messages that waited", || {
        client.messages("HEARD", "heard.x").len() == 33
    });
    running.interrupt().ends_with(0);
}
