//! Types of aggregates.

use weir_guest::{Input, Reject, State, aggregate};

#[derive(Input)]
struct Order {
    amount: i64,
}

#[derive(Default, State)]
struct Unordered {
    seen: std::collections::HashSet<i64>,
}

mod returns_a_number {
    use super::*;

    #[derive(Default, State)]
    struct Sum {
        sum: i64,
    }

    #[aggregate]
    impl Sum {
        fn add(&mut self, order: Order) -> i64 {
            self.sum += order.amount;
            self.sum
        }
        fn result(&self) -> i64 {
            self.sum
        }
    }
}

mod without_a_beginning {
    use super::*;

    #[derive(State)]
    struct Sum {
        sum: i64,
    }

    #[aggregate]
    impl Sum {
        fn add(&mut self, order: Order) -> Result<(), Reject> {
            self.sum += order.amount;
            Ok(())
        }
        fn result(&self) -> i64 {
            self.sum
        }
    }
}

mod comes_to_no_column {
    use super::*;

    #[derive(Default, State)]
    struct Sum {
        sum: i64,
    }

    #[aggregate]
    impl Sum {
        fn add(&mut self, order: Order) {
            self.sum += order.amount;
        }
        fn result(&self) -> u8 {
            self.sum as u8
        }
    }
}

fn main() {}
