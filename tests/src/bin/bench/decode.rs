//! Payloads to columns: the decoder with the columns that the plan reads, against a JSON parser.

use crate::{
    Result,
    report::{Figure, Report, Target},
    say,
    scenario::Scenario,
};
use jiff::Timestamp;
use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use weir::{
    definition::ColumnFormat,
    format::Decoder,
    limits::BATCH_EVENTS_MAX,
    model::{
        column::{ColumnType, TextValues},
        decimal::DecimalType,
        ids::InputId,
    },
    plan::{Reading, SourceColumn},
    wasm::{Compiler, StageHost},
};

/// Events that are decoded again and again: more than a batch, so that columns are made as in a run.
pub(crate) const EVENTS: usize = 50_000;

/// How long the two take turns. The least time of each counts.
pub(crate) const MEASURING: Duration = Duration::from_secs(3);

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
    measure_types(&host, report)
}

/// Orders whose times are written as RFC 3339 has it, and whose amounts are decimals, against the same with integers and doubles.
fn measure_types(host: &StageHost, report: &mut Report) -> Result<()> {
    let scenario = Scenario::HourlyOrders;
    say(format_args!(
        "decode: {EVENTS} payloads of {}, and the same with timestamps and decimals, in turns",
        scenario.title()
    ));
    let plan = scenario.plan(host)?;
    let input = plan.inputs.get(InputId::FIRST).ok_or("the scenario has an input")?;
    let columns = input.columns.iter().map(|column| typed(column.clone()));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let (mut plain, mut with_types) = (TextValues::default(), TextValues::default());
    let mut generate = scenario.generator(EVENTS as u64);
    let mut payload = Vec::new();
    for _ in 0..EVENTS {
        generate(&mut payload);
        plain.push(&payload);
        let mut event: serde_json::Value = serde_json::from_slice(&payload)?;
        for time in TIMES {
            if let Some(ms) = event[time].as_i64() {
                event[time] = Timestamp::from_millisecond(ms)?
                    .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
                    .to_string()
                    .into();
            }
        }
        with_types.push(event.to_string().as_bytes());
    }
    let mut decoder = Decoder::of(&plan, BATCH_EVENTS_MAX)?;
    let mut of_types = Decoder::of_columns(&columns, BATCH_EVENTS_MAX)?;
    let (mut plain_best, mut types_best) = (Duration::MAX, Duration::MAX);
    let begun = Instant::now();
    while begun.elapsed() < MEASURING {
        plain_best = plain_best.min(decode_all(&mut decoder, &plain)?);
        types_best = types_best.min(decode_all(&mut of_types, &with_types)?);
    }
    let rate = |payloads: &TextValues, best: Duration| payloads.data.len() as f64 / best.as_secs_f64() / 1e6;
    report.add(Figure {
        part: "decode",
        what: "the same orders with timestamps and decimals".to_owned(),
        value: types_best.as_nanos() as f64 / EVENTS as f64,
        unit: "ns/event",
        baseline: plain_best.as_nanos() as f64 / EVENTS as f64,
        baseline_what: "with integers and doubles",
        targets: vec![Target::MostTimesBaseline(1.3)],
        also: vec![
            ("with types", rate(&with_types, types_best), "MB/s"),
            ("without", rate(&plain, plain_best), "MB/s"),
        ],
    });
    Ok(())
}

/// The times and amounts of an order.
const TIMES: [&str; 3] = ["pay_time", "gmt_created", "gmt_modified"];
const AMOUNTS: [&str; 2] = ["order_price", "account_payble"];

fn typed(mut column: SourceColumn) -> Result<SourceColumn> {
    let name = column.field.name.as_str();
    if TIMES.contains(&name) {
        column.field.column_type = ColumnType::Timestamp;
        column.reading = Reading::of(ColumnType::Timestamp, Some(&ColumnFormat::Rfc3339))?;
    } else if AMOUNTS.contains(&name) {
        let decimal = DecimalType::new(12, 2).ok_or("there is such a decimal")?;
        column.field.column_type = ColumnType::Decimal(decimal);
        column.reading = Reading::of(column.field.column_type, None)?;
    }
    Ok(column)
}

pub(crate) fn decode_all(decoder: &mut Decoder, payloads: &TextValues) -> Result<Duration> {
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
