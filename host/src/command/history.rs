//! `weir history` and `weir status`: what was deployed, and what runs.

use super::{run::NatsArguments, show, write_failed};
use crate::{
    definition::File,
    error::{Error, Result},
    nats::{HISTORY, Nats, Registry},
    plan::no_stage,
    status::{HostStatus, StepStatus},
    text::printable,
};
use comfy_table::{Cell, CellAlignment, Table, presets::NOTHING};
use serde_spanned::Spanned;
use std::{io::Write, path::PathBuf, process::ExitCode};

/// Lists the deployments of a step, oldest first.
///
/// The registry remembers the last 64 of each step. Every database of a pipeline keeps all versions that decided over
/// its rows, in the table weir_version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir history guests/premium-drop/pipeline.toml premium-drop")]
pub(super) struct History {
    /// The pipeline file.
    pipeline: PathBuf,
    /// The step.
    step: String,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    nats: NatsArguments,
}

/// Shows the running pipelines: what each step runs since which sequence, how far they are, and what failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir status\n  weir status --json | jq .steps")]
pub(super) struct Status {
    /// One JSON object per running pipeline and line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    nats: NatsArguments,
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
        let registry = Registry::open(&Nats::connect(&self.nats.options())?)?;
        let deployments = registry.history(name, &self.step)?;
        let mut out = std::io::stdout().lock();
        if self.json {
            for deployment in &deployments {
                let line = serde_json::to_string(deployment)
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
        table.set_header(["version", "when", "who", "module", "parameters", "note"]);
        for deployment in &deployments {
            table.add_row([
                Cell::new(deployment.version).set_alignment(CellAlignment::Right),
                Cell::new(show::instant(deployment.at_ms)),
                Cell::new(printable(&deployment.by)),
                Cell::new(show::short(deployment.digest.as_deref())),
                Cell::new(show::parameters(&deployment.parameters).trim_start_matches(" with ")),
                Cell::new(printable(deployment.note.as_deref().unwrap_or_default())),
            ]);
        }
        writeln!(out, "{}", table.trim_fmt()).map_err(|cause| write_failed(&cause))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Status {
    pub(super) fn run(self) -> Result<ExitCode> {
        let nats = Nats::connect(&self.nats.options())?;
        let registry = Registry::open(&nats)?;
        let mut out = std::io::stdout().lock();
        if self.json {
            for host in registry.hosts::<serde_json::Value>(None)? {
                writeln!(out, "{host}").map_err(|cause| write_failed(&cause))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let hosts: Vec<HostStatus> = registry.hosts(None)?;
        if hosts.is_empty() {
            let text = format!("no pipeline runs with {}; `weir run` starts one", nats.server());
            writeln!(out, "{text}").map_err(|cause| write_failed(&cause))?;
        }
        for host in &hosts {
            writeln!(out, "{}", text_of(host)).map_err(|cause| write_failed(&cause))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text_of(host: &HostStatus) -> String {
    let mut lines = vec![
        format!("{} at {}, into {}", host.pipeline, host.process, host.database),
        format!(
            "  position {}, lag {}, dead letters {}, failed rows {}",
            show::thousands(host.position),
            show::thousands(host.lag),
            show::thousands(host.counts.dead_letters),
            show::thousands(host.failed_rows)
        ),
    ];
    for step in &host.steps {
        lines.extend(text_of_step(step));
    }
    lines.join("\n")
}

fn text_of_step(step: &StepStatus) -> Vec<String> {
    let deployment = &step.deployment;
    let digest = step.digest.get(..12).unwrap_or(&step.digest);
    let mut lines = vec![format!(
        "  {}: version {} ({}, {digest}) from sequence {}{}",
        step.step,
        deployment.version,
        printable(&step.rule),
        show::thousands(step.first_sequence),
        show::parameters(&deployment.parameters)
    )];
    if step.trial_left > 0 {
        lines.push(format!(
            "    on trial for {} more rows; {} were decided by the version before it",
            show::thousands(step.trial_left),
            show::thousands(step.spoiled)
        ));
    }
    if let Some(failed) = &step.failed {
        let reason = printable(&failed.reason);
        lines.push(match failed.taken_back {
            true => format!(
                "    version {} was taken back from sequence {} on: {reason}",
                failed.version,
                show::thousands(failed.sequence)
            ),
            false => format!("    version {} was refused: {reason}", failed.version),
        });
    }
    lines
}
