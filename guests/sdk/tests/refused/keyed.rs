//! Keyed functions: the shape of their methods.

use weir_guest::{Context, EventTime, Input, Output, State, Timers, keyed};

#[derive(Input)]
struct Payment {
    amount: i64,
}

#[derive(Output)]
struct Alarm {
    amount: i64,
}

#[derive(Output)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Default, State)]
struct Card {
    sum: i64,
}

mod without_on_row {
    use super::*;

    #[keyed]
    impl Card {
        fn on_timer(&mut self) -> Option<Alarm> {
            None
        }
    }
}

mod on_row_without_row {
    use super::*;

    #[keyed]
    impl Card {
        fn on_row(&mut self) -> Option<Alarm> {
            None
        }
    }
}

mod on_row_that_changes_nothing {
    use super::*;

    #[keyed]
    impl Card {
        fn on_row(&self, payment: Payment) -> Option<Alarm> {
            None
        }
    }
}

mod two_times {
    use super::*;

    #[keyed]
    impl Card {
        fn on_row(&mut self, payment: Payment, at: EventTime, then: EventTime) -> Option<Alarm> {
            None
        }
    }
}

mod returns_nothing {
    use super::*;

    #[keyed]
    impl Card {
        fn on_row(&mut self, payment: Payment) {}
    }
}

mod timers_without_on_timer {
    use super::*;

    #[keyed]
    impl Card {
        fn on_row(&mut self, payment: Payment, timers: &mut Timers) -> Option<Alarm> {
            None
        }
    }
}

mod on_timer_without_timers {
    use super::*;

    #[keyed]
    impl Card {
        fn on_row(&mut self, payment: Payment) -> Option<Alarm> {
            None
        }
        fn on_timer(&mut self, at: EventTime) -> Option<Alarm> {
            None
        }
    }
}

mod now_of_a_timer {
    use super::*;

    #[keyed]
    impl Card {
        fn on_row(&mut self, payment: Payment, timers: &mut Timers) -> Option<Alarm> {
            None
        }
        fn on_timer(&mut self, cx: &Context) -> Option<Alarm> {
            None
        }
    }
}

mod borrows_from_the_state {
    use super::*;

    #[keyed]
    impl Card {
        fn on_row(&mut self, payment: Payment) -> Option<Named<'_>> {
            None
        }
    }
}

mod borrows_from_the_state_by_name {
    use super::*;

    #[keyed]
    impl Card {
        fn on_row<'a>(&'a mut self, payment: Payment) -> Option<Named<'a>> {
            None
        }
    }
}

mod of_a_trait {
    use super::*;

    #[keyed]
    impl Iterator for Card {
        type Item = ();
        fn next(&mut self) -> Option<()> {
            None
        }
    }
}

mod with_arguments {
    use super::*;

    #[keyed(by = "card")]
    impl Card {}
}

fn main() {}
