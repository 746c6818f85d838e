//! `weir status` and `weir verify` of a database: what it holds, and what of it does not hold.

use super::{Folder, sql};
use std::fs;
use weir_tests::seed::with_seed;

/// Names by id, how often each occurs, and all rows as they came.
const PIPELINE: &str = r#"
name = "names"
source = { stream = "S", subject = "s", columns = { id = "int", name = "text", amount = "double" } }
[[step]]
name = "latest"
last_value = { key = ["id"] }
[[step]]
name = "by-name"
[step.aggregate]
group_by = ["name"]
columns = { ids = { count = "*" }, total = { sum = "amount" }, most = { max = "amount" } }
[[sink]]
from = "latest"
table = "names"
primary_key = ["id"]
columns = ["id", "name"]
[[sink]]
from = "by-name"
table = "by_name"
primary_key = ["name"]
[[sink]]
from = "source"
table = "all_rows"
"#;

/// Events that change, move and take back, with a dead letter among them.
fn filled(events: usize) -> Folder {
    let folder = Folder::with(PIPELINE);
    let mut lines = String::from("broken\n");
    with_seed(|random| {
        for _ in 0..events {
            let (id, name) = (random.below(events / 3), random.below(7));
            let name = if name == 0 {
                "null".to_owned()
            } else {
                format!("\"n{name}\"")
            };
            let amount = random.pick(&["-0.0", "0.1", "1e300", "null", "7"]);
            lines += &format!("{{\"id\": {id}, \"name\": {name}, \"amount\": {amount}}}\n");
        }
    });
    folder.replay(lines).ends_with(0);
    folder
}

const VERIFY: &str = "verify p.db --pipeline p.toml";

#[test]
fn a_database_that_was_left_alone_holds() {
    let folder = filled(2000);
    let before = fs::read(folder.path("p.db")).expect("the database can be read");
    let told = folder.weir(VERIFY).ends_with(0).stdout;
    assert!(!told.contains("BROKEN"), "{told}");
    for line in [
        "pages",
        "2001 events = 2000 applied + 0 filtered + 1 dead letters + 0 empty",
        "1 held and 0 dropped of 1 counted, none after the position",
        "table by_name",
        "7 rows, as the state has them",
        "replay and diff",
    ] {
        assert!(told.contains(line), "{line:?} is not in\n{told}");
    }
    let lines = folder.weir("verify p.db --json").ends_with(0).stdout;
    for line in lines.lines() {
        let check: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        assert_eq!(check["verdict"], "holds", "{check}");
    }
    let after = fs::read(folder.path("p.db")).expect("the database can be read");
    assert_eq!(before, after, "it was only read");
}

#[test]
fn what_a_database_holds_is_shown() {
    let folder = filled(300);
    let shown = folder.weir("status p.db").ends_with(0).stdout;
    for text in [
        "names from a file of events",
        "position 301",
        "301 events = 300 applied + 0 filtered + 1 dead letters + 0 empty",
        "state by-name/groups",
        "table all_rows",
    ] {
        assert!(shown.contains(text), "{text:?} is not in\n{shown}");
    }
    let json = folder.weir("status p.db --json").ends_with(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("a line is JSON");
    assert_eq!(json["counts"]["events"], 301);
    assert_eq!(json["tables"]["all_rows"], 300);
    // As many keys as rows, and as many groups.
    for (state, table) in [("latest/rows", "names"), ("by-name/groups", "by_name")] {
        assert_eq!(json["states"][state]["entries"], json["tables"][table], "{json}");
        assert!(json["states"][state]["bytes"].as_u64() > json["tables"][table].as_u64());
    }
    folder
        .weir("status other.db")
        .ends_with(1)
        .says("there is no database other.db");
}

#[test]
fn what_somebody_changed_is_found() {
    for (change, said) in [
        (
            "UPDATE by_name SET total = 3.25 WHERE name = 'n1'",
            "BROKEN   has (name = n1, ids = ",
        ),
        (
            "DELETE FROM names WHERE id = (SELECT min(id) FROM names)",
            "has no (id = 0, name = ",
        ),
        (
            "INSERT INTO names VALUES (-1, 'x')",
            "has (id = -1, name = x), and the state does not",
        ),
        (
            "UPDATE weir_pipeline SET filtered = 5",
            "does not add up: the sum is 6006",
        ),
        ("UPDATE weir_pipeline SET position = 0", "1 come after position 0"),
        (
            "INSERT INTO weir_dead_letter (pipeline, sequence, time_ms, step, reason, payload)
             VALUES ('names', 3, 0, 'source', 'made up', x'')",
            "2 are held and 0 were dropped, but 1 were counted",
        ),
        (
            "UPDATE weir_state_snapshot SET bucket = 1000 + bucket WHERE state = 'latest/rows' AND entries <> x''",
            "of state \"latest/rows\" holds keys of other buckets",
        ),
        (
            "UPDATE weir_state_snapshot SET entries = substr(entries, 1, length(entries) - 1) WHERE state = 'latest/rows' AND entries <> x''",
            "of state \"latest/rows\" is not what was written: its bytes are damaged",
        ),
        (
            "UPDATE weir_state_snapshot SET entries = CAST(substr(entries, 1, length(entries) - 1) || 'z' AS BLOB) WHERE state = 'latest/rows' AND entries <> x''",
            "of state \"latest/rows\" is not what was written: its bytes are damaged",
        ),
        (
            "INSERT INTO weir_state_log (pipeline, epoch, part, state, entries) VALUES ('names', 9999, 1, 'latest/rows', x'')",
            "turn 9999 has 1 parts, numbered 1 to 1",
        ),
        (
            "DELETE FROM weir_state WHERE state = 'latest/rows'",
            "it holds 1 states that nobody announced",
        ),
        (
            "UPDATE weir_state SET fingerprint = 'something else' WHERE state = 'by-name/groups'",
            "state \"by-name/groups\" is held for something else",
        ),
        (
            "INSERT INTO weir_outbox (pipeline, subject, message_id, sequence, payload) VALUES ('names', 'a', 'b', 9999, '')",
            "1 messages come after position 6001",
        ),
    ] {
        let folder = filled(6000);
        sql(&folder.path("p.db"), change);
        let told = folder.weir(VERIFY).ends_with(3).stdout;
        assert!(told.contains(said), "{change}: {said:?} is not in\n{told}");
    }
}

#[test]
fn a_damaged_page_is_told() {
    let folder = filled(9000);
    let path = folder.path("p.db");
    let mut bytes = fs::read(&path).expect("the database can be read");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xa5);
    fs::write(&path, bytes).expect("the database can be written");
    let told = folder.weir(VERIFY).ends_with(3).stdout;
    assert!(told.contains("pages") && told.contains("BROKEN"), "{told}");
}

#[test]
fn a_pipeline_that_the_database_does_not_have_is_refused() {
    let folder = filled(300);
    folder.write("q.toml", PIPELINE.replacen("\"names\"", "\"others\"", 1));
    folder
        .weir("verify p.db --pipeline q.toml")
        .ends_with(2)
        .says("database p.db has no pipeline \"others\"; it has names");
}
