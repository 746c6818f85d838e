//! `window = { over = … }`.

use super::{or_null, replay, rows};
use std::collections::{BTreeMap, BTreeSet};
use weir_tests::seed::{self, Random};

const CASES: usize = 150;

#[derive(Clone, Debug)]
struct Event {
    key: Option<i64>,
    value: Option<i64>,
    at: i64,
}

impl Event {
    fn random(random: &mut Random, now: &mut i64) -> Self {
        *now += random.below(4) as i64;
        let late = if random.once_in(4) { random.below(12) as i64 } else { 0 };
        Self {
            key: (!random.once_in(6)).then(|| random.below(3) as i64),
            value: (!random.once_in(5)).then(|| random.below(4) as i64 - 1),
            at: *now - late,
        }
    }

    fn json(&self) -> String {
        let (key, value) = (or_null(self.key), or_null(self.value));
        format!(r#"{{"key":{key},"value":{value},"at":{}}}"#, self.at)
    }

    /// As a table shows it.
    fn cells(&self) -> String {
        format!("{} {} {}", or_null(self.key), or_null(self.value), self.at)
    }
}

/// What the aggregates are over some rows.
fn aggregates(seen: &[&Event]) -> String {
    let values: Vec<i64> = seen.iter().filter_map(|event| event.value).collect();
    let distinct: BTreeSet<i64> = values.iter().copied().collect();
    let sum = (!values.is_empty()).then(|| values.iter().sum::<i64>());
    format!(
        "{} {} {} {} {}",
        seen.len(),
        or_null(sum),
        distinct.len(),
        or_null(values.iter().min()),
        or_null(values.iter().max())
    )
}

fn pipeline(sliding: &str, out_of_orderness: i64) -> String {
    let late = match sliding.contains("time") {
        true => "[[sink]]\nfrom = \"seen.late\"\ntable = \"late\"\n",
        false => "",
    };
    format!(
        r#"
name = "sliding"
event_time = {{ column = "at", out_of_orderness = "{out_of_orderness} ms" }}
source = {{ stream = "S", subject = "s", columns = {{ key = "int", value = "int", at = "int" }} }}
[[step]]
name = "seen"
[step.window]
over = {sliding}
group_by = ["key"]
[step.window.columns]
n = {{ count = "*" }}
total = {{ sum = "value" }}
kinds = {{ count_distinct = "value" }}
least = {{ min = "value" }}
most = {{ max = "value" }}
[[sink]]
table = "seen"
{late}"#
    )
}

#[test]
fn sliding_rows_see_the_last_ones_of_their_group() {
    seed::with_seed(|random| {
        for _ in 0..CASES {
            let (mut now, count) = (0, 1 + random.below(5));
            let events: Vec<Event> = (0..random.below(60) + 1)
                .map(|_| Event::random(random, &mut now))
                .collect();
            let lines: Vec<String> = events.iter().map(Event::json).collect();
            let outcome = replay(&pipeline(&format!("{{ rows = {count} }}"), 0), &lines, random);
            let expected: Vec<String> = events
                .iter()
                .enumerate()
                .map(|(at, event)| {
                    let group: Vec<&Event> = events[..=at].iter().filter(|other| other.key == event.key).collect();
                    let seen = &group[group.len().saturating_sub(count)..];
                    format!("{} {}", event.cells(), aggregates(seen))
                })
                .collect();
            assert_eq!(rows(&outcome, "seen"), expected, "the last {count} rows of {lines:#?}");
            assert_eq!(outcome.late_rows, 0);
        }
    });
}

#[test]
fn sliding_time_sees_the_rows_of_the_last_while() {
    seed::with_seed(|random| {
        let mut all_late = 0;
        for _ in 0..CASES {
            let (mut now, span, disorder) = (0, 1 + random.below(12) as i64, random.below(8) as i64);
            let events: Vec<Event> = (0..random.below(60) + 1)
                .map(|_| Event::random(random, &mut now))
                .collect();
            let lines: Vec<String> = events.iter().map(Event::json).collect();
            let pipeline = pipeline(&format!("{{ time = \"{span} ms\" }}"), disorder);
            let outcome = replay(&pipeline, &lines, random);

            let (mut watermark, mut in_time, mut late) = (i64::MIN, Vec::new(), Vec::new());
            for event in &events {
                match event.at < watermark {
                    true => late.push(event.cells()),
                    false => in_time.push(event),
                }
                watermark = watermark.max(event.at - disorder);
            }
            in_time.sort_by_key(|event| event.at);
            let told = in_time.iter().take_while(|event| event.at <= watermark).enumerate();
            let expected: Vec<String> = told
                .map(|(at, event)| {
                    let before = in_time[..=at].iter().copied();
                    let seen: Vec<&Event> = before
                        .filter(|other| other.key == event.key && other.at > event.at - span)
                        .collect();
                    format!("{} {}", event.cells(), aggregates(&seen))
                })
                .collect();
            assert_eq!(rows(&outcome, "seen"), expected, "{span} ms of {lines:#?}\n{pipeline}");
            assert_eq!(rows(&outcome, "late"), late);
            assert_eq!(outcome.late_rows, late.len());
            all_late += late.len();
        }
        assert!(all_late > CASES, "some rows were late");
    });
}

#[test]
fn groups_of_sliding_rows_are_forgotten() {
    seed::with_seed(|random| {
        let mut forgotten = 0;
        for _ in 0..CASES {
            let (mut now, count, disorder) = (0, 1 + random.below(5), random.below(8) as i64);
            let ttl = 1 + random.below(20) as i64;
            let events: Vec<Event> = (0..random.below(60) + 1)
                .map(|_| Event::random(random, &mut now))
                .collect();
            let lines: Vec<String> = events.iter().map(Event::json).collect();
            let pipeline = pipeline(&format!("{{ rows = {count}, ttl = \"{ttl} ms\" }}"), disorder);
            let outcome = replay(&pipeline, &lines, random);

            // By group the rows since it began, and when it was touched last.
            let mut groups: BTreeMap<Option<i64>, (Vec<&Event>, i64)> = BTreeMap::new();
            let (mut watermark, mut expected) = (i64::MIN, Vec::new());
            for event in &events {
                let (group, touched) = groups.entry(event.key).or_insert((Vec::new(), i64::MIN));
                group.push(event);
                *touched = event.at.max(watermark).max(*touched);
                let seen = &group[group.len().saturating_sub(count)..];
                expected.push(format!("{} {}", event.cells(), aggregates(seen)));
                watermark = watermark.max(event.at - disorder);
                forgotten += groups
                    .extract_if(.., |_, (_, touched)| *touched + ttl <= watermark)
                    .count();
            }
            assert_eq!(rows(&outcome, "seen"), expected, "{ttl} ms of {lines:#?}\n{pipeline}");
            // Nothing is left of a group that is forgotten.
            let held: usize = groups.values().map(|(group, _)| group.len().min(count)).sum();
            let sizes = ["seen/rows", "seen/groups", "seen/touched"].map(|state| outcome.states[state]);
            assert_eq!(
                sizes,
                [held, groups.len(), groups.len()],
                "{ttl} ms of {lines:#?}\n{pipeline}"
            );
        }
        assert!(forgotten > CASES, "some groups were forgotten");
    });
}
