//! Text for people, from strangers.

/// Whether a terminal, or a reader, would take a character for something else than a sign to show: control characters (C0,
/// delete, C1), marks that change the direction of what stands around them, characters without width, and separators of
/// lines and paragraphs. Variation selectors are none of them: they go with the sign before them.
pub fn is_deceptive(character: char) -> bool {
    character.is_control()
        || character >= '\u{ad}'
            && matches!(character,
                '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// `text` with its deceptive characters as escapes: a line feed is `\n`, an escape `\u{1b}`. For every value that came from
/// outside: it cannot end the line that it stands in.
pub fn printable(text: &str) -> String {
    escaped(text, is_deceptive)
}

/// The same, cut after `most` characters; where it is, it says how many there are.
pub fn printable_up_to(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => printable(text),
        Some((end, _)) => format!(
            "{}… ({} characters)",
            printable(text.get(..end).unwrap_or_default()),
            text.chars().count()
        ),
    }
}

/// As [`printable`], for a text of several lines, whose line feeds and tabs are its own.
pub fn printable_lines(text: &str) -> String {
    escaped(text, |character| {
        is_deceptive(character) && !matches!(character, '\n' | '\t')
    })
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match (is_escaped(character), character.is_control()) {
            (false, _) => shown.push(character),
            (true, true) => shown.extend(character.escape_debug()),
            (true, false) => shown.extend(character.escape_unicode()),
        }
    }
    shown
}

/// JSON text, a value on a line, with its deceptive characters as `\u` escapes of JSON, so that it is the same value. (What JSON escapes anyhow
/// is escaped already: such characters stand in strings alone.)
pub fn printable_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if !is_deceptive(character) || character == '\n' {
            shown.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            shown += &format!("\\u{unit:04x}");
        }
    }
    shown
}

/// A duration in microseconds as a person would write it: `90 s`, `2 h`.
pub fn duration(us: i64) -> String {
    let units = [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "min"),
        (1_000_000, "s"),
        (1_000, "ms"),
    ];
    match units
        .into_iter()
        .find(|(unit, _)| us % unit == 0 && (us != 0 || *unit == 1_000))
    {
        Some((unit, name)) => format!("{} {name}", us / unit),
        None => format!("{us} us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_is_escaped_and_nothing_else() {
        assert_eq!(
            printable("保单 \"a\" \\ \u{1b}[31m\n\u{9b}\u{7f}"),
            "保单 \"a\" \\ \\u{1b}[31m\\n\\u{9b}\\u{7f}"
        );
        let deceptive = "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{200e}\u{200f}\u{61c}\
                         \u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{2028}\u{2029}\u{85}\u{ad}\u{e0041}\u{180e}";
        for character in deceptive.chars() {
            let escape = format!("\\u{{{:x}}}", u32::from(character));
            assert_eq!(printable(&format!("a{character}b")), format!("a{escape}b"));
        }
        let harmless = "é e\u{301} \u{a0} ſ 한 ❤\u{fe0f} 👩 שלום";
        assert_eq!(printable(harmless), harmless);
    }

    #[test]
    fn lines_and_tabs_stay_where_they_are_meant() {
        assert_eq!(printable_lines("a\n\tb\r\u{1b}"), "a\n\tb\\r\\u{1b}");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({ "a\u{202e}": "\u{1b}\u{9b}\n\u{e0041}é\"\\" });
        let shown = printable_json(&value.to_string());
        assert!(!shown.chars().any(is_deceptive), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).ok(), Some(value));
    }

    #[test]
    fn durations_are_told_in_the_largest_unit_that_fits() {
        for (us, words) in [
            (0, "0 ms"),
            (1_500, "1500 us"),
            (1_500_000, "1500 ms"),
            (90_000_000, "90 s"),
            (604_800_000_000, "7 d"),
        ] {
            assert_eq!(duration(us), words);
        }
    }
}
