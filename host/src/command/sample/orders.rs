//! Scenario 1: insurance orders.

use super::{
    OddMember, Times, chances, happens, pick, push_digits, push_hundredths, push_int, push_member, push_name,
    push_text_member, skewed, spoil, trait_of,
};
use fastrand::Rng;

/// Orders of insurances, about 285 bytes each: new ones, and later versions of the users' last ones.
///
/// Most times ascend; one order in fifty comes up to two hours late, and so may belong to an hour, or a day, before.
#[derive(Clone, Debug)]
pub struct Orders {
    random: Rng,
    times: Times,
    malformed: u32,
    event: u64,
    order: u32,
    /// The running day as `yyyyMMdd` in China, and when it ends.
    day: u64,
    day_end_ms: i64,
    /// For each user the last order.
    last: Vec<Option<Order>>,
}

#[derive(Clone, Copy, Debug)]
struct Order {
    number: u32,
    day: u32,
    created_ms: i64,
    hundredths: i64,
}

/// Telephone numbers in China begin with these.
const PREFIXES: [&str; 16] = [
    "134", "135", "136", "137", "138", "139", "150", "151", "152", "159", "170", "178", "183", "185", "186", "188",
];

const MS_PER_DAY: i64 = 86_400_000;
const CHINA_MS: i64 = 8 * 3_600_000;

impl Orders {
    /// Orders of `users` users (at least 1).
    pub fn new(seed: u64, users: u32, times: Times) -> Self {
        Self {
            random: Rng::with_seed(seed),
            times,
            malformed: 0,
            event: 0,
            order: 0,
            day: 0,
            day_end_ms: i64::MIN,
            last: vec![None; users.max(1) as usize],
        }
    }

    /// Makes a share of the payloads, from 0 to 1, ones that cannot be decoded.
    #[must_use]
    pub fn malformed(mut self, share: f64) -> Self {
        self.malformed = chances(share);
        self
    }

    /// Writes the next payload into `out`, in place of what it holds.
    pub fn next_into(&mut self, out: &mut Vec<u8>) {
        let time_ms = self.times.of(self.event);
        self.next_at(time_ms, out);
    }

    /// As [`Orders::next_into`], at a time of the caller's choice (before lateness).
    pub fn next_at(&mut self, time_ms: i64, out: &mut Vec<u8>) {
        self.event += 1;
        out.clear();
        let modified_ms = time_ms - self.lateness_ms();
        let user = skewed(&mut self.random, self.last.len() as u32);
        let order = self.order_of(user, modified_ms);
        let random = &mut self.random;
        let person = trait_of(user, 1);

        out.push(b'{');
        push_member(out, "id");
        push_int(out, 100_001 + i64::from(user) * 7_919);
        push_text_member(out, "order_no", random, OddMember { null: 15, missing: 25 }, |out| {
            out.extend_from_slice(b"HX");
            push_digits(out, u64::from(order.day), 8);
            push_digits(out, u64::from(order.number), 8);
        });
        push_member(out, "order_type");
        push_digits(out, random.u64(..5), 1);
        push_member(out, "pay_time");
        match happens(random, 150) {
            true => out.extend_from_slice(b"null"),
            false => push_int(out, modified_ms + 60_000),
        }
        push_member(out, "order_price");
        push_hundredths(out, order.hundredths);
        push_text_member(out, "customer_name", random, OddMember::NEVER, |out| {
            push_name(out, person)
        });
        // One user in twenty shares a telephone with the one before.
        let holder = if person.is_multiple_of(20) {
            user.saturating_sub(1)
        } else {
            user
        };
        push_text_member(
            out,
            "customer_tel",
            random,
            OddMember { null: 12, missing: 13 },
            |out| {
                let number = trait_of(holder, 2);
                out.extend_from_slice(pick(&PREFIXES, number as u32).as_bytes());
                push_digits(out, (number >> 32) % 100_000_000, 8);
            },
        );
        push_text_member(out, "certificate_no", random, OddMember::NEVER, |out| {
            let number = trait_of(user, 3);
            push_digits(out, number % 100_000_000_000_000_000, 17);
            out.push(if (number >> 60) == 0 {
                b'X'
            } else {
                b'0' + ((number >> 60) % 10) as u8
            });
        });
        push_member(out, "gmt_created");
        push_int(out, order.created_ms);
        match random.u32(..1_000) {
            0..5 => {}
            draw => {
                push_member(out, "gmt_modified");
                if draw < 8 {
                    out.extend_from_slice(b"null")
                } else {
                    push_int(out, modified_ms)
                }
            }
        }
        let payable = match random.u32(..100) {
            0..2 => -order.hundredths,
            2..5 => 0,
            5..12 => order.hundredths * random.i64(70..140) / 100,
            _ => order.hundredths,
        };
        match random.u32(..1_000) {
            0..25 => {}
            draw => {
                push_member(out, "account_payble");
                if draw < 48 {
                    out.extend_from_slice(b"null")
                } else {
                    push_hundredths(out, payable)
                }
            }
        }
        out.push(b'}');
        if happens(random, self.malformed) {
            spoil(out, "id", random);
        }
    }

    fn lateness_ms(&mut self) -> i64 {
        match happens(&mut self.random, 20) {
            true => self.random.i64(0..2 * 3_600_000),
            false => self.random.i64(0..800),
        }
    }

    /// The user's last order once more, or a new one.
    fn order_of(&mut self, user: u32, modified_ms: i64) -> Order {
        if modified_ms >= self.day_end_ms || modified_ms < self.day_end_ms.saturating_sub(MS_PER_DAY) {
            let day = (modified_ms + CHINA_MS).div_euclid(MS_PER_DAY);
            self.day = calendar_day(day);
            self.day_end_ms = (day + 1) * MS_PER_DAY - CHINA_MS;
        }
        let again = happens(&mut self.random, 400);
        let Some(last) = self.last.get_mut(user as usize) else {
            return Order::at(modified_ms);
        };
        match last {
            Some(order) if again && order.created_ms <= modified_ms => *order,
            _ => {
                self.order += 1;
                // Prices are spread over the orders of magnitude from 50 to 2,500.
                let scale = self.random.f64();
                let hundredths = (5_000.0 * (1.0 + 49.0 * scale * scale * scale)) as i64;
                let day = self.day as u32;
                *last.insert(Order {
                    number: self.order,
                    day,
                    created_ms: modified_ms,
                    hundredths,
                })
            }
        }
    }
}

impl Order {
    fn at(created_ms: i64) -> Self {
        Self {
            number: 0,
            day: 0,
            created_ms,
            hundredths: 0,
        }
    }
}

/// The day that is `days` after 1970-01-01, as `yyyyMMdd`. (After Howard Hinnant's `civil_from_days`.)
fn calendar_day(days: i64) -> u64 {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year * 10_000 + month * 100 + day).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::{super::tests, *};

    const MEMBERS: [&str; 11] = [
        "id",
        "order_no",
        "order_type",
        "pay_time",
        "order_price",
        "customer_name",
        "customer_tel",
        "certificate_no",
        "gmt_created",
        "gmt_modified",
        "account_payble",
    ];

    #[test]
    fn orders_look_like_orders() {
        let orders = tests::check(275..=290, &MEMBERS, |seed| {
            let mut orders = Orders::new(seed, 2_000, tests::DAY);
            Box::new(move |out| orders.next_into(out))
        });
        let of_today = orders
            .iter()
            .filter(|order| order["gmt_modified"].as_i64() >= Some(tests::DAY.start_ms))
            .count();
        assert!(
            (19_000..20_000).contains(&of_today),
            "{of_today} of today: a few late ones are of yesterday"
        );
        assert!(orders.iter().any(|order| order["order_no"].is_null()));
        assert!(
            orders
                .iter()
                .any(|order| order["account_payble"].as_f64().is_some_and(|payable| payable < 0.0))
        );
        let numbers = |order: &serde_json::Value| order["order_no"].as_str().map(str::to_owned);
        let different: std::collections::HashSet<_> = orders.iter().filter_map(numbers).collect();
        assert!(
            (8_000..14_000).contains(&different.len()),
            "{} orders, others are later versions",
            different.len()
        );
        assert!(different.iter().all(|number| number.starts_with("HX2026031")));
    }

    #[test]
    fn a_share_is_malformed() {
        let mut orders = Orders::new(1, 100, tests::DAY).malformed(0.1);
        let mut payload = Vec::new();
        let broken = (0..10_000).filter(|_| {
            orders.next_into(&mut payload);
            std::str::from_utf8(&payload).unwrap();
            !serde_json::from_slice(&payload).is_ok_and(|order: serde_json::Value| order["id"].is_i64())
        });
        assert!((900..1_100).contains(&broken.count()));
    }

    #[test]
    fn days_have_their_calendar_names() {
        for (days, expected) in [
            (0, 19_700_101),
            (20_527, 20_260_315),
            (11_016, 20_000_229),
            (-1, 19_691_231),
        ] {
            assert_eq!(calendar_day(days), expected);
        }
    }
}
