//! What guests say of themselves.

use super::ParameterSpec;
use crate::model::column::{ColumnType, Field};

/// What a stage reads, gives, and can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The rule's name.
    pub name: String,
    /// The rule's version.
    pub version: String,
    /// What it does.
    pub doc: String,
    /// The columns that it reads.
    pub inputs: Vec<Field>,
    /// Whether it reads the time of each row.
    pub reads_time: bool,
    /// Its outputs, at least one.
    pub outputs: Vec<OutputSpec>,
    /// Its parameters.
    pub parameters: Vec<ParameterSpec>,
}

/// One output of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    /// The output's name.
    pub name: String,
    /// Columns that go through unchanged: name on the way in, name on the way out.
    pub passed: Vec<(String, String)>,
    /// Columns that the rule computes.
    pub computed: Vec<Field>,
}

/// What an aggregate reads, gives, and can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateDescription {
    /// The aggregate's name.
    pub name: String,
    /// The aggregate's version.
    pub version: String,
    /// What it is.
    pub doc: String,
    /// The columns that it reads.
    pub inputs: Vec<Field>,
    /// Its parameters.
    pub parameters: Vec<ParameterSpec>,
    /// What it gives for a group.
    pub result: ResultColumn,
    /// Whether rows can be taken back.
    pub retracts: bool,
    /// Whether two groups can be made into one.
    pub merges: bool,
    /// What a state looks like. A module goes on with the states of another only where both say the same.
    pub state: String,
}

/// The column of an aggregate's results, which the pipeline names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultColumn {
    /// The type.
    pub column_type: ColumnType,
    /// Whether a result may be null.
    pub nullable: bool,
}
