//! Golden cases: folders under `guests/*/cases`, found by listing, so that a new case is tested without a line of Rust.
//!
//! A case holds `input.jsonl`, one payload a line; `dim_start.jsonl`, where the pipeline has a lookup table that is
//! filled before; and `expected.jsonl` or several `expected.<what>.jsonl`, one row a line. Which table an expected file
//! speaks of shows in its columns: the table has these, in this order.

use crate::{
    table::{Cell, Contents, Table},
    workspace,
};
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::Value as Json;
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// How far a double may be from the expected one: the reference engine adds doubles one by one.
const DOUBLE_TOLERANCE: f64 = 1e-6;

/// One golden case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Scenario and case: `hourly-orders/s1_20`.
    pub name: String,
    /// The pipeline file.
    pub pipeline: PathBuf,
    /// The payloads.
    pub input: PathBuf,
    /// The rows of the lookup table before the first event.
    pub lookup_start: Option<PathBuf>,
    /// The expected tables.
    pub expected: Vec<PathBuf>,
}

/// Every case of every scenario, by name.
///
/// # Panics
/// When there are none, or one is not whole.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let scenarios = entries(&workspace().join("guests")).into_iter();
    // Those of a project are of several pipelines.
    for scenario in scenarios.filter(|scenario| scenario.join("pipeline.toml").is_file()) {
        for folder in entries(&scenario.join("cases")) {
            let files = entries(&folder);
            let case = Case {
                name: format!("{}/{}", file_name(&scenario), file_name(&folder)),
                pipeline: scenario.join("pipeline.toml"),
                input: folder.join("input.jsonl"),
                lookup_start: files
                    .iter()
                    .find(|file| file_name(file).starts_with("dim_start."))
                    .cloned(),
                expected: files
                    .iter()
                    .filter(|file| file_name(file).starts_with("expected."))
                    .cloned()
                    .collect(),
            };
            assert!(
                case.input.is_file() && !case.expected.is_empty(),
                "{} is no whole case",
                folder.display()
            );
            cases.push(case);
        }
    }
    assert!(!cases.is_empty(), "there are cases under guests/*/cases");
    cases
}

impl Case {
    /// The payloads as bytes.
    ///
    /// # Panics
    /// When they cannot be read.
    pub fn input_bytes(&self) -> Vec<u8> {
        read(&self.input)
    }

    /// The rows of the lookup table before the first event; none where the pipeline has no such table.
    ///
    /// # Panics
    /// When they cannot be read.
    pub fn lookup_bytes(&self) -> Vec<u8> {
        self.lookup_start.as_deref().map(read).unwrap_or_default()
    }

    /// Checks that the tables are the expected ones.
    ///
    /// # Panics
    /// With the first row that is not, when one is not.
    #[track_caller]
    pub fn check(&self, contents: &Contents) {
        for file in &self.expected {
            let name = &self.name;
            let rows = rows_of(file);
            let Some((columns, _)) = rows.first() else {
                let empty = contents.tables.values().any(|table| table.rows.is_empty());
                assert!(empty, "{name}: {} is empty, and no table is", file.display());
                continue;
            };
            let found = contents.tables.iter().find(|(_, table)| table.columns == *columns);
            let Some((table_name, table)) = found else {
                let known: Vec<_> = contents
                    .tables
                    .iter()
                    .map(|(name, table)| (name, &table.columns))
                    .collect();
                panic!("{name}: no table has the columns {columns:?}; there are {known:?}");
            };
            let expected = rows.into_iter().map(|(_, values)| values).collect();
            check_rows(&format!("{name}, table {table_name}"), table, expected);
        }
    }
}

/// Compares a table with expected rows, whatever order they are in.
#[track_caller]
fn check_rows(title: &str, table: &Table, mut expected: Vec<Vec<Json>>) {
    // What is no double has to be equal, so it brings the rows that belong together to the same place.
    let exact = |value: &Json| {
        if value.is_f64() {
            String::new()
        } else {
            value.to_string()
        }
    };
    let rank = |row: &Vec<Json>| {
        let doubles = row
            .iter()
            .filter_map(Json::as_f64)
            .map(|double| (double / DOUBLE_TOLERANCE) as i64);
        (row.iter().map(exact).collect::<Vec<_>>(), doubles.collect::<Vec<_>>())
    };
    let mut found: Vec<Vec<Json>> = table
        .rows
        .iter()
        .map(|row| row.iter().map(Cell::to_json).collect())
        .collect();
    // A short decimal is a double in the table, and a text where it is expected.
    for row in &mut expected {
        for (at, value) in row.iter_mut().enumerate() {
            let is_double = found.iter().any(|row| row.get(at).is_some_and(Json::is_f64));
            let decimal = value.as_str().and_then(|text| text.parse::<f64>().ok());
            if let Some(decimal) = decimal.filter(|_| is_double) {
                *value = decimal.into();
            }
        }
    }
    found.sort_by_key(&rank);
    expected.sort_by_key(&rank);
    for (found, expected) in found.iter().zip(&expected) {
        let equal = found
            .iter()
            .zip(expected)
            .all(|(found, expected)| is_equal(found, expected));
        assert!(
            equal && found.len() == expected.len(),
            "{title}:\n  found    {found:?}\n  expected {expected:?}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{title}: number of rows");
}

fn is_equal(found: &Json, expected: &Json) -> bool {
    match (found, expected.as_f64()) {
        (Json::Number(number), Some(expected)) if number.is_f64() => number
            .as_f64()
            .is_some_and(|found| (found - expected).abs() <= DOUBLE_TOLERANCE),
        _ => found == expected,
    }
}

/// The rows of a file, each as the names of its members in their order and the values.
#[track_caller]
fn rows_of(file: &Path) -> Vec<(Vec<String>, Vec<Json>)> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, Json)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a row")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            std::iter::from_fn(|| map.next_entry().transpose()).collect()
        }
    }
    let lines = String::from_utf8(read(file)).expect("expected rows are UTF-8");
    let row = |line: &str| {
        let members = serde_json::Deserializer::from_str(line).deserialize_map(Members);
        members
            .unwrap_or_else(|cause| panic!("{}: {cause}: {line}", file.display()))
            .into_iter()
            .unzip()
    };
    lines.lines().filter(|line| !line.is_empty()).map(row).collect()
}

/// What is in a folder, by name; nothing when it is missing.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[track_caller]
fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|cause| panic!("cannot read {}: {cause}", path.display()))
}
