//! Functions that are nearly right: what goes with them, and what they cannot do.

use super::Resolver;
use crate::{
    definition::{AggregateColumn, Name},
    error::Result,
    plan::Function,
};

impl Resolver<'_> {
    /// Which quantile a column is, if it is one.
    pub(super) fn q(&self, name: &Name, spec: &AggregateColumn, function: Function) -> Result<Option<f64>> {
        let accepted = "a number above 0 and below 1, such as 0.95";
        match (function, &spec.q) {
            (Function::Quantile, Some(q)) if *q.get_ref() > 0.0 && *q.get_ref() < 1.0 => Ok(Some(*q.get_ref())),
            (Function::Quantile, Some(q)) => {
                let found = q.get_ref();
                let message = format!("key `q` is {found}; accepted is {accepted} (min and max give the ends)");
                Err(self.error(q.span(), message))
            }
            (Function::Quantile, None) => Err(self.at(
                name,
                format!("key `q` is missing: it says which quantile, by {accepted}"),
            )),
            (_, Some(q)) => {
                let function = function.name();
                Err(self.error(q.span(), format!("key `q` goes with quantile, not with {function}")))
            }
            (_, None) => Ok(None),
        }
    }

    /// Refuses a function that cannot take values away again where that is asked of it: `why` says by what.
    pub(super) fn check_takes_back(&self, column: &Name, function: Function, why: &str) -> Result<()> {
        if function.takes_back() {
            return Ok(());
        }
        let function = function.name();
        Err(self.at(
            column,
            format!("{function} cannot take a value away again, and {why}; count_distinct can"),
        ))
    }
}
