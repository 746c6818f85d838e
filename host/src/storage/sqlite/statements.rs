//! The statements that write the tables of a pipeline.

use super::{
    failure::Written,
    pipeline_tables::PipelineTable,
    schema::quote,
    values::{bind, fits},
};
use crate::{
    error::{Error, OrDefect, Result},
    model::{
        column::{Field, Value},
        form::ColumnForm,
        ids::{IdVec, SinkId, TableId},
        row::{cells, take_key_cell},
        rows::KeyedRows,
    },
    plan::Plan,
};
use rusqlite::{CachedStatement, Transaction};

/// The statements for each table.
#[derive(Debug)]
pub(super) struct Statements {
    /// None for a subject.
    pub(super) sinks: IdVec<SinkId, Option<TableStatements>>,
    pub(super) tables: IdVec<TableId, TableStatements>,
}

#[derive(Debug)]
pub(super) struct TableStatements {
    pub(super) name: String,
    /// How the columns are written. Their names are for errors.
    columns: Vec<(String, ColumnForm)>,
    /// The key, as indices of the columns.
    key: Vec<usize>,
    nullable_key: bool,
    insert: String,
    /// By key, with nulls equal to each other: first all columns that are not in the key, then the key.
    update: Option<String>,
    delete: String,
    /// The columns that `update` sets.
    others: Vec<usize>,
}

impl Statements {
    pub(super) fn new(plan: &Plan) -> Result<Self> {
        let sinks = plan.sinks.iter().map(|sink| {
            let table = PipelineTable::of_sink(sink);
            table.map(|table| TableStatements::new(&table)).transpose()
        });
        let tables = plan.tables.iter();
        let tables = tables.map(|table| TableStatements::new(&PipelineTable::of_lookup(table)));
        Ok(Self {
            sinks: sinks.collect::<Result<_>>()?,
            tables: tables.collect::<Result<_>>()?,
        })
    }
}

impl TableStatements {
    fn new(of: &PipelineTable<'_>) -> Result<Self> {
        let PipelineTable {
            name: table,
            columns,
            key,
        } = of;
        let names: Vec<String> = columns.iter().map(|(field, _)| quote(&field.name)).collect();
        let in_key = key.iter().map(|&index| {
            let column = columns.get(index).map(|(field, _)| *field);
            column.or_defect(|| format!("the key of table {table} has column {index} of {}", columns.len()))
        });
        let in_key: Vec<&Field> = in_key.collect::<Result<_>>()?;
        let name = |&index: &usize| names.get(index).map_or("", String::as_str);
        let others: Vec<usize> = (0..columns.len()).filter(|index| !key.contains(index)).collect();
        let marks: Vec<String> = (1..=columns.len()).map(|number| format!("?{number}")).collect();
        let mut insert = format!(
            "INSERT INTO {} ({}) VALUES ({})",
            quote(table),
            names.join(", "),
            marks.join(", ")
        );
        if !key.is_empty() {
            let key_names: Vec<&str> = key.iter().map(name).collect();
            insert += &format!(" ON CONFLICT ({}) DO ", key_names.join(", "));
            let set: Vec<String> = others
                .iter()
                .map(|index| format!("{0} = excluded.{0}", name(index)))
                .collect();
            insert += &if set.is_empty() {
                "NOTHING".to_owned()
            } else {
                format!("UPDATE SET {}", set.join(", "))
            };
        }
        let condition = |first: usize| {
            let parts = key
                .iter()
                .enumerate()
                .map(|(at, index)| format!("{} IS ?{}", name(index), first + at));
            parts.collect::<Vec<_>>().join(" AND ")
        };
        let update = (!others.is_empty()).then(|| {
            let set: Vec<String> = others
                .iter()
                .enumerate()
                .map(|(at, index)| format!("{} = ?{}", name(index), at + 1))
                .collect();
            format!(
                "UPDATE {} SET {} WHERE {}",
                quote(table),
                set.join(", "),
                condition(others.len() + 1)
            )
        });
        Ok(Self {
            name: (*table).to_owned(),
            columns: columns
                .iter()
                .map(|(field, form)| (field.name.clone(), *form))
                .collect(),
            key: key.clone(),
            nullable_key: in_key.iter().any(|field| field.nullable),
            insert,
            update,
            delete: format!("DELETE FROM {} WHERE {}", quote(table), condition(1)),
            others,
        })
    }

    pub(super) fn upsert_all(&self, transaction: &Transaction<'_>, rows: &KeyedRows) -> Written {
        let mut insert = transaction.prepare_cached(&self.insert)?;
        let mut delete = transaction.prepare_cached(&self.delete)?;
        let mut update = match &self.update {
            Some(update) if self.nullable_key => Some(transaction.prepare_cached(update)?),
            _ => None,
        };
        // In the order of the B-tree, so that each page is touched once.
        for (key, row) in rows.sorted() {
            let Some(row) = row else {
                let mut text = Vec::new();
                let mut rest = key;
                let mut number = 0;
                while let Some(value) = take_key_cell(&mut rest, &mut text) {
                    number += 1;
                    if let Some(&at) = self.key.get(number - 1) {
                        bind(&mut delete, number, self.form_of(at)?, value)?;
                    }
                }
                if number != self.key.len() || !rest.is_empty() {
                    let (name, wanted) = (&self.name, self.key.len());
                    return Err(
                        Error::defect(format_args!("a key of table {name} has {number} cells of {wanted}")).into(),
                    );
                }
                delete.raw_execute()?;
                continue;
            };
            if self.nullable_key && self.set_null_key(transaction, &mut update, row)? {
                continue;
            }
            self.bind_row(&mut insert, row)?;
            insert.raw_execute()?;
        }
        Ok(())
    }

    fn form_of(&self, column: usize) -> Result<ColumnForm> {
        let form = self.columns.get(column).map(|(_, form)| *form);
        form.or_defect(|| format!("table {} has no column {column}", self.name))
    }

    /// Binds a row, whose cells have to be those of the columns: a statement keeps what was bound to it before.
    fn bind_row(&self, statement: &mut CachedStatement<'_>, row: &[u8]) -> Written {
        let mut number = 0;
        for value in cells(row) {
            let column = self.columns.get(number).map(|(_, form)| *form);
            let Some(form) = column.filter(|form| fits(value, form.column_type)) else {
                return Err(self.misfit(number, value).into());
            };
            number += 1;
            bind(statement, number, form, value)?;
        }
        match number == self.columns.len() {
            true => Ok(()),
            false => {
                let (name, wanted) = (&self.name, self.columns.len());
                Err(Error::defect(format_args!("a row of table {name} has {number} cells of {wanted}")).into())
            }
        }
    }

    #[cold]
    fn misfit(&self, number: usize, value: Value<'_>) -> Error {
        let name = &self.name;
        match self.columns.get(number) {
            Some((column, form)) => Error::defect(format_args!(
                "a row of table {name} has {value:?} in column {column}, which is of type {}",
                form.column_type
            )),
            None => Error::defect(format_args!(
                "a row of table {name} has more than its {} cells",
                self.columns.len()
            )),
        }
    }

    /// Updates the row of a key that holds a null; says whether nothing is left to do.
    fn set_null_key(
        &self,
        transaction: &Transaction<'_>,
        update: &mut Option<CachedStatement<'_>>,
        row: &[u8],
    ) -> Written<bool> {
        let values: Vec<Value<'_>> = cells(row).collect();
        let value = |&index: &usize| values.get(index).copied().unwrap_or(Value::Null);
        if values.len() != self.columns.len() || !self.key.iter().map(value).any(Value::is_null) {
            // Whoever binds the whole row finds what is wrong with it.
            return Ok(false);
        }
        match update {
            Some(update) => {
                for (at, index) in self.others.iter().chain(&self.key).enumerate() {
                    bind(update, at + 1, self.form_of(*index)?, value(index))?;
                }
                Ok(update.raw_execute()? > 0)
            }
            None => {
                // Nothing but the key: it is there, or is inserted.
                let condition = self.delete.replacen("DELETE", "SELECT 1", 1);
                let mut found = transaction.prepare_cached(&condition)?;
                for (at, index) in self.key.iter().enumerate() {
                    bind(&mut found, at + 1, self.form_of(*index)?, value(index))?;
                }
                Ok(found.raw_query().next()?.is_some())
            }
        }
    }

    pub(super) fn append_all(&self, transaction: &Transaction<'_>, rows: Vec<Vec<u8>>) -> Written {
        let mut insert = transaction.prepare_cached(&self.insert)?;
        for row in rows {
            self.bind_row(&mut insert, &row)?;
            insert.raw_execute()?;
        }
        Ok(())
    }
}
