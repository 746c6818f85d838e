//! Lookups in a table: what a row is found by, and what it adds.

use super::{OutputPort, ResolvedChange, ResolvedKind, ResolvedNode, ResolvedOutput, Resolver};
use crate::{
    definition::Lookup,
    error::Result,
    model::column::{Field, Schema},
};
use std::ops::Range;

impl Resolver<'_> {
    pub(super) fn lookup(
        &self,
        name: &str,
        input: OutputPort,
        lookup: &Lookup,
        span: Range<usize>,
    ) -> Result<ResolvedNode> {
        let table_name = match (&lookup.table, &lookup.versions_from) {
            (Some(table), None) => table,
            (None, Some(versions)) => return self.temporal_join(name, input, lookup, versions, span),
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
        let whose = self.port_name(input);
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
