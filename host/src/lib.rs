//! Weir runs business rules, compiled to WebAssembly, over NATS JetStream event streams, into SQLite tables.
//!
//! ```text
//! source ─► decode ─► stage (guest) ─► operators ─► stage (guest) ─► sinks ──────┐
//! pull      JSON to   filter,          keyed state, threshold        state log ─┼─► one SQLite ─► ack
//!           columns   projection       retractions                   position ──┘   transaction
//! ```
//!
//! A pipeline file becomes a [`Plan`](plan::Plan): steps whose columns, types and keys are known to fit. The plan runs in
//! an [`Engine`](engine::Engine), which takes batches of deliveries and gives [turns](turn::Turn); a turn is committed as
//! one transaction, and its position with it. [`pipeline`] is that path on one screen, so read it first. The modules below
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
//! use weir::{decode::Decoder, definition::File, engine::Engine, plan::Plan, stage::{Compiler, StageHost}};
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
//! engine.process(decoder.take());
//! let turn = engine.take_turn(1);
//!
//! assert_eq!(turn.position, 3);
//! assert_eq!((turn.counts.applied, turn.counts.dead_letters), (2, 1));
//! assert!(turn.dead_letters[0].reason.starts_with("column \"page\": found `7`"));
//! # Ok::<(), weir::error::Error>(())
//! ```

// In the order of the data; the blank lines keep it.

// What is held, and by whom: bounds, errors, columns, bytes.
pub mod limits;

pub mod fail_point;

pub mod error;

pub mod column;

pub mod row;

pub mod state;

pub mod exact_sum;

pub mod sketch;

pub mod subject;
pub mod text;
pub mod time_zone;

pub mod terminal;

pub mod input;

pub mod private_file;

// What a pipeline is: the file, the guests that it names, the checked graph.
pub mod definition;

pub mod watch;

pub mod stage;

pub mod deployment;

pub mod trust;

pub mod plan;

// Where events come from, and how they become columns.
pub mod delivery;

pub mod decode;

pub mod source;

// What happens to them, until a turn holds all that changed.
pub mod operator;

pub mod sink;

pub mod turn;

pub mod status;

pub mod engine;

// Where that goes, and what drives it: one transaction, the threads, the server, a live pipeline, the command.
pub mod database;

pub mod pipeline;

pub mod nats;

pub mod rollout;

pub mod live;

pub mod retry;

pub mod command;

// Made-up events, for the demo, the benchmark and tests.
pub mod sample;
