//! `columns`: constants of every type in a table, behind a lookup that its rows update, and what of it may change.

use std::{path::Path, sync::Arc};
use weir::{definition::File, error::ErrorKind, plan::Plan};
use weir_tests::{
    replay::{Run, host, replay},
    scratch_in_memory,
    table::{Cell, contents},
};

fn plan(text: &str) -> Arc<Plan> {
    let plan = Plan::build(&File::from_text("p.toml", text), host());
    Arc::new(plan.unwrap_or_else(|error| panic!("{error}\n{text}")))
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

#[test]
fn a_constant_of_each_type_is_written_as_a_value_of_an_event_is() {
    let plan = plan(
        r#"
name = "p"
source = { stream = "S", subject = "s", columns = { id = "int" } }
[[step]]
name = "all"
[step.columns]
id = "id"
int = { constant = -9223372036854775808 }
double = { constant = 1e300 }
boolean = { constant = false }
text = { constant = "人" }
decimal = { constant = "-0.10", type = "decimal(4, 2)" }
wide = { constant = "12345678901234567890.5", type = "decimal", precision = 22, scale = 1 }
timestamp = { constant = 2026-03-15T12:00:00.000001+08:00 }
date = { constant = "2024-02-29", type = "date" }
bytes = { constant = "AAEC", type = "bytes" }
json = { constant = '{"tags": ["new"]}', type = "json" }
nothing = { null = true, type = "date" }
[[sink]]
table = "all"
"#,
    );
    let run = Run {
        plan: &plan,
        lookup_rows: b"",
        input: b"{\"id\": 1}\n{\"id\": null}\n",
        batches: &[1],
        stops: &[1],
    };
    let contents = run.contents();
    let constants = [
        Cell::Int(i64::MIN),
        Cell::Double(1e300),
        Cell::Int(0),
        text("人"),
        Cell::Double(-0.1),
        text("12345678901234567890.5"),
        text("2026-03-15T04:00:00.000001Z"),
        text("2024-02-29"),
        Cell::Blob(vec![0, 1, 2]),
        text("{\"tags\": [\"new\"]}"),
        Cell::Null,
    ];
    let row = |id: Cell| [&[id], &constants[..]].concat();
    assert_eq!(contents.tables["all"].rows, [row(Cell::Int(1)), row(Cell::Null)]);
}

#[test]
fn a_lookup_sees_what_other_columns_of_the_event_before_set() {
    let plan = plan(
        r#"
name = "p"
source = { stream = "S", subject = "s", columns = { order = "int", status = "text" } }
[table.known]
primary_key = ["id"]
columns = { id = "int", last = "text" }
update_from = "set"
[[step]]
name = "joined"
lookup = { table = "known", on = { id = "order" } }
[[step]]
name = "set"
columns = { id = "order", last = "status", before = "last" }
[[sink]]
table = "changes"
"#,
    );
    let run = Run {
        plan: &plan,
        lookup_rows: b"{\"id\": 1, \"last\": \"new\"}\n",
        input: b"{\"order\": 1, \"status\": \"paid\"}\n{\"order\": 2, \"status\": \"paid\"}\n{\"order\": 1, \"status\": \"sent\"}\n",
        batches: &[3],
        stops: &[],
    };
    let contents = run.contents();
    let changes = [["paid", "new"], ["sent", "paid"]];
    let changes = changes.map(|[last, before]| vec![Cell::Int(1), text(last), text(before)]);
    assert_eq!(contents.tables["changes"].rows, changes);
    assert_eq!(contents.tables["known"].rows, [vec![Cell::Int(1), text("sent")]]);
}

fn of_changelog(columns: &str) -> String {
    format!(
        "name = \"p\"
         source = {{ stream = \"S\", subject = \"s\", columns = {{ k = \"text\", a = \"int\", b = \"int\" }} }}
         step = [
             {{ name = \"latest\", last_value = {{ key = [\"k\"], columns = [\"a\", \"b\"] }} }},
             {{ name = \"named\", columns = {{ {columns} }} }},
             {{ name = \"sums\", aggregate = {{ group_by = [\"one\"], columns = {{ total = {{ sum = \"n\" }} }} }} }},
         ]
         sink = [{{ table = \"sums\", primary_key = [\"one\"] }}, {{ from = \"latest\", table = \"latest\", primary_key = [\"k\"] }}]"
    )
}

/// Rows that were taken in with a value of one column are not taken back with that of another.
#[test]
fn over_a_changelog_other_columns_do_not_go_on_with_what_the_former_left() {
    let folder = scratch_in_memory();
    let (input, database) = (folder.path().join("events.jsonl"), folder.path().join("p.db"));
    let run = |columns: &str, events: &str| {
        std::fs::write(&input, events).expect("the input can be written");
        replay(&plan(&of_changelog(columns)), &input, &database, 2)
    };
    let first = "{\"k\": \"x\", \"a\": 1, \"b\": 10}\n{\"k\": \"y\", \"a\": 2, \"b\": 20}\n";
    run("one = { constant = 1 }, n = \"a\"", first).expect("it runs");
    let error = run("one = { constant = 1 }, n = \"b\"", first).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Definition);
    let error = error.to_string();
    let (_, said) = error.split_once(".db: ").expect("the database is named");
    assert_eq!(
        said,
        "step \"sums\" has read the changelog of step \"latest\" through named (columns one = 1, n = a) so far, and would now read the \
         changelog of step \"latest\" through named (columns one = 1, n = b): rows that came the one way would not be taken back the \
         other; run the pipeline into a new database instead, or put the steps back as they were"
    );
    let more = first.to_owned() + "{\"k\": \"x\", \"a\": 5, \"b\": 0}\n";
    run("one = { constant = 1 }, n = \"a\"", &more).expect("the former go on");
    assert_eq!(sums(&database), [vec![Cell::Int(1), Cell::Int(7)]]);
}

fn sums(database: &Path) -> Vec<Vec<Cell>> {
    contents(database).tables["sums"].rows.clone()
}
