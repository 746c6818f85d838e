//! Projections: the columns of each row in other places, with constants among them.

use crate::model::{batch::Batch, column::Column, constant::Constant};
use std::sync::Arc;

/// What a step gives that makes one row of each row, and looks at none.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// # use weir::{model::{batch::Batch, column::{Column, ColumnType, Value}, constant::Constant}, plan::{Projected, Projection}};
/// let mut amounts = Column::with_capacity(ColumnType::Int, 2);
/// amounts.push(Value::Int(7));
/// amounts.push(Value::Null);
/// let rows = Batch { columns: vec![Arc::new(amounts)], deliveries: vec![0, 1], ..Batch::default() };
/// let chf = Constant::of(ColumnType::Text, &toml::Value::from("CHF")).expect("it is a text");
/// let projection = Projection { columns: vec![Projected::Constant(chf), Projected::Passed(0)] };
/// let given = projection.of(&rows);
/// assert_eq!(given.columns[0].get(1), Value::Text(b"CHF"));
/// assert_eq!(given.columns[1].get(0), Value::Int(7));
/// ```
#[derive(Clone, Debug)]
pub struct Projection {
    /// For each column of the output where it comes from.
    pub columns: Vec<Projected>,
}

/// Where a column comes from.
#[derive(Clone, Debug)]
pub enum Projected {
    /// The column of the input, unchanged.
    Passed(usize),
    /// One value for all rows.
    Constant(Constant),
}

impl Projection {
    /// What it gives of these rows: their kinds, deliveries and lineage stay, and columns that go on are not copied.
    pub fn of(&self, rows: &Batch) -> Batch {
        let columns = self.columns.iter().filter_map(|column| match column {
            Projected::Passed(index) => rows.picked(&[*index]).next().cloned(),
            Projected::Constant(constant) => Some(Arc::<Column>::new(constant.column(rows.len()))),
        });
        Batch {
            columns: columns.collect(),
            deliveries: rows.deliveries.clone(),
            kinds: rows.kinds.clone(),
            lineage: rows.lineage.clone(),
        }
    }
}
