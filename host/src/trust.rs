//! Who may deploy: signatures under deployments, and whom a host trusts.
//!
//! Whoever may write the registry may write anything into it. So a deployment may carry a [`Signature`] over everything
//! that decides what runs ([`statement`]), and a [`Policy`] says whose signatures count. It is asked before anything of a module is
//! fetched. A pipeline's file holds one ([`Plan::trust`](crate::plan::Plan)), a host may add another, and the stricter holds.
//!
//! **Invariants**: what is checked are the values that are used afterwards, never the text that they came as; a signature
//! that is there is checked also where none is asked for; a seed is in no message and no `Debug`.

mod key_file;
mod statement;

pub use key_file::Key;
pub(crate) use key_file::{check_no_seed, is_seed};
pub use statement::{Entry, Role, statement};

use crate::{
    definition::{Spanned, Trust},
    error::{Error, Result},
    limits::SIGNED_AHEAD_MAX,
    model::deployment::{Deployment, Signature, Signer},
    text::printable,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::{KeyPair, KeyPairType};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How statements are written that are signed by now.
const FORM: u32 = 1;

/// Whose signatures count, and whether there has to be one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The keys; where nothing is said of them, a signature that is right is as good as none.
    pub keys: Option<Vec<Signer>>,
    /// Whether what is not signed is refused.
    pub require: bool,
}

impl Policy {
    /// Whether it asks for nothing.
    pub fn is_open(&self) -> bool {
        self.keys.is_none() && !self.require
    }

    /// What holds where both say something: a signature is asked for where either asks, and a key counts where no list leaves
    /// it out.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let keys = match (&self.keys, &other.keys) {
            (Some(ours), Some(theirs)) => {
                let both = ours.iter().filter_map(|our| {
                    let their = theirs.iter().find(|their| their.key == our.key)?;
                    let name = our.name.clone().or_else(|| their.name.clone());
                    Some(Signer { name, ..our.clone() })
                });
                Some(both.collect())
            }
            (one, other) => one.clone().or_else(|| other.clone()),
        };
        Self {
            keys,
            require: self.require || other.require,
        }
    }

    /// The owner of a key, by name where the list has one.
    pub fn signer(&self, key: &str) -> Signer {
        let known = self.keys.iter().flatten().find(|known| known.key == key);
        known.cloned().unwrap_or_else(|| Signer {
            key: key.to_owned(),
            name: None,
        })
    }

    /// Whether what is signed with `key`, or by nobody, could come into force as far as that goes.
    ///
    /// # Errors
    /// When it could not: the message says what is asked for, in the words behind a name of who asks.
    pub fn accepts(&self, key: Option<&str>) -> Result<(), String> {
        match key {
            None if self.require && self.keys.iter().flatten().next().is_none() => {
                Err("takes nothing that is not signed, and trusts nobody's signature".to_owned())
            }
            None if self.require => Err(format!("takes nothing that is not signed by {self}")),
            Some(key) if !self.trusts(key) => Err(format!("does not trust {key}: accepted is a signature by {self}")),
            _ => Ok(()),
        }
    }

    fn trusts(&self, key: &str) -> bool {
        match &self.keys {
            Some(keys) => keys.iter().any(|known| known.key == key),
            None => !self.require,
        }
    }

    /// Whether a deployment may be taken from the registry now.
    ///
    /// # Errors
    /// With the reason, when it may not: it is not signed, the key is not known, anything was changed after it was signed, it
    /// came too late, or from a clock that is ahead.
    pub fn check(&self, entry: Entry<'_>, deployment: &Deployment, now_ms: i64) -> Result<()> {
        let Some(signature) = &deployment.signature else {
            return match self.require {
                false => Ok(()),
                true => Err(Error::definition(format!(
                    "it is not signed, and accepted is what is signed by {self}; deploy it again, with --sign-with"
                ))),
            };
        };
        let signer = self.signer(&signature.key);
        if signature.form != FORM {
            return Err(Error::definition(format!(
                "its signature has the form {}, and this weir reads form {FORM}; deploy it again, with a weir of this version",
                signature.form
            )));
        }
        let key = public_key(&signature.key)
            .map_err(|reason| Error::definition(format!("its signature cannot be checked: {reason}")))?;
        if !self.trusts(&signature.key) {
            return Err(Error::definition(format!(
                "it is signed by {signer}, who is not trusted here: accepted is what is signed by {self}"
            )));
        }
        if !is_over(&key, entry, deployment, signature) {
            return Err(Error::definition(format!(
                "its signature by {signer} is not for this: pipeline, step, module, parameters, version, time or anything else \
                 of it was changed after it was signed, or the signature was; deploy it again"
            )));
        }
        let ahead_max_ms = SIGNED_AHEAD_MAX.as_millis() as i64;
        if deployment.at_ms > now_ms.saturating_add(ahead_max_ms) {
            return Err(Error::definition(format!(
                "{signer} signed it at {}, and here it is {}: accepted is a clock that is up to {} min ahead; set the clocks \
                 and deploy it again",
                instant(deployment.at_ms),
                instant(now_ms),
                SIGNED_AHEAD_MAX.as_secs() / 60
            )));
        }
        match signature.expires_ms {
            Some(expires_ms) if expires_ms <= now_ms => Err(Error::definition(format!(
                "{signer} signed it until {}, and it is {}: it came too late; deploy it again",
                instant(expires_ms),
                instant(now_ms)
            ))),
            _ => Ok(()),
        }
    }
}

/// As a pipeline file has it; its keys are checked elsewhere.
impl From<&Trust> for Policy {
    fn from(trust: &Trust) -> Self {
        let keys = trust.keys.as_ref().map(|keys| {
            let keys = keys.get_ref().iter().map(Spanned::get_ref);
            let signers = keys.map(|key| Signer {
                key: key.key().to_owned(),
                name: key.name().map(str::to_owned),
            });
            signers.collect()
        });
        Self {
            keys,
            require: trust.require,
        }
    }
}

/// Whom it trusts, in a sentence.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().flatten().map(ToString::to_string).collect();
        match keys.as_slice() {
            [] if !self.require && self.keys.is_none() => f.write_str("anybody"),
            [] => f.write_str("nobody, since no key is trusted"),
            [one] => f.write_str(one),
            several => write!(f, "one of {}", several.join(", ")),
        }
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = printable(&self.key);
        match &self.name {
            Some(name) => write!(f, "{} ({key})", printable(name)),
            None => f.write_str(&key),
        }
    }
}

/// A key that somebody names to trust: `U…`, or `NAME=U…`.
impl std::str::FromStr for Signer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, key) = match text.split_once('=') {
            Some((name, key)) => (Some(name.to_owned()), key),
            None => (None, text),
        };
        if name.as_ref().is_some_and(String::is_empty) {
            return Err("the name before the = is empty; accepted is NAME=KEY, or a key alone".to_owned());
        }
        public_key(key)?;
        Ok(Self {
            key: key.to_owned(),
            name,
        })
    }
}

/// The public key of a user. What it is not is said; a seed is not repeated.
pub(crate) fn public_key(text: &str) -> Result<KeyPair, String> {
    const ACCEPTED: &str =
        "accepted is the public key of a user, of 56 characters that begin with U, as `nsc` and `nk -pubout` show it";
    if is_seed(text) {
        return Err(format!(
            "this is a seed, which nobody but its owner may have: make another; {ACCEPTED}"
        ));
    }
    match KeyPair::from_public_key(text) {
        Ok(key) if key.key_pair_type() == KeyPairType::User => Ok(key),
        Ok(key) => Err(format!(
            "\"{}\" is the public key of {}; {ACCEPTED}",
            printable(text),
            key_file::whose(&key.key_pair_type())
        )),
        Err(_) => Err(format!("\"{}\" is no public key; {ACCEPTED}", printable(text))),
    }
}

impl Key {
    /// Signs a deployment, which may be taken until `expires_ms`. It has its number and its time already.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign(&self, entry: Entry<'_>, deployment: Deployment, expires_ms: Option<i64>) -> Result<Deployment> {
        let signature = Signature {
            form: FORM,
            key: self.public().to_owned(),
            expires_ms,
            value: String::new(),
        };
        let mut deployment = Deployment {
            signature: Some(signature),
            ..deployment
        };
        let value = URL_SAFE_NO_PAD.encode(self.sign_bytes(&statement(entry, &deployment))?);
        if let Some(signature) = &mut deployment.signature {
            signature.value = value;
        }
        Ok(deployment)
    }
}

/// Whether a deployment has the signature of the key that it names; nothing where it has none.
pub(crate) fn has_right_signature(entry: Entry<'_>, deployment: &Deployment) -> Option<bool> {
    let signature = deployment.signature.as_ref()?;
    let key = public_key(&signature.key).ok();
    Some(signature.form == FORM && key.is_some_and(|key| is_over(&key, entry, deployment, signature)))
}

fn is_over(key: &KeyPair, entry: Entry<'_>, deployment: &Deployment, signature: &Signature) -> bool {
    let value = URL_SAFE_NO_PAD.decode(&signature.value);
    value.is_ok_and(|value| key.verify(&statement(entry, deployment), &value).is_ok())
}

/// An instant in UTC, as people read it.
pub(crate) fn instant(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{ms} ms"), |time| time.strftime("%F %TZ").to_string())
}
