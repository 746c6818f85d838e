//! Aggregate functions, for the steps that have them.

use super::Edge;
use crate::{
    generator::{choices::Choices, model::Aggregate},
    table::Cell,
};
use std::fmt::Write;
use weir::model::column::ColumnType::{self, Decimal, Double, Int, Json, List};

/// Functions, with the names of their results.
#[derive(Clone, Debug)]
pub struct Functions {
    /// What is computed.
    pub aggregates: Vec<Aggregate>,
    /// The columns that hold it.
    pub names: Vec<String>,
}

impl Functions {
    /// Some functions of a step with this number. In order are rows of which there is a first and a last one.
    pub(super) fn draw(choices: &mut Choices<'_>, input: &Edge, number: usize, in_order: bool) -> Self {
        let aggregates: Vec<Aggregate> = (0..=choices.below(4)).map(|_| one(choices, input, in_order)).collect();
        let names = (0..aggregates.len()).map(|at| format!("a{number}_{at}")).collect();
        Self { aggregates, names }
    }

    /// Functions by name: result, function, and the column of it, or `*`.
    ///
    /// # Panics
    /// When there is no such column.
    pub fn of(input: &Edge, functions: &[(&str, &'static str, &str)]) -> Self {
        let aggregate = |&(_, function, column): &(&str, &'static str, &str)| Aggregate {
            function,
            column: (column != "*").then(|| input.column(column).expect("there is such a column")),
            coalesce: None,
            decimal: None,
        };
        Self {
            aggregates: functions.iter().map(aggregate).collect(),
            names: functions.iter().map(|(name, ..)| (*name).to_owned()).collect(),
        }
    }

    /// The columns of the results.
    pub(super) fn columns(&self, input: &Edge) -> Vec<(String, ColumnType)> {
        let result = |(name, aggregate): (&String, &Aggregate)| {
            let result = match aggregate.function {
                "count" | "count_distinct" => Int,
                "avg" => Double,
                function => match (function, aggregate.column.map_or(Int, |column| input.columns[column].1)) {
                    ("sum", Decimal(decimal)) => Decimal(decimal.of_sum()),
                    (_, column_type) => column_type,
                },
            };
            (name.clone(), result)
        };
        self.names.iter().zip(&self.aggregates).map(result).collect()
    }

    /// Their lines.
    pub(super) fn write(&self, input: &Edge) -> String {
        let mut text = String::new();
        for (name, aggregate) in self.names.iter().zip(&self.aggregates) {
            let column = aggregate.column.map_or("*", |column| &input.columns[column].0);
            let coalesce = aggregate.coalesce.as_ref();
            let coalesce = coalesce.map_or(String::new(), |instead| format!(", coalesce = {instead:?}"));
            let _ = writeln!(text, "{name} = {{ {} = \"{column}\"{coalesce} }}", aggregate.function);
        }
        text
    }
}

fn one(choices: &mut Choices<'_>, input: &Edge, in_order: bool) -> Aggregate {
    let column = choices.below(input.columns.len());
    let column_type = input.columns[column].1;
    let mut functions = vec!["count", "count_distinct"];
    // The table of a wide decimal holds texts, which have another order.
    let is_wide = matches!(column_type, Decimal(decimal) if decimal.precision() > 15);
    let has_order = !is_wide && !matches!(column_type, Json | List(_));
    functions.extend(if has_order { &["min", "max"][..] } else { &[] });
    functions.extend(if matches!(column_type, Decimal(_)) {
        &["sum"][..]
    } else {
        &[]
    });
    let is_number = matches!(column_type, Int | Double);
    functions.extend(if is_number { &["sum", "avg"][..] } else { &[] });
    functions.extend(if in_order { &["first", "last"][..] } else { &[] });
    let function = choices.one_of(&functions);
    let coalesce = match (function, choices.below(3), column_type) {
        ("sum" | "avg", 1, Int) => Some(Cell::Int(7)),
        ("sum" | "avg", 1, Double) => Some(Cell::Double(0.5)),
        _ => None,
    };
    let every_row = function == "count" && choices.below(2) == 0;
    Aggregate {
        function,
        column: (!every_row).then_some(column),
        coalesce,
        decimal: match column_type {
            Decimal(decimal) => Some(decimal.scale()),
            _ => None,
        },
    }
}
