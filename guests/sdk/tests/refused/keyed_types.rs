//! Keyed functions: the types that their methods speak of.

use weir_guest::{Input, Output, State, Timers, keyed};

#[derive(Input)]
struct Payment {
    amount: i64,
}

#[derive(Output)]
struct Alarm {
    amount: i64,
}

#[derive(Output)]
struct FollowUp {
    sum: i64,
}

#[derive(Output)]
#[pass(amount)]
struct Passed;

mod without_a_beginning {
    use super::*;

    #[derive(State)]
    struct Card {
        sum: i64,
    }

    #[keyed]
    impl Card {
        fn on_row(&mut self, _: Payment) -> Option<Alarm> {
            None
        }
    }
}

mod no_row {
    use super::*;

    #[derive(Default, State)]
    struct Card {
        sum: i64,
    }

    #[keyed]
    impl Card {
        fn on_row(&mut self, _: i64) -> Option<Alarm> {
            None
        }
    }
}

mod no_time {
    use super::*;

    #[derive(Default, State)]
    struct Card {
        sum: i64,
    }

    #[keyed]
    impl Card {
        fn on_row(&mut self, _: Payment, _: i64) -> Option<Alarm> {
            None
        }
    }
}

mod no_context {
    use super::*;

    #[derive(Default, State)]
    struct Card {
        sum: i64,
    }

    #[keyed]
    impl Card {
        fn on_row(&mut self, _: Payment, _: &i64) -> Option<Alarm> {
            None
        }
    }
}

mod no_output {
    use super::*;

    #[derive(Default, State)]
    struct Card {
        sum: i64,
    }

    #[keyed]
    impl Card {
        fn on_row(&mut self, _: Payment) -> bool {
            true
        }
    }
}

mod other_outputs {
    use super::*;

    #[derive(Default, State)]
    struct Card {
        sum: i64,
    }

    #[keyed]
    impl Card {
        fn on_row(&mut self, _: Payment, _: &mut Timers) -> Option<Alarm> {
            None
        }
        fn on_timer(&mut self) -> Option<FollowUp> {
            None
        }
    }
}

mod passed_from_no_row {
    use super::*;

    #[derive(Default, State)]
    struct Card {
        sum: i64,
    }

    #[keyed]
    impl Card {
        fn on_row(&mut self, _: Payment, _: &mut Timers) -> Option<Passed> {
            None
        }
        fn on_timer(&mut self) -> Vec<Passed> {
            vec![]
        }
    }
}

fn main() {}
