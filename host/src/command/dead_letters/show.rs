//! `weir dead-letters show`: one in full.

use super::{check_pipeline, list, shown};
use crate::{
    command::terminal,
    command::{picked::payload_text, write_failed},
    error::{Error, Result},
    model::headers::Headers,
    storage::{LetterFilter, Location, PUBLISH, StoredDeadLetter},
    text::printable,
};
use std::{io::Write, process::ExitCode};

/// Bytes of a payload that is no text, on a line.
const LINE_BYTES: usize = 32;

/// Shows one dead letter in full: where and why it was rejected, and its payload.
///
/// A payload that is JSON is laid out, and nothing else of it is changed. Characters that a terminal would obey are shown as
/// escapes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir dead-letters show hourly-orders.db 40213")]
pub(in crate::command) struct Show {
    /// The SQLite file.
    database: Location,
    /// The sequence of its message; in a replay of a file the number of the line.
    sequence: u64,
    /// Of this pipeline.
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
}

impl Show {
    pub(in crate::command) fn run(self) -> Result<ExitCode> {
        check_pipeline(&self.database, self.pipeline.as_deref())?;
        let filter = LetterFilter {
            pipeline: self.pipeline,
            from: Some(self.sequence),
            to: Some(self.sequence),
            ..Default::default()
        };
        let mut texts = Vec::new();
        self.database.inspect().dead_letters(&filter, &mut |letter| {
            texts.push(match terminal::is_json() {
                true => list::json(&letter),
                false => in_full(&letter),
            });
            Ok(())
        })?;
        if texts.is_empty() {
            return Err(Error::environment(format!(
                "there is no dead letter with sequence {} in {}; `weir dead-letters list` lists those that there are",
                self.sequence, self.database
            )));
        }
        writeln!(
            terminal::stdout(),
            "{}",
            texts.join(if terminal::is_json() { "\n" } else { "\n\n" })
        )
        .map_err(|cause| write_failed(&cause))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn in_full(letter: &StoredDeadLetter) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: &str| lines.push(format!("{name:<9} {}", printable(value)));
    line("pipeline", &letter.pipeline);
    line("sequence", &letter.sequence.to_string());
    if let Some(subject) = &letter.subject {
        line("subject", subject);
    }
    if let Some(headers) = letter
        .headers
        .as_deref()
        .and_then(|headers| Headers::parse(headers).ok())
    {
        for (name, value) in headers.iter() {
            line("header", &format!("{name}: {value}"));
        }
    }
    if let Some(written) = letter.written_sequence {
        line("said", &format!("sequence {written}"));
    }
    if let Some(store_ms) = letter.store_ms {
        line("stored", &shown::instant(store_ms));
    }
    line("now", &shown::instant(letter.time_ms));
    line("step", &letter.step);
    if let Some(module) = &letter.module {
        line("module", module);
    }
    if letter.step == PUBLISH && letter.module.is_none() {
        line("is", "a row that the server did not take, and no event");
    } else if letter.is_row == Some(true) {
        line("is", "a row that came because time went on, and no event");
    }
    if letter.retries > 0 {
        line("retried", &shown::count(letter.retries, "time"));
    }
    lines.push("reason".to_owned());
    lines.extend(letter.reason.lines().map(|line| format!("    {}", printable(line))));
    let bytes = shown::count(letter.payload.len() as u64, "byte");
    match payload_text(&letter.payload) {
        Ok(text) => {
            lines.push(format!("payload, {bytes}"));
            let text = laid_out(text);
            lines.extend(text.lines().map(|line| format!("    {}", printable(line))));
        }
        Err(hex) => {
            lines.push(format!("payload, {bytes} that are no text"));
            let digits: Vec<char> = hex.chars().collect();
            let chunks = digits.chunks(LINE_BYTES * 2);
            lines.extend(chunks.map(|chunk| format!("    {}", chunk.iter().collect::<String>())));
        }
    }
    lines.join("\n")
}

/// JSON with a line for each member and element: the spaces between its parts change, and no part does. A number keeps all
/// of its digits, and a name that occurs twice is there twice. Other text is as it is.
fn laid_out(text: &str) -> String {
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = text.chars().peekable();
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(character) = rest.next() {
        if in_string {
            out.push(character);
            in_string = escaped || character != '"';
            escaped = character == '\\' && !escaped;
            continue;
        }
        match character {
            ' ' | '\t' | '\n' | '\r' => {}
            '{' | '[' => {
                out.push(character);
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                match rest.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        new_line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                in_string = character == '"';
                out.push(character);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::laid_out;

    #[test]
    fn json_is_laid_out_and_keeps_every_character_of_its_parts() {
        let text = r#" {"a": [1.00, {} ,[ ]],"a":"x: [1, \"2\\", "n":12345678901234567890} "#;
        let expected = r#"{
  "a": [
    1.00,
    {},
    []
  ],
  "a": "x: [1, \"2\\",
  "n": 12345678901234567890
}"#;
        assert_eq!(laid_out(text), expected);
        assert_eq!(laid_out("{\"a\": 1} {"), "{\"a\": 1} {");
    }
}
