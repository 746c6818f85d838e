//! `weir explain`: which versions of which rules decided over a row.

use super::Folder;
use serde_json::{Value, json};
use std::fmt::Write;
use weir_tests::guest;

/// Two rules over the same events, each with a table of its own.
fn pipeline(label: u64) -> String {
    let module = guest("versions");
    let mut text =
        "name = \"two\"\nsource = { stream = \"S\", subject = \"s\", columns = { n = \"int\", k = \"text\" } }\n"
            .to_owned();
    for (rule, label) in [("first", label), ("second", 7)] {
        write!(
            text,
            "[[step]]\nname = \"{rule}\"\nfrom = \"source\"\n\
             stage = {{ module = '{}', parameters = {{ label = {label} }} }}\n\
             [[step]]\nname = \"{rule}-latest\"\nlast_value = {{ key = [\"k\"] }}\n\
             [[sink]]\ntable = \"{rule}\"\nprimary_key = [\"k\"]\n",
            module.display()
        )
        .expect("text can be written");
    }
    text
}

#[test]
fn a_changed_file_is_another_version_and_a_rule_without_part_is_not_named() {
    let folder = Folder::with(&pipeline(1));
    let lines = |last: u64| -> String { (1..=last).map(|n| format!("{{\"n\":{n},\"k\":\"a\"}}\n")).collect() };
    folder.replay(lines(3)).ends_with(0);
    folder.write("p.toml", pipeline(2));
    folder.replay(lines(5)).ends_with(0);

    let versions = |table: &str| -> Vec<Value> {
        let explained = folder.weir(&format!("explain p.db {table} k=a --json")).ends_with(0);
        let mut explained: Value = serde_json::from_str(&explained.stdout).expect("it is JSON");
        let versions = explained["versions"].as_array_mut().expect("there are versions");
        let labelled = |version: &mut Value| {
            json!({
                "step": version["step"],
                "label": version["parameters"]["label"],
                "events": version["events"],
                "first": version["first"],
                "last": version["last"],
            })
        };
        versions.iter_mut().map(labelled).collect()
    };
    let decided = |step: &str, label: u64, [events, first, last]: [u64; 3]| -> Value {
        json!({ "step": step, "label": label, "events": events, "first": first, "last": last })
    };
    assert_eq!(
        versions("first"),
        [decided("first", 1, [3, 1, 3]), decided("first", 2, [2, 4, 5])]
    );
    assert_eq!(versions("second"), [decided("second", 7, [5, 1, 5])]);
}
