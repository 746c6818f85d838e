//! `weir history`: what was deployed.

use super::{connection::NatsArguments, project::OnePipeline, show, write_failed};
use crate::{
    command::terminal,
    definition::{File, Spanned},
    error::{Context as _, Result},
    model::deployment::{Deployment, Outcome, Signer},
    nats::{HISTORY, Nats, Registry},
    plan::no_stage,
    trust::{Entry, Policy, has_right_signature},
};
use comfy_table::{Cell, CellAlignment, Table, presets::NOTHING};
use std::{collections::BTreeMap, io::Write, process::ExitCode};

/// Lists the deployments of a step, oldest first.
///
/// Below them stands what became of them at each database: which passed its trial, was refused, or taken back, where and why.
/// The registry remembers the last 64 of each step. Every database of a pipeline keeps all versions that decided over
/// its rows, in the table weir_version. Where any of them is signed, a column says by whom: signatures are checked, and names
/// are those of the keys that the pipeline file trusts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir history guests/premium-drop/pipeline.toml premium-drop")]
pub(super) struct History {
    #[command(flatten)]
    pipeline: OnePipeline,
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
    let (version, database) = (outcome.version, show::told(&outcome.database));
    let reason = show::told(outcome.reason.as_deref().unwrap_or_default());
    let what = match outcome.what.as_str() {
        "passed" => format!("passed its trial by sequence {}", show::thousands(outcome.sequence)),
        "taken-back" => format!(
            "was taken back from sequence {} on: {reason}",
            show::thousands(outcome.sequence)
        ),
        other => format!("was {}: {reason}", show::told(other)),
    };
    format!(
        "version {version}, {}, {database}: {what}",
        show::told(&outcome.process)
    )
}

/// What is said where several claim the number of a version.
fn said_of_same(version: u64, times: usize) -> String {
    format!(
        "version {version} stands here {times} times, and weir gives a number once: somebody wrote past it, or the registry lost \
         some and gave their numbers again. A host that runs one of them keeps it and refuses the others; one that runs none takes \
         the last, where that is signed as it asks for. Deploy again: what comes has a number of its own"
    )
}

impl History {
    pub(super) fn run(self) -> Result<ExitCode> {
        const { assert!(HISTORY == 64, "the help says so") };
        let file = File::read(&self.pipeline.file()?)?;
        let definition = file.parse()?;
        let name = definition.name.get_ref();
        let stages = definition
            .steps
            .iter()
            .map(Spanned::get_ref)
            .filter(|step| step.is_stage());
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
                let line = serde_json::to_string(&with_outcomes).environment(|| "cannot write JSON".to_owned())?;
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
                Cell::new(show::told(&deployment.by)),
                Cell::new(show::told(show::short(deployment.digest.as_deref()))),
                Cell::new(show::parameters(&deployment.parameters).trim_start_matches(" with ")),
                Cell::new(show::told(deployment.note.as_deref().unwrap_or_default())),
            ];
            table.add_row(row.into_iter().chain(are_signed.then(signer)));
        }
        writeln!(out, "{}", table.trim_fmt()).map_err(|cause| write_failed(&cause))?;
        let mut times: BTreeMap<u64, usize> = BTreeMap::new();
        for deployment in &deployments {
            *times.entry(deployment.version).or_default() += 1;
        }
        for (version, times) in times.iter().filter(|(_, times)| **times > 1) {
            writeln!(out, "{}", said_of_same(*version, *times)).map_err(|cause| write_failed(&cause))?;
        }
        for outcome in times.keys().flat_map(|version| of_version(*version)) {
            writeln!(out, "{}", said(outcome)).map_err(|cause| write_failed(&cause))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
