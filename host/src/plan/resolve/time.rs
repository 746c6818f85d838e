//! Durations, and when events happened.

use super::Resolver;
use crate::{
    definition::{EventTime, Name, TimeUnit},
    error::Result,
    limits::{COMMIT_AT_MOST_EVERY, COMMIT_AT_MOST_EVERY_MAX},
    plan::{EventColumn, EventTimePlan, TickPlan},
    subject,
    text::duration,
};
use jiff::{Span, SpanTotal, Unit};
use serde_spanned::Spanned;
use std::{ops::RangeInclusive, time::Duration};

/// Milliseconds of a day.
pub(super) const DAY_MS: i64 = 86_400_000;

/// The shortest time between two ticks: each is a message that stays in the stream.
const TICKS_MS_MIN: i64 = 100;

/// The longest duration that a pipeline file may hold: some hundred years.
pub(super) const DURATION_MS_MAX: i64 = 36_525 * DAY_MS;

impl Resolver<'_> {
    /// A duration such as `"5 min"`, in milliseconds. Its bounds are those that `key` accepts.
    pub(super) fn duration(&self, text: &Name, key: &str, bounds: RangeInclusive<i64>) -> Result<i64> {
        let wrong = |accepted: &str| {
            self.at(
                text,
                format!("key `{key}` is \"{}\"; accepted is {accepted}", text.get_ref()),
            )
        };
        let parsed = text.get_ref().parse::<Span>().ok().and_then(in_ms);
        let Some(duration_ms) = parsed else {
            return Err(wrong(
                "a duration in whole milliseconds such as 500 ms, 10 s, 5 min, 1 h 30 min, 1 d, or 2 weeks",
            ));
        };
        if !bounds.contains(&duration_ms) {
            let accepted = format!("{} to {}", duration(*bounds.start()), duration(*bounds.end()));
            return Err(wrong(&accepted));
        }
        Ok(duration_ms)
    }

    /// As [`Resolver::duration`]; `default_ms` where nothing is said.
    pub(super) fn duration_or(&self, text: Option<&Name>, key: &str, default_ms: i64) -> Result<i64> {
        text.map_or(Ok(default_ms), |text| self.duration(text, key, 0..=DURATION_MS_MAX))
    }

    /// How long there is at least between two commits.
    pub(super) fn commit_at_most_every(&self) -> Result<Duration> {
        let given = self
            .definition
            .commit
            .as_ref()
            .and_then(|commit| commit.at_most_every.as_ref());
        let Some(text) = given else {
            return Ok(COMMIT_AT_MOST_EVERY);
        };
        let most_ms = COMMIT_AT_MOST_EVERY_MAX.as_millis() as i64;
        let every_ms = self.duration(text, "commit.at_most_every", 0..=most_ms)?;
        Ok(Duration::from_millis(every_ms.unsigned_abs()))
    }

    /// After how long a key is forgotten.
    pub(super) fn ttl(&self, text: Option<&Name>) -> Result<Option<i64>> {
        text.map(|text| self.duration(text, "ttl", 1..=DURATION_MS_MAX))
            .transpose()
    }

    /// When events happened, in each of the inputs.
    pub(super) fn event_time(&mut self) -> Result<EventTimePlan> {
        for (input, column) in self.event_columns()? {
            if let Some(input) = self.inputs.get_mut(input) {
                input.event_column = Some(column);
            }
        }
        let Some(given) = &self.definition.event_time else {
            return Ok(EventTimePlan::default());
        };
        let given = given.get_ref();
        let ahead_max = given.ahead_max.as_ref();
        let ahead_max_ms = ahead_max.map(|text| self.duration(text, "ahead_max", 0..=DURATION_MS_MAX));
        Ok(EventTimePlan {
            out_of_orderness_ms: self.duration_or(given.out_of_orderness.as_ref(), "out_of_orderness", 0)?,
            ahead_max_ms: ahead_max_ms.transpose()?,
            idle_after_ms: self.idle_after(given)?,
            followed: false,
        })
    }

    fn idle_after(&self, given: &EventTime) -> Result<Option<i64>> {
        let Some(text) = &given.idle_after else { return Ok(None) };
        if self.inputs.len() < 2 {
            let message = "key `idle_after` goes with several inputs, which wait for each other; the source has one";
            return Err(self.at(text, message));
        }
        Ok(Some(self.duration(text, "idle_after", 1..=DURATION_MS_MAX)?))
    }

    /// What is published while the stream is silent.
    pub(super) fn ticks(&self) -> Result<Option<TickPlan>> {
        let given = self.definition.event_time.as_ref().map(Spanned::get_ref);
        let Some(ticks) = given.and_then(|given| given.ticks.as_ref()) else {
            return Ok(None);
        };
        let (span, ticks) = (ticks.span(), ticks.get_ref());
        let every_ms = self.duration(&ticks.every, "ticks.every", TICKS_MS_MIN..=DURATION_MS_MAX)?;
        let (text, at) = match (&ticks.subject, self.inputs.as_slice()) {
            (Some(subject), _) => (subject.get_ref().as_str(), subject.span()),
            (None, [input]) => (input.subject.as_str(), span),
            (None, _) => {
                let message = "key `ticks`: the source has several inputs; say with key `subject` where ticks go";
                return Err(self.error(span, message));
            }
        };
        let taken_in = self.inputs.iter().any(|input| subject::matches(&input.subject, text));
        if !subject::is_subject(text) || !taken_in {
            let subjects: Vec<&str> = self.inputs.iter().map(|input| input.subject.as_str()).collect();
            return Err(self.error(
                at,
                format!(
                    "key `ticks`: they would go to \"{text}\"; accepted is a subject without wildcards that the source takes \
                     in, which reads {}: say one with key `subject`",
                    subject::listed(&subjects)
                ),
            ));
        }
        Ok(Some(TickPlan {
            subject: text.to_owned(),
            every_ms: every_ms.unsigned_abs(),
        }))
    }

    /// The columns that say it: what an input names itself, or else what the pipeline names for all.
    fn event_columns(&self) -> Result<Vec<(usize, EventColumn)>> {
        let of_pipeline = self.definition.event_time.as_ref().map(Spanned::get_ref);
        let unit = of_pipeline.map(|given| given.unit).unwrap_or_default();
        let own = |input: usize| {
            let inputs = self.definition.source.get_ref().inputs.as_ref()?.get_ref();
            inputs.get(&self.nodes.get(input)?.name)?.get_ref().event_time.as_ref()
        };
        let mut columns = Vec::new();
        for input in 0..self.inputs.len() {
            if let Some(own) = own(input) {
                let unit = own.unit.unwrap_or(unit);
                columns.extend(self.event_columns_of(&own.column, "event_time.column", unit, &[input])?);
            }
        }
        if let Some(shared) = of_pipeline.and_then(|given| given.column.as_ref()) {
            let others: Vec<usize> = (0..self.inputs.len()).filter(|&input| own(input).is_none()).collect();
            if others.is_empty() {
                let message = "key `event_time.column`: every input names a column of its own; leave this one out";
                return Err(self.at(shared, message));
            }
            columns.extend(self.event_columns_of(shared, "event_time.column", unit, &others)?);
        }
        Ok(columns)
    }

    /// The column of this name in each of these inputs.
    fn event_columns_of(
        &self,
        name: &Name,
        key: &str,
        unit: TimeUnit,
        inputs: &[usize],
    ) -> Result<Vec<(usize, EventColumn)>> {
        self.check_input_times(name, key, unit, inputs)?;
        let column = |&input: &usize| {
            let mut columns = self.inputs.get(input)?.columns.iter();
            let index = columns.position(|(field, _)| field.name == *name.get_ref())?;
            Some((input, EventColumn { index, unit }))
        };
        Ok(inputs.iter().filter_map(column).collect())
    }
}

/// Whole milliseconds; days have 24 hours here. Nothing where there are months, or less than a millisecond.
fn in_ms(span: Span) -> Option<i64> {
    if span.get_years() != 0 || span.get_months() != 0 {
        return None;
    }
    let total = span.total(SpanTotal::from(Unit::Nanosecond).days_are_24_hours()).ok()?;
    let ms = total / 1e6;
    (ms.fract() == 0.0 && ms.abs() < 1e18).then_some(ms as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<i64> {
        text.parse::<Span>().ok().and_then(in_ms)
    }

    #[test]
    fn durations_read_as_they_are_written() {
        for (text, ms) in [
            ("500 ms", 500),
            ("500ms", 500),
            ("10 s", 10_000),
            ("5 min", 300_000),
            ("5m", 300_000),
            ("1 h 30 min", 5_400_000),
            ("1 hour", 3_600_000),
            ("1 d", DAY_MS),
            ("1 day", DAY_MS),
            ("2 weeks", 14 * DAY_MS),
            ("PT15M", 900_000),
            ("-5 min", -300_000),
            ("0s", 0),
        ] {
            assert_eq!(parsed(text), Some(ms), "{text}");
        }
        for text in ["", "5", "min", "1 month", "1 y", "100 us", "1.5 fortnights"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
