//! A stage: the rule `versions`, which labels rows and rejects some.

use super::{Edge, Place, Ran, Step};
use crate::{
    generator::{calendar::Moment, choices::Choices, model::Changes, model::Row},
    guest,
    table::Cell,
};
use weir::model::column::ColumnType::Int;

/// How the rule is set.
#[derive(Debug)]
pub struct Versions {
    /// Its parameters, as the file has them.
    pub parameters: String,
    /// It rejects rows whose `n` this divides, and those that have none.
    pub rejected: i64,
    /// Where `n` is.
    pub n: usize,
    /// Whether steps and sinks read it.
    pub is_read: bool,
}

/// The rule rejects each event of which this divides `n`, and those without one.
const REJECTED: i64 = 3;

/// A judge of events, which no other step reads: what it rejects has no effect anywhere.
pub(super) fn draw(choices: &mut Choices<'_>, place: &Place<'_>) -> Option<Box<dyn Step>> {
    let n = place.input.column("n").filter(|_| place.input.of.is_empty())?;
    let fails = choices.one_of(&["reject", "panic"]);
    Some(Box::new(Versions {
        parameters: format!("fails = {fails:?}, every = {REJECTED}"),
        rejected: REJECTED,
        n,
        is_read: false,
    }))
}

impl Step for Versions {
    fn outputs(&self, inputs: &[&Edge]) -> Vec<Edge> {
        let passed = ["n", "k"].map(|name| inputs[0].column(name).map(|column| inputs[0].columns[column].clone()));
        let label = Some(("label".to_owned(), Int));
        vec![Edge {
            columns: passed.into_iter().chain([label]).flatten().collect(),
            ..Edge::default()
        }]
    }

    fn write(&self, _: &[&Edge]) -> String {
        let (module, parameters) = (guest("versions"), &self.parameters);
        format!("[step.stage]\nmodule = {module:?}\nparameters = {{ {parameters} }}\n")
    }

    /// What it gives nobody reads, so nothing is expected of it.
    fn run(&self, inputs: &[&Changes], _: &[Moment]) -> Option<Ran> {
        (!self.is_read).then(|| Ran {
            outputs: vec![vec![Vec::new(); inputs[0].len()]],
            took: vec![false; inputs[0].len()],
            ..Ran::default()
        })
    }

    fn rejects(&self, event: &Row) -> bool {
        !matches!(event[self.n], Cell::Int(n) if n % self.rejected != 0)
    }

    fn is_read(&self) -> bool {
        self.is_read
    }
}
