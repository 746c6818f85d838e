//! Values that are no column: checked to be JSON, of any size and any depth, and passed over.

use super::number::{literal, skip_number};
use super::text::{Ignored, text};
use super::window::byte;
use super::{Fault, Found};

/// The end of the white space that starts at `at`.
#[inline(always)]
pub(super) fn space(payload: &[u8], at: usize) -> usize {
    if byte(payload, at) > b' ' {
        at
    } else {
        long_space(payload, at)
    }
}

#[inline(never)]
fn long_space(payload: &[u8], mut at: usize) -> usize {
    while matches!(byte(payload, at), b' ' | b'\n' | b'\r' | b'\t') {
        at = at.saturating_add(1);
    }
    at
}

/// Which containers are open, outermost first: a bit each, so the deepest payload costs an eighth of a byte a level and
/// no stack.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    /// Full words; a set bit is an object, a clear one an array.
    outer: Vec<u64>,
    inner: u64,
    depth: usize,
}

impl Nesting {
    fn open(&mut self, object: bool) {
        if self.depth.is_multiple_of(64) && self.depth > 0 {
            self.outer.push(self.inner);
        }
        self.inner = self.inner << 1 | u64::from(object);
        self.depth = self.depth.saturating_add(1);
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.inner >>= 1;
        if self.depth.is_multiple_of(64) && self.depth > 0 {
            self.inner = self.outer.pop().unwrap_or_default();
        }
    }

    fn in_object(&self) -> bool {
        self.inner & 1 == 1
    }

    fn clear(&mut self) {
        self.outer.clear();
        self.depth = 0;
    }
}

/// The end of the value that starts at `at`.
#[inline]
pub(super) fn skip_value(payload: &[u8], at: usize, nesting: &mut Nesting) -> Result<usize, Fault> {
    match byte(payload, at) {
        b'{' | b'[' => skip_container(payload, at, nesting),
        _ => skip_scalar(payload, at),
    }
}

#[inline]
fn skip_scalar(payload: &[u8], at: usize) -> Result<usize, Fault> {
    match byte(payload, at) {
        b'"' => skip_text(payload, at),
        b'-' | b'0'..=b'9' => skip_number(payload, at),
        b't' | b'f' | b'n' => literal(payload, at),
        _ => Err(Fault::new(Found::NoValue, at)),
    }
}

/// The end of the text whose opening quote is at `at`.
#[inline]
fn skip_text(payload: &[u8], at: usize) -> Result<usize, Fault> {
    text(payload, at.saturating_add(1), &mut Ignored).map(|span| span.quote.saturating_add(1))
}

/// The end of the object or array that starts at `at`.
#[inline(never)]
fn skip_container(payload: &[u8], mut at: usize, nesting: &mut Nesting) -> Result<usize, Fault> {
    nesting.clear();
    loop {
        // A value starts here.
        at = match byte(payload, at) {
            bracket @ (b'{' | b'[') => {
                let object = bracket == b'{';
                nesting.open(object);
                at = space(payload, at.saturating_add(1));
                let empty = byte(payload, at) == if object { b'}' } else { b']' };
                if !empty {
                    at = if object { skip_name(payload, at)? } else { at };
                    continue;
                }
                nesting.close();
                at.saturating_add(1)
            }
            _ => skip_scalar(payload, at)?,
        };
        // A value has ended: containers close, or the next value begins.
        loop {
            if nesting.depth == 0 {
                return Ok(at);
            }
            at = space(payload, at);
            match (byte(payload, at), nesting.in_object()) {
                (b',', true) => at = skip_name(payload, space(payload, at.saturating_add(1)))?,
                (b',', false) => at = space(payload, at.saturating_add(1)),
                (b'}', true) | (b']', false) => {
                    nesting.close();
                    at = at.saturating_add(1);
                    continue;
                }
                (_, object) => {
                    return Err(Fault::new(
                        if object {
                            Found::NoMemberEnd
                        } else {
                            Found::NoElementEnd
                        },
                        at,
                    ));
                }
            }
            break;
        }
    }
}

/// The start of the value of the member whose name starts at `at`.
fn skip_name(payload: &[u8], at: usize) -> Result<usize, Fault> {
    if byte(payload, at) != b'"' {
        return Err(Fault::new(Found::NoName, at));
    }
    let colon = space(payload, skip_text(payload, at)?);
    if byte(payload, colon) != b':' {
        return Err(Fault::new(Found::NoColon, colon));
    }
    Ok(space(payload, colon.saturating_add(1)))
}
