//! Texts: found, checked, unescaped and copied in one pass.

use super::window::{WIDTH, byte, first, non_ascii, text_stops, window};
use super::{Fault, Found};

/// Where the characters of a text go.
pub(super) trait Receiver {
    /// Takes the first `count` bytes of a window.
    fn run(&mut self, window: &[u8; WIDTH], count: usize);
    /// Takes an escaped character.
    fn character(&mut self, character: char);
    /// Takes half a surrogate pair without the other half, or refuses it with false.
    fn lone_surrogate(&mut self) -> bool;
}

/// A column that is built.
impl Receiver for Vec<u8> {
    #[inline(always)]
    fn run(&mut self, window: &[u8; WIDTH], count: usize) {
        // A store of fixed width and a cut: a copy of variable length would be a call for a dozen bytes.
        let end = self.len().saturating_add(count);
        self.extend_from_slice(window);
        self.truncate(end);
    }

    fn character(&mut self, character: char) {
        self.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn lone_surrogate(&mut self) -> bool {
        false
    }
}

/// A column that is checked only.
pub(super) struct Checked;

impl Receiver for Checked {
    #[inline(always)]
    fn run(&mut self, _: &[u8; WIDTH], _: usize) {}
    fn character(&mut self, _: char) {}
    fn lone_surrogate(&mut self) -> bool {
        false
    }
}

/// A text that is no column: any escape that RFC 8259 allows will do.
pub(super) struct Ignored;

impl Receiver for Ignored {
    #[inline(always)]
    fn run(&mut self, _: &[u8; WIDTH], _: usize) {}
    fn character(&mut self, _: char) {}
    fn lone_surrogate(&mut self) -> bool {
        true
    }
}

/// A member's name that is written with escapes.
pub(super) struct Name<'n>(pub(super) &'n mut Vec<u8>);

impl Receiver for Name<'_> {
    fn run(&mut self, window: &[u8; WIDTH], count: usize) {
        self.0.run(window, count);
    }
    fn character(&mut self, character: char) {
        self.0.character(character);
    }
    fn lone_surrogate(&mut self) -> bool {
        // No declared name holds this byte, as it occurs nowhere in UTF-8: the member is one that is not declared.
        self.0.push(0xff);
        true
    }
}

/// A text that was read.
pub(super) struct Span {
    /// Where its closing quote is.
    pub(super) quote: usize,
    /// Whether it holds escapes.
    pub(super) escaped: bool,
}

/// Reads the text whose first character is at `start`, just after the opening quote.
#[inline(always)]
pub(super) fn text<R: Receiver>(payload: &[u8], start: usize, to: &mut R) -> Result<Span, Fault> {
    let mut at = start;
    let mut escaped = false;
    let mut beyond_ascii = 0;
    loop {
        let bytes = window(payload, at);
        let stops = text_stops(&bytes);
        let count = first(stops);
        // Bytes after the stop are not of this text; taking them in would only validate a text for nothing.
        beyond_ascii |= non_ascii(&bytes) & stops.wrapping_sub(1) & !stops;
        to.run(&bytes, count);
        at = at.saturating_add(count);
        if count == WIDTH {
            continue;
        }
        match byte(payload, at) {
            b'"' => break,
            b'\\' => {
                escaped = true;
                at = escape(payload, at, to)?;
            }
            _ => return Err(stopped(payload, at)),
        }
    }
    if beyond_ascii != 0 {
        check_utf8(payload, start, at)?;
    }
    Ok(Span { quote: at, escaped })
}

#[cold]
fn stopped(payload: &[u8], at: usize) -> Fault {
    Fault::new(if at < payload.len() { Found::Control } else { Found::End }, at)
}

/// An escape is ASCII, so a text is valid UTF-8 if and only if it is so as written.
#[inline(never)]
fn check_utf8(payload: &[u8], start: usize, end: usize) -> Result<(), Fault> {
    match std::str::from_utf8(payload.get(start..end).unwrap_or_default()) {
        Ok(_) => Ok(()),
        Err(_) => Err(Fault::new(Found::NotUtf8, start)),
    }
}

/// Reads the escape whose backslash is at `at`; returns where it ends.
#[inline(never)]
fn escape<R: Receiver>(payload: &[u8], at: usize, to: &mut R) -> Result<usize, Fault> {
    let fault = Fault::new(Found::BadEscape, at);
    let character = match byte(payload, at.saturating_add(1)) {
        b'u' => return unicode_escape(payload, at, to),
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        plain @ (b'"' | b'\\' | b'/') => char::from(plain),
        _ => return Err(fault),
    };
    to.character(character);
    Ok(at.saturating_add(2))
}

/// Reads `\uXXXX`, and with it a second one if the two are a surrogate pair.
fn unicode_escape<R: Receiver>(payload: &[u8], at: usize, to: &mut R) -> Result<usize, Fault> {
    let unit = code_unit(payload, at).ok_or(Fault::new(Found::BadEscape, at))?;
    let end = at.saturating_add(6);
    if let Some(character) = char::from_u32(unit) {
        to.character(character);
        return Ok(end);
    }
    if let (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) = (unit, code_unit(payload, end)) {
        let pair = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        if let Some(character) = char::from_u32(pair) {
            to.character(character);
            return Ok(end.saturating_add(6));
        }
    }
    if to.lone_surrogate() {
        Ok(end)
    } else {
        Err(Fault::new(Found::LoneSurrogate, at))
    }
}

/// The code unit of the `\uXXXX` at `at`, if one is there.
fn code_unit(payload: &[u8], at: usize) -> Option<u32> {
    let digits = payload.get(at..)?.strip_prefix(b"\\u")?.first_chunk::<4>()?;
    digits
        .iter()
        .try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}
