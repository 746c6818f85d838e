//! What each state was built for: where this changes, the state of a database does not fit any more.

use super::{guests, passing};
use crate::{
    definition::{BoundsUnit, TimeUnit},
    model::{column::Field, subject::listed},
    plan::{AggregateSpec, MS_US, NodeKind, OutputPort, OverWindowSpan, Plan, TimeColumn, WindowKind, WindowPlan},
};

/// The name of the state of the clock; no step can be called so.
pub(super) const CLOCK: &str = "event time";

/// A duration as it stands in the database.
pub(super) fn span(us: i64) -> String {
    match us % MS_US {
        0 => format!("{} ms", us / MS_US),
        _ => format!("{us} us"),
    }
}

/// What the column counts that holds the times of rows, if it is not milliseconds.
fn counted(time: Option<TimeColumn>) -> String {
    let scale = time.map(|time| time.scale).unwrap_or_default();
    match scale.unit {
        TimeUnit::Milliseconds => String::new(),
        unit => format!(" by times in {}", unit.plural()),
    }
}

/// The columns and settings that a state depends on; with `names_modules` also the modules that take rows back, which
/// databases did not remember once.
pub(super) fn of_state(plan: &Plan, state: &str, names_modules: bool) -> String {
    let functions = |aggregates: &[AggregateSpec]| functions(aggregates, names_modules);
    let columns = |fields: &mut dyn Iterator<Item = &Field>| {
        fields
            .map(|field| format!("{} {}", field.name, field.column_type))
            .collect::<Vec<_>>()
            .join(", ")
    };
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
            .map(|sink| columns(&mut sink.columns.iter().map(|(field, _)| field)))
            .unwrap_or_default();
    }
    let Some(node) = plan.nodes.iter().find(|node| node.name == step) else {
        return String::new();
    };
    let schema = node
        .outputs
        .first()
        .map(|output| columns(&mut output.schema.iter()))
        .unwrap_or_default();
    match &node.kind {
        NodeKind::Window(window) => {
            let input = plan.nodes.get(node.input.node);
            let input = input.and_then(|input| input.outputs.get(node.input.output));
            let kept = functions(&window.aggregates);
            window_fingerprint(window, &kept, input.map_or(&[][..], |input| &input.schema), &schema)
        }
        NodeKind::IntervalJoin(join) => {
            let types = |port: OutputPort, indices: &[usize]| {
                let schema = plan.nodes.get(port.node).and_then(|node| node.outputs.get(port.output));
                let schema = schema.map(|output| output.schema.as_slice()).unwrap_or_default();
                columns(&mut indices.iter().filter_map(|&index| schema.get(index)))
            };
            format!(
                "interval join from {} to {} of ({}) by ({}), with ({}) by ({})",
                span(join.earliest_us),
                span(join.latest_us),
                types(node.input, &join.own.held),
                types(node.input, &join.own.key),
                types(join.with_port, &join.with.held),
                types(join.with_port, &join.with.key)
            )
        }
        NodeKind::OverWindow(plan) => {
            let seen = match plan.span {
                OverWindowSpan::Rows(rows) => format!("{rows} rows"),
                OverWindowSpan::Time(span_us) => format!("{}{}", span(span_us), counted(plan.time)),
            };
            format!(
                "sliding windows of {seen}{} ({}) by {} columns of {schema}",
                forgets(plan.ttl_us),
                functions(&plan.aggregates),
                plan.group.len()
            )
        }
        NodeKind::OnCrossing(_) | NodeKind::Deduplicate(_) => passing::fingerprint(plan, node),
        NodeKind::TemporalJoin(_) => format!("{}, of {schema}", passing::fingerprint(plan, node)),
        NodeKind::LastValue(plan) => {
            let forgets = forgets(plan.ttl_us);
            let deletes = plan.deleted.map_or("", |_| " that deletes");
            format!(
                "last_value{forgets}{deletes} by the first {} of {schema}",
                plan.key.len()
            )
        }
        NodeKind::Aggregate(plan) => {
            format!(
                "aggregate{} ({}) by the first {} of {schema}",
                forgets(plan.ttl_us),
                functions(&plan.aggregates),
                plan.group.len()
            )
        }
        _ => String::new(),
    }
}

/// Whether keys are forgotten. After how long may change: the state holds when they were touched.
pub(super) fn forgets(ttl_us: Option<i64>) -> &'static str {
    ttl_us.map_or("", |_| " with a ttl")
}

fn functions(aggregates: &[AggregateSpec], names_modules: bool) -> String {
    let functions: Vec<String> = aggregates
        .iter()
        .map(|spec| {
            let coalesce = spec
                .coalesce
                .map(|value| format!(" coalesce {value}"))
                .unwrap_or_default();
            let q = spec.q.map(|q| format!(" at {q}")).unwrap_or_default();
            match &spec.guest {
                Some(guest) => guests::fingerprint(guest, names_modules),
                None => format!("{} of {}{coalesce}{q}", spec.function.name(), spec.column_type),
            }
        })
        .collect();
    functions.join(", ")
}

fn window_fingerprint(plan: &WindowPlan, functions: &str, input: &[Field], schema: &str) -> String {
    let kind = match &plan.kind {
        WindowKind::Session { gap_us } => format!("sessions with gaps of {}", span(*gap_us)),
        WindowKind::Aligned {
            cut,
            size_us,
            every_us,
            zone,
            offset_us,
        } => {
            let (cut, zone) = (format!("{cut:?}").to_lowercase(), zone.as_deref().unwrap_or("UTC"));
            let [size, every, offset] = [size_us, every_us, offset_us].map(|us| span(*us));
            format!("{cut} windows of {size} every {every} by {zone} from {offset}")
        }
    };
    let changes = if plan.aggregates.iter().any(|spec| spec.retracts) {
        " of a changelog"
    } else {
        ""
    };
    let kept = match &plan.top {
        None => functions.to_owned(),
        Some(top) => {
            let order = if top.least { "least" } else { "greatest" };
            let by = input
                .get(top.by)
                .map(|field| format!("{} {}", field.name, field.column_type));
            format!("the {} rows with the {order} {}", top.n, by.unwrap_or_default())
        }
    };
    let counted = counted(plan.time);
    let bounds = match plan.bounds {
        BoundsUnit::Milliseconds => "",
        BoundsUnit::Microseconds => " told in microseconds",
    };
    format!(
        "{kind}{counted}{bounds} ({kept}){changes} by the first {} of {schema}",
        plan.group.len()
    )
}
