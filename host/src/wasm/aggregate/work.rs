//! What is asked of an aggregate, in parts that can be cut anywhere.

use super::answer;
use crate::{
    limits::GUEST_CALL_STATE_BYTES_MAX,
    model::{
        column::{Column, ColumnType},
        guest::{Accumulate, Accumulated, AggregateDescription, RejectedInput},
    },
    wasm::{
        guest::Guest,
        halving::{Stopped, Work, ask, concatenated},
        states::{self, checked},
        worlds::aggregate::{self, AggregateWorld},
    },
};
use std::{borrow::Cow, ops::Range};

// ---- rows -----------------------------------------------------------------------------------------------------------

/// [`Accumulate`], and how far it is.
pub(super) struct Rows<'a> {
    asked: Accumulate<'a>,
    /// The types of its columns.
    types: &'a [ColumnType],
    states: Vec<Cow<'a, [u8]>>,
    results: Column,
    /// For each group its number within a call, while that call is made.
    numbers: Vec<Option<u32>>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(asked: Accumulate<'a>, types: &'a [ColumnType], description: &AggregateDescription) -> Self {
        Self {
            asked,
            types,
            states: asked.states.iter().map(|state| Cow::Borrowed(*state)).collect(),
            results: Column::with_capacity(description.result.column_type, 0),
            numbers: vec![None; asked.states.len()],
        }
    }

    pub(super) fn finish(self, refused: Option<RejectedInput>) -> Accumulated {
        Accumulated {
            applied: self.results.len() as u32,
            states: self.states.into_iter().map(|state| state.into_owned().into()).collect(),
            results: self.results,
            refused,
        }
    }

    /// The groups of the rows, numbered in the order in which they come, and for each row that number.
    fn numbered(&mut self, rows: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let mut members = Vec::new();
        let mut groups = Vec::with_capacity(rows.len());
        for &group in rows {
            debug_assert!((group as usize) < self.states.len(), "a row of a group without a state");
            let Some(number) = self.numbers.get_mut(group as usize) else {
                continue;
            };
            groups.push(*number.get_or_insert_with(|| {
                members.push(group);
                members.len() as u32 - 1
            }));
        }
        for &group in &members {
            if let Some(number) = self.numbers.get_mut(group as usize) {
                *number = None;
            }
        }
        (members, groups)
    }
}

impl Work<AggregateWorld> for Rows<'_> {
    fn call(
        &mut self,
        guest: &mut Guest<AggregateWorld>,
        description: &AggregateDescription,
        part: Range<usize>,
    ) -> Result<(), Stopped> {
        let rows = part.len();
        let asked = self.asked;
        let (members, groups) = self.numbered(asked.groups.get(part.clone()).unwrap_or_default());
        let states = members.iter().filter_map(|&group| self.states.get(group as usize));
        let states = concatenated(states.map(|state| &**state))?;

        let whole = rows == asked.groups.len();
        let taken: Vec<u32> = (part.start as u32..part.end as u32).collect();
        let parts: Vec<Column> = match whole {
            true => Vec::new(),
            false => asked.columns.iter().map(|column| column.gather(&taken)).collect(),
        };
        let parts: Vec<&Column> = parts.iter().collect();
        let batch = aggregate::Rows {
            groups: &groups,
            states: &states,
            retracts: asked.retracts.map(|retracts| retracts.get(part).unwrap_or_default()),
            columns: if whole { asked.columns } else { &parts },
            types: self.types,
        };
        let result = description.result;
        let (states, results) = ask(
            guest,
            rows,
            |aggregate, store| aggregate.accumulate(store, batch, result),
            |given| {
                checked(given, rows, |(given, results)| {
                    Ok((
                        states::states(given, members.len())?,
                        answer::results(results, result, rows)?,
                    ))
                })
            },
        )?;

        for (number, &group) in members.iter().enumerate() {
            if let Some(state) = self.states.get_mut(group as usize) {
                *state = Cow::Owned(states.get(number).to_vec());
            }
        }
        match self.results.is_empty() {
            true => self.results = results,
            false => self.results.extend(&results),
        }
        Ok(())
    }
}

// ---- pairs ----------------------------------------------------------------------------------------------------------

/// Pairs of states to be merged, and how far that is.
pub(super) struct Pairs<'a> {
    pub(super) into: &'a [&'a [u8]],
    pub(super) from: &'a [&'a [u8]],
    pub(super) merged: Vec<Box<[u8]>>,
}

impl Work<AggregateWorld> for Pairs<'_> {
    fn call(
        &mut self,
        guest: &mut Guest<AggregateWorld>,
        _: &AggregateDescription,
        part: Range<usize>,
    ) -> Result<(), Stopped> {
        let pairs = part.len();
        let states = |of: &[&[u8]]| concatenated(of.get(part.clone()).unwrap_or_default().iter().copied());
        let (into, from) = (states(self.into)?, states(self.from)?);
        if pairs > 1 && into.data.len() + from.data.len() > GUEST_CALL_STATE_BYTES_MAX {
            return Err(Stopped::TooMuch);
        }
        let merged = ask(
            guest,
            0,
            |aggregate, store| aggregate.merge(store, &into, &from),
            |given| checked(given, pairs, |given| states::states(given, pairs)),
        )?;
        self.merged.extend((0..pairs).map(|pair| merged.get(pair).into()));
        Ok(())
    }
}

// ---- states ---------------------------------------------------------------------------------------------------------

/// States whose results are wanted, and how far that is.
pub(super) struct States<'a> {
    pub(super) states: &'a [&'a [u8]],
    pub(super) results: Column,
}

impl Work<AggregateWorld> for States<'_> {
    fn call(
        &mut self,
        guest: &mut Guest<AggregateWorld>,
        description: &AggregateDescription,
        part: Range<usize>,
    ) -> Result<(), Stopped> {
        let count = part.len();
        let states = concatenated(self.states.get(part).unwrap_or_default().iter().copied())?;
        let results = ask(
            guest,
            0,
            |aggregate, store| aggregate.results(store, &states, description.result),
            |given| checked(given, count, |given| answer::results(given, description.result, count)),
        )?;
        self.results.extend(&results);
        Ok(())
    }
}
