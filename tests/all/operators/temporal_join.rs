//! Lookups in versions against a plain model, which keeps all versions and looks through them for every row.

use super::{
    Cuts, cuts, run_counting_states,
    timed::{Mark, marks, times},
};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;
use weir_tests::{
    guest,
    seed::check_property,
    table::{Cell, Counts},
};

const CASES: u32 = 500;

/// What an event is besides a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Also {
    /// A version of a key.
    Version(Option<u8>),
    Nothing,
    /// The rule rejects it, so it is not even a row.
    Rejected,
}

/// The key that a row looks up, and what else there is in the event.
type Event = (Option<u8>, Also);

/// When events happened and what they are; whether all columns are added, and how long a version is valid at most.
type Case = ((Vec<i64>, Vec<Event>), (bool, Option<i64>), Cuts);

/// The rule drops what is no version, and gives a text with each one that is.
fn pipeline(columns: &str, ttl: Option<i64>) -> String {
    let ttl = ttl.map(|ttl| format!("ttl = \"{ttl} ms\"")).unwrap_or_default();
    let module = guest("hostile");
    format!(
        r#"
        name = "p"
        source = {{ stream = "S", subject = "s", columns = {{ t = "int", c = "int", id = "int", what = "text", n = "int" }} }}
        event_time = {{ column = "t", out_of_orderness = "7 ms" }}
        [[step]]
        name = "versions"
        stage = {{ module = '{}' }}
        [[step]]
        name = "rows"
        from = "source"
        [step.lookup]
        versions_from = "versions"
        on = {{ id = "c" }}
        {columns}
        {ttl}
        [[sink]]
        table = "given"
        columns = ["n", "c", "echo"]
        [[sink]]
        from = "rows.late"
        table = "late"
        columns = ["n"]
        [[sink]]
        from = "rows.late_versions"
        table = "late_versions"
        columns = ["echo", "id"]
        "#,
        module.display()
    )
}

fn line((n, (t, (c, also))): (usize, (&i64, &Event))) -> String {
    let (id, what) = match also {
        Also::Version(id) => (*id, format!("v{n}")),
        Also::Nothing => (Some(0), "drop".to_owned()),
        Also::Rejected => (Some(0), "reject".to_owned()),
    };
    json!({ "t": t, "c": c, "id": id, "what": what, "n": n }).to_string() + "\n"
}

fn int(value: Option<u8>) -> Cell {
    value.map_or(Cell::Null, |value| Cell::Int(value.into()))
}

fn echo(n: usize) -> Cell {
    Cell::Text(format!("<v{n}>"))
}

#[test]
fn rows_meet_the_version_that_was_valid_when_they_happened() {
    let key = || prop::option::weighted(0.85, 0u8..2);
    let also = prop_oneof![
        4 => key().prop_map(Also::Version),
        3 => Just(Also::Nothing),
        1 => Just(Also::Rejected),
    ];
    let events = (times(60), prop::collection::vec((key(), also), 60));
    let settings = (any::<bool>(), prop::option::of(1i64..40));
    check_property(
        CASES,
        &(events, settings, cuts()),
        |((times, events), (all_columns, ttl), cuts): &Case| {
            let end_ms = |begun_ms: i64| ttl.map_or(i64::MAX, |ttl| begun_ms + ttl);
            let columns = if *all_columns { "" } else { "columns = [\"echo\"]" };
            let lines: String = times.iter().zip(events).enumerate().map(line).collect();
            let (contents, late_rows, states) = run_counting_states(&pipeline(columns, *ttl), &lines, cuts);

            // An event that is rejected has no effect, and moves nothing.
            let alive = times.iter().zip(events).enumerate();
            let alive: Vec<(usize, (i64, Event))> = alive
                .map(|(n, (t, event))| (n, (*t, *event)))
                .filter(|(_, (_, event))| event.1 != Also::Rejected)
                .collect();
            let alive_times: Vec<i64> = alive.iter().map(|(_, (t, _))| *t).collect();
            let [mut given, mut late, mut late_versions] = [Vec::new(), Vec::new(), Vec::new()];
            let mut waiting: Vec<(i64, usize, u8)> = Vec::new();
            let mut versions: Vec<(u8, i64, usize)> = Vec::new();
            let mut filtered = 0;
            for (&(n, (t, (c, also))), mark) in alive.iter().zip(marks(&alive_times)) {
                let mark: Mark = mark;
                let mut is_applied = false;
                if let Also::Version(Some(id)) = also {
                    let is_newer =
                        |&(other, time, _): &(u8, i64, usize)| other == id && time > t && time <= mark.before_ms;
                    if mark.is_late() && (versions.iter().any(is_newer) || end_ms(t) <= mark.before_ms) {
                        late_versions.push(vec![echo(n), int(Some(id))]);
                    }
                    versions.push((id, t, n));
                    is_applied = true;
                }
                match c {
                    _ if mark.is_late() => late.push(vec![Cell::Int(n as i64)]),
                    Some(c) => waiting.push((t, n, c)),
                    None if is_applied => {}
                    None => filtered += 1,
                }
                waiting.sort_unstable();
                for (t, n, c) in waiting.extract_if(.., |(t, ..)| *t < mark.after_ms) {
                    let valid = versions.iter().filter(|(id, time, _)| *id == c && *time <= t);
                    if let Some((_, begun_ms, version)) = valid.max_by_key(|(_, time, n)| (*time, *n))
                        && t < end_ms(*begun_ms)
                    {
                        given.push(vec![Cell::Int(n as i64), int(Some(c)), echo(*version)]);
                    }
                }
            }
            // Of each key the version that is valid at the watermark, if one still is, and those after it.
            let watermark_ms = marks(&alive_times).last().map_or(i64::MIN, |mark| mark.after_ms);
            let held = (0..2).map(|id| {
                let of_key = versions.iter().filter(|(of, ..)| *of == id);
                let begun: BTreeSet<i64> = of_key.map(|(_, begun_ms, _)| *begun_ms).collect();
                let valid = begun.range(..=watermark_ms).next_back();
                let later = begun.iter().filter(|begun_ms| **begun_ms > watermark_ms).count();
                later + usize::from(valid.is_some_and(|begun_ms| end_ms(*begun_ms) > watermark_ms))
            });
            assert_eq!(states["rows/versions"], held.sum::<usize>(), "versions that are held");
            let tables = &contents.tables;
            assert_eq!(tables["given"].rows, given, "given: found, and expected");
            assert_eq!(tables["late"].rows, late, "late: found, and expected");
            assert_eq!(
                tables["late_versions"].rows, late_versions,
                "late versions: found, and expected"
            );
            assert_eq!(
                late_rows,
                (late.len() + late_versions.len()) as u64,
                "rows that are counted as late"
            );
            let (count, alive) = (times.len() as u64, alive.len() as u64);
            let counts = Counts {
                events: count,
                applied: alive - filtered,
                filtered,
                dead_letters: count - alive,
                empty: 0,
                late_rows,
                dead_rows: 0,
            };
            assert_eq!(contents.counts, counts);
        },
    );
}
