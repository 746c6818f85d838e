//! `interval_join`, of the two inputs of a source.

use super::{Edge, Place, Step};
use crate::generator::choices::Choices;

/// Which rows are partners.
#[derive(Debug)]
pub struct IntervalJoin {
    /// The number of the other input.
    pub with: usize,
    /// The column that partners have in common.
    pub on: &'static str,
    /// How far apart partners are at most.
    pub interval_ms: i64,
    /// The columns that are added.
    pub columns: Vec<&'static str>,
}

pub(super) fn draw(choices: &mut Choices<'_>, place: &Place<'_>) -> Option<Box<dyn Step>> {
    let (with, other) = place.other.filter(|_| place.input.of.is_empty())?;
    let interval_ms = place.calendar?.duration(choices, &[1, 5, 20]);
    let on = ["g", "k"].into_iter().find(|name| other.column(name).is_some())?;
    let columns = vec!["paid"];
    other.column("paid")?;
    Some(Box::new(IntervalJoin {
        with,
        on,
        interval_ms,
        columns,
    }))
}

impl Step for IntervalJoin {
    fn outputs(&self, inputs: &[&Edge]) -> Vec<Edge> {
        let [left, right] = inputs else {
            panic!("a join reads two edges, not {}", inputs.len());
        };
        let added = self.columns.iter().filter_map(|name| right.column(name));
        let mut joined = left.aside("");
        joined.columns.extend(added.map(|column| right.columns[column].clone()));
        vec![joined, left.aside("late"), right.aside("late_with")]
    }

    fn write(&self, inputs: &[&Edge]) -> String {
        let Self {
            on,
            interval_ms,
            columns,
            ..
        } = self;
        let with = &inputs[1].name;
        format!(
            "[step.interval_join]\nwith = {with:?}\non = {{ {on} = {on:?} }}\nearliest = \"-{interval_ms} ms\"\n\
             latest = \"{interval_ms} ms\"\ncolumns = {columns:?}\n"
        )
    }

    fn with(&self) -> Option<usize> {
        Some(self.with)
    }
}
