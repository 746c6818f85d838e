//! `unnest`, of events and of changelogs.

use super::{Decided, Edge, Place, Ran, Step};
use crate::{
    generator::{
        calendar::Moment,
        choices::Choices,
        events::JSONS,
        model::{Change, Changes, Row},
    },
    table::Cell,
};
use std::fmt::Write;
use weir::model::column::ColumnType::{Int, Json, List};

/// Which column, and how.
#[derive(Debug)]
pub struct Unnest {
    column: usize,
    /// What the columns are called that are added.
    element: String,
    ordinal: Option<String>,
    keep_empty: bool,
    timer_driven: bool,
}

/// Most of what JSON is in these tests is no array, and rejects its event.
pub(super) fn draw(choices: &mut Choices<'_>, place: &Place<'_>) -> Option<Box<dyn Step>> {
    let Place { input, number, .. } = place;
    let is_json_too = choices.below(8) == 7;
    let is_key = |column: usize| input.key.as_ref().is_some_and(|key| key.contains(&column));
    let fits = |&column: &usize| match input.columns[column].1 {
        List(_) => !is_key(column),
        Json => is_json_too && !is_key(column),
        _ => false,
    };
    let columns: Vec<usize> = (0..input.columns.len()).filter(fits).collect();
    if columns.is_empty() {
        return None;
    }
    let column = choices.one_of(&columns);
    let has_ordinal = input.key.is_some() || choices.below(2) == 0;
    Some(Box::new(Unnest {
        column,
        element: match choices.below(3) {
            2 => input.columns[column].0.clone(),
            _ => format!("e{number}"),
        },
        ordinal: has_ordinal.then(|| format!("o{number}")),
        keep_empty: choices.below(3) == 0,
        timer_driven: input.timer_driven,
    }))
}

/// The elements of a list or of JSON; nothing where it is no array.
fn elements(cell: &Cell) -> Option<Vec<Cell>> {
    let Cell::Text(text) = cell else {
        return Some(Vec::new());
    };
    if text == JSONS[2] {
        return Some(
            ["1", "{\"a\": null}"]
                .map(|element| Cell::Text(element.to_owned()))
                .to_vec(),
        );
    }
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let element = |element: &str| match element {
        "null" => Cell::Null,
        number => Cell::Int(number.parse().expect("it is an integer")),
    };
    Some(
        inner
            .split(',')
            .filter(|element| !element.is_empty())
            .map(element)
            .collect(),
    )
}

impl Unnest {
    /// The rows of a row, each with its place; nothing where it does not fit.
    fn of(&self, row: &Row) -> Option<Vec<(Option<i64>, Row)>> {
        let elements = elements(&row[self.column])?;
        let made = |place: Option<i64>, element: Cell| {
            let mut made = row.clone();
            made.remove(self.column);
            made.push(element);
            made.extend(self.ordinal.as_ref().map(|_| place.map_or(Cell::Null, Cell::Int)));
            (place, made)
        };
        let is_kept = elements.is_empty() && self.keep_empty;
        let all = elements
            .into_iter()
            .zip(1..)
            .map(|(element, place)| made(Some(place), element));
        Some(all.chain(is_kept.then(|| made(None, Cell::Null))).collect())
    }

    /// What comes of a change; and whether what comes does not fit.
    fn change(&self, change: &Change) -> (Vec<Change>, bool) {
        let (before, after) = match change {
            Change::Insert(row) => (None, Some(row)),
            Change::Delete(row) => (Some(row), None),
            Change::Update(before, after) => (Some(before), Some(after)),
        };
        let before = before.and_then(|row| self.of(row)).unwrap_or_default();
        let fits = after.map(|row| self.of(row));
        let is_unfit = fits == Some(None);
        let mut after = fits.flatten().unwrap_or_default();
        let mut changes = Vec::new();
        for (place, row) in before {
            match after.iter().position(|(other, _)| *other == place) {
                None => changes.push(Change::Delete(row)),
                Some(at) => {
                    let (_, other) = after.remove(at);
                    if other != row {
                        changes.push(Change::Update(row, other));
                    }
                }
            }
        }
        changes.extend(after.into_iter().map(|(_, row)| Change::Insert(row)));
        (changes, is_unfit)
    }
}

impl Step for Unnest {
    fn outputs(&self, inputs: &[&Edge]) -> Vec<Edge> {
        let mut columns = inputs[0].columns.clone();
        let element = match columns.remove(self.column).1 {
            List(of) => of.column_type(),
            other => other,
        };
        columns.push((self.element.clone(), element));
        columns.extend(self.ordinal.clone().map(|ordinal| (ordinal, Int)));
        let place = |&column: &usize| column - usize::from(column > self.column);
        let key = inputs[0].key.as_ref();
        let key = key.map(|key| key.iter().map(place).chain([columns.len() - 1]).collect());
        vec![Edge {
            name: String::new(),
            columns,
            key,
            rules: Vec::new(),
            ..inputs[0].clone()
        }]
    }

    fn write(&self, inputs: &[&Edge]) -> String {
        let mut keys = format!(
            "column = {:?}, as = {:?}",
            inputs[0].columns[self.column].0, self.element
        );
        if let Some(ordinal) = &self.ordinal {
            let _ = write!(keys, ", ordinal = {ordinal:?}");
        }
        if self.keep_empty {
            keys.push_str(", keep_empty = true");
        }
        format!("unnest = {{ {keys} }}\n")
    }

    fn judge(&self, input: &Changes, past: &[Vec<Row>], _: &[Moment]) -> Option<Ran> {
        let mut decided = Decided::default();
        let outputs = input.iter().enumerate().map(|(at, changes)| {
            let all = changes.iter().flat_map(|change| {
                let (changes, is_unfit) = self.change(change);
                match self.timer_driven {
                    true => decided.dead_rows.extend(is_unfit.then_some(at)),
                    false => decided.rejects.extend(is_unfit.then_some(at)),
                }
                changes
            });
            all.collect()
        });
        let outputs = vec![outputs.collect()];
        let of_past = |rows: &Vec<Row>| {
            let rows = rows.iter().flat_map(|row| self.of(row).unwrap_or_default());
            rows.map(|(_, row)| row).collect()
        };
        Some(Ran {
            outputs,
            took: vec![false; input.len()],
            past: past.iter().map(of_past).collect(),
            decided,
            ..Ran::default()
        })
    }
}
