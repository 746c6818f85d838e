//! The options of those who sign deployments and of those who ask for signatures, and what a command that signs may take from
//! the registry.

use super::deploy::Target;
use crate::{
    error::{Error, Result},
    limits::{SIGNED_AHEAD_MAX, SIGNED_FOR_MIN, TRUSTED_KEYS_MAX},
    model::deployment::{Deployment, Signer},
    plan::Plan,
    runtime::status::HostStatus,
    say,
    text::printable,
    trust::{Entry, Key, Policy},
};
use jiff::{Span, SpanRelativeTo};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

/// How a deployment is signed.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Signature")]
pub(super) struct SigningArguments {
    /// Sign with the nkey of a user, whose seed is in this file, as `nsc` and `nk` write it. Nobody but its owner may have
    /// rights to the file. `-` is standard input; a pipe will do too, so that a key need not lie in a file.
    #[arg(long, value_name = "FILE.nk", env = "WEIR_SIGN_WITH")]
    sign_with: Option<PathBuf>,
    /// How long hosts may take what is signed, such as 30d or 12h. What is in force by then stays. [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = parse_validity, requires = "sign_with")]
    valid_for: Option<i64>,
}

/// How long a signature is good, in milliseconds. Days have 24 hours.
fn parse_validity(text: &str) -> Result<i64, String> {
    let span = text.parse::<Span>().ok();
    let duration = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let ms = duration.and_then(|duration| i64::try_from(duration.as_millis()).ok());
    let least = SIGNED_FOR_MIN.as_millis() as i64;
    ms.filter(|&ms| ms >= least).ok_or_else(|| {
        let least = SIGNED_FOR_MIN.as_secs();
        format!("accepted is a duration of {least} s or more, such as \"30d\", \"12h\" or \"1 h 30 min\"")
    })
}

impl SigningArguments {
    /// Reads the key, where there is to be a signature.
    pub(super) fn read(&self) -> Result<Option<Signing>> {
        let read = |path: &PathBuf| {
            Ok(Signing {
                key: Arc::new(Key::read(path, "--sign-with")?),
                valid_for_ms: self.valid_for,
            })
        };
        self.sign_with.as_ref().map(read).transpose()
    }
}

/// Whom a host trusts, beside what its pipeline files say.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Signatures")]
pub(super) struct TrustArguments {
    /// Trust deployments that are signed with this public key of a user: U…, or NAME=U…; may be given several times. Where
    /// a pipeline file has a list too, a key counts that is in both.
    // Not parsed by clap, which repeats what it refuses: somebody may give a seed.
    #[arg(long = "trust-key", value_name = "KEY")]
    keys: Vec<String>,
    /// Take no deployment that is not signed, whatever the pipeline files say.
    #[arg(long)]
    require_signatures: bool,
}

impl TrustArguments {
    /// As one policy.
    ///
    /// # Errors
    /// When there are too many keys, or one is none.
    pub(super) fn policy(&self) -> Result<Policy> {
        let parsed = |key: &String| {
            let signer: Result<Signer, String> = key.parse();
            signer.map_err(|reason| Error::definition(format!("--trust-key: {reason}")))
        };
        let keys: Vec<Signer> = self.keys.iter().map(parsed).collect::<Result<_>>()?;
        if self.keys.len() > TRUSTED_KEYS_MAX {
            return Err(Error::definition(format!(
                "--trust-key is given {} times; accepted are up to {TRUSTED_KEYS_MAX}",
                self.keys.len()
            )));
        }
        Ok(Policy {
            keys: Some(keys).filter(|keys| !keys.is_empty()),
            require: self.require_signatures,
        })
    }
}

/// What a command signs with.
#[derive(Clone, Debug)]
pub(super) struct Signing {
    key: Arc<Key>,
    valid_for_ms: Option<i64>,
}

impl Signing {
    /// Of a session that deploys to nobody but itself.
    pub(super) fn for_now() -> Self {
        Self {
            key: Arc::new(Key::for_now()),
            valid_for_ms: None,
        }
    }

    /// The public key.
    fn public(&self) -> &str {
        self.key.public()
    }

    /// As one whom others may trust.
    pub(super) fn signer(&self) -> Signer {
        Signer {
            key: self.public().to_owned(),
            name: Some("this-session".to_owned()),
        }
    }

    fn sign(&self, entry: Entry<'_>, deployment: Deployment) -> Result<Deployment> {
        let expires_ms = self.valid_for_ms.map(|ms| deployment.at_ms.saturating_add(ms));
        self.key.sign(entry, deployment, expires_ms)
    }
}

impl Target<'_> {
    /// Signs what is about to be written, where this is to be signed.
    pub(super) fn signed(&self, entry: Entry<'_>, deployment: Deployment) -> Result<Deployment> {
        match &self.signing {
            None => Ok(deployment),
            Some(signing) => signing.sign(entry, deployment),
        }
    }

    /// Whether the pipeline file and the running hosts take what this command would write, as far as signatures go. It is better
    /// not written else: the last deployment is what a new database begins with.
    ///
    /// # Errors
    /// When one of them says that it would not.
    pub(super) fn check_signer(&self, hosts: &[HostStatus]) -> Result<()> {
        let key = self.signing.as_ref().map(Signing::public);
        let refused = |who: String, reason: String| {
            let way_out = match key {
                None => "sign it, with --sign-with FILE.nk",
                Some(_) => "sign it with another key",
            };
            Err(Error::definition(format!(
                "{who} {reason}: {way_out}; nothing was deployed"
            )))
        };
        if let Err(reason) = self.plan.trust.accepts(key) {
            let file = self.plan.file.path.display().to_string();
            return refused(format!("the pipeline file {}", printable(&file)), reason);
        }
        for host in hosts {
            if let Some(Err(reason)) = host.trust.as_ref().map(|trust| trust.accepts(key)) {
                return refused(
                    printable(&format!("the host {}, {},", host.process, host.database)),
                    reason,
                );
            }
        }
        Ok(())
    }

    /// Whether a deployment was signed by somebody whom the signer may take things over from: themselves, or one whom the
    /// pipeline file trusts. Who does not sign takes whatever is there.
    pub(super) fn vouched(&self, entry: Entry<'_>, deployment: &Deployment) -> bool {
        let Some(signing) = &self.signing else { return true };
        let mut keys = self.plan.trust.keys.clone().unwrap_or_default();
        keys.push(self.plan.trust.signer(signing.public()));
        let known = Policy {
            keys: Some(keys),
            require: true,
        };
        // Whether it came too late is no matter: it is what it was.
        let signed_ms = deployment.at_ms;
        let before_end = |end: i64| signed_ms.min(end.saturating_sub(1));
        let expires_ms = deployment.signature.as_ref().and_then(|signature| signature.expires_ms);
        known
            .check(entry, deployment, expires_ms.map_or(signed_ms, before_end))
            .is_ok()
    }

    /// The deployment that the next one goes on from: `before`, or where that is not signed by anybody whom the signer may trust, the
    /// last one that is. What a stranger wrote is not to come back with our signature.
    pub(super) fn basis(&self, before: Option<&Deployment>) -> Result<Option<Deployment>> {
        let entry = Entry::live(&self.plan.name, &self.step);
        let Some(before) = before.filter(|before| !self.vouched(entry, before)) else {
            return Ok(before.cloned());
        };
        let history = self.vouched_history()?;
        let basis = history.into_iter().next_back();
        say!(
            Warning,
            "weir: version {} of step {} of pipeline {} is not signed by anybody whom the pipeline file trusts: nothing of it is \
             taken over, and {} is what this goes on from",
            before.version,
            self.step,
            self.plan.name,
            match &basis {
                Some(basis) => format!("version {}", basis.version),
                None => "the pipeline file".to_owned(),
            }
        );
        Ok(basis)
    }

    /// The deployments of the step, oldest first, without those of strangers where this is to be signed.
    pub(super) fn vouched_history(&self) -> Result<Vec<Deployment>> {
        let mut history = self.registry.history(&self.plan.name, &self.step)?;
        let entry = Entry::live(&self.plan.name, &self.step);
        history.retain(|deployment| self.vouched(entry, deployment));
        Ok(history)
    }

    /// The parameters that are in force at a host, as it says; nothing where they are not to be trusted.
    pub(super) fn parameters_told(&self, told: &Deployment) -> Option<BTreeMap<String, toml::Value>> {
        let entry = Entry::live(&self.plan.name, &self.step);
        let of_file = told.version == 0 || told.of_file;
        match self.signing.is_some() && (of_file || !self.vouched(entry, told)) {
            true => None,
            false => Some(told.parameters.clone()),
        }
    }

    /// When this is signed: now, or right after the last that was signed by somebody whom the signer knows, where that clock is a
    /// little ahead of ours.
    pub(super) fn time_of_signing(&self, hosts: &[HostStatus], before: Option<&Deployment>) -> i64 {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        if self.signing.is_none() {
            return now_ms;
        }
        let steps = hosts.iter().flat_map(|host| &host.steps);
        let told = steps
            .filter(|step| step.step == self.step)
            .map(|step| &step.deployment)
            .chain(before);
        // What a host says was signed need not be: that would put the wrong time on what we sign.
        let entry = Entry::live(&self.plan.name, &self.step);
        let signed = told.filter(|deployment| deployment.signature.is_some() && self.vouched(entry, deployment));
        let latest_ms = signed.map(|deployment| deployment.at_ms).max().unwrap_or(0);
        let ahead_max_ms = SIGNED_AHEAD_MAX.as_millis() as i64;
        match latest_ms >= now_ms && latest_ms < now_ms.saturating_add(ahead_max_ms) {
            true => latest_ms + 1,
            false => now_ms,
        }
    }
}

/// By whom a deployment was signed and until when it may be taken, behind something else; nothing where it was not.
pub(super) fn signed_by(plan: &Plan, deployment: &Deployment) -> String {
    let Some(signature) = &deployment.signature else {
        return String::new();
    };
    let until = signature.expires_ms;
    let until = until.map(|ms| format!(", to be taken until {}", crate::trust::instant(ms)));
    format!(
        "\n  signed by {}{}",
        plan.trust.signer(&signature.key),
        until.unwrap_or_default()
    )
}
