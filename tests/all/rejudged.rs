//! Rules over changelogs are swapped in random pipelines, against the plain model: whatever stands behind them, at random
//! places, several at once and back again, refused ones and ones that are taken back; at every batch size, with rehearsals and
//! without, and with stops.

use std::cell::{Cell, RefCell};
use weir_tests::{
    generator::{
        Flow, From, Knobs, Slot,
        swapped::{Happened, cases},
    },
    seed::check_property,
};

/// How many pipelines without times are tried.
const CASES: u32 = 50;

/// How many with times.
const TIMED_CASES: u32 = 30;

const fn slot(kinds: &'static [&'static str], happens: (usize, usize), from: From) -> Slot {
    Slot { kinds, happens, from }
}

const ALWAYS: (usize, usize) = (1, 1);

/// What reads a changelog, or a rule over one.
const BEHIND: &[&str] = &[
    "threshold",
    "aggregate",
    "on_crossing",
    "threshold",
    "columns",
    "unnest",
    "tumbling",
    "hopping",
];

const KNOBS: Knobs<'static> = Knobs {
    timed: false,
    every_sink: false,
    slots: &[
        slot(&["last_value", "aggregate"], ALWAYS, From::Source),
        slot(&["columns"], (1, 3), From::Last),
        slot(&["threshold"], ALWAYS, From::Last),
        slot(BEHIND, (3, 4), From::Last),
        slot(BEHIND, (2, 3), From::Any),
        slot(BEHIND, (2, 3), From::Last),
        slot(BEHIND, (1, 2), From::Any),
    ],
};

const TIMED_KNOBS: Knobs<'static> = Knobs {
    timed: true,
    every_sink: false,
    slots: &[
        slot(
            &["tumbling", "last_value", "aggregate", "hopping", "session"],
            ALWAYS,
            From::Source,
        ),
        slot(&["columns"], (1, 3), From::Last),
        slot(&["threshold"], ALWAYS, From::Last),
        slot(BEHIND, (3, 4), From::Last),
        slot(BEHIND, (2, 3), From::Any),
        slot(BEHIND, (2, 3), From::Last),
        slot(BEHIND, (1, 2), From::Any),
    ],
};

/// Elements of the rows that a rule takes, with rules behind.
const UNNESTED_KNOBS: Knobs<'static> = Knobs {
    timed: false,
    every_sink: false,
    slots: &[
        slot(&["last_value"], ALWAYS, From::Source),
        slot(&["threshold"], (1, 2), From::Last),
        slot(&["unnest"], ALWAYS, From::Last),
        slot(&["threshold"], ALWAYS, From::Last),
        slot(BEHIND, (3, 4), From::Last),
        slot(BEHIND, (1, 2), From::Any),
    ],
};

/// The same of windows, whose rows may be past.
const TIMED_UNNESTED_KNOBS: Knobs<'static> = Knobs {
    timed: true,
    every_sink: false,
    slots: &[
        slot(&["tumbling", "last_value", "hopping", "session"], ALWAYS, From::Source),
        slot(&["threshold"], (1, 2), From::Last),
        slot(&["unnest"], ALWAYS, From::Last),
        slot(&["threshold"], ALWAYS, From::Last),
        slot(BEHIND, (3, 4), From::Last),
        slot(BEHIND, (1, 2), From::Any),
    ],
};

/// Payloads that are none besides.
const FLOW: Flow = Flow {
    broken: 20,
    ..Flow::RANDOM
};

/// Tries so many, and says what happened. Some of them have a step `unnest`, where that is wanted.
fn check(cases_tried: u32, knobs: Knobs<'static>, flow: Flow) {
    let all = RefCell::new(Happened::default());
    let unnested = Cell::new(0);
    check_property(cases_tried, &cases(knobs, flow, 0..60), |case| {
        unnested.set(unnested.get() + usize::from(case.pipeline.kinds().any(|kind| kind == "unnest")));
        let happened = case.check();
        let mut all = all.borrow_mut();
        all.swapped += happened.swapped;
        all.refused += happened.refused;
        all.taken_back += happened.taken_back;
        all.traced += happened.traced;
    });
    let all = all.into_inner();
    println!("{all:?}, and {} with unnest", unnested.get());
    let least = cases_tried as usize / 10;
    let wants_unnested = knobs.slots.iter().any(|slot| slot.kinds == ["unnest"]);
    assert!(!wants_unnested || unnested.get() > 2 * least, "hardly any has unnest");
    assert!(
        all.swapped > 10 * least && all.refused > least / 4 && all.taken_back > 0 && all.traced > 10 * least,
        "hardly any of what is to happen did: {all:?}"
    );
}

#[test]
fn what_is_behind_is_as_the_plain_model_says() {
    check(CASES, KNOBS, Flow::RANDOM);
}

#[test]
fn what_is_behind_windows_is_too() {
    check(TIMED_CASES, TIMED_KNOBS, FLOW);
}

#[test]
fn what_is_behind_elements_is_too() {
    check(2 * CASES, UNNESTED_KNOBS, Flow::RANDOM);
}

#[test]
fn what_is_behind_elements_of_windows_is_too() {
    check(TIMED_CASES, TIMED_UNNESTED_KNOBS, FLOW);
}
