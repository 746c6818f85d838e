//! Rules that make something else of a row where they are asked of it again.

use super::outcome::Outcome;
use crate::{command::show, engine::Ambiguous, error::Result, wasm::StageHost};

/// What differs, in words; nothing, as a rule.
pub(super) fn differences(host: &StageHost, outcome: &Outcome) -> Result<Vec<String>> {
    let found = outcome.judged.ask_again(&outcome.plan, host)?;
    Ok(found.iter().flat_map(lines).collect())
}

fn lines(found: &Ambiguous) -> Vec<String> {
    let row: Vec<String> = found
        .row
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    let of = show::count(found.of as u64, "row");
    vec![
        format!(
            "step \"{}\": the row of line {} comes out in two ways: {}",
            found.step,
            found.sequence,
            row.join(", ")
        ),
        format!("  with all others in one call  {}", found.first.join("; ")),
        format!("  {}  {}", found.way, found.again.join("; ")),
        format!("  ({} of {of} come out in several ways)", found.differ),
    ]
}
