//! What a running pipeline says of itself, for people and for those who wait for a deployment.

use crate::{
    engine::ShadowReport,
    metrics::{ModuleNumbers, StepNumbers},
    model::{deployment::Deployment, turn::Counts},
    trust::Policy,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A running pipeline.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HostStatus {
    /// The pipeline.
    pub pipeline: String,
    /// The host: a name that no other has.
    pub host: String,
    /// The machine, and the process on it.
    pub process: String,
    /// The database, as the host was told of it.
    pub database: String,
    /// The last sequence that is committed.
    pub position: u64,
    /// How many messages are not committed: those that wait at the server, as it says, and those under way.
    pub lag: u64,
    /// Since when `lag` is not known, in RFC 3339: the server does not answer. It is what was known then.
    #[serde(default)]
    pub lag_unknown_since: Option<String>,
    /// Until when somebody paused the consumer, in RFC 3339, where the host could not undo that.
    #[serde(default)]
    pub paused_until: Option<String>,
    /// What became of the deliveries since the start.
    pub counts: CountsStatus,
    /// Rows that made a guest trap, run too long, or answer wrongly, since the start.
    pub failed_rows: u64,
    /// Deliveries that were committed in a second, since the host said so before.
    #[serde(default)]
    pub events_per_s: u64,
    /// Where the watermark stands, in milliseconds since 1970-01-01T00:00:00Z; where some step follows it.
    #[serde(default)]
    pub watermark_ms: Option<i64>,
    /// Rows that came too late since the start, by step.
    #[serde(default)]
    pub late_rows: BTreeMap<String, u64>,
    /// Messages that wait in the outbox; nothing for a pipeline without.
    #[serde(default)]
    pub outbox: Option<u64>,
    /// When the host said all this, in milliseconds since 1970-01-01T00:00:00Z.
    #[serde(default)]
    pub said_ms: i64,
    /// How long before that it had committed last; nothing before the first commit since the start.
    #[serde(default)]
    pub commit_age_ms: Option<u64>,
    /// The numbers of its steps since the start, in the order of the pipeline.
    #[serde(default)]
    pub step_metrics: Vec<StepNumbers>,
    /// The numbers of the versions of modules that were called since the start.
    #[serde(default)]
    pub module_metrics: Vec<ModuleNumbers>,
    /// Why deployments do not reach it, where they do not.
    #[serde(default)]
    pub registry: Option<String>,
    /// Whose signatures it takes, where it asks for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Policy>,
    /// The stages, in the order of the pipeline.
    pub steps: Vec<StepStatus>,
}

/// See [`Counts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountsStatus {
    /// Deliveries.
    pub events: u64,
    /// Reached a state, a table or another sink.
    pub applied: u64,
    /// Left out.
    pub filtered: u64,
    /// Could not be processed.
    pub dead_letters: u64,
    /// Had an empty payload, or were ticks.
    #[serde(alias = "blank")]
    pub empty: u64,
    /// Rows that came too late for a step.
    #[serde(default)]
    pub late_rows: u64,
    /// Events that were too far ahead to move the watermark.
    #[serde(default)]
    pub ahead_events: u64,
    /// Rows that came because time went on, and that a rule could not take.
    #[serde(default)]
    pub dead_rows: u64,
}

impl From<Counts> for CountsStatus {
    fn from(counts: Counts) -> Self {
        Self {
            events: counts.events,
            applied: counts.applied,
            filtered: counts.filtered,
            dead_letters: counts.dead_letters,
            empty: counts.empty,
            late_rows: counts.late_rows,
            ahead_events: counts.ahead_events,
            dead_rows: counts.dead_rows,
        }
    }
}

/// A stage of a running pipeline.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StepStatus {
    /// The step.
    pub step: String,
    /// What decides.
    pub deployment: Deployment,
    /// The SHA-256 of its component.
    pub digest: String,
    /// The name and version of the rule, as it says.
    pub rule: String,
    /// The first sequence that it decides over.
    pub first_sequence: u64,
    /// Rows that it is still on trial for.
    pub trial_left: u64,
    /// Rows of its trial at which it failed and the version before it decided.
    #[serde(alias = "spoiled")]
    pub by_fallback: u64,
    /// How long its swap held up the data path, in microseconds.
    pub pause_us: Option<u64>,
    /// The last deployment that did not stay, and why.
    pub failed: Option<FailedVersion>,
    /// The deployment that is tried again and again until something is there that it takes, and what that is.
    #[serde(default)]
    pub waits: Option<WaitingVersion>,
    /// The candidate that sees the same rows.
    #[serde(default)]
    pub shadow: Option<ShadowReport>,
}

/// A deployment that cannot come into force yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingVersion {
    /// Its number.
    pub version: u64,
    /// What the machine or the server does not give.
    pub reason: String,
}

/// A deployment that is not in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FailedVersion {
    /// Which.
    pub version: u64,
    /// Whether it was in force before, and was taken back; else it never was.
    pub taken_back: bool,
    /// From which sequence on the version before it decides again; 0 when it never was in force.
    pub sequence: u64,
    /// Why.
    pub reason: String,
    /// The SHA-256 of its component, where it was taken back.
    #[serde(default)]
    pub digest: String,
    /// Its parameters.
    #[serde(default)]
    pub parameters: BTreeMap<String, toml::Value>,
}
