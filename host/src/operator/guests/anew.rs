//! Results computed anew, where other guests go on with the states that there are.

use super::{Guest, Guests};
use crate::{limits::BATCH_EVENTS_MAX, model::row::push_cell, operator::accumulators::Group};

/// A state that a guest has no result of.
#[derive(Debug)]
pub struct NoResult {
    /// The number of the aggregate.
    pub number: usize,
    /// A sentence for a person.
    pub reason: String,
}

/// A group of which guests give others results by now than it holds.
#[derive(Debug)]
pub(in crate::operator) struct Renewed {
    pub(in crate::operator) key: Box<[u8]>,
    /// Each with the number of the aggregate, as a row of one cell.
    results: Vec<(usize, Vec<u8>)>,
}

impl Renewed {
    pub(in crate::operator) fn put_into(&self, group: &mut Group) {
        for (number, result) in &self.results {
            group.set_guest(*number, None, result);
        }
    }
}

#[cfg(test)]
mod tests;

impl Guests {
    /// Computes the results of groups anew, guest by guest. Gives the groups in which one is another than it was.
    ///
    /// # Errors
    /// The first state of which its guest has no result.
    pub(in crate::operator) fn results_anew<'s>(
        &mut self,
        groups: impl Iterator<Item = (&'s [u8], &'s Group)>,
    ) -> Result<Vec<Renewed>, NoResult> {
        // One without rows has no state, and its results are those of none.
        let groups: Vec<(&[u8], &Group)> = groups.filter(|(_, group)| group.rows > 0).collect();
        let mut renewed: Vec<Vec<(usize, Vec<u8>)>> = vec![Vec::new(); groups.len()];
        for guest in &mut self.guests {
            for (groups, renewed) in groups
                .chunks(BATCH_EVENTS_MAX)
                .zip(renewed.chunks_mut(BATCH_EVENTS_MAX))
            {
                guest.results_anew(groups, renewed)?;
            }
        }
        let renewed = groups.iter().zip(renewed);
        let renewed = renewed.filter(|(_, results)| !results.is_empty());
        let renewed = renewed.map(|((key, _), results)| Renewed {
            key: (*key).into(),
            results,
        });
        Ok(renewed.collect())
    }
}

impl Guest {
    /// For each group the result, where it is another.
    fn results_anew(
        &mut self,
        groups: &[(&[u8], &Group)],
        renewed: &mut [Vec<(usize, Vec<u8>)>],
    ) -> Result<(), NoResult> {
        let number = self.number;
        let states = groups.iter().map(|(_, group)| group.guest_state(number));
        let states: Vec<&[u8]> = states.map(Option::unwrap_or_default).collect();
        let given = self.running.results(&states);
        if let Some(refused) = given.refused {
            let reason = refused.reason;
            return Err(NoResult { number, reason });
        }
        for (row, ((_, group), renewed)) in groups.iter().zip(renewed).enumerate() {
            let mut result = Vec::new();
            push_cell(&mut result, given.column.get(row));
            if group.guest_result(number) != Some(&result) {
                renewed.push((number, result));
            }
        }
        Ok(())
    }
}
