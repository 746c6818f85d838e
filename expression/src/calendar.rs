//! Dates and times of the Gregorian calendar, without a library: days since 1970-01-01 and microseconds since its midnight in UTC.

use std::ops::RangeInclusive;

/// The timestamps that there are: the years 0 to 9999.
pub const TIMESTAMPS_US: RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

/// The dates that there are: the years 0 to 9999.
pub const DATES: RangeInclusive<i64> = -719_528..=2_932_896;

/// A second in microseconds.
pub const SECOND_US: i64 = 1_000_000;

/// A day in microseconds.
pub const DAY_US: i64 = 86_400 * SECOND_US;

/// A date and a time of day, in UTC or wherever the clock stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// 0 to 9999, and a year more on both sides where the clock is ahead or behind.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// Microseconds since midnight.
    pub us_of_day: i64,
}

impl Civil {
    /// The date and time that are so many microseconds after 1970-01-01T00:00:00.
    pub fn of_us(us: i64) -> Civil {
        let (year, month, day) = civil_of_days(us.div_euclid(DAY_US));
        Civil {
            year,
            month,
            day,
            us_of_day: us.rem_euclid(DAY_US),
        }
    }

    /// 0 to 23.
    pub fn hour(self) -> i64 {
        self.us_of_day / (3600 * SECOND_US)
    }

    /// 0 to 59.
    pub fn minute(self) -> i64 {
        self.us_of_day / (60 * SECOND_US) % 60
    }

    /// 0 to 59.
    pub fn second(self) -> i64 {
        self.us_of_day / SECOND_US % 60
    }

    /// 0 to 999,999.
    pub fn us_of_second(self) -> i64 {
        self.us_of_day % SECOND_US
    }

    /// Days since 1970-01-01.
    pub fn days(self) -> i64 {
        days_of_civil(self.year, self.month, self.day)
    }
}

/// How many days after 1970-01-01 a date is. The year begins in March here, so that a leap day is its last.
pub fn days_of_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// Year, month and day of the date that is so many days after 1970-01-01.
pub fn civil_of_days(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// How many days a month has.
pub fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The date of these three, where there is such in the years 0 to 9999.
pub fn date_of_parts(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_one =
        (0..=9999).contains(&year) && (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day);
    is_one.then(|| days_of_civil(year, month, day))
}

/// A date so many months later; of a month that is too short, the last day.
pub fn add_months(days: i64, months: i64) -> Option<i64> {
    let (year, month, day) = civil_of_days(days);
    let months = year.checked_mul(12)?.checked_add(month - 1)?.checked_add(months)?;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    date_of_parts(year, month, day.min(days_of_month(year, month)))
}

/// The day of the week, 1 for Monday to 7 for Sunday.
pub fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7) + 1
}

/// The day of the year, from 1.
pub fn day_of_year(days: i64) -> i64 {
    let (year, ..) = civil_of_days(days);
    days - days_of_civil(year, 1, 1) + 1
}

/// Year and number of the week by ISO 8601: the week of a Thursday is of the Thursday's year.
pub fn iso_week(days: i64) -> (i64, i64) {
    let thursday = days - weekday(days) + 4;
    let (year, ..) = civil_of_days(thursday);
    (year, (thursday - days_of_civil(year, 1, 1)) / 7 + 1)
}

/// Appends digits of at least this width.
pub fn push_padded(out: &mut Vec<u8>, value: i64, width: usize) {
    let text = value.to_string();
    out.resize(out.len() + width.saturating_sub(text.len()), b'0');
    out.extend_from_slice(text.as_bytes());
}

/// Appends a date in ISO 8601.
pub fn push_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil_of_days(days);
    push_padded(out, year, 4);
    out.push(b'-');
    push_padded(out, month, 2);
    out.push(b'-');
    push_padded(out, day, 2);
}

/// Appends a timestamp in UTC to the microsecond, such as `2026-03-15T04:00:00.000000Z`: all are as long, so that they sort as they are.
pub fn push_timestamp(out: &mut Vec<u8>, us: i64) {
    let civil = Civil::of_us(us);
    push_date(out, civil.days());
    out.push(b'T');
    push_padded(out, civil.hour(), 2);
    out.push(b':');
    push_padded(out, civil.minute(), 2);
    out.push(b':');
    push_padded(out, civil.second(), 2);
    out.push(b'.');
    push_padded(out, civil.us_of_second(), 6);
    out.push(b'Z');
}

/// Reads a date in ISO 8601, such as `2026-03-15`.
pub fn parse_date(text: &[u8]) -> Option<i64> {
    let mut left = text;
    let date = take_date(&mut left)?;
    left.is_empty().then_some(date)
}

/// Reads a timestamp as RFC 3339 has it, with `T` or a space and with an offset; seconds may be left out. What is finer than a
/// microsecond is cut, and a leap second counts as the second before it.
pub fn parse_timestamp(text: &[u8]) -> Option<i64> {
    let mut left = text;
    let days = take_date(&mut left)?;
    take(&mut left, |byte| matches!(byte, b'T' | b't' | b' '))?;
    let hour = digits(&mut left, 2).filter(|hour| *hour < 24)?;
    take(&mut left, |byte| byte == b':')?;
    let minute = digits(&mut left, 2).filter(|minute| *minute < 60)?;
    let (mut second, mut us) = (0, 0);
    if take(&mut left, |byte| byte == b':').is_some() {
        second = digits(&mut left, 2).filter(|second| *second <= 60)?.min(59);
        if take(&mut left, |byte| byte == b'.').is_some() {
            us = take_fraction(&mut left)?;
        }
    }
    let offset_s = match left.split_first()? {
        (b'Z' | b'z', rest) => {
            left = rest;
            0
        }
        (sign @ (b'+' | b'-'), rest) => {
            left = rest;
            let offset_s = take_offset(&mut left)?;
            if *sign == b'-' { -offset_s } else { offset_s }
        }
        _ => return None,
    };
    let of_day = hour * 3600 + minute * 60 + second - offset_s;
    let us = days * DAY_US + of_day * SECOND_US + us;
    (left.is_empty() && TIMESTAMPS_US.contains(&us)).then_some(us)
}

/// Takes the hours and minutes of an offset, in seconds.
pub(crate) fn take_offset(left: &mut &[u8]) -> Option<i64> {
    let hours = digits(left, 2).filter(|hours| *hours < 24)?;
    let _ = take(left, |byte| byte == b':');
    let minutes = digits(left, 2).filter(|minutes| *minutes < 60)?;
    Some(hours * 3600 + minutes * 60)
}

/// Takes the digits behind a point of a second, as microseconds.
pub(crate) fn take_fraction(left: &mut &[u8]) -> Option<i64> {
    let count = left.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, rest) = left.split_at_checked(count).filter(|_| count > 0)?;
    *left = rest;
    let mut us = 0;
    for place in 0..6 {
        us = us * 10 + fraction.get(place).map_or(0, |digit| i64::from(digit - b'0'));
    }
    Some(us)
}

fn take_date(left: &mut &[u8]) -> Option<i64> {
    let year = digits(left, 4)?;
    take(left, |byte| byte == b'-')?;
    let month = digits(left, 2)?;
    take(left, |byte| byte == b'-')?;
    let day = digits(left, 2)?;
    date_of_parts(year, month, day)
}

/// Takes one byte of this kind.
pub(crate) fn take(left: &mut &[u8], is: impl Fn(u8) -> bool) -> Option<u8> {
    let (first, rest) = left.split_first().filter(|(first, _)| is(**first))?;
    *left = rest;
    Some(*first)
}

/// Takes exactly so many digits.
pub(crate) fn digits(left: &mut &[u8], count: usize) -> Option<i64> {
    let (head, rest) = left.split_at_checked(count)?;
    let mut value = 0;
    for byte in head {
        value = value * 10 + i64::from(byte.is_ascii_digit().then(|| byte - b'0')?);
    }
    *left = rest;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date_text(days: i64) -> String {
        let mut out = Vec::new();
        push_date(&mut out, days);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_go_to_parts_and_back() {
        for days in DATES.step_by(7) {
            let (year, month, day) = civil_of_days(days);
            assert_eq!(date_of_parts(year, month, day), Some(days));
            assert_eq!(parse_date(date_text(days).as_bytes()), Some(days));
        }
        assert_eq!(date_text(0), "1970-01-01");
        assert_eq!((weekday(0), day_of_year(0), iso_week(0)), (4, 1, (1970, 1)));
        let (end, leap) = (date_of_parts(2024, 1, 31).unwrap(), date_of_parts(2024, 2, 29));
        assert_eq!((add_months(end, 1), add_months(end, 12_000_000)), (leap, None));
        assert_eq!(iso_week(date_of_parts(2021, 1, 3).unwrap()), (2020, 53));
    }

    #[test]
    fn timestamps_need_an_offset() {
        let us = parse_timestamp(b"2026-03-15T12:00:00.25+08:00").unwrap();
        let mut text = Vec::new();
        push_timestamp(&mut text, us);
        assert_eq!(text, b"2026-03-15T04:00:00.250000Z");
        for other in [
            "2026-03-15T12:00:00",
            "2026-03-15",
            "2026-02-29T00:00:00Z",
            "2026-03-15T24:00:00Z",
            "2026-03-15T12:00Zx",
        ] {
            assert_eq!(parse_timestamp(other.as_bytes()), None, "{other}");
        }
    }
}
