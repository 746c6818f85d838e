//! Points of event time.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use crate::State;
use crate::local_hour::civil;

/// A point of event time, to the microsecond: when something happened, by the column that the pipeline names.
///
/// ```
/// use std::time::Duration;
/// use weir_guest::EventTime;
///
/// let at = EventTime::from_ms(1_773_576_000_000);
/// assert_eq!(at.to_string(), "2026-03-15T12:00:00.000000Z");
/// let later = at + Duration::from_secs(3600);
/// assert!(later > at);
/// assert_eq!(later.since(at), Duration::from_secs(3600));
/// assert_eq!(at.since(later), Duration::ZERO);
/// ```
///
/// With the feature `jiff` it is made of a `jiff::Timestamp` with `from`, and becomes one with `timestamp`. A
/// [`State`] can hold it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime {
    us: i64,
}

impl EventTime {
    /// The point so many microseconds after 1970-01-01T00:00:00Z.
    pub const fn from_us(us: i64) -> EventTime {
        EventTime { us }
    }

    /// The point so many milliseconds after 1970-01-01T00:00:00Z; the last one there is where that is further than
    /// microseconds reach.
    pub const fn from_ms(ms: i64) -> EventTime {
        EventTime {
            us: ms.saturating_mul(1_000),
        }
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn us(self) -> i64 {
        self.us
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, rounded down.
    pub const fn ms(self) -> i64 {
        self.us.div_euclid(1_000)
    }

    /// How long after `earlier` it is; nothing where it is not later.
    pub fn since(self, earlier: EventTime) -> Duration {
        let us = i128::from(self.us) - i128::from(earlier.us);
        Duration::from_micros(us.max(0) as u64)
    }

    /// As a type of `jiff`. With the feature `jiff`.
    ///
    /// # Panics
    ///
    /// It is past 9999-12-30T22:00:00Z, or before the year -9999.
    #[cfg(feature = "jiff")]
    pub fn timestamp(self) -> jiff::Timestamp {
        match jiff::Timestamp::from_microsecond(self.us) {
            Ok(timestamp) => timestamp,
            Err(_) => panic!("the event time {self} is no time that jiff has"),
        }
    }
}

/// What is finer than a microsecond is cut.
#[cfg(feature = "jiff")]
impl From<jiff::Timestamp> for EventTime {
    fn from(timestamp: jiff::Timestamp) -> EventTime {
        EventTime::from_us(timestamp.as_microsecond())
    }
}

/// Stays at the last point there is.
impl Add<Duration> for EventTime {
    type Output = EventTime;

    fn add(self, duration: Duration) -> EventTime {
        let us = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        EventTime::from_us(self.us.saturating_add(us))
    }
}

/// Stays at the first point there is.
impl Sub<Duration> for EventTime {
    type Output = EventTime;

    fn sub(self, duration: Duration) -> EventTime {
        let us = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        EventTime::from_us(self.us.saturating_sub(us))
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND_US: i64 = 1_000_000;
        let (year, month, day) = civil(self.us.div_euclid(86_400 * SECOND_US));
        let of_day_us = self.us.rem_euclid(86_400 * SECOND_US);
        let (second, us) = (of_day_us / SECOND_US, of_day_us % SECOND_US);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z"
        )
    }
}

impl fmt::Debug for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventTime({self})")
    }
}

impl State for EventTime {
    const BYTES_MAX: Option<usize> = i64::BYTES_MAX;

    fn layout() -> String {
        "event-time".to_owned()
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        self.us.encode(bytes);
    }

    fn encoded_bytes(&self) -> usize {
        self.us.encoded_bytes()
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        i64::decode(bytes).map(EventTime::from_us)
    }
}

/// What a keyed function can take a point of event time as: [`EventTime`], or with the feature `jiff` a `jiff::Timestamp`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no event time",
    label = "not an event time",
    note = "besides the row a keyed function takes `at: EventTime`, a `&Context<Settings>` or `&Settings`, and `timers: &mut Timers`",
    note = "with the feature `jiff` of `weir-guest`, `at` may be a `Timestamp` of jiff"
)]
pub trait Time {
    #[doc(hidden)]
    fn of(at: EventTime) -> Self;
}

impl Time for EventTime {
    #[inline(always)]
    fn of(at: EventTime) -> EventTime {
        at
    }
}

#[cfg(feature = "jiff")]
impl Time for jiff::Timestamp {
    #[inline(always)]
    fn of(at: EventTime) -> jiff::Timestamp {
        at.timestamp()
    }
}
