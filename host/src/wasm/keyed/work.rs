//! What is asked of a keyed function, in parts that can be cut anywhere.

use crate::{
    model::{
        column::Column,
        column::ColumnType,
        guest::{
            DueKeys, KeyedDescription, KeyedFired, KeyedProcessed, NO_TIMER, OutputRows, RejectedInput, RowsOfKeys,
        },
    },
    wasm::{
        answer::check_outputs,
        guest::Guest,
        halving::{Stopped, Work, ask, concatenated},
        states::{self, checked},
        worlds::keyed::{self, Answer, KeyedWorld},
    },
};
use std::{borrow::Cow, ops::Range};

/// The outputs of a description without rows.
fn nothing(description: &KeyedDescription) -> Vec<OutputRows> {
    let outputs = description.outputs.iter().map(|output| OutputRows {
        rows: Vec::new(),
        computed: output
            .computed
            .iter()
            .map(|field| Column::with_capacity(field.column_type, 0))
            .collect(),
    });
    outputs.collect()
}

/// Adds what came out of a part that begins at `start`.
fn append(all: &mut [OutputRows], part: Vec<OutputRows>, start: usize) {
    for (all, part) in all.iter_mut().zip(part) {
        if all.rows.is_empty() && start == 0 {
            *all = part;
            continue;
        }
        all.rows.extend(part.rows.iter().map(|row| row + start as u32));
        let columns = all.computed.iter_mut().zip(&part.computed);
        columns.for_each(|(all, part)| all.extend(part));
    }
}

// ---- rows -----------------------------------------------------------------------------------------------------------

/// [`RowsOfKeys`], and how far they are.
pub(super) struct Rows<'a> {
    asked: RowsOfKeys<'a>,
    /// The types of its columns.
    types: &'a [ColumnType],
    rows_per_row: usize,
    states: Vec<Cow<'a, [u8]>>,
    /// For each key the time for which it waits by now.
    waiting: Vec<i64>,
    timers: Vec<i64>,
    outputs: Vec<OutputRows>,
    done: usize,
    /// For each key its number within a call, while that call is made.
    numbers: Vec<Option<u32>>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(
        asked: RowsOfKeys<'a>,
        types: &'a [ColumnType],
        rows_per_row: usize,
        description: &KeyedDescription,
    ) -> Self {
        Self {
            asked,
            types,
            rows_per_row,
            states: asked.states.iter().map(|state| Cow::Borrowed(*state)).collect(),
            waiting: asked.timers.to_vec(),
            timers: Vec::new(),
            outputs: nothing(description),
            done: 0,
            numbers: vec![None; asked.states.len()],
        }
    }

    pub(super) fn finish(self, refused: Option<RejectedInput>) -> KeyedProcessed {
        KeyedProcessed {
            applied: self.done as u32,
            states: self.states.into_iter().map(|state| state.into_owned().into()).collect(),
            timers: self.timers,
            outputs: self.outputs,
            refused,
        }
    }

    /// The keys of the rows, numbered in the order in which they come, and for each row that number.
    fn numbered(&mut self, rows: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let (mut members, mut keys) = (Vec::new(), Vec::with_capacity(rows.len()));
        for &key in rows {
            debug_assert!((key as usize) < self.states.len(), "a row of a key without a state");
            let Some(number) = self.numbers.get_mut(key as usize) else {
                continue;
            };
            keys.push(*number.get_or_insert_with(|| {
                members.push(key);
                members.len() as u32 - 1
            }));
        }
        for &key in &members {
            if let Some(number) = self.numbers.get_mut(key as usize) {
                *number = None;
            }
        }
        (members, keys)
    }
}

impl Work<KeyedWorld> for Rows<'_> {
    fn call(
        &mut self,
        guest: &mut Guest<KeyedWorld>,
        description: &KeyedDescription,
        part: Range<usize>,
    ) -> Result<(), Stopped> {
        let rows = part.len();
        let asked = self.asked;
        let (members, keys) = self.numbered(asked.keys.get(part.clone()).unwrap_or_default());
        let of_members = members.iter().filter_map(|&key| self.states.get(key as usize));
        let states = concatenated(of_members.map(|state| &**state))?;
        let timers = members.iter().filter_map(|&key| self.waiting.get(key as usize));
        let timers: Vec<i64> = timers.copied().collect();

        let whole = rows == asked.keys.len();
        let taken: Vec<u32> = (part.start as u32..part.end as u32).collect();
        let parts: Vec<Column> = match whole {
            true => Vec::new(),
            false => asked.columns.iter().map(|column| column.gather(&taken)).collect(),
        };
        let parts: Vec<&Column> = parts.iter().collect();
        let batch = keyed::Rows {
            keys: &keys,
            states: &states,
            timers: &timers,
            times_ms: asked.times_ms.get(part.clone()).unwrap_or_default(),
            event_times_us: asked.event_times_us.get(part.clone()).unwrap_or_default(),
            columns: if whole { asked.columns } else { &parts },
            types: self.types,
        };
        let most = self.rows_per_row;
        let (states, timers, outputs): Answer = ask(
            guest,
            rows,
            |function, store| function.process(store, batch, description),
            |given| {
                checked(given, rows, |(given, timers, mut outputs)| {
                    let states = states::states(given, members.len())?;
                    check_timers(&timers, if description.timers { rows } else { 0 }, |_| None)?;
                    check_outputs(&mut outputs, rows as u32, &description.outputs, most)?;
                    Ok((states, timers, outputs))
                })
            },
        )?;

        for (number, &key) in members.iter().enumerate() {
            if let Some(state) = self.states.get_mut(key as usize) {
                *state = Cow::Owned(states.get(number).to_vec());
            }
        }
        for (&number, &timer) in keys.iter().zip(&timers) {
            let key = members.get(number as usize).map_or(usize::MAX, |&key| key as usize);
            if let Some(waiting) = self.waiting.get_mut(key) {
                *waiting = timer;
            }
        }
        self.timers.extend(timers);
        append(&mut self.outputs, outputs, part.start);
        self.done = part.end;
        Ok(())
    }
}

/// Checks that a guest says of `count` keys or rows for which time they wait: later than `after`, where there is such a time.
///
/// # Errors
/// Which promise of the contract is broken.
fn check_timers(timers: &[i64], count: usize, after: impl Fn(usize) -> Option<i64>) -> Result<(), String> {
    if timers.len() != count {
        return Err(format!("it answered with {} timers instead of {count}", timers.len()));
    }
    let mut all = timers.iter().enumerate();
    let early = all.find_map(|(number, &timer)| Some((timer, after(number)?)).filter(|(timer, after)| timer <= after));
    match early {
        Some((timer, after)) => Err(format!(
            "a timer for {timer} was set when that for {after} came; accepted are later times"
        )),
        None => Ok(()),
    }
}

// ---- timers ---------------------------------------------------------------------------------------------------------

/// [`DueKeys`], and how far they are.
pub(super) struct Due<'a> {
    asked: DueKeys<'a>,
    rows_per_row: usize,
    states: Vec<Box<[u8]>>,
    timers: Vec<i64>,
    outputs: Vec<OutputRows>,
}

impl<'a> Due<'a> {
    pub(super) fn new(asked: DueKeys<'a>, rows_per_row: usize, description: &KeyedDescription) -> Self {
        Self {
            asked,
            rows_per_row,
            states: Vec::with_capacity(asked.states.len()),
            timers: Vec::with_capacity(asked.timers.len()),
            outputs: nothing(description),
        }
    }

    pub(super) fn finish(self, refused: Option<RejectedInput>) -> KeyedFired {
        KeyedFired {
            states: self.states,
            timers: self.timers,
            outputs: self.outputs,
            refused,
        }
    }
}

impl Work<KeyedWorld> for Due<'_> {
    fn call(
        &mut self,
        guest: &mut Guest<KeyedWorld>,
        description: &KeyedDescription,
        part: Range<usize>,
    ) -> Result<(), Stopped> {
        let keys = part.len();
        let states = concatenated(self.asked.states.get(part.clone()).unwrap_or_default().iter().copied())?;
        let came = self.asked.timers.get(part.clone()).unwrap_or_default();
        let most = self.rows_per_row;
        let (states, timers, outputs): Answer = ask(
            guest,
            0,
            |function, store| function.on_timers(store, &states, came, description),
            |given| {
                checked(given, keys, |(given, timers, mut outputs)| {
                    let states = states::states(given, keys)?;
                    check_timers(&timers, keys, |key| came.get(key).copied())?;
                    check_outputs(&mut outputs, keys as u32, &description.outputs, most)?;
                    let with_passed = outputs.iter().zip(&description.outputs);
                    let mut with_passed =
                        with_passed.filter(|(rows, output)| !output.passed.is_empty() && !rows.rows.is_empty());
                    match with_passed.next() {
                        Some((_, output)) => Err(format!(
                            "a row without an event for output \"{}\", which passes columns of events on",
                            output.name
                        )),
                        None => Ok((states, timers, outputs)),
                    }
                })
            },
        )?;
        self.states.extend((0..keys).map(|key| states.get(key).into()));
        self.timers.extend(timers);
        append(&mut self.outputs, outputs, part.start);
        Ok(())
    }
}

const _: () = assert!(NO_TIMER == i64::MAX, "the contract says so");
