//! The options of those who sign deployments and of those who ask for signatures, and what a command that signs may take from
//! the registry.

use crate::{
    error::{Error, Result},
    limits::{SIGNED_FOR_MIN, TRUSTED_KEYS_MAX},
    model::deployment::{Deployment, Signer},
    plan::Plan,
    trust::{Entry, Key, Policy},
};
use jiff::{Span, SpanRelativeTo};
use std::{path::PathBuf, sync::Arc};

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
    pub(super) fn public(&self) -> &str {
        self.key.public()
    }

    /// As one whom others may trust.
    pub(super) fn signer(&self) -> Signer {
        Signer {
            key: self.public().to_owned(),
            name: Some("this-session".to_owned()),
        }
    }

    pub(super) fn sign(&self, entry: Entry<'_>, deployment: Deployment) -> Result<Deployment> {
        let expires_ms = self.valid_for_ms.map(|ms| deployment.at_ms.saturating_add(ms));
        self.key.sign(entry, deployment, expires_ms)
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
