//! Lists, element by element.

use super::column::{ColumnType, ElementType, Unscaled, Value};
use data_encoding::BASE64;
use serde_json::value::RawValue;

impl ElementType {
    /// Hands on the elements of a list of these, which is written as it [lies in memory](ColumnType::List), in their order. False where
    /// it is no such list; the first of its elements may have been handed on then.
    pub fn each(self, list: &[u8], mut visit: impl FnMut(Value<'_>)) -> bool {
        let elements = serde_json::from_slice::<Vec<&RawValue>>(list).unwrap_or_default();
        let is_empty = list == b"[]";
        let all = elements
            .iter()
            .all(|element| self.one(element.get(), &mut visit).is_some());
        all && is_empty == elements.is_empty()
    }

    fn one(self, written: &str, visit: &mut impl FnMut(Value<'_>)) -> Option<()> {
        let value = match self.column_type() {
            _ if written == "null" => Value::Null,
            ColumnType::Int => Value::Int(written.parse().ok()?),
            ColumnType::Double => Value::Double(written.parse().ok()?),
            ColumnType::Boolean => Value::Boolean(written.parse().ok()?),
            ColumnType::Decimal(decimal) => Value::Decimal(Unscaled::new(decimal.parse(written.as_bytes())?)),
            in_quotes => {
                let text: String = serde_json::from_str(written).ok()?;
                match in_quotes {
                    ColumnType::Bytes => visit(Value::Text(&BASE64.decode(text.as_bytes()).ok()?)),
                    ColumnType::Timestamp | ColumnType::Date => visit(Value::Int(in_quotes.time_of(&text)?)),
                    _ => visit(Value::Text(text.as_bytes())),
                }
                return Some(());
            }
        };
        visit(value);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decimal::DecimalType;

    #[test]
    fn the_elements_of_a_list_are_those_that_it_was_made_of() {
        let decimal = ColumnType::Decimal(DecimalType::new(38, 3).unwrap());
        let most = 10i128.pow(38) - 1;
        for (of, values) in [
            (ColumnType::Int, vec![Value::Int(i64::MIN), Value::Null, Value::Int(0)]),
            (ColumnType::Double, vec![Value::Double(1e300), Value::Double(-0.1)]),
            (
                ColumnType::Boolean,
                vec![Value::Boolean(true), Value::Null, Value::Boolean(false)],
            ),
            (
                ColumnType::Text,
                vec![
                    Value::Text(b""),
                    Value::Text("a,\"\u{0}]ä".as_bytes()),
                    Value::Text(b"null"),
                ],
            ),
            (
                decimal,
                vec![Value::Decimal(Unscaled::new(most)), Value::Decimal(Unscaled::new(-1))],
            ),
            (
                ColumnType::Timestamp,
                vec![Value::Int(-62_167_219_200_000_000), Value::Int(1), Value::Null],
            ),
            (ColumnType::Date, vec![Value::Int(-719_528), Value::Int(2_932_896)]),
            (ColumnType::Bytes, vec![Value::Text(b""), Value::Text(&[0, 0xff])]),
            (ColumnType::Int, vec![Value::Null]),
            (ColumnType::Text, vec![]),
        ] {
            let mut list = "[".to_owned();
            for (at, value) in values.iter().enumerate() {
                list.push_str(if at == 0 { "" } else { "," });
                of.push_json(&mut list, *value);
            }
            list.push(']');
            let mut found = Vec::new();
            let is_one = ElementType::of(of)
                .unwrap()
                .each(list.as_bytes(), |value| found.push(format!("{value:?}")));
            assert!(is_one, "{list}");
            assert_eq!(
                found,
                values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>(),
                "{list}"
            );
        }
        for other in ["", "{}", "[\"a\"]", "[1", "[1.5]"] {
            assert!(
                !ElementType::of(ColumnType::Int).unwrap().each(other.as_bytes(), |_| {}),
                "{other}"
            );
        }
    }
}
