//! `weir table load`: rows that fit are loaded, rows that do not are refused one by one.

use super::Folder;
use weir_tests::table::{Cell, read};

/// A pipeline with a lookup table by two columns.
const RATES: &str = r#"
name = "rates"
source = { stream = "S", subject = "s", columns = { id = "int", code = "text" } }
[table.rates]
primary_key = ["code", "id"]
[table.rates.columns]
id = "int"
rate = { type = "text", format = "number" }
code = { type = "text", path = "product.code" }
[[step]]
name = "rated"
lookup = { table = "rates", on = { id = "id", code = "code" } }
[[sink]]
table = "rated"
"#;

const LOAD: &str = "table load p.toml rates --input rows.jsonl --database p.db";

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

#[test]
fn rows_are_loaded_over_those_of_the_same_key() {
    let folder = Folder::with(RATES);
    folder.write(
        "rows.jsonl",
        "{\"id\":1,\"rate\":\"1.5\",\"product\":{\"code\":\"a\"}}\n\n{\"product\":{\"code\":\"\"},\"id\":2}\n",
    );
    let outcome = folder.weir(LOAD).ends_with(0);
    assert_eq!(
        (&*outcome.stdout, &*outcome.stderr),
        ("loaded 2 rows into table rates of p.db\n", "")
    );
    folder.write("rows.jsonl", "{\"id\":1,\"rate\":\" 7 \",\"product\":{\"code\":\"a\"}}\n{\"id\":1,\"product\":{\"code\":\"a\"},\"rate\":\"8\"}");
    folder.weir(LOAD).ends_with(0);
    let rates = read(&folder.path("p.db"), "rates");
    assert_eq!(rates.columns, ["code", "id", "rate"]);
    assert_eq!(
        rates.rows,
        [
            vec![text(""), Cell::Int(2), Cell::Null],
            vec![text("a"), Cell::Int(1), text("8")]
        ]
    );

    folder
        .replay("{\"id\":1,\"code\":\"a\"}\n{\"id\":1,\"code\":\"b\"}\n")
        .ends_with(0);
    assert_eq!(
        read(&folder.path("p.db"), "rated").rows,
        [[Cell::Int(1), text("a"), text("8")]]
    );
    // Also between two replays.
    folder.write("rows.jsonl", "{\"id\":1,\"rate\":\"9\",\"product\":{\"code\":\"b\"}}\n");
    folder.weir(LOAD).ends_with(0);
    folder
        .replay("{\"id\":1,\"code\":\"a\"}\n{\"id\":1,\"code\":\"b\"}\n{\"id\":1,\"code\":\"b\"}\n")
        .ends_with(0);
    let rated = read(&folder.path("p.db"), "rated").rows;
    assert_eq!(
        rated,
        [
            [Cell::Int(1), text("a"), text("8")],
            [Cell::Int(1), text("b"), text("9")]
        ]
    );
}

#[test]
fn rows_that_do_not_fit_are_refused_with_line_and_reason() {
    let folder = Folder::with(RATES);
    let rows = [
        r#"{"id":1,"rate":"1","product":{"code":"a"}}"#,
        r#"{"id":2,"rate":"12,5","product":{"code":"a"}}"#,
        r#"{"id":3,"rate":"3"}"#,
        r#"{"id":null,"product":{"code":"a"}}"#,
        r#"{"id":5.0,"product":{"code":"a"}}"#,
        "not JSON",
        r#"{"id":7,"rate":"inf","product":{"code":"a"}}"#,
        r#"{"id":8,"product":{"code":"a"}}"#,
    ];
    folder.write("rows.jsonl", rows.join("\n"));
    let outcome = folder.weir(LOAD).ends_with(3);
    assert_eq!(outcome.stdout, "loaded 2 rows into table rates of p.db\n");
    for said in [
        "rows.jsonl:2: refused: column \"rate\": found the text \"12,5\"; accepted is a finite number in decimal, or null",
        "rows.jsonl:3: refused: column \"code\" of the primary key is null",
        "rows.jsonl:4: refused: column \"id\" of the primary key is null",
        "rows.jsonl:5: refused: column \"id\": found `5.0` at byte 6; accepted is a number written as an integer",
        "rows.jsonl:6: refused: found `not JSON` at byte 0; accepted is one JSON object",
        "rows.jsonl:7: refused: column \"rate\": found the text \"inf\"",
        "weir: refused 6 rows of rows.jsonl; they are listed above",
    ] {
        assert!(
            outcome.stderr.contains(said),
            "{said:?} is not said:\n{}",
            outcome.stderr
        );
    }
    let ids: Vec<Cell> = read(&folder.path("p.db"), "rates")
        .rows
        .into_iter()
        .map(|row| row[1].clone())
        .collect();
    assert_eq!(ids, [Cell::Int(1), Cell::Int(8)]);
}

#[test]
fn what_cannot_be_loaded_at_all_is_told() {
    let folder = Folder::with(RATES);
    folder.write("rows.jsonl", "{\"id\":1,\"product\":{\"code\":\"a\"}}\n");
    let unknown = LOAD.replace("p.toml rates", "p.toml prices");
    folder
        .weir(&unknown)
        .ends_with(2)
        .says("pipeline rates has no lookup table \"prices\"; it has rates");
    folder
        .weir(&LOAD.replace("rows.jsonl", "none.jsonl"))
        .ends_with(2)
        .says("cannot read none.jsonl: ");
    let hold = weir_tests::replay::hold(&folder.path("p.db")).expect("nobody else holds the database");
    folder
        .weir(LOAD)
        .ends_with(1)
        .says("database p.db is in use by another weir");
    drop(hold);
    folder.weir(LOAD).ends_with(0);
}

#[test]
fn without_a_database_the_one_of_the_pipeline_is_filled() {
    let folder = Folder::with(RATES);
    folder.write("rows.jsonl", "{\"id\":1,\"product\":{\"code\":\"a\"}}\n");
    folder.weir("table load p.toml rates --input rows.jsonl").ends_with(0);
    assert_eq!(read(&folder.path("rates.db"), "rates").rows.len(), 1);
}
