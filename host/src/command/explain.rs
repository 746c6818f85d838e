//! `weir explain`: by which events and which versions of rules a row was made.

use super::{connection::NatsArguments, show, write_failed};
use crate::{
    command::terminal,
    error::{Error, Result},
    model::deployment::{Deployment, Signer, StoredVersion},
    nats::Nats,
    storage::{Location, RowLineage, SwapOfRow},
    text::printable,
    trust::Policy,
};
use serde_json::json;
use std::{collections::BTreeMap, io::Write, process::ExitCode};

/// Says by which events and which versions of rules a row of a table was made.
///
/// A database keeps a trace of the last changes, some millions of them; where it does not reach back to the first event,
/// that is said. With --payloads the events themselves are read from the stream.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir explain hourly-orders.db hs_order biz_date=2026031509\n  \
                  weir explain premium-drop.db wechat_activity_user id=500001 --payloads --nats nats://127.0.0.1:4222"
)]
pub(super) struct Explain {
    /// The database.
    database: Location,
    /// The table.
    table: String,
    /// The key of the row: NAME=VALUE for each of its columns, or NAME alone for null.
    #[arg(required = true, value_name = "NAME=VALUE")]
    key: Vec<String>,
    /// How many events to list, the last ones; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 10)]
    events: usize,
    /// Read the events from the stream.
    #[arg(long)]
    payloads: bool,
    #[command(flatten)]
    nats: NatsArguments,
}

impl Explain {
    pub(super) fn run(self) -> Result<ExitCode> {
        let key: Vec<(String, Option<String>)> = self
            .key
            .iter()
            .map(|text| match text.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (text.clone(), None),
            })
            .collect();
        let database = self.database.inspect();
        let lineage = database.lineage(&self.table, &key)?;
        let versions = database.versions(&lineage.pipeline)?;
        let decided = decided(&versions, &lineage);
        let mut out = terminal::stdout();
        let text = match terminal::is_json() {
            true => self.json(&lineage, &versions, &decided),
            false => self.text(&lineage, &versions, &decided)?,
        };
        writeln!(out, "{text}").map_err(|cause| write_failed(&cause))?;
        Ok(ExitCode::SUCCESS)
    }

    fn json(&self, lineage: &RowLineage, versions: &[StoredVersion], decided: &[Decided<'_>]) -> String {
        let decided: Vec<_> = decided
            .iter()
            .map(|decided| {
                let version = json!({
                    "step": decided.step,
                    "version": decided.deployment.version,
                    "digest": decided.digest,
                    "parameters": decided.deployment.parameters,
                    "events": decided.events,
                    "first": decided.first,
                    "last": decided.last,
                });
                show::with_signer(version, decided.signer.as_ref())
            })
            .collect();
        let swaps: Vec<_> = swaps(versions, lineage)
            .map(|(swap, version)| {
                json!({
                    "behind": swap.behind,
                    "last_event": swap.last_event,
                    "step": version.map(|version| &version.step),
                    "version": version.map(|version| version.deployment.version),
                })
            })
            .collect();
        let row: Option<serde_json::Map<_, _>> = lineage.row.columns.as_ref().map(|columns| {
            columns
                .iter()
                .map(|(name, value)| (name.clone(), value.clone().into()))
                .collect()
        });
        json!({
            "pipeline": lineage.pipeline,
            "table": self.table,
            "row": row,
            "sequences": lineage.sequences,
            "retried": lineage.retried,
            "swaps": swaps,
            "traced_from": lineage.first_sequence,
            "position": lineage.position,
            "versions": decided,
        })
        .to_string()
    }

    fn text(&self, lineage: &RowLineage, versions: &[StoredVersion], decided: &[Decided<'_>]) -> Result<String> {
        let mut lines = vec![format!(
            "{}, {} of pipeline {}",
            self.table,
            printable(&self.key.join(", ")),
            lineage.pipeline
        )];
        match &lineage.row.columns {
            Some(columns) => {
                let width = columns.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
                for (name, value) in columns {
                    lines.push(format!("  {name:<width$}  {}", printable(value)));
                }
            }
            None => lines.push("  there is no such row now".to_owned()),
        }
        let reach = match lineage.first_sequence {
            0 => "the lineage reaches back to the first event".to_owned(),
            first => format!(
                "the lineage begins at sequence {}: what changed the row before is not known",
                show::thousands(first)
            ),
        };
        match (lineage.sequences.iter().min(), lineage.sequences.iter().max()) {
            (Some(first), Some(last)) => lines.push(format!(
                "changed by {} events, sequences {} to {}; {reach}",
                show::thousands(lineage.sequences.len() as u64),
                show::thousands(*first),
                show::thousands(*last)
            )),
            _ if lineage.first_sequence == 0 => lines.push(format!("changed by no event; {reach}")),
            _ => lines.push(format!("changed by no event that is known; {reach}")),
        }
        for decided in decided {
            lines.push(format!(
                "  step {}, version {}, {}{}{}: {} of them, {} to {}",
                decided.step,
                decided.deployment.version,
                show::module(decided.digest),
                show::parameters(&decided.deployment.parameters),
                show::signed_by(decided.signer.as_ref()),
                show::thousands(decided.events),
                show::thousands(decided.first),
                show::thousands(decided.last)
            ));
        }
        lines.extend(swaps(versions, lineage).map(|(swap, version)| {
            let behind = show::thousands(swap.behind);
            let last_event = swap.last_event.map(show::thousands);
            match (version, last_event) {
                (Some(version), last_event) => format!(
                    "  judged anew behind {behind}, where version {} of step {} took over{}",
                    version.deployment.version,
                    version.step,
                    match last_event {
                        Some(last) => format!("; what it judged was last changed by {last}"),
                        None => String::new(),
                    }
                ),
                (None, Some(last)) => format!(
                    "  computed anew behind {behind}, where an aggregate took over; its rows were last changed by {last}"
                ),
                (None, None) => format!("  computed anew behind {behind}, where an aggregate took over"),
            }
        }));
        lines.extend(self.events(lineage)?);
        Ok(lines.join("\n"))
    }

    fn events(&self, lineage: &RowLineage) -> Result<Vec<String>> {
        let listed = match self.events {
            0 => lineage.sequences.len(),
            events => events.min(lineage.sequences.len()),
        };
        let first = lineage.sequences.len() - listed;
        let sequences = lineage.sequences.get(first..).unwrap_or_default();
        let mut lines = Vec::new();
        if listed > 0 {
            lines.push(match listed == lineage.sequences.len() {
                true => "the events:".to_owned(),
                false => format!("the last {} of them:", show::thousands(listed as u64)),
            });
        }
        let retried = |sequence: &u64| match lineage.retried.get(sequence) {
            Some(behind) => format!("  a dead letter, retried behind {}", show::thousands(*behind)),
            None => String::new(),
        };
        if !self.payloads {
            lines.extend(
                sequences
                    .iter()
                    .map(|sequence| format!("  {}{}", show::thousands(*sequence), retried(sequence))),
            );
            return Ok(lines);
        }
        let stream = lineage
            .source
            .strip_prefix("stream ")
            .and_then(|source| source.split_once(" made at "))
            .map(|(stream, _)| stream)
            .ok_or_else(|| {
                Error::mismatch(format!(
                    "the database was filled from {}, which is no stream: leave --payloads out",
                    lineage.source
                ))
            })?;
        let nats = Nats::connect(&self.nats.options()?)?;
        for &sequence in sequences {
            let shown = format!("{}{}", show::thousands(sequence), retried(&sequence));
            lines.push(match nats.message(stream, sequence)? {
                Some((stored_ms, payload)) => format!(
                    "  {shown}  {}  {}",
                    show::instant(stored_ms),
                    printable(&String::from_utf8_lossy(&payload))
                ),
                None => format!("  {shown}  is not in the stream any more"),
            });
        }
        Ok(lines)
    }
}

/// What a version decided of the events that changed a row.
struct Decided<'v> {
    step: &'v str,
    deployment: &'v Deployment,
    digest: Option<&'v str>,
    signer: Option<Signer>,
    events: u64,
    first: u64,
    last: u64,
}

/// The swaps that changed a row, each with the version that took over there; without one where it was an aggregate of the user's
/// own that did.
fn swaps<'v>(
    versions: &'v [StoredVersion],
    lineage: &'v RowLineage,
) -> impl Iterator<Item = (SwapOfRow, Option<&'v StoredVersion>)> {
    lineage.swaps.iter().flat_map(move |&swap| {
        let there = versions
            .iter()
            .filter(move |version| version.first_sequence == swap.behind + 1 && had_part(lineage, &version.step));
        let there: Vec<Option<&StoredVersion>> = there.map(Some).collect();
        let there = if there.is_empty() { vec![None] } else { there };
        there.into_iter().map(move |version| (swap, version))
    })
}

/// Whether rows of the table come through a step, as far as the database knows.
fn had_part(lineage: &RowLineage, step: &str) -> bool {
    let steps = lineage.steps.as_ref();
    steps.is_none_or(|steps| steps.iter().any(|had| had == step))
}

/// Who signed what a version fell back on, as the database has it.
fn signer_of(versions: &[&StoredVersion], fallback: &Deployment) -> Option<Signer> {
    let signature = fallback.signature.as_ref()?;
    let known = versions.iter().filter_map(|version| version.signer.clone());
    let mut same = known.filter(|signer| signer.key == signature.key);
    same.next().or_else(|| Some(Policy::default().signer(&signature.key)))
}

/// Which version of each step decided over the events of a trace, in the order of steps and versions. Over a dead letter
/// that was retried the version decided that was in force by then.
fn decided<'v>(versions: &'v [StoredVersion], lineage: &RowLineage) -> Vec<Decided<'v>> {
    let mut by_step: BTreeMap<&str, Vec<&'v StoredVersion>> = BTreeMap::new();
    for version in versions {
        by_step.entry(&version.step).or_default().push(version);
    }
    // A version by its number, its first sequence and whether it fell back: what a file says has the number 0 whatever it is.
    let mut decided: BTreeMap<(&str, u64, String), Decided<'v>> = BTreeMap::new();
    for (_, of_step) in by_step.iter().filter(|(step, _)| had_part(lineage, step)) {
        for &sequence in &lineage.sequences {
            let at = lineage.retried.get(&sequence).map_or(sequence, |behind| behind + 1);
            let after = of_step.partition_point(|version| version.first_sequence <= at);
            let Some(version) = after.checked_sub(1).and_then(|at| of_step.get(at)) else {
                continue;
            };
            // Where a version on trial failed, another one decided.
            let by_fallback = version.trial.by_fallback.contains(&sequence);
            let (deployment, digest, signer) = match version.fallback.as_ref().filter(|_| by_fallback) {
                Some(fallback) => (fallback, fallback.digest.as_deref(), signer_of(of_step, fallback)),
                None => (
                    &version.deployment,
                    Some(version.digest.as_str()),
                    version.signer.clone(),
                ),
            };
            let what = format!(
                "{}{}",
                digest.unwrap_or_default(),
                show::parameters(&deployment.parameters)
            );
            let of_version = decided
                .entry((&version.step, deployment.version, what))
                .or_insert(Decided {
                    step: &version.step,
                    deployment,
                    digest,
                    signer,
                    events: 0,
                    first: sequence,
                    last: sequence,
                });
            of_version.events += 1;
            of_version.first = of_version.first.min(sequence);
            of_version.last = of_version.last.max(sequence);
        }
    }
    let mut decided: Vec<Decided<'v>> = decided.into_values().collect();
    decided.sort_by_key(|decided| (decided.step, decided.deployment.version, decided.first));
    decided
}
