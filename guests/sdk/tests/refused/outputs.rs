//! Shapes of several outputs.

use weir_guest::{Output, Outputs};

#[derive(Output)]
#[pass(id)]
struct Row;

#[derive(Outputs)]
enum WithoutRow {
    Kept(Row),
    Dropped,
}

#[derive(Outputs)]
enum SameName {
    Kept(Row),
    #[output("kept")]
    Other(Row),
}

#[derive(Outputs)]
struct None {}

fn main() {}
