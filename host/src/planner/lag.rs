//! `lag`: values of columns as they were a number of rows before, by key. See [`crate::operator::lag`].

use super::{
    Binder, BoundChange, BoundNode, BoundOperator, BoundOutput, Layout, Provenance, Reads, StepAt, StepKeys,
    describe::{forgets, forgotten},
    texts,
};
use crate::{
    definition::{ColumnMap, Name, Spanned},
    error::Result,
    limits::LAG_ROWS_MAX,
    model::column::Field,
    plan::{At, OperatorPlan, StateForm},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Its keys in the file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Lag {
    /// The key.
    key: Vec<Name>,
    /// The columns that are added, each with the column whose earlier value it holds.
    columns: ColumnMap<Name>,
    /// How many rows of the key before; 1, when absent.
    n: Option<Spanned<u64>>,
    /// After how long without a row a key is forgotten, such as `"30 d"`; never, when absent.
    ttl: Option<Name>,
}

impl StepKeys for Lag {
    fn bind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode> {
        let input = step.input(binder)?;
        let whose = binder.port_name(input);
        let first = binder.first(step, "key", &self.key)?;
        binder.append_only(input, step, first)?;
        binder.distinct(&self.key, "key")?;
        let source = binder.output(input)?;
        for key in &self.key {
            binder.column(&source.schema, key, &whose)?;
        }
        let rows = self.n.as_ref().map_or(1, |n| *n.get_ref());
        if let Some(n) = self.n.as_ref().filter(|_| !(1..=LAG_ROWS_MAX).contains(&rows)) {
            let message = format!("key `n` is {rows}; accepted are 1 to {LAG_ROWS_MAX}");
            return Err(binder.error(n.span(), message));
        }
        if self.columns.0.is_empty() {
            let message = format!(
                "step \"{}\": key `lag.columns` is empty; name at least one column, such as {{ before = \"page\" }}",
                step.name()
            );
            return Err(binder.error(step.span(), message));
        }
        let (mut schema, mut origins) = (source.schema.clone(), source.origins.clone());
        let mut added = Vec::new();
        for (name, of) in &self.columns.0 {
            let index = binder.column(&source.schema, of, &whose)?;
            if schema.iter().any(|field| field.name == *name.get_ref()) {
                let message = format!(
                    "step \"{}\" adds column \"{}\", which {whose} has already; give it another name",
                    step.name(),
                    name.get_ref()
                );
                return Err(binder.at(name, message));
            }
            origins.push((binder.nodes.next_id(), 0, schema.len()));
            let field = source.schema.get(index).map(|of| Field {
                name: name.get_ref().clone(),
                column_type: of.column_type,
                nullable: true,
            });
            schema.extend(field);
            added.push((name.get_ref().clone(), of.get_ref().clone()));
        }
        let output = BoundOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change: BoundChange::Append,
        };
        let lag = BoundLag {
            key: texts(&self.key),
            added,
            rows,
            ttl_us: binder.ttl(self.ttl.as_ref())?,
        };
        Ok(step.bound(input, lag, vec![output]))
    }
}

/// The step, by the names of its columns.
struct BoundLag {
    key: Vec<String>,
    /// The columns that are added, each with the one whose earlier value it holds.
    added: Vec<(String, String)>,
    rows: u64,
    ttl_us: Option<i64>,
}

impl BoundLag {
    /// The column whose earlier value a column holds, if it is one that is added.
    fn of(&self, column: &str) -> Option<&String> {
        self.added.iter().find(|(name, _)| name == column).map(|(_, of)| of)
    }
}

impl BoundOperator for BoundLag {
    fn reads(&self, node: &BoundNode, read: &[BTreeSet<String>]) -> Reads {
        let read = read.iter().flatten().map(|name| self.of(name).unwrap_or(name));
        vec![(node.input, self.key.iter().chain(read).cloned().collect())]
    }

    fn follows_time(&self) -> bool {
        self.ttl_us.is_some()
    }

    fn provenance(&self, node: &BoundNode, column: &str) -> Provenance {
        self.of(column)
            .map_or(Provenance::New, |of| Provenance::copy(node.input, of))
    }

    fn plan(&self, layout: &Layout<'_>) -> Box<dyn OperatorPlan> {
        Box::new(LagPlan {
            key: layout.own(&self.key),
            passed: layout.own(layout.held(0).filter(|name| self.of(name).is_none())),
            lagged: layout.own(layout.held(0).filter_map(|name| self.of(name))),
            rows: self.rows,
            ttl_us: self.ttl_us,
        })
    }
}

/// The output is columns of the input, then the earlier values.
#[derive(Clone, Debug)]
pub struct LagPlan {
    /// The key.
    pub key: Vec<usize>,
    /// The columns that go on.
    pub passed: Vec<usize>,
    /// The columns whose earlier values are added.
    pub lagged: Vec<usize>,
    /// How many rows before.
    pub rows: u64,
    /// After how long without a row a key is forgotten.
    pub ttl_us: Option<i64>,
}

impl OperatorPlan for LagPlan {
    fn follows_time(&self) -> bool {
        self.ttl_us.is_some()
    }

    fn fingerprint(&self, at: At<'_>, _: StateForm) -> String {
        let columns = |indices: &[usize]| at.typed(at.node.input, indices);
        let (lagged, key, forgets) = (columns(&self.lagged), columns(&self.key), forgets(self.ttl_us));
        format!("the last {} rows{forgets} ({lagged}) by {key}", self.rows)
    }

    fn describe(&self, at: At<'_>) -> String {
        let (lagged, key, forgotten) = (
            at.own_names(&self.lagged),
            at.own_names(&self.key),
            forgotten(self.ttl_us),
        );
        let before = match self.rows {
            1 => "one row".to_owned(),
            rows => format!("{rows} rows"),
        };
        format!("lag by {key}{forgotten}: {lagged}, {before} before")
    }
}
