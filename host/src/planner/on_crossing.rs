//! Alerts: which key is raised by which column.

use super::{OutputPort, ResolvedChange, ResolvedKind, ResolvedNode, ResolvedOutput, Resolver};
use crate::{
    definition::{Name, OnCrossing},
    error::Result,
    model::column::{ColumnType, Schema},
};
use std::ops::Range;

/// An `on_crossing` with names instead of indices.
pub(super) struct ResolvedOnCrossing {
    pub(super) key: Vec<String>,
    pub(super) raise: Option<String>,
    pub(super) hold: Option<String>,
    /// Whether rows of the input may be taken away again.
    pub(super) retracts: bool,
    pub(super) ttl_us: Option<i64>,
}

impl Resolver<'_> {
    pub(super) fn on_crossing(
        &self,
        name: &str,
        input: OutputPort,
        on_crossing: &OnCrossing,
        span: Range<usize>,
    ) -> Result<ResolvedNode> {
        let whose = self.port_name(input);
        let source = self.output(input)?;
        let key: Vec<String> = match (&on_crossing.key, &source.change) {
            (Some(key), _) => {
                self.distinct(key, "key")?;
                for column in key {
                    self.column(&source.schema, column, &whose)?;
                }
                key.iter().map(|column| column.get_ref().clone()).collect()
            }
            (None, ResolvedChange::Keyed(Some(key))) => key.clone(),
            (None, ResolvedChange::Keyed(None)) => {
                let message = format!(
                    "step \"{name}\": {whose} does not pass on the key of the changelog that it reads; say with key `key` what \
                     crosses"
                );
                return Err(self.error(span, message));
            }
            (None, ResolvedChange::Append) => {
                let message = format!(
                    "step \"{name}\": {whose} sends rows that stand for themselves, and no key; say with key `key` what crosses"
                );
                return Err(self.error(span, message));
            }
        };
        let retracts = !matches!(source.change, ResolvedChange::Append);
        match (&on_crossing.raise, &on_crossing.hold) {
            (None, Some(hold)) => {
                let message = "key `hold` goes with `raise`: without that, a key is raised while it has a row at all";
                return Err(self.at(hold, message));
            }
            (None, None) if !retracts => {
                let message = format!(
                    "step \"{name}\": {whose} sends rows that stand for themselves, and do not go again; say with key `raise` \
                     which boolean column raises a key"
                );
                return Err(self.error(span, message));
            }
            _ => {}
        }
        let raise = self.flag(&source.schema, on_crossing.raise.as_ref(), "raise", &whose)?;
        let hold = self.flag(&source.schema, on_crossing.hold.as_ref(), "hold", &whose)?;
        let ttl_us = self.ttl(on_crossing.ttl.as_ref())?;
        if let (Some(ttl), ResolvedChange::Keyed(rows_by)) = (&on_crossing.ttl, &source.change) {
            // Rows of a key that is forgotten may go later. Where it has one at most, that one is ignored then.
            let is_one = |rows_by: &Vec<String>| rows_by.iter().all(|column| key.contains(column));
            if !rows_by.as_ref().is_some_and(is_one) {
                let message = format!(
                    "key `ttl`: {whose} may have several rows of one key, and when a key is forgotten nobody knows which of them \
                     were its own; give the ttl to the step that keeps the rows"
                );
                return Err(self.at(ttl, message));
            }
        }
        let output = |name: &str| ResolvedOutput {
            name: name.to_owned(),
            schema: source.schema.clone(),
            origins: source.origins.clone(),
            change: ResolvedChange::Append,
        };
        Ok(ResolvedNode {
            name: name.to_owned(),
            input,
            outputs: vec![output("out"), output("cleared")],
            kind: ResolvedKind::OnCrossing(Box::new(ResolvedOnCrossing {
                key,
                raise,
                hold,
                retracts,
                ttl_us,
            })),
        })
    }

    /// A column that says yes or no.
    fn flag(&self, schema: &Schema, column: Option<&Name>, key: &str, whose: &str) -> Result<Option<String>> {
        let Some(name) = column else { return Ok(None) };
        let index = self.column(schema, name, whose)?;
        let found = schema.get(index).map_or(ColumnType::Boolean, |field| field.column_type);
        if found != ColumnType::Boolean {
            let column = name.get_ref();
            let message = format!("key `{key}`: column \"{column}\" is {found}; accepted is a boolean");
            return Err(self.at(name, message));
        }
        Ok(Some(name.get_ref().clone()))
    }
}
