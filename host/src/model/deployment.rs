//! Deployments: which module a stage runs, with which parameters, since when, and by whom.
//!
//! A pipeline's file says what its stages run at first; that is version 0 of each. What is deployed later has the numbers
//! from 1. A database keeps every version that decided over rows of its tables, with the first stream sequence of each.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A module with parameters, in the place of a stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// From 1, per pipeline and step; 0 for what the pipeline file says.
    pub version: u64,
    /// SHA-256 of the component, in hexadecimal; absent for the module that the pipeline file names.
    pub digest: Option<String>,
    /// Every parameter that was set; the others have the rule's defaults.
    #[serde(default)]
    pub parameters: BTreeMap<String, toml::Value>,
    /// Who deployed it.
    #[serde(default)]
    pub by: String,
    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    #[serde(default)]
    pub at_ms: i64,
    /// Why.
    #[serde(default)]
    pub note: Option<String>,
    /// Whether the pipeline file has the word: module and parameters are those that it names, also when it is changed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub of_file: bool,
    /// Whether it may be tried although a database took back the same module with the same parameters.
    #[serde(default, skip_serializing_if = "is_false")]
    pub again: bool,
    /// Who stands for all of this, where somebody does. See [`crate::trust`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// A signature under a deployment: what it is made over is [`statement`](crate::trust::statement). The time of signing is
/// that of the deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// How the statement is written.
    pub form: u32,
    /// The public key of the signer, as NATS writes those of users: `U…`.
    pub key: String,
    /// When it is too late to take the deployment, in milliseconds since 1970-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<i64>,
    /// The 64 bytes, in base64 for URLs, without padding.
    pub value: String,
}

/// Who signed a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer {
    /// The public key.
    pub key: String,
    /// What the list of trusted keys calls its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Deployment {
    /// What those who watch guests call the one of this deployment at a step.
    pub fn whose(&self, step: &str) -> Whose {
        Whose {
            step: step.to_owned(),
            version: self.version,
            at_ms: self.at_ms,
            again: self.again,
            is_candidate: false,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What happened to the version of a step in a turn. It is committed with the turn.
#[derive(Clone, Debug)]
pub enum VersionChange {
    /// A version decides from some sequence on.
    InForce(Box<InForce>),
    /// The trial of the version in force went on, or ended.
    Trial(TrialRecord),
    /// A version did not come into force: what it would make of current rows cannot be. It is told, and not kept.
    Refused(RefusedVersion),
}

/// A version that was to take over and did not.
#[derive(Clone, Debug)]
pub struct RefusedVersion {
    /// The step.
    pub step: String,
    /// Its number.
    pub version: u64,
    /// Why.
    pub reason: String,
}

/// A version that decides from some sequence on.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The step.
    pub step: String,
    /// What decides.
    pub deployment: Deployment,
    /// The SHA-256 of its component, and the component itself, for a host that starts again without a registry.
    pub module: Component,
    /// The first stream sequence that it decides over.
    pub first_sequence: u64,
    /// Rows that it is on trial for.
    pub trial_left: u64,
    /// What decides where it fails on trial: not always the version that was in force before, which may have been on
    /// trial itself, or taken back.
    pub fallback: Option<(Deployment, Component)>,
}

/// A component with its SHA-256.
pub type Component = (String, Arc<[u8]>);

/// How the trial of a version goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrialRecord {
    /// The step.
    pub step: String,
    /// Rows that it is still on trial for.
    pub left: u64,
    /// The sequences at which it failed and the version before it decided.
    pub by_fallback: Vec<u64>,
    /// Why it was taken back.
    pub taken_back: Option<String>,
    /// The first sequence over which it does not decide any more, where it was taken back for something else than rows that
    /// the fallback decided: the host died of it.
    pub ended: Option<u64>,
}

impl TrialRecord {
    /// The first sequence over which it does not decide any more, where it was taken back.
    pub fn taken_back_from(&self) -> u64 {
        self.ended.or(self.by_fallback.last().map(|last| last + 1)).unwrap_or(0)
    }
}

/// A version as a database keeps it.
#[derive(Clone, Debug)]
pub struct StoredVersion {
    /// The step.
    pub step: String,
    /// What decided.
    pub deployment: Deployment,
    /// The SHA-256 of its component.
    pub digest: String,
    /// The first stream sequence that it decided over.
    pub first_sequence: u64,
    /// How its trial stood, or ended.
    pub trial: TrialRecord,
    /// What decided where it failed on trial.
    pub fallback: Option<Deployment>,
    /// Who signed it, where it was signed.
    pub signer: Option<Signer>,
}

impl StoredVersion {
    /// As a database keeps it from the turn on in which it came into force.
    pub fn of(in_force: &InForce) -> Self {
        Self {
            step: in_force.step.clone(),
            deployment: in_force.deployment.clone(),
            digest: in_force.module.0.clone(),
            first_sequence: in_force.first_sequence,
            trial: TrialRecord {
                step: in_force.step.clone(),
                left: in_force.trial_left,
                ..Default::default()
            },
            fallback: in_force.fallback.as_ref().map(|(deployment, _)| deployment.clone()),
            signer: in_force.deployment.signature.as_ref().map(|signature| Signer {
                key: signature.key.clone(),
                name: None,
            }),
        }
    }

    /// The first sequence over which it does not decide any more, where it was taken back.
    pub fn taken_back_from(&self) -> u64 {
        self.trial.taken_back_from()
    }
}

/// What became of a deployment at a database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which.
    pub version: u64,
    /// `passed` (its trial), `taken-back` or `refused`.
    pub what: String,
    /// From which sequence on the version before it decides again, or where its trial was over; 0 where it never was in
    /// force.
    pub sequence: u64,
    /// Why it did not stay.
    pub reason: Option<String>,
    /// The machine and the process.
    pub process: String,
    /// The database, as the host was told of it.
    pub database: String,
    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: i64,
}

/// What a commit made lasting, for those who wait for a swap.
#[derive(Debug)]
pub struct Committed {
    /// What happened to versions, in order.
    pub changes: Vec<VersionChange>,
    /// How long each swap held up the data path.
    pub pauses: Vec<Duration>,
}

/// Whose guest it is: which step, and which deployment put it there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whose {
    /// The step.
    pub step: String,
    /// The version; 0 for what the pipeline file says.
    pub version: u64,
    /// When it was deployed.
    pub at_ms: i64,
    /// Whether it may run although the host died of it before it was deployed.
    pub again: bool,
    /// Whether it decides nothing.
    pub is_candidate: bool,
}

impl Whose {
    /// That of a pipeline file.
    pub fn of_file(step: &str) -> Self {
        Self {
            step: step.to_owned(),
            ..Default::default()
        }
    }

    /// The same guest, beside the step.
    #[must_use]
    pub fn as_candidate(self) -> Self {
        Self {
            is_candidate: true,
            ..self
        }
    }
}
