//! Unions: edges whose columns have to be the same.

use super::{OutputPort, ResolvedChange, ResolvedKind, ResolvedNode, ResolvedOutput, Resolver, list};
use crate::{definition::Name, error::Result, model::column::Schema};
use std::ops::Range;

impl Resolver<'_> {
    pub(super) fn union(
        &self,
        name: &str,
        from: Option<&Name>,
        edges: &[Name],
        span: Range<usize>,
    ) -> Result<ResolvedNode> {
        if let Some(from) = from {
            let message = "key `from`: a union names all edges that it reads itself, in `union`";
            return Err(self.at(from, message));
        }
        let mut inputs: Vec<OutputPort> = Vec::new();
        let mut schema = Schema::new();
        for of in edges {
            let port = self.port(Some(of), 0, of.span())?;
            let (whose, output) = (self.port_name(port), self.output(port)?);
            if !matches!(output.change, ResolvedChange::Append) {
                let message = format!(
                    "step \"{name}\": a union is of rows that stand for themselves, but {whose} sends a changelog, whose keys \
                     could meet those of another"
                );
                return Err(self.at(of, message));
            }
            if inputs.contains(&port) {
                return Err(self.at(of, format!("key `union` names {whose} twice")));
            }
            match inputs.first() {
                None => schema.clone_from(&output.schema),
                Some(&first) => {
                    self.same_columns(of, (&mut schema, &self.port_name(first)), (&output.schema, &whose))?
                }
            }
            inputs.push(port);
        }
        let mut inputs = inputs.into_iter();
        let (Some(input), others) = (inputs.next(), inputs.collect::<Vec<_>>()) else {
            return Err(self.error(
                span,
                format!("step \"{name}\": key `union` is empty; name two edges or more"),
            ));
        };
        if others.is_empty() {
            return Err(self.error(
                span,
                format!("step \"{name}\": key `union` names one edge; accepted are two or more"),
            ));
        }
        let origins = (0..schema.len()).map(|column| (self.nodes.len(), 0, column)).collect();
        Ok(ResolvedNode {
            name: name.to_owned(),
            input,
            kind: ResolvedKind::Union { others },
            outputs: vec![ResolvedOutput {
                name: "out".to_owned(),
                schema,
                origins,
                change: ResolvedChange::Append,
            }],
        })
    }

    /// Whether an edge has the columns of the first one. A column is nullable if it is on any edge.
    fn same_columns(&self, at: &Name, first: (&mut Schema, &str), other: (&Schema, &str)) -> Result<()> {
        let ((schema, first), (other, whose)) = (first, other);
        if let Some(more) = other
            .iter()
            .find(|field| schema.iter().all(|known| known.name != field.name))
        {
            let message = format!(
                "{whose} has a column \"{}\", which {first} does not have; a union is of the same columns: {}",
                more.name,
                list(schema)
            );
            return Err(self.at(at, message));
        }
        for field in schema.iter_mut() {
            let Some(found) = other.iter().find(|found| found.name == field.name) else {
                let message = format!(
                    "{whose} has no column \"{}\", which {first} has; there are {}",
                    field.name,
                    list(other)
                );
                return Err(self.at(at, message));
            };
            if found.column_type != field.column_type {
                let message = format!(
                    "column \"{}\" is {} in {first}, but {} in {whose}",
                    field.name, field.column_type, found.column_type
                );
                return Err(self.at(at, message));
            }
            field.nullable |= found.nullable;
        }
        Ok(())
    }
}
