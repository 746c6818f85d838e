//! Weir runs business rules, compiled to WebAssembly, over NATS JetStream event streams, into SQLite tables.
//!
//! ```text
//! source ─► decode ─► stage (guest) ─► operators ─► stage (guest) ─► sinks ──────┐
//! pull      JSON to   filter,          keyed state, threshold        state log ─┼─► one SQLite ─► ack
//!           columns   projection       retractions                   position ──┘   transaction
//! ```
//!
//! A pipeline file becomes a [`Plan`](plan::Plan): steps whose columns, types and keys are known to fit. The plan runs in
//! an [`Engine`](engine::Engine), which takes batches of deliveries and gives [turns](model::turn::Turn); a turn is committed as
//! one transaction, and its position with it. [`runtime::pipeline`] is that path on one screen, so read it first. The modules below
//! stand in the order in which the data meets them: what is held, what a pipeline is, where events come from, what
//! happens to them, where rows go, and what drives it all. `docs/ARCHITECTURE.md` goes through them one by one, with
//! what each may rely on.
//!
//! # Examples
//!
//! A pipeline without a server, a file or a database:
//!
//! ```
//! use std::sync::Arc;
//! use weir::{definition::File, engine::Engine, format::Decoder, plan::Plan, wasm::{Compiler, StageHost}};
//!
//! let file = File::from_text("visits.toml", r#"
//!     name = "visits"
//!     source = { stream = "WEB", subject = "visits", columns = { user = "text", page = "text" } }
//!     step = [{ name = "last-page", last_value = { key = ["user"] } }]
//!     sink = [{ table = "last_page", primary_key = ["user"] }]
//! "#);
//! let host = StageHost::new(None, Compiler::InProcess)?;
//! let plan = Arc::new(Plan::build(&file, &host)?);
//! let mut decoder = Decoder::of(&plan, 4096)?;
//! let mut engine = Engine::new(plan, &host, 1)?;
//!
//! decoder.push(1, None, br#"{"user": "ann", "page": "home"}"#);
//! decoder.push(2, None, br#"{"user": "ann", "page": 7}"#);
//! decoder.push(3, None, br#"{"user": "ann", "page": "cart"}"#);
//! engine.process(decoder.take())?;
//! let turn = engine.take_turn(1)?;
//!
//! assert_eq!(turn.position, 3);
//! assert_eq!((turn.counts.applied, turn.counts.dead_letters), (2, 1));
//! assert!(turn.dead_letters[0].reason.starts_with("column \"page\": found `7`"));
//! # Ok::<(), weir::error::Error>(())
//! ```

// From the bottom to the top: a module uses only modules that stand above it.

// Bounds, errors, places where a test lets the process die.
pub mod limits;

pub mod fail_point;

pub mod text;

pub mod error;

// What passes between the parts.
pub mod model;

pub mod metrics;

pub mod files;

// What a pipeline is: the file, who may change it, the checked graph.
pub mod definition;

pub mod trust;

pub mod plan;

pub mod planner;

// Where events come from, and how they become columns.
pub mod format;

pub mod source;

// What happens to them, until a turn holds all that changed.
pub mod state;

pub mod operator;

pub mod sink;

// Where turns go. The engine takes its state back from there.
pub mod storage;

pub mod engine;

// The server.
pub mod nats;

// What runs the guests that a plan names. All above knows it by the traits of `plan` alone.
pub mod wasm;

// What puts these together and drives them: the threads, the command.
pub mod runtime;

pub mod command;
