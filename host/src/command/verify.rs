//! `weir verify`: whether a database holds together.

use super::{load_plan, project::files, show, stage_host, write_failed};
use crate::{
    command::terminal,
    engine::Engine,
    error::{Error, Result},
    storage::{Check, Location, Verdict},
    text::printable,
};
use serde_json::json;
use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc};

/// Computes anew what can be computed from a database alone, and says whether it holds.
///
/// Its pages and indexes; that the counts add up; that no dead letter, message or version lies after the position; that the
/// log of state has no gap, and every entry is in its bucket. With the pipeline file also that the state is of its types,
/// and that each table that reads a last_value or an aggregate has the rows that the state says, and no other. What a table
/// holds of single rows the state does not know: replay the stream into another database, and `weir diff` the two.
///
/// Nothing is written, and a pipeline that runs goes on meanwhile. The exit code is 3 when something does not hold.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir verify hourly-orders.db\n  weir verify hourly-orders.db --pipeline guests/hourly-orders/pipeline.toml"
)]
pub(super) struct Verify {
    /// The SQLite file.
    database: Location,
    /// A pipeline of the database; several may be given.
    #[arg(long, value_name = "FILE")]
    pipeline: Vec<PathBuf>,
}

/// The exit code when something does not hold.
const BROKEN: u8 = 3;

impl Verify {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut plans = Vec::new();
        if !self.pipeline.is_empty() {
            let host = stage_host()?;
            for file in self.pipeline.iter().map(|path| files(path, &[])) {
                for file in &file? {
                    plans.push((Arc::new(load_plan(file, &host, None)?), host.clone()));
                }
            }
        }
        let snapshot = self.database.snapshot()?;
        let stored = snapshot.pipelines()?;
        if let Some((plan, _)) = plans
            .iter()
            .find(|(plan, _)| stored.iter().all(|(name, _)| *name != plan.name))
        {
            let known: Vec<&str> = stored.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::definition(format!(
                "database {} has no pipeline \"{}\"; it has {}",
                self.database,
                plan.name,
                known.join(", ")
            )));
        }
        let mut broken = self.tell(None, &[snapshot.check_file(), snapshot.check_schema()])?;
        for (name, stored) in &stored {
            let mut checks = snapshot.check_pipeline(name, stored);
            for (plan, host) in plans.iter().filter(|(plan, _)| plan.name == *name) {
                let mut engine = Engine::new(plan.clone(), host, stored.seed)?;
                checks.extend(snapshot.check_tables(plan, &mut engine));
            }
            broken |= self.tell(Some((name, stored.position)), &checks)?;
        }
        Ok(match broken {
            true => ExitCode::from(BROKEN),
            false => ExitCode::SUCCESS,
        })
    }

    /// Prints checks; says whether one of them does not hold.
    fn tell(&self, pipeline: Option<(&str, u64)>, checks: &[Check]) -> Result<bool> {
        let mut out = terminal::stdout();
        let mut line = |text: String| writeln!(out, "{text}").map_err(|cause| write_failed(&cause));
        if !terminal::is_json() {
            line(match pipeline {
                None => format!("database {}", self.database),
                Some((name, position)) => {
                    format!("pipeline {}, position {}", printable(name), show::thousands(position))
                }
            })?;
        }
        let width = checks
            .iter()
            .map(|check| check.what.chars().count())
            .max()
            .unwrap_or(0)
            .max(16);
        for check in checks {
            let what = printable(&check.what);
            let (word, texts) = match &check.verdict {
                Verdict::Holds(counted) => ("holds", std::slice::from_ref(counted)),
                Verdict::Unknown(reason) => ("unknown", std::slice::from_ref(reason)),
                Verdict::Broken(faults) => ("BROKEN", faults.as_slice()),
            };
            if terminal::is_json() {
                let pipeline = pipeline.map(|(name, _)| name);
                line(json!({ "pipeline": pipeline, "check": check.what, "verdict": word.to_lowercase(), "found": texts }).to_string())?;
                continue;
            }
            for (number, text) in texts.iter().enumerate() {
                let (what, word) = if number == 0 { (what.as_str(), word) } else { ("", "") };
                line(format!("  {what:<width$}  {word:<7}  {}", printable(text)))?;
            }
        }
        Ok(checks.iter().any(|check| matches!(check.verdict, Verdict::Broken(_))))
    }
}
