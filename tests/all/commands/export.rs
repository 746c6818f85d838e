//! `weir export`: what other programs get to see of a table.

use super::{Folder, NAMES, changed, sql};
use expect_test::expect;
use serde_json::{Value as Json, json};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};
use weir_tests::{python, workspace};

/// A table with a column of each type.
const EVERYTHING: &str = r#"
name = "everything"
[source]
stream = "S"
subject = "s"
[source.columns]
id = { type = "int", required = true }
whole = "int"
ratio = "double"
flag = "boolean"
name = "text"
price = "decimal(12, 2)"
middle = "decimal(18, 4)"
huge = { type = "decimal", precision = 38, scale = 10, format = "string" }
at = { type = "timestamp", format = "rfc3339" }
day = "date"
receipt = { type = "bytes", format = "base64" }
doc = "json"
tags = "list(decimal(5, 2))"
[[sink]]
table = "everything"
primary_key = ["id"]
"#;

/// Rows at every edge, out of order.
const EDGES: &str = r#"{"id": 4, "whole": -9223372036854775808, "ratio": -5e-324, "flag": false, "name": "", "price": -9999999999.99, "middle": -99999999999999.9999, "huge": "-9999999999999999999999999999.9999999999", "at": "0000-01-01T00:00:00Z", "day": "0000-01-01", "receipt": "", "doc": ""}
{"id": 1, "whole": 7, "ratio": 0.1, "flag": true, "name": "Ann", "price": 10.10, "middle": 0.0001, "huge": "1", "at": "2026-03-15T12:00:00.5+08:00", "day": "2026-03-15", "receipt": "AP8=", "doc": {"tags": ["new", 1, null], "n": 1.50}, "tags": [1, null, 2.5]}
{"id": 3, "whole": 9223372036854775807, "ratio": 1.7976931348623157e308, "flag": true, "name": "q\" , \n; 漢\tü", "price": 9999999999.99, "middle": 99999999999999.9999, "huge": "9999999999999999999999999999.9999999999", "at": "9999-12-31T23:59:59.999999Z", "day": "9999-12-31", "receipt": "////", "doc": [true, "a \"quoted\", text\n"], "tags": []}
{"id": 2}
{"id": 5, "whole": 0, "ratio": -0.0, "flag": false, "name": "null", "price": 0, "middle": 0, "huge": "-0.0000000001", "at": "1969-12-31T23:59:59.999999Z", "day": "1969-12-31", "receipt": "AA==", "doc": 12}
"#;

/// What every program should read, in the form of `read.py`.
fn edges() -> Vec<Json> {
    vec![
        json!({"id": 1, "whole": 7, "ratio": "0x1.999999999999ap-4", "flag": true, "name": "Ann", "price": "10.10", "middle": "0.0001",
            "huge": "1.0000000000", "at": 1_773_547_200_500_000i64, "day": 20527, "receipt": "00ff", "doc": {"tags": ["new", 1, null], "n": 1.5}, "tags": [1.0, null, 2.5]}),
        json!({"id": 2, "whole": null, "ratio": null, "flag": null, "name": null, "price": null, "middle": null, "huge": null, "at": null,
            "day": null, "receipt": null, "doc": null, "tags": null}),
        json!({"id": 3, "whole": i64::MAX, "ratio": "0x1.fffffffffffffp+1023", "flag": true, "name": "q\" , \n; 漢\tü",
            "price": "9999999999.99", "middle": "99999999999999.9999", "huge": "9999999999999999999999999999.9999999999",
            "at": 253_402_300_799_999_999i64, "day": 2_932_896, "receipt": "ffffff", "doc": [true, "a \"quoted\", text\n"], "tags": []}),
        json!({"id": 4, "whole": i64::MIN, "ratio": "-0x0.0000000000001p-1022", "flag": false, "name": "", "price": "-9999999999.99",
            "middle": "-99999999999999.9999", "huge": "-9999999999999999999999999999.9999999999", "at": -62_167_219_200_000_000i64,
            "day": -719_528, "receipt": "", "doc": "", "tags": null}),
        json!({"id": 5, "whole": 0, "ratio": "0x0.0p+0", "flag": false, "name": "null", "price": "0.00", "middle": "0.0000",
            "huge": "-0.0000000001", "at": -1, "day": -1, "receipt": "00", "doc": 12, "tags": null}),
    ]
}

fn everything() -> Folder {
    let folder = Folder::with(EVERYTHING);
    folder.replay(EDGES).ends_with(0);
    folder
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("the file is there and UTF-8")
}

/// What the readers of `read.py` found, each with its types and rows.
fn readers(folder: &Folder, files: &[&str]) -> Vec<(String, Json, Vec<Json>)> {
    let files: Vec<_> = files.iter().map(|name| folder.path(name)).collect();
    let printed = python::run(&workspace().join("tests/all/commands/export/read.py"), &files);
    let readers = printed.lines().map(|line| {
        let mut reader: Json = serde_json::from_str(line).expect("a line of JSON");
        let rows = serde_json::from_value(reader["rows"].take()).expect("a list of rows");
        (
            reader["reader"].as_str().expect("a name").to_owned(),
            reader["types"].take(),
            rows,
        )
    });
    readers.collect()
}

#[test]
fn other_programs_read_every_value_from_every_format() {
    let folder = everything();
    let files = ["t.parquet", "t.csv", "t.jsonl"];
    for file in files {
        folder
            .weir(&format!("export p.db everything --to {file}"))
            .ends_with(0)
            .says_nothing();
    }
    let readers = readers(&folder, &files);
    let names: Vec<&str> = readers.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "arrow parquet",
            "duckdb parquet",
            "arrow csv",
            "duckdb csv",
            "python json",
            "arrow jsonl",
            "duckdb jsonl"
        ]
    );
    for (reader, types, rows) in &readers {
        let expected = edges().into_iter().map(|mut row| {
            if let (Some(found), Some(row)) = (rows.first().and_then(Json::as_object), row.as_object_mut()) {
                row.retain(|name, _| found.contains_key(name));
            }
            row
        });
        let expected: Vec<Json> = expected.collect();
        assert_eq!(rows.len(), expected.len(), "{reader}");
        for (row, expected) in rows.iter().zip(&expected) {
            assert_eq!(row, expected, "{reader}");
        }
        let columns = rows.first().and_then(Json::as_object).map_or(0, serde_json::Map::len);
        assert_eq!(columns, if reader == "arrow jsonl" { 5 } else { 13 }, "{reader}");
        if reader == "arrow parquet" {
            expect![[r#"{"id":"int64","whole":"int64","ratio":"double","flag":"bool","name":"string","price":"decimal128(12, 2)","middle":"decimal128(18, 4)","huge":"decimal128(38, 10)","at":"timestamp[us, tz=UTC]","day":"date32[day]","receipt":"binary","doc":"extension<arrow.json>","tags":"list<element: decimal128(5, 2)>"}"#]].assert_eq(&types.to_string());
        }
        if reader == "duckdb parquet" {
            expect![[r#"{"id":"BIGINT","whole":"BIGINT","ratio":"DOUBLE","flag":"BOOLEAN","name":"VARCHAR","price":"DECIMAL(12,2)","middle":"DECIMAL(18,4)","huge":"DECIMAL(38,10)","at":"TIMESTAMP WITH TIME ZONE","day":"DATE","receipt":"BLOB","doc":"JSON","tags":"DECIMAL(5,2)[]"}"#]].assert_eq(&types.to_string());
        }
    }
}

/// Lists of each type: of values and nulls, empty, and null.
const LISTS: &str = r#"
name = "lists"
[source]
stream = "S"
subject = "s"
[source.columns]
ints = "list(int)"
doubles = "list(double)"
flags = "list(boolean)"
texts = "list(text)"
money = "list(decimal(12, 2))"
huge = "list(decimal(38, 10))"
times = { type = "list", of = "timestamp", format = "rfc3339" }
days = "list(date)"
blobs = { type = "list", of = "bytes", format = "hex" }
[[sink]]
table = "lists"
"#;

#[test]
fn lists_are_lists_for_other_programs() {
    let folder = Folder::with(LISTS);
    let most = format!("{}.{}", "9".repeat(28), "9".repeat(10));
    let rows = [
        format!(
            r#"{{"ints": [1, null, {}], "doubles": [0.1, -1e300], "flags": [null, true, false], "texts": ["", "a,\"b\" ü", "null"], "money": [0.1, -12], "huge": [{most}, null], "times": ["2026-03-15T12:00:00.5+08:00"], "days": ["2026-03-15", "0001-01-01"], "blobs": ["", "00ff"]}}"#,
            i64::MIN
        ),
        r#"{"ints": [], "doubles": [], "flags": [], "texts": [], "money": [], "huge": [], "times": [], "days": [], "blobs": []}"#.to_owned(),
        "{}".to_owned(),
        r#"{"ints": [null], "doubles": [null, 2], "flags": [true], "texts": [null, "b"], "money": [null], "huge": [-0.5], "times": [null, "1969-12-31T23:59:59Z"], "days": [null], "blobs": [null]}"#.to_owned(),
    ];
    folder.replay(&(rows.join("\n") + "\n")).ends_with(0);
    folder.weir("export p.db lists --to t.parquet").ends_with(0);
    let script = workspace().join("tests/all/commands/export/lists.py");
    let printed = python::run(&script, &[folder.path("t.parquet")]);
    let none = Json::Null;
    let expected = json!([
        [
            ["1", null, "-9223372036854775808"],
            ["0.1", "-1e+300"],
            [null, "True", "False"],
            ["", "a,\"b\" ü", "null"],
            ["0.10", "-12.00"],
            [most, null],
            ["2026-03-15 04:00:00.500000+00:00"],
            ["2026-03-15", "0001-01-01"],
            ["", "00ff"]
        ],
        [[], [], [], [], [], [], [], [], []],
        [none, none, none, none, none, none, none, none, none],
        [
            [null],
            [null, "2.0"],
            ["True"],
            [null, "b"],
            [null],
            ["-0.5000000000"],
            [null, "1969-12-31 23:59:59+00:00"],
            [null],
            [null]
        ]
    ]);
    let types = [
        r#"["int64","double","bool","string","decimal128(12, 2)","decimal128(38, 10)","timestamp[us, tz=UTC]","date32[day]","binary"]"#,
        r#"["BIGINT[]","DOUBLE[]","BOOLEAN[]","VARCHAR[]","DECIMAL(12,2)[]","DECIMAL(38,10)[]","TIMESTAMP WITH TIME ZONE[]","DATE[]","BLOB[]"]"#,
    ];
    assert_eq!(printed.lines().count(), types.len());
    for (reader, types) in printed.lines().zip(types) {
        let reader: Json = serde_json::from_str(reader).expect("a line of JSON");
        assert_eq!(reader[0].to_string(), types);
        assert_eq!(reader[1], expected, "{types}");
    }
}

#[test]
fn text_formats_hold_the_values_as_the_manual_says() {
    let folder = everything();
    folder.weir("export p.db everything --to t.csv").ends_with(0);
    expect![[r#"
        id,whole,ratio,flag,name,price,middle,huge,at,day,receipt,doc,tags
        1,7,0.1,true,Ann,10.10,0.0001,1.0000000000,2026-03-15T04:00:00.500000Z,2026-03-15,AP8=,"{""tags"": [""new"", 1, null], ""n"": 1.50}","[1.00,null,2.50]"
        2,,,,,,,,,,,,
        3,9223372036854775807,1.7976931348623157e308,true,"q"" , 
        ; 漢	ü",9999999999.99,99999999999999.9999,9999999999999999999999999999.9999999999,9999-12-31T23:59:59.999999Z,9999-12-31,////,"[true, ""a \""quoted\"", text\n""]",[]
        4,-9223372036854775808,-5e-324,false,"",-9999999999.99,-99999999999999.9999,-9999999999999999999999999999.9999999999,0000-01-01T00:00:00.000000Z,0000-01-01,"","""""",
        5,0,0.0,false,null,0.00,0.0000,-0.0000000001,1969-12-31T23:59:59.999999Z,1969-12-31,AA==,12,
    "#]].assert_eq(&read(&folder.path("t.csv")));
    folder.weir("export p.db everything --to t.jsonl").ends_with(0);
    expect![[r#"
        {"id":1,"whole":7,"ratio":0.1,"flag":true,"name":"Ann","price":10.10,"middle":0.0001,"huge":1.0000000000,"at":"2026-03-15T04:00:00.500000Z","day":"2026-03-15","receipt":"AP8=","doc":{"tags": ["new", 1, null], "n": 1.50},"tags":[1.00,null,2.50]}
        {"id":2,"whole":null,"ratio":null,"flag":null,"name":null,"price":null,"middle":null,"huge":null,"at":null,"day":null,"receipt":null,"doc":null,"tags":null}
        {"id":3,"whole":9223372036854775807,"ratio":1.7976931348623157e+308,"flag":true,"name":"q\" , \n; 漢\tü","price":9999999999.99,"middle":99999999999999.9999,"huge":9999999999999999999999999999.9999999999,"at":"9999-12-31T23:59:59.999999Z","day":"9999-12-31","receipt":"////","doc":[true, "a \"quoted\", text\n"],"tags":[]}
        {"id":4,"whole":-9223372036854775808,"ratio":-5e-324,"flag":false,"name":"","price":-9999999999.99,"middle":-99999999999999.9999,"huge":-9999999999999999999999999999.9999999999,"at":"0000-01-01T00:00:00.000000Z","day":"0000-01-01","receipt":"","doc":"","tags":null}
        {"id":5,"whole":0,"ratio":0.0,"flag":false,"name":"null","price":0.00,"middle":0.0000,"huge":-0.0000000001,"at":"1969-12-31T23:59:59.999999Z","day":"1969-12-31","receipt":"AA==","doc":12,"tags":null}
    "#]].assert_eq(&read(&folder.path("t.jsonl")));
    // A terminal is no one's reader here: what goes down a pipe is the same, byte for byte.
    for (format, file) in [("csv", "t.csv"), ("jsonl", "t.jsonl")] {
        let piped = folder
            .weir(&format!("export p.db everything --to - --format {format}"))
            .ends_with(0);
        assert_eq!((piped.stdout, piped.stderr), (read(&folder.path(file)), String::new()));
    }
}

#[test]
fn a_table_of_one_column_tells_null_from_empty() {
    let folder = Folder::with(
        "name = 'p'\nsource = { stream = 'S', subject = 's', columns = { v = 'text' } }\n[[sink]]\ntable = 't'\n",
    );
    folder
        .replay("{\"v\": \"\"}\n{}\n{\"v\": \"\\r\"}\n{\"v\": \"a\"}\n")
        .ends_with(0);
    let piped = folder.weir("export p.db t --to - --format csv").ends_with(0);
    assert_eq!(piped.stdout, "v\n\"\"\n\n\"\r\"\na\n");
}

#[test]
fn json_that_was_written_on_several_lines_stands_on_one() {
    let folder = Folder::with(
        "name = 'p'\nsource = { stream = 'S', subject = 's', columns = { v = 'json' } }\n[[sink]]\ntable = 't'\n",
    );
    folder.replay("{\"v\": 1}\n").ends_with(0);
    sql(
        &folder.path("p.db"),
        "UPDATE t SET v = '{\"a\":' || char(13, 10) || ' 1}'",
    );
    let piped = folder.weir("export p.db t --to - --format jsonl").ends_with(0);
    assert_eq!(piped.stdout, "{\"v\":{\"a\":   1}}\n");
}

#[test]
fn rows_come_by_the_key_or_as_they_were_appended() {
    let folder = Folder::with(&changed(
        "primary_key = [\"id\"]",
        "primary_key = [\"id\"]\n[[sink]]\nfrom = \"source\"\ntable = \"events\"\ncolumns = [\"name\", \"id\"]",
    ));
    folder
        .replay("{\"id\": 30, \"name\": \"c\"}\n{\"name\": \"n\"}\n{\"id\": 4, \"name\": \"d\"}\n{\"id\": -1}\n{\"id\": 30, \"name\": \"a\"}\n")
        .ends_with(0);
    let export = |what: &str| {
        folder
            .weir(&format!("export p.db {what} --to - --format csv"))
            .ends_with(0)
            .stdout
    };
    assert_eq!(export("names"), "id,name,amount\n,n,\n-1,,\n4,d,\n30,a,\n");
    assert_eq!(export("names --columns name"), "name\nn\n\nd\na\n");
    assert_eq!(
        export("events --columns id,name"),
        "id,name\n30,c\n,n\n4,d\n-1,\n30,a\n"
    );
}

#[test]
fn large_tables_go_in_several_row_groups_and_empty_ones_in_none() {
    let folder = Folder::with(NAMES);
    let name = "n".repeat(1 << 20);
    let events: String = (0..40)
        .map(|id| format!("{{\"id\": {id}, \"name\": \"{name}\"}}\n"))
        .collect();
    folder.replay(events).ends_with(0);
    folder.weir("export p.db names --to t.parquet").ends_with(0);
    let script = folder.path("groups.py");
    folder.write(
        "groups.py",
        "import sys, pyarrow.parquet as p\nfor f in sys.argv[1:]:\n  m = p.ParquetFile(f).metadata\n  print(m.num_rows, m.num_row_groups, m.created_by)\n",
    );
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        python::run(&script, &[folder.path("t.parquet")]),
        format!("40 2 weir {version}\n")
    );
    let empty = Folder::with(NAMES);
    empty.replay("").ends_with(0);
    for (file, expected) in [("t.csv", "id,name,amount\n"), ("t.jsonl", "")] {
        empty.weir(&format!("export p.db names --to {file}")).ends_with(0);
        assert_eq!(read(&empty.path(file)), expected);
    }
    empty.weir("export p.db names --to t.parquet").ends_with(0);
    assert_eq!(
        python::run(&script, &[empty.path("t.parquet")]),
        format!("0 0 weir {version}\n")
    );
}

#[test]
fn a_file_appears_whole_and_for_its_owner_and_replaces_none_unasked() {
    let folder = Folder::with(NAMES);
    folder.replay("{\"id\": 1, \"name\": \"a\"}\n").ends_with(0);
    let said = folder.weir("export p.db names --to t.csv").ends_with(0);
    assert_eq!(
        said.stdout,
        "wrote 1 row of names to t.csv (20 bytes), up to sequence 1 of pipeline names\n"
    );
    let mode = |name: &str| {
        let found = fs::metadata(folder.path(name)).expect("the file is there");
        found.permissions().mode() & 0o777
    };
    assert_eq!(mode("t.csv"), 0o600);
    fs::write(folder.path("t.csv"), "mine").expect("it can be written");
    fs::set_permissions(folder.path("t.csv"), fs::Permissions::from_mode(0o644)).expect("it is mine");
    folder
        .weir("export p.db names --to t.csv")
        .ends_with(2)
        .says("t.csv is there already; name another file, or replace it with --force");
    assert_eq!(read(&folder.path("t.csv")), "mine");
    folder.weir("export p.db names --to t.csv --force").ends_with(0);
    assert_eq!(
        (read(&folder.path("t.csv")).as_str(), mode("t.csv")),
        ("id,name,amount\n1,a,\n", 0o644)
    );
    symlink(folder.path("t.csv"), folder.path("link.csv")).expect("a link can be made");
    for force in ["", "--force"] {
        folder
            .weir(&format!("export p.db names --to link.csv {force}"))
            .ends_with(1)
            .says("it is a symbolic link to ");
    }
    // What fails on the way leaves nothing.
    sql(&folder.path("p.db"), "UPDATE names SET amount = 1e999");
    folder
        .weir("export p.db names --to t.jsonl")
        .ends_with(1)
        .says("column \"amount\" holds a double that is not finite");
    let left = fs::read_dir(folder.0.path()).expect("the folder can be read");
    let mut left: Vec<_> = left.map(|entry| entry.expect("it is there").file_name()).collect();
    left.sort();
    assert_eq!(
        left,
        ["events.jsonl", "link.csv", "p.db", "p.db-lock", "p.toml", "t.csv"]
    );
}

#[test]
fn what_is_wrong_with_the_arguments_is_said() {
    let folder = Folder::with(NAMES);
    folder.replay("{\"id\": 1}\n").ends_with(0);
    for (arguments, said) in [
        (
            "p.db nothing --to t.csv",
            "database p.db has no table \"nothing\" of a pipeline; it has names",
        ),
        (
            "p.db weir_pipeline --to t.csv",
            "database p.db has no table \"weir_pipeline\" of a pipeline; it has names",
        ),
        (
            "p.db names --to t.xlsx",
            "accepted are names that end in .csv, .jsonl or .parquet, and --format for others",
        ),
        ("p.db names --to t", "--to \"t\" does not say what the file shall hold"),
        ("p.db names --to -", "--to \"-\" does not say what the file shall hold"),
        ("p.db names --to - --format parquet", "--to - does not take Parquet"),
        (
            "p.db names --to - --format csv --json",
            "where --json would write its summary",
        ),
        (
            "p.db names --to t.csv --columns id,price",
            "table names has no column \"price\"; it has id, name, amount",
        ),
        ("p.db names --to t.csv --columns id,id", "--columns names \"id\" twice"),
        (
            "p.db names --to t.csv --format xml",
            "[possible values: csv, jsonl, parquet]",
        ),
    ] {
        folder.weir(&format!("export {arguments}")).ends_with(2).says(said);
    }
    folder
        .weir("export none.db names --to t.csv")
        .ends_with(1)
        .says("there is no database none.db");
    folder
        .weir("export p.db names --to no/t.csv")
        .ends_with(1)
        .says("cannot write no/t.csv");
    assert!(!folder.path("t.csv").exists());
    // The suffix does not matter to who says what the file shall hold.
    folder.weir("export p.db names --to t.txt --format csv").ends_with(0);
    assert_eq!(read(&folder.path("t.txt")), "id,name,amount\n1,,\n");
}

#[test]
fn a_cell_that_somebody_else_wrote_is_named() {
    let folder = everything();
    sql(
        &folder.path("p.db"),
        "UPDATE everything SET at = 'yesterday' WHERE id = 3",
    );
    folder
        .weir("export p.db everything --to t.parquet")
        .ends_with(1)
        .says("column \"at\" of table \"everything\" holds \"yesterday\", which is no timestamp as text: somebody else wrote it");
    for (column, written, what) in [
        ("doc", "[1", "json"),
        ("tags", "[1", "list(decimal(5, 2))"),
        ("tags", "[1.005]", "list(decimal(5, 2))"),
        ("tags", "{}", "list(decimal(5, 2))"),
    ] {
        sql(
            &folder.path("p.db"),
            &format!("UPDATE everything SET {column} = '{written}' WHERE id = 1"),
        );
        for file in ["t.parquet", "t.jsonl", "t.csv"] {
            folder
                .weir(&format!("export p.db everything --to {file} --columns {column}"))
                .ends_with(1)
                .says(&format!(
                    "column \"{column}\" of table \"everything\" holds \"{written}\", which is no {what}"
                ));
        }
    }
    // Nobody asked for it.
    folder
        .weir("export p.db everything --to t.parquet --columns id,day")
        .ends_with(0);
}

#[test]
fn a_table_of_an_older_weir_goes_out_as_it_lies_there() {
    let folder = everything();
    sql(
        &folder.path("p.db"),
        "ALTER TABLE weir_table DROP COLUMN columns; ALTER TABLE weir_dead_letter DROP COLUMN headers;
         ALTER TABLE weir_dead_letter DROP COLUMN written_sequence; PRAGMA user_version = 7",
    );
    let export = "export p.db everything --to - --format jsonl --columns id,flag,price,at,receipt";
    let found = folder
        .weir(export)
        .ends_with(0)
        .says("an older weir made table everything, and kept no types");
    assert_eq!(
        found.stdout.lines().next(),
        Some("{\"id\":1,\"flag\":1,\"price\":10.1,\"at\":\"2026-03-15T04:00:00.500000Z\",\"receipt\":\"AP8=\"}")
    );
    // A start of its pipeline remembers them.
    folder.replay(EDGES).ends_with(0);
    let found = folder.weir(export).ends_with(0).says_nothing();
    assert_eq!(
        found.stdout.lines().next(),
        Some("{\"id\":1,\"flag\":true,\"price\":10.10,\"at\":\"2026-03-15T04:00:00.500000Z\",\"receipt\":\"AP8=\"}")
    );
}
