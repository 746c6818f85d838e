//! What stands under a key whose shape this module does not know.

use super::{Definition, File, Name, Stage, Step};
use crate::error::Result;
use serde::de::DeserializeOwned;
use serde_spanned::Spanned;
use std::ops::Range;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// A value of a pipeline file with its places, to be read by whoever knows its shape.
#[derive(Clone, Debug)]
pub struct Keys<'t>(Spanned<DeValue<'t>>);

impl Keys<'_> {
    /// Where it stands in the file.
    pub fn span(&self) -> Range<usize> {
        self.0.span()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is not of that shape: with file, line, key, and what would be accepted.
    pub fn read<T: DeserializeOwned>(&self, file: &File) -> Result<T> {
        T::deserialize(ValueDeserializer::from(self.0.clone())).map_err(|error| file.toml_error(&error))
    }
}

impl<'t> Definition<'t> {
    /// Gives each step the keys of `file` that say its kind.
    pub(super) fn take_kinds(&mut self, file: DeTable<'t>) {
        let steps = file.into_iter().find(|(key, _)| key.get_ref() == "step");
        let Some(DeValue::Array(steps)) = steps.map(|(_, steps)| steps.into_inner()) else {
            return;
        };
        for (step, table) in self.steps.iter_mut().zip(steps) {
            if let DeValue::Table(table) = table.into_inner() {
                step.get_mut().kinds = kinds(table);
            }
        }
    }
}

fn kinds(table: DeTable<'_>) -> Vec<(Name, Keys<'_>)> {
    let others = table
        .into_iter()
        .filter(|(key, _)| !Step::KEYS.contains(&&**key.get_ref()));
    let kinds = others.map(|(key, value)| {
        let span = key.span();
        (Name::new(span, key.into_inner().into_owned()), Keys(value))
    });
    kinds.collect()
}

impl Step<'_> {
    /// Whether it is a stage: a module, or a rule that is written in the file.
    pub fn is_stage(&self) -> bool {
        self.kinds
            .iter()
            .any(|(key, _)| matches!(key.get_ref().as_str(), "stage" | "rule"))
    }

    /// What it says as a stage, if it is one.
    ///
    /// # Errors
    /// As [`Keys::read`].
    pub fn stage(&self, file: &File) -> Result<Option<Stage>> {
        let stage = self.kinds.iter().find(|(key, _)| key.get_ref() == "stage");
        stage.map(|(_, keys)| keys.read(file)).transpose()
    }

    /// The keys of a step that say something of every kind.
    pub const KEYS: [&'static str; 3] = ["name", "from", "unread"];
}
