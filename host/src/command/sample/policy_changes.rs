//! Scenario 2: premiums that customers are quoted.

use super::{
    OddMember, Times, chances, choose, happens, push_digits, push_hex, push_hundredths, push_int, push_member,
    push_name, push_text_member, skewed, spoil, trait_of,
};
use fastrand::Rng;

/// A customer who is watched: a row of `raw_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Customer {
    /// Number of the customer among all, from 0.
    number: u32,
    /// The premium that is known, in hundredths.
    premium: i64,
}

/// The customers who are watched, in ascending order of their ids.
pub fn customers(count: u32) -> impl Iterator<Item = Customer> {
    (0..count).map(|number| Customer {
        number,
        premium: 20_000 + (trait_of(number, 4) % 1_980_000) as i64,
    })
}

impl Customer {
    /// The primary key.
    pub fn id(&self) -> i64 {
        500_001 + i64::from(self.number) * 104_729
    }

    /// Writes the row as a JSON object, as `weir table load` takes it, into `out`, in place of what it holds.
    pub fn write_into(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(b'{');
        push_member(out, "id");
        push_int(out, self.id());
        out.extend_from_slice(b",\"raw_premium\":\"");
        push_premium(out, self.premium, self.number);
        out.extend_from_slice(b"\",\"raw_info\":\"");
        out.extend_from_slice(super::pick(&KINDS, trait_of(self.number, 5) as u32).as_bytes());
        out.push(b'-');
        push_name(out, trait_of(self.number, 6));
        out.extend_from_slice(b"\"}");
    }
}

/// Quotes for policies, about 195 bytes each: most of customers who are watched, some of others.
///
/// A premium moves by less than a tenth from one quote of a customer to the next, and so raises no alert, but for the
/// share of [`PolicyChanges::drops`].
#[derive(Clone, Debug)]
pub struct PolicyChanges {
    random: Rng,
    times: Times,
    malformed: u32,
    drops: u32,
    event: u64,
    /// The last premium of each customer, in hundredths.
    premiums: Vec<i64>,
}

const CHANNELS: [&str; 4] = ["wechat", "app", "h5", "代理人"];
const KINDS: [&str; 5] = ["重疾险", "意外险", "年金险", "医疗险", "寿险"];

/// Below this, in hundredths, a premium goes up again.
const PREMIUM_LEAST: i64 = 10_000;
/// And above this, down.
const PREMIUM_MOST: i64 = 3_000_000;

impl PolicyChanges {
    /// Quotes for the first `customers` of [`customers`] (at least 1).
    pub fn new(seed: u64, customers: u32, times: Times) -> Self {
        Self {
            random: Rng::with_seed(seed),
            times,
            malformed: 0,
            drops: chances(0.02),
            event: 0,
            premiums: self::customers(customers.max(1))
                .map(|customer| customer.premium)
                .collect(),
        }
    }

    /// Makes a share of the payloads, from 0 to 1, ones that cannot be decoded.
    #[must_use]
    pub fn malformed(mut self, share: f64) -> Self {
        self.malformed = chances(share);
        self
    }

    /// Makes the premium drop to between a half and four fifths in a share of the quotes, from 0 to 1: each raises an
    /// alert, unless the customer's quote before had no premium. 0.02 unless set.
    #[must_use]
    pub fn drops(mut self, share: f64) -> Self {
        self.drops = chances(share);
        self
    }

    /// Writes the next payload into `out`, in place of what it holds.
    pub fn next_into(&mut self, out: &mut Vec<u8>) {
        let time_ms = self.times.of(self.event);
        self.next_at(time_ms, out);
    }

    /// As [`PolicyChanges::next_into`], at a time of the caller's choice (before lateness).
    pub fn next_at(&mut self, time_ms: i64, out: &mut Vec<u8>) {
        self.event += 1;
        out.clear();
        let random = &mut self.random;
        let late_ms = if happens(random, 50) {
            random.i64(0..600_000)
        } else {
            random.i64(0..800)
        };
        let watched = !happens(random, 120);
        let number = skewed(random, self.premiums.len() as u32);
        let malformed = happens(random, self.malformed);
        let odd = OddMember { null: 12, missing: 13 };

        out.push(b'{');
        push_member(out, "id");
        push_int(
            out,
            if watched {
                Customer { number, premium: 0 }.id()
            } else {
                1 + i64::from(number % 1_000)
            },
        );
        out.extend_from_slice(b",\"channel\":\"");
        out.extend_from_slice(choose(random, &CHANNELS).as_bytes());
        out.extend_from_slice(b"\",\"open_id\":\"o");
        push_hex(out, random.u64(..), 12);
        let saved = happens(random, 670);
        let event = if saved { "save_success" } else { "save_fail" };
        out.extend_from_slice(b"\",\"event\":\"");
        out.extend_from_slice(event.as_bytes());
        out.push(b'"');

        let quoted = match self.premiums.get_mut(number as usize) {
            Some(premium) if watched && !malformed => {
                *premium = next_premium(*premium, happens(random, self.drops), random);
                *premium
            }
            _ => 100_000,
        };
        let style = random.u32(..);
        push_text_member(out, "now_premium", random, odd, |out| push_premium(out, quoted, style));
        let creator = random.u64(..);
        push_text_member(out, "creator", random, OddMember::NEVER, |out| push_name(out, creator));
        out.extend_from_slice(b",\"modifier\":\"\"");
        push_member(out, "gmt_modified");
        push_int(out, time_ms - late_ms);
        let (kind, years) = (choose(random, &KINDS), random.u64(1..=30));
        push_text_member(out, "now_info", random, odd, |out| {
            out.extend_from_slice(kind.as_bytes());
            out.push(b'-');
            push_digits(out, years, 1);
            out.extend_from_slice("年".as_bytes());
        });
        out.push(b'}');
        if malformed {
            spoil(out, "id", random);
        }
    }
}

fn next_premium(premium: i64, drops: bool, random: &mut Rng) -> i64 {
    let percent = match drops {
        true => random.i64(50..=80),
        false if premium < PREMIUM_LEAST => random.i64(150..=300),
        false if premium > PREMIUM_MOST => random.i64(91..=95),
        false => random.i64(92..=112),
    };
    // Never so little that a per cent of it is nothing.
    (premium * percent / 100).max(1_000)
}

/// Appends a premium as people's systems write it: `1000`, `1000.00`, `1000.5`, or with a space before it.
fn push_premium(out: &mut Vec<u8>, hundredths: i64, style: u32) {
    match style % 64 {
        0 => {
            out.push(b' ');
            push_hundredths(out, hundredths);
        }
        1..16 => push_hundredths(out, hundredths),
        _ => {
            push_int(out, hundredths / 100);
            out.push(b'.');
            push_digits(out, (hundredths % 100).unsigned_abs(), 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests, *};
    use std::collections::HashMap;

    /// How many of 20,000 quotes raise an alert, when every quote sets the row that the next is compared with.
    fn alerts(quotes: &[serde_json::Value], rows: &HashMap<i64, f64>) -> usize {
        let premium = |text: &serde_json::Value| text.as_str().map(|text| text.trim().parse::<f64>().unwrap());
        let mut rows: HashMap<i64, Option<f64>> = rows.iter().map(|(&id, &premium)| (id, Some(premium))).collect();
        let is_alert = |quote: &&serde_json::Value| {
            let Some(row) = rows.get_mut(&quote["id"].as_i64().unwrap()) else {
                return false;
            };
            let now = premium(&quote["now_premium"]);
            let before = std::mem::replace(row, now);
            now.zip(before).is_some_and(|(now, before)| now < before * 0.85)
        };
        quotes.iter().filter(is_alert).count()
    }

    #[test]
    fn quotes_look_like_quotes_and_some_raise_alerts() {
        let members = [
            "id",
            "channel",
            "open_id",
            "event",
            "now_premium",
            "creator",
            "modifier",
            "gmt_modified",
            "now_info",
        ];
        let quotes = |drops: f64| {
            tests::check(185..=205, &members, move |seed| {
                let mut quotes = PolicyChanges::new(seed, 500, tests::DAY).drops(drops);
                Box::new(move |out| quotes.next_into(out))
            })
        };
        let mut row = Vec::new();
        let rows: HashMap<i64, f64> = customers(500)
            .map(|customer| {
                customer.write_into(&mut row);
                let row: serde_json::Value = serde_json::from_slice(&row).unwrap();
                assert_eq!(row["id"].as_i64(), Some(customer.id()));
                (
                    customer.id(),
                    row["raw_premium"].as_str().unwrap().trim().parse().unwrap(),
                )
            })
            .collect();
        assert_eq!(rows.len(), 500);
        // A premium that stays away for one quote moves on all the same, but then there is nothing to compare with.
        assert_eq!(alerts(&quotes(0.0), &rows), 0);
        let some = alerts(&quotes(0.05), &rows);
        assert!((700..1_100).contains(&some), "{some} alerts of 20,000 quotes");
    }
}
