//! Signatures of decoders.

use weir_guest::{Context, Message, Output, decoder};

#[derive(Output)]
struct Row {
    id: i64,
}

mod without_message {
    use super::*;

    #[decoder]
    fn decode() -> Option<Row> {
        None
    }
}

mod with_context {
    use super::*;

    #[decoder]
    fn decode(_: Message<'_>, cx: &Context) -> Option<Row> {
        None
    }
}

mod returns_nothing {
    use super::*;

    #[decoder]
    fn decode(_: &[u8]) {}
}

mod iterates_over_nothing {
    use super::*;

    #[decoder]
    fn decode(_: &[u8]) -> impl Iterator {
        std::iter::empty::<Row>()
    }
}

mod with_arguments {
    use super::*;

    #[decoder(name = "rows")]
    fn decode(_: &[u8]) -> Option<Row> {
        None
    }
}

fn main() {}
