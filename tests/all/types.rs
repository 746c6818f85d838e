//! Decimals, timestamps, dates, bytes and JSON: from the payload through the operators into tables, against a plain model, and what
//! of it does not fit.

mod arrivals;
mod changelogs;
mod events;
mod joins;
mod kinds;
mod metadata;
mod ranking;
mod values;
mod windows;

use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use weir::{definition::File, plan::Plan};
use weir_tests::{
    guest,
    replay::{Run, host},
    seed::check_property,
    table::{Cell, Contents},
};

const PIPELINE: &str = r#"
name = "payments"
event_time = { column = "paid_at", out_of_orderness = "0 s" }
[source]
stream = "S"
subject = "s"
[source.columns]
id = { type = "int", required = true }
amount = "decimal(12, 2)"
wide = { type = "decimal", precision = 38, scale = 4, path = "fee.wide", format = "string" }
paid_at = { type = "timestamp", format = "rfc3339", required = true }
booked = { type = "timestamp", format = { strftime = "%d.%m.%Y %H:%M", zone = "Europe/Berlin" } }
day = "date"
receipt = { type = "bytes", format = "base64" }
meta = "json"
tags = { type = "list", of = "decimal(3, 1)" }
second = { type = "int", path = ["items", 1, "n"] }
count = { type = "int", format = "string" }

[[step]]
name = "latest"
last_value = { key = ["id"], columns = ["amount", "wide", "paid_at", "booked", "day", "receipt", "meta", "count", "tags", "second"] }

[[step]]
name = "by-day"
[step.aggregate]
group_by = ["day"]
[step.aggregate.columns]
total = { sum = "amount" }
mean = { avg = "amount", scale = 4 }
wide = { sum = "wide" }
first_paid = { min = "paid_at" }
largest = { max = "amount" }
amounts = { count_distinct = "amount" }
lists = { count_distinct = "tags" }

[[step]]
name = "minutes"
from = "source"
[step.window]
tumbling = "1 min"
group_by = ["day"]
[step.window.columns]
total = { sum = "amount", coalesce = 0.5 }
last_paid = { last = "amount" }
latest = { max = "booked" }

[[sink]]
from = "latest"
table = "payments"
primary_key = ["id"]

[[sink]]
from = "by-day"
table = "by_day"
primary_key = ["day"]

[[sink]]
from = "minutes"
table = "minutes"

[[sink]]
from = "latest"
table = "by_amount"
primary_key = ["amount"]
columns = ["amount", "id"]
"#;

/// 2026-03-15T00:00:00Z.
const DAY_US: i64 = 1_773_532_800_000_000;

/// An event as it is meant.
#[derive(Clone, Debug)]
struct Payment {
    id: i64,
    /// In hundredths.
    amount: Option<i128>,
    /// In ten-thousandths.
    wide: Option<i128>,
    /// Microseconds behind the payment before.
    after_us: u32,
    day: Option<u8>,
    receipt: Option<Vec<u8>>,
    /// In tenths.
    tags: Option<Vec<Option<i128>>>,
}

fn payment() -> impl Strategy<Value = Payment> {
    let most = 10i128.pow(38) - 1;
    let wide = prop_oneof![Just(most), Just(-most), Just(0), -most..=most, -20_000..20_000i128];
    let amount = prop_oneof![-999_999_999_999..=999_999_999_999i128, -500..500i128];
    (
        0..6i64,
        proptest::option::weighted(0.8, amount),
        proptest::option::weighted(0.6, wide),
        prop_oneof![Just(0), 0..5_000_000u32, Just(60_000_000)],
        proptest::option::weighted(0.9, 1..4u8),
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..4)),
        proptest::option::of(proptest::collection::vec(
            proptest::option::weighted(0.8, -999..=999i128),
            0..3,
        )),
    )
        .prop_map(|(id, amount, wide, after_us, day, receipt, tags)| Payment {
            id,
            amount,
            wide,
            after_us,
            day,
            receipt,
            tags,
        })
}

/// A number with its point: `places` of its digits stand behind it.
fn written(unscaled: i128, places: usize) -> String {
    let digits = format!("{:0width$}", unscaled.abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    format!("{}{whole}.{fraction}", if unscaled < 0 { "-" } else { "" })
}

fn instant(us: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(us).expect("it is in the calendar")
}

fn stamp(us: i64) -> String {
    instant(us).strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn day_of(day: u8) -> String {
    format!("2026-03-{day:02}")
}

/// The time in Berlin, to the minute.
fn booked(us: i64) -> (String, i64) {
    let local = instant(us).to_zoned(jiff::tz::TimeZone::get("Europe/Berlin").expect("there is Berlin"));
    (
        local.strftime("%d.%m.%Y %H:%M").to_string(),
        us.div_euclid(60_000_000) * 60_000_000,
    )
}

/// One payment as JSON; each value is written in one of several ways that mean the same.
fn line(payment: &Payment, paid_us: i64, way: usize) -> String {
    let mut members = vec![format!(r#""id":{}"#, payment.id)];
    if let Some(amount) = payment.amount {
        members.push(match way % 3 {
            0 => format!(r#""amount":{}"#, written(amount, 2)),
            1 => format!(r#""amount":{amount}e-2"#),
            _ => format!(r#""amount":{}00"#, written(amount, 2)),
        });
    }
    if let Some(wide) = payment.wide {
        members.push(format!(r#""fee":{{"wide":"{}"}}"#, written(wide, 4)));
    }
    let offset = jiff::tz::Offset::from_hours([0, 8, -5][way % 3]).expect("there is such an offset");
    let local = instant(paid_us).to_zoned(jiff::tz::TimeZone::fixed(offset));
    members.push(format!(r#""paid_at":"{}""#, local.strftime("%Y-%m-%dT%H:%M:%S%.f%:z")));
    members.push(format!(r#""booked":"{}""#, booked(paid_us).0));
    if let Some(day) = payment.day {
        members.push(format!(r#""day":"{}""#, day_of(day)));
    }
    if let Some(receipt) = &payment.receipt {
        let receipt = data_encoding::BASE64.encode(receipt);
        members.push(format!(r#""receipt":"{receipt}""#));
    }
    members.push(format!(r#""meta":{{"tags": ["a", {way}], "n": 1.10}}"#));
    if let Some(tags) = &payment.tags {
        // With spaces and zeros that mean nothing.
        let tags = tags
            .iter()
            .map(|tag| tag.map_or("null".to_owned(), |tag| format!(" {}0", written(tag, 1))));
        members.push(format!(r#""tags": [{} ]"#, tags.collect::<Vec<_>>().join(" ,")));
        members.push(format!(r#""items": [[{{"n": 7}}], {{"n": {way}, "m": []}}]"#));
    }
    members.push(format!(r#""count":"{way}""#));
    format!("{{{}}}\n", members.join(","))
}

/// A payment as the table keeps it: of each column the last value that was not null.
#[derive(Clone, Debug, Default)]
struct Latest {
    amount: Option<i128>,
    wide: Option<i128>,
    paid_us: i64,
    day: Option<u8>,
    receipt: Option<Vec<u8>>,
    way: usize,
    changed: usize,
    tags: Option<Vec<Option<i128>>>,
    second: Option<usize>,
}

/// A list as a table shows it.
fn list(tags: &[Option<i128>]) -> String {
    let tags = tags
        .iter()
        .map(|tag| tag.map_or("null".to_owned(), |tag| written(tag, 1)));
    format!("[{}]", tags.collect::<Vec<_>>().join(","))
}

fn real(unscaled: Option<i128>, places: usize) -> Cell {
    let value = unscaled.map(|unscaled| written(unscaled, places).parse().expect("it is a number"));
    value.map_or(Cell::Null, Cell::Double)
}

/// Decimals of 38 digits, of which there may be too many.
fn text(unscaled: Option<i128>, places: usize) -> Cell {
    let unscaled = unscaled.filter(|unscaled| unscaled.abs() < 10i128.pow(38));
    unscaled.map_or(Cell::Null, |unscaled| Cell::Text(written(unscaled, places)))
}

/// A sum that may be beyond 128 bits on its way; nothing where it is in the end.
fn exact_sum(values: &[i128]) -> Option<i128> {
    let base = 10i128.pow(19);
    let (high, low) = values.iter().fold((0, 0), |(high, low), value| {
        (high + value.div_euclid(base), low + value.rem_euclid(base))
    });
    let (high, low) = (high + low.div_euclid(base), low.rem_euclid(base));
    (high.abs() <= base).then(|| high * base + low)
}

fn nearest(sum: i128, count: i128) -> i128 {
    (sum.abs() * 2 + count) / (count * 2) * sum.signum()
}

fn day_cell(day: Option<u8>) -> Cell {
    day.map_or(Cell::Null, |day| Cell::Text(day_of(day)))
}

/// The total of a minute, its last amount, and when the latest of its payments was booked.
type Minute = (i128, Option<i128>, i64);

/// What the tables have to hold.
fn model(payments: &[Payment]) -> BTreeMap<&'static str, Vec<Vec<Cell>>> {
    let (mut latest, mut paid_us) = (BTreeMap::<i64, Latest>::new(), DAY_US);
    let mut minutes: BTreeMap<(i64, Option<u8>), Minute> = BTreeMap::new();
    for (at, payment) in payments.iter().enumerate() {
        paid_us += i64::from(payment.after_us);
        let row = latest.entry(payment.id).or_default();
        row.amount = payment.amount.or(row.amount);
        row.wide = payment.wide.or(row.wide);
        row.day = payment.day.or(row.day);
        row.receipt = payment.receipt.clone().or(row.receipt.take());
        (row.paid_us, row.way, row.changed) = (paid_us, at, at);
        row.second = payment.tags.as_ref().map(|_| at).or(row.second);
        row.tags = payment.tags.clone().or(row.tags.take());
        let minute = minutes
            .entry((paid_us.div_euclid(60_000_000), payment.day))
            .or_default();
        minute.0 += payment.amount.unwrap_or(50);
        minute.1 = payment.amount.or(minute.1);
        minute.2 = minute.2.max(booked(paid_us).1);
    }
    let of_latest = latest.iter().map(|(id, row)| {
        vec![
            Cell::Int(*id),
            real(row.amount, 2),
            text(row.wide, 4),
            Cell::Text(stamp(row.paid_us)),
            Cell::Text(stamp(booked(row.paid_us).1)),
            day_cell(row.day),
            row.receipt.clone().map_or(Cell::Null, Cell::Blob),
            Cell::Text(format!(r#"{{"tags": ["a", {}], "n": 1.10}}"#, row.way)),
            Cell::Int(row.way as i64),
            row.tags.as_deref().map_or(Cell::Null, |tags| Cell::Text(list(tags))),
            row.second.map_or(Cell::Null, |second| Cell::Int(second as i64)),
        ]
    });
    let of_latest = of_latest.collect();
    let mut days: BTreeMap<Option<u8>, Vec<&Latest>> = BTreeMap::new();
    latest
        .values()
        .for_each(|row| days.entry(row.day).or_default().push(row));
    let by_day = days.into_iter().map(|(day, rows)| {
        let amounts: Vec<i128> = rows.iter().filter_map(|row| row.amount).collect();
        let (total, count) = (amounts.iter().sum::<i128>(), amounts.len() as i128);
        let total = (count > 0).then_some(total);
        let wides: Vec<i128> = rows.iter().filter_map(|row| row.wide).collect();
        let wide = if wides.is_empty() { None } else { exact_sum(&wides) };
        let mut distinct = amounts.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let lists: BTreeSet<&Vec<Option<i128>>> = rows.iter().filter_map(|row| row.tags.as_ref()).collect();
        vec![
            day_cell(day),
            text(total, 2),
            text(total.map(|total| nearest(total * 100, count)), 4),
            text(wide, 4),
            Cell::Text(stamp(rows.iter().map(|row| row.paid_us).min().expect("there are rows"))),
            real(amounts.iter().max().copied(), 2),
            Cell::Int(distinct.len() as i64),
            Cell::Int(lists.len() as i64),
        ]
    });
    // What is of the last minute is still open.
    let last = paid_us.div_euclid(60_000_000);
    let told = minutes.into_iter().filter(|((minute, _), _)| *minute < last);
    let told = told.map(|((minute, day), (total, last_paid, latest))| {
        vec![
            day_cell(day),
            Cell::Int(minute * 60_000),
            Cell::Int((minute + 1) * 60_000),
            text(Some(total), 2),
            real(last_paid, 2),
            Cell::Text(stamp(latest)),
        ]
    });
    let mut by_amount: BTreeMap<Option<i128>, (usize, i64)> = BTreeMap::new();
    for (id, row) in &latest {
        let shown = by_amount.entry(row.amount).or_default();
        *shown = (*shown).max((row.changed + 1, *id));
    }
    let by_amount = by_amount
        .into_iter()
        .map(|(amount, (_, id))| vec![real(amount, 2), Cell::Int(id)]);
    BTreeMap::from([
        ("payments", of_latest),
        ("by_day", by_day.collect()),
        ("minutes", told.collect()),
        ("by_amount", by_amount.collect()),
    ])
}

fn plan(text: &str) -> Arc<Plan> {
    Arc::new(Plan::build(&File::from_text("p.toml", text), host()).expect("the pipeline is fine"))
}

#[track_caller]
fn check(found: &Contents, payments: &[Payment], context: &str) {
    assert_eq!(found.dead_letters, [], "{context}");
    for (name, mut expected) in model(payments) {
        let mut rows = found.tables[name].rows.clone();
        if name == "minutes" {
            // Windows of one end come in the order of their groups' keys.
            rows.sort_by_key(|row| format!("{row:?}"));
            expected.sort_by_key(|row| format!("{row:?}"));
        }
        assert_eq!(rows, expected, "{context}: table {name}");
    }
}

#[test]
fn values_of_each_type_pass_the_operators_as_in_a_plain_model() {
    let plan = plan(PIPELINE);
    let inputs = (
        proptest::collection::vec(payment(), 1..60),
        proptest::collection::vec(0..60usize, 0..3),
    );
    check_property(60, &inputs, |(payments, stops)| {
        let mut stops = stops.clone();
        stops.sort_unstable();
        let mut paid_us = DAY_US;
        let lines = payments.iter().enumerate().map(|(way, payment)| {
            paid_us += i64::from(payment.after_us);
            line(payment, paid_us, way)
        });
        let input: String = lines.collect();
        for batch in [1, 7, 256, 4096] {
            let run = Run {
                plan: &plan,
                lookup_rows: b"",
                input: input.as_bytes(),
                batches: &[batch],
                stops: &stops,
            };
            check(
                &run.contents(),
                payments,
                &format!("batches of {batch}, stops {stops:?}"),
            );
        }
    });
}

#[test]
fn a_column_that_no_rule_reads_passes_it() {
    let plan = plan(&format!(
        "name = 'p'\nsource = {{ stream = 'S', subject = 's', columns = {{ k = 'decimal(5, 2)', n = 'int' }} }}\n\
         [[step]]\nname = 'rule'\nstage = {{ module = '{}', parameters = {{ threshold = 2 }} }}\n\
         [[sink]]\ntable = 't'\ncolumns = ['k', 'n']\n",
        guest("thresholds").display()
    ));
    let run = Run {
        plan: &plan,
        lookup_rows: b"",
        input: b"{\"k\":1.5,\"n\":3}\n{\"k\":2.5,\"n\":1}\n{\"k\":null,\"n\":2}\n",
        batches: &[2],
        stops: &[],
    };
    let rows = run.contents().tables["t"].rows.clone();
    assert_eq!(rows, [[Cell::Double(1.5), Cell::Int(3)], [Cell::Null, Cell::Int(2)]]);
}

#[test]
fn a_lookup_table_holds_values_of_each_type_also_over_a_start() {
    let plan = plan(
        r#"
name = "p"
[source]
stream = "S"
subject = "s"
columns = { amount = "decimal(5, 2)", wide = "decimal(38, 1)" }

[table.rates]
primary_key = ["amount"]
columns = { amount = "decimal(5, 2)", since = { type = "timestamp", format = "rfc3339" }, day = "date", raw = { type = "bytes", format = "hex" }, note = "json", most = "decimal(38, 1)" }
update_from = "joined"

[[step]]
name = "joined"
lookup = { table = "rates", on = { amount = "amount" }, columns = ["since", "day", "raw", "note", "most"] }

[[step]]
name = "latest"
last_value = { key = ["amount"] }

[[sink]]
table = "latest"
primary_key = ["amount"]
"#,
    );
    let most = format!("{}.9", "9".repeat(37));
    let rates = format!(
        "{{\"amount\":0.10,\"since\":\"1969-12-31T23:59:59.999999Z\",\"day\":\"0000-01-01\",\"raw\":\"00ff\",\"note\":[1.10],\"most\":-{most}}}\n\
         {{\"amount\":-999.99,\"since\":\"9999-12-31T23:59:59Z\",\"day\":\"9999-12-31\",\"raw\":\"\",\"note\":\"a\",\"most\":{most}}}\n\
         {{\"amount\":5}}\n"
    );
    let input = "{\"amount\":1e-1}\n{\"amount\":7}\n{\"amount\":-999.990}\n{\"amount\":5.00,\"wide\":-0.1}\n{\"amount\":0.1}\n{}\n";
    let text = |text: &str| Cell::Text(text.to_owned());
    for batch in [1, 7, 256, 4096] {
        for stops in [&[][..], &[1, 3, 4]] {
            let run = Run {
                plan: &plan,
                lookup_rows: rates.as_bytes(),
                input: input.as_bytes(),
                batches: &[batch],
                stops,
            };
            let contents = run.contents();
            assert_eq!(contents.dead_letters, []);
            let none = || [Cell::Null, Cell::Null, Cell::Null, Cell::Null, Cell::Null];
            let expected = [
                (
                    Cell::Double(-999.99),
                    Cell::Null,
                    [
                        text("9999-12-31T23:59:59.000000Z"),
                        text("9999-12-31"),
                        Cell::Blob(Vec::new()),
                        text("\"a\""),
                        text(&most),
                    ],
                ),
                (
                    Cell::Double(0.1),
                    Cell::Null,
                    [
                        text("1969-12-31T23:59:59.999999Z"),
                        text("0000-01-01"),
                        Cell::Blob(vec![0, 0xff]),
                        text("[1.10]"),
                        text(&format!("-{most}")),
                    ],
                ),
                (Cell::Double(5.0), text("-0.1"), none()),
            ];
            let expected = expected.map(|(amount, wide, rest)| [vec![amount, wide], rest.to_vec()].concat());
            assert_eq!(
                contents.tables["latest"].rows, expected,
                "batches of {batch}, stops {stops:?}"
            );
        }
    }
}
