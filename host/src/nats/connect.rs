//! The connection.

use super::{
    refused::{Who, refused},
    runtime,
    secrets::{Secrets, check_pem},
    servers::Servers,
    trouble::{Denied, Way, is_denial},
    who,
};
use crate::{
    error::{Error, Result},
    model::subject::is_subject,
    say,
    text::printable,
};
use async_nats::{Client, ConnectOptions, Event, jetstream};
use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::runtime::Runtime;

/// How long the first connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is looked whether the connection is there, while something is waited for; and how often in a row it is
/// not, until nothing is waited for any more.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOKS_AWAY_MAX: u32 = 6;

/// How often it is looked whether a server answers that somebody in a hurry waits for.
const LOOKS_IN_A_HURRY_MAX: u32 = 10;

/// How often a server that says nothing is asked whether it is there. With the third question in a row that is not
/// answered the connection is lost: half a minute at most.
const PING_EVERY: Duration = Duration::from_secs(8);

/// Messages that a subscription holds before it drops some. A pull of the source is far smaller; see `source.rs`.
pub(super) const SUBSCRIPTION_MESSAGES_MAX: usize = 1 << 16;

/// Where the server is, and who we are.
#[derive(Clone, Default)]
pub struct NatsOptions {
    /// URLs, separated by commas; may hold user and password, or a token. [`DEFAULT_URL`] when it is empty.
    pub url: String,
    /// A `.creds` file.
    pub credentials: Option<PathBuf>,
    /// A file with the seed of an nkey.
    pub nkey: Option<PathBuf>,
    /// User, with `password`.
    pub user: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Token.
    pub token: Option<String>,
    /// Certificates of the authority that signed the server's.
    pub ca: Option<PathBuf>,
    /// Our certificate, with `key`.
    pub certificate: Option<PathBuf>,
    /// Our private key.
    pub key: Option<PathBuf>,
    /// Whether TLS comes before the first word of the server.
    pub tls_first: bool,
    /// What the subjects of answers begin with, in place of `_INBOX`.
    pub inbox_prefix: Option<String>,
    /// The JetStream domain.
    pub domain: Option<String>,
    /// What the subjects of JetStream's API begin with, in place of `$JS.API`.
    pub api_prefix: Option<String>,
}

/// Where the server is when nobody says.
pub const DEFAULT_URL: &str = "nats://127.0.0.1:4222";

impl NatsOptions {
    /// These, and what they leave open as `others` say it. Who we are is one thing: it is all of the one or of the other.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        let says_who = self.credentials.is_some()
            || self.nkey.is_some()
            || self.user.is_some()
            || self.token.is_some()
            || self.url.contains('@');
        let who = match says_who {
            true => self.clone(),
            false => Self {
                password: self.password.clone().or(others.password),
                credentials: others.credentials,
                nkey: others.nkey,
                user: others.user,
                token: others.token,
                ..Self::default()
            },
        };
        let certificate = match self.certificate.is_some() || self.key.is_some() {
            true => (self.certificate, self.key),
            false => (others.certificate, others.key),
        };
        let way = match self.domain.is_some() || self.api_prefix.is_some() {
            true => (self.domain, self.api_prefix),
            false => (others.domain, others.api_prefix),
        };
        Self {
            url: Some(self.url).filter(|url| !url.is_empty()).unwrap_or(others.url),
            credentials: who.credentials,
            nkey: who.nkey,
            user: who.user,
            password: who.password,
            token: who.token,
            ca: self.ca.or(others.ca),
            certificate: certificate.0,
            key: certificate.1,
            tls_first: self.tls_first || others.tls_first,
            inbox_prefix: self.inbox_prefix.or(others.inbox_prefix),
            domain: way.0,
            api_prefix: way.1,
        }
    }
}

/// Without secrets.
impl fmt::Debug for NatsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = Servers::parse(&self.url).map(|servers| servers.shown);
        f.debug_struct("NatsOptions")
            .field("servers", &servers.unwrap_or_default())
            .field("domain", &self.domain)
            .field("api_prefix", &self.api_prefix)
            .finish_non_exhaustive()
    }
}

/// A connection to NATS. Cheap to clone; all clones share it.
#[derive(Clone, Debug)]
pub struct Nats {
    pub(super) runtime: Arc<Runtime>,
    pub(super) client: Client,
    pub(super) jetstream: jetstream::Context,
    /// The server as people know it: without credentials.
    pub(super) server: String,
    /// How JetStream is reached.
    pub(super) way: Way,
    /// What the server did not let us do.
    pub(super) denied: Arc<Denied>,
    /// What no message may hold.
    pub(super) secrets: Secrets,
    /// From here on a lost connection is no news.
    closing: Arc<AtomicBool>,
    hurry: Arc<Hurry>,
}

/// Whether somebody waits for the end.
#[derive(Debug, Default)]
struct Hurry {
    is_on: AtomicBool,
    /// The server did not answer since: nobody waits for it any more.
    is_over: AtomicBool,
}

impl Nats {
    /// Connects.
    ///
    /// A connection that is lost later is made again, for as long as it takes, with growing pauses; that is said once.
    ///
    /// # Errors
    /// When the server cannot be reached now, or refuses us.
    pub fn connect(options: &NatsOptions) -> Result<Self> {
        let runtime = runtime::start()?;
        let url = match options.url.as_str() {
            "" => DEFAULT_URL,
            url => url,
        };
        let Servers {
            addresses,
            user_info,
            shown: server,
        } = Servers::parse(url)?;
        let way = way(options)?;
        let (connect, who, secrets) = who::introduce(ConnectOptions::new(), options, user_info)?;
        let connect = secured(connect, options)?;
        let connect = match &way.inbox_prefix {
            Some(prefix) => connect.custom_inbox_prefix(prefix),
            None => connect,
        };
        let (closing, denied) = (Arc::new(AtomicBool::new(false)), Arc::new(Denied::default()));
        let news = News {
            server: server.clone(),
            who: who.clone(),
            secrets: secrets.clone(),
            denied: denied.clone(),
            closing: closing.clone(),
            lost: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        };
        let connect = lasting(connect, news);
        let client = runtime
            .block_on(connect.connect(addresses))
            .map_err(|cause| refused(&server, &who, &secrets, &cause))?;
        // It starts a task of its own.
        let entered = runtime.enter();
        let mut jetstream = match (&way.domain, &way.api_prefix) {
            (Some(domain), _) => jetstream::with_domain(client.clone(), domain),
            (None, Some(prefix)) => jetstream::with_prefix(client.clone(), prefix),
            (None, None) => jetstream::new(client.clone()),
        };
        drop(entered);
        jetstream.set_timeout(Duration::from_secs(5));
        Ok(Self {
            runtime: Arc::new(runtime),
            client,
            jetstream,
            server,
            way,
            denied,
            secrets,
            closing,
            hurry: Arc::default(),
        })
    }

    /// The server as people know it: without credentials.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Whether the server said that we may not do something: it just does not answer then.
    pub(super) fn is_denied_something(&self) -> bool {
        !self.denied.is_empty()
    }

    /// The runtime that the connection lives on.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Ends the connection, for all clones.
    pub fn close(&self) {
        let _ = self.wait(self.client.drain());
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Somebody waits for the end: from now on a server that does not answer is not waited for.
    pub fn hurry(&self) {
        self.hurry.is_on.store(true, Ordering::Relaxed);
    }

    /// Whether there is a connection now. What is asked for without one waits for it.
    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Waits for something that should not take long; nothing when it does, or when the server is away for more than a
    /// moment: who stops does not wait for it. Nor for one that hangs, see [`Nats::hurry`].
    pub(super) fn wait<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        let gone = async {
            let (mut looks_away, mut looks_in_a_hurry) = (0, 0);
            while looks_away < LOOKS_AWAY_MAX && looks_in_a_hurry < LOOKS_IN_A_HURRY_MAX {
                if self.hurry.is_over.load(Ordering::Relaxed) {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
                looks_away = if self.is_connected() { 0 } else { looks_away + 1 };
                looks_in_a_hurry += u32::from(self.hurry.is_on.load(Ordering::Relaxed));
            }
            if looks_in_a_hurry == LOOKS_IN_A_HURRY_MAX {
                self.hurry.is_over.store(true, Ordering::Relaxed);
            }
        };
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                outcome = tokio::time::timeout(CONNECT_TIMEOUT, what) => outcome.ok(),
                () = gone => None,
            }
        })
    }

    /// Sends everything that was handed over before.
    ///
    /// # Errors
    /// When the connection is closed.
    pub fn flush(&self) -> Result<()> {
        if !self.is_connected() {
            return Err(Error::environment(format!("NATS at {} is away", self.server)));
        }
        match self.wait(self.client.flush()) {
            Some(Ok(())) => Ok(()),
            Some(Err(cause)) => Err(Error::environment(format!(
                "cannot send to NATS at {}: {cause}",
                self.server
            ))),
            None => Err(Error::environment(format!("NATS at {} does not answer", self.server))),
        }
    }
}

/// A connection that is made again when it is lost.
fn lasting(connect: ConnectOptions, news: News) -> ConnectOptions {
    connect
        .name("weir")
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_EVERY)
        .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
        .max_reconnects(None)
        .reconnect_delay_callback(|attempt| {
            let exponent = attempt.min(7) as i32;
            Duration::from_millis(100)
                .mul_f64(2f64.powi(exponent))
                .mul_f64(0.5 + fastrand::f64() / 2.0)
        })
        .event_callback(move |event| {
            news.tell(&event);
            std::future::ready(())
        })
}

/// What a person hears of a connection.
struct News {
    server: String,
    who: Who,
    secrets: Secrets,
    denied: Arc<Denied>,
    closing: Arc<AtomicBool>,
    lost: AtomicBool,
    /// Whether it was said that the server does not want us back.
    refused: AtomicBool,
}

impl News {
    fn tell(&self, event: &Event) {
        let server = &self.server;
        match event {
            Event::Disconnected
                if !self.closing.load(Ordering::Relaxed) && !self.lost.swap(true, Ordering::Relaxed) =>
            {
                say!(Warning, "weir: lost the connection to NATS at {server}; waiting for it");
            }
            Event::Connected => {
                self.refused.store(false, Ordering::Relaxed);
                if self.lost.swap(false, Ordering::Relaxed) {
                    say!(Info, "weir: connected to NATS at {server} again");
                }
            }
            Event::ServerError(cause) => {
                let said = self.secrets.hide(&cause.to_string());
                // Each of them once: an ack that is not allowed would be said at each commit.
                if !is_denial(&said) || self.denied.hear(&said) {
                    say!(Warning, "weir: NATS at {server} says: {}", printable(&said));
                }
            }
            // It is tried again for ever, and does not mend by itself.
            Event::ClientError(cause) if self.lost.load(Ordering::Relaxed) => {
                let refuses = cause.to_string().contains("authorization violation");
                if refuses && !self.refused.swap(true, Ordering::Relaxed) {
                    let advice = self.who.advice();
                    say!(
                        Warning,
                        "weir: NATS at {server} does not let us in again: {advice}; still trying"
                    );
                }
            }
            _ => {}
        }
    }
}

/// With TLS as it is asked for.
fn secured(mut connect: ConnectOptions, options: &NatsOptions) -> Result<ConnectOptions> {
    if let Some(ca) = &options.ca {
        check_pem(ca, "CERTIFICATE", "CA certificates", "--tls-ca")?;
        connect = connect.add_root_certificates(ca.clone()).require_tls(true);
    }
    match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => {
            check_pem(certificate, "CERTIFICATE", "client certificate", "--tls-cert")?;
            check_pem(key, "PRIVATE KEY", "client key", "--tls-key")?;
            connect = connect
                .add_client_certificate(certificate.clone(), key.clone())
                .require_tls(true);
        }
        (None, None) => {}
        _ => {
            return Err(Error::definition(
                "a TLS certificate needs its key: say both --tls-cert and --tls-key",
            ));
        }
    }
    Ok(match options.tls_first {
        true => connect.tls_first(),
        false => connect,
    })
}

/// How JetStream is reached, checked.
fn way(options: &NatsOptions) -> Result<Way> {
    let prefix = |prefix: &Option<String>, option: &str| match prefix {
        None => Ok(None),
        Some(text) => {
            // With the dot at its end or without.
            let prefix = text.strip_suffix('.').unwrap_or(text);
            match is_subject(prefix) {
                true => Ok(Some(prefix.to_owned())),
                false => Err(Error::definition(format!(
                    "{option} is \"{text}\"; accepted are names joined by dots, without wildcards and spaces"
                ))),
            }
        }
    };
    let domain = match &options.domain {
        Some(domain) if domain.contains('.') || !is_subject(domain) => {
            return Err(Error::definition(format!(
                "--js-domain is \"{domain}\"; accepted is one name, as `domain` in the server's configuration has it"
            )));
        }
        domain => domain.clone(),
    };
    if domain.is_some() && options.api_prefix.is_some() {
        return Err(Error::definition(
            "--js-domain and --js-api-prefix both say where JetStream is; say one of them",
        ));
    }
    Ok(Way {
        domain,
        api_prefix: prefix(&options.api_prefix, "--js-api-prefix")?,
        inbox_prefix: prefix(&options.inbox_prefix, "--inbox-prefix")?,
    })
}
