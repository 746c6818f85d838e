//! Every example of the reference page comes to what the page says, and the page is the one in `docs`.

mod common;

use weir_expression::{
    function::FUNCTIONS,
    reference::{OPERATORS, page},
};

#[test]
fn every_example_comes_to_what_is_said() {
    let of_functions = FUNCTIONS.iter().map(|row| (row.example, row.result));
    let of_operators = OPERATORS.iter().map(|(_, example, result)| (*example, *result));
    let mut wrong = Vec::new();
    for (example, result) in of_functions.chain(of_operators) {
        let found = common::evaluated(example).unwrap_or_else(|error| format!("error: {error}"));
        if found != result {
            wrong.push(format!("{example}\n   gives {found}\n   not   {result}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `WEIR_BLESS=1` writes the page.
#[test]
fn the_page_is_made_of_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/expressions.md");
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page(),
        "docs/reference/expressions.md is not what the table says: run with WEIR_BLESS=1"
    );
}
