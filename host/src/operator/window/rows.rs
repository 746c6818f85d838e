//! Rows on their way into windows.

use crate::{
    model::{batch::Batch, column::Column},
    operator::{
        RowTimes,
        accumulators::{Change, Group, Values, input_value},
        clock::WatermarkProgress,
        top::{Arrival, Ranking},
    },
    plan::AggregateSpec,
    planner::window::WindowPlan,
};

pub(super) struct Columns<'a> {
    /// Each aggregate's column; none for `count = "*"`.
    aggregates: Vec<Option<&'a Column>>,
    ranking: Option<Ranking<'a>>,
}

pub(super) fn columns<'a>(plan: &WindowPlan, input: &'a Batch) -> Columns<'a> {
    let column = |index: usize| input.columns.get(index).map(|column| &**column);
    let aggregates = plan.aggregates.iter().map(|spec| spec.column.and_then(column));
    Columns {
        aggregates: aggregates.collect(),
        ranking: plan.top.as_ref().and_then(|top| Ranking::of(top, input)),
    }
}

/// A row on its way into windows.
pub(super) struct Row<'a> {
    pub(super) row: usize,
    pub(super) delivery: u32,
    columns: &'a Columns<'a>,
    pub(super) time_us: i64,
    arrival: Option<Arrival>,
    pub(super) retracts: bool,
}

impl<'a> Row<'a> {
    pub(super) fn of(
        input: &'a Batch,
        columns: &'a Columns<'a>,
        row: usize,
        times: &RowTimes<'_>,
        progress: &WatermarkProgress<'_>,
    ) -> Self {
        let delivery = input.delivery(row);
        let arrival = columns.ranking.as_ref().map(|_| Arrival {
            sequence: progress.sequence(delivery),
            ordinal: (row - input.deliveries.partition_point(|&other| other < delivery)) as u32,
        });
        Self {
            row,
            delivery,
            arrival,
            columns,
            time_us: times.time_us(row, progress).unwrap_or_default(),
            retracts: input.kind(row).retracts(),
        }
    }

    /// Adds the row to a group, or takes it away. False where that changes nothing, because it does not rank among the first.
    #[inline]
    pub(super) fn apply(
        &self,
        group: &mut Group,
        aggregates: &[AggregateSpec],
        key: &[u8],
        values: &mut Values,
    ) -> bool {
        if let (Some(ranking), Some(arrival)) = (&self.columns.ranking, self.arrival) {
            return group.rank(ranking, self.row, arrival);
        }
        group.count_row(self.retracts);
        for (number, (spec, column)) in aggregates.iter().zip(&self.columns.aggregates).enumerate() {
            let value = input_value(spec, *column, self.row);
            if value.is_null() {
                continue;
            }
            let change = Change {
                number,
                value,
                time_us: self.time_us,
                retracts: self.retracts,
            };
            group.apply(aggregates, change, key, values, None);
        }
        true
    }
}
