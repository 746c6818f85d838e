//! `weir test`: the cases of a folder through its pipeline, without a server.

mod batches;
mod case;
mod compare;
mod outcome;
mod rows;

use super::{build, show, stage_host, supervise::Supervised};
use crate::{
    command::terminal::{self, say},
    error::{Context, Error, Result},
    plan::{NodeKind, Plan},
    source::Stop,
    storage::Storage,
    text::printable,
    wasm::StageHost,
};
use case::Case;
use outcome::Outcome;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::SystemTime,
};

/// Runs cases through a pipeline, and compares tables, messages and dead letters with what is expected.
///
/// A case is a folder cases/NAME beside pipeline.toml. It holds input.jsonl, one payload a line, and what is expected
/// then: expected.jsonl for the pipeline's only table, or expected.TABLE.jsonl for each, one row a line;
/// dead_letters.jsonl, where there are any; messages.jsonl, where messages count. start.TABLE.jsonl holds the rows of a
/// lookup table before the first event, and case.toml says what "now" is. docs/RULES.md has the details.
///
/// Each case runs three times, in batches of 1 event, of 7, and of all: what comes out is to be the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
  0  every case gave what is expected
  1  some case did not, or a file, the compiler or the rule's own tests failed
  2  the pipeline, a module or a case has to be changed first

Example:
  weir test
  weir test large-orders/cases/first
  weir test large-orders --build --update")]
pub(super) struct Test {
    /// A folder with pipeline.toml and cases, or one case.
    #[arg(default_value = ".", value_name = "FOLDER|CASE")]
    path: PathBuf,
    /// Write what came out as what is expected. Look at it before you keep it.
    #[arg(long)]
    update: bool,
    /// Run `weir build` first.
    #[arg(long)]
    build: bool,
    /// Run `cargo test` first: the rule's own tests, on this machine.
    #[arg(long)]
    native: bool,
}

impl Test {
    pub(super) fn run(self) -> Result<ExitCode> {
        let cases = Cases::find(&self.path)?;
        let native_passed = !self.native || native_tests(&cases.folder)?;
        if self.build {
            build::build(&cases.folder, build::PROFILE, None, &Stop::default())?;
        }
        let failed = cases.run(&stage_host()?, self.update)?;
        if !native_passed {
            say!(Error, "weir: the rule's own tests failed; cargo's words stand above");
        }
        Ok(ExitCode::from(u8::from(failed > 0 || !native_passed)))
    }
}

/// The cases of a pipeline.
pub(super) struct Cases {
    folder: PathBuf,
    cases: Vec<Case>,
}

impl Cases {
    /// Those of a folder with a pipeline, or the one that `path` is.
    pub(super) fn find(path: &Path) -> Result<Self> {
        let (folder, cases) = case::find(path)?;
        Ok(Self { folder, cases })
    }

    /// The events of each.
    pub(super) fn inputs(&self) -> Vec<PathBuf> {
        self.cases.iter().map(Case::input).collect()
    }

    /// Fills the lookup tables of a new database with the rows that the cases start with; of two with one key the later
    /// case's stays.
    pub(super) fn load_start(&self, plan: &Plan, storage: &mut dyn Storage) -> Result<()> {
        self.cases.iter().try_for_each(|case| case.load_start(plan, storage))
    }

    /// Runs them and says what came of each; how many failed.
    pub(super) fn run(&self, host: &StageHost, update: bool) -> Result<usize> {
        let Self { folder, cases } = self;
        let pipeline = folder.join("pipeline.toml");
        let width = cases.iter().map(|case| case.name.chars().count()).max().unwrap_or(0);
        let (mut failed, mut updated) = (0, 0);
        let mut out = terminal::stdout();
        for (number, case) in cases.iter().enumerate() {
            let outcome = Outcome::of(case, &pipeline, host)?;
            if number == 0 {
                warn_of_stale_modules(folder, &outcome.plan);
            }
            let by_batch = batches::differences(case, &pipeline, host, &outcome)?;
            let mut report = match update && !by_batch.is_empty() {
                // What differs from batch to batch is nothing to expect.
                true => compare::Report::default(),
                false => compare::compare(case, &outcome, update)?,
            };
            report.differences.extend(by_batch);
            let (verdict, word) = match (report.differences.is_empty(), report.updated.is_empty()) {
                (false, _) => {
                    failed += 1;
                    (console::style("FAIL   ").red(), "failed")
                }
                (true, false) => {
                    updated += 1;
                    (console::style("updated").yellow(), "updated")
                }
                (true, true) => (console::style("ok     ").green(), "passed"),
            };
            if terminal::is_json() {
                out.json(&json!({
                    "kind": "case",
                    "case": case.name,
                    "verdict": word,
                    "events": outcome.counts.events,
                    "dead_letters": outcome.counts.dead_letters,
                    "differences": report.differences,
                    "updated": report.updated,
                }))?;
                continue;
            }
            let counts = outcome.counts;
            let events = show::count(counts.events, "event");
            let letters = show::count(counts.dead_letters, "dead letter");
            out.styled(&verdict)?;
            out.line(format_args!(
                "  {:<width$}  {events}, {letters}{}",
                printable(&case.name),
                report.notes
            ))?;
            for line in report.differences.iter().chain(&report.updated) {
                out.line(format_args!("  {}", printable(line)))?;
            }
        }
        let passed = cases.len() - failed - updated;
        if terminal::is_json() {
            let all = cases.len();
            out.json(
                &json!({ "kind": "cases", "cases": all, "passed": passed, "updated": updated, "failed": failed }),
            )?;
            return Ok(failed);
        }
        let mut summary = format!("{}: {passed} passed", show::count(cases.len() as u64, "case"));
        if updated > 0 {
            summary += &format!(", {updated} updated");
        }
        if failed > 0 {
            summary += &format!(", {failed} failed; `--update` takes over what came out, if that is right");
        }
        out.line(summary)?;
        Ok(failed)
    }
}

/// Runs the tests of the crate in `folder`; whether they passed.
fn native_tests(folder: &Path) -> Result<bool> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--manifest-path"]).arg(folder.join("Cargo.toml"));
    // What is said by cargo is no result of ours.
    let (words, errors) = (terminal::said_by_others(), terminal::said_by_others());
    let cargo = Supervised::start(&cargo, words, errors).environment(|| "cannot start cargo".to_owned())?;
    let status = cargo.attend(&Stop::default(), std::process::Child::wait).flatten();
    Ok(status.environment(|| "cannot wait for cargo".to_owned())?.success())
}

/// Says if a component was built from an older source than the one beside it: the cases would judge yesterday's rule.
fn warn_of_stale_modules(folder: &Path, plan: &Plan) {
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    let source = [folder.join("Cargo.toml"), folder.join("src")];
    let Some((source, newest)) = source
        .iter()
        .filter_map(|path| newest(path))
        .max_by_key(|(_, time)| *time)
    else {
        return;
    };
    for node in &plan.nodes {
        let NodeKind::Stage(stage) = &node.kind else { continue };
        let module = &stage.module.path;
        if module.starts_with(folder.join("target")) && changed(module).is_some_and(|built| built < newest) {
            say!(
                Warning,
                "weir: {} is older than {}; `weir build` (or `weir test --build`) brings it up to date",
                module.display(),
                source.display()
            );
        }
    }
}

/// The file that was changed last, at `path` or below.
fn newest(path: &Path) -> Option<(PathBuf, SystemTime)> {
    if path.is_dir() {
        let entries = fs::read_dir(path).ok()?.flatten();
        return entries
            .filter_map(|entry| newest(&entry.path()))
            .max_by_key(|(_, time)| *time);
    }
    Some((
        path.to_owned(),
        fs::metadata(path).and_then(|file| file.modified()).ok()?,
    ))
}

/// An error in a file of a case.
fn mistake(file: &Path, line: usize, what: impl std::fmt::Display) -> Error {
    Error::definition(format!("{}:{line}: {what}", file.display()))
}
