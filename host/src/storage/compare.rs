//! Two databases beside each other: which rows of their tables differ.
//!
//! Both are read in order of the key at once, so that neither is held in memory. Each is read within one transaction: what
//! is compared is what each held at one moment, whoever writes to it meanwhile.
//!
//! Two cells are equal when SQLite holds the same type and the same value: 1 is not 1.0, and a double differs from the next
//! one to it. Nulls are equal to each other, also in a key.

use super::{Location, RowStream, Snapshot, StoredPipeline};
use crate::error::{Error, Result};
use std::{cmp::Ordering, collections::BTreeSet};

/// One of two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

/// A cell as a storage holds it.
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
    /// The order in which a storage sorts values of one column, which has one type: texts by their bytes.
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

/// The columns of a table, with their types, and which of them are the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableShape {
    /// The columns, with their types.
    pub columns: Vec<(String, String)>,
    /// Those of the key, in order; none for a table to which rows are appended.
    pub key: Vec<String>,
}

/// Two databases, each as it is at one moment.
#[derive(Debug)]
pub struct SnapshotPair {
    a: Box<dyn Snapshot>,
    b: Box<dyn Snapshot>,
}

impl SnapshotPair {
    /// Opens both. Nothing is written to either, and nothing left beside them.
    ///
    /// # Errors
    /// When one is missing, or no database of Weir.
    pub fn open(a: &Location, b: &Location) -> Result<Self> {
        Ok(Self {
            a: a.snapshot()?,
            b: b.snapshot()?,
        })
    }

    /// The pipelines of one of them, by name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn pipelines(&self, side: Side) -> Result<Vec<(String, StoredPipeline)>> {
        self.side(side).pipelines()
    }

    /// The tables of pipelines, by name: all that one of them has, or those of `wanted` where that is not empty.
    ///
    /// # Errors
    /// When neither has one that is wanted, or they cannot be read.
    pub fn tables(&self, wanted: &[String]) -> Result<Vec<PairedTable>> {
        let (in_a, in_b) = (self.a.tables()?, self.b.tables()?);
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
        // Without a key the rows are sorted by all of their cells.
        let sorted = match table.key_len {
            0 => table.columns.len(),
            key_len => key_len,
        };
        let scan = |snapshot: &dyn Snapshot, with: With<'_>| snapshot.scan(&table.name, &table.columns, sorted, with);
        self.merge(scan, sorted, true, each)
    }

    /// Calls `each` with every dead letter that only one of them has, by pipeline, sequence and step: these three, and
    /// the reason. Counts them.
    ///
    /// # Errors
    /// When one cannot be read, or `each` fails.
    pub fn compare_dead_letters(&self, each: impl FnMut(Difference) -> Result<()>) -> Result<Tally> {
        self.merge(|snapshot, with| snapshot.scan_dead_letters(with), 3, false, each)
    }

    /// Goes through the rows of both, which are sorted by their first `key_len` cells. Rows of one key are paired; with
    /// `compared` they are looked at beyond the key.
    fn merge(
        &self,
        scan: impl Fn(&dyn Snapshot, With<'_>) -> Result<()>,
        key_len: usize,
        compared: bool,
        mut each: impl FnMut(Difference) -> Result<()>,
    ) -> Result<Tally> {
        let mut tally = Tally::default();
        scan(&*self.a, &mut |rows_a| {
            scan(&*self.b, &mut |rows_b| {
                merge_rows((rows_a, rows_b), key_len, compared, &mut tally, &mut each)
            })
        })?;
        Ok(tally)
    }

    fn only(&self, side: Side, name: &str) -> Result<PairedTable> {
        Ok(PairedTable::Only {
            side,
            name: name.to_owned(),
            rows: self.side(side).table_size(name)?,
        })
    }

    fn side(&self, side: Side) -> &dyn Snapshot {
        match side {
            Side::A => &*self.a,
            Side::B => &*self.b,
        }
    }
}

/// Who takes the rows of a scan.
type With<'w> = &'w mut dyn FnMut(&mut dyn RowStream) -> Result<()>;

/// Goes through rows of two storages, see [`SnapshotPair::merge`].
fn merge_rows(
    (rows_a, rows_b): (&mut dyn RowStream, &mut dyn RowStream),
    key_len: usize,
    compared: bool,
    tally: &mut Tally,
    each: &mut impl FnMut(Difference) -> Result<()>,
) -> Result<()> {
    let (mut a, mut b) = (rows_a.next()?, rows_b.next()?);
    loop {
        let order = match (&a, &b) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => compare_keys(a, b, key_len),
        };
        let mut taken = (None, None);
        if order.is_le() {
            taken.0 = std::mem::replace(&mut a, rows_a.next()?);
        }
        if order.is_ge() {
            taken.1 = std::mem::replace(&mut b, rows_b.next()?);
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

/// What two tables of one name share.
fn pair(name: &str, a: &TableShape, b: &TableShape) -> PairedTable {
    let described = |(name, column_type): &(String, String)| format!("{name} {column_type}");
    let key_of = |shape: &TableShape| -> Vec<String> {
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
    let without = |shape: &TableShape, other: &TableShape| -> Vec<String> {
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

fn compare_keys(a: &[StoredCell], b: &[StoredCell], key_len: usize) -> Ordering {
    let cells = a.iter().zip(b).take(key_len);
    cells
        .map(|(a, b)| a.order(b))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}
