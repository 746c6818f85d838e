//! Two databases beside each other: which rows of their tables differ.
//!
//! Both are read in order of the key at once, so that neither is held in memory. Each is read within one transaction: what
//! is compared is what each held at one moment, whoever writes to it meanwhile.
//!
//! Two cells are equal when SQLite holds the same type and the same value: 1 is not 1.0, and a double differs from the next
//! one to it. Nulls are equal to each other, also in a key.

use super::{failure::Sqlite, read::open_weir, read_only::Reader, schema::quote};
use crate::error::{Error, Result};
use rusqlite::{Row, Rows, types::ValueRef};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// One of two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

/// A cell as SQLite holds it.
#[derive(Clone, Debug)]
pub enum StoredCell {
    /// No value.
    Null,
    /// An integer; a boolean is 0 or 1.
    Integer(i64),
    /// A double.
    Real(f64),
    /// A text.
    Text(Vec<u8>),
    /// Bytes. No column of a pipeline holds any.
    Blob(Vec<u8>),
}

impl StoredCell {
    fn of(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(value) => Self::Integer(value),
            ValueRef::Real(value) => Self::Real(value),
            ValueRef::Text(text) => Self::Text(text.to_vec()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }

    /// The order in which SQLite sorts values of one column. Between numbers of two types it knows more than is needed
    /// here: a column has one type.
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Real(a), Self::Real(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) | (Self::Blob(a), Self::Blob(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Integer(_) => 1,
            Self::Real(_) => 2,
            Self::Text(_) => 3,
            Self::Blob(_) => 4,
        }
    }
}

impl PartialEq for StoredCell {
    fn eq(&self, other: &Self) -> bool {
        self.order(other) == Ordering::Equal
    }
}

/// A table of two databases, or of one of them.
#[derive(Clone, Debug)]
pub enum PairedTable {
    /// Only one of them has it.
    Only {
        /// Which.
        side: Side,
        /// The table.
        name: String,
        /// How many rows it has.
        rows: u64,
    },
    /// Both have it, with keys that cannot be compared.
    OtherKey {
        /// The table.
        name: String,
        /// The columns of the key in the first, with their types.
        a: Vec<String>,
        /// Those in the second.
        b: Vec<String>,
    },
    /// Both have it.
    Both(SharedTable),
}

/// A table that two databases have, with what they share of it.
#[derive(Clone, Debug)]
pub struct SharedTable {
    /// The table.
    pub name: String,
    /// The columns that both have, with one type, those of the key first.
    pub columns: Vec<String>,
    /// How many of them are the key; 0 for a table to which rows are appended.
    pub key_len: usize,
    /// Columns, with their types, that only the first has.
    pub only_in_a: Vec<String>,
    /// Columns, with their types, that only the second has.
    pub only_in_b: Vec<String>,
}

/// A row that differs. The cells are those of [`SharedTable::columns`].
#[derive(Clone, Debug)]
pub enum Difference {
    /// Only one of them has it; with a key: has one of that key.
    Only(Side, Vec<StoredCell>),
    /// Both have one of this key, and they differ: that of the first, and that of the second.
    Changed(Vec<StoredCell>, Vec<StoredCell>),
}

/// How many rows differ, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows that are the same in both.
    pub same: u64,
    /// Rows that only the first has.
    pub only_in_a: u64,
    /// Rows that only the second has.
    pub only_in_b: u64,
    /// Rows of one key that differ.
    pub changed: u64,
}

impl Tally {
    /// Whether any row differs.
    pub fn differs(&self) -> bool {
        self.only_in_a + self.only_in_b + self.changed > 0
    }

    /// Counts one more, unless there are `limit` of its kind already.
    pub fn take(&mut self, difference: &Difference, limit: u64) -> bool {
        let count = match difference {
            Difference::Only(Side::A, _) => &mut self.only_in_a,
            Difference::Only(Side::B, _) => &mut self.only_in_b,
            Difference::Changed(..) => &mut self.changed,
        };
        let taken = *count < limit;
        *count += u64::from(taken);
        taken
    }
}

/// Where a pipeline of a database stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The pipeline.
    pub pipeline: String,
    /// The last sequence whose effects are committed.
    pub position: u64,
    /// What it was filled from.
    pub source: Option<String>,
}

/// Two databases, each as it is at one moment.
#[derive(Debug)]
pub struct DatabasePair {
    a: Snapshot,
    b: Snapshot,
}

#[derive(Debug)]
struct Snapshot {
    path: PathBuf,
    connection: Reader,
}

/// The columns of a table, with their types, and which of them are the key.
struct Shape {
    columns: Vec<(String, String)>,
    key: Vec<String>,
}

/// The query for dead letters: what tells them apart, then the reason.
const DEAD_LETTERS: &str = "SELECT pipeline, sequence, step, reason FROM weir_dead_letter ORDER BY 1, 2, 3";

impl DatabasePair {
    /// Opens both. Nothing is written to either, and nothing left beside them.
    ///
    /// # Errors
    /// When one is missing, or no database of Weir.
    pub fn open(a: &Path, b: &Path) -> Result<Self> {
        Ok(Self {
            a: Snapshot::open(a)?,
            b: Snapshot::open(b)?,
        })
    }

    /// Where the pipelines of one of them stand, by name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn standings(&self, side: Side) -> Result<Vec<Standing>> {
        let query = "SELECT name, position, source FROM weir_pipeline ORDER BY name";
        self.side(side).list(query, |row| {
            Ok(Standing {
                pipeline: row.get(0)?,
                position: row.get::<_, i64>(1)? as u64,
                source: row.get(2)?,
            })
        })
    }

    /// The tables of pipelines, by name: all that one of them has, or those of `wanted` where that is not empty.
    ///
    /// # Errors
    /// When neither has one that is wanted, or they cannot be read.
    pub fn tables(&self, wanted: &[String]) -> Result<Vec<PairedTable>> {
        let (in_a, in_b) = (self.a.shapes()?, self.b.shapes()?);
        let all: BTreeSet<&String> = in_a.keys().chain(in_b.keys()).collect();
        if let Some(missing) = wanted.iter().find(|name| !all.contains(name)) {
            let known: Vec<&str> = all.iter().map(|name| name.as_str()).collect();
            let known = if known.is_empty() {
                "there are none".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            return Err(Error::definition(format!(
                "neither database has a table \"{missing}\"; {known}"
            )));
        }
        let names = all
            .into_iter()
            .filter(|name| wanted.is_empty() || wanted.contains(name));
        let paired = names.map(|name| match (in_a.get(name), in_b.get(name)) {
            (Some(a), Some(b)) => Ok(pair(name, a, b)),
            (Some(_), None) => self.only(Side::A, name),
            (None, _) => self.only(Side::B, name),
        });
        paired.collect()
    }

    /// Calls `each` with every row that differs, in order of the key, and counts them.
    ///
    /// # Errors
    /// When one cannot be read, or `each` fails.
    pub fn compare(&self, table: &SharedTable, each: impl FnMut(Difference) -> Result<()>) -> Result<Tally> {
        if table.columns.is_empty() {
            return Ok(Tally::default());
        }
        let columns: Vec<String> = table.columns.iter().map(|name| quote(name)).collect();
        // Without a key the rows are sorted by all of their cells: SQLite does that on disk where they are many.
        let sorted = match table.key_len {
            0 => columns.len(),
            key_len => key_len,
        };
        let order: Vec<&str> = columns.iter().take(sorted).map(String::as_str).collect();
        let query = format!(
            "SELECT {} FROM {} ORDER BY {}",
            columns.join(", "),
            quote(&table.name),
            order.join(", ")
        );
        self.merge(&query, sorted, true, each)
    }

    /// Calls `each` with every dead letter that only one of them has, by pipeline, sequence and step: these three, and
    /// the reason. Counts them.
    ///
    /// # Errors
    /// When one cannot be read, or `each` fails.
    pub fn compare_dead_letters(&self, each: impl FnMut(Difference) -> Result<()>) -> Result<Tally> {
        self.merge(DEAD_LETTERS, 3, false, each)
    }

    /// Goes through the rows of both, which are sorted by their first `key_len` cells. Rows of one key are paired; with
    /// `compared` they are looked at beyond the key.
    fn merge(
        &self,
        query: &str,
        key_len: usize,
        compared: bool,
        mut each: impl FnMut(Difference) -> Result<()>,
    ) -> Result<Tally> {
        let (in_a, in_b) = (|| self.a.cannot_read(), || self.b.cannot_read());
        let mut statement_a = self.a.connection.prepare(query).sqlite(in_a)?;
        let mut statement_b = self.b.connection.prepare(query).sqlite(in_b)?;
        let mut rows_a = statement_a.query([]).sqlite(in_a)?;
        let mut rows_b = statement_b.query([]).sqlite(in_b)?;
        let mut tally = Tally::default();
        let mut a = next(&mut rows_a).sqlite(in_a)?;
        let mut b = next(&mut rows_b).sqlite(in_b)?;
        loop {
            let order = match (&a, &b) {
                (None, None) => return Ok(tally),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => compare_keys(a, b, key_len),
            };
            let mut taken = (None, None);
            if order.is_le() {
                taken.0 = std::mem::replace(&mut a, next(&mut rows_a).sqlite(in_a)?);
            }
            if order.is_ge() {
                taken.1 = std::mem::replace(&mut b, next(&mut rows_b).sqlite(in_b)?);
            }
            let difference = match taken {
                (Some(a), Some(b)) if compared && a != b => Difference::Changed(a, b),
                (Some(a), None) => Difference::Only(Side::A, a),
                (None, Some(b)) => Difference::Only(Side::B, b),
                _ => {
                    tally.same += 1;
                    continue;
                }
            };
            tally.take(&difference, u64::MAX);
            each(difference)?;
        }
    }

    fn only(&self, side: Side, name: &str) -> Result<PairedTable> {
        let snapshot = self.side(side);
        let query = format!("SELECT count(*) FROM {}", quote(name));
        let rows: Vec<i64> = snapshot.list(&query, |row| row.get(0))?;
        Ok(PairedTable::Only {
            side,
            name: name.to_owned(),
            rows: rows.first().map_or(0, |&rows| rows as u64),
        })
    }

    fn side(&self, side: Side) -> &Snapshot {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }
}

impl Snapshot {
    fn open(path: &Path) -> Result<Self> {
        let connection = open_weir(path)?;
        let snapshot = Self {
            path: path.to_owned(),
            connection,
        };
        // The first read after this fixes what is seen, for all of them.
        snapshot
            .connection
            .execute_batch("BEGIN")
            .sqlite(|| snapshot.cannot_read())?;
        Ok(snapshot)
    }

    fn cannot_read(&self) -> String {
        format!("cannot read database {}", self.path.display())
    }

    fn list<T>(&self, query: &str, of: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Result<Vec<T>> {
        let read = || {
            let mut statement = self.connection.prepare(query)?;
            statement.query_map([], of)?.collect::<rusqlite::Result<_>>()
        };
        read().sqlite(|| self.cannot_read())
    }

    /// The tables of pipelines.
    fn shapes(&self) -> Result<BTreeMap<String, Shape>> {
        let names: Vec<String> = self.list("SELECT name FROM weir_table", |row| row.get(0))?;
        let shapes = names.into_iter().map(|name| Ok((self.shape(&name)?, name)));
        shapes
            .map(|shape: Result<_>| shape.map(|(shape, name)| (name, shape)))
            .collect()
    }

    fn shape(&self, table: &str) -> Result<Shape> {
        let name = quote(table);
        let mut key: Vec<(i64, String)> = Vec::new();
        let columns = self.list(&format!("PRAGMA table_info({name})"), |row| {
            let (column, column_type, place): (String, String, i64) = (row.get(1)?, row.get(2)?, row.get(5)?);
            if place > 0 {
                key.push((place, column.clone()));
            }
            Ok((column, column_type))
        })?;
        if columns.is_empty() {
            return Err(Error::mismatch(format!(
                "table {table} of database {} was dropped by somebody",
                self.path.display()
            )));
        }
        key.sort();
        let mut key: Vec<String> = key.into_iter().map(|(_, column)| column).collect();
        if key.is_empty() {
            // A key that may be null is a unique index, see `schema.rs`.
            let unique: Vec<String> = self.list(
                &format!(
                    "SELECT name FROM pragma_index_list({}) WHERE origin = 'u'",
                    literal(table)
                ),
                |row| row.get(0),
            )?;
            if let Some(index) = unique.first() {
                let query = format!("SELECT name FROM pragma_index_info({}) ORDER BY seqno", literal(index));
                key = self.list(&query, |row| row.get(0))?;
            }
        }
        Ok(Shape { columns, key })
    }
}

/// A text as SQL takes it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What two tables of one name share.
fn pair(name: &str, a: &Shape, b: &Shape) -> PairedTable {
    let described = |(name, column_type): &(String, String)| format!("{name} {column_type}");
    let key_of = |shape: &Shape| -> Vec<String> {
        let of = |key: &String| shape.columns.iter().find(|(name, _)| name == key).map(described);
        shape.key.iter().filter_map(of).collect()
    };
    let (key_a, key_b) = (key_of(a), key_of(b));
    if key_a != key_b {
        return PairedTable::OtherKey {
            name: name.to_owned(),
            a: key_a,
            b: key_b,
        };
    }
    let without = |shape: &Shape, other: &Shape| -> Vec<String> {
        let missing = shape.columns.iter().filter(|column| !other.columns.contains(column));
        missing.map(described).collect()
    };
    let others = a
        .columns
        .iter()
        .filter(|column| b.columns.contains(column) && !a.key.contains(&column.0))
        .map(|(name, _)| name.clone());
    PairedTable::Both(SharedTable {
        name: name.to_owned(),
        columns: a.key.iter().cloned().chain(others).collect(),
        key_len: a.key.len(),
        only_in_a: without(a, b),
        only_in_b: without(b, a),
    })
}

fn next(rows: &mut Rows<'_>) -> rusqlite::Result<Option<Vec<StoredCell>>> {
    let Some(row) = rows.next()? else { return Ok(None) };
    let width = row.as_ref().column_count();
    let cells = (0..width).map(|index| row.get_ref(index).map(StoredCell::of));
    cells.collect::<rusqlite::Result<_>>().map(Some)
}

fn compare_keys(a: &[StoredCell], b: &[StoredCell], key_len: usize) -> Ordering {
    let cells = a.iter().zip(b).take(key_len);
    cells
        .map(|(a, b)| a.order(b))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}
