//! A guest is a stranger: whatever it does costs the events that make it do so, and nothing else.
//!
//! - [`poison`] runs the guest `hostile` in pipelines of every shape: each way to misbehave, at some events among many.
//! - [`thresholds`] lets it fail so often in them that they stop.
//! - [`aggregates`] calls aggregates that misbehave, row by row.
//! - [`poisoned_aggregates`] runs them in pipelines of every shape.
//! - [`load`] holds the guests that are refused before the first event.
//! - [`room`] gives guests memories, tables and instances in every number; [`leaks`] lets them keep what they took.
//! - [`lavish`] has them say much, and make handles.
//! - [`deadlines`] lets them use their time in every way that there is.
//! - [`proposals`] holds what of WebAssembly they may use against the list of the host.
//! - [`descriptions`] has them say too much of themselves.
//! - [`compiling`] has them compiled, those too that are made to take minutes or gigabytes.
//! - [`bounds`] measures what all of that costs the host.
//! - [`lines`] holds what components carry for those who read why they failed.
//! - [`native`] compares the guests of the scenarios with the same rules as native code.
//!
//! A test binary of its own, since some of these tests wait for guests that never end.

mod poison;

mod aggregates;
mod poisoned_aggregates;
mod thresholds;

mod compiling;
mod descriptions;
mod load;
mod made;

mod deadlines;
mod lavish;
mod leaks;
mod proposals;
mod room;

mod bounds;

mod lines;

mod native;
