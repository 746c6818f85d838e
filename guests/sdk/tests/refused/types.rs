//! Types that no column and no verdict has.

use weir_guest::{Input, stage};

#[derive(Input)]
struct Narrow {
    id: Option<u32>,
}

#[derive(Input)]
struct Order {
    id: i64,
}

#[stage]
fn is_kept(order: Order) -> bool {
    order.id > 0
}

fn main() {}
