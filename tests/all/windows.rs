//! Windows against a plain model: random pipelines, random events out of order, random batches and stops.

mod clock_change;
mod stages;
mod state;
mod trace;

use weir_tests::{
    generator::{
        Flow, From, Knobs, Slot,
        case::{Case, cases},
    },
    seed::check_property,
};

/// How many pipelines are tried.
const CASES: u32 = 1500;

/// How many are tried with many events.
const LONG_CASES: u32 = 30;

const WINDOWS: &[&str] = &[
    "tumbling",
    "tumbling",
    "tumbling",
    "hopping",
    "hopping",
    "hopping",
    "session",
    "session",
    "over_rows",
    "over_time",
];

/// A window or two, over events or a changelog, and a rule on another branch that rejects events which they have taken in.
const KNOBS: Knobs<'static> = Knobs {
    timed: true,
    every_sink: false,
    slots: &[
        Slot {
            kinds: &["last_value"],
            happens: (1, 3),
            from: From::Source,
        },
        Slot {
            kinds: WINDOWS,
            happens: (1, 1),
            from: From::Last,
        },
        Slot {
            kinds: WINDOWS,
            happens: (1, 4),
            from: From::Last,
        },
        Slot {
            kinds: &["judge"],
            happens: (2, 5),
            from: From::Source,
        },
    ],
};

const FLOW: Flow = Flow {
    broken: 256,
    ..Flow::RANDOM
};

#[test]
fn tables_are_what_the_plain_model_says() {
    let cases = cases(KNOBS, FLOW, 0..40, &[1, 2, 3, 5, 8, 4096]);
    check_property(CASES, &cases, Case::check);
}

/// Windows of some hundreds of rows of a batch are looked up ahead.
#[test]
fn tables_of_many_events_are_too() {
    let cases = cases(KNOBS, FLOW, 300..500, &[100, 300, 4096]);
    check_property(LONG_CASES, &cases, Case::check);
}
