use jiff::tz::{AmbiguousOffset, TimeZone as Jiff, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};

use super::*;

fn ms(instant: &str) -> i64 {
    instant.parse::<Timestamp>().unwrap().as_millisecond()
}

#[track_caller]
fn check_start_of_day(zone: &str, instant: &str, start: &str) {
    let start_ms = TimeZone::new(zone).unwrap().start_of_day_ms(ms(instant));
    assert_eq!(Timestamp::from_millisecond(start_ms).unwrap().to_string(), start);
}

#[test]
fn a_day_begins_at_local_midnight() {
    check_start_of_day("Asia/Shanghai", "2026-03-15T12:00:00+08:00", "2026-03-14T16:00:00Z");
    check_start_of_day("Asia/Shanghai", "2026-03-15T00:00:00+08:00", "2026-03-14T16:00:00Z");
    check_start_of_day("Asia/Shanghai", "2026-03-14T23:59:59.999+08:00", "2026-03-13T16:00:00Z");
    check_start_of_day("UTC", "1969-12-31T23:59:59.999Z", "1969-12-31T00:00:00Z");
    assert_eq!(
        TimeZone::new("Asia/Shanghai")
            .unwrap()
            .start_of_day_ms(1_773_547_200_000),
        1_773_504_000_000
    );
}

#[test]
fn a_midnight_that_is_skipped_gives_way_to_the_first_instant_after_the_gap() {
    // 00:00 to 01:00.
    check_start_of_day("America/Sao_Paulo", "2018-11-04T12:00:00-02:00", "2018-11-04T03:00:00Z");
    // 23:30 to 00:30.
    check_start_of_day("America/Toronto", "1919-03-31T12:00:00-04:00", "1919-03-31T04:30:00Z");
    // The whole of 2011-12-30.
    check_start_of_day("Pacific/Apia", "2011-12-31T12:00:00+14:00", "2011-12-30T10:00:00Z");
}

#[test]
fn of_two_midnights_the_first_begins_the_day() {
    // 01:00 to 00:00, so that the hour after midnight is there twice.
    for instant in [
        "2025-11-02T00:30:00-04:00",
        "2025-11-02T00:30:00-05:00",
        "2025-11-02T12:00:00-05:00",
    ] {
        check_start_of_day("America/Havana", instant, "2025-11-02T04:00:00Z");
    }
    // 00:01 to 23:01 of the day before: that day goes on after the next one has begun.
    for instant in [
        "2006-10-29T00:00:30-02:30",
        "2006-10-29T00:00:30-03:30",
        "2006-10-29T12:00:00-03:30",
    ] {
        check_start_of_day("America/St_Johns", instant, "2006-10-29T02:30:00Z");
    }
    for instant in [
        "2006-10-28T12:00:00-02:30",
        "2006-10-28T23:30:00-02:30",
        "2006-10-28T23:30:00-03:30",
    ] {
        check_start_of_day("America/St_Johns", instant, "2006-10-28T02:30:00Z");
    }
}

#[test]
fn days_and_hours_around_every_transition_of_every_zone_are_those_of_jiff() {
    let mut checked = 0;
    for name in TimeZoneDatabase::bundled().available() {
        let jiff = TimeZoneDatabase::bundled().get(name.as_str()).unwrap();
        let zone = TimeZone::new(name.as_str()).unwrap();
        let until = ms("2040-01-01T00:00:00Z");
        let transitions = jiff
            .following(Timestamp::MIN)
            .map(|transition| transition.timestamp().as_millisecond());
        for transition_ms in transitions.take_while(|&transition_ms| transition_ms < until) {
            for away_ms in [
                -100_000_000,
                -50_000_000,
                -3_600_000,
                -1,
                0,
                1,
                3_599_999,
                45_000_000,
                90_000_000,
            ] {
                check_as_jiff(&zone, &jiff, transition_ms + away_ms);
                checked += 1;
            }
        }
    }
    assert!(checked > 100_000, "{checked}");
}

fn check_as_jiff(zone: &TimeZone, jiff: &Jiff, instant_ms: i64) {
    let zoned = Timestamp::from_millisecond(instant_ms).unwrap().to_zoned(jiff.clone());
    let at = || format!("{} at {}", zone.name(), zoned);
    assert_eq!(zone.offset_s_at(instant_ms), zoned.offset().seconds(), "{}", at());

    let mut start = zoned.start_of_day().unwrap().timestamp();
    if let AmbiguousOffset::Gap { .. } = jiff.to_ambiguous_timestamp(zoned.date().into()).offset() {
        // Jiff moves a skipped midnight on by the length of the gap, which may begin before midnight.
        start = jiff.preceding(start + 1.nanosecond()).next().unwrap().timestamp();
    }
    assert_eq!(
        zone.start_of_day_ms(instant_ms),
        start.as_millisecond(),
        "{}: {start}",
        at()
    );

    let second = Timestamp::from_second(instant_ms / 1_000)
        .unwrap()
        .to_zoned(jiff.clone());
    assert_eq!(
        zone.local_hour(instant_ms).as_str(),
        second.strftime("%Y%m%d%H").to_string(),
        "{}",
        at()
    );
}

#[test]
fn an_hour_is_that_of_the_second_cut_off_toward_1970() {
    let utc = TimeZone::new("UTC").unwrap();
    let expected = [
        (-1_001, "1969123123"),
        (-1_000, "1969123123"),
        (-999, "1970010100"),
        (-1, "1970010100"),
        (0, "1970010100"),
        (3_599_999, "1970010100"),
        (3_600_000, "1970010101"),
        (-3_600_999, "1969123123"),
        (-3_601_000, "1969123122"),
    ];
    for (instant_ms, hour) in expected.into_iter().chain(expected.into_iter().rev()) {
        assert_eq!(utc.local_hour(instant_ms), hour, "{instant_ms}");
    }
}

#[test]
fn hours_reach_as_far_as_i64() {
    let shanghai = TimeZone::new("Asia/Shanghai").unwrap();
    assert_eq!(shanghai.local_hour(1_000_000_000_000_000), "33658092709");
    assert_eq!(shanghai.local_hour(i64::MAX), "292278994081715");
    assert_eq!(TimeZone::new("UTC").unwrap().local_hour(i64::MAX), "292278994081707");
    assert_eq!(TimeZone::new("UTC").unwrap().local_hour(i64::MIN), "-292275055051616");
}

#[test]
fn days_reach_as_far_as_i64() {
    for zone in ["UTC", "Asia/Shanghai", "America/New_York", "Pacific/Apia"] {
        let zone = TimeZone::new(zone).unwrap();
        assert_eq!(zone.start_of_day_ms(i64::MIN), i64::MIN);
        let start_ms = zone.start_of_day_ms(i64::MAX);
        assert!((i64::MAX - DAY_S * 1_000..=i64::MAX).contains(&start_ms));
        assert_eq!(zone.start_of_day_ms(start_ms - 1), start_ms - DAY_S * 1_000);
    }
}

#[test]
fn answers_do_not_depend_on_what_was_asked_before() {
    let kept = TimeZone::new("America/Havana").unwrap();
    let first = "2025-10-30T00:00:00Z".parse::<Timestamp>().unwrap();
    // Steps of 7 hours and a bit, there and back, over a repeated midnight.
    let there: Vec<i64> = (0..30)
        .map(|step| (first + (step * 25_321).seconds()).as_millisecond())
        .collect();
    for &instant_ms in there.iter().chain(there.iter().rev()) {
        let fresh = TimeZone::new("America/Havana").unwrap();
        assert_eq!(kept.start_of_day_ms(instant_ms), fresh.start_of_day_ms(instant_ms));
        assert_eq!(kept.local_hour(instant_ms), fresh.local_hour(instant_ms));
    }
}

#[test]
fn an_unknown_zone_is_named() {
    let error = TimeZone::from_wire("Asia/Shangha".to_owned()).unwrap_err();
    let accepted = "accepted are IANA names such as Asia/Shanghai, and UTC";
    assert_eq!(error, format!("there is no time zone \"Asia/Shangha\"; {accepted}"));
}
