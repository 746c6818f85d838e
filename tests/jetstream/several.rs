//! Several pipelines in one run: one that cannot start leaves the others alone. And what a run writes into a log.

use crate::{
    events::made_up,
    process::{Run, database, position, weir},
    server::Client,
    wait_until,
};
use std::fs;
use weir_tests::{guest, nats::NatsServer, pipeline, scratch, seed, table::query};

/// Reads a stream that is not there.
const WITHOUT_STREAM: &str = "name = \"without\"\n\
    source = { stream = \"NOWHERE\", subject = \"nowhere\", columns = { id = \"int\" } }\n\
    sink = [{ table = \"rows\" }]\n";

#[test]
fn one_that_cannot_start_is_said_and_the_others_run() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_insurance();
    client.publish(&seed::with_seed(|random| made_up(random, 300)));
    let folder = scratch();
    let good = pipeline("last-page");
    let (broken, without) = (folder.path().join("broken.toml"), folder.path().join("without.toml"));
    fs::write(&broken, "name = ").expect("a file can be written");
    fs::write(&without, WITHOUT_STREAM).expect("a file can be written");

    let run = |with: &[&str]| {
        let pipelines = [&broken, &without, &good];
        Run::new(folder.path(), &server.url(), pipelines).with(with).catch_up()
    };
    let of_good = database(folder.path(), "last-page");
    let refused = run(&["--all-or-none"]).ends_with(2);
    assert!(!refused.stderr.contains("do not start"), "{}", refused.stderr);
    assert_eq!(position(&of_good, "last-page"), 0);

    // What only the server knows is found before the first of them begins.
    let by_server = Run::new(folder.path(), &server.url(), [&good, &without])
        .with(["--all-or-none"])
        .catch_up()
        .ends_with(2);
    let by_server = by_server.says("there is no stream NOWHERE");
    assert!(!by_server.stderr.contains("last-page: stream"), "{}", by_server.stderr);
    assert_eq!(position(&of_good, "last-page"), 0);

    let outcome = run(&[]).ends_with(2);
    for said in [
        "a pipeline does not start: broken.toml:1:",
        "a pipeline does not start: pipeline without: there is no stream NOWHERE",
        "2 of 3 pipelines did not start: ",
    ] {
        let said = said.replace("broken.toml", &broken.display().to_string());
        assert!(outcome.stderr.contains(&said), "{said:?} is not in\n{}", outcome.stderr);
    }
    assert!(position(&of_good, "last-page") > 0);

    // Alone, or where none can start, there is nothing to run.
    let alone = Run::new(folder.path(), &server.url(), [&without])
        .catch_up()
        .ends_with(2);
    alone.says("weir: ").says("there is no stream NOWHERE");
    let none = Run::new(folder.path(), &server.url(), [&broken, &without])
        .with(["--json"])
        .catch_up();
    let none = none.ends_with(2).says("2 of 2 pipelines did not start").stdout;
    let lines: Vec<serde_json::Value> = none
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let shown = |line: &serde_json::Value| (line["pipeline"].clone(), line["error"]["code"].clone());
    let expected = [
        (broken.display().to_string().into(), 2.into()),
        ("without".into(), 2.into()),
        (serde_json::Value::Null, 2.into()),
    ];
    assert_eq!(lines.iter().map(shown).collect::<Vec<_>>(), expected, "{none}");
}

/// A pipeline of a hundred rules beside each other.
fn of_many_rules(name: &str) -> String {
    let module = guest("hourly-orders");
    let stage = format!(
        "stage = {{ module = '{}', parameters = {{ zone = \"Asia/Shanghai\" }} }}",
        module.display()
    );
    let rules: String = (0..100)
        .map(|at| format!("[[step]]\nname = \"rule-{at}\"\nfrom = \"source\"\nunread = true\n{stage}\n"))
        .collect();
    format!(
        "name = \"{name}\"\nsource = {{ stream = \"INSURANCE\", subject = \"user_order\", columns = {{ id = \"int\", \
         order_no = \"text\", customer_tel = \"text\", gmt_modified = \"int\", account_payble = \"double\" }} }}\n\
         {rules}[[sink]]\nfrom = \"rule-0\"\ntable = \"orders\"\n"
    )
}

#[test]
fn one_whose_guests_do_not_fit_into_the_process_is_refused_and_the_others_run() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_insurance();
    client.publish(&seed::with_seed(|random| made_up(random, 300)));
    let folder = scratch();
    let files = ["first", "second"].map(|name| {
        let file = folder.path().join(name).with_extension("toml");
        fs::write(&file, of_many_rules(name)).expect("a file can be written");
        file
    });
    let outcome = Run::new(folder.path(), &server.url(), &files).catch_up().ends_with(1);
    for said in [
        "a pipeline does not start: pipeline second: its 100 stages and 0 aggregates that are guests need 602 places",
        "422 of the 1024 of this process are free: run it in a process of its own",
        "1 of 2 pipelines did not start",
    ] {
        assert!(outcome.stderr.contains(said), "{said:?} is not in\n{}", outcome.stderr);
    }
    assert!(position(&database(folder.path(), "first"), "first") > 0);
}

#[test]
fn lines_of_a_log_bear_their_time() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_insurance();
    client.publish(&seed::with_seed(|random| made_up(random, 30)));
    let folder = scratch();
    let run = |with: &[&str]| {
        Run::new(folder.path(), &server.url(), [pipeline("last-page")])
            .with(with)
            .catch_up()
    };
    let outcome = run(&[]).ends_with(0);
    let mut lines = outcome.stderr.lines().filter(|line| !line.starts_with("  "));
    let begins_with_time = |line: &str| {
        let time = line.strip_prefix("weir: ").and_then(|line| line.split(' ').next());
        time.is_some_and(|time| time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok())
    };
    assert!(lines.all(begins_with_time), "{}", outcome.stderr);
    outcome.says(" last-page: stream INSURANCE");
    let quiet = run(&["-q"]).ends_with(0);
    assert_eq!(quiet.stderr, "");
    let json = run(&["--json", "-q"]).ends_with(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("one object");
    assert_eq!((&json["pipeline"], &json["waiting"]), (&"last-page".into(), &0.into()));
}

/// Counts by the minute, and publishes to a subject that no stream takes.
const BY_MINUTE: &str = r#"
name = "by-minute"
source = { stream = "S", subject = "s", columns = { at = "int" } }
event_time = { column = "at" }
[[step]]
name = "minutes"
window = { tumbling = "1 min", columns = { events = { count = "*" } } }
[[sink]]
from = "minutes"
table = "minutes"
[[sink]]
from = "minutes"
subject = "nobody.takes.it"
"#;

#[test]
fn status_says_how_fast_it_is_and_where_it_stands() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_stream("S", &["s"]);
    let folder = scratch();
    let file = folder.path().join("p.toml");
    fs::write(&file, BY_MINUTE).expect("a file can be written");
    let event = |at_ms: i64| ("s", format!("{{\"at\": {at_ms}}}").into_bytes());
    client.publish(&[
        event(1_773_547_200_000),
        event(1_773_547_300_000),
        event(1_773_547_200_001),
    ]);
    let mut running = Run::new(folder.path(), &server.url(), [&file]).start();
    running.wait_for_position(&database(folder.path(), "by-minute"), "by-minute", 3);
    let status = |with: &[&str]| {
        weir()
            .run(["status", "--nats", &server.url()].iter().chain(with))
            .ends_with(0)
            .stdout
    };
    let parts = [
        " events/s, last commit ",
        " ago, watermark 2026-03-15 04:01:40Z, 1 message to publish\n",
        "  minutes: 1 late row\n",
    ];
    wait_until("what status says", || {
        let shown = status(&[]);
        parts.iter().all(|part| shown.contains(part))
    });
    let json: serde_json::Value = serde_json::from_str(&status(&["--json"])).expect("one object");
    assert_eq!(json["watermark_ms"], 1_773_547_300_000_i64);
    assert_eq!(json["late_rows"], serde_json::json!({ "minutes": 1 }));
    assert_eq!(json["outbox"], 1);
    for number in ["events_per_s", "commit_age_ms", "said_ms"] {
        assert!(json[number].is_number(), "{number} of {json}");
    }
    // The numbers of each step: rows out of one are rows into the next.
    let steps = json["step_metrics"].as_array().expect("a list");
    let [source, minutes] = steps.as_slice() else {
        panic!("an input and a window: {json}");
    };
    assert_eq!((&source["rows_in"], &source["rows_out"]["out"]), (&3.into(), &3.into()));
    assert_eq!((&minutes["step"], &minutes["rows_in"]), (&"minutes".into(), &3.into()));
    assert_eq!(minutes["rows_out"], serde_json::json!({ "out": 1, "late": 1 }));
    assert_eq!(
        (&minutes["late_rows"], &minutes["dead_letters"]),
        (&1.into(), &0.into())
    );
    assert!(minutes["state_entries"].as_u64() > Some(0), "{minutes}");
    let shown = status(&["-v"]);
    let of_step = |line: &&str| line.split_whitespace().next() == Some("minutes");
    let line = shown.lines().find(of_step).expect("a line for the step");
    let cells: Vec<&str> = line.split_whitespace().collect();
    // Rows in, rows out, late, failed, dead.
    assert_eq!(cells[1..6], ["3", "2", "1", "0", "0"], "{shown}");
    running.interrupt().ends_with(0);
}

/// The `weir.toml` of a shop.
const SHOP: &str = "[source.orders]\nstream = \"SHOP\"\nsubject = \"orders\"\n\
    columns = { customer = \"text\", amount = \"int\" }\n";

/// A pipeline of the shop: something of each customer's orders.
fn of_customer(name: &str, function: &str) -> String {
    format!(
        "name = \"{name}\"\nsource = \"orders\"\n[[step]]\nname = \"by-customer\"\n\
         aggregate = {{ group_by = [\"customer\"], columns = {{ {name} = {{ {function} = \"amount\" }} }} }}\n\
         [[sink]]\ntable = \"{name}\"\nprimary_key = [\"customer\"]\n"
    )
}

/// All pipelines of a project run in one process, each with its database in the project's folder. A change of what they share
/// is one of each of them: its database says so, and nothing is processed.
#[test]
fn a_project_runs_and_what_it_shares_belongs_to_each_pipeline() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_stream("SHOP", &["orders"]);
    let order = |customer: &str, amount: u32| {
        let payload = format!("{{\"customer\": \"{customer}\", \"amount\": {amount}}}");
        client.publish(&[("orders", payload.into_bytes())])
    };
    order("ann", 3);
    let folder = scratch();
    let shop = folder.path().join("shop");
    fs::create_dir_all(shop.join("pipelines")).expect("a folder can be made");
    let write = |file: &str, text: &str| fs::write(shop.join(file), text).expect("a file can be written");
    write("weir.toml", SHOP);
    write("pipelines/total.toml", &of_customer("total", "sum"));
    write("pipelines/largest.toml", &of_customer("largest", "max"));
    let run = |with: &[&str]| Run::new(folder.path(), &server.url(), ["shop"]).with(with).catch_up();
    let rows = |name: &str| {
        let of_table = format!("SELECT customer || ' ' || {name} FROM {name} ORDER BY 1");
        query(&shop.join(format!("data/{name}.db")), &of_table)
    };

    run(&["--pipeline", "total"]).ends_with(0);
    assert!(!shop.join("data/largest.db").exists(), "only what was named has run");
    order("ann", 5);
    run(&[]).ends_with(0);
    assert_eq!(
        (rows("total"), rows("largest")),
        (vec!["ann 8".to_owned()], vec!["ann 5".to_owned()])
    );
    // The file of one leads to the same database.
    order("ben", 1);
    let one = shop.join("pipelines/total.toml");
    Run::new(folder.path(), &server.url(), [&one]).catch_up().ends_with(0);
    assert_eq!(rows("total"), ["ann 8", "ben 1"]);

    write("weir.toml", &SHOP.replace("amount = \"int\"", "amount = \"double\""));
    let refused = run(&[]).ends_with(1);
    for said in [
        "pipeline largest: ",
        "pipeline total: ",
        "2 of 2 pipelines did not start",
    ] {
        assert!(refused.stderr.contains(said), "{said:?} is not in\n{}", refused.stderr);
    }
    assert_eq!(rows("largest"), ["ann 5"], "nothing was processed");
    write("weir.toml", SHOP);
    run(&[]).ends_with(0);
    assert_eq!(rows("largest"), ["ann 5", "ben 1"]);
}
