//! `on_crossing`, of rows that stand for themselves. (Of the rows of a changelog tests of its own have the model.)

use super::{Edge, Place, Ran, Step, all_that_came};
use crate::{
    generator::{
        calendar::Moment,
        choices::Choices,
        model::{Change, Changes, Row, pick_key},
    },
    table::Cell,
};
use std::collections::BTreeSet;

/// What raises a key.
#[derive(Debug)]
pub struct OnCrossing {
    /// The columns of the key.
    pub key: Vec<usize>,
    /// The column that says whether a row raises its key.
    pub raise: usize,
    /// The column that says whether a row leaves a key raised that is.
    pub hold: Option<usize>,
}

pub(super) fn draw(choices: &mut Choices<'_>, place: &Place<'_>) -> Option<Box<dyn Step>> {
    let flag = place.input.column("b").filter(|_| place.input.is_of_events())?;
    let few = [place.input.column("g")?, place.input.column("k")?];
    let key = [&few[..1], &few[1..], &few[..]][choices.below(3)].to_vec();
    let hold = None;
    Some(Box::new(OnCrossing { key, raise: flag, hold }))
}

impl Step for OnCrossing {
    fn outputs(&self, inputs: &[&Edge]) -> Vec<Edge> {
        vec![inputs[0].aside(""), inputs[0].aside("cleared")]
    }

    fn write(&self, inputs: &[&Edge]) -> String {
        let name = |column: usize| &inputs[0].columns[column].0;
        let hold = self
            .hold
            .map_or(String::new(), |column| format!(", hold = {:?}", name(column)));
        let (key, raise) = (inputs[0].names(&self.key), name(self.raise));
        format!("on_crossing = {{ key = {key:?}, raise = {raise:?}{hold} }}\n")
    }

    fn run(&self, inputs: &[&Changes], _: &[Moment]) -> Option<Ran> {
        let is_set = |row: &Row, column: usize| row[column] == Cell::Int(1);
        let mut raised: BTreeSet<Row> = BTreeSet::new();
        let [mut raises, mut clears] = [Vec::new(), Vec::new()];
        for changes in inputs[0] {
            let [mut up, mut down] = [Vec::new(), Vec::new()];
            for change in changes {
                let Change::Insert(row) = change else {
                    panic!("events are inserted and nothing else");
                };
                let key = pick_key(row, &self.key);
                let was = raised.contains(&key);
                let holds = was && self.hold.is_some_and(|column| is_set(row, column));
                match (was, is_set(row, self.raise) || holds) {
                    (false, true) => {
                        raised.insert(key);
                        up.push(change.clone());
                    }
                    (true, false) => {
                        raised.remove(&key);
                        down.push(change.clone());
                    }
                    _ => {}
                }
            }
            raises.push(up);
            clears.push(down);
        }
        Some(Ran {
            outputs: vec![raises, clears],
            took: all_that_came(inputs[0]),
            state: None,
        })
    }
}
