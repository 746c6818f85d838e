//! `--json`: what scripts read, as `docs/JSON.md` says it.

use super::{Folder, NAMES};
use serde_json::Value as Json;
use std::{collections::BTreeMap, fs};
use weir_tests::{command::Outcome, workspace};

const EVENTS: &str = "{\"id\":1,\"name\":\"a\"}\nbroken\n{\"id\":2,\"name\":\"b\"}\n";

/// The examples of the document, by the heading that they stand under.
fn examples() -> BTreeMap<String, Vec<Json>> {
    let text = fs::read_to_string(workspace().join("docs/JSON.md")).expect("the document is there");
    let mut examples: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    let (mut heading, mut inside) = (String::new(), false);
    for line in text.lines() {
        if let Some(next) = line.strip_prefix("### ") {
            heading = next.to_owned();
        } else if line.starts_with("```") {
            inside = line == "```json";
        } else if inside {
            let value = serde_json::from_str(line).unwrap_or_else(|cause| panic!("{heading}: {cause}: {line}"));
            examples.entry(heading.clone()).or_default().push(value);
        }
    }
    examples
}

/// Checks that a value has the members of an example (it may have more), of the same types. What is null in either may be anything; names of tables and
/// states are values.
#[track_caller]
fn check_shape(place: &str, example: &Json, found: &Json) {
    match (example, found) {
        (Json::Null, _) | (_, Json::Null) => {}
        (Json::Object(example), Json::Object(found)) => {
            if place.ends_with(".tables") || place.ends_with(".states") || place.ends_with(".parameters") {
                return;
            }
            for (name, example) in example {
                let place = format!("{place}.{name}");
                let found = found.get(name);
                check_shape(&place, example, found.unwrap_or_else(|| panic!("{place} is not there")));
            }
        }
        (Json::Array(example), Json::Array(found)) => {
            if let (Some(example), Some(found)) = (example.first(), found.first()) {
                check_shape(&format!("{place}[]"), example, found);
            }
        }
        _ => assert_eq!(
            std::mem::discriminant(found),
            std::mem::discriminant(example),
            "{place}: {found} for {example}"
        ),
    }
}

/// Each line of standard output as JSON.
#[track_caller]
fn lines(outcome: &Outcome) -> Vec<Json> {
    let lines = outcome.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|cause| panic!("{cause}: {line}")))
        .collect()
}

#[track_caller]
fn check(heading: &str, found: &[Json]) {
    let examples = examples();
    let example = examples
        .get(heading)
        .unwrap_or_else(|| panic!("no example of {heading}"));
    let kind = |value: &Json| value.get("kind").and_then(Json::as_str).map(str::to_owned);
    assert!(!found.is_empty(), "{heading} says nothing");
    for found in found {
        let same = example.iter().find(|example| kind(example) == kind(found));
        let same = same.unwrap_or_else(|| panic!("no example of {heading} is like {found}"));
        check_shape(heading, same, found);
    }
}

/// The pipeline of the examples with a lookup table.
const CITIES: &str = r#"
name = "cities"
source = { stream = "S", subject = "s", columns = { id = "int", name = "text" } }
[table.cities]
primary_key = ["name"]
columns = { name = "text", people = "int" }
[[step]]
name = "joined"
lookup = { table = "cities", on = { name = "name" } }
[[sink]]
table = "joined"
"#;

#[test]
fn what_scripts_read_is_as_the_document_says() {
    let folder = Folder::with(NAMES);
    folder.write("events.jsonl", EVENTS);
    let json = |command: &str, code: i32| lines(&folder.weir(&format!("{command} --json")).ends_with(code));
    check("weir check", &json("check p.toml", 0));
    check(
        "weir replay",
        &json("replay p.toml --input events.jsonl --database p.db", 0),
    );
    check("weir replay", &json("replay p.toml --input events.jsonl --discard", 0));
    check("weir status DATABASE", &json("status p.db", 0));
    check("weir verify", &json("verify p.db --pipeline p.toml", 0));
    check("weir explain", &json("explain p.db names id=1", 0));
    check("weir diff", &json("diff p.db p.db", 0));
    check("weir export", &json("export p.db names --to names.parquet", 0));
    check("weir dead-letters list", &json("dead-letters list p.db", 0));
    check("weir dead-letters list", &json("dead-letters show p.db 2", 0));
    check(
        "weir dead-letters retry",
        &json("dead-letters retry p.toml --database p.db --all", 3),
    );
    check("weir dead-letters drop", &json("dead-letters drop p.db --all", 0));
    check("an error", &json("check nothing.toml", 2));
    check("an error", &json("status nothing.db", 1));
    check("an error", &json("check", 2));
    check("an error", &json("frobnicate", 2));
    check("an error", &json("demo", 2));
    check("weir new", &json("new some-rule", 0));
    check("an error", &json("run p.toml --nats nats://127.0.0.1:1", 1));

    folder.write("c.toml", CITIES);
    folder.write("rows.jsonl", "{\"name\":\"x\",\"people\":1}\n{\"people\":2}\n");
    check(
        "weir table load",
        &json("table load c.toml cities --input rows.jsonl --database c.db", 3),
    );

    fs::create_dir_all(folder.path("cases/first")).expect("a folder can be made");
    folder.write("pipeline.toml", NAMES);
    folder.write("cases/first/input.jsonl", EVENTS);
    folder.write("cases/first/expected.jsonl", "{\"id\":1}\n");
    check("weir test", &json("test", 1));
    check("weir test", &json("test --update", 0));
    check("weir test", &json("test", 0));
}

#[test]
fn an_error_says_its_kind_and_the_exit_code() {
    let folder = Folder::with(NAMES);
    for (command, kind, code) in [
        ("check nothing.toml", "definition", 2),
        ("status nothing.db", "environment", 1),
        ("deploy", "arguments", 2),
    ] {
        let outcome = folder.weir(&format!("{command} --json")).ends_with(code);
        let said = lines(&outcome).pop().expect("a line");
        assert_eq!(said["error"]["kind"], kind, "{command}");
        assert_eq!(said["error"]["code"], code, "{command}");
        assert!(
            said["error"]["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty())
        );
        assert_ne!(outcome.stderr, "", "people are told too");
    }
}
