//! Items: one row for each item of an order.

use weir_guest::{Input, Output, stage};

/// What the rule reads of an order: its items, with commas between.
#[derive(Input)]
struct Order<'a> {
    skus: Option<&'a str>,
}

/// An item of an order.
#[derive(Output)]
#[pass(order_no)]
struct Item<'a> {
    place: i64,
    sku: &'a str,
}

/// The items of an order, one row for each.
#[stage]
fn items<'a>(order: Order<'a>) -> impl Iterator<Item = Item<'a>> {
    let skus = order.skus.unwrap_or_default().split_terminator(',');
    skus.zip(1..).map(|(sku, place)| Item { place, sku })
}

#[test]
fn an_order_has_as_many_rows_as_items() {
    let given = |skus| {
        items(Order { skus })
            .map(|item| (item.place, item.sku))
            .collect::<Vec<_>>()
    };
    assert_eq!(given(Some("P-1,P-7")), [(1, "P-1"), (2, "P-7")]);
    assert_eq!(given(None), []);
}
