//! Local days and hours.

use std::cell::Cell;
use std::fmt;

use crate::{LocalHour, ParameterField};

/// A time zone of the IANA database, such as `Asia/Shanghai`.
///
/// Its offsets come from the host's copy of the database (natively: from that of the `jiff` crate), asked for once per
/// transition. As a parameter it is a text, and a name that is not known is an error for the person who set it.
///
/// ```
/// use weir_guest::TimeZone;
///
/// let shanghai = TimeZone::new("Asia/Shanghai")?;
/// let nine = 1_773_536_400_000; // 2026-03-15T01:00:00Z
///
/// assert_eq!(shanghai.local_hour(nine), "2026031509");
/// assert_eq!(shanghai.start_of_day_ms(nine), nine - 9 * 3_600_000);
/// # Ok::<(), String>(())
/// ```
pub struct TimeZone {
    name: String,
    // The last answers. Most events are of the same day as the one before.
    offset: Cell<Span<Offset>>,
    day: Cell<Span<StartOfDay>>,
    date: Cell<Span<Date>>,
}

/// What holds for the instants from `first_ms` to `last_ms`, both included.
#[derive(Clone, Copy)]
struct Span<T> {
    first_ms: i64,
    last_ms: i64,
    holds: T,
}

#[derive(Clone, Copy)]
struct Offset {
    /// Added to UTC to get local time.
    s: i32,
}

#[derive(Clone, Copy)]
struct StartOfDay {
    /// The first instant of the day.
    ms: i64,
}

#[derive(Clone, Copy)]
struct Date {
    first_hour: LocalHour,
    /// When it would have begun by today's offset. Wraps around at the ends of `i64`, as does what is taken from it.
    midnight_ms: i64,
}

const HOUR_MS: u32 = 3_600_000;
const DAY_S: i64 = 86_400;

/// No offset is further from UTC, by the contract.
const OFFSET_MS_MAX: i64 = 93_599_000;

impl TimeZone {
    /// The zone of this name.
    ///
    /// # Errors
    ///
    /// A sentence for a person: the name is not known.
    pub fn new(name: impl Into<String>) -> Result<TimeZone, String> {
        let name = name.into();
        let offset = ask(&name, 0)?;
        Ok(TimeZone {
            offset: Cell::new(offset),
            day: Cell::new(day_of(&name, offset, 0)?),
            date: Cell::new(date_of(offset, 0)),
            name,
        })
    }

    /// The name that the zone was asked for by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Seconds to add to UTC at this instant to get local time.
    #[inline]
    pub fn offset_s_at(&self, instant_ms: i64) -> i32 {
        self.offset_at(instant_ms).holds.s
    }

    /// The first instant of the local day that holds this instant.
    ///
    /// That is midnight, and where a change of the clocks repeats midnight, the first of the two; where it skips midnight,
    /// the first instant after the gap.
    #[inline]
    pub fn start_of_day_ms(&self, instant_ms: i64) -> i64 {
        if !self.day.get().contains(instant_ms) {
            self.turn_to_day(instant_ms);
        }
        self.day.get().holds.ms
    }

    /// The local hour of this instant, whose fraction of a second is cut off toward 1970: -999 ms is second 0.
    #[inline]
    pub fn local_hour(&self, instant_ms: i64) -> LocalHour {
        // Rounds down to the same second as the instant cut off toward 1970.
        let instant_ms = if instant_ms < 0 { instant_ms + 999 } else { instant_ms };
        if !self.date.get().contains(instant_ms) {
            self.turn_to_date(instant_ms);
        }
        let date = self.date.get().holds;
        let of_day_ms = instant_ms.wrapping_sub(date.midnight_ms) as u32;
        date.first_hour.with_hour(of_day_ms / HOUR_MS)
    }

    #[cold]
    fn turn_to_day(&self, instant_ms: i64) {
        let day = day_of(&self.name, self.offset_at(instant_ms), instant_ms);
        self.day.set(day.unwrap_or_else(|error| self.lost(&error)));
    }

    #[cold]
    fn turn_to_date(&self, instant_ms: i64) {
        self.date.set(date_of(self.offset_at(instant_ms), instant_ms));
    }

    fn offset_at(&self, instant_ms: i64) -> Span<Offset> {
        if !self.offset.get().contains(instant_ms) {
            self.offset
                .set(ask(&self.name, instant_ms).unwrap_or_else(|error| self.lost(&error)));
        }
        self.offset.get()
    }

    #[cold]
    fn lost(&self, error: &str) -> ! {
        panic!("time zone {:?} was known and is no longer: {error}", self.name);
    }
}

impl<T> Span<T> {
    #[inline(always)]
    fn contains(&self, instant_ms: i64) -> bool {
        self.first_ms <= instant_ms && instant_ms <= self.last_ms
    }
}

impl Span<Offset> {
    /// The local day of an instant, in days since 1970-01-01.
    fn day(&self, instant_ms: i64) -> i64 {
        (instant_ms.div_euclid(1_000) + i64::from(self.holds.s)).div_euclid(DAY_S)
    }

    /// When clocks with this offset show that this day begins. In seconds, since the milliseconds may lie outside of
    /// `i64`.
    fn midnight_s(&self, day: i64) -> i64 {
        day * DAY_S - i64::from(self.holds.s)
    }

    fn midnight_ms(&self, day: i64) -> i64 {
        self.midnight_s(day).saturating_mul(1_000)
    }

    /// The part of a local day that this offset holds for.
    fn part_of_day<T>(&self, day: i64, holds: T) -> Span<T> {
        let until_ms = self.midnight_s(day + 1).checked_mul(1_000);
        Span {
            first_ms: self.midnight_ms(day).max(self.first_ms),
            last_ms: until_ms.map_or(i64::MAX, |until_ms| until_ms - 1).min(self.last_ms),
            holds,
        }
    }
}

/// The beginning of the local day of an instant, which `offset` holds for.
fn day_of(zone: &str, offset: Span<Offset>, instant_ms: i64) -> Result<Span<StartOfDay>, String> {
    let day = offset.day(instant_ms);
    // Back through the offsets, as long as the clocks came as far as this midnight under the one before too.
    let mut span = offset;
    let start_ms = loop {
        let start_ms = span.midnight_ms(day).max(span.first_ms);
        if span.first_ms == i64::MIN || start_ms.saturating_sub(span.first_ms) > 2 * OFFSET_MS_MAX {
            break start_ms;
        }
        let before = ask(zone, span.first_ms - 1)?;
        if before.midnight_ms(day) >= span.first_ms {
            break start_ms;
        }
        span = before;
    };
    Ok(offset.part_of_day(day, StartOfDay { ms: start_ms }))
}

/// The local date of an instant, which `offset` holds for.
fn date_of(offset: Span<Offset>, instant_ms: i64) -> Span<Date> {
    let day = offset.day(instant_ms);
    let date = Date {
        first_hour: LocalHour::first_of_day(day),
        midnight_ms: offset.midnight_s(day).wrapping_mul(1_000),
    };
    offset.part_of_day(day, date)
}

/// Asks the host.
#[cfg(target_family = "wasm")]
fn ask(zone: &str, instant_ms: i64) -> Result<Span<Offset>, String> {
    let answer = crate::bindings::weir::stage::time_zone::offset_at(zone, instant_ms)?;
    Ok(Span {
        first_ms: answer.valid_from_ms,
        last_ms: match answer.valid_until_ms {
            i64::MAX => i64::MAX,
            until_ms => until_ms - 1,
        },
        holds: Offset { s: answer.offset_s },
    })
}

/// Asks the copy of the database that `jiff` brings, as the host does.
#[cfg(not(target_family = "wasm"))]
fn ask(zone: &str, instant_ms: i64) -> Result<Span<Offset>, String> {
    use jiff::tz::{TimeZoneDatabase, TimeZoneTransition};
    use jiff::{SignedDuration, Timestamp};

    thread_local! {
        // Known for the thread's life: a zone is read in some microseconds.
        static DATABASE: TimeZoneDatabase = TimeZoneDatabase::bundled();
    }
    let accepted = "accepted are IANA names such as Asia/Shanghai, and UTC";
    let zone = DATABASE
        .with(|database| database.get(zone))
        .map_err(|_| format!("there is no time zone \"{zone}\"; {accepted}"))?;
    // Clocks change at whole seconds.
    let instant_s = instant_ms
        .div_euclid(1_000)
        .clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    let instant = Timestamp::from_second(instant_s).expect("within jiff's range");
    // `preceding` leaves out the transition at the very instant.
    let just_after = instant
        .saturating_add(SignedDuration::from_nanos(1))
        .expect("a duration of no calendar units");
    let at_ms = |transition: TimeZoneTransition| transition.timestamp().as_millisecond();
    Ok(Span {
        first_ms: zone.preceding(just_after).next().map_or(i64::MIN, at_ms),
        last_ms: zone.following(instant).next().map_or(i64::MAX, |next| at_ms(next) - 1),
        holds: Offset {
            s: zone.to_offset(instant).seconds(),
        },
    })
}

impl ParameterField for TimeZone {
    type Wire = String;

    fn from_wire(name: String) -> Result<TimeZone, String> {
        TimeZone::new(name)
    }
}

impl fmt::Debug for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimeZone({:?})", self.name)
    }
}

#[cfg(test)]
mod tests;
