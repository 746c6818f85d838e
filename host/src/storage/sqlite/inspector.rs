//! A database as commands read it. Each call opens a connection of its own, see `read_only.rs`.

use super::{
    audit::Audit, dead_letters::read_dead_letters, harm::read_harms, lineage::read_lineage, outbox, read, versions,
};
use crate::{
    error::Result,
    model::{deployment::StoredVersion, harm::Harm},
    storage::{
        Inspect, LetterFilter, Location, MessageCounts, MessageFilter, RowLineage, Snapshot, StoredDeadLetter,
        StoredPipeline, WaitingMessage,
    },
};
use std::path::{Path, PathBuf};

/// Reads a database, whoever holds it.
#[derive(Debug)]
pub(in crate::storage) struct Inspector {
    path: PathBuf,
}

impl Inspector {
    /// Of the database at `path`. It need not be there yet.
    pub(in crate::storage) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

impl Inspect for Inspector {
    fn location(&self) -> Location {
        self.path.as_path().into()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(Audit::open(&self.path)?))
    }

    fn pipelines(&self) -> Result<Vec<(String, StoredPipeline)>> {
        read::read_pipelines(&self.path)
    }

    fn versions(&self, pipeline: &str) -> Result<Vec<StoredVersion>> {
        versions::read_versions(&self.path, pipeline)
    }

    fn module(&self, digest: &str) -> Result<Vec<u8>> {
        versions::read_module(&self.path, digest)
    }

    fn harms(&self, pipeline: &str) -> Result<Vec<Harm>> {
        read_harms(&self.path, pipeline)
    }

    fn lineage(&self, table: &str, key: &[(String, Option<String>)]) -> Result<RowLineage> {
        read_lineage(&self.path, table, key)
    }

    fn dead_letters(&self, filter: &LetterFilter, each: &mut dyn FnMut(StoredDeadLetter) -> Result<()>) -> Result<()> {
        read_dead_letters(&self.path, filter, each)
    }

    fn messages(&self, filter: &MessageFilter, each: &mut dyn FnMut(WaitingMessage) -> Result<()>) -> Result<()> {
        outbox::read_outbox(&self.path, filter, each)
    }

    fn message_counts(&self, pipeline: &str) -> Result<MessageCounts> {
        outbox::read_message_counts(&self.path, pipeline)
    }

    fn table_sizes(&self, pipeline: &str) -> Result<Vec<(String, u64)>> {
        read::table_sizes(&self.path, pipeline)
    }

    fn rows(&self, table: &str) -> Result<Vec<Vec<serde_json::Value>>> {
        read::read_rows(&self.path, table)
    }

    fn first_rows(&self, table: &str, order: &str, rows_max: usize) -> Result<(Vec<String>, Vec<Vec<String>>)> {
        read::read_table(&self.path, table, order, rows_max)
    }
}
