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

/// A duration as a person would write it: `90 s`, `2 h`.
pub fn duration(ms: i64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")];
    match units.into_iter().find(|(unit, _)| ms != 0 && ms % unit == 0) {
        Some((unit, name)) => format!("{} {name}", ms / unit),
        None => format!("{ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_nothing_else() {
        assert_eq!(
            printable("保单 \"a\" \\ \u{1b}[31m\n\u{9b}"),
            "保单 \"a\" \\ \\u{1b}[31m\\n\\u{9b}"
        );
    }

    #[test]
    fn durations_are_told_in_the_largest_unit_that_fits() {
        for (ms, words) in [(0, "0 ms"), (1500, "1500 ms"), (90_000, "90 s"), (604_800_000, "7 d")] {
            assert_eq!(duration(ms), words);
        }
    }
}
