//! What guests say of themselves.

use super::ParameterSpec;
use crate::model::{
    column::{ColumnType, Field, Layout},
    column_type::DECIMAL,
    decimal::DecimalType,
};
use std::fmt;

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
    pub inputs: Vec<InputColumn>,
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
    /// Whether more than one row can come of one row.
    pub many: bool,
}

/// A column that a guest reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputColumn {
    /// The name.
    pub name: String,
    /// The types that it copes with.
    pub accepts: InputType,
    /// Whether it copes with nulls.
    pub nullable: bool,
}

impl From<Field> for InputColumn {
    fn from(field: Field) -> Self {
        Self {
            name: field.name,
            accepts: InputType::Is(field.column_type),
            nullable: field.nullable,
        }
    }
}

/// Which columns can be given to a guest where it reads one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputType {
    /// Those of this type; of a decimal those whose digits on both sides of the point are no more.
    Is(ColumnType),
    /// Decimals of however many digits.
    AnyDecimal,
}

impl InputType {
    /// Whether a column of that type can be given.
    pub fn takes(self, given: ColumnType) -> bool {
        match (self, given) {
            (Self::AnyDecimal, ColumnType::Decimal(_)) => true,
            (Self::Is(ColumnType::Decimal(most)), ColumnType::Decimal(given)) => {
                let before_point = |decimal: DecimalType| decimal.precision() - decimal.scale();
                given.scale() <= most.scale() && before_point(given) <= before_point(most)
            }
            (Self::Is(wanted), given) => wanted == given,
            (Self::AnyDecimal, _) => false,
        }
    }

    /// How the values of such columns lie in memory.
    pub fn layout(self) -> Layout {
        match self {
            Self::Is(column_type) => column_type.layout(),
            Self::AnyDecimal => Layout::Decimal,
        }
    }
}

impl fmt::Display for InputType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(column_type) => column_type.fmt(f),
            Self::AnyDecimal => f.write_str(DECIMAL),
        }
    }
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
    pub inputs: Vec<InputColumn>,
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

/// What a keyed function reads, gives, and can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyedDescription {
    /// The function's name.
    pub name: String,
    /// The function's version.
    pub version: String,
    /// What it does.
    pub doc: String,
    /// The columns that it reads.
    pub inputs: Vec<InputColumn>,
    /// Whether it reads "now" of each row.
    pub reads_time: bool,
    /// Whether it reads the event time of each row.
    pub reads_event_time: bool,
    /// Whether it sets timers.
    pub timers: bool,
    /// Its outputs, at least one. The columns of the key come first in each, and are not among these.
    pub outputs: Vec<OutputSpec>,
    /// Its parameters.
    pub parameters: Vec<ParameterSpec>,
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
