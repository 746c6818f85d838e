//! Events that make a rule misbehave, among events that do not.

pub(crate) mod misdeed;
pub(crate) mod pipeline;

use misdeed::{LONGEST_MS, MISDEEDS, Misdeed, SHORTEST_MS};
use std::{collections::BTreeMap, fmt::Write, sync::Arc};
use weir::plan::{NodeKind, Plan};
use weir_tests::{
    replay::{GOLDEN_NOW_MS, Run},
    table::{Contents, Counts, DeadLetter},
};

const EVENTS: usize = 500;

/// Where the poisoned events are: one alone; or two of one key and the last of all.
const PLACES: [&[usize]; 2] = [&[250], &[100, 123, EVENTS - 1]];

/// How many keys the events have. 100 and 123 have the same.
const KEYS: usize = 23;

/// Sizes of batches: every event alone, one that divides nothing, more than there are.
const BATCHES: [usize; 3] = [1, 7, 4096];

#[test]
fn a_poisoned_event_costs_itself_and_no_other() {
    check_each(pipeline::AFTER_SOURCE);
}

#[test]
fn what_a_poisoned_event_did_to_a_last_value_is_undone() {
    check_each(pipeline::AFTER_LAST_VALUE);
}

#[test]
fn what_a_poisoned_event_did_to_an_aggregate_is_undone() {
    check_each(pipeline::AFTER_AGGREGATE);
}

#[test]
fn what_a_poisoned_event_did_to_a_crossing_is_undone() {
    check_each(pipeline::AFTER_ON_CROSSING);
}

#[test]
fn a_poisoned_event_is_the_first_of_no_twins() {
    check_each(pipeline::AFTER_DEDUPLICATE);
}

#[test]
fn a_poisoned_event_touches_no_key() {
    check_each(pipeline::AFTER_TTL);
}

#[test]
fn a_poisoned_event_waits_for_no_version() {
    check_each(pipeline::AFTER_VERSION_LOOKUP);
}

#[test]
fn a_poisoned_event_between_a_lookup_and_its_table_leaves_the_row_as_it_was() {
    check_each(pipeline::WITHIN_LOOKUP);
}

#[test]
fn every_misdeed_in_one_stream_costs_as_many_events() {
    for pipeline in [
        pipeline::AFTER_SOURCE,
        pipeline::AFTER_LAST_VALUE,
        pipeline::AFTER_AGGREGATE,
        pipeline::AFTER_ON_CROSSING,
        pipeline::AFTER_DEDUPLICATE,
        pipeline::AFTER_TTL,
        pipeline::AFTER_VERSION_LOOKUP,
        pipeline::WITHIN_LOOKUP,
    ] {
        let poison = MISDEEDS
            .iter()
            .enumerate()
            .map(|(at, misdeed)| (20 * at + at % 3, misdeed));
        check(pipeline, 2 * SHORTEST_MS, &poison.collect());
    }
}

#[test]
fn a_stream_of_nothing_but_poison_is_all_dead_letters() {
    let trap = MISDEEDS
        .iter()
        .find(|misdeed| misdeed.what == "trap")
        .expect("there are traps");
    let poison = (0..EVENTS).map(|at| (at, trap)).collect();
    check(pipeline::AFTER_SOURCE, LONGEST_MS, &poison);
    check(pipeline::AFTER_LAST_VALUE, LONGEST_MS, &poison);
}

#[test]
fn an_event_does_not_pay_for_what_others_left_in_memory() {
    let takes = |what: &'static str| Misdeed { what, reason: "" };
    let takes = ["leak", "large", "larger"].map(takes);
    let line = |at: usize| event(at, takes.get(at % 5).filter(|_| at.is_multiple_of(2)));
    let input: String = (0..EVENTS).map(line).collect();
    for pipeline in [pipeline::AFTER_SOURCE, pipeline::AFTER_LAST_VALUE] {
        let plan = Arc::new(pipeline::plan(pipeline, LONGEST_MS));
        let lookup_rows = pipeline::lookup_rows(&plan, KEYS);
        let run = |batch: usize| -> Contents {
            Run {
                plan: &plan,
                lookup_rows: &lookup_rows,
                input: input.as_bytes(),
                batches: &[batch],
                stops: &[],
            }
            .contents()
        };
        let expected = run(BATCHES[2]);
        assert_eq!(
            (expected.counts.events, expected.counts.dead_letters),
            (EVENTS as u64, 0),
            "no event fails on its own: {:?}",
            expected.dead_letters.first()
        );
        for batch in [1, 2, 7] {
            assert_eq!(run(batch), expected, "in batches of {batch}, through{pipeline}");
        }
    }
}

/// Checks every misdeed, with one such event and with several.
#[track_caller]
fn check_each(pipeline: &str) {
    for misdeed in &MISDEEDS {
        for places in PLACES {
            check(
                pipeline,
                misdeed.deadline_ms(),
                &places.iter().map(|&at| (at, misdeed)).collect(),
            );
        }
    }
}

/// Checks that the events in `poison`, by number, become the dead letters that they should, and that all else is as if
/// they had never come.
#[track_caller]
fn check(pipeline: &str, deadline_ms: u64, poison: &BTreeMap<usize, &Misdeed>) {
    let plan = Arc::new(pipeline::plan(pipeline, deadline_ms));
    let lookup_rows = pipeline::lookup_rows(&plan, KEYS);
    let run = |input: &str, batch: usize| -> Contents {
        let (input, batches) = (input.as_bytes(), &[batch][..]);
        Run {
            plan: &plan,
            lookup_rows: &lookup_rows,
            input,
            batches,
            stops: &[],
        }
        .contents()
    };
    let lines: Vec<String> = (0..EVENTS).map(|at| event(at, poison.get(&at).copied())).collect();
    let input = lines.concat();

    // Lines without an event keep the numbers of the others as they are.
    let without: Vec<&str> = (0..EVENTS)
        .map(|at| if poison.contains_key(&at) { "\n" } else { &lines[at] })
        .collect();
    let mut expected = run(&without.concat(), BATCHES[2]);
    let Counts {
        events,
        applied,
        filtered,
        dead_letters,
        empty,
        ..
    } = expected.counts;
    assert_eq!(
        (events, dead_letters, empty),
        (EVENTS as u64, 0, poison.len() as u64),
        "the events without poison"
    );
    assert_eq!(applied + filtered + empty, events, "the counts add up without poison");
    expected.counts = Counts {
        dead_letters: empty,
        empty: 0,
        ..expected.counts
    };

    let digest = digest(&plan);
    assert!(
        digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{digest} is no digest"
    );
    let letter = |(&at, _): (&usize, _)| DeadLetter {
        sequence: at as u64 + 1,
        subject: None,
        time_ms: GOLDEN_NOW_MS,
        step: "hostile".to_owned(),
        module: Some(digest.clone()),
        reason: String::new(),
        payload: lines[at].trim_end().as_bytes().to_vec(),
    };
    expected.dead_letters = poison.iter().map(letter).collect();

    for batch in BATCHES {
        let title = || {
            let poison = poison.iter().map(|(at, misdeed)| format!("{} at {at}", misdeed.what));
            let poison = poison.take(30).collect::<Vec<_>>().join(", ");
            format!("{poison}, in batches of {batch}, through{pipeline}")
        };
        let mut found = run(&input, batch);
        for letter in &mut found.dead_letters {
            let reason = std::mem::take(&mut letter.reason);
            if let Some(misdeed) = poison.get(&(letter.sequence as usize - 1)) {
                let words = misdeed.reason;
                assert!(
                    reason.contains(words),
                    "{words:?} is not in the reason {reason:?}; {}",
                    title()
                );
            }
        }
        assert_eq!(found, expected, "{}", title());
    }
}

/// The event number `at`, as a line.
fn event(at: usize, misdeed: Option<&Misdeed>) -> String {
    let what = match misdeed {
        Some(misdeed) => format!("\"{}\"", misdeed.what),
        None if at % 7 == 5 => "null".to_owned(),
        None if at % 10 == 3 => "\"drop\"".to_owned(),
        None => format!("\"保单 {}\"", at % 40),
    };
    let mut line = String::new();
    let (id, amount) = (at % KEYS, at * 31 % 100);
    writeln!(line, r#"{{"n":{at},"id":{id},"what":{what},"amount":{amount}}}"#).expect("a text takes all");
    line
}

/// The digest of the module that the plan's only stage runs.
fn digest(plan: &Plan) -> String {
    let stage = plan.nodes.iter().find_map(|node| match &node.kind {
        NodeKind::Stage(stage) => Some(stage),
        _ => None,
    });
    stage.expect("there is a stage").module.digest.clone()
}
