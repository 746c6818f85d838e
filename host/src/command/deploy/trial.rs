//! The end of a trial, waited for.

use super::{Patience, Target, until_next_look};
use crate::{
    command::show,
    command::terminal::answer,
    error::{Error, Result},
    model::deployment::Deployment,
    runtime::status::{HostStatus, StepStatus},
    text::printable,
};
use std::{process::ExitCode, time::Instant};

/// What became of a trial at a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Passed,
    TakenBack,
    /// It was refused, overtaken, or the host is gone.
    Neither,
}

/// Waits until the trial of `deployed` is over at each of the `hosts`, and prints what became of it: 0 where it passed
/// everywhere, 3 where a host took it back, else 1.
pub(super) fn wait(
    target: &Target<'_>,
    deployed: &Deployment,
    hosts: &[String],
    patience: Patience,
) -> Result<ExitCode> {
    let begun = Instant::now();
    let mut ends: Vec<(String, End)> = Vec::new();
    while ends.len() < hosts.len() {
        let found: Vec<HostStatus> = target.registry.hosts(Some(&target.plan.name))?;
        for name in hosts {
            if ends.iter().any(|(ended, _)| ended == name) {
                continue;
            }
            let host = found.iter().find(|host| host.host == *name);
            let step = host.and_then(|host| host.steps.iter().find(|step| step.step == target.step));
            let (end, said) = match (host, step) {
                (Some(host), Some(step)) => match end_of(step, deployed) {
                    Some((end, said)) => (end, format!("{}, {}: {said}", host.process, printable(&host.database))),
                    None => continue,
                },
                _ => (
                    End::Neither,
                    format!("host {name} ended before the trial did; it goes on when the host does"),
                ),
            };
            answer!("  {said}")?;
            ends.push((name.clone(), end));
        }
        if ends.len() < hosts.len() && patience.0.is_some_and(|most| begun.elapsed() > most) {
            return Err(Error::environment(format!(
                "the trial of version {} is not over at {} of {} hosts after {}; `weir history` says what becomes of it",
                deployed.version,
                hosts.len() - ends.len(),
                hosts.len(),
                show::seconds(begun.elapsed())
            )));
        }
        std::thread::sleep(until_next_look(begun));
    }
    let any = |wanted: End| ends.iter().any(|(_, end)| *end == wanted);
    Ok(match (any(End::TakenBack), any(End::Neither) || ends.is_empty()) {
        (true, _) => ExitCode::from(3),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    })
}

fn end_of(step: &StepStatus, deployed: &Deployment) -> Option<(End, String)> {
    if let Some(failed) = step.failed.as_ref().filter(|failed| failed.version == deployed.version) {
        let reason = show::told(&failed.reason);
        return Some(match failed.taken_back {
            true => (
                End::TakenBack,
                format!(
                    "taken back from sequence {} on: {reason}",
                    show::thousands(failed.sequence)
                ),
            ),
            false => (End::Neither, format!("refused: {reason}")),
        });
    }
    let running = step.deployment.version;
    if running > deployed.version {
        return Some((End::Neither, format!("overtaken by version {running}")));
    }
    (running == deployed.version && step.trial_left == 0).then(|| {
        let by_fallback = show::count(step.by_fallback, "row");
        (
            End::Passed,
            format!("passed its trial; {by_fallback} were decided by the version before"),
        )
    })
}
