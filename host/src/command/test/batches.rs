//! What a case leaves in batches of other sizes, which is to be the same.

use super::{case::Case, outcome::Outcome, rows::Shape};
use crate::{command::show, error::Result, wasm::StageHost};
use serde_json::Value as Json;
use std::path::Path;

/// Batches in which each case is run again, beside those of as many events as there may be.
const BATCHES: [usize; 2] = [1, 7];

/// How what a case leaves in small batches differs from `whole`; nothing, as a rule.
pub(super) fn differences(case: &Case, pipeline: &Path, host: &StageHost, whole: &Outcome) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for batch in BATCHES {
        let of = show::count(batch as u64, "event");
        let outcome = Outcome::again(case, pipeline, host, batch)
            .map_err(|error| error.context(format!("case {}, in batches of {of}", case.name)))?;
        for part in parts_that_differ(whole, &outcome) {
            lines.push(format!("in batches of {of}, {part}"));
        }
    }
    Ok(lines)
}

fn parts_that_differ(whole: &Outcome, outcome: &Outcome) -> Vec<String> {
    let mut parts = Vec::new();
    for ((shape, rows), (_, others)) in whole.tables.iter().zip(&outcome.tables) {
        let what = format!("table {} holds", shape.name);
        parts.extend(first_difference(&what, &sorted(shape, rows), &sorted(shape, others)));
    }
    let messages = |outcome: &Outcome| {
        outcome
            .messages
            .iter()
            .map(|message| message.line.clone())
            .collect::<Vec<_>>()
    };
    parts.extend(first_difference(
        "there is the message",
        &messages(whole),
        &messages(outcome),
    ));
    let letters = |outcome: &Outcome| -> Vec<String> {
        let letters = outcome.dead_letters.iter();
        let shown = letters.map(|letter| format!("{} of step {}: {}", letter.sequence, letter.step, letter.reason));
        shown.collect()
    };
    parts.extend(first_difference(
        "there is the dead letter",
        &letters(whole),
        &letters(outcome),
    ));
    if parts.is_empty() && whole.counts != outcome.counts {
        parts.push(format!(
            "the counts are {:?}, and in one batch {:?}",
            outcome.counts, whole.counts
        ));
    }
    parts
}

/// The first place at which two lists differ, in words.
fn first_difference(what: &str, whole: &[String], other: &[String]) -> Option<String> {
    let differ = |at: &usize| whole.get(*at) != other.get(*at);
    let count = (0..whole.len().max(other.len())).filter(differ).count();
    let at = (0..whole.len().max(other.len())).find(differ)?;
    let text = |list: &[String]| list.get(at).map_or_else(|| "nothing".to_owned(), Clone::clone);
    let more = match count {
        1 => String::new(),
        _ => format!(" ({} differ)", show::count(count as u64, "place")),
    };
    Some(format!(
        "{what} {} where in one batch {}{more}",
        text(other),
        text(whole)
    ))
}

/// The rows of a table as text; those of a table by key lie in any order.
fn sorted(shape: &Shape, rows: &[Vec<Json>]) -> Vec<String> {
    let mut rows: Vec<String> = rows.iter().map(|row| shown(row)).collect();
    if !shape.key.is_empty() {
        rows.sort_unstable();
    }
    rows
}

fn shown(values: &[Json]) -> String {
    let values: Vec<String> = values.iter().map(Json::to_string).collect();
    format!("[{}]", values.join(", "))
}
