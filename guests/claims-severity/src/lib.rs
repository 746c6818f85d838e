//! How severe the claims of a policy are, as an aggregate: claims come in and are corrected, policies are joined.

use weir_guest::{Input, Parameters, Reject, State, aggregate};

/// What the aggregate reads of a claim. An amount is in cents, so that what is taken back leaves nothing behind.
#[derive(Input)]
struct Claim<'a> {
    kind: Option<&'a str>,
    paid_cents: Option<i64>,
}

/// How severe the claims of a policy are: what was paid for a claim on average, grave kinds counting several times. Null
/// while nothing was paid.
#[derive(Default, State)]
struct Severity {
    /// Claims for which something was paid.
    claims: u64,
    /// What was paid for them, grave kinds several times.
    weighted_cents: i64,
}

#[derive(Parameters)]
struct Settings {
    /// Kinds of claims that are grave.
    #[default(["injury", "fire"])]
    grave: Vec<String>,
    /// How many times a grave claim counts.
    #[default(3)]
    weight: i64,
}

#[aggregate]
impl Severity {
    fn add(&mut self, claim: Claim, settings: &Settings) -> Result<(), Reject> {
        let Some(cents) = weighted_cents(&claim, settings)? else {
            return Ok(());
        };
        self.claims += 1;
        self.weighted_cents = self.weighted_cents.checked_add(cents).ok_or_else(|| {
            Reject::new(format!(
                "column `paid_cents` holds {cents} (weighted), and the claims before it came to {}: together they are \
                 beyond the integers",
                self.weighted_cents
            ))
        })?;
        Ok(())
    }

    fn retract(&mut self, claim: Claim, settings: &Settings) -> Result<(), Reject> {
        if let Some(cents) = weighted_cents(&claim, settings)? {
            self.claims -= 1;
            self.weighted_cents -= cents;
        }
        Ok(())
    }

    fn merge(&mut self, other: Severity) -> Result<(), Reject> {
        self.claims += other.claims;
        let sum = self.weighted_cents.checked_add(other.weighted_cents);
        self.weighted_cents = sum.ok_or_else(|| Reject::new("the claims of both come to more than the integers"))?;
        Ok(())
    }

    fn result(&self) -> Option<f64> {
        (self.claims > 0).then(|| self.weighted_cents as f64 / 100.0 / self.claims as f64)
    }
}

/// What counts of a claim; nothing for one that was not paid.
fn weighted_cents(claim: &Claim, settings: &Settings) -> Result<Option<i64>, Reject> {
    let Some(cents) = claim.paid_cents else { return Ok(None) };
    if cents < 0 {
        return Err(Reject::new(format!(
            "column `paid_cents` holds {cents}; accepted are amounts from 0 on"
        )));
    }
    let is_grave = claim
        .kind
        .is_some_and(|kind| settings.grave.iter().any(|grave| grave == kind));
    let weight = if is_grave { settings.weight } else { 1 };
    match cents.checked_mul(weight) {
        Some(weighted) => Ok(Some(weighted)),
        None => Err(Reject::new(format!(
            "column `paid_cents` holds {cents}, which cannot count {weight} times"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(kind: &str, paid_cents: i64) -> Claim<'_> {
        Claim {
            kind: Some(kind),
            paid_cents: Some(paid_cents),
        }
    }

    /// The aggregate of these claims, with the parameters that hold when a pipeline says nothing.
    fn of<'a>(claims: impl IntoIterator<Item = Claim<'a>>) -> Severity {
        let settings = Settings::defaults().unwrap();
        let mut severity = Severity::default();
        for claim in claims {
            severity.add(claim, &settings).unwrap();
        }
        severity
    }

    #[test]
    fn a_grave_claim_counts_several_times() {
        assert_eq!(of([claim("glass", 30_000)]).result(), Some(300.0));
        assert_eq!(of([claim("fire", 30_000)]).result(), Some(900.0));
        assert_eq!(
            of([claim("fire", 30_000), claim("glass", 10_000)]).result(),
            Some(500.0)
        );
    }

    #[test]
    fn what_was_not_paid_does_not_count() {
        let unpaid = || Claim {
            kind: Some("fire"),
            paid_cents: None,
        };
        assert_eq!(of([unpaid()]).result(), None);
        assert_eq!(of([unpaid(), claim("glass", 0)]).result(), Some(0.0));
    }

    #[test]
    fn a_claim_that_is_taken_back_leaves_nothing_behind() {
        let settings = Settings::defaults().unwrap();
        let mut severity = of([claim("fire", 10), claim("glass", 30)]);
        severity.retract(claim("fire", 10), &settings).unwrap();
        assert_eq!(severity.result(), Some(0.3));
        severity.retract(claim("glass", 30), &settings).unwrap();
        assert_eq!(severity.result(), None);
    }

    #[test]
    fn merged_policies_have_the_claims_of_both() {
        let mut severity = of([claim("fire", 10_000)]);
        severity.merge(of([claim("glass", 10_000)])).unwrap();
        assert_eq!(severity.result(), Some(200.0));
    }

    #[test]
    fn what_cannot_be_counted_is_rejected_by_column_and_value() {
        let settings = Settings::defaults().unwrap();
        let reason = |mut severity: Severity, claim| severity.add(claim, &settings).unwrap_err().reason().to_owned();
        assert_eq!(
            reason(Severity::default(), claim("fire", -1)),
            "column `paid_cents` holds -1; accepted are amounts from 0 on"
        );
        assert_eq!(
            reason(Severity::default(), claim("fire", i64::MAX)),
            "column `paid_cents` holds 9223372036854775807, which cannot count 3 times"
        );
        let beyond = reason(of([claim("glass", i64::MAX)]), claim("glass", 1));
        assert!(beyond.ends_with("together they are beyond the integers"), "{beyond}");
    }
}
