//! Compiled code: the one place in which bytes become code that this process runs.

use super::required::Required;
use serde::{Deserialize, Serialize};
use wasmtime::{Engine, component::Component};

/// Bytes of the line before the code.
pub(super) const HEADER_BYTES_MAX: usize = 64 << 10;

/// What a compiler answers: a line of JSON, and the code behind it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Header {
    /// It could be compiled.
    Made(Made),
    /// It is no component that can be run, and why.
    Refused(String),
}

/// What the host is told of a component with its code.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Made {
    /// Bytes of code.
    pub(super) code_bytes: u64,
    /// What its instances take.
    pub(super) required: Required,
}

/// A component that can be instantiated.
pub(super) struct Loaded {
    pub(super) component: Component,
    /// What its instances take.
    pub(super) required: Required,
}

/// The code of a component, and what is known of it.
///
/// **Invariant**: the bytes were made by wasmtime's compiler for this machine, by ourselves. There are two ways to one:
/// [`Compiled::new`], for what a compiler of ours has just answered, and the cache, which gives what it was given.
pub(super) struct Compiled {
    /// The answer: header and code.
    answer: Vec<u8>,
    code_at: usize,
    required: Required,
}

impl Compiled {
    /// Takes an answer of a compiler of ours. `None` where it is none.
    pub(super) fn new(answer: Vec<u8>) -> Option<Result<Self, String>> {
        let line = answer.iter().take(HEADER_BYTES_MAX).position(|byte| *byte == b'\n')?;
        let made = match serde_json::from_slice(answer.get(..line)?).ok()? {
            Header::Made(made) => made,
            Header::Refused(reason) => return Some(Err(reason)),
        };
        let code_at = line + 1;
        let is_whole = answer.len() as u64 - code_at as u64 == made.code_bytes;
        is_whole.then_some(Ok(Self {
            answer,
            code_at,
            required: made.required,
        }))
    }

    /// The answer that this was taken from.
    pub(super) fn answer(&self) -> &[u8] {
        &self.answer
    }

    /// Makes a component of it.
    ///
    /// # Errors
    /// When it was made with other settings than the engine's, or for another machine.
    #[allow(
        unsafe_code,
        reason = "wasmtime asks who made the bytes; the invariant of this type says it"
    )]
    pub(super) fn load(&self, engine: &Engine) -> wasmtime::Result<Loaded> {
        let code = self.answer.get(self.code_at..).unwrap_or_default();
        // SAFETY: `deserialize` runs what the bytes say, so they must come from wasmtime's compiler. These do, by the
        // invariant of the type. Either a child process of ours has just compiled them, which is this same program
        // (`child.rs`) and has the stranger's component only as data; or this process has; or they were read from the
        // cache, where every file holds what one of the two gave, in a folder and a file that belong to us and that
        // nobody else may write to, with a digest over the whole (`cache.rs`). Who can write as this user is not kept
        // out by that, and need not be: they could replace the program as well. wasmtime itself refuses code of another
        // version, of other settings and of another machine.
        let component = unsafe { Component::deserialize(engine, code) }?;
        Ok(Loaded {
            component,
            required: self.required,
        })
    }
}

/// A compiler's answer with its code.
pub(super) fn made(code: &[u8], required: Required) -> Vec<u8> {
    let header = Header::Made(Made {
        code_bytes: code.len() as u64,
        required,
    });
    let mut answer = line(&header);
    answer.reserve_exact(code.len());
    answer.extend_from_slice(code);
    answer
}

/// A compiler's answer without.
pub(super) fn refused(mut reason: String) -> Vec<u8> {
    // What stands in it may be a name of the stranger's; escaped it must still fit.
    reason.truncate(reason.floor_char_boundary(HEADER_BYTES_MAX / 16));
    line(&Header::Refused(reason))
}

fn line(header: &Header) -> Vec<u8> {
    // A number, or a text: there is nothing that JSON has no form for.
    let mut line = serde_json::to_vec(header).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_whole_or_not_at_all() {
        let whole = made(b"\0code\n", Required::default());
        let taken = Compiled::new(whole.clone())
            .unwrap()
            .unwrap_or_else(|_| panic!("that is code"));
        assert_eq!(taken.answer.get(taken.code_at..), Some(&b"\0code\n"[..]));
        for end in 0..whole.len() {
            assert!(Compiled::new(whole[..end].to_vec()).is_none(), "{end} bytes of it");
        }
        let longer = [&whole[..], b"x"].concat();
        assert!(Compiled::new(longer).is_none());
    }

    #[test]
    fn a_refusal_fits_into_its_line_whatever_it_says() {
        let reason = "\u{1}\u{202e}".repeat(HEADER_BYTES_MAX);
        let answer = refused(reason);
        assert!(answer.len() <= HEADER_BYTES_MAX, "{} bytes", answer.len());
        let reason = Compiled::new(answer).unwrap().err().unwrap();
        assert!(reason.starts_with("\u{1}\u{202e}"), "{reason}");
    }
}
