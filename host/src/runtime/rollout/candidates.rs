//! Candidates: versions that run beside a step and decide nothing.

use super::{InFlight, Worker};
use crate::{
    engine::{ComparisonReady, Shadow, ShadowReport, Successor},
    error::{ErrorKind, Result},
    limits::BATCH_EVENTS_MAX,
    model::deployment::Deployment,
    plan::{Plan, StepVersions, Versions},
    trust::Role,
};
use std::sync::Arc;

impl Worker {
    pub(super) fn roll_out_shadow(&mut self, step: String, candidate: Option<Deployment>) {
        match self.prepare_shadow(&step, candidate.as_ref()) {
            Ok(None) => {}
            Ok(Some((successor, plan))) => {
                let in_flight = InFlight {
                    before: self.of_step(&step),
                    step,
                    version: None,
                    plan,
                };
                self.send(Box::new(successor), in_flight);
            }
            Err(error) if error.kind() == ErrorKind::Environment => {
                self.wanted_shadows.entry(step.clone()).or_insert(candidate);
                self.wait_for(Role::Candidate, &step, &error);
            }
            Err(error) => {
                tracing::warn!(
                    pipeline = self.running.name,
                    step,
                    "the candidate for step {step} of pipeline {} is refused: {error}",
                    self.running.name
                );
                let report = ShadowReport {
                    candidate: candidate.unwrap_or_default(),
                    refused: Some(error.to_string()),
                    ..Default::default()
                };
                self.refused_shadows.insert(step, report);
                self.report();
            }
        }
    }

    /// The plan with a candidate beside a step, or without; nothing where that changes nothing.
    fn prepare_shadow(&mut self, step: &str, candidate: Option<&Deployment>) -> Result<Option<(Successor, Arc<Plan>)>> {
        self.refused_shadows.remove(step);
        if let Some(candidate) = candidate {
            self.check_trusted_candidate(step, candidate)?;
        }
        let running = self.shadows.get(step).map(|shadow| shadow.report().candidate);
        if running.as_ref() == candidate {
            return Ok(None);
        }
        let shadow = match candidate {
            None => None,
            Some(deployment) => Some(self.version_of(step, deployment)?),
        };
        let mut versions = self.versions.clone();
        versions.entry(step.to_owned()).or_default().shadow = shadow;
        let plan = Arc::new(self.base.again(&self.host, &versions)?);
        let mut successor = Successor::prepare(&self.running, plan.clone(), &self.host, BATCH_EVENTS_MAX)?;
        let feed = match candidate {
            None => {
                self.shadows.remove(step);
                None
            }
            Some(_) => {
                let (shadow, feed) = Shadow::start(&plan, step, &self.host)?;
                self.shadows.insert(step.to_owned(), shadow);
                Some(feed)
            }
        };
        successor.shadows.push((step.to_owned(), feed));
        successor.comparisons = self.comparisons(&plan, &versions)?;
        self.versions = versions;
        Ok(Some((successor, plan)))
    }

    /// For each candidate that runs: what it is compared with over current rows, once `plan` runs, which has these versions.
    pub(super) fn comparisons(&self, plan: &Arc<Plan>, versions: &Versions) -> Result<Vec<ComparisonReady>> {
        let mut comparisons = Vec::new();
        for (step, shadow) in &self.shadows {
            let mut would = versions.clone();
            let of_step = would.entry(step.clone()).or_default();
            // All that are there stay, so that the same columns are read.
            *of_step = StepVersions {
                live: of_step.shadow.take(),
                fallback: of_step.live.take(),
                shadow: of_step.fallback.take(),
            };
            let would = self.base.again(&self.host, &would).map(Arc::new);
            comparisons.extend(shadow.compare(step, plan, would, &self.host)?);
        }
        Ok(comparisons)
    }
}
