//! Bounces: what share of a page's visits ended on it.

use weir_guest::{Input, Parameters, Reject, State, aggregate};

/// What the aggregate reads of a visit.
#[derive(Input)]
struct Visit {
    stayed_ms: Option<i64>,
}

/// The share of visits that ended within the limit. Null where there was none.
#[derive(Default, State)]
struct Bounces {
    visits: u64,
    bounces: u64,
}

#[derive(Parameters)]
struct Settings {
    /// Milliseconds below which a visit is a bounce.
    #[default(10_000)]
    limit_ms: i64,
}

#[aggregate]
impl Bounces {
    fn add(&mut self, visit: Visit, settings: &Settings) -> Result<(), Reject> {
        self.visits += 1;
        self.bounces += visit.bounces(settings)?;
        Ok(())
    }

    fn retract(&mut self, visit: Visit, settings: &Settings) -> Result<(), Reject> {
        self.visits -= 1;
        self.bounces -= visit.bounces(settings)?;
        Ok(())
    }

    fn merge(&mut self, other: Bounces) {
        self.visits += other.visits;
        self.bounces += other.bounces;
    }

    fn result(&self) -> Option<f64> {
        (self.visits > 0).then(|| self.bounces as f64 / self.visits as f64)
    }
}

impl Visit {
    fn bounces(&self, settings: &Settings) -> Result<u64, Reject> {
        match self.stayed_ms {
            Some(ms) if ms < 0 => Err(Reject::new(format!(
                "column `stayed_ms` is {ms}; accepted are lengths of time from 0 on"
            ))),
            ms => Ok(u64::from(ms.is_some_and(|ms| ms < settings.limit_ms))),
        }
    }
}

#[test]
fn a_short_visit_is_a_bounce() {
    let settings = Settings::defaults().unwrap();
    let visit = |ms| Visit { stayed_ms: Some(ms) };
    let mut bounces = Bounces::default();
    bounces.add(visit(2_000), &settings).unwrap();
    bounces.add(visit(60_000), &settings).unwrap();
    assert_eq!(bounces.result(), Some(0.5));
    bounces.retract(visit(60_000), &settings).unwrap();
    assert_eq!(bounces.result(), Some(1.0));
    assert!(bounces.add(visit(-1), &settings).is_err());
}
