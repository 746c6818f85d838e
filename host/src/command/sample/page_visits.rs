//! Scenario 3: pages that users visit.

use super::{
    OddMember, Times, chances, choose, happens, push_digits, push_hex, push_int, push_member, push_text_member, skewed,
    spoil,
};
use fastrand::Rng;

/// Visits of pages, about 135 bytes each, from pairs of an account and one of its devices.
///
/// One visit in sixteen is of somebody who is not logged in, and one device in a hundred has no number: accounts have
/// one or two devices.
#[derive(Clone, Debug)]
pub struct PageVisits {
    random: Rng,
    times: Times,
    malformed: u32,
    event: u64,
    pairs: u32,
}

/// As JSON texts: quotes are escaped.
const PAGES: [&str; 20] = [
    "首页",
    "我的保单",
    "健康险详情",
    "宠物险🐶",
    "积分兑换",
    "保险商城",
    "车险报价",
    "支付结果",
    "消息通知",
    "家庭保障🏠",
    "客服中心",
    "登录页",
    "查勘 & 定损",
    "order/confirm",
    "年金险\\\"尊享\\\"",
    "home",
    "理赔进度",
    "活动中心",
    "意外险/短期",
    "重疾险-计划A",
];

const TYPES: [&str; 7] = [
    "按钮点击",
    "submit",
    "share",
    "页面浏览",
    "click",
    "page_view",
    "exposure",
];

/// Accounts are scattered over eight digits by this factor, which shares no divisor with 10^8: no two meet.
const SCATTER: u64 = 61_803_399;

impl PageVisits {
    /// Visits of `pairs` (account, device) pairs (at least 1).
    pub fn new(seed: u64, pairs: u32, times: Times) -> Self {
        Self {
            random: Rng::with_seed(seed),
            times,
            malformed: 0,
            event: 0,
            pairs: pairs.max(1),
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

    /// As [`PageVisits::next_into`], at a time of the caller's choice (before lateness).
    pub fn next_at(&mut self, time_ms: i64, out: &mut Vec<u8>) {
        self.event += 1;
        out.clear();
        let random = &mut self.random;
        let pair = skewed(random, self.pairs);
        // Pairs 0 and 1 are of account 0, pair 2 of account 1, pairs 3 and 4 of account 2, and so on.
        let account = u64::from(pair) * 2 / 3;
        let late_ms = if happens(random, 20) {
            random.i64(0..600_000)
        } else {
            random.i64(0..800)
        };

        out.push(b'{');
        push_member(out, "log_time");
        push_int(out, time_ms - late_ms);
        if pair % 100 == 99 {
            if random.bool() {
                push_member(out, "device_id");
                out.extend_from_slice(b"null");
            }
        } else {
            push_text_member(out, "device_id", random, OddMember::NEVER, |out| {
                out.extend_from_slice(if pair.is_multiple_of(3) { b"android-" } else { b"iOS-" });
                push_hex(out, u64::from(pair.wrapping_mul(0x9e37_79b1)), 8);
            });
        }
        push_text_member(out, "account_id", random, OddMember { null: 37, missing: 27 }, |out| {
            out.push(b'U');
            push_digits(out, account * SCATTER % 100_000_000, 8);
        });
        let event_type = choose(random, &TYPES);
        push_text_member(
            out,
            "bury_point_type",
            random,
            OddMember { null: 19, missing: 23 },
            |out| {
                out.extend_from_slice(event_type.as_bytes());
            },
        );
        let page = choose(random, &PAGES);
        push_text_member(out, "page_name", random, OddMember { null: 21, missing: 16 }, |out| {
            out.extend_from_slice(page.as_bytes());
        });
        out.push(b'}');
        if happens(random, self.malformed) {
            spoil(out, "log_time", random);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests, *};
    use std::collections::HashSet;

    #[test]
    fn visits_look_like_visits() {
        let members = ["log_time", "device_id", "account_id", "bury_point_type", "page_name"];
        let visits = tests::check(130..=140, &members, |seed| {
            let mut visits = PageVisits::new(seed, 3_000, tests::DAY);
            Box::new(move |out| visits.next_into(out))
        });
        let known: Vec<_> = visits.iter().filter(|visit| visit["account_id"].is_string()).collect();
        assert!(
            (18_000..19_500).contains(&known.len()),
            "{} of known users",
            known.len()
        );
        let pairs: HashSet<String> = known
            .iter()
            .map(|visit| format!("{} {}", visit["account_id"], visit["device_id"]))
            .collect();
        assert!((2_700..=3_000).contains(&pairs.len()), "{} pairs", pairs.len());
        assert!(known.iter().any(|visit| visit["device_id"].is_null()));
        assert!(known.iter().any(|visit| visit["page_name"] == "年金险\"尊享\""));
    }
}
