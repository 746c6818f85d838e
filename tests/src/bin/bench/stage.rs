//! One call of the rule of scenario 1: as a guest, and natively over the same columns.

use crate::{
    Result,
    report::{Figure, Report, Target},
    say,
    scenario::{NOW_MS, Scenario},
};
use hourly_orders::Rule;
use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use weir::{
    format::Decoder,
    model::{
        column::{Column, Values},
        guest::ParameterValue,
        ids::InputId,
    },
    plan::{NodeKind, StagePlan},
    wasm::{Compiler, Instance, StageHost},
};
use weir_guest::{Stage, abi};

const BATCHES: [usize; 4] = [1, 64, 1024, 4096];

/// The batch whose figure is promised: calls cost nothing any more, and it still fits into the caches.
const BATCH_PROMISED: usize = 1024;

/// Events in one timed run of calls, so that the clock's own cost does not show.
const RUN_EVENTS: usize = 16_384;

/// How long guest and native take turns for each batch size. The least time of each counts.
const MEASURING: Duration = Duration::from_millis(1_500);

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    say(format_args!(
        "stage: calling the rule of scenario 1 as a guest and natively, in turns"
    ));
    let host = StageHost::new(StageHost::default_cache().as_deref(), Compiler::InProcess)?;
    let plan = Scenario::HourlyOrders.plan(&host)?;
    let mut stages = plan.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Stage(stage) => Some(stage),
        _ => None,
    });
    let stage = stages.next().ok_or("the pipeline has no stage")?;

    for batch in BATCHES {
        // As decode makes it of real payloads, nulls included.
        let mut decoder = Decoder::of(&plan, batch)?;
        let mut generate = Scenario::HourlyOrders.generator(batch as u64);
        let mut payload = Vec::new();
        for sequence in 1..=batch as u64 {
            generate(&mut payload);
            decoder.push(sequence, None, &payload);
        }
        let decoded = decoder.take();
        let events = decoded.of_input(InputId::FIRST);
        let columns: Vec<&Column> = stage
            .inputs
            .iter()
            .filter_map(|&index| events.columns.get(index))
            .map(|c| &**c)
            .collect();
        let (guest_ns, native_ns) = measure_batch(&host, stage, batch, &columns)?;
        let targets = match batch {
            BATCH_PROMISED => vec![Target::Most(100.0), Target::MostTimesBaseline(1.6)],
            _ => vec![],
        };
        report.add(Figure {
            part: "stage",
            what: format!("call of scenario 1's rule, batch of {batch}"),
            value: guest_ns,
            unit: "ns/event",
            baseline: native_ns,
            baseline_what: "native, same columns",
            targets,
            also: vec![],
        });
    }
    Ok(())
}

/// The least ns per event as a guest, and natively.
fn measure_batch(host: &StageHost, stage: &StagePlan, batch: usize, columns: &[&Column]) -> Result<(f64, f64)> {
    let rows = u32::try_from(batch)?;
    let times_ms = vec![NOW_MS; batch];
    let mut guest = Instance::new(host, stage.module.clone(), stage.parameters.clone(), &stage.limits);
    guest.configure().map_err(|failure| failure.to_string())?;
    let native = Rule::configure(stage.parameters.iter().map(native_parameter).collect())?;
    let native_batch = abi::Batch {
        row_count: rows,
        times_us: times_ms.iter().map(|ms| ms * 1_000).collect(),
        columns: columns.iter().map(|c| native_column(c)).collect(),
    };

    let kept = |rows: Option<usize>| rows.ok_or("the rule has no output");
    let by_guest = kept(
        guest
            .judge(rows, &times_ms, columns)
            .answer
            .outputs
            .first()
            .map(|output| output.rows.len()),
    )?;
    let natively = kept(
        native
            .process(&native_batch)
            .outputs
            .first()
            .map(|output| output.rows.len()),
    )?;
    if by_guest != natively {
        return Err(format!("the guest keeps {by_guest} of {batch} rows, the native rule {natively}").into());
    }

    let calls = (RUN_EVENTS / batch).max(1);
    let (mut guest_best, mut native_best) = (Duration::MAX, Duration::MAX);
    let begun = Instant::now();
    while begun.elapsed() < MEASURING {
        guest_best = guest_best.min(time(calls, || drop(black_box(guest.judge(rows, &times_ms, columns)))));
        native_best = native_best.min(time(calls, || {
            drop(black_box(native.process(black_box(&native_batch))))
        }));
    }
    let per_event = |best: Duration| best.as_nanos() as f64 / (calls * batch) as f64;
    Ok((per_event(guest_best), per_event(native_best)))
}

fn time(calls: usize, mut call: impl FnMut()) -> Duration {
    let begun = Instant::now();
    (0..calls).for_each(|_| call());
    begun.elapsed()
}

fn native_parameter((name, value): &(String, ParameterValue)) -> abi::Parameter {
    let value = match value.clone() {
        ParameterValue::Int(value) => abi::ParameterValue::Int(value),
        ParameterValue::Double(value) => abi::ParameterValue::Double(value),
        ParameterValue::Boolean(value) => abi::ParameterValue::Boolean(value),
        ParameterValue::Text(value) => abi::ParameterValue::Text(value),
        ParameterValue::IntList(values) => abi::ParameterValue::IntList(values),
        ParameterValue::DoubleList(values) => abi::ParameterValue::DoubleList(values),
        ParameterValue::TextList(values) => abi::ParameterValue::TextList(values),
        other => panic!("the rule has no parameter like {other}"),
    };
    abi::Parameter {
        name: name.clone(),
        value,
    }
}

fn native_column(column: &Column) -> abi::Column {
    let values = match column.values.clone() {
        Values::Decimal(_) => panic!("the rule reads no decimals"),
        Values::Int(values) => abi::ColumnValues::Int(values),
        Values::Double(values) => abi::ColumnValues::Double(values),
        Values::Boolean(values) => abi::ColumnValues::Boolean(values),
        Values::Text(texts) => abi::ColumnValues::Text(abi::TextValues {
            offsets: texts.offsets,
            data: texts.data,
        }),
    };
    abi::Column {
        validity: column.validity.clone(),
        values,
    }
}
