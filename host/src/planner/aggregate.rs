//! `aggregate`: sums, counts, extremes and means by group, and the aggregates that windows have as well. See
//! [`crate::operator::aggregate`].

use super::{
    Binder, BoundAggregate, BoundChange, BoundNode, BoundOperator, Layout, Provenance, Reads, StepAt, StepKeys,
    describe::{forgets, forgotten, function_states, functions, groups},
    texts,
};
use crate::{
    definition::{ColumnMap, Name, Spanned, StageLimits},
    error::{Error, Result},
    model::{
        column::{ColumnType, Field, Schema},
        decimal::DecimalType,
    },
    plan::{AggregateSpec, At, Function, OperatorPlan, StateForm},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// Beyond it, not every whole number is a double.
const WHOLE_MAX: f64 = (1u64 << 53) as f64;

/// Its keys in the file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Aggregate {
    /// The group's columns; may be empty for one group of everything.
    group_by: Vec<Name>,
    /// What is computed, by the name of the resulting column.
    columns: ColumnMap<AggregateColumn>,
    /// After how long without a change a group is forgotten, such as `"30 d"`; never, when absent.
    ttl: Option<Name>,
}

/// One aggregate: exactly one function with its column, or the component of an aggregate of the user's own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AggregateColumn {
    /// The sum of a column of numbers.
    pub(super) sum: Option<Name>,
    /// How many rows (`"*"`), or how many values of a column, there are.
    pub(super) count: Option<Name>,
    /// How many different values a column has.
    pub(super) count_distinct: Option<Name>,
    /// The least value.
    pub(super) min: Option<Name>,
    /// The greatest value.
    pub(super) max: Option<Name>,
    /// The mean of a column of numbers.
    pub(super) avg: Option<Name>,
    /// About how many different values a column has.
    pub(super) approx_count_distinct: Option<Name>,
    /// A quantile of a column of numbers.
    pub(super) quantile: Option<Name>,
    /// Which quantile: 0.95 for the 95th percentile. Only with `quantile`.
    pub(super) q: Option<Spanned<f64>>,
    /// The value of the earliest row that has one. Only in windows.
    pub(super) first: Option<Name>,
    /// The value of the latest row that has one. Only in windows.
    pub(super) last: Option<Name>,
    /// What a null in the column counts as. Only with `sum` and `avg`.
    pub(super) coalesce: Option<Spanned<f64>>,
    /// How many digits of a mean of decimals stand behind the point.
    pub(super) scale: Option<Spanned<u8>>,
    /// The file of a component that is an aggregate, relative to the pipeline file.
    pub(super) module: Option<Spanned<PathBuf>>,
    /// Parameters by name; those left out have the aggregate's defaults. Only with `module`.
    #[schemars(with = "Option<BTreeMap<String, serde_json::Value>>")]
    pub(super) parameters: Option<Spanned<BTreeMap<String, Spanned<toml::Value>>>>,
    /// Bounds other than the defaults. Only with `module`.
    pub(super) limits: Option<Spanned<StageLimits>>,
}

impl StepKeys for Aggregate {
    fn bind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode> {
        let input = step.input(binder)?;
        let whose = binder.port_name(input);
        let source = binder.output(input)?;
        binder.distinct(&self.group_by, "group_by")?;
        let mut schema = Schema::new();
        for group in &self.group_by {
            let index = binder.column(&source.schema, group, &whose)?;
            schema.extend(source.schema.get(index).cloned());
        }
        let mut aggregates = Vec::new();
        for (column, spec) in &self.columns.0 {
            if schema.iter().any(|field| field.name == *column.get_ref()) {
                let message = format!(
                    "column \"{}\" is in `group_by` already; give the result another name",
                    column.get_ref()
                );
                return Err(binder.at(column, message));
            }
            let (bound, field) = match &spec.module {
                Some(module) => binder.guest_column(step.name(), column, spec, module, input, step.host)?,
                None => binder.aggregate_column(column, spec, &source.schema, &whose)?,
            };
            if bound.function.needs_order() {
                let function = bound.function.name();
                let accepted = "a group changes for ever: last_value keeps the latest values of a key";
                return Err(binder.at(column, format!("{function} is for windows; {accepted}")));
            }
            if !matches!(source.change, BoundChange::Append) {
                binder.check_takes_back(column, bound.function, &format!("{whose} sends a changelog"))?;
            }
            schema.push(field);
            aggregates.push(bound);
        }
        // A guest is asked for a whole batch ahead, in which a group may be forgotten.
        if let Some(ttl) = &self.ttl
            && let Some(guest) = aggregates.iter().find(|bound| bound.guest.is_some())
        {
            let message = format!(
                "key `ttl` does not go with column \"{}\", which is a guest's; put the guest into a window instead",
                guest.name
            );
            return Err(binder.at(ttl, message));
        }
        let group = texts(&self.group_by);
        let output = binder.keyed_output(schema, group.clone());
        let aggregate = BoundAggregation {
            group,
            aggregates,
            ttl_us: binder.ttl(self.ttl.as_ref())?,
        };
        Ok(step.bound(input, aggregate, vec![output]))
    }
}

/// The step, by the names of its columns.
struct BoundAggregation {
    group: Vec<String>,
    aggregates: Vec<BoundAggregate>,
    ttl_us: Option<i64>,
}

impl BoundOperator for BoundAggregation {
    fn reads(&self, node: &BoundNode, read: &[BTreeSet<String>]) -> Reads {
        let names = self.group.iter().chain(columns_of(&self.aggregates, read.first()));
        vec![(node.input, names.cloned().collect())]
    }

    fn is_timer_driven(&self) -> bool {
        self.ttl_us.is_some()
    }

    fn without_time(&self, node: &BoundNode) -> Option<String> {
        Some(format!("take the `ttl` out of step \"{}\"", node.name))
    }

    fn provenance(&self, node: &BoundNode, column: &str) -> Provenance {
        match self.group.iter().any(|group| group == column) {
            true => Provenance::copy(node.input, column),
            false => provenance_of(&self.aggregates, node, column),
        }
    }

    fn plan(&self, layout: &Layout<'_>) -> Box<dyn OperatorPlan> {
        Box::new(AggregatePlan {
            group: layout.own(&self.group),
            aggregates: layout.aggregates(&self.aggregates, true),
            ttl_us: self.ttl_us,
        })
    }
}

/// The columns that those of the aggregates read that somebody reads.
pub(super) fn columns_of<'a>(
    aggregates: &'a [BoundAggregate],
    read: Option<&'a BTreeSet<String>>,
) -> impl Iterator<Item = &'a String> {
    let is_read = move |aggregate: &&BoundAggregate| read.is_some_and(|read| read.contains(&aggregate.name));
    aggregates.iter().filter(is_read).flat_map(BoundAggregate::columns)
}

/// Where an aggregate has its values from: those of a column, as they are, or new ones.
pub(super) fn provenance_of(aggregates: &[BoundAggregate], node: &BoundNode, column: &str) -> Provenance {
    let keeps = [Function::Min, Function::Max, Function::First, Function::Last];
    let aggregate = aggregates.iter().find(|aggregate| aggregate.name == column);
    let aggregate = aggregate.filter(|aggregate| keeps.contains(&aggregate.function));
    match aggregate.and_then(|aggregate| aggregate.column.as_ref()) {
        Some(column) => Provenance::copy(node.input, column),
        None => Provenance::New,
    }
}

/// The output is the group, then the aggregates.
#[derive(Clone, Debug)]
pub struct AggregatePlan {
    /// The group.
    pub group: Vec<usize>,
    /// What is computed.
    pub aggregates: Vec<AggregateSpec>,
    /// After how long without a change a group is forgotten.
    pub ttl_us: Option<i64>,
}

impl OperatorPlan for AggregatePlan {
    fn follows_time(&self) -> bool {
        self.ttl_us.is_some()
    }

    fn takes_back(&self) -> bool {
        true
    }

    fn aggregates(&self) -> &[AggregateSpec] {
        &self.aggregates
    }

    fn fingerprint(&self, at: At<'_>, form: StateForm) -> String {
        format!(
            "aggregate{} ({}) by the first {} of {}",
            forgets(self.ttl_us),
            function_states(&self.aggregates, form),
            self.group.len(),
            at.output()
        )
    }

    fn describe(&self, at: At<'_>) -> String {
        let (groups, functions) = (groups(at, &self.group), functions(at, &self.aggregates));
        format!("aggregate {groups}{}: {functions}", forgotten(self.ttl_us))
    }
}

impl Binder<'_> {
    pub(super) fn aggregate_column(
        &self,
        name: &Name,
        spec: &AggregateColumn,
        schema: &Schema,
        whose: &str,
    ) -> Result<(BoundAggregate, Field)> {
        let given = given_functions(spec);
        let &[(function, of)] = given.as_slice() else {
            return Err(self.not_one_function(name, spec));
        };
        let of_guests = [
            ("parameters", spec.parameters.as_ref().map(Spanned::span)),
            ("limits", spec.limits.as_ref().map(Spanned::span)),
        ];
        for (key, span) in of_guests {
            if let Some(span) = span {
                let function = function.name();
                return Err(self.error(span, format!("key `{key}` goes with module, not with {function}")));
            }
        }
        let result = |column_type, nullable| Field {
            name: name.get_ref().clone(),
            column_type,
            nullable,
        };
        if let Some(coalesce) = &spec.coalesce {
            if !matches!(function, Function::Sum | Function::Avg) {
                let function = function.name();
                return Err(self.error(
                    coalesce.span(),
                    format!("key `coalesce` goes with sum and avg, not with {function}"),
                ));
            }
            if !coalesce.get_ref().is_finite() {
                return Err(self.error(
                    coalesce.span(),
                    "key `coalesce` is not finite; accepted is a finite number",
                ));
            }
        }
        let coalesce = spec.coalesce.as_ref().map(|value| *value.get_ref());
        let q = self.q(name, spec, function)?;
        if function == Function::Count && of.get_ref() == "*" {
            let bound = BoundAggregate {
                name: name.get_ref().clone(),
                function,
                column: None,
                column_type: ColumnType::Int,
                coalesce,
                q,
                scale: None,
                guest: None,
            };
            return Ok((bound, result(ColumnType::Int, false)));
        }
        if of.get_ref() == "*" {
            let function = function.name();
            return Err(self.at(
                of,
                format!("{function} of every row; only count takes \"*\", others take a column"),
            ));
        }
        let index = self.column(schema, of, whose)?;
        let Some(column) = schema.get(index) else {
            return Err(self.at(of, "no such column"));
        };
        let (accepts, accepted) = match function {
            Function::Sum | Function::Avg => (column.column_type.is_number(), "int, double or decimal"),
            Function::Quantile => (
                matches!(column.column_type, ColumnType::Int | ColumnType::Double),
                "int or double",
            ),
            Function::Min | Function::Max => (
                column.column_type.has_order(),
                "any type but json and lists, which have no order",
            ),
            _ => (true, ""),
        };
        if !accepts {
            let (function, found) = (function.name(), column.column_type);
            return Err(self.at(
                of,
                format!(
                    "{function} of column \"{}\", which is {found}; accepted is a column of {accepted}",
                    of.get_ref()
                ),
            ));
        }
        let scale = self.scale(name, spec, function, column.column_type)?;
        if let (Some(given), ColumnType::Decimal(decimal)) = (&spec.coalesce, column.column_type)
            && decimal.parse(given.get_ref().to_string().as_bytes()).is_none()
        {
            return Err(self.error(
                given.span(),
                format!(
                    "key `coalesce` is {:?}, which is no {} as column \"{}\" has them",
                    given.get_ref(),
                    column.column_type,
                    of.get_ref()
                ),
            ));
        }
        if let Some(given) = &spec.coalesce
            && column.column_type == ColumnType::Int
            && (given.get_ref().fract() != 0.0 || given.get_ref().abs() > WHOLE_MAX)
        {
            return Err(self.error(
                given.span(),
                format!(
                    "key `coalesce` is {:?}, but column \"{}\" is int; accepted is a whole number from -2^53 to 2^53",
                    given.get_ref(),
                    of.get_ref()
                ),
            ));
        }
        let nullable = column.nullable && coalesce.is_none();
        let of_decimals = match (function, column.column_type) {
            (Function::Sum, ColumnType::Decimal(decimal)) => Some(decimal.of_sum()),
            (Function::Avg, ColumnType::Decimal(_)) => {
                scale.and_then(|scale| DecimalType::new(DecimalType::PRECISION_MAX, scale))
            }
            _ => None,
        };
        let field = match function {
            Function::Count | Function::CountDistinct | Function::ApproxCountDistinct => result(ColumnType::Int, false),
            Function::Avg | Function::Quantile => result(ColumnType::Double, nullable),
            // A sum beyond the numbers of its type has no value until it comes back.
            Function::Sum => result(column.column_type, true),
            Function::Min | Function::Max | Function::First | Function::Last | Function::Guest => {
                result(column.column_type, column.nullable)
            }
        };
        let field = match of_decimals {
            Some(decimal) => result(ColumnType::Decimal(decimal), true),
            None => field,
        };
        let bound = BoundAggregate {
            name: name.get_ref().clone(),
            function,
            column: Some(of.get_ref().clone()),
            column_type: column.column_type,
            coalesce,
            q,
            scale,
            guest: None,
        };
        Ok((bound, field))
    }

    /// How many digits of a mean of decimals stand behind the point.
    fn scale(
        &self,
        name: &Name,
        spec: &AggregateColumn,
        function: Function,
        column_type: ColumnType,
    ) -> Result<Option<u8>> {
        match (function, column_type, &spec.scale) {
            (Function::Avg, ColumnType::Decimal(decimal), given) => {
                let accepted = || {
                    let (least, most) = (decimal.scale(), DecimalType::PRECISION_MAX);
                    format!(
                        "accepted is a number of digits behind the point from {least} to {most}, such as `scale = {least}`"
                    )
                };
                let Some(given) = given else {
                    let message = format!(
                        "key `scale` is missing, which says to how many digits behind the point a mean of {column_type} is rounded; {}",
                        accepted()
                    );
                    return Err(self.at(name, message));
                };
                let scale = *given.get_ref();
                match (decimal.scale()..=DecimalType::PRECISION_MAX).contains(&scale) {
                    true => Ok(Some(scale)),
                    false => Err(self.error(given.span(), format!("key `scale` is {scale}; {}", accepted()))),
                }
            }
            (_, _, None) => Ok(None),
            (function, _, Some(given)) => {
                let message = format!(
                    "key `scale` goes with avg of a decimal, not with {} of {column_type}",
                    function.name()
                );
                Err(self.error(given.span(), message))
            }
        }
    }

    /// The error for a column that has no function, or several.
    pub(super) fn not_one_function(&self, name: &Name, spec: &AggregateColumn) -> Error {
        let given = given_functions(spec).into_iter();
        let given = given.map(|(function, _)| function);
        let given = given.chain(spec.module.is_some().then_some(Function::Guest));
        let names: Vec<&str> = given.map(Function::name).collect();
        let found = if names.is_empty() {
            "no function".to_owned()
        } else {
            names.join(" and ")
        };
        let accepted = "exactly one of sum, count, count_distinct, min, max, avg, first, last, approx_count_distinct, quantile, module";
        self.at(
            name,
            format!("column \"{}\" has {found}; a column has {accepted}", name.get_ref()),
        )
    }
}

/// The functions of the host's own that a column has, each with the column that it is of.
pub(super) fn given_functions(spec: &AggregateColumn) -> Vec<(Function, &Name)> {
    let functions = [
        (Function::Sum, &spec.sum),
        (Function::Count, &spec.count),
        (Function::CountDistinct, &spec.count_distinct),
        (Function::Min, &spec.min),
        (Function::Max, &spec.max),
        (Function::Avg, &spec.avg),
        (Function::First, &spec.first),
        (Function::Last, &spec.last),
        (Function::ApproxCountDistinct, &spec.approx_count_distinct),
        (Function::Quantile, &spec.quantile),
    ];
    let given = functions.into_iter();
    given
        .filter_map(|(function, column)| Some((function, column.as_ref()?)))
        .collect()
}
