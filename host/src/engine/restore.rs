//! What a storage asks of an engine that goes on with what it holds.

// Each method of the engine comes before the one of the same name here, which hands over to it.

use super::{Engine, takeover::Made};
use crate::{
    error::{Result, note_defect, take_defect},
    model::{
        column::Value,
        ids::{SinkId, TableId},
        turn::{FailureCount, Snapshot},
    },
    storage::{Contents, Part, Remembered, Restore},
};

impl Restore for Engine {
    fn take_over(&mut self, part: Part, remembered: Option<&Remembered<'_>>) -> Result<Vec<(String, String)>> {
        let made = self.made().into_iter();
        let made: Vec<Made> = made
            .filter(|made| made.is_reader() == (part == Part::Readers))
            .collect();
        let computed = match part {
            Part::States => self.take_over_results(remembered)?,
            Part::Readers => Vec::new(),
        };
        if let Some(remembered) = remembered {
            for made in &made {
                match remembered.fingerprints.get(&made.name) {
                    Some(held) => made.may_follow(held)?,
                    None => made.may_follow_versions(self.plan(), &(remembered.versions)()?)?,
                }
            }
        }
        take_defect()?;
        let made = made.into_iter().map(|made| (made.name, made.by));
        Ok(made.chain(computed).collect())
    }

    fn restores_ms(&mut self, state: &str) -> bool {
        Self::restores_ms(self, state)
    }

    fn failures(&mut self, step: &str, count: FailureCount) {
        self.restore_failures(step, count);
    }

    fn entries(&mut self, state: &str, entries: &[u8]) -> Result<()> {
        self.restore(state, entries)
    }

    fn restored(&mut self) {
        Self::restored(self);
    }

    fn table_row(&mut self, table: TableId, row: &[Value<'_>]) {
        match self.tables().get_mut(table) {
            Some(table) => table.restore(row.iter().copied()),
            None => note_defect(format_args!(
                "a row was read for lookup table {table}, which is not there"
            )),
        }
    }

    fn tables_restored(&mut self) {
        Self::tables_restored(self);
    }

    fn buckets(&mut self, state: &str) -> Vec<Snapshot> {
        Self::buckets(self, state)
    }

    fn steps_of_tables(&self) -> Vec<(String, Vec<String>)> {
        let owned = |steps: Vec<&str>| steps.into_iter().map(str::to_owned).collect();
        let tables = Self::steps_of_tables(self).into_iter();
        tables.map(|(table, steps)| (table.to_owned(), owned(steps))).collect()
    }
}

impl Contents for Engine {
    fn state_entries(&mut self) -> usize {
        self.state_sizes().iter().map(|(_, entries)| entries).sum()
    }

    fn table_rows(&self, sink: SinkId, each: &mut dyn FnMut(Vec<u8>)) -> Result<bool> {
        Self::table_rows(self, sink, each)
    }
}
