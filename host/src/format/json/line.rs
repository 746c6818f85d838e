//! Lines of a file that holds messages of several subjects: `{"subject": "…", "payload": …}`.

use super::{
    Fault, Found,
    skip::{Nesting, skip_value, space},
    text::{Name, text},
    window::byte,
};
use crate::{
    limits::REASON_BYTES_MAX,
    model::{
        ids::{IdVec, InputId},
        subject::{is_subject, matches},
    },
    text::printable,
};

/// Characters of a subject that the reason of a dead letter shows.
const SUBJECT_SHOWN: usize = 100;

/// What a line is, for the reason of a dead letter.
const ACCEPTED: &str = "accepted is {\"subject\": \"…\", \"payload\": …}";

/// A line that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'l> {
    /// The input that the subject belongs to.
    pub input: InputId,
    /// The subject.
    pub subject: &'l str,
    /// The payload, as it stands there.
    pub payload: &'l [u8],
}

/// Reads lines.
#[derive(Debug)]
pub struct LineScanner {
    /// The subjects of the inputs.
    inputs: IdVec<InputId, String>,
    nesting: Nesting,
    name: Vec<u8>,
    subject: Vec<u8>,
}

/// What one whole object is, as a line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// It has a subject and a payload.
    WithSubject,
    /// It means to have them: it has both names, or one and no other, and something is wrong with them.
    Mistaken,
    /// Anything else.
    Payload,
}

/// The members of an object.
#[derive(Default)]
struct Members {
    /// Whether there is a subject, which is a text.
    has_subject: bool,
    /// Whether there is a member of that name.
    names_subject: bool,
    /// Where the payload begins and ends.
    payload: Option<(usize, usize)>,
    /// Whether there are members of other names.
    has_others: bool,
    /// What is wrong with the two first.
    fault: Option<Fault>,
}

impl Members {
    fn kind(&self) -> ObjectKind {
        match (self.names_subject, self.payload.is_some()) {
            (true, true) if self.fault.is_none() => ObjectKind::WithSubject,
            (true, true) => ObjectKind::Mistaken,
            (false, false) => ObjectKind::Payload,
            _ if self.has_others => ObjectKind::Payload,
            _ => ObjectKind::Mistaken,
        }
    }
}

impl LineScanner {
    /// Prepares for the messages of inputs with these subjects.
    pub fn new(inputs: Vec<String>) -> Self {
        Self {
            inputs: inputs.into(),
            nesting: Nesting::default(),
            name: Vec::new(),
            subject: Vec::new(),
        }
    }

    /// Reads a line; nothing where it is empty or white space. The payload is known to be JSON. Members of other names
    /// are passed over.
    ///
    /// # Errors
    /// Says what was found, and what is accepted.
    pub fn read<'l>(&'l mut self, line: &'l [u8]) -> Result<Option<Line<'l>>, String> {
        let start = space(line, 0);
        if start >= line.len() {
            return Ok(None);
        }
        let read = self.members(line, start).and_then(|mut members| {
            let fault = members.fault.take();
            fault.map_or(Ok(members), Err)
        });
        let members = read.map_err(|fault| {
            let reason = fault.reject(line, &[]).reason;
            format!(
                "the line: {}",
                reason.replacen("found the end of the payload", "found its end", 1)
            )
        })?;
        let subject = std::str::from_utf8(&self.subject).ok().filter(|_| members.has_subject);
        let payload = members.payload.and_then(|(start, end)| line.get(start..end));
        match (subject, payload) {
            (Some(subject), Some(payload)) => {
                match self
                    .inputs
                    .position(|input| is_subject(subject) && matches(input, subject))
                {
                    Some(input) => Ok(Some(Line {
                        input,
                        subject,
                        payload,
                    })),
                    None => Err(no_input(subject, &self.inputs)),
                }
            }
            (None, _) => Err(format!("the line has no member \"subject\"; {ACCEPTED}")),
            (_, None) => Err(format!("the line has no member \"payload\"; {ACCEPTED}")),
        }
    }

    /// What a line is that is one whole JSON object; nothing where it is none.
    pub fn kind_of(&mut self, line: &[u8]) -> Option<ObjectKind> {
        let members = self.members(line, space(line, 0)).ok()?;
        Some(members.kind())
    }

    /// Reads the object at `start`, and the subject into its place, if there is one.
    fn members(&mut self, line: &[u8], start: usize) -> Result<Members, Fault> {
        self.subject.clear();
        let mut members = Members::default();
        if byte(line, start) != b'{' {
            return Err(Fault::new(Found::NoObject, start));
        }
        let mut at = space(line, start.saturating_add(1));
        let mut more = byte(line, at) != b'}';
        while more {
            if byte(line, at) != b'"' {
                return Err(Fault::new(Found::NoName, at));
            }
            let name = at.saturating_add(1);
            self.name.clear();
            let span = text(line, name, &mut Name(&mut self.name))?;
            at = space(line, span.quote.saturating_add(1));
            if byte(line, at) != b':' {
                return Err(Fault::new(Found::NoColon, at));
            }
            let value = space(line, at.saturating_add(1));
            let mut fault = None;
            at = match self.name.as_slice() {
                b"subject" if !members.names_subject && byte(line, value) == b'"' => {
                    (members.names_subject, members.has_subject) = (true, true);
                    let span = text(line, value.saturating_add(1), &mut self.subject)?;
                    span.quote.saturating_add(1)
                }
                b"subject" => {
                    fault = Some(match members.names_subject {
                        true => Fault::new(Found::Twice, name),
                        false => Fault::new(Found::NoSubject, value),
                    });
                    members.names_subject = true;
                    skip_value(line, value, &mut self.nesting)?
                }
                b"payload" => {
                    let end = skip_value(line, value, &mut self.nesting)?;
                    match members.payload {
                        Some(_) => fault = Some(Fault::new(Found::Twice, name)),
                        None => members.payload = Some((value, end)),
                    }
                    end
                }
                _ => {
                    members.has_others = true;
                    skip_value(line, value, &mut self.nesting)?
                }
            };
            members.fault = members.fault.take().or(fault);
            at = space(line, at);
            more = match byte(line, at) {
                b',' => true,
                b'}' => false,
                _ => return Err(Fault::new(Found::NoMemberEnd, at)),
            };
            if more {
                at = space(line, at.saturating_add(1));
            }
        }
        let end = space(line, at.saturating_add(1));
        match end < line.len() {
            true => Err(Fault::new(Found::Trailing, end)),
            false => Ok(members),
        }
    }
}

/// Why a subject is that of no input.
fn no_input(subject: &str, inputs: &IdVec<InputId, String>) -> String {
    let mut characters = subject.chars();
    let shown: String = characters.by_ref().take(SUBJECT_SHOWN).collect();
    let (shown, more) = (printable(&shown), characters.next().map_or("", |_| "…"));
    let known = inputs.as_slice().join(", ");
    let mut reason = format!("the line: the subject \"{shown}{more}\" is that of no input; there are {known}");
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
}

#[cfg(test)]
mod tests {
    use super::{Line, LineScanner};
    use crate::model::ids::{Id, InputId};

    fn scanner() -> LineScanner {
        let inputs = ["s", "shop.*"].map(str::to_owned);
        LineScanner::new(inputs.into())
    }

    #[track_caller]
    fn check(line: &str, expected: Result<Option<(&str, &str)>, &str>) {
        let mut scanner = scanner();
        // What a line before left behind does not show.
        assert!(scanner.read(b"{\"subject\": \"shop.before\", \"payload\": {}}").is_ok());
        let found = scanner.read(line.as_bytes());
        let expected = expected
            .map(|line| {
                line.map(|(subject, payload)| Line {
                    input: InputId::of(usize::from(subject != "s")),
                    subject,
                    payload: payload.as_bytes(),
                })
            })
            .map_err(str::to_owned);
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn subject_and_payload_are_found_in_any_order_among_others() {
        let expected = Ok(Some(("shop.orders", "{\"a\": [1, {\"payload\": 2}]}")));
        check(
            "{\"subject\": \"shop.orders\", \"payload\": {\"a\": [1, {\"payload\": 2}]}}",
            expected,
        );
        check(
            " { \"seq\":7,\"payload\" :{\"a\": [1, {\"payload\": 2}]} , \"x\":{\"subject\":\"y\"},\"sub\\u006aect\":\"shop.\\u006frders\" } \r",
            expected,
        );
        for payload in ["\"text\"", "null", "-1.5e3", "[]", "true"] {
            check(
                &format!("{{\"subject\":\"s\",\"payload\":{payload}}}"),
                Ok(Some(("s", payload))),
            );
        }
    }

    #[test]
    fn white_space_is_no_line() {
        check("", Ok(None));
        check(" \t\r", Ok(None));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (line, said) in [
            ("[]", "the line: found `[` at byte 0; accepted is one JSON object"),
            (
                "{\"subject\": \"s\"}",
                "the line has no member \"payload\"; accepted is {\"subject\": \"…\", \"payload\": …}",
            ),
            (
                "{\"payload\": {}}",
                "the line has no member \"subject\"; accepted is {\"subject\": \"…\", \"payload\": …}",
            ),
            (
                "{}",
                "the line has no member \"subject\"; accepted is {\"subject\": \"…\", \"payload\": …}",
            ),
            (
                "{\"subject\": 7, \"payload\": {}}",
                "the line: found `7` at byte 12; accepted is a subject in quotes",
            ),
            (
                "{\"subject\": \"s\", \"subject\": \"s\", \"payload\": {}}",
                "the line: found the name a second time at byte 18; accepted is each member once",
            ),
            (
                "{\"payload\": 1, \"payload\": 1}",
                "the line: found the name a second time at byte 16; accepted is each member once",
            ),
            (
                "{\"subject\": \"s\", \"payload\": {\"a\": }}",
                "the line: found `}` at byte 34; accepted is a JSON value",
            ),
            (
                "{\"subject\": \"s\", \"payload\": {}} {",
                "the line: found `{` at byte 32; accepted is nothing after the object",
            ),
            (
                "{\"subject\": \"s\", \"payload\": {}",
                "the line: found its end at byte 30; accepted is a comma or a closing brace",
            ),
            (
                "{\"subject\": \"\\ud800\", \"payload\": {}}",
                "the line: found a lone surrogate, `\\ud800\"` at byte 13; accepted is valid UTF-8",
            ),
        ] {
            check(line, Err(said));
        }
    }

    #[test]
    fn a_subject_that_no_message_of_the_inputs_has_is_told() {
        for subject in ["", "shop", "shop.a.b", "shop.*", "shop.>", "S", "s "] {
            let said = format!("the line: the subject \"{subject}\" is that of no input; there are s, shop.*");
            check(
                &format!("{{\"subject\": \"{subject}\", \"payload\": {{}}}}"),
                Err(&said),
            );
        }
        let long = "\u{1b}".repeat(50) + &"x".repeat(60);
        let said = format!(
            "the line: the subject \"{}{}…\" is that of no input; there are s, shop.*",
            "\\u{1b}".repeat(50),
            "x".repeat(50)
        );
        let escaped = long.replace('\u{1b}', "\\u001b");
        check(
            &format!("{{\"subject\": \"{escaped}\", \"payload\": {{}}}}"),
            Err(&said),
        );
    }

    #[test]
    fn no_depth_and_no_bytes_make_it_fail_otherwise() {
        let mut scanner = scanner();
        let deep = format!("{{\"subject\":\"s\",\"payload\":{}}}", "[".repeat(1_000_000));
        assert!(scanner.read(deep.as_bytes()).is_err());
        let closed = format!(
            "{{\"subject\":\"s\",\"payload\":{}{}}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert!(scanner.read(closed.as_bytes()).is_ok_and(|line| line.is_some()));
        assert!(scanner.read(b"{\"subject\":\"\xff\",\"payload\":{}}").is_err());
        assert!(scanner.read(b"{\"subject\":\"s\",\"payload\":\"\xff\"}").is_err());
        assert!(scanner.read(&[0; 100]).is_err());
    }
}
