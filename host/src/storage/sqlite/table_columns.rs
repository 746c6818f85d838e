//! What Weir remembers of the columns of a table beside what SQLite does: their types, and how their values are written. Without
//! it nobody could tell a timestamp from a text, or seconds from milliseconds.

use super::schema::{self, LAYOUT_OF_COLUMNS};
use crate::model::{
    column::ColumnType,
    form::{ColumnForm, Form},
};
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value as Json, json};

/// A column, with its type and form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KnownColumn {
    pub(super) name: String,
    pub(super) form: ColumnForm,
}

/// The columns as `weir_table` has them.
pub(super) fn to_json(columns: &[KnownColumn]) -> String {
    let columns = columns.iter().map(|column| {
        let ColumnForm { column_type, form } = column.form;
        json!({ "name": column.name, "type": column_type.to_string(), "as": form.to_string() })
    });
    Json::Array(columns.collect()).to_string()
}

/// The columns of a table; nothing where an older Weir made it, and none has started its pipeline since.
pub(super) fn read(connection: &Connection, table: &str) -> rusqlite::Result<Option<Vec<KnownColumn>>> {
    if schema::layout(connection)? < LAYOUT_OF_COLUMNS {
        return Ok(None);
    }
    let json: Option<Option<String>> = connection
        .query_row("SELECT columns FROM weir_table WHERE name = ?1", [table], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(json.flatten().and_then(|json| of_json(&json)))
}

/// Nothing where a later Weir knows types that this one does not.
fn of_json(json: &str) -> Option<Vec<KnownColumn>> {
    let columns: Vec<Json> = serde_json::from_str(json).ok()?;
    let column = |column: &Json| {
        let text = |key: &str| column.get(key).and_then(Json::as_str);
        Some(KnownColumn {
            name: text("name")?.to_owned(),
            form: ColumnForm {
                column_type: ColumnType::of_text(text("type")?)?,
                form: Form::named(text("as")?)?,
            },
        })
    };
    columns.iter().map(column).collect()
}

/// The first column whose values would mean something else than those that are there. (More digits in front of a decimal's point
/// do no harm.)
pub(super) fn changed<'c>(
    known: &'c [KnownColumn],
    now: &'c [KnownColumn],
) -> Option<(&'c KnownColumn, &'c KnownColumn)> {
    let means_the_same = |known: ColumnForm, now: ColumnForm| match (known.column_type, now.column_type) {
        (ColumnType::Decimal(before), ColumnType::Decimal(after)) => {
            before.scale() == after.scale() && before.precision() <= after.precision() && known.form == now.form
        }
        _ => known == now,
    };
    let mut pairs = now.iter().filter_map(|now| {
        let known = known.iter().find(|known| known.name == now.name)?;
        Some((known, now))
    });
    pairs.find(|(known, now)| !means_the_same(known.form, now.form))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{column::ElementType, decimal::DecimalType, form::Place};

    fn column(name: &str, column_type: ColumnType, form: Form) -> KnownColumn {
        let (name, form) = (name.to_owned(), ColumnForm { column_type, form });
        KnownColumn { name, form }
    }

    #[test]
    fn columns_come_back_as_they_were_written() {
        let decimal = |precision| ColumnType::Decimal(DecimalType::new(precision, 2).expect("there are such decimals"));
        let scalars = ColumnType::names().filter_map(ColumnType::named);
        let scalars: Vec<ColumnType> = scalars.chain([12, 17, 38].map(decimal)).collect();
        let lists = scalars
            .iter()
            .filter_map(|of| ElementType::of(*of))
            .map(ColumnType::List);
        let types = scalars.iter().copied().chain(lists);
        let columns = types.flat_map(|column_type| {
            let forms = Form::all(column_type, Place::Table).iter();
            forms.map(move |form| column(&format!("{column_type} {form} \"'"), column_type, *form))
        });
        let columns: Vec<KnownColumn> = columns.collect();
        assert_eq!(of_json(&to_json(&columns)), Some(columns));
        assert_eq!(of_json(r#"[{"name": "a", "type": "later", "as": "text"}]"#), None);
    }

    #[test]
    fn a_column_changes_where_its_values_mean_something_else() {
        let decimal = |precision, scale| {
            let decimal = DecimalType::new(precision, scale).expect("there are such decimals");
            ColumnType::Decimal(decimal)
        };
        let (number, text) = (Form::Number, Form::Text);
        for (before, after, is_changed) in [
            ((ColumnType::Timestamp, text), (ColumnType::Timestamp, text), false),
            ((ColumnType::Timestamp, text), (ColumnType::Text, text), true),
            (
                (ColumnType::Timestamp, Form::EpochMillis),
                (ColumnType::Timestamp, Form::EpochSeconds),
                true,
            ),
            ((decimal(5, 2), number), (decimal(7, 2), number), false),
            ((decimal(7, 2), number), (decimal(5, 2), number), true),
            ((decimal(7, 2), Form::Unscaled), (decimal(8, 3), Form::Unscaled), true),
            ((decimal(7, 2), text), (decimal(7, 2), Form::Unscaled), true),
        ] {
            let known = [
                column("other", ColumnType::Int, Form::Plain),
                column("c", before.0, before.1),
            ];
            let now = [
                column("c", after.0, after.1),
                column("new", ColumnType::Int, Form::Plain),
            ];
            assert_eq!(changed(&known, &now).is_some(), is_changed, "{before:?} {after:?}");
        }
    }
}
