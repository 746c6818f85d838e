//! A plain model of what the shop's events leave: one event at a time, nothing but maps and lists.

use super::{INTERVAL_MS, MALFORMED, OF_ORDERS, OF_PAYMENTS, OUT_OF_ORDERNESS_MS, STREAM, WINDOW_MS};
use std::{collections::BTreeMap, fmt::Write as _};
use weir_tests::{
    generator::events::{Event, What},
    table::{Cell, Counts, Table},
};

/// An order or a payment that may still find a partner: its time, and its number or what was paid.
type Waiting = BTreeMap<String, Vec<(i64, i64)>>;

/// What the events leave.
#[derive(Debug, Default)]
pub(in crate::campaign) struct Model {
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
    pub(in crate::campaign) raised: Vec<String>,
    pub(in crate::campaign) cleared: Vec<String>,
    /// Sequence and step of each dead letter.
    pub(in crate::campaign) dead_letters: Vec<(u64, &'static str)>,
    pub(in crate::campaign) counts: Counts,
}

fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

impl Model {
    pub(super) fn take(&mut self, n: u64, event: &Event) {
        self.counts.events += 1;
        let row = match &event.what {
            What::Row(row) => &row[..],
            What::Broken(_) => return self.reject(n, "decode"),
            What::Blank => {
                self.counts.empty += 1;
                return;
            }
        };
        match (event.input, row) {
            (OF_ORDERS, [Cell::Int(n), ..]) if n % MALFORMED == 0 => return self.reject(*n as u64, "judged"),
            (OF_ORDERS, [Cell::Int(n), Cell::Text(k), Cell::Int(at), Cell::Int(high)]) => {
                self.order(*n, k, *at, *high == 1);
                self.move_time(0, *at);
            }
            (OF_PAYMENTS, [Cell::Text(k), Cell::Int(at), Cell::Int(paid)]) => {
                self.payment(k, *at, *paid);
                self.move_time(1, *at);
            }
            other => panic!("{other:?} is no event of the shop"),
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
    pub(in crate::campaign) fn tables(&self) -> BTreeMap<String, Table> {
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
    pub(in crate::campaign) fn summary(&self) -> String {
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
