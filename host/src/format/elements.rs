//! The elements of arrays to columns: for the step `unnest`, which makes a row of each.

use super::{
    Input,
    columns::{ColumnBuilders, RejectedPayload, accepted},
    json::{ElementCheck, excerpt, scalar},
    reading::{Cell, read_element},
};
use crate::{
    error::{OrDefect, Result},
    limits::UNNEST_ROWS_MAX,
    model::{
        column::{Column, ColumnType, ElementType, Value},
        delivery::Message,
    },
    plan::{PayloadFormat, SourceColumn},
};
use std::{borrow::Cow, mem, sync::Arc};

/// Reads arrays into columns, a row for each of their elements.
#[derive(Debug)]
pub struct ElementReader {
    reads: Reads,
    check: ElementCheck,
    unescaped: Vec<u8>,
}

/// What an element is.
#[derive(Debug)]
enum Reads {
    /// An object with columns.
    Fields(Box<Input>),
    /// JSON, or a scalar within it; of a list one of its elements.
    Value {
        column: Box<SourceColumn>,
        of: Option<ElementType>,
        is_list: bool,
        builders: ColumnBuilders,
    },
}

impl Reads {
    fn builders(&mut self) -> &mut ColumnBuilders {
        match self {
            Self::Fields(input) => &mut input.builders,
            Self::Value { builders, .. } => builders,
        }
    }
}

impl ElementReader {
    /// For JSON arrays of objects, of which each has these columns.
    ///
    /// # Errors
    /// When two columns are read from one value.
    pub fn of_objects(columns: &[SourceColumn]) -> Result<Self> {
        let input = Input::new(">", &PayloadFormat::Json, columns, 0)?;
        Ok(Self::reading(Reads::Fields(Box::new(input))))
    }

    /// For JSON arrays, whose elements are values of this column: JSON, or scalars.
    pub fn of_values(column: SourceColumn) -> Self {
        Self::of_column(column, false)
    }

    /// For lists of scalars, as they lie in memory, whose elements are values of this column.
    pub fn of_lists(column: SourceColumn) -> Self {
        Self::of_column(column, true)
    }

    fn of_column(column: SourceColumn, is_list: bool) -> Self {
        Self::reading(Reads::Value {
            of: ElementType::of(column.field.column_type),
            is_list,
            builders: ColumnBuilders::new(std::slice::from_ref(&column), 0),
            column: Box::new(column),
        })
    }

    fn reading(reads: Reads) -> Self {
        Self {
            reads,
            check: ElementCheck::default(),
            unescaped: Vec::new(),
        }
    }

    /// Appends a row of each element, and gives how many there are.
    ///
    /// # Errors
    /// What was found, and what is accepted. The columns then hold what they held before.
    pub fn read(&mut self, array: &[u8]) -> Result<usize, String> {
        let before = self.reads.builders().rows();
        let read = match &mut self.reads {
            Reads::Value {
                of: Some(of),
                is_list: true,
                builders,
                ..
            } => read_list(*of, array, builders),
            _ => self.read_json(array),
        };
        match read {
            Ok(()) => Ok(self.reads.builders().rows().saturating_sub(before)),
            Err(reason) => {
                self.reads.builders().truncate(before);
                Err(reason)
            }
        }
    }

    fn read_json(&mut self, array: &[u8]) -> Result<(), String> {
        let Some(elements) = self.check.of(array) else {
            return Err(format!("found {}; accepted is an array or null", excerpt(array, 0)));
        };
        for (index, element) in elements.enumerate() {
            let number = index.saturating_add(1);
            if number > UNNEST_ROWS_MAX {
                return Err(too_many());
            }
            let read = match element {
                Ok(element) => read_element_into(&mut self.reads, element, &mut self.unescaped),
                Err(fault) => Err(fault.reject(array, &[])),
            };
            read.map_err(|reject| format!("element {number}: {reject}"))?;
        }
        Ok(())
    }

    /// Drops the last rows.
    pub fn forget(&mut self, count: usize) {
        let builders = self.reads.builders();
        builders.truncate(builders.rows().saturating_sub(count));
    }

    /// Appends a row in which everything is null.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect), where they are full.
    pub fn push_nulls(&mut self) -> Result<()> {
        let is_closed = self.reads.builders().close_row();
        is_closed
            .then_some(())
            .or_defect(|| "the columns of elements are full".to_owned())
    }

    /// Those of the columns that somebody reads, with all rows since the last call.
    pub fn take(&mut self) -> Vec<Arc<Column>> {
        match &mut self.reads {
            Reads::Fields(input) => input.take().columns,
            Reads::Value { column, builders, .. } => {
                let empty = ColumnBuilders::new(std::slice::from_ref(column), 0);
                mem::replace(builders, empty).finish()
            }
        }
    }
}

fn too_many() -> String {
    format!("found more than {UNNEST_ROWS_MAX} elements; accepted are up to {UNNEST_ROWS_MAX}")
}

fn read_list(of: ElementType, list: &[u8], builders: &mut ColumnBuilders) -> Result<(), String> {
    let mut count = 0_usize;
    let mut has_room = true;
    let is_list = of.each(list, |value| {
        count = count.saturating_add(1);
        if count <= UNNEST_ROWS_MAX {
            has_room &= builders.push_only(cell_of(value));
        }
    });
    match count > UNNEST_ROWS_MAX {
        true => Err(too_many()),
        false if !is_list => Err(format!("found {}; accepted is a list", excerpt(list, 0))),
        false if !has_room => Err("found more text than a batch holds".to_owned()),
        false => Ok(()),
    }
}

fn cell_of(value: Value<'_>) -> Cell<'_> {
    match value {
        Value::Null => Cell::Null,
        Value::Int(value) => Cell::Int(value),
        Value::Double(value) => Cell::Double(value),
        Value::Boolean(value) => Cell::Boolean(value),
        Value::Decimal(value) => Cell::Decimal(value.get()),
        Value::Text(bytes) => Cell::Bytes(Cow::Borrowed(bytes)),
    }
}

fn read_element_into(reads: &mut Reads, element: &[u8], unescaped: &mut Vec<u8>) -> Result<(), RejectedPayload> {
    let is_null = element == b"null";
    let (column, of, builders) = match reads {
        Reads::Fields(input) if is_null => {
            let row = input.builders.rows();
            return match input.builders.close_row() {
                true => input.check_required(row),
                false => Err(full()),
            };
        }
        Reads::Fields(input) => {
            let message = Message {
                payload: element,
                ..Message::default()
            };
            let row = input.builders.rows();
            return input.decode(row, &message).map(|_| ());
        }
        Reads::Value {
            column, of, builders, ..
        } => (column, *of, builders),
    };
    let cell = match of {
        _ if is_null => Some(Cell::Null),
        // It was checked to be JSON.
        None => Some(Cell::Bytes(Cow::Borrowed(element))),
        Some(of) => scalar(element, unescaped).and_then(|raw| read_element(of, column.reading.as_ref(), raw)),
    };
    let Some(cell) = cell else {
        return Err(RejectedPayload {
            column: None,
            reason: format!("found {}; accepted is {}", excerpt(element, 0), accepted(column)),
        });
    };
    debug_assert!(of.is_some() || column.field.column_type == ColumnType::Json);
    builders.push_only(cell).then_some(()).ok_or_else(full)
}

fn full() -> RejectedPayload {
    RejectedPayload {
        column: None,
        reason: "found more text than a batch holds".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        definition::ColumnFormat,
        model::{column::Field, decimal::DecimalType, path::ValuePath},
        plan::{Place, Reading},
    };

    fn column(name: &str, column_type: ColumnType, format: Option<&ColumnFormat>) -> SourceColumn {
        SourceColumn {
            field: Field {
                name: name.to_owned(),
                column_type,
                nullable: true,
            },
            place: Place::Payload(ValuePath::of_names([name])),
            reading: Reading::of(column_type, format).unwrap(),
            is_number: format == Some(&ColumnFormat::Number),
            required: false,
            materialised: true,
        }
    }

    fn rows(reader: &mut ElementReader) -> Vec<String> {
        let columns = reader.take();
        let rows = 0..columns.first().map_or(0, |column| column.len());
        let row = |row: usize| {
            columns
                .iter()
                .map(|column| format!("{:?}", column.get(row)))
                .collect::<Vec<_>>()
        };
        rows.map(|at| row(at).join(" ")).collect()
    }

    #[test]
    fn fields_of_objects_are_columns() {
        let price = ColumnType::Decimal(DecimalType::new(8, 2).unwrap());
        let columns = [
            column("n", ColumnType::Int, None),
            SourceColumn {
                required: true,
                ..column("price", price, None)
            },
            column("text", ColumnType::Text, Some(&ColumnFormat::Number)),
        ];
        let mut reader = ElementReader::of_objects(&columns).unwrap();
        assert_eq!(
            reader.read(b"[{\"n\": 1, \"price\": 2.5, \"more\": []}, {\"price\": 1}]"),
            Ok(2)
        );
        for (array, reason) in [
            (
                "[{\"price\": 1}, {\"price\": 0.001}]",
                "element 2: column \"price\": found `0.001` at byte 10; accepted is",
            ),
            ("[7]", "element 1: found `7` at byte 0; accepted is one JSON object"),
            (
                "[null]",
                "element 1: column \"price\": found null, or nothing; accepted is a value",
            ),
            (
                "[{\"price\": 1, \"text\": \"a\"}]",
                "element 1: column \"text\": found the text \"a\"; accepted is a finite number",
            ),
            (
                "{\"price\": 1}",
                "found `{\"price\": 1` at byte 0; accepted is an array or null",
            ),
            ("[{\"price\": 1}", "element 1: found the end of the payload"),
        ] {
            let found = reader.read(array.as_bytes()).unwrap_err();
            let reason = reason.replace(" at byte 0; accepted is an array", "; accepted is an array");
            assert!(found.starts_with(&reason), "{found}");
        }
        reader.push_nulls().unwrap();
        assert_eq!(rows(&mut reader).len(), 3, "what is rejected leaves nothing");
        assert_eq!(reader.read(b"[]"), Ok(0));
    }

    #[test]
    fn elements_are_json_or_scalars() {
        let mut json = ElementReader::of_values(column("item", ColumnType::Json, None));
        assert_eq!(json.read(b"[1, {\"a\" : 2}, null, \"x\"]"), Ok(4));
        assert_eq!(rows(&mut json)[2], "Null");
        let mut ints = ElementReader::of_values(column("n", ColumnType::Int, None));
        assert_eq!(ints.read(b"[1, null, -3]"), Ok(3));
        assert_eq!(
            ints.read(b"[4, 1.5]"),
            Err(
                "element 2: found `1.5`; accepted is a number written as an integer from -2^63 to 2^63-1, or null"
                    .to_owned()
            )
        );
        assert_eq!(rows(&mut ints), ["Int(1)", "Null", "Int(-3)"]);
        let mut texts = ElementReader::of_values(column("t", ColumnType::Text, None));
        assert_eq!(texts.read(b"[\"a\", \"\\u00e4\\n\"]"), Ok(2));
        assert_eq!(rows(&mut texts).len(), 2);
    }

    #[test]
    fn lists_are_read_as_they_lie_in_memory_and_are_bounded() {
        let mut dates = ElementReader::of_lists(column("day", ColumnType::Date, None));
        assert_eq!(dates.read(b"[\"1970-01-02\",null]"), Ok(2));
        assert_eq!(rows(&mut dates), ["Int(1)", "Null"]);
        let many = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        let mut list = ElementReader::of_lists(column("n", ColumnType::Int, None));
        let mut json = ElementReader::of_values(column("n", ColumnType::Json, None));
        for reader in [&mut list, &mut json] {
            assert_eq!(reader.read(many(UNNEST_ROWS_MAX).as_bytes()), Ok(UNNEST_ROWS_MAX));
            let refused = reader.read(many(UNNEST_ROWS_MAX + 1).as_bytes());
            assert_eq!(
                refused,
                Err("found more than 10000 elements; accepted are up to 10000".to_owned())
            );
            assert_eq!(rows(reader).len(), UNNEST_ROWS_MAX);
        }
    }
}
