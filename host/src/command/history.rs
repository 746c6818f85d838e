//! `weir history`: what was deployed.

use super::{connection::NatsArguments, show, write_failed};
use crate::{
    definition::File,
    deployment::{Deployment, Outcome, Signer},
    error::{Error, Result},
    nats::{HISTORY, Nats, Registry},
    plan::no_stage,
    terminal,
    text::printable,
    trust::{Entry, Policy, has_right_signature},
};
use comfy_table::{Cell, CellAlignment, Table, presets::NOTHING};
use serde_spanned::Spanned;
use std::{io::Write, path::PathBuf, process::ExitCode};

/// Lists the deployments of a step, oldest first.
///
/// Below them stands what became of them at each database: which passed its trial, was refused, or taken back, where and why.
/// The registry remembers the last 64 of each step. Every database of a pipeline keeps all versions that decided over
/// its rows, in the table weir_version. Where any of them is signed, a column says by whom: signatures are checked, and names
/// are those of the keys that the pipeline file trusts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir history guests/premium-drop/pipeline.toml premium-drop")]
pub(super) struct History {
    /// The pipeline file.
    pipeline: PathBuf,
    /// The step.
    step: String,
    #[command(flatten)]
    nats: NatsArguments,
}

/// A deployment as --json shows it.
#[derive(serde::Serialize)]
struct WithOutcomes<'a> {
    #[serde(flatten)]
    deployment: &'a Deployment,
    /// Who signed it, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<Signer>,
    outcomes: Vec<&'a Outcome>,
}

/// Who signed a deployment, or that what it says of that is not so.
fn signer(trust: &Policy, entry: Entry<'_>, deployment: &Deployment) -> String {
    let (Some(signature), Some(is_right)) = (&deployment.signature, has_right_signature(entry, deployment)) else {
        return "nobody".to_owned();
    };
    match is_right {
        true => trust.signer(&signature.key).to_string(),
        false => "nobody: its signature is not for this".to_owned(),
    }
}

/// What became of a version at one database.
fn said(outcome: &Outcome) -> String {
    let (database, reason) = (
        printable(&outcome.database),
        outcome.reason.as_deref().unwrap_or_default(),
    );
    let (version, reason) = (outcome.version, printable(reason));
    let what = match outcome.what.as_str() {
        "passed" => format!("passed its trial by sequence {}", show::thousands(outcome.sequence)),
        "taken-back" => format!(
            "was taken back from sequence {} on: {reason}",
            show::thousands(outcome.sequence)
        ),
        other => format!("was {}: {reason}", printable(other)),
    };
    format!("version {version}, {}, {database}: {what}", printable(&outcome.process))
}

impl History {
    pub(super) fn run(self) -> Result<ExitCode> {
        const { assert!(HISTORY == 64, "the help says so") };
        let definition = File::read(&self.pipeline)?.parse()?;
        let name = definition.name.get_ref();
        let stages = definition
            .steps
            .iter()
            .map(Spanned::get_ref)
            .filter(|step| step.stage.is_some());
        let stages: Vec<&str> = stages.map(|step| step.name.get_ref().as_str()).collect();
        if !stages.contains(&self.step.as_str()) {
            return Err(no_stage(name, &self.step, &stages));
        }
        let registry = Registry::find(&Nats::connect(&self.nats.options()?)?)?;
        let (deployments, outcomes) = match &registry {
            None => Default::default(),
            Some(registry) => (
                registry.history(name, &self.step)?,
                registry.outcomes(name, &self.step)?,
            ),
        };
        let trust = definition.trust.as_ref().map(Policy::from).unwrap_or_default();
        let of_version = |version: u64| outcomes.iter().filter(move |outcome| outcome.version == version);
        let mut out = terminal::stdout();
        if terminal::is_json() {
            for deployment in &deployments {
                let is_right = has_right_signature(Entry::live(name, &self.step), deployment) == Some(true);
                let signature = deployment.signature.as_ref().filter(|_| is_right);
                let with_outcomes = WithOutcomes {
                    deployment,
                    signer: signature.map(|signature| trust.signer(&signature.key)),
                    outcomes: of_version(deployment.version).collect(),
                };
                let line = serde_json::to_string(&with_outcomes)
                    .map_err(|cause| Error::environment(format!("cannot write JSON: {cause}")))?;
                writeln!(out, "{line}").map_err(|cause| write_failed(&cause))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        if deployments.is_empty() {
            let text = format!("nothing was deployed for step {} of pipeline {name} yet", self.step);
            writeln!(out, "{text}").map_err(|cause| write_failed(&cause))?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = Table::new();
        table.load_style(NOTHING);
        // Where nobody signs there is no such column.
        let are_signed = deployments.iter().any(|deployment| deployment.signature.is_some());
        let header = ["version", "when", "who", "module", "parameters", "note"];
        table.set_header(header.into_iter().chain(are_signed.then_some("signed by")));
        for deployment in &deployments {
            let signer = || Cell::new(signer(&trust, Entry::live(name, &self.step), deployment));
            let row = [
                Cell::new(deployment.version).set_alignment(CellAlignment::Right),
                Cell::new(show::instant(deployment.at_ms)),
                Cell::new(printable(&deployment.by)),
                Cell::new(show::short(deployment.digest.as_deref())),
                Cell::new(show::parameters(&deployment.parameters).trim_start_matches(" with ")),
                Cell::new(printable(deployment.note.as_deref().unwrap_or_default())),
            ];
            table.add_row(row.into_iter().chain(are_signed.then(signer)));
        }
        writeln!(out, "{}", table.trim_fmt()).map_err(|cause| write_failed(&cause))?;
        for outcome in deployments.iter().flat_map(|deployment| of_version(deployment.version)) {
            writeln!(out, "{}", said(outcome)).map_err(|cause| write_failed(&cause))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
