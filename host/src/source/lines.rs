//! The two forms of a file of events: a line is a payload, or says which subject its payload came on and what else the message
//! had, `{"subject": "…", "payload": …}`.

use crate::format::{Line, LineScanner, ObjectKind};
use memchr::memmem::Finder;

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Not known before the first line that is an object.
    Unknown,
    Payloads,
    WithSubjects,
}

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'l> {
    /// The payload of an event of the only input, or something else that decode has to judge.
    Payload,
    /// An event with its subject.
    Of(Line<'l>),
    /// Nothing.
    Empty,
    /// Of no use, for this reason.
    Refused(String),
}

/// Tells the lines of a file.
///
/// Where a pipeline has several inputs, every line has to say its subject. Where it has one, the first line decides for
/// the file: whether the others have to say theirs. Among payloads a line with a subject and a payload is read by them
/// for all that, wherever in the object they stand; one with both names, or with one and no other member, is refused
/// where something is wrong with them. Only a pipeline that reads a column from a member `subject` or `payload` is given
/// every line as its payload: there nobody could tell the two apart.
#[derive(Debug)]
pub struct EventLines {
    form: Form,
    /// Whether a line of payloads may have a subject for all that.
    may_have_subjects: bool,
    scanner: LineScanner,
    /// What begins `"payload"` and the names of its other forms, as they are mostly written.
    payload: Finder<'static>,
    /// What begins an escaped letter, of a name that is written so.
    escape: Finder<'static>,
}

impl EventLines {
    /// Those of a pipeline whose inputs have these subjects. `reads_envelopes` tells whether a column is read from a member
    /// that is called as one of the two.
    pub fn new(subjects: Vec<String>, reads_envelopes: bool) -> Self {
        let form = match (subjects.len(), reads_envelopes) {
            (1, true) => Form::Payloads,
            (1, false) => Form::Unknown,
            _ => Form::WithSubjects,
        };
        Self {
            form,
            may_have_subjects: form == Form::Unknown,
            scanner: LineScanner::new(subjects),
            payload: Finder::new(b"\"payload"),
            escape: Finder::new(b"\\u00"),
        }
    }

    /// Learns the form of the file from a line that is passed over.
    pub fn pass_over(&mut self, line: &[u8]) {
        if self.form == Form::Unknown {
            self.form = match self.scanner.kind_of(line) {
                None | Some(ObjectKind::Mistaken) => Form::Unknown,
                Some(ObjectKind::Payload) => Form::Payloads,
                Some(ObjectKind::WithSubject) => Form::WithSubjects,
            };
        }
    }

    /// Tells a line by itself, whatever file it is of.
    pub fn read_alone<'l>(&'l mut self, line: &'l [u8]) -> Event<'l> {
        if self.may_have_subjects {
            self.form = Form::Unknown;
        }
        self.read(line)
    }

    /// Tells a line, which has no end any more.
    pub fn read<'l>(&'l mut self, line: &'l [u8]) -> Event<'l> {
        self.read_within(line, false)
    }

    /// Whether nothing in these bytes, of many lines, names a payload, or may do so by an escape. Not found out where no line
    /// of payloads may have a subject.
    pub fn are_plain(&self, bytes: &[u8]) -> bool {
        self.may_have_subjects && self.payload.find(bytes).is_none() && self.escape.find(bytes).is_none()
    }

    /// The same as [`EventLines::read`], of a line that is all within bytes that [are plain](EventLines::are_plain), or not.
    pub fn read_within<'l>(&'l mut self, line: &'l [u8], is_plain: bool) -> Event<'l> {
        self.pass_over(line);
        let has_subject = match self.form {
            Form::WithSubjects => true,
            Form::Unknown | Form::Payloads => {
                let may_be = self.may_have_subjects && self.may_be_with_subject(line, is_plain);
                may_be
                    && self
                        .scanner
                        .kind_of(line)
                        .is_some_and(|kind| kind != ObjectKind::Payload)
            }
        };
        if !has_subject {
            return Event::Payload;
        }
        match self.scanner.read(line) {
            Ok(Some(line)) => Event::Of(line),
            Ok(None) => Event::Empty,
            Err(reason) => Event::Refused(reason),
        }
    }

    /// Whether a line without an end is one whole object. What is not may have been written by half.
    pub fn is_whole(&mut self, line: &[u8]) -> bool {
        self.scanner.kind_of(line).is_some()
    }

    /// Whether a line is worth a closer look. It is asked of every line of payloads, and so a search for bytes: a payload
    /// is named somewhere, or a subject at the beginning, or an escape stands for one of their letters.
    fn may_be_with_subject(&self, line: &[u8], is_plain: bool) -> bool {
        let inside = line.trim_ascii_start().strip_prefix(b"{").unwrap_or_default();
        let begins = inside.trim_ascii_start().starts_with(b"\"subject\"");
        // All their letters are from \u0061 to \u0079.
        let is_letter = |at: usize| matches!(line.get(at.saturating_add(4)), Some(b'6' | b'7'));
        let is_named = || self.payload.find(line).is_some() || self.escape.find_iter(line).any(is_letter);
        begins || (!is_plain && is_named())
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, EventLines};

    fn lines(subjects: &[&str], reads_envelopes: bool) -> EventLines {
        let subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
        EventLines::new(subjects, reads_envelopes)
    }

    #[track_caller]
    fn check(lines: &mut EventLines, line: &str, expected: &str) {
        let found = match lines.read(line.as_bytes()) {
            Event::Payload => "a payload".to_owned(),
            Event::Of(line) => format!("{}: {}", line.subject, String::from_utf8_lossy(line.payload)),
            Event::Empty => "empty".to_owned(),
            Event::Refused(reason) => reason,
        };
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn the_first_object_decides_what_the_lines_of_one_input_are() {
        let mut of_payloads = lines(&["s"], false);
        check(&mut of_payloads, "", "a payload");
        check(&mut of_payloads, "broken", "a payload");
        check(&mut of_payloads, r#"{"a": 1}"#, "a payload");
        check(&mut of_payloads, r#"{"subject": "s", "a": 1}"#, "a payload");
        check(
            &mut of_payloads,
            r#"{"a": {"subject": "s", "payload": 1}}"#,
            "a payload",
        );
        check(&mut of_payloads, r#"{"a": "payload", "b": "\u0061"}"#, "a payload");
        check(
            &mut of_payloads,
            r#" { "payload": {"a": 1}, "subject": "s"}"#,
            r#"s: {"a": 1}"#,
        );
        check(
            &mut of_payloads,
            r#"{"subject": "t", "payload": {}}"#,
            "the line: the subject \"t\" is that of no input; there are s",
        );

        let mut with_subjects = lines(&["s.*"], false);
        check(
            &mut with_subjects,
            r#"{"seq": 1, "subject": "s.a", "payload": {}}"#,
            "s.a: {}",
        );
        check(&mut with_subjects, "", "empty");
        check(
            &mut with_subjects,
            r#"{"a": 1}"#,
            "the line has no member \"subject\"; accepted is {\"subject\": \"…\", \"payload\": …}",
        );
    }

    #[test]
    fn no_line_with_a_subject_is_taken_for_a_payload() {
        let accepted = "accepted is {\"subject\": \"…\", \"payload\": …}";
        let (no_subject, no_payload) = (
            format!("the line has no member \"subject\"; {accepted}"),
            format!("the line has no member \"payload\"; {accepted}"),
        );
        for (line, expected) in [
            (r#"{"seq": 1, "subject": "s", "payload": {}}"#, "s: {}"),
            (r#"{"seq": 1, "payload": {}, "at": 2, "subject": "s"}"#, "s: {}"),
            (r#"{"\u0073ubject": "s", "payload": {}}"#, "s: {}"),
            (r#"{"\u0073ubject": "s", "p\u0061yload": {}}"#, "s: {}"),
            (r#"{"subject": "s"}"#, no_payload.as_str()),
            (r#"{"subject\u0020": 1, "s\u0075bject": "s"}"#, "a payload"),
            (r#"{"s\u0075bject": "s"}"#, no_payload.as_str()),
            (r#"{"payload": {}}"#, no_subject.as_str()),
            (
                r#"{"subject": "s", "subject": "s", "payload": {}}"#,
                "the line: found the name a second time at byte 18; accepted is each member once",
            ),
            (
                r#"{"a": 1, "payload": {}, "subject": "s", "payload": {}}"#,
                "the line: found the name a second time at byte 41; accepted is each member once",
            ),
            (
                r#"{"subject": 5, "payload": {}}"#,
                "the line: found `5` at byte 12; accepted is a subject in quotes",
            ),
        ] {
            // As the first line of a file, and after others. What is mistaken does not decide for the file.
            let mut first = lines(&["s"], false);
            check(&mut first, line, expected);
            let mut later = lines(&["s"], false);
            check(&mut later, r#"{"a": 1}"#, "a payload");
            check(&mut later, line, expected);
            check(&mut later, r#"{"a": 1}"#, "a payload");
        }
        let mut mistaken_first = lines(&["s"], false);
        check(&mut mistaken_first, r#"{"subject": "s"}"#, &no_payload);
        check(&mut mistaken_first, r#"{"a": 1}"#, "a payload");
    }

    #[test]
    fn a_pipeline_that_reads_such_members_gets_every_line() {
        check(
            &mut lines(&["s"], true),
            r#"{"subject": "s", "payload": {}}"#,
            "a payload",
        );
        let accepted = "the line has no member \"subject\"; accepted is {\"subject\": \"…\", \"payload\": …}";
        check(&mut lines(&["s", "t"], true), r#"{"a": 1}"#, accepted);
    }
}
