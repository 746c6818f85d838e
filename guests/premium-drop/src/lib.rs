//! Scenario 2, after the lookup: a premium that has dropped raises an alert, and every premium becomes the one that the
//! next is compared with.

use weir_guest::{Input, Output, Outputs, Parameters, Reject, stage};

/// What the rule reads of a saved order, joined with the user's premium before it. Premiums are texts.
#[derive(Input)]
struct Quote<'a> {
    now_premium: Option<&'a str>,
    raw_premium: Option<&'a str>,
}

#[derive(Outputs)]
struct Compared {
    alert: Option<Alert>,
    dimension: Dimension,
}

/// A user whose premium has dropped.
#[derive(Output)]
#[pass(id, raw_info, now_info, raw_premium, now_premium)]
struct Alert;

/// What this user's next premium is compared with.
#[derive(Output)]
#[pass(id, now_premium as raw_premium, now_info as raw_info)]
struct Dimension;

#[derive(Parameters)]
struct Settings {
    /// Share of the premium before: a premium below it has dropped.
    #[default(0.85)]
    ratio: f64,
}

/// Alerts for premiums that have dropped, and for every user the premium to compare the next one with.
#[stage]
fn compare(quote: Quote, settings: &Settings) -> Result<Compared, Reject> {
    let now = premium("now_premium", quote.now_premium)?;
    let raw = premium("raw_premium", quote.raw_premium)?;
    let has_dropped = now.zip(raw).is_some_and(|(now, raw)| now < raw * settings.ratio);
    Ok(Compared {
        alert: has_dropped.then_some(Alert),
        dimension: Dimension,
    })
}

/// The number in a premium's text.
fn premium(column: &str, text: Option<&str>) -> Result<Option<f64>, Reject> {
    let Some(text) = text else { return Ok(None) };
    match text.trim_matches(' ').parse::<f64>() {
        // Rust takes "inf" and "nan" for numbers too.
        Ok(number) if number.is_finite() => Ok(Some(number)),
        _ => Err(Reject::new(format!(
            "column `{column}` holds {text:?}, which is no finite decimal number"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alerts(raw_premium: Option<&str>, now_premium: Option<&str>) -> bool {
        let settings = Settings::defaults().unwrap();
        compare(
            Quote {
                now_premium,
                raw_premium,
            },
            &settings,
        )
        .unwrap()
        .alert
        .is_some()
    }

    #[track_caller]
    fn reason(raw_premium: &str, now_premium: &str) -> String {
        let quote = Quote {
            now_premium: Some(now_premium),
            raw_premium: Some(raw_premium),
        };
        let Err(reject) = compare(quote, &Settings { ratio: 0.85 }) else {
            panic!("{now_premium:?} is accepted")
        };
        reject.reason().to_owned()
    }

    #[test]
    fn alerts_below_the_ratio_and_not_at_it() {
        assert!(alerts(Some("100"), Some("84.99999999999999")));
        assert!(!alerts(Some("100"), Some("85")));
        assert!(!alerts(Some("100"), Some("85.0")));
        assert!(!alerts(Some("100"), Some("100")));
        assert!(alerts(Some("-100"), Some("-100")));
    }

    #[test]
    fn the_ratio_is_a_parameter() {
        let quote = || Quote {
            now_premium: Some("85"),
            raw_premium: Some("100"),
        };
        assert!(compare(quote(), &Settings { ratio: 0.86 }).unwrap().alert.is_some());
        assert!(compare(quote(), &Settings { ratio: 0.85 }).unwrap().alert.is_none());
    }

    #[test]
    fn a_null_on_either_side_is_no_alert() {
        assert!(!alerts(None, Some("1")));
        assert!(!alerts(Some("100"), None));
        assert!(!alerts(None, None));
    }

    #[test]
    fn a_slow_decline_never_alerts() {
        for step in ["100", "90", "80"].windows(2) {
            assert!(!alerts(Some(step[0]), Some(step[1])), "{step:?}");
        }
        assert!(alerts(Some("100"), Some("80")));
    }

    #[test]
    fn premiums_are_decimal_numbers_with_spaces_sign_and_exponent() {
        for now in [" 1 ", "+1", "-1.5e3", ".5", "1.", "8.4E+1", "0"] {
            assert!(alerts(Some("1e2"), Some(now)), "{now:?}");
        }
    }

    #[test]
    fn a_text_that_is_no_finite_number_is_rejected_by_column_and_value() {
        assert_eq!(
            reason("100", "12,5"),
            "column `now_premium` holds \"12,5\", which is no finite decimal number"
        );
        assert_eq!(
            reason("", "1"),
            "column `raw_premium` holds \"\", which is no finite decimal number"
        );
        for text in [
            "inf",
            "-Infinity",
            "nan",
            "1e999",
            "0x10",
            "1_000",
            "\t1",
            "\u{a0}1",
            "１",
            " ",
            ".",
        ] {
            assert!(
                reason("100", text).starts_with("column `now_premium` holds "),
                "{text:?}"
            );
        }
    }
}
