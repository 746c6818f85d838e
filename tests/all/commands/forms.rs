//! `as` of a sink: how values look in tables and messages, and that Weir reads back what it wrote.

use super::{Folder, sql};
use expect_test::expect;
use std::fs;
use weir_tests::table::query;

/// One table with rows by their own key, one in which they compete, one to which they are appended, and messages.
const FORMS: &str = r#"
name = "forms"
[source]
stream = "S"
subject = "s"
[source.columns]
id = { type = "int", required = true }
at = { type = "timestamp", format = "rfc3339" }
day = "date"
price = "decimal(12, 2)"
wide = "decimal(18, 4)"
receipt = { type = "bytes", format = "base64" }
doc = "json"

[[step]]
name = "latest"
last_value = { key = ["id"] }

[[sink]]
table = "seconds"
primary_key = ["id"]
as = { at = "epoch_s", day = "epoch_days", price = "text", wide = "unscaled", receipt = "hex" }

[[sink]]
table = "competing"
primary_key = ["receipt", "price"]
columns = ["price", "receipt", "id", "at", "day"]
as = { receipt = "base64", price = "unscaled", at = "epoch_ms" }

[[sink]]
from = "source"
table = "appended"
columns = ["id", "at", "price", "wide", "receipt"]
as = { at = "epoch_us", price = "number", wide = "text", receipt = "blob" }

[[sink]]
from = "source"
subject = "out.forms"
as = { at = "epoch_ms", day = "epoch_days", price = "text", wide = "unscaled", receipt = "hex", doc = "text" }

[[sink]]
from = "source"
subject = "out.usual"
"#;

const EVENTS: &str = r#"{"id": 1, "at": "2026-03-15T12:00:00.123456+08:00", "day": "2026-03-15", "price": 10.10, "wide": 99999999999999.9999, "receipt": "AP8=", "doc": {"a": [1.50, "b"]}}
{"id": 2, "at": "1969-12-31T23:59:59.999999Z", "day": "1969-12-31", "price": -0.05, "wide": -0.0001, "receipt": "", "doc": "text"}
{"id": 3, "at": "0000-01-01T00:00:00Z", "day": "9999-12-31", "price": 9999999999.99, "wide": 1, "receipt": "AP8=", "doc": 1.0}
{"id": 4}
{"id": 3, "price": 10.1}
{"id": 1, "price": 10.1, "receipt": "AP+/"}
"#;

fn rows(folder: &Folder, table: &str) -> String {
    let columns = query(
        &folder.path("p.db"),
        &format!("SELECT name FROM pragma_table_info('{table}')"),
    );
    let cells: Vec<String> = columns.iter().map(|name| format!("quote({name})")).collect();
    let rows = query(
        &folder.path("p.db"),
        &format!(
            "SELECT concat_ws(' ', {}) FROM {table} ORDER BY id, {}",
            cells.join(", "),
            columns.join(", ")
        ),
    );
    format!("{}\n{}\n", columns.join(" "), rows.join("\n"))
}

#[test]
fn tables_hold_values_as_their_sinks_say() {
    let folder = Folder::with(FORMS);
    folder.replay(EVENTS).ends_with(0);
    expect![[r#"
        id at day price wide receipt doc
        1 1773547200 20527 '10.10' 999999999999999999 '00ffbf' '{"a": [1.50, "b"]}'
        2 -1 -1 '-0.05' -1 '' '"text"'
        3 -62167219200 2932896 '10.10' 10000 '00ff' '1.0'
        4 NULL NULL NULL NULL NULL NULL
    "#]]
    .assert_eq(&rows(&folder, "seconds"));
    expect![[r#"
        price receipt id at day
        1010 'AP+/' 1 1773547200123 '2026-03-15'
        -5 '' 2 -1 '1969-12-31'
        1010 'AP8=' 3 -62167219200000 '9999-12-31'
        NULL NULL 4 NULL NULL
    "#]]
    .assert_eq(&rows(&folder, "competing"));
    expect![[r#"
        id at price wide receipt
        1 NULL 10.1 NULL X'00FFBF'
        1 1773547200123456 10.1 '99999999999999.9999' X'00FF'
        2 -1 -0.05 '-0.0001' X''
        3 NULL 10.1 NULL NULL
        3 -62167219200000000 9999999999.99 '1.0000' X'00FF'
        4 NULL NULL NULL NULL
    "#]]
    .assert_eq(&rows(&folder, "appended"));
}

#[test]
fn what_was_written_in_a_form_is_read_back_from_it() {
    let straight = Folder::with(FORMS);
    straight.replay(EVENTS).ends_with(0);
    let folder = Folder::with(FORMS);
    let lines: Vec<&str> = EVENTS.split_inclusive('\n').collect();
    for end in [2, 3, 5, 6] {
        folder.replay(lines[..end].concat()).ends_with(0);
        folder.weir("verify p.db --pipeline p.toml").ends_with(0);
    }
    fs::copy(straight.path("p.db"), folder.path("other.db")).expect("a database can be copied");
    folder.weir("diff p.db other.db").ends_with(0);
    // A changed cell is found, whatever its form; what the form cuts is none.
    for changed in [
        "UPDATE seconds SET at = at + 1 WHERE id = 1",
        "UPDATE seconds SET receipt = '00fe' WHERE id = 3",
        "UPDATE seconds SET wide = 7 WHERE id = 2",
        "UPDATE seconds SET price = 'free' WHERE id = 2",
    ] {
        fs::copy(straight.path("p.db"), folder.path("p.db")).expect("a database can be copied");
        sql(&folder.path("p.db"), changed);
        let found = folder.weir("verify p.db --pipeline p.toml").ends_with(3);
        assert!(found.stdout.contains("table seconds"), "{changed}\n{}", found.stdout);
    }
}

#[test]
fn a_row_is_explained_by_its_key_as_it_stands_in_the_table() {
    let folder = Folder::with(FORMS);
    folder.replay(EVENTS).ends_with(0);
    let explain = |key: &str| folder.weir(&format!("explain p.db competing {key}"));
    let found = explain("receipt=AP+/ price=1010").ends_with(0).stdout;
    expect![[r#"
        competing, receipt=AP+/, price=1010 of pipeline forms
          price    1010
          receipt  AP+/
          id       1
          at       1773547200123
          day      2026-03-15
        changed by 1 events, sequences 6 to 6; the lineage reaches back to the first event
        the events:
          6
    "#]]
    .assert_eq(&found);
    let found = explain("receipt price").ends_with(0).stdout;
    assert!(found.contains("changed by 1 events, sequences 4 to 4"), "{found}");
    explain("receipt=AP+/ price=10.10")
        .ends_with(2)
        .says("column \"price\" of the key is 10.10; accepted is a value of decimal(12, 2) as unscaled");
    explain("receipt=00f price=1010")
        .ends_with(2)
        .says("accepted is a value of bytes as base64");
}

#[test]
fn an_export_has_the_values_whatever_their_form() {
    let folder = Folder::with(FORMS);
    folder.replay(EVENTS).ends_with(0);
    let export = |what: &str| {
        folder
            .weir(&format!("export p.db {what} --to - --format csv"))
            .ends_with(0)
            .stdout
    };
    expect![[r#"
        id,at,day,price,wide,receipt,doc
        1,2026-03-15T04:00:00.000000Z,2026-03-15,10.10,99999999999999.9999,AP+/,"{""a"": [1.50, ""b""]}"
        2,1969-12-31T23:59:59.000000Z,1969-12-31,-0.05,-0.0001,"","""text"""
        3,0000-01-01T00:00:00.000000Z,9999-12-31,10.10,1.0000,AP8=,1.0
        4,,,,,,
    "#]]
    .assert_eq(&export("seconds"));
    expect![[r#"
        price,receipt,id,at,day
        ,,4,,
        -0.05,"",2,1969-12-31T23:59:59.999000Z,1969-12-31
        10.10,AP+/,1,2026-03-15T04:00:00.123000Z,2026-03-15
        10.10,AP8=,3,0000-01-01T00:00:00.000000Z,9999-12-31
    "#]]
    .assert_eq(&export("competing"));
    expect![[r#"
        id,at,price,wide,receipt
        1,2026-03-15T04:00:00.123456Z,10.10,99999999999999.9999,AP8=
        2,1969-12-31T23:59:59.999999Z,-0.05,-0.0001,""
        3,0000-01-01T00:00:00.000000Z,9999999999.99,1.0000,AP8=
        4,,,,
        3,,10.10,,
        1,,10.10,,AP+/
    "#]]
    .assert_eq(&export("appended"));
}

#[test]
fn a_form_that_changed_is_refused_before_anything_is_written() {
    let changed = |from: &str, to: &str| {
        assert!(FORMS.contains(from), "{from}");
        FORMS.replace(from, to)
    };
    for (from, to, said) in [
        (
            "at = \"epoch_s\"",
            "at = \"epoch_ms\"",
            "column \"at\" of table seconds holds values of timestamp as epoch_s, and the pipeline now has timestamp as epoch_ms",
        ),
        (
            "at = \"epoch_s\", ",
            "",
            "column \"at\" of table seconds holds values of timestamp as epoch_s, and the pipeline now has timestamp as text",
        ),
        (
            "as = { at = \"epoch_us\", price = \"number\", wide = \"text\", receipt = \"blob\" }",
            "as = { at = \"epoch_us\", wide = \"unscaled\" }",
            "column \"wide\" of table appended holds values of decimal(18, 4) as text, and the pipeline now has decimal(18, 4) as unscaled",
        ),
    ] {
        let folder = Folder::with(FORMS);
        folder.replay(EVENTS).ends_with(0);
        let before = rows(&folder, "seconds");
        folder.write("p.toml", changed(from, to));
        let more = format!("{EVENTS}{{\"id\": 9}}\n");
        folder.replay(more).ends_with(1).says(said);
        assert_eq!(rows(&folder, "seconds"), before);
        let found = folder.weir("verify p.db --pipeline p.toml").ends_with(3);
        assert!(found.stdout.contains(said), "{}", found.stdout);
    }
    // Messages look otherwise from then on, and defaults may be said.
    let folder = Folder::with(FORMS);
    folder.replay(EVENTS).ends_with(0);
    folder.write(
        "p.toml",
        changed("doc = \"text\" }", "doc = \"json\" }")
            .replace("price = \"number\", wide = \"text\", receipt = \"blob\" ", ""),
    );
    folder.replay(format!("{EVENTS}{{\"id\": 9}}\n")).ends_with(0);
}

#[test]
fn a_decimal_may_grow_in_front_of_its_point() {
    let pipeline = |of_type: &str, keys: &str| {
        format!(
            "name = 'p'\nsource = {{ stream = 'S', subject = 's', columns = {{ v = '{of_type}' }} }}\n[[sink]]\ntable = 't'\n{keys}"
        )
    };
    let folder = Folder::with(&pipeline("decimal(5, 2)", ""));
    folder.replay("{\"v\": 1.25}\n").ends_with(0);
    folder.write("p.toml", pipeline("decimal(9, 2)", ""));
    folder.replay("{\"v\": 1.25}\n{\"v\": 1234567.25}\n").ends_with(0);
    let export = folder.weir("export p.db t --to - --format csv").ends_with(0);
    assert_eq!(export.stdout, "v\n1.25\n1234567.25\n");
    folder.write("p.toml", pipeline("decimal(9, 3)", ""));
    folder
        .replay("{\"v\": 1.25}\n{\"v\": 1234567.25}\n{\"v\": 1.001}\n")
        .ends_with(1)
        .says("column \"v\" of table t holds values of decimal(9, 2) as number, and the pipeline now has decimal(9, 3) as number");
}

#[test]
fn columns_of_other_forms_are_not_compared() {
    let folder = Folder::with(FORMS);
    folder.replay(EVENTS).ends_with(0);
    fs::rename(folder.path("p.db"), folder.path("other.db")).expect("a database can be renamed");
    folder.write("p.toml", FORMS.replace("at = \"epoch_s\"", "at = \"epoch_ms\""));
    folder.replay(EVENTS).ends_with(0);
    let found = folder.weir("diff p.db other.db --table seconds").ends_with(3).stdout;
    assert!(
        found.contains("at INTEGER as epoch_ms") && found.contains("at INTEGER as epoch_s"),
        "{found}"
    );
}

#[test]
fn messages_and_cases_have_values_in_their_forms() {
    let folder = Folder::with(FORMS);
    let case = folder.path("cases/first");
    fs::create_dir_all(&case).expect("a folder can be made");
    fs::write(case.join("input.jsonl"), EVENTS).expect("a file can be written");
    folder.write("pipeline.toml", FORMS);
    folder.weir("test . --update").ends_with(0);
    folder.weir("test .").ends_with(0);
    let read = |name: &str| fs::read_to_string(case.join(name)).expect("it was written");
    expect![[r#"
        {"subject":"out.forms","message":{"id":1,"at":1773547200123,"day":20527,"price":"10.10","wide":999999999999999999,"receipt":"00ff","doc":"{\"a\": [1.50, \"b\"]}"}}
        {"subject":"out.usual","message":{"id":1,"at":"2026-03-15T04:00:00.123456Z","day":"2026-03-15","price":10.10,"wide":99999999999999.9999,"receipt":"AP8=","doc":{"a": [1.50, "b"]}}}
        {"subject":"out.forms","message":{"id":2,"at":-1,"day":-1,"price":"-0.05","wide":-1,"receipt":"","doc":"\"text\""}}
        {"subject":"out.usual","message":{"id":2,"at":"1969-12-31T23:59:59.999999Z","day":"1969-12-31","price":-0.05,"wide":-0.0001,"receipt":"","doc":"text"}}
        {"subject":"out.forms","message":{"id":3,"at":-62167219200000,"day":2932896,"price":"9999999999.99","wide":10000,"receipt":"00ff","doc":"1.0"}}
        {"subject":"out.usual","message":{"id":3,"at":"0000-01-01T00:00:00.000000Z","day":"9999-12-31","price":9999999999.99,"wide":1.0000,"receipt":"AP8=","doc":1.0}}
        {"subject":"out.forms","message":{"id":4,"at":null,"day":null,"price":null,"wide":null,"receipt":null,"doc":null}}
        {"subject":"out.usual","message":{"id":4,"at":null,"day":null,"price":null,"wide":null,"receipt":null,"doc":null}}
        {"subject":"out.forms","message":{"id":3,"at":null,"day":null,"price":"10.10","wide":null,"receipt":null,"doc":null}}
        {"subject":"out.usual","message":{"id":3,"at":null,"day":null,"price":10.10,"wide":null,"receipt":null,"doc":null}}
        {"subject":"out.forms","message":{"id":1,"at":null,"day":null,"price":"10.10","wide":null,"receipt":"00ffbf","doc":null}}
        {"subject":"out.usual","message":{"id":1,"at":null,"day":null,"price":10.10,"wide":null,"receipt":"AP+/","doc":null}}
    "#]].assert_eq(&read("messages.jsonl"));
    expect![[r#"
        {"price":null,"receipt":null,"id":4,"at":null,"day":null}
        {"price":-5,"receipt":"","id":2,"at":-1,"day":"1969-12-31"}
        {"price":1010,"receipt":"AP+/","id":1,"at":1773547200123,"day":"2026-03-15"}
        {"price":1010,"receipt":"AP8=","id":3,"at":-62167219200000,"day":"9999-12-31"}
    "#]]
    .assert_eq(&read("expected.competing.jsonl"));
    // Who writes the time in words there is told.
    fs::write(
        case.join("expected.competing.jsonl"),
        "{\"id\": 4, \"at\": \"2026-03-15T00:00:00Z\"}\n",
    )
    .expect("it can be written");
    folder
        .weir("test .")
        .ends_with(2)
        .says("column \"at\" of table competing is timestamp as epoch_ms, found \"2026-03-15T00:00:00Z\"");
}

#[test]
fn a_check_shows_the_forms() {
    let folder = Folder::with(FORMS);
    let found = folder.weir("check p.toml").ends_with(0).stdout;
    assert!(
        found.contains("table competing by receipt, price, latest change shows (price as unscaled, receipt as base64, id, at as epoch_ms, day)"),
        "{found}"
    );
    assert!(
        found.contains("subject out.usual (id, at, day, price, wide, receipt, doc)"),
        "{found}"
    );
    let found = folder.weir("check p.toml --json").ends_with(0).stdout;
    assert!(found.contains(r#""as":{"at":"epoch_us"}"#), "{found}");
}
