//! Nowhere: to measure what the rest costs.

use super::{LetterFilter, LetterName, Restore, Storage, StoredDeadLetter, StoredPipeline};
use crate::{
    error::{Error, Result},
    model::{ids::TableId, rows::KeyedRows, turn::Turn},
};
use std::collections::BTreeMap;

/// Keeps nothing: turns are counted by whoever commits them, and dropped here.
#[derive(Debug)]
pub struct Discard {
    stored: StoredPipeline,
}

impl Default for Discard {
    fn default() -> Self {
        Self {
            stored: StoredPipeline {
                seed: 1,
                ..StoredPipeline::default()
            },
        }
    }
}

impl Storage for Discard {
    fn stored(&self) -> &StoredPipeline {
        &self.stored
    }

    fn keeps(&self) -> bool {
        false
    }

    fn claim(&mut self, _: &str) -> Result<()> {
        Ok(())
    }

    fn load(&mut self, _: &mut dyn Restore) -> Result<()> {
        Ok(())
    }

    fn commit(&mut self, turn: Turn) -> Result<()> {
        drop(turn);
        Ok(())
    }

    fn set_table(&mut self, _: TableId, _: KeyedRows) -> Result<()> {
        Ok(())
    }

    fn is_stopped(&self) -> Result<bool> {
        Ok(false)
    }

    fn is_settled(&self) -> bool {
        true
    }

    fn settle(&mut self, _: &BTreeMap<String, u64>) -> Result<()> {
        Ok(())
    }

    fn first_published(&self, _: &str) -> u64 {
        1
    }

    fn dead_letters_held(&self) -> Result<u64> {
        Ok(0)
    }

    fn publish_again(&mut self, _: &LetterFilter, _: bool) -> Result<u64> {
        Ok(0)
    }

    fn letters(&self, _: &LetterFilter) -> Result<Vec<LetterName>> {
        Ok(Vec::new())
    }

    fn letter(&self, id: i64) -> Result<StoredDeadLetter> {
        Err(Error::mismatch(format!("there is no dead letter {id}: none is kept")))
    }
}
