//! The columns of an input by their paths, as a tree.

use super::path;
use crate::definition::{Name, SourceColumn};

/// What columns want of a value.
#[derive(Debug, Default)]
pub(super) struct Wanted<'c> {
    /// The column that it is.
    pub(super) column: Option<usize>,
    /// What they want of its fields.
    pub(super) fields: Vec<(&'c str, Wanted<'c>)>,
}

impl<'c> Wanted<'c> {
    /// The tree of these columns, of whose paths none leads through another's.
    pub(super) fn of(columns: &'c [(Name, SourceColumn)]) -> Self {
        let mut root = Self::default();
        for (index, (name, column)) in columns.iter().enumerate() {
            if let Some(path) = path(name, column) {
                root.insert(&path, index);
            }
        }
        root
    }

    fn insert(&mut self, path: &[&'c str], index: usize) {
        let Some((first, rest)) = path.split_first() else {
            self.column = Some(index);
            return;
        };
        match self.fields.iter_mut().find(|(known, _)| known == first) {
            Some((_, field)) => field.insert(rest, index),
            None => {
                let mut field = Self::default();
                field.insert(rest, index);
                self.fields.push((first, field));
            }
        }
    }

    /// What they want of the field of this name.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        let mut fields = self.fields.iter();
        fields.find_map(|(known, wanted)| (*known == name).then_some(wanted))
    }

    /// The first column at or within it.
    pub(super) fn first_column(&self) -> usize {
        let within = || self.fields.first().map(|(_, field)| field.first_column());
        self.column.or_else(within).unwrap_or_default()
    }

    /// All columns at or within it.
    pub(super) fn all_columns(&self, columns: &mut Vec<usize>) {
        columns.extend(self.column);
        for (_, field) in &self.fields {
            field.all_columns(columns);
        }
    }
}
