//! Payloads to columns: the decoder with the columns that the plan reads, against a JSON parser.

use crate::{
    Result,
    report::{Figure, Report},
    say,
    scenario::Scenario,
};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use weir::{
    format::Decoder,
    limits::BATCH_EVENTS_MAX,
    model::{column::TextValues, ids::InputId},
    wasm::{Compiler, StageHost},
};

/// Events that are decoded again and again: more than a batch, so that columns are made as in a run.
const EVENTS: usize = 50_000;

/// How long the two take turns. The least time of each counts.
const MEASURING: Duration = Duration::from_secs(3);

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let host = StageHost::new(StageHost::default_cache().as_deref(), Compiler::InProcess)?;
    for scenario in Scenario::ALL {
        say(format_args!(
            "decode: {EVENTS} payloads of {}, and serde_json over the same, in turns",
            scenario.title()
        ));
        let plan = scenario.plan(&host)?;
        let mut payloads = TextValues::default();
        let mut generate = scenario.generator(EVENTS as u64);
        let mut payload = Vec::new();
        for _ in 0..EVENTS {
            generate(&mut payload);
            payloads.push(&payload);
        }

        let mut decoder = Decoder::of(&plan, BATCH_EVENTS_MAX)?;
        let (mut decode_best, mut parse_best) = (Duration::MAX, Duration::MAX);
        let begun = Instant::now();
        while begun.elapsed() < MEASURING {
            decode_best = decode_best.min(decode_all(&mut decoder, &payloads)?);
            parse_best = parse_best.min(parse_all(&payloads)?);
        }
        let per_event = |best: Duration| best.as_nanos() as f64 / EVENTS as f64;
        let rate = |best: Duration| payloads.data.len() as f64 / best.as_secs_f64() / 1e6;
        report.add(Figure {
            part: "decode",
            what: scenario.title().to_owned(),
            value: per_event(decode_best),
            unit: "ns/event",
            baseline: per_event(parse_best),
            baseline_what: "serde_json, to a Value",
            targets: vec![],
            also: vec![
                ("decode", rate(decode_best), "MB/s"),
                ("serde_json", rate(parse_best), "MB/s"),
            ],
        });
    }
    Ok(())
}

fn decode_all(decoder: &mut Decoder, payloads: &TextValues) -> Result<Duration> {
    let begun = Instant::now();
    let mut rows = 0;
    for at in 0..EVENTS {
        decoder.push(at as u64 + 1, None, payloads.get(at));
        if decoder.is_full() {
            rows += black_box(decoder.take()).of_input(InputId::FIRST).len();
        }
    }
    rows += decoder.take().of_input(InputId::FIRST).len();
    let elapsed = begun.elapsed();
    if rows == EVENTS {
        Ok(elapsed)
    } else {
        Err(format!("{rows} of {EVENTS} payloads are events").into())
    }
}

fn parse_all(payloads: &TextValues) -> Result<Duration> {
    let begun = Instant::now();
    for at in 0..EVENTS {
        black_box(serde_json::from_slice::<serde_json::Value>(payloads.get(at))?);
    }
    Ok(begun.elapsed())
}
