//! Many rows of one event.

use weir_guest::{Input, Output, Outputs, stage};

#[derive(Input)]
struct Order {
    id: i64,
}

#[derive(Output)]
#[pass(id)]
struct Row;

#[derive(Outputs)]
enum Either {
    One(Row),
    Other(Vec<i64>),
}

mod iterator_of_anything {
    use super::*;

    #[stage]
    fn rule(_: Order) -> impl Iterator {
        std::iter::empty::<Row>()
    }
}

mod iterator_in_a_list {
    use super::*;

    #[stage]
    fn rule(_: Order) -> Vec<impl Iterator<Item = Row>> {
        vec![std::iter::empty()]
    }
}

mod list_of_no_rows {
    use super::*;

    #[stage]
    fn rule(order: Order) -> Vec<i64> {
        vec![order.id]
    }
}

fn main() {}
