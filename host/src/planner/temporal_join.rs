//! Lookups in versions: where the versions come from, what they are found by, and what they add.

use super::{OutputPort, ResolvedChange, ResolvedKind, ResolvedNode, ResolvedOutput, Resolver};
use crate::{
    definition::{Lookup, Name},
    error::Result,
    model::column::{Field, Schema},
};
use std::ops::Range;

/// A `lookup` in versions with names instead of indices.
pub(super) struct ResolvedTemporalJoin {
    /// Where versions come from.
    pub(super) versions: OutputPort,
    /// The columns of the rows that are looked up.
    pub(super) on: Vec<String>,
    /// The columns of the versions that have to equal them.
    pub(super) version_key: Vec<String>,
    /// The columns of the versions that are added.
    pub(super) added: Vec<String>,
    pub(super) ttl_us: Option<i64>,
}

impl Resolver<'_> {
    pub(super) fn temporal_join(
        &self,
        name: &str,
        input: OutputPort,
        lookup: &Lookup,
        versions_from: &Name,
        span: Range<usize>,
    ) -> Result<ResolvedNode> {
        self.append_only(input, name, "lookup", versions_from)?;
        let (whose, source) = (self.port_name(input), self.output(input)?);
        let versions = self.port(Some(versions_from), 0, versions_from.span())?;
        let (of_versions, found) = (self.port_name(versions), self.output(versions)?);
        if !matches!(found.change, ResolvedChange::Append) {
            let message = format!(
                "key `versions_from`: {of_versions} sends a changelog; versions are rows that stand for themselves, each valid \
                 from the time of its event"
            );
            return Err(self.at(versions_from, message));
        }
        let (mut version_key, mut on) = (Vec::new(), Vec::new());
        for (column, event) in &lookup.on {
            let Some(field) = found.schema.iter().find(|field| field.name == *column) else {
                let message = format!(
                    "key `on`: there is no column \"{column}\" in {of_versions}; there are {}",
                    super::list(&found.schema)
                );
                return Err(self.at(event, message));
            };
            self.same_type(&source.schema, event, field, (&whose, &of_versions))?;
            version_key.push(column.clone());
            on.push(event.get_ref().clone());
        }
        if on.is_empty() {
            let message =
                format!("step \"{name}\": key `on` is empty; say which column of the versions equals which column");
            return Err(self.error(span, message));
        }
        let added: Vec<String> = match &lookup.columns {
            Some(columns) => {
                self.distinct(columns, "columns")?;
                for column in columns {
                    self.column(&found.schema, column, &of_versions)?;
                }
                columns.iter().map(|column| column.get_ref().clone()).collect()
            }
            None => {
                let names = found.schema.iter().map(|field| field.name.clone());
                names.filter(|name| !version_key.contains(name)).collect()
            }
        };
        let (mut schema, mut origins): (Schema, _) = (source.schema.clone(), source.origins.clone());
        // An inner join: the columns that were compared are not null in what comes out.
        for field in &mut schema {
            field.nullable &= !on.contains(&field.name);
        }
        for column in &added {
            if schema.iter().any(|field| field.name == *column) {
                let message = format!(
                    "step \"{name}\" adds column \"{column}\", which {whose} has already; leave it out of `columns`, or rename it"
                );
                return Err(self.at(versions_from, message));
            }
            origins.push((self.nodes.len(), 0, schema.len()));
            schema.extend(found.schema.iter().find(|field| field.name == *column).cloned());
        }
        let out = ResolvedOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change: ResolvedChange::Append,
        };
        let late_versions = ResolvedOutput {
            name: "late_versions".to_owned(),
            ..self.late_output(versions, false)?
        };
        Ok(ResolvedNode {
            name: name.to_owned(),
            input,
            outputs: vec![out, self.late_output(input, false)?, late_versions],
            kind: ResolvedKind::TemporalJoin(Box::new(ResolvedTemporalJoin {
                versions,
                on,
                version_key,
                added,
                ttl_us: self.ttl(lookup.ttl.as_ref())?,
            })),
        })
    }

    /// Whether a column of the rows has the type of the one that it has to equal.
    fn same_type(&self, schema: &Schema, event: &Name, version: &Field, whose: (&str, &str)) -> Result<()> {
        let (of_rows, of_versions) = whose;
        let index = self.column(schema, event, of_rows)?;
        let found = schema.get(index).map_or(version.column_type, |field| field.column_type);
        if found == version.column_type {
            return Ok(());
        }
        let message = format!(
            "key `on`: \"{}\" is {} in {of_versions}, but \"{}\" is {found} in {of_rows}",
            version.name,
            version.column_type,
            event.get_ref()
        );
        Err(self.at(event, message))
    }
}
