//! What is published: golden cases and made-up events, in one stream.

use crate::server::{INSURANCE, SUBJECTS};
use std::{fs, path::Path};
use weir::command::sample::{Orders, PageVisits, PolicyChanges, Times, customers};
use weir_tests::{
    golden::{Case, cases},
    pipeline,
    seed::Random,
};

/// A subject and a payload.
pub(crate) type Event = (&'static str, Vec<u8>);

/// The scenarios, in the order of [`SUBJECTS`].
pub(crate) const SCENARIOS: [&str; 3] = ["hourly-orders", "premium-drop", "last-page"];

/// Customers that are watched.
const CUSTOMERS: u32 = 300;

/// The subject of a scenario.
pub(crate) fn subject_of(scenario: &str) -> &'static str {
    let at = SCENARIOS.iter().position(|known| *known == scenario);
    SUBJECTS[at.unwrap_or_else(|| panic!("{scenario} is no scenario with a subject in stream {INSURANCE}"))]
}

/// The scenario of a golden case.
pub(crate) fn scenario_of(case: &Case) -> &str {
    case.name.split('/').next().unwrap_or_default()
}

/// Whether a case is one that the reference engine ran; the others have streams of their own.
pub(crate) fn is_of_the_reference(case: &Case) -> bool {
    SCENARIOS.contains(&scenario_of(case))
}

/// The golden case of that name.
pub(crate) fn case(name: &str) -> Case {
    cases()
        .into_iter()
        .find(|case| case.name == name)
        .unwrap_or_else(|| panic!("there is no case {name}"))
}

/// The events of a golden case.
pub(crate) fn of_case(case: &Case) -> Vec<Event> {
    let subject = subject_of(scenario_of(case));
    let input = case.input_bytes();
    let lines = input.strip_suffix(b"\n").unwrap_or(&input).split(|&byte| byte == b'\n');
    lines.map(|line| (subject, line.to_vec())).collect()
}

/// Several rows of events as one, each in its own order.
pub(crate) fn interleaved(random: &mut Random, rows: Vec<Vec<Event>>) -> Vec<Event> {
    let mut rows: Vec<_> = rows.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::new();
    while !rows.is_empty() {
        let at = random.below(rows.len());
        match rows[at].next() {
            Some(event) => all.push(event),
            None => drop(rows.swap_remove(at)),
        }
    }
    all
}

/// Made-up events of all scenarios over the day that [`crate::NOW`] is in; some are malformed.
pub(crate) fn made_up(random: &mut Random, count: usize) -> Vec<Event> {
    // Midnight in Shanghai.
    let times = Times {
        start_ms: 1_773_504_000_000,
        span_ms: 43_200_000,
        events: count as u64 / 3,
    };
    let mut orders = Orders::new(random.number(), 2_000, times).malformed(0.02);
    let mut changes = PolicyChanges::new(random.number(), CUSTOMERS, times).malformed(0.02);
    let mut visits = PageVisits::new(random.number(), 3_000, times).malformed(0.02);
    let mut made = |_| {
        let which = random.below(3);
        let mut payload = Vec::new();
        match which {
            0 => orders.next_into(&mut payload),
            1 => changes.next_into(&mut payload),
            _ => visits.next_into(&mut payload),
        }
        (SUBJECTS[which], payload)
    };
    (0..count).map(&mut made).collect()
}

/// Writes the rows of the lookup table that made-up events belong to.
pub(crate) fn write_customers(file: &Path) {
    let (mut rows, mut row) = (Vec::new(), Vec::new());
    for customer in customers(CUSTOMERS) {
        customer.write_into(&mut row);
        rows.extend_from_slice(&row);
        rows.push(b'\n');
    }
    fs::write(file, rows).expect("the rows can be written");
}

/// The pipeline files of all scenarios.
pub(crate) fn pipelines() -> Vec<std::path::PathBuf> {
    SCENARIOS.map(pipeline).into()
}
