//! `unnest` over events and over changelogs, and whatever reads it, against the plain model; in batches of each size, with stops.

use super::{Cuts, run};
use std::cell::Cell;
use weir_tests::{
    generator::{
        Flow, From, Knobs, Slot,
        case::{Case, cases},
        kinds::ANY,
    },
    seed::check_property,
    table,
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

/// Three events of which each makes rows of forty megabytes: a batch of them is cut.
#[test]
fn rows_that_are_too_large_for_one_part_of_a_batch_are_made_in_several() {
    const PIPELINE: &str = r#"
name = "p"
source = { stream = "S", subject = "s", columns = { id = "int", text = "text", items = "json" } }
[[step]]
name = "longest"
last_value = { key = ["id"] }
[[step]]
name = "items"
from = "FROM"
unnest = { column = "items", as = "item", type = "int", ordinal = "place" }
[[step]]
name = "by-item"
aggregate = { group_by = ["item"], columns = { rows = { count = "*" }, least = { min = "text" } } }
[[sink]]
table = "rows"
primary_key = ["item"]
[[sink]]
from = "longest"
table = "ids"
primary_key = ["id"]
columns = ["id"]
"#;
    let text = "x".repeat(400_000);
    let items = vec!["7"; 100].join(",");
    let line = |id: u32, items: &str| format!("{{\"id\": {id}, \"text\": \"{text}\", \"items\": [{items}]}}\n");
    let too_many = vec!["7"; 200].join(",");
    let lines = [line(1, &items), line(2, &items), line(3, &too_many), line(4, &items)].concat();
    for from in ["source", "longest"] {
        let pipeline = PIPELINE.replace("FROM", from);
        let all: Vec<_> = [1, 4096]
            .map(|batch| run(&pipeline, &lines, &Cuts::from((vec![batch], Vec::new()))))
            .into();
        assert_eq!(all[0], all[1], "from {from}");
        assert_eq!(all[0].counts.dead_letters, 1, "the rows of one event are too large");
        assert_eq!(
            all[0].tables["rows"].rows[0][..2],
            [table::Cell::Int(7), table::Cell::Int(300)]
        );
        assert_eq!(all[0].tables["ids"].rows.len(), 3, "it has no effect at all");
    }
}
