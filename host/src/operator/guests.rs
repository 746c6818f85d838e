//! Guests within an operator: its aggregates, or its keyed function.
//!
//! A guest is asked about all rows of a batch before the operator takes in the first: the operator goes through its rows
//! and notes what of them goes into which group (`Asked`), the guests answer in as few calls as there can be
//! (`Guests::answer`), and then the operator takes the rows in and finds the answer to each (`Answers::give`). So
//! what a row comes to is known in time for readers of every change; and where a guest refuses a row, nothing
//! has happened yet.
//!
//! - A state is part of its group's entry, and with it the result after the last row.
//! - A group without rows has no state: the guest is not asked when the last row goes, and begins anew with the next.
//! - Which rows a guest was asked about together leaves no trace.

mod anew;

pub use anew::NoResult;

use super::accumulators::Group;
use crate::{
    error::{OrDefect, Result},
    limits::BATCH_EVENTS_MAX,
    metrics::ModuleVersion,
    model::{
        batch::Batch,
        column::{Column, Value},
        deployment::Whose,
        guest::{Accumulate, GuestFailure, RejectedInput},
        row::push_cell,
    },
    plan::{AggregateGuest, AggregateSpec, GuestHost, OperatorPlan, RunningAggregate, RunningKeyed, Setting},
};
use hashbrown::HashMap;
use std::{mem, sync::Arc};

/// The guests of an operator, in the order of its aggregates.
#[derive(Debug, Default)]
pub struct Guests {
    guests: Vec<Guest>,
    keyed: Option<Box<dyn RunningKeyed>>,
}

#[derive(Debug)]
struct Guest {
    /// The number of the aggregate.
    number: usize,
    /// For each column that it reads, the column of the operator's input.
    inputs: Vec<usize>,
    /// SHA-256 of its component.
    digest: String,
    running: Box<dyn RunningAggregate>,
}

/// A row that a guest cannot take in. The operator is as it was.
#[derive(Debug)]
pub struct RejectedByGuest {
    /// The row of the operator's input. What stands before it can be taken in.
    pub row: u32,
    /// SHA-256 of the component that refuses it.
    pub module: String,
    /// A sentence for a person.
    pub reason: String,
    /// Whether it made the guest fail.
    pub failed: bool,
}

impl Guests {
    /// The guests that an operator calls, configured.
    ///
    /// # Errors
    /// What a guest says against its parameters, or how it failed.
    pub fn prepare(plan: &dyn OperatorPlan, host: &dyn GuestHost, whose: &Whose) -> Result<Self, GuestFailure> {
        let keyed = plan.keyed().map(|keyed| {
            let mut running = keyed.running(host, whose.clone());
            running.configure().map(|()| running)
        });
        let guests = Self::of_aggregates(plan.aggregates(), host, whose)?;
        let keyed = keyed.transpose()?;
        Ok(Self { keyed, ..guests })
    }

    /// The guests among `aggregates`, configured.
    ///
    /// # Errors
    /// As [`Guests::prepare`].
    fn of_aggregates(aggregates: &[AggregateSpec], host: &dyn GuestHost, whose: &Whose) -> Result<Self, GuestFailure> {
        let mut guests = Vec::new();
        for (number, plan) in guests_of(aggregates) {
            let setting = Setting {
                parameters: &plan.parameters,
                inputs: &plan.input_types,
                limits: &plan.limits,
                whose: whose.clone(),
            };
            let mut running = host.aggregate(&plan.module, setting);
            running.configure()?;
            guests.push(Guest {
                number,
                inputs: plan.inputs.clone(),
                digest: plan.module.digest.clone(),
                running,
            });
        }
        Ok(Self { guests, keyed: None })
    }

    /// The keyed function, for the operator that calls it.
    pub(super) fn take_keyed(&mut self) -> Result<Box<dyn RunningKeyed>> {
        let keyed = self.keyed.take();
        keyed.or_defect(|| "a step that calls a keyed function has none".to_owned())
    }

    /// What the calls of each come to.
    pub(crate) fn measured(&self) -> impl Iterator<Item = &Arc<ModuleVersion>> {
        let keyed = self.keyed.as_ref().and_then(|keyed| keyed.measured());
        let aggregates = self.guests.iter().filter_map(|guest| guest.running.measured());
        aggregates.chain(keyed)
    }

    /// Goes on under another plan, whose columns may lie elsewhere.
    pub(super) fn replace(&mut self, aggregates: &[AggregateSpec]) {
        for (guest, (number, plan)) in self.guests.iter_mut().zip(guests_of(aggregates)) {
            guest.number = number;
            guest.inputs.clone_from(&plan.inputs);
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.guests.is_empty()
    }

    /// Nothing yet of what these guests are to be asked.
    pub(super) fn ask<'s>(&self) -> Asked<'s> {
        Asked {
            of: self.guests.iter().map(|guest| OfGuest::new(guest.number)).collect(),
            groups: Vec::new(),
            by_key: HashMap::new(),
        }
    }

    /// Whether a guest sees a difference between two rows.
    pub(super) fn differ(&self, guest: usize, input: &Batch, row: usize, other: usize) -> bool {
        let inputs = self.guests.get(guest).map(|guest| guest.inputs.as_slice());
        inputs.unwrap_or_default().iter().any(|&index| {
            let column = input.columns.get(index);
            column.is_some_and(|column| !is_same(column.get(row), column.get(other)))
        })
    }

    /// Has everything answered that was asked of `input`.
    ///
    /// # Errors
    /// The first row that cannot be taken in.
    pub(super) fn answer(&mut self, asked: Asked<'_>, input: &Batch) -> Result<Answers, RejectedByGuest> {
        let mut first: Option<RejectedByGuest> = None;
        let mut answers = Answers::default();
        for (guest, mut of) in self.guests.iter_mut().zip(asked.of) {
            if let Some(refusal) = &first {
                // Only what another guest refuses before it is of interest.
                let before = of.questions.partition_point(|question| question.row < refusal.row);
                of.questions.truncate(before);
            }
            match guest.answer(of, input) {
                Ok(of) => answers.of.push(of),
                Err(refusal) => first = Some(refusal),
            }
        }
        match first {
            Some(refusal) => Err(refusal),
            None => Ok(answers),
        }
    }
}

fn guests_of(aggregates: &[AggregateSpec]) -> impl Iterator<Item = (usize, &AggregateGuest)> {
    let numbered = aggregates.iter().enumerate();
    numbered.filter_map(|(number, spec)| Some((number, spec.guest.as_deref()?)))
}

/// Whether two cells are the same to the last bit.
fn is_same(a: Value<'_>, b: Value<'_>) -> bool {
    match (a, b) {
        (Value::Double(a), Value::Double(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

// ---- what is asked --------------------------------------------------------------------------------------------------

/// What the guests of an operator are asked of the rows of a batch. States are borrowed from where they are held.
#[derive(Debug)]
pub(super) struct Asked<'s> {
    of: Vec<OfGuest<'s>>,
    groups: Vec<Asking>,
    by_key: HashMap<Vec<u8>, usize>,
}

/// A group on its way through the rows of a batch.
#[derive(Debug)]
struct Asking {
    rows: u64,
    /// For each guest where its state is; nothing where that begins anew with the next row.
    slots: Vec<Option<u32>>,
}

/// What one guest is asked.
#[derive(Debug)]
struct OfGuest<'s> {
    /// The number of the aggregate.
    number: usize,
    /// States as they are before the first question.
    slots: Vec<&'s [u8]>,
    questions: Vec<Question>,
    /// How many of the questions are rows.
    rows: u32,
    /// For each time that the operator will want an answer, which row of the questions has it.
    wanted: Vec<Option<u32>>,
}

/// The rows of questions ascend.
#[derive(Clone, Copy, Debug)]
struct Question {
    /// The row of the input that it is about.
    row: u32,
    /// Where the state is.
    slot: u32,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Comes,
    Goes,
    /// The state there is merged into that of the question.
    Merges(u32),
}

/// A group that questions can be about, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupNumber(usize);

impl<'s> Asked<'s> {
    /// The group of `key`; `held` is what the operator holds of it.
    pub(super) fn group(&mut self, key: &[u8], held: impl FnOnce() -> Option<&'s Group>) -> GroupNumber {
        match self.by_key.get(key) {
            Some(&number) => GroupNumber(number),
            None => {
                let number = self.add(held());
                self.by_key.insert(key.to_vec(), number.0);
                number
            }
        }
    }

    /// A group without a key.
    pub(super) fn add(&mut self, held: Option<&'s Group>) -> GroupNumber {
        let held = held.filter(|group| group.rows > 0);
        let slots = self.of.iter_mut().map(|of| {
            let state = held?.guest_state(of.number)?;
            Some(of.slot(state))
        });
        let asking = Asking {
            rows: held.map_or(0, |group| group.rows),
            slots: slots.collect(),
        };
        self.groups.push(asking);
        GroupNumber(self.groups.len() - 1)
    }

    /// A row comes to a group, or goes from it.
    pub(super) fn row(&mut self, number: GroupNumber, row: usize, retracts: bool) {
        let Some(group) = self.groups.get_mut(number.0) else {
            return;
        };
        group.rows = match retracts {
            true => group.rows.saturating_sub(1),
            false => group.rows + 1,
        };
        for (of, slot) in self.of.iter_mut().zip(&mut group.slots) {
            if group.rows == 0 {
                *slot = None;
                of.wanted.push(None);
            } else {
                let what = if retracts { What::Goes } else { What::Comes };
                let answer = of.ask(slot, row, what);
                of.wanted.push(Some(answer));
            }
        }
    }

    /// A row takes the place of the one before it, which is `row`, within a group. A guest that sees no difference
    /// (`differ` says of its number whether it does) is not asked.
    pub(super) fn stays(&mut self, number: GroupNumber, row: usize, differ: impl Fn(usize) -> bool) {
        let Some(group) = self.groups.get_mut(number.0) else {
            return;
        };
        for (guest, (of, slot)) in self.of.iter_mut().zip(&mut group.slots).enumerate() {
            if !differ(guest) {
                of.wanted.push(None);
                continue;
            }
            match group.rows {
                0..=1 => *slot = None,
                _ => _ = of.ask(slot, row, What::Goes),
            }
            let answer = of.ask(slot, row + 1, What::Comes);
            of.wanted.push(Some(answer));
        }
    }

    /// All rows of one group come to another, because of `row`.
    pub(super) fn merge(&mut self, into: GroupNumber, from: GroupNumber, row: usize) {
        let Some(taken) = self.groups.get_mut(from.0).map(|group| Asking {
            rows: mem::take(&mut group.rows),
            slots: mem::take(&mut group.slots),
        }) else {
            return;
        };
        let Some(group) = self.groups.get_mut(into.0) else {
            return;
        };
        match (group.rows, taken.rows) {
            (_, 0) => {}
            (0, _) => *group = taken,
            _ => {
                group.rows += taken.rows;
                for ((of, slot), from) in self.of.iter_mut().zip(&mut group.slots).zip(taken.slots) {
                    if let Some(from) = from {
                        of.put(slot, row, What::Merges(from));
                    }
                }
            }
        }
    }

    /// How many rows a group has by now.
    pub(super) fn rows(&self, number: GroupNumber) -> u64 {
        self.groups.get(number.0).map_or(0, |group| group.rows)
    }

    /// A row that goes into no group. The operator will want an answer all the same, and find none.
    pub(super) fn pass_over(&mut self) {
        self.of.iter_mut().for_each(|of| of.wanted.push(None));
    }
}

impl<'s> OfGuest<'s> {
    fn new(number: usize) -> Self {
        Self {
            number,
            slots: Vec::new(),
            questions: Vec::new(),
            rows: 0,
            wanted: Vec::new(),
        }
    }

    fn slot(&mut self, state: &'s [u8]) -> u32 {
        self.slots.push(state);
        self.slots.len() as u32 - 1
    }

    /// Asks about a row; gives the number of its answer.
    fn ask(&mut self, slot: &mut Option<u32>, row: usize, what: What) -> u32 {
        self.put(slot, row, what);
        self.rows += 1;
        self.rows - 1
    }

    fn put(&mut self, slot: &mut Option<u32>, row: usize, what: What) {
        let slot = *slot.get_or_insert_with(|| self.slot(&[]));
        self.questions.push(Question {
            row: row as u32,
            slot,
            what,
        });
    }
}

// ---- what is answered -----------------------------------------------------------------------------------------------

/// What the guests of an operator answered, in the order in which the operator goes through its rows.
#[derive(Debug, Default)]
pub(super) struct Answers {
    of: Vec<AnswersOf>,
    /// How many of them were given.
    given: usize,
}

/// What one guest answered.
#[derive(Debug)]
struct AnswersOf {
    /// The number of the aggregate.
    number: usize,
    /// The results after each row, as rows of one cell, one after the other; and where each ends.
    results: Vec<u8>,
    ends: Vec<usize>,
    /// For each row where its state is.
    row_slots: Vec<u32>,
    /// The states after the last question; and for each the last row that touched it, with which it goes to its group.
    slots: Vec<Box<[u8]>>,
    last_rows: Vec<u32>,
    wanted: Vec<Option<u32>>,
}

impl Answers {
    /// Puts the next answer into the group that it is about: results as they are after its row, and with the last row
    /// that touches a state the state.
    #[inline]
    pub(super) fn give(&mut self, group: &mut Group) {
        for of in &mut self.of {
            let Some(Some(row)) = of.wanted.get(self.given).copied() else {
                if group.rows == 0 {
                    group.forget_guest(of.number);
                }
                continue;
            };
            let row = row as usize;
            let end = |row: usize| of.ends.get(row).copied().unwrap_or_default();
            let start = row.checked_sub(1).map_or(0, end);
            let result = of.results.get(start..end(row)).unwrap_or_default();
            let slot = of.row_slots.get(row).map_or(usize::MAX, |&slot| slot as usize);
            let is_last = of.last_rows.get(slot) == Some(&(row as u32));
            let state = of.slots.get_mut(slot).filter(|_| is_last).map(mem::take);
            group.set_guest(of.number, state, result);
        }
        self.given += 1;
    }

    /// Passes the next answer over: the row goes into no group.
    #[inline]
    pub(super) fn pass_over(&mut self) {
        self.given += 1;
    }
}

impl Guest {
    fn answer(&mut self, of: OfGuest<'_>, input: &Batch) -> Result<AnswersOf, RejectedByGuest> {
        let mut answers = AnswersOf {
            number: self.number,
            results: Vec::new(),
            ends: Vec::with_capacity(of.rows as usize),
            row_slots: Vec::with_capacity(of.rows as usize),
            slots: of.slots.iter().map(|&state| state.into()).collect(),
            last_rows: vec![u32::MAX; of.slots.len()],
            wanted: of.wanted,
        };
        let mut locals = vec![None; answers.slots.len()];
        let mut rest = of.questions.as_slice();
        while let Some(&first) = rest.first() {
            if let What::Merges(from) = first.what {
                self.merge(&mut answers, first, from)?;
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let is_row = |question: &Question| !matches!(question.what, What::Merges(_));
            let rows = rest
                .iter()
                .take(BATCH_EVENTS_MAX)
                .take_while(|question| is_row(question));
            let (rows, behind) = rest.split_at_checked(rows.count()).unwrap_or((rest, &[]));
            self.accumulate(&mut answers, rows, &mut locals, input)?;
            rest = behind;
        }
        Ok(answers)
    }

    fn accumulate(
        &mut self,
        answers: &mut AnswersOf,
        questions: &[Question],
        locals: &mut [Option<u32>],
        input: &Batch,
    ) -> Result<(), RejectedByGuest> {
        let (mut members, mut groups) = (Vec::new(), Vec::with_capacity(questions.len()));
        for question in questions {
            let Some(local) = locals.get_mut(question.slot as usize) else {
                continue;
            };
            groups.push(*local.get_or_insert_with(|| {
                members.push(question.slot);
                members.len() as u32 - 1
            }));
        }
        for &slot in &members {
            if let Some(local) = locals.get_mut(slot as usize) {
                *local = None;
            }
        }
        let states = members.iter().map(|&slot| answers.slots.get(slot as usize));
        let states: Vec<&[u8]> = states.map(|state| state.map_or(&[][..], |state| state)).collect();
        let goes = |question: &Question| question.what == What::Goes;
        let retracts: Option<Vec<u8>> = questions
            .iter()
            .any(goes)
            .then(|| questions.iter().map(|question| u8::from(goes(question))).collect());
        let rows: Vec<u32> = questions.iter().map(|question| question.row).collect();
        let columns = input.pick(&self.inputs);
        let is_all = rows.len() == input.len() && rows.iter().enumerate().all(|(at, &row)| at == row as usize);
        let gathered: Vec<Column> = match is_all {
            true => Vec::new(),
            false => columns.iter().map(|column| column.gather(&rows)).collect(),
        };
        let columns = if is_all { columns } else { gathered.iter().collect() };
        let given = self.running.accumulate(Accumulate {
            states: &states,
            groups: &groups,
            retracts: retracts.as_deref(),
            columns: &columns,
        });
        if let Some(refused) = given.refused {
            let row = rows.get(given.applied as usize).copied();
            return Err(self.refusal(row.unwrap_or_default(), refused));
        }

        for (row, question) in questions.iter().enumerate() {
            push_cell(&mut answers.results, given.results.get(row));
            answers.ends.push(answers.results.len());
            if let Some(last) = answers.last_rows.get_mut(question.slot as usize) {
                *last = answers.row_slots.len() as u32;
            }
            answers.row_slots.push(question.slot);
        }
        for (slot, state) in members.into_iter().zip(given.states) {
            if let Some(held) = answers.slots.get_mut(slot as usize) {
                *held = state;
            }
        }
        Ok(())
    }

    /// Merges the state at `from` into that of a question.
    fn merge(&mut self, answers: &mut AnswersOf, question: Question, from: u32) -> Result<(), RejectedByGuest> {
        let (into, from) = (question.slot as usize, from as usize);
        let state = |slot: usize| answers.slots.get(slot).map_or(&[][..], |state| state);
        let merged = self.running.merge(&[state(into)], &[state(from)]);
        if let Some(refused) = merged.refused {
            return Err(self.refusal(question.row, refused));
        }
        if let (Some(held), Some(merged)) = (answers.slots.get_mut(into), merged.states.into_iter().next()) {
            *held = merged;
        }
        Ok(())
    }

    fn refusal(&self, row: u32, refused: RejectedInput) -> RejectedByGuest {
        RejectedByGuest {
            row,
            module: self.digest.clone(),
            reason: refused.reason,
            failed: refused.failed,
        }
    }
}
