//! `weir dead-letters list`: one after the other, in short.

use super::{LETTERS, Which, check_pipeline, shown};
use crate::{
    command::picked::{list, payload_in_short, with_payload},
    command::terminal::{self, say},
    error::Result,
    storage::{Location, StoredDeadLetter},
    text::printable,
};
use std::process::ExitCode;

/// Lists the deliveries that could not be processed, with sequence, reason and payload.
///
/// With --json each is an object. A payload that is no UTF-8 stands in `payload_hex`, all others in `payload`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir dead-letters list hourly-orders.db\n  weir dead-letters list hourly-orders.db --step todays-orders --reason 'out of range'\n  weir dead-letters list hourly-orders.db --json | jq -r .reason | sort | uniq -c"
)]
pub(in crate::command) struct List {
    /// The SQLite file.
    database: Location,
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
        list(
            LETTERS,
            &self.database,
            filter.is_all(),
            |each| self.database.inspect().dead_letters(&filter, each),
            json,
            in_short,
        )?;
        if terminal::is_json() {
            return Ok(ExitCode::SUCCESS);
        }
        let dropped: u64 = self
            .database
            .inspect()
            .pipelines()?
            .iter()
            .map(|(_, stored)| stored.dropped)
            .sum();
        if dropped > 0 {
            say!(
                Info,
                "{} of {} were dropped",
                shown::count(dropped, "dead letter"),
                self.database
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn json(letter: &StoredDeadLetter) -> String {
    let object = serde_json::json!({
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
    with_payload(object, &letter.payload)
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
    format!(
        "{} #{} {}{module}{subject}{retries}: {}\n    {}",
        letter.pipeline,
        letter.sequence,
        letter.step,
        printable(&letter.reason),
        payload_in_short(&letter.payload)
    )
}
