//! Who we are: user and password, a token, credentials, an nkey.

use super::{
    NatsOptions,
    refused::Who,
    secrets::{Secrets, read},
    servers::UserInfo,
};
use crate::{
    error::{Error, Result},
    trust::{check_no_seed, is_seed},
};
use async_nats::ConnectOptions;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;

/// Tells `connect` who we are. What stands in the URL comes before what stands in the options.
///
/// # Errors
/// When a file of credentials cannot be read, or is none.
pub(super) fn introduce(
    mut connect: ConnectOptions,
    options: &NatsOptions,
    in_url: Option<UserInfo>,
) -> Result<(ConnectOptions, Who, Secrets)> {
    let mut who = Who {
        has_ca: options.ca.is_some(),
        uses_tls: options.ca.is_some() || options.certificate.is_some() || options.url.contains("tls://"),
        tls_first: options.tls_first,
        ..Who::default()
    };
    let mut secrets = Secrets::default();
    if let Some(path) = &options.credentials {
        check_no_seed(path, "--creds")?;
        let text = read(path, "credentials", "--creds")?;
        text.lines()
            .filter(|line| is_seed(line))
            .for_each(|seed| secrets.add(seed));
        connect = connect.credentials(&text).map_err(|_| {
            Error::definition(format!(
                "{} is no file of credentials: it takes a user's JWT and the seed of its nkey, each between its marks, as \
                 `nsc generate creds` writes them; name another with --creds",
                path.display()
            ))
        })?;
        who.expires = text.lines().find_map(expires);
        who.credentials = Some(path.clone());
    }
    if let Some(path) = &options.nkey {
        check_no_seed(path, "--nkey")?;
        let text = read(path, "an nkey", "--nkey")?;
        let seed = text.lines().map(str::trim).find(|line| is_seed(line));
        let pair = seed.and_then(|seed| Some((seed, KeyPair::from_seed(seed).ok()?)));
        let Some((seed, pair)) = pair else {
            return Err(Error::definition(format!(
                "{} has no seed of a user's nkey, which begins with SU; name another file with --nkey",
                path.display()
            )));
        };
        secrets.add(seed);
        who.nkey = Some(pair.public_key());
        connect = connect.nkey(seed.to_owned());
    }
    match (in_url, &options.user, &options.token) {
        (Some(UserInfo::User { name, password }), _, _) => {
            secrets.add(&password);
            who.has_user = true;
            connect = connect.user_and_password(name, password);
        }
        (Some(UserInfo::Token(token)), _, _) => {
            secrets.add(&token);
            who.has_token = true;
            connect = connect.token(token);
        }
        (None, Some(user), token) => {
            let password = options.password.clone().unwrap_or_default();
            secrets.add(&password);
            who.has_user = true;
            connect = connect.user_and_password(user.clone(), password.clone());
            // A user without a password may be a token, as it is for the nats command; a server looks at the one that it
            // knows.
            let token = token.as_ref().or(Some(user).filter(|_| password.is_empty()));
            if let Some(token) = token {
                connect = connect.token(token.clone());
            }
        }
        (None, None, Some(token)) => {
            secrets.add(token);
            who.has_token = true;
            connect = connect.token(token.clone());
        }
        (None, None, None) => {}
    }
    Ok((connect, who, secrets))
}

/// When a JWT expires, if this line is one and it does.
fn expires(line: &str) -> Option<i64> {
    let claims = line.trim().split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims.get("exp")?.as_i64()
}
