//! A thousand swaps of a rule under load: how long each holds the events up.

use crate::{
    Result,
    report::{Figure, Report, Target},
    say,
};
use std::time::Instant;
use weir::{engine::Successor, limits::BATCH_EVENTS_MAX};
use weir_tests::{
    replay::host,
    swaps::{Acknowledged, check, plan, run, version, with},
};

const SWAPS: u64 = 1000;
const BATCH: u64 = 256;

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    say(format_args!("swap: {SWAPS} versions of a rule, while a pipeline runs"));
    let base = plan("{ rows = 0 }")?;
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("swapped.db");
    let told = Acknowledged::default();
    let begun = Instant::now();
    run(&base, &database, BATCH, 1, &told, |send| {
        let mut running = base.clone();
        for number in 1..=SWAPS {
            let next = with(&base, version(&base, number, ""), None).expect("the version fits");
            send(Successor::prepare(&running, next.clone(), host(), BATCH_EVENTS_MAX).expect("the version fits"));
            running = next;
        }
    })?;
    let elapsed = begun.elapsed();
    // Whatever was held up was neither lost nor doubled.
    let (_, events) = check(&database);

    let pauses = told.pauses();
    let at = |share: usize| {
        let index = (pauses.len() * share / 100).min(pauses.len().saturating_sub(1));
        pauses.get(index).map_or(0.0, |pause| pause.as_nanos() as f64 / 1e3)
    };
    report.add(Figure {
        part: "swap",
        what: format!("pause of the events, p99 of {SWAPS} swaps under load"),
        value: at(99),
        unit: "µs",
        baseline: elapsed.as_secs_f64() * 1e6 / (events / BATCH) as f64,
        baseline_what: "a batch of 256 events, with its share of the swaps",
        targets: vec![Target::Most(1000.0)],
        also: vec![
            ("p50", at(50), "µs"),
            ("most", at(100), "µs"),
            ("events meanwhile", events as f64, ""),
        ],
    });
    Ok(())
}
