//! Kinds that tests of their own hold to a model: here they only have state.

use super::{Edge, Place, Step};
use crate::generator::choices::Choices;
use weir::model::column::ColumnType::{self, Double, Int};

/// A step as text.
#[derive(Debug)]
struct Written {
    text: String,
    columns: Vec<(String, ColumnType)>,
    key: Option<Vec<usize>>,
    timer_driven: bool,
}

/// `last_value` that forgets keys.
pub(super) fn ttl(choices: &mut Choices<'_>, place: &Place<'_>) -> Option<Box<dyn Step>> {
    let ttl_ms = place.calendar?.duration(choices, &[5, 20, 60]);
    let text = format!("last_value = {{ key = [\"k\"], columns = [\"b\"], ttl = \"{ttl_ms} ms\" }}\n");
    written(place, &["k", "b"], &[], text, Some(vec![0]))
}

/// Aggregates that are nearly right.
pub(super) fn sketches(_: &mut Choices<'_>, place: &Place<'_>) -> Option<Box<dyn Step>> {
    let results = "about = { approx_count_distinct = \"t\" }\nmedian = { quantile = \"y\", q = 0.5 }";
    let text = format!("[step.aggregate]\ngroup_by = [\"g\"]\n[step.aggregate.columns]\n{results}\n");
    place.input.column("t")?;
    place.input.column("y")?;
    written(
        place,
        &["g"],
        &[("about", Int), ("median", Double)],
        text,
        Some(vec![0]),
    )
}

/// The rows of a window that rank first.
pub(super) fn top(choices: &mut Choices<'_>, place: &Place<'_>) -> Option<Box<dyn Step>> {
    let size_ms = place.calendar?.duration(choices, &[5, 20]);
    let top = "top = { n = 2, by = \"y\", columns = [\"k\"] }";
    let text = format!("window = {{ tumbling = \"{size_ms} ms\", group_by = [\"g\"], {top} }}\n");
    place.input.column("y")?;
    let results = [("window_start", Int), ("window_end", Int), ("rank", Int)];
    written(place, &["g"], &results, text, None)
}

fn written(
    place: &Place<'_>,
    passed: &[&str],
    results: &[(&str, ColumnType)],
    text: String,
    key: Option<Vec<usize>>,
) -> Option<Box<dyn Step>> {
    let columns: Option<Vec<usize>> = passed.iter().map(|name| place.input.column(name)).collect();
    let passed = columns.filter(|_| place.input.of.is_empty())?.into_iter();
    let passed = passed.map(|column| place.input.columns[column].clone());
    let results = results
        .iter()
        .map(|(name, column_type)| ((*name).to_owned(), *column_type));
    Some(Box::new(Written {
        text,
        columns: passed.chain(results).collect(),
        timer_driven: key.is_none(),
        key,
    }))
}

impl Step for Written {
    fn outputs(&self, _: &[&Edge]) -> Vec<Edge> {
        vec![Edge {
            columns: self.columns.clone(),
            key: self.key.clone(),
            timer_driven: self.timer_driven,
            ..Edge::default()
        }]
    }

    fn write(&self, _: &[&Edge]) -> String {
        self.text.clone()
    }
}
