//! Sample events: the three reference scenarios, made up from a seed.
//!
//! For `weir demo`, the benchmark and tests. The members, their order and their kinds of values are those of real
//! payloads: Chinese names, telephone numbers, a null or a missing member now and then, a few users who do most of what
//! happens, and times that ascend with some lateness. The same seed and settings give the same bytes, on every machine.
//!
//! ```
//! use weir::command::sample::{Orders, Times};
//!
//! // 2026-03-15 in Shanghai: a thousand orders of 200 users over the day.
//! let times = Times { start_ms: 1_773_504_000_000, span_ms: 86_400_000, events: 1_000 };
//! let mut orders = Orders::new(7, 200, times);
//! let mut payload = Vec::new();
//! orders.next_into(&mut payload);
//! assert!(payload.starts_with(b"{\"id\":"));
//! ```

mod orders;
mod page_visits;
mod policy_changes;

pub use orders::Orders;
pub use page_visits::PageVisits;
pub use policy_changes::{Customer, PolicyChanges, customers};

use fastrand::Rng;

/// When events happen: `events` of them, evenly over `span_ms` from `start_ms` on. Later ones go on at the same pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The time of the first, in milliseconds since 1970-01-01T00:00:00Z.
    pub start_ms: i64,
    /// How long the events take, in milliseconds.
    pub span_ms: u64,
    /// How many events there are in that span; at least 1.
    pub events: u64,
}

impl Times {
    /// The time of event `number`, from 0.
    fn of(self, number: u64) -> i64 {
        let passed_ms = u128::from(self.span_ms) * u128::from(number) / u128::from(self.events.max(1));
        self.start_ms
            .saturating_add(i64::try_from(passed_ms).unwrap_or(i64::MAX))
    }
}

/// Chances are given out of this many.
const CHANCES: u32 = 1_000;

/// True `chances` times out of [`CHANCES`].
fn happens(random: &mut Rng, chances: u32) -> bool {
    random.u32(..CHANCES) < chances
}

/// A share, as chances out of [`CHANCES`].
fn chances(share: f64) -> u32 {
    (share.clamp(0.0, 1.0) * f64::from(CHANCES)).round() as u32
}

/// One of `0 .. count`, low ones more often: number `n` comes up in proportion to `n` to the power of -2/3.
///
/// Of two million draws from 200,000 the most frequent gets 1.7 % and the rarest three, so that skew and the number of
/// keys both count.
fn skewed(random: &mut Rng, count: u32) -> u32 {
    let uniform = random.f64();
    ((uniform * uniform * uniform) * f64::from(count)) as u32
}

/// One of `choices`.
fn choose<'a>(random: &mut Rng, choices: &[&'a str]) -> &'a str {
    pick(choices, random.u32(..))
}

/// The entry of `choices` that `number` leads to.
fn pick<'a>(choices: &[&'a str], number: u32) -> &'a str {
    let place = (u64::from(number) * choices.len() as u64) >> 32;
    choices.get(place as usize).copied().unwrap_or_default()
}

/// A number that looks random and belongs to `of` alone: what a user keeps from one event to the next.
fn trait_of(of: u32, which: u64) -> u64 {
    Rng::with_seed(u64::from(of) << 8 | which).u64(..)
}

const SURNAMES: [&str; 24] = [
    "王", "李", "张", "刘", "陈", "杨", "黄", "赵", "吴", "周", "徐", "孙", "马", "朱", "胡", "郭", "何", "高", "林",
    "罗", "郑", "梁", "欧", "欧阳",
];

const GIVEN: [&str; 31] = [
    "伟", "芳", "娜", "敏", "静", "丽", "强", "磊", "军", "洋", "勇", "艳", "杰", "娟", "涛", "明", "超", "霞", "平",
    "刚", "桂", "英", "梓", "轩", "浩", "然", "涵", "雨", "桐", "欣", "𠮷",
];

/// Appends the name that belongs to `identity`.
fn push_name(out: &mut Vec<u8>, identity: u64) {
    out.extend_from_slice(pick(&SURNAMES, identity as u32).as_bytes());
    out.extend_from_slice(pick(&GIVEN, (identity >> 32) as u32).as_bytes());
    // Two given characters for five people in six.
    if !identity.is_multiple_of(6) {
        out.extend_from_slice(pick(&GIVEN, (identity.rotate_left(16) >> 32) as u32).as_bytes());
    }
}

/// Appends a number in decimal, with zeros in front up to `digits`.
fn push_digits(out: &mut Vec<u8>, number: u64, digits: usize) {
    let end = out.len();
    let mut rest = number;
    while rest > 0 || out.len() - end < digits.max(1) {
        out.push(b'0' + (rest % 10) as u8);
        rest /= 10;
    }
    if let Some(written) = out.get_mut(end..) {
        written.reverse();
    }
}

/// Appends a number in decimal.
fn push_int(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    push_digits(out, number.unsigned_abs(), 1);
}

/// Appends hundredths as JSON writes the double: `83.5` and not `83.50`.
fn push_hundredths(out: &mut Vec<u8>, hundredths: i64) {
    if hundredths < 0 {
        out.push(b'-');
    }
    let hundredths = hundredths.unsigned_abs();
    push_digits(out, hundredths / 100, 1);
    match (hundredths % 100 / 10, hundredths % 10) {
        (0, 0) => {}
        (tenths, 0) => {
            out.push(b'.');
            push_digits(out, tenths, 1);
        }
        _ => {
            out.push(b'.');
            push_digits(out, hundredths % 100, 2);
        }
    }
}

/// Appends a number in hexadecimal, `digits` long.
fn push_hex(out: &mut Vec<u8>, number: u64, digits: u32) {
    out.extend((0..digits).rev().map(|digit| {
        let nibble = (number >> (4 * digit) & 0xf) as u8;
        if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
    }));
}

/// How a text member turns out: there, null, or missing.
fn push_text_member(out: &mut Vec<u8>, name: &str, random: &mut Rng, odd: OddMember, value: impl FnOnce(&mut Vec<u8>)) {
    match odd.next(random) {
        Presence::Missing => {}
        Presence::Null => {
            push_member(out, name);
            out.extend_from_slice(b"null");
        }
        Presence::There => {
            push_member(out, name);
            out.push(b'"');
            value(out);
            out.push(b'"');
        }
    }
}

/// Appends a comma, if it is not the first member, and the name of a member.
fn push_member(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// How often a member is null or missing, in chances out of [`CHANCES`].
#[derive(Clone, Copy, Debug)]
struct OddMember {
    null: u32,
    missing: u32,
}

enum Presence {
    There,
    Null,
    Missing,
}

impl OddMember {
    const NEVER: Self = Self { null: 0, missing: 0 };

    fn next(self, random: &mut Rng) -> Presence {
        let draw = random.u32(..CHANCES);
        if draw < self.null {
            Presence::Null
        } else if draw < self.null + self.missing {
            Presence::Missing
        } else {
            Presence::There
        }
    }
}

/// Makes a good payload into one that no decoder may accept. `integer` is a declared column of integers.
fn spoil(payload: &mut Vec<u8>, integer: &str, random: &mut Rng) {
    let mut replace = |with: &str| {
        payload.clear();
        payload.extend_from_slice(with.as_bytes());
    };
    match random.u32(..9) {
        0 => replace("not json"),
        1 => replace("true"),
        2 => replace("{'id':1}"),
        3 => replace(&format!("{{\"{integer}\":\"12\"}}")),
        4 => replace(&format!("{{\"{integer}\":9223372036854775808}}")),
        5 => payload.push(b'}'),
        kind => {
            payload.pop();
            match kind {
                6 => payload.extend_from_slice(b",}"),
                7 => payload.extend_from_slice(br#","x":"\q"}"#),
                // Cut off: between two characters, so that it is still text.
                _ => payload.truncate(payload.iter().rposition(|&byte| byte == b':').unwrap_or(1)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value as Json;

    pub(super) const DAY: Times = Times {
        start_ms: 1_773_504_000_000,
        span_ms: 86_400_000,
        events: 20_000,
    };

    /// Checks what holds for all scenarios, and gives the payloads.
    pub(super) fn check(
        bytes_wanted: std::ops::RangeInclusive<usize>,
        members: &[&str],
        make: impl Fn(u64) -> Box<dyn FnMut(&mut Vec<u8>)>,
    ) -> Vec<Json> {
        let payloads = |seed| {
            let mut next = make(seed);
            let mut payload = Vec::new();
            let all = (0..DAY.events).map(|_| {
                next(&mut payload);
                payload.clone()
            });
            all.collect::<Vec<_>>()
        };
        let first = payloads(1);
        assert_eq!(first, payloads(1), "the same seed gives the same bytes");
        assert_ne!(first, payloads(2));
        let mean = first.iter().map(Vec::len).sum::<usize>() / first.len();
        assert!(bytes_wanted.contains(&mean), "{mean} bytes a payload");
        let parsed = first.iter().map(|payload| {
            let Ok(Json::Object(object)) = serde_json::from_slice(payload) else {
                panic!("{}", String::from_utf8_lossy(payload))
            };
            let known = |name: &String| members.contains(&name.as_str());
            assert!(object.keys().all(known), "{object:?}");
            Json::Object(object)
        });
        parsed.collect()
    }

    #[test]
    fn numbers_are_written_as_json_writes_them() {
        let written = |hundredths| {
            let mut out = Vec::new();
            push_hundredths(&mut out, hundredths);
            String::from_utf8(out).unwrap()
        };
        for (hundredths, expected) in [
            (0, "0"),
            (-27907, "-279.07"),
            (8350, "83.5"),
            (5, "0.05"),
            (10000, "100"),
        ] {
            assert_eq!(written(hundredths), expected);
        }
        let mut out = Vec::new();
        push_digits(&mut out, 42, 6);
        push_int(&mut out, i64::MIN);
        push_hex(&mut out, 0x9e37_79b1, 8);
        assert_eq!(out, b"000042-92233720368547758089e3779b1");
    }

    #[test]
    fn times_spread_over_the_span_and_go_on() {
        let times = Times {
            start_ms: 1_000,
            span_ms: 100,
            events: 4,
        };
        assert_eq!(
            [0, 1, 3, 4, 8].map(|number| times.of(number)),
            [1_000, 1_025, 1_075, 1_100, 1_200]
        );
        assert_eq!(Times { events: 0, ..times }.of(1), 1_100, "no division by zero");
    }

    #[test]
    fn skew_reaches_the_rare_ones_too() {
        let mut random = Rng::with_seed(3);
        let mut counts = vec![0u32; 1_000];
        for _ in 0..100_000 {
            counts[skewed(&mut random, 1_000) as usize] += 1;
        }
        assert!(
            counts[0] > 8_000 && counts[999] > 10,
            "{} and {}",
            counts[0],
            counts[999]
        );
    }

    #[test]
    fn what_is_spoilt_is_no_event() {
        let mut random = Rng::with_seed(5);
        for _ in 0..1_000 {
            let mut payload = br#"{"id":1,"text":"x"}"#.to_vec();
            spoil(&mut payload, "id", &mut random);
            let accepted = match serde_json::from_slice::<Json>(&payload) {
                Ok(Json::Object(object)) => object["id"].is_i64(),
                _ => false,
            };
            assert!(!accepted, "{}", String::from_utf8_lossy(&payload));
        }
    }
}
