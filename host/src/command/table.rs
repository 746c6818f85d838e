//! `weir table load`: fills a lookup table.

use super::{
    load_plan,
    project::{OnePipeline, make_database_of},
    show, stage_host,
};
use crate::{
    command::terminal::{self, answer, say},
    error::{Error, Result},
    files::input::Lines,
    format::Decoder,
    limits::BATCH_EVENTS_MAX,
    model::ids::InputId,
    operator::lookup,
    plan::TablePlan,
    storage::{Location, Messages},
    text::printable,
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

/// Lookup tables.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Table {
    Load(Load),
}

impl Table {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Load(load) => load.run(),
        }
    }
}

/// Fills a lookup table from a file of rows, one JSON object per line.
///
/// A row whose key is there already replaces it. Rows that do not fit the table are refused, each with its line and the
/// reason; the others are loaded, all in one transaction, and the exit code is 3. The pipeline must not be running.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir table load guests/premium-drop/pipeline.toml raw_info \\\n      \
                  --input customers.jsonl --database premium-drop.db"
)]
pub(super) struct Load {
    #[command(flatten)]
    pipeline: OnePipeline,
    /// The table, as the pipeline file names it.
    table: String,
    /// The rows: one JSON object per line; `-` for standard input.
    #[arg(long, value_name = "FILE.jsonl")]
    input: PathBuf,
    /// The SQLite file; made when it is missing. By default that of `weir run`.
    #[arg(long, value_name = "FILE")]
    database: Option<Location>,
}

impl Load {
    fn run(self) -> Result<ExitCode> {
        let host = stage_host()?;
        let plan = Arc::new(load_plan(&self.pipeline.file()?, &host, None)?);
        let Some((id, table_plan)) = plan.tables.find(|table| table.name == self.table) else {
            let known: Vec<&str> = plan.tables.iter().map(|table| table.name.as_str()).collect();
            let known = if known.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", known.join(", "))
            };
            return Err(Error::definition(format!(
                "pipeline {} has no lookup table \"{}\"; {known}",
                plan.name, self.table
            )));
        };
        let mut refused = 0u64;
        let (mut table, rows) = read_rows(table_plan, &self.input, |line, reason| {
            refused += 1;
            match terminal::is_json() {
                // A reader that is gone is noticed at the end.
                true => {
                    let refused = json!({ "kind": "refused", "line": line, "reason": reason });
                    let _ = terminal::stdout().json(&refused);
                }
                false => say!(
                    Warning,
                    "{}:{line}: refused: {}",
                    self.input.display(),
                    printable(reason)
                ),
            }
        })?;

        let location = match self.database {
            Some(location) => location,
            None => make_database_of(&plan.file, &plan.name)?,
        };
        let mut storage = location.hold()?.open(plan.clone(), Messages::Drop)?;
        storage.set_table(id, table.take_changes())?;
        if terminal::is_json() {
            terminal::stdout().json(&json!({
                "kind": "table",
                "pipeline": plan.name,
                "table": self.table,
                "database": location.to_string(),
                "rows": rows,
                "refused": refused,
            }))?;
            return Ok(ExitCode::from(if refused > 0 { 3 } else { 0 }));
        }
        answer!(
            "loaded {} rows into table {} of {}",
            show::thousands(rows),
            self.table,
            location
        )?;
        if refused > 0 {
            say!(
                Warning,
                "weir: refused {} rows of {}; they are listed above",
                show::thousands(refused),
                self.input.display()
            );
            return Ok(ExitCode::from(3));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The rows of a file as a lookup table, and how many there were. `refuse` is told the line and the reason of each that
/// does not fit.
pub(super) fn read_rows(
    plan: &TablePlan,
    input: &Path,
    mut refuse: impl FnMut(u64, &str),
) -> Result<(lookup::Table, u64)> {
    let mut lines = Lines::open_text(input)?;
    let mut table = lookup::Table::new(plan.clone(), 1);
    let all: Vec<usize> = (0..plan.columns.len()).collect();
    let mut rows = 0u64;
    // Columns of the table in its own order: the key first, as the table wants them.
    let mut decoder = Decoder::of_columns(&plan.columns, BATCH_EVENTS_MAX)?;
    let (mut line, mut open) = (Vec::new(), true);
    while open {
        open = lines.next_into(&mut line)?;
        if open {
            decoder.push(lines.number(), None, line.strip_suffix(b"\n").unwrap_or(&line));
        }
        if decoder.is_empty() || open && !decoder.is_full() {
            continue;
        }
        let batch = decoder.take();
        let mut refused: Vec<(u64, String)> = Vec::new();
        for rejected in &batch.rejected {
            refused.push((batch.deliveries.sequence(rejected.delivery), rejected.reason.clone()));
        }
        let mut kept = Vec::new();
        let events = batch.of_input(InputId::FIRST);
        for row in 0..events.len() {
            let null = (0..plan.key_len).find(|&key| events.columns.get(key).is_none_or(|c| c.is_null(row)));
            match null.and_then(|key| plan.columns.get(key)) {
                None => kept.push(row as u32),
                Some(column) => {
                    let delivery = events.delivery(row);
                    let reason = format!("column \"{}\" of the primary key is null", column.field.name);
                    refused.push((batch.deliveries.sequence(delivery), reason));
                }
            }
        }
        refused.sort_by_key(|(line, _)| *line);
        for (line, reason) in &refused {
            refuse(*line, reason);
        }
        rows += kept.len() as u64;
        table.set(&events.gather(&kept), &all);
    }
    Ok((table, rows))
}
