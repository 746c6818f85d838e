//! `weir status`: what runs, or what a database holds.

use super::{connection::NatsArguments, show, write_failed};
use crate::{
    command::terminal::{self, say},
    error::Result,
    model::{
        deployment::{Deployment, StoredVersion},
        harm::Harm,
    },
    nats::{Hosts, Nats, Registry},
    runtime::status::{CountsStatus, HostStatus, StepStatus},
    storage::{FileSize, Kept, Location, StoredPipeline},
    text::printable,
    trust::Policy,
};
use comfy_table::{Cell, CellAlignment, Table, presets::NOTHING};
use serde_json::json;
use std::{collections::BTreeMap, io::Write, process::ExitCode, time::Duration};

/// Shows the running pipelines: what each step runs since which sequence, how far they are, and what failed. Or what a
/// database holds.
///
/// Of a database it shows, for each pipeline in it, the position, what became of all events, the versions that decide, the
/// state of each operator in entries and bytes, the log that it is kept in, and the tables. A pipeline that runs is not
/// disturbed.
///
/// With -v it shows the numbers of each step that runs: rows in and out, late rows, rows that made its module fail, dead
/// letters, how long it was at work, and its state.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir status\n  weir status hourly-orders.db\n  weir status --json | jq .steps\n  weir status hourly-orders.db --json | jq .states"
)]
pub(super) struct Status {
    /// A database to show, in place of what runs.
    database: Option<Location>,
    #[command(flatten)]
    nats: NatsArguments,
}

impl Status {
    pub(super) fn run(self) -> Result<ExitCode> {
        match &self.database {
            Some(database) => stored(database, terminal::is_json()),
            None => self.running(),
        }
    }

    fn running(&self) -> Result<ExitCode> {
        let nats = Nats::connect(&self.nats.options()?)?;
        let found = Hosts::find(&nats)?;
        if found.is_some() {
            say_missing(&nats);
        }
        let mut out = terminal::stdout();
        if terminal::is_json() {
            let hosts = found.map_or(Ok(Vec::new()), |hosts| hosts.read::<serde_json::Value>(None))?;
            for host in hosts {
                writeln!(out, "{host}").map_err(|cause| write_failed(&cause))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let hosts: Vec<HostStatus> = found.map_or(Ok(Vec::new()), |hosts| hosts.read(None))?;
        if hosts.is_empty() {
            let text = format!("no pipeline runs with {}; `weir run` starts one", nats.server());
            writeln!(out, "{text}").map_err(|cause| write_failed(&cause))?;
        }
        for host in &hosts {
            writeln!(out, "{}", text_of(host)).map_err(|cause| write_failed(&cause))?;
            // A host of an older weir does not say.
            if terminal::is_said(terminal::Level::Debug) && !host.step_metrics.is_empty() {
                let modules = show::modules(&host.module_metrics);
                writeln!(out, "{}", show::steps(&host.step_metrics, None)).map_err(|cause| write_failed(&cause))?;
                modules.iter().try_for_each(|line| out.line(line))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Says which buckets of the registry are gone. What runs is shown all the same.
fn say_missing(nats: &Nats) {
    match Registry::missing(nats) {
        Ok(missing) => {
            for bucket in missing {
                say!(
                    Warning,
                    "weir: there is no bucket {bucket} at {}: somebody removed it; what runs goes on, and `weir deploy` makes it \
                     anew",
                    nats.server()
                );
            }
        }
        Err(error) => say!(Warning, "weir: deployments cannot be seen: {error}"),
    }
}

fn text_of(host: &HostStatus) -> String {
    let mut lines = vec![
        printable(&format!(
            "{} at {}, into {}",
            host.pipeline, host.process, host.database
        )),
        format!(
            "  position {}, lag {}, dead letters {}, failed rows {}",
            show::thousands(host.position),
            show::lag(
                host.lag,
                host.lag_unknown_since.as_deref(),
                host.paused_until.as_deref()
            ),
            show::thousands(host.counts.dead_letters),
            show::thousands(host.failed_rows)
        ),
        format!("  {}", text_of_pace(host)),
    ];
    for (step, rows) in &host.late_rows {
        lines.push(format!("  {}: {}", printable(step), show::count(*rows, "late row")));
    }
    if let Some(reason) = &host.registry {
        lines.push(format!(
            "  deployments do not reach it, and are tried again: {}",
            show::told(reason)
        ));
    }
    if let Some(trust) = &host.trust {
        lines.push(match trust.require {
            true => format!("  takes deployments that are signed by {trust}"),
            false => format!("  takes deployments that are not signed, or signed by {trust}"),
        });
    }
    for step in &host.steps {
        lines.extend(text_of_step(step, host.trust.as_ref()));
    }
    lines.join("\n")
}

/// How fast it is, and where it stands in time.
fn text_of_pace(host: &HostStatus) -> String {
    let mut parts = vec![format!("{} events/s", show::thousands(host.events_per_s))];
    // What it said a while ago is as much older by now.
    let since_ms = jiff::Timestamp::now()
        .as_millisecond()
        .saturating_sub(host.said_ms)
        .max(0);
    parts.push(match host.commit_age_ms {
        Some(age_ms) => {
            let age = Duration::from_millis(age_ms.saturating_add(since_ms.unsigned_abs()));
            format!("last commit {} ago", show::seconds(age))
        }
        None => "no commit since the start".to_owned(),
    });
    if let Some(watermark_ms) = host.watermark_ms {
        parts.push(format!("watermark {}", show::instant(watermark_ms)));
    }
    if let Some(outbox) = host.outbox {
        parts.push(format!("{} to publish", show::count(outbox, "message")));
    }
    parts.join(", ")
}

fn text_of_step(step: &StepStatus, trust: Option<&Policy>) -> Vec<String> {
    let deployment = &step.deployment;
    let digest = step.digest.get(..12).unwrap_or(&step.digest);
    let mut lines = vec![format!(
        "  {}: version {} ({}, {digest}) from sequence {}{}",
        printable(&step.step),
        deployment.version,
        printable(&step.rule),
        show::thousands(step.first_sequence),
        show::parameters(&deployment.parameters)
    )];
    lines.extend(text_of_signature(deployment, trust));
    if step.trial_left > 0 {
        lines.push(format!(
            "    on trial for {} more rows; {} were decided by the version before it",
            show::thousands(step.trial_left),
            show::thousands(step.by_fallback)
        ));
    }
    if let Some(waits) = &step.waits {
        lines.push(format!(
            "    version {} waits: {}",
            waits.version,
            show::told(&waits.reason)
        ));
    }
    if let Some(failed) = &step.failed {
        let reason = show::told(&failed.reason);
        lines.push(match failed.taken_back {
            true => format!(
                "    version {} was taken back from sequence {} on: {reason}",
                failed.version,
                show::thousands(failed.sequence)
            ),
            false => format!("    version {} was refused: {reason}", failed.version),
        });
    }
    lines
}

/// Who signed what decides, and whether that would be let in by now. What the file says is signed by nobody.
fn text_of_signature(deployment: &Deployment, trust: Option<&Policy>) -> Option<String> {
    let open = Policy::default();
    let trust = trust.unwrap_or(&open);
    let key = deployment.signature.as_ref().map(|signature| signature.key.as_str());
    let is_accepted = deployment.version == 0 || trust.accepts(key).is_ok();
    let doubt = match is_accepted {
        true => "",
        false => ", which is not trusted any more; it was in force before",
    };
    match key {
        Some(key) => Some(format!("    signed by {}{doubt}", trust.signer(key))),
        None if is_accepted => None,
        None => Some("    not signed; it was in force before signatures were asked for".to_owned()),
    }
}

/// What a database holds of one pipeline.
struct Held {
    name: String,
    stored: StoredPipeline,
    kept: Kept,
    versions: Vec<StoredVersion>,
    /// What the host died of.
    harms: Vec<Harm>,
    tables: Vec<(String, u64)>,
}

fn stored(database: &Location, as_json: bool) -> Result<ExitCode> {
    let snapshot = database.snapshot()?;
    let file = snapshot.size()?;
    let mut out = terminal::stdout();
    if !as_json {
        let log = match file.log_bytes {
            0 => String::new(),
            bytes => format!(" and {} beside it that are not in it yet", show::bytes(bytes)),
        };
        let text = format!("{database}: {}{log}, layout {}", show::bytes(file.bytes), file.layout);
        writeln!(out, "{text}").map_err(|cause| write_failed(&cause))?;
    }
    let inspect = database.inspect();
    for (name, stored) in snapshot.pipelines()? {
        let held = Held {
            kept: snapshot.kept(&name, &stored)?,
            versions: inspect.versions(&name)?,
            harms: inspect.harms(&name)?,
            tables: inspect.table_sizes(&name)?,
            name,
            stored,
        };
        let text = match as_json {
            true => held.json(database, file).to_string(),
            false => format!("\n{}", held.text()),
        };
        writeln!(out, "{text}").map_err(|cause| write_failed(&cause))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Held {
    /// The version of each step that decides now.
    fn deciding(&self) -> BTreeMap<&str, &StoredVersion> {
        self.versions
            .iter()
            .map(|version| (version.step.as_str(), version))
            .collect()
    }

    fn json(&self, database: &Location, file: FileSize) -> serde_json::Value {
        let states = self
            .kept
            .states
            .iter()
            .map(|(state, size)| (state.clone(), json!({ "entries": size.entries, "bytes": size.bytes })));
        let versions = self.deciding().into_values().map(|version| {
            let of_step = json!({
                "step": version.step,
                "version": version.deployment.version,
                "digest": version.digest,
                "parameters": version.deployment.parameters,
                "first_sequence": version.first_sequence,
                "trial_left": version.trial.left,
            });
            show::with_signer(of_step, version.signer.as_ref())
        });
        json!({
            "pipeline": self.name,
            "database": database.to_string(),
            "layout": file.layout,
            "bytes": file.bytes,
            "wal_bytes": file.log_bytes,
            "source": self.stored.source,
            "position": self.stored.position,
            "turn": self.stored.turn,
            "counts": CountsStatus::from(self.stored.counts),
            "versions": versions.collect::<Vec<_>>(),
            "states": states.collect::<serde_json::Map<_, _>>(),
            "log": { "rows": self.kept.log_rows, "bytes": self.kept.log_bytes },
            "snapshots": { "rows": self.kept.snapshot_rows, "bytes": self.kept.snapshot_bytes },
            "trace_bytes": self.kept.trace_bytes,
            "outbox": self.kept.outbox,
            "messages": {
                "unpublished": self.kept.messages.unpublished,
                "dead": self.kept.messages.dead,
                "dropped": self.kept.messages.dropped,
            },
            "dead_letters_held": self.kept.dead_letters.held,
            "dead_letter_bytes": self.kept.dead_letters.bytes,
            "dead_letters_let_go": self.kept.dead_letters.let_go,
            "dead_letters_dropped": self.stored.dropped,
            "deaths": self.harms.iter().map(|harm| json!({
                "step": harm.last.step,
                "version": harm.last.version,
                "digest": harm.last.digest,
                "candidate": harm.last.candidate,
                "while": harm.last.doing.name(),
                "deaths": harm.deaths,
                "in_a_row": harm.in_a_row,
                "position": harm.position,
                "runs_again": !harm.is_too_much(),
            })).collect::<Vec<_>>(),
            "stopped": self.kept.stopped.iter().map(|(step, ..)| step).collect::<Vec<_>>(),
            "tables": self.tables.iter().cloned().collect::<BTreeMap<_, _>>(),
        })
    }

    fn text(&self) -> String {
        let source = self.stored.source.as_deref().unwrap_or("nothing yet");
        let counts = self.stored.counts;
        let mut lines = vec![
            format!("{} from {}", printable(&self.name), printable(source)),
            format!(
                "  position {}, turn {}",
                show::thousands(self.stored.position),
                show::thousands(self.stored.turn)
            ),
            format!(
                "  {} = {} applied + {} filtered + {} dead letters + {} empty",
                show::count(counts.events, "event"),
                show::thousands(counts.applied),
                show::thousands(counts.filtered),
                show::thousands(counts.dead_letters),
                show::thousands(counts.empty)
            ),
            format!(
                "  {}, {}{}, {} held, {} to publish",
                show::count(counts.late_rows, "late row"),
                show::count(counts.dead_rows, "dead row"),
                match counts.ahead_events {
                    0 => String::new(),
                    ahead => format!(", {} too far ahead", show::count(ahead, "event")),
                },
                show::count(self.kept.dead_letters.held, "dead letter"),
                show::count(self.kept.outbox, "message")
            ),
        ];
        let of_messages = [
            (
                self.kept.messages.unpublished,
                "not published, since they lie before the first that is",
            ),
            (
                self.kept.messages.dead,
                "too large for the server, and dead letters of step publish",
            ),
            (self.kept.messages.dropped, "dropped from the outbox"),
        ];
        for (count, what) in of_messages.into_iter().filter(|(count, _)| *count > 0) {
            lines.push(format!("  {} {what}", show::count(count, "message")));
        }
        if self.kept.dead_letters.let_go > 0 {
            lines.push(format!(
                "  {} let go: no more than `dead_letters.keep` says are kept",
                show::count(self.kept.dead_letters.let_go, "dead letter")
            ));
        }
        for (step, failed, judged) in &self.kept.stopped {
            lines.push(format!(
                "  STOPPED: the module of step {} failed on {} of {} rows; deploy one that does not, or raise its `failures`",
                printable(step),
                show::thousands(*failed),
                show::thousands(*judged)
            ));
        }
        for version in self.deciding().into_values() {
            lines.push(format!(
                "  step {}: version {} ({}) from sequence {}{}{}",
                printable(&version.step),
                version.deployment.version,
                version.digest.get(..12).unwrap_or(&version.digest),
                show::thousands(version.first_sequence),
                show::parameters(&version.deployment.parameters),
                show::signed_by(version.signer.as_ref())
            ));
        }
        for harm in &self.harms {
            let what = match harm.last.candidate {
                true => "candidate".to_owned(),
                false => format!("version {}", harm.last.version),
            };
            lines.push(format!(
                "  step {}: {what} ({}): {harm}{}",
                printable(&harm.last.step),
                harm.last.digest.get(..12).unwrap_or(&harm.last.digest),
                match harm.is_too_much() {
                    true => "; it is not run again",
                    false => "",
                }
            ));
        }
        let mut sizes = Table::new();
        sizes.load_style(NOTHING);
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let mut row = |what: String, count: u64, unit: &str, bytes: Option<u64>| {
            sizes.add_row([
                Cell::new(format!(" {what}")),
                right(show::thousands(count)),
                Cell::new(unit),
                right(bytes.map(show::bytes).unwrap_or_default()),
            ]);
        };
        for (state, size) in &self.kept.states {
            row(
                format!("state {}", printable(state)),
                size.entries,
                "entries",
                Some(size.bytes),
            );
        }
        row(
            "log of changes".to_owned(),
            self.kept.log_rows,
            "rows",
            Some(self.kept.log_bytes),
        );
        row(
            "snapshots".to_owned(),
            self.kept.snapshot_rows,
            "buckets",
            Some(self.kept.snapshot_bytes),
        );
        for (table, rows) in &self.tables {
            row(format!("table {}", printable(table)), *rows, "rows", None);
        }
        lines.push(sizes.trim_fmt());
        lines.push(format!("  trace of {}", show::bytes(self.kept.trace_bytes)));
        lines.join("\n")
    }
}
