//! Sums that a running total of doubles gets wrong, through a whole pipeline.

use std::sync::Arc;
use weir::{definition::File, plan::Plan};
use weir_tests::{
    replay::{Run, host},
    table::Cell,
};

/// Each event sets the amount of its id, so that the amount before is taken away again.
const PIPELINE: &str = r#"
name = "sums"
source = { stream = "S", subject = "s", columns = { id = "int", amount = "double" } }
[[step]]
name = "latest"
last_value = { key = ["id"] }
[[step]]
name = "total"
aggregate = { group_by = [], columns = { n = { count = "*" }, sum = { sum = "amount" }, avg = { avg = "amount" } } }
[[sink]]
table = "total"
primary_key = ["n"]
"#;

/// Checks the sum and the mean of the last amount of each id; a sum that is no number is null.
#[track_caller]
fn check(amounts: &[(i64, f64)], sum: f64, mean: f64) {
    let plan = Arc::new(Plan::build(&File::from_text("sums.toml", PIPELINE), host()).expect("the pipeline is fine"));
    let line = |(id, amount): &(i64, f64)| format!("{{\"id\":{id},\"amount\":{amount:?}}}\n");
    let input: String = amounts.iter().map(line).collect();
    for (batches, stops) in [(&[4096][..], &[][..]), (&[1], &[]), (&[2, 1], &[1, 2])] {
        let run = Run {
            plan: &plan,
            lookup_rows: b"",
            input: input.as_bytes(),
            batches,
            stops,
        };
        let rows = &run.contents().tables["total"].rows;
        let expected = [
            Some(sum).filter(|sum| sum.is_finite()).map_or(Cell::Null, Cell::Double),
            Cell::Double(mean),
        ];
        assert_eq!(rows.len(), 1, "{amounts:?}");
        assert_eq!(rows[0][1..], expected, "{amounts:?} in batches of {batches:?}");
    }
}

#[test]
fn a_sum_is_rounded_once() {
    let half_a_place = f64::EPSILON / 2.0;
    let next = 1.0 + f64::EPSILON;
    let after_next = 1.0 + 2.0 * f64::EPSILON;
    check(&[(1, 1.0), (2, half_a_place)], 1.0, 0.5);
    // A third of 1 and a little, which is nearer to the double below than a third of the rounded sum is.
    let third = 0.333_333_333_333_333_37;
    check(&[(1, 1.0), (2, half_a_place), (3, 5e-324)], next, third);
    check(&[(1, 5e-324), (2, half_a_place), (3, 1.0)], next, third);
    check(&[(1, next), (2, half_a_place)], after_next, 0.5 + f64::EPSILON);
    check(&[(1, 0.1), (2, 0.2), (3, 0.3)], 0.6, 0.2);
    check(&[(1, -0.0)], 0.0, 0.0);
}

#[test]
fn a_mean_is_rounded_once() {
    let same = |value: f64, count: i64| (1..=count).map(|id| (id, value)).collect::<Vec<_>>();
    check(&same(3.1, 13), 40.300000000000004, 3.1);
    check(&same(54.42, 3), 163.26, 54.42);
    check(&same(5e-324, 2), 1e-323, 5e-324);
    check(&[(1, -5e-324), (2, 0.0), (3, 0.0)], -5e-324, 0.0);
}

#[test]
fn what_is_taken_away_leaves_no_trace() {
    check(&[(1, 0.1), (2, 0.2), (1, 0.0)], 0.2, 0.1);
    check(&[(1, 1e16), (2, 1.0), (1, 0.0)], 1.0, 0.5);
    check(&[(1, 1e308), (2, 5e-324), (1, -1e308), (1, 0.0)], 5e-324, 0.0);
}

#[test]
fn a_sum_beyond_the_largest_double_is_null_until_it_comes_back() {
    check(&[(1, f64::MAX), (2, f64::MAX)], f64::INFINITY, f64::MAX);
    check(&[(1, f64::MIN), (2, f64::MIN)], f64::NEG_INFINITY, f64::MIN);
    check(&[(1, f64::MAX), (2, f64::MAX), (2, 0.0)], f64::MAX, f64::MAX / 2.0);
    check(&[(1, f64::MAX), (2, f64::MAX), (3, f64::MIN)], f64::MAX, f64::MAX / 3.0);
}
