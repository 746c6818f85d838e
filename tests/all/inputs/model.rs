//! What a shop's pipeline should leave, said again without a line of the host.

use proptest::prelude::*;
use std::collections::BTreeMap;
use weir_tests::table::{Cell, Counts};

/// One line of the file.
#[derive(Clone, Debug)]
pub(super) enum Delivery {
    Order {
        id: Option<i64>,
        what: Option<&'static str>,
    },
    Payment {
        kind: &'static str,
        id: Option<i64>,
        what: Option<&'static str>,
        paid: Option<f64>,
    },
    Return {
        kind: &'static str,
        id: Option<i64>,
    },
    /// A payload that is no event of the subject's input.
    Broken {
        subject: &'static str,
        payload: &'static str,
    },
    /// What is no line, or of no input.
    Stray(&'static str),
    Blank(&'static str),
}

/// What rules say of a payment: `reject` makes a dead letter of it, `drop` leaves it out.
const WHATS: [&str; 4] = ["", "fine", "drop", "reject"];

/// Payloads that no input takes: each is wrong in a column that all have, or as a whole.
const BROKEN: [&str; 6] = [
    r#"{"id": "1"}"#,
    r#"{"id": 1.5, "what": "reject"}"#,
    r#"{"id": 1, "id": 1}"#,
    "[]",
    "null",
    r#""{}""#,
];

const STRAY: [&str; 9] = [
    "{",
    "[]",
    "{}",
    r#"{"id": 1}"#,
    r#"{"subject": "shop.orders"}"#,
    r#"{"subject": "shop", "payload": {"id": 1}}"#,
    r#"{"subject": "shop.orders.a", "payload": {"id": 1}}"#,
    r#"{"subject": "shop.payments.*", "payload": {"id": 1}}"#,
    r#"{"subject": "shop.orders", "payload": {"id": 1}} {}"#,
];

pub(super) fn deliveries() -> impl Strategy<Value = Delivery> {
    let id = || prop::option::weighted(0.8, 0..4i64);
    let what = || prop::option::weighted(0.8, prop::sample::select(&WHATS));
    let subjects: &[&str] = &["shop.orders", "shop.payments.cash", "shop.returns.a"];
    prop_oneof![
        4 => (id(), what()).prop_map(|(id, what)| Delivery::Order { id, what }),
        4 => (prop::sample::select(&["card", "cash"]), id(), what(), prop::option::of(0..8i32)).prop_map(
            |(kind, id, what, paid)| Delivery::Payment { kind, id, what, paid: paid.map(|paid| f64::from(paid) / 4.0) }
        ),
        2 => (prop::sample::select(&["a", "a.b", "b"]), id()).prop_map(|(kind, id)| Delivery::Return { kind, id }),
        1 => (prop::sample::select(subjects.to_vec()), prop::sample::select(&BROKEN))
            .prop_map(|(subject, payload)| Delivery::Broken { subject, payload }),
        1 => prop::sample::select(&STRAY).prop_map(Delivery::Stray),
        1 => prop::sample::select(&["", " \t", "\r"]).prop_map(Delivery::Blank),
    ]
}

impl Delivery {
    /// Subject and payload, where it has them.
    fn parts(&self) -> Option<(String, String)> {
        let text = |text: &Option<&str>| text.map_or("null".to_owned(), |text| format!("\"{text}\""));
        let int = |id: &Option<i64>| id.map_or("null".to_owned(), |id| id.to_string());
        Some(match self {
            Self::Order { id, what } => (
                "shop.orders".to_owned(),
                format!("{{\"what\":{},\"id\":{},\"note\":[{{}}]}}", text(what), int(id)),
            ),
            Self::Payment { kind, id, what, paid } => {
                let amount = paid.map_or("{}".to_owned(), |paid| format!("{{\"paid\":{paid:?}}}"));
                let (what, id) = (text(what), int(id));
                (
                    format!("shop.payments.{kind}"),
                    format!("{{\"id\": {id}, \"amount\": {amount}, \"what\": {what}}}"),
                )
            }
            Self::Return { kind, id } => (format!("shop.returns.{kind}"), format!("{{\"id\":{}}}", int(id))),
            Self::Broken { subject, payload } => ((*subject).to_owned(), (*payload).to_owned()),
            Self::Stray(_) | Self::Blank(_) => return None,
        })
    }

    pub(super) fn line(&self) -> String {
        match (self, self.parts()) {
            (Self::Stray(line) | Self::Blank(line), _) => (*line).to_owned(),
            // The members stand in either order.
            (Self::Payment { kind: "cash", .. }, Some((subject, payload))) => {
                format!("{{ \"payload\" : {payload} , \"subject\" : \"{subject}\" }}")
            }
            (_, Some((subject, payload))) => format!("{{\"subject\":\"{subject}\",\"payload\":{payload}}}"),
            (_, None) => String::new(),
        }
    }
}

/// What the pipeline leaves.
#[derive(Default)]
pub(super) struct Expected {
    pub(super) tables: BTreeMap<&'static str, Vec<Vec<Cell>>>,
    /// Sequence, subject and payload of each.
    pub(super) messages: Vec<String>,
    /// Sequence, step, subject and payload of each.
    pub(super) letters: Vec<(u64, String, Option<String>, Vec<u8>)>,
    pub(super) counts: Counts,
}

pub(super) fn expected(deliveries: &[Delivery]) -> Expected {
    let mut expected = Expected::default();
    let mut last_order: BTreeMap<Cell, Cell> = BTreeMap::new();
    let mut paid_by_id: BTreeMap<Cell, (i64, Option<f64>)> = BTreeMap::new();
    let mut tables: BTreeMap<&'static str, Vec<Vec<Cell>>> = ["orders", "payments", "returns", "judged"]
        .map(|name| (name, Vec::new()))
        .into();
    for (sequence, delivery) in (1..).zip(deliveries) {
        expected.counts.events += 1;
        let mut append = |table, row| tables.entry(table).or_default().push(row);
        let mut tell = |subject: &str, id: &Option<i64>| {
            let id = id.map_or("null".to_owned(), |id| id.to_string());
            expected.messages.push(format!("{sequence} {subject} {{\"id\":{id}}}"));
        };
        let rejected_by = match delivery {
            Delivery::Order { id, what } => {
                append("orders", vec![int(id), text(what)]);
                tell("out.orders", id);
                let kept = last_order.entry(int(id)).or_insert(Cell::Null);
                if what.is_some() {
                    *kept = text(what);
                }
                None
            }
            Delivery::Payment {
                what: Some("reject"), ..
            } => Some("judged"),
            Delivery::Payment { id, what, paid, .. } => {
                append("payments", vec![text(what), int(id), double(paid)]);
                if *what != Some("drop") {
                    append("judged", vec![int(id)]);
                }
                let (times, sum) = paid_by_id.entry(int(id)).or_default();
                *times += 1;
                *sum = match (*sum, paid) {
                    (Some(sum), Some(paid)) => Some(sum + paid),
                    (sum, paid) => sum.or(*paid),
                };
                None
            }
            Delivery::Return { id, .. } => {
                append("returns", vec![int(id)]);
                tell("out.returns", id);
                None
            }
            Delivery::Broken { .. } | Delivery::Stray(_) => Some("decode"),
            Delivery::Blank(_) => {
                expected.counts.empty += 1;
                continue;
            }
        };
        match rejected_by {
            None => expected.counts.applied += 1,
            Some(step) => {
                expected.counts.dead_letters += 1;
                let (subject, payload) = delivery.parts().map_or((None, delivery.line()), |(s, p)| (Some(s), p));
                expected
                    .letters
                    .push((sequence, step.to_owned(), subject, payload.into_bytes()));
            }
        }
    }
    let last_order = last_order.into_iter().map(|(id, what)| vec![id, what]);
    tables.insert("last_order", last_order.collect());
    let paid = paid_by_id.into_iter();
    tables.insert(
        "paid",
        paid.map(|(id, (times, sum))| vec![id, Cell::Int(times), double(&sum)])
            .collect(),
    );
    expected.tables = tables;
    expected
}

fn int(value: &Option<i64>) -> Cell {
    value.map_or(Cell::Null, Cell::Int)
}

fn double(value: &Option<f64>) -> Cell {
    value.map_or(Cell::Null, Cell::Double)
}

fn text(value: &Option<&str>) -> Cell {
    value.map_or(Cell::Null, |text| Cell::Text(text.to_owned()))
}
