//! Large orders: those from an amount on.

use weir_guest::{Input, Output, Parameters, Reject, stage};

/// What the rule reads of an order.
#[derive(Input)]
struct Order {
    amount: Option<f64>,
}

/// An order that is large. Its columns go through as they came in.
#[derive(Debug, Output)]
#[pass(order_no, customer, amount)]
struct LargeOrder;

#[derive(Parameters)]
struct Settings {
    /// Amount from which on an order is large.
    #[default(1000.0)]
    threshold: f64,
}

/// Orders of at least the threshold. One without an amount is not large.
#[stage]
fn large_orders(order: Order, settings: &Settings) -> Result<Option<LargeOrder>, Reject> {
    let Some(amount) = order.amount else {
        return Ok(None);
    };
    if amount < 0.0 {
        return Err(Reject::new(format!(
            "column `amount` is {amount}; accepted is a number from 0 on"
        )));
    }
    Ok((amount >= settings.threshold).then_some(LargeOrder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_large(amount: Option<f64>) -> bool {
        let settings = Settings::defaults().unwrap();
        large_orders(Order { amount }, &settings).unwrap().is_some()
    }

    #[test]
    fn an_order_is_large_from_the_threshold_on() {
        assert!(is_large(Some(1000.0)));
        assert!(!is_large(Some(999.99)));
    }

    #[test]
    fn an_order_without_amount_is_not_large() {
        assert!(!is_large(None));
    }

    #[test]
    fn a_negative_amount_is_rejected() {
        let settings = Settings::defaults().unwrap();
        assert!(large_orders(Order { amount: Some(-1.0) }, &settings).is_err());
    }
}
