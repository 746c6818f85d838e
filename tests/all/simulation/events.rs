//! The events of a simulation, and what has to come of them.

use serde_json::json;
use std::collections::BTreeMap;
use weir_tests::{seed::Random, table::Cell};

/// Keyed state, sums, windows with late rows, alerts, and payloads that are no events.
pub(crate) const PIPELINE: &str = r#"
name = "simulated"
event_time = { column = "at", out_of_orderness = "20 ms" }
source = { stream = "S", subject = "s", columns = { k = "int", g = "text", n = "int", at = "int", raised = "boolean" } }

[[step]]
name = "latest"
last_value = { key = ["k"], columns = ["g", "n"] }

[[step]]
name = "totals"
[step.aggregate]
group_by = ["g"]
columns = { keys = { count = "*" }, total = { sum = "n" }, least = { min = "n" } }

[[step]]
name = "minutes"
from = "source"
window = { tumbling = "50 ms", group_by = ["k"], columns = { events = { count = "*" }, total = { sum = "n" } } }

[[step]]
name = "alerts"
from = "source"
on_crossing = { key = ["k"], raise = "raised" }

[[sink]]
from = "latest"
table = "latest"
primary_key = ["k"]

[[sink]]
from = "totals"
table = "totals"
primary_key = ["g"]

[[sink]]
from = "minutes"
table = "minutes"

[[sink]]
from = "minutes.late"
table = "late"
columns = ["k", "at"]

[[sink]]
from = "alerts"
subject = "alerts"
columns = ["k", "n"]
"#;

/// An event; nothing for a payload that is none.
pub(crate) type Event = Option<(i64, Option<String>, i64, i64, bool)>;

/// Events in some disorder.
pub(crate) fn events(random: &mut Random, count: usize) -> Vec<Event> {
    (0..count)
        .map(|number| {
            (!random.once_in(15)).then(|| {
                let g = (!random.once_in(5)).then(|| format!("g{}", random.below(3)));
                let at = 10 * number as i64 + random.below(60) as i64;
                (
                    random.below(4) as i64,
                    g,
                    random.below(100) as i64 - 50,
                    at,
                    random.once_in(3),
                )
            })
        })
        .collect()
}

/// The payload of an event.
pub(crate) fn payload(event: &Event) -> Vec<u8> {
    match event {
        None => b"broken".to_vec(),
        Some((k, g, n, at, raised)) => json!({"k": k, "g": g, "n": n, "at": at, "raised": raised})
            .to_string()
            .into_bytes(),
    }
}

/// What a plain reading of the events gives: the tables of the keyed steps, and the alerts.
pub(crate) fn expected(events: &[Event]) -> (BTreeMap<&'static str, Vec<Vec<Cell>>>, Vec<String>) {
    let mut latest: BTreeMap<i64, (Option<String>, i64)> = BTreeMap::new();
    let mut raised_before: BTreeMap<i64, bool> = BTreeMap::new();
    let mut alerts = Vec::new();
    for (k, g, n, _, raised) in events.iter().flatten() {
        let row = latest.entry(*k).or_default();
        if g.is_some() {
            row.0.clone_from(g);
        }
        row.1 = *n;
        if *raised && !raised_before.insert(*k, *raised).unwrap_or(false) {
            alerts.push(json!({"k": k, "n": n}).to_string());
        }
        raised_before.insert(*k, *raised);
    }
    let mut totals: BTreeMap<Option<String>, (i64, i64, i64)> = BTreeMap::new();
    for (g, n) in latest.values() {
        let total = totals.entry(g.clone()).or_insert((0, 0, i64::MAX));
        *total = (total.0 + 1, total.1 + n, total.2.min(*n));
    }
    let text = |text: &Option<String>| text.clone().map_or(Cell::Null, Cell::Text);
    let latest = latest
        .iter()
        .map(|(k, (g, n))| vec![Cell::Int(*k), text(g), Cell::Int(*n)]);
    let totals = totals
        .iter()
        .map(|(g, (keys, total, least))| vec![text(g), Cell::Int(*keys), Cell::Int(*total), Cell::Int(*least)]);
    let mut tables = BTreeMap::from([("latest", latest.collect::<Vec<_>>()), ("totals", totals.collect())]);
    tables.values_mut().for_each(|rows| rows.sort());
    (tables, alerts)
}
