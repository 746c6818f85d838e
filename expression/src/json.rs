//! JSON as bytes: finds a value in a text without building a tree, and writes strings. A text that is no JSON has no values in it.

use crate::decimal;

/// How deep a value may be nested that is looked through.
const DEPTH_MAX: usize = 512;

/// What a JSON value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number.
    Number,
    /// `true` or `false`
    Boolean,
    /// `null`
    Null,
}

impl Kind {
    /// Its name in JSON's own words.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Object => "object",
            Kind::Array => "array",
            Kind::String => "string",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::Null => "null",
        }
    }
}

/// What the value is that a text begins with.
pub fn kind(json: &[u8]) -> Option<Kind> {
    Some(match json.get(skip_space(json, 0))? {
        b'{' => Kind::Object,
        b'[' => Kind::Array,
        b'"' => Kind::String,
        b't' | b'f' => Kind::Boolean,
        b'n' => Kind::Null,
        b'-' | b'0'..=b'9' => Kind::Number,
        _ => return None,
    })
}

/// The value of a name in an object; of a name that occurs twice, the last.
pub fn member<'a>(json: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut found = None;
    each(json, b'{', b'}', |key, value| {
        if key.is_some_and(|key| key == name || key.contains(&b'\\') && string_of(key).as_deref() == Some(name)) {
            found = Some(value);
        }
    });
    found
}

/// The element of an array, counted from 0; a negative number counts from the end, where -1 is the last.
pub fn element(json: &[u8], index: i64) -> Option<&[u8]> {
    let index = match index {
        0.. => index,
        _ => index.checked_add(i64::try_from(array_len(json)?).ok()?)?,
    };
    let (mut at, mut found) = (0, None);
    each(json, b'[', b']', |_, value| {
        if at == index {
            found = Some(value);
        }
        at += 1;
    });
    found
}

/// How many elements an array has.
pub fn array_len(json: &[u8]) -> Option<usize> {
    let mut count = 0;
    each(json, b'[', b']', |_, _| count += 1).then_some(count)
}

/// Hands on the elements of an array. False where it is none.
pub fn elements<'a>(json: &'a [u8], mut visit: impl FnMut(&'a [u8])) -> bool {
    each(json, b'[', b']', |_, value| visit(value))
}

/// Hands on what is in an object or array: the name as it stands between its quotes, and the value.
fn each<'a>(json: &'a [u8], open: u8, close: u8, mut visit: impl FnMut(Option<&'a [u8]>, &'a [u8])) -> bool {
    let mut at = skip_space(json, 0);
    if json.get(at) != Some(&open) {
        return false;
    }
    at = skip_space(json, at + 1);
    if json.get(at) == Some(&close) {
        return true;
    }
    loop {
        let mut key = None;
        if open == b'{' {
            let Some(end) = skip_string(json, at) else { return false };
            key = json.get(at + 1..end - 1);
            at = skip_space(json, end);
            if json.get(at) != Some(&b':') {
                return false;
            }
            at = skip_space(json, at + 1);
        }
        let Some(end) = skip_value(json, at) else { return false };
        let Some(value) = json.get(at..end) else { return false };
        visit(key, value);
        at = skip_space(json, end);
        match json.get(at) {
            Some(b',') => at = skip_space(json, at + 1),
            Some(last) => return *last == close,
            None => return false,
        }
    }
}

/// Whether a text is one JSON value, to its end, and no deeper than values are looked through.
pub fn is_valid(json: &[u8]) -> bool {
    let at = skip_space(json, 0);
    skip_checked(json, at, 0).is_some_and(|end| skip_space(json, end) == json.len())
}

fn skip_checked(json: &[u8], at: usize, depth: usize) -> Option<usize> {
    let value = json.get(at..)?;
    match value.first()? {
        b'"' => {
            let end = skip_string(json, at)?;
            string_of(json.get(at + 1..end - 1)?)?;
            Some(end)
        }
        open @ (b'{' | b'[') if depth < DEPTH_MAX / 4 => {
            let close = if *open == b'{' { b'}' } else { b']' };
            let mut at = skip_space(json, at + 1);
            if json.get(at) == Some(&close) {
                return Some(at + 1);
            }
            loop {
                if *open == b'{' {
                    (json.get(at) == Some(&b'"')).then_some(())?;
                    at = skip_space(json, skip_checked(json, at, depth + 1)?);
                    (json.get(at) == Some(&b':')).then_some(())?;
                    at = skip_space(json, at + 1);
                }
                at = skip_space(json, skip_checked(json, at, depth + 1)?);
                match json.get(at)? {
                    b',' => at = skip_space(json, at + 1),
                    last => return (*last == close).then_some(at + 1),
                }
            }
        }
        b'-' | b'0'..=b'9' => {
            let end = skip_scalar(json, at);
            is_number(json.get(at..end)?).then_some(end)
        }
        _ => {
            let end = skip_scalar(json, at);
            matches!(json.get(at..end)?, b"true" | b"false" | b"null").then_some(end)
        }
    }
}

/// Whether a text is a number as JSON writes one.
pub fn is_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let has_form = match digits {
        [b'0', rest @ ..] => !rest.first().is_some_and(u8::is_ascii_digit),
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    let point = digits.iter().position(|byte| *byte == b'.');
    has_form
        && point.is_none_or(|point| digits.get(point + 1).is_some_and(u8::is_ascii_digit))
        && decimal::is_number(digits)
}

fn skip_space(json: &[u8], mut at: usize) -> usize {
    while json
        .get(at)
        .is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
    {
        at += 1;
    }
    at
}

fn skip_scalar(json: &[u8], mut at: usize) -> usize {
    while json
        .get(at)
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    {
        at += 1;
    }
    at
}

/// Where a string ends that begins here, behind its quote.
fn skip_string(json: &[u8], at: usize) -> Option<usize> {
    if json.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        match json.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Where a value ends that begins here. What is inside is looked at for its brackets alone.
fn skip_value(json: &[u8], at: usize) -> Option<usize> {
    match json.get(at)? {
        b'"' => skip_string(json, at),
        b'{' | b'[' => {
            let (mut at, mut depth) = (at, 0usize);
            loop {
                match json.get(at)? {
                    b'"' => {
                        at = skip_string(json, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => (),
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
                if depth > DEPTH_MAX {
                    return None;
                }
            }
        }
        _ => {
            let end = skip_scalar(json, at);
            (end > at).then_some(end)
        }
    }
}

/// The text of a string value, with its quotes; nothing where it is no string.
pub fn text_of(value: &[u8]) -> Option<Vec<u8>> {
    string_of(value.strip_prefix(b"\"")?.strip_suffix(b"\"")?)
}

/// The text that stands between the quotes of a string.
fn string_of(inside: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(inside.len());
    let mut left = inside;
    while let Some((first, rest)) = left.split_first() {
        left = rest;
        if *first < b' ' {
            return None;
        }
        if *first != b'\\' {
            text.push(*first);
            continue;
        }
        let (escape, rest) = left.split_first()?;
        left = rest;
        match escape {
            b'"' | b'\\' | b'/' => text.push(*escape),
            b'b' => text.push(8),
            b'f' => text.push(12),
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'u' => {
                let mut unit = take_hex(&mut left)?;
                if (0xd800..0xdc00).contains(&unit) {
                    left = left.strip_prefix(b"\\u")?;
                    let low = take_hex(&mut left)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    unit = 0x10000 + ((unit - 0xd800) << 10) + low;
                }
                let mut bytes = [0; 4];
                text.extend_from_slice(char::from_u32(unit)?.encode_utf8(&mut bytes).as_bytes());
            }
            _ => return None,
        }
    }
    Some(text)
}

fn take_hex(left: &mut &[u8]) -> Option<u32> {
    let (digits, rest) = left.split_at_checked(4)?;
    *left = rest;
    digits
        .iter()
        .try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

/// Appends a text as a JSON string.
pub fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            0..=31 => {
                let hex = |digit: u8| char::from_digit(digit.into(), 16).map_or(b'0', |digit| digit as u8);
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[hex(byte >> 4), hex(byte & 15)]);
            }
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}

/// Appends a double as JSON has it in Weir: the shortest digits that tell it from its neighbours, with a point or an exponent.
pub fn push_double(out: &mut Vec<u8>, value: f64) {
    let magnitude = value.abs();
    if value != 0.0 && !(1e-5..1e16).contains(&magnitude) {
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                out.extend_from_slice(digits.as_bytes());
                out.extend_from_slice(b"e+");
                out.extend_from_slice(exponent.as_bytes());
            }
            _ => out.extend_from_slice(text.as_bytes()),
        }
        return;
    }
    let text = format!("{value}");
    out.extend_from_slice(text.as_bytes());
    if !text.contains('.') {
        out.extend_from_slice(b".0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_where_they_stand() {
        let json = br#" {"a": [1, {"b": "x\"]"}, null], "a\u0062": 2.50, "c": {}} "#;
        let a = member(json, b"a").unwrap();
        assert_eq!(a, br#"[1, {"b": "x\"]"}, null]"#);
        assert_eq!(array_len(a), Some(3));
        assert_eq!(
            (element(a, 0), element(a, -1), element(a, 3)),
            (Some(&b"1"[..]), Some(&b"null"[..]), None)
        );
        let b = member(element(a, 1).unwrap(), b"b").unwrap();
        assert_eq!(text_of(b).unwrap(), b"x\"]");
        assert_eq!(member(json, b"ab"), Some(&b"2.50"[..]));
        assert_eq!(member(json, b"d"), None);
        assert!(is_valid(json) && !is_valid(b"[1,]") && !is_valid(b"01") && !is_valid(b"1.") && !is_valid(b"{\"a\"}"));
        for broken in ["", "[", "[1", "{\"a", "\"\\", "[[[[", "{\"a\":", "]"] {
            let _ = (
                member(broken.as_bytes(), b"a"),
                element(broken.as_bytes(), 0),
                is_valid(broken.as_bytes()),
            );
        }
    }

    #[test]
    fn strings_and_doubles_are_written_as_the_host_does() {
        let mut out = Vec::new();
        push_string(&mut out, "a\"\\\u{1}ä\n".as_bytes());
        assert_eq!(out, "\"a\\\"\\\\\\u0001ä\\n\"".as_bytes());
        for (value, form) in [
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (-2.5e-7, "-2.5e-7"),
            (0.00001, "0.00001"),
            (0.0, "0.0"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
        ] {
            let mut out = Vec::new();
            push_double(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), form);
        }
    }
}
