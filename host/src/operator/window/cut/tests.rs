use super::*;
use jiff::{Timestamp, tz::TimeZone};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

fn cut(cut: WindowCut, size_ms: i64, every_ms: i64, zone: &str) -> Cut {
    Cut::new(&WindowKind::Aligned {
        cut,
        size_ms,
        every_ms,
        zone: (zone != "UTC").then(|| zone.to_owned()),
        offset_ms: 0,
    })
    .unwrap()
}

/// The windows of an instant, as the clock of the zone shows them.
fn windows(cut: &mut Cut, zone: &str, instant: &str) -> Vec<String> {
    let time_zone = TimeZone::get(zone).unwrap();
    let shown = |ms: i64| {
        let zoned = Timestamp::from_millisecond(ms).unwrap().to_zoned(time_zone.clone());
        zoned.strftime("%d %H:%M%:z").to_string()
    };
    let mut windows = Vec::new();
    let instant: Timestamp = instant.parse().unwrap();
    cut.push_windows(instant.as_millisecond(), &mut windows);
    windows
        .iter()
        .map(|window| format!("{} to {}", shown(window.start_ms), shown(window.end_ms)))
        .collect()
}

#[test]
fn berlin_when_its_clocks_change() {
    // 2026-03-29 has no 02:00 to 03:00, and 2026-10-25 has it twice.
    let zone = "Europe/Berlin";
    let mut days = cut(WindowCut::Hopping, DAY_MS, DAY_MS, zone);
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
    let mut hours = cut(WindowCut::Hopping, HOUR_MS, HOUR_MS, zone);
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
    let mut quarters = cut(WindowCut::Hopping, 6 * HOUR_MS, 6 * HOUR_MS, zone);
    assert_eq!(
        windows(&mut quarters, zone, "2026-03-29T04:00:00+02:00"),
        ["29 00:00+01:00 to 29 06:00+02:00"],
        "5 hours"
    );
    let mut overlapping = cut(WindowCut::Hopping, HOUR_MS, 30 * MINUTE_MS, zone);
    assert_eq!(
        windows(&mut overlapping, zone, "2026-10-25T03:15:00+01:00"),
        [
            "25 02:30+02:00 to 25 03:30+01:00",
            "25 02:30+01:00 to 25 03:30+01:00",
            "25 03:00+01:00 to 25 04:00+01:00"
        ],
        "one that began before the clocks went back ends when they show its end"
    );
    let mut two_days = cut(WindowCut::Hopping, 2 * DAY_MS, DAY_MS, zone);
    assert_eq!(
        windows(&mut two_days, zone, "2026-10-25T00:00:00+02:00"),
        ["24 00:00+02:00 to 26 00:00+01:00", "25 00:00+02:00 to 27 00:00+01:00"]
    );
    let mut growing = cut(WindowCut::Cumulating, DAY_MS, 8 * HOUR_MS, zone);
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
        10 * MINUTE_MS,
        45 * MINUTE_MS,
        HOUR_MS,
        2 * HOUR_MS,
        7 * HOUR_MS,
        DAY_MS,
        7 * DAY_MS,
    ];
    let mut random = fastrand::Rng::with_seed(3);
    for zone in zones {
        for size_ms in sizes {
            let mut tumbling = cut(WindowCut::Hopping, size_ms, size_ms, zone);
            for _ in 0..40 {
                let from: Timestamp = "2010-01-01T00:00:00Z".parse().unwrap();
                let mut at_ms = from.as_millisecond() + random.i64(0..16 * 365 * DAY_MS);
                let mut before: Option<Bounds> = None;
                for _ in 0..400 {
                    let mut found = Vec::new();
                    tumbling.push_windows(at_ms, &mut found);
                    let [window] = found[..] else {
                        panic!("{zone}: {found:?}")
                    };
                    assert!(
                        window.start_ms <= at_ms && at_ms < window.end_ms,
                        "{zone}: {at_ms} is in {window:?}"
                    );
                    if let Some(before) = before {
                        assert!(
                            window == before || window.start_ms >= before.end_ms,
                            "{zone}: {before:?}, {window:?}"
                        );
                        assert!(window == before || at_ms - size_ms / 3 - 1 < before.end_ms);
                    }
                    let mut last = Vec::new();
                    tumbling.push_windows(window.end_ms - 1, &mut last);
                    assert_eq!(last, [window], "{zone}: up to its end");
                    let mut next = Vec::new();
                    tumbling.push_windows(window.end_ms, &mut next);
                    assert_eq!(next[0].start_ms, window.end_ms, "{zone}: the next follows");
                    before = Some(window);
                    at_ms += random.i64(1..=size_ms / 3);
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
        let mut hopping = cut(WindowCut::Hopping, 6 * HOUR_MS, 2 * HOUR_MS, zone);
        for _ in 0..300 {
            let from: Timestamp = "2011-12-01T00:00:00Z".parse().unwrap();
            let at_ms = from.as_millisecond() + random.i64(0..400 * DAY_MS);
            let mut found = Vec::new();
            hopping.push_windows(at_ms, &mut found);
            assert!(found.is_sorted() && !found.is_empty());
            // All windows that begin around there.
            let mut expected = Vec::new();
            for minute in -40 * 60..=0 {
                let instant_ms = (at_ms / MINUTE_MS + minute) * MINUTE_MS;
                if hopping.begin(instant_ms, 2 * HOUR_MS) == instant_ms {
                    let end_ms = hopping.first_showing(instant_ms, 6 * HOUR_MS);
                    if instant_ms <= at_ms && at_ms < end_ms {
                        expected.push(Bounds {
                            end_ms,
                            start_ms: instant_ms,
                        });
                    }
                }
            }
            assert_eq!(found, expected, "{zone}");
        }
    }
}
