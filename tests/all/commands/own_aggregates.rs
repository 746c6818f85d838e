//! Another aggregate of the user's own in the pipeline file, over the states that a database has.

use super::Folder;
use std::fs;
use weir_tests::{
    guest,
    table::{Cell, contents},
};

/// The module of the aggregate, with another text in the place of one as long.
fn patched(from: &str, to: &str) -> Vec<u8> {
    let mut bytes = fs::read(guest("factored-sum")).expect("the guest was built");
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let places: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, part)| *part == from)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty() && from.len() == to.len(), "the module has the text");
    places
        .iter()
        .for_each(|&at| bytes[at..at + to.len()].copy_from_slice(to));
    bytes
}

/// A module of the same states whose sums count so many times.
fn counting(times: u8) -> Vec<u8> {
    patched(
        "a sum counts so many times: 1",
        &format!("a sum counts so many times: {times}"),
    )
}

/// A sum by key, read by a table and by a rule; and a sum of the sums by what the rule says.
fn pipeline(over_changelog: bool, times: i64, rule: &str) -> String {
    let (last, from) = match over_changelog {
        true => (
            "[[step]]\nname = \"last\"\nlast_value = { key = [\"id\"], deleted = \"gone\" }",
            "last",
        ),
        false => ("", "source"),
    };
    format!(
        r#"
name = "sums"
source = {{ stream = "S", subject = "s", columns = {{ id = "int", k = "text", n = "int", gone = "boolean" }} }}
{last}
[[step]]
name = "sums"
from = "{from}"
[step.aggregate]
group_by = ["k"]
columns = {{ n = {{ module = "sum.wasm", parameters = {{ times = {times} }} }} }}
[[sink]]
table = "sums"
primary_key = ["k"]
[[step]]
name = "judge"
from = "sums"
stage = {{ module = '{}', parameters = {{ {rule} }} }}
[[sink]]
table = "judged"
primary_key = ["k"]
[[step]]
name = "all"
from = "judge"
[step.aggregate]
group_by = ["label"]
columns = {{ keys = {{ count = "*" }}, total = {{ sum = "n" }}, twice = {{ module = "sum.wasm", parameters = {{ times = 2 }} }} }}
[[sink]]
table = "all"
primary_key = ["label"]
"#,
        guest("versions").display()
    )
}

const EVENTS: &str = "{\"id\":1,\"k\":\"a\",\"n\":5}\n{\"id\":2,\"k\":\"a\",\"n\":2}\n{\"id\":3,\"k\":\"b\",\"n\":4}\n";

/// Checks all tables: `sums` are those of the keys, each of which counts `times`; those behind count `behind` times and twice.
#[track_caller]
fn check(folder: &Folder, sums: &[(&str, i64)], times: i64, behind: i64) {
    let tables = contents(&folder.path("p.db")).tables;
    let text = |text: &str| Cell::Text(text.to_owned());
    let rows = sums.iter().map(|(k, sum)| vec![text(k), Cell::Int(sum * times)]);
    assert_eq!(tables["sums"].rows, rows.collect::<Vec<_>>());
    let judged = tables["judged"].rows.iter().map(Vec::len);
    assert_eq!(judged.collect::<Vec<_>>(), vec![3; sums.len()]);
    let total: i64 = sums.iter().map(|(_, sum)| sum * times).sum();
    let all = [1, sums.len() as i64, total, total * behind * 2]
        .map(Cell::Int)
        .to_vec();
    assert_eq!(tables["all"].rows, [all]);
    folder.weir("verify p.db").ends_with(0);
}

#[test]
fn another_module_or_other_parameters_give_the_results_of_the_states_that_are_held() {
    for over_changelog in [false, true] {
        let folder = Folder::with(&pipeline(over_changelog, 1, "label = 1"));
        folder.write("sum.wasm", counting(1));
        folder.replay(EVENTS).ends_with(0);
        check(&folder, &[("a", 7), ("b", 4)], 1, 1);

        folder.write("sum.wasm", counting(3));
        folder.replay(EVENTS).ends_with(0);
        check(&folder, &[("a", 7), ("b", 4)], 3, 3);

        folder.write("p.toml", pipeline(over_changelog, 5, "label = 1"));
        folder.replay(EVENTS).ends_with(0);
        check(&folder, &[("a", 7), ("b", 4)], 15, 3);
        let explained = folder.weir("explain p.db sums k=a").ends_with(0).stdout;
        assert!(
            explained.contains("computed anew behind 3, where an aggregate took over"),
            "{explained}"
        );
        let explained = folder.weir("explain p.db sums k=a --json").ends_with(0).stdout;
        let explained: serde_json::Value = serde_json::from_str(&explained).expect("it is JSON");
        assert_eq!(explained["swaps"][0]["behind"], 3);
        assert_eq!(explained["swaps"][0]["step"], serde_json::Value::Null);

        // Rows go that came under another module, and a key with the last of them.
        let more =
            format!("{EVENTS}{{\"id\":2,\"k\":\"b\",\"n\":1}}\n{{\"id\":3,\"k\":\"b\",\"n\":4,\"gone\":true}}\n");
        folder.write("sum.wasm", counting(2));
        folder.replay(&more).ends_with(0);
        let sums = match over_changelog {
            true => [("a", 5), ("b", 1)],
            false => [("a", 7), ("b", 9)],
        };
        check(&folder, &sums, 10, 2);
    }
}

#[test]
fn a_module_that_describes_other_states_is_refused_and_says_what_to_build_anew() {
    let folder = Folder::with(&pipeline(true, 1, "label = 1"));
    folder.write("sum.wasm", counting(1));
    folder.replay(EVENTS).ends_with(0);
    folder.write("sum.wasm", patched("summed_up", "summed_in"));
    folder
        .replay(EVENTS)
        .ends_with(2)
        .says("column \"n\" of step \"sums\" is computed by factored-sum with states {summed_up: int} so far")
        .says("what stands there has to be built anew: name another --database and fill it from the stream");
    check(&folder, &[("a", 7), ("b", 4)], 1, 1);
    folder.write("sum.wasm", counting(1));
    folder.replay(EVENTS).ends_with(0);
}

#[test]
fn a_result_that_a_rule_behind_rejects_is_refused() {
    let rule = "label = 1, malformed = 10";
    let folder = Folder::with(&pipeline(true, 1, rule));
    folder.write("sum.wasm", counting(1));
    folder.replay(EVENTS).ends_with(0);
    folder.write("p.toml", pipeline(true, 5, rule));
    folder
        .replay(EVENTS)
        .ends_with(2)
        .says("step \"judge\" rejects a row that would come of it: malformed")
        .says("name another module or other parameters, or put back the former");
    check(&folder, &[("a", 7), ("b", 4)], 1, 1);
    // Nothing was taken over: the former go on.
    folder.write("p.toml", pipeline(true, 3, rule));
    folder.replay(EVENTS).ends_with(0);
    check(&folder, &[("a", 7), ("b", 4)], 3, 1);
}
