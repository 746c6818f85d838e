//! Cards that pay in two countries within an hour, and those that are quiet afterwards.

use std::time::Duration;
use weir_guest::{EventTime, Input, Output, Outputs, Parameters, Reject, State, Timers, keyed};

/// What the function reads of a payment.
#[derive(Input)]
struct Payment<'a> {
    country: Option<&'a str>,
}

/// Cards that pay in two countries within the span.
#[derive(Default, State)]
struct Card {
    country: Option<String>,
    paid_at: Option<EventTime>,
    alarms: u64,
}

#[derive(Parameters)]
struct Settings {
    /// Minutes within which two countries are too many.
    #[default(60)]
    span_min: i64,
}

#[derive(Outputs)]
enum Found {
    Alarm(Alarm),
    Quiet(Quiet),
}

/// A payment in another country, too soon.
#[derive(Output)]
#[pass(amount)]
struct Alarm {
    from: String,
    to: String,
}

/// A card that had alarms, and has not paid for a day.
#[derive(Output)]
struct Quiet {
    alarms: i64,
    since_ms: i64,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[keyed]
impl Card {
    fn on_row(
        &mut self,
        payment: Payment<'_>,
        at: EventTime,
        settings: &Settings,
        timers: &mut Timers,
    ) -> Result<Option<Found>, Reject> {
        let country = payment
            .country
            .ok_or_else(|| Reject::new("column `country` is null; accepted are names of countries"))?;
        let span = Duration::from_secs(60 * settings.span_min as u64);
        timers.set(at + DAY);
        let before = self.country.replace(country.to_owned());
        let paid_at = self.paid_at.replace(at);
        let (Some(from), Some(paid_at)) = (before, paid_at) else {
            return Ok(None);
        };
        if from == country || at.since(paid_at) > span {
            return Ok(None);
        }
        self.alarms += 1;
        let to = country.to_owned();
        Ok(Some(Found::Alarm(Alarm { from, to })))
    }

    fn on_timer(&mut self) -> Option<Found> {
        let card = std::mem::take(self); // as a new card: its key is forgotten
        let quiet = Quiet {
            alarms: card.alarms as i64,
            since_ms: card.paid_at?.ms(),
        };
        (card.alarms > 0).then_some(Found::Quiet(quiet))
    }
}

#[test]
fn two_countries_within_an_hour_are_an_alarm() {
    let minutes = |minutes: i64| EventTime::from_ms(minutes * 60_000);
    let payment = |country| Payment { country };
    let mut cards = Rule::driver(Settings::defaults().unwrap());

    assert!(cards.at(minutes(0)).push("ann", payment(Some("DE"))).unwrap().is_none());
    assert!(
        cards
            .at(minutes(10))
            .push("bob", payment(Some("FR")))
            .unwrap()
            .is_none()
    );
    let found = cards.at(minutes(59)).push("ann", payment(Some("FR"))).unwrap();
    assert!(matches!(found, Some(Found::Alarm(Alarm { from, to })) if from == "DE" && to == "FR"));
    assert!(cards.push("ann", payment(None)).is_err());

    let found = cards.advance_to(minutes(59) + DAY);
    assert!(matches!(&found[..], [
        (bob, None),
        (ann, Some(Found::Quiet(Quiet { alarms: 1, since_ms: 3_540_000 }))),
    ] if bob == "bob" && ann == "ann"));
    assert!(cards.state("ann").is_none());
}
