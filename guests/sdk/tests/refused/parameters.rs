//! Defaults of parameters.

use weir_guest::Parameters;

#[derive(Parameters)]
struct Wordy {
    #[default = 5]
    count: i64,
}

#[derive(Parameters)]
struct Untyped {
    #[default("0.85")]
    ratio: f64,
}

fn main() {}
