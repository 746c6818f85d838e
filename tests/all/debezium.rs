//! Debezium: changes of rows become a changelog. Single payloads against what is said of them, and random ones, some of them twice,
//! against the table that they come from: in batches of several sizes, and with stops.

use crate::weir;
use proptest::prelude::*;
use std::{collections::BTreeMap, fs, sync::Arc};
use weir::{
    definition::File,
    format::Decoder,
    model::{column::Value, ids::InputId},
    plan::Plan,
};
use weir_tests::{
    replay::{Run, host, state_sizes},
    scratch, scratch_in_memory,
    seed::check_property,
    table::{Cell, Counts, contents},
};

/// How many streams are tried.
const CASES: u32 = 150;

fn plan(text: &str) -> Arc<Plan> {
    let plan = Plan::build(&File::from_text("p.toml", text), host());
    Arc::new(plan.unwrap_or_else(|error| panic!("{error}\n{text}")))
}

// ---- payloads ----------------------------------------------------------------------------------------------------------

const PAYMENTS: &str = r#"
name = "payments"
[source]
stream = "S"
subject = "s"
format = { debezium = { key = ["id"] } }
[source.columns]
id = "int"
amount = { type = "decimal", precision = 8, scale = 2, format = "string" }
deleted = { type = "boolean", required = true }
city = { type = "text", path = "address.city" }
lsn = { type = "int", from = "envelope", path = "source.lsn" }
[[sink]]
table = "payments"
primary_key = ["id"]
"#;

/// The envelope of a change as Debezium's connector for Postgres sends it, with its schema.
const POSTGRES: &str = r#"{"schema":{"type":"struct","fields":[{"type":"struct","fields":[{"type":"int32","optional":false,"default":0,"field":"id"},
{"type":"string","optional":true,"field":"amount"}],"optional":true,"name":"shop.public.payments.Value","field":"before"},{"type":"string",
"optional":false,"field":"op"}],"optional":false,"name":"shop.public.payments.Envelope"},"payload":{"before":null,"after":{"id":1,
"amount":"10.10","deleted":false,"address":{"city":"Bern"}},"source":{"version":"2.7.0.Final","connector":"postgresql","name":"shop",
"ts_ms":1773547200000,"snapshot":"false","db":"shop","sequence":"[\"24023119\",\"24023128\"]","schema":"public","table":"payments",
"txId":555,"lsn":24023128,"xmin":null},"op":"c","ts_ms":1773547200123,"transaction":null}}"#;

/// What a payload is: the row with whether it is gone, nothing, or why it is a dead letter.
fn told(decoder: &mut Decoder, payload: &str) -> String {
    decoder.push(1, None, payload.as_bytes());
    let batch = decoder.take();
    if let Some(rejected) = batch.rejected.first() {
        return rejected.reason.clone();
    }
    let events = batch.of_input(InputId::FIRST);
    if events.is_empty() {
        assert_eq!(batch.empties, [1]);
        return "empty".to_owned();
    }
    let cells = events.columns.iter().map(|column| match column.get(0) {
        Value::Null => "null".to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Decimal(value) => value.get().to_string(),
        Value::Double(value) => value.to_string(),
    });
    cells.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_payload_is_a_row_or_the_key_of_one_that_is_gone() {
    let plan = plan(PAYMENTS);
    let mut decoder = Decoder::of(&plan, 16).expect("it can be decoded for");
    let postgres = POSTGRES.replace('\n', "");
    for (payload, said) in [
        (postgres.as_str(), "1 1010 false Bern 24023128 false"),
        (
            r#"{"op":"u","before":{"id":1},"after":{"deleted":true,"id":2},"source":{}}"#,
            "2 null true null null false",
        ),
        // Of a row that is gone there may be the key alone, and what is wrong with the others does not matter.
        (
            r#"{"op":"d","before":{"id":3,"amount":7,"deleted":null},"after":null,"source":{"lsn":9}}"#,
            "3 null null null 9 true",
        ),
        ("", "empty"),
        ("null", "empty"),
        (r#"{"schema":null,"payload":null}"#, "empty"),
        (
            r#"{"op":"c","after":{"id":"1","deleted":true}}"#,
            "column \"id\": found `\"1\"` at byte 24; accepted is a number written as an integer from -2^63 to 2^63-1, or null",
        ),
        (
            r#"{"payload":{"op":"r","after":{"id":1,"amount":"1.005","deleted":true}}}"#,
            "column \"amount\": found `\"1.005\"` at byte 46; accepted is a number in quotes of at most 6 digits in front of the point and 2 \
             behind it, or null",
        ),
        (
            r#"{"op":"c","after":{"id":null,"deleted":true}}"#,
            "column \"id\": found null, or nothing; accepted is a value, since the column is of the key",
        ),
        (
            r#"{"op":"d","before":{"deleted":true}}"#,
            "column \"id\": found null, or nothing; accepted is a value, since the column is of the key",
        ),
        (
            r#"{"op":"u","after":{"id":1}}"#,
            "column \"deleted\": found null, or nothing; accepted is a value, since the column is required",
        ),
        (
            r#"{"op":"c","after":{"id":1,"deleted":true},"source":{"lsn":1.5}}"#,
            "column \"lsn\": found `1.5` at byte 58; accepted is a number written as an integer from -2^63 to 2^63-1, or null",
        ),
        (
            r#"{"op":"d","before":null,"after":null}"#,
            "found null at byte 19 in \"before\", and the op is \"d\"; accepted is an object with at least the key of the row that is gone; \
             Postgres sends none of a table with REPLICA IDENTITY NOTHING",
        ),
    ] {
        assert_eq!(told(&mut decoder, payload), said, "{payload}");
    }
}

// ---- streams -----------------------------------------------------------------------------------------------------------

const TABLES: &str = r#"
name = "p"
[source]
stream = "S"
subject = "s"
format = { debezium = { key = ["id"] } }
columns = { id = "int", k = "text", n = "int", lsn = { type = "int", from = "envelope", path = "source.lsn" } }
[[sink]]
table = "rows"
primary_key = ["id"]
columns = ["id", "k", "n"]
[[step]]
name = "groups"
[step.aggregate]
group_by = ["k"]
columns = { rows = { count = "*" }, total = { sum = "n" }, largest = { max = "n" } }
[[sink]]
table = "groups"
primary_key = ["k"]
[[step]]
name = "named"
from = "source"
columns = { number = "n", row = "id", one = { constant = 1 } }
[[step]]
name = "all"
aggregate = { group_by = ["one"], columns = { total = { sum = "number" }, values = { count_distinct = "number" } } }
[[sink]]
table = "all"
primary_key = ["one"]
"#;

#[derive(Clone, Debug)]
enum Change {
    /// A row is written, by this op.
    Set(&'static str, i64, Option<&'static str>, Option<i64>),
    /// A row goes.
    Delete(i64),
    /// What came at this place comes again, with all that came behind it so far.
    Again(usize),
    Empty(&'static str),
    Broken(&'static str),
}

/// How an envelope is written.
#[derive(Clone, Copy, Debug)]
struct Writing {
    is_wrapped: bool,
    /// Whether the row as it was comes along: not, the key alone, or all of it, which may be wrong.
    before: usize,
}

const BROKEN: [&str; 6] = [
    r#"{"op":"t"}"#,
    r#"{"op":"u","after":null}"#,
    r#"{"op":"c","after":{"id":1,"n":"1"}}"#,
    r#"{"op":"d","before":{"id":null}}"#,
    r#"{"id":1,"k":"a","n":1}"#,
    r#"{"op":"c","after":{"id":1}"#,
];

fn changes() -> impl Strategy<Value = Vec<(Change, Writing)>> {
    let id = || 0..5i64;
    let set = (
        prop::sample::select(vec!["c", "r", "u", "u"]),
        id(),
        prop::option::weighted(0.9, prop::sample::select(vec!["a", "b", "c"])),
        prop::option::weighted(0.8, -2..6i64),
    );
    let change = prop_oneof![
        10 => set.prop_map(|(op, id, k, n)| Change::Set(op, id, k, n)),
        4 => id().prop_map(Change::Delete),
        1 => (0..20usize).prop_map(Change::Again),
        1 => prop::sample::select(vec!["", "null", r#"{"payload":null}"#]).prop_map(Change::Empty),
        1 => prop::sample::select(BROKEN.to_vec()).prop_map(Change::Broken),
    ];
    let writing = (any::<bool>(), 0..3usize);
    let writing = writing.prop_map(|(is_wrapped, before)| Writing { is_wrapped, before });
    prop::collection::vec((change, writing), 0..60)
}

/// The payloads, where what comes again is written out.
fn written(changes: &[(Change, Writing)]) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    for (change, _) in changes {
        match change {
            Change::Again(from) => {
                let again: Vec<Change> = all.iter().skip(*from).cloned().collect();
                all.extend(again);
                all.truncate(500);
            }
            other => all.push(other.clone()),
        }
    }
    all
}

fn payload(change: &Change, writing: Writing, lsn: usize) -> String {
    let json = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
    let envelope = match change {
        Change::Set(op, id, k, n) => {
            let (k, n) = (json(k.map(|k| format!("{k:?}"))), json(n.map(|n| n.to_string())));
            let before = [
                "null".to_owned(),
                format!("{{\"id\":{id}}}"),
                format!("{{\"id\":{id},\"k\":7}}"),
            ];
            let before = &before[writing.before];
            let after = format!("{{\"id\":{id},\"k\":{k},\"n\":{n}}}");
            format!("{{\"before\":{before},\"after\":{after},\"source\":{{\"lsn\":{lsn}}},\"op\":\"{op}\"}}")
        }
        Change::Delete(id) => {
            let rest = ["", ",\"k\":null", ",\"n\":\"?\""][writing.before];
            format!("{{\"op\":\"d\",\"source\":{{\"lsn\":{lsn}}},\"before\":{{\"id\":{id}{rest}}},\"after\":null}}")
        }
        Change::Empty(text) | Change::Broken(text) => return (*text).to_owned(),
        Change::Again(_) => panic!("it is written out"),
    };
    match writing.is_wrapped {
        true => format!("{{\"schema\":{{\"name\":\"Envelope\"}},\"payload\":{envelope}}}"),
        false => envelope,
    }
}

type Rows = BTreeMap<i64, (Option<&'static str>, Option<i64>)>;

fn int(value: Option<i64>) -> Cell {
    value.map_or(Cell::Null, Cell::Int)
}

fn text(value: Option<&str>) -> Cell {
    value.map_or(Cell::Null, |text| Cell::Text(text.to_owned()))
}

#[test]
fn tables_are_those_that_the_changes_come_from() {
    let plan = plan(TABLES);
    let batches = prop::sample::select(vec![1, 7, 256, 4096]);
    let stops = prop::collection::vec(0..60usize, 0..3);
    check_property(CASES, &(changes(), batches, stops), |(changes, batch, stops)| {
        let all = written(changes);
        let mut rows = Rows::new();
        let (mut lines, mut counts) = (String::new(), Counts::default());
        for (at, change) in all.iter().enumerate() {
            let (_, writing) = changes[at % changes.len()];
            lines += &payload(change, writing, at);
            lines += "\n";
            counts.events += 1;
            match change {
                Change::Set(_, id, k, n) => drop(rows.insert(*id, (*k, *n))),
                Change::Delete(id) => drop(rows.remove(id)),
                Change::Empty(_) => counts.empty += 1,
                Change::Broken(_) => counts.dead_letters += 1,
                Change::Again(_) => panic!("it is written out"),
            }
        }
        counts.applied = counts.events - counts.empty - counts.dead_letters;
        let mut stops = stops.clone();
        stops.sort_unstable();
        let folder = scratch_in_memory();
        let database = folder.path().join("p.db");
        let run = Run {
            plan: &plan,
            lookup_rows: b"",
            input: lines.as_bytes(),
            batches: &[*batch],
            stops: &stops,
        };
        run.into_database(&database);
        let contents = contents(&database);
        assert_eq!(contents.counts, counts);

        let expected = rows.iter().map(|(id, (k, n))| vec![Cell::Int(*id), text(*k), int(*n)]);
        assert_eq!(contents.tables["rows"].rows, expected.collect::<Vec<_>>());
        let mut groups: BTreeMap<Option<&str>, Vec<Option<i64>>> = BTreeMap::new();
        rows.values().for_each(|(k, n)| groups.entry(*k).or_default().push(*n));
        let sum = |values: &[Option<i64>]| values.iter().flatten().copied().reduce(|a, b| a + b);
        let expected = groups.iter().map(|(k, values)| {
            let largest = values.iter().flatten().copied().max();
            vec![text(*k), Cell::Int(values.len() as i64), int(sum(values)), int(largest)]
        });
        let mut expected: Vec<_> = expected.collect();
        let mut found = contents.tables["groups"].rows.clone();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        let values: Vec<Option<i64>> = rows.values().map(|(_, n)| *n).collect();
        let mut distinct: Vec<i64> = values.iter().flatten().copied().collect();
        distinct.sort_unstable();
        distinct.dedup();
        let expected =
            (!values.is_empty()).then(|| vec![Cell::Int(1), int(sum(&values)), Cell::Int(distinct.len() as i64)]);
        assert_eq!(contents.tables["all"].rows, expected.into_iter().collect::<Vec<_>>());
        let sizes = state_sizes(&plan, &database);
        assert!(
            sizes.contains(&("source.rows/rows".to_owned(), rows.len())),
            "{sizes:?}"
        );
    });
}

// ---- several inputs, and what may change -------------------------------------------------------------------------------

#[test]
fn an_input_of_changes_stands_beside_one_of_events() {
    let plan = plan(
        r#"
name = "p"
[source]
stream = "S"
[source.input.customers]
subject = "customers"
format = { debezium = { key = ["id"] } }
columns = { id = "int", name = "text" }
[source.input.visits]
subject = "visits"
columns = { id = "int", page = "text" }
[[sink]]
from = "customers"
table = "customers"
primary_key = ["id"]
[[sink]]
from = "visits"
table = "visits"
"#,
    );
    let lines = [
        r#"{"subject":"customers","payload":{"op":"c","after":{"id":1,"name":"ann"}}}"#,
        r#"{"subject":"visits","payload":{"id":1,"page":"home"}}"#,
        r#"{"subject":"customers","payload":{"payload":{"op":"u","after":{"id":1,"name":null}}}}"#,
        r#"{"subject":"visits","payload":{"id":1,"page":"home"}}"#,
        r#"{"subject":"customers","payload":null}"#,
    ];
    let lines = lines.join("\n") + "\n";
    let run = Run {
        plan: &plan,
        lookup_rows: b"",
        input: lines.as_bytes(),
        batches: &[2],
        stops: &[3],
    };
    let contents = run.contents();
    assert_eq!(contents.tables["customers"].rows, [vec![Cell::Int(1), Cell::Null]]);
    assert_eq!(contents.tables["visits"].rows.len(), 2);
    assert_eq!((contents.counts.applied, contents.counts.empty), (4, 1));
}

/// A retried letter is the newest change of its row, whatever came behind it in the stream.
#[test]
fn a_dead_letter_that_is_retried_is_the_newest_change_of_its_row() {
    let folder = scratch();
    let text = |places: u8| {
        format!(
            "name = 'p'\n[source]\nstream = 'S'\nsubject = 's'\nformat = {{ debezium = {{ key = ['id'] }} }}\n[source.columns]\nid = 'int'\n\
             name = 'text'\namount = 'decimal(6, {places})'\n[[sink]]\ntable = 'rows'\nprimary_key = ['id']\ncolumns = ['id', 'name']\n"
        )
    };
    let path = |name: &str| folder.path().join(name);
    let weir = |line: &str| weir().run_in(folder.path(), line.split_whitespace());
    let lines = [
        r#"{"op":"c","after":{"id":1,"name":"ann","amount":1.5}}"#,
        r#"{"op":"c","after":{"id":2,"name":"bea","amount":1.55}}"#,
        r#"{"op":"u","after":{"id":1,"name":"eve","amount":1.25}}"#,
        r#"{"op":"u","after":{"id":1,"name":"joe","amount":2}}"#,
        r#"{"op":"d","before":{"id":3,"amount":0.01}}"#,
    ];
    fs::write(path("input.jsonl"), lines.join("\n") + "\n").expect("it can be written");
    fs::write(path("p.toml"), text(1)).expect("it can be written");
    weir("replay p.toml --input input.jsonl --database p.db");
    let before = contents(&path("p.db"));
    let letters: Vec<u64> = before.dead_letters.iter().map(|letter| letter.sequence).collect();
    assert_eq!(letters, [2, 3]);
    let row = |id: i64, name: &str| vec![Cell::Int(id), Cell::Text(name.to_owned())];
    assert_eq!(before.tables["rows"].rows, [row(1, "joe")]);

    fs::write(path("p.toml"), text(2)).expect("it can be written");
    weir("dead-letters retry p.toml --database p.db --all").ends_with(0);
    let after = contents(&path("p.db"));
    assert_eq!(after.dead_letters, []);
    assert_eq!(after.tables["rows"].rows, [row(1, "eve"), row(2, "bea")]);
    assert_eq!(after.counts.applied, after.counts.events);
}
