//! Messages leave the outbox once, whenever there is a stream that takes them.

use crate::{
    events::{case, of_case},
    kills::outbox,
    process::{Run, copy_database, load_customers},
    server::{ALERTS, Client},
};
use std::{collections::BTreeSet, path::Path, time::Duration};
use weir_tests::{command::Outcome, nats::NatsServer, scratch};

const SUBJECT: &str = "alerts.premium-drop";

#[test]
fn alerts_wait_for_a_stream_and_are_published_once() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_insurance();
    let case = case("premium-drop/s2_2000");
    client.publish(&of_case(&case));
    let folder = scratch();
    let file = |name: &str| folder.path().join(name);
    load_customers(
        case.lookup_start.as_deref().expect("premium-drop looks up"),
        &file("alerts.db"),
    );
    let run = |database: &str| -> Outcome {
        let run = Run::new(folder.path(), &server.url(), [&case.pipeline]);
        run.with(["--database", database]).catch_up().ends_with(0)
    };

    run("alerts.db").says("nats stream add ALERTS --subjects 'alerts.premium-drop'");
    let waiting = outbox(&file("alerts.db"));
    let ids: BTreeSet<&str> = waiting.iter().map(|alert| alert.id.as_str()).collect();
    assert!(
        waiting.len() > 10 && ids.len() == waiting.len(),
        "alerts wait, each with an id of its own"
    );
    // Running again adds none.
    run("alerts.db").says("wait in the outbox");
    assert_eq!(outbox(&file("alerts.db")), waiting);
    for copy in ["full.db", "half.db"] {
        copy_database(&file("alerts.db"), &file(copy));
    }

    // The shortest window that the server takes: the ids of the stream are of no use later.
    client.make_alerts(Duration::from_millis(100));
    let published = || client.messages(ALERTS, SUBJECT);
    run("alerts.db").says(&format!("{}   published", waiting.len()));
    assert_eq!(published(), waiting, "each is published once, with its id, in order");
    assert_empty(&file("alerts.db"));
    run("alerts.db");
    assert_eq!(published(), waiting, "and not again");

    client.wait_for_end_of_duplicate_window();
    run("full.db");
    assert_eq!(
        published(),
        waiting,
        "a copy whose outbox is full sees that they are published"
    );
    assert_empty(&file("full.db"));

    client.keep_first(ALERTS, SUBJECT, waiting.len() / 2);
    client.wait_for_end_of_duplicate_window();
    run("half.db");
    assert_eq!(published(), waiting, "a copy publishes what the stream does not have");
    assert_empty(&file("half.db"));
}

#[track_caller]
fn assert_empty(database: &Path) {
    assert_eq!(outbox(database), [], "nothing waits in {}", database.display());
}
