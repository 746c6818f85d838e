//! Ticks: a stream that falls silent closes its last windows, and a replay closes them again at the same place.

use crate::{
    process::{Run, database},
    server::{Client, INSURANCE},
    wait_until,
};
use std::{fs, path::Path};
use weir_tests::{
    nats::NatsServer,
    scratch,
    table::{contents, query, read},
};

const SECONDS: &str = r#"
name = "seconds"
event_time = { column = "at", out_of_orderness = "10 s", ticks = { every = "200 ms" } }
source = { stream = "INSURANCE", subject = "clicks", columns = { user = "text", at = "int" } }
[[step]]
name = "seconds"
window = { tumbling = "1 s", group_by = ["user"], columns = { clicks = { count = "*" } } }
[[sink]]
table = "seconds"
"#;

#[test]
fn a_silent_stream_closes_its_windows_and_a_replay_closes_them_at_the_same_place() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_stream(INSURANCE, &["clicks"]);
    let folder = scratch();
    fs::write(folder.path().join("seconds.toml"), SECONDS).expect("a file can be written");
    let event = |user: &str, at: i64| format!(r#"{{"user":"{user}","at":{at}}}"#).into_bytes();
    client.publish(&[
        ("clicks", event("ann", 100)),
        ("clicks", event("ben", 200)),
        ("clicks", event("ann", 900)),
    ]);

    // Without ticks nothing says that the second is over.
    let run = || Run::new(folder.path(), &server.url(), ["seconds.toml"]);
    run().catch_up().ends_with(0);
    let database = database(folder.path(), "seconds");
    assert_eq!(read(&database, "seconds").rows.len(), 0);
    assert_eq!(
        client.messages(INSURANCE, "clicks").len(),
        3,
        "a run that ends sends no ticks"
    );

    let running = run().start();
    wait_until("the window is told", || read(&database, "seconds").rows.len() == 2);
    // The event that comes now is older than the ticks say that events can be.
    client.publish(&[("clicks", event("cis", 950))]);
    let late = "SELECT CAST(late_rows AS TEXT) FROM weir_pipeline";
    wait_until("the late row is counted", || query(&database, late) == ["1"]);
    running.interrupt().ends_with(0);
    assert_eq!(
        query(
            &database,
            "SELECT concat_ws('|', user, window_start, clicks) FROM seconds"
        ),
        ["ann|0|2", "ben|0|1"]
    );
    let counts = "SELECT concat_ws('|', applied, filtered, dead_letters, events - blank) FROM weir_pipeline";
    assert_eq!(
        query(&database, counts),
        ["3|1|0|4"],
        "ticks are counted with what is blank"
    );

    // What is in the stream by now, ticks included, makes the same database.
    run().catch_up().ends_with(0);
    let past = Run::replay(folder.path(), &server.url(), Path::new("seconds.toml"), "past.db");
    past.start().end().ends_with(0);
    assert!(contents(&database) == contents(&folder.path().join("past.db")));
}
