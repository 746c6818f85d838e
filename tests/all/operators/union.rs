//! Unions against a plain model: one list, sorted by arrival.

use super::{Cuts, cuts, run};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use weir_tests::{
    seed::check_property,
    table::{Cell, Counts},
};

const CASES: u32 = 200;

/// The late rows of the windows come with their events; the other edges hold all, some and some twice. Columns stand in
/// different orders, and one of them is read by nobody but the union's own reader.
const PIPELINE: &str = r#"
name = "p"
source = { stream = "S", subject = "s", columns = { t = "int", raise = "boolean", n = "int", k = "text" } }
event_time = { column = "t" }

[[step]]
name = "windows"
unread = true
window = { tumbling = "10 ms", columns = { rows = { count = "*" } } }

[[step]]
name = "least"
from = "source"
window = { tumbling = "10 ms", columns = { n = { min = "n" } } }

[[step]]
name = "most"
from = "source"
window = { tumbling = "10 ms", columns = { n = { max = "n" } } }

[[step]]
name = "ends"
union = ["most", "least"]

[[step]]
name = "alerts"
from = "source"
on_crossing = { key = ["k"], raise = "raise" }

[[step]]
name = "some"
union = ["alerts.cleared", "windows.late", "alerts"]

[[step]]
name = "all"
union = ["some", "source"]

[[sink]]
from = "all"
table = "rows"
columns = ["k", "n"]

[[sink]]
from = "ends"
table = "ends"
columns = ["n"]

[[sink]]
from = "some"
table = "some"
columns = ["n", "t"]
"#;

type Event = (u8, bool, Option<u8>);

fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec((0u8..60, any::<bool>(), prop::option::of(0u8..2)), 0..40)
}

#[test]
fn rows_of_several_edges_come_in_order_of_arrival() {
    check_property(CASES, &(events(), cuts()), |(events, cuts): &(Vec<Event>, Cuts)| {
        let text = |k: Option<u8>| k.map(|k| format!("k{k}"));
        let line = |(n, &(t, raise, k)): (usize, &Event)| {
            json!({ "t": t, "raise": raise, "n": n, "k": text(k) }).to_string() + "\n"
        };
        let lines: String = events.iter().enumerate().map(line).collect();
        let contents = run(PIPELINE, &lines, cuts);

        let (mut rows, mut some, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        // By start, the numbers of the first and of the last event.
        let mut open: BTreeMap<u8, (usize, usize)> = BTreeMap::new();
        for (n, &(t, raise, k)) in events.iter().enumerate() {
            let before = &events[..n];
            let was_raised = before
                .iter()
                .rev()
                .find(|event| event.2 == k)
                .is_some_and(|event| event.1);
            // A window goes as soon as an event comes that is at its end or after it.
            let is_late = before.iter().any(|event| event.0 >= t / 10 * 10 + 10);
            if !is_late {
                open.entry(t / 10 * 10).or_insert((n, n)).1 = n;
            }
            let latest = events[..=n].iter().map(|event| event.0).max().expect("there is one");
            let still_open = open.split_off(&(latest / 10 * 10));
            let closed = std::mem::replace(&mut open, still_open);
            // Of the rows of one event those of the edge that is named first.
            let most = closed.values().map(|window| window.1);
            let least = closed.values().map(|window| window.0);
            ends.extend(most.chain(least).map(|n| vec![Cell::Int(n as i64)]));
            let edges = [was_raised && !raise, is_late, !was_raised && raise];
            let n = Cell::Int(n as i64);
            for _ in edges.iter().filter(|&&is_on| is_on) {
                some.push(vec![n.clone(), Cell::Int(t.into())]);
                rows.push(vec![text(k).map_or(Cell::Null, Cell::Text), n.clone()]);
            }
            rows.push(vec![text(k).map_or(Cell::Null, Cell::Text), n]);
        }
        assert_eq!(contents.tables["ends"].rows, ends, "ends: found, and expected");
        assert_eq!(contents.tables["some"].rows, some, "some: found, and expected");
        assert_eq!(contents.tables["rows"].rows, rows, "rows: found, and expected");
        let count = events.len() as u64;
        let counts = Counts {
            events: count,
            applied: count,
            // As `deduplicate` counts them, which is held to its own model.
            late_rows: contents.counts.late_rows,
            ..Counts::default()
        };
        assert_eq!(contents.counts, counts);
    });
}

#[test]
fn a_union_may_come_right_after_a_step_with_several_outputs() {
    let pipeline = format!(
        r#"
name = "p"
[source]
stream = "S"
subject = "s"
columns = {{ id = "int", now_premium = "text", now_info = "text", raw_premium = "text", raw_info = "text" }}

[[step]]
name = "first"
deduplicate = {{ key = ["id"], within = "1 h" }}

[[step]]
name = "compare"
from = "source"
unread = true
stage = {{ module = "{}" }}

[[step]]
name = "all"
union = ["first", "first.late"]

[[sink]]
table = "t"
"#,
        weir_tests::guest("premium-drop").display()
    );
    // It reads what it names, and not the step before it.
    let file = weir::definition::File::from_text("p.toml", pipeline);
    weir::plan::Plan::build(&file, weir_tests::replay::host()).expect("the pipeline fits");
}
