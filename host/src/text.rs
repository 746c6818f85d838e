//! Text for people, from strangers.

/// `text` with its control characters as escapes, so that none of them reaches a terminal.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => shown.extend(character.escape_debug()),
            false => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_are_escaped_and_nothing_else() {
        assert_eq!(
            printable("保单 \"a\" \\ \u{1b}[31m\n\u{9b}"),
            "保单 \"a\" \\ \\u{1b}[31m\\n\\u{9b}"
        );
    }
}
