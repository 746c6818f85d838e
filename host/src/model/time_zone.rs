//! Offsets of time zones, from the copy of the IANA database that is compiled in.

use jiff::{Timestamp, tz::TimeZone};

/// The offset of a zone, with the span for which it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneOffset {
    /// Seconds to add to UTC.
    pub offset_s: i32,
    /// The first instant of the span, in milliseconds since 1970-01-01T00:00:00Z; `i64::MIN` when there is none.
    pub valid_from_ms: i64,
    /// The first instant after the span; `i64::MAX` when there is none.
    pub valid_until_ms: i64,
}

/// The offset of `zone` at `instant_ms`; instants that no calendar covers have the offset of the nearest that it does.
///
/// # Errors
/// A sentence for a person: the name is not known.
pub fn offset_at(zone: &str, instant_ms: i64) -> Result<ZoneOffset, String> {
    let time_zone = TimeZone::get(zone).map_err(|_| {
        format!("there is no time zone \"{zone}\"; accepted are IANA names such as Asia/Shanghai, and UTC")
    })?;
    let nearest = if instant_ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let instant = Timestamp::from_millisecond(instant_ms).unwrap_or(nearest);
    // A transition is the first instant of its span, so one that falls on the instant itself counts as before it.
    let just_after = instant
        .checked_add(jiff::SignedDuration::from_nanos(1))
        .unwrap_or(instant);
    Ok(ZoneOffset {
        offset_s: time_zone.to_offset(instant).seconds(),
        valid_from_ms: time_zone
            .preceding(just_after)
            .next()
            .map_or(i64::MIN, |t| t.timestamp().as_millisecond()),
        valid_until_ms: time_zone
            .following(instant)
            .next()
            .map_or(i64::MAX, |t| t.timestamp().as_millisecond()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_ends_where_the_clocks_change() {
        // Berlin went from +01:00 to +02:00 at 2026-03-29T01:00:00Z.
        let change_ms = 1_774_746_000_000;
        let before = offset_at("Europe/Berlin", change_ms - 1).unwrap();
        let after = offset_at("Europe/Berlin", change_ms).unwrap();
        assert_eq!((before.offset_s, before.valid_until_ms), (3600, change_ms));
        assert_eq!((after.offset_s, after.valid_from_ms), (7200, change_ms));
    }

    #[test]
    fn instants_beyond_the_calendar_have_an_offset() {
        for instant_ms in [i64::MIN, i64::MAX] {
            assert!(offset_at("Asia/Shanghai", instant_ms).is_ok());
        }
        let far = offset_at("Asia/Shanghai", i64::MAX).unwrap();
        assert_eq!((far.offset_s, far.valid_until_ms), (28800, i64::MAX));
    }

    #[test]
    fn an_unknown_zone_is_named() {
        assert!(offset_at("Asia/Shanghay", 0).unwrap_err().contains("\"Asia/Shanghay\""));
    }
}
