//! `unnest` over events and over changelogs, and whatever reads it, against the plain model; in batches of each size, with stops.

use std::cell::Cell;
use weir_tests::{
    generator::{
        Flow, From, Knobs, Slot,
        case::{Case, cases},
        kinds::ANY,
    },
    seed::check_property,
};

/// How many pipelines are tried.
const CASES: u32 = 400;

const BEHIND: Slot = Slot {
    kinds: &["aggregate", "last_value", "on_crossing", "unnest", ANY],
    happens: (2, 3),
    from: From::Last,
};

const UNNEST: Slot = Slot {
    kinds: &["unnest"],
    happens: (1, 1),
    from: From::Last,
};

const KNOBS: Knobs<'static> = Knobs {
    timed: false,
    every_sink: false,
    slots: &[
        Slot {
            kinds: &["last_value", "aggregate", "last_value"],
            happens: (3, 4),
            from: From::Source,
        },
        UNNEST,
        BEHIND,
        BEHIND,
    ],
};

const TIMED_KNOBS: Knobs<'static> = Knobs {
    timed: true,
    every_sink: false,
    slots: &[
        Slot {
            kinds: &[
                "last_value",
                "tumbling",
                "hopping",
                "last_value",
                "session",
                "over_rows",
            ],
            happens: (3, 4),
            from: From::Source,
        },
        UNNEST,
        Slot {
            kinds: &["tumbling", "hopping", "aggregate", ANY],
            ..BEHIND
        },
        BEHIND,
    ],
};

/// Tries so many, of which some have the step over each sort of rows.
fn check(cases_tried: u32, knobs: Knobs<'static>, flow: Flow) {
    let [of_rows, of_changelogs] = [const { Cell::new(0_usize) }; 2];
    check_property(
        cases_tried,
        &cases(knobs, flow, 0..40, &[1, 2, 7, 256, 4096]),
        |case: &Case| {
            let kinds: Vec<&str> = case.pipeline.kinds().collect();
            let at = kinds.iter().position(|kind| *kind == "unnest");
            match at {
                None => {}
                Some(0) => of_rows.set(of_rows.get() + 1),
                Some(_) => of_changelogs.set(of_changelogs.get() + 1),
            }
            case.check();
        },
    );
    let least = cases_tried as usize / 20;
    let found = (of_rows.get(), of_changelogs.get());
    println!("over rows, and behind another step: {found:?}");
    assert!(
        found.0 > least && found.1 > least,
        "hardly any pipeline has the step: {found:?}"
    );
}

#[test]
fn rows_of_elements_are_what_the_plain_model_says() {
    check(CASES, KNOBS, Flow::RANDOM);
}

#[test]
fn rows_of_elements_with_times_are_too() {
    check(CASES / 2, TIMED_KNOBS, Flow::RANDOM);
}
