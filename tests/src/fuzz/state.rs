//! The state log of a database, read back.

use crate::replay::host;
use std::sync::{Arc, LazyLock};
use weir::{definition::File, engine::Engine, format::Decoder, plan::Plan};

/// A pipeline with every kind of state.
const PIPELINE: &str = r#"
name = "states"
event_time = { column = "at" }
source = { stream = "S", subject = "s", columns = { k = "int", g = "text", n = "double", at = "int", on = "boolean" } }

[[step]]
name = "latest"
last_value = { key = ["k"], ttl = "1 h" }

[[step]]
name = "totals"
[step.aggregate]
group_by = ["g"]
columns = { rows = { count = "*" }, sum = { sum = "n" }, least = { min = "n" }, different = { count_distinct = "k" } }

[[step]]
name = "sketches"
from = "source"
[step.aggregate]
group_by = ["g"]
columns = { about = { approx_count_distinct = "k" }, median = { quantile = "n", q = 0.5 } }

[[step]]
name = "tumbling"
from = "source"
window = { tumbling = "1 min", group_by = ["k"], columns = { first = { first = "g" }, total = { sum = "n" } }, emit = "update", lateness = "1 min" }

[[step]]
name = "hopping"
from = "source"
window = { hopping = { size = "1 min", every = "10 s" }, group_by = ["k"], columns = { rows = { count = "*" } } }

[[step]]
name = "sessions"
from = "source"
window = { session = { gap = "10 s" }, group_by = ["k"], columns = { rows = { count = "*" }, last = { last = "g" } } }

[[step]]
name = "best"
from = "source"
window = { tumbling = "1 min", group_by = ["g"], top = { n = 2, by = "n", columns = ["k"] } }

[[step]]
name = "sliding"
from = "source"
window = { sliding = { rows = 3 }, group_by = ["k"], columns = { mean = { avg = "n" } } }

[[step]]
name = "hour"
from = "source"
window = { sliding = { time = "1 h" }, group_by = ["k"], columns = { mean_of_hour = { avg = "n" } } }

[[step]]
name = "once"
from = "source"
deduplicate = { key = ["k"], within = "1 min" }

[[step]]
name = "alerts"
from = "source"
on_crossing = { key = ["k"], raise = "on" }

[[sink]]
from = "totals"
table = "totals"
primary_key = ["g"]

[[sink]]
from = "latest"
table = "by_group"
primary_key = ["g"]

[[sink]]
from = "sketches"
table = "sketches"
primary_key = ["g"]

[[sink]]
from = "tumbling"
table = "tumbling"
primary_key = ["k", "window_start"]

[[sink]]
from = "hopping"
table = "hopping"

[[sink]]
from = "sessions"
table = "sessions"

[[sink]]
from = "best"
table = "best"

[[sink]]
from = "sliding"
table = "sliding"

[[sink]]
from = "hour"
table = "hour"

[[sink]]
from = "once"
table = "once"

[[sink]]
from = "alerts"
table = "alerts"
"#;

static PLAN: LazyLock<Arc<Plan>> = LazyLock::new(|| {
    let file = File::from_text("states.toml", PIPELINE);
    Arc::new(Plan::build(&file, host()).unwrap_or_else(|error| panic!("{error}")))
});

/// The seed of the states: where keys belong depends on it.
const SEED: u64 = 7;

fn engine() -> Engine {
    Engine::new(PLAN.clone(), host(), SEED).expect("the plan can run")
}

/// The names of all states, in order: the first byte of an input is a number among them.
fn states() -> Vec<String> {
    engine().state_sizes().into_iter().map(|(name, _)| name).collect()
}

/// What states come to over these lines of events: an input for each state, as the log has it.
///
/// # Panics
/// When the lines are no events.
pub fn inputs(events: &[u8]) -> Vec<Vec<u8>> {
    let mut engine = engine();
    process(&mut engine, events);
    let names = states();
    let turn = engine.take_turn(1).expect("no invariant breaks");
    let rows = turn.log.iter().filter_map(|row| {
        let state = names.iter().position(|name| *name == row.state)?;
        Some([&[state as u8], row.entries.as_slice()].concat())
    });
    rows.collect()
}

fn process(engine: &mut Engine, events: &[u8]) {
    let mut decoder = Decoder::of(&PLAN, 64).expect("the plan can be decoded for");
    for (sequence, event) in (1u64..).zip(events.split(|byte| *byte == b'\n')) {
        decoder.push(sequence, Some(0), event);
        if decoder.is_full() {
            engine.process(decoder.take()).expect("no invariant breaks");
        }
    }
    engine.process(decoder.take()).expect("no invariant breaks");
}

/// Entries of a state as a database could hold them that somebody made: they are refused, or held. (What a disk damaged
/// does not come so far: it has another checksum.)
///
/// # Panics
/// When it does neither.
pub fn state(bytes: &[u8]) {
    let Some((state, entries)) = bytes.split_first() else {
        return;
    };
    let names = states();
    let name = &names[usize::from(*state) % names.len()];
    let mut engine = engine();
    if let Err(error) = engine.restore(name, entries) {
        let message = error.to_string();
        assert!(message.contains("its bytes are damaged"), "{message}");
        return;
    }
    engine.restored();
    let held: usize = engine.state_sizes().iter().map(|(_, entries)| entries).sum();
    assert!(held <= entries.len(), "{held} entries of {} bytes", entries.len());
}
