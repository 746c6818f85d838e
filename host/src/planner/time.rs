//! Durations, and when events happened.

use super::Binder;
use crate::{
    definition::{EventTime, Name, Now as DefinedNow, Spanned, TimeUnit},
    error::{OrDefect, Result},
    limits::{COMMIT_AT_MOST_EVERY, COMMIT_AT_MOST_EVERY_MAX},
    model::{column::ColumnType, ids::InputId, subject},
    plan::{DAY_US, EventTimePlan, MS_US, TickPlan, TimeColumn, TimeScale},
    text::duration,
};
use jiff::{Span, SpanRelativeTo};
use std::{ops::RangeInclusive, time::Duration};

/// The shortest time between two ticks: each is a message that stays in the stream.
const TICKS_US_MIN: i64 = 100 * MS_US;

/// The longest duration that a pipeline file may hold: some hundred years.
pub(super) const DURATION_US_MAX: i64 = 36_525 * DAY_US;

impl Binder<'_> {
    /// A duration such as `"5 min"`, in microseconds. Its bounds are those that `key` accepts.
    pub(super) fn duration(&self, text: &Name, key: &str, bounds: RangeInclusive<i64>) -> Result<i64> {
        let wrong = |accepted: &str| {
            self.at(
                text,
                format!("key `{key}` is \"{}\"; accepted is {accepted}", text.get_ref()),
            )
        };
        let parsed = text.get_ref().parse::<Span>().ok().and_then(in_us);
        let Some(duration_us) = parsed else {
            return Err(wrong(
                "a duration in whole microseconds such as 250 us, 500 ms, 10 s, 5 min, 1 h 30 min, 1 d, or 2 weeks",
            ));
        };
        if !bounds.contains(&duration_us) {
            let accepted = format!("{} to {}", duration(*bounds.start()), duration(*bounds.end()));
            return Err(wrong(&accepted));
        }
        Ok(duration_us)
    }

    /// As [`Binder::duration`]; `default_us` where nothing is said.
    pub(super) fn duration_or(&self, text: Option<&Name>, key: &str, default_us: i64) -> Result<i64> {
        text.map_or(Ok(default_us), |text| self.duration(text, key, 0..=DURATION_US_MAX))
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
        let most_us = COMMIT_AT_MOST_EVERY_MAX.as_micros() as i64;
        let every_us = self.duration(text, "commit.at_most_every", 0..=most_us)?;
        Ok(Duration::from_micros(every_us.unsigned_abs()))
    }

    /// After how long a key is forgotten.
    pub(super) fn ttl(&self, text: Option<&Name>) -> Result<Option<i64>> {
        text.map(|text| self.duration(text, "ttl", 1..=DURATION_US_MAX))
            .transpose()
    }

    /// Where each of the inputs says when its events happened.
    pub(super) fn event_columns(&mut self) -> Result<()> {
        for (input, column) in self.named_event_columns()? {
            let bound = self.inputs.get_mut(input);
            bound.or_defect(|| format!("input {input} is not bound"))?.event_column = Some(column);
        }
        Ok(())
    }

    /// What the times of events say of those that are to come.
    pub(super) fn event_time(&self) -> Result<EventTimePlan> {
        let Some(given) = &self.definition.event_time else {
            return Ok(EventTimePlan::default());
        };
        let given = given.get_ref();
        let ahead_max = given.ahead_max.as_ref();
        let ahead_max_us = ahead_max.map(|text| self.duration(text, "ahead_max", 0..=DURATION_US_MAX));
        Ok(EventTimePlan {
            out_of_orderness_us: self.duration_or(given.out_of_orderness.as_ref(), "out_of_orderness", 0)?,
            ahead_max_us: ahead_max_us.transpose()?,
            idle_after_us: self.idle_after(given)?,
            followed: false,
        })
    }

    fn idle_after(&self, given: &EventTime) -> Result<Option<i64>> {
        let Some(text) = &given.idle_after else { return Ok(None) };
        if self.inputs.len() < 2 {
            let message = "key `idle_after` goes with several inputs, which wait for each other; the source has one";
            return Err(self.at(text, message));
        }
        Ok(Some(self.duration(text, "idle_after", 1..=DURATION_US_MAX)?))
    }

    /// What is published while the stream is silent.
    pub(super) fn ticks(&self) -> Result<Option<TickPlan>> {
        let given = self.definition.event_time.as_ref().map(Spanned::get_ref);
        let Some(ticks) = given.and_then(|given| given.ticks.as_ref()) else {
            return Ok(None);
        };
        let (span, ticks) = (ticks.span(), ticks.get_ref());
        let every_us = self.duration(&ticks.every, "ticks.every", TICKS_US_MIN..=DURATION_US_MAX)?;
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
            every_ms: (every_us / MS_US).unsigned_abs(),
        }))
    }

    /// The columns that say it: what an input names itself, or else what the pipeline names for all.
    fn named_event_columns(&self) -> Result<Vec<(InputId, TimeColumn)>> {
        let of_pipeline = self.definition.event_time.as_ref().map(Spanned::get_ref);
        let unit = of_pipeline.map(|given| given.unit).unwrap_or_default();
        let truncates = of_pipeline.is_some_and(|given| given.truncate);
        let own = |input: InputId| {
            let inputs = self.definition.source.get_ref().inputs.as_ref()?.get_ref();
            inputs
                .get(&self.nodes.get(input.node())?.name)?
                .get_ref()
                .event_time
                .as_ref()
        };
        let mut columns = Vec::new();
        for input in self.inputs.ids() {
            if let Some(own) = own(input) {
                let scale = TimeScale {
                    unit: own.unit.unwrap_or(unit),
                    truncates: own.truncate.unwrap_or(truncates),
                };
                let of_input = self.event_columns_of(&own.column, "event_time.column", scale, &[input])?;
                self.check_unit(&own.column, own.unit.is_some() || own.truncate.is_some(), &of_input)?;
                columns.extend(of_input);
            }
        }
        if let Some(shared) = of_pipeline.and_then(|given| given.column.as_ref()) {
            let others: Vec<InputId> = self.inputs.ids().filter(|&input| own(input).is_none()).collect();
            if others.is_empty() {
                let message = "key `event_time.column`: every input names a column of its own; leave this one out";
                return Err(self.at(shared, message));
            }
            let scale = TimeScale { unit, truncates };
            let of_others = self.event_columns_of(shared, "event_time.column", scale, &others)?;
            self.check_unit(shared, scale != TimeScale::default(), &of_others)?;
            columns.extend(of_others);
        }
        Ok(columns)
    }

    /// Whether something counts what a unit says, where one is said.
    fn check_unit(&self, name: &Name, is_said: bool, columns: &[(InputId, TimeColumn)]) -> Result<()> {
        match is_said && columns.iter().all(|(input, _)| self.is_timestamp(*input, name)) {
            true => {
                let message = format!(
                    "keys `unit` and `truncate` of the event time go with an int; column \"{}\" is a timestamp, which says what it is",
                    name.get_ref()
                );
                Err(self.at(name, message))
            }
            false => Ok(()),
        }
    }

    fn is_timestamp(&self, input: InputId, name: &Name) -> bool {
        let mut columns = self.inputs.get(input).into_iter().flat_map(|bound| &bound.columns);
        let column = columns.find(|(field, _)| field.name == *name.get_ref());
        column.is_some_and(|(field, _)| field.column_type == ColumnType::Timestamp)
    }

    /// The column of this name in each of these inputs.
    fn event_columns_of(
        &self,
        name: &Name,
        key: &str,
        scale: TimeScale,
        inputs: &[InputId],
    ) -> Result<Vec<(InputId, TimeColumn)>> {
        self.check_input_times(name, key, (scale.unit, true), inputs)?;
        if scale.unit != TimeUnit::Milliseconds
            && matches!(&self.definition.now, DefinedNow::Column(now) if now.get_ref() == name.get_ref())
        {
            let message = format!(
                "key `{key}`: column \"{}\" counts {}, and key `now` takes it for milliseconds; name another column of \
                 milliseconds there, or leave `now` out",
                name.get_ref(),
                scale.unit.plural()
            );
            return Err(self.at(name, message));
        }
        let columns = inputs.iter().map(|&input| {
            let mut columns = self.inputs.get(input).into_iter().flat_map(|bound| &bound.columns);
            let index = columns.position(|(field, _)| field.name == *name.get_ref());
            let index = index.or_defect(|| format!("input {input} has no column \"{}\"", name.get_ref()))?;
            let scale = match self.is_timestamp(input, name) {
                true => TimeScale::OF_TIMESTAMPS,
                false => scale,
            };
            Ok((input, TimeColumn { index, scale }))
        });
        columns.collect()
    }
}

/// Whole microseconds; days have 24 hours here. Nothing where there are months, or less than a microsecond.
fn in_us(span: Span) -> Option<i64> {
    if span.get_years() != 0 || span.get_months() != 0 {
        return None;
    }
    let nanoseconds = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?.as_nanos();
    (nanoseconds % 1_000 == 0)
        .then(|| i64::try_from(nanoseconds / 1_000).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<i64> {
        text.parse::<Span>().ok().and_then(in_us)
    }

    #[test]
    fn durations_read_as_they_are_written() {
        for (text, us) in [
            ("250 us", 250),
            ("1 ms 500 us", 1_500),
            ("1.5 ms", 1_500),
            ("500 ms", 500_000),
            ("500ms", 500_000),
            ("10 s", 10_000_000),
            ("5 min", 300_000_000),
            ("5m", 300_000_000),
            ("1 h 30 min", 5_400_000_000),
            ("1 hour", 3_600_000_000),
            ("1 d", DAY_US),
            ("1 day", DAY_US),
            ("2 weeks", 14 * DAY_US),
            ("36525 d 1 us", 36_525 * DAY_US + 1),
            ("PT15M", 900_000_000),
            ("-5 min", -300_000_000),
            ("0s", 0),
            ("2000 ns", 2),
        ] {
            assert_eq!(parsed(text), Some(us), "{text}");
        }
        for text in ["", "5", "min", "1 month", "1 y", "100 ns", "1.5 fortnights"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
