//! Types that no decoder takes or gives.

use weir_guest::{Output, Outputs, decoder};

#[derive(Output)]
struct Row {
    id: i64,
}

mod no_message {
    use super::*;

    #[decoder]
    fn decode(_: String) -> Option<Row> {
        None
    }
}

mod no_row {
    use super::*;

    #[decoder]
    fn decode(_: &[u8]) -> i64 {
        1
    }
}

mod several_outputs {
    use super::*;

    #[derive(Outputs)]
    enum Either {
        One(Row),
        Other(Row),
    }

    #[decoder]
    fn decode(_: &[u8]) -> Option<Either> {
        None
    }
}

mod passed_from_no_row {
    use super::*;

    #[derive(Output)]
    #[pass(id)]
    struct Passed {
        number: i64,
    }

    #[decoder]
    fn decode(_: &[u8]) -> Option<Passed> {
        None
    }
}

fn main() {}
