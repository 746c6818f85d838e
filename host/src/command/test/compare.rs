//! What came out against what is expected, and the differences as a person reads them.

use super::{
    case::Case,
    mistake,
    outcome::Outcome,
    rows::{Shape, is_same, read_objects, written},
};
use crate::{
    error::{Context, Error, Result},
    files::private_file,
    plan::Target,
};
use serde_json::{Map, Value as Json, json};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

/// Differences of one file that are shown; the others are counted.
const DIFFERENCES_SHOWN: usize = 10;

/// What a case comes to.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Lines for a person; none when everything is as expected.
    pub(super) differences: Vec<String>,
    /// What was written.
    pub(super) updated: Vec<String>,
    /// What was not compared.
    pub(super) notes: String,
}

/// Compares what a case left with what its files expect. With `update`, files that differ are written anew instead.
pub(super) fn compare(case: &Case, outcome: &Outcome, update: bool) -> Result<Report> {
    let mut comparisons = Vec::new();
    let mut compared = Vec::new();
    for (what, file) in &case.expected {
        let objects = read_objects(file);
        // What is no row any more will be written anew.
        let objects = if update { objects.unwrap_or_default() } else { objects? };
        let (shape, found) = table_of(what.as_deref(), file, &objects, outcome)?;
        compared.push(&shape.name);
        comparisons.push(table(shape, found, file, &objects, update)?);
    }
    let publishes = outcome
        .plan
        .sinks
        .iter()
        .any(|sink| matches!(sink.target, Target::Subject { .. }));
    if case.expected.is_empty() && !case.messages().exists() {
        if !update {
            return Err(Error::definition(format!(
                "the case {} does not say what is expected: it has no expected.jsonl, expected.TABLE.jsonl or messages.jsonl; `weir test --update` writes what comes out",
                case.folder.display()
            )));
        }
        let sinks: Vec<_> = outcome.tables.iter().filter(|(shape, _)| !shape.is_lookup).collect();
        for (shape, found) in &sinks {
            let name = match sinks.as_slice() {
                [_] => "expected.jsonl".to_owned(),
                _ => format!("expected.{}.jsonl", shape.name),
            };
            compared.push(&shape.name);
            comparisons.push(table(shape, found, &case.folder.join(name), &[], true)?);
        }
        if publishes {
            comparisons.push(messages(case, outcome)?);
        }
    } else if case.messages().exists() {
        comparisons.push(messages(case, outcome)?);
    }
    comparisons.push(dead_letters(case, outcome)?);

    let mut report = Report::default();
    for comparison in comparisons {
        // A file without a row says that there is to be none; only dead letters need no file for that.
        let is_missing = !comparison.file.exists() && (!comparison.rows.is_empty() || !comparison.may_be_missing());
        if update && (is_missing || !comparison.differences.is_empty()) {
            report.updated.push(comparison.write()?);
        } else if !comparison.differences.is_empty() {
            report.differences.extend(comparison.show());
        }
    }
    let not_compared = outcome
        .tables
        .iter()
        .filter(|(shape, _)| !compared.contains(&&shape.name));
    let mut not_compared: Vec<&str> = not_compared.map(|(shape, _)| shape.name.as_str()).collect();
    // A lookup table that the pipeline does not write stays as the case filled it.
    let is_constant = |name: &str| {
        let mut tables = outcome.plan.tables.iter();
        tables.any(|table| table.name == name && table.update.is_none())
    };
    not_compared.retain(|name| !is_constant(name));
    if publishes && !case.messages().exists() {
        not_compared.push("messages");
    }
    if !not_compared.is_empty() {
        report.notes = format!("; not compared: {}", not_compared.join(", "));
    }
    Ok(report)
}

/// A file against what came out.
struct Comparison {
    title: String,
    file: PathBuf,
    differences: Vec<Vec<String>>,
    /// What the file should hold, line by line.
    rows: Vec<String>,
}

impl Comparison {
    fn show(&self) -> Vec<String> {
        let mut lines = vec![format!("{} (- {}, + what came out)", self.title, self.file.display())];
        let shown = self.differences.iter().take(DIFFERENCES_SHOWN).flatten();
        lines.extend(shown.map(|line| format!("  {line}")));
        if let Some(more @ 1..) = self.differences.len().checked_sub(DIFFERENCES_SHOWN) {
            lines.push(format!("  … and {more} more"));
        }
        lines
    }

    fn may_be_missing(&self) -> bool {
        self.file.ends_with("dead_letters.jsonl")
    }

    /// Writes the file anew, or removes it where it would be empty and may be missing.
    fn write(&self) -> Result<String> {
        let shown = self.file.display();
        if self.rows.is_empty() && self.may_be_missing() {
            fs::remove_file(&self.file).environment(|| format!("cannot remove {shown}"))?;
            return Ok(format!("removed {shown}"));
        }
        let text: String = self.rows.iter().map(|row| format!("{row}\n")).collect();
        private_file::write_whole(&self.file, text.as_bytes())?;
        Ok(format!("wrote {shown}"))
    }
}

/// The table that an expected file speaks of: the one in its name, else the only one, else the one with its columns, else
/// the only one beside lookup tables, for which `--update` writes it, without a row too.
fn table_of<'o>(
    what: Option<&str>,
    file: &Path,
    objects: &[(usize, Map<String, Json>)],
    outcome: &'o Outcome,
) -> Result<(&'o Shape, &'o [Vec<Json>])> {
    let tables = || outcome.tables.iter();
    let named = tables().find(|(shape, _)| Some(shape.name.as_str()) == what);
    let only = match outcome.tables.as_slice() {
        [only] => Some(only),
        _ => None,
    };
    let alike = || {
        let (_, first) = objects.first()?;
        let has_them = |shape: &Shape| {
            shape.columns().len() == first.len() && shape.columns().iter().all(|&name| first.contains_key(name))
        };
        let mut alike = tables().filter(|(shape, _)| has_them(shape));
        alike.next().filter(|_| alike.next().is_none())
    };
    let only_sink = || {
        let mut sinks = tables().filter(|(shape, _)| what.is_none() && !shape.is_lookup);
        sinks.next().filter(|_| sinks.next().is_none())
    };
    let found = named.or(only).or_else(alike).or_else(only_sink);
    found.map(|(shape, rows)| (shape, rows.as_slice())).ok_or_else(|| {
        let names: Vec<String> = tables()
            .map(|(shape, _)| format!("expected.{}.jsonl", shape.name))
            .collect();
        Error::definition(format!(
            "{} does not say which table of pipeline {} it expects; accepted are {}",
            file.display(),
            outcome.plan.name,
            names.join(", ")
        ))
    })
}

fn table(
    shape: &Shape,
    found: &[Vec<Json>],
    file: &Path,
    objects: &[(usize, Map<String, Json>)],
    update: bool,
) -> Result<Comparison> {
    let mut expected = Vec::new();
    let mut lenient = Vec::new();
    for (line, object) in objects {
        match shape.expected(object) {
            Ok(row) => expected.push((*line, row)),
            Err(_) if update => lenient.push(vec!["no row of the table".to_owned()]),
            Err(what) => return Err(mistake(file, *line, what)),
        }
    }
    let mut differences = match shape.key.is_empty() {
        true => {
            let found: Vec<&[Json]> = found.iter().map(Vec::as_slice).collect();
            let lines: Vec<String> = found.iter().map(|row| shape.line(row)).collect();
            let expected = expected
                .iter()
                .map(|(line, row)| (*line, row.as_slice(), shape.line(row)));
            without_key(expected, &found, &lines)
        }
        false => by_key(shape, &expected, found, file)?,
    };
    differences.extend(lenient);
    let mut rows: Vec<&Vec<Json>> = found.iter().collect();
    if !shape.key.is_empty() {
        rows.sort_by(|one, other| order(shape, one, other));
    }
    Ok(Comparison {
        title: format!("table {}", shape.name),
        file: file.to_owned(),
        differences,
        rows: rows.into_iter().map(|row| shape.line(row)).collect(),
    })
}

/// Rows of a table by key, in the order of their keys.
fn order(shape: &Shape, one: &[Json], other: &[Json]) -> std::cmp::Ordering {
    let compare = |&at: &usize| match (one.get(at)?, other.get(at)?) {
        (Json::String(one), Json::String(other)) => Some(one.cmp(other)),
        (Json::Bool(one), Json::Bool(other)) => Some(one.cmp(other)),
        (Json::Number(one), Json::Number(other)) => match (one.as_i64(), other.as_i64()) {
            (Some(one), Some(other)) => Some(one.cmp(&other)),
            _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
        },
        (one, other) => Some(other.is_null().cmp(&one.is_null())),
    };
    let mut cells = shape.key.iter().filter_map(compare);
    cells.find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
}

/// The differences of a table by key: rows that are missing, rows that nobody expects, and cells.
fn by_key(
    shape: &Shape,
    expected: &[(usize, Vec<Json>)],
    found: &[Vec<Json>],
    file: &Path,
) -> Result<Vec<Vec<String>>> {
    let mut left: HashMap<String, &Vec<Json>> = found.iter().map(|row| (shape.key_of(row), row)).collect();
    let mut seen = HashMap::new();
    let mut differences = Vec::new();
    for (line, row) in expected {
        let key = shape.key_of(row);
        if let Some(first) = seen.insert(key.clone(), line) {
            return Err(mistake(
                file,
                *line,
                format_args!("has the primary key of line {first}; a table has one row of each"),
            ));
        }
        let Some(found) = left.remove(&key) else {
            differences.push(vec![format!("- {}", shape.line(row))]);
            continue;
        };
        let mut cells = Vec::new();
        for ((name, expected), found) in shape.columns().into_iter().zip(row).zip(found) {
            if !is_same(expected, found) {
                cells.push(format!("  - {name}: {}", written(expected)));
                cells.push(format!("  + {name}: {}", written(found)));
            }
        }
        if !cells.is_empty() {
            let names = shape.columns();
            let key = shape
                .key
                .iter()
                .filter_map(|&at| Some(format!("{} {}", names.get(at)?, row.get(at)?)));
            let title = format!("{} (line {line})", key.collect::<Vec<_>>().join(", "));
            differences.push([title].into_iter().chain(cells).collect());
        }
    }
    // In the order of the table, and not of the map.
    let unexpected = found.iter().filter(|row| left.contains_key(&shape.key_of(row)));
    differences.extend(unexpected.map(|row| vec![format!("+ {}", shape.line(row))]));
    Ok(differences)
}

/// The differences of rows that have no key: what is missing, and what nobody expects. Their order means nothing. Each is shown by its
/// line; of those that are expected there is also its number.
fn without_key<'r>(
    expected: impl Iterator<Item = (usize, &'r [Json], String)>,
    found: &[&[Json]],
    lines: &[String],
) -> Vec<Vec<String>> {
    let text = |row: &[Json]| Json::from(row.to_vec()).to_string();
    let mut exact: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, row) in found.iter().enumerate().rev() {
        exact.entry(text(row)).or_default().push(at);
    }
    let mut used = vec![false; found.len()];
    let mut inexact = Vec::new();
    for (number, row, line) in expected {
        match exact.get_mut(&text(row)).and_then(Vec::pop) {
            Some(at) => used.iter_mut().skip(at).take(1).for_each(|used| *used = true),
            None => inexact.push((number, row, line)),
        }
    }
    let mut differences = Vec::new();
    for (number, row, line) in inexact {
        let alike =
            |found: &[Json]| row.len() == found.len() && row.iter().zip(found).all(|(one, other)| is_same(one, other));
        match found
            .iter()
            .zip(&mut used)
            .find(|(found, used)| !**used && alike(found))
        {
            Some((_, used)) => *used = true,
            None => differences.push(vec![format!("- {line} (line {number})")]),
        }
    }
    let unexpected = lines.iter().zip(used).filter(|(_, used)| !used);
    differences.extend(unexpected.map(|(line, _)| vec![format!("+ {line}")]));
    differences
}

/// `messages.jsonl`: `{"subject": …, "message": {…}}` a line.
fn messages(case: &Case, outcome: &Outcome) -> Result<Comparison> {
    let file = case.messages();
    let objects = if file.exists() {
        read_objects(&file)?
    } else {
        Vec::new()
    };
    let mut expected = Vec::new();
    for (line, mut object) in objects {
        let (subject, message) = (object.remove("subject"), object.remove("message"));
        let (Some(subject), Some(message), true) = (subject, message, object.is_empty()) else {
            return Err(mistake(
                &file,
                line,
                "accepted are the members \"subject\" and \"message\"",
            ));
        };
        expected.push((line, [subject, message]));
    }
    let found: Vec<&[Json]> = outcome.messages.iter().map(|message| message.row.as_slice()).collect();
    let lines: Vec<String> = outcome.messages.iter().map(|message| message.line.clone()).collect();
    let expected = expected.iter().map(|(line_number, row)| {
        let [subject, message] = row;
        let line = format!("{{\"subject\":{},\"message\":{}}}", written(subject), written(message));
        (*line_number, row.as_slice(), line)
    });
    Ok(Comparison {
        title: "messages".to_owned(),
        differences: without_key(expected, &found, &lines),
        rows: lines,
        file,
    })
}

/// `dead_letters.jsonl`: `{"sequence": …, "step": …, "reason": …}` a line. Step and reason may be left out, and are not
/// compared then.
fn dead_letters(case: &Case, outcome: &Outcome) -> Result<Comparison> {
    let file = case.dead_letters();
    let objects = if file.exists() {
        read_objects(&file)?
    } else {
        Vec::new()
    };
    let show = |mark: char, sequence: u64, step: Option<&str>, reason: Option<&str>| {
        let step = step.map_or(String::new(), |step| format!(", step {step}"));
        let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
        format!("{mark} sequence {sequence}{step}{reason}")
    };
    let mut differences = Vec::new();
    let mut left: HashMap<u64, _> = outcome
        .dead_letters
        .iter()
        .map(|letter| (letter.sequence, letter))
        .collect();
    for (line, object) in &objects {
        let known = ["sequence", "step", "reason"];
        if let Some(name) = object.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(mistake(
                &file,
                *line,
                format_args!("found member \"{name}\"; accepted are {}", known.join(", ")),
            ));
        }
        let Some(sequence) = object.get("sequence").and_then(Json::as_u64) else {
            return Err(mistake(
                &file,
                *line,
                "accepted is a member \"sequence\", the number of a line of input.jsonl",
            ));
        };
        let (step, reason) = (
            object.get("step").and_then(Json::as_str),
            object.get("reason").and_then(Json::as_str),
        );
        let found = left.remove(&sequence);
        let is_expected = found.is_some_and(|found| {
            step.is_none_or(|step| step == found.step) && reason.is_none_or(|reason| reason == found.reason)
        });
        if !is_expected {
            let mut lines = vec![show('-', sequence, step, reason)];
            lines.extend(found.map(|found| show('+', sequence, Some(&found.step), Some(&found.reason))));
            differences.push(lines);
        }
    }
    let unexpected = outcome
        .dead_letters
        .iter()
        .filter(|letter| left.contains_key(&letter.sequence));
    differences
        .extend(unexpected.map(|letter| vec![show('+', letter.sequence, Some(&letter.step), Some(&letter.reason))]));
    let rows = outcome
        .dead_letters
        .iter()
        .map(|letter| json!({"sequence": letter.sequence, "step": letter.step, "reason": letter.reason}).to_string());
    Ok(Comparison {
        title: "dead letters".to_owned(),
        differences,
        rows: rows.collect(),
        file,
    })
}
