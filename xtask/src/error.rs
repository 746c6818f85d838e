//! One error type: a text for a person, and the command that puts it right where there is one.

use std::fmt;

/// The result of everything in this crate that can fail.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// What went wrong, and what to do about it.
///
/// Nothing here acts on the kind of an error (it is printed, and the exit code is 1), so there are no kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    text: String,
    remedies: Vec<String>,
}

impl Error {
    /// An error that says `text`.
    pub(crate) fn new(text: impl Into<String>) -> Error {
        Error {
            text: text.into(),
            remedies: Vec::new(),
        }
    }

    /// Names a command that would put it right. With several, each is a way of its own.
    pub(crate) fn remedy(mut self, command: impl Into<String>) -> Error {
        self.remedies.push(command.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        for (nth, command) in self.remedies.iter().enumerate() {
            write!(f, "\n  {} {command}", if nth == 0 { "try:" } else { " or:" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_remedy_is_a_line_of_its_own() {
        let error = Error::new("no tea").remedy("kettle on").remedy("coffee");
        assert_eq!(error.to_string(), "no tea\n  try: kettle on\n   or: coffee");
    }
}
