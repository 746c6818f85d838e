//! `weir dead-letters`: what could not be processed, and why.

use super::write_failed;
use crate::{database::read_dead_letters, error::Result, text::printable};
use std::{
    io::{BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Bytes of a payload that the list shows; --json has all of it.
const SHOWN_CHARACTERS: usize = 100;

/// Lists the deliveries that could not be processed, with sequence, reason and payload.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir dead-letters hourly-orders.db\n  weir dead-letters hourly-orders.db --json | jq -r .reason | sort | uniq -c"
)]
pub(super) struct DeadLetters {
    /// The SQLite file.
    database: PathBuf,
    /// One JSON object per line. A payload that is no UTF-8 stands in `payload_hex`, all others in `payload`.
    #[arg(long)]
    json: bool,
}

impl DeadLetters {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut out = BufWriter::new(std::io::stdout().lock());
        let mut count = 0;
        read_dead_letters(&self.database, |letter| {
            count += 1;
            let text = std::str::from_utf8(&letter.payload);
            let written = if self.json {
                let mut object = serde_json::json!({
                    "pipeline": letter.pipeline,
                    "sequence": letter.sequence,
                    "subject": letter.subject,
                    "time_ms": letter.time_ms,
                    "step": letter.step,
                    "module": letter.module,
                    "reason": letter.reason,
                });
                if let Some(object) = object.as_object_mut() {
                    match text {
                        Ok(text) => object.insert("payload".to_owned(), text.into()),
                        Err(_) => {
                            let hex: String = letter.payload.iter().map(|byte| format!("{byte:02x}")).collect();
                            object.insert("payload_hex".to_owned(), hex.into())
                        }
                    };
                }
                writeln!(out, "{object}")
            } else {
                let module = letter
                    .module
                    .as_deref()
                    .and_then(|m| m.get(..12))
                    .map(|m| format!(" ({m})"))
                    .unwrap_or_default();
                let subject = letter.subject.map(|subject| format!(" on {}", printable(&subject)));
                // Payloads are strangers: their control characters do not reach the terminal.
                let lossy = String::from_utf8_lossy(&letter.payload);
                let mut characters = lossy.chars();
                let payload: String = characters.by_ref().take(SHOWN_CHARACTERS).collect();
                let more = if characters.next().is_some() { "…" } else { "" };
                writeln!(
                    out,
                    "{} #{} {}{module}{}: {}\n    {}{more}",
                    letter.pipeline,
                    letter.sequence,
                    letter.step,
                    subject.unwrap_or_default(),
                    printable(&letter.reason),
                    printable(&payload)
                )
            };
            written.map_err(|cause| write_failed(&cause))
        })?;
        out.flush().map_err(|cause| write_failed(&cause))?;
        if count == 0 && !self.json {
            eprintln!("no dead letters in {}", self.database.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}
