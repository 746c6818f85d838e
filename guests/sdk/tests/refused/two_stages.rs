//! A component has one stage.

use weir_guest::{Input, Output, stage};

#[derive(Input)]
struct Order {
    id: i64,
}

#[derive(Output)]
#[pass(id)]
struct Row;

#[stage]
fn odd(order: Order) -> Option<Row> {
    (order.id % 2 == 1).then_some(Row)
}

#[stage]
fn even(order: Order) -> Option<Row> {
    (order.id % 2 == 0).then_some(Row)
}

fn main() {}
