//! `window`: aggregates, or the rows that rank first, by group and window of event time. See [`crate::operator::window`].

use super::{
    Binder, BoundAggregate, BoundChange, BoundNode, BoundOperator, BoundOutput, Layout, OutputPort, Provenance, Reads,
    StepAt, StepKeys,
    aggregate::{columns_of, provenance_of},
    describe::{counted, function_states, functions, groups, span},
    is_timer_driven, texts,
    time::DURATION_US_MAX,
    time_column::{END, START},
    top::{BoundTop, RANK},
    window_keys::{EmitWhen, Hopping, OverWindow, Window},
};
use crate::{
    definition::{BoundsUnit, Name, Spanned},
    error::Result,
    limits::WINDOWS_PER_ROW_MAX,
    model::{
        column::{ColumnType, Field, Schema},
        time_zone::offset_at,
    },
    plan::{AggregateSpec, At, DAY_US, MS_US, OperatorPlan, StateForm, TimeColumn, TimeScale},
    text::duration,
};
use std::{collections::BTreeSet, fmt, ops::Range};

/// The column of late rows of a changelog that says whether a row was to be taken away.
const RETRACTS: &str = "retracts";

/// Windows of whole weeks begin on Mondays; 1970-01-01 was a Thursday.
const WEEK_US: i64 = 7 * DAY_US;
const FIRST_MONDAY_US: i64 = 4 * DAY_US;

impl StepKeys for Window {
    fn bind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode> {
        match self.over_window() {
            Some((written, over_window)) => over_window.bind(written, step, self, binder),
            None => self.bind_window(step, binder),
        }
    }
}

impl Window {
    fn over_window(&self) -> Option<(&'static str, &OverWindow)> {
        let given = [("over", &self.over), ("sliding", &self.sliding)];
        let mut given = given.into_iter();
        given.find_map(|(key, window)| Some((key, window.as_ref()?.get_ref())))
    }

    fn bind_window(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode> {
        let (name, input) = (step.name(), step.input(binder)?);
        let whose = binder.port_name(input);
        let source = binder.output(input)?;
        let kind = binder.window_kind(step, self)?;
        let bounds = self
            .bounds_unit
            .as_ref()
            .map(|unit| *unit.get_ref())
            .unwrap_or_default();
        let time = binder.time_column(input, self)?;
        let retracts = !matches!(source.change, BoundChange::Append);
        binder.check_window_input(name, input, self, &kind, step.span())?;
        binder.columns_or_top(name, self, step.span())?;
        let emit = match self.emit.as_ref().map(Spanned::get_ref) {
            None | Some(EmitWhen::Close) => Emit::Close,
            Some(EmitWhen::Update) => Emit::Update,
            Some(EmitWhen::Early(every)) => Emit::Early(binder.duration(every, "early", 1..=DURATION_US_MAX)?),
        };
        let lateness_us = binder.duration_or(self.lateness.as_ref(), "lateness", 0)?;

        binder.distinct(&self.group_by, "group_by")?;
        let mut schema = Schema::new();
        for group in &self.group_by {
            let index = binder.column(&source.schema, group, &whose)?;
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
        for (column, spec) in self.columns.iter().flat_map(|columns| &columns.0) {
            let (bound, field) = match &spec.module {
                Some(module) => binder.guest_column(name, column, spec, module, input, step.host)?,
                None => binder.aggregate_column(column, spec, &source.schema, &whose)?,
            };
            if let (Some(module), WindowKind::Session { .. }) = (&spec.module, &kind) {
                binder.check_merges(name, &bound, module)?;
            }
            if retracts && bound.function.needs_order() {
                let function = bound.function.name();
                return Err(binder.at(
                    column,
                    format!("{function} reads rows that stand for themselves, but {whose} sends a changelog"),
                ));
            }
            if retracts {
                binder.check_takes_back(column, bound.function, &format!("{whose} sends a changelog"))?;
            }
            schema.push(field);
            aggregates.push(bound);
        }
        let top = self.top.as_ref().map(|top| binder.top(name, input, top, retracts));
        let (top, ranked) = top.transpose()?.unzip();
        schema.extend(ranked.into_iter().flatten());
        let computed = self.columns.iter().flat_map(|columns| &columns.0);
        let ranked = self.top.iter().flat_map(|top| &top.get_ref().columns);
        let named = self.group_by.iter().chain(computed.map(|(name, _)| name)).chain(ranked);
        for name in named {
            if schema.iter().filter(|field| field.name == *name.get_ref()).count() > 1 {
                let rank = if top.is_some() { ", rank" } else { "" };
                let message = format!(
                    "there would be two columns \"{}\": a window gives its group, {START}, {END}{rank}, and its columns",
                    name.get_ref()
                );
                return Err(binder.at(name, message));
            }
        }

        let group = texts(&self.group_by);
        let emitted_once = emit == Emit::Close && lateness_us == 0;
        let change = match emitted_once {
            true => BoundChange::Append,
            false => {
                let mut key = group.clone();
                key.push(START.to_owned());
                // Cumulating windows begin together.
                let together = WindowCut::Cumulating;
                if matches!(kind, WindowKind::Aligned { cut, .. } if cut == together) {
                    key.push(END.to_owned());
                }
                key.extend(top.as_ref().map(|_| RANK.to_owned()));
                BoundChange::Keyed(Some(key))
            }
        };
        let origins = (0..schema.len())
            .map(|column| (binder.nodes.next_id(), 0, column))
            .collect();
        let out = BoundOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change,
        };
        let outputs = vec![out, binder.late_output(input, retracts)?];
        let window = BoundWindow {
            group,
            aggregates,
            top,
            kind,
            bounds,
            time,
            emit,
            lateness_us,
            retracts,
        };
        Ok(step.bound(input, window, outputs))
    }
}

/// The step, by the names of its columns.
struct BoundWindow {
    group: Vec<String>,
    aggregates: Vec<BoundAggregate>,
    top: Option<BoundTop>,
    kind: WindowKind,
    bounds: BoundsUnit,
    time: Option<(String, TimeScale)>,
    emit: Emit,
    lateness_us: i64,
    /// Whether rows of the input may be taken away again.
    retracts: bool,
}

impl BoundOperator for BoundWindow {
    fn reads(&self, node: &BoundNode, read: &[BTreeSet<String>]) -> Reads {
        // Whether a late row was to be taken away is no column of the input.
        let late = node
            .outputs
            .get(1)
            .map(|output| output.schema.as_slice())
            .unwrap_or_default();
        let late = late.iter().take(late.len().saturating_sub(usize::from(self.retracts)));
        let late = late
            .map(|field| &field.name)
            .filter(|name| read.get(1).is_some_and(|read| read.contains(*name)));
        let of_top = self.top.iter().flat_map(|top| {
            let is_read = |column: &&String| read.first().is_some_and(|read| read.contains(*column));
            top.columns.iter().filter(is_read).chain([&top.by])
        });
        let names = self
            .group
            .iter()
            .chain(self.time.iter().map(|(name, _)| name))
            .chain(columns_of(&self.aggregates, read.first()))
            .chain(of_top)
            .chain(late);
        vec![(node.input, names.cloned().collect())]
    }

    fn always_held(&self, _: &BoundNode) -> Vec<String> {
        // They say which row is meant.
        let rank = self.top.as_ref().map(|_| RANK);
        let bounds = [START, END].into_iter().chain(rank).map(str::to_owned);
        self.group.iter().cloned().chain(bounds).collect()
    }

    fn is_timer_driven(&self) -> bool {
        true
    }

    fn without_time(&self, node: &BoundNode) -> Option<String> {
        let out = node.outputs.first();
        let changes = out.is_some_and(|output| !matches!(output.change, BoundChange::Append));
        changes.then(|| format!("let the window \"{}\" emit each result once", node.name))
    }

    fn provenance(&self, node: &BoundNode, column: &str) -> Provenance {
        let is_column = |name: &String| name == column;
        let ranked = self.top.as_ref().is_some_and(|top| top.columns.iter().any(is_column));
        match column {
            _ if ranked || self.group.iter().any(is_column) => Provenance::copy(node.input, column),
            START | END => Provenance::Times(self.bounds.scale()),
            _ => provenance_of(&self.aggregates, node, column),
        }
    }

    fn plan(&self, layout: &Layout<'_>) -> Box<dyn OperatorPlan> {
        let own = |name: &&String| self.retracts && *name == RETRACTS;
        Box::new(WindowPlan {
            group: layout.own(&self.group),
            aggregates: layout.aggregates(&self.aggregates, self.retracts),
            retracts: self.retracts,
            top: self.top.as_ref().map(|top| TopPlan {
                n: top.n,
                by: layout.index(layout.node.input, &top.by),
                least: top.least,
                columns: layout.own(top.columns.iter().filter(|column| layout.is_held(0, column))),
            }),
            kind: self.kind.clone(),
            bounds: self.bounds,
            time: layout.time_column(self.time.as_ref()),
            emit: self.emit,
            lateness_us: self.lateness_us,
            late: layout.own(layout.held(1).filter(|name| !own(name))),
        })
    }
}

/// The outputs are the group, the window's start and end, then the aggregates, or rank and columns of the rows that
/// rank first; and the rows that came too late.
#[derive(Clone, Debug)]
pub struct WindowPlan {
    /// The group.
    pub group: Vec<usize>,
    /// What is computed, and read by somebody.
    pub aggregates: Vec<AggregateSpec>,
    /// Whether rows of the input may be taken away again. Also where nothing is computed: a window without rows is none.
    pub retracts: bool,
    /// The rows that are kept; then nothing is computed.
    pub top: Option<TopPlan>,
    /// The windows.
    pub kind: WindowKind,
    /// What the columns of their bounds count.
    pub bounds: BoundsUnit,
    /// The column that holds a row's time; that of its event, when absent.
    pub time: Option<TimeColumn>,
    /// When results are emitted.
    pub emit: Emit,
    /// How long after its end a window still takes rows in.
    pub lateness_us: i64,
    /// The columns of a row that is late.
    pub late: Vec<usize>,
}

/// The rows of a group and window that rank first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopPlan {
    /// How many.
    pub n: u32,
    /// The column that they are ranked by.
    pub by: usize,
    /// Whether the least values come first, and not the greatest.
    pub least: bool,
    /// The columns that are given of each.
    pub columns: Vec<usize>,
}

/// The windows that a row falls into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowKind {
    /// Cut by the clock.
    Aligned {
        /// How they are cut.
        cut: WindowCut,
        /// How long they are.
        size_us: i64,
        /// How far apart they begin; of cumulating ones, end.
        every_us: i64,
        /// The time zone whose clock it is.
        zone: Option<String>,
        /// How much later than midnight of 1970-01-01 one of them begins.
        offset_us: i64,
    },
    /// They end where nothing came for so long.
    Session {
        /// How long.
        gap_us: i64,
    },
}

/// How windows are cut by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowCut {
    /// One after the other, or overlapping.
    Hopping,
    /// Growing until they are full.
    Cumulating,
}

/// When a window emits its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Once it has ended.
    Close,
    /// Whenever they change.
    Update,
    /// At this interval of event time, in microseconds, while they change, and once it has ended.
    Early(i64),
}

impl WindowPlan {
    /// Whether a row falls into several windows, each of which is emitted once.
    pub fn overlap_and_end_once(&self) -> bool {
        let overlap = matches!(self.kind, WindowKind::Aligned { size_us, every_us, .. } if size_us > every_us);
        overlap && self.emit == Emit::Close && self.lateness_us == 0
    }
}

impl OperatorPlan for WindowPlan {
    fn follows_time(&self) -> bool {
        true
    }

    fn late_outputs(&self) -> &'static [usize] {
        &[1]
    }

    fn takes_back(&self) -> bool {
        true
    }

    fn aggregates(&self) -> &[AggregateSpec] {
        &self.aggregates
    }

    fn fingerprint(&self, at: At<'_>, form: StateForm) -> String {
        let kind = match &self.kind {
            WindowKind::Session { gap_us } => format!("sessions with gaps of {}", span(*gap_us)),
            WindowKind::Aligned {
                cut,
                size_us,
                every_us,
                zone,
                offset_us,
            } => {
                let (cut, zone) = (format!("{cut:?}").to_lowercase(), zone.as_deref().unwrap_or("UTC"));
                let [size, every, offset] = [size_us, every_us, offset_us].map(|us| span(*us));
                format!("{cut} windows of {size} every {every} by {zone} from {offset}")
            }
        };
        // Where nothing is computed, databases of windows that do not overlap hold it without these words.
        let says = !self.aggregates.is_empty() || self.overlap_and_end_once();
        let changes = if self.retracts && says { " of a changelog" } else { "" };
        let kept = match &self.top {
            None => function_states(&self.aggregates, form),
            Some(top) => {
                let order = if top.least { "least" } else { "greatest" };
                let by = at.typed(at.node.input, &[top.by]);
                format!("the {} rows with the {order} {by}", top.n)
            }
        };
        let counted = counted(self.time);
        let bounds = match self.bounds {
            BoundsUnit::Milliseconds => "",
            BoundsUnit::Microseconds => " told in microseconds",
        };
        let (group, output) = (self.group.len(), at.output());
        format!("{kind}{counted}{bounds} ({kept}){changes} by the first {group} of {output}")
    }

    fn describe(&self, at: At<'_>) -> String {
        let functions = match &self.top {
            None => functions(at, &self.aggregates),
            Some(top) => {
                let order = if top.least { "least" } else { "greatest" };
                format!("the {} rows with the {order} {}", top.n, at.own_names(&[top.by]))
            }
        };
        format!("{} {}: {functions}", self.kind, groups(at, &self.group))
    }
}

/// As a sentence names them.
impl fmt::Display for WindowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session { gap_us } => write!(f, "sessions with gaps of {}", duration(*gap_us)),
            Self::Aligned {
                cut,
                size_us,
                every_us,
                zone,
                ..
            } => {
                let (size, every) = (duration(*size_us), duration(*every_us));
                match cut {
                    WindowCut::Hopping if size_us == every_us => write!(f, "windows of {size}")?,
                    WindowCut::Hopping => write!(f, "windows of {size} every {every}")?,
                    WindowCut::Cumulating => write!(f, "windows that grow by {every} to {size}")?,
                }
                zone.as_ref().map_or(Ok(()), |zone| write!(f, " in {zone}"))
            }
        }
    }
}

impl Binder<'_> {
    /// The output for rows of `input` that came too late.
    pub(super) fn late_output(&self, input: OutputPort, retracts: bool) -> Result<BoundOutput> {
        let source = self.output(input)?;
        let (mut schema, mut origins) = (source.schema.clone(), source.origins.clone());
        if retracts {
            origins.push((self.nodes.next_id(), 1, schema.len()));
            schema.push(Field {
                name: RETRACTS.to_owned(),
                column_type: ColumnType::Boolean,
                nullable: false,
            });
        }
        Ok(BoundOutput {
            name: "late".to_owned(),
            schema,
            origins,
            change: BoundChange::Append,
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
        if matches!(source.change, BoundChange::Append) {
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

    fn window_kind(&self, step: &StepAt<'_>, window: &Window) -> Result<WindowKind> {
        window.one_kind(step, self)?;
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
            _ => return Err(self.error(step.span(), "no kind of window")),
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

    /// Where the bounds of windows are emitted in milliseconds, no two windows may be emitted as one.
    fn check_shown(&self, window: &Window, text: &Name, key: &str, fits: bool) -> Result<()> {
        let in_us = matches!(&window.bounds_unit, Some(unit) if *unit.get_ref() == BoundsUnit::Microseconds);
        if fits || in_us {
            return Ok(());
        }
        let message = format!(
            "key `{key}` is \"{}\", and windows emit their bounds in whole milliseconds; say bounds_unit = \"us\" beside it",
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
