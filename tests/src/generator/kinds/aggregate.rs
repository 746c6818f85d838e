//! `aggregate`.

use super::{Edge, Place, Ran, Step, all_that_came, functions::Functions};
use crate::generator::{calendar::Moment, choices::Choices, model, model::Changes};

/// Groups, and what is computed of each.
#[derive(Debug)]
pub struct Aggregate {
    /// The columns of a group.
    pub group: Vec<usize>,
    /// What is computed.
    pub functions: Functions,
}

pub(super) fn draw(choices: &mut Choices<'_>, place: &Place<'_>) -> Option<Box<dyn Step>> {
    if place.input.timer_driven {
        return None;
    }
    let mut group = choices.some_of(place.input.columns.len(), 0);
    group.truncate(3);
    let functions = Functions::draw(choices, place.input, place.number, false);
    Some(Box::new(Aggregate { group, functions }))
}

impl Step for Aggregate {
    fn outputs(&self, inputs: &[&Edge]) -> Vec<Edge> {
        let group = self.group.iter().map(|&column| inputs[0].columns[column].clone());
        vec![Edge {
            columns: group.chain(self.functions.columns(inputs[0])).collect(),
            key: Some((0..self.group.len()).collect()),
            ..Edge::default()
        }]
    }

    fn write(&self, inputs: &[&Edge]) -> String {
        let (group, functions) = (inputs[0].names(&self.group), self.functions.write(inputs[0]));
        format!("[step.aggregate]\ngroup_by = {group:?}\n[step.aggregate.columns]\n{functions}")
    }

    fn run(&self, inputs: &[&Changes], _: &[Moment]) -> Option<Ran> {
        Some(Ran {
            outputs: vec![model::aggregate(inputs[0], &self.group, &self.functions.aggregates)],
            took: all_that_came(inputs[0]),
            ..Ran::default()
        })
    }
}
