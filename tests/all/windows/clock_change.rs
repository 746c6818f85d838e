//! Windows on the days on which a zone changes its clocks, as its people see them.
//!
//! In Berlin the clocks go from 02:00 to 03:00 on 2026-03-29, and from 03:00 back to 02:00 on 2026-10-25: so these days have
//! 23 and 25 hours, one hour is missing, and one comes twice. Events are given in local time, and so is what comes out.

use expect_test::{Expect, expect};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use std::{fmt::Write, sync::Arc};
use weir::{definition::File, plan::Plan};
use weir_tests::{
    replay::{Run, host},
    table::Cell,
};

#[test]
fn a_day_in_march_has_23_hours() {
    check(
        r#"tumbling = "1 d""#,
        "Europe/Berlin",
        &[
            "2026-03-28 23:59 +01",
            "2026-03-29 00:00 +01",
            "2026-03-29 01:59 +01",
            "2026-03-29 03:00 +02",
            "2026-03-29 23:59 +02",
            "2026-03-30 00:00 +02",
            "2026-03-31 00:00 +02",
        ],
        &expect![[r#"
            2026-03-28 00:00 +01 to 2026-03-29 00:00 +01: 1 in 24 h
            2026-03-29 00:00 +01 to 2026-03-30 00:00 +02: 4 in 23 h
            2026-03-30 00:00 +02 to 2026-03-31 00:00 +02: 1 in 24 h
        "#]],
    );
}

#[test]
fn a_day_in_october_has_25_hours() {
    check(
        r#"tumbling = "1 d""#,
        "Europe/Berlin",
        &[
            "2026-10-24 23:59 +02",
            "2026-10-25 00:00 +02",
            "2026-10-25 02:30 +02",
            "2026-10-25 02:30 +01",
            "2026-10-25 23:59 +01",
            "2026-10-26 00:00 +01",
            "2026-10-27 00:00 +01",
        ],
        &expect![[r#"
            2026-10-24 00:00 +02 to 2026-10-25 00:00 +02: 1 in 24 h
            2026-10-25 00:00 +02 to 2026-10-26 00:00 +01: 4 in 25 h
            2026-10-26 00:00 +01 to 2026-10-27 00:00 +01: 1 in 24 h
        "#]],
    );
}

#[test]
fn a_day_whose_midnight_comes_twice_is_one() {
    // In the Azores the clocks go from 01:00 back to 00:00.
    let events = [
        "2026-10-24 23:59 +00",
        "2026-10-25 00:00 +00",
        "2026-10-25 00:30 +00",
        "2026-10-25 00:00 -01",
        "2026-10-25 23:59 -01",
        "2026-10-26 00:00 -01",
        "2026-10-28 00:00 -01",
    ];
    check(
        r#"tumbling = "1 d""#,
        "Atlantic/Azores",
        &events,
        &expect![[r#"
            2026-10-24 00:00 +00 to 2026-10-25 00:00 +00: 1 in 24 h
            2026-10-25 00:00 +00 to 2026-10-26 00:00 -01: 4 in 25 h
            2026-10-26 00:00 -01 to 2026-10-27 00:00 -01: 1 in 24 h
        "#]],
    );
    check(
        r#"hopping = { size = "2 d", every = "1 d" }"#,
        "Atlantic/Azores",
        &events,
        &expect![[r#"
            2026-10-23 00:00 +00 to 2026-10-25 00:00 +00: 1 in 48 h
            2026-10-24 00:00 +00 to 2026-10-26 00:00 -01: 5 in 49 h
            2026-10-25 00:00 +00 to 2026-10-27 00:00 -01: 5 in 49 h
            2026-10-26 00:00 -01 to 2026-10-28 00:00 -01: 1 in 48 h
        "#]],
    );
    check(
        r#"cumulating = { size = "1 d", every = "12 h" }"#,
        "Atlantic/Azores",
        &events[1..6],
        &expect![[r#"
            2026-10-25 00:00 +00 to 2026-10-25 00:00 -01: 2 in 1 h
            2026-10-25 00:00 +00 to 2026-10-25 12:00 -01: 3 in 13 h
            2026-10-25 00:00 +00 to 2026-10-26 00:00 -01: 4 in 25 h
        "#]],
    );
}

#[test]
fn an_hour_that_is_skipped_is_no_window() {
    check(
        r#"tumbling = "1 h""#,
        "Europe/Berlin",
        &[
            "2026-03-29 01:00 +01",
            "2026-03-29 01:59 +01",
            "2026-03-29 03:00 +02",
            "2026-03-29 03:59 +02",
            "2026-03-29 04:00 +02",
            "2026-03-29 05:00 +02",
        ],
        &expect![[r#"
            2026-03-29 01:00 +01 to 2026-03-29 03:00 +02: 2 in 1 h
            2026-03-29 03:00 +02 to 2026-03-29 04:00 +02: 2 in 1 h
            2026-03-29 04:00 +02 to 2026-03-29 05:00 +02: 1 in 1 h
        "#]],
    );
}

#[test]
fn an_hour_that_comes_twice_is_two_windows() {
    check(
        r#"tumbling = "1 h""#,
        "Europe/Berlin",
        &[
            "2026-10-25 01:59 +02",
            "2026-10-25 02:00 +02",
            "2026-10-25 02:59 +02",
            "2026-10-25 02:00 +01",
            "2026-10-25 03:00 +01",
            "2026-10-25 04:00 +01",
        ],
        &expect![[r#"
            2026-10-25 01:00 +02 to 2026-10-25 02:00 +02: 1 in 1 h
            2026-10-25 02:00 +02 to 2026-10-25 02:00 +01: 2 in 1 h
            2026-10-25 02:00 +01 to 2026-10-25 03:00 +01: 1 in 1 h
            2026-10-25 03:00 +01 to 2026-10-25 04:00 +01: 1 in 1 h
        "#]],
    );
}

/// Each window ends when the clock first shows two hours more than at its beginning.
#[test]
fn windows_that_overlap_are_longer_or_shorter_by_the_clock() {
    let windows = r#"hopping = { size = "2 h", every = "1 h" }"#;
    check(
        windows,
        "Europe/Berlin",
        &["2026-03-29 01:30 +01", "2026-03-29 03:30 +02", "2026-03-29 12:00 +02"],
        &expect![[r#"
            2026-03-29 00:00 +01 to 2026-03-29 03:00 +02: 1 in 2 h
            2026-03-29 01:00 +01 to 2026-03-29 03:00 +02: 1 in 1 h
            2026-03-29 03:00 +02 to 2026-03-29 05:00 +02: 1 in 2 h
        "#]],
    );
    check(
        windows,
        "Europe/Berlin",
        &[
            "2026-10-25 01:30 +02",
            "2026-10-25 02:30 +02",
            "2026-10-25 02:30 +01",
            "2026-10-25 03:30 +01",
            "2026-10-25 12:00 +01",
        ],
        &expect![[r#"
            2026-10-25 00:00 +02 to 2026-10-25 02:00 +02: 1 in 2 h
            2026-10-25 01:00 +02 to 2026-10-25 03:00 +01: 3 in 3 h
            2026-10-25 02:00 +02 to 2026-10-25 04:00 +01: 3 in 3 h
            2026-10-25 02:00 +01 to 2026-10-25 04:00 +01: 2 in 2 h
            2026-10-25 03:00 +01 to 2026-10-25 05:00 +01: 1 in 2 h
        "#]],
    );
}

#[test]
fn shanghai_has_the_same_clock_all_year() {
    check(
        r#"tumbling = "1 d""#,
        "Asia/Shanghai",
        &[
            "2026-03-28 23:59 +08",
            "2026-03-29 00:00 +08",
            "2026-03-29 23:59 +08",
            "2026-03-30 00:00 +08",
            "2026-03-31 00:00 +08",
        ],
        &expect![[r#"
            2026-03-28 00:00 +08 to 2026-03-29 00:00 +08: 1 in 24 h
            2026-03-29 00:00 +08 to 2026-03-30 00:00 +08: 2 in 24 h
            2026-03-30 00:00 +08 to 2026-03-31 00:00 +08: 1 in 24 h
        "#]],
    );
}

/// Counts events by window. Those windows that the last event ends are expected, with how long they are.
fn check(window: &str, zone: &str, events: &[&str], expected: &Expect) {
    let pipeline = format!(
        r#"
        name = "local"
        event_time = {{ column = "at", unit = "s" }}
        [source]
        stream = "S"
        subject = "s"
        columns = {{ at = "int" }}
        [[step]]
        name = "windows"
        [step.window]
        {window}
        zone = "{zone}"
        columns = {{ events = {{ count = "*" }} }}
        [[sink]]
        table = "windows"
        "#
    );
    let plan = Arc::new(Plan::build(&File::from_text("local.toml", pipeline), host()).expect("the pipeline is fine"));
    let payload = |event: &&str| {
        let at = Zoned::strptime("%Y-%m-%d %H:%M %z", format!("{event}00")).expect("an event is a local time");
        format!("{{\"at\": {}}}\n", at.timestamp().as_second())
    };
    let input: String = events.iter().map(payload).collect();
    let run = Run {
        plan: &plan,
        lookup_rows: b"",
        input: input.as_bytes(),
        batches: &[2],
        stops: &[3],
    };
    let time_zone = TimeZone::get(zone).expect("the zone is known");
    let local = |at_ms: i64| {
        let at = Timestamp::from_millisecond(at_ms).expect("it is in the calendar");
        let at = at.to_zoned(time_zone.clone()).strftime("%Y-%m-%d %H:%M %z").to_string();
        at.strip_suffix("00").expect("offsets are whole hours").to_owned()
    };
    let mut shown = String::new();
    for row in &run.contents().tables["windows"].rows {
        let [Cell::Int(start), Cell::Int(end), Cell::Int(events)] = row[..] else {
            panic!("{row:?} is no result");
        };
        let hours = (end - start) / 3_600_000;
        writeln!(shown, "{} to {}: {events} in {hours} h", local(start), local(end)).unwrap();
    }
    expected.assert_eq(&shown);
}
