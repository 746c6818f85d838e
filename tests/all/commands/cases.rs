//! `weir test` and its files: what is misspelt, twice there, or has no end is no case that passes.

use super::{Folder, NAMES, make_pipe};
use std::fs;

/// A folder with a case, which expects what comes out.
fn case() -> Folder {
    let folder = Folder::with(NAMES);
    fs::create_dir_all(folder.path("cases/first")).expect("a folder can be made");
    folder.write("pipeline.toml", NAMES);
    folder.write("cases/first/input.jsonl", "{\"id\":1,\"name\":\"a\"}\n");
    folder.write("cases/first/expected.jsonl", "{\"id\":1,\"name\":\"a\"}\n");
    folder
}

#[test]
fn an_update_of_a_case_without_output_writes_that_there_is_none() {
    let folder = case();
    folder.write("cases/first/input.jsonl", "broken\n");
    fs::remove_file(folder.path("cases/first/expected.jsonl")).expect("the file is there");
    let shown = folder.weir("test --update").ends_with(0).stdout;
    assert!(shown.starts_with("updated"), "{shown}");
    let written = fs::read_to_string(folder.path("cases/first/expected.jsonl"));
    assert_eq!(written.expect("the file was written"), "");
    let shown = folder.weir("test").ends_with(0).stdout;
    assert!(shown.starts_with("ok"), "{shown}");
    folder.write("cases/first/input.jsonl", "broken\n{\"id\":1}\n");
    folder.weir("test").ends_with(1);
}

#[test]
fn files_whose_names_say_nothing_are_refused() {
    for name in [
        "expcted.jsonl",
        "expected.json",
        "message.jsonl",
        "dead-letters.jsonl",
        "cases.toml",
        "starts.names.jsonl",
    ] {
        let folder = case();
        folder.write(&format!("cases/first/{name}"), "");
        folder.weir("test").ends_with(2).says(&format!(
            "cases/first/{name} is no file of a case; accepted are input.jsonl"
        ));
    }
    let folder = case();
    folder.write("cases/first/README.md", "Why it is there.");
    folder.weir("test").ends_with(0);
}

#[test]
fn a_member_that_is_there_twice_is_refused() {
    let folder = case();
    folder.write(
        "cases/first/expected.jsonl",
        "{\"id\":1,\"name\":\"b\",\"name\":\"a\"}\n",
    );
    folder
        .weir("test")
        .ends_with(2)
        .says("cases/first/expected.jsonl:1: the member \"name\" is there twice");
}

#[test]
fn files_without_end_are_refused() {
    for name in [
        "input.jsonl",
        "expected.jsonl",
        "case.toml",
        "dead_letters.jsonl",
        "messages.jsonl",
    ] {
        let folder = case();
        let _ = fs::remove_file(folder.path(&format!("cases/first/{name}")));
        make_pipe(&folder, &format!("cases/first/{name}"));
        folder.weir("test").ends_with(2);
    }
}

/// A pipeline with one sink table, and one that it looks up.
const WITH_LOOKUP: &str = r#"name = "p"
[source]
stream = "S"
subject = "s"
columns = { id = "int" }

[table.known]
primary_key = ["id"]
columns = { id = "int", name = "text" }

[[step]]
name = "find"
lookup = { table = "known", on = { id = "id" } }

[[sink]]
table = "found"
"#;

#[test]
fn an_update_without_output_is_understood_beside_a_lookup_table() {
    let folder = case();
    folder.write("pipeline.toml", WITH_LOOKUP);
    folder.write("cases/first/input.jsonl", "broken\n");
    fs::remove_file(folder.path("cases/first/expected.jsonl")).expect("the file is there");
    folder.weir("test --update").ends_with(0);
    let written = fs::read_to_string(folder.path("cases/first/expected.jsonl"));
    assert_eq!(written.expect("the file was written"), "");
    for command in ["test", "test --update"] {
        let shown = folder.weir(command).ends_with(0).stdout;
        assert!(shown.starts_with("ok"), "{shown}");
    }
    folder.write("cases/first/start.known.jsonl", "{\"id\":1,\"name\":\"a\"}\n");
    folder.write("cases/first/input.jsonl", "broken\n{\"id\":1}\n");
    folder.weir("test").ends_with(1);
}

#[test]
fn a_table_to_start_with_that_is_no_file_is_refused() {
    let folder = case();
    folder.write("pipeline.toml", WITH_LOOKUP);
    make_pipe(&folder, "cases/first/start.known.jsonl");
    folder
        .weir("test")
        .ends_with(2)
        .says("start.known.jsonl: it is a pipe; accepted is a file");
}

/// A double holds neither of these numbers.
#[test]
fn decimals_are_compared_in_all_their_digits() {
    let folder = case();
    folder.write(
        "pipeline.toml",
        "name = 'p'\nsource = { stream = 'S', subject = 's', columns = { id = 'int', amount = 'decimal(30, 2)', doc = 'json' } }\n\
         [[sink]]\ntable = 't'\n[[sink]]\nfrom = 'source'\nsubject = 'out'\n",
    );
    let input = "{\"id\":1,\"amount\":12345678901234567890.12,\"doc\":[0.10000000000000000001]}\n";
    folder.write("cases/first/input.jsonl", input);
    folder.write("cases/first/messages.jsonl", "");
    folder.weir("test --update").ends_with(0);
    folder.weir("test").ends_with(0);
    let read = |name: &str| fs::read_to_string(folder.path(&format!("cases/first/{name}"))).expect("the file is there");
    let messages = read("messages.jsonl");
    assert_eq!(
        messages,
        "{\"subject\":\"out\",\"message\":{\"id\":1,\"amount\":12345678901234567890.12,\"doc\":[0.10000000000000000001]}}\n"
    );
    let expected = read("expected.jsonl");
    assert!(expected.contains("\"12345678901234567890.12\""), "{expected}");
    // A number, which is the same decimal.
    folder.write(
        "cases/first/expected.jsonl",
        expected.replace("\"12345678901234567890.12\"", "12345678901234567890.120"),
    );
    folder.weir("test").ends_with(0);
    for (name, right, wrong) in [
        ("messages.jsonl", "7890.12", "7890.13"),
        ("messages.jsonl", "00001]", "00002]"),
        ("expected.jsonl", "7890.12", "7890.13"),
        ("expected.jsonl", "00001]", "00002]"),
    ] {
        let text = read(name);
        folder.write(&format!("cases/first/{name}"), text.replace(right, wrong));
        let shown = folder.weir("test").ends_with(1).stdout;
        assert!(shown.contains(right) && shown.contains(wrong), "{name}: {shown}");
        folder.write(&format!("cases/first/{name}"), &text);
    }
}
