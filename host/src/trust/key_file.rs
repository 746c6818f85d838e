//! The key of somebody who signs, from a file as `nsc` and `nk` write it.

use crate::{
    error::{Context as _, Error, Result},
    files::input,
    limits::CREDENTIALS_BYTES_MAX,
    text::printable,
};
use nkeys::{KeyPair, KeyPairType};
use std::{
    fmt,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

/// The right to read for the group and for everybody, to write, and to run.
const OTHERS: u32 = 0o077;

/// A key that signs. Its seed leaves it nowhere.
pub struct Key {
    pair: KeyPair,
    public: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl Key {
    /// Reads the file or the pipe that `option` names, or standard input (`-`): the seed of a user stands in it, on a line of its
    /// own. Other lines are comments and marks.
    ///
    /// # Errors
    /// When it cannot be read, others than its owner may read it, or it holds no seed of a user, or several.
    pub fn read(path: &Path, option: &str) -> Result<Self> {
        check_no_seed(path, option)?;
        let (text, metadata) =
            input::read_secret(path, "the key", CREDENTIALS_BYTES_MAX).map_err(|error| error.context(option))?;
        let mode = metadata.mode() & 0o777;
        // What has no owner has no mode that means anything.
        let kind = metadata.file_type();
        let is_owned = kind.is_file() || kind.is_fifo();
        if mode & OTHERS != 0 && is_owned {
            let shown = printable(&path.display().to_string());
            return Err(Error::definition(format!(
                "{option}: the key {shown} has the mode {mode:04o}: others than its owner may get at it; `chmod 600 {shown}` \
                 lets nobody else, and a key that others read is to be replaced"
            )));
        }
        Self::from_text(&text).map_err(|reason| {
            let shown = printable(&path.display().to_string());
            Error::definition(format!("{option}: the key {shown} {reason}"))
        })
    }

    /// The key in the text of such a file.
    ///
    /// # Errors
    /// When there is none, or more than one; without the file's name, as words that follow it.
    pub fn from_text(text: &str) -> Result<Self, String> {
        const ACCEPTED: &str = "accepted is a file with the seed of a user's nkey, which begins with SU and stands on a line \
                                of its own, as `nsc` and `nk -gen user` write it";
        let mut seeds: Vec<&str> = text.lines().map(str::trim).filter(|line| is_seed(line)).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let seed = match seeds.as_slice() {
            [seed] => seed,
            [] => return Err(format!("has no seed; {ACCEPTED}")),
            several => return Err(format!("has {} seeds; accepted is one", several.len())),
        };
        let pair = KeyPair::from_seed(seed).map_err(|_| {
            format!("has a seed that is damaged: it does not have the check sum that belongs to it; {ACCEPTED}")
        })?;
        match pair.key_pair_type() {
            KeyPairType::User => {}
            other => return Err(format!("has the seed of {}; {ACCEPTED}", whose(&other))),
        }
        let public = pair.public_key();
        Ok(Self { pair, public })
    }

    /// A key that is made now, and goes with the process.
    pub fn for_now() -> Self {
        let pair = KeyPair::new_user();
        let public = pair.public_key();
        Self { pair, public }
    }

    /// The public key.
    pub fn public(&self) -> &str {
        &self.public
    }

    pub(super) fn sign_bytes(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let signed = self.pair.sign(bytes);
        signed.environment(|| format!("cannot sign with {}", self.public))
    }
}

/// Whose keys are of a kind, in words.
pub(super) fn whose(kind: &KeyPairType) -> &'static str {
    match kind {
        KeyPairType::Server => "a server",
        KeyPairType::Cluster => "a cluster",
        KeyPairType::Operator => "an operator",
        KeyPairType::Account => "an account",
        KeyPairType::User => "a user",
        KeyPairType::Module => "a module",
        KeyPairType::Service => "a service",
        KeyPairType::Curve => "a pair for encryption",
    }
}

/// Refuses a seed in the place of its file, and does not repeat it.
pub(crate) fn check_no_seed(path: &Path, option: &str) -> Result<()> {
    match path.to_str().is_some_and(is_seed) {
        true => Err(Error::definition(format!(
            "{option} is a seed itself; accepted is the name of the file that holds it, so that no list of processes shows it"
        ))),
        false => Ok(()),
    }
}

/// Whether a line is a seed.
pub(crate) fn is_seed(line: &str) -> bool {
    let line = line.trim();
    line.len() == 58 && line.starts_with('S') && line.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::{self, Permissions},
        io::Write,
        os::unix::fs::PermissionsExt,
    };

    const SEED: &str = "SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZIORRBU";

    fn seed_of(kind: KeyPairType) -> String {
        KeyPair::new(kind).seed().expect("it has a seed")
    }

    #[test]
    fn keys_are_read_as_the_tools_write_them() {
        let plain = Key::from_text(SEED).expect("a seed alone");
        assert!(plain.public().starts_with('U'), "{plain:?}");
        for text in [
            format!("{SEED}\n"),
            format!("\n  {SEED}\r\n"),
            format!("# deployer of claims\n{SEED}\n{}\n", plain.public()),
            format!("-----BEGIN USER NKEY SEED-----\n{SEED}\n------END USER NKEY SEED------\n"),
            format!(
                "-----BEGIN NATS USER JWT-----\neyJ0eXAi.eyJqdGk.x\n------END NATS USER JWT------\n\n\
                 ************************* IMPORTANT *************************\n\
                 NKEY Seed printed below can be used to sign and prove identity.\n\n\
                 -----BEGIN USER NKEY SEED-----\n{SEED}\n------END USER NKEY SEED------\n"
            ),
            format!("{SEED}\n{SEED}\n"),
        ] {
            let key = Key::from_text(&text).unwrap_or_else(|reason| panic!("{text}: {reason}"));
            assert_eq!(key.public(), plain.public());
            assert!(!format!("{key:?}").contains(SEED));
        }
    }

    #[test]
    fn what_is_no_key_of_a_user_is_refused_and_no_seed_is_shown() {
        let (account, other) = (seed_of(KeyPairType::Account), seed_of(KeyPairType::User));
        let damaged = SEED.replace("MLK2", "MLK3");
        let public = Key::from_text(SEED).expect("a seed").public().to_owned();
        for (text, said) in [
            ("", "has no seed"),
            (&*public, "has no seed"),
            ("hunter2", "has no seed"),
            (&SEED[..57], "has no seed"),
            (&*damaged, "check sum"),
            (&*account, "the seed of an account"),
            (&*format!("{SEED}\n{other}\n"), "has 2 seeds"),
        ] {
            let reason = Key::from_text(text).expect_err(said);
            assert!(reason.contains(said), "{reason}");
            for seed in [SEED, &account, &other, &damaged] {
                assert!(!reason.contains(seed), "{reason}");
            }
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        writeln!(file, "{SEED}").expect("it can be written");
        for (mode, accepted) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o620, false),
        ] {
            fs::set_permissions(file.path(), Permissions::from_mode(mode)).expect("the mode can be set");
            let outcome = Key::read(file.path(), "--sign-with");
            assert_eq!(outcome.is_ok(), accepted, "{mode:o}: {outcome:?}");
            let said = outcome.map_or_else(|error| error.to_string(), |_| String::new());
            assert!(accepted || said.contains("chmod 600"), "{said}");
            assert!(!said.contains(SEED), "{said}");
        }
        let said = Key::read(Path::new(SEED), "--sign-with")
            .expect_err("a seed is no file")
            .to_string();
        assert!(said.contains("is a seed itself") && !said.contains(SEED), "{said}");
    }
}
