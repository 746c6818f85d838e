//! What a rule may have the host keep for it: lines of the log, handles, open files.

use crate::{
    bounds::replay_and_hear,
    made::{Made, with_module},
};
use rusqlite::{Connection, OpenFlags};
use std::{fs, path::Path, process::Stdio};
use weir::limits::{
    BATCH_EVENTS_MAX, GUEST_HANDLES_MAX, GUEST_LOG_LINE_BYTES, GUEST_LOG_LINES_PER_MINUTE, GUEST_MEMORIES_MAX,
};
use weir_tests::{
    command::Weir,
    guest,
    hostile::{self, Kind, full},
    scratch,
    table::Contents,
    wait_until,
};

/// What a run over events leaves and says, whose rule is `component`.
fn run(component: &[u8], columns: &str, events: &str) -> (Contents, String) {
    let folder = scratch();
    let pipeline = pipeline(folder.path(), component, columns);
    let (contents, said, _) = replay_and_hear(folder.path(), &pipeline, events.as_bytes());
    (contents, said)
}

/// The pipeline file of a rule that lies in this folder from now on.
fn pipeline(folder: &Path, component: &[u8], columns: &str) -> String {
    fs::write(folder.join("rule.wasm"), component).expect("a file of the test can be written");
    format!(
        r#"
name = "lavish"
source = {{ stream = "TEST", subject = "test", columns = {{ {columns} }} }}
[[step]]
name = "lavish"
stage = {{ module = "rule.wasm" }}
[[sink]]
table = "all"
"#
    )
}

#[test]
fn a_rule_says_a_hundred_lines_in_a_call_and_no_more() {
    let line = "(call $write (i32.const 3) (i32.const 1450) (i32.const 5))";
    let rule = Made {
        fields: "(data (i32.const 1450) \"hello\")",
        process: &format!("(if (local.get 0) (then {}))", line.repeat(150)),
        ..Made::default()
    };
    let (contents, said) = run(&rule.component(), "id = \"int\"", "{\"id\":1}\n");
    assert_eq!(contents.tables["all"].rows.len(), 1);
    assert_eq!(said.matches("rule made says (error): hello").count(), 100, "{said}");
    assert!(
        said.contains("rule made said more than 100 lines in one call; the rest is dropped"),
        "{said}"
    );
}

/// What it says is one line, and nothing in it looks as if somebody else had said it.
#[test]
fn a_line_is_cut_and_shown_as_what_it_is() {
    const BEGINS: &str = "a\nweir: all is well\u{1b}[2J";
    let data: String = BEGINS.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let rule = Made {
        fields: &format!("(data (i32.const 210000) \"{data}\")"),
        process: &format!(
            "(if (local.get 0) (then
                (memory.fill (i32.const {}) (i32.const 0x78) (i32.const 10000))
                (call $write (i32.const 3) (i32.const 210000) (i32.const 10000))))",
            210_000 + BEGINS.len()
        ),
        ..Made::default()
    };
    let (_, said) = run(&rule.component(), "id = \"int\"", "{\"id\":1}\n");
    let rest = "x".repeat(GUEST_LOG_LINE_BYTES - BEGINS.len());
    let line = format!("rule made says (error): a\\nweir: all is well\\u{{1b}}[2J{rest}\n");
    assert!(said.contains(&line), "{said}");
}

/// Each call is within its bound, and there are more of them than a minute has lines for.
#[test]
fn a_rule_says_a_thousand_lines_in_a_minute_and_no_more() {
    let line = "(call $write (i32.const 3) (i32.const 1450) (i32.const 5))";
    let rule = Made {
        fields: "(data (i32.const 1450) \"hello\")",
        process: &format!("(if (local.get 0) (then {}))", line.repeat(90)),
        ..Made::default()
    };
    let events: String = (0..20 * BATCH_EVENTS_MAX)
        .map(|id| format!("{{\"id\":{id}}}\n"))
        .collect();
    let (contents, said) = run(&rule.component(), "id = \"int\"", &events);
    assert_eq!(contents.tables["all"].rows.len(), 20 * BATCH_EVENTS_MAX);
    let lines = said.matches("rule made says (error): hello").count();
    assert_eq!(lines, GUEST_LOG_LINES_PER_MINUTE);
    let dropped = "rule made said more than 1000 lines in a minute; what it says in the rest of it is dropped";
    assert_eq!(said.matches(dropped).count(), 1, "it is said once");
}

/// What a memory begins with lies in a file without a name, of which each instance maps its own copy.
#[test]
fn a_module_keeps_a_file_open_for_each_of_its_memories_and_no_more() {
    let mut component = Made::default().component();
    for at in 1..GUEST_MEMORIES_MAX {
        let module = format!("(module (memory 1) (data (i32.const {at}) \"contents\"))");
        component = with_module(component, &module, 1);
    }
    let folder = scratch();
    fs::write(
        folder.path().join("p.toml"),
        pipeline(folder.path(), &component, "id = \"int\""),
    )
    .expect("a file of the test can be written");
    fs::write(folder.path().join("events.jsonl"), "{\"id\":1}\n").expect("a file of the test can be written");
    let mut process = Weir::at(env!("CARGO_BIN_EXE_weir-under-test"))
        .command()
        .current_dir(folder.path())
        .args([
            "replay",
            "p.toml",
            "--input",
            "events.jsonl",
            "--database",
            "p.db",
            "--follow",
        ])
        .stdout(Stdio::null())
        .spawn()
        .expect("weir can be started");
    let open = format!("/proc/{}/fd", process.id());
    let images = || {
        let files = fs::read_dir(&open).expect("the process runs").flatten();
        let names = files.filter_map(|file| fs::read_link(file.path()).ok());
        names
            .filter(|name| name.to_string_lossy().contains("wasm-memory-image"))
            .count()
    };
    let is_past_the_event = || {
        let connection = Connection::open_with_flags(folder.path().join("p.db"), OpenFlags::SQLITE_OPEN_READ_ONLY);
        let position = connection.and_then(|connection| {
            connection.query_row("SELECT position FROM weir_pipeline", [], |row| row.get::<_, i64>(0))
        });
        position == Ok(1)
    };
    wait_until("the event", is_past_the_event);
    let found = images();
    weir_tests::command::interrupt(&process);
    assert!(process.wait().expect("weir ends").success());
    assert_eq!(found, GUEST_MEMORIES_MAX);
}

#[test]
fn a_rule_that_makes_handles_and_drops_none_is_ended() {
    let good = fs::read(guest("versions")).expect("the guest can be read");
    let columns = "n = \"int\", k = \"text\"";
    let reasons = |component: &[u8]| -> Vec<String> {
        let (contents, _) = run(component, columns, "{\"n\":1,\"k\":\"a\"}\n");
        contents.dead_letters.into_iter().map(|letter| letter.reason).collect()
    };
    assert_eq!(reasons(&hostile::with_handles(&good, GUEST_HANDLES_MAX)), [""; 0]);
    let one_more = hostile::with_handles(&good, GUEST_HANDLES_MAX + 1);
    for component in [one_more, full(&good, Kind::Handles)] {
        let reasons = reasons(&component);
        assert_eq!(reasons.len(), 1);
        let reason = &reasons[0];
        assert!(
            reason.starts_with("the rule holds more than 4096 handles of resources"),
            "{reason}"
        );
    }
}
