//! Every example of the table of functions comes to what the table says.

mod common;

use weir_expression::function::FUNCTIONS;

#[test]
fn every_example_comes_to_what_is_said() {
    let mut wrong = Vec::new();
    for row in FUNCTIONS {
        let found = common::evaluated(row.example).unwrap_or_else(|error| format!("error: {error}"));
        if found != row.result {
            wrong.push(format!("{}\n   gives {found}\n   not   {}", row.example, row.result));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
