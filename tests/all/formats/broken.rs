//! What is wrong with payloads, and how it is said.

use super::{Outcome, decode};
use std::{fs, path::Path};
use weir::{definition::File, plan::Plan};
use weir_tests::replay::host;

/// A pipeline over payloads of this format.
pub(super) fn plan(folder: &Path, format: &str, columns: &str) -> Plan {
    let text = format!(
        "name = \"p\"\n[source]\nstream = \"S\"\nsubject = \"s\"\nformat = {format}\ncolumns = {columns}\n[[sink]]\ntable = \"t\"\n"
    );
    let file = File::from_text(folder.join("pipeline.toml"), text);
    Plan::build(&file, host()).unwrap_or_else(|error| panic!("{error}"))
}

/// Checks payloads: `empty`, `row` with its cells, or `dead` with the reason.
#[track_caller]
pub(super) fn check(plan: &Plan, cases: &[(&[u8], &str)]) {
    let payloads: Vec<Vec<u8>> = cases.iter().map(|(payload, _)| payload.to_vec()).collect();
    let outcomes = decode(plan, &payloads);
    for ((payload, expected), outcome) in cases.iter().zip(&outcomes) {
        let found = match outcome {
            Outcome::Empty => "empty".to_owned(),
            Outcome::Dead(reason) => format!("dead {reason}"),
            Outcome::Row(row) => {
                let cells = row
                    .iter()
                    .map(|(name, cell)| format!(" {name}={}", cell.as_deref().unwrap_or("null")));
                format!("row{}", cells.collect::<String>())
            }
        };
        let shown = String::from_utf8_lossy(payload);
        assert_eq!(&found, expected, "{shown:?} {payload:?}");
    }
}

#[test]
fn records_of_separated_values() {
    let format = r#"{ csv = { columns = ["id", "name", "amount"], delimiter = ";", quote = "'", null = "-" } }"#;
    let columns = r#"{ amount = "decimal(5, 2)", name = "text", n = { type = "int", path = "id" } }"#;
    let plan = plan(Path::new("/nowhere"), format, columns);
    check(
        &plan,
        &[
            (b"1;a;2.5", "row amount=2.50 n=1 name=a"),
            (b"1;'a;''b''';-\r\n", "row amount=null n=1 name=a;'b'"),
            (b"-;'-';-\n", "row amount=null n=null name=-"),
            (
                b"-1;\"; 0",
                "dead column \"amount\": found ` 0` at byte 5; accepted is a number of at most 3 digits in front of the point and 2 behind it, or null",
            ),
            (b"1;;1", "row amount=1.00 n=1 name="),
            (b"1;'one\ntwo';1", "row amount=1.00 n=1 name=one\ntwo"),
            (b"", "empty"),
            (b"\r\n", "empty"),
            (
                b"1;2",
                "dead found a record of 2 fields; accepted is one of 3, as key `columns` of the format lists them",
            ),
            (
                b"1;2;3;4;",
                "dead found a record of 5 fields; accepted is one of 3, as key `columns` of the format lists them",
            ),
            (
                b"1;a;1\n2;b;2",
                "dead found the end of a line at byte 5, and more behind it; accepted is one record, and ends of lines only in quotes",
            ),
            (
                b"1;'a;2",
                "dead found the quote at byte 2 and none that closes it; accepted is a whole record",
            ),
            (
                b"1;'a'b;2",
                "dead found `b;2` behind the quote that closes a field, at byte 5; accepted is a delimiter, or the end of the record",
            ),
            (
                b"1;a\xff;2",
                "dead column \"name\": found `a\u{fffd}` at byte 2; accepted is a text in UTF-8, or null",
            ),
            (
                b"1.0;a;2",
                "dead column \"n\": found `1.0` at byte 0; accepted is an integer from -2^63 to 2^63-1, or null",
            ),
            (
                b"9223372036854775808;a;2",
                "dead column \"n\": found `9223372036854775808` at byte 0; accepted is an integer from -2^63 to 2^63-1, or null",
            ),
        ],
    );
}

#[test]
fn values_of_avro() {
    let folder = tempfile::tempdir().expect("there is room");
    let schema = r#"{"type": "record", "name": "R", "fields": [
        {"name": "skipped", "type": {"type": "array", "items": "null"}},
        {"name": "n", "type": ["null", "long", "string"]},
        {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
        {"name": "r", "type": ["null", "boolean", {"type": "record", "name": "T", "fields": [{"name": "t", "type": "string"}]}]},
        {"name": "j", "type": ["null", "R", {"type": "array", "items": "E"}, "double"]}
    ]}"#;
    fs::write(folder.path().join("r.avsc"), schema).expect("there is room");
    let columns = r#"{ n = { type = "int" }, e = "text", t = { type = "text", path = "r.t" }, j = "json" }"#;
    let plan = plan(folder.path(), r#"{ avro = { schema = "r.avsc" } }"#, columns);
    // More nulls than there is room for, in nine bytes; and values within each other.
    let mut nulls = vec![0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    nulls.extend([0, 0, 0, 0, 0]);
    let nested: Vec<u8> = [0, 0, 0, 0, 2].repeat(100);
    check(
        &plan,
        &[
            (&[0, 2, 6, 2, 0, 0], "row e=B j=null n=3 t=null"),
            (
                &[3, 0, 0, 0, 0, 4, 4, 0x78, 0x79, 4, 2, 0, 0],
                "row e=A j=[\"A\"] n=null t=xy",
            ),
            (
                &[0, 0, 0, 0, 2, 0, 0, 2, 0, 0],
                "row e=A j={\"skipped\":[],\"n\":null,\"e\":\"B\",\"r\":null,\"j\":null} n=null t=null",
            ),
            (&[], "empty"),
            (
                &[0, 4, 6, b'a', b'b', b'c', 0, 0, 0],
                "dead column \"n\": found `\"abc\"` at byte 1; accepted is an integer from -2^63 to 2^63-1, or null",
            ),
            (
                &[0, 0, 0, 2, 1, 0],
                "dead column \"t\": found `true` at byte 4; accepted is a record or null, since the column's path leads through it",
            ),
            (
                &[0, 0, 0, 4, 2, 0xff, 0],
                "dead column \"t\": found a text that is not valid UTF-8, `\u{fffd}` at byte 4; accepted is a text in UTF-8, or null",
            ),
            (
                &[0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f],
                "dead column \"j\": found `NaN` at byte 4; accepted is a value that JSON can hold, or null",
            ),
            (
                &[0, 0, 0, 0, 0, 0],
                "dead found 1 bytes behind the value, from byte 5 on; accepted is one value of the schema",
            ),
            (
                &[0, 0, 0, 0],
                "dead found the end of the payload at byte 4, within a value; accepted is a whole payload of the schema",
            ),
            (
                &[0, 8],
                "dead found the branch 4 of a union at byte 1; accepted are 3 branches, from 0 on",
            ),
            (
                &[0, 1],
                "dead found the branch -1 of a union at byte 1; accepted are 3 branches, from 0 on",
            ),
            (
                &[0, 0, 4],
                "dead found the symbol 2 of an enum at byte 2; accepted are 2 symbols, from 0 on",
            ),
            (
                &[0, 0, 0, 2, 2],
                "dead column \"t\": found a broken value at byte 4; accepted is a record or null, since the column's path leads through it",
            ),
            (
                &[0, 4, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1],
                "dead found a value of 2147483647 bytes at byte 7, and 1 bytes are left; accepted is a whole payload of the schema",
            ),
            (
                &[0, 4, 1, 1],
                "dead found the length -1 at byte 2; accepted is a whole payload of the schema",
            ),
            (
                &nulls,
                "dead found more than 16384 elements without a byte at byte 9; accepted are as many",
            ),
            (
                &nested,
                "dead found a value within more than 64 others at byte 165; accepted are as many",
            ),
        ],
    );
}

#[test]
fn frames_of_a_registry() {
    let folder = tempfile::tempdir().expect("there is room");
    let schema = r#"{"type": "record", "name": "R", "fields": [{"name": "n", "type": "int"}]}"#;
    fs::write(folder.path().join("r.avsc"), schema).expect("there is room");
    let plan = plan(
        folder.path(),
        r#"{ avro = { schemas = { 258 = "r.avsc", 3 = "r.avsc" } } }"#,
        r#"{ n = "int" }"#,
    );
    check(
        &plan,
        &[
            (&[0, 0, 0, 1, 2, 1], "row n=-1"),
            (
                &[0, 0, 0, 0, 4, 1],
                "dead found the schema 4, which key `schemas` of the format does not have; accepted are 3, 258",
            ),
            (
                &[1, 0, 0, 0, 3, 1],
                "dead found the byte 1 in front of the payload; accepted is a byte of 0 and the number of a schema in four bytes, as a schema registry has it",
            ),
            (
                &[0, 0, 0],
                "dead found a value of 4 bytes at byte 1, and 2 bytes are left; accepted is a whole payload of the schema",
            ),
            (
                &[0, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff, 0x7f],
                "dead found the int -17179869184 at byte 5; accepted is one of 32 bits",
            ),
        ],
    );
}

#[test]
fn messages_of_protobuf() {
    let folder = weir_tests::workspace().join("tests/fixtures/formats/protobuf");
    let format = r#"{ protobuf = { descriptors = "payments.binpb", message = "acme.Payment" } }"#;
    let columns = r#"{ id = "int", u64 = "int", ratio = "double", note = "text", status = "text", number = { type = "json", path = "status" }, at = "timestamp", zip = { type = "text", path = "cash_at.zip" }, tree = "json", labels = "json" }"#;
    let refused = Plan::build(
        &File::from_text(
            folder.join("pipeline.toml"),
            format!(
                "name = \"p\"\n[source]\nstream = \"S\"\nsubject = \"s\"\nformat = {format}\ncolumns = {columns}\n[[sink]]\ntable = \"t\"\n"
            ),
        ),
        host(),
    );
    assert!(refused.is_err(), "two columns read one value");
    let columns = r#"{ id = "int", u64 = "int", ratio = "double", note = "text", status = "text", at = "timestamp", zip = { type = "text", path = "cash_at.zip" }, tree = "json", labels = "json" }"#;
    let plan = plan(&folder, format, columns);
    let row = |changed: &[(&str, &str)]| {
        let mut cells = std::collections::BTreeMap::from([
            ("at", "null"),
            ("id", "0"),
            ("labels", "{}"),
            ("note", ""),
            ("ratio", "0.0"),
            ("status", "UNKNOWN"),
            ("tree", "null"),
            ("u64", "0"),
            ("zip", "null"),
        ]);
        cells.extend(changed.iter().copied());
        let cells = cells.into_iter().map(|(name, cell)| format!(" {name}={cell}"));
        format!("row{}", cells.collect::<String>())
    };
    let nan = [0x59, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f];
    // Trees within trees: each is two bytes, and a length that grows.
    let mut nested = Vec::new();
    for _ in 0..70 {
        let mut outer = vec![0x12];
        let mut length = nested.len();
        while length >= 0x80 {
            outer.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.extend(nested);
        nested = outer;
    }
    let mut tree = vec![
        0xf2,
        0x01,
        0x80 | (nested.len() & 0x7f) as u8,
        (nested.len() >> 7) as u8,
    ];
    tree.extend(nested);
    let groups: Vec<u8> = [0xa3, 0x3e].repeat(70);
    check(
        &plan,
        &[
            (&[], &row(&[])),
            // A field that nobody knows, and a group.
            (
                &[0xa0, 0x3e, 5, 0xa3, 0x3e, 0xa0, 0x3e, 1, 0xa4, 0x3e, 8, 2],
                &row(&[("id", "2")]),
            ),
            (
                &[8, 1, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
                &row(&[("id", "-1")]),
            ),
            (&[0xe2, 0x01, 0], &row(&[("zip", "")])),
            (
                &[0xc2, 0x01, 0, 0xc2, 0x01, 5, 0x0a, 1, b'k', 0x10, 3],
                &row(&[("labels", "{\"\":0,\"k\":3}")]),
            ),
            (
                &[0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
                "dead column \"u64\": found `18446744073709551615` at byte 1; accepted is an integer from -2^63 to 2^63-1, or null",
            ),
            (
                &nan,
                "dead column \"ratio\": found `NaN` at byte 1; accepted is a number whose nearest double is finite, or null",
            ),
            (
                &[0x7a, 1, 0xff],
                "dead column \"note\": found a text that is not valid UTF-8, `\u{fffd}` at byte 2; accepted is a text in UTF-8, or null",
            ),
            (
                &[0x88, 0x01, 9],
                "dead column \"status\": found `9` at byte 2; accepted is a text in UTF-8, or null",
            ),
            (
                &[0x92, 0x01, 2, 0x10, 0xff],
                "dead found the end of the payload at byte 5, within a value; accepted is a whole payload of the schema",
            ),
            (
                &[0x92, 0x01, 4, 0x08, 1, 0x10, 0xff],
                "dead found the end of the payload at byte 7, within a value; accepted is a whole payload of the schema",
            ),
            (
                &[8],
                "dead found the end of the payload at byte 1, within a value; accepted is a whole payload of the schema",
            ),
            (
                &[0x7a, 5, b'a'],
                "dead found a value of 5 bytes at byte 2, and 1 bytes are left; accepted is a whole payload of the schema",
            ),
            (
                &[9, 0, 0, 0, 0, 0, 0, 0, 0],
                "dead found eight bytes for field \"id\" (number 1) at byte 1; accepted is int64, as the descriptors have it",
            ),
            (
                &[0x10 | 7, 0],
                "dead found the field 2 with wire type 7 at byte 0; accepted is a field",
            ),
            (
                &[0, 0],
                "dead found the field number 0 at byte 0; accepted is a message",
            ),
            (
                &[0x0c],
                "dead found the field 1 with wire type 4 at byte 0; accepted is a field",
            ),
            (
                &tree,
                "dead found a value within more than 64 others at byte 138; accepted are as many",
            ),
            (
                &groups,
                "dead found a value within more than 64 others at byte 128; accepted are as many",
            ),
            (
                &[0xa3, 0x3e, 0xac, 0x3e],
                "dead found the field 997 with wire type 4 at byte 2; accepted is the end of the group that is open",
            ),
        ],
    );
}
