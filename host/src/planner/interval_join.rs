//! Interval joins: what is compared, how close the times have to be, and which columns come out.

use super::{
    OutputPort, ResolvedChange, ResolvedKind, ResolvedNode, ResolvedOutput, Resolver, list, time::DURATION_US_MAX,
};
use crate::{
    definition::{IntervalJoin, Name},
    error::Result,
    model::column::Schema,
    text::duration,
};
use std::ops::Range;

/// An `interval_join` with names instead of indices.
pub(super) struct ResolvedIntervalJoin {
    pub(super) with: OutputPort,
    /// The columns that are compared, of the step's own edge and of `with`.
    pub(super) on: Vec<(String, String)>,
    pub(super) earliest_us: i64,
    pub(super) latest_us: i64,
    /// The columns of `with` that come out.
    pub(super) added: Vec<String>,
}

impl Resolver<'_> {
    pub(super) fn interval_join(
        &self,
        name: &str,
        input: OutputPort,
        join: &IntervalJoin,
        span: Range<usize>,
    ) -> Result<ResolvedNode> {
        let with = self.port(Some(&join.with), 0, join.with.span())?;
        let (own, other) = (self.output(input)?, self.output(with)?);
        let (own_name, other_name) = (self.port_name(input), self.port_name(with));
        for (port, whose) in [(own, &own_name), (other, &other_name)] {
            if !matches!(port.change, ResolvedChange::Append) {
                return Err(self.error(
                    span,
                    format!(
                        "step \"{name}\": interval_join reads rows that stand for themselves, but {whose} sends a changelog"
                    ),
                ));
            }
        }
        if join.on.is_empty() {
            return Err(self.error(
                span,
                format!(
                    "step \"{name}\": key `on` is empty; say which columns have to be equal: {{ own = \"other\" }}"
                ),
            ));
        }
        let mut on = Vec::new();
        for (column, equals) in &join.on {
            let own_column = Name::new(equals.span(), column.clone());
            let own_field = own.schema.get(self.column(&own.schema, &own_column, &own_name)?);
            let other_field = other.schema.get(self.column(&other.schema, equals, &other_name)?);
            let types = own_field.zip(other_field).map(|(a, b)| (a.column_type, b.column_type));
            if let Some((a, b)) = types
                && a != b
            {
                let equals_name = equals.get_ref();
                let message = format!(
                    "key `on`: \"{column}\" is {a} in {own_name}, but \"{equals_name}\" is {b} in {other_name}"
                );
                return Err(self.at(equals, message));
            }
            on.push((column.clone(), equals.get_ref().clone()));
        }
        let bounds = -DURATION_US_MAX..=DURATION_US_MAX;
        let earliest_us = self.duration(&join.earliest, "earliest", bounds.clone())?;
        let latest_us = self.duration(&join.latest, "latest", bounds)?;
        if latest_us < earliest_us {
            let (earliest, latest) = (duration(earliest_us), duration(latest_us));
            return Err(self.at(
                &join.latest,
                format!("key `latest` is {latest}, before `earliest`, which is {earliest}; accepted is that or later"),
            ));
        }

        let compared = |column: &String| on.iter().any(|(_, equals)| equals == column);
        let added: Vec<String> = match &join.columns {
            Some(columns) => {
                self.distinct(columns, "columns")?;
                for column in columns {
                    self.column(&other.schema, column, &other_name)?;
                }
                columns.iter().map(|column| column.get_ref().clone()).collect()
            }
            None => {
                let columns = other.schema.iter().map(|field| field.name.clone());
                columns.filter(|column| !compared(column)).collect()
            }
        };
        let (mut schema, mut origins): (Schema, _) = (own.schema.clone(), own.origins.clone());
        for field in &mut schema {
            field.nullable &= !on.iter().any(|(column, _)| *column == field.name);
        }
        for column in &added {
            if schema.iter().any(|field| field.name == *column) {
                let at = join.columns.iter().flatten().find(|name| name.get_ref() == column);
                return Err(self.at(
                    at.unwrap_or(&join.with),
                    format!(
                        "step \"{name}\" would add column \"{column}\" of {other_name}, which {own_name} has already: {}; \
                         leave it out of `columns`, or rename it in a rule before",
                        list(&own.schema)
                    ),
                ));
            }
            origins.push((self.nodes.len(), 0, schema.len()));
            let mut field = other.schema.iter().find(|field| field.name == *column).cloned();
            if let Some(field) = &mut field {
                field.nullable &= !compared(column);
            }
            schema.extend(field);
        }
        let out = ResolvedOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change: ResolvedChange::Append,
        };
        let late_with = ResolvedOutput {
            name: "late_with".to_owned(),
            ..self.late_output(with, false)?
        };
        Ok(ResolvedNode {
            name: name.to_owned(),
            input,
            kind: ResolvedKind::IntervalJoin(Box::new(ResolvedIntervalJoin {
                with,
                on,
                earliest_us,
                latest_us,
                added,
            })),
            outputs: vec![out, self.late_output(input, false)?, late_with],
        })
    }
}
