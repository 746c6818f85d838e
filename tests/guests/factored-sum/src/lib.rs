//! A sum whose results depend on the module and its parameters, while its states do not.

use std::hint::black_box;
use weir_guest::{Input, Parameters, Reject, State, aggregate};

/// The last character says how often a sum counts. Tests write another one into the module.
static COUNTS: &str = "a sum counts so many times: 1";

#[derive(Input)]
struct Row {
    n: Option<i64>,
}

/// A sum, times what the module and its parameters say.
#[derive(Default, State)]
struct Sum {
    summed_up: i64,
}

#[derive(Parameters)]
struct Settings {
    /// How often a sum counts.
    #[default(1)]
    times: i64,
}

#[aggregate]
impl Sum {
    fn add(&mut self, row: Row) -> Result<(), Reject> {
        self.summed_up += row.n.ok_or_else(|| Reject::new("n is missing"))?;
        Ok(())
    }

    fn retract(&mut self, row: Row) -> Result<(), Reject> {
        self.summed_up -= row.n.unwrap_or(0);
        Ok(())
    }

    fn result(&self, settings: &Settings) -> i64 {
        let counts = black_box(COUNTS).bytes().last().map_or(0, |digit| digit - b'0');
        self.summed_up * i64::from(counts) * settings.times
    }
}
