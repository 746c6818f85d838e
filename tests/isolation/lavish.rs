//! What a rule may have the host keep for it in a call: lines of the log, and handles.

use crate::{bounds::replay_and_hear, made::Made};
use std::fs;
use weir_tests::{
    guest,
    hostile::{Kind, full},
    scratch,
    table::Contents,
};

/// What a run over one event leaves and says, whose rule is `component`.
fn run(component: &[u8], columns: &str, event: &str) -> (Contents, String) {
    let folder = scratch();
    fs::write(folder.path().join("rule.wasm"), component).expect("a file of the test can be written");
    let pipeline = format!(
        r#"
name = "lavish"
source = {{ stream = "TEST", subject = "test", columns = {{ {columns} }} }}
[[step]]
name = "lavish"
stage = {{ module = "rule.wasm" }}
[[sink]]
table = "all"
"#
    );
    let (contents, said, _) = replay_and_hear(folder.path(), &pipeline, event.as_bytes());
    (contents, said)
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

#[test]
fn a_rule_that_makes_handles_and_drops_none_is_ended() {
    let good = fs::read(guest("versions")).expect("the guest can be read");
    let columns = "n = \"int\", k = \"text\"";
    let component = full(&good, Kind::Handles);
    let (contents, _) = run(&component, columns, "{\"n\":1,\"k\":\"a\"}\n");
    let reasons: Vec<&str> = contents.dead_letters.iter().map(|letter| &*letter.reason).collect();
    assert_eq!(reasons.len(), 1);
    let reason = reasons[0];
    assert!(
        reason.starts_with("the rule holds more than 4096 handles of resources"),
        "{reason}"
    );
}
