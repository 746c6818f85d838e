//! An hour of a local day, as text.

use crate::{Computed, TextColumn};

/// An hour of a local day: `yyyyMMddHH`, as in `2026031509`.
///
/// A year past 9999 has more digits, and one before 0 a minus sign: every `i64` of milliseconds has its hour. The
/// calendar is the Gregorian one throughout. [`TimeZone::local_hour`](crate::TimeZone::local_hour) makes them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LocalHour {
    text: [u8; LEN_MAX],
    len: u8,
}

/// The year -292275055 (of the lowest `i64` of milliseconds), then month, day and hour.
const LEN_MAX: usize = 10 + 6;
const HALF: usize = LEN_MAX / 2;

impl LocalHour {
    /// The first hour of the day `days` after 1970-01-01.
    pub(crate) fn first_of_day(days: i64) -> LocalHour {
        let (year, month, day) = civil(days);
        let mut hour = LocalHour {
            text: [0; LEN_MAX],
            len: 0,
        };
        if year < 0 {
            hour.push_digit(b'-');
        }
        let year = year.unsigned_abs();
        for ten_to in (0..year.checked_ilog10().unwrap_or(0).max(3) + 1).rev() {
            hour.push_digit(b'0' + (year / 10_u64.pow(ten_to) % 10) as u8);
        }
        for two_digits in [month, day, 0] {
            hour.push_digit(b'0' + (two_digits / 10) as u8);
            hour.push_digit(b'0' + (two_digits % 10) as u8);
        }
        hour
    }

    fn push_digit(&mut self, digit: u8) {
        self.text[usize::from(self.len)] = digit;
        self.len += 1;
    }

    /// Another hour of the same day, whose first this is: 0 to 23.
    #[inline(always)]
    pub(crate) fn with_hour(mut self, hour: u32) -> LocalHour {
        // The hour's two digits, both '0' so far, lie in the second half whatever the year is. Written into it one by
        // one, they would stall the copy that follows.
        let digits = u64::from((hour / 10) | ((hour % 10) << 8));
        if let Some((_, half)) = self.text.split_last_chunk_mut::<HALF>() {
            *half = (u64::from_le_bytes(*half) + (digits << (8 * (usize::from(self.len) - 2 - HALF)))).to_le_bytes();
        }
        self
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.text[..usize::from(self.len)]).expect("an hour is written in ASCII")
    }
}

/// The date of the day `days` after 1970-01-01, as year, month and day.
///
/// The calendar repeats every 400 years, which are 146 097 days. Years are counted from March, so that the day that comes
/// and goes is a year's last: <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>. The crates that
/// know calendars end with the year 9999.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_TO_1970: i64 = 719_468; // from 0000-03-01
    let days = days + DAYS_TO_1970;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

impl Computed for LocalHour {
    type Column = TextColumn;

    #[inline(always)]
    fn append_to(&self, column: &mut TextColumn) {
        column.push_short(&self.text, usize::from(self.len));
    }
}

impl std::fmt::Display for LocalHour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for LocalHour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LocalHour({self})")
    }
}

impl PartialEq<str> for LocalHour {
    fn eq(&self, text: &str) -> bool {
        self.as_str() == text
    }
}

impl PartialEq<&str> for LocalHour {
    fn eq(&self, text: &&str) -> bool {
        self.as_str() == *text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_from_year_minus_9999_to_9999_is_the_one_that_jiff_counts() {
        let mut date = jiff::civil::Date::MIN;
        let first = date.duration_since(jiff::civil::date(1970, 1, 1)).as_hours() / 24;
        for days in first.. {
            assert_eq!(
                civil(days),
                (date.year().into(), date.month().into(), date.day().into())
            );
            match date.tomorrow() {
                Ok(tomorrow) => date = tomorrow,
                Err(_) => break,
            }
        }
        assert_eq!(date, jiff::civil::Date::MAX);
    }

    #[test]
    fn a_year_has_at_least_four_digits_and_as_many_as_it_needs() {
        let days = |year: i64| (year - 1970) * 146_097 / 400;
        for (year, text) in [
            (0, "0000"),
            (-7, "-0007"),
            (987, "0987"),
            (10_000, "10000"),
            (-12_345, "-12345"),
        ] {
            let hour = LocalHour::first_of_day(days(year) + 180).with_hour(7);
            assert!(hour.as_str().starts_with(text), "{hour}");
            assert!(hour.as_str().ends_with("07"), "{hour}");
            assert_eq!(hour.as_str().len(), text.len() + 6);
        }
    }
}
