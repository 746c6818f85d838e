//! Whom a pipeline trusts to deploy.

use super::Spanned;
use schemars::JsonSchema;
use serde::Deserialize;

/// Whose signatures count under deployments for the steps of a pipeline.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// The keys of those who may; whom the hosts trust, when absent.
    pub keys: Option<Spanned<Vec<Spanned<TrustedKey>>>>,
    /// Whether what is not signed is refused.
    #[serde(default)]
    pub require: bool,
}

/// A key, with or without a name for its owner.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "accepted is a public key such as \"UD5Z…\", or a table such as { name = \"ann\", key = \"UD5Z…\" }"
)]
pub enum TrustedKey {
    /// The key alone.
    Key(String),
    /// With a name.
    Named(NamedKey),
}

/// A key with a name for its owner.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedKey {
    /// The owner.
    pub name: String,
    /// The public key.
    pub key: String,
}

impl TrustedKey {
    /// The public key.
    pub fn key(&self) -> &str {
        match self {
            Self::Key(key) | Self::Named(NamedKey { key, .. }) => key,
        }
    }

    /// The name of its owner.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Key(_) => None,
            Self::Named(named) => Some(&named.name),
        }
    }
}
