//! `weir export`: the rows of a table as a file for other programs.

mod csv;
mod json_lines;
mod output;
mod parquet;

use super::{
    show,
    signals::obey,
    terminal::{self, Bars, answer, say},
};
use crate::{
    error::{Error, Result},
    model::column::Value,
    source::Stop,
    storage::{Location, Snapshot, StoredColumn, StoredTable},
    text::printable,
};
use clap::ValueEnum;
use csv::Csv;
use json_lines::JsonLines;
use output::Output;
use parquet::Parquet;
use serde_json::json;
use std::{
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Between two looks at whether somebody wants it to stop, and two steps of the bar.
const ROWS_BETWEEN_LOOKS: u64 = 4096;

/// Writes the rows of a table to a file: CSV, lines of JSON, or Parquet.
///
/// Values have the types of the pipeline: decimals are exact, timestamps are in UTC. The rows come in order of the primary
/// key, or as they were appended. The pipeline may run meanwhile: the file holds the table as it is at this moment.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir export shop.db payments --to payments.parquet\n  \
                  weir export shop.db payments --columns id,amount --to - --format csv | head")]
pub(super) struct Export {
    /// The database.
    database: Location,
    /// The table.
    table: String,
    /// The file, which appears under its name once it is whole; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// What the file holds; told from its name (.csv, .jsonl, .parquet) unless said.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Only these columns, in this order.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    columns: Vec<String>,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Comma-separated values, with a line of names. Null is nothing, an empty text is "".
    Csv,
    /// A JSON object on each line.
    Jsonl,
    /// Parquet, with the types of the columns.
    Parquet,
}

impl Format {
    /// That of a file of this name.
    fn of(path: &Path) -> Option<Self> {
        match path.extension().and_then(OsStr::to_str)? {
            "csv" => Some(Self::Csv),
            "jsonl" => Some(Self::Jsonl),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
        })
    }
}

/// Takes rows.
trait RowWriter {
    /// Takes the next row.
    ///
    /// # Errors
    /// When it cannot be written.
    fn row(&mut self, values: &[Value<'_>]) -> Result<()>;

    /// Writes what is left.
    ///
    /// # Errors
    /// When it cannot be written.
    fn finish(self: Box<Self>) -> Result<Output>;
}

impl Export {
    pub(super) fn run(self) -> Result<ExitCode> {
        let format = self.format()?;
        let snapshot = self.database.snapshot()?;
        let table = snapshot.table(&self.table)?;
        let columns = self.columns_of(&table)?;
        if !table.is_typed {
            say!(
                Warning,
                "weir: an older weir made table {}, and kept no types: decimals and timestamps go out as they lie in the database. \
                 Start its pipeline once with this weir, and export again",
                table.name
            );
        }
        let output = match self.is_standard() {
            true => Output::standard(),
            false => Output::file(&self.to, self.force)?,
        };
        let writer: Box<dyn RowWriter> = match format {
            Format::Csv => Box::new(Csv::begin(output, &columns)?),
            Format::Jsonl => Box::new(JsonLines::begin(output, &columns)),
            Format::Parquet => Box::new(Parquet::begin(output, &columns)?),
        };
        let (rows, bytes) = self.write(&*snapshot, &table, &columns, writer)?;
        if !self.is_standard() {
            self.tell(&*snapshot, &table, &columns, format, (rows, bytes))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn is_standard(&self) -> bool {
        self.to.as_os_str() == "-"
    }

    fn format(&self) -> Result<Format> {
        let shown = printable(&self.to.to_string_lossy());
        let Some(format) = self.format.or_else(|| Format::of(&self.to)) else {
            return Err(Error::definition(format!(
                "--to \"{shown}\" does not say what the file shall hold; accepted are names that end in .csv, .jsonl or .parquet, and \
                 --format for others"
            )));
        };
        if self.is_standard() && terminal::is_json() {
            return Err(Error::definition(
                "--to - writes the rows to standard output, where --json would write its summary; leave one out",
            ));
        }
        if self.is_standard() && format == Format::Parquet {
            return Err(Error::definition(
                "--to - does not take Parquet, which is no text; name a file",
            ));
        }
        Ok(format)
    }

    fn columns_of(&self, table: &StoredTable) -> Result<Vec<StoredColumn>> {
        if self.columns.is_empty() {
            return Ok(table.columns.clone());
        }
        let column = |(at, name): (usize, &String)| {
            let found = table.columns.iter().find(|column| column.name == *name);
            let is_twice = self.columns.iter().take(at).any(|before| before == name);
            match found {
                Some(_) if is_twice => Err(Error::definition(format!(
                    "--columns names \"{}\" twice",
                    printable(name)
                ))),
                Some(column) => Ok(column.clone()),
                None => {
                    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
                    Err(Error::definition(format!(
                        "table {} has no column \"{}\"; it has {}",
                        table.name,
                        printable(name),
                        names.join(", ")
                    )))
                }
            }
        };
        self.columns.iter().enumerate().map(column).collect()
    }

    /// Writes all rows. Gives how many there were, and of how many bytes.
    fn write(
        &self,
        snapshot: &dyn Snapshot,
        table: &StoredTable,
        columns: &[StoredColumn],
        mut writer: Box<dyn RowWriter>,
    ) -> Result<(u64, u64)> {
        let stop = Stop::default();
        let bars = Bars::begin();
        let mut bar = None;
        if !self.is_standard() {
            // What was written so far is removed then.
            obey(&stop, "stopping", || {}, || {})?;
            if bars.are_drawn() {
                let template = "{bar:20} {percent:>3} %  {eta} left  {human_pos} of {human_len} rows  {wide_msg}";
                bar = Some(bars.add(template, snapshot.table_size(&table.name)?)?);
            }
        }
        let mut rows = 0;
        snapshot.rows(table, columns, &mut |values| {
            writer.row(values)?;
            rows += 1;
            if rows % ROWS_BETWEEN_LOOKS == 0 {
                if let Some(bar) = &bar {
                    bar.set_position(rows);
                }
                if stop.is_set() {
                    return Err(Error::environment(format!(
                        "stopped after {}: {} was not written",
                        show::count(rows, "row"),
                        self.to.display()
                    )));
                }
            }
            Ok(())
        })?;
        let bytes = writer.finish()?.finish()?;
        drop(bars);
        Ok((rows, bytes))
    }

    /// Says what was written.
    fn tell(
        &self,
        snapshot: &dyn Snapshot,
        table: &StoredTable,
        columns: &[StoredColumn],
        format: Format,
        (rows, bytes): (u64, u64),
    ) -> Result<()> {
        let pipelines = snapshot.pipelines()?;
        let position = pipelines.iter().find(|(name, _)| *name == table.pipeline);
        let position = position.map_or(0, |(_, stored)| stored.position);
        let file = self.to.display().to_string();
        if terminal::is_json() {
            let columns = columns.iter().map(|column| {
                let (name, column_type) = (&column.name, column.form.column_type.to_string());
                json!({ "name": name, "type": column_type, "nullable": column.is_nullable })
            });
            return terminal::stdout().json(&json!({
                "table": table.name,
                "pipeline": table.pipeline,
                "position": position,
                "file": file,
                "format": format.to_string(),
                "rows": rows,
                "bytes": bytes,
                "columns": columns.collect::<Vec<_>>(),
            }));
        }
        answer!(
            "wrote {} of {} to {} ({}), up to sequence {} of pipeline {}",
            show::count(rows, "row"),
            table.name,
            printable(&file),
            show::bytes(bytes),
            show::thousands(position),
            table.pipeline
        )
    }
}
