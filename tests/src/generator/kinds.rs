//! The kinds of steps, of which [`KINDS`] has each once: how one is drawn, how it stands in the file, and what it means.
//!
//! A new operator is a file here and a line there. Random pipelines, the simulation and the fuzzed state log have it then;
//! what only tests of its own hold to a model may leave [`Step::run`] out. [`SWAPPED`] has a rule for tests of swaps.

pub mod aggregate;
pub mod columns;
pub mod deduplicate;
pub mod functions;
pub mod interval_join;
pub mod last_value;
pub mod on_crossing;
pub mod threshold;
pub mod unmodelled;
pub mod unnest;
pub mod versions;
pub mod window;

use super::{
    calendar::{Calendar, Moment},
    choices::Choices,
    model::{Changes, Row},
};
use std::{fmt::Debug, sync::Arc};
use threshold::Version;
use weir::model::{column::ColumnType, guest::Module};

/// A kind of step.
#[derive(Debug)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// Whether [`Step::run`] says what it means.
    pub has_model: bool,
    /// Draws one for this place; none where it does not fit.
    pub draw: fn(&mut Choices<'_>, &Place<'_>) -> Option<Box<dyn Step>>,
}

/// All kinds.
pub const KINDS: &[Kind] = &[
    modelled("last_value", last_value::draw),
    modelled("aggregate", aggregate::draw),
    modelled("tumbling", window::draw::tumbling),
    modelled("hopping", window::draw::hopping),
    modelled("session", window::draw::session),
    modelled("over_rows", window::draw::over_rows),
    modelled("over_time", window::draw::over_time),
    modelled("on_crossing", on_crossing::draw),
    modelled("deduplicate", deduplicate::draw),
    modelled("columns", columns::draw),
    modelled("judge", versions::draw),
    modelled("unnest", unnest::draw),
    without_model("ttl", unmodelled::ttl),
    without_model("sketches", unmodelled::sketches),
    without_model("top", unmodelled::top),
    without_model("interval_join", interval_join::draw),
];

/// What only pipelines have whose rules are swapped: its guests are not those of a file.
pub const SWAPPED: &[Kind] = &[modelled("threshold", threshold::draw)];

/// In place of a name: any kind that has a model.
pub const ANY: &str = "*";

type Draw = fn(&mut Choices<'_>, &Place<'_>) -> Option<Box<dyn Step>>;

const fn modelled(name: &'static str, draw: Draw) -> Kind {
    let has_model = true;
    Kind { name, has_model, draw }
}

const fn without_model(name: &'static str, draw: Draw) -> Kind {
    let has_model = false;
    Kind { name, has_model, draw }
}

/// Where a step is to stand.
#[derive(Debug)]
pub struct Place<'p> {
    /// What it reads.
    pub input: &'p Edge,
    /// The other input of the source, by its number, where there is one.
    pub other: Option<(usize, &'p Edge)>,
    /// What times are made of, where events have one.
    pub calendar: Option<&'p Calendar>,
    /// The number of the step.
    pub number: usize,
}

/// A step of a pipeline.
pub trait Step: Debug + Send + Sync {
    /// The edges that its rows leave by: its own, which has no name, then those that are read by theirs.
    fn outputs(&self, inputs: &[&Edge]) -> Vec<Edge>;

    /// Its lines in the file, below its name and what it reads.
    fn write(&self, inputs: &[&Edge]) -> String;

    /// What it gives, computed plainly; nothing where only tests of its own say so.
    fn run(&self, inputs: &[&Changes], moments: &[Moment]) -> Option<Ran> {
        let _ = (inputs, moments);
        None
    }

    /// The same of a rule over a changelog, of which some rows are `past`.
    fn judge(&self, input: &Changes, past: &[Vec<Row>], moments: &[Moment]) -> Option<Ran> {
        let _ = (input, past, moments);
        None
    }

    /// The module that it runs, where that is none of a file.
    fn module(&self, inputs: &[&Edge]) -> Option<Arc<Module>> {
        let _ = inputs;
        None
    }

    /// Whether its rows are those of its input, so that they are of the kind of step that made these.
    fn lets_through(&self) -> bool {
        false
    }

    /// The rule that it begins with, where versions of it may be swapped.
    fn rule(&self) -> Option<&threshold::Threshold> {
        None
    }

    /// The input of the source that it reads besides, by its number.
    fn with(&self) -> Option<usize> {
        None
    }

    /// Whether it rejects an event.
    fn rejects(&self, event: &Row) -> bool {
        let _ = event;
        false
    }

    /// Whether anything else may read it.
    fn is_read(&self) -> bool {
        true
    }
}

/// Rows on their way.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    /// How the file names it.
    pub name: String,
    /// The kind of the step; nothing for the source.
    pub of: &'static str,
    /// The columns.
    pub columns: Vec<(String, ColumnType)>,
    /// The columns that tell rows apart; none for rows that stand for themselves.
    pub key: Option<Vec<usize>>,
    /// Whether rows come because time went on.
    pub timer_driven: bool,
    /// Which rows there are depends on the columns that are read, so all of them are to be.
    pub is_read_whole: bool,
    /// The rules that its rows passed since an operator gave them, by the numbers of their steps.
    pub rules: Vec<usize>,
}

/// What a step gave.
#[derive(Debug, Default)]
pub struct Ran {
    /// For each edge, what every event caused.
    pub outputs: Vec<Changes>,
    /// Whether an event had an effect here, besides what is read of it.
    pub took: Vec<bool>,
    /// The name of its first state, and how many entries that has.
    pub state: Option<(&'static str, usize)>,
    /// For every event the rows of its own edge that cannot change any more from there on; nothing where none ever is.
    pub past: Vec<Vec<Row>>,
    /// What a rule decided besides.
    pub decided: Decided,
}

/// What a rule over a changelog decided, by the numbers of events and swaps.
#[derive(Debug, Default)]
pub struct Decided {
    /// Those that it rejects: they have no effect at all.
    pub rejects: Vec<usize>,
    /// Those that a row came with, because time went on, that it rejects; one for each row.
    pub dead_rows: Vec<usize>,
    /// The versions that came into force, each with what it came into force at; the first with nothing.
    pub in_force: Vec<(Option<usize>, Version)>,
    /// Where a version on trial was taken back.
    pub taken_back: Vec<usize>,
    /// For each swap of this step what the version falls back on, if it is put on trial.
    pub good: Vec<(usize, Version)>,
}

impl Edge {
    /// Where a column is.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|(column, _)| column == name)
    }

    /// The names of some columns.
    pub fn names(&self, columns: &[usize]) -> Vec<&str> {
        columns.iter().map(|&column| self.columns[column].0.as_str()).collect()
    }

    /// Whether each row is an event of its own.
    pub fn is_of_events(&self) -> bool {
        self.key.is_none() && !self.timer_driven
    }

    /// An edge of a step that reads this one, and gives its rows on by another name.
    fn aside(&self, name: &str) -> Edge {
        Edge {
            name: name.to_owned(),
            is_read_whole: false,
            rules: Vec::new(),
            ..self.clone()
        }
    }
}

/// Every event that changed something.
fn all_that_came(input: &Changes) -> Vec<bool> {
    input.iter().map(|changes| !changes.is_empty()).collect()
}
