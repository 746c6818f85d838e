//! Digits of decimals.

use weir_guest::rust_decimal::Decimal;
use weir_guest::{Input, Output, State, aggregate};

#[derive(Output)]
struct WithoutDigits {
    fee: Option<Decimal>,
}

#[derive(Output)]
struct TooManyDigits {
    #[decimal(39, 2)]
    fee: Decimal,
}

#[derive(Output)]
struct MoreBehindThePoint {
    #[decimal(2, 3)]
    fee: Decimal,
}

#[derive(Output)]
struct OneNumber {
    #[decimal(18)]
    fee: Decimal,
}

#[derive(Output)]
struct NoDecimal {
    #[decimal(18, 2)]
    fee: f64,
}

#[derive(Input)]
struct Order {
    fee: Decimal,
}

#[derive(Default, State)]
struct Fees {
    sum: Decimal,
}

#[aggregate]
impl Fees {
    fn add(&mut self, order: Order) {
        self.sum += order.fee;
    }

    fn result(&self) -> Decimal {
        self.sum
    }
}

fn main() {}
