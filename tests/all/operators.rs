//! Operators and sinks against a plain model: random pipelines, random events, random batches and stops.

mod columns;
mod deduplicate;
mod lookup;
mod on_crossing;
mod overdue;
mod sums;
mod temporal_join;
mod timed;
mod ttl;
mod union;
mod unnest;

use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};
use weir::{definition::File, plan::Plan};
use weir_tests::{
    generator::{
        Flow, From, Knobs, Slot,
        case::{Case, cases},
        kinds::ANY,
        model,
    },
    replay::{Run, host, state_sizes},
    scratch_in_memory,
    seed::check_property,
    table::{Contents, contents, query},
};

/// How many pipelines are tried.
const CASES: u32 = 1500;

/// How many are tried with many events.
const LONG_CASES: u32 = 60;

/// How a run is cut: sizes of batches, and after how many lines it is stopped.
type Cuts = (Vec<usize>, Vec<usize>);

fn cuts() -> impl Strategy<Value = Cuts> {
    let batches = prop::collection::vec(prop::sample::select(vec![1, 2, 3, 7, 4096]), 1..4);
    let stops = prop::collection::vec(0usize..40, 0..3).prop_map(|mut stops| {
        stops.sort_unstable();
        stops
    });
    (batches, stops)
}

/// Runs lines through a pipeline that has no lookup table.
fn run(pipeline: &str, lines: &str, cuts: &Cuts) -> Contents {
    run_counting_late(pipeline, lines, cuts).0
}

/// As [`run`]; gives also how many rows came too late.
fn run_counting_late(pipeline: &str, lines: &str, cuts: &Cuts) -> (Contents, u64) {
    let (contents, late, _) = run_counting_states(pipeline, lines, cuts);
    (contents, late)
}

/// As [`run_counting_late`], with the entries of each state at the end.
fn run_counting_states(
    pipeline: &str,
    lines: &str,
    (batches, stops): &Cuts,
) -> (Contents, u64, BTreeMap<String, usize>) {
    let plan = Plan::build(&File::from_text("p.toml", pipeline), host()).expect("the pipeline is fine");
    let plan = Arc::new(plan);
    let folder = scratch_in_memory();
    let database = folder.path().join("p.db");
    let run = Run {
        plan: &plan,
        lookup_rows: b"",
        input: lines.as_bytes(),
        batches,
        stops,
    };
    run.into_database(&database);
    let late = query(&database, "SELECT CAST(late_rows AS TEXT) FROM weir_pipeline");
    let late = late.concat().parse().expect("there is one pipeline");
    let states = state_sizes(&plan, &database).into_iter().collect();
    (contents(&database), late, states)
}

/// Up to three steps over events without times.
const KNOBS: Knobs<'static> = {
    const SLOT: Slot = Slot {
        kinds: &["last_value", "aggregate", "last_value", "aggregate", "aggregate", ANY],
        happens: (2, 3),
        from: From::Any,
    };
    Knobs {
        timed: false,
        every_sink: false,
        slots: &[SLOT, SLOT, SLOT],
    }
};

#[test]
fn tables_are_what_the_plain_model_says() {
    let cases = cases(KNOBS, Flow::RANDOM, 0..40, &[1, 2, 3, 5, 8, 4096]);
    check_property(CASES, &cases, Case::check);
}

/// Operators look some hundreds of rows of a batch ahead.
#[test]
fn tables_of_many_events_are_too() {
    let cases = cases(KNOBS, Flow::RANDOM, 300..700, &[100, 300, 4096]);
    check_property(LONG_CASES, &cases, Case::check);
}
