//! `weir diff`: every difference between two databases, and nothing written to either.

use super::{Folder, NAMES, changed, sql};
use expect_test::{Expect, expect};
use serde_json::{Value as Json, json};
use std::{collections::BTreeMap, fs};
use weir_tests::{command::Outcome, seed};

/// Sums by city, which may be null, and every event as it came.
const CITIES: &str = r#"
name = "cities"
source = { stream = "S", subject = "s", columns = { city = "text", amount = "double" } }
[[step]]
name = "by-city"
aggregate = { group_by = ["city"], columns = { total = { sum = "amount" } } }
[[sink]]
table = "totals"
primary_key = ["city"]
[[sink]]
from = "source"
table = "events"
"#;

/// A folder with two databases of one pipeline, and nothing of what filled them.
fn two(pipeline: &str, a: &str, b: &str) -> Folder {
    let folder = Folder::with(pipeline);
    for (name, events) in [("a.db", a), ("b.db", b)] {
        folder.replay(events).ends_with(0);
        fs::rename(folder.path("p.db"), folder.path(name)).expect("a database can be renamed");
    }
    for used in ["p.db-lock", "events.jsonl", "p.toml"] {
        fs::remove_file(folder.path(used)).expect("the file is there");
    }
    folder
}

/// Runs `weir diff`, and checks that both databases are as they were, with nothing beside them.
#[track_caller]
fn diff(folder: &Folder, options: &str, code: i32) -> Outcome {
    let read = |name: &str| fs::read(folder.path(name)).expect("the database can be read");
    let before = (read("a.db"), read("b.db"));
    let outcome = folder.weir(&format!("diff a.db b.db {options}")).ends_with(code);
    assert!(before == (read("a.db"), read("b.db")), "a database was changed");
    let entries = fs::read_dir(folder.0.path()).expect("the folder can be read");
    let mut left: Vec<_> = entries.map(|entry| entry.expect("it is there").file_name()).collect();
    left.sort();
    assert_eq!(left, ["a.db", "b.db"]);
    outcome
}

#[track_caller]
fn check(folder: &Folder, options: &str, code: i32, expected: &Expect) {
    let outcome = diff(folder, options, code);
    assert_eq!(outcome.stderr, "");
    expected.assert_eq(&outcome.stdout);
}

fn lines(outcome: &Outcome) -> Vec<Json> {
    let lines = outcome.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("each line is one JSON object"))
        .collect()
}

#[test]
fn equal_databases_end_with_0() {
    // Not in the same order, and not from the same events.
    let folder = two(
        NAMES,
        "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"amount\":0.5}\n",
        "{\"id\":2,\"amount\":0.5}\n{\"id\":1,\"name\":\"b\"}\n{\"id\":1,\"name\":\"a\"}\n",
    );
    check(
        &folder,
        "",
        0,
        &expect![[r#"
            - a.db: names up to sequence 2, from a file of events
            + b.db: names up to sequence 3, from a file of events

            names by id: 2 the same

            dead letters: 0 the same
        "#]],
    );
}

#[test]
fn rows_are_compared_by_key_and_shown_side_by_side() {
    let folder = two(
        NAMES,
        "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"保险\",\"amount\":0.3}\nbroken\n{\"id\":4}\n{\"id\":6,\"name\":\"x\\n\\u001b[1m\"}\n",
        "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"b\",\"amount\":0.30000000000000004}\n{\"id\":3,\"amount\":1}\n{\"id\":4,\"name\":\"\"}\nbroken\n",
    );
    check(
        &folder,
        "",
        3,
        &expect![[r#"
        - a.db: names up to sequence 5, from a file of events
        + b.db: names up to sequence 5, from a file of events

        names by id: - 1 only in the first, + 1 only in the second, ~ 2 changed, 1 the same
          - id 6: name "x\n\u{1b}[1m", amount null
          + id 3: name null, amount 1.0
          ~ id 2
              name    "保险"  →  "b"
              amount  0.3     →  0.30000000000000004
          ~ id 4
              name    null    →  ""

        dead letters: - 1 only in the first, + 1 only in the second, 0 the same
          - names #3 decode: found `broken` at byte 0; accepted is one JSON object
          + names #5 decode: found `broken` at byte 0; accepted is one JSON object
    "#]],
    );
    check(
        &folder,
        "--limit 0 --table names",
        3,
        &expect![[r#"
        - a.db: names up to sequence 5, from a file of events
        + b.db: names up to sequence 5, from a file of events

        names by id: - 1 only in the first, + 1 only in the second, ~ 2 changed, 1 the same
          - … and 1 more
          + … and 1 more
          ~ … and 2 more
    "#]],
    );
    check(
        &folder,
        "--json",
        3,
        &expect![[r#"
            {"kind":"row","table":"names","in":"both","key":{"id":2},"a":{"name":"保险","amount":0.3},"b":{"name":"b","amount":0.30000000000000004}}
            {"kind":"row","table":"names","in":"b","row":{"id":3,"name":null,"amount":1.0}}
            {"kind":"row","table":"names","in":"both","key":{"id":4},"a":{"name":null},"b":{"name":""}}
            {"kind":"row","table":"names","in":"a","row":{"id":6,"name":"x\n\u001b[1m","amount":null}}
            {"kind":"table","table":"names","in":"both","same":1,"only_in_a":1,"only_in_b":1,"changed":2}
            {"kind":"dead_letter","in":"a","pipeline":"names","sequence":3,"step":"decode","reason":"found `broken` at byte 0; accepted is one JSON object"}
            {"kind":"dead_letter","in":"b","pipeline":"names","sequence":5,"step":"decode","reason":"found `broken` at byte 0; accepted is one JSON object"}
            {"kind":"dead_letters","same":0,"only_in_a":1,"only_in_b":1}
        "#]],
    );
    check(
        &folder,
        "--json --limit 0",
        3,
        &expect![[r#"
            {"kind":"table","table":"names","in":"both","same":1,"only_in_a":1,"only_in_b":1,"changed":2}
            {"kind":"dead_letters","same":0,"only_in_a":1,"only_in_b":1}
        "#]],
    );
}

#[test]
fn nulls_in_a_key_are_equal_and_rows_without_a_key_are_counted() {
    let folder = two(
        CITIES,
        "{\"amount\":1}\n{\"city\":\"a\",\"amount\":2}\n{\"city\":\"a\",\"amount\":2}\n{}\n",
        "{\"city\":\"a\",\"amount\":2}\n{\"amount\":3}\n{\"city\":\"a\",\"amount\":2}\n{\"city\":\"a\",\"amount\":2}\n{}\n",
    );
    check(
        &folder,
        "",
        3,
        &expect![[r#"
        - a.db: cities up to sequence 4, from a file of events
        + b.db: cities up to sequence 5, from a file of events

        events: - 1 only in the first, + 2 only in the second, 3 the same
          - city null, amount 1.0
          + city null, amount 3.0
          + city "a", amount 2.0

        totals by city: ~ 2 changed, 0 the same
          ~ city null
              total  1.0  →  3.0
          ~ city "a"
              total  4.0  →  6.0

        dead letters: 0 the same
    "#]],
    );
}

#[test]
fn a_column_of_another_type_is_another_column() {
    let folder = two(NAMES, "{\"id\":1,\"amount\":1}\n", "{\"id\":1,\"amount\":1}\n");
    fs::remove_file(folder.path("b.db")).expect("it is there");
    let ints = changed("amount = \"double\"", "amount = \"int\", place = \"text\"");
    folder.write("p.toml", ints);
    folder.replay("{\"id\":1,\"amount\":1}\n").ends_with(0);
    fs::rename(folder.path("p.db"), folder.path("b.db")).expect("it is there");
    for used in ["p.db-lock", "events.jsonl", "p.toml"] {
        fs::remove_file(folder.path(used)).expect("the file is there");
    }
    check(
        &folder,
        "",
        3,
        &expect![[r#"
        - a.db: names up to sequence 1, from a file of events
        + b.db: names up to sequence 1, from a file of events

        names by id: 1 the same
          - columns amount REAL
          + columns amount INTEGER, place TEXT

        dead letters: 0 the same
    "#]],
    );
}

#[test]
fn tables_of_one_database_and_tables_with_other_keys_differ() {
    let folder = two(NAMES, "{\"id\":1}\n{\"id\":2}\n", "");
    fs::remove_file(folder.path("b.db")).expect("it is there");
    for (pipeline, from) in [
        (
            changed("primary_key = [\"id\"]", "primary_key = [\"name\", \"id\"]"),
            "names",
        ),
        (CITIES.to_owned(), "cities"),
    ] {
        folder.write("p.toml", pipeline);
        folder.write("events.jsonl", "{\"id\":1}\n");
        let replay = "replay p.toml --input events.jsonl --database b.db";
        let shown = folder.weir(replay).ends_with(0).stdout;
        assert!(shown.contains(from), "{shown}");
    }
    for used in ["b.db-lock", "events.jsonl", "p.toml"] {
        fs::remove_file(folder.path(used)).expect("the file is there");
    }
    check(
        &folder,
        "",
        3,
        &expect![[r#"
            - a.db: names up to sequence 2, from a file of events
            + b.db: cities up to sequence 1, from a file of events
            + b.db: names up to sequence 1, from a file of events

            events: 1 rows, only in b.db

            names: not compared, because the primary keys differ
              - primary key id INTEGER
              + primary key name TEXT, id INTEGER

            totals: 1 rows, only in b.db

            dead letters: 0 the same
        "#]],
    );
    check(
        &folder,
        "--table totals --json",
        3,
        &expect![[r#"
        {"kind":"table","table":"totals","in":"b","rows":1}
    "#]],
    );
}

#[test]
fn what_cannot_be_compared_is_said() {
    let folder = two(NAMES, "{\"id\":1}\n", "{\"id\":1}\n");
    let said = "neither database has a table \"weir_pipeline\"; there are names";
    diff(&folder, "--table weir_pipeline", 2).says(said);
    folder
        .weir("diff a.db c.db")
        .ends_with(1)
        .says("there is no database c.db");
    folder.write("text.db", "these are the notes of somebody\n".repeat(100));
    folder
        .weir("diff text.db b.db")
        .ends_with(1)
        .says("file is not a database");
    sql(&folder.path("other.db"), "CREATE TABLE accounts (id INTEGER)");
    let other = folder.weir("diff a.db other.db").ends_with(1);
    other.says("other.db is a SQLite database that Weir did not make");
}

#[test]
fn a_database_in_use_is_compared_as_it_is() {
    let folder = two(NAMES, "{\"id\":1}\n", "{\"id\":1}\n");
    let writer = rusqlite::Connection::open(folder.path("a.db")).expect("the database can be opened");
    writer
        .execute_batch("INSERT INTO names (id) VALUES (2); BEGIN; INSERT INTO names (id) VALUES (3)")
        .expect("rows can be written");
    let wal = fs::read(folder.path("a.db-wal")).expect("there is a log");
    let outcome = folder.weir("diff a.db b.db --json").ends_with(3);
    let expected = json!({"kind": "row", "table": "names", "in": "a", "row": {"id": 2, "name": null, "amount": null}});
    assert_eq!(lines(&outcome)[0], expected);
    assert_eq!(lines(&outcome)[1]["only_in_a"], 1, "what is not committed is not there");
    assert!(wal == fs::read(folder.path("a.db-wal")).expect("the log is still there"));
    assert!(!folder.path("b.db-wal").exists());
    drop(writer);
    assert!(!folder.path("a.db-wal").exists());
}

/// Random tables, compared against a model that holds all of them.
#[test]
fn nothing_is_missed_in_random_tables() {
    const PAIRS: &str = r#"
name = "pairs"
source = { stream = "S", subject = "s", columns = { place = "text", number = "int", share = "double" } }
[[step]]
name = "latest"
last_value = { key = ["place", "number"] }
[[sink]]
table = "pairs"
primary_key = ["place", "number"]
[[sink]]
from = "source"
table = "events"
"#;
    seed::with_seed(|random| {
        let folder = two(PAIRS, "", "");
        let mut keyed: [BTreeMap<String, Json>; 2] = Default::default();
        let mut bags: [BTreeMap<String, i64>; 2] = Default::default();
        for (side, name) in ["a.db", "b.db"].into_iter().enumerate() {
            let mut statements = "BEGIN;".to_owned();
            for _ in 0..400 {
                let place = ["NULL", "'a'", "'A'", "'ab'", "'保'", "''", "'\u{10000}'"][random.below(7)];
                let number = [
                    "NULL",
                    "-9223372036854775808",
                    "-1",
                    "0",
                    "7",
                    "70",
                    "9223372036854775807",
                ];
                let number = number[random.below(7)];
                let share = ["NULL", "0.1", "0.30000000000000004", "1e300"][random.below(4)];
                statements += &format!("INSERT INTO events VALUES ({place}, {number}, {share});");
                *bags[side].entry(format!("{place} {number} {share}")).or_default() += 1;
                if keyed[side].insert(format!("{place} {number}"), json!(share)).is_some() {
                    statements += &format!("DELETE FROM pairs WHERE place IS {place} AND number IS {number};");
                }
                statements += &format!("INSERT INTO pairs VALUES ({place}, {number}, {share});");
            }
            sql(&folder.path(name), &format!("{statements} COMMIT"));
        }
        let mut expected = [[0i64; 4]; 2];
        let [a, b] = &bags;
        for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
            let (in_a, in_b) = (a.get(key).unwrap_or(&0), b.get(key).unwrap_or(&0));
            expected[0][0] += in_a.min(in_b);
            expected[0][1] += (in_a - in_b).max(0);
            expected[0][2] += (in_b - in_a).max(0);
        }
        let [a, b] = &keyed;
        for (key, value) in a {
            match b.get(key) {
                None => expected[1][1] += 1,
                Some(other) if other == value => expected[1][0] += 1,
                Some(_) => expected[1][3] += 1,
            }
        }
        expected[1][2] = b.keys().filter(|key| !a.contains_key(*key)).count() as i64;

        let said = lines(&diff(&folder, "--json", 3));
        for (table, expected) in ["events", "pairs"].iter().zip(expected) {
            let of = |line: &&Json| line["table"] == *table;
            let summary = said
                .iter()
                .filter(of)
                .find(|line| line["kind"] == "table")
                .expect("there is one");
            let found = ["same", "only_in_a", "only_in_b", "changed"].map(|count| summary[count].as_i64());
            assert_eq!(found, expected.map(Some), "{table}");
            let rows = said.iter().filter(of).filter(|line| line["kind"] == "row").count() as i64;
            assert_eq!(
                rows,
                expected[1..].iter().sum::<i64>(),
                "{table}: every difference is listed"
            );
        }
    });
}
