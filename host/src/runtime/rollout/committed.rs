//! What commits made of versions: in force, past their trial, or taken back.

use super::{InFlight, Worker};
use crate::{
    error::Error,
    model::deployment::{Committed, InForce, RefusedVersion, StoredVersion, VersionChange},
    runtime::status::{FailedVersion, StepStatus},
    text::printable,
};

impl Worker {
    pub(super) fn committed(&mut self, committed: Committed) {
        let pause_us = committed.pauses.last().map(|pause| pause.as_micros() as u64);
        for change in committed.changes {
            self.remember(&change);
            match change {
                VersionChange::InForce(in_force) => self.in_force(&in_force, pause_us),
                VersionChange::Refused(refused) => self.refused(refused),
                VersionChange::Trial(trial) => {
                    let step = trial.step.clone();
                    let Some(status) = self.steps.iter_mut().find(|status| status.step == step) else {
                        continue;
                    };
                    status.trial_left = trial.left;
                    status.by_fallback = trial.by_fallback.len() as u64;
                    // At a start it is not the one that runs: the host died of it.
                    let judged = self.known.iter().rfind(|known| known.step == step);
                    let version = judged.map_or(status.deployment.version, |judged| judged.deployment.version);
                    if let (Some(reason), Some(judged)) = (&trial.taken_back, judged) {
                        let sequence = trial.taken_back_from();
                        tracing::warn!(
                            pipeline = self.running.name,
                            step,
                            version,
                            sequence,
                            "version {version} of step {step} of pipeline {} is taken back from sequence {sequence} on: {}",
                            self.running.name,
                            printable(reason)
                        );
                        status.failed = Some(FailedVersion::of(judged));
                        self.announce("taken-back", &step, version, sequence, Some(reason));
                    } else if trial.left == 0 {
                        self.passed(&step, version);
                    }
                }
            }
        }
        if !committed.pauses.is_empty() {
            self.arrived();
        }
        self.report();
    }

    /// The trial of a version is over, and it stays.
    fn passed(&mut self, step: &str, version: u64) {
        // Where the next one is on its way already, what that falls back on stays.
        if let Some(of_step) = self.versions.get_mut(step)
            && of_step
                .live
                .as_ref()
                .is_some_and(|live| live.deployment.version == version)
        {
            of_step.fallback = None;
        }
        let position = self.subject.metrics.pipeline.position.get();
        self.announce("passed", step, version, position, None);
    }

    /// Keeps what the database knows by now.
    fn remember(&mut self, change: &VersionChange) {
        match change {
            VersionChange::InForce(in_force) => {
                let same = |known: &StoredVersion| {
                    known.step == in_force.step && known.first_sequence == in_force.first_sequence
                };
                self.known.retain(|known| !same(known));
                self.known.push(StoredVersion::of(in_force));
            }
            VersionChange::Refused(_) => {}
            VersionChange::Trial(trial) => {
                if let Some(last) = self.known.iter_mut().rfind(|known| known.step == trial.step) {
                    last.trial = trial.clone();
                }
            }
        }
    }

    /// What was in flight does not run.
    fn refused(&mut self, refused: RefusedVersion) {
        let RefusedVersion { step, version, reason } = refused;
        let is_it = |in_flight: &mut InFlight| in_flight.step == step && in_flight.version == Some(version);
        if let Some(in_flight) = self.in_flight.take_if(is_it) {
            let mut before = in_flight.before;
            // Its trial may have ended meanwhile.
            let known = self.known.iter().rfind(|known| known.step == step);
            if known.is_some_and(|known| known.trial.left == 0) {
                before.fallback = None;
            }
            self.versions.insert(step.clone(), before);
        }
        self.refuse(&step, version, &Error::definition(reason));
    }

    /// What was in flight runs.
    fn arrived(&mut self) {
        if let Some(in_flight) = self.in_flight.take() {
            self.running = in_flight.plan;
        }
    }

    fn in_force(&mut self, in_force: &InForce, pause_us: Option<u64>) {
        let (step, version) = (&in_force.step, in_force.deployment.version);
        let in_flight = self.in_flight.as_ref().filter(|in_flight| in_flight.step == *step);
        let on_its_way = in_flight.and_then(|in_flight| in_flight.version);
        let overtaken = on_its_way.is_some_and(|on_its_way| on_its_way != version);
        if on_its_way == Some(version) {
            self.arrived();
        }
        // What is in force after a version was taken back is what it fell back on. Where the next version is on its way
        // already, that stays the one that will run.
        if !overtaken
            && let Some(of_step) = self.versions.get_mut(step)
            && of_step
                .live
                .as_ref()
                .is_some_and(|live| live.deployment != in_force.deployment)
            && of_step
                .fallback
                .as_ref()
                .is_some_and(|good| good.deployment == in_force.deployment)
        {
            of_step.live = of_step.fallback.take();
        }
        let guest = self.versions.get(step).and_then(|of_step| of_step.live.as_ref());
        let rule = guest.map(|guest| {
            let description = &guest.module.description;
            format!("{} {}", description.name, description.version)
        });
        if let Some(status) = self.steps.iter_mut().find(|status| status.step == *step) {
            *status = StepStatus {
                step: step.clone(),
                deployment: in_force.deployment.clone(),
                digest: in_force.module.0.clone(),
                rule: rule.unwrap_or_default(),
                first_sequence: in_force.first_sequence,
                trial_left: in_force.trial_left,
                by_fallback: 0,
                pause_us,
                // Another entry of the same number may have been refused.
                failed: status
                    .failed
                    .take()
                    .filter(|failed| failed.taken_back || failed.version != version),
                waits: None,
                shadow: None,
            };
        }
        let known = self.known.iter().filter(|known| known.step == *step).count();
        if version == 0 && known > 1 && self.taken_back_at(in_force).is_none() {
            let on_trial = match in_force.trial_left {
                0 => String::new(),
                left => format!(", on trial for {left} rows"),
            };
            tracing::info!(
                pipeline = self.running.name,
                step,
                sequence = in_force.first_sequence,
                "step {step} of pipeline {} runs what its file says by now, module {}, from sequence {}{on_trial}",
                self.running.name,
                in_force.module.0.get(..12).unwrap_or_default(),
                in_force.first_sequence
            );
        }
        if version > 0 {
            tracing::info!(
                pipeline = self.running.name,
                step,
                version,
                sequence = in_force.first_sequence,
                "version {version} of step {step} of pipeline {} is in force from sequence {}",
                self.running.name,
                in_force.first_sequence
            );
        }
        self.announce("in-force", step, version, in_force.first_sequence, None);
    }

    /// The version that was taken back where this one is in force from.
    fn taken_back_at(&self, in_force: &InForce) -> Option<&StoredVersion> {
        let before = self
            .known
            .iter()
            .filter(|known| known.step == in_force.step)
            .rev()
            .nth(1);
        before.filter(|before| before.trial.taken_back.is_some())
    }
}
