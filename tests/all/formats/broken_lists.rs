//! Lists, and paths to elements: blocks, runs and counts as strangers may write them.

use super::{
    Outcome,
    broken::{check, plan},
    decode,
};
use std::fs;

const SCHEMA: &str = r#"{"type": "record", "name": "R", "fields": [
    {"name": "l", "type": ["null", {"type": "array", "items": ["null", "int", "string"]}]},
    {"name": "f", "type": {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}},
    {"name": "s", "type": ["null", "string", {"type": "array", "items": {"type": "record", "name": "I", "fields": [
        {"name": "n", "type": "int"}
    ]}}]}
]}"#;

const AVRO: &str = r#"{ avro = { schema = "r.avsc" } }"#;
const AVRO_COLUMNS: &str = r#"{ l = "list(int)", f = "list(bytes)", n = { type = "int", path = ["s", 1, "n"] } }"#;

#[test]
fn arrays_of_avro() {
    let folder = tempfile::tempdir().expect("there is room");
    fs::write(folder.path().join("r.avsc"), SCHEMA).expect("there is room");
    let plan = plan(folder.path(), AVRO, AVRO_COLUMNS);
    // A count that no payload has room for.
    let mut many = vec![2, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    many.extend([1, 0]);
    check(
        &plan,
        &[
            (&[2, 4, 2, 6, 0, 0, 0, 0], "row f=[] l=[3,null] n=null"),
            (&[2, 0, 0, 0], "row f=[] l=[] n=null"),
            (&[0, 0, 0], "row f=[] l=null n=null"),
            // Two blocks, one of which says how long it is.
            (&[2, 1, 4, 2, 6, 2, 2, 8, 0, 0, 0], "row f=[] l=[3,4] n=null"),
            (&[0, 0, 4, 2, 10, 2, 12, 0], "row f=[] l=null n=6"),
            (&[0, 0, 4, 3, 4, 10, 12, 0], "row f=[] l=null n=6"),
            (&[0, 0, 4, 2, 10, 0], "row f=[] l=null n=null"),
            (&[0, 0, 4, 0], "row f=[] l=null n=null"),
            (&[0, 6, 0, 0], "row f=[\"\",\"\",\"\"] l=null n=null"),
            (
                &[2, 1, 6, 2, 6, 0, 0, 0, 0],
                "dead found elements that end at byte 5, and were said to end at byte 6; accepted is a whole payload of the schema",
            ),
            (
                &[0, 0, 4, 3, 2, 10, 12, 0],
                "dead found elements that end at byte 7, and were said to end at byte 6; accepted is a whole payload of the schema",
            ),
            (
                &[2, 2, 4, 2, b'x', 0, 0, 0],
                "dead column \"l\": found `\"x\"` at byte 2; accepted is a list in which each value is an integer from -2^63 to 2^63-1, or null; or null",
            ),
            (
                &[2, 2, 6, 0, 0, 0],
                "dead found the branch 3 of a union at byte 2; accepted are 3 branches, from 0 on",
            ),
            (
                &[0, 0, 2, 2, b'a'],
                "dead column \"n\": found `\"a\"` at byte 3; accepted is an array or null, since the column's path leads through it",
            ),
            (
                &[0, 0xc0, 0xb8, 2, 0, 0],
                "dead found more than 16384 elements without a byte at byte 4; accepted are as many",
            ),
            (
                &many,
                "dead found the end of the payload at byte 12, within a value; accepted is a whole payload of the schema",
            ),
        ],
    );
    let columns = r#"{ n = { type = "int", path = ["s", 1, "n"], required = true } }"#;
    let plan = self::plan(folder.path(), AVRO, columns);
    let missing = "dead column \"n\": found null, or nothing; accepted is a value, since the column is required";
    check(
        &plan,
        &[
            (&[0, 0, 4, 4, 10, 12, 0], "row n=6"),
            (&[0, 0, 4, 2, 10, 0], missing),
            (&[0, 0, 0], missing),
        ],
    );
}

#[test]
fn a_list_has_a_length_up_to_which_it_is_one() {
    let folder = tempfile::tempdir().expect("there is room");
    fs::write(folder.path().join("r.avsc"), SCHEMA).expect("there is room");
    let plan = plan(folder.path(), AVRO, AVRO_COLUMNS);
    // So many nulls, of which each takes a byte in a payload and five in a list.
    let payload = |nulls: usize| {
        let mut payload = vec![2];
        let mut count = nulls << 1;
        while count >= 0x80 {
            payload.push((count & 0x7f) as u8 | 0x80);
            count >>= 7;
        }
        payload.push(count as u8);
        payload.extend(vec![0; nulls + 3]);
        payload
    };
    let most = (16 << 20) / 5;
    let outcomes = decode(&plan, &[payload(most), payload(most + 1)]);
    let [Outcome::Row(row), Outcome::Dead(reason)] = outcomes.as_slice() else {
        panic!("they are a row and a dead letter");
    };
    let nulls = row["l"].as_ref().map(|list| list.matches("null").count());
    assert_eq!(nulls, Some(most));
    assert_eq!(
        reason,
        "column \"l\": found a longer list at byte 0; accepted is a list that takes at most 16 MiB"
    );
}

#[test]
fn an_array_that_one_schema_has() {
    let folder = tempfile::tempdir().expect("there is room");
    let other = r#"{"type": "record", "name": "R", "fields": [{"name": "m", "type": "int"}]}"#;
    fs::write(folder.path().join("r.avsc"), SCHEMA).expect("there is room");
    fs::write(folder.path().join("o.avsc"), other).expect("there is room");
    let format = r#"{ avro = { schemas = { 1 = "r.avsc", 2 = "o.avsc" } } }"#;
    let columns = r#"{ l = "list(int)", n = { type = "int", path = ["s", 0, "n"] }, m = "int" }"#;
    let plan = plan(folder.path(), format, columns);
    check(
        &plan,
        &[
            (&[0, 0, 0, 0, 1, 2, 0, 0, 4, 2, 10, 0], "row l=[] m=null n=5"),
            (&[0, 0, 0, 0, 2, 6], "row l=null m=3 n=null"),
        ],
    );
}

#[test]
fn repeated_fields_of_protobuf() {
    let folder = weir_tests::workspace().join("tests/fixtures/formats/protobuf-lists");
    let format = r#"{ protobuf = { descriptors = "baskets.binpb", message = "acme.Basket" } }"#;
    let columns = r#"{ numbers = "list(int)", ratios = "list(double)", tags = "list(text)", states = "list(text)", times = "list(timestamp)", first = { type = "int", path = ["more", 0] }, word = { type = "text", path = ["words", 1] }, sku = { type = "text", path = ["items", 0, "sku"] } }"#;
    let plan = plan(&folder, format, columns);
    let row = |changed: &[(&str, &str)]| {
        let mut cells = std::collections::BTreeMap::from([
            ("first", "null"),
            ("numbers", "[]"),
            ("ratios", "[]"),
            ("sku", "null"),
            ("states", "[]"),
            ("tags", "[]"),
            ("times", "[]"),
            ("word", "null"),
        ]);
        cells.extend(changed.iter().copied());
        let cells = cells.into_iter().map(|(name, cell)| format!(" {name}={cell}"));
        format!("row{}", cells.collect::<String>())
    };
    let eight = |key: &[u8], bytes: usize| [key, &vec![0; bytes]].concat();
    let early = [
        0x5a, 0, 0x5a, 11, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
    ];
    check(
        &plan,
        &[
            (&[], &row(&[])),
            // A run, one by itself, and a run of none.
            (&[0x0a, 2, 1, 2, 8, 3, 0x0a, 0], &row(&[("numbers", "[1,2,3]")])),
            (&[0x82, 1, 0, 0x80, 1, 5, 0x82, 1, 1, 6], &row(&[("first", "5")])),
            (&[0x7a, 0], &row(&[("sku", "")])),
            // What no column reads is passed over by its length.
            (&[0x7a, 0, 0x7a, 1, 0x0a], &row(&[("sku", "")])),
            (
                &eight(&[9], 8),
                "dead found eight bytes for field \"numbers\" (number 1) at byte 1; accepted is int64, as the descriptors have it",
            ),
            (
                &[0x0a, 1, 0x80],
                "dead found the end of the payload at byte 3, within a value; accepted is a whole payload of the schema",
            ),
            (
                &eight(&[0x22, 9], 9),
                "dead found a value of 8 bytes at byte 10, and 1 bytes are left; accepted is a whole payload of the schema",
            ),
            (
                &[0x3a, 1, b'a', 0x3a, 1, 0xff],
                "dead column \"tags\": found a text that is not valid UTF-8, `\u{fffd}` at byte 5; accepted is a list in which each value is a text in UTF-8, or null; or null",
            ),
            (
                &[0x4a, 2, 1, 9],
                "dead column \"states\": found `9` at byte 3; accepted is a list in which each value is a text in UTF-8, or null; or null",
            ),
            (
                &early,
                "dead column \"times\": found `{\"seconds\":0,\"nanos\":-1}` at byte 4; accepted is a list in which each value is a timestamp of the years 0 to 9999, or null; or null",
            ),
            (
                &eight(&[0x81, 1], 8),
                "dead found the field 16 with wire type 1 at byte 0; accepted is int64, as the descriptors have it",
            ),
            // The run is read to its end, also behind the element that a column reads.
            (
                &[0x82, 1, 2, 5, 0x80],
                "dead found the end of the payload at byte 5, within a value; accepted is a whole payload of the schema",
            ),
            (
                &[0x8a, 1, 1, b'a', 0x8a, 1, 1, 0xff],
                "dead column \"word\": found a text that is not valid UTF-8, `\u{fffd}` at byte 7; accepted is a text in UTF-8, or null",
            ),
            (
                &[0x78, 1],
                "dead found the field 15 with wire type 0 at byte 0; accepted is message, as the descriptors have it",
            ),
            (
                &[0x7a, 1, 0x0a],
                "dead found the end of the payload at byte 3, within a value; accepted is a whole payload of the schema",
            ),
        ],
    );
}
