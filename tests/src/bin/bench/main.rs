//! `cargo xtask bench`: the figures that Weir is held to, each beside a baseline that is measured in the same run.
//!
//! Read them as ratios: the machine, and whoever else works on it, moves a figure and its baseline alike. The events are
//! made up from a seed ([`weir::command::sample`]), so every run measures the same ones.

mod decode;
mod formats;
mod jetstream;
mod process;
mod rejudge;
mod replay;
mod report;
mod scenario;
mod stage;
mod swap;
mod trickle;
mod windows;

use clap::{Parser, ValueEnum};
use report::Report;
use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Whatever stops the benchmark is for a person to read.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Measures Weir, and the baselines that its figures are read against.
#[derive(Debug, Parser)]
#[command(name = "bench", max_term_width = 100)]
struct Arguments {
    /// Measure these parts alone.
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    /// Events of the parts that run `weir`: for a shorter run, whose figures say less [default: 2000000 for replay
    /// and windows, 1000000 for jetstream, 10000000 for soak]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1_000..))]
    events: Option<u64>,
    /// How often `weir` runs for each figure; the best run counts.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Leave the folder with the events and databases where it is.
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One call of a rule, as a guest and natively.
    Stage,
    /// Payloads to columns.
    Decode,
    /// Versions of a rule that are swapped under load: over single rows, and over a million groups.
    Swap,
    /// `weir replay`: a file into SQLite, and into nothing.
    Replay,
    /// `weir replay` of windows over event time, into nothing.
    Windows,
    /// Windows over many events, for their memory. Only where it is asked for.
    Soak,
    /// `weir run`: a JetStream stream into SQLite.
    Jetstream,
    /// `weir run` under a few events a second: written bytes, and latency.
    Trickle,
}

const REPLAY_EVENTS: u64 = 2_000_000;
const JETSTREAM_EVENTS: u64 = 1_000_000;
const SOAK_EVENTS: u64 = 10_000_000;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(report) => {
            print!("{}", if arguments.json { report.json() } else { report.table() });
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Report> {
    let parts = if arguments.only.is_empty() {
        Part::value_variants()
    } else {
        &arguments.only
    };
    let wants = |part| parts.contains(&part) && (part != Part::Soak || !arguments.only.is_empty());
    let mut report = Report::default();

    if wants(Part::Stage) {
        stage::measure(&mut report)?;
    }
    if wants(Part::Decode) {
        decode::measure(&mut report)?;
        formats::measure(&mut report)?;
    }
    if wants(Part::Swap) {
        swap::measure(&mut report)?;
        rejudge::measure(&mut report)?;
    }
    let folder = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(root().join("target"))?;
    if wants(Part::Soak) {
        windows::soak(&mut report, folder.path(), arguments.events.unwrap_or(SOAK_EVENTS))?;
    }
    if [Part::Replay, Part::Windows, Part::Jetstream, Part::Trickle]
        .into_iter()
        .any(wants)
    {
        let weir = process::build_weir()?;
        if wants(Part::Replay) {
            let events = arguments.events.unwrap_or(REPLAY_EVENTS);
            replay::measure(&mut report, &weir, folder.path(), events, arguments.runs)?;
        }
        if wants(Part::Windows) {
            let events = arguments.events.unwrap_or(REPLAY_EVENTS);
            windows::measure(&mut report, &weir, folder.path(), events, arguments.runs)?;
        }
        if wants(Part::Jetstream) {
            let events = arguments.events.unwrap_or(JETSTREAM_EVENTS);
            jetstream::measure(&mut report, &weir, folder.path(), events, arguments.runs)?;
        }
        if wants(Part::Trickle) {
            trickle::measure(&mut report, &weir, folder.path())?;
        }
        if arguments.keep {
            say(format_args!("kept {}", folder.keep().display()));
        }
    }
    Ok(report)
}

/// The workspace.
fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// Says what is going on, on standard error.
fn say(what: std::fmt::Arguments<'_>) {
    eprintln!("bench: {what}");
}
