//! Everything that crosses a boundary: files, processes, guests, the database, the server.
//!
//! One test binary, one module per boundary. What the tests share is the library of this crate.

mod aggregates;
mod approximate;
mod cases;
mod commands;
mod contract;
mod debezium;
mod expressions;
mod formats;
mod fuzz;
mod golden;
mod guide;
mod house;
mod inputs;
mod letters;
mod metrics;
mod operators;
mod outbox;
mod payloads;
mod pipelines;
mod projects;
mod rejudged;
mod replay;
mod retry;
mod rules;
mod schemas;
mod signatures;
mod simulation;
mod storages;
mod swaps;
mod takeovers;
mod time;
mod top;
mod types;
mod windows;

use weir_tests::command::Weir;

/// The command under test.
fn weir() -> Weir {
    Weir::at(env!("CARGO_BIN_EXE_weir-under-test"))
}
