//! `window`: aggregates, or the rows that rank first, by group and window of event time.
//!
//! - Emits: with `emit = "close"` one row per group and window, once the watermark is at the window's end, in the order of
//!   ends, then of groups. With `"update"` a changelog: a row when its result changed, and nothing at the end, where it
//!   is told already. With `early` a changelog too: what changed, each time the watermark passes a multiple of the
//!   interval, and the rest at the end.
//! - Late rows: a window takes rows in until the watermark is `lateness` past its end; what changes after its end is told
//!   at once. A row that no window takes in any more goes to the output `late`, and is counted. So does one whose time
//!   (the column of key `time`) is null.
//! - Nulls: as in `aggregate`; `first` and `last` skip them. A null in the group is one group like any other. A row that is
//!   to be ranked by a null has no rank.
//! - Ranked rows (`top`) are told one by one, each with its rank; where they change, those ranks whose rows are others now.
//! - A row that a guest among the aggregates refuses is told to the caller, and nothing is taken in.
//! - Retractions take a row out of the windows that it is in. A window that loses the last row of a group loses the group.
//! - Restart: the state holds an entry per group and open window (of windows that overlap, per group, where slices add
//!   up), and one per value where values have to be told apart. It goes when the window does.

mod asked;
pub mod cut;
mod open;
mod rows;
mod session;
mod slices;

use super::{
    StateMap, Stateful,
    clock::WatermarkProgress,
    guests::{Answers, Guests, Refusal},
    held_times::HeldTimes,
};
use crate::{
    model::column::{Batch, Column, Schema, Value},
    plan::{Readers, WindowKind, WindowPlan},
};
use cut::Cut;
use open::Windows;
use slices::Slices;
use std::sync::Arc;

/// The operator.
#[derive(Debug)]
pub struct Window {
    plan: WindowPlan,
    late_schema: Schema,
    kind: Kind,
    guests: Guests,
}

/// How rows find their windows, and what is held of these.
#[derive(Debug)]
enum Kind {
    Cut(Cut, Windows),
    Slices(Cut, Slices),
    Sessions { gap_us: i64, windows: Windows },
}

impl Window {
    /// An operator without state. `schemas` are those of the outputs: the group, start, end and results; and the rows
    /// that are late; `guests` are those of the plan.
    ///
    /// # Errors
    /// A sentence for a person: the time zone is not known.
    pub fn new(
        plan: WindowPlan,
        schemas: Vec<Schema>,
        readers: Readers,
        guests: Guests,
        seed: u64,
    ) -> Result<Self, String> {
        let [schema, late_schema] = two(schemas);
        let windows = |schema| Windows::new(&plan, schema, readers, seed);
        let kind = match plan.kind {
            WindowKind::Aligned { .. } if Slices::fit(&plan) => {
                Kind::Slices(Cut::new(&plan.kind)?, Slices::new(&plan, schema, seed))
            }
            WindowKind::Aligned { .. } => Kind::Cut(Cut::new(&plan.kind)?, windows(schema)),
            WindowKind::Session { gap_us } => Kind::Sessions {
                gap_us,
                windows: windows(schema),
            },
        };
        Ok(Self {
            plan,
            late_schema,
            kind,
            guests,
        })
    }

    /// Goes on with the same state as an operator of another plan, whose columns may lie elsewhere.
    pub fn replace(&mut self, plan: WindowPlan, schemas: Vec<Schema>, readers: Readers) {
        let [schema, late_schema] = two(schemas);
        self.guests.replace(&plan.aggregates);
        match &mut self.kind {
            Kind::Cut(_, windows) | Kind::Sessions { windows, .. } => {
                windows.replace(&plan, schema, readers);
            }
            Kind::Slices(_, slices) => slices.replace(&plan, schema),
        }
        (self.plan, self.late_schema) = (plan, late_schema);
    }

    /// Takes in rows, while the watermark moves. Gives what there is to tell, and the rows that were late.
    ///
    /// # Errors
    /// The first row that a guest refuses. Nothing has changed then.
    pub fn update(&mut self, input: &Batch, progress: &WatermarkProgress<'_>) -> Result<Vec<Batch>, Refusal> {
        let mut answers = self.answers(input, progress)?;
        let mut late = Vec::new();
        let out = match &mut self.kind {
            Kind::Cut(cut, windows) => windows.update_cut(&self.plan, cut, input, progress, &mut answers, &mut late),
            Kind::Slices(cut, slices) => slices.update(&self.plan, cut, input, progress, &mut late),
            Kind::Sessions { gap_us, windows } => {
                session::update(windows, &self.plan, *gap_us, input, progress, &mut answers, &mut late)
            }
        };
        Ok(vec![out, self.late_rows(input, &late)])
    }

    /// What the guests make of the rows.
    fn answers(&mut self, input: &Batch, progress: &WatermarkProgress<'_>) -> Result<Answers, Refusal> {
        if self.guests.is_empty() {
            return Ok(Answers::default());
        }
        let (plan, guests) = (&self.plan, &self.guests);
        let asked = match &mut self.kind {
            Kind::Cut(cut, windows) => asked::of_cut(guests, windows, plan, cut, input, progress),
            Kind::Sessions { gap_us, windows } => asked::of_sessions(guests, windows, plan, *gap_us, input, progress),
            Kind::Slices(..) => return Ok(Answers::default()),
        };
        self.guests.answer(asked, input)
    }

    /// Rows that came too late, with whether they were to be taken away where the input is a changelog.
    fn late_rows(&self, input: &Batch, late: &[u32]) -> Batch {
        let mut rows = super::late_rows(input, late, &self.plan.late);
        if let Some(field) = self.late_schema.get(rows.columns.len()) {
            let mut retracts = Column::with_capacity(field.column_type, late.len());
            late.iter()
                .for_each(|&row| retracts.push(Value::Boolean(input.kind(row as usize).retracts())));
            rows.columns.push(Arc::new(retracts));
        }
        rows
    }
}

impl Stateful for Window {
    fn savepoint(&mut self) {
        match &mut self.kind {
            Kind::Cut(_, windows) | Kind::Sessions { windows, .. } => windows.savepoint(),
            Kind::Slices(_, slices) => slices.savepoint(),
        }
    }

    fn release(&mut self) {
        match &mut self.kind {
            Kind::Cut(_, windows) | Kind::Sessions { windows, .. } => windows.release(),
            Kind::Slices(_, slices) => slices.release(),
        }
    }

    fn rollback(&mut self) {
        match &mut self.kind {
            Kind::Cut(_, windows) | Kind::Sessions { windows, .. } => windows.rollback(),
            Kind::Slices(cut, slices) => slices.rollback(cut),
        }
    }

    fn held_times(&self, state: &str) -> Option<HeldTimes> {
        let group = self.plan.group.len();
        let bounds = match self.kind {
            Kind::Cut(..) => group..group + 2,
            Kind::Sessions { .. } => group..group + 1,
            Kind::Slices(..) => return Some(HeldTimes::within(0..0, slices::run_in_us)),
        };
        match state {
            "windows" => Some(HeldTimes::within(bounds, open::open_in_us)),
            _ => Some(HeldTimes::in_keys(bounds)),
        }
    }

    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        match &mut self.kind {
            Kind::Cut(_, windows) | Kind::Sessions { windows, .. } => windows.states(),
            Kind::Slices(_, slices) => slices.states(),
        }
    }

    fn restored(&mut self) {
        match &mut self.kind {
            Kind::Cut(_, windows) | Kind::Sessions { windows, .. } => windows.restored(),
            Kind::Slices(cut, slices) => slices.restored(cut),
        }
    }
}

/// The schemas of the two outputs.
fn two(schemas: Vec<Schema>) -> [Schema; 2] {
    let mut schemas = schemas.into_iter();
    [(); 2].map(|()| schemas.next().unwrap_or_default())
}
