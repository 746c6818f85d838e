//! The connection, and the credentials for it.

use crate::{
    error::{Context, Error, Result},
    input,
    limits::CREDENTIALS_BYTES_MAX,
    say,
    text::printable,
};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, jetstream};
use std::{
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

/// Messages that a subscription holds before it drops some. A pull of the source is far smaller; see `source.rs`.
pub(super) const SUBSCRIPTION_MESSAGES_MAX: usize = 1 << 16;

/// Where the server is, and who we are.
#[derive(Clone, Debug, Default)]
pub struct NatsOptions {
    /// URLs, separated by commas; may hold user and password, or a token.
    pub url: String,
    /// A `.creds` file.
    pub credentials: Option<PathBuf>,
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
}

/// A connection to NATS. Cheap to clone; all clones share it.
#[derive(Clone, Debug)]
pub struct Nats {
    pub(super) runtime: Arc<Runtime>,
    pub(super) client: Client,
    pub(super) jetstream: jetstream::Context,
    /// The server as people know it: without credentials.
    pub(super) server: String,
    /// From here on a lost connection is no news.
    closing: Arc<AtomicBool>,
}

impl Nats {
    /// Connects.
    ///
    /// A connection that is lost later is made again, for as long as it takes, with growing pauses; that is said once.
    ///
    /// # Errors
    /// When the server cannot be reached now, or refuses us.
    pub fn connect(options: &NatsOptions) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("weir-nats")
            .enable_all()
            .build()
            .environment(|| "cannot start a thread".to_owned())?;
        let addresses: Vec<ServerAddr> = options
            .url
            .split(',')
            .map(|url| {
                url.trim().parse().map_err(|_| {
                    Error::definition(format!(
                        "--nats is \"{}\"; accepted are URLs such as nats://127.0.0.1:4222 or tls://user:password@host:4222",
                        redacted(url)
                    ))
                })
            })
            .collect::<Result<_>>()?;
        let server = options.url.split(',').map(redacted).collect::<Vec<_>>().join(",");
        let closing = Arc::new(AtomicBool::new(false));
        let connect = connect_options(options, &addresses, &server, &runtime, closing.clone())?;
        let client = runtime.block_on(connect.connect(addresses)).map_err(|cause| {
            let advice = match cause.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    "check the user and password, the token, or the .creds file"
                }
                _ => "start a server with `nats-server -js`, or name another with --nats",
            };
            Error::environment(format!("cannot connect to NATS at {server}: {cause}; {advice}"))
        })?;
        // It starts a task of its own.
        let entered = runtime.enter();
        let mut jetstream = jetstream::new(client.clone());
        drop(entered);
        jetstream.set_timeout(Duration::from_secs(5));
        Ok(Self {
            runtime: Arc::new(runtime),
            client,
            jetstream,
            server,
            closing,
        })
    }

    /// The server as people know it: without credentials.
    pub fn server(&self) -> &str {
        &self.server
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

    /// Waits for something that should not take long; nothing when it does.
    pub(super) fn wait<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        self.runtime
            .block_on(async { tokio::time::timeout(CONNECT_TIMEOUT, what).await.ok() })
    }

    /// Sends everything that was handed over before.
    ///
    /// # Errors
    /// When the connection is closed.
    pub fn flush(&self) -> Result<()> {
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

fn connect_options(
    options: &NatsOptions,
    addresses: &[ServerAddr],
    server: &str,
    runtime: &Runtime,
    closing: Arc<AtomicBool>,
) -> Result<ConnectOptions> {
    let lost = Arc::new(AtomicBool::new(false));
    let shown = server.to_owned();
    let mut connect = ConnectOptions::new()
        .name("weir")
        .connection_timeout(CONNECT_TIMEOUT)
        .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
        .max_reconnects(None)
        .reconnect_delay_callback(|attempt| {
            let exponent = attempt.min(7) as i32;
            Duration::from_millis(100)
                .mul_f64(2f64.powi(exponent))
                .mul_f64(0.5 + fastrand::f64() / 2.0)
        })
        .event_callback(move |event| {
            match event {
                Event::Disconnected if !closing.load(Ordering::Relaxed) && !lost.swap(true, Ordering::Relaxed) => {
                    say!(Warning, "weir: lost the connection to NATS at {shown}; waiting for it");
                }
                Event::Connected if lost.swap(false, Ordering::Relaxed) => {
                    say!(Info, "weir: connected to NATS at {shown} again");
                }
                Event::ServerError(cause) => {
                    say!(Warning, "weir: NATS at {shown} says: {}", printable(&cause.to_string()))
                }
                _ => {}
            }
            std::future::ready(())
        });
    for (path, what) in [
        (&options.credentials, "credentials"),
        (&options.ca, "certificates"),
        (&options.certificate, "certificate"),
        (&options.key, "key"),
    ] {
        path.as_ref()
            .map_or(Ok(()), |path| input::check_file(path, what, CREDENTIALS_BYTES_MAX))?;
    }
    if let Some(path) = &options.credentials {
        connect = runtime
            .block_on(connect.credentials_file(path))
            .map_err(|cause| Error::definition(format!("cannot read credentials {}: {cause}", path.display())))?;
    }
    // What stands in the URL comes before what stands in the environment.
    let in_url = addresses.iter().find(|address| address.has_user_pass());
    match (
        in_url.map(|address| (address.username(), address.password())),
        &options.user,
        &options.token,
    ) {
        (Some((Some(user), Some(password))), _, _) => connect = connect.user_and_password(user.into(), password.into()),
        (Some((Some(token), None)), _, _) => connect = connect.token(token.into()),
        (_, Some(user), _) => {
            connect = connect.user_and_password(user.clone(), options.password.clone().unwrap_or_default());
        }
        (_, None, Some(token)) => connect = connect.token(token.clone()),
        _ => {}
    }
    if let Some(ca) = &options.ca {
        connect = connect.add_root_certificates(ca.clone()).require_tls(true);
    }
    match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => {
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
    Ok(connect)
}

/// A URL without what stands before the @.
fn redacted(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn credentials_do_not_reach_messages() {
        assert_eq!(redacted("nats://user:se@cret@host:4222"), "nats://host:4222");
        assert_eq!(redacted("token@host"), "host");
        assert_eq!(redacted("nats://host:4222"), "nats://host:4222");
    }
}
