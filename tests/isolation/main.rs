//! A guest is a stranger: whatever it does costs the events that make it do so, and nothing else.
//!
//! - [`poison`] runs the guest `hostile` in pipelines of every shape: each way to misbehave, at some events among many.
//! - [`thresholds`] lets it fail so often in them that they stop.
//! - [`aggregates`] calls aggregates that misbehave, row by row.
//! - [`poisoned_aggregates`] runs them in pipelines of every shape.
//! - [`load`] holds the guests that are refused before the first event.
//! - [`bounds`] measures what all of that costs the host.
//! - [`lines`] holds what components carry for those who read why they failed.
//! - [`native`] compares the guests of the scenarios with the same rules as native code.
//!
//! A test binary of its own, since some of these tests wait for guests that never end.

mod poison;

mod aggregates;
mod poisoned_aggregates;
mod thresholds;

mod load;

mod bounds;

mod lines;

mod native;
