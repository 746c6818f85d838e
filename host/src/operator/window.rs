//! `window`: aggregates, or the rows that rank first, by group and window of event time.
//!
//! - Emits: with `emit = "close"` one row per group and window, once the watermark is at the window's end, in the order of
//!   ends, then of groups. With `"update"` a changelog: a row when its result changed, and nothing at the end, where it
//!   is emitted already. With `early` a changelog too: what changed, each time the watermark passes a multiple of the
//!   interval, and the rest at the end.
//! - Late rows: a window takes rows in until the watermark is `lateness` past its end; what changes after its end is emitted
//!   at once. A row that no window takes in any more goes to the output `late`, and is counted. So does one whose time
//!   (the column of key `time`) is null.
//! - Nulls: as in `aggregate`; `first` and `last` skip them. A null in the group is one group like any other. A row that is
//!   to be ranked by a null has no rank.
//! - Ranked rows (`top`) are emitted one by one, each with its rank; where they change, those ranks whose rows are others now.
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
    Applied, Build, Inputs, Operator, Outputs, ProcessError, StateMap, Stateful,
    clock::WatermarkProgress,
    guests::{Answers, Guests, NoResult, RejectedByGuest},
    held_times::HeldTimes,
};
use crate::{
    error::{Error, Result},
    model::{
        batch::Batch,
        column::{Column, Schema, Value},
    },
    plan::Node,
    planner::window::{WindowKind, WindowPlan},
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

impl Build for Window {
    type Plan = WindowPlan;

    fn build(node: &Node, plan: &WindowPlan, guests: Guests, seed: u64) -> Result<Self> {
        let (output, late) = (node.output(0)?, node.output(1)?);
        let unknown = |message| Error::definition(format!("step \"{}\": {message}", node.name));
        let windows = || Windows::new(plan, output.schema.clone(), output.readers, seed);
        let kind = match plan.kind {
            WindowKind::Aligned { .. } if Slices::fit(plan) => Kind::Slices(
                Cut::new(&plan.kind).map_err(unknown)?,
                Slices::new(plan, output.schema.clone(), seed),
            ),
            WindowKind::Aligned { .. } => Kind::Cut(Cut::new(&plan.kind).map_err(unknown)?, windows()),
            WindowKind::Session { gap_us } => Kind::Sessions {
                gap_us,
                windows: windows(),
            },
        };
        Ok(Self {
            plan: plan.clone(),
            late_schema: late.schema.clone(),
            kind,
            guests,
        })
    }
}

impl Operator for Window {
    fn process(&mut self, inputs: Inputs<'_>) -> Result<Outputs, ProcessError> {
        let rows = self.update(inputs.one()?, inputs.followed()?)?;
        let applied = vec![Applied::but(rows.get(1))];
        Ok(Outputs::new(rows, applied))
    }

    fn replan(&mut self, node: &Node) -> Result<()> {
        let plan = node.operator_plan::<WindowPlan>()?;
        let (output, late) = (node.output(0)?, node.output(1)?);
        self.guests.replace(&plan.aggregates);
        match &mut self.kind {
            Kind::Cut(_, windows) | Kind::Sessions { windows, .. } => {
                windows.replace(plan, output.schema.clone(), output.readers);
            }
            Kind::Slices(_, slices) => slices.replace(plan, output.schema.clone()),
        }
        (self.plan, self.late_schema) = (plan.clone(), late.schema.clone());
        Ok(())
    }

    fn current_rows(&self, bucket: usize) -> Option<Batch> {
        match &self.kind {
            Kind::Cut(_, windows) | Kind::Sessions { windows, .. } => windows.current_rows(bucket),
            Kind::Slices(..) => None,
        }
    }

    fn keep_past(&mut self, keeps: bool) {
        if let Kind::Cut(_, windows) | Kind::Sessions { windows, .. } = &mut self.kind {
            windows.keep_past(keeps);
        }
    }

    fn take_past(&mut self) -> Batch {
        match &mut self.kind {
            Kind::Cut(_, windows) | Kind::Sessions { windows, .. } => windows.take_past(),
            Kind::Slices(..) => Batch::default(),
        }
    }

    fn results_anew(&mut self, bucket: usize) -> Result<(), NoResult> {
        match &mut self.kind {
            Kind::Cut(_, windows) | Kind::Sessions { windows, .. } => windows.results_anew(bucket, &mut self.guests),
            // Those of guests are none.
            Kind::Slices(..) => Ok(()),
        }
    }

    /// Those of a window that takes no rows in any more.
    fn rows_outlive_state(&self) -> bool {
        true
    }
}

impl Window {
    /// Takes in rows, while the watermark moves. Returns what to emit, and the rows that were late.
    ///
    /// # Errors
    /// The first row that a guest refuses. Nothing has changed then.
    fn update(&mut self, input: &Batch, progress: &WatermarkProgress<'_>) -> Result<Vec<Batch>, RejectedByGuest> {
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
    fn answers(&mut self, input: &Batch, progress: &WatermarkProgress<'_>) -> Result<Answers, RejectedByGuest> {
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

#[cfg(test)]
mod tests {
    use crate::operator::testing::Tested;

    const ORDERS: &str = "user = \"text\", amount = \"int\"";

    #[test]
    fn a_window_is_emitted_when_the_watermark_is_at_its_end() {
        let step = "step = [{ name = \"sums\", window = { tumbling = \"1 s\", group_by = [\"user\"], columns = { total = { sum = \"amount\" } } } }]
                    sink = [{ table = \"sums\", from = \"sums\" }, { table = \"late\", from = \"sums.late\" }]";
        let mut sums = Tested::new(ORDERS, step);
        sums.check(
            "#  kind  ms    user  amount
             1  +     1000  bob   1
             2  +     1500  ann   2
             3  +     1999  bob   3
             4  +     2000  ann   4
             5  +     1999  ann   5",
            "out   4  +  ann  1000  2000  2
             out   4  +  bob  1000  2000  4
             late  5  +  ann  5",
        );
        sums.restart();
        sums.check(
            "#  kind  ms    user  amount
             6  +     2999  ann   6
             7  +     3000  bob   7",
            "out   7  +  ann  2000  3000  10",
        );
    }

    #[test]
    fn a_window_that_lost_its_rows_is_none_also_where_nobody_reads_what_it_computes() {
        let columns = "user = \"text\", at = \"int\"";
        let step = "step = [{ name = \"last\", last_value = { key = [\"user\"], columns = [\"at\"] } },
                            { name = \"seen\", window = { hopping = { size = \"2 s\", every = \"1 s\" }, time = \"at\", columns = { n = { count = \"*\" } } } }]
                    sink = [{ table = \"seen\", columns = [\"window_start\"] }]";
        let mut seen = Tested::new(columns, step);
        seen.check(
            "#  kind  ms    user  at
             1  +     1000  ann   1000
             2  -     1500  ann   1000
             3  +     2500  bob   2500
             4  +     9000  cid   9000",
            "out  4  +  1000  3000
             out  4  +  2000  4000",
        );
    }

    #[test]
    fn a_window_ends_once_more_after_an_event_that_ended_it_was_undone() {
        let columns = "user = \"text\", at = \"int\"";
        let step = "step = [{ name = \"last\", last_value = { key = [\"user\"], columns = [\"at\"] } },
                            { name = \"seen\", window = { tumbling = \"2 s\", emit = { early = \"10 s\" }, lateness = \"1 m\", time = \"at\", columns = { n = { count = \"*\" } } } }]
                    sink = [{ table = \"seen\", primary_key = [\"window_start\", \"window_end\"], columns = [\"window_start\", \"window_end\"] }]";
        let mut seen = Tested::new(columns, step);
        seen.check(
            "#  kind  ms     user  at
             1  +     10000  ann   10000",
            "out  1  +  10000  12000",
        );
        seen.undo(
            "#  kind  ms     user  at
             2  +     12500  bob   12500",
        );
        seen.check(
            "#  kind  ms     user  at
             3  -     12600  ann   10000",
            "out  3  -  10000  12000",
        );
    }
}
