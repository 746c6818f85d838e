//! Versions, as programs and package managers print them.

use std::fmt;

/// A version as far as this crate compares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    /// What a release raises when it breaks something.
    pub(crate) major: u32,
    /// What a release raises when it adds something.
    pub(crate) minor: u32,
    /// What a release raises when it repairs something; 0 where it is not said.
    pub(crate) patch: u32,
}

impl Version {
    /// Reads the first thing in `text` that looks like a version, be it `1.95`, `v2.15.1` or `1.96.0+dfsg1-1~deb12u2`.
    ///
    /// A Debian epoch (`1:2.0`) is skipped by that rule too, since a number before a colon has no dot.
    pub(crate) fn find(text: &str) -> Option<Version> {
        text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
            let mut numbers = word.split('.').map(str::parse);
            let major = numbers.next()?.ok()?;
            let minor = numbers.next()?.ok()?;
            let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
            Some(Version { major, minor, patch })
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version { major, minor, patch } = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<(u32, u32, u32)>) {
        let expect = expect.map(|(major, minor, patch)| Version { major, minor, patch });
        assert_eq!(Version::find(text), expect, "in {text:?}");
    }

    #[test]
    fn a_version_is_found_in_what_programs_print() {
        check("nats-server: v2.15.1\n", Some((2, 15, 1)));
        check("nats-server: v2.12.0-RC.1", Some((2, 12, 0)));
        check("rustc 1.95.0 (59807616e 2026-04-14)", Some((1, 95, 0)));
        check("1.96.0+dfsg1-1~deb12u2", Some((1, 96, 0)));
        check("2:1.63-1", Some((1, 63, 0)));
        check("1.95", Some((1, 95, 0)));
    }

    #[test]
    fn what_is_no_version_is_none() {
        check("", None);
        check("(none)", None);
        check("version 3", None);
        check("99999999999.1", None);
    }

    #[test]
    fn versions_compare_by_number_and_not_by_letter() {
        assert!(Version::find("2.9.3") < Version::find("2.12.0"));
    }
}
