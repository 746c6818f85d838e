//! Steps: where their rows come from, and operators over the columns that they read.

use super::{
    Edge, ResolvedAggregate, ResolvedChange, ResolvedKind, ResolvedNode, ResolvedOutput, Resolver, list,
    source::ONLY_INPUT,
};
use crate::{
    column::{ColumnType, Field, Schema},
    definition::{Aggregate, AggregateColumn, LastValue, Lookup, Name, Step},
    error::{Error, Result},
    plan::Function,
    stage::StageHost,
};
use std::ops::Range;

/// Beyond it, not every whole number is a double.
const WHOLE_MAX: f64 = (1u64 << 53) as f64;

impl Resolver<'_> {
    pub(super) fn step(&mut self, step: &Step, span: Range<usize>, host: &StageHost) -> Result<()> {
        self.check_name(&step.name, "a step's name")?;
        let name = step.name.get_ref().clone();
        if let Some(other) = self.nodes.iter().position(|node| node.name == name) {
            let (what, names) = match other < self.inputs.len() {
                true => ("an input", "inputs and steps"),
                false => ("a step", "steps"),
            };
            return Err(self.at(
                &step.name,
                format!("there is {what} \"{name}\" already; names of {names} are unique"),
            ));
        }
        let kinds = [
            ("stage", step.stage.is_some()),
            ("last_value", step.last_value.is_some()),
            ("aggregate", step.aggregate.is_some()),
            ("lookup", step.lookup.is_some()),
            ("window", step.window.is_some()),
            ("interval_join", step.interval_join.is_some()),
            ("on_crossing", step.on_crossing.is_some()),
            ("union", step.union.is_some()),
            ("deduplicate", step.deduplicate.is_some()),
        ];
        let given: Vec<&str> = kinds
            .iter()
            .filter(|(_, given)| *given)
            .map(|(kind, _)| *kind)
            .collect();
        if given.len() != 1 {
            let found = if given.is_empty() {
                "none".to_owned()
            } else {
                given.join(" and ")
            };
            let accepted = "exactly one of stage, last_value, aggregate, lookup, window, interval_join, on_crossing, union, deduplicate";
            return Err(self.error(span, format!("step \"{name}\" has {found}; a step has {accepted}")));
        }
        // A union names all edges that it reads itself.
        let input = match &step.union {
            Some(_) => Edge { node: 0, output: 0 },
            None => self.edge_or_before(step.from.as_ref(), step.name.span())?,
        };
        let node = if let Some(stage) = &step.stage {
            self.stage(&name, input, stage.get_ref(), stage.span(), host)?
        } else if let Some(last_value) = &step.last_value {
            self.last_value(&name, input, last_value.get_ref(), last_value.span())?
        } else if let Some(aggregate) = &step.aggregate {
            self.aggregate(&name, input, aggregate.get_ref(), host)?
        } else if let Some(lookup) = &step.lookup {
            self.lookup(&name, input, lookup.get_ref(), lookup.span())?
        } else if let Some(join) = &step.interval_join {
            self.interval_join(&name, input, join.get_ref(), join.span())?
        } else if let Some(window) = &step.window {
            self.window(&name, input, window.get_ref(), window.span(), host)?
        } else if let Some(on_crossing) = &step.on_crossing {
            self.on_crossing(&name, input, on_crossing.get_ref(), on_crossing.span())?
        } else if let Some(union) = &step.union {
            self.union(&name, step.from.as_ref(), union.get_ref(), union.span())?
        } else if let Some(deduplicate) = &step.deduplicate {
            self.deduplicate(&name, input, deduplicate.get_ref(), deduplicate.span())?
        } else {
            return Ok(());
        };
        self.nodes.push(node);
        Ok(())
    }

    /// The output that `from` names, or that of the step before; before the first step, of the only input.
    pub(super) fn edge_or_before(&self, from: Option<&Name>, span: Range<usize>) -> Result<Edge> {
        let before = self.nodes.len().saturating_sub(1);
        if from.is_none() && before > 0 && before < self.inputs.len() {
            let known: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
            return Err(self.error(
                span,
                format!(
                    "key `from` is missing: there are several inputs, and no step before this; name one of {}",
                    known.join(", ")
                ),
            ));
        }
        self.edge(from, before, span)
    }

    /// The output that `from` names: `step`, or `step.output`.
    pub(super) fn edge(&self, from: Option<&Name>, default: usize, span: Range<usize>) -> Result<Edge> {
        let (node, output, span) = match from {
            None => (default, None, span),
            Some(from) => {
                let text = from.get_ref();
                let (step, output) = match text.split_once('.') {
                    Some((step, output)) => (step, Some(output)),
                    None => (text.as_str(), None),
                };
                let Some(node) = self.nodes.iter().position(|node| node.name == step) else {
                    let known: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
                    return Err(self.at(
                        from,
                        format!(
                            "there is no step \"{step}\" before this; there are {}",
                            known.join(", ")
                        ),
                    ));
                };
                (node, output, from.span())
            }
        };
        let Some(found) = self.nodes.get(node) else {
            return Ok(Edge { node, output: 0 });
        };
        let known = || {
            found
                .outputs
                .iter()
                .map(|o| format!("{}.{}", found.name, o.name))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let output = match output {
            Some(output) => match found.outputs.iter().position(|known| known.name == output) {
                Some(output) => output,
                None => {
                    let step = &found.name;
                    return Err(self.error(
                        span,
                        format!("step \"{step}\" has no output \"{output}\"; there are {}", known()),
                    ));
                }
            },
            // An operator's own output; the others are for what did not go into it.
            None if found.outputs.first().is_some_and(|output| output.name == "out") => 0,
            None if found.outputs.len() > 1 => {
                let step = &found.name;
                return Err(self.error(
                    span,
                    format!(
                        "step \"{step}\" has several outputs; say `from` with one of {}",
                        known()
                    ),
                ));
            }
            None => 0,
        };
        Ok(Edge { node, output })
    }

    pub(super) fn output(&self, edge: Edge) -> Result<&ResolvedOutput> {
        let output = self.nodes.get(edge.node).and_then(|node| node.outputs.get(edge.output));
        output.ok_or_else(|| Error::definition("a step reads from a step that is not there"))
    }

    pub(super) fn edge_name(&self, edge: Edge) -> String {
        match self.nodes.get(edge.node) {
            Some(node)
                if node.outputs.len() > 1 && (edge.output > 0 || matches!(node.kind, ResolvedKind::Stage(_))) =>
            {
                let output = node.outputs.get(edge.output).map_or("", |output| output.name.as_str());
                format!("step \"{}.{output}\"", node.name)
            }
            Some(node) if edge.node >= self.inputs.len() => format!("step \"{}\"", node.name),
            Some(node) if node.name != ONLY_INPUT => format!("input \"{}\"", node.name),
            _ => "the source".to_owned(),
        }
    }

    /// The index of a column by name; the error lists those that there are.
    pub(super) fn column(&self, schema: &Schema, name: &Name, whose: &str) -> Result<usize> {
        match schema.iter().position(|field| field.name == *name.get_ref()) {
            Some(index) => Ok(index),
            None => Err(self.at(
                name,
                format!(
                    "there is no column \"{}\" in {whose}; there are {}",
                    name.get_ref(),
                    list(schema)
                ),
            )),
        }
    }

    pub(super) fn distinct(&self, names: &[Name], key: &str) -> Result<()> {
        for (at, name) in names.iter().enumerate() {
            if names.iter().take(at).any(|earlier| earlier.get_ref() == name.get_ref()) {
                return Err(self.at(name, format!("key `{key}` names column \"{}\" twice", name.get_ref())));
            }
        }
        Ok(())
    }

    pub(super) fn append_only(&self, input: Edge, step: &str, operator: &str, at: &Name) -> Result<()> {
        match self.output(input)?.change {
            ResolvedChange::Append => Ok(()),
            ResolvedChange::Keyed(_) => Err(self.at(
                at,
                format!(
                    "step \"{step}\": {operator} reads rows that stand for themselves, but {} sends a changelog",
                    self.edge_name(input)
                ),
            )),
        }
    }

    fn last_value(&self, name: &str, input: Edge, last_value: &LastValue, span: Range<usize>) -> Result<ResolvedNode> {
        let whose = self.edge_name(input);
        let Some(first) = last_value.key.first() else {
            return Err(self.error(
                span,
                format!("step \"{name}\": key `last_value.key` is empty; name at least one column"),
            ));
        };
        self.append_only(input, name, "last_value", first)?;
        self.distinct(&last_value.key, "key")?;
        let source = self.output(input)?;
        let mut indices = Vec::new();
        for key in &last_value.key {
            indices.push(self.column(&source.schema, key, &whose)?);
        }
        let key_len = indices.len();
        match &last_value.columns {
            Some(columns) => {
                self.distinct(columns, "columns")?;
                for column in columns {
                    let index = self.column(&source.schema, column, &whose)?;
                    if indices.contains(&index) {
                        let column_name = column.get_ref();
                        return Err(self.at(column, format!("column \"{column_name}\" is in `key` already")));
                    }
                    indices.push(index);
                }
            }
            None => {
                let rest: Vec<usize> = (0..source.schema.len())
                    .filter(|index| !indices.contains(index))
                    .collect();
                indices.extend(rest);
            }
        }
        let schema: Schema = indices
            .iter()
            .filter_map(|&index| source.schema.get(index).cloned())
            .collect();
        let names: Vec<String> = schema.iter().map(|field| field.name.clone()).collect();
        let (key, columns) = names.split_at(key_len.min(names.len()));
        let kind = ResolvedKind::LastValue {
            key: key.to_vec(),
            columns: columns.to_vec(),
            ttl_ms: self.ttl(last_value.ttl.as_ref())?,
        };
        let output = self.keyed_output(schema, key.to_vec());
        Ok(ResolvedNode {
            name: name.to_owned(),
            input,
            kind,
            outputs: vec![output],
        })
    }

    /// The only output of an operator that sends a changelog by `key`; its columns come into being here.
    fn keyed_output(&self, schema: Schema, key: Vec<String>) -> ResolvedOutput {
        let origins = (0..schema.len()).map(|column| (self.nodes.len(), 0, column)).collect();
        ResolvedOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change: ResolvedChange::Keyed(Some(key)),
        }
    }

    fn aggregate(&self, name: &str, input: Edge, aggregate: &Aggregate, host: &StageHost) -> Result<ResolvedNode> {
        let whose = self.edge_name(input);
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
            ttl_ms: self.ttl(aggregate.ttl.as_ref())?,
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

    fn lookup(&self, name: &str, input: Edge, lookup: &Lookup, span: Range<usize>) -> Result<ResolvedNode> {
        let table_name = match (&lookup.table, &lookup.versions_from) {
            (Some(table), None) => table,
            (None, Some(versions)) => return self.version_lookup(name, input, lookup, versions, span),
            (table, _) => {
                let found = if table.is_some() { "both" } else { "none" };
                let accepted = "exactly one of table and versions_from";
                return Err(self.error(span, format!("step \"{name}\" has {found}; a lookup has {accepted}")));
            }
        };
        if let Some(ttl) = &lookup.ttl {
            let message = "key `ttl` goes with `versions_from`; rows of a table stay until they are set anew";
            return Err(self.at(ttl, message));
        }
        self.append_only(input, name, "lookup", table_name)?;
        let whose = self.edge_name(input);
        let source = self.output(input)?;
        let Some(table) = self.tables.iter().position(|table| table.name == *table_name.get_ref()) else {
            let known: Vec<&str> = self.tables.iter().map(|table| table.name.as_str()).collect();
            let known = if known.is_empty() {
                "none is declared".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            let table = table_name.get_ref();
            return Err(self.at(
                table_name,
                format!("key `table`: there is no table \"{table}\"; {known}"),
            ));
        };
        let Some(found) = self.tables.get(table) else {
            return Err(self.error(span, "no such table"));
        };
        let key: Vec<&Field> = found
            .columns
            .iter()
            .take(found.key_len)
            .map(|(field, _)| field)
            .collect();
        for (column, event) in &lookup.on {
            if !key.iter().any(|field| field.name == *column) {
                let names: Vec<&str> = key.iter().map(|field| field.name.as_str()).collect();
                return Err(self.at(
                    event,
                    format!(
                        "key `on`: \"{column}\" is not in the primary key of {}, which is {}",
                        found.name,
                        names.join(", ")
                    ),
                ));
            }
        }
        let mut on = Vec::new();
        for field in &key {
            let Some(event) = lookup.on.get(&field.name) else {
                return Err(self.error(
                    span,
                    format!(
                        "key `on` does not say what \"{}\" of {}'s primary key equals",
                        field.name, found.name
                    ),
                ));
            };
            let index = self.column(&source.schema, event, &whose)?;
            let type_found = source
                .schema
                .get(index)
                .map_or(field.column_type, |field| field.column_type);
            if type_found != field.column_type {
                return Err(self.at(
                    event,
                    format!(
                        "key `on`: \"{}\" of {} is {}, but \"{}\" is {type_found} in {whose}",
                        field.name,
                        found.name,
                        field.column_type,
                        event.get_ref()
                    ),
                ));
            }
            on.push(event.get_ref().clone());
        }
        let table_schema: Schema = found.columns.iter().map(|(field, _)| field.clone()).collect();
        let added: Vec<String> = match &lookup.columns {
            Some(columns) => {
                self.distinct(columns, "columns")?;
                for column in columns {
                    self.column(&table_schema, column, &format!("table \"{}\"", found.name))?;
                }
                columns.iter().map(|column| column.get_ref().clone()).collect()
            }
            None => table_schema
                .iter()
                .skip(found.key_len)
                .map(|field| field.name.clone())
                .collect(),
        };
        // An inner join: the columns that were compared are not null in what comes out.
        let mut schema: Schema = source.schema.clone();
        for field in &mut schema {
            field.nullable &= !on.contains(&field.name);
        }
        let mut origins = source.origins.clone();
        for column in &added {
            if schema.iter().any(|field| field.name == *column) {
                return Err(self.at(
                    table_name,
                    format!(
                        "step \"{name}\" adds column \"{column}\", which {whose} has already; leave it out of `columns`"
                    ),
                ));
            }
            origins.push((self.nodes.len(), 0, schema.len()));
            schema.extend(table_schema.iter().find(|field| field.name == *column).cloned());
        }
        let output = ResolvedOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change: ResolvedChange::Append,
        };
        let kind = ResolvedKind::Lookup { table, on, added };
        Ok(ResolvedNode {
            name: name.to_owned(),
            input,
            kind,
            outputs: vec![output],
        })
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
