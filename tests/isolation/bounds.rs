//! What a rule that misbehaves, or a payload without measure, costs the host: a process of its own for each, whose memory
//! and time are measured. `cargo test -p weir-tests --test isolation bounds -- --nocapture` prints the tables.

use crate::poison::misdeed::MISDEEDS;
use std::{fs, path::Path, time::Duration};
use weir_tests::{
    command::Weir,
    guest, scratch,
    table::{Contents, contents},
    usage::{self, Usage},
};

/// Events of each run, of which one in `POISON_EVERY` is poison.
const EVENTS: usize = 20_000;
const POISON_EVERY: usize = 10_000;

/// What a run with poison may take beyond one without. An instance may have 8 MiB and answer with 1; a debug build on a busy
/// machine is slow. What is bounded is bounded by far less than a guest that has its way would take.
pub(crate) const MORE_MEMORY_BYTES: u64 = 64 << 20;
pub(crate) const MORE_TIME: Duration = Duration::from_secs(60);

fn replay(folder: &Path, pipeline: &str, input: &[u8]) -> (Contents, Usage) {
    let (contents, _, usage) = replay_and_hear(folder, pipeline, input);
    (contents, usage)
}

/// What a replay in a process of its own leaves, what it says, and what it costs.
pub(crate) fn replay_and_hear(folder: &Path, pipeline: &str, input: &[u8]) -> (Contents, String, Usage) {
    fs::write(folder.join("p.toml"), pipeline).expect("a file of the test can be written");
    fs::write(folder.join("events.jsonl"), input).expect("a file of the test can be written");
    let database = folder.join("p.db");
    let mut command = Weir::at(env!("CARGO_BIN_EXE_weir-under-test")).command();
    command
        .current_dir(folder)
        .args(["replay", "p.toml", "--input", "events.jsonl", "--database", "p.db"]);
    let usage = usage::run(&mut command, folder).unwrap_or_else(|error| panic!("{error}"));
    let said = fs::read_to_string(folder.join(usage::SAID)).expect("it says something");
    (contents(&database), said, usage)
}

pub(crate) fn row(what: &str, outcome: &str, usage: Usage) {
    let (memory, time) = (usage.peak_rss_bytes >> 20, usage.wall.as_secs_f64());
    println!("{what:<36} {outcome:<44} {memory:>6} MiB {time:>7.2} s");
}

#[test]
fn a_guest_that_misbehaves_costs_one_event_and_little_of_the_host() {
    let pipeline = format!(
        r#"
name = "hostile"
source = {{ stream = "TEST", subject = "test", columns = {{ id = "int", what = "text" }} }}
[[step]]
name = "hostile"
stage = {{ module = '{}', limits = {{ memory_mib = 8, output_mib = 1, deadline_ms = 100 }} }}
[[sink]]
table = "all"
"#,
        guest("hostile").display()
    );
    let events = |what: Option<&str>| -> String {
        let event = |at: usize| match what {
            Some(what) if at % POISON_EVERY == 7 => format!("{{\"id\":{at},\"what\":\"{what}\"}}\n"),
            // It says nothing, so that whoever keeps a row of poison shows.
            None if at % POISON_EVERY == 7 => "\n".to_owned(),
            _ => format!("{{\"id\":{at},\"what\":\"fine\"}}\n"),
        };
        (0..EVENTS).map(event).collect()
    };
    let folder = scratch();
    let (expected, without) = replay(folder.path(), &pipeline, events(None).as_bytes());
    row("nothing", &format!("{} events, no dead letter", EVENTS - 2), without);
    for misdeed in &MISDEEDS {
        let folder = scratch();
        let (found, usage) = replay(folder.path(), &pipeline, events(Some(misdeed.what)).as_bytes());
        let dead: Vec<u64> = found.dead_letters.iter().map(|letter| letter.sequence).collect();
        assert_eq!(dead, [8, 8 + POISON_EVERY as u64], "{}", misdeed.what);
        assert_eq!(found.tables, expected.tables, "{}: the events around it", misdeed.what);
        row(misdeed.what, "2 dead letters, 0 events lost around them", usage);
        let most = without.peak_rss_bytes + MORE_MEMORY_BYTES;
        assert!(
            usage.peak_rss_bytes < most,
            "{}: {} bytes",
            misdeed.what,
            usage.peak_rss_bytes
        );
        assert!(
            usage.wall < without.wall + MORE_TIME,
            "{}: {:?}",
            misdeed.what,
            usage.wall
        );
    }
}

#[test]
fn a_payload_without_measure_costs_itself_and_little_of_the_host() {
    let pipeline = r#"
name = "payloads"
source = { stream = "TEST", subject = "test", columns = { id = "int", name = "text" } }
[[step]]
name = "latest"
last_value = { key = ["name"] }
[[sink]]
table = "names"
primary_key = ["name"]
"#;
    let nested = |open: &str, close: &str, count: usize| {
        format!(
            "{{\"other\":{}1{},\"id\":7,\"name\":\"n\"}}\n",
            open.repeat(count),
            close.repeat(count)
        )
    };
    let members: String = (0..1_000_000).map(|at| format!("\"m{at}\":{at},")).collect();
    let long = "k".repeat(1 << 20);
    let large = "x".repeat(64 << 20);
    // Each with how many rows come of it, and how many dead letters.
    let payloads: [(&str, String, usize, usize); 7] = [
        (
            "64 MiB of text in a column",
            format!("{{\"id\":7,\"name\":\"{large}\"}}\n"),
            1,
            0,
        ),
        (
            "64 MiB of text in no column",
            format!("{{\"id\":7,\"name\":\"n\",\"other\":\"{large}\"}}\n"),
            1,
            0,
        ),
        ("64 MiB that are no JSON", format!("{large}\n"), 0, 1),
        (
            "a million members",
            format!("{{{members}\"id\":7,\"name\":\"n\"}}\n"),
            1,
            0,
        ),
        ("lists in lists, 10 000 deep", nested("[", "]", 10_000), 1, 0),
        ("objects in objects, 10 000 deep", nested("{\"a\":", "}", 10_000), 1, 0),
        (
            "a hundred keys of 1 MiB",
            (0..100)
                .map(|at| format!("{{\"id\":{at},\"name\":\"{at}{long}\"}}\n"))
                .collect(),
            100,
            0,
        ),
    ];
    let around =
        |payload: &str| format!("{{\"id\":1,\"name\":\"before\"}}\n{payload}{{\"id\":2,\"name\":\"after\"}}\n");
    let folder = scratch();
    let (_, without) = replay(folder.path(), pipeline, around("").as_bytes());
    row("nothing", "2 rows", without);
    for (what, payload, rows, dead) in payloads {
        let folder = scratch();
        let input = around(&payload);
        let (found, usage) = replay(folder.path(), pipeline, input.as_bytes());
        assert_eq!(found.dead_letters.len(), dead, "{what}");
        assert_eq!(found.tables["names"].rows.len(), rows + 2, "{what}");
        row(what, &format!("{rows} rows, {dead} dead letters"), usage);
        // Copies on the way: the line, the payload, the column, the row, the state, the log, the table.
        let most = without.peak_rss_bytes + MORE_MEMORY_BYTES + 10 * payload.len() as u64;
        assert!(usage.peak_rss_bytes < most, "{what}: {} bytes", usage.peak_rss_bytes);
        assert!(usage.wall < MORE_TIME, "{what}: {:?}", usage.wall);
    }
}
