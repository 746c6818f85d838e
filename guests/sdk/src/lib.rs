//! Write rules for Weir: a struct for what the rule reads, a struct for what it gives, a function between them.
//!
//! ```
//! use weir_guest::{Context, Input, LocalHour, Output, Parameters, TimeZone, stage};
//!
//! /// What the rule reads of an order.
//! #[derive(Input)]
//! struct Order {
//!     gmt_modified: Option<i64>,
//! }
//!
//! /// An order of the local day, with the hour that it counts in.
//! #[derive(Output)]
//! #[pass(id, order_no, gmt_modified)]
//! struct HourlyOrder {
//!     biz_date: LocalHour,
//! }
//!
//! #[derive(Parameters)]
//! struct Settings {
//!     /// Zone whose midnight begins the day.
//!     #[default("Asia/Shanghai")]
//!     zone: TimeZone,
//! }
//!
//! /// Orders of the local day, each stamped with the business hour that it counts in.
//! #[stage]
//! fn todays_orders(order: Order, cx: &Context<Settings>) -> Option<HourlyOrder> {
//!     let zone = &cx.parameters.zone;
//!     let modified_ms = order.gmt_modified?;
//!     (modified_ms >= zone.start_of_day_ms(cx.now_ms())).then(|| HourlyOrder { biz_date: zone.local_hour(modified_ms) })
//! }
//!
//! // A rule's test is an ordinary test of a function.
//! let noon = 1_773_547_200_000; // 2026-03-15T12:00 in Shanghai
//! let cx = Context::for_test(Settings::defaults()?, noon);
//! let given = todays_orders(Order { gmt_modified: Some(noon - 1) }, &cx).expect("an order of this morning is kept");
//! assert_eq!(given.biz_date.as_str(), "2026031511");
//! assert!(todays_orders(Order { gmt_modified: None }, &cx).is_none());
//! # Ok::<(), String>(())
//! ```
//!
//! - [`Input`]: what the rule reads. The host decodes these columns and no others for the rule's sake.
//! - [`Output`] and [`Outputs`]: what it gives. Columns that go through unchanged are named and never seen.
//! - [`Parameters`]: what a pipeline can tell it.
//! - [`Context`]: the time of the event, and the parameters.
//! - [`Reject`]: for an event that cannot be judged.
//! - [`TimeZone`]: local days and hours.
//! - [`HashMap`] and [`HashSet`]: with keys that never change, so that they iterate in the same order in every batch.
//! - [`log`]: lines for the host's log.
//!
//! A rule under [`#[stage]`](macro@stage) judges each event by itself. There are others:
//!
//! - [`#[aggregate]`](macro@aggregate): what a group of rows comes to. A [`State`] with methods, see [`Aggregate`].
//! - [`#[keyed]`](macro@keyed): what becomes of a row depends on what came before for its key, or on that nothing came
//!   for a while. A [`State`] with methods too, which can set [`Timers`]; see [`Keyed`], and
//!   [`testing`] for its tests.
//! - [`#[decoder]`](macro@decoder): payloads of a format that the host does not know. A function from a payload, or a
//!   [`Message`], to rows; see [`Decoder`].
//!
//! A rule is a pure function: it has no clock, no randomness, no files and no memory but the state that it is given, so
//! the same events always give the same rows. The crate of a rule is a `cdylib` (the component) and an `rlib` (for tests),
//! and holds one of these attributes, once.
//!
//! Decimals, times and JSON are types of other crates, behind the features `decimal`, `jiff` and `json`; the crates
//! themselves are `weir_guest::rust_decimal`, `weir_guest::jiff` and `weir_guest::serde_json` then. [`Input`],
//! [`Computed`], [`Parameters`] and [`State`] say which types there are.

pub use weir_guest_macros::{Input, Output, Outputs, Parameters, State, aggregate, decoder, keyed, stage};

pub use aggregate::Aggregate;
#[cfg(feature = "jiff")]
pub use calendar::{DateColumn, TimestampColumn};
pub use collections::{FixedState, HashMap, HashSet};
pub use computed::{BooleanColumn, BytesColumn, Computed, DoubleColumn, IntColumn, TextColumn};
pub use context::Context;
pub use decimal::DecimalColumn;
pub use decoder::{Decoder, Header, Message};
pub use event_time::EventTime;
pub use input::Input;
#[cfg(feature = "json")]
pub use json::{Json, JsonColumn, ListColumn};
pub use keyed::Keyed;
pub use local_hour::LocalHour;
pub use output::{Output, Outputs};
pub use parameters::{ParameterField, Parameters};
pub use reject::Reject;
pub use stage::Stage;
pub use state::State;
pub use time_zone::TimeZone;
pub use timers::Timers;

// In reading order; the blank lines keep it.
mod input;
mod output;

#[cfg(feature = "jiff")]
mod calendar;
mod computed;
mod decimal;
#[cfg(feature = "json")]
mod json;

mod context;
mod parameters;

mod reject;
mod stage;

mod aggregate;
mod state;
mod states;

mod event_time;
mod keyed;
mod timers;

mod decoder;

mod collections;
mod local_hour;
mod time_zone;

pub mod log;
pub mod testing;

pub mod abi;
pub mod bounds;

#[doc(hidden)]
pub mod bindings;

// The crates whose types a rule may have in its own, so that it need not name them, nor their versions.
#[cfg(feature = "jiff")]
pub use jiff;
#[cfg(feature = "decimal")]
pub use rust_decimal;
#[cfg(feature = "json")]
pub use serde_json;

// Generated code names this crate from outside and from inside.
extern crate self as weir_guest;

/// What the macros' code names. No part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings;
    pub use crate::output::{Many, Sink, passed, spec as output};
    pub use crate::parameters::{DefaultOf, spec, take};
    pub use crate::stage::{configure, describe, process};
    pub use crate::state::bytes_max;
    pub use wit_bindgen::rt;

    pub mod aggregate {
        pub use crate::aggregate::{Methods, accumulate, configure, describe, merge, no_retract, results};
    }

    pub mod decoder {
        pub use crate::decoder::{configure, decode, describe};
    }

    pub mod keyed {
        pub use crate::keyed::{Methods, describe, on_timers, process, same_outputs};
    }
}
