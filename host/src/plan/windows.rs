//! Windows and joins by time in a plan.

use super::{AggregateSpec, OutputPort, TimeColumn};
use crate::definition::BoundsUnit;

/// `window`: the outputs are the group, the window's start and end, then the aggregates, or rank and columns of the rows that
/// rank first; and the rows that came too late.
#[derive(Clone, Debug)]
pub struct WindowPlan {
    /// The group.
    pub group: Vec<usize>,
    /// What is computed.
    pub aggregates: Vec<AggregateSpec>,
    /// The rows that are kept; then nothing is computed.
    pub top: Option<TopPlan>,
    /// The windows.
    pub kind: WindowKind,
    /// What the columns of their bounds count.
    pub bounds: BoundsUnit,
    /// The column that holds a row's time; that of its event, when absent.
    pub time: Option<TimeColumn>,
    /// When results are told.
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

/// When the results of a window are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Once it has ended.
    Close,
    /// Whenever they change.
    Update,
    /// At this interval of event time, in microseconds, while they change, and once it has ended.
    Early(i64),
}

/// `interval_join`: the outputs are columns of the input, then of the other edge; and the rows of each that came too late.
#[derive(Clone, Debug)]
pub struct IntervalJoinPlan {
    /// Where the other rows come from.
    pub with_port: OutputPort,
    /// The step's own rows.
    pub own: JoinSidePlan,
    /// The others.
    pub with: JoinSidePlan,
    /// By how much a row of the others is later at least.
    pub earliest_us: i64,
    /// By how much it is later at most.
    pub latest_us: i64,
}

/// One side of a join.
#[derive(Clone, Debug)]
pub struct JoinSidePlan {
    /// The columns that are compared.
    pub key: Vec<usize>,
    /// The columns that come out.
    pub held: Vec<usize>,
    /// The columns of a row that is late.
    pub late: Vec<usize>,
}

/// `window` that slides: the first output is what is passed on of the input, then the aggregates; where it is one of time,
/// the other is the rows that came too late.
#[derive(Clone, Debug)]
pub struct OverWindowPlan {
    /// The group.
    pub group: Vec<usize>,
    /// The columns that are passed on.
    pub passed: Vec<usize>,
    /// What is computed.
    pub aggregates: Vec<AggregateSpec>,
    /// How far back a row sees.
    pub span: OverWindowSpan,
    /// After how long without a row a group is forgotten. Only where so many rows are seen.
    pub ttl_us: Option<i64>,
    /// The column that holds a row's time; that of its event, when absent.
    pub time: Option<TimeColumn>,
    /// The columns of a row that is late.
    pub late: Vec<usize>,
}

/// How far back a row sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverWindowSpan {
    /// So many rows of its group, itself included.
    Rows(u64),
    /// The rows of its group of so many microseconds.
    Time(i64),
}
