//! `last_value`: the last value of each column by key. See [`crate::operator::last_value`].

use super::{
    Binder, BoundNode, BoundOperator, Layout, Provenance, Reads, StepAt, StepKeys,
    describe::{forgets, forgotten},
    texts,
};
use crate::{
    definition::Name,
    error::Result,
    model::column::{ColumnType, Schema},
    plan::{At, OperatorPlan, StateForm},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Its keys in the file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LastValue {
    /// The key.
    key: Vec<Name>,
    /// The columns that are kept; all others that come in, when absent.
    columns: Option<Vec<Name>>,
    /// After how long without a row a key is forgotten, such as `"30 d"`; never, when absent.
    ttl: Option<Name>,
    /// A boolean column: where it is true the row of the key is deleted.
    deleted: Option<Name>,
}

impl StepKeys for LastValue {
    fn bind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode> {
        let input = step.input(binder)?;
        let whose = binder.port_name(input);
        let first = binder.first(step, "key", &self.key)?;
        binder.append_only(input, step, first)?;
        binder.distinct(&self.key, "key")?;
        let source = binder.output(input)?;
        let mut indices = Vec::new();
        for key in &self.key {
            indices.push(binder.column(&source.schema, key, &whose)?);
        }
        let key_len = indices.len();
        let deleted = match &self.deleted {
            None => None,
            Some(deleted) => {
                let index = binder.column(&source.schema, deleted, &whose)?;
                let name = deleted.get_ref();
                let found = source.schema.get(index).map(|field| field.column_type);
                if found != Some(ColumnType::Boolean) || indices.contains(&index) {
                    let accepted = "a boolean column that is not in `key`";
                    return Err(binder.at(deleted, format!("key `deleted` is \"{name}\"; accepted is {accepted}")));
                }
                Some(index)
            }
        };
        match &self.columns {
            Some(columns) => {
                binder.distinct(columns, "columns")?;
                for column in columns {
                    let index = binder.column(&source.schema, column, &whose)?;
                    if indices.contains(&index) {
                        let column_name = column.get_ref();
                        return Err(binder.at(column, format!("column \"{column_name}\" is in `key` already")));
                    }
                    indices.push(index);
                }
            }
            None => {
                let rest: Vec<usize> = (0..source.schema.len())
                    .filter(|index| !indices.contains(index) && deleted != Some(*index))
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
        let last_value = BoundLastValue {
            key: key.to_vec(),
            columns: columns.to_vec(),
            ttl_us: binder.ttl(self.ttl.as_ref())?,
            is_whole: false,
            deleted: self.deleted.as_ref().map(|deleted| deleted.get_ref().clone()),
        };
        let output = binder.keyed_output(schema, texts(&self.key));
        Ok(step.bound(input, last_value, vec![output]))
    }
}

/// The step, by the names of its columns.
pub(super) struct BoundLastValue {
    key: Vec<String>,
    columns: Vec<String>,
    ttl_us: Option<i64>,
    deleted: Option<String>,
    is_whole: bool,
}

impl BoundLastValue {
    /// One that holds the last row of each key, nulls included, until it is deleted.
    pub(super) fn of_rows(key: Vec<String>, columns: Vec<String>, deleted: String) -> Self {
        Self {
            key,
            columns,
            ttl_us: None,
            deleted: Some(deleted),
            is_whole: true,
        }
    }
}

impl BoundOperator for BoundLastValue {
    fn reads(&self, node: &BoundNode, read: &[BTreeSet<String>]) -> Reads {
        let is_read = |column: &&String| read.first().is_some_and(|read| read.contains(*column));
        let columns = self.columns.iter().filter(is_read);
        let names = self.key.iter().chain(&self.deleted).chain(columns);
        vec![(node.input, names.cloned().collect())]
    }

    fn is_timer_driven(&self) -> bool {
        self.ttl_us.is_some()
    }

    fn without_time(&self, node: &BoundNode) -> Option<String> {
        Some(format!("take the `ttl` out of step \"{}\"", node.name))
    }

    fn provenance(&self, node: &BoundNode, column: &str) -> Provenance {
        Provenance::copy(node.input, column)
    }

    fn plan(&self, layout: &Layout<'_>) -> Box<dyn OperatorPlan> {
        let columns = self.columns.iter().filter(|column| layout.is_held(0, column));
        Box::new(LastValuePlan {
            key: layout.own(&self.key),
            columns: layout.own(columns),
            ttl_us: self.ttl_us,
            deleted: layout.own(&self.deleted).first().copied(),
            is_whole: self.is_whole,
        })
    }
}

/// The output is the key, then the columns.
#[derive(Clone, Debug)]
pub struct LastValuePlan {
    /// The key.
    pub key: Vec<usize>,
    /// The columns that are kept.
    pub columns: Vec<usize>,
    /// After how long without a row a key is forgotten.
    pub ttl_us: Option<i64>,
    /// The boolean that is true where the row of the key is deleted.
    pub deleted: Option<usize>,
    /// Whether a row takes the place of the one before it as a whole: a null is a value then.
    pub is_whole: bool,
}

impl OperatorPlan for LastValuePlan {
    fn follows_time(&self) -> bool {
        self.ttl_us.is_some()
    }

    fn fingerprint(&self, at: At<'_>, _: StateForm) -> String {
        let forgets = forgets(self.ttl_us);
        let deletes = self.deleted.map_or("", |_| " that deletes");
        let (keys, output) = (self.key.len(), at.output());
        let what = if self.is_whole { "last row" } else { "last_value" };
        format!("{what}{forgets}{deletes} by the first {keys} of {output}")
    }

    fn describe(&self, at: At<'_>) -> String {
        let deleted = self
            .deleted
            .map(|deleted| format!(", deleted where {}", at.own_names(&[deleted])));
        format!(
            "{} by {}{}{}",
            if self.is_whole { "last row" } else { "last_value" },
            at.own_names(&self.key),
            forgotten(self.ttl_us),
            deleted.unwrap_or_default()
        )
    }
}
