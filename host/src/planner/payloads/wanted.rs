//! The columns of an input by their paths, as a tree.

use super::path;
use crate::{
    definition::{Name, SourceColumn},
    model::path::PathPart,
};

/// What columns want of a value.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The column that it is.
    pub(super) column: Option<usize>,
    /// What they want of its fields.
    pub(super) fields: Vec<(String, Wanted)>,
    /// What they want of its elements, in the order of their indices.
    pub(super) elements: Vec<(usize, Wanted)>,
}

impl Wanted {
    /// The tree of these columns, of whose paths none leads through another's, or contradicts it.
    pub(super) fn of(columns: &[(Name, SourceColumn)]) -> Self {
        let mut root = Self::default();
        for (index, (name, column)) in columns.iter().enumerate() {
            if let Some(path) = path(name, column) {
                root.insert(&path.0, index);
            }
        }
        root
    }

    fn insert(&mut self, path: &[PathPart], column: usize) {
        let Some((first, rest)) = path.split_first() else {
            self.column = Some(column);
            return;
        };
        let place = match first {
            PathPart::Name(name) => match self.fields.iter().position(|(known, _)| known == name) {
                Some(place) => self.fields.get_mut(place).map(|(_, field)| field),
                None => {
                    self.fields.push((name.clone(), Self::default()));
                    self.fields.last_mut().map(|(_, field)| field)
                }
            },
            PathPart::Index(index) => {
                let place = match self.elements.binary_search_by_key(index, |(known, _)| *known) {
                    Ok(place) => place,
                    Err(place) => {
                        self.elements.insert(place, (*index, Self::default()));
                        place
                    }
                };
                self.elements.get_mut(place).map(|(_, element)| element)
            }
        };
        if let Some(place) = place {
            place.insert(rest, column);
        }
    }

    /// What they want of the field of this name.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        let mut fields = self.fields.iter();
        fields.find_map(|(known, wanted)| (known == name).then_some(wanted))
    }

    /// The first column at or within it.
    pub(super) fn first_column(&self) -> usize {
        let field = || self.fields.first().map(|(_, field)| field.first_column());
        let element = || self.elements.first().map(|(_, element)| element.first_column());
        self.column.or_else(field).or_else(element).unwrap_or_default()
    }

    /// All columns at or within it.
    pub(super) fn all_columns(&self, columns: &mut Vec<usize>) {
        columns.extend(self.column);
        for (_, field) in &self.fields {
            field.all_columns(columns);
        }
        for (_, element) in &self.elements {
            element.all_columns(columns);
        }
    }
}
