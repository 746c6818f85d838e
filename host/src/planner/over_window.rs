//! Windows that slide: how far back a row sees, and what is computed for it.

use super::{
    OutputPort, ResolvedAggregate, ResolvedChange, ResolvedKind, ResolvedNode, ResolvedOutput, Resolver,
    time::DURATION_US_MAX,
};
use crate::{
    definition::Window,
    error::Result,
    limits::SLIDING_ROWS_MAX,
    plan::{OverWindowSpan, TimeScale},
};
use std::ops::Range;

/// A `window` that slides, with names instead of indices.
pub(super) struct ResolvedOverWindow {
    pub(super) group: Vec<String>,
    pub(super) aggregates: Vec<ResolvedAggregate>,
    pub(super) span: OverWindowSpan,
    pub(super) ttl_us: Option<i64>,
    pub(super) time: Option<(String, TimeScale)>,
}

impl Resolver<'_> {
    pub(super) fn over_window(
        &self,
        name: &str,
        input: OutputPort,
        window: &Window,
        span: Range<usize>,
    ) -> Result<ResolvedNode> {
        self.one_kind(name, window, span.clone())?;
        let whose = self.port_name(input);
        let source = self.output(input)?;
        if !matches!(source.change, ResolvedChange::Append) {
            return Err(self.error(
                span,
                format!(
                    "step \"{name}\": sliding windows read rows that stand for themselves, but {whose} sends a changelog"
                ),
            ));
        }
        let at = span.clone();
        let span = self.sliding_span(name, window, span)?;
        let ttl = window
            .over_window
            .as_ref()
            .and_then(|over_window| over_window.get_ref().ttl.as_ref());
        if let (Some(ttl), OverWindowSpan::Time(_)) = (ttl, span) {
            let message =
                "key `ttl` goes with `rows`; rows of `time` go with the watermark, and groups with their last row";
            return Err(self.at(ttl, message));
        }
        let ttl_us = self.ttl(ttl)?;
        let time = self.time_column(input, window)?;
        if matches!(span, OverWindowSpan::Time(_)) {
            self.check_own_time(name, input, window, at.clone())?;
        }
        let others = [
            ("zone", &window.zone),
            ("offset", &window.offset),
            ("lateness", &window.lateness),
        ];
        for (key, given) in others {
            if let Some(given) = given {
                let why = "a sliding window begins anew for each row, and tells it once";
                return Err(self.at(given, format!("key `{key}` does not go with sliding: {why}")));
            }
        }
        if let Some(unit) = &window.bounds_unit {
            let why = "a sliding window has no bounds of its own to tell";
            return Err(self.error(
                unit.span(),
                format!("key `bounds_unit` does not go with sliding: {why}"),
            ));
        }
        if let Some(emit) = &window.emit {
            let why = "a sliding window tells each row once";
            return Err(self.error(emit.span(), format!("key `emit` does not go with sliding: {why}")));
        }

        if let Some(top) = &window.top {
            let why = "a sliding window adds to the columns of each row";
            return Err(self.error(
                top.span(),
                format!("key `top` does not go with sliding: {why}; say `columns`"),
            ));
        }
        self.columns_or_top(name, window, at)?;

        self.distinct(&window.group_by, "group_by")?;
        for group in &window.group_by {
            self.column(&source.schema, group, &whose)?;
        }
        let (mut schema, mut origins) = (source.schema.clone(), source.origins.clone());
        let mut aggregates = Vec::new();
        for (column, spec) in window.columns.iter().flat_map(|columns| &columns.0) {
            if spec.module.is_some() {
                let accepted = "accepted is a function of the host's own";
                return Err(self.at(
                    column,
                    format!("module does not go with sliding, whose rows come and go; {accepted}"),
                ));
            }
            let (resolved, field) = self.aggregate_column(column, spec, &source.schema, &whose)?;
            if resolved.function.needs_order() {
                let function = resolved.function.name();
                return Err(self.at(
                    column,
                    format!(
                        "{function} does not go with sliding, whose rows come and go; accepted is any other function"
                    ),
                ));
            }
            self.check_takes_back(column, resolved.function, "rows of a sliding window come and go")?;
            if schema.iter().any(|known| known.name == field.name) {
                return Err(self.at(
                    column,
                    format!(
                        "{whose} has a column \"{}\" already, and sliding adds to its columns; give the result another name",
                        field.name
                    ),
                ));
            }
            origins.push((self.nodes.len(), 0, schema.len()));
            schema.push(field);
            aggregates.push(resolved);
        }
        let out = ResolvedOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change: ResolvedChange::Append,
        };
        let mut outputs = vec![out];
        if matches!(span, OverWindowSpan::Time(_)) {
            outputs.push(self.late_output(input, false)?);
        }
        let kind = ResolvedKind::OverWindow(Box::new(ResolvedOverWindow {
            group: window.group_by.iter().map(|name| name.get_ref().clone()).collect(),
            aggregates,
            span,
            ttl_us,
            time,
        }));
        Ok(ResolvedNode {
            name: name.to_owned(),
            input,
            kind,
            outputs,
        })
    }

    fn sliding_span(&self, name: &str, window: &Window, span: Range<usize>) -> Result<OverWindowSpan> {
        let sliding = window.over_window.as_ref().map(serde_spanned::Spanned::get_ref);
        match sliding.map(|over_window| (&over_window.rows, &over_window.time)) {
            Some((Some(rows), None)) => {
                let count = *rows.get_ref();
                if !(1..=SLIDING_ROWS_MAX).contains(&count) {
                    let message = format!("key `rows` is {count}; accepted are 1 to {SLIDING_ROWS_MAX}");
                    return Err(self.error(rows.span(), message));
                }
                if let Some(time) = &window.time {
                    return Err(self.at(
                        time,
                        "key `time` does not go with sliding rows, which are counted as they come",
                    ));
                }
                Ok(OverWindowSpan::Rows(count))
            }
            Some((None, Some(time))) => Ok(OverWindowSpan::Time(self.duration(
                time,
                "time",
                1..=DURATION_US_MAX,
            )?)),
            _ => {
                let accepted = "exactly one of rows (such as 10) and time (such as \"1 h\")";
                Err(self.error(span, format!("step \"{name}\": a sliding window has {accepted}")))
            }
        }
    }
}
