//! `temporal_join`: each row with the version of its key that was valid when the row happened. See
//! [`crate::operator::temporal_join`]. It is also written as a `lookup` with `versions_from`.

use super::{
    Binder, BoundChange, BoundNode, BoundOperator, BoundOutput, Layout, OutputPort, Provenance, Reads, StepAt,
    StepKeys, list,
};
use crate::{
    definition::Name,
    error::Result,
    model::column::{Field, Schema},
    plan::{At, OperatorPlan, StateForm},
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
pub(super) struct TemporalJoin {
    /// The step, or `step.output`, whose rows are versions.
    pub(super) versions_from: Name,
    /// For each column of the versions that is compared, the column that has to equal it.
    pub(super) on: BTreeMap<String, Name>,
    /// The columns that are added; all that are not in `on`, when absent.
    pub(super) columns: Option<Vec<Name>>,
    /// How long a version is valid at most; until the next one, when absent.
    pub(super) ttl: Option<Name>,
}

impl StepKeys for TemporalJoin {
    fn bind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode> {
        let (name, input) = (step.name(), step.input(binder)?);
        binder.append_only(input, step, &self.versions_from)?;
        let (whose, source) = (binder.port_name(input), binder.output(input)?);
        let versions = binder.port(&self.versions_from)?;
        let (of_versions, found) = (binder.port_name(versions), binder.output(versions)?);
        if !matches!(found.change, BoundChange::Append) {
            let message = format!(
                "key `versions_from`: {of_versions} sends a changelog; versions are rows that stand for themselves, each valid \
                 from the time of its event"
            );
            return Err(binder.at(&self.versions_from, message));
        }
        let (mut version_key, mut on) = (Vec::new(), Vec::new());
        for (column, event) in &self.on {
            let Some(field) = found.schema.iter().find(|field| field.name == *column) else {
                let message = format!(
                    "key `on`: there is no column \"{column}\" in {of_versions}; there are {}",
                    list(&found.schema)
                );
                return Err(binder.at(event, message));
            };
            binder.same_type(&source.schema, event, field, (&whose, &of_versions))?;
            version_key.push(column.clone());
            on.push(event.get_ref().clone());
        }
        if on.is_empty() {
            let message =
                format!("step \"{name}\": key `on` is empty; say which column of the versions equals which column");
            return Err(binder.error(step.span(), message));
        }
        let added: Vec<String> = match &self.columns {
            Some(columns) => {
                binder.distinct(columns, "columns")?;
                for column in columns {
                    binder.column(&found.schema, column, &of_versions)?;
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
                return Err(binder.at(&self.versions_from, message));
            }
            origins.push((binder.nodes.next_id(), 0, schema.len()));
            schema.extend(found.schema.iter().find(|field| field.name == *column).cloned());
        }
        let out = BoundOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change: BoundChange::Append,
        };
        let late_versions = BoundOutput {
            name: "late_versions".to_owned(),
            ..binder.late_output(versions, false)?
        };
        let outputs = vec![out, binder.late_output(input, false)?, late_versions];
        let join = BoundTemporalJoin {
            versions,
            on,
            version_key,
            added,
            ttl_us: binder.ttl(self.ttl.as_ref())?,
        };
        Ok(step.bound(input, join, outputs))
    }
}

/// The step, by the names of its columns.
struct BoundTemporalJoin {
    /// Where versions come from.
    versions: OutputPort,
    /// The columns of the rows that are looked up.
    on: Vec<String>,
    /// The columns of the versions that have to equal them.
    version_key: Vec<String>,
    /// The columns of the versions that are added.
    added: Vec<String>,
    ttl_us: Option<i64>,
}

impl BoundOperator for BoundTemporalJoin {
    fn other_inputs(&self) -> &[OutputPort] {
        slice::from_ref(&self.versions)
    }

    fn reads(&self, node: &BoundNode, read: &[BTreeSet<String>]) -> Reads {
        let of = |output: usize| read.get(output).into_iter().flatten();
        let (added, rest): (Vec<&String>, Vec<&String>) = of(0).partition(|name| self.added.contains(name));
        let rows = rest.into_iter().chain(of(1)).chain(&self.on);
        let versions = added.into_iter().chain(of(2)).chain(&self.version_key);
        vec![
            (node.input, rows.cloned().collect()),
            (self.versions, versions.cloned().collect()),
        ]
    }

    fn is_timer_driven(&self) -> bool {
        true
    }

    fn provenance(&self, _: &BoundNode, column: &str) -> Provenance {
        Provenance::copy(self.versions, column)
    }

    fn plan(&self, layout: &Layout<'_>) -> Box<dyn OperatorPlan> {
        let (added, passed): (Vec<&String>, Vec<&String>) = layout.held(0).partition(|name| self.added.contains(name));
        Box::new(TemporalJoinPlan {
            versions: self.versions,
            on: layout.own(&self.on),
            version_key: layout.indices(self.versions, &self.version_key),
            passed: layout.own(passed),
            added: layout.indices(self.versions, added),
            late: layout.passed(1),
            late_versions: layout.passed_of(2, self.versions),
            ttl_us: self.ttl_us,
        })
    }
}

/// The outputs are columns of the input and then of the versions; the late rows; the late versions.
#[derive(Clone, Debug)]
pub struct TemporalJoinPlan {
    /// Where the versions come from.
    pub versions: OutputPort,
    /// The columns of the input that are looked up.
    pub on: Vec<usize>,
    /// The columns of the versions that have to equal them.
    pub version_key: Vec<usize>,
    /// The columns of the input that go on.
    pub passed: Vec<usize>,
    /// The columns of the versions that are added.
    pub added: Vec<usize>,
    /// The columns of a late row.
    pub late: Vec<usize>,
    /// The columns of a late version.
    pub late_versions: Vec<usize>,
    /// How long a version is valid at most.
    pub ttl_us: Option<i64>,
}

impl OperatorPlan for TemporalJoinPlan {
    fn other_inputs(&self) -> &[OutputPort] {
        slice::from_ref(&self.versions)
    }

    fn follows_time(&self) -> bool {
        true
    }

    fn late_outputs(&self) -> &'static [usize] {
        &[1, 2]
    }

    fn fingerprint(&self, at: At<'_>, _: StateForm) -> String {
        let (key, version_key) = (
            at.typed(at.node.input, &self.on),
            at.typed(self.versions, &self.version_key),
        );
        format!("rows by {key} with versions by {version_key}, of {}", at.output())
    }

    fn describe(&self, at: At<'_>) -> String {
        format!("lookup in versions by {}", at.own_names(&self.on))
    }
}

impl Binder<'_> {
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
