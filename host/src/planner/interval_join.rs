//! `interval_join`: rows of two ports whose keys are equal and whose times are close. See
//! [`crate::operator::interval_join`].

use super::{
    Binder, BoundChange, BoundNode, BoundOperator, BoundOutput, Layout, OutputPort, Provenance, Reads, StepAt,
    StepKeys, describe::span, list, time::DURATION_US_MAX,
};
use crate::{
    definition::Name,
    error::Result,
    model::column::Schema,
    plan::{At, OperatorPlan, StateForm},
    text::duration,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    slice,
};

/// Its keys in the file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IntervalJoin {
    /// The step, or `step.output`, that the other rows come from.
    with: Name,
    /// For columns of this step's own rows the columns of the others that have to equal them.
    on: BTreeMap<String, Name>,
    /// By how much a row of the others is later at least; may be negative.
    earliest: Name,
    /// By how much it is later at most; may be negative.
    latest: Name,
    /// The columns of the others that are added; all that are not compared, when absent.
    columns: Option<Vec<Name>>,
}

impl StepKeys for IntervalJoin {
    fn bind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode> {
        let (name, input) = (step.name(), step.input(binder)?);
        let with = binder.port(&self.with)?;
        let (own, other) = (binder.output(input)?, binder.output(with)?);
        let (own_name, other_name) = (binder.port_name(input), binder.port_name(with));
        for (port, whose) in [(own, &own_name), (other, &other_name)] {
            if !matches!(port.change, BoundChange::Append) {
                return Err(binder.error(
                    step.span(),
                    format!(
                        "step \"{name}\": interval_join reads rows that stand for themselves, but {whose} sends a changelog"
                    ),
                ));
            }
        }
        if self.on.is_empty() {
            return Err(binder.error(
                step.span(),
                format!(
                    "step \"{name}\": key `on` is empty; say which columns have to be equal: {{ own = \"other\" }}"
                ),
            ));
        }
        let mut on = Vec::new();
        for (column, equals) in &self.on {
            let own_column = Name::new(equals.span(), column.clone());
            let own_field = own.schema.get(binder.column(&own.schema, &own_column, &own_name)?);
            let other_field = other.schema.get(binder.column(&other.schema, equals, &other_name)?);
            let types = own_field.zip(other_field).map(|(a, b)| (a.column_type, b.column_type));
            if let Some((a, b)) = types
                && a != b
            {
                let equals_name = equals.get_ref();
                let message = format!(
                    "key `on`: \"{column}\" is {a} in {own_name}, but \"{equals_name}\" is {b} in {other_name}"
                );
                return Err(binder.at(equals, message));
            }
            on.push((column.clone(), equals.get_ref().clone()));
        }
        let bounds = -DURATION_US_MAX..=DURATION_US_MAX;
        let earliest_us = binder.duration(&self.earliest, "earliest", bounds.clone())?;
        let latest_us = binder.duration(&self.latest, "latest", bounds)?;
        if latest_us < earliest_us {
            let (earliest, latest) = (duration(earliest_us), duration(latest_us));
            return Err(binder.at(
                &self.latest,
                format!("key `latest` is {latest}, before `earliest`, which is {earliest}; accepted is that or later"),
            ));
        }

        let compared = |column: &String| on.iter().any(|(_, equals)| equals == column);
        let added: Vec<String> = match &self.columns {
            Some(columns) => {
                binder.distinct(columns, "columns")?;
                for column in columns {
                    binder.column(&other.schema, column, &other_name)?;
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
                let at = self.columns.iter().flatten().find(|name| name.get_ref() == column);
                return Err(binder.at(
                    at.unwrap_or(&self.with),
                    format!(
                        "step \"{name}\" would add column \"{column}\" of {other_name}, which {own_name} has already: {}; \
                         leave it out of `columns`, or rename it in a rule before",
                        list(&own.schema)
                    ),
                ));
            }
            origins.push((binder.nodes.next_id(), 0, schema.len()));
            let mut field = other.schema.iter().find(|field| field.name == *column).cloned();
            if let Some(field) = &mut field {
                field.nullable &= !compared(column);
            }
            schema.extend(field);
        }
        let out = BoundOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change: BoundChange::Append,
        };
        let late_with = BoundOutput {
            name: "late_with".to_owned(),
            ..binder.late_output(with, false)?
        };
        let outputs = vec![out, binder.late_output(input, false)?, late_with];
        let join = BoundIntervalJoin {
            with,
            on,
            earliest_us,
            latest_us,
            added,
        };
        Ok(step.bound(input, join, outputs))
    }
}

/// The step, by the names of its columns.
struct BoundIntervalJoin {
    with: OutputPort,
    /// The columns that are compared, of the step's own port and of `with`.
    on: Vec<(String, String)>,
    earliest_us: i64,
    latest_us: i64,
    /// The columns of `with` that come out.
    added: Vec<String>,
}

impl BoundOperator for BoundIntervalJoin {
    fn other_inputs(&self) -> &[OutputPort] {
        slice::from_ref(&self.with)
    }

    fn reads(&self, node: &BoundNode, read: &[BTreeSet<String>]) -> Reads {
        let of = |output: usize| read.get(output).into_iter().flatten();
        let is_added = |name: &&String| self.added.contains(name);
        let own = of(0).filter(|name| !is_added(name)).chain(of(1));
        let with = of(0).filter(is_added).chain(of(2));
        let (own_key, with_key): (Vec<&String>, Vec<&String>) = self.on.iter().map(|(own, with)| (own, with)).unzip();
        vec![
            (node.input, own.chain(own_key).cloned().collect()),
            (self.with, with.chain(with_key).cloned().collect()),
        ]
    }

    fn follows_time(&self) -> bool {
        true
    }

    fn provenance(&self, _: &BoundNode, column: &str) -> Provenance {
        Provenance::copy(self.with, column)
    }

    fn plan(&self, layout: &Layout<'_>) -> Box<dyn OperatorPlan> {
        let is_added = |name: &&String| self.added.contains(name);
        Box::new(IntervalJoinPlan {
            with_port: self.with,
            own: JoinSidePlan {
                key: layout.own(self.on.iter().map(|(own, _)| own)),
                held: layout.own(layout.held(0).filter(|name| !is_added(name))),
                late: layout.passed(1),
            },
            with: JoinSidePlan {
                key: layout.indices(self.with, self.on.iter().map(|(_, with)| with)),
                held: layout.indices(self.with, layout.held(0).filter(is_added)),
                late: layout.passed_of(2, self.with),
            },
            earliest_us: self.earliest_us,
            latest_us: self.latest_us,
        })
    }
}

/// The outputs are columns of the input, then of the other edge; and the rows of each that came too late.
#[derive(Clone, Debug)]
pub struct IntervalJoinPlan {
    /// Where the other rows come from.
    pub with_port: OutputPort,
    /// The step's own rows.
    pub own: JoinSidePlan,
    /// The others.
    pub with: JoinSidePlan,
    /// By how much a row of the others is later at least.
    pub earliest_us: i64,
    /// By how much it is later at most.
    pub latest_us: i64,
}

/// One side of a join.
#[derive(Clone, Debug)]
pub struct JoinSidePlan {
    /// The columns that are compared.
    pub key: Vec<usize>,
    /// The columns that come out.
    pub held: Vec<usize>,
    /// The columns of a row that is late.
    pub late: Vec<usize>,
}

impl OperatorPlan for IntervalJoinPlan {
    fn other_inputs(&self) -> &[OutputPort] {
        slice::from_ref(&self.with_port)
    }

    fn follows_time(&self) -> bool {
        true
    }

    fn late_outputs(&self) -> &'static [usize] {
        &[1, 2]
    }

    fn fingerprint(&self, at: At<'_>, _: StateForm) -> String {
        format!(
            "interval join from {} to {} of ({}) by ({}), with ({}) by ({})",
            span(self.earliest_us),
            span(self.latest_us),
            at.typed(at.node.input, &self.own.held),
            at.typed(at.node.input, &self.own.key),
            at.typed(self.with_port, &self.with.held),
            at.typed(self.with_port, &self.with.key)
        )
    }

    fn describe(&self, at: At<'_>) -> String {
        format!(
            "join of {} with {}, {} to {} later",
            at.own_names(&self.own.key),
            at.names(self.with_port, &self.with.key),
            duration(self.earliest_us),
            duration(self.latest_us)
        )
    }
}
