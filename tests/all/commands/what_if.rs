//! `weir replay --param` and `--with`: other parameters and modules than the pipeline file's, for one replay.

use super::Folder;
use weir_tests::{
    guest,
    table::{Cell, contents, read},
};

/// Amounts that are known, of at least 2.
fn amounts() -> String {
    format!(
        r#"
name = "amounts"
source = {{ stream = "S", subject = "s", columns = {{ amount = "int" }} }}
[table.known]
primary_key = ["amount"]
columns = {{ amount = "int" }}
[[step]]
name = "known"
lookup = {{ table = "known", on = {{ amount = "amount" }} }}
[[step]]
name = "large"
stage = {{ module = "{}", parameters = {{ least = 2, currency = "EUR" }} }}
[[sink]]
table = "large"
"#,
        guest("strict").display()
    )
}

/// A folder in which amounts 1 to 5 are known, and happen.
fn folder() -> Folder {
    let folder = Folder::with(&amounts());
    let lines: String = (1..=5).map(|amount| format!("{{\"amount\":{amount}}}\n")).collect();
    folder.write("events.jsonl", lines);
    folder
}

const REPLAY: &str = "replay p.toml --input events.jsonl --database p.db";

impl Folder {
    /// The amounts that are large with these arguments, in a new database.
    #[track_caller]
    fn large(&self, arguments: &str) -> Vec<i64> {
        let _ = std::fs::remove_file(self.path("p.db"));
        let load = "table load p.toml known --input events.jsonl --database p.db";
        self.weir(load).ends_with(0);
        self.weir(&format!("{REPLAY} {arguments}")).ends_with(0);
        let int = |row: Vec<Cell>| match row.last() {
            Some(Cell::Int(amount)) => *amount,
            other => panic!("no amount: {other:?}"),
        };
        read(&self.path("p.db"), "large").rows.into_iter().map(int).collect()
    }
}

#[test]
fn a_parameter_is_read_by_its_type_and_the_others_stay() {
    let folder = folder();
    assert_eq!(folder.large(""), [2, 3, 4, 5]);
    assert_eq!(folder.large("--param large.least=4"), [4, 5]);
    assert_eq!(folder.large("--param large.inclusive=false"), [3, 4, 5]);
    assert_eq!(folder.large("--param large.least=4 --param large.inclusive=false"), [5]);
    assert_eq!(folder.large("--param large.share=1"), [0; 0]);
    // What the file does not say has the rule's default; what it says of currency is kept.
    let empty = "--param large.ranks= --param large.shares=[] --param large.names=";
    assert_eq!(folder.large(empty), [2, 3, 4, 5]);
    assert_eq!(folder.large(&format!("{empty} --param large.currency=")), [0; 0]);
    let lists = "--param large.ranks=1,2 --param large.shares=0.5,1 --param large.names=a,b";
    assert_eq!(folder.large(&format!("{lists} --param large.currency=")), [2, 3, 4, 5]);
}

#[test]
fn another_module_has_the_parameters_of_the_file() {
    let folder = folder();
    let module = guest("strict");
    // The same rule, as a component of other bytes: a custom section named "x" at its end.
    let mut bytes = std::fs::read(&module).expect("the component can be read");
    bytes.extend([0, 2, 1, b'x']);
    folder.write("other.wasm", bytes);
    assert_eq!(folder.large("--with large=other.wasm"), [2, 3, 4, 5]);
    assert_eq!(folder.large("--with large=other.wasm --param large.least=5"), [5]);
    let saved = format!("{REPLAY} --with large={}", guest("saved-orders").display());
    let refused = folder.weir(&saved).ends_with(2);
    refused.says("does not fit step \"large\" of pipeline amounts");
}

#[test]
fn what_does_not_fit_is_said_before_anything_is_made() {
    let folder = folder();
    for (arguments, said) in [
        (
            "--param large.least=two",
            "--param large.least is \"two\"; accepted is an integer",
        ),
        (
            "--param large.shares=1,inf",
            "--param large.shares is \"1,inf\"; accepted is a list of finite numbers",
        ),
        (
            "--param large.most=2",
            "has no parameter \"most\"; it has least (int), share (double)",
        ),
        (
            "--param small.least=2",
            "pipeline amounts has no stage \"small\"; it has large",
        ),
        (
            "--param known.least=2",
            "pipeline amounts has no stage \"known\"; it has large",
        ),
        (
            "--param large.least=2 --param large.least=3",
            "--param sets large.least twice",
        ),
        (
            "--with small=other.wasm",
            "pipeline amounts has no stage \"small\"; it has large",
        ),
        (
            "--with large=other.wasm",
            "step \"large\": cannot read module other.wasm",
        ),
        (
            "--with large=a.wasm --with large=b.wasm",
            "--with names step large twice",
        ),
    ] {
        folder.weir(&format!("{REPLAY} {arguments}")).ends_with(2).says(said);
    }
    assert!(!folder.path("p.db").exists());
}

#[test]
fn a_database_is_gone_on_with_by_the_same_rules_alone() {
    let folder = folder();
    folder.large("--param large.least=4");
    let before = contents(&folder.path("p.db"));
    for (arguments, name) in [
        ("", "a file of events"),
        ("--param large.least=5", "a file of events, with large.least = 5"),
    ] {
        let refused = folder.weir(&format!("{REPLAY} {arguments}")).ends_with(1);
        refused.says(&format!(
            "was filled from a file of events, with large.least = 4, not from {name};"
        ));
    }
    folder
        .weir(&format!("{REPLAY} --param large.least=4"))
        .ends_with(0)
        .says("continuing after line 5");
    assert_eq!(contents(&folder.path("p.db")), before);
}
