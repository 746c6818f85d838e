//! Whether a card pays too often: it reads how many payments the last minutes had, and passes everything on.

use weir_guest::{Input, Output, Parameters, stage};

#[derive(Input)]
struct Recent {
    payments: Option<i64>,
}

#[derive(Output)]
#[pass(card, payments, spent, payment, merchant, paid_at)]
struct Judged {
    is_fast: bool,
}

#[derive(Parameters)]
struct Settings {
    /// So many payments are no more than a customer makes.
    #[default(3)]
    most: i64,
}

/// Payments with whether their card pays too often.
#[stage]
fn judge(recent: Recent, settings: &Settings) -> Judged {
    Judged {
        is_fast: recent.payments.is_some_and(|payments| payments > settings.most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_payment_more_than_the_most_is_too_many() {
        for (payments, expected) in [(None, false), (Some(3), false), (Some(4), true)] {
            let judged = judge(Recent { payments }, &Settings { most: 3 });
            assert_eq!(judged.is_fast, expected, "{payments:?}");
        }
    }
}
