//! For tests alone: the check of a guest's answer, without a guest.

use super::answer::checked;
use crate::model::{
    column::{Column, ColumnType, Field, TextValues, Values},
    guest::{Answer, Description, OutputRows, OutputSpec, RejectedRow},
};

/// Reads an answer out of `bytes`, as a guest could give it, and checks it as one to `row_count` rows of a rule whose outputs
/// have these columns. The bytes hold numbers of four bits where a guest has larger ones, so that short inputs mean much.
///
/// # Errors
/// Which promise of the contract it breaks.
pub fn check_answer(bytes: &[u8], row_count: u32, outputs: &[Vec<(ColumnType, bool)>]) -> Result<Answer, String> {
    let description = Description {
        name: "fuzzed".to_owned(),
        version: "0".to_owned(),
        doc: String::new(),
        inputs: Vec::new(),
        reads_time: false,
        outputs: outputs
            .iter()
            .enumerate()
            .map(|(number, columns)| OutputSpec {
                name: format!("o{number}"),
                passed: Vec::new(),
                computed: columns
                    .iter()
                    .enumerate()
                    .map(|(column, &(column_type, nullable))| Field {
                        name: format!("c{column}"),
                        column_type,
                        nullable,
                    })
                    .collect(),
                many: number % 2 == 1,
            })
            .collect(),
        parameters: Vec::new(),
    };
    let mut given = Given(bytes);
    let answer = Answer {
        outputs: given.list(|given| OutputRows {
            rows: given.list(Given::number),
            computed: given.list(Given::column),
        }),
        rejected: given.list(|given| RejectedRow {
            row: given.number(),
            reason: String::from_utf8_lossy(&given.list(Given::byte)).into_owned(),
            failed: false,
        }),
    };
    checked(answer, row_count, &description, 3)
}

/// What is left of the input; of its end come zeros.
struct Given<'a>(&'a [u8]);

impl Given<'_> {
    fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *byte
    }

    /// Mostly small; now and then at the ends of what there is.
    fn number(&mut self) -> u32 {
        match self.byte() {
            255 => u32::MAX,
            254 => i32::MAX as u32,
            byte => u32::from(byte & 15),
        }
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.byte() & 15;
        (0..count).map(|_| item(self)).collect()
    }

    fn column(&mut self) -> Column {
        let kind = self.byte();
        Column {
            validity: (kind & 4 > 0).then(|| self.list(Self::byte)),
            values: match kind & 3 {
                0 => Values::Int(self.list(|given| i64::from(given.number()))),
                1 => Values::Double(self.list(|given| match given.byte() {
                    255 => f64::NAN,
                    254 => f64::INFINITY,
                    byte => f64::from(byte),
                })),
                2 => Values::Boolean(self.list(Self::byte)),
                _ => Values::Text(TextValues {
                    offsets: self.list(Self::number),
                    data: self.list(Self::byte),
                }),
            },
        }
    }
}
