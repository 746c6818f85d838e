//! What the chores say of themselves.

use std::fmt;

/// Says what was found of `what`, one short line.
pub(crate) fn say(what: &str, found: impl fmt::Display) {
    eprintln!("{what:<14} {found}");
}
