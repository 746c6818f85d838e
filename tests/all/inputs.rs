//! Pipelines with several inputs: each step sees the rows of its own, in order, however the inputs are interleaved.

mod model;

use super::weir;
use expect_test::expect;
use model::{Delivery, Expected, expected};
use proptest::prelude::*;
use std::{fmt, fs, sync::Arc};
use weir::{
    definition::File,
    engine::{Engine, Successor},
    format::Decoder,
    model::{
        delivery::Message,
        ids::{Id, InputId},
    },
    plan::{Plan, StageVersion, StepVersions, Versions},
    storage::Messages,
};
use weir_tests::{
    guest,
    replay::{Run, hold, host, replay},
    scratch,
    seed::check_property,
    table::{contents, query},
};

/// How many interleavings are tried.
const CASES: u32 = 500;

/// Three inputs. State of one comes before a rule over another, which may reject: then it is undone.
fn shop() -> String {
    format!(
        r#"
name = "shop"
now = {{ fixed = "2026-03-15T12:00:00+08:00" }}
[source]
stream = "SHOP"
[source.input.orders]
subject = "shop.orders"
columns = {{ id = "int", what = "text" }}
[source.input.payments]
subject = "shop.payments.*"
columns = {{ what = "text", id = "int", paid = {{ type = "double", path = "amount.paid" }} }}
[source.input.returns]
subject = "shop.returns.>"
columns = {{ id = "int", unread = "boolean" }}

[[step]]
name = "last-order"
from = "orders"
last_value = {{ key = ["id"] }}
[[step]]
name = "judged"
from = "payments"
stage = {{ module = "{}" }}
[[step]]
name = "paid"
from = "payments"
[step.aggregate]
group_by = ["id"]
columns = {{ times = {{ count = "*" }}, paid = {{ sum = "paid" }} }}

[[sink]]
from = "orders"
table = "orders"
[[sink]]
from = "payments"
table = "payments"
[[sink]]
from = "returns"
table = "returns"
columns = ["id"]
[[sink]]
from = "last-order"
table = "last_order"
primary_key = ["id"]
[[sink]]
from = "judged"
table = "judged"
columns = ["id"]
[[sink]]
from = "paid"
table = "paid"
primary_key = ["id"]
[[sink]]
from = "returns"
subject = "out.returns"
columns = ["id"]
[[sink]]
from = "orders"
subject = "out.orders"
columns = ["id"]
"#,
        guest("hostile").display()
    )
}

/// Deliveries, and how they are run.
struct Case {
    deliveries: Vec<Delivery>,
    batches: Vec<usize>,
    stops: Vec<usize>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batches, stops, .. } = self;
        write!(f, "batches of {batches:?}, stopped at {stops:?}\n{}", self.lines())
    }
}

impl Case {
    fn lines(&self) -> String {
        self.deliveries.iter().map(|delivery| delivery.line() + "\n").collect()
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let deliveries = prop::collection::vec(model::deliveries(), 0..60);
    let batches = prop::collection::vec(prop::sample::select(vec![1, 2, 3, 5, 8, 4096]), 1..4);
    let stops = prop::collection::vec(0..60usize, 0..4);
    (deliveries, batches, stops).prop_map(|(deliveries, batches, mut stops)| {
        stops.sort_unstable();
        Case {
            deliveries,
            batches,
            stops,
        }
    })
}

#[test]
fn each_step_gets_the_rows_of_its_own_input_in_order() {
    let plan = Plan::build(&File::from_text("shop.toml", shop()), host()).expect("the pipeline is fine");
    let plan = Arc::new(plan);
    check_property(CASES, &cases(), |case| check(&plan, case));
}

fn check(plan: &Arc<Plan>, case: &Case) {
    let folder = scratch();
    let database = folder.path().join("shop.db");
    let input = case.lines();
    let run = Run {
        plan,
        lookup_rows: b"",
        input: input.as_bytes(),
        batches: &case.batches,
        stops: &case.stops,
    };
    run.into_database(&database);
    let found = contents(&database);
    let Expected {
        tables,
        messages,
        letters,
        counts,
    } = expected(&case.deliveries);
    for (name, rows) in tables {
        assert_eq!(found.tables[name].rows, rows, "table {name}: found, and expected");
    }
    let outbox = "SELECT sequence || ' ' || subject || ' ' || payload FROM weir_outbox ORDER BY id";
    assert_eq!(query(&database, outbox), messages, "messages: found, and expected");
    let found_letters: Vec<_> = found
        .dead_letters
        .into_iter()
        .map(|letter| (letter.sequence, letter.step, letter.subject, letter.payload))
        .collect();
    assert_eq!(found_letters, letters, "dead letters: found, and expected");
    assert_eq!(found.counts, counts);
    assert_eq!(found.position, case.deliveries.len() as u64);
}

#[test]
fn a_swap_keeps_all_inputs() {
    let text = format!(
        r#"
name = "shop"
[source]
stream = "SHOP"
[source.input.orders]
subject = "shop.orders"
columns = {{ id = "int", name = "text" }}
[source.input.payments]
subject = "shop.payments"
columns = {{ n = "int", k = "text" }}
[[step]]
name = "labelled"
from = "payments"
stage = {{ module = "{}", parameters = {{ label = 1 }} }}
[[sink]]
from = "orders"
table = "orders"
primary_key = ["id"]
[[sink]]
from = "labelled"
table = "labelled"
"#,
        guest("versions").display()
    );
    let plan = Plan::build(&File::from_text("shop.toml", text), host()).expect("the pipeline is fine");
    let plan = Arc::new(plan);
    let labelled = plan.stage("labelled").expect("there is such a stage");
    let mut deployment = labelled.deployment.clone();
    deployment.parameters.insert("label".to_owned(), 2.into());
    let live = Some(StageVersion {
        module: labelled.module.clone(),
        deployment,
    });
    let step = StepVersions {
        live,
        ..StepVersions::default()
    };
    let versions: Versions = [("labelled".to_owned(), step)].into_iter().collect();
    let next = plan.again(host(), &versions).expect("the parameter fits");
    let mut successor = Successor::prepare(&plan, Arc::new(next), host(), 4096).expect("it fits");

    let folder = scratch();
    let path = folder.path().join("shop.db");
    let hold = hold(&path).expect("nobody else holds the database");
    let mut database = hold
        .open(plan.clone(), Messages::Drop)
        .expect("the database can be made");
    database.claim("a test").expect("it is new");
    let mut engine = Engine::new(plan.clone(), host(), database.stored().seed).expect("the rule takes its parameters");
    engine.begin(0, &[]).expect("it is new");
    let push_both = |decoder: &mut Decoder, sequence: u64| {
        let order = format!("{{\"id\": {sequence}, \"name\": \"n\"}}");
        let message = |subject, sequence, payload| Message {
            subject: Some(subject),
            sequence,
            store_ms: Some(0),
            payload,
            ..Message::default()
        };
        decoder.push_to(InputId::FIRST, &message("shop.orders", sequence, order.as_bytes()));
        let payment = message("shop.payments", sequence + 1, b"{\"k\": \"a\", \"n\": 7}");
        decoder.push_to(InputId::of(1), &payment);
    };
    let mut decoder = Decoder::of(&plan, 4096).expect("the columns are fine");
    push_both(&mut decoder, 1);
    engine.process(decoder.take()).expect("no invariant breaks");
    let mut decoder = successor.decoder.take().expect("a successor brings its decoder");
    drop(engine.swap(successor));
    push_both(&mut decoder, 3);
    engine.process(decoder.take()).expect("no invariant breaks");
    database
        .commit(engine.take_turn(1).expect("no invariant breaks"))
        .expect("the turn can be written");
    drop(database);

    let orders = "SELECT id || name FROM orders ORDER BY id";
    assert_eq!(query(&path, orders), ["1n", "3n"]);
    let labelled = "SELECT n || k || label FROM labelled ORDER BY rowid";
    assert_eq!(
        query(&path, labelled),
        ["7a1", "7a2"],
        "each payment by the version of its time"
    );
}

/// Each by its own column and unit, and by its own latest event; also when it is called otherwise in between.
#[test]
fn each_input_names_its_own_event_time() {
    let text = r#"
name = "shop"
now = { fixed = "2026-03-15T12:00:00+08:00" }
[event_time]
column = "at"
[source]
stream = "SHOP"
[source.input.orders]
subject = "shop.orders"
columns = { at = "int" }
[source.input.payments]
subject = "shop.payments"
columns = { paid_at = "int", paid = "int" }
event_time = { column = "paid_at", unit = "s" }
[[step]]
name = "per-minute"
from = "payments"
window = { tumbling = "1 min", columns = { paid = { sum = "paid" } } }
[[sink]]
from = "per-minute.out"
table = "per_minute"
[[sink]]
from = "per-minute.late"
table = "late"
"#;
    let plan = |text: &str| Arc::new(Plan::build(&File::from_text("shop.toml", text), host()).expect("it is fine"));
    // By name they now stand in the other order.
    let plans = [plan(text), plan(&text.replace("input.orders", "input.what-they-buy"))];
    let payment = |seconds: i64, paid: i64| {
        format!("{{\"subject\":\"shop.payments\",\"payload\":{{\"paid_at\":{seconds},\"paid\":{paid}}}}}\n")
    };
    let order = |ms: &str| format!("{{\"subject\":\"shop.orders\",\"payload\":{{\"at\":{ms}}}}}\n");
    let lines = [
        payment(1, 10),
        order("59999"),
        payment(59, 20),
        // The payments are behind.
        order("60000"),
        payment(59, 40),
        // This ends the first minute, in which nothing can be paid any more.
        payment(61, 80),
        payment(59, 160),
        order("null"),
        order("400000000000000"),
        order("120000"),
        payment(121, 320),
    ];
    for (batch, stop) in [(1, 4), (2, 7), (4096, 4), (4096, 10)] {
        let folder = scratch();
        let (database, input) = (folder.path().join("shop.db"), folder.path().join("events.jsonl"));
        for (plan, lines) in plans.iter().zip([&lines[..stop], &lines]) {
            fs::write(&input, lines.concat()).expect("the input can be written");
            replay(plan, &input, &database, batch).expect("the run ends well");
        }
        let rows = "SELECT concat_ws(' ', window_start, window_end, paid) FROM per_minute ORDER BY rowid";
        assert_eq!(query(&database, rows), ["0 60000 70", "60000 120000 80"]);
        assert_eq!(query(&database, "SELECT paid || '' FROM late"), ["160"]);
        let letters = "SELECT sequence || ' ' || subject || ': ' || reason FROM weir_dead_letter ORDER BY id";
        let accepted =
            "and it is the event time; accepted are milliseconds since 1970-01-01T00:00:00Z, of the years 0 to 9999";
        assert_eq!(
            query(&database, letters),
            [
                format!("8 shop.orders: column \"at\": found null, {accepted}"),
                format!("9 shop.orders: column \"at\": found 400000000000000, {accepted}"),
            ]
        );
    }
}

/// A folder with the pipeline and a case of it.
#[test]
fn cases_and_commands_know_of_several_inputs() {
    let folder = scratch();
    let case = folder.path().join("cases/c");
    fs::create_dir_all(&case).expect("a folder can be made");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file can be written");
    write("pipeline.toml", &shop());
    write(
        "cases/c/input.jsonl",
        r#"{"subject": "shop.orders", "payload": {"id": 1, "what": "a"}}
{"subject": "shop.payments.card", "payload": {"id": 1, "amount": {"paid": 2.5}}}

{"subject": "shop.payments.card", "payload": {"id": "1"}}
{"subject": "shop.returns.late.card", "payload": {"id": 1, "unread": 7}}
{"subject": "shop.payments.card.eu", "payload": {"id": 1}}
{"id": 1}
{"subject": "shop.payments.cash", "payload": {"id": 1, "what": "reject"}}
"#,
    );
    write(
        "cases/c/expected.paid.jsonl",
        "{\"id\": 1, \"times\": 1, \"paid\": 2.5}\n",
    );
    write(
        "cases/c/dead_letters.jsonl",
        r#"{"sequence": 4, "step": "decode"}
{"sequence": 5, "step": "decode"}
{"sequence": 6, "reason": "the line: the subject \"shop.payments.card.eu\" is that of no input; there are shop.orders, shop.payments.*, shop.returns.>"}
{"sequence": 7, "reason": "the line has no member \"subject\"; accepted is {\"subject\": \"…\", \"payload\": …}"}
{"sequence": 8, "step": "judged"}
"#,
    );
    let run = |arguments: &str| weir().run_in(folder.path(), arguments.split_whitespace()).ends_with(0);
    let passed = run("test").stdout;
    assert!(passed.starts_with("ok       c  8 events, 5 dead letters"), "{passed}");

    run("replay pipeline.toml --input cases/c/input.jsonl --database shop.db");
    let letters = run("dead-letters list shop.db").stdout;
    let words: Vec<&str> = letters
        .lines()
        .filter(|line| line.starts_with("shop #"))
        .filter_map(|line| line.split(": ").next())
        .collect();
    let [.., judged] = words[..] else { panic!("{letters}") };
    assert_eq!(
        words[..4],
        [
            "shop #4 decode on shop.payments.card",
            "shop #5 decode on shop.returns.late.card",
            "shop #6 decode",
            "shop #7 decode",
        ]
    );
    assert!(
        judged.starts_with("shop #8 judged (") && judged.ends_with(") on shop.payments.cash"),
        "{judged}"
    );
    let json = run("dead-letters list shop.db --json").stdout;
    let subjects = json.lines().map(|line| {
        let letter: serde_json::Value = serde_json::from_str(line).expect("each line is one JSON object");
        letter["subject"].as_str().map(str::to_owned)
    });
    let subjects: Vec<Option<String>> = subjects.collect();
    assert_eq!(subjects[0].as_deref(), Some("shop.payments.card"));
    assert_eq!(subjects[2], None);
}

#[test]
fn check_draws_each_input() {
    let folder = scratch();
    fs::write(folder.path().join("shop.toml"), shop()).expect("a file can be written");
    let drawn = weir().run_in(folder.path(), ["check", "shop.toml"]).ends_with(0).stdout;
    let drawn = super::commands::without_digests(&drawn);
    expect![[r#"
        pipeline shop (now is fixed at 1773547200000 ms)

        orders: stream SHOP, subject shop.orders, json
          │ id int?, what text?
          ├─► table orders, appended (id, what)
          ├─► subject out.orders (id)

        payments: stream SHOP, subject shop.payments.*, json
          │ what text?, id int?, paid double?
          ├─► table payments, appended (what, id, paid)

        returns: stream SHOP, subject shop.returns.>, json
          │ id int?, (unread boolean?)
          ├─► table returns, appended (id)
          ├─► subject out.returns (id)
          ▼
        last-order: last_value by id   ◄ orders
          │ changelog of id int?, what text?
          ├─► table last_order by id (id, what)
          ▼
        judged: rule hostile 1 (digest), at_configure = ""   ◄ payments
          │ id int?, (echo text), (weight double)
          ├─► table judged, appended (id)
          ▼
        paid: aggregate by id: times = count(*), paid = sum(paid)   ◄ payments
          │ changelog of id int?, times int, paid double?
          ├─► table paid by id (id, times, paid)
    "#]]
    .assert_eq(&drawn);
}
