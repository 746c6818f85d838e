//! What event time is made of.

use super::{choices::Choices, kinds::threshold::Swap};
use jiff::Timestamp;

/// What times and durations are made of.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// Whose clock cuts windows; UTC, when absent.
    pub zone: Option<&'static str>,
    /// When it begins, roughly.
    pub base_ms: i64,
    /// The unit of all durations and times.
    pub step_ms: i64,
    /// What all instants are multiples of at which clocks change or windows begin.
    pub tick_ms: i64,
    /// Whether windows are hours and days.
    pub is_civil: bool,
}

/// What the column of the event time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
}

/// The event time of a pipeline.
#[derive(Clone, Debug)]
pub struct EventTime {
    /// What times are made of.
    pub calendar: Calendar,
    /// What the column [`AT`] counts.
    pub unit: Unit,
    /// How far out of order events may come.
    pub out_of_orderness_ms: i64,
    /// Whether the time of events is that of `now`.
    pub by_now: bool,
}

/// When an event happened, and the watermark before and after it; or the place of a swap between two events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// When the event happened.
    pub time_ms: i64,
    /// The watermark before it.
    pub before_ms: i64,
    /// The watermark after it.
    pub after_ms: i64,
    /// The swap that takes place instead of an event: time stands still.
    pub swap: Option<Swap>,
}

/// The column that says when an event happened.
pub const AT: &str = "at";

/// A column that steps may take for the time of a row.
pub const OWN: &str = "own";

/// Changes of the clocks, and where they are not changed.
const ZONES: [(&str, &str, i64); 9] = [
    ("Europe/Berlin", "2026-03-29T01:00:00Z", 15),
    ("Europe/Berlin", "2026-10-25T01:00:00Z", 15),
    // Half an hour back, and forth.
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z", 15),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z", 15),
    // A midnight that is skipped, and one from which the clocks go back.
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z", 15),
    ("America/Sao_Paulo", "2018-02-18T02:00:00Z", 15),
    // A day that is skipped; and clocks that go back over midnight.
    ("Pacific/Apia", "2011-12-30T10:00:00Z", 15),
    ("America/St_Johns", "2010-11-07T02:31:00Z", 1),
    ("Asia/Shanghai", "2026-03-29T01:00:00Z", 15),
];

/// A minute.
pub(super) const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

impl Calendar {
    /// Times that are just numbers of milliseconds.
    pub fn of_milliseconds(base_ms: i64) -> Self {
        Self {
            zone: None,
            base_ms,
            step_ms: 1,
            tick_ms: 1,
            is_civil: false,
        }
    }

    fn draw(choices: &mut Choices<'_>) -> Self {
        let civil = |zone, base_ms, tick_min: i64| Self {
            zone,
            base_ms,
            step_ms: 15 * MINUTE_MS,
            tick_ms: tick_min * MINUTE_MS,
            is_civil: true,
        };
        match choices.below(16) {
            at @ 0..9 => {
                let bases = [0, 1_000, -37, 1_774_746_000_000];
                let step_ms = if at < 6 { 1 } else { 1000 };
                Self {
                    step_ms,
                    tick_ms: step_ms,
                    ..Self::of_milliseconds(bases[at % 4])
                }
            }
            9 => civil(None, 20_000 * DAY_MS, 15),
            _ => {
                let (zone, change, tick_min) = choices.one_of(&ZONES);
                let change: Timestamp = change.parse().expect("it is an instant");
                civil(Some(zone), change.as_millisecond() - 30 * HOUR_MS, tick_min)
            }
        }
    }

    /// One of some durations.
    pub(super) fn duration(&self, choices: &mut Choices<'_>, steps: &[i64]) -> i64 {
        choices.one_of(steps) * self.step_ms
    }
}

impl EventTime {
    /// Times of one kind or another.
    pub(super) fn draw(choices: &mut Choices<'_>) -> Self {
        let calendar = Calendar::draw(choices);
        let whole_seconds = calendar.step_ms % 1000 == 0 && calendar.base_ms % 1000 == 0;
        let units = [Unit::Milliseconds, Unit::Microseconds, Unit::Seconds];
        let unit = units[choices.below(if whole_seconds { 3 } else { 2 })];
        Self {
            out_of_orderness_ms: calendar.duration(choices, &[0, 1, 2, 5, 10, 30]),
            by_now: unit == Unit::Milliseconds && choices.below(3) == 0,
            calendar,
            unit,
        }
    }

    /// What the column [`AT`] holds at an instant.
    pub(super) fn at(&self, time_ms: i64) -> i64 {
        match self.unit {
            Unit::Seconds => time_ms / 1000,
            Unit::Milliseconds => time_ms,
            // The plain model counts milliseconds; what lies between them is for tests of its own.
            Unit::Microseconds => time_ms * 1000,
        }
    }

    /// The instant that the column [`AT`] means.
    pub(super) fn time_ms(&self, at: i64) -> i64 {
        match self.unit {
            Unit::Seconds => at * 1000,
            Unit::Milliseconds => at,
            Unit::Microseconds => at.div_euclid(1000),
        }
    }
}

/// The watermark around each event: the latest time so far, less what is allowed. Nothing stands for a dead letter.
pub fn moments(times_ms: &[Option<i64>], out_of_orderness_ms: i64) -> Vec<Moment> {
    let mut latest: Option<i64> = None;
    let moment = |time_ms: &Option<i64>| {
        let watermark_ms = |latest: Option<i64>| latest.map_or(i64::MIN, |latest| latest - out_of_orderness_ms);
        let before_ms = watermark_ms(latest);
        latest = latest.max(*time_ms);
        Moment {
            time_ms: time_ms.unwrap_or_default(),
            before_ms,
            after_ms: watermark_ms(latest),
            swap: None,
        }
    };
    times_ms.iter().map(moment).collect()
}
