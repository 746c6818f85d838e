use crate::{
    definition::File,
    limits::UNNEST_ROWS_MAX,
    model::{
        batch::{Batch, Lineage},
        column::{Column, ColumnType, Value},
    },
    operator::{Inputs, Operator, ProcessError, build, guests::Guests, testing::Tested},
    plan::{Plan, double::Closures},
};
use std::sync::Arc;

const ORDERS: &str = "id = \"int\", by = \"text\", tags = \"list(text)\", items = \"json\"";

#[test]
fn each_element_of_a_list_is_a_row() {
    let step = "step = [{ name = \"tags\", unnest = { column = \"tags\", as = \"tag\", ordinal = \"n\" } }]
                sink = [{ table = \"tags\", columns = [\"id\", \"tag\", \"n\"] }]";
    let mut tags = Tested::new(ORDERS, step);
    tags.check(
        "#  kind  id  tags
         1  +     10  [\"a\",\"b\"]
         2  +     11  []
         3  +     12  .
         4  +     13  [null]",
        "1  +  10  a  1
         1  +  10  b  2
         4  +  13  .  1",
    );
    tags.check("#  kind  id  tags", "");
}

#[test]
fn what_has_no_elements_may_go_on() {
    let step = "step = [{ name = \"tags\", unnest = { column = \"tags\", as = \"tags\", ordinal = \"n\", keep_empty = true } }]
                sink = [{ table = \"tags\", columns = [\"id\", \"tags\", \"n\"] }]";
    let mut tags = Tested::new(ORDERS, step);
    tags.check(
        "#  kind  id  tags
         1  +     10  [\"a\"]
         2  +     11  []
         3  +     12  .
         4  +     13  [null]",
        "1  +  10  a  1
         2  +  11  .  .
         3  +  12  .  .
         4  +  13  .  1",
    );
}

#[test]
fn elements_of_json_are_json_scalars_or_columns() {
    let json = "step = [{ name = \"items\", unnest = { column = \"items\", as = \"item\" } }]
                sink = [{ table = \"items\", columns = [\"id\", \"item\"] }]";
    Tested::new(ORDERS, json).check(
        "#  kind  id  items
         1  +     10  [1,{\"sku\":\"a\"},null]
         2  +     11  null",
        "1  +  10  1
         1  +  10  {\"sku\":\"a\"}
         1  +  10  .",
    );
    let ints = "step = [{ name = \"items\", unnest = { column = \"items\", as = \"item\", type = \"int\" } }]
                sink = [{ table = \"items\", columns = [\"item\"] }]";
    Tested::new(ORDERS, ints).check(
        "#  kind  items
         1  +     [1,null,-3]",
        "1  +  1
         1  +  .
         1  +  -3",
    );
    let columns = "step = [{ name = \"items\", unnest = { column = \"items\", ordinal = \"line\", columns = {
                       sku = \"text\", price = { type = \"decimal(8, 2)\", path = \"price.net\" }, unread = \"int\" } } }]
                   sink = [{ table = \"items\", columns = [\"id\", \"sku\", \"price\", \"line\"] }]";
    Tested::new(ORDERS, columns).check(
        "#  kind  id  items
         1  +     10  [{\"sku\":\"a\",\"price\":{\"net\":2.5}},{\"more\":[]},null]",
        "1  +  10  a  250  1
         1  +  10  .  .    2
         1  +  10  .  .    3",
    );
}

const OVER_CHANGELOG: &str = "step = [
        { name = \"last\", last_value = { key = [\"id\"] } },
        { name = \"items\", unnest = { column = \"items\", as = \"item\", ordinal = \"line\" } },
    ]
    sink = [{ table = \"items\", primary_key = [\"line\", \"id\"], columns = [\"id\", \"by\", \"line\", \"item\"] }]";

#[test]
fn of_an_update_only_what_it_changes_is_emitted() {
    let mut items = Tested::new(ORDERS, OVER_CHANGELOG);
    items.check(
        "#  kind  id  by   items
         1  +     10  ann  [1,2,3]
         2  U-    10  ann  [1,2,3]
         2  U+    10  ann  [1,5]
         3  +     11  bob  [7]
         4  U-    10  ann  [1,5]
         4  U+    10  cat  [1,5,6]
         5  U-    10  cat  [1,5,6]
         5  U+    10  cat  .
         6  U-    11  bob  [7]
         6  U+    11  bob  [7]
         7  -     11  bob  [7]",
        // The table tells rows apart by the key of the changelog, so it does without what was there before.
        "1  +   10  ann  1  1
         1  +   10  ann  2  2
         1  +   10  ann  3  3
         2  U+  10  ann  5  2
         2  -   10  ann  3  3
         3  +   11  bob  7  1
         4  U+  10  cat  1  1
         4  U+  10  cat  5  2
         4  +   10  cat  6  3
         5  -   10  cat  1  1
         5  -   10  cat  5  2
         5  -   10  cat  6  3
         7  -   11  bob  7  1",
    );
}

#[test]
fn what_stands_for_no_elements_is_a_row_of_a_key_of_its_own() {
    let steps = "step = [
                     { name = \"last\", last_value = { key = [\"id\"] } },
                     { name = \"items\", unnest = { column = \"items\", as = \"item\", ordinal = \"line\", keep_empty = true } },
                     { name = \"count\", aggregate = { group_by = [\"by\"], columns = { n = { count = \"line\" } } } },
                 ]
                 sink = [{ table = \"counts\", primary_key = [\"by\"] }]";
    let without_last = &steps.replace(
        "{ name = \"count\", aggregate = { group_by = [\"by\"], columns = { n = { count = \"line\" } } } },",
        "",
    );
    let without_last = without_last.replace(
        "sink = [{ table = \"counts\", primary_key = [\"by\"] }]",
        "sink = [{ table = \"items\", primary_key = [\"by\"], columns = [\"id\", \"by\", \"line\"] }]",
    );
    let mut items = Tested::new(ORDERS, &without_last);
    items.check(
        "#  kind  id  by   items
         1  +     10  ann  []
         2  U-    10  ann  []
         2  U+    10  bob  .
         3  U-    10  bob  .
         3  U+    10  bob  [1]
         4  U-    10  bob  [1]
         4  U+    10  bob  []",
        "1  +   10  ann  .
         2  U-  10  ann  .
         2  U+  10  bob  .
         3  -   10  bob  .
         3  +   10  bob  1
         4  -   10  bob  1
         4  +   10  bob  .",
    );
    Tested::new(ORDERS, steps);
}

#[test]
fn a_half_of_an_update_comes_or_goes() {
    let mut items = Tested::new(ORDERS, OVER_CHANGELOG);
    let found = items.take_in(
        "#  kind  id  by   items
         1  U+    10  ann  [1]
         2  U-    10  ann  [1]
         3  -     11  ann  7",
    );
    assert_eq!(
        found,
        ["1 + 10 ann 1 1", "2 - 10 ann 1 1"],
        "what goes and does not fit never came"
    );
}

/// An operator over single rows of a column `items`, of JSON.
fn over_json(keys: &str) -> Box<dyn Operator> {
    let text = format!(
        "name = \"p\"
         source = {{ stream = \"S\", subject = \"s\", columns = {{ {ORDERS} }} }}
         step = [{{ name = \"items\", unnest = {{ column = \"items\", {keys} }} }}]
         sink = [{{ table = \"items\", columns = [\"by\", \"item\"] }}]"
    );
    let host = Closures::default();
    let plan = Plan::build(&File::from_text("p.toml", text), &host).unwrap_or_else(|error| panic!("{error}"));
    let node = plan.nodes.iter().find(|node| node.name == "items").unwrap();
    build(node, Guests::default(), 0).unwrap()
}

fn rows(rows: &[(u32, &str, &str)]) -> Batch {
    let mut columns = [ColumnType::Text, ColumnType::Json].map(|column_type| Column::with_capacity(column_type, 0));
    for (_, by, items) in rows {
        columns[0].push(Value::Text(by.as_bytes()));
        columns[1].push(Value::Text(items.as_bytes()));
    }
    Batch {
        columns: columns.into_iter().map(Arc::new).collect(),
        deliveries: rows.iter().map(|(delivery, ..)| *delivery).collect(),
        ..Batch::default()
    }
}

fn process(operator: &mut dyn Operator, input: &Batch) -> Result<Batch, ProcessError> {
    let batches = [input.clone()];
    let outputs = operator.process(Inputs {
        batches: &batches,
        progress: None,
    })?;
    Ok(outputs.rows.into_iter().next().unwrap())
}

#[test]
fn all_rows_that_do_not_fit_are_named_at_once() {
    let mut items = over_json("as = \"item\"");
    let many = format!("[{}]", vec!["1"; UNNEST_ROWS_MAX + 1].join(","));
    let input = rows(&[(0, "a", "[1]"), (1, "b", "{}"), (2, "c", &many), (3, "d", "[2]")]);
    let Err(ProcessError::Unfit(unfit)) = process(items.as_mut(), &input) else {
        panic!("two do not fit")
    };
    let unfit: Vec<(u32, &str)> = unfit.iter().map(|unfit| (unfit.row, unfit.reason.as_str())).collect();
    assert_eq!(
        unfit,
        [
            (1, "column \"items\": found `{`; accepted is an array or null"),
            (
                2,
                "column \"items\": found more than 10000 elements; accepted are up to 10000"
            ),
        ]
    );
    let others = process(items.as_mut(), &input.gather(&[0, 3])).unwrap();
    assert_eq!(others.deliveries, [0, 3], "nothing is left of the others");
}

#[test]
fn what_the_rows_take_is_bounded_by_row_and_ends_a_part() {
    let mut items = over_json("as = \"item\"");
    let large = "x".repeat(1 << 20);
    let elements = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    let (fits, too_many) = (elements(50), elements(70));
    let Err(ProcessError::Unfit(unfit)) = process(items.as_mut(), &rows(&[(0, &large, &too_many)])) else {
        panic!("seventy times a megabyte are too much")
    };
    assert!(
        unfit[0].reason.contains("found 70 elements whose rows take 734"),
        "{}",
        unfit[0].reason
    );
    let two = rows(&[(0, &large, &fits), (1, &large, &fits)]);
    assert!(matches!(process(items.as_mut(), &two), Err(ProcessError::TooMuch(1))));
    assert_eq!(process(items.as_mut(), &two.gather(&[1])).unwrap().len(), 50);
    // Of one event it is not cut.
    let of_one = rows(&[(1, &large, &fits), (1, &large, &fits)]);
    assert_eq!(process(items.as_mut(), &of_one).unwrap().len(), 100);
}

#[test]
fn rows_tell_of_all_events_that_the_row_tells_of() {
    let mut items = over_json("as = \"item\"");
    let mut input = rows(&[(1, "a", "[1,2]"), (2, "b", "[]"), (3, "c", "[3]")]);
    input.lineage = Some(Arc::new(Lineage {
        ends: vec![2, 3, 5],
        deliveries: vec![0, 1, 2, 1, 3],
    }));
    let found = process(items.as_mut(), &input).unwrap();
    let lineage: Vec<&[u32]> = (0..found.len()).map(|row| found.lineage(row)).collect();
    assert_eq!(lineage, [&[0, 1][..], &[0, 1], &[1, 3]]);
}

#[test]
fn the_place_is_held_where_it_is_the_key() {
    let step = "step = [
                    { name = \"last\", last_value = { key = [\"id\"] } },
                    { name = \"items\", unnest = { column = \"items\", as = \"item\", ordinal = \"line\" } },
                    { name = \"count\", aggregate = { group_by = [\"by\"], columns = { n = { count = \"*\" } } } },
                ]
                sink = [{ table = \"counts\", primary_key = [\"by\"] }]";
    let text =
        format!("name = \"p\"\nsource = {{ stream = \"S\", subject = \"s\", columns = {{ {ORDERS} }} }}\n{step}");
    let plan = Plan::build(&File::from_text("p.toml", text), &Closures::default());
    let plan = plan.unwrap_or_else(|error| panic!("{error}"));
    let names = |step: &str| {
        let node = plan.nodes.iter().find(|node| node.name == step).unwrap();
        node.outputs[0]
            .schema
            .iter()
            .map(|field| field.name.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("last"), ["id", "by", "items"]);
    assert_eq!(names("items"), ["id", "by", "line"]);
}
