//! What each state was built for: where this changes, the state of a database does not fit any more.

use crate::{
    model::subject::listed,
    plan::{At, Plan, typed},
};

/// The name of the state of the clock; no step can be called so.
pub(super) const CLOCK: &str = "event time";

/// The columns and settings that a state depends on; with `names_modules` also the modules that take rows back, which
/// databases did not remember once.
pub(super) fn of_state(plan: &Plan, state: &str, names_modules: bool) -> String {
    let step = state.split_once('/').map_or(state, |(step, _)| step);
    if step == CLOCK {
        return match plan.inputs.as_slice() {
            [_] => "the latest event time".to_owned(),
            _ => format!("the latest event times of {}", listed(&plan.subjects())),
        };
    }
    if let Some(table) = step.strip_prefix("table ") {
        let sink = plan
            .sinks
            .iter()
            .find(|sink| matches!(&sink.target, crate::plan::Target::Table { name, .. } if name == table));
        return sink
            .map(|sink| typed(sink.columns.iter().map(|(field, _)| field)))
            .unwrap_or_default();
    }
    let Some(node) = plan.nodes.iter().find(|node| node.name == step) else {
        return String::new();
    };
    let operator = node.kind.operator();
    operator.map_or_else(String::new, |operator| {
        operator.fingerprint(At { plan, node }, names_modules)
    })
}
