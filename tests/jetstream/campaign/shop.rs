//! A pipeline with an operator of each kind, its events, and a plain model of what it leaves: one event at a time, nothing
//! but maps and lists.

use crate::events::Event;
use std::{collections::BTreeMap, fmt::Write as _};
use weir_tests::{
    guest,
    seed::Random,
    table::{Cell, Counts, Table},
};

/// The stream, and the subjects of its two inputs.
pub(super) const STREAM: &str = "SHOP";
pub(super) const ORDERS: &str = "shop.orders";
pub(super) const PAYMENTS: &str = "shop.payments";

/// The pipeline's name.
pub(super) const PIPELINE: &str = "shop";

/// Where the rows of the two outputs of the crossing go.
pub(super) const RAISED: &str = "alerts.raised";
pub(super) const CLEARED: &str = "alerts.cleared";

/// The rule rejects orders whose number this divides, after all others have seen them.
const MALFORMED: u64 = 97;

/// How far out of order events may come, how long a window is, how far a payment may be from its order, and how much
/// event time passes from one event to the next.
const OUT_OF_ORDERNESS_MS: i64 = 2_000;
const WINDOW_MS: i64 = 10_000;
const INTERVAL_MS: i64 = 300;
const STEP_MS: i64 = 20;

/// The pipeline file.
pub(super) fn pipeline_text() -> String {
    format!(
        r#"
name = "{PIPELINE}"
event_time = {{ column = "at", out_of_orderness = "{OUT_OF_ORDERNESS_MS} ms" }}

[source]
stream = "{STREAM}"
[source.input.orders]
subject = "{ORDERS}"
columns = {{ n = "int", k = "text", at = "int", high = "boolean" }}
[source.input.payments]
subject = "{PAYMENTS}"
columns = {{ k = "text", at = "int", paid = "int" }}

[[step]]
name = "peaks"
from = "orders"
on_crossing = {{ key = ["k"], raise = "high" }}

[[step]]
name = "judged"
from = "orders"
stage = {{ module = "{}", parameters = {{ malformed = {MALFORMED} }} }}

[[step]]
name = "totals"
[step.aggregate]
group_by = ["k"]
columns = {{ orders = {{ count = "*" }}, total = {{ sum = "n" }}, largest = {{ max = "n" }} }}

[[step]]
name = "last"
from = "payments"
last_value = {{ key = ["k"], columns = ["paid"] }}

[[step]]
name = "windows"
from = "judged"
[step.window]
tumbling = "{WINDOW_MS} ms"
group_by = ["k"]
columns = {{ orders = {{ count = "*" }}, total = {{ sum = "n" }} }}

[[step]]
name = "paid"
from = "judged"
[step.interval_join]
with = "payments"
on = {{ k = "k" }}
earliest = "-{INTERVAL_MS} ms"
latest = "{INTERVAL_MS} ms"
columns = ["paid"]

[[sink]]
from = "totals"
table = "totals"
primary_key = ["k"]

[[sink]]
from = "last"
table = "last_payments"
primary_key = ["k"]

[[sink]]
from = "windows"
table = "windows"

[[sink]]
from = "windows.late"
table = "late_for_windows"

[[sink]]
from = "paid"
table = "paid"
columns = ["n", "k", "paid"]

[[sink]]
from = "paid.late"
table = "late_orders"

[[sink]]
from = "paid.late_with"
table = "late_payments"

[[sink]]
from = "peaks"
subject = "{RAISED}"
columns = ["n", "k"]

[[sink]]
from = "peaks.cleared"
subject = "{CLEARED}"
columns = ["n", "k"]
"#,
        guest("versions").display()
    )
}

/// What an event is.
#[derive(Clone, Debug)]
enum What {
    Order { k: String, at: i64, high: bool },
    Payment { k: String, at: i64, paid: i64 },
    Malformed,
    Blank,
}

/// Events of the pipeline, from a seed, and what they make.
#[derive(Debug)]
pub(super) struct Shop {
    random: Random,
    made: Vec<(What, Event)>,
}

impl Shop {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            made: Vec::new(),
        }
    }

    /// The next events of the stream.
    pub(super) fn make(&mut self, count: usize) -> Vec<Event> {
        let first = self.made.len();
        for _ in 0..count {
            let made = self.next();
            self.made.push(made);
        }
        self.made[first..].iter().map(|(_, event)| event.clone()).collect()
    }

    fn next(&mut self) -> (What, Event) {
        let n = self.made.len() as u64 + 1;
        let random = &mut self.random;
        // One in twenty comes later than it may, some of them after their window.
        let behind = random.below(OUT_OF_ORDERNESS_MS as usize) as i64;
        let too_late = i64::from(random.once_in(20)) * random.below(WINDOW_MS as usize) as i64;
        let at = n as i64 * STEP_MS - behind - too_late;
        let k = format!("k{}", random.below(11));
        if random.once_in(50) {
            let payload = *random.pick(&[&r#"{"k": "k1", "at": 1"#, &r#"{"k": 1, "at": 1}"#, &r#"{"k": "k1"}"#]);
            return (What::Malformed, (ORDERS, payload.as_bytes().to_vec()));
        }
        if random.once_in(200) {
            return (What::Blank, (PAYMENTS, b" ".to_vec()));
        }
        if random.once_in(2) {
            let paid = random.below(1_000) as i64;
            let payload = format!(r#"{{"k": "{k}", "at": {at}, "paid": {paid}}}"#);
            (What::Payment { k, at, paid }, (PAYMENTS, payload.into_bytes()))
        } else {
            let high = random.once_in(3);
            let payload = format!(r#"{{"n": {n}, "k": "{k}", "at": {at}, "high": {high}}}"#);
            (What::Order { k, at, high }, (ORDERS, payload.into_bytes()))
        }
    }

    /// What all events together leave.
    pub(super) fn model(&self) -> Model {
        let mut model = Model::default();
        for (index, (what, _)) in self.made.iter().enumerate() {
            model.take(index as u64 + 1, what);
        }
        model
    }
}

/// An order or a payment that may still find a partner: its time, and its number or what was paid.
type Waiting = BTreeMap<String, Vec<(i64, i64)>>;

/// What the events leave.
#[derive(Debug, Default)]
pub(super) struct Model {
    latest: [Option<i64>; 2],
    raised_keys: BTreeMap<String, bool>,
    totals: BTreeMap<String, [i64; 3]>,
    last: BTreeMap<String, i64>,
    open: BTreeMap<(i64, String), [i64; 2]>,
    orders: Waiting,
    payments: Waiting,
    windows: Vec<Vec<Cell>>,
    late_for_windows: Vec<Vec<Cell>>,
    paid: Vec<Vec<Cell>>,
    late_orders: Vec<Vec<Cell>>,
    late_payments: Vec<Vec<Cell>>,
    /// Payloads of messages, by subject.
    pub(super) raised: Vec<String>,
    pub(super) cleared: Vec<String>,
    /// Sequence and step of each dead letter.
    pub(super) dead_letters: Vec<(u64, &'static str)>,
    pub(super) counts: Counts,
}

fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

impl Model {
    fn take(&mut self, n: u64, what: &What) {
        self.counts.events += 1;
        match what {
            What::Malformed => return self.reject(n, "decode"),
            What::Blank => {
                self.counts.empty += 1;
                return;
            }
            What::Order { .. } if n.is_multiple_of(MALFORMED) => return self.reject(n, "judged"),
            What::Order { k, at, high } => {
                self.order(n as i64, k, *at, *high);
                self.move_time(0, *at);
            }
            What::Payment { k, at, paid } => {
                self.payment(k, *at, *paid);
                self.move_time(1, *at);
            }
        }
        self.counts.applied += 1;
    }

    fn reject(&mut self, n: u64, step: &'static str) {
        self.counts.dead_letters += 1;
        self.dead_letters.push((n, step));
    }

    /// No event is expected any more that is older.
    fn watermark(&self) -> i64 {
        match self.latest {
            [Some(orders), Some(payments)] => orders.min(payments) - OUT_OF_ORDERNESS_MS,
            _ => i64::MIN,
        }
    }

    fn order(&mut self, n: i64, k: &str, at: i64, high: bool) {
        let was_high = self.raised_keys.insert(k.to_owned(), high).unwrap_or(false);
        if high != was_high {
            let told = if high { &mut self.raised } else { &mut self.cleared };
            told.push(format!(r#"{{"n":{n},"k":"{k}"}}"#));
        }

        let [orders, total, largest] = self.totals.entry(k.to_owned()).or_default();
        (*orders, *total, *largest) = (*orders + 1, *total + n, n);

        // The label is that of the only version there is.
        let judged = vec![Cell::Int(n), text(k), Cell::Int(0)];
        let end = at.div_euclid(WINDOW_MS) * WINDOW_MS + WINDOW_MS;
        if end <= self.watermark() {
            self.late_for_windows.push(judged.clone());
            self.counts.late_rows += 1;
        } else {
            let [orders, total] = self.open.entry((end, k.to_owned())).or_default();
            (*orders, *total) = (*orders + 1, *total + n);
        }

        if at < self.watermark() {
            self.late_orders.push(judged);
            self.counts.late_rows += 1;
        } else {
            for (_, paid) in partners(&self.payments, k, at) {
                self.paid.push(vec![Cell::Int(n), text(k), Cell::Int(paid)]);
            }
            self.orders.entry(k.to_owned()).or_default().push((at, n));
        }
    }

    fn payment(&mut self, k: &str, at: i64, paid: i64) {
        self.last.insert(k.to_owned(), paid);
        if at < self.watermark() {
            self.late_payments.push(vec![text(k), Cell::Int(at), Cell::Int(paid)]);
            self.counts.late_rows += 1;
        } else {
            for (_, n) in partners(&self.orders, k, at) {
                self.paid.push(vec![Cell::Int(n), text(k), Cell::Int(paid)]);
            }
            self.payments.entry(k.to_owned()).or_default().push((at, paid));
        }
    }

    fn move_time(&mut self, input: usize, at: i64) {
        self.latest[input] = self.latest[input].max(Some(at));
        let watermark = self.watermark();
        while let Some(window) = self.open.first_entry().filter(|window| window.key().0 <= watermark) {
            let ((end, k), [orders, total]) = window.remove_entry();
            let times = [Cell::Int(end - WINDOW_MS), Cell::Int(end)];
            let row = [text(&k)].into_iter().chain(times);
            self.windows
                .push(row.chain([Cell::Int(orders), Cell::Int(total)]).collect());
        }
        // Whatever comes from now on and is not late finds no partner among these.
        for waiting in [&mut self.orders, &mut self.payments] {
            for rows in waiting.values_mut() {
                rows.retain(|(at, _)| at + INTERVAL_MS >= watermark);
            }
        }
    }

    /// The tables, as they should be read.
    pub(super) fn tables(&self) -> BTreeMap<String, Table> {
        let totals = self.totals.iter().map(|(k, totals)| {
            let totals = totals.map(Cell::Int);
            [text(k)].into_iter().chain(totals).collect()
        });
        let last = self.last.iter().map(|(k, paid)| vec![text(k), Cell::Int(*paid)]);
        let table = |name: &str, columns: &str, rows: Vec<Vec<Cell>>| {
            let columns = columns.split(' ').map(str::to_owned).collect();
            (name.to_owned(), Table { columns, rows })
        };
        BTreeMap::from([
            table("totals", "k orders total largest", totals.collect()),
            table("last_payments", "k paid", last.collect()),
            table(
                "windows",
                "k window_start window_end orders total",
                self.windows.clone(),
            ),
            table("late_for_windows", "n k label", self.late_for_windows.clone()),
            table("paid", "n k paid", self.paid.clone()),
            table("late_orders", "n k label", self.late_orders.clone()),
            table("late_payments", "k at paid", self.late_payments.clone()),
        ])
    }

    /// How much of everything there is.
    pub(super) fn summary(&self) -> String {
        let mut summary = format!("{} events of {STREAM}:", self.counts.events);
        for (name, table) in self.tables() {
            let _ = write!(summary, " {} in {name},", table.rows.len());
        }
        let alerts = self.raised.len() + self.cleared.len();
        let _ = write!(summary, " {alerts} alerts, {} dead letters", self.dead_letters.len());
        summary
    }
}

/// The rows of a key that are close to `at`, in the order of their times; of one time, in that of arrival.
fn partners(waiting: &Waiting, k: &str, at: i64) -> Vec<(i64, i64)> {
    let rows = waiting.get(k).map(Vec::as_slice).unwrap_or_default();
    let close = |row: &&(i64, i64)| (row.0 - at).abs() <= INTERVAL_MS;
    let mut found: Vec<_> = rows.iter().filter(close).copied().collect();
    found.sort_by_key(|(at, _)| *at);
    found
}
