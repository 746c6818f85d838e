//! What Weir left in a database.

use rusqlite::{Connection, OpenFlags, types::ValueRef};
use serde_json::{Value as Json, json};
use std::{cmp::Ordering, collections::BTreeMap, fmt, path::Path};

/// A cell. Two are equal when SQLite holds the same bytes for them: doubles are compared by their bits.
#[derive(Clone)]
pub enum Cell {
    /// No value.
    Null,
    /// An integer; booleans are 0 and 1.
    Int(i64),
    /// A double.
    Double(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value:?}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Blob(bytes) => write!(f, "{bytes:x?}"),
        }
    }
}

impl Ord for Cell {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Double(a), Self::Double(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Blob(a), Self::Blob(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Cell {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cell {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Cell {}

impl Cell {
    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Int(_) => 1,
            Self::Double(_) => 2,
            Self::Text(_) => 3,
            Self::Blob(_) => 4,
        }
    }

    fn of(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(value) => Self::Int(value),
            ValueRef::Real(value) => Self::Double(value),
            ValueRef::Text(text) => Self::Text(String::from_utf8(text.to_vec()).expect("texts in tables are UTF-8")),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }

    /// The cell as JSON has it.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Int(value) => json!(value),
            Self::Double(value) => json!(value),
            Self::Text(text) => json!(text),
            Self::Blob(bytes) => json!(data_encoding::BASE64.encode(bytes)),
        }
    }
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The names of the columns, in order.
    pub columns: Vec<String>,
    /// The rows: sorted where the table has a key, as they were appended where it has none.
    pub rows: Vec<Vec<Cell>>,
}

/// A row of the dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The stream sequence, in a replay the line.
    pub sequence: u64,
    /// The subject, where the pipeline has several inputs.
    pub subject: Option<String>,
    /// "Now" of the delivery.
    pub time_ms: i64,
    /// The step that rejected it.
    pub step: String,
    /// That step's module version.
    pub module: Option<String>,
    /// Why.
    pub reason: String,
    /// The payload.
    pub payload: Vec<u8>,
}

/// What became of the deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub events: u64,
    /// Those that changed something.
    pub applied: u64,
    /// Those that a rule or a lookup left out.
    pub filtered: u64,
    /// Those that could not be processed.
    pub dead_letters: u64,
    /// Those without a payload.
    pub empty: u64,
    /// Rows that came too late.
    pub late_rows: u64,
    /// Rows that came because time went on, and that a rule could not take.
    pub dead_rows: u64,
}

/// Everything that a pipeline left: two runs that should end alike have equal contents.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// Sinks and lookup tables by name.
    pub tables: BTreeMap<String, Table>,
    /// Dead letters, by sequence.
    pub dead_letters: Vec<DeadLetter>,
    /// The counts.
    pub counts: Counts,
    /// The last committed sequence.
    pub position: u64,
}

/// Reads everything out of a database that holds one pipeline.
///
/// # Panics
/// When it cannot be read.
#[track_caller]
pub fn contents(database: &Path) -> Contents {
    let connection = open(database);
    let names = all(&connection, "SELECT name FROM weir_table ORDER BY name", |row| {
        row.get::<_, String>(0)
    });
    let tables = names
        .into_iter()
        .map(|name| (name.clone(), read_from(&connection, &name)))
        .collect();
    let letters =
        "SELECT sequence, time_ms, step, module, reason, payload, subject FROM weir_dead_letter ORDER BY sequence, id";
    let dead_letters = all(&connection, letters, |row| {
        Ok(DeadLetter {
            sequence: row.get::<_, i64>(0)? as u64,
            time_ms: row.get(1)?,
            step: row.get(2)?,
            module: row.get(3)?,
            reason: row.get(4)?,
            payload: row.get(5)?,
            subject: row.get(6)?,
        })
    });
    let progress =
        "SELECT events, applied, filtered, dead_letters, blank, late_rows, dead_rows, position FROM weir_pipeline";
    let progress = all(&connection, progress, |row| {
        let number = |index| row.get::<_, i64>(index).map(|number| number as u64);
        let [events, applied, filtered] = [number(0)?, number(1)?, number(2)?];
        Ok((
            Counts {
                events,
                applied,
                filtered,
                dead_letters: number(3)?,
                empty: number(4)?,
                late_rows: number(5)?,
                dead_rows: number(6)?,
            },
            number(7)?,
        ))
    });
    let [(counts, position)] = progress[..] else {
        panic!("{} pipelines in {}", progress.len(), database.display())
    };
    Contents {
        tables,
        dead_letters,
        counts,
        position,
    }
}

/// Reads one table.
///
/// # Panics
/// When it cannot be read.
#[track_caller]
pub fn read(database: &Path, table: &str) -> Table {
    read_from(&open(database), table)
}

/// The first column of every row of a query on a database, as text, for tests that look at what nothing else shows.
///
/// # Panics
/// When the query fails.
#[track_caller]
pub fn query(database: &Path, sql: &str) -> Vec<String> {
    all(&open(database), sql, |row| row.get(0))
}

#[track_caller]
fn open(database: &Path) -> Connection {
    Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .unwrap_or_else(|cause| panic!("cannot open {}: {cause}", database.display()))
}

#[track_caller]
fn all<T>(connection: &Connection, sql: &str, each: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
    let mut statement = connection.prepare(sql).unwrap_or_else(|cause| panic!("{sql}: {cause}"));
    let rows = statement.query_map([], each).and_then(Iterator::collect);
    rows.unwrap_or_else(|cause| panic!("{sql}: {cause}"))
}

#[track_caller]
fn read_from(connection: &Connection, table: &str) -> Table {
    let columns = all(
        connection,
        &format!("SELECT name FROM pragma_table_info('{table}')"),
        |row| row.get(0),
    );
    let width = columns.len();
    let mut rows: Vec<Vec<Cell>> = all(connection, &format!("SELECT * FROM \"{table}\""), |row| {
        (0..width).map(|index| row.get_ref(index).map(Cell::of)).collect()
    });
    // The order in which rows of a table by key came in depends on where turns end, and means nothing.
    if !all(
        connection,
        &format!("SELECT name FROM pragma_index_list('{table}')"),
        |_| Ok(()),
    )
    .is_empty()
    {
        rows.sort();
    }
    Table { columns, rows }
}
