//! A database that is new, over a stream that has a past: who is told of it is for somebody to say.

use crate::{
    process::{Run, position, weir},
    server::{ALERTS, Client},
};
use std::{fs, path::Path, time::Duration};
use weir_tests::{nats::NatsServer, scratch, table::query};

fn text(key: &str, of_letters: &str) -> String {
    format!(
        r#"
name = "p"
source = {{ stream = "EVENTS", subject = "events", columns = {{ n = "int" }} }}
{of_letters}
[[sink]]
subject = "alerts.p"
{key}
[[sink]]
table = "rows"
"#
    )
}

struct Setup {
    server: NatsServer,
    client: Client,
    scratch: tempfile::TempDir,
}

impl Setup {
    /// With a stream of five messages, of which the third and the fifth are no events.
    fn new() -> Self {
        let setup = Self::empty();
        setup.publish(1..=5);
        setup
    }

    fn empty() -> Self {
        let server = NatsServer::start();
        let client = Client::connect(&server.url());
        client.make_stream("EVENTS", &["events"]);
        client.make_alerts(Duration::from_secs(120));
        Self {
            server,
            client,
            scratch: scratch(),
        }
    }

    fn publish(&self, numbers: std::ops::RangeInclusive<usize>) {
        let payload = |n: usize| match n % 2 == 1 && n > 1 {
            true => format!("no event {n}"),
            false => format!("{{\"n\":{n}}}"),
        };
        let events: Vec<_> = numbers.map(|n| ("events", payload(n).into_bytes())).collect();
        self.client.publish(&events);
    }

    /// A folder for a database, with the pipeline file.
    fn folder(&self, name: &str, text: &str) -> std::path::PathBuf {
        let folder = self.scratch.path().join(name);
        fs::create_dir(&folder).expect("a folder can be made");
        fs::write(folder.join("p.toml"), text).expect("the pipeline file can be written");
        folder
    }

    fn run(&self, folder: &Path) -> Run {
        Run::undecided(folder, &self.server.url(), ["p.toml"])
    }

    /// The payloads of what was published to a subject.
    fn told(&self, subject: &str) -> Vec<String> {
        let told = self.client.messages(ALERTS, subject).into_iter();
        told.map(|message| message.payload).collect()
    }
}

#[test]
fn nobody_is_told_of_the_past_unless_somebody_says_so() {
    let setup = Setup::new();
    let folder = setup.folder("undecided", &text("", ""));
    for _ in 0..2 {
        setup
            .run(&folder)
            .catch_up()
            .ends_with(2)
            .says("database p.db is new, and stream EVENTS holds messages of subject events up to sequence 5")
            .says("--publish-from now");
    }
    assert_eq!(position(&folder.join("p.db"), "p"), 0, "nothing was processed");
    // Dead letters are messages too, where they have a subject.
    let letters = "dead_letters = { subject = \"alerts.dead\" }";
    let folder = setup.folder("letters", &text("publish_from = 1", letters));
    setup
        .run(&folder)
        .catch_up()
        .ends_with(2)
        .says("all that they cause on alerts.dead");
    assert_eq!(setup.told("alerts.p"), Vec::<String>::new());
}

#[test]
fn an_instant_that_is_not_yet_is_refused() {
    let setup = Setup::new();
    let folder = setup.folder("asked", &text("", ""));
    let far = ["--publish-from", "2399-01-01T00:00:00Z"];
    setup
        .run(&folder)
        .with(far)
        .catch_up()
        .ends_with(2)
        .says("--publish-from is 2399-01-01T00:00:00Z, and it is 2");
    let folder = setup.folder("in-file", &text("publish_from = \"2399-01-01T00:00:00Z\"", ""));
    setup
        .run(&folder)
        .catch_up()
        .ends_with(2)
        .says("key `publish_from` of subject alerts.p is 2399-01-01T00:00:00Z, and it is 2");
    assert_eq!(setup.told("alerts.p"), Vec::<String>::new());
}

#[test]
fn what_lies_before_is_computed_and_not_published() {
    // What is said; of which events rows and letters are told; how many are not.
    let cases: [(&str, &[&str], &[&str], usize); 4] = [
        ("now", &[], &[], 5),
        ("1", &["1", "2", "4"], &["3", "5"], 0),
        ("3", &["4"], &["3", "5"], 2),
        ("the time of 4", &["4"], &["5"], 3),
    ];
    for (said, rows, letters, unpublished) in cases {
        for in_file in [false, true] {
            let setup = Setup::new();
            let time = || {
                let stored = setup.client.stored_at_of("EVENTS", 4);
                jiff::Timestamp::from_nanosecond(stored)
                    .expect("it is a time")
                    .to_string()
            };
            let place = if said.starts_with("the") {
                time()
            } else {
                said.to_owned()
            };
            let key = match (in_file, place.parse::<u64>()) {
                (false, _) => String::new(),
                (true, Ok(number)) => format!("publish_from = {number}"),
                (true, Err(_)) => format!("publish_from = \"{place}\""),
            };
            let comma = if in_file { ", " } else { "" };
            let of_letters = format!("dead_letters = {{ subject = \"alerts.dead\"{comma}{key} }}");
            let folder = setup.folder("p", &text(&key, &of_letters));
            let run = |arguments: &[&str]| {
                let run = setup.run(&folder).with(arguments.iter().copied());
                run.catch_up().ends_with(0)
            };
            let outcome = match in_file {
                true => run(&[]),
                false => run(&["--publish-from", &place]),
            };
            if unpublished > 0 {
                outcome.says(&format!("{unpublished} in this database lie before the first that is"));
            }
            setup.publish(6..=6);
            // It is settled once.
            run(&["--publish-from", "now"]);
            let case = format!("{said}, in the file: {in_file}");
            let told = |numbers: &[&str]| -> Vec<String> { numbers.iter().map(|n| format!("{{\"n\":{n}}}")).collect() };
            assert_eq!(setup.told("alerts.p"), [told(rows), told(&["6"])].concat(), "{case}");
            let dead: Vec<String> = letters.iter().map(|n| format!("no event {n}")).collect();
            assert_eq!(setup.told("alerts.dead"), dead, "{case}");
            let database = folder.join("p.db");
            let all = query(&database, "SELECT CAST(n AS TEXT) FROM rows ORDER BY n");
            assert_eq!(all, ["1", "2", "4", "6"], "{case}: all is computed");
            let status = weir().run_in(&folder, ["status", "p.db", "--json"]).ends_with(0).stdout;
            let status: serde_json::Value = serde_json::from_str(&status).expect("status is JSON");
            assert_eq!(status["messages"]["unpublished"], unpublished, "{case}");
            weir().run_in(&folder, ["verify", "p.db"]).ends_with(0);
        }
    }
}

#[test]
fn over_an_empty_stream_nobody_has_to_say_anything() {
    let setup = Setup::empty();
    let folder = setup.folder("p", &text("", ""));
    setup.run(&folder).catch_up().ends_with(0);
    // What came meanwhile is no past.
    setup.publish(1..=2);
    setup.run(&folder).catch_up().ends_with(0);
    assert_eq!(setup.told("alerts.p"), ["{\"n\":1}", "{\"n\":2}"]);
}
