//! `last_value`.

use super::{Edge, Place, Ran, Step, all_that_came};
use crate::generator::{calendar::Moment, choices::Choices, model, model::Changes};

/// The columns of the key, and those that are kept.
#[derive(Debug)]
pub struct LastValue {
    /// The key.
    pub key: Vec<usize>,
    /// What is kept of each key.
    pub columns: Vec<usize>,
}

/// Of events without times any columns; of those with times keys that come again, and all other columns.
pub(super) fn draw(choices: &mut Choices<'_>, place: &Place<'_>) -> Option<Box<dyn Step>> {
    if !place.input.is_of_events() {
        return None;
    }
    let all = place.input.columns.len();
    let few = ["g", "k", "b"].map(|name| place.input.column(name));
    let ([Some(g), Some(k), Some(b)], Some(_)) = (few, place.calendar) else {
        let key = choices.some_of(all, 1);
        let mut columns = choices.some_of(all, 2);
        columns.retain(|column| !key.contains(column));
        return Some(Box::new(LastValue { key, columns }));
    };
    let mut key = vec![choices.one_of(&[g, k, b])];
    if choices.below(2) == 0 && !key.contains(&b) {
        key.push(b);
    }
    let columns = (0..all).filter(|column| !key.contains(column)).collect();
    Some(Box::new(LastValue { key, columns }))
}

impl Step for LastValue {
    fn outputs(&self, inputs: &[&Edge]) -> Vec<Edge> {
        let columns = self.key.iter().chain(&self.columns);
        vec![Edge {
            columns: columns.map(|&column| inputs[0].columns[column].clone()).collect(),
            key: Some((0..self.key.len()).collect()),
            ..Edge::default()
        }]
    }

    fn write(&self, inputs: &[&Edge]) -> String {
        let (key, columns) = (inputs[0].names(&self.key), inputs[0].names(&self.columns));
        format!("last_value = {{ key = {key:?}, columns = {columns:?} }}\n")
    }

    fn run(&self, inputs: &[&Changes], _: &[Moment]) -> Option<Ran> {
        Some(Ran {
            outputs: vec![model::last_value(inputs[0], &self.key, &self.columns)],
            took: all_that_came(inputs[0]),
            ..Ran::default()
        })
    }
}
