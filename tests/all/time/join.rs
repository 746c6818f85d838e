//! `interval_join`.

use super::{or_null, replay, rows};
use weir_tests::seed::{self, Random};

const CASES: usize = 200;

#[derive(Clone, Debug)]
struct Event {
    is_order: bool,
    key: Option<i64>,
    id: usize,
    at: i64,
}

impl Event {
    fn random(random: &mut Random, now: &mut i64, id: usize) -> Self {
        *now += random.below(4) as i64;
        let late = if random.once_in(4) { random.below(12) as i64 } else { 0 };
        Self {
            is_order: random.once_in(2),
            key: (!random.once_in(6)).then(|| random.below(3) as i64),
            id,
            at: *now - late,
        }
    }

    fn json(&self) -> String {
        let (subject, name) = match self.is_order {
            true => ("orders", "order_no"),
            false => ("payments", "payment_no"),
        };
        let key = or_null(self.key);
        format!(
            r#"{{"subject":"{subject}","payload":{{"id":{key},"{name}":{},"at":{}}}}}"#,
            self.id, self.at
        )
    }

    fn late(&self) -> String {
        format!("{} {} {}", or_null(self.key), self.id, self.at)
    }
}

fn pipeline(earliest: i64, latest: i64, disorder: i64) -> String {
    format!(
        r#"
name = "join"
event_time = {{ column = "at", out_of_orderness = "{disorder} ms" }}
[source]
stream = "SHOP"
[source.input.orders]
subject = "orders"
columns = {{ id = "int", order_no = "int", at = "int" }}
[source.input.payments]
subject = "payments"
columns = {{ id = "int", payment_no = "int", at = "int" }}
[[step]]
name = "paid"
from = "orders"
[step.interval_join]
with = "payments"
on = {{ id = "id" }}
earliest = "{earliest} ms"
latest = "{latest} ms"
columns = ["payment_no"]
[[sink]]
table = "paid"
columns = ["id", "order_no", "payment_no"]
[[sink]]
from = "paid.late"
table = "late_orders"
[[sink]]
from = "paid.late_with"
table = "late_payments"
"#
    )
}

#[test]
fn rows_are_joined_whose_times_are_close() {
    seed::with_seed(|random| {
        let (mut pairs, mut lates) = (0, 0);
        for _ in 0..CASES {
            let mut now = 0;
            let events: Vec<Event> = (0..random.below(60) + 1)
                .map(|id| Event::random(random, &mut now, id))
                .collect();
            let lines: Vec<String> = events.iter().map(Event::json).collect();
            let earliest = random.below(16) as i64 - 10;
            let latest = earliest + random.below(12) as i64;
            let disorder = random.below(8) as i64;
            let pipeline = pipeline(earliest, latest, disorder);
            let outcome = replay(&pipeline, &lines, random);

            // The input that is behind holds the watermark, and one that had no event yet holds it before all time.
            let mut reached = [i64::MIN; 2];
            let mut in_time: Vec<&Event> = Vec::new();
            let (mut expected, mut late) = (Vec::new(), [Vec::new(), Vec::new()]);
            for event in &events {
                let watermark = reached[0].min(reached[1]).saturating_sub(disorder);
                let side = usize::from(event.is_order);
                if event.at < watermark {
                    late[side].push(event.late());
                } else if event.key.is_some() {
                    let is_partner = |other: &&&Event| {
                        let (order, payment) = if event.is_order {
                            (event, **other)
                        } else {
                            (**other, event)
                        };
                        let later = payment.at - order.at;
                        other.is_order != event.is_order
                            && other.key == event.key
                            && (earliest..=latest).contains(&later)
                    };
                    let mut partners: Vec<&Event> = in_time.iter().filter(is_partner).copied().collect();
                    partners.sort_by_key(|partner| partner.at);
                    for partner in partners {
                        let (order, payment) = if event.is_order {
                            (event, partner)
                        } else {
                            (partner, event)
                        };
                        expected.push(format!("{} {} {}", or_null(event.key), order.id, payment.id));
                    }
                    in_time.push(event);
                }
                reached[side] = reached[side].max(event.at);
            }
            let context = || format!("{lines:#?}\n{pipeline}");
            assert_eq!(rows(&outcome, "paid"), expected, "{}", context());
            assert_eq!(rows(&outcome, "late_payments"), late[0], "{}", context());
            assert_eq!(rows(&outcome, "late_orders"), late[1], "{}", context());
            assert_eq!(outcome.late_rows, late[0].len() + late[1].len());
            pairs += expected.len();
            lates += outcome.late_rows;
        }
        assert!(pairs > CASES && lates > CASES, "{pairs} pairs, {lates} late rows");
    });
}
