//! Windows: how they are cut, what is computed in them, and what becomes of rows that come too late.

use super::{
    OutputPort, ResolvedAggregate, ResolvedChange, ResolvedKind, ResolvedNode, ResolvedOutput, Resolver,
    is_timer_driven,
    time::DURATION_US_MAX,
    time_column::{END, START},
    top::{RANK, ResolvedTop},
};
use crate::{
    definition::{self, BoundsUnit, Hopping, Name, Window},
    error::Result,
    limits::WINDOWS_PER_ROW_MAX,
    model::{
        column::{ColumnType, Field, Schema},
        time_zone::offset_at,
    },
    plan::{DAY_US, Emit, MS_US, TimeScale, WindowCut, WindowKind},
    text::duration,
    wasm::StageHost,
};
use std::ops::Range;

/// The column of late rows of a changelog that says whether a row was to be taken away.
const RETRACTS: &str = "retracts";

/// Windows of whole weeks begin on Mondays; 1970-01-01 was a Thursday.
const WEEK_US: i64 = 7 * DAY_US;
const FIRST_MONDAY_US: i64 = 4 * DAY_US;

/// A `window` with names instead of indices.
pub(super) struct ResolvedWindow {
    pub(super) group: Vec<String>,
    pub(super) aggregates: Vec<ResolvedAggregate>,
    pub(super) top: Option<ResolvedTop>,
    pub(super) kind: WindowKind,
    pub(super) bounds: BoundsUnit,
    pub(super) time: Option<(String, TimeScale)>,
    pub(super) emit: Emit,
    pub(super) lateness_us: i64,
    /// Whether rows of the input may be taken away again.
    pub(super) retracts: bool,
}

impl Resolver<'_> {
    pub(super) fn window(
        &self,
        name: &str,
        input: OutputPort,
        window: &Window,
        span: Range<usize>,
        host: &StageHost,
    ) -> Result<ResolvedNode> {
        if window.over_window.is_some() {
            return self.over_window(name, input, window, span);
        }
        let whose = self.port_name(input);
        let source = self.output(input)?;
        let kind = self.window_kind(name, window, span.clone())?;
        let bounds = window
            .bounds_unit
            .as_ref()
            .map(|unit| *unit.get_ref())
            .unwrap_or_default();
        let time = self.time_column(input, window)?;
        let retracts = !matches!(source.change, ResolvedChange::Append);
        self.check_window_input(name, input, window, &kind, span.clone())?;
        self.columns_or_top(name, window, span)?;
        let emit = match window.emit.as_ref().map(serde_spanned::Spanned::get_ref) {
            None | Some(definition::Emit::Close) => Emit::Close,
            Some(definition::Emit::Update) => Emit::Update,
            Some(definition::Emit::Early(every)) => Emit::Early(self.duration(every, "early", 1..=DURATION_US_MAX)?),
        };
        let lateness_us = self.duration_or(window.lateness.as_ref(), "lateness", 0)?;

        self.distinct(&window.group_by, "group_by")?;
        let mut schema = Schema::new();
        for group in &window.group_by {
            let index = self.column(&source.schema, group, &whose)?;
            schema.extend(source.schema.get(index).cloned());
        }
        for bound in [START, END] {
            schema.push(Field {
                name: bound.to_owned(),
                column_type: ColumnType::Int,
                nullable: false,
            });
        }
        let mut aggregates = Vec::new();
        for (column, spec) in window.columns.iter().flat_map(|columns| &columns.0) {
            let (resolved, field) = match &spec.module {
                Some(module) => self.guest_column(name, column, spec, module, input, host)?,
                None => self.aggregate_column(column, spec, &source.schema, &whose)?,
            };
            if let (Some(module), WindowKind::Session { .. }) = (&spec.module, &kind) {
                self.check_merges(name, &resolved, module)?;
            }
            if retracts && resolved.function.needs_order() {
                let function = resolved.function.name();
                return Err(self.at(
                    column,
                    format!("{function} reads rows that stand for themselves, but {whose} sends a changelog"),
                ));
            }
            if retracts {
                self.check_takes_back(column, resolved.function, &format!("{whose} sends a changelog"))?;
            }
            schema.push(field);
            aggregates.push(resolved);
        }
        let top = window.top.as_ref().map(|top| self.top(name, input, top, retracts));
        let (top, ranked) = top.transpose()?.unzip();
        schema.extend(ranked.into_iter().flatten());
        let computed = window.columns.iter().flat_map(|columns| &columns.0);
        let ranked = window.top.iter().flat_map(|top| &top.get_ref().columns);
        let named = window
            .group_by
            .iter()
            .chain(computed.map(|(name, _)| name))
            .chain(ranked);
        for name in named {
            if schema.iter().filter(|field| field.name == *name.get_ref()).count() > 1 {
                let rank = if top.is_some() { ", rank" } else { "" };
                let message = format!(
                    "there would be two columns \"{}\": a window gives its group, {START}, {END}{rank}, and its columns",
                    name.get_ref()
                );
                return Err(self.at(name, message));
            }
        }

        let group: Vec<String> = window.group_by.iter().map(|name| name.get_ref().clone()).collect();
        let told_once = emit == Emit::Close && lateness_us == 0;
        let change = match told_once {
            true => ResolvedChange::Append,
            false => {
                let mut key = group.clone();
                key.push(START.to_owned());
                // Cumulating windows begin together.
                let together = WindowCut::Cumulating;
                if matches!(kind, WindowKind::Aligned { cut, .. } if cut == together) {
                    key.push(END.to_owned());
                }
                key.extend(top.as_ref().map(|_| RANK.to_owned()));
                ResolvedChange::Keyed(Some(key))
            }
        };
        let origins = (0..schema.len()).map(|column| (self.nodes.len(), 0, column)).collect();
        let out = ResolvedOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change,
        };
        let kind = ResolvedKind::Window(Box::new(ResolvedWindow {
            group,
            aggregates,
            top,
            kind,
            bounds,
            time,
            emit,
            lateness_us,
            retracts,
        }));
        Ok(ResolvedNode {
            name: name.to_owned(),
            input,
            kind,
            outputs: vec![out, self.late_output(input, retracts)?],
        })
    }

    /// The output for rows of `input` that came too late.
    pub(super) fn late_output(&self, input: OutputPort, retracts: bool) -> Result<ResolvedOutput> {
        let source = self.output(input)?;
        let (mut schema, mut origins) = (source.schema.clone(), source.origins.clone());
        if retracts {
            origins.push((self.nodes.len(), 1, schema.len()));
            schema.push(Field {
                name: RETRACTS.to_owned(),
                column_type: ColumnType::Boolean,
                nullable: false,
            });
        }
        Ok(ResolvedOutput {
            name: "late".to_owned(),
            schema,
            origins,
            change: ResolvedChange::Append,
        })
    }

    fn check_window_input(
        &self,
        name: &str,
        input: OutputPort,
        window: &Window,
        kind: &WindowKind,
        span: Range<usize>,
    ) -> Result<()> {
        let whose = self.port_name(input);
        let source = self.output(input)?;
        if matches!(source.change, ResolvedChange::Append) {
            return self.check_own_time(name, input, window, span);
        }
        if matches!(kind, WindowKind::Session { .. }) {
            return Err(self.error(
                span,
                format!(
                    "step \"{name}\": session windows read rows that stand for themselves, but {whose} sends a changelog"
                ),
            ));
        }
        if window.time.is_none() {
            return Err(self.error(
                span,
                format!(
                    "step \"{name}\": {whose} sends a changelog, whose rows come again when they change; \
                     say with key `time` which of their columns holds their time"
                ),
            ));
        }
        if source.schema.iter().any(|field| field.name == RETRACTS) {
            return Err(self.error(
                span,
                format!(
                    "step \"{name}\": {whose} has a column \"{RETRACTS}\", which late rows of a changelog have of their own; \
                     rename it"
                ),
            ));
        }
        Ok(())
    }

    /// Rows that come because time went on come with the event that moved it, and not with one of their own.
    pub(super) fn check_own_time(
        &self,
        name: &str,
        input: OutputPort,
        window: &Window,
        span: Range<usize>,
    ) -> Result<()> {
        if window.time.is_some() || !is_timer_driven(&self.nodes, input) {
            return Ok(());
        }
        let whose = self.port_name(input);
        Err(self.error(
            span,
            format!(
                "step \"{name}\": {whose} sends rows because time went on, with the event that moved it; \
                 say with key `time` which of their columns holds their own time"
            ),
        ))
    }

    /// Exactly one kind of window.
    pub(super) fn one_kind(&self, name: &str, window: &Window, span: Range<usize>) -> Result<()> {
        let kinds = [
            ("tumbling", window.tumbling.is_some()),
            ("hopping", window.hopping.is_some()),
            ("cumulating", window.cumulating.is_some()),
            ("session", window.session.is_some()),
            ("sliding", window.over_window.is_some()),
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
        let accepted = "exactly one of tumbling, hopping, cumulating, session, sliding";
        Err(self.error(span, format!("step \"{name}\" has {found}; a window has {accepted}")))
    }

    fn window_kind(&self, name: &str, window: &Window, span: Range<usize>) -> Result<WindowKind> {
        self.one_kind(name, window, span.clone())?;
        if let Some(session) = &window.session {
            for (key, given) in [("zone", &window.zone), ("offset", &window.offset)] {
                if let Some(given) = given {
                    return Err(self.at(
                        given,
                        format!("key `{key}` says where windows begin, and a session begins with its first row"),
                    ));
                }
            }
            let gap_us = self.duration(&session.get_ref().gap, "gap", 1..=DURATION_US_MAX)?;
            // Sessions of a group begin at least the gap apart.
            self.check_shown(window, &session.get_ref().gap, "gap", gap_us >= MS_US)?;
            return Ok(WindowKind::Session { gap_us });
        }
        let (cut, size_us, every_us) = match (&window.tumbling, &window.hopping, &window.cumulating) {
            (Some(size), ..) => {
                let size_us = self.duration(size, "tumbling", 1..=DURATION_US_MAX)?;
                self.check_shown(window, size, "tumbling", size_us % MS_US == 0)?;
                (WindowCut::Hopping, size_us, size_us)
            }
            (_, Some(hopping), _) => self.sizes(window, WindowCut::Hopping, hopping.get_ref())?,
            (_, _, Some(cumulating)) => self.sizes(window, WindowCut::Cumulating, cumulating.get_ref())?,
            _ => return Err(self.error(span, "no kind of window")),
        };
        if let Some(zone) = &window.zone {
            offset_at(zone.get_ref(), 0).map_err(|message| self.at(zone, format!("key `zone`: {message}")))?;
        }
        let period_us = match cut {
            WindowCut::Hopping => every_us,
            WindowCut::Cumulating => size_us,
        };
        let offset_us = match &window.offset {
            None => 0,
            Some(offset) => {
                let offset_us = self.duration(offset, "offset", 1 - period_us..=period_us - 1)?;
                self.check_shown(window, offset, "offset", offset_us % MS_US == 0)?;
                offset_us
            }
        };
        let weeks_us = if period_us % WEEK_US == 0 { FIRST_MONDAY_US } else { 0 };
        Ok(WindowKind::Aligned {
            cut,
            size_us,
            every_us,
            zone: window.zone.as_ref().map(|zone| zone.get_ref().clone()),
            offset_us: (offset_us + weeks_us).rem_euclid(period_us),
        })
    }

    /// Where the bounds of windows are told in milliseconds, no two windows may be told as one.
    fn check_shown(&self, window: &Window, text: &Name, key: &str, fits: bool) -> Result<()> {
        let in_us = matches!(&window.bounds_unit, Some(unit) if *unit.get_ref() == BoundsUnit::Microseconds);
        if fits || in_us {
            return Ok(());
        }
        let message = format!(
            "key `{key}` is \"{}\", and windows tell their bounds in whole milliseconds; say bounds_unit = \"us\" beside it",
            text.get_ref()
        );
        Err(self.at(text, message))
    }

    fn sizes(&self, window: &Window, cut: WindowCut, hopping: &Hopping) -> Result<(WindowCut, i64, i64)> {
        let size_us = self.duration(&hopping.size, "size", 1..=DURATION_US_MAX)?;
        let every_us = self.duration(&hopping.every, "every", 1..=size_us)?;
        self.check_shown(window, &hopping.every, "every", every_us % MS_US == 0)?;
        let windows = size_us / every_us;
        if size_us % every_us != 0 || windows > WINDOWS_PER_ROW_MAX {
            return Err(self.at(
                &hopping.every,
                format!(
                    "key `every` is \"{}\", and windows have {}; accepted is a part of it, 1 to {WINDOWS_PER_ROW_MAX} of which make a window",
                    hopping.every.get_ref(),
                    duration(size_us)
                ),
            ));
        }
        Ok((cut, size_us, every_us))
    }
}
