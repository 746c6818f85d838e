//! Texts that several kinds of steps need: of states, which databases hold, and of steps, as `weir check` draws them.

use crate::{
    definition::TimeUnit,
    plan::{AggregateGuest, AggregateSpec, At, Function, MS_US, StateForm, TimeColumn},
    text::duration,
};

/// A duration as it stands in the database.
pub(super) fn span(us: i64) -> String {
    match us % MS_US {
        0 => format!("{} ms", us / MS_US),
        _ => format!("{us} us"),
    }
}

/// What the column counts that holds the times of rows, if it is not milliseconds, for a state.
pub(super) fn counted(time: Option<TimeColumn>) -> String {
    let scale = time.map(|time| time.scale).unwrap_or_default();
    match scale.unit {
        TimeUnit::Milliseconds => String::new(),
        unit => format!(" by times in {}", unit.plural()),
    }
}

/// Whether keys are forgotten, for a state. After how long may change: the state holds when they were touched.
pub(super) fn forgets(ttl_us: Option<i64>) -> &'static str {
    ttl_us.map_or("", |_| " with a ttl")
}

/// The functions that a state was made by.
pub(super) fn function_states(aggregates: &[AggregateSpec], form: StateForm) -> String {
    let functions: Vec<String> = aggregates
        .iter()
        .map(|spec| {
            let coalesce = spec
                .coalesce
                .map(|value| format!(" coalesce {value}"))
                .unwrap_or_default();
            let q = spec.q.map(|q| format!(" at {q}")).unwrap_or_default();
            let scale = spec
                .scale
                .map(|scale| format!(" to {scale} places"))
                .unwrap_or_default();
            match &spec.guest {
                Some(guest) => guest_states(guest, form),
                None => format!("{} of {}{coalesce}{q}{scale}", spec.function.name(), spec.column_type),
            }
        })
        .collect();
    functions.join(", ")
}

/// What the states of a guest are by its own word.
fn guest_states(guest: &AggregateGuest, form: StateForm) -> String {
    let mut states = guest.states();
    if !guest.retracts || form == StateForm::States {
        return states;
    }
    if form == StateForm::WithModules {
        states += &format!(" of module {}", guest.module.digest);
    }
    if guest.parameters.is_empty() {
        return states;
    }
    format!("{states} under {}", guest.listed_parameters())
}

/// After how long keys are forgotten, for a person.
pub(super) fn forgotten(ttl_us: Option<i64>) -> String {
    ttl_us.map_or(String::new(), |ttl_us| {
        format!(", forgotten after {}", duration(ttl_us))
    })
}

/// What groups there are, for a person.
pub(super) fn groups(at: At<'_>, group: &[usize]) -> String {
    match group {
        [] => "of everything".to_owned(),
        group => format!("by {}", at.own_names(group)),
    }
}

/// The functions, with the columns that they are of, for a person.
pub(super) fn functions(at: At<'_>, aggregates: &[AggregateSpec]) -> String {
    let column = |index: usize| at.name(at.node.input, index);
    let functions: Vec<String> = aggregates
        .iter()
        .map(|spec| {
            if let Some(guest) = &spec.guest {
                return format!("{} = {}", spec.name, describe_guest(at, guest));
            }
            let of = spec.column.map_or("*", column);
            match (spec.function, spec.coalesce) {
                (Function::Sum | Function::Avg, Some(value)) => {
                    format!("{} = {}({of}, nulls as {value})", spec.name, spec.function.name())
                }
                _ => {
                    let q = spec.q.map(|q| format!(", {q}")).unwrap_or_default();
                    format!("{} = {}({of}{q})", spec.name, spec.function.name())
                }
            }
        })
        .collect();
    functions.join(", ")
}

/// A guest among the functions, with what it reads.
fn describe_guest(at: At<'_>, guest: &AggregateGuest) -> String {
    let description = &guest.module.description;
    let parameters = guest.parameters.iter().map(|(name, value)| format!("{name} = {value}"));
    let parameters = match guest.parameters.is_empty() {
        true => String::new(),
        false => format!(" with {}", parameters.collect::<Vec<_>>().join(", ")),
    };
    format!(
        "{} {} ({}) of {}{parameters}",
        description.name,
        description.version,
        guest.module.short_digest(),
        at.own_names(&guest.inputs)
    )
}
