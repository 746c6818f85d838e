//! What a pipeline measures over a whole run: guests, operators and the database.

use std::{collections::BTreeMap, fs};
use weir::{
    engine::Engine,
    format::Decoder,
    metrics::{Metrics, Sample, Value},
    runtime::pipeline::{self, Swaps},
    source::{
        NoAcknowledge, Stop,
        file::{FileSource, IDENTITY},
    },
    storage::Messages,
};
use weir_tests::{
    replay::{hold, host},
    scratch,
    swaps::{self, MALFORMED, STEP, payload},
};

/// The values of the metrics that are single numbers, by name and the labels but that of the pipeline.
fn numbers(metrics: &Metrics) -> BTreeMap<String, f64> {
    let shown = |Sample { metric, labels, value }: Sample| {
        let labels = labels.iter().skip(1).map(|(name, value)| format!("{name}={value}"));
        let name = format!("{} {}", metric.name, labels.collect::<Vec<_>>().join(" "));
        match value {
            Value::Number(number) => Some((name.trim_end().to_owned(), number)),
            Value::Buckets { .. } => None,
        }
    };
    metrics.samples().into_iter().filter_map(shown).collect()
}

#[test]
fn a_run_measures_what_went_through_it() {
    let plan = swaps::plan("{ rows = 0 }").expect("the plan is right");
    let folder = scratch();
    let (input, path) = (folder.path().join("events.jsonl"), folder.path().join("p.db"));
    let events: Vec<String> = (1..=MALFORMED + 3).map(payload).collect();
    let events = events.join("\n") + "\nbroken\n";
    fs::write(&input, &events).expect("the input can be written");
    let mut storage = hold(&path).unwrap().open(plan.clone(), Messages::Drop).unwrap();
    storage.claim(IDENTITY).unwrap();
    let mut engine = Engine::new(plan.clone(), host(), 1).unwrap();
    storage.load(&mut engine).unwrap();
    let metrics = engine.metrics().clone();
    let decoder = Decoder::of(&plan, 16).unwrap();
    let source = FileSource::open(&input, decoder, 0, storage.stored().content_hash, Stop::default()).unwrap();
    drop(pipeline::run(source, engine, storage, NoAcknowledge, Swaps::none()).unwrap());

    let numbers = numbers(&metrics);
    let is = |name: &str, number: u64| {
        let found = numbers.get(name);
        assert_eq!(found, Some(&(number as f64)), "{name} of {numbers:#?}");
    };
    let good = MALFORMED + 2;
    // One event is rejected by the rule, and one line is no JSON.
    is("weir_events_total outcome=applied", good);
    is("weir_events_total outcome=filtered", 0);
    is("weir_events_total outcome=dead_letter", 2);
    is("weir_events_total outcome=empty", 0);
    is("weir_dead_letters_held", 2);
    is("weir_undecoded_events_total", 1);
    is("weir_position_sequence", good + 2);
    is("weir_received_bytes_total", events.len() as u64 - (good + 2));
    is(&format!("weir_step_dead_letters_total step={STEP}"), 1);
    is(&format!("weir_step_rows_in_total step={STEP}"), good + 1);
    is("weir_step_rows_in_total step=by-key", good);
    is("weir_step_state_entries step=by-key", 13);
    let of_module = format!("step={STEP} version=0 role=live");
    is(&format!("weir_module_rows_total {of_module}"), good + 1);
    is(&format!("weir_module_instances_total {of_module}"), 1);
    is(&format!("weir_module_failures_total {of_module} kind=trap"), 0);
    let at_least = |name: &str, number: f64| assert!(numbers[name] >= number, "{name} of {numbers:#?}");
    at_least(&format!("weir_module_calls_total {of_module}"), 7.0);
    at_least("weir_committed_rows_total", (good + 13) as f64);
    at_least("weir_step_state_bytes step=by-key", 13.0 * 64.0);
    assert!(numbers[&format!("weir_module_busy_seconds_total {of_module}")] > 0.0);
    assert!(numbers[&format!("weir_step_busy_seconds_total step={STEP}")] > 0.0);
}
