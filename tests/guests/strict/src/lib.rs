//! A rule that asks for much: tests of pipeline files give it something else.

use weir_guest::{Input, Output, Parameters, stage};

#[derive(Input)]
struct Order {
    amount: i64,
}

/// An order that is large enough. Its number is made anew, so that it is another column.
#[derive(Output)]
#[pass(amount)]
struct Large {
    id: i64,
}

#[derive(Parameters)]
struct Settings {
    /// Smallest amount that is kept.
    least: i64,
    #[default(0.5)]
    share: f64,
    #[default(true)]
    inclusive: bool,
    #[default("CNY")]
    currency: String,
    #[default([1, 2])]
    ranks: Vec<i64>,
    #[default([0.5])]
    shares: Vec<f64>,
    #[default(["a"])]
    names: Vec<String>,
}

/// Orders of some size.
#[stage]
fn large_orders(order: Order, settings: &Settings) -> Option<Large> {
    let Settings {
        least,
        share,
        inclusive,
        currency,
        ranks,
        shares,
        names,
    } = settings;
    let all = currency.len() + ranks.len() + shares.len() + names.len();
    let is_large = order.amount > *least || *inclusive && order.amount == *least;
    (is_large && *share < 1.0 && all > 0).then_some(Large { id: order.amount })
}
