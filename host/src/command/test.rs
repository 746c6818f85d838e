//! `weir test`: the cases of a folder through its pipeline, without a server.

mod again;
mod batches;
mod case;
mod compare;
mod outcome;
mod rows;

use super::{
    build,
    project::{CASES, guests_of},
    show, stage_host,
    supervise::Supervised,
};
use crate::{
    command::terminal::{self, say},
    definition::ProjectFile,
    error::{Context, Error, Result},
    plan::{NodeKind, Plan},
    source::Stop,
    storage::Storage,
    text::printable,
    wasm::StageHost,
};
use case::{Case, Suite};
use outcome::Outcome;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::SystemTime,
};

/// What a person is to do where a rule is no function of its row.
const ADVICE: &str = "  a rule gave another answer to the same row: see that it iterates over no HashMap or HashSet with random \
                      keys, keeps nothing in a static, and takes nothing of the rows beside a row or of their order";

/// Runs cases through a pipeline, and compares tables, messages and dead letters with what is expected.
///
/// A case is a folder cases/NAME beside pipeline.toml; in a project cases/PIPELINE/NAME. It holds input.jsonl, one payload a
/// line, and what is expected then: expected.jsonl for the pipeline's only table, or expected.TABLE.jsonl for each, one row a
/// line; dead_letters.jsonl, where there are any; messages.jsonl, where messages count. start.TABLE.jsonl holds the rows of a
/// lookup table before the first event, and case.toml says what "now" is. docs/RULES.md has the details.
///
/// Each case runs three times, in batches of 1 event, of 7, and of all: what comes out is to be the same. And each rule is asked
/// again of the first 1,000 rows that it judged: in other cuts, another order, and new instances. A row of which it makes something
/// else then fails the case. Rules are so asked of these rows five times; --judge-once leaves that out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
  0  every case gave what is expected
  1  some case did not, or a file, the compiler or the rule's own tests failed
  2  the pipeline, a module or a case has to be changed first

Example:
  weir test
  weir test large-orders/cases/large-orders/first
  weir test large-orders --build --update
  weir test shop --pipeline alerts")]
pub(super) struct Test {
    /// A folder with pipeline.toml and cases, or of a project; a pipeline file, or one case.
    #[arg(default_value = ".", value_name = "FOLDER|CASE")]
    path: PathBuf,
    /// Which pipelines of the project; all, when not given.
    #[arg(long = "pipeline", value_name = "NAME")]
    named: Vec<String>,
    /// Write what came out as what is expected. Look at it before you keep it.
    #[arg(long)]
    update: bool,
    /// Run `weir build` first.
    #[arg(long)]
    build: bool,
    /// Run `cargo test` first: the rule's own tests, on this machine.
    #[arg(long)]
    native: bool,
    /// Do not ask rules again of the rows that they judged.
    #[arg(long)]
    judge_once: bool,
}

/// How cases are run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct How {
    /// Whether what came out is written as what is expected.
    pub(super) update: bool,
    /// Whether rules are not asked again of the rows that they judged.
    pub(super) judge_once: bool,
}

impl Test {
    pub(super) fn run(self) -> Result<ExitCode> {
        let suites = case::find(&self.path, &self.named)?;
        let mut native_passed = true;
        // Those of a project have their guests in common.
        if let Some(folder) = suites.first().map(|suite| suite.folder.clone()) {
            let guests = match self.build || self.native {
                true => build::guests_at(&folder)?,
                false => Vec::new(),
            };
            if self.native {
                for guest in &guests {
                    native_passed &= native_tests(guest)?;
                }
            }
            if self.build {
                for guest in &guests {
                    build::build(guest, build::PROFILE, None, &Stop::default())?;
                }
            }
        }
        let how = How {
            update: self.update,
            judge_once: self.judge_once,
        };
        let failed = run_all(suites, &stage_host()?, how)?;
        if !native_passed {
            say!(Error, "weir: the rule's own tests failed; cargo's words stand above");
        }
        Ok(ExitCode::from(u8::from(failed > 0 || !native_passed)))
    }
}

/// Runs the cases of several pipelines, and says what came of them; how many failed. A pipeline that has to be changed leaves
/// the others alone.
fn run_all(suites: Vec<Suite>, host: &StageHost, how: How) -> Result<usize> {
    let suites: Vec<Cases> = suites.into_iter().map(Cases).collect();
    let several = suites.len() > 1;
    let width = suites.iter().map(Cases::width).max().unwrap_or(0);
    let (mut tally, mut mistakes) = (Tally::default(), Vec::<Error>::new());
    for suite in &suites {
        match suite.run_cases(host, how, width) {
            Ok(ran) => tally.add(&ran),
            Err(error) if several => {
                say!(Error, "weir: {error}");
                mistakes.push(error);
            }
            Err(error) => return Err(error),
        }
    }
    tally.say()?;
    match mistakes.first() {
        None => Ok(tally.failed),
        Some(first) => {
            let of_all = show::count(suites.len() as u64, "pipeline");
            let message = format!(
                "{} of {of_all} could not be tested, for the reasons above",
                mistakes.len()
            );
            Err(Error::definition(message).like(first))
        }
    }
}

/// What became of cases.
#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    failed: usize,
    updated: usize,
    /// Of how many pipelines, where they are those of a project.
    pipelines: usize,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.failed += other.failed;
        self.updated += other.updated;
        self.pipelines += other.pipelines;
    }

    fn say(&self) -> Result<()> {
        let &Self {
            cases,
            failed,
            updated,
            pipelines,
        } = self;
        let passed = cases - failed - updated;
        let mut out = terminal::stdout();
        if terminal::is_json() {
            return out.json(
                &json!({ "kind": "cases", "cases": cases, "passed": passed, "updated": updated, "failed": failed }),
            );
        }
        let mut summary = match pipelines {
            0 => String::new(),
            _ => format!("{}, ", show::count(pipelines as u64, "pipeline")),
        };
        summary += &format!("{}: {passed} passed", show::count(cases as u64, "case"));
        if updated > 0 {
            summary += &format!(", {updated} updated");
        }
        if failed > 0 {
            summary += &format!(", {failed} failed; `--update` takes over what came out, if that is right");
        }
        out.line(summary)
    }
}

/// The cases of a pipeline.
pub(super) struct Cases(Suite);

impl Cases {
    /// Those of a folder with a pipeline, or of a pipeline file, or the one that `path` is.
    pub(super) fn find(path: &Path) -> Result<Self> {
        let mut suites = case::find(path, &[])?;
        match (suites.pop(), suites.is_empty()) {
            (Some(suite), true) => Ok(Self(suite)),
            _ => Err(Error::definition(format!(
                "{} has several pipelines; name the file of one",
                path.display()
            ))),
        }
    }

    /// The events of each.
    pub(super) fn inputs(&self) -> Vec<PathBuf> {
        self.0.cases.iter().map(Case::input).collect()
    }

    /// Fills the lookup tables of a new database with the rows that the cases start with; of two with one key the later
    /// case's stays.
    pub(super) fn load_start(&self, plan: &Plan, storage: &mut dyn Storage) -> Result<()> {
        self.0.cases.iter().try_for_each(|case| case.load_start(plan, storage))
    }

    /// Runs them and says what came of each, and of all; how many failed.
    pub(super) fn run(&self, host: &StageHost, how: How) -> Result<usize> {
        let tally = self.run_cases(host, how, self.width())?;
        tally.say()?;
        Ok(tally.failed)
    }

    /// What a case is called.
    fn name_of(&self, case: &Case) -> String {
        match &self.0.of_project {
            Some(pipeline) => format!("{pipeline}/{}", case.name),
            None => case.name.clone(),
        }
    }

    /// Characters of the longest name.
    fn width(&self) -> usize {
        let names = self.0.cases.iter().map(|case| self.name_of(case).chars().count());
        names.max().unwrap_or(0)
    }

    /// Runs them and says what came of each.
    fn run_cases(&self, host: &StageHost, how: How, width: usize) -> Result<Tally> {
        let Suite {
            pipeline,
            of_project,
            folder,
            cases,
        } = &self.0;
        let (mut failed, mut updated) = (0, 0);
        let mut out = terminal::stdout();
        if let (Some(pipeline), true) = (of_project, cases.is_empty()) {
            say!(
                Info,
                "pipeline {pipeline} has no cases: there is no folder {CASES}/{pipeline}/NAME"
            );
        }
        for (number, case) in cases.iter().enumerate() {
            let outcome = Outcome::of(case, pipeline, host)?;
            if number == 0 {
                warn_of_stale_modules(folder, of_project.is_some(), &outcome.plan)?;
            }
            let mut by_call = batches::differences(case, pipeline, host, &outcome)?;
            if !how.judge_once {
                by_call.extend(again::differences(host, &outcome)?);
            }
            let mut report = match how.update && !by_call.is_empty() {
                // What differs from batch to batch, or from call to call, is nothing to expect.
                true => compare::Report::default(),
                false => compare::compare(case, &outcome, how.update)?,
            };
            if !by_call.is_empty() {
                by_call.push(ADVICE.to_owned());
            }
            report.differences.extend(by_call);
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
                let mut object = json!({
                    "kind": "case",
                    "case": case.name,
                    "verdict": word,
                    "events": outcome.counts.events,
                    "dead_letters": outcome.counts.dead_letters,
                    "differences": report.differences,
                    "updated": report.updated,
                });
                if let (Some(pipeline), Some(members)) = (of_project, object.as_object_mut()) {
                    members.insert("pipeline".to_owned(), json!(pipeline));
                }
                out.json(&object)?;
                continue;
            }
            let counts = outcome.counts;
            let events = show::count(counts.events, "event");
            let letters = show::count(counts.dead_letters, "dead letter");
            out.styled(&verdict)?;
            out.line(format_args!(
                "  {:<width$}  {events}, {letters}{}",
                printable(&self.name_of(case)),
                report.notes
            ))?;
            for line in report.differences.iter().chain(&report.updated) {
                out.line(format_args!("  {}", printable(line)))?;
            }
        }
        Ok(Tally {
            cases: cases.len(),
            failed,
            updated,
            pipelines: usize::from(of_project.is_some()),
        })
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
fn warn_of_stale_modules(folder: &Path, is_project: bool, plan: &Plan) -> Result<()> {
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    let whole = |path: &Path| fs::canonicalize(path).ok();
    let target = whole(&folder.join("target"));
    // The folder of a guest, by the file of its component.
    let guests: Vec<(Option<PathBuf>, PathBuf)> = match is_project {
        false => vec![(None, folder.to_owned())],
        true => {
            let project = ProjectFile::in_folder(folder)?;
            let guests = project.map_or(Ok(Vec::new()), |project| guests_of(&project))?;
            let named = guests
                .into_iter()
                .map(|guest| (guest.file_name().map(PathBuf::from), guest));
            named.collect()
        }
    };
    for node in &plan.nodes {
        let NodeKind::Stage(stage) = &node.kind else { continue };
        let module = &stage.module.path;
        let Some(built) = changed(module) else { continue };
        let is_of_target = whole(module)
            .zip(target.as_ref())
            .is_some_and(|(module, target)| module.starts_with(target));
        let is_of = |name: &Option<PathBuf>| {
            name.as_deref()
                .is_none_or(|name| module.file_stem() == Some(name.as_os_str()))
        };
        let guest = guests.iter().find(|(name, _)| is_of(name));
        let (Some((_, guest)), true) = (guest, is_of_target) else {
            continue;
        };
        let sources = [guest.join("Cargo.toml"), guest.join("src")];
        let newest = sources
            .iter()
            .filter_map(|path| newest(path))
            .max_by_key(|(_, time)| *time);
        if let Some((source, _)) = newest.filter(|(_, newest)| built < *newest) {
            say!(
                Warning,
                "weir: {} is older than {}; `weir build` (or `weir test --build`) brings it up to date",
                module.display(),
                source.display()
            );
        }
    }
    Ok(())
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
