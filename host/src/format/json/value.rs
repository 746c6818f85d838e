//! A text that is one JSON value.

use super::skip::{Nesting, skip_value, space};

/// Checks texts.
#[derive(Debug, Default)]
pub(in crate::format) struct JsonCheck(Nesting);

impl JsonCheck {
    /// The value in a text, without the white space around it; nothing where the text is not exactly one.
    pub(in crate::format) fn value<'t>(&mut self, text: &'t [u8]) -> Option<&'t [u8]> {
        let start = space(text, 0);
        let end = skip_value(text, start, &mut self.0).ok()?;
        let value = text.get(start..end)?;
        (space(text, end) >= text.len()).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::JsonCheck;

    #[test]
    fn one_value_and_nothing_else() {
        let mut check = JsonCheck::default();
        for text in ["1", "-1.5e3", "\"a\"", "true", "null", "{\"a\": [1, {}]}", "[]"] {
            for around in [text.to_owned(), format!(" \t{text}\r\n")] {
                assert_eq!(check.value(around.as_bytes()), Some(text.as_bytes()), "{around:?}");
            }
        }
        for text in ["", " ", "1 2", "{", "[1,]", "nul", "'a'", "\"\u{1}\"", "1x", "{} {}"] {
            assert_eq!(check.value(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(check.value(b"\"\xff\""), None);
    }
}
