//! `columns`, of events and of changelogs.

use super::{Edge, Place, Ran, Step};
use crate::{
    generator::{
        calendar::{AT, Moment, OWN},
        choices::Choices,
        model::{Change, Changes, Row},
    },
    table::Cell,
};
use weir::model::column::ColumnType::{self, Boolean, Double, Int, Text};

/// Where each column comes from.
#[derive(Debug)]
pub struct Columns(Vec<(String, From)>);

#[derive(Clone, Debug)]
enum From {
    /// The column of the input.
    Column(usize),
    /// A value, as it stands in the file.
    Constant(ColumnType, &'static str, Cell),
}

/// Columns that windows look for by their names.
const TIMES: [&str; 4] = [AT, OWN, "window_start", "window_end"];

/// What a constant may be.
fn constants() -> Vec<From> {
    let text = |text: &str| Cell::Text(text.to_owned());
    vec![
        From::Constant(Text, "{ constant = \"CHF\" }", text("CHF")),
        From::Constant(Text, "{ constant = \"\", type = \"text\" }", text("")),
        From::Constant(Int, "{ constant = -7 }", Cell::Int(-7)),
        From::Constant(Double, "{ constant = 2, type = \"double\" }", Cell::Double(2.0)),
        From::Constant(Boolean, "{ constant = true }", Cell::Int(1)),
        From::Constant(Int, "{ null = true, type = \"int\" }", Cell::Null),
    ]
}

/// Of events some columns in any order; of others all of them, since what nobody reads may change without a row. Most keep their
/// names, by which steps behind it find them.
pub(super) fn draw(choices: &mut Choices<'_>, place: &Place<'_>) -> Option<Box<dyn Step>> {
    let all = place.input.columns.len();
    let may_leave_out = place.input.is_of_events() && !place.input.is_read_whole;
    let mut kept: Vec<usize> = match may_leave_out && choices.below(2) == 1 {
        true => choices.some_of(all, 1),
        false => (0..all).collect(),
    };
    let turned = choices.below(kept.len());
    kept.rotate_left(turned);
    let number = place.number;
    let mut columns: Vec<(String, From)> = Vec::new();
    for column in kept {
        let old = &place.input.columns[column].0;
        // Two columns may be one and the same before it.
        let is_time = TIMES.contains(&&**old);
        match choices.below(6) {
            _ if is_time => columns.push((old.clone(), From::Column(column))),
            4 => columns.push((format!("{old}_{number}"), From::Column(column))),
            5 => {
                columns.push((format!("{old}_{number}"), From::Column(column)));
                columns.push((old.clone(), From::Column(column)));
            }
            _ => columns.push((old.clone(), From::Column(column))),
        }
    }
    for constant in 0..choices.below(3) {
        let at = choices.below(columns.len() + 1);
        columns.insert(
            at,
            (
                format!("constant{number}_{constant}"),
                constants()[choices.below(6)].clone(),
            ),
        );
    }
    Some(Box::new(Columns(columns)))
}

impl Columns {
    fn of(&self, row: &Row) -> Row {
        let cells = self.0.iter().map(|(_, from)| match from {
            From::Column(column) => row[*column].clone(),
            From::Constant(_, _, cell) => cell.clone(),
        });
        cells.collect()
    }

    fn change(&self, change: &Change) -> Change {
        match change {
            Change::Insert(row) => Change::Insert(self.of(row)),
            Change::Update(before, after) => Change::Update(self.of(before), self.of(after)),
            Change::Delete(row) => Change::Delete(self.of(row)),
        }
    }

    /// Where a column of the input is first.
    fn place(&self, column: usize) -> usize {
        let mut columns = self.0.iter();
        let place = columns.position(|(_, from)| matches!(from, From::Column(of) if *of == column));
        place.expect("a changelog keeps its columns")
    }
}

impl Step for Columns {
    fn outputs(&self, inputs: &[&Edge]) -> Vec<Edge> {
        let columns = self.0.iter().map(|(name, from)| match from {
            From::Column(column) => (name.clone(), inputs[0].columns[*column].1),
            From::Constant(column_type, ..) => (name.clone(), *column_type),
        });
        let key = inputs[0].key.as_ref();
        vec![Edge {
            name: String::new(),
            columns: columns.collect(),
            key: key.map(|key| key.iter().map(|&column| self.place(column)).collect()),
            ..inputs[0].clone()
        }]
    }

    fn write(&self, inputs: &[&Edge]) -> String {
        let columns = self.0.iter().map(|(name, from)| match from {
            From::Column(column) => format!("{name} = {:?}\n", inputs[0].columns[*column].0),
            From::Constant(_, written, _) => format!("{name} = {written}\n"),
        });
        format!("[step.columns]\n{}", columns.collect::<String>())
    }

    fn judge(&self, input: &Changes, past: &[Vec<Row>], _: &[Moment]) -> Option<Ran> {
        let all = |changes: &Vec<Change>| changes.iter().map(|change| self.change(change)).collect();
        Some(Ran {
            outputs: vec![input.iter().map(all).collect()],
            took: vec![false; input.len()],
            past: past
                .iter()
                .map(|rows| rows.iter().map(|row| self.of(row)).collect())
                .collect(),
            ..Ran::default()
        })
    }

    fn lets_through(&self) -> bool {
        true
    }
}
