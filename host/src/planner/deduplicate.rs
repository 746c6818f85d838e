//! Twins: which columns tell rows apart, and for how long.

use super::{OutputPort, ResolvedChange, ResolvedKind, ResolvedNode, ResolvedOutput, Resolver, time::DURATION_US_MAX};
use crate::{definition::Deduplicate, error::Result};
use std::ops::Range;

/// A `deduplicate` with names instead of indices.
pub(super) struct ResolvedDeduplicate {
    pub(super) key: Vec<String>,
    pub(super) within_us: Option<i64>,
}

impl Resolver<'_> {
    pub(super) fn deduplicate(
        &self,
        name: &str,
        input: OutputPort,
        deduplicate: &Deduplicate,
        span: Range<usize>,
    ) -> Result<ResolvedNode> {
        let whose = self.port_name(input);
        let Some(first) = deduplicate.key.first() else {
            return Err(self.error(
                span,
                format!("step \"{name}\": key `deduplicate.key` is empty; name at least one column"),
            ));
        };
        self.append_only(input, name, "deduplicate", first)?;
        self.distinct(&deduplicate.key, "key")?;
        let source = self.output(input)?;
        for key in &deduplicate.key {
            self.column(&source.schema, key, &whose)?;
        }
        let within = deduplicate.within.as_ref();
        let within_us = within.map(|within| self.duration(within, "within", 1..=DURATION_US_MAX));
        let within_us = within_us.transpose()?;
        let out = ResolvedOutput {
            name: "out".to_owned(),
            schema: source.schema.clone(),
            origins: source.origins.clone(),
            change: ResolvedChange::Append,
        };
        let mut outputs = vec![out];
        if within_us.is_some() {
            outputs.push(self.late_output(input, false)?);
        }
        Ok(ResolvedNode {
            name: name.to_owned(),
            input,
            kind: ResolvedKind::Deduplicate(ResolvedDeduplicate {
                key: deduplicate.key.iter().map(|name| name.get_ref().clone()).collect(),
                within_us,
            }),
            outputs,
        })
    }
}
