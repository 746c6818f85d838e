//! Several pipelines of a project at once.

use super::{Check, as_json};
use crate::{
    command::{error_as_json, load_plan, show, terminal, terminal::say},
    definition::{File, ProjectFile},
    error::{Error, Result, take_defect},
    plan::{Plan, Target},
    planner::check_circles,
    text::printable,
    wasm::StageHost,
};
use serde_json::json;
use std::path::{Path, PathBuf};

impl Check {
    /// Checks each of `files`, and that none feeds itself by way of others.
    pub(super) fn check_all(&self, files: &[PathBuf], host: &StageHost) -> Result<()> {
        let mut out = terminal::stdout();
        let name_of = |file: &Path| file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let width = files
            .iter()
            .map(|file| name_of(file).chars().count())
            .max()
            .unwrap_or(0);
        let (mut plans, mut errors) = (Vec::new(), Vec::<Error>::new());
        for file in files {
            let name = name_of(file);
            match load_plan(file, host, None) {
                Ok(plan) if terminal::is_json() => {
                    out.json(&as_json(&plan))?;
                    plans.push(plan);
                }
                Ok(plan) => {
                    out.styled(&console::style("ok     ").green())?;
                    out.line(format_args!("  {:<width$}  {}", printable(&name), in_short(&plan)))?;
                    plans.push(plan);
                }
                Err(error) => {
                    if terminal::is_json() {
                        let error = error_as_json(error.kind().name(), &error.to_string(), error.exit_code());
                        out.json(&json!({ "pipeline": name, "error": error }))?;
                    } else {
                        out.styled(&console::style("FAIL   ").red())?;
                        out.line(format_args!("  {}", printable(&name)))?;
                    }
                    // What is wrong in the project's own file is so for each pipeline that uses it.
                    if !errors.iter().any(|known| known.to_string() == error.to_string()) {
                        say!(Error, "weir: {error}");
                    }
                    errors.push(error);
                }
            }
        }
        take_defect()?;
        if let Some(first) = errors.first() {
            let of_all = show::count(files.len() as u64, "pipeline");
            let message = format!("{} of {of_all} cannot run, for the reasons above", errors.len());
            return Err(Error::definition(message).like(first));
        }
        check_circles(&plans)?;
        if terminal::is_json() {
            return Ok(());
        }
        for plan in &plans {
            for line in self.overridden(plan)? {
                out.line(printable(&line))?;
            }
        }
        out.line(format_args!(
            "{}; `weir check {}` draws one",
            show::count(files.len() as u64, "pipeline"),
            files.first().map(|file| file.display().to_string()).unwrap_or_default()
        ))
    }

    /// Names what the pipelines share and none of them uses.
    pub(super) fn note_unused(&self, project: &ProjectFile, files: &[PathBuf]) -> Result<()> {
        let named = files.iter().map(|file| Ok(File::read(file)?.named_of_project()));
        let named = named.collect::<Result<Vec<_>>>()?;
        let unused = project.unused(&named)?;
        for note in unused {
            say!(Info, "note: {note}");
        }
        Ok(())
    }
}

/// A pipeline in a line: what it reads, how much it does, where rows go.
fn in_short(plan: &Plan) -> String {
    let steps = plan.nodes.len() - plan.inputs.len();
    let is_table = |target: &Target| !matches!(target, Target::Subject { .. });
    let tables = plan.sinks.iter().filter(|sink| is_table(&sink.target)).count();
    let subjects = plan.sinks.len() - tables;
    let mut parts = vec![format!("stream {}", plan.stream), show::count(steps as u64, "step")];
    let sinks = [(tables, "table"), (subjects, "subject")].into_iter();
    parts.extend(
        sinks
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| show::count(count as u64, what)),
    );
    parts.join(", ")
}
