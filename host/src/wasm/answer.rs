//! Answers of guests, checked against what they said of themselves. What passes here is used without a further look.

use super::check::{check_column, shorten};
use crate::model::guest::{Answer, Description, OutputRows, OutputSpec};

/// An answer to `row_count` rows that keeps the contract, with at most `most` rows of an output for each.
///
/// # Errors
/// Which promise of the contract it breaks.
pub(super) fn checked(
    mut given: Answer,
    row_count: u32,
    description: &Description,
    most: usize,
) -> Result<Answer, String> {
    check_outputs(&mut given.outputs, row_count, &description.outputs, most)?;
    let rejected = given.rejected.iter().map(|rejected| rejected.row);
    check_rows(rejected, row_count, 1).map_err(|what| format!("among the rejected rows: {what}"))?;
    if !given.rejected.is_empty() {
        let mut kept = vec![false; row_count as usize];
        for &row in given.outputs.iter().flat_map(|output| &output.rows) {
            if let Some(kept) = kept.get_mut(row as usize) {
                *kept = true;
            }
        }
        let is_kept = |row: u32| kept.get(row as usize) == Some(&true);
        if let Some(both) = given.rejected.iter().find(|rejected| is_kept(rejected.row)) {
            return Err(format!("row {} is both rejected and in an output", both.row));
        }
    }
    let Answer { outputs, mut rejected } = given;
    for rejected in &mut rejected {
        rejected.reason = shorten(std::mem::take(&mut rejected.reason));
    }
    Ok(Answer { outputs, rejected })
}

/// Checks what goes to the outputs that a guest described, and brings lists into their form.
///
/// # Errors
/// Which promise of the contract it breaks.
pub(super) fn check_outputs(
    given: &mut [OutputRows],
    row_count: u32,
    described: &[OutputSpec],
    most: usize,
) -> Result<(), String> {
    if given.len() != described.len() {
        let (found, said) = (given.len(), described.len());
        return Err(format!("it answered with {found} outputs instead of {said}"));
    }
    for (output, spec) in given.iter_mut().zip(described) {
        let broken = |what: String| format!("in output \"{}\": {what}", spec.name);
        let (most, rows) = (if spec.many { most } else { 1 }, output.rows.len());
        check_rows(output.rows.iter().copied(), row_count, most).map_err(broken)?;
        if output.computed.len() != spec.computed.len() {
            let (found, said) = (output.computed.len(), spec.computed.len());
            return Err(broken(format!("it answered with {found} columns instead of {said}")));
        }
        for (column, field) in output.computed.iter_mut().zip(&spec.computed) {
            check_column(column, field.column_type, field.nullable, rows)
                .map_err(|what| broken(format!("column \"{}\": {what}", field.name)))?;
        }
    }
    Ok(())
}

/// Checks that the numbers of rows are there, ascend, and that none comes more often than `most` times.
fn check_rows(rows: impl Iterator<Item = u32>, row_count: u32, most: usize) -> Result<(), String> {
    let (mut last, mut times) = (None, 0);
    for row in rows {
        if row >= row_count {
            return Err(format!("row {row} of a batch of {row_count}"));
        }
        times = if last == Some(row) { times + 1 } else { 1 };
        if last.is_some_and(|last| row < last) || times > most && most == 1 {
            return Err(format!("row {row} comes again or after a later one"));
        }
        if times > most {
            return Err(format!(
                "more than {most} rows of row {row}; key `limits.rows_per_row` of the step says how many there may be"
            ));
        }
        last = Some(row);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        column::{Column, ColumnType, Field, TextValues, Values},
        guest::RejectedRow,
    };

    fn description() -> Description {
        Description {
            name: "test".into(),
            version: "1".into(),
            doc: String::new(),
            inputs: vec![],
            reads_time: false,
            outputs: vec![OutputSpec {
                name: "out".into(),
                passed: vec![],
                computed: vec![
                    Field {
                        name: "text".into(),
                        column_type: ColumnType::Text,
                        nullable: true,
                    },
                    Field {
                        name: "double".into(),
                        column_type: ColumnType::Double,
                        nullable: false,
                    },
                ],
                many: false,
            }],
            parameters: vec![],
        }
    }

    fn text(offsets: &[u32], data: &[u8]) -> Column {
        let texts = TextValues {
            offsets: offsets.to_vec(),
            data: data.to_vec(),
        };
        Column {
            validity: None,
            values: Values::Text(texts),
        }
    }

    fn doubles(values: &[f64]) -> Column {
        Column {
            validity: None,
            values: Values::Double(values.to_vec()),
        }
    }

    fn answer(rows: &[u32], text: Column, double: Column) -> Answer {
        Answer {
            outputs: vec![OutputRows {
                rows: rows.to_vec(),
                computed: vec![text, double],
            }],
            rejected: vec![],
        }
    }

    #[track_caller]
    fn check(answer: Answer, expected: &str) {
        let found = checked(answer, 4, &description(), 3).map(|_| ()).unwrap_err();
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn a_right_answer_passes() {
        let good = answer(&[0, 3], text(&[0, 3, 6], "保单".as_bytes()), doubles(&[1.0, -0.0]));
        let found = checked(good, 4, &description(), 3).unwrap();
        assert_eq!(found.outputs[0].rows, [0, 3]);
        assert_eq!(
            found.outputs[0].computed[0].get(1),
            crate::model::column::Value::Text("单".as_bytes())
        );
    }

    #[test]
    fn broken_answers_are_named() {
        let fine = || doubles(&[0.0, 0.0]);
        check(
            Answer {
                outputs: vec![],
                rejected: vec![],
            },
            "0 outputs instead of 1",
        );
        check(answer(&[0, 4], text(&[0, 0, 0], b""), fine()), "row 4 of a batch of 4");
        check(answer(&[1, 1], text(&[0, 0, 0], b""), fine()), "row 1 comes again");
        check(
            answer(&[2, 1], text(&[0, 0, 0], b""), fine()),
            "row 1 comes again or after",
        );
        check(answer(&[0, 1], text(&[0, 0], b""), fine()), "1 texts for 2 rows");
        check(answer(&[0, 1], text(&[], b""), fine()), "texts for 2 rows");
        check(answer(&[0, 1], text(&[0, 2, 1], b"a"), fine()), "descend");
        check(answer(&[0, 1], text(&[0, 1, 1], b"ab"), fine()), "end with the data");
        check(answer(&[0, 1], text(&[0, 1, 2], &[0xff, 0xfe]), fine()), "not UTF-8");
        check(
            answer(&[0, 1], text(&[0, 1, 3], "保".as_bytes()), fine()),
            "within a character, at byte 1",
        );
        check(answer(&[0, 1], text(&[0, 0, 0], b""), doubles(&[f64::NAN, 0.0])), "NaN");
        check(
            answer(&[0, 1], text(&[0, 0, 0], b""), doubles(&[0.0])),
            "1 values for 2 rows",
        );
        let ints = Column {
            validity: None,
            values: Values::Int(vec![1, 2]),
        };
        check(
            answer(&[0, 1], text(&[0, 0, 0], b""), ints),
            "int values, though it is described as double",
        );
        let null = Column {
            validity: Some(vec![1, 0]),
            ..fine()
        };
        check(answer(&[0, 1], text(&[0, 0, 0], b""), null), "a null");
        let odd = Column {
            validity: Some(vec![1, 7]),
            ..fine()
        };
        check(answer(&[0, 1], text(&[0, 0, 0], b""), odd), "validity byte 7");
        let mut both = answer(&[0, 1], text(&[0, 0, 0], b""), fine());
        both.rejected.push(RejectedRow {
            row: 1,
            reason: String::new(),
            failed: false,
        });
        check(both, "row 1 is both rejected and in an output");
    }

    #[test]
    fn one_row_may_give_many_where_that_is_described_and_up_to_the_bound() {
        let answer = |rows: &[u32]| {
            let offsets = vec![0; rows.len() + 1];
            answer(rows, text(&offsets, b""), doubles(&vec![0.0; rows.len()]))
        };
        let mut many = description();
        many.outputs[0].many = true;
        let found = |rows: &[u32]| checked(answer(rows), 4, &many, 2).map(|found| found.outputs[0].rows.len());
        assert_eq!(found(&[0, 0, 2, 3, 3]), Ok(5));
        assert_eq!(
            found(&[1, 3, 3, 3]),
            Err("in output \"out\": more than 2 rows of row 3; key `limits.rows_per_row` of the step says how many there may be".into())
        );
        assert_eq!(
            found(&[1, 0]),
            Err("in output \"out\": row 0 comes again or after a later one".into())
        );
    }

    #[test]
    fn what_stands_at_a_null_row_does_not_matter() {
        let nan = Column {
            validity: Some(vec![1, 0]),
            ..doubles(&[1.0, f64::NAN])
        };
        let mut nullable = description();
        nullable.outputs[0].computed[1].nullable = true;
        assert!(checked(answer(&[0, 1], text(&[0, 0, 0], b""), nan), 4, &nullable, 1).is_ok());
    }
}
