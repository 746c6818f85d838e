//! What people look at: numbers, durations, summaries.

use crate::{
    error::Result,
    limits::TOLD_CHARS_MAX,
    metrics::{ModuleNumbers, StepNumbers},
    model::{deployment::Signer, turn::Counts},
    source::Waiting,
    storage::Location,
    text::printable_up_to,
};
use comfy_table::{Cell, CellAlignment, Table, presets};
use std::{collections::BTreeMap, time::Duration};

/// A text of the registry: whoever may write there may have written anything, of any length. --json has it whole.
pub(super) fn told(text: &str) -> String {
    printable_up_to(text, TOLD_CHARS_MAX)
}

/// A whole number with spaces between thousands: `1 234 567`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

/// A number of things: `1 event`, `1 234 events`.
pub(super) fn count(number: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// A number of bytes: `123 bytes`, `4.5 KB`, `6.7 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => count(bytes, "byte"),
        1_000..1_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// Events per second, as a whole number.
pub(super) fn rate(events: u64, elapsed: Duration) -> u64 {
    (events as f64 / elapsed.as_secs_f64().max(1e-9)) as u64
}

/// A duration as people read it.
pub(super) fn seconds(elapsed: Duration) -> String {
    match elapsed.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}

/// The first digits of a module's digest; without one it is the pipeline file's module.
pub(super) fn short(digest: Option<&str>) -> &str {
    digest.map_or("of the file", |digest| digest.get(..12).unwrap_or(digest))
}

/// A module in a sentence.
pub(super) fn module(digest: Option<&str>) -> String {
    match digest {
        Some(_) => format!("module {}", short(digest)),
        None => "the module of the pipeline file".to_owned(),
    }
}

/// Parameters behind something else: ` with ratio = 0.9, events = ["save"]`; nothing where there are none.
pub(super) fn parameters(parameters: &BTreeMap<String, toml::Value>) -> String {
    let shown: Vec<String> = parameters
        .iter()
        .map(|(name, value)| told(&format!("{name} = {value}")))
        .collect();
    match shown.is_empty() {
        true => String::new(),
        false => format!(" with {}", shown.join(", ")),
    }
}

/// By whom something is signed, behind something else: `, signed by ann (U…)`; nothing where it is not.
pub(super) fn signed_by(signer: Option<&Signer>) -> String {
    signer.map_or_else(String::new, |signer| format!(", signed by {signer}"))
}

/// An object of `--json` with who signed what it is about, where somebody did.
pub(super) fn with_signer(mut object: serde_json::Value, signer: Option<&Signer>) -> serde_json::Value {
    if let (Some(signer), Some(members)) = (signer, object.as_object_mut()) {
        members.insert("signer".to_owned(), serde_json::json!(signer));
    }
    object
}

/// An instant as people read it, in UTC.
pub(super) fn instant(ms: i64) -> String {
    let instant = jiff::Timestamp::from_millisecond(ms);
    instant.map_or_else(|_| "?".to_owned(), |instant| instant.strftime("%F %TZ").to_string())
}

/// The end of a run: what became of the events, and how many rows each table has.
pub(super) fn summary(title: &str, counts: Counts, messages: Option<(u64, &str)>, elapsed: Duration) -> String {
    let mut lines = vec![title.to_owned()];
    let mut line =
        |name: &str, number: u64, note: &str| lines.push(format!("  {name:<13} {:>13}{note}", thousands(number)));
    line(
        "events",
        counts.events,
        &format!(
            "   in {}, {} a second",
            seconds(elapsed),
            thousands(rate(counts.events, elapsed))
        ),
    );
    line("applied", counts.applied, "");
    line("filtered", counts.filtered, "");
    line("dead letters", counts.dead_letters, "");
    line("empty", counts.empty, "");
    // Rows, and only where there is something to say of them.
    if counts.late_rows > 0 {
        line("late rows", counts.late_rows, "   came too late for a step");
    }
    if counts.ahead_events > 0 {
        line("ahead", counts.ahead_events, "   too far ahead to move the watermark");
    }
    if counts.dead_rows > 0 {
        line(
            "dead rows",
            counts.dead_rows,
            "   came because time went on, among the dead letters",
        );
    }
    if let Some((count, note)) = messages {
        line("messages", count, &format!("   {note}"));
    }
    lines.join("\n")
}

/// The numbers of steps, a line each; with the share of `elapsed` for which each was at work, where that is known.
pub(super) fn steps(steps: &[StepNumbers], elapsed: Option<Duration>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let names = [
        "rows in", "rows out", "late", "failed", "dead", "busy", "entries", "state",
    ];
    let names = names.map(|name| right(name.to_owned()));
    table.set_header(std::iter::once(Cell::new(" step")).chain(names));
    for step in steps {
        let rows_out = step.rows_out.values().sum();
        let busy = Duration::from_millis(step.busy_ms);
        let busy = match elapsed {
            Some(elapsed) => format!("{:.0} %", 100.0 * busy.as_secs_f64() / elapsed.as_secs_f64().max(1e-9)),
            None => seconds(busy),
        };
        let numbers = [
            step.rows_in,
            rows_out,
            step.late_rows,
            step.failed_rows,
            step.dead_letters,
        ];
        let state = match step.state_entries {
            0 => [String::new(), String::new()],
            entries => [thousands(entries), bytes(step.state_bytes)],
        };
        let cells = numbers.map(thousands).into_iter().chain([busy]).chain(state);
        table.add_row(std::iter::once(Cell::new(format!(" {}", told(&step.step)))).chain(cells.map(right)));
    }
    table.trim_fmt()
}

/// The numbers of versions of modules, a line each.
pub(super) fn modules(modules: &[ModuleNumbers]) -> Vec<String> {
    let line = |module: &ModuleNumbers| {
        let role = match module.candidate {
            true => "candidate ",
            false => "",
        };
        format!(
            "  {}: {role}version {}: {}, {}, {} at work, {} failed",
            told(&module.step),
            module.version,
            count(module.calls, "call"),
            count(module.rows, "row"),
            seconds(Duration::from_millis(module.busy_ms)),
            thousands(module.failures)
        )
    };
    modules.iter().map(line).collect()
}

/// One line per table with its number of rows.
pub(super) fn tables(database: &Location, pipeline: &str) -> Result<String> {
    let sizes = database.inspect().table_sizes(pipeline)?;
    let width = sizes.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(13);
    let lines = sizes
        .iter()
        .map(|(name, rows)| format!("  {name:<width$} {:>13} rows", thousands(*rows)));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// The number of rows of each table.
pub(super) fn tables_as_json(database: &Location, pipeline: &str) -> Result<serde_json::Value> {
    let sizes = database.inspect().table_sizes(pipeline)?;
    Ok(sizes
        .into_iter()
        .map(|(name, rows)| (name, rows.into()))
        .collect::<serde_json::Map<_, _>>()
        .into())
}

/// How many messages wait, and what is the matter with that number, if anything.
pub(super) fn lag(messages: u64, unknown_since: Option<&str>, paused_until: Option<&str>) -> String {
    let paused = paused_until.map_or_else(String::new, |until| format!(" (the consumer is paused until {until})"));
    match unknown_since {
        None => format!("{}{paused}", thousands(messages)),
        Some(since) => format!("unknown since {since} ({} then){paused}", thousands(messages)),
    }
}

/// The same of a pipeline of this process.
pub(super) fn waiting(waiting: Waiting) -> String {
    let shown = |time: Option<jiff::Timestamp>| time.map(|time| format!("{time:.0}"));
    let (since, until) = (shown(waiting.unknown_since), shown(waiting.paused_until));
    lag(waiting.messages, since.as_deref(), until.as_deref())
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1000), "1 000");
        assert_eq!(thousands(12_345_678), "12 345 678");
    }
}
