//! `weir diff`: which rows of two databases differ.

use super::{show::thousands, write_failed};
use crate::{
    command::terminal,
    error::Result,
    storage::{Difference, Location, PairedTable, SharedTable, Side, SnapshotPair, StoredCell, Tally},
    text::printable,
};
use console::{measure_text_width, truncate_str};
use serde_json::{Map, Value as Json, json};
use std::{
    io::{BufWriter, Write},
    process::ExitCode,
};

/// Examples of each kind of difference that people are shown unless they ask for another number.
const EXAMPLES: usize = 10;

/// The widest that the cells of the first database are made, so that those of the second stand below each other.
const CELL_WIDTH_MAX: usize = 40;

/// The exit code when something differs.
const DIFFERENT: u8 = 3;

/// Shows what differs between the tables of two databases, by primary key: rows that only one of them has (`-` the first,
/// `+` the second), and rows whose other columns differ (`~`).
///
/// Tables without a primary key are compared as collections of rows. Cells are equal when type and value are. Dead letters
/// are compared by sequence and step. Weir's own tables are left out. Neither database is written to; either may be in
/// use, and is compared as it is at this moment. The exit code is 0 when nothing differs, and 3 when something does.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir diff premium-drop.db what-if.db --table wechat_activity_user\n  \
                  weir diff premium-drop.db what-if.db --json | jq 'select(.kind == \"row\" and .in == \"b\") | .row.id'"
)]
pub(super) struct Diff {
    /// The first SQLite file.
    a: Location,
    /// The second.
    b: Location,
    /// Only this table, and no dead letters; may be said several times.
    #[arg(long = "table", value_name = "NAME")]
    tables: Vec<String>,
    /// Examples of each kind of difference per table; 10 unless said, with --json all.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl Diff {
    pub(super) fn run(self) -> Result<ExitCode> {
        let pair = SnapshotPair::open(&self.a, &self.b)?;
        let tables = pair.tables(&self.tables)?;
        let mut out = BufWriter::new(terminal::stdout());
        let differs = match terminal::is_json() {
            true => self.write_json(&pair, &tables, &mut out)?,
            false => self.write_text(&pair, &tables, &mut out)?,
        };
        out.flush().map_err(|cause| write_failed(&cause))?;
        Ok(if differs {
            ExitCode::from(DIFFERENT)
        } else {
            ExitCode::SUCCESS
        })
    }

    fn write_json(&self, pair: &SnapshotPair, tables: &[PairedTable], out: &mut impl Write) -> Result<bool> {
        let limit = self.limit.unwrap_or(usize::MAX) as u64;
        let mut write = |object: Json| writeln!(out, "{object}").map_err(|cause| write_failed(&cause));
        let mut differs = false;
        for table in tables {
            let summary = match table {
                PairedTable::Only { side, name, rows } => {
                    differs = true;
                    json!({"kind": "table", "table": name, "in": name_of(*side), "rows": rows})
                }
                PairedTable::OtherKey { name, a, b } => {
                    differs = true;
                    json!({"kind": "table", "table": name, "in": "both", "key_in_a": a, "key_in_b": b})
                }
                PairedTable::Both(table) => {
                    let mut shown = Tally::default();
                    let tally = pair.compare(table, |difference| match shown.take(&difference, limit) {
                        true => write(row_as_json(table, &difference)),
                        false => Ok(()),
                    })?;
                    differs |= differs_in(table, &tally);
                    let mut summary = json!({
                        "kind": "table",
                        "table": table.name,
                        "in": "both",
                        "same": tally.same,
                        "only_in_a": tally.only_in_a,
                        "only_in_b": tally.only_in_b,
                        "changed": tally.changed,
                    });
                    for (key, columns) in [
                        ("columns_only_in_a", &table.only_in_a),
                        ("columns_only_in_b", &table.only_in_b),
                    ] {
                        if let (Some(object), false) = (summary.as_object_mut(), columns.is_empty()) {
                            object.insert(key.to_owned(), json!(columns));
                        }
                    }
                    summary
                }
            };
            write(summary)?;
        }
        if self.tables.is_empty() {
            let mut shown = Tally::default();
            let tally = pair.compare_dead_letters(|difference| match shown.take(&difference, limit) {
                true => write(dead_letter_as_json(&difference)),
                false => Ok(()),
            })?;
            differs |= tally.differs();
            let Tally {
                same,
                only_in_a,
                only_in_b,
                ..
            } = tally;
            write(json!({"kind": "dead_letters", "same": same, "only_in_a": only_in_a, "only_in_b": only_in_b}))?;
        }
        Ok(differs)
    }

    fn write_text(&self, pair: &SnapshotPair, tables: &[PairedTable], out: &mut impl Write) -> Result<bool> {
        let limit = self.limit.unwrap_or(EXAMPLES);
        let mut page = Page::new(out);
        for (side, location) in [(Side::A, &self.a), (Side::B, &self.b)] {
            let mark = if side == Side::A { '-' } else { '+' };
            let pipelines = pair.pipelines(side)?;
            if pipelines.is_empty() {
                page.line(&format!("{mark} {location}"))?;
            }
            for (pipeline, stored) in pipelines {
                let source = stored.source.as_deref().unwrap_or("nothing yet");
                page.heading(&format!(
                    "{mark} {location}: {pipeline} up to sequence {}, from {}",
                    stored.position,
                    printable(source)
                ))?;
            }
        }
        let differs = page.tables(pair, tables, &self.a, &self.b, limit)?;
        let letters_differ = self.tables.is_empty() && page.dead_letters(pair, limit)?;
        Ok(differs || letters_differ)
    }
}

/// Writes what one database has in the place of another: what was added, removed and changed.
pub(super) fn write_changes(before: &Location, after: &Location, out: &mut impl Write) -> Result<()> {
    let pair = SnapshotPair::open(before, after)?;
    let mut page = Page::new(out);
    page.kinds = ["removed", "added"];
    page.tables(&pair, &pair.tables(&[])?, before, after, EXAMPLES)?;
    page.dead_letters(&pair, EXAMPLES)?;
    Ok(())
}

/// Examples of what differs, no more than are shown.
#[derive(Default)]
struct Examples {
    only_in_a: Vec<Vec<StoredCell>>,
    only_in_b: Vec<Vec<StoredCell>>,
    changed: Vec<(Vec<StoredCell>, Vec<StoredCell>)>,
}

impl Examples {
    fn keep(&mut self, difference: Difference, limit: usize) {
        match difference {
            Difference::Only(Side::A, row) if self.only_in_a.len() < limit => self.only_in_a.push(row),
            Difference::Only(Side::B, row) if self.only_in_b.len() < limit => self.only_in_b.push(row),
            Difference::Changed(a, b) if self.changed.len() < limit => self.changed.push((a, b)),
            _ => {}
        }
    }
}

/// Lines for a person: as wide as the terminal, or as long as they are where there is none.
struct Page<'o, W> {
    out: &'o mut W,
    width: Option<usize>,
    /// What a row is that only the first has, or only the second.
    kinds: [&'static str; 2],
}

impl<'o, W: Write> Page<'o, W> {
    fn new(out: &'o mut W) -> Self {
        Self {
            out,
            width: terminal::width(),
            kinds: ["only in the first", "only in the second"],
        }
    }

    /// Each table with what differs in it; whether anything does.
    fn tables(
        &mut self,
        pair: &SnapshotPair,
        tables: &[PairedTable],
        a: &Location,
        b: &Location,
        limit: usize,
    ) -> Result<bool> {
        let mut differs = false;
        for table in tables {
            self.line("")?;
            match table {
                PairedTable::Only { side, name, rows } => {
                    differs = true;
                    let file = if *side == Side::A { a } else { b };
                    self.line(&format!("{name}: {} rows, only in {file}", thousands(*rows)))?;
                }
                PairedTable::OtherKey { name, a, b } => {
                    differs = true;
                    self.line(&format!("{name}: not compared, because the primary keys differ"))?;
                    self.line(&format!("  - {}", key_in_words(a)))?;
                    self.line(&format!("  + {}", key_in_words(b)))?;
                }
                PairedTable::Both(table) => {
                    let mut examples = Examples::default();
                    let tally = pair.compare(table, |difference| {
                        examples.keep(difference, limit);
                        Ok(())
                    })?;
                    differs |= differs_in(table, &tally);
                    self.table(table, &tally, &examples)?;
                }
            }
        }
        Ok(differs)
    }

    /// The dead letters that only one has; whether there are any.
    fn dead_letters(&mut self, pair: &SnapshotPair, limit: usize) -> Result<bool> {
        let mut examples = Examples::default();
        let tally = pair.compare_dead_letters(|difference| {
            examples.keep(difference, limit);
            Ok(())
        })?;
        self.line("")?;
        self.heading(&format!("dead letters: {}", self.in_words(&tally)))?;
        for (mark, letters, count) in [
            ('-', &examples.only_in_a, tally.only_in_a),
            ('+', &examples.only_in_b, tally.only_in_b),
        ] {
            for letter in letters {
                self.line(&format!("  {mark} {}", dead_letter_in_words(letter)))?;
            }
            self.more(mark, letters.len(), count)?;
        }
        Ok(tally.differs())
    }

    /// How many there are of each kind.
    fn in_words(&self, tally: &Tally) -> String {
        let [only_in_a, only_in_b] = self.kinds;
        let kinds = [
            ('-', tally.only_in_a, only_in_a),
            ('+', tally.only_in_b, only_in_b),
            ('~', tally.changed, "changed"),
        ];
        let mut words: Vec<String> = Vec::new();
        for (mark, count, what) in kinds {
            if count > 0 {
                words.push(format!("{mark} {} {what}", thousands(count)));
            }
        }
        words.push(format!("{} the same", thousands(tally.same)));
        words.join(", ")
    }

    /// A line of which nothing may be lost, however narrow the terminal is.
    fn heading(&mut self, line: &str) -> Result<()> {
        writeln!(self.out, "{line}").map_err(|cause| write_failed(&cause))
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let line = match self.width {
            Some(width) => truncate_str(line, width, "…"),
            None => line.into(),
        };
        writeln!(self.out, "{}", line.trim_end()).map_err(|cause| write_failed(&cause))
    }

    /// That there are more than the examples.
    fn more(&mut self, mark: char, shown: usize, count: u64) -> Result<()> {
        match count.saturating_sub(shown as u64) {
            0 => Ok(()),
            more => self.line(&format!("  {mark} … and {} more", thousands(more))),
        }
    }

    fn table(&mut self, table: &SharedTable, tally: &Tally, examples: &Examples) -> Result<()> {
        let key: Vec<&str> = table.columns.iter().take(table.key_len).map(String::as_str).collect();
        let by = match key.as_slice() {
            [] => String::new(),
            key => format!(" by {}", key.join(", ")),
        };
        self.heading(&format!("{}{by}: {}", table.name, self.in_words(tally)))?;
        for (mark, columns) in [('-', &table.only_in_a), ('+', &table.only_in_b)] {
            if !columns.is_empty() {
                self.line(&format!("  {mark} columns {}", columns.join(", ")))?;
            }
        }
        for (mark, rows, count) in [
            ('-', &examples.only_in_a, tally.only_in_a),
            ('+', &examples.only_in_b, tally.only_in_b),
        ] {
            for row in rows {
                self.line(&format!("  {mark} {}", row_in_words(table, row)))?;
            }
            self.more(mark, rows.len(), count)?;
        }
        self.changes(table, &examples.changed)?;
        self.more('~', examples.changed.len(), tally.changed)
    }

    /// Rows that changed: the key, and below it the columns that differ, side by side.
    fn changes(&mut self, table: &SharedTable, changed: &[(Vec<StoredCell>, Vec<StoredCell>)]) -> Result<()> {
        let rows: Vec<Vec<(&str, String, String)>> = changed
            .iter()
            .map(|(a, b)| {
                let cells = differing(table, a, b);
                cells.map(|(name, a, b)| (name, cell(a), cell(b))).collect()
            })
            .collect();
        let cells = || rows.iter().flatten();
        let name_width = cells().map(|(name, ..)| measure_text_width(name)).max().unwrap_or(0);
        let widest = cells().map(|(_, a, _)| measure_text_width(a)).max().unwrap_or(0);
        // On a terminal both sides have to be seen, so the left one gets no more than its half.
        let half = self.width.map(|width| width.saturating_sub(name_width + 13) / 2);
        let left_width = widest.min(half.unwrap_or(CELL_WIDTH_MAX)).min(CELL_WIDTH_MAX);
        for ((a, _), cells) in changed.iter().zip(&rows) {
            self.line(&format!("  ~ {}", cells_in_words(table, a, 0, table.key_len)))?;
            for (name, a, b) in cells {
                let a = match self.width {
                    Some(_) => truncate_str(a, left_width, "…"),
                    None => a.as_str().into(),
                };
                let name = padded(name, name_width);
                self.line(&format!("      {name}  {}  →  {b}", padded(&a, left_width)))?;
            }
        }
        Ok(())
    }
}

/// The text with spaces behind it, up to that width on a screen.
fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(measure_text_width(text));
    format!("{text}{}", " ".repeat(missing))
}

fn differs_in(table: &SharedTable, tally: &Tally) -> bool {
    tally.differs() || !table.only_in_a.is_empty() || !table.only_in_b.is_empty()
}

fn key_in_words(key: &[String]) -> String {
    match key {
        [] => "no primary key".to_owned(),
        key => format!("primary key {}", key.join(", ")),
    }
}

/// A row on one line: the key, and after a colon the rest.
fn row_in_words(table: &SharedTable, row: &[StoredCell]) -> String {
    let key = cells_in_words(table, row, 0, table.key_len);
    let rest = cells_in_words(table, row, table.key_len, table.columns.len());
    match (key.is_empty(), rest.is_empty()) {
        (true, _) => rest,
        (false, true) => key,
        (false, false) => format!("{key}: {rest}"),
    }
}

fn cells_in_words(table: &SharedTable, row: &[StoredCell], from: usize, to: usize) -> String {
    let cells = table.columns.iter().zip(row).take(to).skip(from);
    let words: Vec<String> = cells.map(|(name, value)| format!("{name} {}", cell(value))).collect();
    words.join(", ")
}

/// A cell for a person: texts in quotes, doubles with their point, so that 1, 1.0 and "1" are told apart.
fn cell(value: &StoredCell) -> String {
    match value {
        StoredCell::Null => "null".to_owned(),
        StoredCell::Integer(value) => value.to_string(),
        StoredCell::Real(value) => format!("{value:?}"),
        StoredCell::Text(text) => format!("\"{}\"", printable(&String::from_utf8_lossy(text))),
        StoredCell::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}

fn text(value: Option<&StoredCell>) -> String {
    match value {
        Some(StoredCell::Text(text)) => printable(&String::from_utf8_lossy(text)),
        Some(value) => cell(value),
        None => String::new(),
    }
}

/// `pipeline #sequence step: reason`, as `weir dead-letters` has it.
fn dead_letter_in_words(letter: &[StoredCell]) -> String {
    let at = |index| text(letter.get(index));
    format!("{} #{} {}: {}", at(0), at(1), at(2), at(3))
}

/// The columns beyond the key that differ between two rows.
fn differing<'r>(
    table: &'r SharedTable,
    a: &'r [StoredCell],
    b: &'r [StoredCell],
) -> impl Iterator<Item = (&'r str, &'r StoredCell, &'r StoredCell)> {
    let cells = table.columns.iter().zip(a.iter().zip(b)).skip(table.key_len);
    cells
        .filter(|(_, (a, b))| a != b)
        .map(|(name, (a, b))| (name.as_str(), a, b))
}

fn name_of(side: Side) -> &'static str {
    match side {
        Side::A => "a",
        Side::B => "b",
    }
}

fn row_as_json(table: &SharedTable, difference: &Difference) -> Json {
    let object = |cells: &mut dyn Iterator<Item = (&str, &StoredCell)>| -> Json {
        let members: Map<String, Json> = cells.map(|(name, cell)| (name.to_owned(), as_json(cell))).collect();
        members.into()
    };
    let names = || table.columns.iter().map(String::as_str);
    match difference {
        Difference::Only(side, row) => {
            let row = object(&mut names().zip(row));
            json!({"kind": "row", "table": table.name, "in": name_of(*side), "row": row})
        }
        Difference::Changed(a, b) => {
            let key = object(&mut names().zip(a).take(table.key_len));
            let in_a = object(&mut differing(table, a, b).map(|(name, a, _)| (name, a)));
            let in_b = object(&mut differing(table, a, b).map(|(name, _, b)| (name, b)));
            json!({"kind": "row", "table": table.name, "in": "both", "key": key, "a": in_a, "b": in_b})
        }
    }
}

fn dead_letter_as_json(difference: &Difference) -> Json {
    let (side, letter) = match difference {
        Difference::Only(side, letter) => (*side, letter),
        Difference::Changed(letter, _) => (Side::A, letter),
    };
    let at = |index: usize| letter.get(index).map_or(Json::Null, as_json);
    json!({
        "kind": "dead_letter",
        "in": name_of(side),
        "pipeline": at(0),
        "sequence": at(1),
        "step": at(2),
        "reason": at(3),
    })
}

fn as_json(value: &StoredCell) -> Json {
    match value {
        StoredCell::Null => Json::Null,
        StoredCell::Integer(value) => (*value).into(),
        StoredCell::Real(value) => (*value).into(),
        StoredCell::Text(text) => String::from_utf8_lossy(text).into(),
        StoredCell::Blob(bytes) => bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .into(),
    }
}
