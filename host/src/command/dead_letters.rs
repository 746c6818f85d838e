//! `weir dead-letters`: what could not be processed, why, and what becomes of it.

mod list;
mod retry;
mod show;

use super::{
    picked::{Kind, answer_dropped, check_meant, check_pipeline},
    show as shown, stage_host,
};
use crate::{
    error::Result,
    storage::{LetterFilter, Location},
};
use std::process::ExitCode;

const LETTERS: Kind = Kind {
    one: "dead letter",
    none: "no dead letters",
    none_such: "no such dead letters",
    options: "--step, --module, --reason, --from or --to",
};

/// Lists, shows, retries and drops the deliveries that could not be processed.
#[derive(Debug, clap::Subcommand)]
pub(super) enum DeadLetters {
    List(list::List),
    Show(show::Show),
    Retry(retry::Retry),
    Drop(Drop),
}

impl DeadLetters {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self {
            Self::List(list) => list.run(),
            Self::Show(show) => show.run(),
            Self::Retry(retry) => retry.run(),
            Self::Drop(drop) => drop.run(),
        }
    }
}

/// Which dead letters are meant; those that all of it fits.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which dead letters")]
struct Which {
    /// Those that this step rejected; `decode` for payloads that fit no column, `publish` for rows that the server
    /// will never take.
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    /// Those that a module rejected whose digest begins so.
    #[arg(long, value_name = "PREFIX")]
    module: Option<String>,
    /// Those with this text in the reason.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Those from this sequence on.
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// Those up to this sequence.
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
}

impl Which {
    fn filter(self, pipeline: Option<String>) -> LetterFilter {
        let Self {
            step,
            module,
            reason,
            from,
            to,
        } = self;
        LetterFilter {
            pipeline,
            step,
            module: module.map(|module| module.to_ascii_lowercase()),
            reason,
            from,
            to,
        }
    }
}

/// Removes dead letters from the database for good.
///
/// What became of their events stays as it was counted. The pipeline must not be running.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir dead-letters drop hourly-orders.db --step decode --to 120000\n  weir dead-letters drop hourly-orders.db --all"
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
    #[arg(long, conflicts_with_all = ["pipeline", "step", "module", "reason", "from", "to"])]
    all: bool,
}

impl Drop {
    fn run(self) -> Result<ExitCode> {
        check_pipeline(&self.database, self.pipeline.as_deref())?;
        let filter = self.which.filter(self.pipeline);
        check_meant(LETTERS, filter.is_all(), self.all, "drop")?;
        let dropped = self.database.hold()?.drop_dead_letters(&filter)?;
        answer_dropped(LETTERS, &self.database, dropped)?;
        Ok(ExitCode::SUCCESS)
    }
}
