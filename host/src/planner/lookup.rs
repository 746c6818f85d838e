//! `lookup`: a join with a table. See [`crate::operator::lookup`]. With `versions_from` it is a `temporal_join`.

use super::{
    Binder, BoundChange, BoundKind, BoundNode, BoundOutput, BoundTable, Layout, Reads, StepAt, StepKeys,
    temporal_join::TemporalJoin,
};
use crate::{
    definition::Name,
    error::Result,
    model::{
        column::{Field, Schema},
        ids::TableId,
    },
    plan::LookupPlan,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Its keys in the file: a table as it stands, or with the versions of a row as they stood: exactly one of both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Lookup {
    /// The table.
    table: Option<Name>,
    /// The step, or `step.output`, whose rows are versions.
    versions_from: Option<Name>,
    /// For each column of the table's primary key, or of the versions, the column that has to equal it.
    on: BTreeMap<String, Name>,
    /// The columns that are added; all that are not in `on`, when absent.
    columns: Option<Vec<Name>>,
    /// How long a version is valid at most; until the next one, when absent.
    ttl: Option<Name>,
}

impl StepKeys for Lookup {
    fn bind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode> {
        let (name, input) = (step.name(), step.input(binder)?);
        let table_name = match (&self.table, &self.versions_from) {
            (Some(table), None) => table,
            (None, Some(versions)) => {
                let join = TemporalJoin {
                    versions_from: versions.clone(),
                    on: self.on.clone(),
                    columns: self.columns.clone(),
                    ttl: self.ttl.clone(),
                };
                return join.bind(step, binder);
            }
            (table, _) => {
                let found = if table.is_some() { "both" } else { "none" };
                let accepted = "exactly one of table and versions_from";
                return Err(binder.error(
                    step.span(),
                    format!("step \"{name}\" has {found}; a lookup has {accepted}"),
                ));
            }
        };
        if let Some(ttl) = &self.ttl {
            let message = "key `ttl` goes with `versions_from`; rows of a table stay until they are set anew";
            return Err(binder.at(ttl, message));
        }
        binder.append_only(input, step, table_name)?;
        let whose = binder.port_name(input);
        let source = binder.output(input)?;
        let is_it = |table: &BoundTable| table.name == *table_name.get_ref();
        let Some((table, found)) = binder.tables.find(is_it) else {
            let known: Vec<&str> = binder.tables.iter().map(|table| table.name.as_str()).collect();
            let known = if known.is_empty() {
                "none is declared".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            let table = table_name.get_ref();
            return Err(binder.at(
                table_name,
                format!("key `table`: there is no table \"{table}\"; {known}"),
            ));
        };
        let key: Vec<&Field> = found
            .columns
            .iter()
            .take(found.key_len)
            .map(|(field, _)| field)
            .collect();
        for (column, event) in &self.on {
            if !key.iter().any(|field| field.name == *column) {
                let names: Vec<&str> = key.iter().map(|field| field.name.as_str()).collect();
                return Err(binder.at(
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
            let Some(event) = self.on.get(&field.name) else {
                return Err(binder.error(
                    step.span(),
                    format!(
                        "key `on` does not say what \"{}\" of {}'s primary key equals",
                        field.name, found.name
                    ),
                ));
            };
            let index = binder.column(&source.schema, event, &whose)?;
            let type_found = source
                .schema
                .get(index)
                .map_or(field.column_type, |field| field.column_type);
            if type_found != field.column_type {
                return Err(binder.at(
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
        let added: Vec<String> = match &self.columns {
            Some(columns) => {
                binder.distinct(columns, "columns")?;
                for column in columns {
                    binder.column(&table_schema, column, &format!("table \"{}\"", found.name))?;
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
                return Err(binder.at(
                    table_name,
                    format!(
                        "step \"{name}\" adds column \"{column}\", which {whose} has already; leave it out of `columns`"
                    ),
                ));
            }
            origins.push((binder.nodes.next_id(), 0, schema.len()));
            schema.extend(table_schema.iter().find(|field| field.name == *column).cloned());
        }
        let output = BoundOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change: BoundChange::Append,
        };
        Ok(BoundNode {
            name: name.to_owned(),
            input,
            kind: BoundKind::Lookup(BoundLookup { table, on, added }),
            outputs: vec![output],
        })
    }
}

/// The step, by the names of its columns.
pub(super) struct BoundLookup {
    /// The table.
    pub(super) table: TableId,
    /// For each column of the table's key the column that has to equal it.
    pub(super) on: Vec<String>,
    /// The table's columns that are added.
    added: Vec<String>,
}

impl BoundLookup {
    /// The columns that it reads, where `read` are those that are read of its outputs.
    pub(super) fn reads(&self, node: &BoundNode, read: &[BTreeSet<String>]) -> Reads {
        let passed = read.iter().flatten().filter(|column| !self.added.contains(*column));
        vec![(node.input, self.on.iter().chain(passed).cloned().collect())]
    }

    pub(super) fn plan(&self, layout: &Layout<'_>) -> LookupPlan {
        let table = layout.table(self.table);
        let column_of = |name: &String| table?.columns.iter().position(|(field, _)| field.name == *name);
        let is_added = |name: &&String| self.added.contains(name);
        let update = table.and_then(|table| table.update);
        LookupPlan {
            table: self.table,
            on: layout.own(&self.on),
            passed: layout.own(layout.held(0).filter(|name| !is_added(name))),
            added: layout.held(0).filter(is_added).filter_map(column_of).collect(),
            waves: update.map(|update| layout.path_to(update.node)),
        }
    }
}
