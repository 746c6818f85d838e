//! What each state was built for: where this changes, the state of a database does not fit any more.

use crate::{
    error::note_defect,
    model::subject::listed,
    plan::{At, Plan, StateForm, typed},
};

/// The name of the state of the clock; no step can be called so.
pub(super) const CLOCK: &str = "event time";

/// The columns and settings that a state depends on.
pub(super) fn of_state(plan: &Plan, state: &str, form: StateForm) -> String {
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
        return match sink {
            Some(sink) => typed(sink.fields()),
            None => of_nothing(state),
        };
    }
    let Some(node) = plan.nodes.iter().find(|node| node.name == step) else {
        return of_nothing(state);
    };
    let operator = node.kind.operator();
    operator.map_or_else(String::new, |operator| operator.fingerprint(At { plan, node }, form))
}

/// States are named by the plan that is asked of them.
#[cold]
fn of_nothing(state: &str) -> String {
    note_defect(format_args!("state \"{state}\" is of no step and no table"));
    String::new()
}
