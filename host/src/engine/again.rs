//! Rows that rules are asked of again: what a rule makes of a row has to be the same whatever it is asked of before, beside and behind
//! it. Where it is not, runs and replays of one stream give other tables.
//!
//! An engine that is told to keeps the first rows that each rule judged. Once it is through, new instances judge them in several cuts
//! and orders, and each row has to come out as it did the first time.

use super::{
    shadow::{Said, input_of},
    verdicts::{Events, Verdicts, ask_at, numbered},
};
use crate::{
    error::{OrDefect, Result, take_defect},
    limits::{JUDGED_AGAIN_ALONE_MAX, JUDGED_AGAIN_BYTES_MAX, JUDGED_AGAIN_MAX},
    model::{
        batch::Batch,
        column::Value,
        delivery::Deliveries,
        guest::{GuestFailure, Patience},
        ids::NodeId,
    },
    plan::{GuestHost, NodeKind, Plan, RunningStage, StagePlan},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

/// The first rows that each rule of an engine judged.
#[derive(Debug, Default)]
pub struct JudgedRows(Mutex<BTreeMap<NodeId, Sample>>);

/// Some rows of one rule.
#[derive(Debug, Default)]
struct Sample {
    parts: Vec<Batch>,
    times_ms: Vec<i64>,
    /// Of each row the sequence of its event.
    sequences: Vec<u64>,
    bytes: usize,
    is_full: bool,
}

/// A row of which a rule makes one thing or another.
#[derive(Debug)]
pub struct Ambiguous {
    /// The step.
    pub step: String,
    /// The sequence of the event that the row comes of.
    pub sequence: u64,
    /// What the rule reads of the row, and what tells it apart: names and values.
    pub row: Vec<(String, String)>,
    /// What came of it where all rows were judged in one call.
    pub first: Vec<String>,
    /// In which way it was asked again.
    pub way: &'static str,
    /// What came of it then.
    pub again: Vec<String>,
    /// How many rows come out otherwise in one way or the other.
    pub differ: usize,
    /// Of how many.
    pub of: usize,
}

/// A way in which rows are judged.
struct Way {
    name: &'static str,
    /// The numbers of the rows, in the order of the calls.
    order: Vec<u32>,
    /// How many are judged in a call.
    rows_of_call: usize,
    /// Whether each call is to an instance of its own.
    is_alone: bool,
}

impl Way {
    /// All in which so many rows are judged, after they were judged all in one call.
    fn all(rows: u32) -> [Self; 4] {
        let half = rows / 2;
        let way = |name, order, rows_of_call| Self {
            name,
            order,
            rows_of_call,
            is_alone: false,
        };
        [
            way("in a call of its own", (0..rows).collect(), 1),
            way("in the reverse order", (0..rows).rev().collect(), rows as usize),
            way(
                "with the second half of the rows first",
                (half..rows).chain(0..half).collect(),
                (rows - half) as usize,
            ),
            Self {
                is_alone: true,
                ..way(
                    "in an instance of its own",
                    (0..rows.min(JUDGED_AGAIN_ALONE_MAX)).collect(),
                    1,
                )
            },
        ]
    }
}

impl Sample {
    fn note(&mut self, plan: &StagePlan, input: &Batch, deliveries: &Deliveries) {
        if self.is_full {
            return;
        }
        let read = input.pick(&plan.inputs);
        let bytes_of = |row: usize| {
            let cells = read.iter().map(|column| match column.get(row) {
                Value::Text(text) => text.len(),
                _ => 0,
            });
            cells.sum::<usize>()
        };
        let room = JUDGED_AGAIN_MAX.saturating_sub(self.sequences.len());
        let mut count = 0;
        while count < input.len().min(room) && self.bytes <= JUDGED_AGAIN_BYTES_MAX {
            self.bytes += bytes_of(count);
            count += 1;
        }
        self.is_full = count < input.len() || count == room;
        let taken = input.gather(&(0..count as u32).collect::<Vec<_>>());
        let events = Events {
            causes: &taken.deliveries,
            deliveries,
        };
        self.times_ms.extend(events.times(plan, &numbered(&taken)));
        let first = self.sequences.len() as u32;
        let sequences = taken.deliveries.iter().map(|&delivery| deliveries.sequence(delivery));
        self.sequences.extend(sequences);
        self.parts.push(Batch {
            deliveries: (first..self.sequences.len() as u32).collect(),
            kinds: None,
            lineage: None,
            ..taken
        });
    }
}

impl JudgedRows {
    /// Notes rows that a stage judges.
    pub(super) fn note(&self, at: NodeId, plan: &StagePlan, input: &Batch, deliveries: &Deliveries) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.entry(at).or_default().note(plan, input, deliveries);
    }

    /// Asks the rules of a plan again of the rows that they judged. Gives for each rule, at most, the first row of which it makes
    /// something else.
    ///
    /// # Errors
    /// When a rule cannot be set up any more.
    pub fn ask_again(&self, plan: &Plan, host: &dyn GuestHost) -> Result<Vec<Ambiguous>> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for (&at, sample) in &*samples {
            let node = plan.nodes.get(at).or_defect(|| format!("there is no step {at}"))?;
            let NodeKind::Stage(stage) = &node.kind else { continue };
            let rows = Batch::merge(sample.parts.clone());
            let asked = Asked {
                step: &node.name,
                plan,
                stage,
                host,
                rows: &rows,
                sample,
                input: node.input,
            };
            let ambiguous = asked
                .ambiguous()
                .map_err(|failure| failure.error(format!("step \"{}\": {failure}", node.name)))?;
            found.extend(ambiguous);
        }
        take_defect()?;
        Ok(found)
    }
}

/// A rule, and the rows that it is asked of.
struct Asked<'a> {
    step: &'a str,
    plan: &'a Plan,
    stage: &'a StagePlan,
    host: &'a dyn GuestHost,
    rows: &'a Batch,
    sample: &'a Sample,
    input: crate::plan::OutputPort,
}

impl Asked<'_> {
    fn instance(&self) -> Result<Box<dyn RunningStage>, GuestFailure> {
        let mut guest = self.stage.guest(self.host, self.stage.deployment.whose(self.step));
        guest.configure()?;
        Ok(guest)
    }

    /// What an instance makes of some rows in one call; the deliveries of what comes out are the places of the rows in that call.
    fn judge(&self, guest: &mut dyn RunningStage, numbers: &[u32]) -> (Batch, Verdicts) {
        let rows = Batch {
            deliveries: (0..numbers.len() as u32).collect(),
            ..self.rows.gather(numbers)
        };
        let times = numbers.iter().filter_map(|&row| self.sample.times_ms.get(row as usize));
        let times: Vec<i64> = times.copied().collect();
        let verdicts = ask_at(guest, self.stage, &rows, &times, Patience::Endless);
        (rows, verdicts)
    }

    fn ambiguous(&self) -> Result<Option<Ambiguous>, GuestFailure> {
        let count = self.rows.len() as u32;
        let schema = self.plan.schema(self.input);
        let all: Vec<u32> = (0..count).collect();
        let (rows, first_verdicts) = self.judge(&mut *self.instance()?, &all);
        let first = Said::new(&rows, schema, &first_verdicts, self.stage);
        let mut differing = BTreeSet::new();
        let mut found: Option<(u32, Ambiguous)> = None;
        for way in Way::all(count) {
            let mut guest = self.instance()?;
            let is_first = differing.is_empty();
            for (number, call) in way.order.chunks(way.rows_of_call.max(1)).enumerate() {
                if way.is_alone && number > 0 {
                    guest = self.instance()?;
                }
                let (rows, verdicts) = self.judge(&mut *guest, call);
                let again = Said::new(&rows, schema, &verdicts, self.stage);
                for (place, &row) in call.iter().enumerate() {
                    let pairs = [(&first_verdicts, row as usize), (&verdicts, place)];
                    if is_same(pairs, &first, &again) {
                        continue;
                    }
                    differing.insert(row);
                    // Of those of the first way in which some differ, the first.
                    if is_first && found.as_ref().is_none_or(|(before, _)| row < *before) {
                        let ambiguous = Ambiguous {
                            step: self.step.to_owned(),
                            sequence: self.sample.sequences.get(row as usize).copied().unwrap_or_default(),
                            row: input_of(schema, self.rows, self.stage, row as usize),
                            first: first.lines(row as usize),
                            way: way.name,
                            again: again.lines(place),
                            differ: 0,
                            of: count as usize,
                        };
                        found = Some((row, ambiguous));
                    }
                }
            }
        }
        Ok(found.map(|(_, found)| Ambiguous {
            differ: differing.len(),
            ..found
        }))
    }
}

/// Whether the same came of a row in two calls. How a row makes a guest fail may differ by what was in its memory, and how long a call
/// takes by the machine.
fn is_same(
    [(one_verdicts, one_row), (other_verdicts, other_row)]: [(&Verdicts, usize); 2],
    one: &Said<'_>,
    other: &Said<'_>,
) -> bool {
    let rejected = |verdicts: &Verdicts, row: usize| {
        let mut rejected = verdicts.rejected.iter();
        let rejected = rejected.find(|rejected| rejected.row as usize == row);
        rejected.map(|rejected| (rejected.failed, rejected.reason.clone()))
    };
    match (rejected(one_verdicts, one_row), rejected(other_verdicts, other_row)) {
        (Some((true, _)), Some((true, _))) => true,
        (Some((true, _)), _) if one_verdicts.timed_out => true,
        (_, Some((true, _))) if other_verdicts.timed_out => true,
        (Some((false, one)), Some((false, other))) => one == other,
        (None, None) => one.same_as(one_row, other, other_row),
        _ => false,
    }
}

impl super::Engine {
    /// Keeps the first rows that each rule judges, for who asks them again.
    pub fn note_judged_rows(&mut self, judged: Arc<JudgedRows>) {
        self.judged = Some(judged);
    }
}
