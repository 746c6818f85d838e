//! `weir replay`: a file of events into SQLite, and into nothing.

use crate::{
    Result,
    report::{Figure, Report, Target},
    say,
    scenario::{NOW, Scenario},
};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::Command,
    time::Instant,
};
use weir_tests::usage::{self, Usage};

pub(crate) fn measure(report: &mut Report, weir: &Path, folder: &Path, events: u64, runs: u32) -> Result<()> {
    for scenario in Scenario::ALL {
        say(format_args!("replay: writing {events} events of {}", scenario.title()));
        let input = scenario.write_events(folder, events)?;
        say(format_args!("replay: reading them, and parsing them with serde_json"));
        let baseline = parse_file(&input, events)?;

        for into_sqlite in [true, false] {
            let into = if into_sqlite { "SQLite" } else { "nothing" };
            say(format_args!("replay: replaying them into {into}, {runs} times"));
            let best = best_of(runs, || replay(weir, scenario, &input, folder, into_sqlite, events))?;
            report.add(Figure {
                part: "replay",
                what: format!("into {into}, {}", scenario.title()),
                value: events as f64 / best.wall.as_secs_f64(),
                unit: "events/s",
                baseline,
                baseline_what: "read + serde_json, one thread",
                targets: match into_sqlite {
                    true => vec![Target::Least(500_000.0), Target::AlsoMost("peak RSS", 400.0)],
                    false => vec![Target::Least(800_000.0)],
                },
                also: used(best, events),
            });
        }
    }
    Ok(())
}

/// What a run used, for [`Figure::also`].
pub(crate) fn used(usage: Usage, events: u64) -> Vec<(&'static str, f64, &'static str)> {
    vec![
        ("CPU", usage.cpu.as_secs_f64(), "s"),
        ("CPU per event", usage.cpu.as_nanos() as f64 / events as f64, "ns"),
        ("peak RSS", usage.peak_rss_bytes as f64 / 1e6, "MB"),
    ]
}

/// The run that took the least time.
pub(crate) fn best_of(runs: u32, mut run: impl FnMut() -> Result<Usage>) -> Result<Usage> {
    let mut best = run()?;
    for _ in 1..runs {
        let next = run()?;
        if next.wall < best.wall {
            best = next;
        }
    }
    Ok(best)
}

fn replay(
    weir: &Path,
    scenario: Scenario,
    input: &Path,
    folder: &Path,
    into_sqlite: bool,
    events: u64,
) -> Result<Usage> {
    // A folder for each run: a database brings files beside it.
    let run = tempfile::tempdir_in(folder)?;
    let database = run.path().join("replay.db");
    let mut command = Command::new(weir);
    command
        .arg("replay")
        .arg(scenario.pipeline())
        .arg("--input")
        .arg(input)
        .args(["--now", NOW]);
    match into_sqlite {
        true => command.arg("--database").arg(&database),
        false => command.arg("--discard"),
    };
    let usage = usage::run(&mut command, folder)?;
    if into_sqlite {
        check_database(&database, scenario, events)?;
    }
    Ok(usage)
}

/// Whether all events are in the database, so that no figure is of less work than it says.
pub(crate) fn check_database(database: &Path, scenario: Scenario, events: u64) -> Result<()> {
    let (names, rows) = weir_tests::stored::inspect(database).first_rows("weir_pipeline", "name", 1)?;
    let count = |of: &str| -> Result<u64> {
        let column = names.iter().position(|name| name == of).ok_or("a count is missing")?;
        Ok(rows
            .first()
            .and_then(|row| row.get(column))
            .ok_or("the database knows no pipeline")?
            .parse()?)
    };
    let (found, applied, dead_letters) = (count("events")?, count("applied")?, count("dead_letters")?);
    if found != events || dead_letters > 0 || applied < events / 2 {
        return Err(format!("of {events} events {found} came, {applied} were applied, {dead_letters} rejected").into());
    }
    let sizes = weir_tests::stored::inspect(database).table_sizes(scenario.name())?;
    match sizes.iter().all(|(_, rows)| *rows > 0) {
        true => Ok(()),
        false => Err(format!("a table is empty: {sizes:?}").into()),
    }
}

/// Events per second of one thread that reads the file by lines and parses each.
fn parse_file(input: &Path, events: u64) -> Result<f64> {
    let begun = Instant::now();
    let mut reader = BufReader::with_capacity(1 << 20, File::open(input)?);
    let mut line = Vec::new();
    let mut parsed = 0;
    while reader.read_until(b'\n', &mut line)? > 0 {
        std::hint::black_box(serde_json::from_slice::<serde_json::Value>(&line)?);
        line.clear();
        parsed += 1;
    }
    match parsed == events {
        true => Ok(events as f64 / begun.elapsed().as_secs_f64()),
        false => Err(format!("the file has {parsed} lines instead of {events}").into()),
    }
}
