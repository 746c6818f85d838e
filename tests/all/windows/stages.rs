//! A rule behind a window that cannot take some of its results.
//!
//! What comes because time went on is not the doing of the event that moved it: the *row* is kept as a dead letter, the
//! event takes effect, and the windows after it go on.

use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;
use weir::{definition::File, plan::Plan};
use weir_tests::{
    generator::{
        calendar::moments,
        kinds::window::{
            cuts::Cut,
            model::{Emit, Kind, Window},
        },
        model::{Aggregate, Change},
    },
    guest,
    replay::{Run, host},
    seed::check_property,
    table::{Cell, Counts, DeadLetter},
};

/// How many streams are tried.
const CASES: u32 = 150;

/// What a row asks the rule behind the window for. It traps on the last ones, and answers against the contract.
const ASKED: [&str; 8] = ["", "a", "b", "drop", "reject", "trap", "short", "panic"];

/// A user, what the row asks for, and the time of an event.
type Event = (i64, &'static str, i64);

/// Windows of 10 ms, and of 20 ms every 10, of what each user asks for.
fn pipeline(hopping: bool) -> String {
    let kind = match hopping {
        true => r#"hopping = { size = "20 ms", every = "10 ms" }"#,
        false => r#"tumbling = "10 ms""#,
    };
    format!(
        r#"
        name = "p"
        event_time = {{ column = "at" }}
        [source]
        stream = "S"
        subject = "s"
        columns = {{ id = "int", what = "text", at = "int" }}
        [[step]]
        name = "windows"
        [step.window]
        {kind}
        group_by = ["id", "what"]
        columns = {{ n = {{ count = "*" }} }}
        [[step]]
        name = "judge"
        stage = {{ module = {module:?} }}
        [[sink]]
        table = "kept"
        [[sink]]
        from = "windows"
        table = "results"
        "#,
        module = guest("hostile"),
    )
}

#[test]
fn results_that_a_rule_cannot_take_are_dead_letters_of_their_own() {
    let event = (0..2_i64, prop::sample::select(&ASKED[..]), 0..8_i64);
    let events = prop::collection::vec(event, 1..60);
    let batches = prop::collection::vec(prop::sample::select(vec![1_usize, 2, 5, 4096]), 1..3);
    let stops = prop::collection::vec(0..60_usize, 0..3);
    check_property(
        CASES,
        &(events, any::<bool>(), batches, stops),
        |(events, hopping, batches, stops)| {
            let mut at = 0;
            let times = events.iter().map(|&(id, what, later)| {
                at += later;
                (id, what, at)
            });
            let mut stops = stops.clone();
            stops.sort_unstable();
            check(&times.collect::<Vec<_>>(), *hopping, batches, &stops);
        },
    );
}

fn check(events: &[Event], hopping: bool, batches: &[usize], stops: &[usize]) {
    let plan = Plan::build(&File::from_text("p.toml", pipeline(hopping)), host()).expect("the pipeline is fine");
    let plan = Arc::new(plan);
    let line = |(id, what, at): &Event| json!({ "id": id, "what": what, "at": at }).to_string() + "\n";
    let input: String = events.iter().map(line).collect();
    let run = Run {
        plan: &plan,
        lookup_rows: b"",
        input: input.as_bytes(),
        batches,
        stops,
    };
    let contents = run.contents();

    let (mut results, mut kept, mut dead) = (Vec::new(), Vec::new(), Vec::new());
    for (sequence, row) in told(events, hopping) {
        let [
            Cell::Int(id),
            Cell::Text(what),
            Cell::Int(start),
            Cell::Int(end),
            Cell::Int(n),
        ] = &row[..]
        else {
            panic!("{row:?} is no result");
        };
        match &**what {
            "drop" => {}
            "reject" | "trap" | "short" | "panic" => {
                let payload = json!({ "id": id, "what": what, "window_start": start, "window_end": end, "n": n });
                dead.push((sequence, "judge".to_owned(), payload));
            }
            _ => kept.push(vec![
                Cell::Int(*id),
                Cell::Text(format!("<{what}>")),
                Cell::Double(what.len() as f64),
            ]),
        }
        results.push(row);
    }
    assert_eq!(contents.tables["results"].rows, results, "every result is told");
    assert_eq!(contents.tables["kept"].rows, kept);
    let found = contents.dead_letters.iter().map(|letter| {
        let DeadLetter {
            sequence,
            step,
            payload,
            module,
            reason,
            ..
        } = letter;
        assert!(module.is_some() && !reason.is_empty(), "{letter:?}");
        let row: serde_json::Value = serde_json::from_slice(payload).expect("the row is an object");
        (*sequence, step.clone(), row)
    });
    assert_eq!(found.collect::<Vec<_>>(), dead);
    let count = events.len() as u64;
    let counts = Counts {
        events: count,
        applied: count,
        dead_rows: dead.len() as u64,
        ..Counts::default()
    };
    assert_eq!(contents.counts, counts, "no event is lost");
}

/// The results of the windows, each with the sequence of the event that ended it.
fn told(events: &[Event], hopping: bool) -> Vec<(u64, Vec<Cell>)> {
    let window = Window {
        kind: Kind::Cut(Cut {
            cumulating: false,
            size_ms: if hopping { 20 } else { 10 },
            every_ms: 10,
            offset_ms: 0,
            zone: None,
            tick_ms: 1,
        }),
        group: vec![0, 1],
        aggregates: vec![Aggregate {
            function: "count",
            column: None,
            coalesce: None,
            decimal: None,
        }],
        time: None,
        emit: Emit::Close,
        lateness_ms: 0,
        retracts: false,
    };
    let times: Vec<Option<i64>> = events.iter().map(|(.., at)| Some(*at)).collect();
    let row = |(id, what, _): &Event| vec![Change::Insert(vec![Cell::Int(*id), Cell::Text((*what).to_owned())])];
    let input = events.iter().map(row).collect();
    let out = window.run(&input, &moments(&times, 0)).out;
    let rows = (1..).zip(out).flat_map(|(sequence, changes)| {
        changes.into_iter().map(move |change| match change {
            Change::Insert(row) => (sequence, row),
            _ => panic!("results are told once"),
        })
    });
    rows.collect()
}
