//! Results of aggregates, checked.

use crate::{
    model::{column::Column, guest::ResultColumn},
    wasm::check::check_column,
};

/// Takes as many results from a guest as were asked for.
///
/// # Errors
/// Which promise of the contract they break.
pub(super) fn results(mut given: Column, wanted: ResultColumn, count: usize) -> Result<Column, String> {
    check_column(&mut given, wanted.column_type, wanted.nullable, count)
        .map_err(|what| format!("in the results: {what}"))?;
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::column::{ColumnType, Values};

    #[test]
    fn results_are_of_the_type_that_was_described() {
        let given = || Column {
            validity: Some(vec![1, 0]),
            values: Values::Double(vec![1.0, f64::NAN]),
        };
        let wanted = |column_type, nullable| ResultColumn { column_type, nullable };
        assert!(results(given(), wanted(ColumnType::Double, true), 2).is_ok());
        for (wanted, count, expected) in [
            (wanted(ColumnType::Double, false), 2, "in the results: a null, though"),
            (
                wanted(ColumnType::Int, true),
                2,
                "in the results: double values, though",
            ),
            (
                wanted(ColumnType::Double, true),
                3,
                "in the results: 2 validity bytes for 3 rows",
            ),
        ] {
            let found = results(given(), wanted, count).unwrap_err();
            assert!(found.starts_with(expected), "{found}");
        }
    }
}
