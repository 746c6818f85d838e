//! `weir shadow`: a candidate beside a running rule, what it would have done otherwise, and its promotion.

use super::{
    connection::{NatsArguments, RegistryArguments},
    deploy::{Saying, Target, merge, whoami},
    load_plan,
    project::OnePipeline,
    show,
    signing::{SigningArguments, signed_by},
    stage_host, write_failed,
};
use crate::{
    command::terminal::{self, answer},
    engine::{CurrentExample, CurrentRows, ShadowExample, ShadowReport},
    error::{Context as _, Error, Result},
    model::deployment::Deployment,
    plan::{StageVersion, StepVersions, Versions},
    runtime::status::HostStatus,
    trust::Entry,
};
use serde_json::json;
use std::{
    io::Write,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

/// How often the hosts are looked at while they are waited for.
const LOOK: Duration = Duration::from_millis(50);

/// Runs a candidate beside a rule: over the same events, deciding nothing.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Shadow {
    Start(Start),
    Report(Report),
    Promote(Promote),
    Stop(Stop),
}

/// Lets a candidate see what the rule of a step sees.
///
/// It runs off the path of the events; when it is too slow it misses some, which are counted. `weir shadow report` says
/// what it would have done otherwise.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir shadow start guests/premium-drop/pipeline.toml premium-drop target/guests/premium-drop.wasm \\\n      \
                  --param ratio=0.9"
)]
pub(super) struct Start {
    #[command(flatten)]
    pipeline: OnePipeline,
    /// The step.
    step: String,
    /// The component.
    module: PathBuf,
    /// A parameter, typed as the rule says; those that are not given are as in the live version.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// How long to wait until the running hosts say that it runs.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
    #[command(flatten)]
    signing: SigningArguments,
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(flatten)]
    nats: NatsArguments,
}

/// Says how many events would have come out otherwise, with examples side by side.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir shadow report guests/premium-drop/pipeline.toml premium-drop")]
pub(super) struct Report {
    #[command(flatten)]
    pipeline: OnePipeline,
    /// The step.
    step: String,
    #[command(flatten)]
    nats: NatsArguments,
}

/// Puts the candidate in the place of the rule, and ends the shadow.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir shadow promote guests/premium-drop/pipeline.toml premium-drop --note 'as agreed'"
)]
pub(super) struct Promote {
    #[command(flatten)]
    pipeline: OnePipeline,
    /// The step.
    step: String,
    #[command(flatten)]
    saying: Saying,
    #[command(flatten)]
    nats: NatsArguments,
}

/// Ends the shadow.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir shadow stop guests/premium-drop/pipeline.toml premium-drop")]
pub(super) struct Stop {
    #[command(flatten)]
    pipeline: OnePipeline,
    /// The step.
    step: String,
    #[command(flatten)]
    nats: NatsArguments,
}

impl Shadow {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Start(start) => start.run(),
            Self::Report(report) => report.run(),
            Self::Promote(promote) => promote.run(),
            Self::Stop(stop) => stop.run(),
        }
    }
}

impl Start {
    fn run(self) -> Result<ExitCode> {
        let signing = self.signing.read()?;
        let host = stage_host()?;
        let base = load_plan(&self.pipeline.file()?, &host, None)?;
        base.stage(&self.step)?;
        let module = host.load(&self.module)?;
        let target = Target::new(&host, base, self.step, &self.registry, &self.nats)?.signing(signing);
        let hosts: Vec<HostStatus> = target.registry.hosts(Some(&target.plan.name))?;
        target.check_signer(&hosts)?;
        let live = target.registry.deployment(&target.plan.name, &target.step)?;
        let live = target.basis(live.as_ref())?;
        let parameters = merge(&target, &module, live.as_ref(), &self.parameters)?;
        // One that could not be promoted is no candidate.
        target.check(&module, parameters.clone(), live.as_ref(), false)?;
        let candidate = Deployment {
            version: 0,
            digest: Some(module.digest.clone()),
            parameters,
            by: whoami(),
            at_ms: jiff::Timestamp::now().as_millisecond(),
            note: self.note,
            ..Default::default()
        };
        let candidate = target.signed(Entry::candidate(&target.plan.name, &target.step), candidate)?;
        let beside = StepVersions {
            shadow: Some(StageVersion {
                module: module.clone(),
                deployment: candidate.clone(),
            }),
            ..Default::default()
        };
        let versions: Versions = [(target.step.clone(), beside)].into_iter().collect();
        target.plan.again(&host, &versions)?;

        target.registry.put_module(&module.digest, &module.bytes)?;
        target
            .registry
            .set_shadow(&target.plan.name, &target.step, Some(&candidate))?;
        if !terminal::is_json() {
            answer!(
                "candidate for step {} of pipeline {}: {}{}{}",
                target.step,
                target.plan.name,
                show::module(candidate.digest.as_deref()),
                show::parameters(&candidate.parameters),
                signed_by(&target.plan, &candidate)
            )?;
        }
        wait(&target, &candidate, Duration::from_secs(self.wait))
    }
}

/// Waits until every running host says that the candidate runs.
fn wait(target: &Target<'_>, candidate: &Deployment, most: Duration) -> Result<ExitCode> {
    let begun = Instant::now();
    loop {
        let reports = reports(target)?;
        let mine = |report: &Option<ShadowReport>| report.as_ref().is_some_and(|report| report.candidate == *candidate);
        if reports.iter().all(|(_, report)| mine(report)) {
            let mut well = true;
            let reason = |report: &Option<ShadowReport>| report.as_ref().and_then(|report| report.refused.clone());
            if terminal::is_json() {
                let hosts = reports.iter().map(|(host, report)| {
                    json!({ "process": host.process, "database": host.database, "refused": reason(report) })
                });
                terminal::stdout().json(&json!({
                    "pipeline": target.plan.name,
                    "step": target.step,
                    "digest": candidate.digest,
                    "parameters": candidate.parameters,
                    "hosts": hosts.collect::<Vec<_>>(),
                }))?;
                let well = reports.iter().all(|(_, report)| reason(report).is_none());
                return Ok(ExitCode::from(u8::from(!well)));
            }
            for (host, report) in &reports {
                match report.as_ref().and_then(|report| report.refused.as_ref()) {
                    None => answer!("  {}, {}: runs", host.process, host.database)?,
                    Some(reason) => {
                        well = false;
                        answer!("  {}, {}: refused: {}", host.process, host.database, show::told(reason))?;
                    }
                }
            }
            if reports.is_empty() {
                answer!("  no host runs the pipeline now; the next that starts takes it")?;
            }
            return Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        if begun.elapsed() > most {
            return Err(Error::environment(format!(
                "a host did not say within {} s that the candidate runs; `weir status` shows what they do",
                most.as_secs()
            )));
        }
        std::thread::sleep(LOOK);
    }
}

/// What each running host says of the candidate.
fn reports(target: &Target<'_>) -> Result<Vec<(HostStatus, Option<ShadowReport>)>> {
    let hosts: Vec<HostStatus> = target.registry.hosts(Some(&target.plan.name))?;
    let of_step = |host: &HostStatus| {
        let step = host.steps.iter().find(|step| step.step == target.step);
        step.and_then(|step| step.shadow.clone())
    };
    Ok(hosts
        .into_iter()
        .map(|host| {
            let report = of_step(&host);
            (host, report)
        })
        .collect())
}

impl Report {
    fn run(self) -> Result<ExitCode> {
        let host = stage_host()?;
        let base = load_plan(&self.pipeline.file()?, &host, None)?;
        base.stage(&self.step)?;
        let target = Target::new(&host, base, self.step, &RegistryArguments::default(), &self.nats)?;
        let reports = reports(&target)?;
        let mut out = terminal::stdout();
        let mut any = false;
        for (host, report) in &reports {
            let Some(report) = report else { continue };
            any = true;
            let text = match terminal::is_json() {
                true => serde_json::to_string(report).environment(|| "cannot write JSON".to_owned())?,
                false => text_of(host, report),
            };
            writeln!(out, "{text}").map_err(|cause| write_failed(&cause))?;
        }
        if !any && !terminal::is_json() {
            let text = match reports.is_empty() {
                true => "no host runs the pipeline now",
                false => "no candidate runs beside this step; `weir shadow start` starts one",
            };
            writeln!(out, "{text}").map_err(|cause| write_failed(&cause))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text_of(host: &HostStatus, report: &ShadowReport) -> String {
    let digest = show::module(report.candidate.digest.as_deref());
    let mut lines = vec![format!(
        "{} at {}: {digest}{} beside version {}",
        host.pipeline,
        host.process,
        show::parameters(&report.candidate.parameters),
        report.live
    )];
    if let Some(reason) = &report.refused {
        lines.push(format!("  refused: {}", show::told(reason)));
        return lines.join("\n");
    }
    let otherwise = report.added + report.missing + report.changed + report.rejected;
    lines.push(format!(
        "  saw {} rows, sequences {} to {}; {} passed it by; {} made it fail",
        show::thousands(report.rows),
        show::thousands(report.first_sequence),
        show::thousands(report.last_sequence),
        show::thousands(report.shed),
        show::thousands(report.failed_rows)
    ));
    lines.push(format!(
        "  {} rows would have come out otherwise",
        show::thousands(otherwise)
    ));
    for (count, what) in [
        (report.added, "let through by the candidate alone"),
        (report.missing, "let through by the live version alone"),
        (report.changed, "let through by both, otherwise"),
        (report.rejected, "rejected by the candidate alone"),
    ] {
        lines.push(format!("  {:>13}  {what}", show::thousands(count)));
    }
    if !report.examples.is_empty() {
        lines.push("  the first of them:".to_owned());
    }
    lines.extend(report.examples.iter().flat_map(example));
    lines.extend(report.current.iter().flat_map(current));
    lines.join("\n")
}

/// What would become of current rows.
fn current(current: &CurrentRows) -> Vec<String> {
    if let Some(reason) = &current.refused {
        return vec![format!("  current rows are not compared: {}", show::told(reason))];
    }
    if !current.is_whole {
        return vec![format!(
            "  current rows are being compared: {} so far",
            show::thousands(current.rows)
        )];
    }
    let otherwise = current.added + current.missing + current.changed;
    let mut lines = vec![format!(
        "  {} of {} current rows would become others if it took over behind sequence {}",
        show::thousands(otherwise),
        show::thousands(current.rows),
        show::thousands(current.sequence)
    )];
    for (count, what) in [
        (current.added, "let through by the candidate alone"),
        (current.missing, "let through by the live version alone"),
        (current.changed, "let through by both, otherwise"),
    ] {
        lines.push(format!("  {:>13}  {what}", show::thousands(count)));
    }
    if let Some(reason) = &current.stays_out {
        lines.push(format!("  it would not come into force: {}", show::told(reason)));
    }
    if !current.examples.is_empty() {
        lines.push("  the first of them:".to_owned());
    }
    for CurrentExample { key, live, candidate } in &current.examples {
        let key: Vec<String> = key.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        lines.push(format!("    {}", key.join(", ")));
        lines.push(format!("      live       {live}"));
        lines.push(format!("      candidate  {candidate}"));
    }
    lines
}

fn example(example: &ShadowExample) -> Vec<String> {
    let input: Vec<String> = example
        .input
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    let mut lines = vec![format!(
        "    sequence {}: {}",
        show::thousands(example.sequence),
        input.join(", ")
    )];
    for (who, what) in [("live", &example.live), ("candidate", &example.candidate)] {
        for (at, line) in what.iter().enumerate() {
            lines.push(format!("      {:<10} {line}", if at == 0 { who } else { "" }));
        }
    }
    lines
}

impl Promote {
    fn run(self) -> Result<ExitCode> {
        let signing = self.saying.signing.read()?;
        let host = stage_host()?;
        let base = load_plan(&self.pipeline.file()?, &host, None)?;
        base.stage(&self.step)?;
        let target = Target::new(&host, base, self.step, &self.saying.registry, &self.nats)?.signing(signing);
        let Some(candidate) = target.registry.shadow(&target.plan.name, &target.step)? else {
            return Err(Error::definition(format!(
                "no candidate runs beside step \"{}\" of pipeline {}; `weir shadow start` starts one",
                target.step, target.plan.name
            )));
        };
        if !target.vouched(Entry::candidate(&target.plan.name, &target.step), &candidate) {
            return Err(Error::definition(format!(
                "the candidate beside step \"{}\" of pipeline {} is not signed by anybody whom the pipeline file trusts, and is not \
                 signed for them: start it anew with --sign-with, or deploy the module",
                target.step, target.plan.name
            )));
        }
        let module = target.module_of(Some(&candidate))?;
        let deployed = target.deploy(&self.saying, |before| {
            target.check(&module, candidate.parameters.clone(), before, self.saying.again)?;
            Ok(Deployment {
                digest: candidate.digest.clone(),
                parameters: candidate.parameters.clone(),
                ..Default::default()
            })
        })?;
        target.registry.set_shadow(&target.plan.name, &target.step, None)?;
        target.wait(&deployed, &self.saying)
    }
}

impl Stop {
    fn run(self) -> Result<ExitCode> {
        let host = stage_host()?;
        let base = load_plan(&self.pipeline.file()?, &host, None)?;
        base.stage(&self.step)?;
        let target = Target::new(&host, base, self.step, &RegistryArguments::default(), &self.nats)?;
        target.registry.set_shadow(&target.plan.name, &target.step, None)?;
        if terminal::is_json() {
            terminal::stdout()
                .json(&json!({ "pipeline": target.plan.name, "step": target.step, "candidate": null }))?;
            return Ok(ExitCode::SUCCESS);
        }
        answer!(
            "no candidate runs beside step {} of pipeline {} any more",
            target.step,
            target.plan.name
        )?;
        Ok(ExitCode::SUCCESS)
    }
}
