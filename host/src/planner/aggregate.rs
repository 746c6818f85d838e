//! Aggregates: what is computed, and of which columns.

use super::{OutputPort, ResolvedAggregate, ResolvedChange, ResolvedKind, ResolvedNode, Resolver};
use crate::{
    definition::{Aggregate, AggregateColumn, Name},
    error::{Error, Result},
    model::column::{ColumnType, Field, Schema},
    plan::Function,
    wasm::StageHost,
};

/// Beyond it, not every whole number is a double.
const WHOLE_MAX: f64 = (1u64 << 53) as f64;

impl Resolver<'_> {
    pub(super) fn aggregate(
        &self,
        name: &str,
        input: OutputPort,
        aggregate: &Aggregate,
        host: &StageHost,
    ) -> Result<ResolvedNode> {
        let whose = self.port_name(input);
        let source = self.output(input)?;
        self.distinct(&aggregate.group_by, "group_by")?;
        let mut schema = Schema::new();
        for group in &aggregate.group_by {
            let index = self.column(&source.schema, group, &whose)?;
            schema.extend(source.schema.get(index).cloned());
        }
        let mut aggregates = Vec::new();
        for (column, spec) in &aggregate.columns.0 {
            if schema.iter().any(|field| field.name == *column.get_ref()) {
                let message = format!(
                    "column \"{}\" is in `group_by` already; give the result another name",
                    column.get_ref()
                );
                return Err(self.at(column, message));
            }
            let (resolved, field) = match &spec.module {
                Some(module) => self.guest_column(name, column, spec, module, input, host)?,
                None => self.aggregate_column(column, spec, &source.schema, &whose)?,
            };
            if resolved.function.needs_order() {
                let function = resolved.function.name();
                let accepted = "a group changes for ever: last_value keeps the latest values of a key";
                return Err(self.at(column, format!("{function} is for windows; {accepted}")));
            }
            if !matches!(source.change, ResolvedChange::Append) {
                self.check_takes_back(column, resolved.function, &format!("{whose} sends a changelog"))?;
            }
            schema.push(field);
            aggregates.push(resolved);
        }
        // A guest is asked for a whole batch ahead, in which a group may be forgotten.
        if let Some(ttl) = &aggregate.ttl
            && let Some(guest) = aggregates.iter().find(|resolved| resolved.guest.is_some())
        {
            let message = format!(
                "key `ttl` does not go with column \"{}\", which is a guest's; put the guest into a window instead",
                guest.name
            );
            return Err(self.at(ttl, message));
        }
        let group: Vec<String> = aggregate.group_by.iter().map(|name| name.get_ref().clone()).collect();
        let output = self.keyed_output(schema, group.clone());
        let kind = ResolvedKind::Aggregate {
            group,
            aggregates,
            ttl_us: self.ttl(aggregate.ttl.as_ref())?,
        };
        Ok(ResolvedNode {
            name: name.to_owned(),
            input,
            kind,
            outputs: vec![output],
        })
    }

    pub(super) fn aggregate_column(
        &self,
        name: &Name,
        spec: &AggregateColumn,
        schema: &Schema,
        whose: &str,
    ) -> Result<(ResolvedAggregate, Field)> {
        let given = given_functions(spec);
        let &[(function, of)] = given.as_slice() else {
            return Err(self.not_one_function(name, spec));
        };
        let of_guests = [
            ("parameters", spec.parameters.as_ref().map(serde_spanned::Spanned::span)),
            ("limits", spec.limits.as_ref().map(serde_spanned::Spanned::span)),
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
            let resolved = ResolvedAggregate {
                name: name.get_ref().clone(),
                function,
                column: None,
                column_type: ColumnType::Int,
                coalesce,
                q,
                guest: None,
            };
            return Ok((resolved, result(ColumnType::Int, false)));
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
        let number = matches!(column.column_type, ColumnType::Int | ColumnType::Double);
        if matches!(function, Function::Sum | Function::Avg | Function::Quantile) && !number {
            let (function, found) = (function.name(), column.column_type);
            return Err(self.at(
                of,
                format!(
                    "{function} of column \"{}\", which is {found}; accepted is a column of int or double",
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
        let field = match function {
            Function::Count | Function::CountDistinct | Function::ApproxCountDistinct => result(ColumnType::Int, false),
            Function::Avg | Function::Quantile => result(ColumnType::Double, nullable),
            // A sum beyond the numbers of its type has no value until it comes back.
            Function::Sum => result(column.column_type, true),
            Function::Min | Function::Max | Function::First | Function::Last | Function::Guest => {
                result(column.column_type, column.nullable)
            }
        };
        let resolved = ResolvedAggregate {
            name: name.get_ref().clone(),
            function,
            column: Some(of.get_ref().clone()),
            column_type: column.column_type,
            coalesce,
            q,
            guest: None,
        };
        Ok((resolved, field))
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
