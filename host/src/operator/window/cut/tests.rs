use super::*;
use jiff::{Timestamp, tz::TimeZone};

const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;

fn cut(cut: WindowCut, size_us: i64, every_us: i64, zone: &str) -> Cut {
    Cut::new(&WindowKind::Aligned {
        cut,
        size_us,
        every_us,
        zone: (zone != "UTC").then(|| zone.to_owned()),
        offset_us: 0,
    })
    .unwrap()
}

/// The windows of an instant, as the clock of the zone shows them.
fn windows(cut: &mut Cut, zone: &str, instant: &str) -> Vec<String> {
    let time_zone = TimeZone::get(zone).unwrap();
    let shown = |us: i64| {
        let zoned = Timestamp::from_microsecond(us).unwrap().to_zoned(time_zone.clone());
        zoned.strftime("%d %H:%M%:z").to_string()
    };
    let mut windows = Vec::new();
    let instant: Timestamp = instant.parse().unwrap();
    cut.push_windows(instant.as_microsecond(), &mut windows);
    windows
        .iter()
        .map(|window| format!("{} to {}", shown(window.start_us), shown(window.end_us)))
        .collect()
}

#[test]
fn berlin_when_its_clocks_change() {
    // 2026-03-29 has no 02:00 to 03:00, and 2026-10-25 has it twice.
    let zone = "Europe/Berlin";
    let mut days = cut(WindowCut::Hopping, DAY_US, DAY_US, zone);
    assert_eq!(
        windows(&mut days, zone, "2026-03-29T12:00:00+02:00"),
        ["29 00:00+01:00 to 30 00:00+02:00"],
        "23 hours"
    );
    assert_eq!(
        windows(&mut days, zone, "2026-10-25T12:00:00+01:00"),
        ["25 00:00+02:00 to 26 00:00+01:00"],
        "25 hours"
    );
    let mut hours = cut(WindowCut::Hopping, HOUR_US, HOUR_US, zone);
    assert_eq!(
        windows(&mut hours, zone, "2026-10-25T02:30:00+02:00"),
        ["25 02:00+02:00 to 25 02:00+01:00"],
        "the first of two"
    );
    assert_eq!(
        windows(&mut hours, zone, "2026-10-25T02:30:00+01:00"),
        ["25 02:00+01:00 to 25 03:00+01:00"],
        "the second"
    );
    assert_eq!(
        windows(&mut hours, zone, "2026-03-29T01:59:00+01:00"),
        ["29 01:00+01:00 to 29 03:00+02:00"]
    );
    let mut quarters = cut(WindowCut::Hopping, 6 * HOUR_US, 6 * HOUR_US, zone);
    assert_eq!(
        windows(&mut quarters, zone, "2026-03-29T04:00:00+02:00"),
        ["29 00:00+01:00 to 29 06:00+02:00"],
        "5 hours"
    );
    let mut overlapping = cut(WindowCut::Hopping, HOUR_US, 30 * MINUTE_US, zone);
    assert_eq!(
        windows(&mut overlapping, zone, "2026-10-25T03:15:00+01:00"),
        [
            "25 02:30+02:00 to 25 03:30+01:00",
            "25 02:30+01:00 to 25 03:30+01:00",
            "25 03:00+01:00 to 25 04:00+01:00"
        ],
        "one that began before the clocks went back ends when they show its end"
    );
    let mut two_days = cut(WindowCut::Hopping, 2 * DAY_US, DAY_US, zone);
    assert_eq!(
        windows(&mut two_days, zone, "2026-10-25T00:00:00+02:00"),
        ["24 00:00+02:00 to 26 00:00+01:00", "25 00:00+02:00 to 27 00:00+01:00"]
    );
    let mut growing = cut(WindowCut::Cumulating, DAY_US, 8 * HOUR_US, zone);
    assert_eq!(
        windows(&mut growing, zone, "2026-10-25T09:00:00+01:00"),
        ["25 00:00+02:00 to 25 16:00+01:00", "25 00:00+02:00 to 26 00:00+01:00"]
    );
}

/// Every instant is in one tumbling window, and in the same as its neighbours up to the window's end.
#[test]
fn tumbling_windows_leave_no_gap_and_do_not_overlap() {
    let zones = [
        "UTC",
        "Asia/Shanghai",
        "Asia/Kolkata",
        "Europe/Berlin",
        "America/New_York",
        // Half an hour back and forth; midnight skipped; a day left out.
        "Australia/Lord_Howe",
        "America/Sao_Paulo",
        "Pacific/Apia",
    ];
    let sizes = [
        10 * MINUTE_US,
        45 * MINUTE_US,
        HOUR_US,
        2 * HOUR_US,
        7 * HOUR_US,
        DAY_US,
        7 * DAY_US,
    ];
    let mut random = fastrand::Rng::with_seed(3);
    for zone in zones {
        for size_us in sizes {
            let mut tumbling = cut(WindowCut::Hopping, size_us, size_us, zone);
            for _ in 0..40 {
                let from: Timestamp = "2010-01-01T00:00:00Z".parse().unwrap();
                let mut at_us = from.as_microsecond() + random.i64(0..16 * 365 * DAY_US);
                let mut before: Option<Bounds> = None;
                for _ in 0..400 {
                    let mut found = Vec::new();
                    tumbling.push_windows(at_us, &mut found);
                    let [window] = found[..] else {
                        panic!("{zone}: {found:?}")
                    };
                    assert!(
                        window.start_us <= at_us && at_us < window.end_us,
                        "{zone}: {at_us} is in {window:?}"
                    );
                    if let Some(before) = before {
                        assert!(
                            window == before || window.start_us >= before.end_us,
                            "{zone}: {before:?}, {window:?}"
                        );
                        assert!(window == before || at_us - size_us / 3 - 1 < before.end_us);
                    }
                    let mut last = Vec::new();
                    tumbling.push_windows(window.end_us - 1, &mut last);
                    assert_eq!(last, [window], "{zone}: up to its end");
                    let mut next = Vec::new();
                    tumbling.push_windows(window.end_us, &mut next);
                    assert_eq!(next[0].start_us, window.end_us, "{zone}: the next follows");
                    before = Some(window);
                    at_us += random.i64(1..=size_us / 3);
                }
            }
        }
    }
}

/// Hopping windows are those of the clock: each instant is in every window that holds it, and in no other.
#[test]
fn hopping_windows_are_all_that_hold_an_instant() {
    let mut random = fastrand::Rng::with_seed(4);
    for zone in ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia"] {
        let mut hopping = cut(WindowCut::Hopping, 6 * HOUR_US, 2 * HOUR_US, zone);
        for _ in 0..300 {
            let from: Timestamp = "2011-12-01T00:00:00Z".parse().unwrap();
            let at_us = from.as_microsecond() + random.i64(0..400 * DAY_US);
            let mut found = Vec::new();
            hopping.push_windows(at_us, &mut found);
            assert!(found.is_sorted() && !found.is_empty());
            // All windows that begin around there.
            let mut expected = Vec::new();
            for minute in -40 * 60..=0 {
                let instant_us = (at_us / MINUTE_US + minute) * MINUTE_US;
                if hopping.begin(instant_us, 2 * HOUR_US) == instant_us {
                    let end_us = hopping.first_showing(instant_us, 6 * HOUR_US);
                    if instant_us <= at_us && at_us < end_us {
                        expected.push(Bounds {
                            end_us,
                            start_us: instant_us,
                        });
                    }
                }
            }
            assert_eq!(found, expected, "{zone}");
        }
    }
}

/// The days of every time zone, around each change of its clock until 2045: one window for each date that the clock shows.
/// The plain model is the latest date that was shown so far.
#[test]
fn a_date_is_one_window_in_every_zone_and_year() {
    let until: Timestamp = "2045-01-01T00:00:00Z".parse().unwrap();
    let (mut put_back_over_midnight, mut of_25_hours) = (0, 0);
    for name in jiff::tz::db().available() {
        let time_zone = TimeZone::get(name.as_str()).unwrap();
        let shown = |us: i64| time_zone.to_datetime(Timestamp::from_microsecond(us).unwrap());
        let mut days = cut(WindowCut::Hopping, DAY_US, DAY_US, name.as_str());
        let mut pairs = cut(WindowCut::Hopping, 2 * DAY_US, DAY_US, name.as_str());
        let mut growing = cut(WindowCut::Cumulating, DAY_US, HOUR_US, name.as_str());
        for change in time_zone
            .following(Timestamp::MIN)
            .take_while(|change| change.timestamp() < until)
        {
            let at_us = change.timestamp().as_microsecond();
            let goes_back = shown(at_us).date() < shown(at_us - 1).date();
            put_back_over_midnight += usize::from(goes_back);
            // Far from midnight a few instants will do.
            let near_midnight = goes_back || shown(at_us).date() != shown(at_us - 1).date() || shown(at_us).hour() < 2;
            let step_us = if near_midnight { 20 * MINUTE_US } else { 12 * HOUR_US };
            let mut instants: Vec<i64> = (-150..150)
                .map(|step| at_us + step * step_us)
                .filter(|us| (us - at_us).abs() <= 50 * HOUR_US)
                .chain([at_us - 1, at_us, at_us + 1])
                .collect();
            instants.sort_unstable();
            let mut latest = shown(instants[0] - 50 * HOUR_US).date();
            let mut before: Option<(i64, jiff::civil::Date, Bounds)> = None;
            for us in instants {
                latest = latest.max(shown(us).date());
                let mut found = Vec::new();
                days.push_windows(us, &mut found);
                let [day] = found[..] else {
                    panic!("{name} at {us}: {found:?}")
                };
                assert!(day.start_us <= us && us < day.end_us, "{name} at {us}: {day:?}");
                assert!(
                    shown(day.start_us).date() >= latest,
                    "{name} at {us}: {latest} is {day:?}"
                );
                assert!(
                    shown(day.start_us - 1).date() < latest,
                    "{name} at {us}: {latest} is {day:?}"
                );
                if let Some((_, date, other)) = before {
                    assert_eq!(
                        date == latest,
                        other == day,
                        "{name} at {us}: {date} {other:?}, {latest} {day:?}"
                    );
                }
                of_25_hours += usize::from(goes_back && day.end_us - day.start_us == 25 * HOUR_US);

                // Windows of two days begin where days begin; those that grow begin and end with the day.
                let mut two = Vec::new();
                pairs.push_windows(us, &mut two);
                assert_eq!(
                    two.last().map(|window| window.start_us),
                    Some(day.start_us),
                    "{name} at {us}: {two:?}"
                );
                assert!(
                    two.iter().all(|window| window.end_us >= day.end_us),
                    "{name} at {us}: {two:?}"
                );
                let mut parts = Vec::new();
                growing.push_windows(us, &mut parts);
                let (starts, last) = (parts.iter().map(|part| part.start_us), parts.last());
                assert!(
                    starts.eq(parts.iter().map(|_| day.start_us)),
                    "{name} at {us}: {parts:?}"
                );
                assert_eq!(
                    last.map(|part| part.end_us),
                    Some(day.end_us),
                    "{name} at {us}: {parts:?}"
                );
                before = Some((us, latest, day));
            }
        }
    }
    assert!(
        put_back_over_midnight > 100 && of_25_hours > 1_000,
        "{put_back_over_midnight} {of_25_hours}"
    );
}

#[test]
fn a_midnight_that_comes_twice_begins_one_day() {
    // Clocks go from 01:00 back to 00:00; and in St John's from 00:01 to 23:01 of the day before.
    for (zone, instant, day) in [
        (
            "Atlantic/Azores",
            "2026-10-25T00:30:00Z",
            "25 00:00+00:00 to 26 00:00-01:00",
        ),
        (
            "Atlantic/Azores",
            "2026-10-25T01:30:00Z",
            "25 00:00+00:00 to 26 00:00-01:00",
        ),
        (
            "America/Havana",
            "2024-11-03T12:00:00Z",
            "03 00:00-04:00 to 04 00:00-05:00",
        ),
        (
            "America/St_Johns",
            "2010-11-07T02:30:30Z",
            "07 00:00-02:30 to 08 00:00-03:30",
        ),
        (
            "America/St_Johns",
            "2010-11-07T02:45:00Z",
            "07 00:00-02:30 to 08 00:00-03:30",
        ),
        (
            "America/St_Johns",
            "2010-11-07T02:29:59Z",
            "06 00:00-02:30 to 07 00:00-02:30",
        ),
    ] {
        let mut days = cut(WindowCut::Hopping, DAY_US, DAY_US, zone);
        assert_eq!(windows(&mut days, zone, instant), [day], "{zone} at {instant}");
    }
}
