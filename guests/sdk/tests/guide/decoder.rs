//! Meters: readings of a gateway, one on a line, in a format of its own.

use weir_guest::{Message, Output, Parameters, Reject, decoder};

/// A reading of one meter.
#[derive(Output)]
struct Reading<'a> {
    gateway: &'a str,
    meter: &'a str,
    watts: i64,
    faulty: bool,
}

#[derive(Parameters)]
struct Settings {
    /// Watts from which on a reading is faulty.
    #[default(100_000)]
    watts_max: i64,
}

/// Lines such as `m17=230`, each a meter and its watts. The gateway is the last token of the subject.
#[decoder]
fn readings<'a>(message: Message<'a>, settings: &Settings) -> Result<Vec<Reading<'a>>, Reject> {
    let gateway = message.subject.rsplit('.').next().unwrap_or_default();
    let reading = |line: &'a str| {
        let wrong = || {
            Reject::new(format!(
                "line {line:?}; accepted are a meter and its watts, as in \"m17=230\""
            ))
        };
        let (meter, watts) = line.split_once('=').ok_or_else(wrong)?;
        let watts = watts.parse().map_err(|_| wrong())?;
        Ok(Reading {
            gateway,
            meter,
            watts,
            faulty: watts >= settings.watts_max,
        })
    };
    message.text()?.lines().map(reading).collect()
}

#[test]
fn each_line_is_a_reading() {
    let settings = Settings::defaults().unwrap();
    let message = |payload| Message {
        payload,
        subject: "plant.gateway.g3",
        headers: &[],
    };
    let given = readings(message(b"m17=230\nm18=100000\n"), &settings).unwrap();
    let all: Vec<_> = given
        .iter()
        .map(|reading| (reading.gateway, reading.meter, reading.faulty))
        .collect();
    assert_eq!(all, [("g3", "m17", false), ("g3", "m18", true)]);
    assert!(readings(message(b"m17: 230"), &settings).is_err());
}
