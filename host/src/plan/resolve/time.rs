//! Durations, and when events happened.

use super::Resolver;
use crate::{
    column::{ColumnType, Schema},
    definition::Name,
    error::Result,
    plan::{EventColumn, EventTimePlan},
    text::duration,
};
use jiff::{Span, SpanTotal, Unit};
use std::ops::RangeInclusive;

/// Milliseconds of a day.
pub(super) const DAY_MS: i64 = 86_400_000;

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

    /// After how long a key is forgotten.
    pub(super) fn ttl(&self, text: Option<&Name>) -> Result<Option<i64>> {
        text.map(|text| self.duration(text, "ttl", 1..=DURATION_MS_MAX))
            .transpose()
    }

    /// When events happened, by the columns of the source.
    pub(super) fn event_time(&self, schema: &Schema) -> Result<EventTimePlan> {
        let Some(given) = &self.definition.event_time else {
            return Ok(EventTimePlan::default());
        };
        let given = given.get_ref();
        let column = match &given.column {
            None => None,
            Some(name) => {
                let index = self.column(schema, name, "the source")?;
                let found = schema.get(index).map_or(ColumnType::Int, |field| field.column_type);
                if found != ColumnType::Int {
                    return Err(self.at(
                        name,
                        format!(
                            "key `event_time.column`: column \"{}\" is {found}; accepted is an int of {}",
                            name.get_ref(),
                            given.unit.plural()
                        ),
                    ));
                }
                Some(EventColumn {
                    index,
                    unit: given.unit,
                })
            }
        };
        let ahead_max = given.ahead_max.as_ref();
        let ahead_max_ms = ahead_max.map(|text| self.duration(text, "ahead_max", 0..=DURATION_MS_MAX));
        Ok(EventTimePlan {
            column,
            out_of_orderness_ms: self.duration_or(given.out_of_orderness.as_ref(), "out_of_orderness", 0)?,
            ahead_max_ms: ahead_max_ms.transpose()?,
            followed: false,
        })
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
