//! Event time in a plan: which columns hold it, and what they count.
//!
//! The host compares times in microseconds since 1970-01-01T00:00:00Z, whatever a column counts: 64 bits of them reach
//! 292 000 years either way. What a column holds between two microseconds is no time (see [`TimeScale::in_us`]).

use crate::definition::{BoundsUnit, TimeUnit};

/// Microseconds of a millisecond.
pub const MS_US: i64 = 1_000;
/// Microseconds of a second.
pub const SECOND_US: i64 = 1_000 * MS_US;
/// Microseconds of a day of 24 hours.
pub const DAY_US: i64 = 86_400 * SECOND_US;

/// A column that holds the times of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeColumn {
    /// Its index.
    pub index: usize,
    /// What it counts.
    pub scale: TimeScale,
}

/// What a column of times counts, since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeScale {
    /// The unit.
    pub unit: TimeUnit,
    /// Whether a time finer than a microsecond is cut to the one before.
    pub truncates: bool,
}

impl TimeScale {
    /// What timestamps count.
    pub const OF_TIMESTAMPS: Self = Self {
        unit: TimeUnit::Microseconds,
        truncates: false,
    };

    /// The microseconds that are `value` of this unit. Nothing where they are no whole number (unless the column is cut), or
    /// beyond 64 bits.
    #[inline]
    pub fn in_us(self, value: i64) -> Option<i64> {
        match self.unit {
            TimeUnit::Seconds => value.checked_mul(SECOND_US),
            TimeUnit::Milliseconds => value.checked_mul(MS_US),
            TimeUnit::Microseconds => Some(value),
            TimeUnit::Nanoseconds if self.truncates || value % 1_000 == 0 => Some(value.div_euclid(1_000)),
            TimeUnit::Nanoseconds => None,
        }
    }
}

impl BoundsUnit {
    /// How an instant is shown.
    #[inline]
    pub fn of_us(self, instant_us: i64) -> i64 {
        match self {
            Self::Milliseconds => instant_us.div_euclid(MS_US),
            Self::Microseconds => instant_us,
        }
    }

    /// What a column counts that holds bounds.
    pub fn scale(self) -> TimeScale {
        let unit = match self {
            Self::Milliseconds => TimeUnit::Milliseconds,
            Self::Microseconds => TimeUnit::Microseconds,
        };
        TimeScale { unit, truncates: false }
    }
}

/// Milliseconds as microseconds; those that 64 bits do not hold are the farthest that they do.
#[inline]
pub fn ms_in_us(ms: i64) -> i64 {
    ms.saturating_mul(MS_US)
}
