//! Envelopes of Debezium: where in a payload the row stands that changed, and whether it is gone.
//!
//! `{"before": …, "after": …, "source": …, "op": "u", …}`, or the same in the member `payload` beside a `schema`. The members may
//! come in any order, and `op` comes late: so an envelope is gone over once for what it says, and once more for its values.

use super::{
    Fault, Found,
    skip::{Nesting, skip_value, space},
    text::{Name, text},
    window::byte,
};
use crate::{format::columns::RejectedPayload, text::printable};
use std::ops::Range;

/// Letters of an operation that a reason shows.
const OP_SHOWN: usize = 20;

/// What an envelope is, for a reason.
const ACCEPTED: &str = "an envelope of Debezium with a member \"op\", such as {\"op\": \"c\", \"after\": {…}}, by itself or in a member \"payload\"";

/// An envelope that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::format) struct Envelope {
    /// Where its object stands in the payload.
    pub(in crate::format) place: Range<usize>,
    /// Whether the row is gone: the envelope has it as it was before.
    pub(in crate::format) deletes: bool,
}

/// Finds envelopes.
#[derive(Debug, Default)]
pub(in crate::format) struct EnvelopeScanner {
    nesting: Nesting,
    name: Vec<u8>,
}

/// The members of an object that matter, each with where its value stands.
#[derive(Debug, Default)]
struct Members {
    op: Option<Range<usize>>,
    before: Option<Range<usize>>,
    after: Option<Range<usize>>,
    payload: Option<Range<usize>>,
    /// Where the object ends.
    end: usize,
}

impl EnvelopeScanner {
    /// The envelope of a payload. Nothing where that is empty or null, as a tombstone is behind a deletion.
    ///
    /// # Errors
    /// Says what was found, and what is accepted.
    pub(in crate::format) fn find(&mut self, payload: &[u8]) -> Result<Option<Envelope>, RejectedPayload> {
        let reject = |fault: Fault| fault.reject(payload, &[]);
        let start = space(payload, 0);
        let null = payload.get(start..).is_some_and(|rest| rest.starts_with(b"null"));
        let is_null = null && space(payload, start.saturating_add(4)) >= payload.len();
        if start >= payload.len() || is_null {
            return Ok(None);
        }
        let members = self.members(payload, start).map_err(reject)?;
        let end = space(payload, members.end);
        if end < payload.len() {
            return Err(reject(Fault::new(Found::Trailing, end)));
        }
        match (&members.op, &members.payload) {
            (None, Some(inner)) if byte(payload, inner.start) == b'n' => Ok(None),
            (None, Some(inner)) => {
                let within = self.members(payload, inner.start).map_err(reject)?;
                envelope(payload, inner.start, &within).map(Some)
            }
            _ => envelope(payload, start, &members).map(Some),
        }
    }

    /// Reads the object at `start`.
    fn members(&mut self, payload: &[u8], start: usize) -> Result<Members, Fault> {
        let mut members = Members::default();
        if byte(payload, start) != b'{' {
            return Err(Fault::new(Found::NoObject, start));
        }
        let mut at = space(payload, start.saturating_add(1));
        let mut more = byte(payload, at) != b'}';
        while more {
            if byte(payload, at) != b'"' {
                return Err(Fault::new(Found::NoName, at));
            }
            let name = at.saturating_add(1);
            self.name.clear();
            let span = text(payload, name, &mut Name(&mut self.name))?;
            at = space(payload, span.quote.saturating_add(1));
            if byte(payload, at) != b':' {
                return Err(Fault::new(Found::NoColon, at));
            }
            let value = space(payload, at.saturating_add(1));
            let end = skip_value(payload, value, &mut self.nesting)?;
            let place = match self.name.as_slice() {
                b"op" => Some(&mut members.op),
                b"before" => Some(&mut members.before),
                b"after" => Some(&mut members.after),
                b"payload" => Some(&mut members.payload),
                _ => None,
            };
            if place.is_some_and(|place| place.replace(value..end).is_some()) {
                return Err(Fault::new(Found::Twice, name));
            }
            at = space(payload, end);
            match byte(payload, at) {
                b',' => at = space(payload, at.saturating_add(1)),
                b'}' => more = false,
                _ => return Err(Fault::new(Found::NoMemberEnd, at)),
            }
        }
        members.end = at.saturating_add(1);
        Ok(members)
    }
}

/// The envelope that is the object at `start`.
fn envelope(payload: &[u8], start: usize, members: &Members) -> Result<Envelope, RejectedPayload> {
    let reject = |reason: String| Err(RejectedPayload { column: None, reason });
    let Some(op) = &members.op else {
        return reject(format!("found no member \"op\"; accepted is {ACCEPTED}"));
    };
    let written = payload.get(op.clone()).unwrap_or_default();
    let (deletes, image, name) = match written {
        br#""c""# | br#""r""# | br#""u""# => (false, &members.after, "after"),
        br#""d""# => (true, &members.before, "before"),
        _ => {
            let shown = String::from_utf8_lossy(written)
                .chars()
                .take(OP_SHOWN)
                .collect::<String>();
            let truncates = if written == br#""t""# {
                ", which empties a table"
            } else {
                ""
            };
            return reject(format!(
                "found the op {}{truncates}, at byte {}; accepted are \"c\", \"r\", \"u\" and \"d\", each of which changes one row",
                printable(&shown),
                op.start
            ));
        }
    };
    let found = match image {
        Some(image) if byte(payload, image.start) == b'{' => {
            return Ok(Envelope {
                place: start..members.end,
                deletes,
            });
        }
        Some(image) if byte(payload, image.start) == b'n' => format!("null at byte {} in \"{name}\"", image.start),
        Some(image) => format!("no object at byte {} in \"{name}\"", image.start),
        None => format!("no member \"{name}\""),
    };
    let accepted = match deletes {
        true => {
            "at least the key of the row that is gone; Postgres sends none of a table with REPLICA IDENTITY NOTHING"
        }
        false => "the row as it is now",
    };
    reject(format!(
        "found {found}, and the op is {}; accepted is an object with {accepted}",
        String::from_utf8_lossy(written)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(payload: &str) -> Result<Option<(&str, bool)>, String> {
        let found = EnvelopeScanner::default().find(payload.as_bytes());
        let found = found.map(|found| found.map(|found| (&payload[found.place], found.deletes)));
        found.map_err(|rejected| rejected.to_string())
    }

    #[test]
    fn an_envelope_is_found_by_itself_or_in_a_payload() {
        for op in ["c", "r", "u"] {
            let bare = format!(r#"{{"before":null,"after":{{"id":1}},"source":{{"op":7}},"op":"{op}","ts_ms":1}}"#);
            assert_eq!(found(&bare), Ok(Some((&*bare, false))));
            let wrapped = format!(r#" {{"schema":{{"payload":[1]}},"payload": {bare} }} "#);
            assert_eq!(found(&wrapped), Ok(Some((&*bare, false))));
        }
        let gone = r#"{"op":"d","before":{"id":1}}"#;
        assert_eq!(found(gone), Ok(Some((gone, true))));
        // A table may have a column of that name, but no envelope has.
        let with_payload = r#"{"op":"d","before":{},"payload":null}"#;
        assert_eq!(found(with_payload), Ok(Some((with_payload, true))));
    }

    #[test]
    fn a_tombstone_is_nothing() {
        for payload in [
            "",
            " \n",
            "null",
            " null ",
            r#"{"schema":{},"payload":null}"#,
            r#"{"payload" : null}"#,
        ] {
            assert_eq!(found(payload), Ok(None), "{payload}");
        }
    }

    #[test]
    fn what_is_no_change_of_a_row_is_told_with_what_is_accepted() {
        for (payload, said) in [
            ("[]", "found `[` at byte 0; accepted is one JSON object"),
            ("nul", "found `nul` at byte 0; accepted is one JSON object"),
            (r#"{"payload":7}"#, "found `7` at byte 11; accepted is one JSON object"),
            (
                r#"{"id":1}"#,
                "found no member \"op\"; accepted is an envelope of Debezium with a member \"op\", such as {\"op\": \"c\", \"after\": \
                 {…}}, by itself or in a member \"payload\"",
            ),
            (
                r#"{"op":"t","after":null}"#,
                "found the op \"t\", which empties a table, at byte 6; accepted are \"c\", \"r\", \"u\" and \"d\", each of which \
                 changes one row",
            ),
            (
                r#"{"op":7,"after":{}}"#,
                "found the op 7, at byte 6; accepted are \"c\", \"r\", \"u\" and \"d\", each of which changes one row",
            ),
            (
                r#"{"op":"u","after":null}"#,
                "found null at byte 18 in \"after\", and the op is \"u\"; accepted is an object with the row as it is now",
            ),
            (
                r#"{"op":"c","before":{}}"#,
                "found no member \"after\", and the op is \"c\"; accepted is an object with the row as it is now",
            ),
            (
                r#"{"op":"d","before":7}"#,
                "found no object at byte 19 in \"before\", and the op is \"d\"; accepted is an object with at least the key of the row \
                 that is gone; Postgres sends none of a table with REPLICA IDENTITY NOTHING",
            ),
            (
                r#"{"op":"c","op":"d"}"#,
                "found the name a second time at byte 11; accepted is each member once",
            ),
            (
                r#"{"op":"c","after":{}} x"#,
                "found `x` at byte 22; accepted is nothing after the object",
            ),
            (
                r#"{"op":"c","after":{}"#,
                "found the end of the payload at byte 20; accepted is a comma or a closing brace",
            ),
        ] {
            assert_eq!(found(payload), Err(said.to_owned()), "{payload}");
        }
    }
}
