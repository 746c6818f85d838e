//! What the registry hears of a running pipeline: what it does, and what became of deployments.

use super::Worker;
use crate::{
    engine::Shadow,
    model::deployment::Outcome,
    runtime::status::{HostStatus, StepStatus},
};
use serde::Serialize;
use std::time::{Duration, Instant};

/// The shortest time over which a speed is measured.
const RATE_SPAN_MIN: Duration = Duration::from_millis(500);

/// What became of a deployment, as it is announced.
#[derive(Debug, Serialize)]
struct Event<'a> {
    what: &'a str,
    pipeline: &'a str,
    step: &'a str,
    version: u64,
    host: &'a str,
    sequence: u64,
    reason: Option<&'a str>,
}

impl Worker {
    pub(super) fn announce(&self, what: &str, step: &str, version: u64, sequence: u64, reason: Option<&str>) {
        let event = Event {
            what,
            pipeline: &self.running.name,
            step,
            version,
            host: &self.subject.host,
            sequence,
            reason,
        };
        let Some(hosts) = &self.hosts else { return };
        hosts.announce(&self.running.name, step, &event);
        if version == 0 || what == "in-force" {
            return;
        }
        let outcome = Outcome {
            version,
            what: what.to_owned(),
            sequence,
            reason: reason.map(str::to_owned),
            process: process(),
            database: self.subject.database.clone(),
            at_ms: jiff::Timestamp::now().as_millisecond(),
        };
        hosts.put_outcome(&self.running.name, step, &self.subject.host, &outcome);
    }

    /// A step with what is on its way to it, and beside it.
    fn told_step(&self, step: &StepStatus) -> StepStatus {
        let running = self.shadows.get(&step.step).map(Shadow::report);
        StepStatus {
            waits: self.waits(&step.step),
            shadow: running.or_else(|| self.refused_shadows.get(&step.step).cloned()),
            ..step.clone()
        }
    }

    /// How many messages wait in the outbox.
    fn waiting(&mut self) -> Option<u64> {
        if !self.running.publishes() {
            return None;
        }
        if self.outbox.is_none() {
            self.outbox = self.subject.backend.outbox(&self.running.name).ok();
        }
        self.outbox.as_ref()?.waiting().ok()
    }

    /// How many deliveries were committed in a second since the last call.
    fn events_per_s(&mut self) -> u64 {
        let events = self.subject.metrics.events();
        let (before, since) = std::mem::replace(&mut self.counted, (events, Instant::now()));
        let seconds = since.elapsed().as_secs_f64().max(1e-3);
        (events.saturating_sub(before) as f64 / seconds) as u64
    }

    pub(super) fn report(&mut self) {
        let outbox = self.waiting();
        // Two changes soon after each other say nothing about the speed.
        if self.counted.1.elapsed() >= RATE_SPAN_MIN {
            self.events_per_s = self.events_per_s();
        }
        let metrics = &self.subject.metrics;
        let waiting = self.subject.lag.waiting(metrics.events());
        metrics.pipeline.lag_messages.set(Some(waiting.messages));
        metrics.pipeline.outbox_messages.set(outbox);
        let shown = |time: Option<jiff::Timestamp>| time.map(|time| format!("{time:.0}"));
        let status = HostStatus {
            pipeline: self.running.name.clone(),
            host: self.subject.host.clone(),
            process: process(),
            database: self.subject.database.clone(),
            position: metrics.pipeline.position.get(),
            lag: waiting.messages,
            lag_unknown_since: shown(waiting.unknown_since),
            paused_until: shown(waiting.paused_until),
            counts: metrics.counts().into(),
            failed_rows: metrics.pipeline.failed_rows.get(),
            events_per_s: self.events_per_s,
            watermark_ms: metrics.pipeline.watermark.get_ms(),
            late_rows: metrics.late_rows(),
            outbox,
            said_ms: jiff::Timestamp::now().as_millisecond(),
            commit_age_ms: metrics
                .last_commit()
                .map(|committed| committed.elapsed().as_millis() as u64),
            step_metrics: metrics.step_numbers(),
            module_metrics: metrics.module_numbers(),
            registry: self.waits_for_registry.clone(),
            trust: Some(self.base.trust.clone()).filter(|trust| !trust.is_open()),
            steps: self.steps.iter().map(|step| self.told_step(step)).collect(),
        };
        if let Some(hosts) = &self.hosts {
            hosts.put(&self.running.name, &self.subject.host, &status);
        }
        self.reported = Some(Instant::now());
    }
}

/// The machine, and this process on it.
fn process() -> String {
    format!("{} {}", machine(), std::process::id())
}

/// The name of this machine.
pub(crate) fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
    name.map_or_else(|_| "?".to_owned(), |name| name.trim().to_owned())
}
