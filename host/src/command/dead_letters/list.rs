//! `weir dead-letters list`: one after the other, in short.

use super::{Which, check_pipeline, payload_text, shown};
use crate::{
    command::write_failed,
    database::{StoredDeadLetter, read_dead_letters, read_pipelines},
    error::Result,
    say, terminal,
    text::printable,
};
use std::{
    io::{BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Characters of a payload that the list shows; `show` and --json have all of it.
const SHOWN_CHARACTERS: usize = 100;

/// Lists the deliveries that could not be processed, with sequence, reason and payload.
///
/// With --json each is an object. A payload that is no UTF-8 stands in `payload_hex`, all others in `payload`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir dead-letters list hourly-orders.db\n  weir dead-letters list hourly-orders.db --step todays-orders --reason 'out of range'\n  weir dead-letters list hourly-orders.db --json | jq -r .reason | sort | uniq -c"
)]
pub(in crate::command) struct List {
    /// The SQLite file.
    database: PathBuf,
    /// Those of this pipeline.
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    #[command(flatten)]
    which: Which,
}

impl List {
    pub(in crate::command) fn run(self) -> Result<ExitCode> {
        check_pipeline(&self.database, self.pipeline.as_deref())?;
        let filter = self.which.filter(self.pipeline);
        let mut out = BufWriter::new(terminal::stdout());
        let mut count = 0;
        read_dead_letters(&self.database, &filter, |letter| {
            count += 1;
            let text = if terminal::is_json() {
                json(&letter)
            } else {
                in_short(&letter)
            };
            writeln!(out, "{text}").map_err(|cause| write_failed(&cause))
        })?;
        out.flush().map_err(|cause| write_failed(&cause))?;
        if terminal::is_json() {
            return Ok(ExitCode::SUCCESS);
        }
        let database = self.database.display();
        match (count, filter.is_all()) {
            (0, true) => say!(Info, "no dead letters in {database}"),
            (0, false) => say!(Info, "no such dead letters in {database}"),
            _ => {}
        }
        let dropped: u64 = read_pipelines(&self.database)?
            .iter()
            .map(|(_, stored)| stored.dropped)
            .sum();
        if dropped > 0 {
            say!(
                Info,
                "{} of {database} were dropped",
                shown::count(dropped, "dead letter")
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn json(letter: &StoredDeadLetter) -> String {
    let mut object = serde_json::json!({
        "pipeline": letter.pipeline,
        "sequence": letter.sequence,
        "subject": letter.subject,
        "time_ms": letter.time_ms,
        "step": letter.step,
        "module": letter.module,
        "reason": letter.reason,
        "is_row": letter.is_row,
        "retries": letter.retries,
    });
    if let Some(object) = object.as_object_mut() {
        match payload_text(&letter.payload) {
            Ok(text) => object.insert("payload".to_owned(), text.into()),
            Err(hex) => object.insert("payload_hex".to_owned(), hex.into()),
        };
    }
    object.to_string()
}

fn in_short(letter: &StoredDeadLetter) -> String {
    let module = letter.module.as_deref().and_then(|module| module.get(..12));
    let module = module.map(|module| format!(" ({module})")).unwrap_or_default();
    let subject = letter.subject.as_deref();
    let subject = subject
        .map(|subject| format!(" on {}", printable(subject)))
        .unwrap_or_default();
    let retries = match letter.retries {
        0 => String::new(),
        retries => format!(", retried {}", shown::count(retries, "time")),
    };
    // Payloads are strangers: their control characters do not reach the terminal.
    let lossy = String::from_utf8_lossy(&letter.payload);
    let mut characters = lossy.chars();
    let payload: String = characters.by_ref().take(SHOWN_CHARACTERS).collect();
    let more = if characters.next().is_some() { "…" } else { "" };
    format!(
        "{} #{} {}{module}{subject}{retries}: {}\n    {}{more}",
        letter.pipeline,
        letter.sequence,
        letter.step,
        printable(&letter.reason),
        printable(&payload)
    )
}
