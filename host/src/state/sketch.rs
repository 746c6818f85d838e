//! Sketches: what is kept of many values in place of the values, for results that are nearly right.
//!
//! A sketch here is a function of the values that were added (and not taken away again): neither their order nor where it
//! was written and read back changes what comes of it, and two that are merged are the one that took in all values.

mod distinct;
mod quantiles;

pub use distinct::Distinct;
pub use quantiles::{QUANTILE_ERROR_MAX, Quantiles};
