//! The elements of an array, one after the other.

use super::{
    fault::{Fault, Found},
    skip::{Nesting, skip_value, space},
    window::byte,
};

/// What checks elements, to be used again.
#[derive(Debug, Default)]
pub(in crate::format) struct ElementCheck(Nesting);

/// The elements of the array that a text is, each as it is written. Ends behind a fault.
pub(in crate::format) struct Elements<'t> {
    text: &'t [u8],
    nesting: &'t mut Nesting,
    /// Where the next element begins, or the array ends; nothing behind it.
    at: Option<usize>,
}

impl ElementCheck {
    /// The elements of the array in a text; nothing where there is anything but an array in it.
    pub(in crate::format) fn of<'t>(&'t mut self, text: &'t [u8]) -> Option<Elements<'t>> {
        let start = space(text, 0);
        (byte(text, start) == b'[').then(|| Elements {
            at: Some(space(text, start.saturating_add(1))).filter(|&at| byte(text, at) != b']'),
            text,
            nesting: &mut self.0,
        })
    }
}

impl<'t> Iterator for Elements<'t> {
    type Item = Result<&'t [u8], Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at.take()?;
        let end = match skip_value(self.text, start, self.nesting) {
            Ok(end) => end,
            Err(fault) => return Some(Err(fault)),
        };
        let behind = space(self.text, end);
        self.at = match byte(self.text, behind) {
            b',' => Some(space(self.text, behind.saturating_add(1))),
            b']' => None,
            _ => return Some(Err(Fault::new(Found::NoElementEnd, behind))),
        };
        Some(Ok(self.text.get(start..end).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::ElementCheck;

    #[track_caller]
    fn check(text: &str, expected: Option<&[&str]>) {
        let mut check = ElementCheck::default();
        let found = check.of(text.as_bytes()).map(|elements| {
            let texts = elements.map(|element| element.ok().map(|text| String::from_utf8_lossy(text).into_owned()));
            texts
                .map(|text| text.unwrap_or_else(|| "!".to_owned()))
                .collect::<Vec<_>>()
        });
        assert_eq!(
            found,
            expected.map(|all| all.iter().map(|one| (*one).to_owned()).collect())
        );
    }

    #[test]
    fn elements_are_as_they_are_written() {
        check("[]", Some(&[]));
        check(" [ ] ", Some(&[]));
        check(
            "[1, \"a]\" ,{\"b\": [2, 3]},[],null]",
            Some(&["1", "\"a]\"", "{\"b\": [2, 3]}", "[]", "null"]),
        );
    }

    #[test]
    fn what_is_no_array_has_none() {
        for text in ["", "null", "1", "\"[1]\"", "{\"a\": [1]}"] {
            check(text, None);
        }
        check("[1", Some(&["!"]));
        check("[1,]", Some(&["1", "!"]));
        check("[1 2]", Some(&["!"]));
    }
}
