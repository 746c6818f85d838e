//! Signatures of rules.

use weir_guest::{Context, Input, Output, stage};

#[derive(Input)]
struct Order {
    id: i64,
}

#[derive(Output)]
#[pass(id)]
struct Row;

mod without_input {
    use super::*;

    #[stage]
    fn rule() -> Option<Row> {
        None
    }
}

mod context_by_value {
    use super::*;

    #[stage]
    fn rule(_: Order, cx: Context) -> Option<Row> {
        None
    }
}

mod three_arguments {
    use super::*;

    #[stage]
    fn rule(_: Order, cx: &Context, more: i64) -> Option<Row> {
        None
    }
}

mod returns_nothing {
    use super::*;

    #[stage]
    fn rule(_: Order) {}
}

mod generic {
    use super::*;

    #[stage]
    fn rule<T: Default>(_: Order) -> Option<Row> {
        None
    }
}

mod waits {
    use super::*;

    #[stage]
    async fn rule(_: Order) -> Option<Row> {
        None
    }
}

mod with_arguments {
    use super::*;

    #[stage(name = "rule")]
    fn rule(_: Order) -> Option<Row> {
        None
    }
}

fn main() {}
