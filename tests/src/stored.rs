//! What a database holds, by its path.

use std::path::Path;
use weir::{
    error::Result,
    model::{deployment::StoredVersion, harm::Harm},
    storage::{Inspect, Location, RowLineage},
};

/// What reads a database.
pub fn inspect(database: &Path) -> Box<dyn Inspect> {
    Location::from(database).inspect()
}

/// The versions that decided over rows of a pipeline.
///
/// # Errors
/// When they cannot be read.
pub fn read_versions(database: &Path, pipeline: &str) -> Result<Vec<StoredVersion>> {
    inspect(database).versions(pipeline)
}

/// The guests of a pipeline that the host died of.
///
/// # Errors
/// When they cannot be read.
pub fn read_harms(database: &Path, pipeline: &str) -> Result<Vec<Harm>> {
    inspect(database).harms(pipeline)
}

/// By which events a row was made.
///
/// # Errors
/// When there is no such row, or it cannot be read.
pub fn read_lineage(database: &Path, table: &str, key: &[(String, Option<String>)]) -> Result<RowLineage> {
    inspect(database).lineage(table, key)
}
