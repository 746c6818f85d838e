//! `weir dead-letters retry`: through the rules of today, once more.

use super::{LETTERS, Which, check_meant, shown, stage_host};
use crate::{
    command::terminal::{self, Bars, answer, say},
    command::{make_plan, parse_now, project::OnePipeline, what_if::WhatIf},
    definition::File,
    error::{Error, Result},
    runtime::{
        retry::{Changes, RetryEvent, RetryReport},
        status::CountsStatus,
    },
    storage::Location,
    text::printable,
};
use std::process::ExitCode;

/// Processes dead letters again, by the rules as they are now, and keeps what comes of it.
///
/// Each is processed as the event that it was (its sequence, its subject, its times) and takes effect now, behind everything
/// that the database holds: in tables, state and counts, and in messages, which the next `weir run` publishes. One that
/// cannot be processed this time either stays, with the reason of today. Rows of windows among the dead letters are no
/// events, and are passed over.
///
/// What decides is what `weir run` would let decide next: the pipeline file, and the versions that were deployed. The
/// pipeline must not be running. Interrupted, it leaves each letter either retried or as it was; the same command goes on.
/// It ends with exit code 3 where some of the letters remain.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir dead-letters retry guests/hourly-orders/pipeline.toml --database hourly-orders.db --all --dry-run\n  weir dead-letters retry guests/hourly-orders/pipeline.toml --database hourly-orders.db --step todays-orders"
)]
pub(in crate::command) struct Retry {
    #[command(flatten)]
    pipeline: OnePipeline,
    /// The SQLite file that holds the dead letters, of `weir run` or `weir replay`.
    #[arg(long, value_name = "FILE")]
    database: Location,
    #[command(flatten)]
    which: Which,
    /// All of the pipeline's.
    #[arg(long, conflicts_with_all = ["step", "module", "reason", "from", "to"])]
    all: bool,
    /// Say what would become of them (with -v of each), and keep nothing of it.
    #[arg(long)]
    dry_run: bool,
    /// "Now" for each of them, in RFC 3339, in place of what it was.
    #[arg(long, value_name = "TIME", value_parser = parse_now)]
    now: Option<jiff::Timestamp>,
    #[command(flatten)]
    what_if: WhatIf,
}

impl Retry {
    pub(in crate::command) fn run(self) -> Result<ExitCode> {
        let filter = self.which.filter(None);
        check_meant(LETTERS, filter.is_all(), self.all, "retry")?;
        let host = stage_host()?;
        let file = File::read(&self.pipeline.file()?)?;
        let changes = self.what_if.changes(&file, &host)?;
        let plan = make_plan(&file, &host, self.now, &changes.versions)?;
        if !self.database.exists() {
            return Err(Error::environment(format!("there is no database {}", self.database)));
        }
        let database = self.database.hold()?;
        let said = changes.suffix();
        let changed = Changes {
            said: &said,
            versions: &changes.versions,
        };
        let retry = crate::runtime::retry::Retry::open(&*database, &host, plan, changed, !self.dry_run)?;
        let publishes = retry.publishes();
        let bars = Bars::begin();
        let bar = bars.add(
            "{bar:20} {percent:>3} %  {eta} left  {human_pos}/{human_len} dead letters",
            0,
        )?;
        let mut reasons = Reasons::default();
        let report = retry.run(&filter, |told| match told {
            RetryEvent::Applied(sequence) => say!(Debug, "#{sequence}: applied"),
            RetryEvent::Filtered(sequence) => say!(Debug, "#{sequence}: filtered"),
            RetryEvent::Again(letter) => {
                let reason = printable(&letter.reason);
                say!(
                    Debug,
                    "#{}: a dead letter again, of step {}: {reason}",
                    letter.sequence,
                    printable(&letter.step)
                );
                reasons.count(format!("again, of step {}: {reason}", printable(&letter.step)));
            }
            RetryEvent::Refused(letter, reason) => {
                say!(Debug, "#{}: cannot be retried: {}", letter.sequence, printable(reason));
                reasons.count(format!("cannot be retried: {}", printable(reason)));
            }
            RetryEvent::Through(done, all) => {
                bar.set_length(all);
                bar.set_position(done);
            }
        })?;
        drop((bar, bars));
        match terminal::is_json() {
            true => terminal::stdout().json(&json(&report, &reasons, publishes, self.dry_run))?,
            false => answer!("{}", summary(&report, &reasons, publishes, self.dry_run))?,
        }
        let left = report.counts.dead_letters + report.refused + report.rows;
        Ok(if left > 0 { ExitCode::from(3) } else { ExitCode::SUCCESS })
    }
}

/// Reasons that the summary shows; `-v` says what became of each letter.
const REASONS_SHOWN: usize = 10;

/// How many letters there are of each reason, in the order in which the first of them came.
#[derive(Default)]
struct Reasons {
    counts: Vec<(String, u64)>,
    /// Letters of further reasons.
    more: u64,
}

impl Reasons {
    fn count(&mut self, reason: String) {
        let is_full = self.counts.len() >= REASONS_SHOWN;
        match self.counts.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None if !is_full => self.counts.push((reason, 1)),
            None => self.more += 1,
        }
    }
}

fn json(report: &RetryReport, reasons: &Reasons, publishes: bool, dry_run: bool) -> serde_json::Value {
    let reasons = reasons.counts.iter();
    serde_json::json!({
        "retried": report.retried,
        "counts": CountsStatus::from(report.counts),
        "messages": report.messages,
        "publishes": publishes,
        "refused": report.refused,
        "rows": report.rows,
        "reasons": reasons.map(|(reason, count)| serde_json::json!({ "reason": reason, "count": count })).collect::<Vec<_>>(),
        "dry_run": dry_run,
    })
}

fn summary(report: &RetryReport, reasons: &Reasons, publishes: bool, dry_run: bool) -> String {
    let counts = report.counts;
    let mut lines = vec![format!(
        "{}: {} applied, {} filtered, {} again{}",
        match dry_run {
            true => format!("{} would be retried", shown::count(report.retried, "dead letter")),
            false => format!("{} retried", shown::count(report.retried, "dead letter")),
        },
        shown::thousands(counts.applied),
        shown::thousands(counts.filtered),
        shown::count(counts.dead_letters, "dead letter"),
        match counts.empty {
            0 => String::new(),
            empty => format!(", {} empty", shown::thousands(empty)),
        }
    )];
    let mut line = |number: u64, what: &str, note: &str| {
        if number > 0 {
            lines.push(format!("  {} {note}", shown::count(number, what)));
        }
    };
    line(counts.late_rows, "row", "came too late for a step");
    line(
        counts.dead_rows,
        "row",
        "that came because time went on became dead letters",
    );
    let outcome = match (dry_run, publishes) {
        (true, _) => "would come of it",
        (false, true) => "wait in the outbox for the next `weir run`",
        (false, false) => "not sent: a replay tells nobody",
    };
    line(report.messages, "message", outcome);
    line(
        report.republished,
        "row",
        match dry_run {
            true => "that the server did not take: would go back into the outbox",
            false => "that the server did not take: back in the outbox",
        },
    );
    for (reason, count) in &reasons.counts {
        line(*count, "dead letter", reason);
    }
    line(
        reasons.more,
        "dead letter",
        "for other reasons; -v says what became of each",
    );
    line(
        report.rows,
        "row",
        "among the dead letters that came because time went on, left as they are: no event can be retried for them",
    );
    if dry_run {
        lines.push("  nothing of it was kept".to_owned());
    }
    lines.join("\n")
}
