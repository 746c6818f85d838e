//! Lines of a file that says of each message what it had beside its payload: `{"subject": "…", "payload": …}`, and where it is
//! wanted `headers`, `sequence` and `store_time`. A payload that is no JSON is `payload_text` or `payload_base64`.

use super::{
    Fault, Found,
    skip::{Nesting, skip_value, space},
    text::{Name, text},
    window::byte,
};
use crate::{
    limits::REASON_BYTES_MAX,
    model::{
        column_type::rfc3339,
        delivery::Message,
        headers::Headers,
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
    /// The headers, as [`Message::headers`](crate::model::delivery::Message::headers).
    pub headers: &'l str,
    /// The sequence that the line says.
    pub sequence: Option<u64>,
    /// When the line says that it was stored, in milliseconds since 1970-01-01T00:00:00Z.
    pub store_ms: Option<i64>,
    /// The payload.
    pub payload: &'l [u8],
}

impl<'l> Line<'l> {
    /// As a message of a file, which is at this line.
    pub fn message(&self, number: u64) -> Message<'l> {
        Message {
            subject: Some(self.subject),
            sequence: number,
            written_sequence: self.sequence,
            store_ms: self.store_ms,
            headers: self.headers,
            payload: self.payload,
        }
    }
}

/// Reads lines.
#[derive(Debug)]
pub struct LineScanner {
    /// The subjects of the inputs.
    inputs: IdVec<InputId, String>,
    nesting: Nesting,
    name: Vec<u8>,
    subject: Vec<u8>,
    /// A payload that does not stand in the line as it is.
    payload: Vec<u8>,
}

/// How a payload stands in a line.
#[derive(Clone, Copy)]
enum Form {
    /// As it is: JSON.
    Json,
    /// As a text.
    Text,
    /// As a text, in base64.
    Base64,
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
    /// How the payload stands there, where it begins and where it ends.
    payload: Option<(Form, usize, usize)>,
    /// Where these begin and end.
    headers: Option<(usize, usize)>,
    sequence: Option<(usize, usize)>,
    store_time: Option<(usize, usize)>,
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
            payload: Vec::new(),
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
        // A member that is null is none.
        let of = |span: Option<(usize, usize)>| {
            let text = span.and_then(|(start, end)| std::str::from_utf8(line.get(start..end)?).ok());
            text.filter(|text| *text != "null")
        };
        let headers = of(members.headers).unwrap_or_default();
        if !headers.is_empty() && Headers::parse(headers).is_err() {
            return Err(unfit(
                "headers",
                headers,
                "an object of texts and lists of texts, such as {\"Trace-Id\": \"7f\"}",
            ));
        }
        let sequence = match of(members.sequence) {
            None => None,
            Some(text) => match text.parse() {
                Ok(sequence) => Some(sequence).filter(|sequence| *sequence <= i64::MAX as u64),
                Err(_) => None,
            }
            .ok_or_else(|| unfit("sequence", text, "a number from 0 to 2^63-1"))
            .map(Some)?,
        };
        let store_ms = match of(members.store_time) {
            None => None,
            Some(text) => store_ms(text)
                .ok_or_else(|| {
                    let accepted =
                        "a time such as \"2026-03-15T12:00:00.250+08:00\", or milliseconds since 1970-01-01T00:00:00Z";
                    unfit("store_time", text, accepted)
                })
                .map(Some)?,
        };
        let payload = match members.payload {
            None => None,
            Some((Form::Json, start, end)) => line.get(start..end),
            Some((form, start, end)) => {
                let text: Option<String> = line.get(start..end).and_then(|text| serde_json::from_slice(text).ok());
                let bytes = match (form, text) {
                    (Form::Base64, Some(text)) => data_encoding::BASE64.decode(text.as_bytes()).ok(),
                    (_, text) => text.map(String::into_bytes),
                };
                let (name, accepted) = match form {
                    Form::Base64 => ("payload_base64", "a text of bytes in base64, with padding"),
                    _ => ("payload_text", "a text"),
                };
                self.payload =
                    bytes.ok_or_else(|| unfit(name, of(Some((start, end))).unwrap_or_default(), accepted))?;
                Some(self.payload.as_slice())
            }
        };
        let subject = std::str::from_utf8(&self.subject).ok().filter(|_| members.has_subject);
        match (subject, payload) {
            (Some(subject), Some(payload)) => {
                match self
                    .inputs
                    .position(|input| is_subject(subject) && matches(input, subject))
                {
                    Some(input) => Ok(Some(Line {
                        input,
                        subject,
                        headers,
                        sequence,
                        store_ms,
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
                b"payload" | b"payload_text" | b"payload_base64" => {
                    let end = skip_value(line, value, &mut self.nesting)?;
                    let form = match self.name.as_slice() {
                        b"payload" => Form::Json,
                        b"payload_text" => Form::Text,
                        _ => Form::Base64,
                    };
                    match members.payload {
                        Some(_) => fault = Some(Fault::new(Found::Twice, name)),
                        None => members.payload = Some((form, value, end)),
                    }
                    end
                }
                other => {
                    members.has_others = true;
                    let place = match other {
                        b"headers" => Some(&mut members.headers),
                        b"sequence" => Some(&mut members.sequence),
                        b"store_time" => Some(&mut members.store_time),
                        _ => None,
                    };
                    let end = skip_value(line, value, &mut self.nesting)?;
                    match place {
                        Some(Some(_)) => fault = Some(Fault::new(Found::Twice, name)),
                        Some(place) => *place = Some((value, end)),
                        None => {}
                    }
                    end
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

/// A time in quotes as RFC 3339 has it, or a number of milliseconds.
fn store_ms(text: &str) -> Option<i64> {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) => rfc3339(text.as_bytes()).map(|us| us.div_euclid(1000)),
        None => text.parse().ok(),
    }
}

/// What is wrong with what a member holds, and what is accepted.
fn unfit(member: &str, found: &str, accepted: &str) -> String {
    let shown = found
        .get(..found.floor_char_boundary(SUBJECT_SHOWN))
        .unwrap_or_default();
    let more = if shown.len() < found.len() { "…" } else { "" };
    format!(
        "the line: member \"{member}\" is {}{more}; accepted is {accepted}",
        printable(shown)
    )
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
                    headers: "",
                    sequence: None,
                    store_ms: None,
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
