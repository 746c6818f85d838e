//! `window = { over = … }`: for each row the aggregates of the rows before it. See [`crate::operator::over_window`]. The key was
//! called `sliding`, and may still be.

use super::{
    Binder, BoundAggregate, BoundChange, BoundNode, BoundOperator, BoundOutput, Layout, Provenance, Reads, StepAt,
    aggregate::{columns_of, provenance_of},
    describe::{counted, forgets, function_states, functions, groups, span},
    texts,
    time::DURATION_US_MAX,
    window_keys::{OverWindow, Window},
};
use crate::{
    error::Result,
    limits::SLIDING_ROWS_MAX,
    plan::{AggregateSpec, At, OperatorPlan, StateForm, TimeColumn, TimeScale},
    text::duration,
};
use std::collections::BTreeSet;

impl OverWindow {
    /// Binds the step whose `window` it stands in, under the key that is `written`.
    pub(super) fn bind(
        &self,
        written: &str,
        step: &StepAt<'_>,
        window: &Window,
        binder: &Binder<'_>,
    ) -> Result<BoundNode> {
        let (name, input) = (step.name(), step.input(binder)?);
        window.one_kind(step, binder)?;
        let whose = binder.port_name(input);
        let source = binder.output(input)?;
        if !matches!(source.change, BoundChange::Append) {
            return Err(binder.error(
                step.span(),
                format!(
                    "step \"{name}\": {written} windows read rows that stand for themselves, but {whose} sends a changelog"
                ),
            ));
        }
        let span = self.span(written, step, window, binder)?;
        if let (Some(ttl), OverWindowSpan::Time(_)) = (&self.ttl, span) {
            let message =
                "key `ttl` goes with `rows`; rows of `time` go with the watermark, and groups with their last row";
            return Err(binder.at(ttl, message));
        }
        let ttl_us = binder.ttl(self.ttl.as_ref())?;
        let time = binder.time_column(input, window)?;
        if matches!(span, OverWindowSpan::Time(_)) {
            binder.check_own_time(name, input, window, step.span())?;
        }
        let others = [
            ("zone", &window.zone),
            ("offset", &window.offset),
            ("lateness", &window.lateness),
        ];
        for (key, given) in others {
            if let Some(given) = given {
                let why = "such a window begins anew for each row, and emits it once";
                return Err(binder.at(given, format!("key `{key}` does not go with {written}: {why}")));
            }
        }
        if let Some(unit) = &window.bounds_unit {
            let why = "such a window has no bounds of its own to emit";
            return Err(binder.error(
                unit.span(),
                format!("key `bounds_unit` does not go with {written}: {why}"),
            ));
        }
        if let Some(emit) = &window.emit {
            let why = "such a window emits each row once";
            return Err(binder.error(emit.span(), format!("key `emit` does not go with {written}: {why}")));
        }

        if let Some(top) = &window.top {
            let why = "such a window adds to the columns of each row";
            return Err(binder.error(
                top.span(),
                format!("key `top` does not go with {written}: {why}; say `columns`"),
            ));
        }
        binder.columns_or_top(name, window, step.span())?;

        binder.distinct(&window.group_by, "group_by")?;
        for group in &window.group_by {
            binder.column(&source.schema, group, &whose)?;
        }
        let (mut schema, mut origins) = (source.schema.clone(), source.origins.clone());
        let mut aggregates = Vec::new();
        for (column, spec) in window.columns.iter().flat_map(|columns| &columns.0) {
            if spec.module.is_some() {
                let accepted = "accepted is a function of the host's own";
                return Err(binder.at(
                    column,
                    format!("module does not go with {written}, whose rows come and go; {accepted}"),
                ));
            }
            let (bound, field) = binder.aggregate_column(column, spec, &source.schema, &whose)?;
            if bound.function.needs_order() {
                let function = bound.function.name();
                return Err(binder.at(
                    column,
                    format!(
                        "{function} does not go with {written}, whose rows come and go; accepted is any other function"
                    ),
                ));
            }
            binder.check_takes_back(
                column,
                bound.function,
                &format!("rows of {written} windows come and go"),
            )?;
            if schema.iter().any(|known| known.name == field.name) {
                return Err(binder.at(
                    column,
                    format!(
                        "{whose} has a column \"{}\" already, and {written} adds to its columns; give the result another name",
                        field.name
                    ),
                ));
            }
            origins.push((binder.nodes.next_id(), 0, schema.len()));
            schema.push(field);
            aggregates.push(bound);
        }
        let out = BoundOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change: BoundChange::Append,
        };
        let mut outputs = vec![out];
        if matches!(span, OverWindowSpan::Time(_)) {
            outputs.push(binder.late_output(input, false)?);
        }
        let over_window = BoundOverWindow {
            group: texts(&window.group_by),
            aggregates,
            span,
            ttl_us,
            time,
        };
        Ok(step.bound(input, over_window, outputs))
    }

    fn span(&self, written: &str, step: &StepAt<'_>, window: &Window, binder: &Binder<'_>) -> Result<OverWindowSpan> {
        match (&self.rows, &self.time) {
            (Some(rows), None) => {
                let count = *rows.get_ref();
                if !(1..=SLIDING_ROWS_MAX).contains(&count) {
                    let message = format!("key `rows` is {count}; accepted are 1 to {SLIDING_ROWS_MAX}");
                    return Err(binder.error(rows.span(), message));
                }
                if let Some(time) = &window.time {
                    return Err(binder.at(
                        time,
                        format!("key `time` does not go with {written} rows, which are counted as they come"),
                    ));
                }
                Ok(OverWindowSpan::Rows(count))
            }
            (None, Some(time)) => Ok(OverWindowSpan::Time(binder.duration(
                time,
                "time",
                1..=DURATION_US_MAX,
            )?)),
            _ => {
                let accepted = "exactly one of rows (such as 10) and time (such as \"1 h\")";
                Err(binder.error(
                    step.span(),
                    format!("step \"{}\": {written} has {accepted}", step.name()),
                ))
            }
        }
    }
}

/// The step, by the names of its columns.
struct BoundOverWindow {
    group: Vec<String>,
    aggregates: Vec<BoundAggregate>,
    span: OverWindowSpan,
    ttl_us: Option<i64>,
    time: Option<(String, TimeScale)>,
}

impl BoundOverWindow {
    fn is_computed(&self, name: &str) -> bool {
        self.aggregates.iter().any(|aggregate| aggregate.name == *name)
    }
}

impl BoundOperator for BoundOverWindow {
    fn reads(&self, node: &BoundNode, read: &[BTreeSet<String>]) -> Reads {
        let passed = read
            .first()
            .into_iter()
            .flatten()
            .filter(|name| !self.is_computed(name));
        let names = self
            .group
            .iter()
            .chain(self.time.iter().map(|(name, _)| name))
            .chain(passed)
            .chain(read.get(1).into_iter().flatten())
            .chain(columns_of(&self.aggregates, read.first()));
        vec![(node.input, names.cloned().collect())]
    }

    fn follows_time(&self) -> bool {
        self.ttl_us.is_some() || self.is_timer_driven()
    }

    fn is_timer_driven(&self) -> bool {
        matches!(self.span, OverWindowSpan::Time(_))
    }

    fn provenance(&self, node: &BoundNode, column: &str) -> Provenance {
        provenance_of(&self.aggregates, node, column)
    }

    fn plan(&self, layout: &Layout<'_>) -> Box<dyn OperatorPlan> {
        Box::new(OverWindowPlan {
            group: layout.own(&self.group),
            passed: layout.own(layout.held(0).filter(|name| !self.is_computed(name))),
            aggregates: layout.aggregates(&self.aggregates, true),
            span: self.span,
            ttl_us: self.ttl_us,
            time: layout.time_column(self.time.as_ref()),
            // Only rows of a span of time come late.
            late: match self.span {
                OverWindowSpan::Rows(_) => Vec::new(),
                OverWindowSpan::Time(_) => layout.passed(1),
            },
        })
    }
}

/// The first output is what is passed on of the input, then the aggregates; where it is one of time,
/// the other is the rows that came too late.
#[derive(Clone, Debug)]
pub struct OverWindowPlan {
    /// The group.
    pub group: Vec<usize>,
    /// The columns that are passed on.
    pub passed: Vec<usize>,
    /// What is computed.
    pub aggregates: Vec<AggregateSpec>,
    /// How far back a row sees.
    pub span: OverWindowSpan,
    /// After how long without a row a group is forgotten. Only where so many rows are seen.
    pub ttl_us: Option<i64>,
    /// The column that holds a row's time; that of its event, when absent.
    pub time: Option<TimeColumn>,
    /// The columns of a row that is late.
    pub late: Vec<usize>,
}

/// How far back a row sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverWindowSpan {
    /// So many rows of its group, itself included.
    Rows(u64),
    /// The rows of its group of so many microseconds.
    Time(i64),
}

impl OperatorPlan for OverWindowPlan {
    fn follows_time(&self) -> bool {
        matches!(self.span, OverWindowSpan::Time(_)) || self.ttl_us.is_some()
    }

    fn late_outputs(&self) -> &'static [usize] {
        &[1]
    }

    fn aggregates(&self) -> &[AggregateSpec] {
        &self.aggregates
    }

    fn fingerprint(&self, at: At<'_>, form: StateForm) -> String {
        let seen = match self.span {
            OverWindowSpan::Rows(rows) => format!("{rows} rows"),
            OverWindowSpan::Time(span_us) => format!("{}{}", span(span_us), counted(self.time)),
        };
        format!(
            "sliding windows of {seen}{} ({}) by {} columns of {}",
            forgets(self.ttl_us),
            function_states(&self.aggregates, form),
            self.group.len(),
            at.output()
        )
    }

    fn describe(&self, at: At<'_>) -> String {
        let span = match self.span {
            OverWindowSpan::Rows(rows) => format!("{rows} rows"),
            OverWindowSpan::Time(span_us) => duration(span_us),
        };
        let (groups, functions) = (groups(at, &self.group), functions(at, &self.aggregates));
        format!("for each row the last {span} {groups}: {functions}")
    }
}
