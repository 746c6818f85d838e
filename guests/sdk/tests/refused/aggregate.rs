//! Aggregates and their states.

use weir_guest::{Input, State, aggregate};

#[derive(Input)]
struct Order {
    amount: i64,
}

#[derive(Default, State)]
struct Sum {
    sum: i64,
}

mod without_add {
    use super::*;

    #[aggregate]
    impl Sum {
        fn result(&self) -> i64 {
            self.sum
        }
    }
}

mod without_result {
    use super::*;

    #[aggregate]
    impl Sum {
        fn add(&mut self, order: Order) {}
    }
}

mod add_that_changes_nothing {
    use super::*;

    #[aggregate]
    impl Sum {
        fn add(&self, order: Order) {}
        fn result(&self) -> i64 {
            self.sum
        }
    }
}

mod result_that_changes_the_state {
    use super::*;

    #[aggregate]
    impl Sum {
        fn add(&mut self, order: Order) {}
        fn result(&mut self) -> i64 {
            self.sum
        }
    }
}

mod result_that_borrows {
    use super::*;

    #[aggregate]
    impl Sum {
        fn add(&mut self, order: Order) {}
        fn result(&self) -> &str {
            ""
        }
    }
}

mod merge_with_too_much {
    use super::*;

    #[aggregate]
    impl Sum {
        fn add(&mut self, order: Order) {}
        fn merge(&mut self, other: Sum, one_more: i64) {}
        fn result(&self) -> i64 {
            self.sum
        }
    }
}

mod of_a_trait {
    use super::*;

    #[aggregate]
    impl Iterator for Sum {
        type Item = ();
        fn next(&mut self) -> Option<()> {
            None
        }
    }
}

mod generic {
    use super::*;

    #[aggregate]
    impl<T> Several<T> {
        fn add(&mut self, order: Order) {}
    }
}

mod with_arguments {
    use super::*;

    #[aggregate(name = "sum")]
    impl Sum {}
}

#[derive(State)]
struct Borrowed<'a> {
    text: &'a str,
}

#[derive(State)]
enum Either {
    One,
}

fn main() {}
