//! `weir outbox`: messages that wait to be published.

use super::{dead_letters::check_pipeline, dead_letters::payload_text, show as shown, write_failed};
use crate::{
    database::{
        DatabaseFile, MessageFilter, WaitingMessage, drop_messages, read_message_counts, read_outbox, read_pipelines,
    },
    error::{Error, Result},
    say, terminal,
    text::printable,
};
use serde_json::json;
use std::{
    io::{BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Characters of a payload that are shown.
const SHOWN_CHARACTERS: usize = 100;

/// Lists and drops the messages that wait to be published.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Outbox {
    List(List),
    Drop(Drop),
}

impl Outbox {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self {
            Self::List(list) => list.run(),
            Self::Drop(drop) => drop.run(),
        }
    }
}

/// Which messages are meant; those that all of it fits.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which messages")]
struct Which {
    /// Those for this subject.
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Those that events from this sequence on caused.
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// Those that events up to this sequence caused.
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
}

impl Which {
    fn filter(self, pipeline: Option<String>) -> MessageFilter {
        let Self { subject, from, to } = self;
        MessageFilter {
            pipeline,
            subject,
            from,
            to,
        }
    }
}

/// Lists the messages that are committed and not yet published, in the order in which those of a subject go out.
///
/// Messages wait while no stream takes their subject, while a stream refuses the one that stands first, and while the server
/// is away; `weir run` says which it is. A pipeline that runs is not disturbed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir outbox list premium-drop.db\n  weir outbox list premium-drop.db --subject alerts.premium-drop --json | jq .sequence"
)]
pub(super) struct List {
    /// The SQLite file.
    database: PathBuf,
    /// Those of this pipeline.
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    #[command(flatten)]
    which: Which,
    /// One JSON object per line. A payload that is no UTF-8 stands in `payload_hex`, all others in `payload`.
    #[arg(long)]
    json: bool,
}

impl List {
    fn run(self) -> Result<ExitCode> {
        check_pipeline(&self.database, self.pipeline.as_deref())?;
        let filter = self.which.filter(self.pipeline);
        let mut out = BufWriter::new(terminal::stdout());
        let mut count = 0;
        read_outbox(&self.database, &filter, |message| {
            count += 1;
            let text = if self.json { json(&message) } else { in_short(&message) };
            writeln!(out, "{text}").map_err(|cause| write_failed(&cause))
        })?;
        out.flush().map_err(|cause| write_failed(&cause))?;
        if self.json {
            return Ok(ExitCode::SUCCESS);
        }
        let database = self.database.display();
        match (count, filter.is_all()) {
            (0, true) => say!(Info, "no messages wait in {database}"),
            (0, false) => say!(Info, "no such messages wait in {database}"),
            _ => {}
        }
        for (name, _) in read_pipelines(&self.database)? {
            let dropped = read_message_counts(&self.database, &name)?.dropped;
            if dropped > 0 {
                say!(
                    Info,
                    "{} of {} were dropped",
                    shown::count(dropped, "message"),
                    printable(&name)
                );
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn json(message: &WaitingMessage) -> String {
    let mut object = json!({
        "pipeline": message.pipeline,
        "subject": message.subject,
        "sequence": message.sequence,
        "message_id": message.message_id,
        "is_dead_letter": message.is_letter,
        "bytes": message.payload.len(),
    });
    if let Some(object) = object.as_object_mut() {
        match payload_text(&message.payload) {
            Ok(text) => object.insert("payload".to_owned(), text.into()),
            Err(hex) => object.insert("payload_hex".to_owned(), hex.into()),
        };
    }
    object.to_string()
}

fn in_short(message: &WaitingMessage) -> String {
    let lossy = String::from_utf8_lossy(&message.payload);
    let mut characters = lossy.chars();
    let payload: String = characters.by_ref().take(SHOWN_CHARACTERS).collect();
    let more = if characters.next().is_some() { "…" } else { "" };
    format!(
        "{} #{} for {}{}, {}\n    {}{more}",
        printable(&message.pipeline),
        message.sequence,
        printable(&message.subject),
        if message.is_letter { ", a dead letter" } else { "" },
        shown::bytes(message.payload.len() as u64),
        printable(&payload)
    )
}

/// Removes messages from the outbox for good: nobody will be told of them.
///
/// How many were dropped is counted. The pipeline must not be running.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir outbox drop premium-drop.db --subject alerts.premium-drop --from 40213 --to 40213\n  weir outbox drop premium-drop.db --all"
)]
pub(super) struct Drop {
    /// The SQLite file.
    database: PathBuf,
    /// Those of this pipeline.
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    #[command(flatten)]
    which: Which,
    /// All of them.
    #[arg(long, conflicts_with_all = ["pipeline", "subject", "from", "to"])]
    all: bool,
    /// What was dropped, as a JSON object.
    #[arg(long)]
    json: bool,
}

impl Drop {
    fn run(self) -> Result<ExitCode> {
        check_pipeline(&self.database, self.pipeline.as_deref())?;
        let filter = self.which.filter(self.pipeline);
        if filter.is_all() && !self.all {
            return Err(Error::definition(
                "say which messages to drop, with --pipeline, --subject, --from or --to; or --all",
            ));
        }
        let dropped = drop_messages(&DatabaseFile::hold(&self.database)?, &filter)?;
        let text = match self.json {
            true => json!({ "dropped": dropped }).to_string(),
            false => format!(
                "dropped {} of {}",
                shown::count(dropped, "message"),
                self.database.display()
            ),
        };
        writeln!(terminal::stdout(), "{text}").map_err(|cause| write_failed(&cause))?;
        Ok(ExitCode::SUCCESS)
    }
}
