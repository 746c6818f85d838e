//! `deduplicate`, of events.

use super::{Edge, Place, Ran, Step};
use crate::generator::{
    calendar::Moment,
    choices::Choices,
    model::{Change, Changes, Row, pick_key},
};

/// What makes twins.
#[derive(Debug)]
pub struct Deduplicate {
    /// The columns that twins have in common.
    pub key: Vec<usize>,
    /// How far apart twins are at most; for ever, when absent.
    pub within_ms: Option<i64>,
}

pub(super) fn draw(choices: &mut Choices<'_>, place: &Place<'_>) -> Option<Box<dyn Step>> {
    if !place.input.is_of_events() {
        return None;
    }
    let key = choices.some_of(place.input.columns.len().min(5), 1);
    let within_ms = match place.calendar {
        Some(calendar) if choices.below(3) > 0 => Some(calendar.duration(choices, &[1, 3, 10])),
        _ => None,
    };
    Some(Box::new(Deduplicate { key, within_ms }))
}

impl Step for Deduplicate {
    fn outputs(&self, inputs: &[&Edge]) -> Vec<Edge> {
        let late = self.within_ms.map(|_| inputs[0].aside("late"));
        [inputs[0].aside("")].into_iter().chain(late).collect()
    }

    fn write(&self, inputs: &[&Edge]) -> String {
        let within = self.within_ms.map(|within_ms| format!(", within = \"{within_ms} ms\""));
        let (key, within) = (inputs[0].names(&self.key), within.unwrap_or_default());
        format!("deduplicate = {{ key = {key:?}{within} }}\n")
    }

    fn run(&self, inputs: &[&Changes], moments: &[Moment]) -> Option<Ran> {
        let mut known: Vec<(Row, i64)> = Vec::new();
        let [mut passed, mut late] = [Vec::new(), Vec::new()];
        for (changes, moment) in inputs[0].iter().zip(moments) {
            let [mut firsts, mut lates] = [Vec::new(), Vec::new()];
            for change in changes {
                let Change::Insert(row) = change else {
                    panic!("events are inserted and nothing else");
                };
                let key = pick_key(row, &self.key);
                let is_near = |time_ms: i64| self.within_ms.is_none_or(|ms| (moment.time_ms - time_ms).abs() < ms);
                if self.within_ms.is_some() && moment.time_ms < moment.before_ms {
                    lates.push(change.clone());
                } else if !known.iter().any(|(other, time_ms)| *other == key && is_near(*time_ms)) {
                    known.push((key, moment.time_ms));
                    firsts.push(change.clone());
                }
            }
            passed.push(firsts);
            late.push(lates);
        }
        let took = super::all_that_came(&passed);
        let outputs = match self.within_ms {
            Some(_) => vec![passed, late],
            None => vec![passed],
        };
        Some(Ran {
            outputs,
            took,
            ..Ran::default()
        })
    }
}
