//! Random events, swaps, take-backs and restarts, against a model that knows of rows and rules alone.

mod model;
mod rules;
mod run;

use super::*;
use crate::{
    definition::File,
    engine::{
        Compared, CurrentRows, Successor,
        shadow::current::{Shared, prepare, report_of},
    },
    format::Decoder,
    model::{
        column::{Column, ColumnType, Field, Value},
        deployment::{Deployment, StoredVersion, VersionChange},
        guest::{Answer, OutputRows, OutputSpec, RejectedRow},
    },
    plan::{GuestHost, StageVersion, StepVersions, Versions, double::Closures},
    storage::{MemoryStorage, Storage},
};
use model::*;
use rules::*;
use run::*;
use serde_json::{Value as Json, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

/// Commits, and compares what is stored with what the model says.
fn check(run: &mut Run, model: &Model, context: &str) {
    run.commit();
    for (at, step) in STEPS.into_iter().enumerate() {
        assert_eq!(
            run.deciding(at),
            model.steps[at].rule.name(),
            "{step} decides {context}"
        );
    }
    for (table, rows) in model.tables() {
        let found: Vec<Json> = run.storage.rows(table).into_iter().map(Json::from).collect();
        assert_eq!(found, rows, "table {table} {context}");
    }
    if model.has_tables() {
        let numbers = model.current.values().copied();
        let numbers: BTreeSet<i64> = numbers.filter(|&n| model.output(n).1.is_some()).collect();
        let found = run.storage.rows("by_number");
        let found: BTreeSet<i64> = found.iter().filter_map(|row| row[0].as_i64()).collect();
        assert_eq!(found, numbers, "table by_number {context}");
    }
    let letters = run.storage.dead_letters_held().unwrap();
    assert_eq!(letters, model.dead, "dead letters {context}");
    if !model.keyed() {
        return;
    }
    let raised = run.storage.messages().iter().map(|message| message.payload.clone());
    let expected = model.crossed[0].iter().map(|k| format!("{{\"k\":\"{k}\"}}"));
    assert_eq!(
        raised.collect::<Vec<_>>(),
        expected.collect::<Vec<_>>(),
        "messages {context}"
    );
}

/// Lets some events pass; how many versions were taken back.
fn pass(run: &mut Run, model: &mut Model, random: &mut fastrand::Rng, batch: usize) -> u32 {
    let count = random.usize(1..=batch);
    let mut event = || (random.u32(0..9).to_string(), random.i64(-6..24), random.u32(0..5) == 0);
    let events: Vec<(String, i64, bool)> = (0..count).map(|_| event()).collect();
    run.events(&events);
    let before = model.steps.map(|step| step.rule);
    for (k, n, gone) in &events {
        model.event(k, *n, *gone);
    }
    let now = model.steps.map(|step| step.rule);
    before.iter().zip(now).filter(|(before, now)| **before != *now).count() as u32
}

/// How many runs there are: `WEIR_CASES` times as many, or with `WEIR_SEED` the one of that seed.
const RUNS: u64 = 60;

#[test]
fn current_rows_are_as_if_the_version_in_force_had_judged_them_always() {
    let given = |name: &str| std::env::var(name).map(|text| text.parse::<u64>().expect("a number"));
    let runs = RUNS * given("WEIR_CASES").unwrap_or(1);
    let seeds = given("WEIR_SEED").map_or(0..runs, |seed| seed..seed + 1);
    let is_whole = seeds.end == runs;
    let (mut refused, mut taken_back, mut found_otherwise) = (0, 0, 0);
    for seed in seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let keyed = random.u32(0..4) > 0;
        let rules: Vec<Rule> = Rule::all(keyed).collect();
        let changelogs = [Changelog::LastValue, Changelog::Aggregate, Changelog::Window];
        let changelog = random.choice(changelogs).unwrap();
        let begin = Rule {
            threshold: 8,
            fails_at: None,
            keyed,
        };
        let mut run = Run::new(&text(changelog, begin, begin));
        let mut model = Model {
            changelog,
            current: BTreeMap::new(),
            steps: [Running {
                rule: begin,
                trial: None,
            }; 2],
            raised: BTreeSet::new(),
            crossed: [Vec::new(), Vec::new()],
            dead: 0,
        };
        let batch = random.choice([1, 7, 64]).unwrap();
        for number in 1..40 {
            let context =
                format!("after action {number} with WEIR_SEED={seed}, {changelog:?}, {keyed}, batches of {batch}");
            match random.u32(0..10) {
                0 | 1 => {
                    // What is in force, and whether it is on trial, is known from commits.
                    check(&mut run, &model, &context);
                    let (at, rule) = (random.usize(0..2), random.choice(&rules).copied().unwrap());
                    let (mut successor, plan, of_step) = run.prepare(at, rule, number);
                    let good = model.good(at);
                    if random.bool() {
                        successor = match successor.rehearse(&run.running, &run.host).unwrap() {
                            Ok(prepared) => run.engine.begin_rehearsal(prepared).unwrap(),
                            Err(successor) => successor,
                        };
                        for _ in 0..random.usize(0..4) {
                            for _ in 0..random.usize(0..400) {
                                run.engine.rehearse_some().unwrap();
                            }
                            taken_back += pass(&mut run, &mut model, &mut random, batch);
                        }
                        while run.engine.rehearse_some().unwrap() || !run.engine.is_rehearsed() {
                            std::thread::yield_now();
                        }
                        taken_back += pass(&mut run, &mut model, &mut random, batch);
                    }
                    let expected = model.swap(at, rule, good);
                    let swapped = run.swap(at, (successor, plan, of_step));
                    assert_eq!(swapped, expected, "a swap to {rule:?} {context}");
                    refused += u32::from(!expected);
                }
                2 => {
                    check(&mut run, &model, &context);
                    run.restart();
                }
                3 => {
                    check(&mut run, &model, &context);
                    let (at, rule) = (random.usize(0..2), random.choice(&rules).copied().unwrap());
                    let found = run.compare(at, rule);
                    for _ in 0..random.usize(0..4) {
                        for _ in 0..random.usize(0..400) {
                            run.engine.compare_some().unwrap();
                        }
                        taken_back += pass(&mut run, &mut model, &mut random, batch);
                    }
                    while run.engine.compare_some().unwrap() != Compared::Through || !run.engine.has_compared() {
                        std::thread::yield_now();
                    }
                    let report = report_of(&found).unwrap();
                    assert!(
                        report.is_whole && report.sequence == run.sequence,
                        "{report:?} {context}"
                    );
                    let CurrentRows {
                        rows,
                        added,
                        missing,
                        changed,
                        rejected,
                        ..
                    } = report;
                    let expected = model.compared(at, rule);
                    assert_eq!(
                        [rows, added, missing, changed, rejected],
                        expected,
                        "{rule:?} beside {} {context}",
                        STEPS[at]
                    );
                    assert_eq!(report.stays_out.is_some(), rejected > 0, "{context}");
                    assert_eq!(report.examples.is_empty(), expected[1..4] == [0; 3], "{context}");
                    found_otherwise += u32::from(expected[1..4] != [0; 3]);
                }
                _ => taken_back += pass(&mut run, &mut model, &mut random, batch),
            }
            if random.bool() {
                check(&mut run, &model, &context);
            }
        }
        check(&mut run, &model, &format!("at the end with WEIR_SEED={seed}"));
    }
    if is_whole {
        assert!(
            refused > 10 && taken_back > 10 && found_otherwise > 10,
            "{refused} swaps were refused, {taken_back} versions taken back, {found_otherwise} candidates differed"
        );
    }
}

#[test]
fn a_rehearsal_that_dies_holds_no_swap_up() {
    let mut run = Run::of_two_rows();
    let (successor, plan, of_step) = run.prepare(0, DIES_IN_REHEARSAL, 1);
    let prepared = successor.rehearse(&run.running, &run.host).unwrap().unwrap();
    let successor = run.engine.begin_rehearsal(prepared).unwrap();
    while !run.engine.is_rehearsed() {
        run.engine.rehearse_some().unwrap();
    }
    assert!(run.swap(0, (successor, plan, of_step)));
    run.commit();
    assert_eq!(
        run.storage.rows("first"),
        [[json!("a"), json!(3), json!(1)], [json!("b"), json!(12), json!(6)]]
    );
}

#[test]
fn a_rehearsal_that_does_not_keep_up_is_given_up() {
    let mut run = Run::of_two_rows();
    let (successor, plan, of_step) = run.prepare(0, WAITS_IN_REHEARSAL, 1);
    let prepared = successor.rehearse(&run.running, &run.host).unwrap().unwrap();
    let successor = run.engine.begin_rehearsal(prepared).unwrap();
    let mut batches = 0;
    while !run.engine.is_rehearsed() {
        run.engine.rehearse_some().unwrap();
        run.events(&[("b".to_owned(), 12 + batches % 2, false)]);
        batches += 1;
        assert!(batches < 2_000, "it is waited for");
    }
    assert!((1024..1040).contains(&batches), "{batches} batches wait");
    GOES_ON.store(true, Ordering::Relaxed);
    // Its rows are judged at the swap.
    assert!(run.swap(0, (successor, plan, of_step)));
    run.commit();
    let expected = [("a", 3), ("b", 12 + (batches + 1) % 2)].map(|(k, n)| [json!(k), json!(n), json!(n / 2)]);
    assert_eq!(run.storage.rows("first"), expected);
}

#[test]
fn rows_of_a_window_that_is_over_since_a_rehearsal_began_stay_as_they_were_judged() {
    let [low, high] = [0, 8].map(|threshold| Rule {
        threshold,
        fails_at: None,
        keyed: true,
    });
    let text = format!(
        r#"
        name = "rules"
        source = {{ stream = "S", subject = "s", columns = {{ k = "text", n = "int", at = "int" }} }}
        event_time = {{ column = "at" }}
        [[step]]
        name = "current"
        window = {{ tumbling = "10 ms", emit = "update", group_by = ["k"], columns = {{ n = {{ sum = "n" }} }} }}
        [[step]]
        name = "first"
        stage = {{ module = "{}" }}
        [[step]]
        name = "levels"
        from = "first"
        aggregate = {{ group_by = ["level"], columns = {{ rows = {{ count = "*" }}, total = {{ sum = "n" }} }} }}
        [[sink]]
        table = "levels"
        primary_key = ["level"]
        "#,
        low.name()
    );
    let mut run = Run::new(&text);
    let pass = |run: &mut Run, n: i64, at: i64| {
        run.sequence += 1;
        let event = json!({ "k": "a", "n": n, "at": at }).to_string();
        run.decoder.push(run.sequence, Some(0), event.as_bytes());
        run.engine.process(run.decoder.take()).unwrap();
    };
    pass(&mut run, 3, 1);
    let (successor, plan, of_step) = run.prepare(0, high, 1);
    let prepared = successor.rehearse(&run.running, &run.host).unwrap().unwrap();
    let successor = run.engine.begin_rehearsal(prepared).unwrap();
    while run.engine.rehearse_some().unwrap() {}
    pass(&mut run, 4, 20);
    while !run.engine.is_rehearsed() {
        std::thread::yield_now();
    }
    assert!(run.swap(0, (successor, plan, of_step)));
    run.commit();
    // The first window is past; of the second the new version lets nothing through.
    assert_eq!(run.storage.rows("levels"), [[json!(1), json!(1), json!(3)]]);
}
