//! A rule for current rows: it lets those through whose level reaches a threshold, and fails at some levels.

use weir_guest::{Input, Output, Parameters, Reject, stage};

#[derive(Input)]
struct Total {
    n: Option<i64>,
}

#[derive(Output)]
#[pass(k, n)]
struct Reached {
    label: i64,
    raise: bool,
}

#[derive(Parameters)]
struct Settings {
    /// Which version this is.
    #[default(0)]
    label: i64,
    /// The least level that is let through.
    #[default(0)]
    threshold: i64,
    /// The least level that raises its key.
    #[default(50)]
    raise: i64,
    /// The least level that it fails at.
    #[default(0)]
    fails_from: i64,
    /// The least one above that it does not fail at.
    #[default(0)]
    fails_to: i64,
}

/// Rows whose level (the last two digits of `n`) reaches a threshold.
#[stage]
fn thresholds(total: Total, settings: &Settings) -> Result<Option<Reached>, Reject> {
    let n = total.n.ok_or_else(|| Reject::new("n is missing"))?;
    let level = n.rem_euclid(100);
    if (settings.fails_from..settings.fails_to).contains(&level) {
        return Err(Reject::new(format!("version {} rejects level {level}", settings.label)));
    }
    Ok((level >= settings.threshold).then_some(Reached {
        label: settings.label,
        raise: level >= settings.raise,
    }))
}
