//! The options for the connection, which many commands have.

use crate::{
    error::Result,
    nats::{Nats, NatsOptions, context},
    say,
};
use std::path::PathBuf;

/// Where NATS is, and who we are. Names and variables are those of the `nats` command, and each option stands above what a
/// context says.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "NATS")]
pub(super) struct NatsArguments {
    /// The servers, separated by commas; may hold user:password@ or token@. [default: of the selected context, else
    /// nats://127.0.0.1:4222; of `dev`: one of its own]
    #[arg(
        long = "nats",
        visible_alias = "server",
        value_name = "URL",
        env = "NATS_URL",
        hide_env_values = true
    )]
    url: Option<String>,
    /// A context of the `nats` command; without this and --nats, the one that `nats context select` chose.
    #[arg(long, visible_alias = "context", value_name = "NAME", env = "NATS_CONTEXT")]
    nats_context: Option<String>,
    /// A .creds file.
    #[arg(long, value_name = "FILE", env = "NATS_CREDS", hide_env_values = true)]
    creds: Option<PathBuf>,
    /// A file with the seed of an nkey.
    #[arg(long, value_name = "FILE", env = "NATS_NKEY", hide_env_values = true)]
    nkey: Option<PathBuf>,
    /// User, with its password; without one, a token.
    #[arg(long, value_name = "NAME", env = "NATS_USER", hide_env_values = true)]
    user: Option<String>,
    /// Password.
    #[arg(long, value_name = "PASSWORD", env = "NATS_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Token.
    #[arg(long, value_name = "TOKEN", env = "NATS_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Certificates of the authority that signed the server's.
    #[arg(long, alias = "tlsca", value_name = "FILE", env = "NATS_CA")]
    tls_ca: Option<PathBuf>,
    /// Our certificate.
    #[arg(long, alias = "tlscert", value_name = "FILE", env = "NATS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The key of our certificate.
    #[arg(long, alias = "tlskey", value_name = "FILE", env = "NATS_KEY")]
    tls_key: Option<PathBuf>,
    /// Begin with TLS, before the server says a word.
    #[arg(long, alias = "tlsfirst", env = "NATS_TLS_FIRST")]
    tls_first: bool,
    /// What the subjects of answers begin with, in place of _INBOX.
    #[arg(long, value_name = "PREFIX", env = "NATS_INBOX_PREFIX")]
    inbox_prefix: Option<String>,
    /// The JetStream domain that has the stream.
    #[arg(long, value_name = "NAME", env = "NATS_JS_DOMAIN")]
    js_domain: Option<String>,
    /// What the subjects of JetStream's API begin with, in place of $JS.API.
    #[arg(long, value_name = "PREFIX", env = "NATS_JS_API_PREFIX")]
    js_api_prefix: Option<String>,
}

impl NatsArguments {
    /// Whether the command itself names a server; the environment is no reason to write to one.
    pub(super) fn names_server() -> bool {
        std::env::args_os().any(|argument| {
            let argument = argument.to_string_lossy();
            ["--nats", "--server", "--context"]
                .iter()
                .any(|name| argument.starts_with(name))
        })
    }

    /// What is given, with what it leaves open as a context says it. The selected context is used where neither a server nor a
    /// context is named, and that is said: it may have been selected for something else long ago.
    ///
    /// # Errors
    /// When the context cannot be used.
    pub(super) fn options(&self) -> Result<NatsOptions> {
        let given = NatsOptions {
            url: self.url.clone().unwrap_or_default(),
            credentials: self.creds.clone(),
            nkey: self.nkey.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            token: self.token.clone(),
            ca: self.tls_ca.clone(),
            certificate: self.tls_cert.clone(),
            key: self.tls_key.clone(),
            tls_first: self.tls_first,
            inbox_prefix: self.inbox_prefix.clone(),
            domain: self.js_domain.clone(),
            api_prefix: self.js_api_prefix.clone(),
        };
        if let Some(name) = self.nats_context.as_ref().filter(|name| !name.is_empty()) {
            return Ok(given.or(context::load(name)?));
        }
        if !given.url.is_empty() {
            return Ok(given);
        }
        match context::selected()? {
            Some(name) => {
                let options = context::load(&name).map_err(|error| error.context("the selected nats context"))?;
                say!(
                    Info,
                    "weir: connecting as the selected nats context \"{name}\" says; --nats names a server instead"
                );
                Ok(given.or(options))
            }
            None => Ok(given),
        }
    }
}

/// How the registry is made where it is missing.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "NATS")]
pub(super) struct RegistryArguments {
    /// How many replicas the buckets of the registry have. [default: as many as the stream of the pipeline]
    #[arg(long, value_name = "N", env = "WEIR_REGISTRY_REPLICAS")]
    registry_replicas: Option<usize>,
}

impl RegistryArguments {
    pub(super) fn replicas<'s>(&self, nats: &Nats, streams: impl Iterator<Item = &'s str>) -> usize {
        let of_streams = || streams.map(|stream| nats.replicas_of(stream)).max().unwrap_or(1);
        self.registry_replicas.unwrap_or_else(of_streams)
    }
}
