//! Results of guests computed anew, in the windows that are open.

use super::{Open, Windows};
use crate::operator::guests::{Guests, NoResult};

impl Windows {
    /// See [`crate::operator::Operator::results_anew`]. What was emitted becomes what is emitted by now, where nothing waits to be
    /// emitted; where something does, that brings the results along.
    pub(in crate::operator::window) fn results_anew(
        &mut self,
        bucket: usize,
        guests: &mut Guests,
    ) -> Result<(), NoResult> {
        let groups = self.open.bucket(bucket);
        let renewed = guests.results_anew(groups.map(|(key, window)| (key, &window.group)))?;
        let end_in = self.shows_end();
        let Self {
            open,
            values,
            aggregates,
            ..
        } = self;
        for renewed in renewed {
            open.modify(&renewed.key, |window| {
                let Some(window) = window else { return false };
                let results = |window: &Open| window.results(&renewed.key, end_in, aggregates, values);
                let is_emitted = window.emitted.is_some() && window.emitted.as_deref() == results(window).as_deref();
                renewed.put_into(&mut window.group);
                if is_emitted {
                    window.emitted = results(window).map(Into::into);
                }
                true
            });
        }
        Ok(())
    }
}
