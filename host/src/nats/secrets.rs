//! What nobody may read: passwords, tokens, seeds.
//!
//! Secrets are kept apart from what is shown from the beginning (`servers.rs`), and [`Secrets::hide`] stands where texts of
//! the client library and of the server become texts of ours, for the case that one of them repeats what it was given.

use crate::{
    error::{Error, Result},
    files::input,
    limits::CREDENTIALS_BYTES_MAX,
};
use std::{fmt, path::Path};

/// Secrets of a connection.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<String>);

/// Shorter ones than this are not looked for in texts: they would be found in words.
const LEAST: usize = 3;

impl Secrets {
    pub(super) fn add(&mut self, secret: &str) {
        if secret.chars().count() >= LEAST {
            self.0.push(secret.to_owned());
            // The longest first, so that nothing of it stays when another one is part of it.
            self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }

    /// The text without the secrets.
    pub(super) fn hide(&self, text: &str) -> String {
        let hidden = self.0.iter();
        hidden.fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

/// Reads a file that holds `what`, which the option `option` names.
///
/// # Errors
/// When it cannot be read, or is larger than any such file.
pub(super) fn read(path: &Path, what: &str, option: &str) -> Result<String> {
    let text = input::read_text(path, what, CREDENTIALS_BYTES_MAX);
    text.map_err(|error| Error::definition(format!("{error}; name another with {option}")))
}

/// Reads a PEM file, and checks that it has an item of that kind.
///
/// # Errors
/// As [`read`]; also when it has none.
pub(super) fn check_pem(path: &Path, item: &str, what: &str, option: &str) -> Result<()> {
    let text = read(path, what, option)?;
    let begins = |line: &str| line.starts_with("-----BEGIN ") && line.contains(item);
    match text.lines().any(begins) {
        true => Ok(()),
        false => Err(Error::definition(format!(
            "{} has no {what}: there is no line -----BEGIN {item}----- in it; name a PEM file with {option}",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::Secrets;

    #[test]
    fn secrets_are_hidden_the_longest_first() {
        let mut secrets = Secrets::default();
        secrets.add("s3c");
        secrets.add("s3cret,@%");
        secrets.add("no");
        assert_eq!(
            secrets.hide("bad user:s3cret,@% and s3c, no"),
            "bad user:*** and ***, no"
        );
        assert_eq!(format!("{secrets:?}"), "Secrets(2)");
    }
}
