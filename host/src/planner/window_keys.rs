//! The keys of `window` in a pipeline file.

use super::{Binder, StepAt, aggregate::AggregateColumn};
use crate::{
    definition::{BoundsUnit, ColumnMap, Name, Spanned, TimeUnit},
    error::Result,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// `window`: exactly one kind of window. Durations are texts such as `"5 min"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Window {
    /// One window after the other, of this size.
    pub(super) tumbling: Option<Name>,
    /// Windows that overlap.
    pub(super) hopping: Option<Spanned<Hopping>>,
    /// Windows that grow until they are full.
    pub(super) cumulating: Option<Spanned<Hopping>>,
    /// Windows that end where nothing came for a while.
    pub(super) session: Option<Spanned<Session>>,
    /// For each row the rows before it.
    pub(super) over: Option<Spanned<OverWindow>>,
    /// What `over` was called.
    pub(super) sliding: Option<Spanned<OverWindow>>,
    /// The group's columns; may be empty for one group of everything.
    #[serde(default)]
    pub(super) group_by: Vec<Name>,
    /// What is computed, by the name of the resulting column.
    pub(super) columns: Option<ColumnMap<AggregateColumn>>,
    /// In its place: the rows that rank first.
    pub(super) top: Option<Spanned<Top>>,
    /// The integer column that holds the time of a row; the time of its event, when absent.
    pub(super) time: Option<Name>,
    /// What that column counts, where the pipeline does not say it already.
    pub(super) time_unit: Option<Spanned<TimeUnit>>,
    /// What the columns `window_start` and `window_end` count.
    pub(super) bounds_unit: Option<Spanned<BoundsUnit>>,
    /// The time zone whose clock windows begin by; UTC, when absent.
    pub(super) zone: Option<Name>,
    /// By how much windows begin later than they would.
    pub(super) offset: Option<Name>,
    /// When results are emitted.
    pub(super) emit: Option<Spanned<EmitWhen>>,
    /// How long after its end a window still takes rows in.
    pub(super) lateness: Option<Name>,
}

/// Windows of one size, and how far apart they are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Hopping {
    /// How long a window is.
    pub(super) size: Name,
    /// How much later the next one begins; of cumulating windows, ends.
    pub(super) every: Name,
}

/// Windows that end where nothing came for a while.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    /// Rows that are at least this far apart are in different windows.
    pub(super) gap: Name,
}

/// When a window's results are emitted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum EmitWhen {
    /// Once the window has ended.
    #[default]
    Close,
    /// Whenever they change.
    Update,
    /// At this interval of event time while they change, and once the window has ended.
    Early(Name),
}

/// The rows before each one. Its keys, beside those of every window.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OverWindow {
    /// How many rows, that one included.
    pub(super) rows: Option<Spanned<u64>>,
    /// How long.
    pub(super) time: Option<Name>,
    /// After how long without a row a group of `rows` is forgotten; never, when absent.
    pub(super) ttl: Option<Name>,
}

/// The rows that rank first.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Top {
    /// How many.
    pub(super) n: Spanned<u64>,
    /// The column that they are ranked by.
    pub(super) by: Name,
    /// The columns that are given of each.
    pub(super) columns: Vec<Name>,
    /// Which come first.
    #[serde(default)]
    pub(super) order: TopOrder,
}

/// Which rows rank first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TopOrder {
    /// Those with the greatest values.
    #[default]
    Greatest,
    /// Those with the least values.
    Least,
}

impl Window {
    /// Exactly one kind of window.
    pub(super) fn one_kind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<()> {
        let kinds = [
            ("tumbling", self.tumbling.is_some()),
            ("hopping", self.hopping.is_some()),
            ("cumulating", self.cumulating.is_some()),
            ("session", self.session.is_some()),
            ("over", self.over.is_some()),
            ("sliding", self.sliding.is_some()),
        ];
        let given = kinds.iter().filter(|(_, given)| *given).map(|(kind, _)| *kind);
        let given: Vec<&str> = given.collect();
        if given.len() == 1 {
            return Ok(());
        }
        let found = if given.is_empty() {
            "none".to_owned()
        } else {
            given.join(" and ")
        };
        let accepted = "exactly one of tumbling, hopping, cumulating, session, over";
        let message = format!("step \"{}\" has {found}; a window has {accepted}", step.name());
        Err(binder.error(step.span(), message))
    }
}
