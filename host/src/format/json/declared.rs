//! Which places of a payload are declared: a tree of objects and arrays, whose leaves are columns.

use crate::model::path::PathPart;

/// What is declared at a place of a payload, before it is laid out for the scan.
#[derive(Debug)]
pub(super) enum Declared {
    Column(usize),
    Object(Vec<(String, Declared)>),
    Array(Vec<(usize, Declared)>),
}

impl Declared {
    /// Declares a column at a path from here on. False where that is, or leads through, the place of another.
    pub(super) fn declare(&mut self, path: &[PathPart], column: usize) -> bool {
        let Some((part, rest)) = path.split_first() else {
            return false;
        };
        let inner = match (self, part) {
            (Self::Object(members), PathPart::Name(name)) => Self::inner(members, name, rest, column),
            (Self::Array(elements), PathPart::Index(index)) => Self::inner(elements, index, rest, column),
            _ => return false,
        };
        inner.is_some_and(|inner| rest.is_empty() || inner.declare(rest, column))
    }

    /// What is declared under a key, made if there is nothing; nothing where a column would have to be there twice.
    fn inner<'d, K: Clone + PartialEq>(
        all: &'d mut Vec<(K, Self)>,
        key: &K,
        rest: &[PathPart],
        column: usize,
    ) -> Option<&'d mut Self> {
        let known = all.iter().position(|(known, _)| known == key);
        let at = match known {
            Some(_) if rest.is_empty() => return None,
            Some(at) => at,
            None => {
                let new = match rest.first() {
                    None => Self::Column(column),
                    Some(PathPart::Name(_)) => Self::Object(Vec::new()),
                    Some(PathPart::Index(_)) => Self::Array(Vec::new()),
                };
                all.push((key.clone(), new));
                all.len() - 1
            }
        };
        all.get_mut(at).map(|(_, inner)| inner)
    }
}
