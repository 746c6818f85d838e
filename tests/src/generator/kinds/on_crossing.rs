//! `on_crossing`, of rows that stand for themselves, and behind rules over changelogs. (Of the rows of other changelogs tests of
//! its own have the model.)

use super::{Edge, Place, Ran, Step, all_that_came};
use crate::{
    generator::{
        calendar::Moment,
        choices::Choices,
        model::{Change, Changes, Row, pick_key, single},
    },
    table::Cell,
};
use std::collections::BTreeSet;

/// What raises a key.
#[derive(Debug)]
pub struct OnCrossing {
    /// The columns of the key.
    pub key: Vec<usize>,
    /// The column that says whether a row raises its key; without one any row does.
    pub raise: Option<usize>,
    /// The column that says whether a row leaves a key raised that is.
    pub hold: Option<usize>,
    /// Whether it reads a changelog.
    pub retracts: bool,
}

pub(super) fn draw(choices: &mut Choices<'_>, place: &Place<'_>) -> Option<Box<dyn Step>> {
    if place.input.key.is_some() {
        return behind_rule(choices, place.input);
    }
    let flag = place.input.column("b").filter(|_| place.input.is_of_events())?;
    let few = [place.input.column("g")?, place.input.column("k")?];
    let key = [&few[..1], &few[1..], &few[..]][choices.below(3)].to_vec();
    Some(Box::new(OnCrossing {
        key,
        raise: Some(flag),
        hold: None,
        retracts: false,
    }))
}

/// Keys that have one row, or several.
fn behind_rule(choices: &mut Choices<'_>, input: &Edge) -> Option<Box<dyn Step>> {
    let number = input.rules.last()?;
    let column = |name: &str| input.column(&format!("{name}{number}"));
    let of_rows = input.key.clone()?;
    let key = match choices.below(3) {
        0 => of_rows,
        1 => of_rows.into_iter().take(1).collect(),
        _ => vec![choices.below(input.columns.len())],
    };
    let (raise, hold) = match choices.below(3) {
        0 => (column("up"), column("near")),
        1 => (column("up"), None),
        _ => (None, None),
    };
    Some(Box::new(OnCrossing {
        key,
        raise,
        hold,
        retracts: true,
    }))
}

impl OnCrossing {
    /// What it makes of rows that stand for themselves.
    fn of_events(&self, input: &Changes) -> [Changes; 2] {
        let is_set = |row: &Row, column: usize| row[column] == Cell::Int(1);
        let mut raised: BTreeSet<Row> = BTreeSet::new();
        let [mut raises, mut clears] = [Vec::new(), Vec::new()];
        for changes in input {
            let [mut up, mut down] = [Vec::new(), Vec::new()];
            for change in changes {
                let Change::Insert(row) = change else {
                    panic!("events are inserted and nothing else");
                };
                let key = pick_key(row, &self.key);
                let was = raised.contains(&key);
                let holds = was && self.hold.is_some_and(|column| is_set(row, column));
                match (was, self.raise.is_none_or(|raise| is_set(row, raise)) || holds) {
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
        [raises, clears]
    }

    /// What it makes of the rows of a changelog: what an event leaves of a key counts.
    fn of_changelog(&self, input: &Changes) -> [Changes; 2] {
        let is_set = |row: &Row, column: usize| row[column] == Cell::Int(1);
        let raises = |row: &Row| self.raise.is_none_or(|column| is_set(row, column));
        let holds = |row: &Row| raises(row) || self.hold.is_some_and(|column| is_set(row, column));
        let mut rows: Vec<Row> = Vec::new();
        let mut raised: BTreeSet<Row> = BTreeSet::new();
        let [mut raise, mut clear] = [Vec::new(), Vec::new()];
        for changes in input {
            let [mut up, mut down] = [Vec::new(), Vec::new()];
            let moves = single(changes);
            for (row, goes) in &moves {
                match goes {
                    true => {
                        let at = rows.iter().position(|known| known == row);
                        rows.remove(at.expect("what goes was there"));
                    }
                    false => rows.push(row.clone()),
                }
            }
            let mut keys: Vec<Row> = Vec::new();
            for (row, _) in &moves {
                let key = pick_key(row, &self.key);
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            for key in keys {
                let is_of = |row: &Row| pick_key(row, &self.key) == key;
                let mut current = rows.iter().filter(|row| is_of(row));
                let was = raised.contains(&key);
                let is = current.clone().any(raises) || was && current.any(holds);
                let mut touched = moves.iter().rev().filter(|(row, _)| is_of(row));
                match (was, is) {
                    (false, true) => {
                        let by = touched.find(|(row, goes)| !goes && raises(row) && rows.contains(row));
                        up.push(Change::Insert(by.expect("some row raised it").0.clone()));
                        raised.insert(key);
                    }
                    (true, false) => {
                        let by = touched.next().expect("some row cleared it");
                        down.push(Change::Insert(by.0.clone()));
                        raised.remove(&key);
                    }
                    _ => {}
                }
            }
            raise.push(up);
            clear.push(down);
        }
        [raise, clear]
    }
}

impl Step for OnCrossing {
    fn outputs(&self, inputs: &[&Edge]) -> Vec<Edge> {
        let crossings = |name| Edge {
            key: None,
            ..inputs[0].aside(name)
        };
        vec![crossings(""), crossings("cleared")]
    }

    fn write(&self, inputs: &[&Edge]) -> String {
        let named = |what: &str, column: Option<usize>| {
            column.map_or(String::new(), |column| {
                format!(", {what} = {:?}", inputs[0].columns[column].0)
            })
        };
        let (key, raise, hold) = (
            inputs[0].names(&self.key),
            named("raise", self.raise),
            named("hold", self.hold),
        );
        format!("on_crossing = {{ key = {key:?}{raise}{hold} }}\n")
    }

    fn run(&self, inputs: &[&Changes], _: &[Moment]) -> Option<Ran> {
        let outputs = match self.retracts {
            true => self.of_changelog(inputs[0]),
            false => self.of_events(inputs[0]),
        };
        Some(Ran {
            outputs: outputs.into(),
            took: all_that_came(inputs[0]),
            ..Ran::default()
        })
    }
}
