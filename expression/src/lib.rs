//! Weir's expressions: SQL's scalar expressions over the columns of a batch.
//!
//! A [`Rule`](compile::Rule) is text. [`compile`] types it against the columns that there are and makes a [`Program`] of it, which
//! is written as bytes and read back anywhere. An [`Evaluator`] runs a program column by column: which rows stay, what is computed
//! of them, which are rejected and why. What becomes of a row depends on the row, the parameters and the program, on nothing else.
//!
//! The evaluating half needs no clock, no files and no randomness, and runs inside WebAssembly. The compiling half is behind the
//! feature `compile`.

pub mod types;

pub mod calendar;
pub mod decimal;
pub mod forms;

pub mod column;
pub mod function;
pub mod json;
pub mod program;

pub mod attached;

#[cfg(feature = "compile")]
pub mod compile;
pub mod evaluate;
#[cfg(feature = "compile")]
pub mod reference;

pub use attached::Attached;
pub use column::{Column, ColumnRef, Values, ValuesRef};
pub use evaluate::{Answer, Evaluator, NoZones, Zones};
pub use program::{Program, Scalar};
pub use types::{Element, Type};
