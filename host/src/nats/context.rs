//! Contexts of the `nats` command: named settings for connections, in `~/.config/nats/context/NAME.json`.

use super::{NatsOptions, secrets};
use crate::error::{Error, Result};
use serde::Deserialize;
use std::{
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// A context as the file has it; what is only for people to read is left out.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    url: String,
    token: String,
    user: String,
    password: String,
    creds: String,
    nkey: String,
    cert: String,
    key: String,
    ca: String,
    tls_first: bool,
    jetstream_domain: String,
    jetstream_api_prefix: String,
    inbox_prefix: String,
    // What we cannot do.
    nsc: String,
    socks_proxy: String,
    user_jwt: String,
}

/// The name of the context that `nats context select` chose, if any.
///
/// # Errors
/// When there is a choice that cannot be read: to go to another server then would be to guess.
pub fn selected() -> Result<Option<String>> {
    let Some(path) = folder().map(|folder| folder.join("context.txt")) else {
        return Ok(None);
    };
    if fs::metadata(&path).is_err_and(|cause| cause.kind() == ErrorKind::NotFound) {
        return Ok(None);
    }
    let text = secrets::read(
        &path,
        "the name of the nats context that is selected, from",
        "--nats-context, or a server with --nats",
    )?;
    Ok(Some(text.trim().to_owned()).filter(|name| !name.is_empty()))
}

/// Reads a context.
///
/// # Errors
/// When there is none of that name, or it asks for what weir cannot do.
pub fn load(name: &str) -> Result<NatsOptions> {
    let is_name = !name.is_empty() && !name.contains("..") && !name.contains('/');
    let Some(folder) = folder().filter(|_| is_name) else {
        return Err(Error::definition(format!(
            "\"{name}\" is no name of a nats context; `nats context ls` shows those that there are"
        )));
    };
    let path = folder.join("context").join(format!("{name}.json"));
    if !path.exists() {
        return Err(Error::definition(format!(
            "there is no nats context \"{name}\": {} is missing; {}. Name another with --nats-context, or a server with --nats",
            path.display(),
            others(&folder)
        )));
    }
    let text = secrets::read(&path, "a nats context", "--nats-context")?;
    // The text of the cause would repeat values.
    let settings: Settings = serde_json::from_str(&text).map_err(|cause| {
        Error::definition(format!(
            "{}, the nats context \"{name}\", cannot be read: line {}, column {} is not as the nats command writes it; mend it with \
             `nats context edit {name}`",
            path.display(),
            cause.line(),
            cause.column()
        ))
    })?;
    let beyond = [
        ("nsc", &settings.nsc),
        ("socks_proxy", &settings.socks_proxy),
        ("user_jwt", &settings.user_jwt),
    ];
    if let Some((key, _)) = beyond.iter().find(|(_, value)| !value.is_empty()) {
        return Err(Error::definition(format!(
            "the nats context \"{name}\" has `{key}`, which weir cannot use; accepted are url, user, password, token, creds, nkey, \
             cert, key, ca, tls_first, jetstream_domain, jetstream_api_prefix and inbox_prefix"
        )));
    }
    let text = |value: String| Some(value).filter(|value| !value.is_empty());
    let file = |value: String| text(value).map(|value| expanded(&value));
    Ok(NatsOptions {
        url: settings.url,
        credentials: file(settings.creds),
        nkey: file(settings.nkey),
        user: text(settings.user),
        password: text(settings.password),
        token: text(settings.token),
        ca: file(settings.ca),
        certificate: file(settings.cert),
        key: file(settings.key),
        tls_first: settings.tls_first,
        inbox_prefix: text(settings.inbox_prefix),
        domain: text(settings.jetstream_domain),
        api_prefix: text(settings.jetstream_api_prefix),
    })
}

/// Where the `nats` command keeps what it knows.
fn folder() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    config.map(|config| config.join("nats"))
}

/// The contexts that there are, for people.
fn others(folder: &Path) -> String {
    let entries = fs::read_dir(folder.join("context")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .collect();
    names.sort();
    match names.as_slice() {
        [] => "there are none".to_owned(),
        names => format!("there are {}", names.join(", ")),
    }
}

/// A path in which `~/` and `$NAME` stand for what they do in a shell.
fn expanded(path: &str) -> PathBuf {
    let home = env::var("HOME").unwrap_or_default();
    let path = match path.strip_prefix("~/") {
        Some(rest) => format!("{home}/{rest}"),
        None => path.to_owned(),
    };
    let parts = path.split('/').map(|part| {
        let name = part
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
            .or_else(|| part.strip_prefix('$'));
        name.and_then(|name| env::var(name).ok())
            .unwrap_or_else(|| part.to_owned())
    });
    parts.collect::<Vec<_>>().join("/").into()
}
