//! `like`: `%` for any characters, `_` for one. There is no escape but one that is named.

/// A pattern, cut into what it is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Like {
    parts: Vec<Part>,
    ignores_case: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(Vec<u8>),
    One,
    Any,
}

impl Like {
    /// Reads a pattern; nothing where its last character is the escape.
    pub(super) fn new(pattern: &[u8], escape: Option<&[u8]>, ignores_case: bool) -> Option<Like> {
        let pattern = String::from_utf8_lossy(pattern);
        let escape = escape.and_then(|escape| String::from_utf8_lossy(escape).chars().next());
        let (mut parts, mut literal) = (Vec::new(), String::new());
        let mut chars = pattern.chars();
        while let Some(char) = chars.next() {
            if Some(char) == escape {
                literal.push(chars.next()?);
                continue;
            }
            let part = match char {
                '%' => Part::Any,
                '_' => Part::One,
                char => {
                    literal.push(char);
                    continue;
                }
            };
            push_literal(&mut parts, &mut literal, ignores_case);
            if part != Part::Any || parts.last() != Some(&Part::Any) {
                parts.push(part);
            }
        }
        push_literal(&mut parts, &mut literal, ignores_case);
        Some(Like { parts, ignores_case })
    }

    /// Whether a text is of the pattern.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        if !self.ignores_case {
            return self.matches_bytes(text);
        }
        self.matches_bytes(String::from_utf8_lossy(text).to_lowercase().as_bytes())
    }

    fn matches_bytes(&self, text: &[u8]) -> bool {
        let (mut at, mut part) = (0, 0);
        // Where to go on when what stands behind the last `%` does not fit: one character further.
        let mut back: Option<(usize, usize)> = None;
        loop {
            let next = match self.parts.get(part) {
                Some(Part::Any) => {
                    if part + 1 == self.parts.len() {
                        return true;
                    }
                    back = Some((at, part + 1));
                    part += 1;
                    continue;
                }
                Some(Part::Literal(literal)) if text.get(at..).is_some_and(|left| left.starts_with(literal)) => {
                    Some(at + literal.len())
                }
                Some(Part::One) if at < text.len() => Some(at + char_len(text, at)),
                None if at == text.len() => return true,
                _ => None,
            };
            match (next, back) {
                (Some(next), _) => (at, part) = (next, part + 1),
                (None, Some((from, behind))) if from < text.len() => {
                    let from = self.next_start(text, from + char_len(text, from), behind);
                    back = Some((from, behind));
                    (at, part) = (from, behind);
                }
                _ => return false,
            }
        }
    }

    /// Where the literal of a part occurs next; the end of the text where it does not.
    fn next_start(&self, text: &[u8], from: usize, part: usize) -> usize {
        let Some(Part::Literal(literal)) = self.parts.get(part) else {
            return from;
        };
        let left = text.get(from..).unwrap_or_default();
        let found = left
            .windows(literal.len().max(1))
            .position(|window| window == literal.as_slice());
        found.map_or(text.len(), |found| from + found)
    }
}

fn push_literal(parts: &mut Vec<Part>, literal: &mut String, ignores_case: bool) {
    if !literal.is_empty() {
        let text = std::mem::take(literal);
        let text = if ignores_case { text.to_lowercase() } else { text };
        parts.push(Part::Literal(text.into_bytes()));
    }
}

/// How many bytes the character has that begins here.
pub(super) fn char_len(text: &[u8], at: usize) -> usize {
    let rest = text.get(at + 1..).unwrap_or_default();
    1 + rest.iter().take_while(|byte| **byte & 0xc0 == 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_sql() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("%", "", true),
            ("a%", "abc", true),
            ("%c", "abc", true),
            ("%b%", "abc", true),
            ("a_c", "abc", true),
            ("a_c", "aüc", true),
            ("_", "", false),
            ("%a%a%", "banana", true),
            ("%ana", "banana", true),
            ("%an_", "banana", true),
            ("b%n%x", "banana", false),
            ("%%_", "x", true),
            ("50!%", "50%", true),
            ("50!%", "500", false),
            ("a", "A", false),
        ] {
            let like = Like::new(pattern.as_bytes(), Some(b"!"), false).unwrap();
            assert_eq!(like.matches(text.as_bytes()), expected, "{text:?} like {pattern:?}");
        }
        assert!(
            Like::new("ZÜ%".as_bytes(), None, true)
                .unwrap()
                .matches("zürich".as_bytes())
        );
        assert_eq!(Like::new(b"a!", Some(b"!"), false), None);
    }
}
