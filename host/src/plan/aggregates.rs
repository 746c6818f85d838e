//! Aggregates in a plan: their functions, and the columns that they read.

use crate::{
    definition::StageLimits,
    model::{
        column::ColumnType,
        decimal::DecimalType,
        guest::{AggregateModule, ParameterValue},
    },
};
use std::sync::Arc;

/// One aggregate.
#[derive(Clone, Debug)]
pub struct AggregateSpec {
    /// The name of the resulting column.
    pub name: String,
    /// What is computed.
    pub function: Function,
    /// Of which column; absent to count rows, and where a guest computes it.
    pub column: Option<usize>,
    /// The type of that column; of a guest, that of its results.
    pub column_type: ColumnType,
    /// What a null counts as.
    pub coalesce: Option<f64>,
    /// Which quantile, of [`Function::Quantile`].
    pub q: Option<f64>,
    /// How many digits of a mean of decimals stand behind the point.
    pub scale: Option<u8>,
    /// Whether rows may be taken away again.
    pub retracts: bool,
    /// The guest, where the function is one.
    pub guest: Option<Arc<AggregateGuest>>,
}

/// An aggregate of the user's own.
#[derive(Debug)]
pub struct AggregateGuest {
    /// The component.
    pub module: Arc<AggregateModule>,
    /// Every parameter that it has, in the order of its description.
    pub parameters: Vec<(String, ParameterValue)>,
    /// Bounds.
    pub limits: StageLimits,
    /// For each column that it reads, the column of the input.
    pub inputs: Vec<usize>,
    /// The types of those columns.
    pub input_types: Vec<ColumnType>,
    /// Whether rows are taken back from it.
    pub retracts: bool,
}

impl AggregateGuest {
    /// What it says of its states: modules that say the same go on with those of each other.
    pub(crate) fn states(&self) -> String {
        let description = &self.module.description;
        format!("{} with states {}", description.name, description.state)
    }

    /// Its parameters, as a text.
    pub(crate) fn listed_parameters(&self) -> String {
        let parameters = self.parameters.iter().map(|(name, value)| format!("{name} = {value}"));
        parameters.collect::<Vec<_>>().join(", ")
    }
}

impl AggregateSpec {
    /// What the results are, of a sum or a mean of decimals.
    pub fn result_decimal(&self) -> Option<DecimalType> {
        let ColumnType::Decimal(decimal) = self.column_type else {
            return None;
        };
        match (self.function, self.scale) {
            (Function::Avg, Some(scale)) => DecimalType::new(DecimalType::PRECISION_MAX, scale),
            _ => Some(decimal.of_sum()),
        }
    }

    /// How many digits more a mean of decimals has behind the point than these.
    pub fn more_places(&self) -> u8 {
        let (ColumnType::Decimal(decimal), Some(scale)) = (self.column_type, self.scale) else {
            return 0;
        };
        scale.saturating_sub(decimal.scale())
    }

    /// Whether the operator keeps the values themselves, each with the number of rows that hold it.
    pub fn tells_values_apart(&self) -> bool {
        match self.function {
            Function::CountDistinct => true,
            Function::Min | Function::Max => self.retracts,
            _ => false,
        }
    }
}

/// What an aggregate computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// The sum.
    Sum,
    /// The number of rows, or of values.
    Count,
    /// The number of different values.
    CountDistinct,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The mean.
    Avg,
    /// The number of different values, about.
    ApproxCountDistinct,
    /// A quantile, nearly.
    Quantile,
    /// The value of the earliest row that has one.
    First,
    /// The value of the latest row that has one.
    Last,
    /// What a guest makes of the rows.
    Guest,
}

impl Function {
    /// Whether it matters which row was first. Such values cannot be taken away again.
    pub fn needs_order(self) -> bool {
        matches!(self, Self::First | Self::Last)
    }

    /// Whether a value that was added can be taken away again.
    pub fn takes_back(self) -> bool {
        !self.needs_order() && self != Self::ApproxCountDistinct
    }

    /// The name used in pipeline files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Count => "count",
            Self::CountDistinct => "count_distinct",
            Self::Min => "min",
            Self::Max => "max",
            Self::Avg => "avg",
            Self::ApproxCountDistinct => "approx_count_distinct",
            Self::Quantile => "quantile",
            Self::First => "first",
            Self::Last => "last",
            Self::Guest => "module",
        }
    }
}
