//! Answers of guests, checked against what they said of themselves. What passes here is used without a further look.

use super::{
    bindings::exports::weir::stage::stage as abi,
    check::{check_column, shorten},
    description::Description,
    translate::of_stage::column_of,
};
use crate::model::column::Column;

/// A checked answer to a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// One entry per output of the description.
    pub outputs: Vec<OutputRows>,
    /// Rows that the rule could not judge, ascending.
    pub rejected: Vec<RejectedRow>,
}

/// What goes to one output.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputRows {
    /// The numbers of the rows, ascending.
    pub rows: Vec<u32>,
    /// The computed columns, one value per entry of `rows`.
    pub computed: Vec<Column>,
}

/// A row that becomes a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRow {
    /// The number of the row.
    pub row: u32,
    /// A sentence for a person.
    pub reason: String,
    /// Whether it is not the rule that rejects it: it made the guest trap, run too long, or answer wrongly.
    pub failed: bool,
}

impl Answer {
    /// Takes an answer to `row_count` rows from a guest.
    ///
    /// # Errors
    /// Which promise of the contract it breaks.
    pub(super) fn from_guest(given: abi::Answer, row_count: u32, description: &Description) -> Result<Self, String> {
        if given.outputs.len() != description.outputs.len() {
            let (found, said) = (given.outputs.len(), description.outputs.len());
            return Err(format!("it answered with {found} outputs instead of {said}"));
        }
        let mut kept = vec![
            false;
            if given.rejected.is_empty() {
                0
            } else {
                row_count as usize
            }
        ];
        let mut outputs = Vec::with_capacity(given.outputs.len());
        for (output, spec) in given.outputs.into_iter().zip(&description.outputs) {
            let broken = |what: String| format!("in output \"{}\": {what}", spec.name);
            check_rows(output.rows.iter().copied(), row_count).map_err(broken)?;
            for &row in &output.rows {
                if let Some(kept) = kept.get_mut(row as usize) {
                    *kept = true;
                }
            }
            if output.computed.len() != spec.computed.len() {
                let (found, said) = (output.computed.len(), spec.computed.len());
                return Err(broken(format!("it answered with {found} columns instead of {said}")));
            }
            let mut computed = Vec::with_capacity(spec.computed.len());
            for (column, field) in output.computed.into_iter().zip(&spec.computed) {
                let column = column_of(column);
                check_column(&column, field.column_type, field.nullable, output.rows.len())
                    .map_err(|what| broken(format!("column \"{}\": {what}", field.name)))?;
                computed.push(column);
            }
            outputs.push(OutputRows {
                rows: output.rows,
                computed,
            });
        }
        check_rows(given.rejected.iter().map(|rejected| rejected.row), row_count)
            .map_err(|what| format!("among the rejected rows: {what}"))?;
        if let Some(both) = given
            .rejected
            .iter()
            .find(|rejected| kept.get(rejected.row as usize) == Some(&true))
        {
            return Err(format!("row {} is both rejected and in an output", both.row));
        }
        let rejected = given.rejected.into_iter().map(|rejected| RejectedRow {
            row: rejected.row,
            reason: shorten(rejected.reason),
            failed: false,
        });
        Ok(Self {
            outputs,
            rejected: rejected.collect(),
        })
    }

    /// Adds the answer to the rows from `offset` on, which come after all rows of this one.
    pub(super) fn append(&mut self, more: Self, offset: u32) {
        if self.outputs.is_empty() {
            self.outputs = more
                .outputs
                .iter()
                .map(|output| OutputRows {
                    rows: Vec::new(),
                    computed: output
                        .computed
                        .iter()
                        .map(|c| Column::with_capacity(c.column_type(), 0))
                        .collect(),
                })
                .collect();
        }
        for (output, more) in self.outputs.iter_mut().zip(more.outputs) {
            output.rows.extend(more.rows.iter().map(|row| row + offset));
            for (column, more) in output.computed.iter_mut().zip(&more.computed) {
                column.extend(more);
            }
        }
        self.rejected.extend(more.rejected.into_iter().map(|r| RejectedRow {
            row: r.row + offset,
            ..r
        }));
    }
}

fn check_rows(rows: impl Iterator<Item = u32>, row_count: u32) -> Result<(), String> {
    let mut next = 0;
    for row in rows {
        if row >= row_count {
            return Err(format!("row {row} of a batch of {row_count}"));
        }
        if row < next {
            return Err(format!("row {row} comes again or after a later one"));
        }
        next = row + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::column::{ColumnType, Field},
        wasm::OutputSpec,
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
            }],
            parameters: vec![],
        }
    }

    fn text(offsets: &[u32], data: &[u8]) -> abi::ColumnResult {
        let texts = abi::TextValuesResult {
            offsets: offsets.to_vec(),
            data: data.to_vec(),
        };
        abi::ColumnResult {
            validity: None,
            values: abi::ColumnValuesResult::Text(texts),
        }
    }

    fn doubles(values: &[f64]) -> abi::ColumnResult {
        abi::ColumnResult {
            validity: None,
            values: abi::ColumnValuesResult::Double(values.to_vec()),
        }
    }

    fn answer(rows: &[u32], text: abi::ColumnResult, double: abi::ColumnResult) -> abi::Answer {
        abi::Answer {
            outputs: vec![abi::OutputRows {
                rows: rows.to_vec(),
                computed: vec![text, double],
            }],
            rejected: vec![],
        }
    }

    #[track_caller]
    fn check(answer: abi::Answer, expected: &str) {
        let found = Answer::from_guest(answer, 4, &description()).map(|_| ()).unwrap_err();
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn a_right_answer_passes() {
        let good = answer(&[0, 3], text(&[0, 3, 6], "保单".as_bytes()), doubles(&[1.0, -0.0]));
        let checked = Answer::from_guest(good, 4, &description()).unwrap();
        assert_eq!(checked.outputs[0].rows, [0, 3]);
        assert_eq!(
            checked.outputs[0].computed[0].get(1),
            crate::model::column::Value::Text("单".as_bytes())
        );
    }

    #[test]
    fn broken_answers_are_named() {
        let fine = || doubles(&[0.0, 0.0]);
        check(
            abi::Answer {
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
        let ints = abi::ColumnResult {
            validity: None,
            values: abi::ColumnValuesResult::Int(vec![1, 2]),
        };
        check(
            answer(&[0, 1], text(&[0, 0, 0], b""), ints),
            "int values, though it is described as double",
        );
        let null = abi::ColumnResult {
            validity: Some(vec![1, 0]),
            ..fine()
        };
        check(answer(&[0, 1], text(&[0, 0, 0], b""), null), "a null");
        let odd = abi::ColumnResult {
            validity: Some(vec![1, 7]),
            ..fine()
        };
        check(answer(&[0, 1], text(&[0, 0, 0], b""), odd), "validity byte 7");
        let mut both = answer(&[0, 1], text(&[0, 0, 0], b""), fine());
        both.rejected.push(abi::RejectedRow {
            row: 1,
            reason: String::new(),
        });
        check(both, "row 1 is both rejected and in an output");
    }

    #[test]
    fn what_stands_at_a_null_row_does_not_matter() {
        let nan = abi::ColumnResult {
            validity: Some(vec![1, 0]),
            ..doubles(&[1.0, f64::NAN])
        };
        let mut nullable = description();
        nullable.outputs[0].computed[1].nullable = true;
        assert!(Answer::from_guest(answer(&[0, 1], text(&[0, 0, 0], b""), nan), 4, &nullable).is_ok());
    }
}
