//! The rows that rank first in a window, in place of aggregates.

use super::{
    Binder, OutputPort, texts,
    window_keys::{Top, TopOrder, Window},
};
use crate::{
    definition::Spanned,
    error::Result,
    limits::TOP_ROWS_MAX,
    model::column::{ColumnType, Field},
};
use std::ops::Range;

/// The column that says which of them a row is, from 1 on.
pub(super) const RANK: &str = "rank";

/// A `top` with names instead of indices.
pub(super) struct BoundTop {
    pub(super) n: u32,
    pub(super) by: String,
    pub(super) least: bool,
    pub(super) columns: Vec<String>,
}

impl Binder<'_> {
    /// What `top` of a window keeps, and the fields that it gives after the window's bounds.
    pub(super) fn top(
        &self,
        name: &str,
        input: OutputPort,
        top: &Spanned<Top>,
        retracts: bool,
    ) -> Result<(BoundTop, Vec<Field>)> {
        let whose = self.port_name(input);
        let span = top.span();
        let top = top.get_ref();
        if retracts {
            let message = format!(
                "step \"{name}\": top keeps the first rows alone and cannot say which one follows when one of them goes, \
                 but {whose} sends a changelog; accepted are single rows, such as those of a window that emits its \
                 results once"
            );
            return Err(self.error(span, message));
        }
        let count = *top.n.get_ref();
        let n = u32::try_from(count)
            .ok()
            .filter(|_| (1..=TOP_ROWS_MAX).contains(&count));
        let Some(n) = n else {
            let message = format!("key `n` is {count}; accepted are 1 to {TOP_ROWS_MAX}");
            return Err(self.error(top.n.span(), message));
        };
        let source = self.output(input)?;
        let by = self.column(&source.schema, &top.by, &whose)?;
        if let Some(field) = source.schema.get(by).filter(|field| !field.column_type.has_order()) {
            let (found, column) = (field.column_type, &field.name);
            let message = format!(
                "key `by` is column \"{column}\", which is {found}; accepted is a column of any type but json and lists, which have no order"
            );
            return Err(self.at(&top.by, message));
        }
        if top.columns.is_empty() {
            return Err(self.error(span, "key `columns` of top is empty; name at least one column"));
        }
        self.distinct(&top.columns, "columns")?;
        let mut fields = vec![Field {
            name: RANK.to_owned(),
            column_type: ColumnType::Int,
            nullable: false,
        }];
        for column in &top.columns {
            let index = self.column(&source.schema, column, &whose)?;
            fields.extend(source.schema.get(index).cloned());
        }
        let bound = BoundTop {
            n,
            by: top.by.get_ref().clone(),
            least: top.order == TopOrder::Least,
            columns: texts(&top.columns),
        };
        Ok((bound, fields))
    }

    /// Exactly one of `columns` and `top`.
    pub(super) fn columns_or_top(&self, name: &str, window: &Window, span: Range<usize>) -> Result<()> {
        let found = match (&window.columns, &window.top) {
            (Some(_), None) | (None, Some(_)) => return Ok(()),
            (None, None) => "neither `columns` nor `top`",
            (Some(_), Some(_)) => "both `columns` and `top`",
        };
        let accepted = "aggregates, as `columns`, or the rows that rank first, as `top`";
        Err(self.error(span, format!("step \"{name}\" has {found}; a window gives {accepted}")))
    }
}
