//! Where servers are, and what people may see of that.
//!
//! What stands before the `@` of a URL is taken off here, before anything else sees the URL: neither the client library
//! nor a message of ours ever holds it together with the address. **Invariant**: [`Servers::shown`] is made of schemes,
//! hosts and ports alone, also of URLs that cannot be read.

use crate::error::{Error, Result};
use async_nats::ServerAddr;

/// Who we are, as a URL says it.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum UserInfo {
    User { name: String, password: String },
    Token(String),
}

/// The servers of `--nats`.
pub(super) struct Servers {
    pub(super) addresses: Vec<ServerAddr>,
    pub(super) user_info: Option<UserInfo>,
    /// As they are shown.
    pub(super) shown: String,
}

impl Servers {
    /// Reads URLs that are separated by commas.
    ///
    /// # Errors
    /// When one is no URL of a server. The message holds nothing of it but its host.
    pub(super) fn parse(urls: &str) -> Result<Self> {
        let mut servers = Self {
            addresses: Vec::new(),
            user_info: None,
            shown: String::new(),
        };
        for url in split(urls)? {
            let parts = Parts::of(url);
            let shown = format!("{}://{}", parts.scheme, parts.host);
            let address = match parts.scheme {
                "nats" | "tls" if is_host(parts.host) => shown.parse::<ServerAddr>().ok(),
                _ => None,
            };
            let Some(address) = address else {
                return Err(unreadable(&parts));
            };
            let user_info = parts.user_info.map(user_info);
            match (&servers.user_info, user_info) {
                (None, found) => servers.user_info = found,
                (Some(known), Some(found)) if *known != found => {
                    return Err(Error::definition(format!(
                        "--nats names another user or token for {} than for the servers before it; accepted is one for all \
                         servers of a list",
                        parts.host
                    )));
                }
                _ => {}
            }
            if !servers.shown.is_empty() {
                servers.shown.push(',');
            }
            servers.shown.push_str(&shown);
            servers.addresses.push(address);
        }
        Ok(servers)
    }
}

/// A URL in pieces.
struct Parts<'u> {
    scheme: &'u str,
    user_info: Option<&'u str>,
    host: &'u str,
}

impl<'u> Parts<'u> {
    /// Everything up to the last `@` is user and password, whatever characters it has: URLs of servers have nothing behind
    /// their port.
    fn of(url: &'u str) -> Self {
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => (scheme, rest),
            _ => ("nats", url),
        };
        let (user_info, host) = match rest.rsplit_once('@') {
            Some((user_info, host)) => (Some(user_info), host),
            None => (None, rest),
        };
        Self {
            scheme,
            user_info,
            host: host.strip_suffix('/').unwrap_or(host),
        }
    }
}

/// What is wrong with a URL, without a word of it that may be a secret.
fn unreadable(parts: &Parts<'_>) -> Error {
    let accepted = "accepted are URLs such as nats://127.0.0.1:4222 or tls://user:password@host:4222, separated by commas, with \
                    %40 for @ and %2C for a comma in user and password";
    Error::definition(match (parts.scheme, parts.user_info) {
        ("ws" | "wss", _) => "--nats names a websocket, which weir does not speak; name the server's other port, with \
                              nats:// or tls://"
            .to_owned(),
        ("nats" | "tls", _) if parts.host.is_empty() => format!("--nats has a URL without a host; {accepted}"),
        ("nats" | "tls", Some(_)) if is_name(parts.host) => {
            format!(
                "--nats has a URL whose host and port, {}, cannot be read; {accepted}",
                parts.host
            )
        }
        // It may be a password whose @ and host were forgotten.
        ("nats" | "tls", _) => format!("--nats has a URL whose host and port cannot be read; {accepted}"),
        _ => format!("--nats has a URL of an unknown scheme; {accepted}"),
    })
}

/// The URLs of a list. A comma separates two where what follows begins a URL; another belongs to a password.
fn split(urls: &str) -> Result<Vec<&str>> {
    let mut found = Vec::new();
    let mut rest = urls.trim();
    while !rest.is_empty() {
        // The next comma that has a scheme behind it.
        let next = rest.match_indices(',').find(|(at, _)| {
            let behind = rest.get(at + 1..).unwrap_or_default().trim_start();
            ["nats://", "tls://", "ws://", "wss://"]
                .iter()
                .any(|scheme| behind.starts_with(scheme))
        });
        let (part, behind) = match next {
            Some((at, _)) => (
                rest.get(..at).unwrap_or_default(),
                rest.get(at + 1..).unwrap_or_default().trim_start(),
            ),
            None => (rest, ""),
        };
        split_without_schemes(part.trim(), &mut found)?;
        rest = behind;
    }
    match found.is_empty() {
        true => Err(unreadable(&Parts::of(""))),
        false => Ok(found),
    }
}

/// The same where no comma has a scheme behind it: `nats://user:a,b@one,two` are two servers, and the first comma is of the
/// password. Which comma is which cannot be seen where there are several `@`, unless all say the same before it.
fn split_without_schemes<'u>(part: &'u str, found: &mut Vec<&'u str>) -> Result<()> {
    let mut of_list = part.split(',').map(|url| Parts::of(url.trim()).user_info);
    let first = of_list.next().flatten();
    if first.is_some() && of_list.clone().count() > 0 && of_list.all(|user_info| user_info == first) {
        found.extend(part.split(',').map(str::trim));
        return Ok(());
    }
    let Some((user_info, hosts)) = part.rsplit_once('@') else {
        found.extend(part.split(',').map(str::trim).filter(|url| !url.is_empty()));
        return Ok(());
    };
    if user_info.contains(',') && user_info.contains('@') {
        return Err(Error::definition(
            "--nats has a comma and several @ that do not tell where one server ends and the next one begins; begin each with \
             nats:// or tls://, and write %40 for @ and %2C for a comma in user and password",
        ));
    }
    let first = hosts.split(',').next().unwrap_or_default();
    let end = user_info.len() + 1 + first.len();
    found.push(part.get(..end).unwrap_or_default().trim());
    let others = part.get(end..).unwrap_or_default().split(',').map(str::trim);
    found.extend(others.filter(|url| !url.is_empty()));
    Ok(())
}

fn user_info(text: &str) -> UserInfo {
    match text.split_once(':') {
        Some((name, password)) => UserInfo::User {
            name: decoded(name),
            password: decoded(password),
        },
        None => UserInfo::Token(decoded(text)),
    }
}

/// With `%40` as `@` and so on. What is no such code stays as it is, as in a password that was written down as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [b'%', high, low, behind @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |digit: &u8| char::from(*digit).to_digit(16).unwrap_or_default() as u8;
                bytes.push(digit(high) << 4 | digit(low));
                rest = behind;
            }
            [byte, behind @ ..] => {
                bytes.push(*byte);
                rest = behind;
            }
            [] => break,
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// A host, with a port or without.
fn is_host(text: &str) -> bool {
    let port = match text.rsplit_once(':') {
        // An address of the sixth version has colons within its brackets.
        Some((host, port)) if !port.contains(']') => match host.contains(':') && !host.starts_with('[') {
            true => return false,
            false => Some((host, port)),
        },
        _ => None,
    };
    match port {
        Some((host, port)) => is_name(host) && !host.is_empty() && port.parse::<u16>().is_ok(),
        None => !text.is_empty() && is_name(text),
    }
}

/// Whether all of it may stand in a host and its port.
fn is_name(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']'))
}

#[cfg(test)]
mod tests {
    use super::{Servers, UserInfo};

    fn shown(urls: &str) -> String {
        Servers::parse(urls).map_or_else(|error| error.to_string(), |servers| servers.shown)
    }

    #[test]
    fn lists_are_split_where_a_url_begins() {
        for (urls, expected) in [
            ("nats://host:4222", "nats://host:4222"),
            ("host", "nats://host"),
            ("a, b:4223 ,tls://c", "nats://a,nats://b:4223,tls://c"),
            ("nats://[::1]:4222,nats://10.0.0.1", "nats://[::1]:4222,nats://10.0.0.1"),
            ("token@a,token@b", "nats://a,nats://b"),
            ("nats://u:p@a:1,b:2", "nats://a:1,nats://b:2"),
            ("nats://u:p,q@a:1,b:2", "nats://a:1,nats://b:2"),
            ("nats://u:p@a,nats://u:p@b", "nats://a,nats://b"),
            ("nats://host:4222/", "nats://host:4222"),
        ] {
            assert_eq!(shown(urls), expected, "{urls}");
        }
    }

    #[test]
    fn whatever_a_password_is_made_of_it_is_taken_and_not_shown() {
        for (written, password) in [
            ("s3cret", "s3cret"),
            ("s3,cret", "s3,cret"),
            ("s3@cret", "s3@cret"),
            ("s3%40cret", "s3@cret"),
            ("s3%2Ccret", "s3,cret"),
            ("s3%2Fcret%3f", "s3/cret?"),
            ("s3/cret", "s3/cret"),
            ("s3#cret?x=1", "s3#cret?x=1"),
            ("s3:cret", "s3:cret"),
            ("s3 cret", "s3 cret"),
            ("100%s3cret", "100%s3cret"),
            ("s3%zzcret", "s3%zzcret"),
            ("s3[]cret", "s3[]cret"),
            ("s3://cret", "s3://cret"),
            ("s3crét", "s3crét"),
        ] {
            for scheme in ["nats://", "tls://", ""] {
                let servers = Servers::parse(&format!("{scheme}weir:{written}@host:4222")).unwrap();
                let expected = UserInfo::User {
                    name: "weir".to_owned(),
                    password: password.to_owned(),
                };
                assert!(servers.user_info == Some(expected), "{scheme}{written}");
                assert!(servers.shown.ends_with("://host:4222"), "{}", servers.shown);
                for address in &servers.addresses {
                    assert!(!address.as_url_str().contains("s3"), "{}", address.as_url_str());
                }
            }
            let servers = Servers::parse(&format!("nats://{}@host", written.replace(':', "_"))).unwrap();
            let token = UserInfo::Token(password.replace(':', "_"));
            assert!(servers.user_info == Some(token), "{written}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_read_is_not_repeated() {
        for url in [
            "nats://weir:s3cret",
            "nats://weir:s3cret@",
            "nats://weir:s3cret@host:port",
            "nats://weir:s3cret@host:99999",
            "nats://weir:s3cret@a b",
            "weir:s3cret",
            "ws://weir:s3cret@host",
            "http://weir:s3cret@host",
            "nats://weir:s3@cr,et@host",
            "nats://weir:s3cret@host,b:s3cret2@c",
            "nats://weir:s3cret@a,nats://weir:s3cret2@b",
            "nats://s3cret/@",
            "",
        ] {
            let error = Servers::parse(url).err().unwrap_or_else(|| panic!("{url} is refused"));
            let said = error.to_string();
            assert!(!said.contains("s3") && !said.contains("cret"), "{url}: {said}");
            assert!(
                said.contains("accepted") || said.contains("name the server's") || said.contains("begin each"),
                "{said}"
            );
        }
    }
}
