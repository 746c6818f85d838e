//! Weir as a library: events in, tables out, without a server and without the `weir` command.
//!
//! ```sh
//! cargo run --example embed
//! ```
//!
//! The program decides where events come from. Here they are a list; yours may come from a queue, a socket or a file. What
//! makes them count exactly once is the order of the steps: read the position, process what is after it, commit, and only
//! then let the queue forget.

#![allow(
    clippy::disallowed_macros,
    reason = "a program prints as it likes; the library never does"
)]

use std::{error::Error, path::Path, sync::Arc};
use weir::{
    definition::File,
    engine::Engine,
    format::Decoder,
    plan::Plan,
    storage::{Location, Messages},
    wasm::{Compiler, StageHost},
};

/// What each customer ordered so far.
const PIPELINE: &str = r#"
name = "orders"

[source]
stream = "SHOP"
subject = "orders"
columns = { customer = "text", amount = "double" }

[[step]]
name = "by-customer"
aggregate = { group_by = ["customer"], columns = { orders = { count = "*" }, total = { sum = "amount" } } }

[[sink]]
table = "customers"
primary_key = ["customer"]
"#;

/// The sequence of an event is its place in this list, from 1 on.
const EVENTS: [&str; 5] = [
    r#"{"customer": "ann", "amount": 20.5}"#,
    r#"{"customer": "ben", "amount": 7}"#,
    r#"{"customer": "ann", "amount": "a lot"}"#,
    r#"{"customer": "ann", "amount": 1.5}"#,
    r#"{"customer": "cyd", "amount": 3}"#,
];

/// Customer, number of orders, sum.
type Row = (String, i64, f64);

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("orders.db");

    // Three events, then a restart, then the rest: the second run continues after the position of the first.
    run(&path, &EVENTS[..3])?;
    run(&path, &EVENTS)?;

    for (customer, orders, total) in read(&path)? {
        println!("{customer:<8}  {orders:>2}  {total:>6.2}");
    }
    Ok(())
}

/// Runs the events that the database at `path` does not cover yet.
fn run(path: &Path, events: &[&str]) -> Result<(), Box<dyn Error>> {
    // What runs: checked before the first event.
    let host = StageHost::new(None, Compiler::InProcess)?;
    let plan = Arc::new(Plan::build(&File::from_text("orders.toml", PIPELINE), &host)?);

    // Where it runs into, and what is there already: tables, state, position.
    let mut storage = Location::from(path).hold()?.open(plan.clone(), Messages::Drop)?;
    storage.claim("the list of this example")?;
    let stored = storage.stored().clone();
    let mut engine = Engine::new(plan.clone(), &host, stored.seed)?;
    storage.load(&mut engine)?;

    let mut decoder = Decoder::of(&plan, 4096)?;
    for (sequence, event) in (1..).zip(events).filter(|(sequence, _)| *sequence > stored.position) {
        decoder.push(sequence, None, event.as_bytes());
    }
    if decoder.is_empty() {
        return Ok(());
    }
    engine.process(decoder.take())?;
    let turn = engine.take_turn(stored.turn + 1)?;
    for letter in &turn.dead_letters {
        eprintln!("event {}: {}", letter.sequence, letter.reason);
    }
    // All or nothing. After this, a queue may forget the events.
    storage.commit(turn)?;
    Ok(())
}

/// The table, as any SQLite client reads it.
fn read(path: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    let connection = rusqlite::Connection::open(path)?;
    let mut select = connection.prepare("SELECT customer, orders, total FROM customers ORDER BY customer")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[test]
fn each_event_counts_once_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    for events in [&EVENTS[..3], &EVENTS, &EVENTS] {
        run(&path, events).unwrap();
    }
    let row = |customer: &str, orders, total| (customer.to_owned(), orders, total);
    assert_eq!(
        read(&path).unwrap(),
        [row("ann", 2, 22.0), row("ben", 1, 7.0), row("cyd", 1, 3.0)]
    );
}
