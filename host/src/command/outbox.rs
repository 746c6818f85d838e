//! `weir outbox`: messages that wait to be published.

use super::{
    picked::{Kind, answer_dropped, check_meant, check_pipeline, list, payload_in_short, with_payload},
    show as shown,
};
use crate::{
    command::terminal::{self, say},
    error::Result,
    storage::{Location, MessageFilter, WaitingMessage},
    text::printable,
};
use serde_json::json;
use std::process::ExitCode;

const MESSAGES: Kind = Kind {
    one: "message",
    none: "no messages wait",
    none_such: "no such messages wait",
    options: "--pipeline, --subject, --from or --to",
};

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
///
/// With --json each is an object. A payload that is no UTF-8 stands in `payload_hex`, all others in `payload`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir outbox list premium-drop.db\n  weir outbox list premium-drop.db --subject alerts.premium-drop --json | jq .sequence"
)]
pub(super) struct List {
    /// The SQLite file.
    database: Location,
    /// Those of this pipeline.
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    #[command(flatten)]
    which: Which,
}

impl List {
    fn run(self) -> Result<ExitCode> {
        check_pipeline(&self.database, self.pipeline.as_deref())?;
        let filter = self.which.filter(self.pipeline);
        list(
            MESSAGES,
            &self.database,
            filter.is_all(),
            |each| self.database.inspect().messages(&filter, each),
            json,
            in_short,
        )?;
        if terminal::is_json() {
            return Ok(ExitCode::SUCCESS);
        }
        for (name, _) in self.database.inspect().pipelines()? {
            let dropped = self.database.inspect().message_counts(&name)?.dropped;
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
    let object = json!({
        "pipeline": message.pipeline,
        "subject": message.subject,
        "sequence": message.sequence,
        "message_id": message.message_id,
        "is_dead_letter": message.is_letter,
        "bytes": message.payload.len(),
    });
    with_payload(object, &message.payload)
}

fn in_short(message: &WaitingMessage) -> String {
    format!(
        "{} #{} for {}{}, {}\n    {}",
        printable(&message.pipeline),
        message.sequence,
        printable(&message.subject),
        if message.is_letter { ", a dead letter" } else { "" },
        shown::bytes(message.payload.len() as u64),
        payload_in_short(&message.payload)
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
    database: Location,
    /// Those of this pipeline.
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    #[command(flatten)]
    which: Which,
    /// All of them.
    #[arg(long, conflicts_with_all = ["pipeline", "subject", "from", "to"])]
    all: bool,
}

impl Drop {
    fn run(self) -> Result<ExitCode> {
        check_pipeline(&self.database, self.pipeline.as_deref())?;
        let filter = self.which.filter(self.pipeline);
        check_meant(MESSAGES, filter.is_all(), self.all, "drop")?;
        let dropped = self.database.hold()?.drop_messages(&filter)?;
        answer_dropped(MESSAGES, &self.database, dropped)?;
        Ok(ExitCode::SUCCESS)
    }
}
