//! A candidate beside a rule over a changelog, over the current rows: which of them would be others if it took over now.
//!
//! A thread judges all of them as they are judged now and as the candidate would, and then what events change of them. So the
//! report holds at a sequence, and a swap there would do what it says. Where the thread does not keep up, it begins anew.

use super::{
    cut,
    report::{CurrentExample, CurrentRows},
    shown,
};
use crate::{
    engine::{
        Engine,
        cast::{Cast, CurrentKeys, NoCast, Rehearsed, Work},
        handing::{Deciding, Handing, Heard},
        rules::Refused,
    },
    error::{Error, Result, take_defect},
    limits::{REHEARSED_BEHIND_MAX, SHADOW_EXAMPLES_MAX},
    model::{
        column::Field,
        ids::NodeId,
        row::{cells, take_key_cell},
    },
    plan::{Change, GuestHost, Plan},
    text::printable,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

/// What a comparison has found, for whoever makes a report of it.
#[derive(Debug, Default)]
pub(in crate::engine) struct Found {
    /// The plan that would take over.
    plan: Option<Arc<Plan>>,
    rehearsed: Rehearsed,
    /// Whether all current rows are among it.
    is_whole: bool,
    /// The sequence at which it holds.
    through: u64,
    /// Why there is none.
    refused: Option<String>,
}

/// Where findings are shared: by the thread of a comparison, and by the shadow that reports them.
pub(in crate::engine) type Shared = Arc<Mutex<Found>>;

/// What is to be told of it.
pub(in crate::engine) fn report_of(found: &Shared) -> Option<CurrentRows> {
    locked(found).report()
}

/// A comparison that is ready to begin.
#[derive(Debug)]
pub struct ComparisonReady {
    at: NodeId,
    cast: Cast,
    found: Shared,
}

/// What the engine holds of a comparison.
#[derive(Debug)]
pub(in crate::engine) struct Comparison {
    deciding: Deciding,
    pub(in crate::engine) handing: Handing,
    /// Whether changes passed it by, since it was too far behind.
    pub(in crate::engine) is_behind: bool,
}

/// How a look at the comparisons went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// There is more to hand over at once.
    GoesOn,
    /// There will be.
    Waits,
    /// There is nothing to hand over but what events change.
    Through,
}

/// Gets ready to compare the step `step` of `running` with what it is in `plan`, or says why that cannot be.
pub(in crate::engine) fn prepare(
    step: &str,
    running: &Arc<Plan>,
    plan: Result<Arc<Plan>>,
    host: &dyn GuestHost,
    found: &Shared,
) -> Result<Option<ComparisonReady>> {
    let refuse = |reason: String| {
        *locked(found) = Found {
            refused: Some(reason),
            ..Found::default()
        };
        Ok(None)
    };
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => return refuse(error.to_string()),
    };
    let at = plan.nodes.position(|node| node.name == step);
    let at = at.ok_or_else(|| Error::definition(format!("there is no step \"{step}\"")))?;
    match Cast::of(running, &plan, &BTreeSet::from([at]), host)? {
        Ok(cast) => Ok(Some(ComparisonReady {
            at,
            cast,
            found: found.clone(),
        })),
        Err(NoCast::NothingChanges) => Ok(None),
        Err(NoCast::OtherColumns) => refuse(
            "it reads other columns than the live version, so that current rows are judged at the swap alone"
                .to_owned(),
        ),
        Err(NoCast::Guest(step, failure)) => refuse(format!("step \"{step}\": {failure}")),
    }
}

fn locked(found: &Mutex<Found>) -> std::sync::MutexGuard<'_, Found> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Begins comparisons, in the place of those that ran.
    pub(in crate::engine) fn begin_comparisons(&mut self, ready: Vec<ComparisonReady>) -> Result<()> {
        // Nothing of what they find is wanted from here on.
        self.comparisons.clear();
        for ComparisonReady { at, mut cast, found } in ready {
            let deciding = self.deciding_of(&cast.rules);
            cast.decide(deciding.clone());
            *locked(&found) = Found::of(&cast);
            let mut handing = Handing::start("weir-compare", cast, move |cast, heard| compare(cast, &heard, &found))?;
            handing.send_through(self.last_sequence);
            let comparison = Comparison {
                deciding,
                handing,
                is_behind: false,
            };
            self.comparisons.insert(at, comparison);
        }
        self.keep_past();
        Ok(())
    }

    /// Hands some current rows to each comparison that wants more.
    ///
    /// # Errors
    /// As [`Engine::process`].
    pub fn compare_some(&mut self) -> Result<Compared> {
        let mut all = std::mem::take(&mut self.comparisons);
        let mut compared = Compared::Through;
        for comparison in all.values_mut() {
            if comparison.is_behind && comparison.handing.waiting() == 0 {
                comparison.is_behind = false;
                comparison.handing.begin_anew(comparison.deciding.clone());
                comparison.handing.send_through(self.last_sequence);
            }
            if comparison.handing.has_ended() {
                continue;
            }
            compared = match self.hand_over_some(&mut comparison.handing)? {
                true => Compared::GoesOn,
                false if comparison.is_behind || !comparison.handing.is_whole() => match compared {
                    Compared::GoesOn => Compared::GoesOn,
                    _ => Compared::Waits,
                },
                false => compared,
            };
        }
        self.comparisons = all;
        Ok(compared)
    }

    /// Whether all that the comparisons were told is judged.
    #[cfg(test)]
    pub(in crate::engine) fn has_compared(&self) -> bool {
        let mut all = self.comparisons.values();
        all.all(|comparison| comparison.handing.waiting() == 0)
    }

    /// Notes which comparisons have to begin anew: they are too far behind, or something else decides by now.
    pub(in crate::engine) fn look_after_comparisons(&mut self) {
        let mut all = std::mem::take(&mut self.comparisons);
        for comparison in all.values_mut() {
            let deciding = self.deciding_of(comparison.handing.rules());
            if deciding != comparison.deciding {
                // A version was taken back.
                comparison.deciding = deciding;
                comparison.is_behind = true;
            }
            comparison.is_behind |= comparison.handing.waiting() > REHEARSED_BEHIND_MAX;
        }
        self.comparisons = all;
    }

    /// Tells the comparisons how far the events have come.
    pub(in crate::engine) fn compared_through(&mut self) {
        let all = self.comparisons.values_mut();
        for comparison in all.filter(|comparison| !comparison.is_behind) {
            comparison.handing.send_through(self.last_sequence);
        }
    }
}

fn compare(mut cast: Cast, heard: &Heard, found: &Mutex<Found>) {
    let outcome = heard.each(|work| {
        // Nobody but a report reads what is found, and it is short.
        let mut found = locked(found);
        if heard.is_left() {
            return Ok(false);
        }
        match work {
            Work::Rows { rules, rows } => cast.take(rules, &rows, &mut found.rehearsed)?,
            Work::Through(sequence) => found.through = sequence,
            Work::All => found.is_whole = true,
            Work::Anew(deciding) => {
                cast.decide(deciding);
                *found = Found::of(&cast);
            }
        }
        take_defect()?;
        Ok(found.rehearsed.failure.is_none())
    });
    if let Err(defect) = outcome {
        tracing::error!("a comparison with a candidate ends: {defect}");
        locked(found).refused = Some(defect.to_string());
    }
}

/// What becomes of a current row.
#[derive(Clone, Copy, Default)]
struct Both {
    live: bool,
    candidate: bool,
}

impl Found {
    fn of(cast: &Cast) -> Self {
        Self {
            plan: Some(cast.plan.clone()),
            rehearsed: Rehearsed {
                current: Some(CurrentKeys::default()),
                ..Rehearsed::default()
            },
            ..Self::default()
        }
    }

    /// Nothing before it begins.
    fn report(&self) -> Option<CurrentRows> {
        if let Some(refused) = &self.refused {
            return Some(CurrentRows {
                refused: Some(refused.clone()),
                ..CurrentRows::default()
            });
        }
        let plan = self.plan.as_ref()?;
        let current = self.rehearsed.current.as_ref();
        let mut report = CurrentRows {
            sequence: self.through,
            is_whole: self.is_whole,
            rows: current.map_or(0, CurrentKeys::len) as u64,
            ..CurrentRows::default()
        };
        // By key, over all outputs.
        let mut moved: BTreeMap<&[u8], Both> = BTreeMap::new();
        for (of, row) in self.rehearsed.moved.values().flat_map(|output| &output.rows) {
            let (both, (before, after)) = (moved.entry(of).or_default(), row.sides());
            both.live |= before.is_some();
            both.candidate |= after.is_some();
        }
        for both in moved.values() {
            match (both.live, both.candidate) {
                (false, _) => report.added += 1,
                (true, false) => report.missing += 1,
                (true, true) => report.changed += 1,
            }
        }
        let rejected = self.rehearsed.newly_rejected(|_| false);
        report.rejected = rejected.count();
        if !rejected.is_empty()
            && let Refused::Row(reason) = rejected.refused(plan)
        {
            report.stays_out = Some(reason);
        }
        report.examples = self.examples(plan);
        Some(report)
    }

    /// Why the candidate, or a rule behind it, does not take the current row of this key.
    fn rejection_of(&self, key: &[u8]) -> Option<&str> {
        let mut of_steps = self.rehearsed.rejected.values();
        of_steps.find_map(|rejected| rejected.get(key)).map(String::as_str)
    }

    fn examples(&self, plan: &Plan) -> Vec<CurrentExample> {
        let of_outputs = self.rehearsed.moved.iter();
        let rows = of_outputs.flat_map(|(&(at, output), rows)| rows.rows.iter().map(move |row| (at, output, row)));
        let rows = rows.take(SHADOW_EXAMPLES_MAX);
        let examples = rows.filter_map(|(at, number, (of, row))| {
            let (before, after) = row.sides();
            let node = plan.nodes.get(at)?;
            let output = node.outputs.get(number)?;
            let cells = |row: Option<&[u8]>| match row {
                None => "left out".to_owned(),
                Some(row) => line_of(&output.schema, row),
            };
            Some(CurrentExample {
                key: key_of(plan, at, of),
                live: cells(before),
                candidate: match self.rejection_of(of) {
                    Some(reason) if after.is_none() => format!("rejected: {}", cut(&printable(reason))),
                    _ => cells(after),
                },
            })
        });
        examples.collect()
    }
}

fn line_of(schema: &[Field], row: &[u8]) -> String {
    let columns = schema.iter().zip(cells(row));
    let columns = columns.map(|(field, value)| format!("{} = {}", field.name, shown(field.column_type, value)));
    columns.collect::<Vec<_>>().join(", ")
}

/// The key of a current row that the rule `at` judges, by column.
fn key_of(plan: &Plan, at: NodeId, mut key: &[u8]) -> Vec<(String, String)> {
    let mut port = plan.nodes.get(at).map(|node| node.input);
    while let Some(of) = port
        && let Some(node) = plan.nodes.get(of.node)
        && node.kind.is_by_row()
    {
        port = Some(node.input);
    }
    let Some(output) = port.and_then(|port| plan.output(port)) else {
        return Vec::new();
    };
    let Change::Keyed(Some(columns)) = &output.change else {
        return Vec::new();
    };
    let columns = columns.iter().filter_map(|&column| output.schema.get(column));
    let mut text = Vec::new();
    let cells = columns.map_while(|field| {
        let value = take_key_cell(&mut key, &mut text)?;
        Some((printable(&field.name), shown(field.column_type, value)))
    });
    cells.collect()
}
