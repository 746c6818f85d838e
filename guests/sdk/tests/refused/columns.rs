//! Attributes and shapes of inputs and outputs.

use weir_guest::{Input, Output};

#[derive(Input)]
struct Positional(i64);

#[derive(Input)]
struct Twice {
    id: i64,
    #[column("id")]
    number: i64,
}

#[derive(Input)]
struct Generic<T> {
    id: T,
}

#[derive(Input)]
struct Renamed {
    #[column(name = "id")]
    id: i64,
}

#[derive(Output)]
struct Nothing;

#[derive(Output)]
#[pass(id, premium as id)]
struct PassedTwice;

#[derive(Output)]
#[pass(id to number)]
struct NotAs;

#[derive(Output)]
enum OneOf {
    Id(i64),
}

fn main() {}
