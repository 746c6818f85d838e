//! `columns`: other names, another order, fewer columns, and constants. See [`crate::operator::columns`].

use super::{Binder, BoundChange, BoundNode, BoundOperator, BoundOutput, Layout, Provenance, Reads, StepAt, StepKeys};
use crate::{
    definition::{ColumnMap, ColumnSource, Name, Spanned},
    error::Result,
    limits::CONSTANT_BYTES_MAX,
    model::{
        column::{Field, Schema},
        constant::Constant,
    },
    plan::{At, OperatorPlan, Projected, Projection, StateForm},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Its key in the file: each column, and where it comes from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct Columns(ColumnMap<Spanned<ColumnSource>>);

impl StepKeys for Columns {
    fn bind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode> {
        let input = step.input(binder)?;
        let whose = binder.port_name(input);
        let source = binder.output(input)?;
        if self.0.0.is_empty() {
            let message = format!(
                "step \"{}\": key `columns` is empty; name at least one column, such as {{ customer = \"payload_customer\" }}",
                step.name()
            );
            return Err(binder.error(step.span(), message));
        }
        let (mut schema, mut origins, mut columns) = (Schema::new(), Vec::new(), Vec::new());
        for (name, from) in &self.0.0 {
            binder.check_column_name(name)?;
            let (field, origin) = match from.get_ref() {
                ColumnSource::Column(column) => {
                    let index = binder.column(&source.schema, &Name::new(from.span(), column.clone()), &whose)?;
                    (source.schema.get(index).cloned(), source.origins.get(index).copied())
                }
                ColumnSource::Constant(constant) => {
                    check_size(binder, name, constant)?;
                    let field = Field {
                        name: String::new(),
                        column_type: constant.column_type,
                        nullable: constant.is_null(),
                    };
                    (Some(field), Some((binder.nodes.next_id(), 0, schema.len())))
                }
            };
            let name = name.get_ref();
            schema.extend(field.map(|field| Field {
                name: name.clone(),
                ..field
            }));
            origins.extend(origin);
            columns.push((name.clone(), from.get_ref().clone()));
        }
        let columns = BoundColumns { columns };
        let change = match &source.change {
            BoundChange::Append => BoundChange::Append,
            // Without one of the columns, rows can be taken back and not told apart.
            BoundChange::Keyed(key) => BoundChange::Keyed(key.as_ref().and_then(|key| {
                let renamed = key.iter().map(|column| columns.name_of(column).cloned());
                renamed.collect()
            })),
        };
        let output = BoundOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change,
        };
        Ok(step.bound(input, columns, vec![output]))
    }
}

/// Rows may come out of the state by the million, each with the constant.
fn check_size(binder: &Binder<'_>, name: &Name, constant: &Constant) -> Result<()> {
    let found = constant.bytes();
    if found <= CONSTANT_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "the constant of column \"{}\" has {found} bytes; accepted are up to {CONSTANT_BYTES_MAX}",
        name.get_ref()
    );
    Err(binder.at(name, message))
}

/// The step, by the names of its columns.
struct BoundColumns {
    columns: Vec<(String, ColumnSource)>,
}

impl BoundColumns {
    /// The first column that a column of the input goes on as.
    fn name_of(&self, column: &str) -> Option<&String> {
        let mut columns = self.columns.iter();
        columns.find_map(|(name, from)| match from {
            ColumnSource::Column(of) if of == column => Some(name),
            _ => None,
        })
    }

    /// The columns that are held, each with where it comes from.
    fn held<'b>(&'b self, is_held: impl Fn(&str) -> bool + 'b) -> impl Iterator<Item = &'b ColumnSource> + 'b {
        let held = self.columns.iter().filter(move |(name, _)| is_held(name));
        held.map(|(_, from)| from)
    }
}

impl BoundOperator for BoundColumns {
    fn reads(&self, node: &BoundNode, read: &[BTreeSet<String>]) -> Reads {
        let held = self.held(|name| read.iter().any(|read| read.contains(name)));
        let of = held.filter_map(|from| match from {
            ColumnSource::Column(column) => Some(column.clone()),
            ColumnSource::Constant(_) => None,
        });
        vec![(node.input, of.collect())]
    }

    fn keeps_state(&self) -> bool {
        false
    }

    fn is_by_row(&self) -> bool {
        true
    }

    fn provenance(&self, node: &BoundNode, column: &str) -> Provenance {
        let from = self.columns.iter().find(|(name, _)| name == column);
        match from {
            Some((_, ColumnSource::Column(of))) => Provenance::copy(node.input, of),
            _ => Provenance::New,
        }
    }

    fn plan(&self, layout: &Layout<'_>) -> Box<dyn OperatorPlan> {
        let columns = self.held(|name| layout.is_held(0, name)).map(|from| match from {
            ColumnSource::Column(column) => Projected::Passed(layout.index(layout.node.input, column)),
            ColumnSource::Constant(constant) => Projected::Constant(constant.clone()),
        });
        let written = self.columns.iter().map(|(name, from)| match from {
            ColumnSource::Column(column) if column == name => name.clone(),
            ColumnSource::Column(column) => format!("{name} = {column}"),
            ColumnSource::Constant(constant) => format!("{name} = {constant}"),
        });
        Box::new(ColumnsPlan {
            projection: Projection {
                columns: columns.collect(),
            },
            written: written.collect::<Vec<_>>().join(", "),
        })
    }
}

/// The output is columns of the input, and constants.
#[derive(Clone, Debug)]
pub struct ColumnsPlan {
    /// Those of the columns that somebody reads.
    pub projection: Projection,
    /// All columns, as text.
    pub written: String,
}

impl OperatorPlan for ColumnsPlan {
    fn projection(&self) -> Option<&Projection> {
        Some(&self.projection)
    }

    fn keeps_state(&self) -> bool {
        false
    }

    fn fingerprint(&self, _: At<'_>, _: StateForm) -> String {
        String::new()
    }

    fn describe(&self, _: At<'_>) -> String {
        format!("columns {}", self.written)
    }
}
