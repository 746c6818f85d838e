//! Why there is no connection, and what would mend it.

use super::secrets::Secrets;
use crate::error::Error;
use async_nats::{ConnectError, ConnectErrorKind};
use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

/// Why there is no connection, and what would mend it.
pub(super) fn refused(server: &str, who: &Who, secrets: &Secrets, cause: &ConnectError) -> Error {
    let text = secrets.hide(&cause.to_string());
    let advice = match cause.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => who.advice(),
        ConnectErrorKind::Dns => "no such host is known; name the server with --nats".to_owned(),
        _ => of_transport(who, &text).to_owned(),
    };
    Error::environment(format!("cannot connect to NATS at {server}: {text}; {advice}"))
}

/// What to do about a connection that did not come about, by what the libraries say: they have no type for it.
fn of_transport(who: &Who, text: &str) -> &'static str {
    let says = |what: &str| text.to_ascii_lowercase().contains(what);
    if says("unknownissuer") || says("unknown issuer") || says("badsignature") {
        return match who.has_ca {
            true => {
                "the server's certificate is signed by another authority than those in --tls-ca; name the file of the one that \
                     signed it"
            }
            false => {
                "this machine does not know the authority that signed the server's certificate; name its file with --tls-ca"
            }
        };
    }
    if says("notvalidforname") || says("not valid for name") {
        return "the server's certificate is for another name; name the server with --nats as its certificate does";
    }
    if says("certificateexpired") || says("certificate expired") || says("invalid peer certificate: expired") {
        return "the server's certificate has expired; whoever runs the server has to renew it";
    }
    if says("certificaterequired") || says("certificate required") || says("badcertificate") || says("handshakefailure")
    {
        return "the server asks for a certificate that it trusts; name ours with --tls-cert and --tls-key";
    }
    if says("corrupt message") || says("invalidcontenttype") {
        return match who.tls_first {
            true => "the server does not begin with TLS; leave out --tls-first",
            false => "the server does not speak TLS; leave out --tls-ca and --tls-cert, and write nats:// for tls://",
        };
    }
    if says("certificate") || says("tls error") {
        return "see that --tls-ca, --tls-cert and --tls-key name the files that belong to this server";
    }
    if says("expected info, got nothing") || says("timed out") {
        return match who.tls_first {
            true => "it took the connection and said nothing; see that the server is well, and that --nats names it",
            false => "it took the connection and said nothing; where the server takes TLS first, say --tls-first",
        };
    }
    if says("user authentication expired") {
        return "the credentials have expired; get new ones";
    }
    if who.uses_tls && (says("unexpected end of file") || says("eof") || says("reset") || says("broken pipe")) {
        return "it ended the connection during TLS; see that it speaks TLS, and whether it asks for a certificate, which \
                --tls-cert and --tls-key name";
    }
    "start a server with `nats-server -js`, or name another with --nats"
}

/// What we say of ourselves to a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Who {
    pub(super) credentials: Option<PathBuf>,
    /// When the credentials expire, in seconds since 1970-01-01T00:00:00Z.
    pub(super) expires: Option<i64>,
    /// The public half of an nkey.
    pub(super) nkey: Option<String>,
    pub(super) has_user: bool,
    pub(super) has_token: bool,
    pub(super) has_ca: bool,
    pub(super) uses_tls: bool,
    pub(super) tls_first: bool,
}

impl Who {
    /// What to do where the server does not want us.
    pub(super) fn advice(&self) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_secs() as i64);
        if let Some(path) = &self.credentials {
            let path = path.display();
            return match self.expires {
                Some(expires) if expires <= now => {
                    let at =
                        jiff::Timestamp::from_second(expires).map_or_else(|_| String::new(), |at| format!(" at {at}"));
                    format!("the credentials in {path} expired{at}; get new ones, and name their file with --creds")
                }
                _ => format!(
                    "the server does not take the credentials in {path}: they were revoked, or are of an account that it does \
                     not know; get new ones, and name their file with --creds"
                ),
            };
        }
        if let Some(nkey) = &self.nkey {
            return format!(
                "the server does not know the nkey {nkey}; name the file of another seed with --nkey, or let the server know it"
            );
        }
        match (self.has_user, self.has_token) {
            (true, _) => "check the user and password".to_owned(),
            (false, true) => "check the token".to_owned(),
            (false, false) => {
                "the server asks who is there: say --creds, --nkey, --user and --password, --token, or a \
                               --nats-context that has them"
                    .to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Who, of_transport};

    #[test]
    fn what_would_mend_a_connection_depends_on_what_was_said() {
        let plain = Who::default();
        let with = |change: fn(&mut Who)| {
            let mut who = Who::default();
            change(&mut who);
            who
        };
        for (who, text, expected) in [
            (
                &plain,
                "IO error: invalid peer certificate: UnknownIssuer",
                "name its file with --tls-ca",
            ),
            (
                &with(|who| who.has_ca = true),
                "IO error: invalid peer certificate: UnknownIssuer",
                "another authority",
            ),
            (&plain, "IO error: Connection refused (os error 111)", "start a server"),
            (&plain, "timed out", "--tls-first"),
            (
                &with(|who| who.tls_first = true),
                "IO error: received corrupt message of type InvalidContentType",
                "leave out --tls-first",
            ),
        ] {
            assert!(
                of_transport(who, text).contains(expected),
                "{text}: {}",
                of_transport(who, text)
            );
        }
        assert!(plain.advice().contains("asks who is there"));
        let expired = with(|who| {
            who.credentials = Some("weir.creds".into());
            who.expires = Some(1_700_000_000);
        });
        assert!(
            expired.advice().contains("weir.creds expired at 2023-11-14T22:13:20Z"),
            "{}",
            expired.advice()
        );
    }
}
