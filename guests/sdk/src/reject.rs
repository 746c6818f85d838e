//! Events that a rule cannot judge.

/// Says that a rule cannot judge an event. The host keeps the event as a dead letter, with the reason.
///
/// A rule that may meet such events returns a `Result`:
///
/// ```
/// use weir_guest::Reject;
///
/// fn share(part: i64, whole: i64) -> Result<i64, Reject> {
///     if whole == 0 {
///         return Err(Reject::new("column `whole` is 0: a share of nothing is not defined"));
///     }
///     Ok(part * 100 / whole)
/// }
///
/// assert_eq!(share(1, 4), Ok(25));
/// assert_eq!(share(1, 0).unwrap_err().reason(), "column `whole` is 0: a share of nothing is not defined");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    reason: String,
}

impl Reject {
    /// Rejects for a reason: a sentence for the person who looks at the dead letter. Which column, what was in it, what is
    /// accepted. The host cuts it after 1024 bytes.
    pub fn new(reason: impl Into<String>) -> Reject {
        Reject { reason: reason.into() }
    }

    /// The reason as it was given.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn into_reason(self) -> String {
        self.reason
    }
}

impl std::fmt::Display for Reject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Reject {}
