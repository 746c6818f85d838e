//! Steps that pass rows on: all of them, or some, or with columns of others.

use super::OutputPort;

/// `on_crossing`: the outputs are the rows that raised a key, and those that cleared one.
#[derive(Clone, Debug)]
pub struct OnCrossingPlan {
    /// The key.
    pub key: Vec<usize>,
    /// The column that says whether a row raises its key; where absent, it does so by being there.
    pub raise: Option<usize>,
    /// The column that says whether a row keeps its key raised.
    pub hold: Option<usize>,
    /// Whether rows of the input may be taken away again.
    pub retracts: bool,
    /// After how long without a row a key is forgotten.
    pub ttl_us: Option<i64>,
    /// The columns of each output.
    pub passed: [Vec<usize>; 2],
}

/// `deduplicate`: the outputs are the rows that pass, and, within a time, those that are late.
#[derive(Clone, Debug)]
pub struct DeduplicatePlan {
    /// The columns in which twins are alike.
    pub key: Vec<usize>,
    /// How far apart rows are that are no twins any more; for ever, when absent.
    pub within_us: Option<i64>,
    /// The columns of each output.
    pub passed: Vec<Vec<usize>>,
}

/// `lookup` in versions: the outputs are columns of the input and then of the versions; the late rows; the late versions.
#[derive(Clone, Debug)]
pub struct TemporalJoinPlan {
    /// Where the versions come from.
    pub versions: OutputPort,
    /// The columns of the input that are looked up.
    pub on: Vec<usize>,
    /// The columns of the versions that have to equal them.
    pub version_key: Vec<usize>,
    /// The columns of the input that go on.
    pub passed: Vec<usize>,
    /// The columns of the versions that are added.
    pub added: Vec<usize>,
    /// The columns of a late row.
    pub late: Vec<usize>,
    /// The columns of a late version.
    pub late_versions: Vec<usize>,
    /// How long a version is valid at most.
    pub ttl_us: Option<i64>,
}

/// `union`: the output is the rows of several edges.
#[derive(Clone, Debug)]
pub struct UnionPlan {
    /// The edges after the first, which is [`Node::input`](super::Node::input).
    pub others: Vec<OutputPort>,
    /// For each of all edges the columns that go on.
    pub columns: Vec<Vec<usize>>,
}
